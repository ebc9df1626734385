//! A minimal event loop: tasks wait for deadlines, and the loop sleeps until the next one.

use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use httpcore_executor::{TaskQueue, Timers};

#[allow(
    clippy::disallowed_methods,
    reason = "this loop is a backend: it reads the clock and sleeps until the next deadline"
)]
fn main() {
    let (queue, timers) = (TaskQueue::new(|| {}), Arc::new(Timers::default()));
    for tick in 1..=3 {
        let timers = timers.clone();
        let deadline = Instant::now() + Duration::from_millis(20 * tick);
        let wait = async move {
            let mut slot = None;
            poll_fn(|cx| timers.poll_until(&mut slot, cx, Instant::now(), deadline, None, || {}))
                .await;
            println!("tick {tick}");
            if let Some(slot) = slot {
                timers.release(slot);
            }
        };
        queue.spawn("tick", Box::pin(wait));
    }
    while queue.live() > 0 {
        while let Some(task) = queue.pop() {
            task.run();
        }
        if let Some(next) = timers.next() {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let mut ready = Vec::new();
        timers.expire(Instant::now(), &mut ready);
        ready.into_iter().for_each(std::task::Waker::wake);
    }
}
