//! A spawned task whose outcome somebody wants.

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use httpcore_executor::AbortHandle;
use pin_project_lite::pin_project;

/// A task that runs by itself, and a future that yields what it yields.
///
/// Dropping it cancels the task: its future is dropped before `drop` returns or, if it is being
/// polled right now, as soon as that poll is over. [`detach`](Self::detach) lets it run.
///
/// # Panics
///
/// Awaiting it panics with the task's own panic, if there was one, and if the task was dropped
/// because its loop is gone: there is nothing that could be yielded.
#[must_use = "dropping a task cancels it: await it, or detach it"]
pub struct Task<T> {
    spawned: Option<AbortHandle>,
    outcome: Arc<Outcome<T>>,
}

/// Where a task leaves what it yields.
struct Outcome<T>(Mutex<State<T>>);

enum State<T> {
    /// It is not there yet; perhaps somebody waits for it.
    Due(Option<Waker>),
    Done(T),
    Panicked(Box<dyn Any + Send>),
    /// The future was dropped before it ended.
    Dropped,
    Taken,
}

impl<T: Send + 'static> Task<T> {
    /// `future`, wrapped to be run by somebody, and what will come of it, once
    /// [`started`](Self::started).
    pub(crate) fn new<F>(future: F) -> (Self, impl Future<Output = ()> + Send + 'static)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let outcome = Arc::new(Outcome(Mutex::new(State::Due(None))));
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
    /// This, with the means to cancel it.
    pub(crate) fn started(mut self, spawned: AbortHandle) -> Self {
        self.spawned = Some(spawned);
        self
    }

    /// Lets the task run until it ends, or until its loop is gone. What it yields is dropped.
    pub fn detach(mut self) {
        self.spawned = None;
    }

    /// Whether the task has ended, one way or another.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.outcome.state(), State::Due(_))
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.outcome.state();
        if let State::Due(waker) = &mut *state {
            let former = waker.replace(cx.waker().clone());
            drop(state);
            drop(former);
            return Poll::Pending;
        }
        let outcome = std::mem::replace(&mut *state, State::Taken);
        drop(state);
        self.spawned = None; // there is nothing left to cancel
        match outcome {
            State::Done(value) => Poll::Ready(value),
            State::Panicked(panic) => resume_unwind(panic),
            State::Dropped => panic!("the task was dropped before it ended: its loop is gone"),
            State::Due(_) | State::Taken => panic!("a task was polled after it had yielded"),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(spawned) = self.spawned.take() {
            spawned.cancel();
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves what came of the task, and wakes whoever waits for it. The first outcome stands.
    fn settle(&self, outcome: State<T>) {
        let mut state = self.state();
        let State::Due(waker) = &mut *state else {
            drop(state);
            return; // with `outcome`, outside the lock
        };
        let waker = waker.take();
        *state = outcome;
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Settles the outcome even if the future never ends.
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
