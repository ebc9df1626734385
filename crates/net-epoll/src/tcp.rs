//! Connecting over TCP.
//!
//! A connection costs seven system calls, its share of a turn of the loop included: socket,
//! `TCP_NODELAY`, connect, registering, waiting, `SO_ERROR`, close; and an eighth if threads may wait
//! in the socket afterwards.

use std::{io, net::SocketAddr, sync::Arc};

use httpcore_core_primitives::{BoxStream, TcpOptions};

use crate::{drive::Shared, socket};

/// Connects to `peer`. Dropped half-way, it closes the socket.
pub(crate) async fn connect(
    shared: Arc<Shared>,
    peer: SocketAddr,
    options: TcpOptions,
) -> io::Result<BoxStream> {
    let socket = socket::open_tcp(peer, &options)?;
    let connected = socket::connect(&socket, &peer.into())?;
    shared.finish(socket, Some(peer), connected).await
}
