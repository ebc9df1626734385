//! Timers: one table for a backend, and one task that sleeps until the next deadline.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use httpcore_core_primitives::Timer;
use httpcore_executor::{TimerSlot, Timers};
use tokio::time::{Sleep, sleep_until};

use crate::{Shared, now};

/// The deadlines of a backend, and whether its runtime has ended.
#[derive(Default)]
pub(crate) struct TimerTable {
    timers: Timers,
    /// Wakes the driver.
    driver: Mutex<Option<Waker>>,
    has_ended: AtomicBool,
    /// Whether all handles to the backend, and so all timers, have been dropped.
    is_released: AtomicBool,
}

impl TimerTable {
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Lets the driver end.
    pub(crate) fn release(&self) {
        self.is_released.store(true, Ordering::Release);
        self.wake_driver();
    }

    fn wake_driver(&self) {
        let waker = self.lock_driver().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock_driver(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that calls the wakers of timers whose deadline has come.
///
/// It is dropped with its runtime, and all timers are ready then: a runtime drops its tasks before it shuts
/// its own timers down, which are not polled afterwards.
pub(crate) struct TimerDriver {
    table: Arc<TimerTable>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl TimerDriver {
    pub(crate) fn new(table: Arc<TimerTable>) -> Self {
        TimerDriver { table, sleep: None }
    }

    /// Ready if a deadline has come; pending with the driver's waker in tokio's timer.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.table.timers.next() else {
            return Poll::Pending;
        };
        if next <= now() {
            return Poll::Ready(());
        }
        let next = tokio::time::Instant::from_std(next);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(next)));
        if sleep.deadline() != next {
            sleep.as_mut().reset(next);
        }
        sleep.as_mut().poll(cx)
    }
}

impl Future for TimerDriver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        loop {
            // Registered before the table is read: a deadline that is set in between wakes this task.
            let waker = cx.waker().clone();
            let former = driver.table.lock_driver().replace(waker);
            drop(former);
            if driver.table.is_released.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if driver.poll_next(cx).is_pending() {
                return Poll::Pending;
            }
            let mut ready = Vec::new();
            driver.table.timers.expire(now(), &mut ready);
            wake_all(ready);
        }
    }
}

impl Drop for TimerDriver {
    fn drop(&mut self) {
        self.table.has_ended.store(true, Ordering::Release);
        let mut ready = Vec::new();
        self.table.timers.end(&mut ready);
        wake_all(ready);
    }
}

/// Calls every waker, also after one that panics.
fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

/// One timer of a backend.
pub(crate) struct TokioTimer {
    shared: Arc<Shared>,
    slot: Option<TimerSlot>,
}

impl TokioTimer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        TokioTimer { shared, slot: None }
    }
}

impl Timer for TokioTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let table = &self.shared.timers;
        table
            .timers
            .poll_until(&mut self.slot, cx, now(), deadline, None, || {
                table.wake_driver()
            })
    }

    fn disarm(&mut self) {
        if let Some(slot) = &self.slot {
            self.shared.timers.timers.disarm(slot);
        }
    }
}

impl Drop for TokioTimer {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shared.timers.timers.release(slot);
        }
    }
}
