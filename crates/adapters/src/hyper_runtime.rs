//! A runtime of ours with the traits of `hyper::rt`.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{NetworkBackend, Runtime, Timer};

/// A [`Runtime`] as `hyper::rt::Timer` and `hyper::rt::Executor`. Cloning it yields another handle to the same runtime.
///
/// With it and `Io`, hyper's connections run on any backend of httpcore.
#[derive(Clone, Debug)]
pub struct HyperRuntime(Arc<dyn Runtime>);

impl HyperRuntime {
    /// Wraps `runtime`.
    pub fn new(runtime: Arc<dyn Runtime>) -> Self {
        HyperRuntime(runtime)
    }
}

impl From<Arc<dyn NetworkBackend>> for HyperRuntime {
    fn from(backend: Arc<dyn NetworkBackend>) -> Self {
        HyperRuntime(backend)
    }
}

impl<F> hyper::rt::Executor<F> for HyperRuntime
where
    F: Future + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0
            .spawn("hyper", Box::pin(async { drop(future.await) }));
    }
}

impl hyper::rt::Timer for HyperRuntime {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        let now = self.0.now();
        // hyper's limits are far below; one that an `Instant` cannot represent is a year.
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        let deadline = now.checked_add(duration).unwrap_or_else(|| now + year);
        hyper::rt::Timer::sleep_until(self, deadline)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HyperSleep {
            timer: Mutex::new(self.0.timer("hyper")),
            deadline,
        })
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<HyperSleep>() {
            Some(sleep) => sleep.get_mut().deadline = deadline,
            None => *sleep = hyper::rt::Timer::sleep_until(self, deadline),
        }
    }
}

struct HyperSleep {
    /// hyper asks for `Sync`, which a timer is not; nothing ever locks this.
    timer: Mutex<Box<dyn Timer>>,
    deadline: Instant,
}

impl Future for HyperSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let timer = self.timer.get_mut().unwrap_or_else(PoisonError::into_inner);
        timer.poll_until(cx, deadline)
    }
}

impl hyper::rt::Sleep for HyperSleep {}

impl fmt::Debug for HyperSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperSleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
