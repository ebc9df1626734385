//! A connection in memory: two pipes, each with a writer, a reader and manners of its own.
//!
//! No lock, no clock and no task: what happens is written into the [`Agenda`] and the [`Wakes`]
//! that are passed along in a [`Moment`].
//!
//! ```text
//!   write ──► segments in flight ──► segments that have arrived ──► read
//!     ▲            (Segment::at > now)      (Segment::at <= now)      │
//!     └──────────── room, when the sum of both is below `buffer` ◄────┘
//! ```
//!
//! The end (`Ending`) follows the last segment, as FIN and RST do. A reset also breaks the other
//! pipe for its writer.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    task::{Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use httpcore_core_primitives::IdleEvent;

use crate::{
    event_queue::{Agenda, Direction, Key, ScheduledEvent, Wakes},
    link::{Chunks, Fault, Path},
    rng::Dice,
};

/// The most that arrives at once on a path of limited bandwidth: the payload of an Ethernet frame
/// which carries TCP over IPv4.
const PACKET: usize = 1460;

/// What a step of a pipe may touch besides the pipe.
pub(crate) struct Moment<'a> {
    pub(crate) event_queue: &'a mut Agenda,
    pub(crate) rng: &'a mut Dice,
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
    /// When the line has room for the next packet.
    line_free: Duration,
    /// The reader is at a cut, and is told "not yet" once.
    at_cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    arrival: Option<Key>,
    severed: bool,
}

