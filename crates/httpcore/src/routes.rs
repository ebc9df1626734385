//! Routes of URLs, made once for each origin.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use http::Uri;
use httpcore_core_primitives::{
    AddressFilter, Alpn, ConnectionPolicy, Error, ErrorKind, ErrorPhase, Origin, Partition,
    Request, RequestSent, ServerName, TcpOptions, TlsOverride,
};
use httpcore_pool::{Endpoint, Hop, ProxyHop, Route, RouteParts, WeakRoute};

use crate::{
    connect_to::{ConnectTo, HostOverrides},
    proxy::{self, Proxy, ProxyChoice, ProxyHeader, UseProxy},
};

/// Maximum number of cached routes, after which the cache is cleared: a crawler has millions.
const REMEMBERED: usize = 1024;

/// The enabled versions of HTTP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versions {
    pub(crate) http1: bool,
    pub(crate) http2: bool,
}

impl Default for Versions {
    fn default() -> Self {
        Versions {
            http1: true,
            http2: cfg!(feature = "http2"),
        }
    }
}

impl Versions {
    const HTTP1: Versions = Versions {
        http1: true,
        http2: false,
    };

    /// Returns what ALPN offers, in order of preference.
    fn offer(self) -> Vec<Alpn> {
        match (self.http1, self.http2) {
            (true, true) => vec![Alpn::Http2, Alpn::Http1],
            (false, true) => vec![Alpn::Http2],
            (_, false) => vec![Alpn::Http1],
        }
    }

    /// Returns whether HTTP/2 is used by prior knowledge (RFC 9113 §3.3).
    fn knows_http2(self) -> bool {
        self.http2 && !self.http1
    }
}

/// Makes routes, and caches them by scheme and authority as written, so that a request along a cached
/// route costs one look-up of a string and no parsing.
#[derive(Debug)]
pub(crate) struct Routes {
    tcp: TcpOptions,
    unix_socket: Option<PathBuf>,
    has_tls: bool,
    /// Server name of every TLS handshake, whichever the URL.
    server_name: Option<ServerName>,
    versions: Versions,
    proxies: ProxyChoice,
    /// The PROXY header of connections whose requests bring none.
    proxy_header: Option<ProxyHeader>,
    /// Filter of the addresses of every request.
    filter: Option<AddressFilter>,
    remembered: Mutex<RouteCache>,
}

/// Routes by whether the scheme is secure, and by authority as written.
#[derive(Debug, Default)]
struct RouteCache {
    plain: HashMap<Arc<str>, Route>,
    secure: HashMap<Arc<str>, Route>,
    /// The one used last: comparing costs less than hashing.
    last: Option<Last>,
    /// The same, for requests with overrides.
    apart: HashMap<RouteOverrides, RouteCache>,
    /// Number of routes in all of these.
    apart_routes: usize,
    /// Routes with a [`TlsOverride`]. They are held weakly, so that it is dropped with its owner and its
    /// connections.
    chosen: HashMap<Chosen, WeakRoute>,
}

/// Key of a secure route with a [`TlsOverride`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct Chosen {
    /// Address of the connector. It is unique while the route is alive; after that the entry is not
    /// used.
    connector: usize,
    /// Without the TLS.
    apart: RouteOverrides,
    authority: Arc<str>,
}

impl Chosen {
    fn new(choice: &TlsOverride, apart: &RouteOverrides, authority: &str) -> Self {
        Chosen {
            connector: Arc::as_ptr(choice.connector()).cast::<()>().addr(),
            apart: RouteOverrides {
                tls: None,
                ..apart.clone()
            },
            authority: authority.into(),
        }
    }
}

/// What a request sets that decides about its route, besides its URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RouteOverrides {
    partition: Option<Partition>,
    server_name: Option<ServerName>,
    tls: Option<TlsOverride>,
    http1_only: bool,
    proxy: Option<UseProxy>,
    proxy_header: Option<ProxyHeader>,
    filter: Option<AddressFilter>,
    connect_to: Option<ConnectTo>,
    hosts: Option<HostOverrides>,
    /// The request needs a connection to its origin, whatever its scheme.
    tunnel: bool,
}

