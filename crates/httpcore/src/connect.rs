//! Making a connection along a route: resolve, connect, and then each hop.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    task::Context,
    time::{Duration, Instant},
};

use httpcore_core_primitives::{
    AddressRefused, Alpn, BoxFuture, BoxStream, ConnectTarget, ConnectionInfo, Error, ErrorKind,
    ErrorPhase, Established, NetworkBackend, RequestSent, Runtime, RuntimeShutdown, TimeoutKind,
    Timeouts, TlsConnector, TlsFailure, TlsOverride, Trace, TraceEvent, noop_waker,
    options::deadline, runtime::WithDeadline, with_deadline,
};
use httpcore_pool::{Connect, ConnectContext, Endpoint, Hop, Pool, PoolConfig, Retry, Route};
use httpcore_proto_h1::H1Connection;
#[cfg(feature = "http2")]
use httpcore_proto_h2::H2Connection;
use httpcore_resolver::{AnswerFuture, Resolve};

use crate::{
    challenged,
    names::{FirstAddresses, FirstAnswer, overridden},
    proxy::{HopFailure, ProxyStep, Retries},
    proxy_connections::{self, HandedOver},
    race::{self, Tried},
    recent::RecentFailures,
};

/// Makes connections with a backend, TLS and the protocols.
#[derive(Clone, Debug)]
pub(crate) struct Connector(Arc<Level>);

/// Connections to origins are on the first level, those to proxies that may carry many tunnels on the
/// second. If such a proxy is reached through another one like it, the connections to that are on the third.
#[derive(Debug)]
struct Level {
    deps: Arc<ConnectDeps>,
    is_for_tunnels: bool,
    /// The next level, once there is a connection on it.
    next: OnceLock<(Pool, Connector)>,
}

impl Connector {
    pub(crate) fn new(deps: ConnectDeps) -> Self {
        Connector::of_level(Arc::new(deps), false)
    }

    fn of_level(deps: Arc<ConnectDeps>, is_for_tunnels: bool) -> Self {
        Connector(Arc::new(Level {
            deps,
            is_for_tunnels,
            next: OnceLock::new(),
        }))
    }

    /// Returns the pool of connections to proxies that may carry many tunnels.
    fn proxies(&self) -> &Pool {
        let (pool, _) = self.0.next.get_or_init(|| {
            let deps = &self.0.deps;
            let connector = Connector::of_level(deps.clone(), true);
            let connect = Arc::new(connector.clone());
            let settings = proxy_connections::settings(&deps.pool);
            let pool = Pool::new(settings, deps.backend.clone(), connect);
            (pool, connector)
        });
        pool
    }

    /// Returns the same, if there has been such a connection.
    pub(crate) fn known_proxies(&self) -> Option<&Pool> {
        self.0.next.get().map(|(pool, _)| pool)
    }

    /// Calls `act` with that pool, and then with those of the levels behind it.
    pub(crate) fn each_proxy_pool(&self, act: &dyn Fn(&Pool)) {
        if let Some((pool, next)) = self.0.next.get() {
            act(pool);
            next.each_proxy_pool(act);
        }
    }
}

/// What connections are made with.
#[derive(Debug)]
pub(crate) struct ConnectDeps {
    pub(crate) backend: Arc<dyn NetworkBackend>,
    /// The settings of the pool of connections to origins.
    pub(crate) pool: PoolConfig,
    pub(crate) tls: Option<Arc<dyn TlsConnector>>,
    /// `None` if the backend's resolver is the only one.
    pub(crate) names: Option<Arc<dyn Resolve>>,
    pub(crate) race_delay: Duration,
    pub(crate) recent: RecentFailures,
    pub(crate) http1: Arc<httpcore_proto_h1::Http1Config>,
    #[cfg(feature = "http2")]
    pub(crate) http2: Arc<httpcore_proto_h2::Http2Config>,
}

impl Connect for Connector {
    fn connect(
        &self,
        route: &Route,
        terms: &ConnectContext,
    ) -> BoxFuture<'static, Result<Established, Error>> {
        let attempt = Attempt {
            connector: self.clone(),
            route: route.clone(),
            terms: terms.clone(),
        };
        Box::pin(attempt.run())
    }
}

/// One connection being made. It owns all it needs, since it outlives the request that caused it.
pub(crate) struct Attempt {
    connector: Connector,
    route: Route,
    terms: ConnectContext,
}

impl Attempt {
    async fn run(self) -> Result<Established, Error> {
        let established = self.connection().await?;
        Ok(match self.challenging_proxy() {
            Some(proxy) => challenged::answering(established, proxy),
            None => established,
        })
    }

