//! A connected socket as a stream, TCP or Unix.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use httpcore_core_primitives::{IdleEnd, NetworkStream, StreamInfo};
use socket2::Socket;

use crate::{
    reactor::{Address, Reactor},
    socket,
    source::{Direction, Source},
    spare,
};

/// How many bytes one stream may move before it stands back for others. Beside a large download,
/// this is what bounds how long a small request waits.
const BUDGET: usize = 256 * 1024;

/// A registered socket. Dropping it closes the socket, which also takes it out of the kernel's set.
pub(crate) struct Stream {
    source: Arc<Source>,
    address: Address,
    reactor: Arc<Reactor>,
    peer: Option<SocketAddr>,
    /// What has been moved since the kernel was last asked, and how often it had been asked then.
    spent: usize,
    turn: u64,
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

    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    pub(crate) fn reactor(&self) -> &Arc<Reactor> {
        &self.reactor
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
        self.reactor.stand_back();
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
            let seen = ready!(self.source.poll_ready(Direction::Read, cx))?;
            match spare::recv(&self.source.socket, buf, socket::MSG_DONTWAIT) {
                Ok(read) => {
                    if 0 < read && read < room {
                        self.source.cut_short(Direction::Read, seen);
                    }
                    self.spend(read);
                    return Poll::Ready(Ok(read));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.source.used_up(Direction::Read, seen),
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
            let seen = ready!(self.source.poll_ready(Direction::Write, cx))?;
            if self.nodelay == Nodelay::BeforeNextWrite {
                self.source.socket.set_tcp_nodelay(true)?;
                self.nodelay = Nodelay::Settled;
            }
            match piece.send(&self.source.socket, socket::MSG_DONTWAIT) {
                Ok(written) => {
                    if self.nodelay == Nodelay::AfterFirstWrite {
                        self.nodelay = Nodelay::BeforeNextWrite;
                    }
                    if written < piece.len() {
                        self.source.cut_short(Direction::Write, seen);
                    }
                    self.spend(written);
                    return Poll::Ready(Ok(written));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.source.used_up(Direction::Write, seen),
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

    /// Costs no system call while nothing has been announced. What the kernel has not yet been
    /// asked is not known: a loop that has not turned for a while knows less.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEnd> {
        loop {
            let seen = match ready!(self.source.poll_ready(Direction::Read, cx)) {
                Ok(seen) => seen,
                Err(error) => return Poll::Ready(IdleEnd::Failed(error.kind())),
            };
            match socket::idle_end(&self.source.socket) {
                Some(end) => return Poll::Ready(end),
                None => self.source.used_up(Direction::Read, seen),
            }
        }
    }

    fn info(&self) -> StreamInfo {
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
