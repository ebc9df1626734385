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

use crate::{
    drive::Shared,
    socket,
    stream::{Nodelay, Stream},
};

/// A connection in the making. Dropped half-way, it closes the socket.
///
/// Written out: what an async function keeps for this is twice as large, and moved twice.
pub(crate) struct Connecting {
    shared: Arc<Shared>,
    peer: SocketAddr,
    options: TcpOptions,
    stream: Option<Box<Stream>>,
}

impl Connecting {
    /// A connection to `peer`, which is begun when this is first polled.
    pub(crate) fn new(shared: Arc<Shared>, peer: SocketAddr, options: TcpOptions) -> Self {
        Connecting {
            shared,
            peer,
            options,
            stream: None,
        }
    }

    fn begin(&self) -> io::Result<Box<Stream>> {
        let socket = socket::open_tcp(self.peer, &self.options)?;
        let connected = socket::connect(&socket, &self.peer.into())?;
        let nodelay = if self.options.nodelay {
            Nodelay::AfterFirstWrite
        } else {
            Nodelay::Settled
        };
        self.shared
            .stream(socket, Some(self.peer), connected, nodelay)
    }
}

impl Future for Connecting {
    type Output = io::Result<BoxStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.begin()?,
        };
        let connected = stream.poll_connected(cx);
        if connected.is_pending() {
            self.stream = Some(stream);
            return Poll::Pending;
        }
        connected.map_ok(|()| self.shared.established(stream))
    }
}
