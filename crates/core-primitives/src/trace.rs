//! What happened, told to whoever listens. Costs one branch when nobody does.

use std::{fmt, net::SocketAddr, sync::Arc, time::Instant};

use crate::{error::Error, lease::CloseReason};

/// A listener, or none. Put one into a request's [`http::Extensions`] to follow that request.
///
/// ```
/// use httpcore_core_primitives::{Body, Event, Trace};
/// use std::time::Instant;
///
/// let trace = Trace::to(|_: Instant, event: &Event<'_>| eprintln!("{event:?}"));
/// let request = http::Request::get("http://localhost/")
///     .extension(trace)
///     .body(Body::empty())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<dyn TraceSink>>);

impl Trace {
    /// Nobody listens.
    pub const fn none() -> Self {
        Trace(None)
    }

    /// `sink` listens.
    pub fn to(sink: impl TraceSink) -> Self {
        Trace(Some(Arc::new(sink)))
    }

    /// Whether anybody listens.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Tells the listener, if there is one, what `event` says happened. `event` is not called
    /// otherwise, and so it may be where the clock is asked and text is made.
    #[inline]
    pub fn emit<'a>(&self, event: impl FnOnce() -> (Instant, Event<'a>)) {
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
pub trait TraceSink: Send + Sync + 'static {
    /// `event` happened at `at`, by the clock of the runtime.
    fn event(&self, at: Instant, event: &Event<'_>);
}

impl<F: Fn(Instant, &Event<'_>) + Send + Sync + 'static> TraceSink for F {
    fn event(&self, at: Instant, event: &Event<'_>) {
        self(at, event);
    }
}

/// A step of a request's life. Bodies and header values never stand in an event.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The request waits for a place in the pool.
    Queued,
    /// A connection begins to be made for this request.
    DialStarted,
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
    ConnectStarted {
        /// To whom.
        peer: SocketAddr,
    },
    /// A connection was made.
    Connected {
        /// The two ends, for what has addresses.
        peer: Option<SocketAddr>,
        /// This end.
        local: Option<SocketAddr>,
    },
    /// An address could not be connected to; the next is tried.
    ConnectFailed {
        /// Which one.
        peer: SocketAddr,
        /// Why.
        error: &'a std::io::Error,
    },
    /// No connection could be made.
    DialFailed {
        /// Why.
        error: &'a Error,
    },
    /// The request was granted a connection.
    Granted {
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
    ConnectionKept,
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

impl Event<'_> {
    /// A short name for logs: `what.happened`.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Queued => "pool.queued",
            Event::DialStarted => "connection.dial.started",
            Event::ResolveStarted { .. } => "connection.resolve.started",
            Event::Resolved { .. } => "connection.resolve.complete",
            Event::ConnectStarted { .. } => "connection.connect.started",
            Event::Connected { .. } => "connection.connect.complete",
            Event::ConnectFailed { .. } => "connection.connect.failed",
            Event::DialFailed { .. } => "connection.dial.failed",
            Event::Granted { .. } => "pool.granted",
            Event::RequestHeadSent { .. } => "request.head.sent",
            Event::RequestBodySent { .. } => "request.body.sent",
            Event::Informational { .. } => "response.informational",
            Event::ResponseHead { .. } => "response.head",
            Event::ResponseEnded { .. } => "response.ended",
            Event::ConnectionKept => "connection.kept",
            Event::ConnectionClosed { .. } => "connection.closed",
            Event::Retried { .. } => "request.retried",
            Event::Failed { .. } => "request.failed",
        }
    }
}
