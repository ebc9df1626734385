//! Proxies: which ones are used, and how a connection is made through them.
//!
//! - [`Proxy`] is a proxy, or a chain of them: HTTP with or without TLS, SOCKS 4, 4a, 5 and 5h, at a
//!   host and port or on a Unix domain socket.
//! - [`ConnectionPoolBuilder::proxy`](crate::ConnectionPoolBuilder::proxy),
//!   [`proxy_rules`](crate::ConnectionPoolBuilder::proxy_rules) and
//!   [`proxy_with`](crate::ConnectionPoolBuilder::proxy_with) choose for a pool, [`UseProxy`] for a request. Without
//!   them there is no proxy: the variables of the environment are read by
//!   [`ProxyRules::from_vars`] only.
//! - [`ProxyError::source_of`] returns the proxy's refusal behind an [`crate::Error`].
//!
//! ```
//! use httpcore::{ConnectionPool, proxy::{ProxyError, ProxyRules}};
//!
//! let rules = ProxyRules::from_vars(std::env::vars())?;
//! let builder = ConnectionPool::builder().proxy_rules(rules);
//!
//! fn explain(error: &httpcore::Error) {
//!     if let Some(refusal) = ProxyError::source_of(error).and_then(ProxyError::refusal) {
//!         eprintln!("{}: {:?}", refusal.status, refusal.body);
//!     }
//! }
//! # let _ = (builder, explain);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Forwarding and tunnels
//!
//! An HTTP proxy is sent `http` requests themselves, in absolute form (RFC 9112 §3.2.2). One connection to
//! it serves all `http` origins of a partition, and limits for an origin count for the proxy. It is asked
//! for a tunnel (`CONNECT`) for `https`, `ws` and `wss`, for requests with `Upgrade`, where only HTTP/2 is
//! spoken, and for all if [`Proxy::with_tunnel_for_http`] says so. A tunnel is a connection of its origin:
//! limits count it there. Connections are shared only among requests whose whole routes are equal: proxies
//! with their credentials, fields and hooks, TLS, server name, partition.

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{Method, header};
use httpcore_core_primitives::{
    Alpn, BoxStream, ConnectTarget, Error, ErrorKind, ErrorPhase, Origin, Request, RequestSent,
    RequestTarget, Scheme, TimeoutKind, TlsOverride, TraceEvent,
};
use httpcore_pool::{Endpoint, Hop, ProxyHop, Route, RouteParts};

pub use httpcore_core_primitives::Credentials;
pub use httpcore_proxy::{
    Challenge, MAX_REFUSAL_BODY, NoProxy, Proxy, ProxyAddress, ProxyError, ProxyProtocol,
    ProxyRules, Refusal, SocksReply,
};
use httpcore_proxy::{Connect, Negotiation, Socks4, Socks5, Target, TargetHost, Tunnel, negotiate};

use crate::connect::Attempt;

/// The proxy of one request, or none, whatever its pool would choose. Goes into the request's
/// [`http::Extensions`].
///
/// ```
/// use httpcore::{Body, proxy::UseProxy};
///
/// let request = http::Request::get("http://localhost/")
///     .extension(UseProxy::through("http://proxy.test:3128".parse()?))
///     .body(Body::empty())?;
/// let direct = http::Request::get("http://localhost/")
///     .extension(UseProxy::direct())
///     .body(Body::empty())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UseProxy(Option<Proxy>);

impl UseProxy {
    /// Sends the request through `proxy`.
    pub fn through(proxy: Proxy) -> Self {
        UseProxy(Some(proxy))
    }

    /// Sends the request without a proxy.
    pub fn direct() -> Self {
        UseProxy(None)
    }

    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.0.as_ref()
    }
}

/// A function of the caller's which chooses a proxy.
type ProxyFunction = dyn Fn(&Origin) -> Option<Proxy> + Send + Sync;

/// How a pool chooses.
#[derive(Clone, Default)]
pub(crate) enum ProxyChoice {
    #[default]
    Direct,
    Rules(Arc<ProxyRules>),
    Function(Arc<ProxyFunction>),
}

impl ProxyChoice {
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self, ProxyChoice::Direct)
    }

    /// The proxy by the rules, which is always the same for one origin.
    pub(crate) fn by_rules(&self, origin: &Origin) -> Option<&Proxy> {
        match self {
            ProxyChoice::Rules(rules) => rules.proxy_for(origin),
            ProxyChoice::Direct | ProxyChoice::Function(_) => None,
        }
    }

    /// What the function says, which may differ from request to request.
    pub(crate) fn by_function(&self, origin: &Origin) -> Option<UseProxy> {
        match self {
            ProxyChoice::Function(choose) => Some(UseProxy(choose(origin))),
            ProxyChoice::Direct | ProxyChoice::Rules(_) => None,
        }
    }
}