impl RouteOverrides {
    /// Returns the overrides in the request's extensions, if there are any.
    pub(crate) fn of(request: &http::Extensions) -> Option<Self> {
        let apart = RouteOverrides {
            partition: request.get().cloned(),
            server_name: request.get().cloned(),
            tls: request.get().cloned(),
            http1_only: request
                .get::<ConnectionPolicy>()
                .is_some_and(|wish| wish.http1_only),
            proxy: request.get().cloned(),
            proxy_header: request.get().cloned(),
            filter: request.get().cloned(),
            connect_to: request.get().cloned(),
            hosts: request.get().cloned(),
            tunnel: false,
        };
        (apart != RouteOverrides::default()).then_some(apart)
    }
}

#[derive(Debug)]
struct Last {
    is_secure: bool,
    authority: Arc<str>,
    route: Route,
}

impl Routes {
    /// Returns whether HTTP/1.1 is enabled.
    #[cfg(feature = "ws")]
    pub(crate) fn speaks_http1(&self) -> bool {
        self.versions.http1
    }

    pub(crate) fn new(
        tcp: TcpOptions,
        unix_socket: Option<PathBuf>,
        has_tls: bool,
        server_name: Option<ServerName>,
        versions: Versions,
    ) -> Self {
        Routes {
            tcp,
            unix_socket,
            has_tls,
            server_name,
            versions,
            proxies: ProxyChoice::default(),
            proxy_header: None,
            filter: None,
            remembered: Mutex::default(),
        }
    }

    pub(crate) fn with_proxies(mut self, proxies: ProxyChoice) -> Self {
        self.proxies = proxies;
        self
    }

    pub(crate) fn with_proxy_header(mut self, header: Option<ProxyHeader>) -> Self {
        self.proxy_header = header;
        self
    }

    pub(crate) fn with_filter(mut self, filter: Option<AddressFilter>) -> Self {
        self.filter = filter;
        self
    }

    /// Returns the route of `request`.
    pub(crate) fn of_request(&self, request: &Request) -> Result<Route, Error> {
        let same_for_all = match self.proxies {
            ProxyChoice::Direct => true,
            ProxyChoice::Rules(_) => !proxy::needs_tunnel(request),
            ProxyChoice::Function(_) => false,
        };
        if same_for_all && request.extensions().is_empty() {
            return self.of(request.uri(), None);
        }
        self.with_overrides(request)
    }

    /// The same for a request with options, and where its proxy depends on more than its origin.
    // Apart, so that other requests have no room for overrides on their stack.
    #[inline(never)]
    fn with_overrides(&self, request: &Request) -> Result<Route, Error> {
        let mut apart = RouteOverrides::of(request.extensions());
        let chosen = apart.as_ref().is_some_and(|apart| apart.proxy.is_some());
        if chosen || !self.proxies.is_direct() {
            let proxy = if chosen {
                None
            } else {
                self.proxies.by_function(request.uri())?
            };
            let tunnel = proxy::needs_tunnel(request);
            // Most requests whose proxy is chosen by rules have none of this.
            if proxy.is_some() || tunnel {
                let proxied = apart.get_or_insert_default();
                proxied.tunnel = tunnel;
                if proxy.is_some() {
                    proxied.proxy = proxy;
                }
            }
        }
        self.of(request.uri(), apart.as_ref())
    }

