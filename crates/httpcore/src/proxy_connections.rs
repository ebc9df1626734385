//! Connections to proxies that may carry many tunnels: CONNECT as a stream of HTTP/2 (RFC 9113 §8.5).
//!
//! An `https` proxy may choose HTTP/2 in its handshake. Connections to it are then in a pool of their own,
//! whose routes end at the proxy, and a tunnel is an exchange of that pool: the rules for streams, GOAWAY,
//! time and idleness are those of every HTTP/2 connection. A proxy that chooses HTTP/1.1 carries one tunnel
//! for each connection, which leaves that pool at once and belongs to its tunnel.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use http::Version;
use httpcore_core_primitives::{
    Body, BoxFuture, BoxStream, CloseReason, ConnectTarget, ConnectionInfo, ConnectionPolicy,
    Error, ErrorKind, ErrorPhase, ExchangeContext, ExclusiveConnection, IdleEvent, NetworkStream,
    Request, RequestSent, Response, SendError, TimeoutKind, Timeouts, Trace, TraceEvent, Upgraded,
    noop_waker,
};
use httpcore_pool::{Endpoint, Hop, PoolConfig, Retry, Route, RouteParts};
use httpcore_proxy::{Connect, ConnectDecision, MAX_REFUSAL_BODY, Proxy, ProxyError, Target};

use crate::{
    connect::Attempt,
    proxy::{HopFailure, ProxyStep, Retries, failure, host_of},
};

/// Returns the settings of the pool of connections to proxies, given those of the pool of origins.
///
/// Tunnels are counted by the pool of origins, whose total also bounds the connections to proxies that are
/// in use: a limit on their total here could have tunnels wait for each other.
pub(crate) fn settings(of_origins: &PoolConfig) -> PoolConfig {
    let mut settings = of_origins.clone();
    settings.max_connections = None;
    settings.max_requests_per_origin = None;
    settings.max_requests_per_connection = None;
    settings.max_pending_requests = None;
    // Failed attempts are repeated by the pool of origins.
    settings.connect_retries = 0;
    settings
}

/// A hop that opens a tunnel over a connection which may carry others too.
pub(crate) struct SharedStep<'a> {
    step: &'a ProxyStep,
    target: &'a Target,
}

impl Attempt {
    /// Returns the last hop that opens a tunnel over a connection which may carry others too.
    pub(crate) fn last_shared_proxy(&self) -> Option<(usize, SharedStep<'_>)> {
        let hops = self.route().hops().iter().enumerate().rev();
        let mut steps = hops.filter_map(|(at, hop)| match hop {
            Hop::Proxy(hop) => Some((at, hop.get::<ProxyStep>()?)),
            _ => None,
        });
        steps.find_map(|(at, step)| {
            let target = step.target.as_ref().filter(|_| step.may_speak_http2)?;
            Some((at, SharedStep { step, target }))
        })
    }

    /// Returns the route of connections to the proxy that is hop `at`.
    fn route_to_proxy(&self, at: usize, step: &ProxyStep) -> Route {
        let whole = self.route().parts();
        let mut parts = RouteParts::to(step.origin());
        parts.dial = whole.dial.clone();
        parts.hops = whole.hops[..at].to_vec();
        parts.hops.push(step.forwarding().into_hop());
        parts.tcp = whole.tcp.clone();
        parts.filters = whole.filters.clone();
        parts.host_overrides = whole.host_overrides.clone();
        parts.partition = whole.partition.clone();
        parts.into()
    }

    /// The stream behind the proxy that is hop `at` of the route.
    pub(crate) async fn through_shared_proxy(
        &self,
        at: usize,
        step: SharedStep<'_>,
        retries: &mut Retries,
    ) -> Result<BoxStream, HopFailure> {
        self.reached(ErrorPhase::Proxy);
        let SharedStep { step, target } = step;
        let proxy = &step.proxy;
        let trace = self.trace().is_on().then(|| {
            Arc::new(HopEvents {
                trace: self.trace().clone(),
                proxy: proxy.to_string(),
                target: target.to_string(),
                has_started: AtomicBool::new(false),
            })
        });
        let failed = |error| HopFailure::Failed(failure(proxy, target, error));
        let host = host_of(target);
        let checked = self.target_of_hop(at, &host, target);
        self.check(&checked).map_err(Error::from)?;
        self.record(&checked);
        let mut connect = retries.machine(at, proxy, target).map_err(failed)?;
        let route = self.route_to_proxy(at, step);
        let mut policy = ConnectionPolicy::default();
        let stream = loop {
            let mut request = connect.request().map(|()| Body::empty());
            let extensions = request.extensions_mut();
            extensions.insert(self.tunnel_timeouts());
            extensions.insert(policy);
            if let Some(events) = &trace {
                let events = events.clone();
                let pass = move |at: Instant, event: &TraceEvent<'_>| events.pass(at, event);
                extensions.insert(Trace::to(pass));
            }
            let response = match self.proxies().send(route.clone(), request).await {
                Ok(response) => response,
                // An idle connection may have ended when it was chosen. To open a tunnel twice does nothing
                // to the origin but connect.
                Err(error)
                    if error.connection_reused()
                        && !policy.new_connection
                        && self.retries_unsent()
                        && matches!(
                            error.kind(),
                            ErrorKind::ConnectionClosed | ErrorKind::Network
                        ) =>
                {
                    policy.new_connection = true;
                    continue;
                }
                Err(error) => return Err(not_opened(proxy, target, error).into()),
            };
            match self.open(at, response, &mut connect, retries).await? {
                Opening::Open(stream) => break stream,
                Opening::Again => {}
                Opening::Failed(error) => return Err(failed(error)),
            }
        };
        self.record_way_to(at, &stream);
        if let Some(events) = trace {
            events.established(self.now());
        }
        Ok(stream)
    }

