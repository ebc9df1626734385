//! Connecting over TCP.
//!
//! A connection costs five system calls, its share of a turn of the loop included: socket, connect,
//! registering, waiting, close; a sixth (`TCP_NODELAY`) with its second write, and one more if
//! threads may wait in the socket afterwards.

use std::{io, net::SocketAddr, sync::Arc};

use httpcore_core_primitives::{BoxStream, TcpOptions};

use crate::{drive::Shared, socket, stream::Nodelay};

/// Connects to `peer`. Dropped half-way, it closes the socket.
///
/// The socket is opened here already, so that the future need not keep the options.
pub(crate) fn connect(
    shared: Arc<Shared>,
    peer: SocketAddr,
    options: &TcpOptions,
) -> impl Future<Output = io::Result<BoxStream>> + use<> {
    let socket = socket::open_tcp(peer, options);
    let nodelay = if options.nodelay {
        Nodelay::AfterFirstWrite
    } else {
        Nodelay::Settled
    };
    async move {
        let socket = socket?;
        let connected = socket::connect(&socket, &peer.into())?;
        shared.finish(socket, Some(peer), connected, nodelay).await
    }
}
