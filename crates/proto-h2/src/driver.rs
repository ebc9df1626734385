//! The task of a connection: it reads and writes for all exchanges, answers PINGs and SETTINGS
//! while there are no exchanges, and tells the pool what the server admits.
//!
//! Exchanges never touch the stream below. They leave what they send with h2, which wakes this
//! task; what a hundred of them send is one write.
//!
//! The task ends when the connection does, or when the pool, the exchanges and the bodies have
//! dropped it.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use h2::client::Connection;
use httpcore_core_primitives::{Runtime, StreamLimit, Timer};

use crate::{
    config::BEFORE_SETTINGS,
    connection::Shared,
    link::{ConnShared, End},
    payload::Payload,
    ping::{PingOutcome, PingTimer},
    shares::{Share, Shares},
    tokio_io::SharedIo,
};

/// Maximum number of bytes read in one poll, before other tasks run. Beside a large download, a
/// small request waits for as long as it takes to read them.
const READ_BUDGET: usize = 256 * 1024;

/// Maximum weight of unsolicited frames (see `validate.rs`) within [`FLOOD_TIME`]: ten thousand
/// PINGs or SETTINGS. Servers that measure round trips send a PING for each.
const FLOOD: usize = 160_000;
/// Time for which windows stay as small as they were for many streams.
const REST: Duration = Duration::from_secs(10);

const FLOOD_TIME: Duration = Duration::from_secs(1);

/// Time for which reading continues after writing has failed. What the server sent before it closed
/// has arrived by then, or is lost: a reset discards it.
const READING_ON: Duration = Duration::from_secs(1);

/// Maximum number of polls of a connection that is no longer used, for sending its GOAWAY.
const MAX_CLOSE_POLLS: usize = 4;

pub(crate) struct Driver {
    /// `None` once it has ended.
    connection: Option<(Connection<SharedIo, Payload>, SharedIo)>,
    /// The users of the connection. Weak, since it ends with the last of them; and with them the
    /// runtime, which owns this task and must not be kept alive by it.
    shared: Weak<Shared>,
    link: Arc<ConnShared>,
    shares: Shares,
    /// What the server was last sent.
    share: Share,
    /// When that last changed.
    shared_at: Option<Instant>,
    /// Created when it is first needed.
    pulse: Option<PingTimer>,
    /// Number of bytes that had been read after the last poll.
    bytes_read: usize,
    /// When unsolicited frames last weighed much.
    flooded: Option<Instant>,
    /// Room for the wakers of exchanges whose streams have been opened; empty between polls.
    opened: Vec<(u64, Waker)>,
    /// Time until which reading continues, once writing has failed.
    reading_on: Option<(Instant, Box<dyn Timer>)>,
}

impl Driver {
    pub(crate) fn new(
        mut connection: Connection<SharedIo, Payload>,
        io: SharedIo,
        shared: &Arc<Shared>,
        link: Arc<ConnShared>,
    ) -> Self {
        let pulse = PingTimer::is_needed(&shared.config)
            .then(|| connection.ping_pong())
            .flatten()
            .map(|pings| PingTimer::new(&shared.config, &*shared.runtime, pings));
        let shares = Shares::new(&shared.config);
        let share = shares.of(1);
        link.admit(share.most);
        Driver {
            shares,
            share,
            shared_at: None,
            connection: Some((connection, io)),
            shared: Arc::downgrade(shared),
            link,
            pulse,
            bytes_read: 0,
            flooded: None,
            opened: Vec::new(),
            reading_on: None,
        }
    }

