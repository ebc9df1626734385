//! What happened, told to whoever listens. Costs one branch when nobody does.

use std::{fmt, net::SocketAddr, sync::Arc, time::Instant};

use crate::{error::Error, lease::CloseReason, net::TlsInfo};

/// A listener, or none. Put one into a request's [`http::Extensions`] to follow that request.
///
/// ```
/// use httpcore_core_primitives::{Body, TraceEvent, Trace};
/// use std::time::Instant;
///
/// let trace = Trace::to(|_: Instant, event: &TraceEvent<'_>| eprintln!("{event:?}"));
/// let request = http::Request::get("http://localhost/")
///     .extension(trace)
///     .body(Body::empty())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<dyn TraceListener>>);

impl Trace {
    /// Nobody listens.
    pub const fn none() -> Self {
        Trace(None)
    }

    /// `sink` listens.
    pub fn to(sink: impl TraceListener) -> Self {
        Trace(Some(Arc::new(sink)))
    }

    /// Whether anybody listens.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Tells the listener, if there is one, what `event` says happened. `event` is not called
    /// otherwise, and so it may be where the clock is asked and text is made.
    #[inline]
    pub fn emit<'a>(&self, event: impl FnOnce() -> (Instant, TraceEvent<'a>)) {
        if let Some(sink) = &self.0 {
            let (at, event) = event();
            sink.event(at, &event);
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() {
            "Trace(on)"
        } else {
            "Trace(off)"
        })
    }
}

/// Who listens.
///
/// Called while the work goes on, and so it must neither block nor panic. It is never called under a
/// lock of the engine's, and may use the engine.
pub trait TraceListener: Send + Sync + 'static {
    /// `event` happened at `at`, by the clock of the runtime.
    fn event(&self, at: Instant, event: &TraceEvent<'_>);
}

impl<F: Fn(Instant, &TraceEvent<'_>) + Send + Sync + 'static> TraceListener for F {
    fn event(&self, at: Instant, event: &TraceEvent<'_>) {
        self(at, event);
    }
}

/// A step of a request's life. Bodies and header values never stand in an event.
#[derive(Debug)]
#[non_exhaustive]
pub enum TraceEvent<'a> {
    /// The request waits for a place in the pool.
    WaitingForConnection,
    /// A connection begins to be made for this request.
    ConnectStarted,
    /// The host's addresses are being looked up.
    ResolveStarted {
        /// The host.
        host: &'a str,
    },
    /// They were found, in the order in which they will be tried.
    Resolved {
        /// The addresses.
        addresses: &'a [SocketAddr],
    },
    /// A TCP connection is being made.
    TcpConnectStarted {
        /// To whom.
        peer: SocketAddr,
    },
    /// A connection was made.
    TcpConnected {
        /// The two ends, for what has addresses.
        peer: Option<SocketAddr>,
        /// This end.
        local: Option<SocketAddr>,
    },
    /// An address could not be connected to; the next is tried.
    TcpConnectFailed {
        /// Which one.
        peer: SocketAddr,
        /// Why.
        error: &'a std::io::Error,
    },
    /// The negotiation with a proxy starts. With TLS to the proxy, events of that handshake follow.
    ProxyStarted {
        /// The proxy's scheme, host and port, without credentials.
        proxy: &'a str,
        /// The host and port that the proxy is to connect to; `None` where it forwards requests.
        target: Option<&'a str>,
    },
    /// The proxy has opened the tunnel, or can be sent requests.
    ProxyEstablished {
        /// As in [`ProxyStarted`](Self::ProxyStarted).
        proxy: &'a str,
        /// As in [`ProxyStarted`](Self::ProxyStarted).
        target: Option<&'a str>,
    },
    /// A TLS handshake begins.
    TlsStarted {
        /// Who must be at the other end.
        server_name: &'a str,
    },
    /// It succeeded.
    TlsEstablished {
        /// What was agreed on.
        info: &'a TlsInfo,
    },
    /// No connection could be made.
    ConnectFailed {
        /// Why.
        error: &'a Error,
    },
    /// The request was granted a connection.
    ConnectionAcquired {
        /// Whether it had served another exchange before.
        reused: bool,
    },
    /// The request's head was handed to the network.
    RequestHeadSent {
        /// The size of the head.
        bytes: u64,
    },
    /// The request's body was handed to the network, to its end.
    RequestBodySent {
        /// Its size, without framing.
        bytes: u64,
    },
    /// An interim response came (RFC 9110 §15.2).
    Informational {
        /// 100 to 199.
        status: u16,
    },
    /// The head of the response came.
    ResponseHead {
        /// Its status.
        status: u16,
        /// The size of the head on the wire.
        bytes: u64,
    },
    /// The response ended.
    ResponseEnded {
        /// The size of the body, without framing.
        bytes: u64,
    },
    /// The connection went back to the pool.
    ConnectionReleased,
    /// The connection was closed, and why.
    ConnectionClosed {
        /// Why.
        reason: CloseReason,
        /// The rule behind the reason, if the protocol named one.
        detail: &'a str,
    },
    /// The request is sent once more, on another connection.
    Retried {
        /// What the last attempt met.
        error: &'a Error,
    },
    /// The request failed.
    Failed {
        /// Why.
        error: &'a Error,
    },
}

impl TraceEvent<'_> {
    /// A short name for logs: `what.happened`.
    pub fn name(&self) -> &'static str {
        match self {
            TraceEvent::WaitingForConnection => "pool.waiting",
            TraceEvent::ConnectStarted => "connection.connect.started",
            TraceEvent::ResolveStarted { .. } => "connection.resolve.started",
            TraceEvent::Resolved { .. } => "connection.resolve.complete",
            TraceEvent::TcpConnectStarted { .. } => "connection.tcp.started",
            TraceEvent::TcpConnected { .. } => "connection.tcp.complete",
            TraceEvent::TcpConnectFailed { .. } => "connection.tcp.failed",
            TraceEvent::ProxyStarted { .. } => "connection.proxy.started",
            TraceEvent::ProxyEstablished { .. } => "connection.proxy.complete",
            TraceEvent::TlsStarted { .. } => "connection.tls.started",
            TraceEvent::TlsEstablished { .. } => "connection.tls.complete",
            TraceEvent::ConnectFailed { .. } => "connection.connect.failed",
            TraceEvent::ConnectionAcquired { .. } => "pool.acquired",
            TraceEvent::RequestHeadSent { .. } => "request.head.sent",
            TraceEvent::RequestBodySent { .. } => "request.body.sent",
            TraceEvent::Informational { .. } => "response.informational",
            TraceEvent::ResponseHead { .. } => "response.head",
            TraceEvent::ResponseEnded { .. } => "response.ended",
            TraceEvent::ConnectionReleased => "connection.released",
            TraceEvent::ConnectionClosed { .. } => "connection.closed",
            TraceEvent::Retried { .. } => "request.retried",
            TraceEvent::Failed { .. } => "request.failed",
        }
    }
}