impl fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyChoice::Direct => f.write_str("Direct"),
            ProxyChoice::Rules(rules) => rules.fmt(f),
            ProxyChoice::Function(_) => f.write_str("Function"),
        }
    }
}

/// One proxy of a route, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyStep {
    proxy: Proxy,
    /// What the proxy connects to; `None` if it is sent the requests themselves.
    target: Option<Target>,
}

impl Hash for ProxyStep {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.proxy.hash(state);
        self.target.hash(state);
    }
}

impl fmt::Display for ProxyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proxy.fmt(f)
    }
}

/// Returns whether a request needs a connection to its origin, which a proxy that forwards requests
/// does not give.
pub(crate) fn needs_tunnel(request: &Request) -> bool {
    request.method() == Method::CONNECT
        || request.headers().contains_key(header::UPGRADE)
        || request
            .extensions()
            .get::<httpcore_core_primitives::Protocol>()
            .is_some()
}

/// Leads the direct route `parts` through `proxy`.
pub(crate) fn lead_through(
    parts: &mut RouteParts,
    proxy: &Proxy,
    needs_tunnel: bool,
) -> Result<(), Error> {
    let chain = proxy.chain();
    let direct = match &parts.dial {
        Endpoint::Tcp { host, port } => (host.clone(), *port),
        Endpoint::Unix(_) => (parts.origin.host().to_owned(), parts.origin.port()),
    };
    // A proxy that forwards requests connects to the host of their URLs.
    let is_elsewhere = direct.0 != parts.origin.host() || direct.1 != parts.origin.port();
    let forwards = parts.origin.scheme() == Scheme::Http
        && !is_elsewhere
        && !proxy.tunnels_http()
        && !needs_tunnel
        && !parts.http2_prior_knowledge;
    let mut hops = Vec::with_capacity(chain.len() + parts.hops.len());
    for (at, proxy) in chain.iter().enumerate() {
        let target = match chain.get(at + 1).map(|next| next.address()) {
            Some(ProxyAddress::Tcp { host, port }) => Some(Target::new(host, *port)),
            None if forwards => None,
            // A proxy on a Unix socket is the first of its chain: `Proxy::through` sees to that.
            _ => Some(Target::new(&direct.0, direct.1)),
        };
        hops.push(Hop::Proxy(ProxyHop::new(ProxyStep {
            proxy: (*proxy).clone(),
            target: target.transpose().map_err(|error| {
                let invalid = ErrorKind::InvalidUrl;
                Error::new(invalid, ErrorPhase::Request, RequestSent::None).with_source(error)
            })?,
        })));
    }
    let first = chain.first().map_or(proxy, |first| *first);
    parts.dial = match first.address() {
        ProxyAddress::Unix(path) => Endpoint::Unix(path.clone()),
        ProxyAddress::Tcp { host, port } => Endpoint::Tcp {
            host: host.clone(),
            port: *port,
        },
        _ => return Err(no_such_proxy()),
    };
    if forwards {
        let scheme = match proxy.protocol() {
            ProxyProtocol::Https => Scheme::Https,
            _ => Scheme::Http,
        };
        parts.origin = match proxy.address() {
            ProxyAddress::Tcp { host, port } => Origin::new(scheme, host, *port),
            _ => Origin::new(scheme, "localhost", scheme.default_port()),
        };
    }
    hops.append(&mut parts.hops);
    parts.hops = hops;
    Ok(())
}

fn no_such_proxy() -> Error {
    Error::new(ErrorKind::Proxy, ErrorPhase::Request, RequestSent::None)
        .with_message("this kind of proxy is not supported")
}

