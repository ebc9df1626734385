//! Our PINGs: whether the server is alive, and the capacity of the path to it.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use h2::{Ping, PingPong};
use httpcore_core_primitives::{Runtime, Timer};

use crate::{config::Http2Config, link::Unanswered};

/// PINGs, one at a time, for either purpose.
///
/// ```text
///   quiet ── interval without a byte, or data of a large response ──► waiting
///     ▲                                                                │ │ timeout without a byte
///     └───────────────────────── the answer ───────────────────────────┘ └────────────► over
/// ```
pub(crate) struct PingTimer {
    pings: PingPong,
    /// When it was decided to send the PING whose answer is awaited.
    asked: Option<Instant>,
    /// The PING measures the path. A keep-alive PING is sent when little or nothing arrives, and
    /// what arrived before it does not measure the path.
    measures: bool,
    keep_alive: Option<KeepAlive>,
    adaptive: Option<Adaptive>,
    /// Maximum time without a byte on a suspect connection.
    suspect_timeout: Option<Duration>,
    suspicion: Option<Suspicion>,
    /// When the last PING was sent because the connection was suspect.
    suspected: Option<Instant>,
}

/// A request has ended without a response, and nothing has arrived since.
struct Suspicion {
    timer: Box<dyn Timer>,
    since: Instant,
    /// When the PING was sent.
    asked: Option<Instant>,
    /// The connection takes no new exchanges.
    is_closed: bool,
}

/// Time for which a connection continues to take exchanges while the server is sent a PING because
/// a request was dropped: callers drop requests for reasons of their own, and most servers answer
/// within this time.
const DROP_GRACE: Duration = Duration::from_millis(500);

/// Minimum time between PINGs to suspect servers: some servers limit PINGs.
const SUSPECT_PAUSE: Duration = Duration::from_secs(5);

struct KeepAlive {
    timer: Box<dyn Timer>,
    interval: Duration,
    deadline: Duration,
    /// When something last arrived, or a PING was sent.
    since: Instant,
}

/// Windows that grow with the data of a round trip.
#[derive(Debug)]
struct Adaptive {
    window: u32,
    /// Number of bytes that have arrived since the PING.
    arrived: usize,
    /// When the next PING may be sent, and the time from that to the one after it.
    next: Instant,
    pause: Duration,
}

/// Outcome of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PingOutcome {
    /// The server is not known to be dead.
    Alive,
    /// Windows should have this size.
    Widen(u32),
    /// A keep-alive PING timed out.
    Over,
    /// A PING timed out after a request had ended without a response.
    Unanswered,
}

/// Maximum size to which a window grows, in bytes: the capacity of a path of 1 Gbit/s and 130 ms.
const LARGEST: u32 = 16 << 20;

/// Minimum time between measurements while windows grow; later it becomes longer.
const SHORT_PAUSE: Duration = Duration::from_millis(10);
const LONG_PAUSE: Duration = Duration::from_secs(10);

impl PingTimer {
    /// Returns whether PINGs are needed from the beginning of the connection. Otherwise this is
    /// needed once the connection is suspect.
    pub(crate) fn is_needed(config: &Http2Config) -> bool {
        config.keep_alive_interval.is_some() || config.adaptive_window
    }

    pub(crate) fn new(config: &Http2Config, runtime: &dyn Runtime, pings: PingPong) -> Self {
        let now = runtime.now();
        PingTimer {
            pings,
            asked: None,
            measures: false,
            keep_alive: config.keep_alive_interval.map(|interval| KeepAlive {
                timer: runtime.timer("HTTP/2 keep-alive"),
                interval,
                deadline: config.keep_alive_timeout,
                since: now,
            }),
            adaptive: config.adaptive_window.then_some(Adaptive {
                window: config.stream_window,
                arrived: 0,
                next: now,
                pause: SHORT_PAUSE,
            }),
            suspect_timeout: config.suspect_timeout,
            suspicion: None,
            suspected: None,
        }
    }

