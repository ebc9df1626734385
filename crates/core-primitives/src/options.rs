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

/// Maximum duration of each phase of a request.
///
/// A pool has one of these as its default, and a request may carry another in its
/// [`http::Extensions`]. What the request sets overrides what the pool sets, limit by limit; what
/// the request leaves unset is the pool's. `without_…` sets that there is no limit, also where the
/// pool has one. A limit that neither sets has its default, which its method names.
///
/// ```
/// use httpcore_core_primitives::{Body, Timeouts, options};
/// use std::time::Duration;
///
/// let seconds = Duration::from_secs;
/// let pool = Timeouts::default().with_read(seconds(3)).with_total(seconds(20));
/// // A long download: as much time as it takes, while it makes progress.
/// let download = Timeouts::default().without_total();
/// let request = http::Request::get("http://localhost/large")
///     .extension(download)
///     .body(Body::empty())?;
///
/// let limits = options::effective(&pool, request.extensions().get());
/// assert_eq!(limits.read(), Some(seconds(3)));
/// assert_eq!(limits.total(), None);
/// assert_eq!(limits.connect(), Some(seconds(30)));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timeouts {
    acquire: Limit,
    resolve: Limit,
    connect: Limit,
    tls: Limit,
    write: Limit,
    response_head: Limit,
    read: Limit,
    total: Limit,
}

/// One limit. As large as an `Option<Duration>`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Limit {
    /// What the next layer sets: the pool, and then the default.
    #[default]
    Unset,
    Never,
    After(Duration),
}

impl Limit {
    const fn or(self, other: Limit) -> Limit {
        match self {
            Limit::Unset => other,
            set => set,
        }
    }

    const fn or_default(self, default: Option<Duration>) -> Option<Duration> {
        match self {
            Limit::Unset => default,
            Limit::Never => None,
            Limit::After(limit) => Some(limit),
        }
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Unset => f.write_str("unset"),
            Limit::Never => f.write_str("none"),
            Limit::After(limit) => limit.fmt(f),
        }
    }
}

/// The default for each of the three phases of making a connection: such an attempt outlives the
/// request that caused it, and so something must bound it.
const CONNECTING: Option<Duration> = Some(Duration::from_secs(30));

