//! Sleeping, intervals and time limits.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{Runtime, Timer};
use pin_project_lite::pin_project;

use crate::Handle;

/// Purpose of a timer that the caller of this module waits for.
const PURPOSE: &str = "sleep";

/// A time that no clock reaches, in place of one that an [`Instant`] cannot represent: in 30 years.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

impl Handle {
    /// Waits for `duration`. See [`Sleep`].
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.after(duration))
    }

    /// Waits until `deadline`. See [`Sleep`].
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep {
            timer: self.timer(PURPOSE),
            deadline,
        }
    }

    /// Returns an [`Interval`] whose first tick is due now, and then one in each `period`.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    pub fn interval(&self, period: Duration) -> Interval {
        assert!(!period.is_zero(), "the period of an interval is zero");
        Interval {
            timer: self.timer(PURPOSE),
            next: self.now(),
            period,
            handle: self.clone(),
        }
    }

    /// Runs `future` for at most `duration`.
    ///
    /// If both are due, the future's output is returned. The future is dropped with what this returns.
    pub fn timeout<F: Future>(&self, duration: Duration, future: F) -> Timeout<F> {
        Timeout {
            future,
            sleep: self.sleep(duration),
        }
    }

    fn after(&self, duration: Duration) -> Instant {
        let now = self.now();
        now.checked_add(duration).unwrap_or_else(|| now + FAR)
    }
}

/// Waits until a deadline. Dropping it disarms its timer.
///
/// It is ready early if the loop has ended, since no timer of that loop would be.
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    timer: Box<dyn Timer>,
    deadline: Instant,
}

impl Sleep {
    /// Returns the deadline.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the deadline. Takes effect with the next poll.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        self.timer.poll_until(cx, deadline)
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Ticks at a fixed period.
///
/// Ticks are due at the start and at whole multiples of the period after it. Ticks that were missed are skipped:
/// a late caller gets one, and the next at the next multiple.
pub struct Interval {
    timer: Box<dyn Timer>,
    next: Instant,
    period: Duration,
    handle: Handle,
}

impl Interval {
    /// Waits for the next tick and returns the time when it was due; `None` once the loop has ended.
    ///
    /// Dropping the future loses no tick.
    pub async fn tick(&mut self) -> Option<Instant> {
        std::future::poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Like [`tick`](Self::tick), for use in a hand-written future.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        ready!(self.timer.poll_until(cx, self.next));
        let now = self.handle.now();
        if self.handle.is_shut_down() {
            return Poll::Ready(None);
        }
        let due = self.next;
        let late = now.saturating_duration_since(due);
        let missed = late.as_nanos() / self.period.as_nanos();
        // At most `late`, which an `Instant` has just represented.
        let skipped = self
            .period
            .saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
        self.next = (due + skipped.min(late))
            .checked_add(self.period)
            .unwrap_or_else(|| now + FAR);
        Poll::Ready(Some(due))
    }

    /// Returns the period.
    pub fn period(&self) -> Duration {
        self.period
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("next", &self.next)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Handle::timeout`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        #[pin]
        sleep: Sleep,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        this.sleep.poll(cx).map(|()| Err(Elapsed))
    }
}

/// The error of [`Handle::timeout`]: the time limit was reached, or the loop has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}
