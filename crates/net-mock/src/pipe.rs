//! One direction of a connection in memory: a writer, a reader, and the faults of the path.
//!
//! No lock, no clock and no task: what happens is written into the [`EventQueue`] and the [`Wakes`]
//! that are passed along in a [`StepContext`].
//!
//! ```text
//!   write ──► segments in flight ──► segments that have arrived ──► read
//!     ▲            (Segment::at > now)      (Segment::at <= now)      │
//!     └──────────── room, when the sum of both is below `buffer` ◄────┘
//! ```
//!
//! The end (`Ending`) follows the last segment, as FIN and RST do. A reset also breaks the other
//! pipe for its writer.

mod reader;

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    task::{Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use crate::{
    ends::Direction,
    event_queue::{EventQueue, Key, Wakes},
    link::{Fault, Path},
    rng::Rng,
};

/// Maximum number of bytes that arrive at once on a path of limited bandwidth: the payload of an Ethernet frame
/// which carries TCP over IPv4.
const PACKET: usize = 1460;

/// What a step of a pipe may touch besides the pipe.
pub(crate) struct StepContext<'a> {
    pub(crate) event_queue: &'a mut EventQueue,
    pub(crate) rng: &'a mut Rng,
    pub(crate) wakes: &'a mut Wakes,
}

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    path: Path,
    /// Where arrivals are reported: the link's number and this direction.
    address: (u64, Direction),
    segments: VecDeque<Segment>,
    /// Bytes in `segments`, and bytes swallowed by a blackhole.
    held: usize,
    sent: u64,
    received: u64,
    ending: Option<(Duration, Ending)>,
    /// Since when, and how, writing fails.
    broken: Option<(Duration, ErrorKind)>,
    closed_by_writer: bool,
    reader_gone: bool,
    flow: Flow,
    /// When the link has bandwidth for the next packet.
    line_free: Duration,
    /// The reader is at a cut: its next read is pending once.
    at_cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    arrival: Option<Key>,
    severed: bool,
}

/// What becomes of bytes written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// They are delivered.
    Open,
    /// They are accepted, and dropped.
    Swallowed,
    /// They are dropped, but occupy the buffer.
    Blackholed,
}

#[derive(Debug)]
struct Segment {
    at: Duration,
    bytes: Bytes,
    ends_write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Fin,
    Reset,
}

impl Pipe {
    pub(crate) fn new(path: Path, link: u64, direction: Direction) -> Self {
        Pipe {
            path,
            address: (link, direction),
            segments: VecDeque::new(),
            held: 0,
            sent: 0,
            received: 0,
            ending: None,
            broken: None,
            closed_by_writer: false,
            reader_gone: false,
            flow: Flow::Open,
            line_free: Duration::ZERO,
            at_cut: false,
            reader: None,
            writer: None,
            arrival: None,
            severed: false,
        }
    }

