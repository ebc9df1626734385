//! The reader's side of a pipe.

use std::{
    io::{self, ErrorKind},
    task::{Poll, Waker},
};

use bytes::{Buf, BytesMut};
use httpcore_core_primitives::IdleEvent;

use super::{Ending, Flow, Pipe, StepContext};
use crate::{event_queue::ScheduledEvent, link::Chunks};

impl Pipe {
    /// Appends what has arrived to `buf`, which has spare capacity.
    pub(crate) fn read(
        &mut self,
        context: &mut StepContext<'_>,
        waker: Waker,
        buf: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let now = context.event_queue.now();
        if self.segments.front().is_some_and(|front| front.at <= now) {
            if std::mem::take(&mut self.at_cut) || context.rng.spurious_pending() {
                context.wakes.call(Some(waker));
                return Poll::Pending;
            }
            context.wakes.discard(Some(waker));
            let room = buf.capacity() - buf.len();
            let most = room.min(self.path.chunks.until_cut(self.received));
            let read = self.take(context, most, buf);
            return Poll::Ready(Ok(read));
        }
        match self.ending {
            Some((at, ending)) if self.segments.is_empty() && at <= now => {
                context.wakes.discard(Some(waker));
                Poll::Ready(match ending {
                    Ending::Fin => Ok(0),
                    Ending::Reset => Err(ErrorKind::ConnectionReset.into()),
                })
            }
            _ => {
                context.wakes.register(&mut self.reader, waker);
                self.notify_reader(context);
                Poll::Pending
            }
        }
    }

    /// Moves at most `most` bytes that have arrived into `buf`, up to the next cut.
    fn take(&mut self, context: &mut StepContext<'_>, most: usize, buf: &mut BytesMut) -> usize {
        let now = context.event_queue.now();
        let mut left = most;
        if left > 0 {
            left = context.rng.read_len(left.min(self.held.max(1)));
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
            context.wakes.call(self.writer.take());
        }
        read
    }

    /// What a reader of an idle stream observes.
    pub(crate) fn idle(&mut self, context: &mut StepContext<'_>, waker: Waker) -> Poll<IdleEvent> {
        let now = context.event_queue.now();
        if self.segments.front().is_some_and(|front| front.at <= now) {
            context.wakes.discard(Some(waker));
            return Poll::Ready(IdleEvent::UnsolicitedData);
        }
        match self.ending {
            Some((at, ending)) if self.segments.is_empty() && at <= now => {
                context.wakes.discard(Some(waker));
                Poll::Ready(match ending {
                    Ending::Fin => IdleEvent::Closed,
                    Ending::Reset => IdleEvent::Failed(ErrorKind::ConnectionReset),
                })
            }
            _ => {
                context.wakes.register(&mut self.reader, waker);
                self.notify_reader(context);
                Poll::Pending
            }
        }
    }

    /// The reset has been reported to the reader: later reads yield the end.
    pub(crate) fn ending_reported(&mut self) {
        if let Some((_, ending)) = &mut self.ending {
            *ending = Ending::Fin;
        }
    }

    /// The reader has been dropped, and unread bytes with it.
    pub(crate) fn reader_dropped(&mut self, context: &mut StepContext<'_>) {
        self.reader_gone = true;
        self.flow = Flow::Swallowed;
        self.segments.clear();
        self.held = 0;
        context.wakes.discard(self.reader.take());
        context.wakes.call(self.writer.take());
        if let Some(key) = self.arrival.take() {
            context.event_queue.remove(key);
        }
    }

    /// Bytes or the end have arrived.
    pub(crate) fn arrived(&mut self, context: &mut StepContext<'_>) {
        self.arrival = None;
        self.notify_reader(context);
    }

    /// Wakes the reader, if one waits, at once or when there will be something.
    pub(super) fn notify_reader(&mut self, context: &mut StepContext<'_>) {
        if self.reader.is_none() {
            return;
        }
        let next = match self.segments.front() {
            Some(front) => Some(front.at),
            None => self.ending.map(|(at, _)| at),
        };
        let Some(at) = next else { return };
        if at <= context.event_queue.now() {
            context.wakes.call(self.reader.take());
        } else if self.arrival.is_none() {
            let (link, direction) = self.address;
            self.arrival = Some(
                context
                    .event_queue
                    .add(at, ScheduledEvent::Arrival(link, direction)),
            );
        }
    }

    /// Returns whether bytes would be unread if the reader were dropped now.
    pub(crate) fn has_unread(&self) -> bool {
        !self.segments.is_empty()
    }
}