    async fn connection(&self) -> Result<Established, Error> {
        let mut retries = Retries::default();
        let (stream, chosen) = loop {
            match self.establish(&mut retries).await {
                Ok(established) => break established,
                Err(HopFailure::Failed(error)) => return Err(error),
                Err(HopFailure::NewConnection) => {}
            }
        };
        #[cfg(feature = "http2")]
        if self.speaks_http2(chosen)? {
            // In a box, since it is large, and most connections are of the other kind.
            let http2 = self.means().http2.clone();
            self.reached(ErrorPhase::Connect);
            let opening = Box::pin(H2Connection::open(stream, self.runtime(), http2));
            let connection = self
                .within(TimeoutKind::Connect, opening)
                .await
                .ok_or_else(|| self.timed_out(TimeoutKind::Connect, ErrorPhase::Connect))??;
            return Ok(Established::Shared(Arc::new(connection)));
        }
        #[cfg(not(feature = "http2"))]
        let _ = chosen;
        if self.is_for_tunnels() {
            return Ok(Established::Exclusive(Box::new(HandedOver::new(stream))));
        }
        let connection = H1Connection::new(stream, self.runtime(), self.means().http1.clone());
        Ok(Established::Exclusive(Box::new(connection)))
    }

    /// The stream along the whole route, and which protocol its last handshake agreed on.
    async fn establish(
        &self,
        retries: &mut Retries,
    ) -> Result<(BoxStream, Option<Alpn>), HopFailure> {
        let (mut stream, done) = match self.last_shared_proxy() {
            // In a box, since it is large, and most connections need none.
            Some((at, step)) => {
                let through = self.through_shared_proxy(at, step, retries);
                (Box::pin(through).await?, at + 1)
            }
            None => (self.connect().await?, 0),
        };
        let mut chosen = None;
        for (at, hop) in self.route.hops().iter().enumerate().skip(done) {
            (stream, chosen) = match hop {
                Hop::Tls { server_name, offer } => {
                    let own = self.route.parts().tls.as_ref().map(TlsOverride::connector);
                    self.handshake(own, server_name.name(), offer, stream)
                        .await?
                }
                // In a box, as above.
                Hop::Proxy(proxy) => {
                    Box::pin(self.through_proxy(at, proxy, stream, retries)).await?
                }
                _ => {
                    return Err(Error::new(
                        ErrorKind::Connect,
                        ErrorPhase::Connect,
                        RequestSent::None,
                    )
                    .with_message("the route has an unknown kind of hop")
                    .into());
                }
            };
        }
        Ok((stream, chosen))
    }

    /// Which protocol was agreed on, or is known to be spoken.
    #[cfg(feature = "http2")]
    fn speaks_http2(&self, chosen: Option<Alpn>) -> Result<bool, Error> {
        if self.route.parts().http2_prior_knowledge {
            return Ok(true);
        }
        let offered_only_http2 = matches!(
            self.route.hops().last(),
            Some(Hop::Tls { offer, .. }) if offer[..] == [Alpn::Http2]
        );
        // RFC 9113 §3.2: without `h2` in its answer, a server does not speak it over TLS.
        if offered_only_http2 && chosen != Some(Alpn::Http2) {
            return Err(
                Error::new(ErrorKind::Tls, ErrorPhase::Tls, RequestSent::None).with_message(
                    "the server did not choose HTTP/2, and no other version is enabled",
                ),
            );
        }
        Ok(chosen == Some(Alpn::Http2))
    }

