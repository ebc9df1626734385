//! The response on its way in.

use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use httpcore_proto_common::{
    buffers::{self, LARGE_BYTES, SMALL_BYTES},
    failure::Failure,
};

use crate::codec::{Codec, Event, Framing};

use super::{Shared, sender::RequestSender};

/// Whether more can be read from the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamState {
    Open,
    Ended,
}

/// Reads a response: takes bytes from the stream and events from the codec.
pub(super) struct ResponseReader {
    /// Bytes that were read and not yet decoded.
    pub(super) input: BytesMut,
    stream: StreamState,
    /// Number of bytes to read at once of a body of unknown length.
    read_size: usize,
}

impl ResponseReader {
    #[inline]
    pub(super) fn new() -> Self {
        ResponseReader {
            input: BytesMut::new(),
            stream: StreamState::Open,
            read_size: SMALL_BYTES,
        }
    }

    /// Reads into `buffer` next, if there is no buffer.
    #[inline]
    pub(super) fn adopt(&mut self, mut buffer: BytesMut) {
        if self.input.capacity() == 0 {
            self.input = buffer;
        } else {
            buffers::recycle(&mut buffer);
        }
    }

    /// Ready with the next event of the response.
    pub(super) fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared<'_>,
        sender: &mut RequestSender,
    ) -> Poll<Result<Event, Failure>> {
        loop {
            let ended = self.stream == StreamState::Ended;
            match shared.codec.decode(&mut self.input, ended) {
                Ok(Some(event)) => return Poll::Ready(Ok(event)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
            self.make_room(shared.codec);
            let room = self.input.capacity() - self.input.len();
            match shared.connection.stream.poll_read(cx, &mut self.input) {
                Poll::Ready(Ok(0)) => {
                    self.stream = StreamState::Ended;
                    check_end_after_write_error(shared.codec, sender)?;
                }
                Poll::Ready(Ok(read)) => {
                    shared.control.read_some();
                    if read == room && shared.control.has_head() {
                        self.read_size = LARGE_BYTES;
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Io(error))),
                Poll::Pending => {
                    // An exchange that waits long holds no buffer meanwhile.
                    if self.input.is_empty() {
                        buffers::recycle(&mut self.input);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Returns the event that follows the head in what has been read. An error is found again when the
    /// body is polled.
    pub(super) fn decode_first(&mut self, codec: &mut Codec) -> Option<Event> {
        if self.input.is_empty() {
            return None;
        }
        let ended = self.stream == StreamState::Ended;
        codec.decode(&mut self.input, ended).ok().flatten()
    }

    /// Makes room for a read, and for a large one if much is to come.
    fn make_room(&mut self, codec: &Codec) {
        let wanted = match codec.remaining() {
            // The server declares it: never a reason for more than one large buffer.
            Some(left) => usize::try_from(left)
                .unwrap_or(LARGE_BYTES)
                .clamp(SMALL_BYTES, LARGE_BYTES),
            None => self.read_size,
        };
        if self.input.capacity() == 0 {
            // All of a large buffer may have been handed out, and be free again.
            if wanted == SMALL_BYTES || !self.input.try_reclaim(wanted) {
                self.input = buffers::take(wanted);
            }
            return;
        }
        // The whole buffer again, unless the caller has kept a piece of it; else what is left of it,
        // if that is much; else another one.
        let room = self.input.capacity() - self.input.len();
        if !buffers::has_room(room, wanted) && !self.input.try_reclaim(wanted) && room < wanted / 2
        {
            self.input.reserve(wanted);
        }
    }

    /// Drops what is left of a response, if it is at most `limit` bytes and has arrived; returns
    /// whether that was all of it. Nothing waits, and no task is woken when more arrives.
    pub(super) fn drain(&mut self, shared: &mut Shared<'_>, limit: usize) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut taken = self.input.len();
        while taken <= limit {
            let ended = self.stream == StreamState::Ended;
            match shared.codec.decode(&mut self.input, ended) {
                Ok(Some(Event::End)) => return true,
                Ok(Some(Event::Data(data))) => {
                    shared.control.received(data.len());
                    continue;
                }
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(_) => return false,
            }
            self.make_room(shared.codec);
            match (shared.connection.stream).poll_read(&mut cx, &mut self.input) {
                Poll::Ready(Ok(0)) => self.stream = StreamState::Ended,
                Poll::Ready(Ok(read)) => taken += read,
                Poll::Ready(Err(_)) | Poll::Pending => return false,
            }
        }
        false
    }
}

/// A reset is reported once: by the write that met it, and then reading finds the end of the stream. A
/// body that lasts until the end of the stream must not take that for its own end.
fn check_end_after_write_error(codec: &Codec, sender: &mut RequestSender) -> Result<(), Failure> {
    if codec.framing() == Some(Framing::Close)
        && let Some(error) = sender.take_write_error()
    {
        return Err(Failure::Io(error));
    }
    Ok(())
}
