//! An executor of smol's on two threads, and a backend on it.

use std::{
    future::{Future, poll_fn},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
};

use async_executor::Executor;
use httpcore_net_smol::SmolBackend;

/// An executor that is run by a thread of its own, and by the one in [`block_on`](Self::block_on). Dropping it ends
/// the executor.
#[derive(Debug)]
pub struct Smol {
    executor: Option<Arc<Executor<'static>>>,
    stop: Arc<Mutex<Stop>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    is_set: bool,
    waker: Option<Waker>,
}

impl Smol {
    /// Starts the thread.
    #[allow(
        clippy::new_without_default,
        reason = "it starts a thread, which no default does"
    )]
    pub fn new() -> Self {
        let executor = Arc::new(Executor::new());
        let stop = Arc::<Mutex<Stop>>::default();
        let (running, stopped) = (executor.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let stopped = poll_fn(|cx| poll_stop(&stopped, cx));
            async_io::block_on(running.run(stopped));
        });
        Smol {
            executor: Some(executor),
            stop,
            thread: Some(thread),
        }
    }

    /// Returns a backend on the executor.
    pub fn backend(&self) -> SmolBackend {
        // Weak: a task of the executor must not keep it.
        let executor = Arc::downgrade(self.executor());
        SmolBackend::new(move |task| {
            if let Some(executor) = executor.upgrade() {
                executor.spawn(task).detach();
            }
        })
    }

    /// Returns the executor.
    ///
    /// # Panics
    ///
    /// Never: it is there until this is dropped.
    pub fn executor(&self) -> &Arc<Executor<'static>> {
        self.executor.as_ref().expect("it is not dropped")
    }

    /// Runs `future` to its end, and the executor meanwhile.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        async_io::block_on(self.executor().run(future))
    }
}

fn poll_stop(stop: &Mutex<Stop>, cx: &Context<'_>) -> Poll<()> {
    let mut stop = stop.lock().unwrap_or_else(PoisonError::into_inner);
    if stop.is_set {
        return Poll::Ready(());
    }
    stop.waker = Some(cx.waker().clone());
    Poll::Pending
}

impl Drop for Smol {
    fn drop(&mut self) {
        let waker = {
            let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
            stop.is_set = true;
            stop.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.executor = None;
    }
}