/// Makes of a request what its proxies are to see of it.
///
/// # Errors
///
/// The refusal of a filter, if a proxy is to forward the request to a host that the filter refuses: it is
/// not part of the route.
pub(crate) fn prepare(route: &Route, request: &mut Request) -> Result<(), Error> {
    let [Hop::Proxy(_), ..] = route.hops() else {
        return Ok(());
    };
    let forwarding = match route.hops().last() {
        Some(Hop::Proxy(hop)) => hop.get::<ProxyStep>().filter(|step| step.target.is_none()),
        _ => None,
    };
    let Some(ProxyStep { proxy, .. }) = forwarding else {
        // RFC 9110 §11.7.2: the field is for the next proxy, and here the origin is next.
        request.headers_mut().remove(header::PROXY_AUTHORIZATION);
        return Ok(());
    };
    check_forwarded(route, request)?;
    match request.extensions().get::<RequestTarget>() {
        None => {
            request.extensions_mut().insert(RequestTarget::Absolute);
        }
        // RFC 9112 §3.2.4: a proxy is asked for `*` by a URL without a path.
        Some(RequestTarget::Asterisk) => {
            let authority = request.uri().authority().map_or("", |authority| {
                let authority = authority.as_str();
                authority
                    .rsplit_once('@')
                    .map_or(authority, |(_, host)| host)
            });
            let target = RequestTarget::Exact(format!("http://{authority}").into());
            request.extensions_mut().insert(target);
        }
        Some(_) => {}
    }
    let fields = request.headers_mut();
    for (name, value) in proxy.headers() {
        fields.append(name.clone(), value.clone());
    }
    if let Some(value) = proxy.basic_authorization() {
        fields.insert(header::PROXY_AUTHORIZATION, value);
    }
    Ok(())
}

/// Asks the filters of `route` whether its last proxy may forward `request` to the host of its URL.
fn check_forwarded(route: &Route, request: &Request) -> Result<(), Error> {
    if route.filters().is_empty() {
        return Ok(());
    }
    let origin = Origin::of(request.uri())?;
    let address: Option<IpAddr> = origin.host().parse().ok();
    let address = address.map(|ip| SocketAddr::new(ip, origin.port()));
    let target =
        ConnectTarget::new(origin.host(), origin.port(), address).at_hop(route.hops().len(), false);
    for filter in route.filters() {
        filter.check(&target)?;
    }
    Ok(())
}

/// Negotiations that go on over a new connection, by the position of their hop.
#[derive(Debug, Default)]
pub(crate) struct Retries(Vec<(usize, Connect)>);

impl Retries {
    fn take(&mut self, at: usize) -> Option<Connect> {
        let found = self.0.iter().position(|(hop, _)| *hop == at)?;
        Some(self.0.swap_remove(found).1)
    }
}

/// Why a hop came to nothing.
pub(crate) enum HopFailure {
    Failed(Error),
    /// The proxy wants another connection, on which its challenge is answered. At most three times for
    /// each proxy: the negotiation counts.
    NewConnection,
}

impl From<Error> for HopFailure {
    fn from(error: Error) -> Self {
        HopFailure::Failed(error)
    }
}

impl Attempt {
    /// The stream behind the proxy that is hop `at` of the route.
    pub(crate) async fn through_proxy(
        &self,
        at: usize,
        hop: &ProxyHop,
        mut stream: BoxStream,
        retries: &mut Retries,
    ) -> Result<BoxStream, HopFailure> {
        let Some(ProxyStep { proxy, target }) = hop.get() else {
            return Err(no_such_proxy().into());
        };
        let texts = self
            .trace()
            .is_on()
            .then(|| (proxy.to_string(), target.as_ref().map(ToString::to_string)));
        if let Some((proxy, target)) = &texts {
            let target = target.as_deref();
            self.trace()
                .emit(|| (self.now(), TraceEvent::ProxyStarted { proxy, target }));
        }
        if proxy.protocol() == ProxyProtocol::Https {
            let own = proxy.tls().map(TlsOverride::connector);
            let offer = [Alpn::Http1];
            let handshake = self.handshake(own, proxy.server_name(), &offer, stream);
            stream = match handshake.await {
                Ok((stream, _)) => stream,
                // The sentence of an invalid request is the cause's, and says all.
                Err(error) if error.kind() == ErrorKind::InvalidRequest => return Err(error.into()),
                Err(error) => {
                    let message = format!("the TLS handshake with the proxy {proxy} failed");
                    return Err(error.with_message(message).into());
                }
            };
        }
        if let Some(target) = target {
            stream = self.tunnel(at, proxy, target, stream, retries).await?;
        }
        if let Some((proxy, target)) = &texts {
            let target = target.as_deref();
            self.trace()
                .emit(|| (self.now(), TraceEvent::ProxyEstablished { proxy, target }));
        }
        Ok(stream)
    }

