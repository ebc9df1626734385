//! The warning of a loop that no thread runs.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    future::pending,
    sync::{Condvar, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use httpcore_core_primitives::Runtime;

use crate::EventLoop;

/// The number of warnings, and a condition to wait for one.
struct Warnings(Mutex<usize>, Condvar);

impl Warnings {
    const fn new() -> Self {
        Warnings(Mutex::new(0), Condvar::new())
    }

    fn add(&self, line: &str) {
        assert!(line.contains("block_on"), "{line}");
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }

    fn wait(&self) {
        let count = self.0.lock().unwrap();
        let count = self.1.wait_while(count, |count| *count == 0).unwrap();
        assert_eq!(*count, 1);
    }
}

fn arm(epoll: &EventLoop) {
    let hour = epoll.handle.now() + Duration::from_secs(3600);
    let mut timer = epoll.handle.timer("test");
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(timer.poll_until(&mut cx, hour), Poll::Pending);
}

#[test]
fn timer_on_a_loop_that_no_thread_runs_causes_one_warning() {
    static WARNINGS: Warnings = Warnings::new();
    let (epoll, other) = (EventLoop::new().unwrap(), EventLoop::new().unwrap());
    epoll
        .handle
        .0
        .reactor
        .watch()
        .warn_with(|line| WARNINGS.add(line));
    // A thread in another loop makes no difference.
    other.block_on(async { arm(&epoll) });
    WARNINGS.wait();
    arm(&epoll);
    WARNINGS.wait();
}

#[test]
fn task_on_a_loop_that_no_thread_runs_causes_a_warning_and_maintenance_does_not() {
    static WARNINGS: Warnings = Warnings::new();
    let epoll = EventLoop::new().unwrap();
    epoll
        .handle
        .0
        .reactor
        .watch()
        .warn_with(|line| WARNINGS.add(line));
    Runtime::spawn(&epoll.handle, "pool maintenance", Box::pin(pending()));
    assert!(!epoll.handle.0.reactor.watch().is_watching());
    Runtime::spawn(&epoll.handle, "connect", Box::pin(pending()));
    WARNINGS.wait();
}

#[test]
fn block_on_and_shutdown_end_the_watch() {
    let epoll = EventLoop::new().unwrap();
    let watch = epoll.handle.0.reactor.watch().clone();
    arm(&epoll);
    assert!(watch.is_watching());
    epoll.block_on(async { arm(&epoll) });
    assert!(!watch.is_watching());
    arm(&epoll);
    assert!(watch.is_watching());
    drop(epoll);
    assert!(!watch.is_watching());
}
