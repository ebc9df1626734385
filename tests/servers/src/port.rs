//! Ports for servers which must be told theirs.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use crate::unexpected;

/// Maximum number of attempts, for when another process takes the port first.
const TRIES: usize = 5;

/// Starts something at an address of loopback. It was bound here for a moment, and so is most
/// likely still free; if not, what is started says so, and is started again at another.
pub(crate) fn on_a_free_one<T>(
    mut start: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = unexpected("no port");
    for _ in 0..TRIES {
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        match start(addr) {
            Err(error) if is_taken(&error) => last = error,
            other => return other,
        }
    }
    Err(last)
}

fn is_taken(error: &io::Error) -> bool {
    let said = error.to_string().to_lowercase();
    said.contains("address already in use")
}
