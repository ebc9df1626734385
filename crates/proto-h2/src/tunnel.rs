//! A stream of the connection as a stream of bytes, after a 2xx to `CONNECT` (RFC 9113 §8.5, RFC
//! 8441 §5).

use std::{
    fmt,
    io::{self, IoSlice},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use httpcore_core_primitives::{
    ConnectionInfo, IdleEvent, Lease, NetworkStream, RuntimeShutdown, SharedIoError, Upgraded,
};

use crate::{connection::Shared, error::Detail, link::End, payload::Payload};

/// Maximum number of bytes passed to h2 at once.
const PIECE: usize = 16 * 1024;

pub(crate) fn upgraded(
    sending: SendStream<Payload>,
    receiving: RecvStream,
    shared: Arc<Shared>,
    lease: Lease,
) -> Upgraded {
    let tunnel = Tunnel {
        sending,
        receiving,
        unread: Bytes::new(),
        write_ended: false,
        shared,
    };
    Upgraded::new(Box::new(tunnel), BytesMut::new(), lease)
}

struct Tunnel {
    sending: SendStream<Payload>,
    receiving: RecvStream,
    /// Bytes that have arrived, and not been read.
    unread: Bytes,
    write_ended: bool,
    shared: Arc<Shared>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.shared.link.give_room();
    }
}

impl Tunnel {
    /// Polls until there is something to read, or the stream has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.receiving.poll_data(cx)) {
                Some(Ok(data)) => self.unread = data,
                Some(Err(failure)) => return Poll::Ready(Err(self.failed(&failure))),
                None => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn failed(&self, failure: &h2::Error) -> io::Error {
        if failure.is_io() {
            return match self.shared.link.end() {
                Some(End::Failed(error) | End::ClosedAfter(error)) => {
                    io::Error::new(error.kind(), SharedIoError::new(error))
                }
                Some(End::Abused(how)) => io::Error::new(io::ErrorKind::InvalidData, how),
                Some(End::Silent | End::Unanswered) => io::ErrorKind::TimedOut.into(),
                Some(End::Dropped) => RuntimeShutdown::error(),
                Some(End::Closed) | None => io::ErrorKind::UnexpectedEof.into(),
            };
        }
        let kind = match failure.reason() {
            // RFC 9113 §8.5: the equivalent of a TCP reset.
            Some(Reason::CONNECT_ERROR | Reason::CANCEL) => io::ErrorKind::ConnectionReset,
            _ if failure.is_remote() => io::ErrorKind::ConnectionReset,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, Detail::of(failure))
    }

    /// Ready with the number of bytes that may be sent.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.sending.reserve_capacity(wanted);
        loop {
            let room = self.sending.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room.min(wanted)));
            }
            match ready!(self.sending.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(failure)) => return Poll::Ready(Err(self.failed(&failure))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }
}

impl NetworkStream for Tunnel {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        ready!(self.poll_fill(cx))?;
        let count = self.unread.len().min(buf.capacity() - buf.len());
        buf.extend_from_slice(&self.unread[..count]);
        self.unread.advance(count);
        if count > 0 {
            // The server may send as much again.
            let _ = self.receiving.flow_control().release_capacity(count);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.write_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let there: usize = bufs.iter().map(|buf| buf.len()).sum();
        if there == 0 {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.poll_room(cx, there.min(PIECE)))?;
        let mut piece = BytesMut::with_capacity(room);
        for buf in bufs {
            let left = room - piece.len();
            piece.extend_from_slice(&buf[..buf.len().min(left)]);
        }
        let sent = self.sending.send_data(Payload(piece.freeze()), false);
        Poll::Ready(sent.map(|()| room).map_err(|failure| self.failed(&failure)))
    }

    /// h2 sends what it was given as soon as it can.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// RFC 9113 §8.5: the end of the stream is the equivalent of FIN.
    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_ended {
            self.write_ended = true;
            if let Err(failure) = self.sending.send_data(Payload::default(), true) {
                return Poll::Ready(Err(self.failed(&failure)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        Poll::Ready(match ready!(self.poll_fill(cx)) {
            Ok(()) if self.unread.is_empty() => IdleEvent::Closed,
            Ok(()) => IdleEvent::UnsolicitedData,
            Err(error) => IdleEvent::Failed(error.kind()),
        })
    }

    fn info(&self) -> ConnectionInfo {
        self.shared.info.clone()
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("stream", &self.sending.stream_id())
            .finish_non_exhaustive()
    }
}
