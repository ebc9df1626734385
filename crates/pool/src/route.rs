//! Where a connection leads, and by which way.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
};

use httpcore_core_primitives::{
    AddressFilter, Alpn, Origin, Partition, ServerName, TcpOptions, TlsOverride,
};

/// Where a connection leads and by which way. Requests with equal routes may share connections;
/// requests with different ones never do.
///
/// Cloning one is cheap. A caller that sends many requests along one route keeps it: making one hashes
/// all of it, and comparing a route with its own clone looks at a pointer only.
///
/// ```
/// use httpcore_core_primitives::{Origin, Partition, Scheme};
/// use httpcore_pool::{Route, RouteParts};
///
/// let origin = Origin::new(Scheme::Http, "localhost", 8080);
/// let mut parts = RouteParts::to(origin.clone());
/// parts.partition = Some(Partition::new("tenant 7"));
/// let route = Route::from(parts);
/// assert_ne!(route, Route::to(origin));
/// assert_eq!(route, route.clone());
/// ```
#[derive(Clone)]
pub struct Route(Arc<Hashed>);

struct Hashed {
    hash: u64,
    parts: RouteParts,
    literal: Option<SocketAddr>,
    /// The same route over HTTP/1.1, once the origin has demanded that.
    over_http1: OnceLock<Route>,
}

impl Route {
    /// Straight to `origin` over TCP, with nothing on top.
    pub fn to(origin: Origin) -> Self {
        RouteParts::to(origin).into()
    }

    /// Returns a handle that keeps neither the route nor its [`TlsOverride`] alive.
    pub fn downgrade(&self) -> WeakRoute {
        WeakRoute(Arc::downgrade(&self.0))
    }

    /// What the route is made of.
    pub fn parts(&self) -> &RouteParts {
        &self.0.parts
    }

    /// The origin at the end of the route.
    pub fn origin(&self) -> &Origin {
        &self.0.parts.origin
    }

    /// The first address to connect to.
    pub fn dial(&self) -> &Endpoint {
        &self.0.parts.dial
    }

    /// The same, if the host is an address itself, and no name has to be looked up. It is read
    /// once in the life of a route.
    pub fn literal(&self) -> Option<SocketAddr> {
        self.0.literal
    }

    /// What is done on top of that, from the inside out.
    pub fn hops(&self) -> &[Hop] {
        &self.0.parts.hops
    }

    /// The filters that must allow each address that is connected to.
    pub fn filters(&self) -> &[AddressFilter] {
        &self.0.parts.filters
    }

    /// Returns whether the route holds objects of callers: a TLS connector, filters, a hook. It is not kept
    /// after its last connection and request, since they would be kept with it.
    pub(crate) fn holds_objects(&self) -> bool {
        let parts = self.parts();
        parts.tls.is_some() || !parts.filters.is_empty() || parts.tcp.hook.is_some()
    }

    /// The options of the TCP connection at the bottom.
    pub fn tcp(&self) -> &TcpOptions {
        &self.0.parts.tcp
    }

    /// Returns the TLS hop of the origin, if the route has one. TLS to a proxy is part of that
    /// proxy's own hop.
    pub fn origins_tls(&self) -> Option<&Hop> {
        let parts = self.parts();
        let is_tls = |hop: &&Hop| match hop {
            Hop::Tls { .. } => true,
            Hop::Proxy(_) => false,
        };
        let last = parts.hops.iter().rfind(is_tls);
        last.filter(|_| parts.origin.scheme().is_secure())
    }

    /// Name to verify in the origin's TLS, if that is not its host.
    fn other_server_name(&self) -> Option<&str> {
        match self.origins_tls()? {
            Hop::Tls { server_name, .. } if server_name.name() != self.origin().host() => {
                Some(server_name.name())
            }
            _ => None,
        }
    }

    /// This route, or the same over HTTP/1.1 if the origin has demanded that.
    pub(crate) fn preferred(self) -> Route {
        match self.0.over_http1.get() {
            Some(route) => route.clone(),
            None => self,
        }
    }