    /// Takes a prefix of `bufs` and returns it, for the transcript.
    pub(crate) fn write(
        &mut self,
        context: &mut StepContext<'_>,
        waker: Waker,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<Bytes>> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if let Some(kind) = self.broken_now(context.event_queue.now()) {
            context.wakes.discard(Some(waker));
            return Poll::Ready(Err(kind.into()));
        }
        if self.closed_by_writer {
            context.wakes.discard(Some(waker));
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if total == 0 {
            context.wakes.discard(Some(waker));
            return Poll::Ready(Ok(Bytes::new()));
        }
        if self.flow == Flow::Swallowed {
            context.wakes.discard(Some(waker));
            if self.reader_gone {
                // RFC 9293 §3.10.7.1: bytes for a connection that no longer exists are answered
                // with a reset, which is a round trip away.
                let back = context.event_queue.now() + self.path.latency * 2;
                self.broken.get_or_insert((back, ErrorKind::BrokenPipe));
            }
            return Poll::Ready(Ok(gather(bufs, total)));
        }
        let room = self.path.buffer.saturating_sub(self.held);
        if room == 0 {
            context.wakes.register(&mut self.writer, waker);
            return Poll::Pending;
        }
        if context.rng.spurious_pending() {
            context.wakes.call(Some(waker));
            return Poll::Pending;
        }
        context.wakes.discard(Some(waker));
        let taken = gather(bufs, context.rng.write_len(total.min(room)));
        self.carry(context, taken.clone());
        Poll::Ready(Ok(taken))
    }

    /// Sends `bytes` on their way, up to the byte at which the path fails.
    fn carry(&mut self, context: &mut StepContext<'_>, mut bytes: Bytes) {
        let start = self.sent;
        self.sent += bytes.len() as u64;
        if self.flow == Flow::Blackholed {
            self.held += bytes.len();
            return;
        }
        let Some((at, fault)) = self.path.fault.filter(|(at, _)| self.sent >= *at) else {
            self.launch(context, bytes);
            return;
        };
        let healthy = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
        let lost = bytes.split_off(healthy.min(bytes.len()));
        self.launch(context, bytes);
        match fault {
            Fault::Blackhole => {
                self.held += lost.len();
                self.flow = Flow::Blackholed;
            }
            Fault::End => {
                self.end(context, Ending::Fin);
                self.flow = Flow::Swallowed;
            }
            Fault::Reset => self.severed = true,
        }
    }

    /// Returns whether this path has just failed in a way that ends the connection.
    pub(crate) fn take_severed(&mut self) -> bool {
        std::mem::take(&mut self.severed)
    }

    /// The link resets the connection: what is in flight still arrives, then both ends
    /// fail. The writer observes it after `delay`.
    pub(crate) fn sever(&mut self, context: &mut StepContext<'_>, delay: Duration) {
        if self.flow != Flow::Blackholed {
            self.end(context, Ending::Reset);
        }
        self.flow = Flow::Swallowed;
        self.fail_writes(context, delay, ErrorKind::ConnectionReset);
    }

    fn launch(&mut self, context: &mut StepContext<'_>, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let packet = match self.path.bandwidth {
                None => bytes.split_to(bytes.len()),
                Some(_) => bytes.split_to(bytes.len().min(PACKET)),
            };
            self.held += packet.len();
            let at = self.arrival_of(context.event_queue.now(), packet.len());
            self.segments.push_back(Segment {
                at,
                bytes: packet,
                ends_write: bytes.is_empty(),
            });
        }
        self.notify_reader(context);
    }

    /// When `len` bytes arrive which are sent now.
    fn arrival_of(&mut self, now: Duration, len: usize) -> Duration {
        self.line_free = self.line_free.max(now);
        if let Some(rate) = self.path.bandwidth {
            let nanos = (len as u128 * 1_000_000_000).div_ceil(u128::from(rate));
            self.line_free += Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
        self.line_free + self.path.latency
    }

    /// Ends the writer's side with `ending`; false if it had ended before.
    pub(crate) fn close(&mut self, context: &mut StepContext<'_>, ending: Ending) -> bool {
        if self.closed_by_writer {
            return false;
        }
        self.closed_by_writer = true;
        if self.flow == Flow::Open {
            self.end(context, ending);
        }
        true
    }

    fn end(&mut self, context: &mut StepContext<'_>, ending: Ending) {
        let at = self.arrival_of(context.event_queue.now(), 0);
        self.ending.get_or_insert((at, ending));
        self.notify_reader(context);
    }

    /// Makes writing fail with `kind`, after `delay`.
    pub(crate) fn fail_writes(
        &mut self,
        context: &mut StepContext<'_>,
        delay: Duration,
        kind: ErrorKind,
    ) {
        let at = context.event_queue.now() + delay;
        self.broken.get_or_insert((at, kind));
        context.wakes.call(self.writer.take());
    }

    /// The reset has been reported to the writer: later writes fail with `BrokenPipe`.
    pub(crate) fn broken_reported(&mut self) {
        if let Some((_, kind)) = &mut self.broken {
            *kind = ErrorKind::BrokenPipe;
        }
    }

    /// The writer has been dropped.
    pub(crate) fn writer_dropped(&mut self, context: &mut StepContext<'_>) {
        context.wakes.discard(self.writer.take());
    }

    fn broken_now(&self, now: Duration) -> Option<ErrorKind> {
        self.broken
            .and_then(|(at, kind)| (at <= now).then_some(kind))
    }

    pub(crate) fn latency(&self) -> Duration {
        self.path.latency
    }

    /// The waker of the task that waits for bytes, or for the end of an idle stream.
    pub(crate) fn reader(&self) -> Option<&Waker> {
        self.reader.as_ref()
    }

    /// The waker of the task that waits for room.
    pub(crate) fn writer(&self) -> Option<&Waker> {
        self.writer.as_ref()
    }

    /// Bytes written, and bytes read.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    /// Wakers that could be called without reason.
    pub(crate) fn wakers(&self) -> impl Iterator<Item = &Waker> {
        self.reader.iter().chain(&self.writer)
    }
}

/// The first `most` bytes of `bufs` in one piece.
fn gather(bufs: &[IoSlice<'_>], most: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(most);
    for buf in bufs {
        let part = buf.len().min(most - bytes.len());
        bytes.extend_from_slice(&buf[..part]);
    }
    bytes.freeze()
}
