//! Waiting for a pool to be empty.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{LazyTimer, options::deadline};

use crate::{inner::PoolInner, state::Input};

/// A pool on its way to being empty: the future of [`Pool::drain`](crate::Pool::drain).
#[must_use = "futures do nothing unless polled"]
pub struct Drain {
    pool: Arc<PoolInner>,
    within: Duration,
    /// Once it has begun: until when.
    until: Option<Option<Instant>>,
    alarm: LazyTimer,
    /// Its waker, by its key among those of the pool.
    waker: Option<usize>,
}

/// Outcome of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainSummary {
    /// Number of requests that had not ended when the time was over, those whose response's body or
    /// upgraded stream is still held included: none, if the pool was empty in time. Each of those that
    /// waited has been refused, and each of the others aborted.
    pub aborted: usize,
}

impl Drain {
    pub(crate) fn new(pool: Arc<PoolInner>, within: Duration) -> Self {
        Drain {
            alarm: LazyTimer::new(pool.runtime.clone(), "draining the pool"),
            pool,
            within,
            until: None,
            waker: None,
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
                this.pool.handle(Input::Drain);
                let until = deadline(this.pool.runtime.now(), Some(this.within));
                *this.until.insert(until)
            }
        };
        // Woken by the step that leaves the pool empty.
        let is_empty = this.register(cx.waker());
        let mut aborted = 0;
        if is_empty {
            this.pool.handle(Input::Close);
        } else {
            std::task::ready!(this.alarm.poll_until(cx, until));
            aborted = this.pool.revoke();
        }
        this.pool.notifier.notify();
        Poll::Ready(DrainSummary { aborted })
    }
}

impl Drain {
    /// Leaves `waker` with the pool, in place of the one before. Returns whether the pool is empty.
    fn register(&mut self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let (is_empty, _old) = {
            let mut locked = self.pool.lock();
            let key = self.waker.filter(|&key| locked.drains.contains(key));
            let old = match key {
                Some(key) => Some(std::mem::replace(&mut locked.drains[key], waker)),
                None => {
                    self.waker = Some(locked.drains.insert(waker));
                    None
                }
            };
            (locked.state.is_empty(), old)
        };
        is_empty
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if let Some(key) = self.waker {
            let _old = self.pool.lock().drains.try_remove(key);
        }
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
