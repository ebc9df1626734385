//! Accepting TCP connections.

use std::{
    io,
    net::{self, SocketAddr},
};

use httpcore_core_primitives::BoxStream;

use crate::{AsyncFd, Direction, Handle, stream::Nodelay};

/// A listening TCP socket. Dropping it closes the socket.
///
/// ```
/// use httpcore_net_epoll::{EventLoop, TcpListener};
///
/// let epoll = EventLoop::new()?;
/// let listener = TcpListener::bind(&epoll.handle(), "127.0.0.1:0".parse().unwrap())?;
/// let client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// let (_stream, peer) = epoll.block_on(listener.accept())?;
/// assert_eq!(peer, client.local_addr()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpListener {
    fd: AsyncFd<net::TcpListener>,
    handle: Handle,
}

impl TcpListener {
    /// Listens at `address`, with `SO_REUSEADDR` and a backlog of 128; port 0 is any free one.
    ///
    /// # Errors
    ///
    /// Those of bind(2) and listen(2), and of [`AsyncFd::new`].
    pub fn bind(handle: &Handle, address: SocketAddr) -> io::Result<Self> {
        TcpListener::from_std(handle, net::TcpListener::bind(address)?)
    }

    /// Takes over a listener of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// As for [`AsyncFd::new`].
    pub fn from_std(handle: &Handle, listener: net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener {
            fd: AsyncFd::new(handle, listener)?,
            handle: handle.clone(),
        })
    }

    /// Returns the next connection, with `TCP_NODELAY` set, and the peer's address.
    ///
    /// Dropping the future loses no connection.
    ///
    /// # Errors
    ///
    /// Those of accept(2). A connection that its peer has aborted is skipped. Without a free descriptor
    /// (`EMFILE`, `ENFILE`) the connection stays in the backlog, and the next call fails at once as well: wait before
    /// trying again.
    pub async fn accept(&self) -> io::Result<(BoxStream, SocketAddr)> {
        loop {
            let accepted = self.fd.async_io(Direction::Read, net::TcpListener::accept);
            match accepted.await {
                // accept(2): these are errors of the connection that is gone, not of the listener.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
                Ok((socket, peer)) => return Ok((self.stream(socket, peer)?, peer)),
            }
        }
    }

    /// Returns the address that it listens at.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd.get_ref().local_addr()
    }

    fn stream(&self, socket: net::TcpStream, peer: SocketAddr) -> io::Result<BoxStream> {
        socket.set_nodelay(true)?;
        let shared = &self.handle.0;
        let stream = shared.stream(socket.into(), Some(peer), true, Nodelay::Settled)?;
        Ok(shared.established(stream))
    }
}
