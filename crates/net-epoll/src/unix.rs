//! Connecting to Unix sockets.

use std::{future::poll_fn, io, path::PathBuf};

use httpcore_core_primitives::{BoxStream, Runtime};
use httpcore_net_common::socket;

use crate::{Handle, stream::Nodelay, sync::Arc};

/// Connects to the socket at `path`. Dropping the future closes the socket.
pub(crate) async fn connect(handle: Handle, path: PathBuf) -> io::Result<BoxStream> {
    let runtime: Arc<dyn Runtime> = Arc::new(handle.clone());
    let (socket, connected) = socket::connect_unix(&runtime, &path).await?;
    let shared = &handle.0;
    let mut stream = shared.stream(socket, None, connected, Nodelay::Settled)?;
    poll_fn(|cx| stream.poll_connected(cx)).await?;
    Ok(shared.established(stream))
}
