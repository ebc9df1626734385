//! Waiting for an instant: timers, and attempts to connect or to look up.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use httpcore_core_primitives::Timer;

use crate::{
    event_queue::{Key, ScheduledEvent},
    report::{At, Side},
    world::World,
};

/// One entry of the world's book of those who wait.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) what: String,
    pub(crate) is_timer: bool,
    pub(crate) side: Side,
    pub(crate) due: Option<Key>,
    pub(crate) waker: Option<Waker>,
}

impl Wait {
    pub(crate) fn describe(&self) -> String {
        let kind = if self.is_timer { "timer " } else { "" };
        match self.due {
            Some((at, _)) => format!("{kind}{:?}, due at {}", self.what, At(at)),
            None if self.is_timer => format!("{kind}{:?}, not armed", self.what),
            None => format!("{:?}, never answered", self.what),
        }
    }
}

/// An entry in that book, for as long as this value lives.
pub(crate) struct Waiting {
    world: Arc<World>,
    id: u64,
}

impl Waiting {
    pub(crate) fn timer(world: Arc<World>, purpose: &str) -> Self {
        Self::new(world, purpose.to_owned(), true)
    }

    pub(crate) fn attempt(world: Arc<World>, what: String) -> Self {
        Self::new(world, what, false)
    }

    fn new(world: Arc<World>, what: String, is_timer: bool) -> Self {
        let id = world.with(|state, _| {
            let id = state.event_queue.number();
            let side = state.side();
            state.waits.insert(
                id,
                Wait {
                    what,
                    is_timer,
                    side,
                    due: None,
                    waker: None,
                },
            );
            id
        });
        Waiting { world, id }
    }

    /// Ready once the world is `at` old; never, if that is `None`.
    ///
    /// # Panics
    ///
    /// When it has to wait although another runtime runs the futures of this thread.
    pub(crate) fn poll_at(&mut self, cx: &mut Context<'_>, at: Option<Duration>) -> Poll<()> {
        let polled = self.poll_here(cx, at);
        if polled.is_pending() {
            self.world.forbid_elsewhere("awaited");
        }
        polled
    }

    fn poll_here(&mut self, cx: &mut Context<'_>, at: Option<Duration>) -> Poll<()> {
        let waker = cx.waker().clone();
        self.world.with(|state, wakes| {
            let now = state.event_queue.now();
            let Some(wait) = state.waits.get_mut(&self.id) else {
                // The world has been cleared; nothing will ever happen in it.
                wakes.discard(Some(waker));
                return Poll::Pending;
            };
            let armed = wait.due.map(|key| key.0);
            if armed != at || at.is_some_and(|at| at <= now) {
                if let Some(key) = wait.due.take() {
                    state.event_queue.remove(key);
                }
                match at {
                    Some(at) if at <= now => {
                        wakes.discard(Some(waker));
                        wakes.discard(wait.waker.take());
                        return Poll::Ready(());
                    }
                    Some(at) => {
                        wait.due = Some(state.event_queue.add(at, ScheduledEvent::Wait(self.id)))
                    }
                    None => {}
                }
            }
            wakes.park(&mut wait.waker, waker);
            Poll::Pending
        })
    }

    /// Waits until the world is `at` old; for ever, if that is `None`.
    pub(crate) async fn until(&mut self, at: Option<Duration>) {
        std::future::poll_fn(|cx| self.poll_at(cx, at)).await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.world.with(|state, wakes| {
            if let Some(wait) = state.waits.remove(&self.id) {
                wakes.discard(wait.waker);
                if let Some(key) = wait.due {
                    state.event_queue.remove(key);
                }
            }
        });
    }
}

impl Timer for Waiting {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let at = self.world.since_beginning(deadline);
        self.poll_at(cx, Some(at))
    }

    fn disarm(&mut self) {
        self.world.with(|state, wakes| {
            if let Some(wait) = state.waits.get_mut(&self.id) {
                wakes.discard(wait.waker.take());
                if let Some(key) = wait.due.take() {
                    state.event_queue.remove(key);
                }
            }
        });
    }
}

/// The future of [`MockNet::sleep`](crate::MockNet::sleep).
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    waiting: Waiting,
    at: Duration,
}

impl Sleep {
    pub(crate) fn new(world: Arc<World>, duration: Duration) -> Self {
        let at = world
            .with(|state, _| state.event_queue.now())
            .saturating_add(duration);
        Sleep {
            waiting: Waiting::timer(world, "sleep"),
            at,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        self.waiting.poll_at(cx, Some(at))
    }
}

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sleep(until {})", At(self.at))
    }
}