    /// RFC 9113 §7: the origin demands HTTP/1.1 (HTTP_1_1_REQUIRED). Notes that for all clones of this
    /// route. The route over HTTP/1.1, unless HTTP/2 is all that may be spoken.
    pub(crate) fn demand_http1(&self) -> Option<Route> {
        if let Some(route) = self.0.over_http1.get() {
            return Some(route.clone());
        }
        let mut parts = self.parts().clone();
        let is_tls = |hop: &&mut Hop| matches!(hop, Hop::Tls { .. });
        match parts.hops.iter_mut().rev().find(is_tls) {
            Some(Hop::Tls { offer, .. })
                if offer.contains(&Alpn::Http2) && offer.contains(&Alpn::Http1) =>
            {
                *offer = vec![Alpn::Http1];
            }
            _ => return None,
        }
        Some(self.0.over_http1.get_or_init(|| parts.into()).clone())
    }

    /// Returns whether a connection along this route may turn out to carry many exchanges at once:
    /// it is said to from the start, or the last TLS handshake offers HTTP/2, be it the origin's or
    /// that of a proxy which is sent the requests themselves.
    pub fn may_be_shared(&self) -> bool {
        let parts = self.parts();
        parts.http2_prior_knowledge
            || parts
                .hops
                .iter()
                .rev()
                .find_map(|hop| match hop {
                    Hop::Tls { offer, .. } => Some(offer.contains(&Alpn::Http2)),
                    Hop::Proxy(proxy) => proxy.may_be_shared.then_some(true),
                })
                .unwrap_or(false)
    }
}

/// A route that is not kept alive by being remembered. See [`Route::downgrade`].
#[derive(Clone)]
pub struct WeakRoute(Weak<Hashed>);

impl WeakRoute {
    /// Returns the route, if it is still in use.
    pub fn upgrade(&self) -> Option<Route> {
        self.0.upgrade().map(Route)
    }

    /// Returns whether the route is still in use. Unlike [`upgrade`](Self::upgrade), this never
    /// makes the caller the last to hold it.
    pub fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl fmt::Debug for WeakRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakRoute")
    }
}

impl From<RouteParts> for Route {
    fn from(parts: RouteParts) -> Self {
        // Keyed, and once in the life of a route: hosts may be untrusted input.
        static KEYS: OnceLock<RandomState> = OnceLock::new();
        let hash = KEYS.get_or_init(RandomState::new).hash_one(&parts);
        let literal = parts.dial.literal();
        Route(Arc::new(Hashed {
            hash,
            parts,
            literal,
            over_http1: OnceLock::new(),
        }))
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.0.parts == other.0.parts)
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.parts, f)
    }
}

/// The origin, and the way there if it is not the direct one.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts();
        write!(f, "{}", parts.origin)?;
        let mut separator = " via";
        for hop in &parts.hops {
            if let Hop::Proxy(proxy) = hop {
                write!(f, "{separator} {proxy}")?;
                separator = ",";
            }
        }
        if separator == " via" && !parts.dial.is(&parts.origin) {
            write!(f, " via {}", parts.dial)?;
        }
        if let Some(name) = self.other_server_name() {
            write!(f, " as {name}")?;
        }
        if let Some(partition) = &parts.partition {
            write!(f, " [{}]", partition.name())?;
        }
        Ok(())
    }
}

/// Everything that separates one connection from another. See [`Route`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RouteParts {
    /// The origin at the end of the route.
    pub origin: Origin,
    /// The first address to connect to.
    pub dial: Endpoint,
    /// What is done on top, from the inside out.
    pub hops: Vec<Hop>,
    /// The options of the TCP connection at the bottom, the local address among them.
    pub tcp: TcpOptions,
    /// The TLS of the origin, if it is not the usual one: a connection made with one set of roots and
    /// certificates does not serve a request with another. The TLS of proxies is part of their hops.
    pub tls: Option<TlsOverride>,
    /// The filters that must allow each address that is connected to.
    pub filters: Vec<AddressFilter>,
    /// The addresses of hosts on the way, where they are not to be looked up.
    pub host_overrides: Vec<(String, Vec<IpAddr>)>,
    /// Whether to speak HTTP/2 without asking (RFC 9113 §3.3).
    pub http2_prior_knowledge: bool,
    /// Connections are shared within a partition only: one tenant's, one test's.
    pub partition: Option<Partition>,
}

impl RouteParts {
    /// Straight to `origin` over TCP, with nothing on top.
    pub fn to(origin: Origin) -> Self {
        RouteParts {
            dial: Endpoint::of(&origin),
            origin,
            hops: Vec::new(),
            tcp: TcpOptions::default(),
            tls: None,
            filters: Vec::new(),
            host_overrides: Vec::new(),
            http2_prior_knowledge: false,
            partition: None,
        }
    }
}

