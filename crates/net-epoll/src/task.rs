//! A spawned task with an output.

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use httpcore_executor::AbortHandle;
use pin_project_lite::pin_project;

use crate::sync::{Arc, Mutex, MutexGuard, lock};

/// A handle to a spawned task, and a future that yields the task's output.
///
/// Dropping it aborts the task: the task's future is dropped before `drop` returns or, if it is being
/// polled, after that poll. [`detach`](Self::detach) lets the task run.
///
/// # Panics
///
/// Awaiting it panics if the task panicked, with the same payload, and if the task was dropped because its
/// loop was shut down.
#[must_use = "dropping a task aborts it: await it, or detach it"]
pub struct Task<T> {
    spawned: Option<AbortHandle>,
    outcome: Arc<Outcome<T>>,
}

/// The output of a task, shared by the task and its handle.
struct Outcome<T>(Mutex<State<T>>);

enum State<T> {
    /// Not completed; with the waker of the task that awaits it, if any.
    Pending(Option<Waker>),
    Done(T),
    Panicked(Box<dyn Any + Send>),
    /// The future was dropped before it ended.
    Dropped,
    Taken,
}

impl<T: Send + 'static> Task<T> {
    /// Wraps `future` so that it stores its output. The handle is complete once it has been
    /// [started](Self::started).
    pub(crate) fn new<F>(future: F) -> (Self, impl Future<Output = ()> + Send + 'static)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let outcome = Arc::new(Outcome(Mutex::new(State::Pending(None))));
        let running = Running {
            future,
            promise: Promise(outcome.clone()),
        };
        let task = Task {
            spawned: None,
            outcome,
        };
        (task, running)
    }
}

impl<T> Task<T> {
    /// Sets the handle by which the task can be aborted.
    pub(crate) fn started(mut self, spawned: AbortHandle) -> Self {
        self.spawned = Some(spawned);
        self
    }

    /// Lets the task run until it completes, or until its loop is shut down. Its output is dropped.
    pub fn detach(mut self) {
        self.spawned = None;
    }

    /// Returns whether the task has completed, panicked, or been dropped.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.outcome.state(), State::Pending(_))
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.outcome.state();
        if let State::Pending(waker) = &mut *state {
            let former = waker.replace(cx.waker().clone());
            drop(state);
            drop(former);
            return Poll::Pending;
        }
        let outcome = std::mem::replace(&mut *state, State::Taken);
        drop(state);
        self.spawned = None; // nothing left to abort
        match outcome {
            State::Done(value) => Poll::Ready(value),
            State::Panicked(panic) => resume_unwind(panic),
            State::Dropped => {
                panic!("task dropped before it completed: its event loop was shut down")
            }
            State::Pending(_) | State::Taken => panic!("task polled after completion"),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(spawned) = self.spawned.take() {
            spawned.abort();
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

impl<T> Outcome<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.0)
    }

    /// Stores the outcome and calls the waker. Only the first outcome is stored.
    fn settle(&self, outcome: State<T>) {
        let mut state = self.state();
        let State::Pending(waker) = &mut *state else {
            drop(state);
            return; // drops `outcome` outside the lock
        };
        let waker = waker.take();
        *state = outcome;
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Stores an outcome on drop, for a future that never completes.
struct Promise<T>(Arc<Outcome<T>>);

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.0.settle(State::Dropped);
    }
}

pin_project! {
    struct Running<F: Future> {
        #[pin]
        future: F,
        promise: Promise<F::Output>,
    }
}

impl<F: Future> Future for Running<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let polled = catch_unwind(AssertUnwindSafe(|| this.future.poll(cx)));
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => State::Done(value),
            Err(panic) => State::Panicked(panic),
        };
        this.promise.0.settle(outcome);
        Poll::Ready(())
    }
}
