//! What runs the futures of a thread, so that a future of another runtime can say that it will never
//! be woken there.

use std::cell::Cell;

/// What runs the futures that are polled on this thread now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Driver {
    /// Nothing that says so.
    #[default]
    Unknown,
    /// An event loop in real time.
    EventLoop,
    /// A world in virtual time, with a number that no other world has while it exists.
    World(usize),
}

thread_local! {
    static DRIVER: Cell<Driver> = const { Cell::new(Driver::Unknown) };
}

impl Driver {
    /// Returns what runs the futures of this thread now, the innermost of several.
    pub fn current() -> Self {
        // While the thread's locals are being destroyed, nothing runs futures on it.
        DRIVER.try_with(Cell::get).unwrap_or_default()
    }
}

/// Sets [`Driver::current`] for this thread, and on drop what it was before.
#[derive(Debug)]
#[must_use = "it counts until it is dropped"]
pub struct Driven(Driver);

impl Driven {
    /// From now on, `driver` runs the futures of this thread.
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
    fn the_innermost_driver_counts_until_its_end_and_on_its_thread_only() {
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
