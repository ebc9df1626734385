//! The traits of a network: streams, name resolution, TLS.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use crate::{error::BoxError, runtime::Runtime};

/// A boxed `Send` future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A boxed stream of any layers (TCP, TLS, tunnel, TLS over TLS).
pub type BoxStream = Box<dyn NetworkStream>;

/// A duplex stream of bytes: a socket, TLS over a stream, a tunnel, or a script.
///
/// # For callers
///
/// Methods take `&mut self`, so at most one task waits on each direction; the waker of the latest call
/// is the one that is called. Each direction keeps a waker of its own, so a read and a write can both be
/// pending.
///
/// Dropping a stream closes it at once, in both directions, without waiting. No layer needs an `await`
/// to be cancelled safely.
///
/// # For implementers
///
/// A stream must be `Send` and need not be `Sync`. A method that returns `Pending` must have
/// arranged for the waker to be called. Wakers must not be called while a lock is held.
pub trait NetworkStream: fmt::Debug + Send + 'static {
    /// Appends the bytes that have arrived to `buf`, at most its spare capacity, which the caller has
    /// reserved and which must not be 0. Yields their number; 0 is the end of the stream. Does not change
    /// `buf` when pending.
    ///
    /// # Errors
    ///
    /// Those of the layer below. After an error the stream can only be dropped.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Writes a non-empty prefix of the concatenation of `bufs`, and yields its length.
    ///
    /// This is the only write method, so a wrapper cannot omit the vectored one. `bufs` must hold at
    /// least one byte in total.
    ///
    /// # Errors
    ///
    /// As for [`poll_read`](Self::poll_read); reading may continue after a failed write, since the peer
    /// may have answered before it closed. A write that fails has sent nothing of `bufs`, which the
    /// caller may then send elsewhere: an implementation that fails after a part yields the length of
    /// that part, and fails at the next call.
    fn poll_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>])
    -> Poll<io::Result<usize>>;

    /// Writes bytes that layers of this stream have buffered, such as TLS records, to the network.
    ///
    /// # Errors
    ///
    /// As for [`poll_write`](Self::poll_write).
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Shuts the write side down: flushes, sends the layers' closing messages (`close_notify`), and
    /// closes the write side. Optional: dropping a stream is always safe.
    ///
    /// # Errors
    ///
    /// As for [`poll_write`](Self::poll_write).
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready, between exchanges, with a reason not to use this stream again.
    ///
    /// `Pending` means that the stream is fit for use; the waker is kept. Pass
    /// [`noop_waker`](crate::noop_waker) to check without registering.
    ///
    /// # For callers
    ///
    /// Call it when the stream becomes idle and again immediately before it is used. Hold no lock: the
    /// call may make a system call, decrypt, and call the waker. Events that reach this host between this
    /// call and the next write cannot be known: a request on a connection that its peer closes in that
    /// interval fails as usual.
    ///
    /// # For implementers
    ///
    /// Report what has reached this host *now*, not what an event loop has reported so far: the loop does
    /// not run while its thread computes. A result may rely on an earlier observation, of this stream or
    /// of all streams by the loop, for half a millisecond at most; a loop that polls continuously
    /// then needs no system call for this. Data that was found must be readable by
    /// [`poll_read`](Self::poll_read) at once, whether or not the loop has reported it.
    ///
    /// Each layer decides for its own protocol. A TLS stream processes the records that have arrived:
    /// session tickets and key updates keep it idle; application data, alerts and the end do not.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent>;

    /// Returns the addresses and TLS parameters of the stream.
    fn info(&self) -> ConnectionInfo;
}

/// A boxed stream is a stream, for code that takes any.
impl<S: NetworkStream + ?Sized> NetworkStream for Box<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        (**self).poll_read(cx, buf)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_write(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_shutdown(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        (**self).poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        (**self).info()
    }
}

/// The reason why an idle stream is no longer fit for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdleEvent {
    /// The peer closed it, with or without a closing message.
    Closed,
    /// The stream failed.
    Failed(io::ErrorKind),
    /// The peer sent data without a request, which would be read as the next response.
    UnsolicitedData,
}

/// Addresses and TLS parameters of an established stream.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The peer's address, of the lowest layer; `None` if that is not TCP.
    pub peer: Option<SocketAddr>,
    /// The local address; `None` if the lowest layer is not TCP.
    pub local: Option<SocketAddr>,
    /// The uppermost TLS layer; `None` without TLS.
    pub tls: Option<Arc<TlsInfo>>,
    /// What a pool knows of the connection; `None` where no pool has been asked.
    pub pooled: Option<PooledInfo>,
}

