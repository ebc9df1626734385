//! What the engine asks of a network: streams, names, TLS.

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

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream whose layers (TCP, TLS, tunnel, TLS again) have been forgotten.
pub type BoxStream = Box<dyn NetworkStream>;

/// A bidirectional stream of bytes: a socket, TLS over a stream, a tunnel, or a script.
///
/// # For callers
///
/// Methods take `&mut self`, and so at most one task waits on each direction; the waker of the
/// latest call is the one which is woken. Each direction keeps a waker of its own, so that a read
/// and a write may both be pending.
///
/// Dropping a stream closes it at once, in both directions, without waiting for anything. That is
/// the whole of cancellation: no layer ever needs an `await` to be abandoned safely.
///
/// # For implementers
///
/// A stream must be `Send` and need not be `Sync`. A method which returns `Pending` must have
/// arranged for the waker to be called. Wakers are never called while a lock is held.
pub trait NetworkStream: fmt::Debug + Send + 'static {
    /// Appends to `buf` what is there, at most its spare capacity, which the caller has reserved
    /// and which must not be empty; 0 is the end of the stream. Leaves `buf` alone when pending.
    ///
    /// # Errors
    ///
    /// Whatever the layer below reports. After an error the stream is good for nothing but `drop`.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Writes some prefix of the concatenation of `bufs`, at least one byte of it.
    ///
    /// This is the only write: a wrapper cannot forget to forward the vectored one. `bufs` must
    /// hold at least one byte in all.
    ///
    /// # Errors
    ///
    /// As for [`poll_read`](Self::poll_read); a failed write does not end reading, since the peer
    /// may have answered before it closed. Nothing of `bufs` has been sent by a write that fails:
    /// its caller may send the same elsewhere. Who fails half-way says how far, and fails next time.
    fn poll_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>])
    -> Poll<io::Result<usize>>;

    /// Pushes bytes held back by layers of this stream (TLS records, say) to the network.
    ///
    /// # Errors
    ///
    /// As for [`poll_write`](Self::poll_write).
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says goodbye: flushes, sends what the layers send last (`close_notify`), closes the write
    /// side. A courtesy, and never needed for safety: see the note on dropping.
    ///
    /// # Errors
    ///
    /// As for [`poll_write`](Self::poll_write).
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Waits, between exchanges, for a reason not to use this stream again.
    ///
    /// `Pending` means fit for use, and the waker is kept. Call it with [`noop_waker`](crate::noop_waker) to
    /// ask without waiting.
    ///
    /// # For callers
    ///
    /// Ask when the stream is put aside and once more right before it is used again. Hold no lock: the
    /// answer may take a system call and decryption, and may call the waker. What cannot be known is what
    /// reaches this host between the answer and the next write: a request on a connection that its peer
    /// closes in that moment fails like any other.
    ///
    /// # For implementers
    ///
    /// Answer from what has reached this host *now*, and not from what an event loop has reported so far:
    /// the loop does not move while its thread computes. An answer may rely on an earlier observation, of
    /// this stream or of all streams by the loop, for some tens of microseconds and no longer; so a loop
    /// that turns all the time needs no system call for this. What was found must then be readable by
    /// [`poll_read`](Self::poll_read) at once, whether or not the loop has reported it.
    ///
    /// Each layer answers for its own protocol. A TLS stream processes the records that have come: session
    /// tickets and key updates keep it idle; application data, an alert and an end do not.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent>;

    /// Who is at the other end, and how the stream is protected.
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

/// Why an idle stream is no longer fit for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdleEvent {
    /// The peer closed it, with or without ceremony.
    Closed,
    /// The stream failed.
    Failed(io::ErrorKind),
    /// The peer spoke out of turn; whatever it said would be taken for the next response.
    UnsolicitedData,
}

/// Facts about an established stream.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The address at the other end of the lowest layer; `None` for what is not TCP.
    pub peer: Option<SocketAddr>,
    /// The address at this end; `None` for what is not TCP.
    pub local: Option<SocketAddr>,
    /// The uppermost TLS layer, if the uppermost layers are TLS at all.
    pub tls: Option<Arc<TlsInfo>>,
}

/// The outcome of a TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// What ALPN (RFC 7301) settled on.
    pub alpn: Option<Alpn>,
    /// The version of the protocol, as people write it: `"TLS 1.3"`.
    pub version: Option<&'static str>,
    /// The cipher suite, by its name in the registry.
    pub cipher_suite: Option<&'static str>,
    /// The group in which keys were exchanged, by its name in the registry; `None` if no keys
    /// were, as in some resumed sessions.
    pub key_exchange: Option<&'static str>,
    /// The peer's certificates in DER, its own first. Those of a resumed session are the ones
    /// which it showed when the session began.
    pub peer_chain: Vec<Bytes>,
    /// Whether an earlier session was taken up again instead of making a new one.
    pub resumed: bool,
}

/// An application protocol this engine offers in ALPN (RFC 7301 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// `http/1.1`
    Http1,
    /// `h2`
    Http2,
}