    async fn tunnel(
        &self,
        at: usize,
        proxy: &Proxy,
        target: &Target,
        stream: BoxStream,
        retries: &mut Retries,
    ) -> Result<BoxStream, HopFailure> {
        let failed = |error| HopFailure::Failed(failure(proxy, target, error));
        let resolved = match target.host() {
            TargetHost::Name(host) if !proxy.protocol().resolves_names() => {
                Some(self.address_for(at, proxy, host, target.port()).await?)
            }
            _ => None,
        };
        let host = host_of(target);
        let target = resolved.as_ref().unwrap_or(target);
        let address = match target.host() {
            TargetHost::Ip(ip) => Some(SocketAddr::new(*ip, target.port())),
            TargetHost::Name(_) => None,
        };
        let next = at + 1;
        let checked =
            ConnectTarget::new(&host, target.port(), address).at_hop(next, self.is_proxy(next));
        // What was resolved here has been checked among the other addresses of its host.
        if resolved.is_none() {
            self.check(&checked).map_err(Error::from)?;
        }
        self.record(&checked);
        let credentials = proxy.credentials();
        let opened = match proxy.protocol() {
            ProxyProtocol::Http | ProxyProtocol::Https => {
                let connect = match retries.take(at) {
                    Some(connect) => Ok(connect),
                    None => proxy.connect(target),
                };
                let mut connect = connect.map_err(failed)?;
                let opened = self.negotiate(stream, &mut connect).await?;
                if opened.is_err()
                    && let Some(next) = connect.retry()
                {
                    retries.0.push((at, next));
                    return Err(HopFailure::NewConnection);
                }
                opened
            }
            ProxyProtocol::Socks4 | ProxyProtocol::Socks4a => {
                let user = credentials.map(Credentials::user);
                let mut socks = Socks4::new(target, user).map_err(failed)?;
                self.negotiate(stream, &mut socks).await?
            }
            ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => {
                let mut socks = Socks5::new(target, credentials).map_err(failed)?;
                self.negotiate(stream, &mut socks).await?
            }
            _ => return Err(no_such_proxy().into()),
        };
        let tunnel = opened.map_err(failed)?;
        // In TLS, in SOCKS and in HTTP/1.1 the client sends first: bytes before that are not part of what
        // follows. RFC 9113 §3.4: a server of HTTP/2 may send its SETTINGS at once.
        let is_last = at + 1 == self.route().hops().len();
        let server_may_send = is_last && self.route().parts().http2_prior_knowledge;
        if !tunnel.leading().is_empty() && !server_may_send {
            return Err(failed(ProxyError::Malformed(
                "bytes in the tunnel before any were sent",
            )));
        }
        Ok(tunnel.into_stream())
    }

    /// Runs a negotiation under the limit on connecting.
    async fn negotiate(
        &self,
        stream: BoxStream,
        negotiation: &mut dyn Negotiation,
    ) -> Result<Result<Tunnel, ProxyError>, Error> {
        self.within(TimeoutKind::Connect, negotiate(stream, negotiation))
            .await
            .ok_or_else(|| self.timed_out(TimeoutKind::Connect, ErrorPhase::Proxy))
    }

    /// The address of a target, for a proxy which takes no names: the first that it can be sent.
    async fn address_for(
        &self,
        at: usize,
        proxy: &Proxy,
        host: &str,
        port: u16,
    ) -> Result<Target, Error> {
        let only_ipv4 = proxy.protocol() == ProxyProtocol::Socks4;
        let mut addresses = self.resolve(host, port).await?;
        addresses.retain(|address| !only_ipv4 || address.is_ipv4());
        let next = at + 1;
        let target = ConnectTarget::new(host, port, None).at_hop(next, self.is_proxy(next));
        let allowed = self.allowed(addresses, target)?;
        allowed.first().copied().map(Target::from).ok_or_else(|| {
            Error::new(ErrorKind::Resolve, ErrorPhase::Resolve, RequestSent::None).with_message(
                format!("the host {host} has no IPv4 address, and SOCKS4 takes no other"),
            )
        })
    }
}

/// The host of a target, as it was written.
fn host_of(target: &Target) -> Cow<'_, str> {
    match target.host() {
        TargetHost::Ip(ip) => ip.to_string().into(),
        TargetHost::Name(name) => name.into(),
    }
}

/// The error of a negotiation. A connection that broke is not a refusal: the same may work the next time.
fn failure(proxy: &Proxy, target: &Target, error: ProxyError) -> Error {
    let kind = match &error {
        ProxyError::InvalidUrl(_)
        | ProxyError::InvalidTarget
        | ProxyError::UnsupportedTarget(_)
        | ProxyError::InvalidCredentials(_)
        | ProxyError::InvalidHeader => ErrorKind::InvalidRequest,
        ProxyError::Io(error) => ErrorKind::of_stream_error(error),
        ProxyError::Closed => ErrorKind::ConnectionClosed,
        _ => ErrorKind::Proxy,
    };
    let failed = Error::new(kind, ErrorPhase::Proxy, RequestSent::None);
    let failed = match kind {
        ErrorKind::InvalidRequest => failed,
        _ => failed.with_message(format!("the proxy {proxy} opened no tunnel to {target}")),
    };
    failed.with_source(error)
}
