//! Waiting for a pool to be empty.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{LazyTimer, options::deadline};

use crate::shell::Shared;

/// A pool on its way to being empty: the future of [`Pool::drain`](crate::Pool::drain).
#[must_use = "futures do nothing unless polled"]
pub struct Drain {
    pool: Arc<Shared>,
    within: Duration,
    /// Once it has begun: until when.
    until: Option<Option<Instant>>,
    alarm: LazyTimer,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainSummary {
    /// How many requests had not ended when the time was over, their responses' bodies and the
    /// streams they left behind included: none, if the pool was empty in time. Each of those which
    /// waited has been refused, and each of the others broken off.
    pub aborted: usize,
}

impl Drain {
    pub(crate) fn new(pool: Arc<Shared>, within: Duration) -> Self {
        Drain {
            alarm: LazyTimer::new(pool.runtime.clone(), "draining the pool"),
            pool,
            within,
            until: None,
        }
    }
}

impl Future for Drain {
    type Output = DrainSummary;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DrainSummary> {
        let this = self.get_mut();
        let until = match this.until {
            Some(until) => until,
            None => {
                this.pool.happens(|core, _| core.state.drain());
                let until = deadline(this.pool.runtime.now(), Some(this.within));
                *this.until.insert(until)
            }
        };
        // Woken by the step which leaves nothing behind.
        let waker = cx.waker().clone();
        let (is_empty, _old) = {
            let mut core = this.pool.lock();
            let is_empty = core.state.is_empty();
            let old = core.drains.iter().position(|known| known.will_wake(&waker));
            let old = old.map(|at| core.drains.swap_remove(at));
            if !is_empty {
                core.drains.push(waker);
            }
            (is_empty, old)
        };
        let mut aborted = 0;
        if !is_empty {
            std::task::ready!(this.alarm.poll_until(cx, until));
            aborted = this.pool.revoke();
        }
        this.pool.happens(|core, _| core.state.close());
        this.pool.bell.ring();
        Poll::Ready(DrainSummary { aborted })
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("within", &self.within)
            .field("has_begun", &self.until.is_some())
            .finish_non_exhaustive()
    }
}