    async fn connect(&self) -> Result<BoxStream, Error> {
        self.reached(ErrorPhase::Connect);
        let mut tried = Tried::default();
        let connected = match self.route.dial() {
            Endpoint::Tcp { host, port } => {
                let literal = self.route.literal();
                let target = ConnectTarget::new(host, *port, literal).at_hop(0, self.is_proxy(0));
                let connected = match literal {
                    Some(literal) => {
                        self.check(&target)?;
                        tried.running.push(literal);
                        let attempt = self.race().attempt(literal);
                        self.within(TimeoutKind::Connect, attempt).await
                    }
                    None => {
                        let found = self.first_addresses(host, *port).await?;
                        let allowed = self.allowed(found.addresses, target);
                        let rest = found
                            .rest
                            .map(|rest| Box::pin(self.rest(rest, target)) as _);
                        // What is still looked up may be allowed.
                        let (allowed, refused) = match (allowed, &rest) {
                            (Ok(allowed), _) => (allowed, None),
                            (Err(refused), Some(_)) => (Vec::new(), Some(refused)),
                            (Err(refused), None) => return Err(refused),
                        };
                        self.reached(ErrorPhase::Connect);
                        let delay = self.means().race_delay;
                        let race = self.race().run(allowed, rest, delay, &mut tried);
                        let connected = self.within(TimeoutKind::Connect, race).await;
                        match (connected, refused) {
                            (Some(Err(_)), Some(refused)) if tried.failed.is_empty() => {
                                Some(Err(refused))
                            }
                            (connected, _) => connected,
                        }
                    }
                };
                connected.map(|outcome| {
                    outcome.map(|(peer, stream)| {
                        self.record(&target.with_address(peer));
                        stream
                    })
                })
            }
            Endpoint::Unix(path) => {
                let connecting = self.means().backend.connect_unix(path);
                let connected = self.within(TimeoutKind::Connect, connecting).await;
                connected.map(|outcome| {
                    outcome.map_err(|error| {
                        if RuntimeShutdown::is_source_of(&error) {
                            return gone(&error, ErrorPhase::Connect);
                        }
                        Error::new(ErrorKind::Connect, ErrorPhase::Connect, RequestSent::None)
                            .with_message(format!("connecting to {} failed", path.display()))
                            .with_source(error)
                    })
                })
            }
        };
        let stream = connected.unwrap_or_else(|| {
            let error = self.timed_out(TimeoutKind::Connect, ErrorPhase::Connect);
            if error.is_timeout() {
                let now = self.now();
                for peer in &tried.running {
                    self.means().recent.failed(*peer, now);
                }
            }
            Err(error.with_addresses_tried(tried.timed_out()))
        })?;
        self.trace().emit(|| {
            // Not before there is a listener: the local address takes a system call.
            let ConnectionInfo { peer, local, .. } = stream.info();
            (self.now(), TraceEvent::TcpConnected { peer, local })
        });
        Ok(stream)
    }

    /// Returns whether a proxy is what is reached before hop `at` of the route.
    pub(crate) fn is_proxy(&self, at: usize) -> bool {
        let mut later = self.route.hops().iter().skip(at);
        later.any(|hop| matches!(hop, Hop::Proxy(hop) if hop.get::<ProxyStep>().is_some()))
    }

    /// Asks the route's filters whether `target` may be connected to.
    pub(crate) fn check(&self, target: &ConnectTarget<'_>) -> Result<(), AddressRefused> {
        for filter in self.route.filters() {
            if let Err(refused) = filter.check(target) {
                let event = || {
                    let refused = &refused;
                    (self.now(), TraceEvent::AddressRefused { refused })
                };
                self.trace().emit(event);
                return Err(refused);
            }
        }
        Ok(())
    }

    /// Returns those of `addresses` that the route's filters allow as addresses of `target`, or the
    /// first refusal if there is none.
    pub(crate) fn allowed(
        &self,
        mut addresses: Vec<SocketAddr>,
        target: ConnectTarget<'_>,
    ) -> Result<Vec<SocketAddr>, Error> {
        if self.route.filters().is_empty() {
            return Ok(addresses);
        }
        let mut first = None;
        addresses.retain(|&address| match self.check(&target.with_address(address)) {
            Ok(()) => true,
            Err(refused) => {
                first.get_or_insert(refused);
                false
            }
        });
        match first {
            Some(refused) if addresses.is_empty() => Err(refused.into()),
            _ => Ok(addresses),
        }
    }

    /// Records that `target` is what the connection leads to at its hop.
    pub(crate) fn record(&self, target: &ConnectTarget<'_>) {
        self.terms.record.connected_to(target);
    }

