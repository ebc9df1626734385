//! What may be set for each request.

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::net::TlsConnector;

/// How long each phase of a request may take; `None` is for ever.
///
/// A pool has one of these as its default; a request overrides it as a whole by carrying another
/// in its [`http::Extensions`].
///
/// ```
/// use httpcore_core_primitives::{Body, Timeouts};
/// use std::time::Duration;
///
/// let request = http::Request::get("http://localhost/")
///     .extension(Timeouts::default().with_read(Duration::from_secs(5)))
///     .body(Body::empty())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Timeouts {
    /// Waiting for a place in the pool: from the moment of asking until a connection is granted or
    /// one begins to be made for this request. Never restarts. None by default: a full queue is
    /// for its owner to judge.
    pub pool: Option<Duration>,
    /// Looking up the host's addresses. 30 s by default, as for the other two phases of making a
    /// connection: such an attempt outlives the request that caused it, and so something must
    /// bound it.
    pub resolve: Option<Duration>,
    /// Connecting, all addresses together. 30 s by default.
    pub connect: Option<Duration>,
    /// The TLS handshake. 30 s by default.
    pub tls: Option<Duration>,
    /// No progress in writing, from one accepted byte to the next. None by default.
    pub write: Option<Duration>,
    /// From the end of sending the request until the head of the final response has arrived. None
    /// by default: how long an answer may take is known to the caller alone.
    pub first_byte: Option<Duration>,
    /// No progress in reading, from one received byte to the next, head and body alike. None by
    /// default.
    pub read: Option<Duration>,
    /// Everything, from asking the pool to the last byte of the response's body. None by default.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        let making = Some(Duration::from_secs(30));
        Timeouts {
            resolve: making,
            connect: making,
            tls: making,
            ..Timeouts::none()
        }
    }
}

impl Timeouts {
    /// No limits at all, not even on making connections.
    pub const fn none() -> Self {
        Timeouts {
            pool: None,
            resolve: None,
            connect: None,
            tls: None,
            write: None,
            first_byte: None,
            read: None,
            total: None,
        }
    }

    /// These, with [`pool`](Self::pool) set.
    pub const fn with_pool(mut self, limit: Duration) -> Self {
        self.pool = Some(limit);
        self
    }

    /// These, with [`resolve`](Self::resolve) set.
    pub const fn with_resolve(mut self, limit: Duration) -> Self {
        self.resolve = Some(limit);
        self
    }

    /// These, with [`connect`](Self::connect) set.
    pub const fn with_connect(mut self, limit: Duration) -> Self {
        self.connect = Some(limit);
        self
    }

    /// These, with [`tls`](Self::tls) set.
    pub const fn with_tls(mut self, limit: Duration) -> Self {
        self.tls = Some(limit);
        self
    }

    /// These, with [`write`](Self::write) set.
    pub const fn with_write(mut self, limit: Duration) -> Self {
        self.write = Some(limit);
        self
    }

    /// These, with [`first_byte`](Self::first_byte) set.
    pub const fn with_first_byte(mut self, limit: Duration) -> Self {
        self.first_byte = Some(limit);
        self
    }

    /// These, with [`read`](Self::read) set.
    pub const fn with_read(mut self, limit: Duration) -> Self {
        self.read = Some(limit);
        self
    }

    /// These, with [`total`](Self::total) set.
    pub const fn with_total(mut self, limit: Duration) -> Self {
        self.total = Some(limit);
        self
    }
}

/// Which connections serve a request, and what becomes of them. Goes into its
/// [`http::Extensions`].
///
/// ```
/// use httpcore_core_primitives::{Body, ConnectionUse};
///
/// let request = http::Request::get("http://localhost/")
///     .extension(ConnectionUse::default().with_fresh())
///     .body(Body::empty())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ConnectionUse {
    /// Only a connection which has served nobody before. One that is idle is closed for it if the
    /// pool's limits leave no other place.
    pub fresh: bool,
    /// The connection serves nobody after this request. Over HTTP/1.1 the server is told so
    /// (`Connection: close`, RFC 9112 §9.6); a shared connection takes no more requests, and is
    /// closed when it has finished those it has.
    pub close_after: bool,
    /// Only a connection which speaks HTTP/1.1, whatever else the pool would offer: for what the
    /// other versions cannot do, such as an upgrade of the connection.
    pub http1_only: bool,
}

impl ConnectionUse {
    /// This, with [`fresh`](Self::fresh) set.
    pub const fn with_fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// This, with [`close_after`](Self::close_after) set.
    pub const fn with_close_after(mut self) -> Self {
        self.close_after = true;
        self
    }

    /// This, with [`http1_only`](Self::http1_only) set.
    pub const fn with_http1_only(mut self) -> Self {
        self.http1_only = true;
        self
    }
}

/// Names those requests among which connections are shared: one tenant's, one test's. Goes into a
/// request's [`http::Extensions`]; requests without one share connections among themselves.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Partition(Arc<str>);

