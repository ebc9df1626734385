//! One task, which notices what ends by itself: connections that have been idle for too long, that
//! are too old, or that the other side has closed; shared ones that admit more or less than before;
//! dials that have had their time while others wait for their places.
//!
//! It begins when there first is something to watch, sleeps until something expires or is noted,
//! and ends when there is no connection left. A connection lent and given back again and again
//! neither wakes it nor moves its timer: it finds a later expiry when it wakes for the earlier one.

use std::{
    future::Future,
    mem::replace,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Instant,
};

use httpcore_core_primitives::{SharedConnection, StreamLimit, Timer, options::earlier};

use crate::{
    shell::{Core, Shared},
    state::PlaceId,
};

/// How often a connection is asked at once for news of its limit. One that always has news would
/// otherwise hold everybody up.
const MOST_NEWS: usize = 16;

/// Whether there is a janitor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Watch {
    Off,
    /// It will look again at this time at the latest, or never by itself.
    Until(Option<Instant>),
}

/// What connections ring when they may have ended. Has a lock of its own, under which nothing is
/// done but to write a number down.
#[derive(Default)]
pub(crate) struct Bell(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    places: Vec<PlaceId>,
    waker: Option<Waker>,
}

impl Bell {
    /// A connection called.
    pub(crate) fn note(&self, place: PlaceId) {
        let waker = {
            let mut noted = self.lock();
            noted.places.push(place);
            noted.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes the janitor.
    pub(crate) fn ring(&self) {
        if let Some(waker) = self.take_waker() {
            waker.wake();
        }
    }

    /// What to wake the janitor with, once.
    pub(crate) fn take_waker(&self) -> Option<Waker> {
        self.lock().waker.take()
    }

    /// Leaves a waker, and takes what was noted. Whatever is noted later will wake.
    fn listen(&self, waker: &Waker) -> Vec<PlaceId> {
        let waker = Some(waker.clone());
        let (places, _old) = {
            let mut noted = self.lock();
            let old = replace(&mut noted.waker, waker);
            (std::mem::take(&mut noted.places), old)
        };
        places
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn start(pool: &Shared) {
    let janitor = Janitor {
        timer: None,
        bell: pool.bell.clone(),
        pool: pool.me.clone(),
        over: false,
    };
    pool.runtime.spawn("pool janitor", Box::pin(janitor));
}

struct Janitor {
    pool: Weak<Shared>,
    bell: Arc<Bell>,
    /// Not an `LazyTimer`: that keeps its runtime alive, and this task belongs to the runtime.
    timer: Option<Box<dyn Timer>>,
    over: bool,
}

impl Future for Janitor {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let janitor = &mut *self;
        loop {
            // First the waker, then the look: what happens after the look wakes.
            let noted = janitor.bell.listen(cx.waker());
            // Woken once more when the pool is dropped, by the pool.
            let Some(pool) = janitor.pool.upgrade() else {
                janitor.over = true;
                return Poll::Ready(());
            };
            let Watch::Until(until) = pool.patrol(&noted) else {
                janitor.over = true;
                return Poll::Ready(());
            };
            let Some(until) = until else {
                janitor.timer = None;
                return Poll::Pending;
            };
            let runtime = &pool.runtime;
            let timer = janitor
                .timer
                .get_or_insert_with(|| runtime.timer("idle connections"));
            std::task::ready!(timer.poll_until(cx, until));
            // The timers of a runtime that has ended are ready before their time, and this task,
            // which was being polled at that moment, would go round for ever.
            if runtime.now() < until {
                return Poll::Ready(());
            }
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        // The runtime has dropped it: let whoever parks a connection next try again.
        if !self.over
            && let Some(pool) = self.pool.upgrade()
        {
            pool.lock().watch = Watch::Off;
        }
    }
}

impl Shared {
    /// Closes what has expired and what is found to have ended; says until when the janitor may
    /// sleep.
    fn patrol(&self, noted: &[PlaceId]) -> Watch {
        let shared = Shared::shared_among(&mut self.lock(), noted);
        // Connections are asked for their limits without the lock: only this task asks.
        let limits: Vec<_> = shared
            .iter()
            .filter_map(|(place, handle, waker)| Some((*place, latest_limit(&**handle, waker)?)))
            .collect();
        drop(shared);
        let now = self.runtime.now();
        let (watch, _waker) = self.step(
            now,
            |core| {
                for &place in noted {
                    core.state.woken(place);
                }
                for (place, limit) in limits {
                    core.state.admits(place, limit);
                }
                core.state.expire(now);
            },
            |core, ()| {
                core.watch = if core.state.needs_watching() {
                    Watch::Until(earlier(
                        core.state.next_expiry(),
                        core.next_round(self, now),
                    ))
                } else {
                    Watch::Off
                };
                match core.watch {
                    Watch::Off => (Watch::Off, self.bell.take_waker()),
                    Watch::Until(_) => (core.watch, None),
                }
            },
        );
        watch
    }
}

impl Core {
    /// What is in use is idle in a moment, as a rule, and would have to wake the janitor if that
    /// meant to sleep until its age. So while requests come, a look is taken as often as something
    /// might have become too idle; once none have come, only for what is known.
    fn next_round(&mut self, pool: &Shared, now: Instant) -> Option<Instant> {
        let granted = self.state.stats().granted;
        let before = replace(&mut self.granted_before, granted);
        let limit = pool.config.idle_timeout.filter(|_| granted != before)?;
        now.checked_add(limit)
    }
}

/// The latest news of how many exchanges a connection admits; leaves `waker` with it.
pub(crate) fn latest_limit(
    connection: &dyn SharedConnection,
    waker: &Waker,
) -> Option<StreamLimit> {
    let mut latest = None;
    for _ in 0..MOST_NEWS {
        match connection.poll_stream_limit(&mut Context::from_waker(waker)) {
            Poll::Ready(StreamLimit::Closed) => return Some(StreamLimit::Closed),
            Poll::Ready(limit) => latest = Some(limit),
            Poll::Pending => return latest,
        }
    }
    // It has more to say: come back for it.
    waker.wake_by_ref();
    latest
}
