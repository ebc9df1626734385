//! A connected socket as a stream, TCP or Unix.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use httpcore_core_primitives::{ConnectionInfo, IdleEvent, NetworkStream};
use socket2::Socket;

use httpcore_net_common::{socket, spare};

use crate::{
    reactor::{Address, Moment, Reactor},
    source::{Direction, Readiness, Source},
};

/// How many bytes one stream may move before it stands back for others. Beside a large download,
/// this is what bounds how long a small request waits.
const BUDGET: usize = 256 * 1024;

/// How long what is known of an idle socket may be relied upon, after the socket was read to its end or
/// the kernel was asked about all of them. After that, the socket is asked. It is more than an exchange
/// and the next one take from one to the other in a loop that is busy with others, and less than it takes
/// a peer to notice that a request is coming.
const RELIED_ON: Duration = Duration::from_micros(50);

/// A registered socket. Dropping it closes the socket, which also takes it out of the kernel's set.
pub(crate) struct Stream {
    source: Arc<Source>,
    address: Address,
    reactor: Arc<Reactor>,
    peer: Option<SocketAddr>,
    /// What has been moved since the kernel was last asked, and how often it had been asked then.
    spent: usize,
    turn: u64,
    /// When the socket was last seen to have nothing to read.
    emptied: Moment,
    nodelay: Nodelay,
}

/// When `TCP_NODELAY` is set.
// RFC 9293 §3.7.4: a small segment waits while others are unacknowledged. On Linux it waits for small
// ones only, of which there can be none before the second write, however long the first one was. A
// connection for one request has no second write, and is spared a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nodelay {
    /// Never: not asked for, or done already.
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
        let (address, source) = reactor.register(socket, connected)?;
        Ok(Stream {
            source,
            address,
            reactor: reactor.clone(),
            peer,
            spent: 0,
            turn: 0,
            emptied: Moment::default(),
            nodelay,
        })
    }

    /// Ready once a connecting socket is connected, or will not be.
    ///
    /// That it can be written to is said of both, and of the latter always with an error or the end
    /// of both directions (`EPOLLERR`, `EPOLLHUP`): only then is the kernel asked what it was.
    pub(crate) fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let seen = ready!(self.source.poll_ready(Direction::Write, cx))?;
        if !seen.is_ended() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(match self.source.socket.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(error),
        })
    }

    /// Ready when a call in `direction` is worth its while; otherwise keeps the waker.
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

    /// Takes note that the socket has just been seen to have nothing to read.
    pub(crate) fn is_empty_now(&mut self) {
        self.emptied = self.reactor.moment();
    }

    /// Whether nothing was there to read so short a time ago that the kernel need not be asked.
    fn was_empty_just_now(&self) -> bool {
        let observed = self.reactor.observed().max(self.emptied);
        observed.is_within(RELIED_ON, self.reactor.moment())
    }

    /// Takes note of bytes that were moved.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.spent += bytes;
    }

    /// Whether this stream may go on, or stands back for others first; then `cx` is woken at once.
    ///
    /// Standing back starts the account anew, so that somebody who polls this stream while nobody
    /// turns the loop gets on all the same.
    pub(crate) fn may_go_on(&mut self, cx: &Context<'_>) -> bool {
        let turn = self.reactor.turn();
        if self.turn != turn {
            self.turn = turn;
            self.spent = 0;
        }
        if self.spent < BUDGET {
            return true;
        }
        self.spent = 0;
        self.reactor.yield_driver();
        cx.waker().wake_by_ref();
        false
    }
}

impl NetworkStream for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = spare::room(buf);
        if room == 0 {
            return Poll::Ready(Err(socket::no_room()));
        }
        if !self.may_go_on(cx) {
            return Poll::Pending;
        }
        loop {
            let seen = ready!(self.poll_ready(Direction::Read, cx))?;
            match spare::recv_without_waiting(&self.source.socket, buf) {
                Ok(read) => {
                    if 0 < read && read < room {
                        self.source.clear_ready_if_short(Direction::Read, seen);
                        self.is_empty_now();
                    }
                    self.spend(read);
                    return Poll::Ready(Ok(read));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.source.clear_ready(Direction::Read, seen),
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
        if !self.may_go_on(cx) {
            return Poll::Pending;
        }
        let piece = socket::Piece::of(bufs);
        loop {
            let seen = ready!(self.poll_ready(Direction::Write, cx))?;
            if self.nodelay == Nodelay::BeforeNextWrite {
                self.source.socket.set_tcp_nodelay(true)?;
                self.nodelay = Nodelay::Settled;
            }
            match piece.send(&self.source.socket, socket::MSG_DONTWAIT) {
                Ok(written) => {
                    if self.nodelay == Nodelay::AfterFirstWrite {
                        self.nodelay = Nodelay::BeforeNextWrite;
                    }
                    if written < piece.bytes() {
                        self.source.clear_ready_if_short(Direction::Write, seen);
                    }
                    self.spend(written);
                    return Poll::Ready(Ok(written));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.source.clear_ready(Direction::Write, seen),
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

    /// Asks the socket, which is a system call, when readiness is remembered, and when neither the socket
    /// nor the loop has been observed within [`RELIED_ON`].
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        loop {
            let seen = match self.source.ready(Direction::Read) {
                Ok(seen) => seen,
                Err(error) => return Poll::Ready(IdleEvent::Failed(error.kind())),
            };
            if seen.is_some() || !self.was_empty_just_now() {
                if let Some(end) = socket::idle_end(&self.source.socket) {
                    // A layer above may want to read it, such as the session tickets of TLS.
                    self.source.found(Direction::Read);
                    return Poll::Ready(end);
                }
                self.is_empty_now();
            }
            if let Some(seen) = seen {
                self.source.clear_ready(Direction::Read, seen);
            }
            // Ready if an edge came meanwhile: then the socket is asked about that.
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
        self.reactor.forget(self.address);
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
    fn nodelay_is_set_by_the_second_write_if_it_is_asked_for() {
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
            let mut heard = [0; 15];
            peer.read_exact(&mut heard).unwrap();
        }
    }
}
