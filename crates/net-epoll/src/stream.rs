//! A TCP or Unix socket as a stream.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::BytesMut;
use httpcore_core_primitives::{ConnectionInfo, IdleEvent, NetworkStream};
use socket2::Socket;

use httpcore_net_common::{
    socket::{self, IDLE_CHECK_MAX_AGE},
    spare,
};

use crate::{
    reactor::{Reactor, SourceId},
    source::{Direction, Readiness, Source},
    sync::Arc,
};

/// Maximum number of bytes that one stream moves between two polls for events; then it yields. This bounds
/// the time for which a small request waits beside a large download.
const BUDGET_BYTES: usize = 256 * 1024;

/// A registered socket. Dropping it closes the socket, which also removes it from the epoll set.
pub(crate) struct Stream {
    source: Arc<Source>,
    id: SourceId,
    reactor: Arc<Reactor>,
    peer: Option<SocketAddr>,
    /// Number of bytes moved since the poll for events with the number `polls`.
    budget_used: usize,
    polls: u64,
    /// The time at which the socket was last found empty.
    empty_at: Option<Instant>,
    nodelay: Nodelay,
}

/// When `TCP_NODELAY` is set.
// RFC 9293 §3.7.4: a small segment waits while others are unacknowledged. On Linux it waits for small
// ones only, and there are none before the second write. A connection with one request has no second
// write, and saves a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nodelay {
    /// Not requested, or set already.
    Settled,
    AfterFirstWrite,
    BeforeNextWrite,
}

impl Stream {
    /// Registers `socket`, which is connected or connecting.
    pub(crate) fn new(
        reactor: &Arc<Reactor>,
        socket: Socket,
        peer: Option<SocketAddr>,
        connected: bool,
        nodelay: Nodelay,
    ) -> io::Result<Self> {
        let (id, source) = reactor.register(socket, connected)?;
        Ok(Stream {
            source,
            id,
            reactor: reactor.clone(),
            peer,
            budget_used: 0,
            polls: 0,
            empty_at: None,
            nodelay,
        })
    }

    /// Ready once a connecting socket is connected or has failed.
    ///
    /// Both make it writable; a failure is always reported together with an error or the end of both
    /// directions (`EPOLLERR`, `EPOLLHUP`), and only then is the error read.
    pub(crate) fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let readiness = ready!(self.source.poll_ready(Direction::Write, cx))?;
        if !readiness.is_ended() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(match self.source.socket.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(error),
        })
    }

    /// Polls until a call in `direction` may succeed; otherwise registers the waker.
    fn poll_ready(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Readiness>> {
        let polled = self.source.poll_ready(direction, cx);
        if polled.is_pending() {
            self.reactor.watch().waits();
        }
        polled
    }

    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    pub(crate) fn reactor(&self) -> &Arc<Reactor> {
        &self.reactor
    }

    /// Records that the socket is empty now.
    pub(crate) fn note_empty(&mut self) {
        self.empty_at = Some(crate::now());
    }

    /// Returns whether the socket was observed to be empty within [`IDLE_CHECK_MAX_AGE`].
    fn is_known_empty(&self) -> bool {
        let now = crate::now();
        // Compared by addition: the difference of two instants costs three times as much.
        let is_recent = |at: Instant| at + IDLE_CHECK_MAX_AGE >= now;
        self.empty_at.is_some_and(is_recent) || is_recent(self.reactor.observed())
    }

    /// Counts moved bytes.
    pub(crate) fn consume_budget(&mut self, bytes: usize) {
        self.budget_used += bytes;
    }

    /// Returns whether this stream may move bytes. If its budget is used up, it yields: `cx` is woken at once,
    /// and events are polled first.
    ///
    /// Yielding resets the budget, so that a stream that is polled while no thread runs the loop makes
    /// progress.
    pub(crate) fn try_proceed(&mut self, cx: &Context<'_>) -> bool {
        let polls = self.reactor.poll_count();
        if self.polls != polls {
            self.polls = polls;
            self.budget_used = 0;
        }
        if self.budget_used < BUDGET_BYTES {
            return true;
        }
        self.budget_used = 0;
        self.reactor.request_events();
        cx.waker().wake_by_ref();
        false
    }
}

