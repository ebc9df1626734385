//! The driver of a thread's futures, so that a future of another runtime can report that it would never
//! be woken on this thread.

use std::cell::Cell;

/// The driver of the futures that are polled on this thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Driver {
    /// None that has announced itself.
    #[default]
    Unknown,
    /// An event loop in real time.
    EventLoop,
    /// A thread that blocks in a socket while nothing but the data of that socket can wake its future. A
    /// waker that is kept elsewhere makes it wait in its event loop instead, which takes more system calls
    /// than a small request.
    BlockingThread,
    /// A mock network in virtual time, with a number that is unique among those that exist.
    World(usize),
}

thread_local! {
    static DRIVER: Cell<Driver> = const { Cell::new(Driver::Unknown) };
}

impl Driver {
    /// Returns the current driver of this thread, the innermost of several.
    pub fn current() -> Self {
        // While the thread's locals are being destroyed, no future is polled on it.
        DRIVER.try_with(Cell::get).unwrap_or_default()
    }
}

/// A guard that sets [`Driver::current`] for this thread, and restores the former value on drop.
#[derive(Debug)]
#[must_use = "the driver is set until the guard is dropped"]
pub struct Driven(Driver);

impl Driven {
    /// Sets `driver` until the guard is dropped.
    pub fn by(driver: Driver) -> Self {
        Driven(
            DRIVER
                .try_with(|now| now.replace(driver))
                .unwrap_or_default(),
        )
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let _ = DRIVER.try_with(|now| now.set(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn innermost_driver_of_the_same_thread_is_current() {
        assert_eq!(Driver::current(), Driver::Unknown);
        let outer = Driven::by(Driver::EventLoop);
        {
            let _inner = Driven::by(Driver::World(1));
            assert_eq!(Driver::current(), Driver::World(1));
            let other = std::thread::spawn(Driver::current).join().unwrap();
            assert_eq!(other, Driver::Unknown);
        }
        assert_eq!(Driver::current(), Driver::EventLoop);
        drop(outer);
        assert_eq!(Driver::current(), Driver::Unknown);
    }
}