macro_rules! limits {
    ($($(#[$doc:meta])* $limit:ident, $with:ident, $without:ident, $default:expr;)*) => {
        impl Timeouts {
            /// No limits at all, not even on making connections, whatever the pool sets.
            pub const fn none() -> Self {
                Timeouts { $($limit: Limit::Never,)* }
            }

            /// These, with each unset limit taken from `other`.
            #[must_use]
            pub const fn or(self, other: &Timeouts) -> Self {
                Timeouts { $($limit: self.$limit.or(other.$limit),)* }
            }

            $(
                $(#[$doc])*
                pub const fn $limit(&self) -> Option<Duration> {
                    self.$limit.or_default($default)
                }

                #[doc = concat!("These, with [`", stringify!($limit), "`](Self::", stringify!($limit), ") set to `limit`.")]
                #[must_use]
                pub const fn $with(mut self, limit: Duration) -> Self {
                    self.$limit = Limit::After(limit);
                    self
                }

                #[doc = concat!("These, without a limit for [`", stringify!($limit), "`](Self::", stringify!($limit), "), also where the pool has one.")]
                #[must_use]
                pub const fn $without(mut self) -> Self {
                    self.$limit = Limit::Never;
                    self
                }
            )*
        }
    };
}

limits! {
    /// Returns the limit on waiting for a connection: from the request's first poll until a
    /// connection is granted or one begins to be made for this request. It never restarts. None by
    /// default.
    acquire, with_acquire, without_acquire, None;
    /// Returns the limit on looking up the host's addresses. 30 s by default.
    resolve, with_resolve, without_resolve, CONNECTING;
    /// Returns the limit on connecting, all addresses together. 30 s by default.
    connect, with_connect, without_connect, CONNECTING;
    /// Returns the limit on the TLS handshake. 30 s by default.
    tls, with_tls, without_tls, CONNECTING;
    /// Returns the limit on writing without progress, from one accepted byte to the next. None by
    /// default.
    write, with_write, without_write, None;
    /// Returns the limit from the end of sending the request until the head of the final response
    /// has arrived. None by default.
    response_head, with_response_head, without_response_head, None;
    /// Returns the limit on reading without progress, from one received byte to the next, head and
    /// body alike. None by default.
    read, with_read, without_read, None;
    /// Returns the limit on the whole, from the request's first poll to the last byte of the
    /// response's body. None by default.
    total, with_total, without_total, None;
}

/// Returns the limits of a request: its own over its pool's, limit by limit.
#[inline]
pub fn effective(pool: &Timeouts, request: Option<&Timeouts>) -> Timeouts {
    match request {
        None => *pool,
        Some(request) => request.or(pool),
    }
}

/// Which connections serve a request, and what becomes of them. Goes into its
/// [`http::Extensions`].
///
/// ```
/// use httpcore_core_primitives::{Body, ConnectionPolicy};
///
/// let request = http::Request::get("http://localhost/")
///     .extension(ConnectionPolicy::default().with_new_connection())
///     .body(Body::empty())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ConnectionPolicy {
    /// Only a connection which has served nobody before. One that is idle is closed for it if the
    /// pool's limits leave no other place.
    pub new_connection: bool,
    /// The connection serves nobody after this request. Over HTTP/1.1 the server is told so
    /// (`Connection: close`, RFC 9112 §9.6); a shared connection takes no more requests, and is
    /// closed when it has finished those it has.
    pub close_after: bool,
    /// Only a connection which speaks HTTP/1.1, whatever else the pool would offer: for what the
    /// other versions cannot do, such as an upgrade of the connection.
    pub http1_only: bool,
}

impl ConnectionPolicy {
    /// This, with [`fresh`](Self::fresh) set.
    #[must_use]
    pub const fn with_new_connection(mut self) -> Self {
        self.new_connection = true;
        self
    }

    /// This, with [`close_after`](Self::close_after) set.
    #[must_use]
    pub const fn with_close_after(mut self) -> Self {
        self.close_after = true;
        self
    }

    /// This, with [`http1_only`](Self::http1_only) set.
    #[must_use]
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
/// ([`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest)): exact bytes that do not begin with `/`, have a
/// fragment, or hold a character which `http` takes for none of a path's, `*` for another method than `OPTIONS`, and any but the authority form for `CONNECT`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestTarget {
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
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) says so.
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
pub struct TlsOverride(Arc<dyn TlsConnector>);

impl TlsOverride {
    /// This TLS. Two of these are different even if they are made of the same connector, unless
    /// they are made of clones of one [`Arc`].
    pub fn new(connector: Arc<dyn TlsConnector>) -> Self {
        TlsOverride(connector)
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

impl PartialEq for TlsOverride {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for TlsOverride {}

impl Hash for TlsOverride {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

impl fmt::Debug for TlsOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsOverride").field(&self.0).finish()
    }
}

/// Asks, in a request's [`http::Extensions`], for the [`ConnectionInfo`](crate::ConnectionInfo) of its
/// connection in the extensions of the response: addresses, and what TLS has settled.
///
/// Not every response brings it, since an extension costs three allocations, and the facts of TLS
/// a copy of the peer's certificates. A [`Trace`](crate::Trace) is told them once per connection.
///
/// ```
/// use httpcore_core_primitives::{Body, IncludeConnectionInfo, Response, ConnectionInfo};
///
/// let request = http::Request::get("https://localhost/")
///     .extension(IncludeConnectionInfo)
///     .body(Body::empty())?;
///
/// fn version(response: &Response) -> Option<&'static str> {
///     let info: &ConnectionInfo = response.extensions().get()?;
///     info.tls.as_ref()?.version
/// }
/// # let _ = (request, version as fn(&Response) -> _);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IncludeConnectionInfo;

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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_a_request_sets_overrides_its_pool_limit_by_limit() {
        let pool = Timeouts::default()
            .with_read(SECOND)
            .with_total(2 * SECOND)
            .without_tls();
        let request = Timeouts::default().with_total(3 * SECOND).without_read();
        let both = effective(&pool, Some(&request));
        assert_eq!(both.total(), Some(3 * SECOND));
        assert_eq!(both.read(), None);
        assert_eq!(both.tls(), None);
        assert_eq!(both.connect(), Some(30 * SECOND));
        assert_eq!(effective(&pool, None), pool);
        assert_eq!(effective(&pool, Some(&Timeouts::default())), pool);
        assert_eq!(effective(&pool, Some(&Timeouts::none())), Timeouts::none());
    }

    #[test]
    fn a_limit_that_can_be_unset_is_no_larger_than_one_that_cannot() {
        assert_eq!(size_of::<Timeouts>(), 8 * size_of::<Option<Duration>>());
    }
}
