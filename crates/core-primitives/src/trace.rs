//! Events of requests and connections. Without a listener, an event costs one branch.

use std::{fmt, net::SocketAddr, sync::Arc, time::Instant};

use crate::{address_filter::AddressRefused, error::Error, lease::CloseReason, net::TlsInfo};

/// An optional listener. In a request's [`http::Extensions`], it receives the events of that request.
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
    /// Returns a trace without a listener.
    pub const fn none() -> Self {
        Trace(None)
    }

    /// Returns a trace whose events `listener` receives.
    pub fn to(listener: impl TraceListener) -> Self {
        Trace(Some(Arc::new(listener)))
    }

    /// Returns whether there is a listener.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Passes the event that `event` returns to the listener. Without a listener `event` is not called, so
    /// the clock should be read, and texts made, inside it.
    #[inline]
    pub fn emit<'a>(&self, event: impl FnOnce() -> (Instant, TraceEvent<'a>)) {
        if let Some(listener) = &self.0 {
            let (at, event) = event();
            listener.event(at, &event);
        }
    }
}

impl Trace {
    /// Passes an event on, for listeners in front of another one.
    pub fn pass(&self, at: Instant, event: &TraceEvent<'_>) {
        if let Some(listener) = &self.0 {
            listener.event(at, event);
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

/// A receiver of events.
///
/// It is called during the operation, so it must neither block nor panic. It is never called under a
/// lock of this library, and may make requests.
pub trait TraceListener: Send + Sync + 'static {
    /// Called for each event; `at` is its time by the clock of the runtime.
    fn event(&self, at: Instant, event: &TraceEvent<'_>);
}

impl<F: Fn(Instant, &TraceEvent<'_>) + Send + Sync + 'static> TraceListener for F {
    fn event(&self, at: Instant, event: &TraceEvent<'_>) {
        self(at, event);
    }
}

/// A step of a request. Events contain neither bodies nor header values.
#[derive(Debug)]
#[non_exhaustive]
pub enum TraceEvent<'a> {
    /// The request waits for a connection of the pool.
    WaitingForConnection,
    /// A connection attempt for this request has started.
    ConnectStarted,
    /// Name resolution has started.
    ResolveStarted {
        /// The host.
        host: &'a str,
    },
    /// Name resolution succeeded.
    Resolved {
        /// The addresses in the order in which they will be tried.
        addresses: &'a [SocketAddr],
    },
    /// Connecting to an address has started.
    TcpConnectStarted {
        /// The peer's address.
        peer: SocketAddr,
    },
    /// The socket is connected.
    TcpConnected {
        /// The peer's address; `None` for a Unix socket.
        peer: Option<SocketAddr>,
        /// The local address; `None` for a Unix socket.
        local: Option<SocketAddr>,
    },
    /// Connecting to an address failed; the next one is tried.
    TcpConnectFailed {
        /// The peer's address.
        peer: SocketAddr,
        /// The error.
        error: &'a std::io::Error,
    },
    /// A filter refused an address, which is not connected to.
    AddressRefused {
        /// The address, its host and the reason.
        refused: &'a AddressRefused,
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
    /// A TLS handshake has started.
    TlsStarted {
        /// The name that the server's certificate is verified against.
        server_name: &'a str,
    },
    /// The TLS handshake succeeded.
    TlsEstablished {
        /// The negotiated parameters.
        info: &'a TlsInfo,
    },
    /// The connection attempt failed.
    ConnectFailed {
        /// The error.
        error: &'a Error,
    },
    /// The request has acquired a connection.
    ConnectionAcquired {
        /// Whether the connection had served another exchange before.
        reused: bool,
    },
    /// The request head was written.
    RequestHeadSent {
        /// The size of the head in bytes.
        bytes: u64,
    },
    /// The request body was written completely.
    RequestBodySent {
        /// The size of the body in bytes, without framing.
        bytes: u64,
    },
    /// An informational response arrived (RFC 9110 §15.2).
    Informational {
        /// The status, 100 to 199.
        status: u16,
    },
    /// The head of the final response arrived.
    ResponseHead {
        /// The status.
        status: u16,
        /// The size of the head on the wire in bytes.
        bytes: u64,
    },
    /// The response ended.
    ResponseEnded {
        /// The size of the body in bytes, without framing.
        bytes: u64,
    },
    /// The connection was returned to the pool.
    ConnectionReleased,
    /// The connection was closed.
    ConnectionClosed {
        /// The reason.
        reason: CloseReason,
    },
    /// The request is sent again on another connection.
    Retried {
        /// The error of the last attempt.
        error: &'a Error,
    },
    /// The request failed.
    Failed {
        /// The error.
        error: &'a Error,
    },
}

impl TraceEvent<'_> {
    /// Returns a short name for logs, for example `pool.acquired`.
    pub fn name(&self) -> &'static str {
        match self {
            TraceEvent::WaitingForConnection => "pool.waiting",
            TraceEvent::ConnectStarted => "connection.connect.started",
            TraceEvent::ResolveStarted { .. } => "connection.resolve.started",
            TraceEvent::Resolved { .. } => "connection.resolve.complete",
            TraceEvent::TcpConnectStarted { .. } => "connection.tcp.started",
            TraceEvent::TcpConnected { .. } => "connection.tcp.complete",
            TraceEvent::TcpConnectFailed { .. } => "connection.tcp.failed",
            TraceEvent::AddressRefused { .. } => "connection.address.refused",
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