    /// Records what the connection that the proxy of hop `at` was reached by leads to: it was made for another
    /// request, perhaps.
    fn record_way_to(&self, at: usize, stream: &BoxStream) {
        if let Endpoint::Tcp { host, port } = self.route().dial() {
            let address = stream.info().peer.or(self.route().literal());
            let first = ConnectTarget::new(host, *port, address);
            self.record(&first.at_hop(0, true));
        }
        for (at, hop) in self.route().hops()[..at].iter().enumerate() {
            if let Hop::Proxy(hop) = hop
                && let Some(step) = hop.get::<ProxyStep>()
                && let Some(target) = &step.target
            {
                self.record(&self.target_of_hop(at, &host_of(target), target));
            }
        }
    }

    async fn open(
        &self,
        at: usize,
        mut response: Response,
        connect: &mut Connect,
        retries: &mut Retries,
    ) -> Result<Opening, HopFailure> {
        if let Some(stream) = HandedOver::take_from(&mut response) {
            let opened = self.connect_over(at, stream, connect, retries).await?;
            return Ok(match opened {
                Ok(tunnel) => match self.checked(at, tunnel) {
                    Ok(stream) => Opening::Open(stream),
                    Err(error) => Opening::Failed(error),
                },
                Err(error) => Opening::Failed(error),
            });
        }
        let upgraded = Upgraded::take_from(&mut response);
        let (parts, body) = response.into_parts();
        let decision = connect.decide(http::Response::from_parts(parts, ()));
        Ok(match (decision, upgraded) {
            (ConnectDecision::Open, Some(mut stream)) => {
                let mut cx = Context::from_waker(noop_waker());
                let idle = stream.poll_idle(&mut cx);
                if idle == Poll::Ready(IdleEvent::UnsolicitedData) && !self.server_may_send(at) {
                    Opening::Failed(ProxyError::Malformed(EARLY_BYTES))
                } else {
                    Opening::Open(Box::new(stream))
                }
            }
            (ConnectDecision::Open, None) => {
                Opening::Failed(ProxyError::Malformed("a tunnel without a stream"))
            }
            (ConnectDecision::Again, _) => Opening::Again,
            (ConnectDecision::Refused, _) => {
                let mut beginning = Beginning::default();
                // What is known of a refusal is worth more than that its body came too late.
                let reading = self.within(TimeoutKind::Connect, beginning.read(body));
                let is_complete = reading.await == Some(true);
                Opening::Failed(connect.refusal(&beginning.bytes, is_complete))
            }
        })
    }

    /// Returns the limits of a request for a tunnel: `resolve`, `connect` and `tls` for a connection to the
    /// proxy, and `connect` again for the answer.
    fn tunnel_timeouts(&self) -> Timeouts {
        let own = self.timeouts();
        let mut limits = Timeouts::none();
        if let Some(limit) = own.resolve() {
            limits = limits.with_resolve(limit);
        }
        if let Some(limit) = own.tls() {
            limits = limits.with_tls(limit);
        }
        if let Some(limit) = own.connect() {
            let limits = limits.with_connect(limit).with_acquire(limit);
            return limits.with_response_head(limit).with_write(limit);
        }
        limits
    }

    fn retries_unsent(&self) -> bool {
        self.retry() != Retry::Never
    }
}

/// The message for bytes that come through a tunnel before any were sent.
pub(crate) const EARLY_BYTES: &str = "bytes in the tunnel before any were sent";

enum Opening {
    Open(BoxStream),
    /// The challenge has been answered.
    Again,
    Failed(ProxyError),
}

/// The beginning of a refusal's body.
#[derive(Default)]
struct Beginning {
    bytes: Vec<u8>,
}

impl Beginning {
    /// Reads as much as is kept of a refusal. Yields whether that is all.
    async fn read(&mut self, mut body: Body) -> bool {
        while let Some(chunk) = body.chunk().await {
            let Ok(chunk) = chunk else {
                return false;
            };
            let room = MAX_REFUSAL_BODY - self.bytes.len();
            self.bytes
                .extend_from_slice(&chunk[..room.min(chunk.len())]);
            if chunk.len() > room {
                return false;
            }
        }
        true
    }
}