/// What becomes of bytes written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// They travel.
    Open,
    /// They are taken, and lost.
    Swallowed,
    /// They are lost, and fill the buffer nevertheless.
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

    /// Takes a prefix of `bufs`. The second value is what was taken, for the log.
    pub(crate) fn write(
        &mut self,
        moment: &mut Moment<'_>,
        waker: Waker,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<Bytes>> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if let Some(kind) = self.broken_now(moment.event_queue.now()) {
            moment.wakes.discard(Some(waker));
            return Poll::Ready(Err(kind.into()));
        }
        if self.closed_by_writer {
            moment.wakes.discard(Some(waker));
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if total == 0 {
            moment.wakes.discard(Some(waker));
            return Poll::Ready(Ok(Bytes::new()));
        }
        if self.flow == Flow::Swallowed {
            moment.wakes.discard(Some(waker));
            if self.reader_gone {
                // RFC 9293 §3.10.7.1: bytes for a connection that no longer exists are answered
                // with a reset, which is a round trip away.
                let back = moment.event_queue.now() + self.path.latency * 2;
                self.broken.get_or_insert((back, ErrorKind::BrokenPipe));
            }
            return Poll::Ready(Ok(gather(bufs, total)));
        }
        let room = self.path.buffer.saturating_sub(self.held);
        if room == 0 {
            moment.wakes.park(&mut self.writer, waker);
            return Poll::Pending;
        }
        if moment.rng.hesitates() {
            moment.wakes.call(Some(waker));
            return Poll::Pending;
        }
        moment.wakes.discard(Some(waker));
        let taken = gather(bufs, moment.rng.write(total.min(room)));
        self.carry(moment, taken.clone());
        Poll::Ready(Ok(taken))
    }

    /// Sends `bytes` on their way, up to the byte at which the path fails.
    fn carry(&mut self, moment: &mut Moment<'_>, mut bytes: Bytes) {
        let start = self.sent;
        self.sent += bytes.len() as u64;
        if self.flow == Flow::Blackholed {
            self.held += bytes.len();
            return;
        }
        let Some((at, fault)) = self.path.fault.filter(|(at, _)| self.sent >= *at) else {
            self.launch(moment, bytes);
            return;
        };
        let healthy = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
        let lost = bytes.split_off(healthy.min(bytes.len()));
        self.launch(moment, bytes);
        match fault {
            Fault::Blackhole => {
                self.held += lost.len();
                self.flow = Flow::Blackholed;
            }
            Fault::End => {
                self.end(moment, Ending::Fin);
                self.flow = Flow::Swallowed;
            }
            Fault::Reset => self.severed = true,
        }
    }

    /// Whether this path has just failed in a way that ends the connection.
    pub(crate) fn take_severed(&mut self) -> bool {
        std::mem::take(&mut self.severed)
    }

    /// The connection is reset by neither of its ends: what is in flight still arrives, then both
    /// get errors. The writer learns of it after `delay`.
    pub(crate) fn sever(&mut self, moment: &mut Moment<'_>, delay: Duration) {
        if self.flow != Flow::Blackholed {
            self.end(moment, Ending::Reset);
        }
        self.flow = Flow::Swallowed;
        self.break_off(moment, delay, ErrorKind::ConnectionReset);
    }

    fn launch(&mut self, moment: &mut Moment<'_>, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let packet = match self.path.bandwidth {
                None => bytes.split_to(bytes.len()),
                Some(_) => bytes.split_to(bytes.len().min(PACKET)),
            };
            self.held += packet.len();
            let at = self.arrival_of(moment.event_queue.now(), packet.len());
            self.segments.push_back(Segment {
                at,
                bytes: packet,
                ends_write: bytes.is_empty(),
            });
        }
        self.tell_reader(moment);
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

    /// Appends to `buf`, which has room, what has arrived.
    pub(crate) fn read(
        &mut self,
        moment: &mut Moment<'_>,
        waker: Waker,
        buf: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let now = moment.event_queue.now();
        if self.segments.front().is_some_and(|front| front.at <= now) {
            if std::mem::take(&mut self.at_cut) || moment.rng.hesitates() {
                moment.wakes.call(Some(waker));
                return Poll::Pending;
            }
            moment.wakes.discard(Some(waker));
            let room = buf.capacity() - buf.len();
            let most = room.min(self.path.chunks.until_cut(self.received));
            let read = self.take(moment, most, buf);
            return Poll::Ready(Ok(read));
        }
        match self.ending {
            Some((at, ending)) if self.segments.is_empty() && at <= now => {
                moment.wakes.discard(Some(waker));
                Poll::Ready(match ending {
                    Ending::Fin => Ok(0),
                    Ending::Reset => Err(ErrorKind::ConnectionReset.into()),
                })
            }
            _ => {
                moment.wakes.park(&mut self.reader, waker);
                self.tell_reader(moment);
                Poll::Pending
            }
        }
    }

    /// Moves at most `most` bytes which have arrived into `buf`, up to the next cut.
    fn take(&mut self, moment: &mut Moment<'_>, most: usize, buf: &mut BytesMut) -> usize {
        let now = moment.event_queue.now();
        let mut left = most;
        if left > 0 {
            left = moment.rng.read(left.min(self.held.max(1)));
        }
        let mut read = 0;
        while left > 0
            && let Some(front) = self.segments.front_mut()
            && front.at <= now
        {
            let part = left.min(front.bytes.len());
            buf.extend_from_slice(&front.bytes[..part]);
            front.bytes.advance(part);
            read += part;
            left -= part;
            if front.bytes.is_empty() {
                let ended = front.ends_write;
                self.segments.pop_front();
                if ended && self.path.chunks == Chunks::AsWritten {
                    self.at_cut = true;
                    break;
                }
            }
        }
        self.received += read as u64;
        self.held -= read;
        self.at_cut |= match &self.path.chunks {
            Chunks::Each(size) => self.received.is_multiple_of((*size).max(1) as u64),
            Chunks::At(cuts) => cuts.contains(&self.received),
            Chunks::Coalesced | Chunks::AsWritten => false,
        };
        self.at_cut &= read > 0;
        if self.held < self.path.buffer {
            moment.wakes.call(self.writer.take());
        }
        read
    }

    /// What a reader who expects nothing learns.
    pub(crate) fn idle(&mut self, moment: &mut Moment<'_>, waker: Waker) -> Poll<IdleEvent> {
        let now = moment.event_queue.now();
        if self.segments.front().is_some_and(|front| front.at <= now) {
            moment.wakes.discard(Some(waker));
            return Poll::Ready(IdleEvent::UnsolicitedData);
        }
        match self.ending {
            Some((at, ending)) if self.segments.is_empty() && at <= now => {
                moment.wakes.discard(Some(waker));
                Poll::Ready(match ending {
                    Ending::Fin => IdleEvent::Closed,
                    Ending::Reset => IdleEvent::Failed(ErrorKind::ConnectionReset),
                })
            }
            _ => {
                moment.wakes.park(&mut self.reader, waker);
                self.tell_reader(moment);
                Poll::Pending
            }
        }
    }

    /// The writer has nothing more to say, in one way or the other.
    pub(crate) fn close(&mut self, moment: &mut Moment<'_>, ending: Ending) -> bool {
        if self.closed_by_writer {
            return false;
        }
        self.closed_by_writer = true;
        if self.flow == Flow::Open {
            self.end(moment, ending);
        }
        true
    }

    fn end(&mut self, moment: &mut Moment<'_>, ending: Ending) {
        let at = self.arrival_of(moment.event_queue.now(), 0);
        self.ending.get_or_insert((at, ending));
        self.tell_reader(moment);
    }

    /// The connection has been reset: after `delay`, writing fails in this way.
    pub(crate) fn break_off(&mut self, moment: &mut Moment<'_>, delay: Duration, kind: ErrorKind) {
        let at = moment.event_queue.now() + delay;
        self.broken.get_or_insert((at, kind));
        moment.wakes.call(self.writer.take());
    }

    /// The reader has been told of a reset, and finds an end from now on.
    pub(crate) fn told_ending(&mut self) {
        if let Some((_, ending)) = &mut self.ending {
            *ending = Ending::Fin;
        }
    }

    /// The writer has been told of a reset, and finds nobody there from now on.
    pub(crate) fn told_broken(&mut self) {
        if let Some((_, kind)) = &mut self.broken {
            *kind = ErrorKind::BrokenPipe;
        }
    }

    /// The reader is gone, with whatever it has not read.
    pub(crate) fn abandon(&mut self, moment: &mut Moment<'_>) {
        self.reader_gone = true;
        self.flow = Flow::Swallowed;
        self.segments.clear();
        self.held = 0;
        moment.wakes.discard(self.reader.take());
        moment.wakes.call(self.writer.take());
        if let Some(key) = self.arrival.take() {
            moment.event_queue.remove(key);
        }
    }

    /// The writer is gone.
    pub(crate) fn forget_writer(&mut self, moment: &mut Moment<'_>) {
        moment.wakes.discard(self.writer.take());
    }

    /// Something has arrived for whoever reads.
    pub(crate) fn arrived(&mut self, moment: &mut Moment<'_>) {
        self.arrival = None;
        self.tell_reader(moment);
    }

    /// Wakes the reader, if one waits, at once or when there will be something.
    fn tell_reader(&mut self, moment: &mut Moment<'_>) {
        if self.reader.is_none() {
            return;
        }
        let next = match self.segments.front() {
            Some(front) => Some(front.at),
            None => self.ending.map(|(at, _)| at),
        };
        let Some(at) = next else { return };
        if at <= moment.event_queue.now() {
            moment.wakes.call(self.reader.take());
        } else if self.arrival.is_none() {
            let (link, direction) = self.address;
            self.arrival = Some(
                moment
                    .event_queue
                    .add(at, ScheduledEvent::Arrival(link, direction)),
            );
        }
    }

    fn broken_now(&self, now: Duration) -> Option<ErrorKind> {
        self.broken
            .and_then(|(at, kind)| (at <= now).then_some(kind))
    }

    pub(crate) fn latency(&self) -> Duration {
        self.path.latency
    }

    /// Whether the reader would leave bytes unread by going now.
    pub(crate) fn has_unread(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Who waits for bytes, or for the end of an idle stream.
    pub(crate) fn reader(&self) -> Option<&Waker> {
        self.reader.as_ref()
    }

    /// Who waits for room.
    pub(crate) fn writer(&self) -> Option<&Waker> {
        self.writer.as_ref()
    }

    /// Bytes written, and bytes read.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    /// Wakers that could be called without reason.
    pub(crate) fn seats(&self) -> impl Iterator<Item = &Waker> {
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