/// What a pool knows of a connection, at the moment in which a request was given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PooledInfo {
    /// A number that no other connection of the same pool has.
    pub id: u64,
    /// The version of HTTP that it speaks.
    pub version: http::Version,
    /// Number of requests that were given it before: 0 for a new connection.
    pub requests_before: u64,
    /// Time since its last exchange ended; zero for a new connection, and for one that was in use.
    pub idle_for: Duration,
    /// Time since it was made.
    pub age: Duration,
}

impl PooledInfo {
    /// Creates the facts of a connection that was made just now.
    pub fn new(id: u64, version: http::Version) -> Self {
        PooledInfo {
            id,
            version,
            requests_before: 0,
            idle_for: Duration::ZERO,
            age: Duration::ZERO,
        }
    }

    /// Returns whether the connection had served another request before.
    pub fn is_reused(&self) -> bool {
        self.requests_before > 0
    }
}

/// The parameters that a TLS handshake negotiated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The protocol selected by ALPN (RFC 7301).
    pub alpn: Option<Alpn>,
    /// The protocol version, for example `"TLS 1.3"`.
    pub version: Option<&'static str>,
    /// The cipher suite, by its IANA name.
    pub cipher_suite: Option<&'static str>,
    /// The key exchange group, by its IANA name; `None` without a key exchange, as in some resumed
    /// sessions.
    pub key_exchange: Option<&'static str>,
    /// The peer's certificate chain in DER, end entity first. In a resumed session, the chain of the
    /// original session.
    pub peer_chain: Vec<Bytes>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// An application protocol that is offered in ALPN (RFC 7301 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alpn {
    /// `http/1.1`
    Http1,
    /// `h2`
    Http2,
}

impl Alpn {
    /// Returns the protocol's identification sequence.
    pub fn wire_name(self) -> &'static [u8] {
        match self {
            Alpn::Http1 => b"http/1.1",
            Alpn::Http2 => b"h2",
        }
    }

    /// Returns the protocol with this identification sequence; `None` if it is not one of these.
    pub fn from_wire_name(name: &[u8]) -> Option<Self> {
        [Alpn::Http1, Alpn::Http2]
            .into_iter()
            .find(|alpn| alpn.wire_name() == name)
    }
}

/// Name resolution and connections. Knows nothing of TLS, HTTP or proxies.
///
/// The futures are `'static`; dropping one cancels its operation. They have no deadline of their own:
/// the caller wraps them in [`with_deadline`](crate::with_deadline).
pub trait NetworkBackend: Runtime {
    /// Looks up the addresses of `host`, in the order in which they should be tried.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if the name does not exist; any other kind if the look-up failed.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

    /// Connects to one address. Trying several addresses is done above the backends.
    ///
    /// # Errors
    ///
    /// Those of the operating system, for the attempt or for one of `options`.
    fn connect_tcp(
        &self,
        peer: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<BoxStream>>;

    /// Connects to a Unix domain socket.
    ///
    /// # Errors
    ///
    /// Those of the operating system; [`io::ErrorKind::Unsupported`] if the backend has no Unix sockets.
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxStream>>;
}

/// Options of a TCP connection, applied before it is made.
///
/// Connections with different options are not shared, therefore they compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Whether small writes are sent at once (`TCP_NODELAY`). On by default: head and first body bytes are
    /// written together, so a delay gains nothing.
    pub nodelay: bool,
    /// The local address to connect from when the peer is an IPv4 address.
    pub local_v4: Option<std::net::Ipv4Addr>,
    /// The local address to connect from when the peer is an IPv6 address.
    pub local_v6: Option<std::net::Ipv6Addr>,
    /// The time without traffic after which the kernel sends a probe (`TCP_KEEPIDLE`).
    pub keepalive: Option<Duration>,
    /// The interval between probes (`TCP_KEEPINTVL`).
    pub keepalive_interval: Option<Duration>,
    /// The number of unanswered probes that end the connection (`TCP_KEEPCNT`).
    pub keepalive_retries: Option<u32>,
    /// The maximum time for which written bytes stay unacknowledged before the connection fails
    /// (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
    /// The size of the kernel's send buffer, in bytes (`SO_SNDBUF`).
    pub send_buffer: Option<usize>,
    /// The size of the kernel's receive buffer, in bytes (`SO_RCVBUF`).
    pub receive_buffer: Option<usize>,
    /// The network interface to bind to (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
    /// The mark of the packets, for routing and firewall rules (`SO_MARK`, Linux). Needs `CAP_NET_ADMIN` or
    /// `CAP_NET_RAW`.
    pub mark: Option<u32>,
    /// The traffic class of the packets (`IP_TOS`, `IPV6_TCLASS`): the DSCP (RFC 2474 §3) in the upper six bits.
    /// The kernel owns the lower two, which are ECN (RFC 3168 §5).
    pub traffic_class: Option<u8>,
    /// The algorithm of congestion control (`TCP_CONGESTION`), for example `bbr`.
    pub congestion: Option<String>,
    /// Called with each socket before it is connected.
    #[cfg(unix)]
    pub hook: Option<crate::socket_hook::SocketHook>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        TcpOptions {
            nodelay: true,
            local_v4: None,
            local_v6: None,
            keepalive: None,
            keepalive_interval: None,
            keepalive_retries: None,
            user_timeout: None,
            send_buffer: None,
            receive_buffer: None,
            interface: None,
            mark: None,
            traffic_class: None,
            congestion: None,
            #[cfg(unix)]
            hook: None,
        }
    }
}

