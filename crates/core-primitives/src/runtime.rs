//! Time and tasks: the traits that a backend implements, and helpers over them.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use pin_project_lite::pin_project;

use crate::net::BoxFuture;

/// A clock, timers and background tasks.
pub trait Runtime: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time. No code above a backend reads another clock.
    fn now(&self) -> Instant;

    /// Creates a timer without a deadline. `purpose` describes it in diagnostics: a few words such as
    /// `"idle expiry"`.
    fn timer(&self, purpose: &'static str) -> Box<dyn Timer>;

    /// Runs `task` in the background until it ends, or until the runtime is dropped. `name` describes it
    /// in diagnostics.
    ///
    /// There is no handle. A task ends by itself when its owners are gone: it holds `Weak` references
    /// to them, or the last sender of its channel is dropped.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);
}

/// The cause in the [`io::Error`] of a backend that has been shut down, which distinguishes it from a
/// failure of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event loop shut down")]
pub struct RuntimeShutdown;

impl RuntimeShutdown {
    /// Returns an [`io::Error`] with this cause.
    pub fn error() -> io::Error {
        io::Error::other(RuntimeShutdown)
    }

    /// Returns whether `error` has this cause.
    pub fn is_source_of(error: &io::Error) -> bool {
        error
            .get_ref()
            .is_some_and(|source| source.is::<RuntimeShutdown>())
    }
}

/// A timer for one task at a time, which may be another one at each poll. Dropping it disarms it.
pub trait Timer: Send + 'static {
    /// Ready once `now() >= deadline`; before that, arranges a wake-up at or before `deadline`.
    ///
    /// The deadline is passed at every poll and is therefore never stale: an implementation may
    /// leave an earlier wake-up armed and re-arm when that one fires. The waker of the latest
    /// poll is the one that is called.
    ///
    /// A timer of a runtime that has been shut down is ready at once, since its deadline would never be
    /// reported: a caller that polls in a loop checks the clock before it polls again.
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()>;

    /// Drops the deadline and the waker. The timer can be armed again: a caller that waits repeatedly
    /// keeps one timer.
    fn disarm(&mut self);
}

/// A timer that is created when it is first polled with a deadline.
///
/// Most exchanges end without waiting for their deadline, and many have none.
pub struct LazyTimer {
    runtime: Arc<dyn Runtime>,
    purpose: &'static str,
    timer: Option<Box<dyn Timer>>,
}

impl LazyTimer {
    /// Creates a timer of `runtime`, without a deadline.
    pub fn new(runtime: Arc<dyn Runtime>, purpose: &'static str) -> Self {
        LazyTimer {
            runtime,
            purpose,
            timer: None,
        }
    }

    /// Returns the current time.
    pub fn now(&self) -> Instant {
        self.runtime.now()
    }

    /// Returns the runtime that the timer belongs to.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// Ready once `deadline` has passed; pending for ever if there is none. See [`Timer::poll_until`].
    pub fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            self.disarm();
            return Poll::Pending;
        };
        let (runtime, purpose) = (&self.runtime, self.purpose);
        self.timer
            .get_or_insert_with(|| runtime.timer(purpose))
            .poll_until(cx, deadline)
    }

    /// Drops the deadline and the waker.
    pub fn disarm(&mut self) {
        if let Some(timer) = &mut self.timer {
            timer.disarm();
        }
    }
}

impl fmt::Debug for LazyTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyTimer")
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

/// Returns a no-op waker, for polling without registering.
///
/// It is [`Waker::noop`], and the same one at each call, whereas that may differ between crates. A
/// stream can therefore recognise it by [`Waker::will_wake`], and keeps the waker of a task that waits.
#[inline]
pub fn noop_waker() -> &'static Waker {
    NOOP
}

static NOOP: &Waker = Waker::noop();

/// Waits until `deadline` by the clock of `runtime`.
pub async fn sleep_until(runtime: &Arc<dyn Runtime>, deadline: Instant) {
    let mut timer = LazyTimer::new(runtime.clone(), "sleep");
    std::future::poll_fn(|cx| timer.poll_until(cx, Some(deadline))).await;
}

/// Runs `future` until `deadline`, and yields `None` if the deadline passes first. Without a deadline
/// there is no limit.
///
/// The future is polled once more when the deadline has passed, so that an output that is ready is
/// returned. It has been dropped by the time that `None` is returned.
pub fn with_deadline<F: Future>(
    runtime: &Arc<dyn Runtime>,
    purpose: &'static str,
    deadline: Option<Instant>,
    future: F,
) -> WithDeadline<F> {
    WithDeadline {
        future: Some(future),
        deadline,
        timer: LazyTimer::new(runtime.clone(), purpose),
    }
}

pin_project! {
    /// The future of [`with_deadline`].
    #[must_use = "futures do nothing unless polled"]
    pub struct WithDeadline<F> {
        // `None` once the deadline has passed.
        #[pin]
        future: Option<F>,
        deadline: Option<Instant>,
        timer: LazyTimer,
    }
}

impl<F: Future> Future for WithDeadline<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(output) = future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if this.timer.poll_until(cx, *this.deadline).is_pending() {
            return Poll::Pending;
        }
        this.future.set(None);
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::pin};

    use super::*;

    /// A runtime whose clock does not advance.
    #[derive(Debug)]
    struct Still(Instant);

    impl Runtime for Still {
        fn now(&self) -> Instant {
            self.0
        }

        fn timer(&self, _: &'static str) -> Box<dyn Timer> {
            Box::new(Still(self.0))
        }

        fn spawn(&self, _: &'static str, _: BoxFuture<'static, ()>) {
            unreachable!("nothing here spawns")
        }
    }

    impl Timer for Still {
        fn poll_until(&mut self, _: &mut Context<'_>, deadline: Instant) -> Poll<()> {
            if self.0 >= deadline {
                return Poll::Ready(());
            }
            Poll::Pending
        }

        fn disarm(&mut self) {}
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "there is no other way to make an instant"
    )]
    fn runtime() -> Arc<dyn Runtime> {
        Arc::new(Still(Instant::now()))
    }

    #[test]
    fn with_deadline_drops_a_late_future_before_it_returns() {
        let runtime = runtime();
        let alive = Arc::new(());
        let held = alive.clone();
        let mut late = pin!(with_deadline(
            &runtime,
            "test",
            Some(runtime.now()),
            async move {
                let _held = held;
                pending::<()>().await;
            }
        ));
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(late.as_mut().poll(&mut cx), Poll::Ready(None));
        assert_eq!(Arc::strong_count(&alive), 1);
        assert_eq!(late.as_mut().poll(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn output_ready_at_the_deadline_is_returned() {
        let runtime = runtime();
        let ready = with_deadline(&runtime, "test", Some(runtime.now()), async { 5 });
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(pin!(ready).poll(&mut cx), Poll::Ready(Some(5)));
    }
}