    fn race(&self) -> race::Connecting<'_> {
        race::Connecting {
            backend: &self.means().backend,
            options: self.route.tcp(),
            trace: self.trace(),
            recent: &self.means().recent,
        }
    }

    pub(crate) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        self.reached(ErrorPhase::Resolve);
        self.trace()
            .emit(|| (self.now(), TraceEvent::ResolveStarted { host }));
        let addresses = match overridden(&self.route.parts().host_overrides, host, port) {
            Some(addresses) => addresses,
            None => {
                let lookup = match &self.means().names {
                    Some(names) => names.resolve(host, port),
                    None => self.means().backend.resolve(host, port),
                };
                self.looked_up(host, lookup).await?
            }
        };
        self.resolved(host, &addresses)?;
        Ok(addresses)
    }

    /// The addresses with which connecting to `host` begins.
    async fn first_addresses(&self, host: &str, port: u16) -> Result<FirstAddresses, Error> {
        let has_families = self
            .means()
            .names
            .as_ref()
            .filter(|_| overridden(&self.route.parts().host_overrides, host, port).is_none());
        let Some(names) = has_families else {
            let addresses = self.resolve(host, port).await?;
            return Ok(FirstAddresses {
                addresses,
                rest: None,
            });
        };
        self.reached(ErrorPhase::Resolve);
        self.trace()
            .emit(|| (self.now(), TraceEvent::ResolveStarted { host }));
        let first = FirstAnswer::new(names.lookup(host, port), self.runtime());
        let found = self.looked_up(host, first).await?;
        self.resolved(host, &found.addresses)?;
        Ok(found)
    }

    /// The further addresses of `target`, without those that are refused. Not finding any is no error: there
    /// are others.
    async fn rest(&self, rest: AnswerFuture, target: ConnectTarget<'_>) -> Vec<SocketAddr> {
        let Ok(answer) = rest.await else {
            return Vec::new();
        };
        let addresses = answer.addresses;
        self.trace().emit(|| {
            let addresses = &addresses;
            (self.now(), TraceEvent::Resolved { addresses })
        });
        self.allowed(addresses, target).unwrap_or_default()
    }

    /// Waits for a look-up under the limit of its phase.
    async fn looked_up<T>(
        &self,
        host: &str,
        lookup: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Error> {
        self.within(TimeoutKind::Resolve, lookup)
            .await
            .ok_or_else(|| self.timed_out(TimeoutKind::Resolve, ErrorPhase::Resolve))?
            .map_err(|error| {
                Error::new(ErrorKind::Resolve, ErrorPhase::Resolve, RequestSent::None)
                    .with_message(format!("the addresses of {host} could not be found"))
                    .with_source(error)
            })
    }

    /// Tells the listener which addresses were found, of which there must be one.
    fn resolved(&self, host: &str, addresses: &[SocketAddr]) -> Result<(), Error> {
        self.trace()
            .emit(|| (self.now(), TraceEvent::Resolved { addresses }));
        if addresses.is_empty() {
            return Err(
                Error::new(ErrorKind::Resolve, ErrorPhase::Resolve, RequestSent::None)
                    .with_message(format!("the host {host} has no addresses")),
            );
        }
        Ok(())
    }

    /// The stream over TLS, by the connector `own` or else by the pool's, and which protocol was
    /// agreed on for it.
    pub(crate) async fn handshake(
        &self,
        own: Option<&Arc<dyn TlsConnector>>,
        server_name: &str,
        offer: &[Alpn],
        stream: BoxStream,
    ) -> Result<(BoxStream, Option<Alpn>), Error> {
        let Some(tls) = own.or(self.means().tls.as_ref()) else {
            return Err(
                Error::new(ErrorKind::Tls, ErrorPhase::Tls, RequestSent::None)
                    .with_message("this pool was built without TLS"),
            );
        };
        self.reached(ErrorPhase::Tls);
        self.trace()
            .emit(|| (self.now(), TraceEvent::TlsStarted { server_name }));
        let handshake = tls.handshake(stream, server_name, offer);
        let stream = self
            .within(TimeoutKind::Tls, handshake)
            .await
            .ok_or_else(|| self.timed_out(TimeoutKind::Tls, ErrorPhase::Tls))?
            .map_err(refused)?;
        // Asked for once: it is a system call, and a copy of the certificates.
        let chosen = self.protected(offer, &stream.info())?;
        Ok((stream, chosen))
    }

    /// Looks at what a handshake has settled; which protocol was chosen.
    fn protected(&self, offer: &[Alpn], info: &ConnectionInfo) -> Result<Option<Alpn>, Error> {
        let Some(info) = &info.tls else {
            return Ok(None);
        };
        // RFC 7301 §3.1: the server chooses from what it was offered, or says nothing, which is
        // HTTP/1.1.
        if info.alpn.is_some_and(|chosen| !offer.contains(&chosen)) {
            return Err(
                Error::new(ErrorKind::Tls, ErrorPhase::Tls, RequestSent::None)
                    .with_message("the server chose a protocol which was not offered"),
            );
        }
        self.trace()
            .emit(|| (self.now(), TraceEvent::TlsEstablished { info }));
        Ok(info.alpn)
    }

    /// Runs one step under the limit of its phase, counted from now. Not an `async` function, which
    /// would keep the step twice.
    pub(crate) fn within<F: Future>(&self, limit: TimeoutKind, step: F) -> WithDeadline<F> {
        let timeouts = &self.terms.timeouts;
        let allowed = match limit {
            TimeoutKind::Resolve => timeouts.resolve(),
            TimeoutKind::Tls => timeouts.tls(),
            _ => timeouts.connect(),
        };
        let due = deadline(self.now(), allowed);
        with_deadline(&self.runtime(), "dial", due, step)
    }

    /// Returns the error of a time limit that has passed in `phase`, or of a runtime that has ended:
    /// its timers are ready before their time.
    pub(crate) fn timed_out(&self, limit: TimeoutKind, phase: ErrorPhase) -> Error {
        let later = self.now() + Duration::from_secs(3600);
        let mut timer = self
            .means()
            .backend
            .timer("check for the end of the runtime");
        let mut cx = Context::from_waker(noop_waker());
        let kind = if timer.poll_until(&mut cx, later).is_ready() {
            ErrorKind::RuntimeShutdown
        } else {
            ErrorKind::Timeout(limit)
        };
        Error::new(kind, phase, RequestSent::None)
    }

    /// Records the step that the attempt has reached, for a request whose limit ends its wait.
    pub(crate) fn reached(&self, phase: ErrorPhase) {
        self.terms.phase.set(phase);
    }

    fn means(&self) -> &ConnectDeps {
        &self.connector.0.deps
    }

    /// Whether the connection is to a proxy, for tunnels.
    pub(crate) fn is_for_tunnels(&self) -> bool {
        self.connector.0.is_for_tunnels
    }

    /// Returns the pool of connections to proxies that may carry many tunnels.
    pub(crate) fn proxies(&self) -> &Pool {
        self.connector.proxies()
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.terms.timeouts
    }

    pub(crate) fn retry(&self) -> Retry {
        self.means().pool.retry
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    pub(crate) fn now(&self) -> Instant {
        self.means().backend.now()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.means().backend.clone()
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.terms.trace
    }
}

/// Returns the error of a runtime that has ended, which is no fault of the network.
fn gone(error: &io::Error, phase: ErrorPhase) -> Error {
    Error::new(ErrorKind::RuntimeShutdown, phase, RequestSent::None).with_message(error.to_string())
}

/// Returns the error of a failed handshake. A name that no certificate can be for is the caller's
/// fault, and was not sent. A transport that broke is not a refusal: the same may work the next
/// time.
fn refused(error: io::Error) -> Error {
    if RuntimeShutdown::is_source_of(&error) {
        return gone(&error, ErrorPhase::Tls);
    }
    let kind = match error.kind() {
        io::ErrorKind::InvalidInput => ErrorKind::InvalidRequest,
        io::ErrorKind::UnexpectedEof => ErrorKind::ConnectionClosed,
        io::ErrorKind::InvalidData => ErrorKind::Tls,
        _ if TlsFailure::is_source_of(&error) => ErrorKind::Tls,
        _ => ErrorKind::Network,
    };
    Error::new(kind, ErrorPhase::Tls, RequestSent::None).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_that_is_refused_is_not_retryable_and_a_broken_transport_is() {
        let tls = |kind| TlsFailure::error(kind, "why");
        for (error, kind, retryable, connect) in [
            (tls(io::ErrorKind::InvalidData), ErrorKind::Tls, false, true),
            (tls(io::ErrorKind::Other), ErrorKind::Tls, false, true),
            (
                io::ErrorKind::InvalidData.into(),
                ErrorKind::Tls,
                false,
                true,
            ),
            (
                tls(io::ErrorKind::InvalidInput),
                ErrorKind::InvalidRequest,
                false,
                false,
            ),
            (
                tls(io::ErrorKind::UnexpectedEof),
                ErrorKind::ConnectionClosed,
                true,
                true,
            ),
            (
                io::ErrorKind::UnexpectedEof.into(),
                ErrorKind::ConnectionClosed,
                true,
                true,
            ),
            (
                io::ErrorKind::ConnectionReset.into(),
                ErrorKind::Network,
                true,
                true,
            ),
            (
                io::ErrorKind::BrokenPipe.into(),
                ErrorKind::Network,
                true,
                true,
            ),
            (
                RuntimeShutdown::error(),
                ErrorKind::RuntimeShutdown,
                false,
                false,
            ),
        ] {
            let text = format!("{error:?}");
            let error = refused(error);
            assert_eq!(
                (error.kind(), error.is_retryable(), error.is_connect()),
                (kind, retryable, connect),
                "{text}"
            );
        }
    }

    #[test]
    fn a_loop_that_ends_during_a_handshake_is_named_and_tls_is_not_blamed() {
        let error = refused(RuntimeShutdown::error());
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::RuntimeShutdown, ErrorPhase::Tls)
        );
        assert_eq!(error.fault(), httpcore_core_primitives::Fault::Local);
    }
}