/// The error of a request for a tunnel. One that failed before there was a connection to the proxy is that
/// of the step.
fn not_opened(proxy: &Proxy, target: &Target, error: Error) -> Error {
    let kind = match (error.kind(), error.phase()) {
        (ErrorKind::Timeout(_), ErrorPhase::Acquire) => ErrorKind::Timeout(TimeoutKind::Connect),
        (ErrorKind::AddressRefused, _)
        | (_, ErrorPhase::Resolve | ErrorPhase::Connect | ErrorPhase::Tls | ErrorPhase::Proxy) => {
            return error;
        }
        (ErrorKind::Timeout(_), _) => ErrorKind::Timeout(TimeoutKind::Connect),
        (ErrorKind::Protocol | ErrorKind::TooLarge, _) => ErrorKind::Proxy,
        (kind, _) => kind,
    };
    let failed = Error::new(kind, ErrorPhase::Proxy, RequestSent::None);
    if failed.is_timeout() {
        return failed;
    }
    failed
        .with_message(format!("the proxy {proxy} opened no tunnel to {target}"))
        .with_source(error)
}

/// Passes the events on that concern making the connection to a proxy, and reports the negotiation for one
/// tunnel. The other events of the request for a tunnel, such as its head's, are not the caller's request's.
struct HopEvents {
    trace: Trace,
    proxy: String,
    target: String,
    has_started: AtomicBool,
}

impl HopEvents {
    /// The negotiation starts: with TLS, or on a connection that there is.
    fn start(&self, at: Instant) {
        if !self.has_started.swap(true, Ordering::Relaxed) {
            let (proxy, target) = (&*self.proxy, Some(&*self.target));
            self.trace
                .emit(|| (at, TraceEvent::ProxyStarted { proxy, target }));
        }
    }

    fn established(&self, at: Instant) {
        let (proxy, target) = (&*self.proxy, Some(&*self.target));
        self.trace
            .emit(|| (at, TraceEvent::ProxyEstablished { proxy, target }));
    }

    fn pass(&self, at: Instant, event: &TraceEvent<'_>) {
        let copied = match *event {
            TraceEvent::ResolveStarted { host } => TraceEvent::ResolveStarted { host },
            TraceEvent::Resolved { addresses } => TraceEvent::Resolved { addresses },
            TraceEvent::TcpConnectStarted { peer } => TraceEvent::TcpConnectStarted { peer },
            TraceEvent::TcpConnected { peer, local } => TraceEvent::TcpConnected { peer, local },
            TraceEvent::TcpConnectFailed { peer, error } => {
                TraceEvent::TcpConnectFailed { peer, error }
            }
            // The end of the route of the connection, which is the proxy itself.
            TraceEvent::ProxyStarted { target: None, .. }
            | TraceEvent::ConnectionAcquired { .. } => return self.start(at),
            TraceEvent::ProxyEstablished { target: None, .. } => return,
            TraceEvent::ProxyStarted { proxy, target } => {
                TraceEvent::ProxyStarted { proxy, target }
            }
            TraceEvent::ProxyEstablished { proxy, target } => {
                TraceEvent::ProxyEstablished { proxy, target }
            }
            TraceEvent::TlsStarted { server_name } => TraceEvent::TlsStarted { server_name },
            TraceEvent::TlsEstablished { info } => TraceEvent::TlsEstablished { info },
            _ => return,
        };
        self.trace.emit(|| (at, copied));
    }
}

/// A connection to a proxy that speaks HTTP/1.1, which carries one tunnel: an exchange takes its stream out,
/// and its place in the pool of connections to proxies is free.
pub(crate) struct HandedOver(BoxStream);

/// A stream in the extensions of a response, whose values must be `Clone` and `Sync`.
#[derive(Clone)]
struct Taken(Arc<Mutex<Option<BoxStream>>>);

impl HandedOver {
    pub(crate) fn new(stream: BoxStream) -> Self {
        HandedOver(stream)
    }

    fn take_from(response: &mut Response) -> Option<BoxStream> {
        let taken = response.extensions_mut().remove::<Taken>()?;
        let mut stream = taken.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.take()
    }
}

impl ExclusiveConnection for HandedOver {
    /// The request is not sent: its sender speaks HTTP/1.1 over the stream.
    fn exchange(
        self: Box<Self>,
        _request: Request,
        context: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        context.lease.close(CloseReason::Upgraded);
        let mut response = Response::new(Body::empty());
        let taken = Taken(Arc::new(Mutex::new(Some(self.0))));
        response.extensions_mut().insert(taken);
        Box::pin(std::future::ready(Ok(response)))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        self.0.poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        self.0.info()
    }

    fn version(&self) -> Version {
        Version::HTTP_11
    }
}

impl fmt::Debug for HandedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandedOver").field(&self.0).finish()
    }
}
