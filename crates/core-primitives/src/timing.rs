//! When the steps of a request happened.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    sync::lock,
    trace::{Trace, TraceEvent, TraceListener},
};

/// When the steps of a request happened, as instants of the runtime's clock. `None` for a step that did
/// not happen: a request that is given an idle connection resolves and connects nothing.
///
/// If the request was sent more than once, or several addresses or hops were tried, a step has the time of
/// its last beginning and its last end; a start never belongs to an older attempt than the end beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// The first event.
    pub started: Option<Instant>,
    /// The request began to wait for a connection.
    pub queued: Option<Instant>,
    /// Name resolution began. The host of a proxy counts, too.
    pub resolve_started: Option<Instant>,
    /// The addresses with which connecting began were found.
    pub resolved: Option<Instant>,
    /// Connecting to an address began.
    pub connect_started: Option<Instant>,
    /// The socket was connected.
    pub connected: Option<Instant>,
    /// The negotiation with a proxy began.
    pub proxy_started: Option<Instant>,
    /// The last proxy was ready.
    pub proxy_ready: Option<Instant>,
    /// A TLS handshake began.
    pub tls_started: Option<Instant>,
    /// The TLS handshake was complete.
    pub tls_established: Option<Instant>,
    /// The request was given its connection.
    pub acquired: Option<Instant>,
    /// The request head was written.
    pub head_sent: Option<Instant>,
    /// The whole request was written.
    pub request_sent: Option<Instant>,
    /// The head of the response arrived.
    pub response_head: Option<Instant>,
    /// The response ended, body included.
    pub ended: Option<Instant>,
    /// The request failed.
    pub failed: Option<Instant>,
}

impl Timing {
    /// Returns the time from `start` to `end`; `None` unless both happened, in this order.
    pub fn between(start: Option<Instant>, end: Option<Instant>) -> Option<Duration> {
        end?.checked_duration_since(start?)
    }

    /// Returns the time that name resolution took.
    pub fn resolve(&self) -> Option<Duration> {
        Self::between(self.resolve_started, self.resolved)
    }

    /// Returns the time that connecting took, from the attempt at the first address to a connected
    /// socket, without TLS and proxies.
    pub fn connect(&self) -> Option<Duration> {
        Self::between(self.connect_started, self.connected)
    }

    /// Returns the time that the TLS handshake took.
    pub fn tls(&self) -> Option<Duration> {
        Self::between(self.tls_started, self.tls_established)
    }

    /// Returns the time from the first event to the connection of the request: waiting, resolution,
    /// connecting, proxies and TLS.
    pub fn until_acquired(&self) -> Option<Duration> {
        Self::between(self.started, self.acquired)
    }

    /// Returns the time from the written head of the request to the head of the response.
    pub fn wait(&self) -> Option<Duration> {
        Self::between(self.head_sent, self.response_head)
    }

    /// Returns the time from the head of the response to its end.
    pub fn receive(&self) -> Option<Duration> {
        Self::between(self.response_head, self.ended)
    }

    /// Returns the time from the first event to the end of the response, or to the failure.
    pub fn total(&self) -> Option<Duration> {
        Self::between(self.started, self.ended.or(self.failed))
    }

    fn note(&mut self, at: Instant, event: &TraceEvent<'_>) {
        self.started.get_or_insert(at);
        let at = Some(at);
        match event {
            TraceEvent::WaitingForConnection => self.queued = at,
            // What an attempt before this one did is of no interest.
            TraceEvent::ConnectStarted => {
                *self = Timing {
                    started: self.started,
                    queued: self.queued,
                    ..Timing::default()
                };
            }
            TraceEvent::ResolveStarted { .. } => self.resolve_started = self.resolve_started.or(at),
            TraceEvent::Resolved { .. } if self.connect_started.is_none() => self.resolved = at,
            TraceEvent::TcpConnectStarted { .. } => {
                self.connect_started = self.connect_started.or(at)
            }
            TraceEvent::TcpConnected { .. } => self.connected = at,
            TraceEvent::ProxyStarted { .. } => self.proxy_started = self.proxy_started.or(at),
            TraceEvent::ProxyEstablished { .. } => self.proxy_ready = at,
            TraceEvent::TlsStarted { .. } => (self.tls_started, self.tls_established) = (at, None),
            TraceEvent::TlsEstablished { .. } => self.tls_established = at,
            TraceEvent::ConnectionAcquired { .. } => self.acquired = at,
            TraceEvent::RequestHeadSent { .. } => self.head_sent = at,
            TraceEvent::RequestBodySent { .. } => self.request_sent = at,
            TraceEvent::ResponseHead { .. } => self.response_head = at,
            TraceEvent::ResponseEnded { .. } => self.ended = at,
            TraceEvent::Failed { .. } => self.failed = at,
            _ => {}
        }
    }
}

/// Records the [`Timing`] of one request, by its events. Clones are handles to the same record.
///
/// It can be read at any time, also while the response body is read and after that.
///
/// ```
/// use httpcore_core_primitives::{Body, Trace, TimingRecorder};
///
/// let recorder = TimingRecorder::new();
/// let request = http::Request::get("http://localhost/")
///     .extension(recorder.trace())
///     .body(Body::empty())?;
/// # let _ = request;
/// // Once the response has been read:
/// let timing = recorder.timing();
/// assert_eq!(timing.total(), None, "it has not begun");
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct TimingRecorder(Arc<Mutex<Timing>>);

impl TimingRecorder {
    /// Creates an empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the listener that fills the record, for one request.
    pub fn trace(&self) -> Trace {
        Trace::to(self.clone())
    }

    /// Returns the listener that fills the record and passes each event on to `next`.
    pub fn trace_and(&self, next: Trace) -> Trace {
        let recorder = self.clone();
        Trace::to(move |at: Instant, event: &TraceEvent<'_>| {
            recorder.event(at, event);
            next.pass(at, event);
        })
    }

    /// Returns what has been recorded so far.
    pub fn timing(&self) -> Timing {
        *lock(&self.0)
    }
}

impl TraceListener for TimingRecorder {
    fn event(&self, at: Instant, event: &TraceEvent<'_>) {
        lock(&self.0).note(at, event);
    }
}

impl fmt::Debug for TimingRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TimingRecorder")
            .field(&self.timing())
            .finish()
    }
}