/// A host and port, or a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A host to resolve, or a literal address.
    Tcp {
        /// The host; an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix domain socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// The host and port of `origin`.
    pub fn of(origin: &Origin) -> Self {
        Endpoint::Tcp {
            host: origin.host().to_owned(),
            port: origin.port(),
        }
    }

    fn literal(&self) -> Option<SocketAddr> {
        match self {
            Endpoint::Tcp { host, port } => {
                let ip: IpAddr = host.parse().ok()?;
                Some(SocketAddr::new(ip, *port))
            }
            Endpoint::Unix(_) => None,
        }
    }

    fn is(&self, origin: &Origin) -> bool {
        match self {
            Endpoint::Tcp { host, port } => host == origin.host() && *port == origin.port(),
            Endpoint::Unix(_) => false,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One layer of a route. `https` through a proxy is `[Proxy, Tls]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hop {
    /// A TLS handshake with the origin.
    Tls {
        /// The name sent in SNI, which the certificate must be for.
        server_name: ServerName,
        /// The protocols offered in ALPN. With `h2` among the last hop's, the connection may be
        /// shared.
        offer: Vec<Alpn>,
    },
    /// The negotiation with a proxy. With TLS to the proxy, that handshake is part of it.
    Proxy(ProxyHop),
}

/// The negotiation with one proxy, opaque to the pool: it compares such hops, hashes them and prints
/// them, and the [`Connect`](crate::Connect) of the pool reads the value.
///
/// The value holds all that separates connections: the proxy, the credentials, the target. Its
/// `Debug` and `Display` must not print credentials.
///
/// ```
/// use httpcore_pool::ProxyHop;
///
/// let hop = ProxyHop::new("http://proxy.test:3128".to_owned());
/// assert_eq!(hop, ProxyHop::new("http://proxy.test:3128".to_owned()));
/// assert_ne!(hop, ProxyHop::new(3128));
/// assert_eq!(hop.get::<u16>(), None);
/// assert_eq!(hop.to_string(), "http://proxy.test:3128");
/// ```
#[derive(Clone)]
pub struct ProxyHop {
    value: Arc<dyn HopValue>,
    /// Follows from the value, and so is not compared.
    may_be_shared: bool,
}

impl ProxyHop {
    /// Creates a hop from its value. Hops are equal if their values have one type and are equal.
    pub fn new<T>(value: T) -> Self
    where
        T: Any + Eq + Hash + fmt::Debug + fmt::Display + Send + Sync,
    {
        ProxyHop {
            value: Arc::new(value),
            may_be_shared: false,
        }
    }

    /// Says that the requests themselves are sent to this proxy, perhaps over HTTP/2: it is the last hop of
    /// its route, and a connection along that may carry many exchanges at once.
    #[must_use]
    pub fn shared(mut self, may_be_shared: bool) -> Self {
        self.may_be_shared = may_be_shared;
        self
    }

    /// Returns the value, if it is a `T`.
    pub fn get<T: Any>(&self) -> Option<&T> {
        let value: &dyn Any = &*self.value;
        value.downcast_ref()
    }
}

impl PartialEq for ProxyHop {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value) || self.value.is_equal(&*other.value)
    }
}

impl Eq for ProxyHop {}

impl Hash for ProxyHop {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash_into(state);
    }
}

impl fmt::Debug for ProxyHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.value, f)
    }
}

impl fmt::Display for ProxyHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.value, f)
    }
}

/// What [`ProxyHop::new`] demands of a value, as a trait with objects.
trait HopValue: Any + fmt::Debug + fmt::Display + Send + Sync {
    fn is_equal(&self, other: &dyn Any) -> bool;
    fn hash_into(&self, state: &mut dyn Hasher);
}

impl<T: Any + Eq + Hash + fmt::Debug + fmt::Display + Send + Sync> HopValue for T {
    fn is_equal(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>().is_some_and(|other| self == other)
    }

    fn hash_into(&self, mut state: &mut dyn Hasher) {
        self.hash(&mut state);
    }
}

/// A map by route, which believes the hash that the route brings.
pub(crate) type RouteMap<V> = HashMap<Route, V, BuildHasherDefault<PrehashedHasher>>;

#[derive(Default)]
pub(crate) struct PrehashedHasher(u64);

impl Hasher for PrehashedHasher {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not reached by `Route`; right for anything else all the same.
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use httpcore_core_primitives::Scheme;
    use httpcore_net_mock::MockTls;

