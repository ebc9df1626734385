//! Building blocks of an event loop, without I/O, threads or a clock.
//!
//! - [`TaskQueue`] is a queue of tasks that are ready to be polled. The caller pops and polls.
//! - [`Timers`] is a table of deadlines, most of which are never reached. The caller sleeps until
//!   [`Timers::next`], and calls the wakers that [`Timers::expire`] returns.
//! - [`SharedTimers`] is such a table on a runtime that has timers of its own.
//!
//! All are `Sync`. No waker is called, and no task or waker dropped, while a lock is held.
//!
//! ```
//! use httpcore_executor::TaskQueue;
//!
//! let queue = TaskQueue::new(|| {});
//! queue.spawn("greeting", Box::pin(async { println!("hello") }));
//! while let Some(task) = queue.pop() {
//!     task.run();
//! }
//! assert_eq!(queue.live(), 0);
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod sync;
pub mod task_queue;
pub mod timer_driver;
pub mod timers;

pub use task_queue::{AbortHandle, Runnable, TaskQueue};
pub use timer_driver::{SharedTimers, TimerDriver};
pub use timers::{Armed, TimerSlot, Timers, WakerCount};
