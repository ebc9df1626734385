//! Asking a silent server for a sign of life.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use h2::{Ping, PingPong};
use httpcore_core_primitives::{Runtime, Timer};

/// PINGs, one at a time.
///
/// ```text
///   quiet ── interval without a byte ──► asked ── deadline without a byte ──► over
///     ▲                                    │
///     └──────────── the answer ────────────┘
/// ```
pub(crate) struct KeepAlive {
    pings: PingPong,
    timer: Box<dyn Timer>,
    interval: Duration,
    deadline: Duration,
    /// When something was last heard, or asked.
    since: Instant,
    asked: bool,
}

impl KeepAlive {
    pub(crate) fn new(
        pings: PingPong,
        timer: Box<dyn Timer>,
        interval: Duration,
        deadline: Duration,
        now: Instant,
    ) -> Self {
        KeepAlive {
            pings,
            timer,
            interval,
            deadline,
            since: now,
            asked: false,
        }
    }

    /// Ready when no answer came in time. To be polled after each turn of the connection; `heard`
    /// says whether anything came in it.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        runtime: &dyn Runtime,
        heard: bool,
    ) -> Poll<()> {
        // Woken by h2 when the answer comes.
        if self.asked && self.pings.poll_pong(cx).is_ready() {
            self.asked = false;
        }
        // Whatever comes is a sign of life: the answer may stand in line behind a large response.
        if heard {
            self.since = runtime.now();
        }
        loop {
            let limit = if self.asked {
                self.deadline
            } else {
                self.interval
            };
            // A time which no clock can show never comes.
            let Some(due) = self.since.checked_add(limit) else {
                return Poll::Pending;
            };
            std::task::ready!(self.timer.poll_until(cx, due));
            if self.asked {
                return Poll::Ready(());
            }
            self.since = runtime.now();
            // The deadline counts from here, whether h2 gets round to writing it or not.
            if self.pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Pending;
            }
            self.asked = true;
            if self.pings.poll_pong(cx).is_ready() {
                self.asked = false;
            }
        }
    }
}
