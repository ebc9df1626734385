//! Waiting for an instant: timers, and attempts to connect or to look up a name.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use httpcore_core_primitives::Timer;

use crate::{
    event_queue::{At, ScheduledEvent},
    timer_entry::TimerEntry,
    world::World,
};

/// A registered timer or attempt; dropping it removes the entry.
pub(crate) struct TimerHandle {
    world: Arc<World>,
    id: u64,
}

impl TimerHandle {
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
            state.timers.insert(
                id,
                TimerEntry {
                    what,
                    is_timer,
                    side,
                    due: None,
                    waker: None,
                },
            );
            id
        });
        TimerHandle { world, id }
    }

    /// Ready once the world is `at` old; never, if that is `None`.
    ///
    /// # Panics
    ///
    /// If it has to wait while another runtime drives this thread.
    pub(crate) fn poll_at(&mut self, cx: &mut Context<'_>, at: Option<Duration>) -> Poll<()> {
        let polled = self.poll_here(cx, at);
        if polled.is_pending() {
            self.world.assert_not_driven_elsewhere("awaited");
            self.world.watch().waits();
        }
        polled
    }

    fn poll_here(&mut self, cx: &mut Context<'_>, at: Option<Duration>) -> Poll<()> {
        let waker = cx.waker().clone();
        self.world.with(|state, wakes| {
            let now = state.event_queue.now();
            let Some(timer) = state.timers.get_mut(&self.id) else {
                // The world has been cleared; nothing will ever happen in it.
                wakes.discard(Some(waker));
                return Poll::Pending;
            };
            let armed = timer.due.map(|key| key.0);
            if armed != at || at.is_some_and(|at| at <= now) {
                if let Some(key) = timer.due.take() {
                    state.event_queue.remove(key);
                }
                match at {
                    Some(at) if at <= now => {
                        wakes.discard(Some(waker));
                        wakes.discard(timer.waker.take());
                        return Poll::Ready(());
                    }
                    Some(at) => {
                        timer.due = Some(
                            state
                                .event_queue
                                .add(at, ScheduledEvent::TimerExpired(self.id)),
                        )
                    }
                    None => {}
                }
            }
            wakes.register(&mut timer.waker, waker);
            Poll::Pending
        })
    }

    /// Waits until the world is `at` old; for ever, if that is `None`.
    pub(crate) async fn until(&mut self, at: Option<Duration>) {
        std::future::poll_fn(|cx| self.poll_at(cx, at)).await;
    }
}

impl Drop for TimerHandle {
    fn drop(&mut self) {
        self.world.with(|state, wakes| {
            if let Some(timer) = state.timers.remove(&self.id) {
                wakes.discard(timer.waker);
                if let Some(key) = timer.due {
                    state.event_queue.remove(key);
                }
            }
        });
    }
}

impl Timer for TimerHandle {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let at = self.world.since_beginning(deadline);
        self.poll_at(cx, Some(at))
    }

    fn disarm(&mut self) {
        self.world.with(|state, wakes| {
            if let Some(timer) = state.timers.get_mut(&self.id) {
                wakes.discard(timer.waker.take());
                if let Some(key) = timer.due.take() {
                    state.event_queue.remove(key);
                }
            }
        });
    }
}

/// The future of [`MockNet::sleep`](crate::MockNet::sleep).
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    timer: TimerHandle,
    at: Duration,
}

impl Sleep {
    pub(crate) fn new(world: Arc<World>, duration: Duration) -> Self {
        let at = world
            .with(|state, _| state.event_queue.now())
            .saturating_add(duration);
        Sleep {
            timer: TimerHandle::timer(world, "sleep"),
            at,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        self.timer.poll_at(cx, Some(at))
    }
}

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sleep(until {})", At(self.at))
    }
}
