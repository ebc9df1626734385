//! Datagrams.

use std::{
    io,
    net::{self, SocketAddr},
};

use crate::{AsyncFd, Direction, Handle};

/// A UDP socket. Dropping it closes the socket.
///
/// Any number of tasks may send and receive at the same time. Dropping a future sends or loses nothing: a datagram
/// is moved by the poll that returns its length.
///
/// ```
/// use httpcore_net_epoll::{EventLoop, UdpSocket};
///
/// let epoll = EventLoop::new()?;
/// let (one, two) = (
///     UdpSocket::bind(&epoll.handle(), "127.0.0.1:0".parse().unwrap())?,
///     UdpSocket::bind(&epoll.handle(), "127.0.0.1:0".parse().unwrap())?,
/// );
/// epoll.block_on(async {
///     one.send_to(b"ping", two.local_addr()?).await?;
///     let mut buf = [0; 16];
///     let (received, from) = two.recv_from(&mut buf).await?;
///     assert_eq!((&buf[..received], from), (&b"ping"[..], one.local_addr()?));
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UdpSocket(AsyncFd<net::UdpSocket>);

impl UdpSocket {
    /// Opens a socket bound to `address`; port 0 is any free one.
    ///
    /// # Errors
    ///
    /// Those of bind(2), and of [`AsyncFd::new`].
    pub fn bind(handle: &Handle, address: SocketAddr) -> io::Result<Self> {
        UdpSocket::from_std(handle, net::UdpSocket::bind(address)?)
    }

    /// Takes over a socket of the standard library, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// As for [`AsyncFd::new`].
    pub fn from_std(handle: &Handle, socket: net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(UdpSocket(AsyncFd::new(handle, socket)?))
    }

    /// Sets the peer of [`send`](Self::send) and [`recv`](Self::recv). Datagrams from elsewhere are not received
    /// from then on. Does not block.
    ///
    /// # Errors
    ///
    /// Those of connect(2).
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.get_ref().connect(peer)
    }

    /// Sends one datagram to the peer set by [`connect`](Self::connect), and returns its length.
    ///
    /// # Errors
    ///
    /// Those of send(2): `ECONNREFUSED` may be about an earlier datagram.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        let send = |socket: &net::UdpSocket| socket.send(datagram);
        self.0.async_io(Direction::Write, send).await
    }

    /// Receives one datagram from the peer set by [`connect`](Self::connect), and returns its length. What does
    /// not fit into `buf` is lost.
    ///
    /// # Errors
    ///
    /// Those of recv(2): `ECONNREFUSED` is about an earlier datagram that was sent.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let recv = |socket: &net::UdpSocket| socket.recv(buf);
        self.0.async_io(Direction::Read, recv).await
    }

    /// Sends one datagram to `peer`, and returns its length.
    ///
    /// # Errors
    ///
    /// Those of sendto(2).
    pub async fn send_to(&self, datagram: &[u8], peer: SocketAddr) -> io::Result<usize> {
        let send = |socket: &net::UdpSocket| socket.send_to(datagram, peer);
        self.0.async_io(Direction::Write, send).await
    }

    /// Receives one datagram, and returns its length and its sender. What does not fit into `buf` is lost.
    ///
    /// # Errors
    ///
    /// Those of recvfrom(2).
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let recv = |socket: &net::UdpSocket| socket.recv_from(buf);
        self.0.async_io(Direction::Read, recv).await
    }

    /// Returns the address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().local_addr()
    }

    /// Returns the socket, for its options.
    pub fn get_ref(&self) -> &net::UdpSocket {
        self.0.get_ref()
    }
}
