//! Timers on a runtime that has timers of its own: one table, and one task that sleeps until its next deadline.
//!
//! Setting a deadline does not touch the runtime's timers, and a dropped task says that the runtime has ended.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use httpcore_core_primitives::Timer;

use crate::{TimerSlot, Timers};

/// The timers of one backend. Cloning it yields another handle to the same timers.
///
/// With the last handle and the last timer, its [`TimerDriver`] ends.
#[derive(Clone)]
pub struct SharedTimers(Arc<Owner>);

struct Owner(Arc<Table>);

struct Table {
    timers: Timers,
    now: fn() -> Instant,
    /// Wakes the driver.
    driver: Mutex<Option<Waker>>,
    has_ended: AtomicBool,
    /// No handle is left, and so no timer.
    is_released: AtomicBool,
}

impl SharedTimers {
    /// Creates timers with the clock `now`, and the task that drives them with `sleep`, the one timer that it has
    /// of the runtime. The caller spawns the task on that runtime.
    pub fn new<T: Timer>(now: fn() -> Instant, sleep: T) -> (Self, TimerDriver<T>) {
        let table = Arc::new(Table {
            timers: Timers::default(),
            now,
            driver: Mutex::default(),
            has_ended: AtomicBool::new(false),
            is_released: AtomicBool::new(false),
        });
        let driver = TimerDriver {
            table: table.clone(),
            sleep,
        };
        (SharedTimers(Arc::new(Owner(table))), driver)
    }

    /// Returns a timer, not yet waiting for anything.
    pub fn timer(&self) -> Box<dyn Timer> {
        Box::new(TableTimer {
            owner: self.clone(),
            slot: None,
        })
    }

    /// Returns the time.
    pub fn now(&self) -> Instant {
        (self.0.0.now)()
    }

    /// Returns whether the driver has been dropped: with its runtime, as a rule. All timers are
    /// ready then.
    pub fn has_ended(&self) -> bool {
        self.0.0.has_ended.load(Ordering::Acquire)
    }
}

impl fmt::Debug for SharedTimers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTimers")
            .field("has_ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.is_released.store(true, Ordering::Release);
        self.0.wake_driver();
    }
}

impl Table {
    fn wake_driver(&self) {
        let waker = self.driver().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn driver(&self) -> MutexGuard<'_, Option<Waker>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that calls the wakers of timers whose deadline has passed.
///
/// It ends with the last handle to its timers. Dropped before, it makes all of them ready, now and later.
#[must_use = "timers go off only if it runs"]
pub struct TimerDriver<T> {
    table: Arc<Table>,
    sleep: T,
}

impl<T: Timer> TimerDriver<T> {
    /// Ready if a deadline has passed; pending with the driver's waker in the runtime's timer.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.table.timers.next() {
            None => {
                self.sleep.disarm();
                Poll::Pending
            }
            Some(next) if next <= (self.table.now)() => Poll::Ready(()),
            Some(next) => self.sleep.poll_until(cx, next),
        }
    }
}

impl<T: Timer + Unpin> Future for TimerDriver<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        loop {
            // Left before the table is read: a deadline that is set in between wakes this task.
            let waker = cx.waker().clone();
            let former = driver.table.driver().replace(waker);
            drop(former);
            if driver.table.is_released.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if driver.poll_next(cx).is_pending() {
                return Poll::Pending;
            }
            let mut due = Vec::new();
            driver.table.timers.expire((driver.table.now)(), &mut due);
            wake_all(due);
        }
    }
}

impl<T> Drop for TimerDriver<T> {
    fn drop(&mut self) {
        self.table.has_ended.store(true, Ordering::Release);
        let mut due = Vec::new();
        self.table.timers.end(&mut due);
        wake_all(due);
    }
}

impl<T> fmt::Debug for TimerDriver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerDriver").finish_non_exhaustive()
    }
}

/// Calls every waker, also after one that panics.
fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

struct TableTimer {
    owner: SharedTimers,
    slot: Option<TimerSlot>,
}

impl TableTimer {
    fn table(&self) -> &Table {
        &self.owner.0.0
    }
}

impl Timer for TableTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let table = &*self.owner.0.0;
        table
            .timers
            .poll_until(&mut self.slot, cx, (table.now)(), deadline, None, || {
                table.wake_driver();
            })
    }

    fn disarm(&mut self) {
        if let Some(slot) = &self.slot {
            self.table().timers.disarm(slot);
        }
    }
}

impl Drop for TableTimer {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.table().timers.release(slot);
        }
    }
}
