//! Connecting over TCP.
//!
//! A connection costs seven system calls, its share of a turn of the loop included: socket,
//! `TCP_NODELAY`, connect, registering, waiting, `SO_ERROR`, close.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc};

use httpcore_core_primitives::{BoxStream, TcpOptions};

use crate::{reactor::Reactor, socket, stream::Stream};

/// Connects to `peer`. Dropped half-way, it closes the socket.
pub(crate) async fn connect(
    reactor: Arc<Reactor>,
    peer: SocketAddr,
    options: TcpOptions,
) -> io::Result<BoxStream> {
    let socket = socket::open_tcp(peer, &options)?;
    let connected = socket::connect(&socket, &peer.into())?;
    let mut stream = Stream::new(&reactor, socket, Some(peer), connected)?;
    if !connected {
        poll_fn(|cx| stream.poll_connected(cx)).await?;
    }
    Ok(Box::new(stream))
}