impl Partition {
    /// The partition of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Partition(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Partition").field(&self.name()).finish()
    }
}

/// Which protocol a request asks for on its stream of an HTTP/2 connection (RFC 8441 §4), as in
/// `websocket`. Goes into the [`http::Extensions`] of a `CONNECT`, whose URI is then a whole one, and
/// not just an authority; or of a `GET` which asks for an upgrade over HTTP/1.1 and is to ask for the
/// same over HTTP/2, whichever the connection turns out to speak.
///
/// ```
/// use httpcore_core_primitives::{Body, Protocol};
///
/// let request = http::Request::connect("https://localhost/chat")
///     .extension(Protocol::new("websocket"))
///     .body(Body::empty())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Protocol(Cow<'static, str>);

impl Protocol {
    /// The protocol of this name.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Protocol(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// How a request names its target (RFC 9112 §3.2, RFC 9113 §8.3.1), in the request's extensions. Without
/// it, a request has the origin form, and `CONNECT` the authority form.
///
/// Over HTTP/2 the target becomes `:path`. What that cannot be is refused
/// ([`Kind::InvalidRequest`](crate::Kind::InvalidRequest)): exact bytes that do not begin with `/`, have a
/// fragment, or hold a character which `http` takes for none of a path's, `*` for another method than `OPTIONS`, and any but the authority form for `CONNECT`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// The URL with scheme and host, as a proxy wants it. User information is not sent. Over HTTP/2
    /// every request says both.
    Absolute,
    /// `*`, for `OPTIONS`.
    Asterisk,
    /// Exactly these bytes. Over HTTP/1.1 only what would break the request line is refused.
    Exact(Bytes),
}

/// Who must be at the other end of TLS, instead of the host which the URL names: the name that the
/// server is told (SNI, RFC 6066 §3) and that its certificate is checked against. Goes into a
/// request's [`http::Extensions`]. It changes neither where the connection goes nor the `Host`
/// field, and nothing at all without TLS.
///
/// Connections are shared among requests for the same name only.
///
/// ```
/// use httpcore_core_primitives::{Body, ServerName};
///
/// // A server which is reached by address, and has a certificate for its name.
/// let request = http::Request::get("https://192.0.2.7/")
///     .extension(ServerName::new("service.example"))
///     .body(Body::empty())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerName(Arc<str>);

impl ServerName {
    /// This name, or this address; in lower case, as names compare. Whether a certificate can be
    /// for it is found out by whoever makes the connection: if not,
    /// [`Kind::InvalidRequest`](crate::Kind::InvalidRequest) says so.
    pub fn new(name: impl AsRef<str>) -> Self {
        ServerName(name.as_ref().to_ascii_lowercase().into())
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerName").field(&self.name()).finish()
    }
}

/// The TLS of one's own that a request's connection is protected with, instead of its pool's: other
/// roots, another client certificate. Goes into a request's [`http::Extensions`].
///
/// Connections are shared among requests which bring clones of the same one, and with nobody else:
/// what one set of roots has accepted, or one certificate was admitted for, serves no other. Make it
/// once and clone it.
#[derive(Clone)]
pub struct TlsChoice(Arc<dyn TlsConnector>);

impl TlsChoice {
    /// This TLS. Two of these are different even if they are made of the same connector, unless
    /// they are made of clones of one [`Arc`].
    pub fn new(connector: Arc<dyn TlsConnector>) -> Self {
        TlsChoice(connector)
    }

    /// What makes the handshakes.
    pub fn connector(&self) -> &Arc<dyn TlsConnector> {
        &self.0
    }

    /// Where it is. As long as there is one of them there, nothing else can be.
    fn place(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }
}

impl PartialEq for TlsChoice {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for TlsChoice {}

impl Hash for TlsChoice {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

impl fmt::Debug for TlsChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsChoice").field(&self.0).finish()
    }
}

/// Asks, in a request's [`http::Extensions`], for the [`StreamInfo`](crate::StreamInfo) of its
/// connection in the extensions of the response: addresses, and what TLS has settled.
///
/// Not every response brings it, since an extension costs three allocations, and the facts of TLS
/// a copy of the peer's certificates. A [`Trace`](crate::Trace) is told them once per connection.
///
/// ```
/// use httpcore_core_primitives::{Body, KeepStreamInfo, Response, StreamInfo};
///
/// let request = http::Request::get("https://localhost/")
///     .extension(KeepStreamInfo)
///     .body(Body::empty())?;
///
/// fn version(response: &Response) -> Option<&'static str> {
///     let info: &StreamInfo = response.extensions().get()?;
///     info.tls.as_ref()?.version
/// }
/// # let _ = (request, version as fn(&Response) -> _);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeepStreamInfo;

/// The instant at which `limit`, counted from `start`, runs out. A limit too long for the clock to
/// express is no limit.
pub fn deadline(start: Instant, limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| start.checked_add(limit))
}

/// The earlier of two deadlines, either of which may be absent.
pub fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
