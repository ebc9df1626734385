//! Connecting over TCP.
//!
//! A connection costs five system calls, its share of a turn of the loop included: socket, connect,
//! registering, waiting, close; a sixth (`TCP_NODELAY`) with its second write, and one more if
//! threads may wait in the socket afterwards.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use httpcore_core_primitives::{BoxStream, TcpOptions};
use socket2::Socket;

use httpcore_net_common::socket;

use crate::{
    driver::Shared,
    stream::{Nodelay, Stream},
};

/// A connection in the making. Dropped half-way, it closes the socket.
///
/// Written out: what an async function keeps for this is twice as large, and moved twice.
pub(crate) struct Connecting {
    shared: Arc<Shared>,
    peer: SocketAddr,
    nodelay: Nodelay,
    /// Not connecting yet, but opened, so that its options need not be kept.
    socket: Option<io::Result<Socket>>,
    stream: Option<Box<Stream>>,
}

impl Connecting {
    /// A connection to `peer`, which is begun when this is first polled.
    pub(crate) fn new(shared: Arc<Shared>, peer: SocketAddr, options: &TcpOptions) -> Self {
        let nodelay = if options.nodelay {
            Nodelay::AfterFirstWrite
        } else {
            Nodelay::Settled
        };
        Connecting {
            shared,
            peer,
            nodelay,
            socket: Some(socket::open_tcp(peer, options)),
            stream: None,
        }
    }

    fn begin(&self, socket: Socket) -> io::Result<Box<Stream>> {
        let connected = socket::connect(&socket, &self.peer.into())?;
        let peer = Some(self.peer);
        self.shared.stream(socket, peer, connected, self.nodelay)
    }
}

impl Future for Connecting {
    type Output = io::Result<BoxStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stream = match (self.socket.take(), self.stream.take()) {
            (Some(socket), _) => self.begin(socket?)?,
            (None, Some(stream)) => stream,
            (None, None) => panic!("a connect was polled after it had ended"),
        };
        let connected = stream.poll_connected(cx);
        if connected.is_pending() {
            self.stream = Some(stream);
            return Poll::Pending;
        }
        connected.map_ok(|()| self.shared.established(stream))
    }
}
