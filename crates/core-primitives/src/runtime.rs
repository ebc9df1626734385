//! What the engine asks of time and tasks.

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

/// Time and tasks.
pub trait Runtime: fmt::Debug + Send + Sync + 'static {
    /// The current time of this world. Nothing above a backend reads any other clock.
    fn now(&self) -> Instant;

    /// A timer, not yet waiting for anything. `purpose` is for those who ask what is being waited
    /// for: a few words such as `"idle expiry"`.
    fn timer(&self, purpose: &'static str) -> Box<dyn Timer>;

    /// Runs `task` in the background until it ends, or until the runtime is dropped. `name` is for
    /// those who ask what is running.
    ///
    /// There is no handle. A task ends because what it serves is gone: it holds `Weak` references
    /// to its owners, or the last sender of its channel is dropped.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);

    /// Whether threads wait in sockets here, for as long as nothing else can wake them. A waker that
    /// is left elsewhere just in case then sends its thread back into the loop, which takes more
    /// system calls than the request it waits for.
    fn waits_in_sockets(&self) -> bool {
        false
    }
}

/// What a backend puts into an [`io::Error`] when it has ended and can do nothing any more, so that
/// those above it can tell that from a failure of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeShutdown;

impl RuntimeShutdown {
    /// An error which says so.
    pub fn error() -> io::Error {
        io::Error::other(RuntimeShutdown)
    }

    /// Whether this is what `error` says.
    pub fn is_source_of(error: &io::Error) -> bool {
        error
            .get_ref()
            .is_some_and(|source| source.is::<RuntimeShutdown>())
    }
}

impl fmt::Display for RuntimeShutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop is gone")
    }
}

impl std::error::Error for RuntimeShutdown {}

/// Wakes one task at a time that may change on every poll. Dropping it disarms it.
pub trait Timer: Send + 'static {
    /// Ready once `now() >= deadline`; before that, arranges a wake-up at or before `deadline`.
    ///
    /// The deadline is named at every poll, and so it can never be stale: an implementation may
    /// leave an earlier alarm armed and re-arm when that one goes off. The waker of the latest
    /// poll is the one which is called.
    ///
    /// Of a runtime that has ended it is ready at once, so that nobody waits for what will not
    /// come: whoever waits in a loop looks at the clock before going round again.
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()>;

    /// Forgets whatever was waited for, and the waker. The timer may be armed again: whoever waits
    /// now and then keeps it, and does not have another made each time.
    fn disarm(&mut self);
}

/// A timer which comes into being when something first has to wait.
///
/// Most exchanges end without ever waiting for their deadline, and many have none.
pub struct LazyTimer {
    runtime: Arc<dyn Runtime>,
    purpose: &'static str,
    timer: Option<Box<dyn Timer>>,
}

impl LazyTimer {
    /// An alarm of `runtime`, with nothing armed.
    pub fn new(runtime: Arc<dyn Runtime>, purpose: &'static str) -> Self {
        LazyTimer {
            runtime,
            purpose,
            timer: None,
        }
    }

    /// The current time.
    pub fn now(&self) -> Instant {
        self.runtime.now()
    }

    /// The runtime whose clock this is.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// Ready once `deadline` has come; never, if there is none. See [`Timer::poll_until`].
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

    /// Forgets whatever was waited for.
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

/// A waker which wakes nobody, for whoever asks without waiting.
///
/// It is [`Waker::noop`], and always the same one, whereas that may be another one in each crate. So
/// a stream knows it by [`Waker::will_wake`], and need not put it where somebody else's is.
#[inline]
pub fn noop_waker() -> &'static Waker {
    NOBODY
}

static NOBODY: &Waker = Waker::noop();

/// Waits until `deadline` by the clock of `runtime`.
pub async fn sleep_until(runtime: &Arc<dyn Runtime>, deadline: Instant) {
    let mut alarm = LazyTimer::new(runtime.clone(), "sleep");
    std::future::poll_fn(|cx| alarm.poll_until(cx, Some(deadline))).await;
}

/// Runs `future` until `deadline`; `None` if that comes first. Without a deadline, it just runs.
///
/// The future is polled once more when the deadline has come, so that what is ready wins over
/// what is late; on `None` it is dropped by the time this returns.
pub fn with_deadline<F: Future>(
    runtime: &Arc<dyn Runtime>,
    purpose: &'static str,
    deadline: Option<Instant>,
    future: F,
) -> WithDeadline<F> {
    WithDeadline {
        future: Some(future),
        deadline,
        alarm: LazyTimer::new(runtime.clone(), purpose),
    }
}

pin_project! {
    /// The future of [`with_deadline`].
    #[must_use = "futures do nothing unless polled"]
    pub struct WithDeadline<F> {
        // `None` once the deadline has come first.
        #[pin]
        future: Option<F>,
        deadline: Option<Instant>,
        alarm: LazyTimer,
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
        if this.alarm.poll_until(cx, *this.deadline).is_pending() {
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

    /// A runtime at one moment, whose timers are ready once their deadline is that moment.
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
    fn a_future_that_is_late_is_dropped_before_that_is_returned() {
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
    fn what_is_ready_at_its_deadline_is_not_late() {
        let runtime = runtime();
        let ready = with_deadline(&runtime, "test", Some(runtime.now()), async { 5 });
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(pin!(ready).poll(&mut cx), Poll::Ready(Some(5)));
    }
}
