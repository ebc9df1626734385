//! Sleeping, intervals and time limits.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{
    future::{Future, pending, ready},
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use httpcore_core_primitives::Runtime;
use httpcore_net_epoll::{Elapsed, EventLoop};

const MILLIS: Duration = Duration::from_millis(1);

#[test]
fn a_sleep_lasts_as_long_as_it_should_and_can_be_moved() {
    let epoll = EventLoop::new().unwrap();
    let handle = epoll.handle();
    epoll.block_on(async {
        let start = handle.now();
        handle.sleep(5 * MILLIS).await;
        assert!(handle.now() >= start + 5 * MILLIS);
        let mut sleep = handle.sleep(Duration::MAX);
        sleep.reset(handle.now() + MILLIS);
        sleep.await;
        handle.sleep(Duration::ZERO).await;
    });
}

#[test]
fn an_interval_ticks_at_multiples_and_skips_what_was_missed() {
    let epoll = EventLoop::new().unwrap();
    let handle = epoll.handle();
    epoll.block_on(async {
        let mut interval = handle.interval(2 * MILLIS);
        let start = interval.tick().await.unwrap();
        for n in 1..=3 {
            // A late thread may miss one, and is given the next multiple.
            let due = interval.tick().await.unwrap();
            assert!(due >= start + n * 2 * MILLIS);
            assert_eq!((due - start).as_nanos() % 2_000_000, 0);
        }
        let now = handle.now();
        while handle.now() < now + 20 * MILLIS {}
        let late = interval.tick().await.unwrap();
        let next = interval.tick().await.unwrap();
        assert!(next >= late + 20 * MILLIS - 2 * MILLIS, "{late:?} {next:?}");
        assert_eq!((next - start).as_nanos() % 2_000_000, 0);
    });
}

#[test]
fn a_time_limit_is_an_error_and_drops_its_future_with_it() {
    let epoll = EventLoop::new().unwrap();
    let handle = epoll.handle();
    epoll.block_on(async {
        assert_eq!(handle.timeout(MILLIS, pending::<()>()).await, Err(Elapsed));
        // What is ready counts, also without any time.
        assert_eq!(handle.timeout(Duration::ZERO, ready(3)).await, Ok(3));
    });
}

#[test]
fn of_a_loop_that_has_ended_nothing_waits() {
    let epoll = EventLoop::new().unwrap();
    let handle = epoll.handle();
    let hour = Duration::from_secs(3600);
    let (sleep, mut interval) = (handle.sleep(hour), handle.interval(hour));
    let timeout = handle.timeout(hour, pending::<()>());
    assert!(epoll.block_on(interval.tick()).is_some());
    drop(epoll);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pin!(sleep).poll(&mut cx).is_ready());
    assert!(pin!(timeout).poll(&mut cx).is_ready());
    let tick = pin!(interval.tick()).poll(&mut cx);
    assert_eq!(tick, std::task::Poll::Ready(None));
}

#[test]
#[should_panic(expected = "the period of an interval is zero")]
fn an_interval_without_a_period_is_refused() {
    let epoll = EventLoop::new().unwrap();
    let _ = epoll.handle().interval(Duration::ZERO);
}
