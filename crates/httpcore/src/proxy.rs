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
    future::poll_fn,
    hash::{Hash, Hasher},
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Poll, ready},
};

use http::{Method, header};
use httpcore_core_primitives::{
    Alpn, BoxStream, ConnectTarget, ConnectionInfo, Error, ErrorKind, ErrorPhase, Origin, Request,
    RequestSent, RequestTarget, Scheme, TimeoutKind, TlsOverride, TraceEvent,
};
use httpcore_pool::{Endpoint, Hop, ProxyHop, Route, RouteParts};

pub use httpcore_core_primitives::Credentials;
pub use httpcore_proxy::haproxy::{Addresses, ProxyHeader};
pub use httpcore_proxy::{
    Challenge, MAX_REFUSAL_BODY, NoProxy, Proxy, ProxyAddress, ProxyError, ProxyProtocol,
    ProxyRules, Refusal, SocksReply,
};
use httpcore_proxy::{Connect, Negotiation, Socks4, Socks5, Target, TargetHost, Tunnel, negotiate};

use crate::{connect::Attempt, proxy_connections::EARLY_BYTES};

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
    pub(crate) fn by_function(&self, url: &http::Uri) -> Result<Option<UseProxy>, Error> {
        Ok(match self {
            ProxyChoice::Function(choose) => Some(UseProxy(choose(&Origin::of(url)?))),
            ProxyChoice::Direct | ProxyChoice::Rules(_) => None,
        })
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
    pub(crate) proxy: Proxy,
    /// What the proxy connects to; `None` if it is sent the requests themselves.
    pub(crate) target: Option<Target>,
    /// Whether HTTP/2 is offered to it.
    pub(crate) may_speak_http2: bool,
}

impl ProxyStep {
    /// The same proxy, as the end of a route.
    pub(crate) fn forwarding(&self) -> Self {
        ProxyStep {
            target: None,
            ..self.clone()
        }
    }

    pub(crate) fn into_hop(self) -> Hop {
        let may_be_shared = self.may_speak_http2 && self.target.is_none();
        Hop::Proxy(ProxyHop::new(self).shared(may_be_shared))
    }

    /// Returns the origin that the proxy itself is, for a route that ends there.
    pub(crate) fn origin(&self) -> Origin {
        let scheme = match self.proxy.protocol() {
            ProxyProtocol::Https => Scheme::Https,
            _ => Scheme::Http,
        };
        match self.proxy.address() {
            ProxyAddress::Tcp { host, port } => Origin::new(scheme, host, *port),
            _ => Origin::new(scheme, "localhost", scheme.default_port()),
        }
    }
}

impl Hash for ProxyStep {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.proxy, &self.target, self.may_speak_http2).hash(state);
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

