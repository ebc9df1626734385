//! The task behind a connection: it reads and writes for all exchanges, answers PINGs and SETTINGS
//! while nobody asks for anything, and tells the pool what the server admits.
//!
//! Exchanges never touch the stream. What they want sent, they leave with h2, which wakes this
//! task; so what a hundred of them want goes out in one write.
//!
//! The task ends when the connection does, or when nobody holds it any more: neither the pool, nor
//! an exchange, nor a body.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use h2::client::Connection;
use httpcore_core_primitives::{Admission, Runtime, Timer};

use crate::{
    config::{BEFORE_SETTINGS, LARGEST_WINDOW},
    connection::Shared,
    link::{End, Link},
    payload::Payload,
    pulse::{Beat, Pulse},
    tokio_io::SharedIo,
};

/// How much is read before others have their turn. Beside a large download, a small request waits
/// for as long as this takes to be read.
const ALLOWANCE: usize = 256 * 1024;

/// What frames may weigh that nobody asked for (see `inspect.rs`), within [`FLOOD_TIME`]: ten thousand
/// PINGs or SETTINGS. Servers that measure round trips send a PING for each.
const FLOOD: usize = 160_000;
const FLOOD_TIME: Duration = Duration::from_secs(1);

/// How long reading goes on after writing has failed. What the server said before it closed has arrived
/// by then, or is lost: a reset discards it.
const READING_ON: Duration = Duration::from_secs(1);

/// How often a connection which nobody holds any more is polled so that it can say goodbye.
const GOODBYES: usize = 4;

pub(crate) struct Driver {
    /// None once it has ended.
    connection: Option<(Connection<SharedIo, Payload>, SharedIo)>,
    /// Those who use the connection. Weak, since it ends with the last of them; and through them
    /// the runtime, which owns this task and must not be kept by it.
    shared: Weak<Shared>,
    link: Arc<Link>,
    pulse: Option<Pulse>,
    /// When there last was much that nobody asked for.
    flooded: Option<Instant>,
    /// Until when reading goes on, once writing has failed.
    reading_on: Option<(Instant, Box<dyn Timer>)>,
}

impl Driver {
    pub(crate) fn new(
        mut connection: Connection<SharedIo, Payload>,
        io: SharedIo,
        shared: &Arc<Shared>,
        link: Arc<Link>,
    ) -> Self {
        let pulse = Pulse::new(&shared.config, &*shared.runtime, || connection.ping_pong());
        Driver {
            connection: Some((connection, io)),
            shared: Arc::downgrade(shared),
            link,
            pulse,
            flooded: None,
            reading_on: None,
        }
    }

    /// Reads and writes what can be.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((connection, io)) = &mut self.connection else {
            return Poll::Ready(());
        };
        // Besides the handle, each exchange and body holds one.
        let idle = self.shared.strong_count() <= 1;
        self.link.begin_turn(ALLOWANCE, idle);
        // What went wrong has been noted by the stream below, or is told to each exchange by h2.
        if Pin::new(&mut *connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // Blocked or broken, reading goes on.
        let _ = io.poll_send(cx);
        Poll::Pending
    }

    /// Where writing has failed: tells the pool, and waits for what the server had said before, up to
    /// the end. Ready when that takes too long.
    fn poll_reading_on(&mut self, cx: &mut Context<'_>, runtime: &dyn Runtime) -> Poll<()> {
        let Some(broken) = self.connection.as_ref().and_then(|(_, io)| io.broken()) else {
            return Poll::Pending;
        };
        self.link.publish(Admission::Over);
        let (due, timer) = self.reading_on.get_or_insert_with(|| {
            let due = runtime.now() + READING_ON;
            (
                due,
                runtime.timer("the end of a connection that cannot be written to"),
            )
        });
        ready!(timer.poll_until(cx, *due));
        self.link.ended(broken);
        Poll::Ready(())
    }

    /// Tells the pool what is admitted now.
    fn publish(&self, shared: &Shared) {
        let Some((connection, _)) = &self.connection else {
            return;
        };
        // h2 announces neither a GOAWAY nor a new limit: it is asked after each turn.
        if shared.is_over() {
            return;
        }
        let limit = connection.max_concurrent_send_streams();
        if limit != BEFORE_SETTINGS {
            self.link.settled();
            let limit = limit.min(shared.config.max_streams);
            self.link.publish(Admission::UpTo(limit));
        }
    }

    fn widen(&mut self, window: u32, least: u32) {
        if let Some((connection, _)) = &mut self.connection {
            // Refused while the server has yet to acknowledge the SETTINGS before these; then the
            // next measurement tries again.
            if connection.set_initial_window_size(window).is_ok() {
                let both = window.saturating_mul(2).max(least).min(LARGEST_WINDOW);
                connection.set_target_window_size(both);
            }
        }
    }

    /// The connection is gone, for whatever reason.
    fn end(&mut self) {
        // Exchanges that are left learn of it when this is dropped.
        self.connection = None;
        self.link.has_gone();
        self.link.publish(Admission::Over);
        self.link.settled();
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        if driver.poll_connection(cx).is_ready() {
            driver.link.ended(End::Closed);
            driver.end();
            return Poll::Ready(());
        }
        // First the waker, then the look: whoever drops the last handle calls it. h2 would as well,
        // but not while it cannot write.
        driver.link.drives(cx.waker());
        let Some(shared) = driver.shared.upgrade() else {
            for _ in 1..GOODBYES {
                if driver.poll_connection(cx).is_ready() {
                    break;
                }
            }
            driver.end();
            return Poll::Ready(());
        };
        if driver.poll_reading_on(cx, &*shared.runtime).is_ready() {
            driver.end();
            return Poll::Ready(());
        }
        driver.publish(&shared);
        if driver.link.is_flooded(FLOOD) {
            let now = shared.runtime.now();
            let before = driver.flooded.replace(now);
            if before.is_some_and(|before| now.duration_since(before) < FLOOD_TIME) {
                let how = "the server floods the connection with control frames";
                driver.link.ended(End::Abused(how));
                driver.end();
                return Poll::Ready(());
            }
        }
        if let Some(pulse) = &mut driver.pulse {
            let heard = driver.link.take_heard();
            match pulse.poll(cx, &*shared.runtime, heard) {
                Beat::Alive => {}
                Beat::Widen(window) => {
                    driver.widen(window, shared.config.connection_window);
                    // What h2 has to say about that, it says in its next turn.
                    cx.waker().wake_by_ref();
                }
                Beat::Over => {
                    driver.link.ended(End::Silent);
                    driver.end();
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.connection.is_some() {
            self.link.ended(End::Dropped);
            self.end();
        }
    }
}