impl TcpOptions {
    /// Returns the local address to connect to `peer` from: the one of the same family, with port 0.
    pub fn local_for(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let ip = match peer {
            SocketAddr::V4(_) => self.local_v4.map(IpAddr::V4),
            SocketAddr::V6(_) => self.local_v6.map(IpAddr::V6),
        };
        ip.map(|ip| SocketAddr::new(ip, 0))
    }
}

/// A TLS client over any stream, including another TLS stream.
pub trait TlsConnector: fmt::Debug + Send + Sync + 'static {
    /// Performs the handshake and yields the protected stream.
    ///
    /// `offer` is the ALPN list in order of preference; if it is empty, the extension is not sent. The
    /// future has no deadline of its own; dropping it closes `stream`.
    ///
    /// # Errors
    ///
    /// Errors of `stream`; a failed handshake is an [`io::Error`] with a [`TlsFailure`] inside, of
    /// [`io::ErrorKind::InvalidInput`] if `server_name` is not a valid name.
    fn handshake(
        &self,
        stream: BoxStream,
        server_name: &str,
        offer: &[Alpn],
    ) -> BoxFuture<'static, io::Result<BoxStream>>;
}

/// The wrapper that a TLS layer puts around its own errors inside an [`io::Error`], during the handshake
/// and later, so that upper layers can tell a failure of TLS from one of the network without knowing the
/// TLS implementation.
///
/// It prints, and has a source, as the error inside does. An end without `close_notify` has
/// [`io::ErrorKind::UnexpectedEof`]: for upper layers it is a premature end of the stream.
#[derive(thiserror::Error)]
#[error(transparent)]
pub struct TlsFailure(BoxError);

impl TlsFailure {
    /// Returns an [`io::Error`] of `kind` that wraps `cause`.
    pub fn error(kind: io::ErrorKind, cause: impl Into<BoxError>) -> io::Error {
        io::Error::new(kind, TlsFailure(cause.into()))
    }

    /// Returns whether `error` wraps a failure of TLS.
    pub fn is_source_of(error: &io::Error) -> bool {
        error
            .get_ref()
            .is_some_and(|source| source.is::<TlsFailure>())
    }

    /// Returns the TLS layer's own error.
    pub fn cause(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Debug for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An [`io::Error`] that is the source of several requests' errors, because the connection that failed
/// was shared. It prints, and has a source, as the error inside does.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct SharedIoError(Arc<io::Error>);

impl SharedIoError {
    /// Wraps `error`.
    pub fn new(error: Arc<io::Error>) -> Self {
        SharedIoError(error)
    }

    /// Returns the error inside.
    pub fn get(&self) -> &io::Error {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_address_has_the_peers_family() {
        let options = TcpOptions {
            local_v4: Some(std::net::Ipv4Addr::new(127, 0, 0, 9)),
            ..TcpOptions::default()
        };
        let v4: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let v6: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(options.local_for(v4), Some("127.0.0.9:0".parse().unwrap()));
        assert_eq!(options.local_for(v6), None);
    }
}
