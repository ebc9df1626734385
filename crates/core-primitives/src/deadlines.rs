//! The deadlines of an exchange, over one alarm. Protocols share this, so that a time limit means
//! the same whichever of them is spoken.
//!
//! The clock is asked when there is something to wait for, and not for each byte: bytes that came
//! in one poll came at one time.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    error::TimeoutKind,
    options::{self, Timeouts},
    runtime::LazyTimer,
};

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// Waiting for `100 (Continue)`: the body is sent without.
    Continue,
    /// The exchange.
    Timeout(TimeoutKind),
    /// The runtime: its timers are ready before their time.
    RuntimeShutdown,
}

/// What an exchange waits for, when it waits.
#[derive(Clone, Copy, Debug)]
pub struct WaitState {
    /// The stream does not take what there is to write.
    pub writing: bool,
    /// All of the request that will be written has been.
    pub sent: bool,
    /// The head of the final response has come.
    pub head: bool,
    /// Some byte of a response has come.
    pub started: bool,
    /// The request's body has nothing yet.
    pub awaiting_caller: bool,
    /// The request's body waits for 100.
    pub continuing: bool,
}

/// The time limits of one exchange, and since when each of them counts.
///
/// The write limit counts while nothing can be written, the first-byte limit from the end of the
/// request to the head of the response, the read limit while it is for the server to speak; see
/// [`Timeouts`].
#[derive(Debug)]
pub struct Deadlines {
    write: Option<Duration>,
    response_head: Option<Duration>,
    read: Option<Duration>,
    total: Option<Instant>,
    expect_continue_timeout: Duration,
    /// There are no limits: nothing is ever armed but by waiting for 100.
    unlimited: bool,
    /// Since when nothing could be written.
    write_since: Option<Instant>,
    /// Since when nothing has moved although it was the server's turn.
    read_since: Option<Instant>,
    sent_at: Option<Instant>,
    continue_since: Option<Instant>,
    /// To be set when something was written; taken back when the clock is asked.
    pub wrote: bool,
    /// To be set when something was read.
    pub read_some: bool,
}

impl Deadlines {
    /// The limits of `timeouts`, the end of everything, and how long a body waits for
    /// `100 (Continue)`.
    pub fn new(
        timeouts: &Timeouts,
        total: Option<Instant>,
        expect_continue_timeout: Duration,
    ) -> Self {
        Deadlines {
            write: timeouts.write(),
            response_head: timeouts.response_head(),
            read: timeouts.read(),
            total,
            expect_continue_timeout,
            unlimited: timeouts.write().is_none()
                && timeouts.response_head().is_none()
                && timeouts.read().is_none()
                && total.is_none(),
            write_since: None,
            read_since: None,
            sent_at: None,
            continue_since: None,
            wrote: false,
            read_some: false,
        }
    }

    /// Whether the whole exchange has lasted too long, for whoever never has to wait.
    pub fn is_over(&self, alarm: &LazyTimer) -> bool {
        self.total.is_some_and(|total| alarm.now() >= total)
    }

    /// Ready when a limit has run out that counts in `situation`.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        alarm: &mut LazyTimer,
        situation: WaitState,
    ) -> Poll<Expired> {
        if self.unlimited && !situation.continuing && self.continue_since.is_none() {
            return Poll::Pending;
        }
        let phases = self.write.is_some()
            || self.response_head.is_some()
            || self.read.is_some()
            || self.continue_since.is_some();
        let mut next: Option<(Instant, Expired)> = None;
        let mut consider = |at: Option<Instant>, ended| {
            if let Some(at) = at
                && next.is_none_or(|(earlier, _)| at < earlier)
            {
                next = Some((at, ended));
            }
        };
        if phases || situation.continuing {
            let now = alarm.now();
            for (at, ended) in self.phases(now, situation) {
                consider(at, ended);
            }
        }
        consider(self.total, Expired::Timeout(TimeoutKind::Total));
        match next {
            Some((at, ended)) => alarm.poll_until(cx, Some(at)).map(|()| {
                // Only the timers of a runtime that has ended are ready before their time.
                if alarm.now() < at {
                    Expired::RuntimeShutdown
                } else {
                    ended
                }
            }),
            None => {
                alarm.disarm();
                Poll::Pending
            }
        }
    }

    fn phases(&mut self, now: Instant, situation: WaitState) -> [(Option<Instant>, Expired); 4] {
        let wrote = std::mem::take(&mut self.wrote);
        let moved = std::mem::take(&mut self.read_some) || wrote;
        let due =
            |since: Option<Instant>, limit| since.and_then(|since| options::deadline(since, limit));

        restart(&mut self.write_since, situation.writing, wrote, now);
        restart(
            &mut self.sent_at,
            situation.sent && !situation.head,
            false,
            now,
        );
        restart(&mut self.continue_since, situation.continuing, false, now);
        // Silence counts while it is for the server to speak: once it has the request, or has
        // begun to answer before it has. It does not while the caller's body has us both wait,
        // nor while the request is being taken in.
        let servers_turn = situation.sent || (situation.started && !situation.awaiting_caller);
        restart(&mut self.read_since, servers_turn, moved, now);
        [
            (
                due(self.write_since, self.write),
                Expired::Timeout(TimeoutKind::Write),
            ),
            (
                due(self.sent_at, self.response_head),
                Expired::Timeout(TimeoutKind::ResponseHead),
            ),
            (
                due(self.read_since, self.read),
                Expired::Timeout(TimeoutKind::Read),
            ),
            (
                due(self.continue_since, Some(self.expect_continue_timeout)),
                Expired::Continue,
            ),
        ]
    }
}

/// Keeps in `since` when `holds` began to hold, or last began again.
fn restart(since: &mut Option<Instant>, holds: bool, again: bool, now: Instant) {
    if !holds {
        *since = None;
    } else if again || since.is_none() {
        *since = Some(now);
    }
}