    fn parts() -> RouteParts {
        RouteParts::to(Origin::new(Scheme::Https, "example.com", 443))
    }

    fn tls(server_name: &str, offer: &[Alpn]) -> Hop {
        Hop::Tls {
            server_name: ServerName::new(server_name),
            offer: offer.to_vec(),
        }
    }

    fn connect(user: &'static str) -> Hop {
        Hop::Proxy(ProxyHop::new(user))
    }

    #[test]
    fn whatever_separates_connections_separates_routes() {
        let changes: [fn(&mut RouteParts); 14] = [
            |_| {},
            |parts| parts.origin = Origin::new(Scheme::Http, "example.com", 443),
            |parts| parts.dial = Endpoint::Unix("/run/app.sock".into()),
            |parts| parts.hops = vec![tls("example.com", &[Alpn::Http1])],
            |parts| parts.hops = vec![tls("example.org", &[Alpn::Http1])],
            |parts| parts.hops = vec![tls("example.com", &[Alpn::Http2])],
            |parts| parts.hops = vec![connect("one")],
            |parts| parts.hops = vec![connect("two")],
            |parts| parts.tcp.local_v4 = Some(std::net::Ipv4Addr::LOCALHOST),
            |parts| parts.tls = Some(TlsOverride::new(Arc::new(MockTls::new()))),
            |parts| parts.tls = Some(TlsOverride::new(Arc::new(MockTls::new()))),
            |parts| parts.filters = vec![AddressFilter::new(|_| Ok(()))],
            |parts| parts.host_overrides = vec![("example.com".to_owned(), Vec::new())],
            |parts| parts.partition = Some(Partition::new("")),
        ];
        let routes: Vec<Route> = changes
            .iter()
            .map(|change| {
                let mut parts = parts();
                change(&mut parts);
                parts.into()
            })
            .collect();
        for (i, one) in routes.iter().enumerate() {
            for (j, other) in routes.iter().enumerate() {
                assert_eq!(one == other, i == j, "{one:?} and {other:?}");
            }
        }
        assert_eq!(routes[0], Route::from(parts()), "made twice, equal still");
    }

    #[test]
    fn only_the_last_handshake_decides_whether_a_connection_may_be_shared() {
        let shared = |hops: Vec<Hop>| {
            let mut parts = parts();
            parts.hops = hops;
            Route::from(parts).may_be_shared()
        };
        let (h1, h2) = (tls("a", &[Alpn::Http1]), tls("a", &[Alpn::Http2]));
        assert!(!shared(vec![]));
        assert!(!shared(vec![h1.clone()]));
        assert!(shared(vec![h2.clone()]));
        assert!(shared(vec![h1.clone(), connect("one"), h2.clone()]));
        assert!(!shared(vec![h2.clone(), connect("one"), h1]));
        let forwarding = Hop::Proxy(ProxyHop::new("one").shared(true));
        assert!(shared(vec![forwarding.clone()]));
        assert!(shared(vec![h2, forwarding]));
    }

    #[test]
    fn only_an_address_is_a_literal() {
        let literal = |host: &str| Route::to(Origin::new(Scheme::Http, host, 8080)).literal();
        assert_eq!(literal("127.0.0.1"), Some(([127, 0, 0, 1], 8080).into()));
        assert_eq!(literal("::1"), "[::1]:8080".parse().ok());
        assert_eq!(literal("localhost"), None);
        assert_eq!(literal("127.1"), None);
        let mut socket = parts();
        socket.dial = Endpoint::Unix("127.0.0.1".into());
        assert_eq!(Route::from(socket).literal(), None);
    }

    #[test]
    fn a_route_prints_its_origin_and_its_proxies() {
        let mut proxied = parts();
        proxied.dial = Endpoint::Tcp {
            host: "::1".to_owned(),
            port: 3128,
        };
        proxied.partition = Some(Partition::new("blue"));
        assert_eq!(
            Route::from(proxied.clone()).to_string(),
            "https://example.com:443 via [::1]:3128 [blue]"
        );
        proxied.hops = vec![connect("one"), connect("two"), tls("example.com", &[])];
        assert_eq!(
            Route::from(proxied).to_string(),
            "https://example.com:443 via one, two [blue]"
        );
        assert_eq!(Route::from(parts()).to_string(), "https://example.com:443");
        let mut renamed = parts();
        renamed.hops = vec![tls("example.org", &[])];
        assert_eq!(
            Route::from(renamed).to_string(),
            "https://example.com:443 as example.org"
        );
    }
}