    /// Returns the route to the origin of `url`, which only requests with equal overrides share.
    pub(crate) fn of(&self, url: &Uri, apart: Option<&RouteOverrides>) -> Result<Route, Error> {
        // Not remembered: values of the caller's would be dropped under the lock, and kept for long.
        if let Some(apart) = apart {
            let proxy = apart.proxy.as_ref().and_then(UseProxy::proxy);
            if apart.filter.is_some() || proxy.is_some_and(Proxy::has_own_parts) {
                return self.make(&Origin::of(url)?, Some(apart));
            }
        }
        let known = known_scheme(url).zip(url.authority());
        if let Some(apart) = apart
            && let Some(choice) = &apart.tls
        {
            return match known {
                Some((true, authority)) => self.chosen(url, authority.as_str(), apart, choice),
                // Not cached: without TLS, or with a scheme that few requests have.
                _ => self.make(&Origin::of(url)?, Some(apart)),
            };
        }
        if let Some((is_secure, authority)) = known {
            let mut memory = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let known = match apart {
                None => memory.get(is_secure, authority.as_str()),
                Some(apart) => memory
                    .apart
                    .get_mut(apart)
                    .and_then(|memory| memory.get(is_secure, authority.as_str())),
            };
            if let Some(route) = known {
                return Ok(route);
            }
        }
        let route = self.make(&Origin::of(url)?, apart)?;
        // An authority with a password is not kept.
        if let Some((is_secure, authority)) = known
            && !authority.as_str().contains('@')
        {
            let mut memory = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match apart {
                None => memory.remember(is_secure, authority.as_str(), route.clone()),
                Some(apart) => {
                    if memory.apart_routes >= REMEMBERED {
                        memory.apart_routes = 0;
                        memory.apart.clear();
                    }
                    memory.apart_routes += 1;
                    let memory = memory.apart.entry(apart.clone()).or_default();
                    memory.remember(is_secure, authority.as_str(), route.clone());
                }
            }
        }
        Ok(route)
    }

    /// Returns the secure route of a request that brings its own TLS.
    fn chosen(
        &self,
        url: &Uri,
        authority: &str,
        apart: &RouteOverrides,
        choice: &TlsOverride,
    ) -> Result<Route, Error> {
        let key = Chosen::new(choice, apart, authority);
        let lock = || {
            let memory = self.remembered.lock();
            memory.unwrap_or_else(PoisonError::into_inner)
        };
        // A route that was upgraded may be the last handle to what others implement, and so it is
        // not dropped under the lock: it is returned.
        let known = lock().chosen.get(&key).and_then(WeakRoute::upgrade);
        if let Some(route) = known {
            return Ok(route);
        }
        let route = self.make(&Origin::of(url)?, Some(apart))?;
        // An authority with a password is not kept.
        if !authority.contains('@') {
            let mut memory = lock();
            if memory.chosen.len() >= REMEMBERED {
                memory.chosen.retain(|_, route| route.is_alive());
            }
            if memory.chosen.len() >= REMEMBERED {
                memory.chosen.clear();
            }
            memory.chosen.insert(key, route.downgrade());
        }
        Ok(route)
    }

    fn make(&self, origin: &Origin, apart: Option<&RouteOverrides>) -> Result<Route, Error> {
        let versions = match apart {
            Some(apart) if apart.http1_only => Versions::HTTP1,
            _ => self.versions,
        };
        let mut parts = RouteParts::to(origin.clone());
        parts.partition = apart.and_then(|apart| apart.partition.clone());
        parts.tcp = self.tcp.clone();
        let own = apart.and_then(|apart| apart.filter.as_ref());
        parts.filters = self.filter.iter().chain(own).cloned().collect();
        let connect_to = apart.and_then(|apart| apart.connect_to.as_ref());
        if let Some(connect_to) = connect_to {
            parts.dial = connect_to.endpoint().clone();
        } else if let Some(path) = &self.unix_socket {
            parts.dial = Endpoint::Unix(path.clone());
        }
        let header = apart.and_then(|apart| apart.proxy_header.as_ref());
        if let Some(header) = header.or(self.proxy_header.as_ref()) {
            parts.hops.push(Hop::Proxy(ProxyHop::new(header.clone())));
        }
        if let Some(hosts) = apart.and_then(|apart| apart.hosts.as_ref()) {
            parts.host_overrides = hosts.hosts().to_vec();
        }
        if origin.scheme().is_secure() {
            parts.tls = apart.and_then(|apart| apart.tls.clone());
            if !self.has_tls && parts.tls.is_none() {
                return Err(Error::new(
                    ErrorKind::UnsupportedScheme,
                    ErrorPhase::Request,
                    RequestSent::None,
                )
                .with_message(format!(
                    "{}:// needs TLS, which this pool was built without",
                    origin.scheme()
                )));
            }
            let server_name = apart
                .and_then(|apart| apart.server_name.as_ref())
                .or(self.server_name.as_ref())
                .cloned()
                .unwrap_or_else(|| ServerName::new(origin.host()));
            parts.hops.push(Hop::Tls {
                server_name,
                offer: versions.offer(),
            });
        } else {
            parts.http2_prior_knowledge = versions.knows_http2();
        }
        let proxy = match apart.and_then(|apart| apart.proxy.as_ref()) {
            Some(choice) => choice.proxy(),
            None => self.proxies.by_rules(origin),
        };
        let is_unix = connect_to.is_some_and(|to| matches!(to.endpoint(), Endpoint::Unix(_)));
        if let Some(proxy) = proxy.filter(|_| !is_unix) {
            let tunnel = apart.is_some_and(|apart| apart.tunnel);
            let http1_only = apart.is_some_and(|apart| apart.http1_only);
            let http2 = self.versions.http2;
            proxy::lead_through(&mut parts, proxy, tunnel, http2, http1_only)?;
        }
        Ok(parts.into())
    }
}