impl NetworkStream for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let wanted = spare::read_size(buf);
        if wanted == 0 {
            return Poll::Ready(Err(socket::no_capacity()));
        }
        if !self.try_proceed(cx) {
            return Poll::Pending;
        }
        loop {
            let readiness = ready!(self.poll_ready(Direction::Read, cx))?;
            match spare::recv_without_waiting(&self.source.socket, buf) {
                Ok(read) => {
                    if 0 < read && read < wanted {
                        self.source.clear_ready_if_short(Direction::Read, readiness);
                        self.note_empty();
                    }
                    self.consume_budget(read);
                    return Poll::Ready(Ok(read));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.source.clear_ready(Direction::Read, readiness)
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.try_proceed(cx) {
            return Poll::Pending;
        }
        let batch = socket::SendBatch::of(bufs);
        loop {
            let readiness = ready!(self.poll_ready(Direction::Write, cx))?;
            if self.nodelay == Nodelay::BeforeNextWrite {
                self.source.socket.set_tcp_nodelay(true)?;
                self.nodelay = Nodelay::Settled;
            }
            match batch.send(&self.source.socket, socket::MSG_DONTWAIT) {
                Ok(written) => {
                    if self.nodelay == Nodelay::AfterFirstWrite {
                        self.nodelay = Nodelay::BeforeNextWrite;
                    }
                    if written < batch.bytes() {
                        self.source
                            .clear_ready_if_short(Direction::Write, readiness);
                    }
                    self.consume_budget(written);
                    return Poll::Ready(Ok(written));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.source.clear_ready(Direction::Write, readiness)
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket::shut_down_writing(&self.source.socket))
    }

    /// Probes the socket, which is a system call, if it is marked as readable, or if it was not observed to
    /// be empty within [`IDLE_CHECK_MAX_AGE`].
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        loop {
            let readiness = match self.source.ready(Direction::Read) {
                Ok(readiness) => readiness,
                Err(error) => return Poll::Ready(IdleEvent::Failed(error.kind())),
            };
            if readiness.is_some() || !self.is_known_empty() {
                if let Some(end) = socket::probe_idle(&self.source.socket) {
                    // A layer above may have to read it, such as session tickets of TLS.
                    self.source.set_ready_by_probe(Direction::Read);
                    return Poll::Ready(end);
                }
                self.note_empty();
            }
            if let Some(readiness) = readiness {
                self.source.clear_ready(Direction::Read, readiness);
            }
            // Ready if an event arrived meanwhile: then the socket is probed again.
            if let Err(error) = ready!(self.source.poll_ready(Direction::Read, cx)) {
                return Poll::Ready(IdleEvent::Failed(error.kind()));
            }
        }
    }

    fn info(&self) -> ConnectionInfo {
        socket::info(&self.source.socket, self.peer)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reactor.deregister(self.id);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        socket::describe("epoll::Stream", &self.source.socket, self.peer, f)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
        task::Waker,
    };

    use super::*;

    #[test]
    fn nodelay_is_set_before_the_second_write_if_requested() {
        for (nodelay, expected) in [
            (Nodelay::AfterFirstWrite, [false, true, true]),
            (Nodelay::Settled, [false; 3]),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            let reactor = Arc::new(Reactor::new().unwrap());
            let mut stream = Stream::new(&reactor, socket.into(), None, true, nodelay).unwrap();
            let mut cx = Context::from_waker(Waker::noop());
            for expected in expected {
                let written = stream.poll_write(&mut cx, &[IoSlice::new(b"piece")]);
                assert!(matches!(written, Poll::Ready(Ok(5))), "{written:?}");
                assert_eq!(stream.source.socket.tcp_nodelay().unwrap(), expected);
            }
            let mut received = [0; 15];
            peer.read_exact(&mut received).unwrap();
        }
    }
}