impl Alpn {
    /// The name on the wire.
    pub fn wire_name(self) -> &'static [u8] {
        match self {
            Alpn::Http1 => b"http/1.1",
            Alpn::Http2 => b"h2",
        }
    }
}

/// A way to reach other hosts. Knows nothing of TLS, HTTP or proxies.
///
/// The futures are `'static`: they own what they need, and dropping one gives up what it was
/// doing. They have no deadline of their own; the caller puts one around them
/// ([`with_deadline`](crate::with_deadline)).
pub trait NetworkBackend: Runtime {
    /// Looks up the addresses of `host`, in the order in which they should be tried.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] when the name does not exist; anything else when it could not
    /// be looked up.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

    /// Connects to one address. Trying several is done once, above all backends.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says of the attempt, or of one of `options`.
    fn connect_tcp(
        &self,
        peer: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<BoxStream>>;

    /// Connects to a Unix domain socket.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says; [`io::ErrorKind::Unsupported`] from a backend which has
    /// no such sockets.
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxStream>>;
}

/// Options of a TCP connection, for before it is made.
///
/// They are part of what distinguishes one connection from another, and so they compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Send small writes at once (`TCP_NODELAY`). On by default: an engine which writes a head
    /// and its first body bytes together has nothing to gain from waiting.
    pub nodelay: bool,
    /// The local address to connect from when the peer is an IPv4 address.
    pub local_v4: Option<std::net::Ipv4Addr>,
    /// The local address to connect from when the peer is an IPv6 address.
    pub local_v6: Option<std::net::Ipv6Addr>,
    /// How long a connection may be silent before the kernel probes it (`TCP_KEEPIDLE`).
    pub keepalive: Option<Duration>,
    /// How long the kernel waits between probes (`TCP_KEEPINTVL`).
    pub keepalive_interval: Option<Duration>,
    /// How many unanswered probes end the connection (`TCP_KEEPCNT`).
    pub keepalive_retries: Option<u32>,
    /// How long written bytes may stay unacknowledged before the connection fails
    /// (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
    /// The size of the kernel's send buffer, in bytes (`SO_SNDBUF`).
    pub send_buffer: Option<usize>,
    /// The size of the kernel's receive buffer, in bytes (`SO_RCVBUF`).
    pub receive_buffer: Option<usize>,
    /// The network interface to bind to (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
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
        }
    }
}

impl TcpOptions {
    /// Where to connect to `peer` from: the local address of the same family, any port.
    pub fn local_for(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let ip = match peer {
            SocketAddr::V4(_) => self.local_v4.map(IpAddr::V4),
            SocketAddr::V6(_) => self.local_v6.map(IpAddr::V6),
        };
        ip.map(|ip| SocketAddr::new(ip, 0))
    }
}

/// Puts TLS on top of any stream, and so also on top of TLS.
pub trait TlsConnector: fmt::Debug + Send + Sync + 'static {
    /// Performs the handshake, and yields the protected stream.
    ///
    /// `offer` is what ALPN offers, in order of preference; empty offers nothing. The future has
    /// no deadline of its own; dropping it closes `stream`.
    ///
    /// # Errors
    ///
    /// The stream's own errors; anything the handshake refuses, as an [`io::Error`] with a
    /// [`TlsFailure`] inside, of [`io::ErrorKind::InvalidInput`] where `server_name` cannot be asked
    /// for.
    fn handshake(
        &self,
        stream: BoxStream,
        server_name: &str,
        offer: &[Alpn],
    ) -> BoxFuture<'static, io::Result<BoxStream>>;
}

/// What a layer of TLS puts into an [`io::Error`] around an error of its own, in its handshake and
/// ever after, so that those above can tell a failure of TLS from one of the network below it
/// without knowing whose TLS it is.
///
/// It prints as the error inside does. An end without `close_notify` is of
/// [`io::ErrorKind::UnexpectedEof`]: to those above it is an end that came too early, whatever the
/// layer.
pub struct TlsFailure(BoxError);

impl TlsFailure {
    /// An error of `kind` which says so, because of `cause`.
    pub fn error(kind: io::ErrorKind, cause: impl Into<BoxError>) -> io::Error {
        io::Error::new(kind, TlsFailure(cause.into()))
    }

    /// Whether this is what `error` says.
    pub fn is_source_of(error: &io::Error) -> bool {
        error
            .get_ref()
            .is_some_and(|source| source.is::<TlsFailure>())
    }

    /// What the layer said, in a type of its own.
    pub fn cause(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What is behind the cause: the cause itself has been said by `Display`.
impl StdError for TlsFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// An [`io::Error`] that several requests have as their source, since the connection which failed was
/// theirs together. It prints, and has a source, as the error inside does.
#[derive(Clone, Debug)]
pub struct SharedIoError(Arc<io::Error>);

impl SharedIoError {
    /// `error`, shared.
    pub fn new(error: Arc<io::Error>) -> Self {
        SharedIoError(error)
    }

    /// The error inside.
    pub fn get(&self) -> &io::Error {
        &self.0
    }
}

impl fmt::Display for SharedIoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl StdError for SharedIoError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_address_is_of_the_peers_family() {
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