impl RouteCache {
    fn get(&mut self, is_secure: bool, authority: &str) -> Option<Route> {
        if let Some(last) = &self.last
            && last.is_secure == is_secure
            && *last.authority == *authority
        {
            return Some(last.route.clone());
        }
        let routes = if is_secure { &self.secure } else { &self.plain };
        let (authority, route) = routes.get_key_value(authority)?;
        self.last = Some(Last {
            is_secure,
            authority: authority.clone(),
            route: route.clone(),
        });
        Some(route.clone())
    }

    fn remember(&mut self, is_secure: bool, authority: &str, route: Route) {
        let routes = if is_secure {
            &mut self.secure
        } else {
            &mut self.plain
        };
        if routes.len() >= REMEMBERED {
            routes.clear();
        }
        routes.insert(authority.into(), route);
    }
}

/// Returns whether the scheme means TLS, for `http` and `https`. Routes of other schemes are rare,
/// and are not cached.
fn known_scheme(url: &Uri) -> Option<bool> {
    let scheme = url.scheme()?;
    if *scheme == http::uri::Scheme::HTTP {
        Some(false)
    } else if *scheme == http::uri::Scheme::HTTPS {
        Some(true)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_route_however_its_url_is_written() {
        let routes = Routes::new(
            TcpOptions::default(),
            None,
            false,
            None,
            Versions::default(),
        );
        let of = |url: &str| routes.of(&url.parse().unwrap(), None).unwrap();
        assert_eq!(of("http://a.test/x"), of("http://A.TEST:80/y"));
        assert_ne!(of("http://a.test/"), of("http://a.test:81/"));
        assert_eq!(of("http://user:pw@a.test/"), of("http://a.test/"));
        let memory = routes.remembered.lock().unwrap();
        assert!(
            memory
                .plain
                .keys()
                .all(|authority| !authority.contains('@'))
        );
    }

    #[test]
    fn partitions_share_no_routes_and_their_number_is_bounded() {
        let routes = Routes::new(
            TcpOptions::default(),
            None,
            false,
            None,
            Versions::default(),
        );
        let url = "http://a.test/".parse().unwrap();
        let of = |name: &str| {
            let apart = RouteOverrides {
                partition: Some(Partition::new(name)),
                ..RouteOverrides::default()
            };
            routes.of(&url, Some(&apart)).unwrap()
        };
        assert_eq!(of("one"), of("one"));
        assert_ne!(of("one"), of("two"));
        assert_ne!(of("one"), routes.of(&url, None).unwrap());
        for n in 0..3 * REMEMBERED {
            of(&n.to_string());
        }
        assert!(routes.remembered.lock().unwrap().apart.len() <= REMEMBERED);
    }

    #[test]
    fn another_server_name_makes_another_route() {
        let own = ServerName::new("own.test");
        for pools in [None, Some(own)] {
            let routes = Routes::new(
                TcpOptions::default(),
                None,
                true,
                pools.clone(),
                Versions::default(),
            );
            let url = "https://a.test/".parse().unwrap();
            let name = |apart: Option<&RouteOverrides>| match routes.of(&url, apart).unwrap().hops()
            {
                [Hop::Tls { server_name, .. }] => server_name.name().to_owned(),
                hops => panic!("{hops:?}"),
            };
            let asked = |name: &str| RouteOverrides {
                server_name: Some(ServerName::new(name)),
                ..RouteOverrides::default()
            };
            // Twice: once made, once remembered.
            for _ in 0..2 {
                let usual = if pools.is_some() {
                    "own.test"
                } else {
                    "a.test"
                };
                assert_eq!(name(None), usual);
                assert_eq!(name(Some(&asked("B.test"))), "b.test");
                assert_eq!(name(Some(&asked("c.test"))), "c.test");
            }
        }
    }

    #[test]
    fn the_cache_of_routes_is_bounded() {
        let routes = Routes::new(
            TcpOptions::default(),
            None,
            false,
            None,
            Versions::default(),
        );
        for n in 0..3 * REMEMBERED {
            let url = format!("http://{n}.test/").parse().unwrap();
            routes.of(&url, None).unwrap();
        }
        assert!(routes.remembered.lock().unwrap().plain.len() <= REMEMBERED);
    }

    /// A connector that is never used.
    #[derive(Debug)]
    struct Unused;

    impl httpcore_core_primitives::TlsConnector for Unused {
        fn handshake(
            &self,
            stream: httpcore_core_primitives::BoxStream,
            _: &str,
            _: &[Alpn],
        ) -> httpcore_core_primitives::BoxFuture<
            'static,
            std::io::Result<httpcore_core_primitives::BoxStream>,
        > {
            Box::pin(std::future::ready(Ok(stream)))
        }
    }

    #[test]
    fn a_tls_override_is_dropped_with_its_owner_and_its_routes() {
        let routes = Routes::new(TcpOptions::default(), None, true, None, Versions::default());
        for url in ["https://a.test/", "http://a.test/", "wss://a.test/"] {
            let url = url.parse().unwrap();
            let connector = Arc::new(Unused);
            let apart = RouteOverrides {
                tls: Some(TlsOverride::new(connector.clone())),
                ..RouteOverrides::default()
            };
            let route = routes.of(&url, Some(&apart)).unwrap();
            let again = routes.of(&url, Some(&apart)).unwrap();
            assert_eq!(route, again);
            let other = RouteOverrides {
                tls: Some(TlsOverride::new(Arc::new(Unused))),
                ..RouteOverrides::default()
            };
            let differs = routes.of(&url, Some(&other)).unwrap() != route;
            assert_eq!(differs, url.scheme_str() != Some("http"));
            drop((apart, route, again));
            assert_eq!(Arc::strong_count(&connector), 1, "{url}");
        }
    }

    #[test]
    fn routes_of_many_tls_overrides_are_bounded() {
        let routes = Routes::new(TcpOptions::default(), None, true, None, Versions::default());
        let url = "https://a.test/".parse().unwrap();
        let mut kept = Vec::new();
        for n in 0..3 * REMEMBERED {
            let apart = RouteOverrides {
                tls: Some(TlsOverride::new(Arc::new(Unused))),
                ..RouteOverrides::default()
            };
            let route = routes.of(&url, Some(&apart)).unwrap();
            if n % 2 == 0 {
                kept.push(route);
            }
            assert!(routes.remembered.lock().unwrap().chosen.len() <= REMEMBERED);
        }
    }

    #[test]
    fn https_without_tls_is_an_unsupported_scheme() {
        let routes = Routes::new(
            TcpOptions::default(),
            None,
            false,
            None,
            Versions::default(),
        );
        let error = routes
            .of(&"https://a.test/".parse().unwrap(), None)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedScheme);
    }
}
