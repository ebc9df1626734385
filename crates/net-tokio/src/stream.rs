//! A tokio socket as a stream.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use httpcore_core_primitives::{
    BoxStream, ConnectionInfo, IdleEvent, NetworkStream, RuntimeShutdown,
};
use httpcore_net_common::{socket, spare};
use socket2::{SockRef, Socket};
use tokio::{
    io::{AsyncWrite, Interest},
    net::{TcpStream, UnixStream},
};

use crate::{Shared, now};

/// Maximum age of an observation of an idle socket. A connection that was read from, or probed, within this
/// time is not probed again before it is used.
const IDLE_CHECK_MAX_AGE: Duration = Duration::from_micros(50);

/// The operations that both kinds of sockets have.
pub(crate) trait Io: AsyncWrite + Unpin + Send + fmt::Debug + 'static {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R>;
    fn socket(&self) -> SockRef<'_>;
}

macro_rules! io {
    ($stream:ty) => {
        impl Io for $stream {
            fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                <$stream>::poll_read_ready(self, cx)
            }

            fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                <$stream>::poll_write_ready(self, cx)
            }

            fn try_io<R>(
                &self,
                interest: Interest,
                f: impl FnOnce() -> io::Result<R>,
            ) -> io::Result<R> {
                <$stream>::try_io(self, interest, f)
            }

            fn socket(&self) -> SockRef<'_> {
                SockRef::from(self)
            }
        }
    };
}

io!(TcpStream);
io!(UnixStream);

/// A connected socket. Dropping it closes the socket.
pub(crate) struct TokioStream<S> {
    io: S,
    shared: Arc<Shared>,
    peer: Option<SocketAddr>,
    /// The time at which the socket was last found empty or was read from.
    observed: Instant,
    /// Whether a probe found the socket readable, of which tokio may not know yet.
    is_readable: bool,
}

impl TokioStream<TcpStream> {
    /// Registers a connected or connecting socket, and waits until it is connected.
    pub(crate) async fn tcp(
        shared: &Arc<Shared>,
        socket: Socket,
        peer: SocketAddr,
        connected: bool,
    ) -> io::Result<BoxStream> {
        let io = {
            let _runtime = shared.handle.enter();
            TcpStream::from_std(socket.into())
        };
        TokioStream::connected(shared, io, Some(peer), connected).await
    }
}

impl TokioStream<UnixStream> {
    /// As [`tcp`](TokioStream::tcp), for a Unix socket.
    pub(crate) async fn unix(
        shared: &Arc<Shared>,
        socket: Socket,
        connected: bool,
    ) -> io::Result<BoxStream> {
        let io = {
            let _runtime = shared.handle.enter();
            UnixStream::from_std(socket.into())
        };
        TokioStream::connected(shared, io, None, connected).await
    }
}

impl<S: Io> TokioStream<S> {
    async fn connected(
        shared: &Arc<Shared>,
        io: io::Result<S>,
        peer: Option<SocketAddr>,
        connected: bool,
    ) -> io::Result<BoxStream> {
        let stream = TokioStream {
            io: io.map_err(|error| ended_or(shared, error))?,
            shared: shared.clone(),
            peer,
            observed: now(),
            is_readable: false,
        };
        if !connected {
            // A failed connect makes the socket writable as well.
            poll_fn(|cx| stream.io.poll_write_ready(cx))
                .await
                .map_err(|error| ended_or(shared, error))?;
            if let Some(error) = stream.io.socket().take_error()? {
                return Err(error);
            }
        }
        Ok(Box::new(stream))
    }

    fn ended_or(&self, error: io::Error) -> io::Error {
        ended_or(&self.shared, error)
    }
}

/// Returns [`RuntimeShutdown`] if the runtime has been shut down, and `error` otherwise.
fn ended_or(shared: &Shared, error: io::Error) -> io::Error {
    if shared.timers.has_ended() {
        RuntimeShutdown::error()
    } else {
        error
    }
}

impl<S: Io> NetworkStream for TokioStream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let wanted = spare::read_size(buf);
        if wanted == 0 {
            return Poll::Ready(Err(socket::no_capacity()));
        }
        if std::mem::take(&mut self.is_readable) {
            match spare::recv_without_waiting(&self.io.socket(), buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
        loop {
            if let Err(error) = ready!(self.io.poll_read_ready(cx)) {
                return Poll::Ready(Err(self.ended_or(error)));
            }
            let mut short = None;
            let socket = self.io.socket();
            let outcome = self.io.try_io(Interest::READABLE, || {
                match spare::recv_without_waiting(&socket, buf) {
                    // Less than requested: the socket is empty. `WouldBlock` makes tokio clear its
                    // readiness, which saves another read. The end of the stream is kept separately and
                    // is not cleared.
                    Ok(read) if 0 < read && read < wanted => {
                        short = Some(read);
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    outcome => outcome,
                }
            });
            match short.map_or(outcome, Ok) {
                Ok(read) => {
                    self.observed = now();
                    return Poll::Ready(Ok(read));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                    _ => return Poll::Ready(Err(self.ended_or(error))),
                },
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs));
        Poll::Ready(written.map_err(|error| self.ended_or(error)))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket::shut_down_writing(&self.io.socket()))
    }

    /// Probes the socket, which is a system call, unless it was observed within [`IDLE_CHECK_MAX_AGE`].
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        if self.shared.timers.has_ended() {
            return Poll::Ready(IdleEvent::Failed(io::ErrorKind::NotConnected));
        }
        loop {
            let ready = match self.io.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => return Poll::Ready(IdleEvent::Failed(error.kind())),
                Poll::Pending => false,
            };
            let is_known_empty =
                now().saturating_duration_since(self.observed) < IDLE_CHECK_MAX_AGE;
            if !ready && is_known_empty {
                return Poll::Pending;
            }
            // tokio's readiness is cleared before the socket is probed: data that arrives afterwards is a
            // new event.
            let _: io::Result<()> = self
                .io
                .try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
            if let Some(end) = socket::probe_idle(&self.io.socket()) {
                self.is_readable = true;
                return Poll::Ready(end);
            }
            self.observed = now();
            if !ready {
                return Poll::Pending;
            }
        }
    }

    fn info(&self) -> ConnectionInfo {
        socket::info(&self.io.socket(), self.peer)
    }
}

impl<S: Io> fmt::Debug for TokioStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        socket::describe("tokio::Stream", &self.io.socket(), self.peer, f)
    }
}