/// Leads the direct route `parts` through `proxy`. Over `http2` if that is enabled and the proxies choose it;
/// with `http1_only`, what is forwarded is sent over HTTP/1.1.
pub(crate) fn lead_through(
    parts: &mut RouteParts,
    proxy: &Proxy,
    needs_tunnel: bool,
    http2: bool,
    http1_only: bool,
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
    let first = chain.first().map_or(proxy, |first| *first);
    parts.dial = match first.address() {
        ProxyAddress::Unix(path) => Endpoint::Unix(path.clone()),
        ProxyAddress::Tcp { host, port } => Endpoint::Tcp {
            host: host.clone(),
            port: *port,
        },
        _ => return Err(no_such_proxy()),
    };
    let mut hops = Vec::with_capacity(chain.len() + parts.hops.len());
    for (at, proxy) in chain.iter().enumerate() {
        let target = match chain.get(at + 1).map(|next| next.address()) {
            Some(ProxyAddress::Tcp { host, port }) => Some(Target::new(host, *port)),
            None if forwards => None,
            // A proxy on a Unix socket is the first of its chain: `Proxy::through` sees to that.
            _ => Some(Target::new(&direct.0, direct.1)),
        };
        let target = target.transpose().map_err(|error| {
            let invalid = ErrorKind::InvalidUrl;
            Error::new(invalid, ErrorPhase::Request, RequestSent::None).with_source(error)
        })?;
        let step = ProxyStep {
            proxy: (*proxy).clone(),
            may_speak_http2: http2 && proxy.may_speak_http2() && (target.is_some() || !http1_only),
            target,
        };
        if step.target.is_none() {
            parts.origin = step.origin();
        }
        hops.push(step.into_hop());
    }
    // What is sent forward is preceded by a PROXY header for the proxy; in a tunnel, that is the origin's.
    let last = hops.pop_if(|_| forwards);
    hops.append(&mut parts.hops);
    hops.extend(last);
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
    let hops = route.hops().iter().rev();
    let mut steps = hops.filter_map(|hop| match hop {
        Hop::Proxy(hop) => hop.get::<ProxyStep>(),
        _ => None,
    });
    let Some(ProxyStep { proxy, target, .. }) = steps.next() else {
        return Ok(());
    };
    if target.is_some() {
        // RFC 9110 §11.7.2: the field is for the next proxy, and here the origin is next.
        request.headers_mut().remove(header::PROXY_AUTHORIZATION);
        return Ok(());
    }
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
    /// Returns the machine that asks for a tunnel by hop `at`: that of the connection before, if that ended
    /// with an answered challenge.
    pub(crate) fn machine(
        &mut self,
        at: usize,
        proxy: &Proxy,
        target: &Target,
    ) -> Result<Connect, ProxyError> {
        match self.0.iter().position(|(hop, _)| *hop == at) {
            Some(found) => Ok(self.0.swap_remove(found).1),
            None => proxy.connect(target),
        }
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

/// A proxy and its target, for traces.
type ProxyText = (String, Option<String>);

impl Attempt {
    /// Returns the proxy that is sent the requests themselves, if it is and answers challenges by a hook.
    pub(crate) fn challenging_proxy(&self) -> Option<&Proxy> {
        let Some(Hop::Proxy(hop)) = self.route().hops().last() else {
            return None;
        };
        let step = hop.get::<ProxyStep>()?;
        // Requests for tunnels have the machine of `CONNECT`.
        let forwards = step.target.is_none() && !self.is_for_tunnels();
        let answers = forwards && step.proxy.answers_challenges();
        answers.then_some(&step.proxy)
    }

    /// The stream behind the proxy that is hop `at` of the route, and which protocol the handshake with the
    /// proxy agreed on if that is sent the requests themselves.
    pub(crate) async fn through_proxy(
        &self,
        at: usize,
        hop: &ProxyHop,
        mut stream: BoxStream,
        retries: &mut Retries,
    ) -> Result<(BoxStream, Option<Alpn>), HopFailure> {
        if let Some(header) = hop.get::<ProxyHeader>() {
            let ConnectionInfo { peer, local, .. } = stream.info();
            let own = local.zip(peer);
            let own = own.and_then(|(local, peer)| Addresses::new(local, peer));
            let header = header.encode(own.as_ref());
            self.write_all(&mut stream, &header).await?;
            return Ok((stream, None));
        }
        let Some(step) = hop.get::<ProxyStep>() else {
            return Err(no_such_proxy().into());
        };
        let ProxyStep { proxy, target, .. } = step;
        let text = self.trace_proxy_started(step);
        let mut chosen = None;
        if proxy.protocol() == ProxyProtocol::Https {
            let own = proxy.tls().map(TlsOverride::connector);
            let offer: &[Alpn] = if step.may_speak_http2 {
                &[Alpn::Http2, Alpn::Http1]
            } else {
                &[Alpn::Http1]
            };
            let handshake = self.handshake(own, proxy.server_name(), offer, stream);
            (stream, chosen) = match handshake.await {
                Ok(protected) => protected,
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
            chosen = None;
        }
        self.trace_proxy_established(text.as_ref());
        Ok((stream, chosen))
    }

    /// Reports that the negotiation with a proxy starts. Returns what its end is reported with; `None` if
    /// there is no listener.
    fn trace_proxy_started(&self, step: &ProxyStep) -> Option<ProxyText> {
        if !self.trace().is_on() {
            return None;
        }
        let target = step.target.as_ref().map(ToString::to_string);
        let text = (step.proxy.to_string(), target);
        let (proxy, target) = (&*text.0, text.1.as_deref());
        self.trace()
            .emit(|| (self.now(), TraceEvent::ProxyStarted { proxy, target }));
        Some(text)
    }

    fn trace_proxy_established(&self, text: Option<&ProxyText>) {
        if let Some((proxy, target)) = text {
            let target = target.as_deref();
            self.trace()
                .emit(|| (self.now(), TraceEvent::ProxyEstablished { proxy, target }));
        }
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
        let checked = self.target_of_hop(at, &host, target);
        // What was resolved here has been checked among the other addresses of its host.
        if resolved.is_none() {
            self.check(&checked).map_err(Error::from)?;
        }
        self.record(&checked);
        let credentials = proxy.credentials();
        let opened = match proxy.protocol() {
            ProxyProtocol::Http | ProxyProtocol::Https => {
                let connect = retries.machine(at, proxy, target);
                let mut connect = connect.map_err(failed)?;
                self.connect_over(at, stream, &mut connect, retries).await?
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
        self.checked(at, tunnel).map_err(failed)
    }

    /// Returns what filters are asked about the tunnel that hop `at` opens to `target`, which was written as
    /// `host`.
    pub(crate) fn target_of_hop<'a>(
        &self,
        at: usize,
        host: &'a str,
        target: &Target,
    ) -> ConnectTarget<'a> {
        let address = match target.host() {
            TargetHost::Ip(ip) => Some(SocketAddr::new(*ip, target.port())),
            TargetHost::Name(_) => None,
        };
        let next = at + 1;
        ConnectTarget::new(host, target.port(), address).at_hop(next, self.is_proxy(next))
    }

    /// Asks for a tunnel over HTTP/1.1.
    pub(crate) async fn connect_over(
        &self,
        at: usize,
        stream: BoxStream,
        connect: &mut Connect,
        retries: &mut Retries,
    ) -> Result<Result<Tunnel, ProxyError>, HopFailure> {
        let opened = self.negotiate(stream, connect).await?;
        if opened.is_err()
            && let Some(next) = connect.retry()
        {
            retries.0.push((at, next));
            return Err(HopFailure::NewConnection);
        }
        Ok(opened)
    }

    /// Returns the stream through the tunnel that hop `at` has opened, unless bytes came before any were
    /// sent.
    pub(crate) fn checked(&self, at: usize, tunnel: Tunnel) -> Result<BoxStream, ProxyError> {
        if !tunnel.leading().is_empty() && !self.server_may_send(at) {
            return Err(ProxyError::Malformed(EARLY_BYTES));
        }
        Ok(tunnel.into_stream())
    }

    /// In TLS, in SOCKS and in HTTP/1.1 the client sends first: bytes before that are not part of what
    /// follows. RFC 9113 §3.4: a server of HTTP/2 may send its SETTINGS at once.
    pub(crate) fn server_may_send(&self, at: usize) -> bool {
        let is_last = at + 1 == self.route().hops().len();
        is_last && self.route().parts().http2_prior_knowledge
    }

    /// Writes `bytes` under the limit on connecting.
    async fn write_all(&self, stream: &mut BoxStream, bytes: &[u8]) -> Result<(), Error> {
        let mut left = bytes;
        let writing = poll_fn(|cx| {
            while !left.is_empty() {
                match ready!(stream.poll_write(cx, &[IoSlice::new(left)])) {
                    Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Ok(written) => left = &left[written..],
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            stream.poll_flush(cx)
        });
        let written = self.within(TimeoutKind::Connect, writing).await;
        let phase = ErrorPhase::Connect;
        written
            .ok_or_else(|| self.timed_out(TimeoutKind::Connect, phase))?
            .map_err(|error| {
                let kind = ErrorKind::of_stream_error(&error);
                Error::new(kind, phase, RequestSent::None).with_source(error)
            })
    }

    /// Runs a negotiation under the limit on connecting.
    async fn negotiate(
        &self,
        stream: BoxStream,
        negotiation: &mut dyn Negotiation,
    ) -> Result<Result<Tunnel, ProxyError>, Error> {
        self.reached(ErrorPhase::Proxy);
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
pub(crate) fn host_of(target: &Target) -> Cow<'_, str> {
    match target.host() {
        TargetHost::Ip(ip) => ip.to_string().into(),
        TargetHost::Name(name) => name.into(),
    }
}

/// The error of a negotiation. A connection that broke is not a refusal: the same may work the next time.
pub(crate) fn failure(proxy: &Proxy, target: &Target, error: ProxyError) -> Error {
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
