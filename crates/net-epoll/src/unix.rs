//! Connecting to Unix sockets.

use std::{future::poll_fn, io, path::PathBuf, sync::Arc, time::Duration};

use httpcore_core_primitives::{BoxStream, Runtime, sleep_until};

use httpcore_net_common::socket;

use crate::{Handle, stream::Nodelay};

/// How long to wait before asking again a listener whose backlog is full, at first and at last.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LAST_WAIT: Duration = Duration::from_millis(32);

/// Connects to the socket at `path`. Dropped half-way, it closes the socket.
pub(crate) async fn connect(handle: Handle, path: PathBuf) -> io::Result<BoxStream> {
    let address = socket::unix_address(&path)?;
    let socket = socket::open_unix()?;
    let mut wait = FIRST_WAIT;
    let connected = loop {
        match socket::connect(&socket, &address) {
            // A full backlog: TCP would go on trying by itself, whereas a Unix socket that does
            // not wait is refused, and is not told when there is room.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let runtime: Arc<dyn Runtime> = Arc::new(handle.clone());
                let again = runtime.now() + wait;
                sleep_until(&runtime, again).await;
                wait = (wait * 2).min(LAST_WAIT);
            }
            outcome => break outcome?,
        }
    };
    let shared = &handle.0;
    let mut stream = shared.stream(socket, None, connected, Nodelay::Settled)?;
    poll_fn(|cx| stream.poll_connected(cx)).await?;
    Ok(shared.established(stream))
}