    /// Reads and writes what is possible now.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((connection, io)) = &mut self.connection else {
            return Poll::Ready(());
        };
        // Besides the handle, each exchange and body holds one.
        let idle = self.shared.strong_count() <= 1;
        self.link.begin_turn(READ_BUDGET, idle);
        // The stream below has recorded the failure, or h2 reports it to each exchange.
        if Pin::new(&mut *connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // Blocked or broken, reading continues.
        let _ = io.poll_send(cx);
        Poll::Pending
    }

    /// After writing has failed: tells the pool, and waits for what the server had sent before, up
    /// to the end of the stream. Ready when that takes too long.
    fn poll_reading_on(&mut self, cx: &mut Context<'_>, runtime: &dyn Runtime) -> Poll<()> {
        let Some(broken) = self.connection.as_ref().and_then(|(_, io)| io.broken()) else {
            return Poll::Pending;
        };
        self.link.publish(StreamLimit::Closed);
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
    fn publish(&mut self, shared: &Shared) {
        let Some((connection, _)) = &self.connection else {
            return;
        };
        // h2 notifies neither of a GOAWAY nor of a new limit: both are checked after each poll.
        if shared.is_over() {
            return;
        }
        if self.pulse.as_ref().is_some_and(PingTimer::is_suspect) {
            // For now, and perhaps before the server has declared its limit.
            return self.link.publish(StreamLimit::Max(0));
        }
        let limit = connection.max_concurrent_send_streams();
        if limit != BEFORE_SETTINGS {
            self.link.settled();
            // h2 keeps streams that it was given before it knew of the limit. Where others will
            // end, they are opened in time; here they may never be. h2 cannot give them back: it
            // would send their HEADERS, and then a reset, as soon as the limit is raised.
            if limit == 0 && self.link.has_unopened() {
                return self.link.strand();
            }
            let limit = limit.min(shared.config.most_streams());
            self.link.publish(StreamLimit::Max(limit));
        }
    }

    fn poll_pulse(&mut self, cx: &mut Context<'_>, shared: &Shared) -> PingOutcome {
        let bytes_read = self.link.bytes_read();
        let came = bytes_read.wrapping_sub(std::mem::replace(&mut self.bytes_read, bytes_read));
        let suspected = match shared.config.suspect_timeout {
            Some(_) => self.link.take_suspicion(),
            None => None,
        };
        if suspected.is_some()
            && self.pulse.is_none()
            && let Some((connection, _)) = &mut self.connection
        {
            self.pulse = connection
                .ping_pong()
                .map(|pings| PingTimer::new(&shared.config, &*shared.runtime, pings));
        }
        match &mut self.pulse {
            Some(pulse) => pulse.poll(cx, &*shared.runtime, came, suspected),
            None => PingOutcome::Alive,
        }
    }

    /// Adapts the windows to the number of streams.
    fn adapt(&mut self, cx: &mut Context<'_>, shared: &Shared) {
        let (streams, waiting, most) = self.link.streams();
        let wanted = streams.saturating_add(waiting);
        let share = if wanted > most {
            self.shares.of(wanted)
        } else if self.share.window < self.shares.of(1).window && wanted <= most / 4 {
            // There are far fewer than there were. They come and go, and each change is a frame.
            let now = shared.runtime.now();
            let rests = |at: Instant| now.saturating_duration_since(at) >= REST;
            if !self.shared_at.is_none_or(rests) {
                return;
            }
            self.shares.of(wanted.saturating_mul(2))
        } else {
            return;
        };
        if self.tell(share) {
            self.shared_at = Some(shared.runtime.now());
            // h2 sends it in its next poll, before new requests.
            cx.waker().wake_by_ref();
        }
    }

    /// Sends the server the size of the windows of streams; returns whether that was possible.
    fn tell(&mut self, share: Share) -> bool {
        let (before, Some((connection, _))) = (self.share, &mut self.connection) else {
            return false;
        };
        // Larger windows are for fewer streams: first the number of streams must be limited.
        let is_for_fewer = share.most < before.most;
        if share == before || (is_for_fewer && !self.link.admit(share.most)) {
            return false;
        }
        // Refused while the server has yet to acknowledge the SETTINGS before these. Its
        // acknowledgement makes the driver run again; exchanges that wait for room are not woken
        // before.
        let is_told = connection.set_initial_window_size(share.window).is_ok();
        if is_told {
            self.share = share;
        }
        if is_told != is_for_fewer {
            self.link.admit(self.share.most);
        }
        is_told
    }

    /// Sets the window of a stream while there are few.
    fn widen(&mut self, window: u32) {
        self.shares.widen(window);
        let (streams, waiting, _) = self.link.streams();
        // If it could not be sent, the next measurement tries again.
        self.tell(self.shares.of(streams.saturating_add(waiting)));
    }

    /// The connection has ended, for whatever reason.
    fn end(&mut self) {
        // Exchanges that are left receive an error when this is dropped.
        self.connection = None;
        self.link.has_gone();
        // Exchanges that wait for room are woken by h2.
        self.link.admit(u32::MAX);
        self.link.publish(StreamLimit::Closed);
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
        // First the waker, then the check: dropping the last handle calls it. h2 would as well, but
        // not while it cannot write.
        driver.link.drives(cx.waker());
        let Some(shared) = driver.shared.upgrade() else {
            for _ in 1..MAX_CLOSE_POLLS {
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
        driver.link.forget_opened(&mut driver.opened);
        driver.opened.clear();
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
        match driver.poll_pulse(cx, &shared) {
            PingOutcome::Alive => {}
            PingOutcome::Widen(window) => {
                driver.widen(window);
                // h2 reports its own verdict in its next poll.
                cx.waker().wake_by_ref();
            }
            beat @ (PingOutcome::Over | PingOutcome::Unanswered) => {
                driver.link.ended(match beat {
                    PingOutcome::Unanswered => End::Unanswered,
                    _ => End::Silent,
                });
                driver.end();
                return Poll::Ready(());
            }
        }
        driver.publish(&shared);
        driver.adapt(cx, &shared);
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