    /// Returns whether the connection takes no new exchanges until something arrives.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspicion.as_ref().is_some_and(|one| one.is_closed)
    }

    /// To be polled after each poll of the connection, in which `bytes_read` bytes arrived; `suspected`
    /// tells how a request has ended without a response, if nothing has arrived since.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        runtime: &dyn Runtime,
        bytes_read: usize,
        suspected: Option<Unanswered>,
    ) -> PingOutcome {
        let mut beat = PingOutcome::Alive;
        if bytes_read > 0 {
            self.suspicion = None;
        } else if let Some(why) = suspected {
            let suspicion = self.suspicion.get_or_insert_with(|| Suspicion {
                timer: runtime.timer("HTTP/2 suspicion"),
                since: runtime.now(),
                asked: None,
                is_closed: false,
            });
            suspicion.is_closed |= why == Unanswered::TooLate;
        }
        if self.keep_alive.is_none()
            && self.adaptive.is_none()
            && self.suspicion.is_none()
            && self.asked.is_none()
        {
            return beat;
        }
        let now = runtime.now();
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.arrived += bytes_read;
        }
        // h2 wakes the task when the answer arrives.
        if let Some(asked) = self.asked
            && self.pings.poll_pong(cx).is_ready()
        {
            self.asked = None;
            if std::mem::take(&mut self.measures)
                && let Some(adaptive) = &mut self.adaptive
                && let Some(window) = adaptive.measured(asked, now)
            {
                beat = PingOutcome::Widen(window);
            }
        }
        if let Some(adaptive) = &mut self.adaptive
            && self.asked.is_none()
            && bytes_read > 0
            && adaptive.may_measure(now)
        {
            // What has just arrived is the answer to the windows of a round trip ago.
            adaptive.arrived = bytes_read;
            self.measures = self.ask(cx, now);
        }
        if self.poll_suspicion(cx, now).is_ready() {
            return PingOutcome::Unanswered;
        }
        if self.poll_keep_alive(cx, now, bytes_read > 0).is_ready() {
            return PingOutcome::Over;
        }
        beat
    }

    /// Polls until a suspect connection has been silent for too long.
    fn poll_suspicion(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let (Some(suspicion), Some(timeout)) = (&mut self.suspicion, self.suspect_timeout) else {
            return Poll::Pending;
        };
        let asked = match suspicion.asked {
            Some(asked) => asked,
            None => {
                if let Some(last) = self.suspected
                    && let Some(next) = last.checked_add(SUSPECT_PAUSE)
                    && now < next
                {
                    std::task::ready!(suspicion.poll_until(cx, next));
                }
                suspicion.asked = Some(now);
                self.suspected = Some(now);
                // A keep-alive PING may be on its way; its answer serves as well.
                if self.asked.is_none() {
                    self.ask(cx, now);
                    // h2 may not have been polled since it was first given a PING, and then wakes
                    // no task.
                    cx.waker().wake_by_ref();
                    if let Some(keep_alive) = &mut self.keep_alive {
                        keep_alive.since = now;
                    }
                }
                now
            }
        };
        // An instant that overflows never comes.
        match (&mut self.suspicion, asked.checked_add(timeout)) {
            (Some(suspicion), Some(due)) => suspicion.poll_until(cx, due),
            _ => Poll::Pending,
        }
    }

    /// Polls until a keep-alive PING has timed out.
    fn poll_keep_alive(&mut self, cx: &mut Context<'_>, now: Instant, has_read: bool) -> Poll<()> {
        loop {
            let Some(keep_alive) = &mut self.keep_alive else {
                return Poll::Pending;
            };
            // Any byte counts as the answer, which may be queued behind a large response.
            if has_read {
                keep_alive.since = now;
            }
            let limit = match self.asked {
                Some(_) => keep_alive.deadline,
                None => keep_alive.interval,
            };
            // An instant that overflows never comes.
            let Some(due) = keep_alive.since.checked_add(limit) else {
                return Poll::Pending;
            };
            std::task::ready!(keep_alive.timer.poll_until(cx, due));
            if self.asked.is_some() {
                return Poll::Ready(());
            }
            // The time counts from here, whether h2 writes the PING or not.
            keep_alive.since = now;
            if !self.ask(cx, now) {
                return Poll::Pending;
            }
        }
    }

    /// Sends a PING; returns whether that was possible.
    fn ask(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.pings.send_ping(Ping::opaque()).is_err() {
            return false;
        }
        self.asked = Some(now);
        // Leaves the waker. The answer cannot have arrived yet.
        if self.pings.poll_pong(cx).is_ready() {
            self.asked = None;
        }
        true
    }
}

impl Suspicion {
    /// Ready at that time; before it, the connection is closed to new exchanges.
    fn poll_until(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        if !self.is_closed
            && let Some(grace) = self.since.checked_add(DROP_GRACE)
            && grace < due
        {
            std::task::ready!(self.timer.poll_until(cx, grace));
            self.is_closed = true;
        }
        self.timer.poll_until(cx, due)
    }
}

impl Adaptive {
    fn may_measure(&self, now: Instant) -> bool {
        self.window < LARGEST && now >= self.next
    }

    /// Ends a round trip. If what arrived during it nearly filled the window, the path may have
    /// more capacity.
    fn measured(&mut self, asked: Instant, now: Instant) -> Option<u32> {
        let arrived = u32::try_from(self.arrived).unwrap_or(u32::MAX);
        let grows = arrived >= self.window / 3 * 2;
        self.pause = if grows {
            SHORT_PAUSE
        } else {
            (self.pause * 2).min(LONG_PAUSE)
        };
        let round_trip = now.saturating_duration_since(asked);
        self.next = now + self.pause.max(round_trip);
        if !grows {
            return None;
        }
        // It may have been configured larger than it would ever grow.
        let window = arrived.saturating_mul(2).min(LARGEST);
        if window <= self.window {
            return None;
        }
        self.window = window;
        Some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_while_it_is_filled_and_then_is_left_alone() {
        #[allow(clippy::disallowed_methods, reason = "some instant to count from")]
        let mut now = Instant::now();
        let mut adaptive = Adaptive {
            window: 64 << 10,
            arrived: 0,
            next: now,
            pause: SHORT_PAUSE,
        };
        let mut windows = Vec::new();
        // A path with a capacity of a megabyte.
        for _ in 0..40 {
            assert!(adaptive.may_measure(now));
            adaptive.arrived = (adaptive.window as usize).min(1 << 20);
            let asked = now;
            now += Duration::from_millis(100);
            windows.extend(adaptive.measured(asked, now));
            now = adaptive.next;
        }
        assert_eq!(windows.last(), Some(&(2 << 20)));
        assert!(windows.len() < 10, "{windows:?}");
        assert_eq!(adaptive.pause, LONG_PAUSE);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "some instant to count from")]
    fn a_window_beyond_the_largest_stays_as_it_is() {
        let now = Instant::now();
        let mut adaptive = Adaptive {
            window: 2 * LARGEST,
            arrived: 2 * LARGEST as usize,
            next: now,
            pause: SHORT_PAUSE,
        };
        // The answer to a keep-alive PING, which is sent all the same.
        assert_eq!(adaptive.measured(now, now), None);
        assert_eq!(adaptive.window, 2 * LARGEST);
    }
}
