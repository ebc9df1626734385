//! The time limits of an exchange, over one timer. Both protocols use this, so that a limit means the
//! same over each.
//!
//! The clock is read when there is something to wait for, and not for each byte: bytes that arrive in
//! one poll have arrived at one time.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{LazyTimer, TimeoutKind, Timeouts, options};

use crate::progress::{ResponseProgress, SendStatus};

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// The wait for `100 (Continue)`: the body is sent without it.
    Continue,
    /// A limit of the exchange.
    Timeout(TimeoutKind),
    /// The runtime: its timers are ready before their time.
    RuntimeShutdown,
}

/// What an exchange waits for, when it waits.
#[derive(Clone, Copy, Debug)]
pub struct WaitState {
    /// What sending the request waits for.
    pub sending: SendStatus,
    /// How much of the response has arrived.
    pub response: ResponseProgress,
}

impl WaitState {
    /// Returns whether the server is to act: it has the request, or has begun to respond before it has
    /// all of it. Not while the caller's body has both sides wait, nor while the request is being
    /// taken in.
    fn awaits_server(self) -> bool {
        match self.sending {
            SendStatus::Over => true,
            SendStatus::Blocked => self.response != ResponseProgress::None,
            SendStatus::BodyPending | SendStatus::AwaitingContinue => false,
        }
    }
}

/// The time limits of one exchange, and since when each of them counts.
///
/// The write limit counts while nothing can be written, the response-head limit from the end of the
/// request to the head of the response, the read limit while the server is to act; see [`Timeouts`].
#[derive(Debug)]
pub struct Deadlines {
    write: Option<Duration>,
    response_head: Option<Duration>,
    read: Option<Duration>,
    total: Option<Instant>,
    expect_continue_timeout: Duration,
    /// There are no limits: only waiting for 100 arms the timer.
    unlimited: bool,
    /// Since when nothing could be written.
    write_since: Option<Instant>,
    /// Since when nothing has moved although the server is to act.
    read_since: Option<Instant>,
    sent_at: Option<Instant>,
    continue_since: Option<Instant>,
    /// To be set when something was written; reset when the clock is read.
    pub(crate) wrote: bool,
    /// To be set when something was read; reset when the clock is read.
    pub(crate) read_some: bool,
}

impl Deadlines {
    /// Creates the limits of `timeouts`. `total` is the instant at which the whole exchange must have
    /// ended, `expect_continue_timeout` how long a body waits for `100 (Continue)`.
    #[inline]
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

    /// Returns whether the whole exchange has lasted too long, without registering the task.
    #[inline]
    pub fn is_over(&self, timer: &LazyTimer) -> bool {
        self.total.is_some_and(|total| timer.now() >= total)
    }

    /// Polls until a limit has been reached that counts in `state`.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        timer: &mut LazyTimer,
        state: WaitState,
    ) -> Poll<Expired> {
        let continuing = state.sending == SendStatus::AwaitingContinue;
        if self.unlimited && !continuing && self.continue_since.is_none() {
            return Poll::Pending;
        }
        let phases = self.write.is_some()
            || self.response_head.is_some()
            || self.read.is_some()
            || self.continue_since.is_some();
        let mut next: Option<(Instant, Expired)> = None;
        let mut consider = |at: Option<Instant>, expired| {
            if let Some(at) = at
                && next.is_none_or(|(earlier, _)| at < earlier)
            {
                next = Some((at, expired));
            }
        };
        if phases || continuing {
            let now = timer.now();
            for (at, expired) in self.phases(now, state) {
                consider(at, expired);
            }
        }
        consider(self.total, Expired::Timeout(TimeoutKind::Total));
        match next {
            Some((at, expired)) => timer.poll_until(cx, Some(at)).map(|()| {
                // Only the timers of a runtime that has ended are ready before their time.
                if timer.now() < at {
                    Expired::RuntimeShutdown
                } else {
                    expired
                }
            }),
            None => {
                timer.disarm();
                Poll::Pending
            }
        }
    }

    fn phases(&mut self, now: Instant, state: WaitState) -> [(Option<Instant>, Expired); 4] {
        let wrote = std::mem::take(&mut self.wrote);
        let moved = std::mem::take(&mut self.read_some) || wrote;
        let due =
            |since: Option<Instant>, limit| since.and_then(|since| options::deadline(since, limit));

        let blocked = state.sending == SendStatus::Blocked;
        restart(&mut self.write_since, blocked, wrote, now);
        let awaits_head =
            state.sending == SendStatus::Over && state.response != ResponseProgress::Head;
        restart(&mut self.sent_at, awaits_head, false, now);
        let continuing = state.sending == SendStatus::AwaitingContinue;
        restart(&mut self.continue_since, continuing, false, now);
        restart(&mut self.read_since, state.awaits_server(), moved, now);
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

/// Keeps in `since` the instant at which `holds` began to hold, or last began again.
fn restart(since: &mut Option<Instant>, holds: bool, again: bool, now: Instant) {
    if !holds {
        *since = None;
    } else if again || since.is_none() {
        *since = Some(now);
    }
}
