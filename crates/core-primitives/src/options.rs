//! Per-request settings, above all [`Timeouts`].

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
    /// Taken from the next layer: the pool, then the default.
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

/// The default for each of the three phases of connecting: an attempt may outlive the request that
/// caused it, so it must be bounded.
const CONNECT_DEFAULT: Option<Duration> = Some(Duration::from_secs(30));

macro_rules! limits {
    ($($(#[$doc:meta])* $limit:ident, $with:ident, $without:ident, $default:expr;)*) => {
        impl Timeouts {
            /// Returns limits that are all off, those on connecting included, whatever the pool sets.
            pub const fn none() -> Self {
                Timeouts { $($limit: Limit::Never,)* }
            }

            /// Returns these limits, with each unset one taken from `other`.
            #[must_use]
            pub const fn or(self, other: &Timeouts) -> Self {
                Timeouts { $($limit: self.$limit.or(other.$limit),)* }
            }

            $(
                $(#[$doc])*
                pub const fn $limit(&self) -> Option<Duration> {
                    self.$limit.or_default($default)
                }

                #[doc = concat!("Sets the limit [`", stringify!($limit), "`](Self::", stringify!($limit), ").")]
                #[must_use]
                pub const fn $with(mut self, limit: Duration) -> Self {
                    self.$limit = Limit::After(limit);
                    self
                }

                #[doc = concat!("Removes the limit [`", stringify!($limit), "`](Self::", stringify!($limit), "), also if the pool has one.")]
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
    resolve, with_resolve, without_resolve, CONNECT_DEFAULT;
    /// Returns the limit on connecting, all addresses together. 30 s by default.
    connect, with_connect, without_connect, CONNECT_DEFAULT;
    /// Returns the limit on the TLS handshake. 30 s by default.
    tls, with_tls, without_tls, CONNECT_DEFAULT;
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

/// The demands of a request on its connection, in the request's [`http::Extensions`].
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
    /// Use only a connection that has served no request before. An idle one is closed for it if the
    /// pool's limits leave no other slot.
    pub new_connection: bool,
    /// Close the connection after this request. Over HTTP/1.1 the request has `Connection: close`
    /// (RFC 9112 §9.6); a shared connection takes no further request, and is closed when those on it
    /// have ended.
    pub close_after: bool,
    /// Use only a connection that speaks HTTP/1.1, whatever the pool would offer: for what other
    /// versions cannot do, such as an upgrade of the connection.
    pub http1_only: bool,
}

impl ConnectionPolicy {
    /// Sets [`new_connection`](Self::new_connection).
    #[must_use]
    pub const fn with_new_connection(mut self) -> Self {
        self.new_connection = true;
        self
    }

    /// Sets [`close_after`](Self::close_after).
    #[must_use]
    pub const fn with_close_after(mut self) -> Self {
        self.close_after = true;
        self
    }

    /// Sets [`http1_only`](Self::http1_only).
    #[must_use]
    pub const fn with_http1_only(mut self) -> Self {
        self.http1_only = true;
        self
    }
}

/// A label in a request's [`http::Extensions`], for example of one tenant or one test: requests of
/// different partitions never share a connection. Requests without one share connections among
/// themselves.
///
/// Cloning it costs no allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Partition(Arc<str>);

impl Partition {
    /// Creates the partition with this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Partition(name.into())
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Partition").field(&self.name()).finish()
    }
}

/// The `:protocol` of an extended CONNECT over HTTP/2 (RFC 8441 §4), for example `websocket`. In the
/// [`http::Extensions`] of a `CONNECT`, whose URI is then absolute instead of an authority; or of a
/// `GET` that requests an upgrade over HTTP/1.1 and becomes an extended CONNECT if the connection speaks
/// HTTP/2.
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
    /// Creates the protocol with this name.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Protocol(name.into())
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// The form of a request's target (RFC 9112 §3.2, RFC 9113 §8.3.1), in the request's extensions. Without
/// it, a request has the origin form, and `CONNECT` the authority form.
///
/// Over HTTP/2 the target becomes `:path`. Invalid paths are refused
/// ([`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest)): exact bytes that do not begin with
/// `/`, have a fragment, or contain a character that `http` does not allow in a path; `*` for a method
/// other than `OPTIONS`; and any form but the authority form for `CONNECT`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestTarget {
    /// The URL with scheme and host (absolute form), as a proxy expects it. User information is not sent.
    /// Over HTTP/2 every request has both.
    Absolute,
    /// `*`, for `OPTIONS`.
    Asterisk,
    /// Exactly these bytes. Over HTTP/1.1 only bytes that would break the request line are refused.
    Exact(Bytes),
}

/// The TLS server name that replaces the URL's host: it is sent in SNI (RFC 6066 §3), and the server's
/// certificate is verified against it. In a request's [`http::Extensions`]. It changes neither the
/// address that is connected to nor the `Host` field, and has no effect without TLS.
///
/// Connections are shared only among requests with the same name.
///
/// ```
/// use httpcore_core_primitives::{Body, ServerName};
///
/// // A server that is reached by its address and has a certificate for its name.
/// let request = http::Request::get("https://192.0.2.7/")
///     .extension(ServerName::new("service.example"))
///     .body(Body::empty())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerName(Arc<str>);

impl ServerName {
    /// Creates the server name from a host name or an address, in lower case. If no certificate can be for
    /// it, connecting fails with [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest).
    pub fn new(name: impl AsRef<str>) -> Self {
        ServerName(name.as_ref().to_ascii_lowercase().into())
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerName").field(&self.name()).finish()
    }
}

/// A TLS configuration that replaces the pool's: other roots, another client certificate. In a request's
/// [`http::Extensions`].
///
/// Connections are shared only among requests with clones of the same value, since a connection that
/// one set of roots has accepted, or one client certificate was admitted for, must not serve others.
/// Create it once and clone it.
#[derive(Clone)]
pub struct TlsOverride(Arc<dyn TlsConnector>);

impl TlsOverride {
    /// Creates an override with `connector`. Two values are equal only if they hold clones of the same
    /// [`Arc`].
    pub fn new(connector: Arc<dyn TlsConnector>) -> Self {
        TlsOverride(connector)
    }

    /// Returns the connector.
    pub fn connector(&self) -> &Arc<dyn TlsConnector> {
        &self.0
    }

    /// Returns the connector's address, which is unique while the value exists.
    fn address(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }
}

impl PartialEq for TlsOverride {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl Eq for TlsOverride {}

impl Hash for TlsOverride {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

impl fmt::Debug for TlsOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsOverride").field(&self.0).finish()
    }
}

/// In a request's [`http::Extensions`]: the response's extensions will hold the
/// [`ConnectionInfo`](crate::ConnectionInfo) of its connection, with addresses, TLS parameters, and what the
/// pool knows of it ([`PooledInfo`](crate::PooledInfo)).
///
/// It is not in every response, since an extension costs three allocations, and the TLS parameters
/// a copy of the peer's certificates. A [`Trace`](crate::Trace) receives them once per connection.
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

/// Returns the instant `limit` after `start`; `None` without a limit, or if the clock cannot express the
/// instant.
pub fn deadline(start: Instant, limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| start.checked_add(limit))
}

/// Returns the earlier of two optional deadlines.
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
    fn request_limits_override_pool_limits_one_by_one() {
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
    fn timeouts_are_as_large_as_eight_optional_durations() {
        assert_eq!(size_of::<Timeouts>(), 8 * size_of::<Option<Duration>>());
    }
}
