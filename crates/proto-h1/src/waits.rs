//! The deadlines of an exchange, over one alarm.
//!
//! The clock is asked when there is something to wait for, and not for each byte: bytes that came
//! in one poll came at one time.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{Alarm, TimeoutKind, Timeouts, options};

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Waiting for `100 (Continue)`: the body is sent without.
    Continue,
    /// The exchange.
    Timeout(TimeoutKind),
}

/// What an exchange waits for, when it waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// The stream does not take what there is to write.
    pub(crate) writing: bool,
    /// All of the request that will be written has been.
    pub(crate) sent: bool,
    /// The head of the final response has come.
    pub(crate) head: bool,
    /// Some byte of a response has come.
    pub(crate) started: bool,
    /// The request's body has nothing yet.
    pub(crate) callers_turn: bool,
    /// The request's body waits for 100.
    pub(crate) continuing: bool,
}

#[derive(Debug)]
pub(crate) struct Waits {
    write: Option<Duration>,
    first_byte: Option<Duration>,
    read: Option<Duration>,
    total: Option<Instant>,
    continue_wait: Duration,
    /// Since when nothing could be written.
    write_since: Option<Instant>,
    /// Since when nothing has moved although it was the server's turn.
    read_since: Option<Instant>,
    sent_at: Option<Instant>,
    continue_since: Option<Instant>,
    /// Something was written, or read, since the clock was last asked.
    pub(crate) wrote: bool,
    pub(crate) read_some: bool,
}

impl Waits {
    pub(crate) fn new(
        timeouts: &Timeouts,
        total: Option<Instant>,
        continue_wait: Duration,
    ) -> Self {
        Waits {
            write: timeouts.write,
            first_byte: timeouts.first_byte,
            read: timeouts.read,
            total,
            continue_wait,
            write_since: None,
            read_since: None,
            sent_at: None,
            continue_since: None,
            wrote: false,
            read_some: false,
        }
    }

    /// Whether the whole exchange has lasted too long, for whoever never has to wait.
    pub(crate) fn is_over(&self, alarm: &Alarm) -> bool {
        self.total.is_some_and(|total| alarm.now() >= total)
    }

    /// Ready when a limit has run out that counts in `situation`.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        alarm: &mut Alarm,
        situation: Situation,
    ) -> Poll<Ended> {
        let phases = self.write.is_some() || self.first_byte.is_some() || self.read.is_some();
        let mut next: Option<(Instant, Ended)> = None;
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
        consider(self.total, Ended::Timeout(TimeoutKind::Total));
        match next {
            Some((at, ended)) => alarm.poll_until(cx, Some(at)).map(|()| ended),
            None => {
                alarm.disarm();
                Poll::Pending
            }
        }
    }

    fn phases(&mut self, now: Instant, situation: Situation) -> [(Option<Instant>, Ended); 4] {
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
        let servers_turn = situation.sent || (situation.started && !situation.callers_turn);
        restart(&mut self.read_since, servers_turn, moved, now);
        [
            (
                due(self.write_since, self.write),
                Ended::Timeout(TimeoutKind::Write),
            ),
            (
                due(self.sent_at, self.first_byte),
                Ended::Timeout(TimeoutKind::FirstByte),
            ),
            (
                due(self.read_since, self.read),
                Ended::Timeout(TimeoutKind::Read),
            ),
            (
                due(self.continue_since, Some(self.continue_wait)),
                Ended::Continue,
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
