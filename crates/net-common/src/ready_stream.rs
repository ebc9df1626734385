//! A stream over a socket whose readiness is reported by the event loop of another runtime.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::BytesMut;
use httpcore_core_primitives::{
    BoxStream, ConnectionInfo, IdleEvent, NetworkStream, RuntimeShutdown,
};
use socket2::SockRef;

use crate::{
    socket::{self, IDLE_CHECK_MAX_AGE},
    spare,
};

/// A direction of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer.
    Read,
    /// To the peer.
    Write,
}

/// A socket registered with an event loop, with its last known readiness.
pub trait Readiness: Send + 'static {
    /// Name of the stream in `Debug`.
    const NAME: &'static str;

    /// Polls until a call in `direction` is worth a try; otherwise keeps the waker.
    ///
    /// # Errors
    ///
    /// If the event loop has ended.
    fn poll_ready(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Makes a call in `direction`, if that is known to be ready, and notes that it is not if the call returns
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// # Errors
    ///
    /// Those of the call; `WouldBlock` without a call.
    fn try_io<R>(
        &self,
        direction: Direction,
        call: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R>;

    /// Returns the socket.
    fn socket(&self) -> SockRef<'_>;

    /// Returns the time.
    fn now(&self) -> Instant;

    /// Returns whether the runtime has ended.
    fn has_ended(&self) -> bool;
}

/// A connected socket. Dropping it closes the socket.
pub struct ReadyStream<S> {
    source: S,
    peer: Option<SocketAddr>,
    /// The time at which the socket was last found empty or was read from.
    observed: Instant,
    /// Whether a probe found the socket readable, which the event loop may not have reported.
    is_readable: bool,
}

impl<S: Readiness> ReadyStream<S> {
    /// Waits until `source` is connected, unless it `is_connected`. Dropping the future closes the socket.
    ///
    /// # Errors
    ///
    /// Those of connect(2), and [`RuntimeShutdown`].
    pub async fn connect(
        source: S,
        peer: Option<SocketAddr>,
        is_connected: bool,
    ) -> io::Result<BoxStream> {
        let stream = ReadyStream {
            observed: source.now(),
            source,
            peer,
            is_readable: false,
        };
        if !is_connected {
            // A connect that has failed makes its socket ready as well.
            poll_fn(|cx| stream.source.poll_ready(Direction::Write, cx))
                .await
                .map_err(|error| stream.ended_or(error))?;
            if let Some(error) = stream.source.socket().take_error()? {
                return Err(error);
            }
        }
        Ok(Box::new(stream))
    }

    /// Returns the error of a runtime that has ended, or `error`.
    fn ended_or(&self, error: io::Error) -> io::Error {
        if self.source.has_ended() {
            RuntimeShutdown::error()
        } else {
            error
        }
    }

    /// Makes `call`, which moves at most `wanted` bytes, once it is worth a try. A call that moves fewer has emptied
    /// or filled the socket: that is noted, and saves the call that would find it out. The end of the stream is
    /// reported separately and stays known.
    fn poll_move(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        wanted: usize,
        mut call: impl FnMut(&SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let socket = self.source.socket();
        loop {
            if let Err(error) = ready!(self.source.poll_ready(direction, cx)) {
                return Poll::Ready(Err(self.ended_or(error)));
            }
            let mut short = None;
            let outcome = self.source.try_io(direction, || match call(&socket) {
                Ok(moved) if 0 < moved && moved < wanted => {
                    short = Some(moved);
                    Err(io::ErrorKind::WouldBlock.into())
                }
                outcome => outcome,
            });
            match short.map_or(outcome, Ok) {
                Ok(moved) => return Poll::Ready(Ok(moved)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                    _ => return Poll::Ready(Err(self.ended_or(error))),
                },
            }
        }
    }
}

impl<S: Readiness> NetworkStream for ReadyStream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let wanted = spare::read_size(buf);
        if wanted == 0 {
            return Poll::Ready(Err(socket::no_capacity()));
        }
        if std::mem::take(&mut self.is_readable) {
            match spare::recv_without_waiting(&self.source.socket(), buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
        let read = ready!(self.poll_move(Direction::Read, cx, wanted, |socket| {
            spare::recv_without_waiting(socket, buf)
        }));
        if read.is_ok() {
            self.observed = self.source.now();
        }
        Poll::Ready(read)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let piece = socket::SendBatch::of(bufs);
        self.poll_move(Direction::Write, cx, piece.bytes(), |socket| {
            piece.send(socket, socket::MSG_DONTWAIT)
        })
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket::shut_down_writing(&self.source.socket()))
    }

    /// Probes the socket, which is a system call, unless it was observed within [`IDLE_CHECK_MAX_AGE`].
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        if self.source.has_ended() {
            return Poll::Ready(IdleEvent::Failed(io::ErrorKind::NotConnected));
        }
        loop {
            let ready = match self.source.poll_ready(Direction::Read, cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => return Poll::Ready(IdleEvent::Failed(error.kind())),
                Poll::Pending => false,
            };
            let now = self.source.now();
            let is_known_empty = now.saturating_duration_since(self.observed) < IDLE_CHECK_MAX_AGE;
            if !ready && is_known_empty {
                return Poll::Pending;
            }
            // What is known is cleared before the socket is probed: what arrives afterwards is an event of its own.
            let _: io::Result<()> = self
                .source
                .try_io(Direction::Read, || Err(io::ErrorKind::WouldBlock.into()));
            if let Some(end) = socket::probe_idle(&self.source.socket()) {
                self.is_readable = true;
                return Poll::Ready(end);
            }
            self.observed = self.source.now();
            if !ready {
                return Poll::Pending;
            }
        }
    }

    fn info(&self) -> ConnectionInfo {
        socket::info(&self.source.socket(), self.peer)
    }
}

impl<S: Readiness> fmt::Debug for ReadyStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        socket::describe(S::NAME, &self.source.socket(), self.peer, f)
    }
}
