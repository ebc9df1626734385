//! Connecting over TCP.
//!
//! A connection takes five system calls: socket, connect, registering, its share of a poll for events,
//! close; a sixth (`TCP_NODELAY`) with its second write, and one more if threads may block in the socket.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use httpcore_core_primitives::{BoxStream, TcpOptions};
use socket2::Socket;

use httpcore_net_common::socket;

use crate::{
    driver::Shared,
    stream::{Nodelay, Stream},
    sync::Arc,
};

/// A connection attempt. Dropping it closes the socket.
///
/// Not an async function, whose future would be twice as large and be moved twice.
pub(crate) struct Connecting {
    shared: Arc<Shared>,
    peer: SocketAddr,
    nodelay: Nodelay,
    /// The open socket, before the first poll: its options need not be stored.
    socket: Option<io::Result<Socket>>,
    stream: Option<Box<Stream>>,
}

impl Connecting {
    /// Creates an attempt to connect to `peer`, which starts at the first poll.
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
            (None, None) => panic!("connect polled after completion"),
        };
        let connected = stream.poll_connected(cx);
        if connected.is_pending() {
            self.stream = Some(stream);
            return Poll::Pending;
        }
        connected.map_ok(|()| self.shared.established(stream))
    }
}
