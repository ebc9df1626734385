//! The one public error: what failed, in which phase, and what was sent.

use std::{borrow::Cow, error::Error as StdError, fmt, io};

use crate::{net::TlsFailure, runtime::RuntimeGone};

/// A boxed error of somebody else's.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong with a request, and what can be done about it.
///
/// `Display` says its own level in a sentence; [`source`](StdError::source) has the next. Neither
/// ever holds a URL's user information, nor a credential.
///
/// To decide whether a request may be sent again, ask [`sent`](Self::sent) and
/// [`is_retryable`](Self::is_retryable); to decide whom to tell, ask [`fault`](Self::fault).
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    phase: Phase,
    sent: Sent,
    response_started: bool,
    reused: bool,
    attempts: u32,
    http2_error_code: Option<Http2ErrorCode>,
    message: Option<Cow<'static, str>>,
    source: Option<BoxError>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The URL is malformed or lacks what a request needs.
    InvalidUrl,
    /// The URL's scheme is not one this engine speaks.
    UnsupportedScheme,
    /// The request cannot be sent as it is: nothing of it has reached the wire.
    InvalidRequest,
    /// The caller's body failed, or is not as long as was said.
    RequestBody,
    /// A time limit ran out.
    Timeout(TimeoutKind),
    /// The host's addresses could not be found.
    Resolve,
    /// No address could be connected to.
    Connect,
    /// The TLS handshake failed, or the TLS layer did later.
    Tls,
    /// A proxy refused, or failed.
    Proxy,
    /// Reading or writing an established connection failed.
    Network,
    /// The peer closed the connection before the response was complete.
    Closed,
    /// The peer broke the rules of the protocol.
    Protocol,
    /// The response is larger than the caller allowed.
    TooLarge,
    /// The pool's queue is full.
    QueueFull,
    /// The pool has been closed.
    PoolClosed,
    /// The runtime that was to do the work is gone.
    RuntimeGone,
}

impl Kind {
    /// What it is when reading from, or writing to, an established connection fails with `error`. The
    /// same for every protocol: an end that came too early is [`Closed`](Kind::Closed), also where a
    /// layer such as TLS found it; what that layer refuses is [`Tls`](Kind::Tls); the rest is
    /// [`Network`](Kind::Network), unless the runtime is gone.
    pub fn of_stream_error(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Kind::Closed
        } else if RuntimeGone::is_behind(error) {
            Kind::RuntimeGone
        } else if TlsFailure::is_behind(error) {
            Kind::Tls
        } else {
            Kind::Network
        }
    }
}

/// Which time limit ran out. See [`Timeouts`](crate::Timeouts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// `Timeouts::pool`
    Pool,
    /// `Timeouts::resolve`
    Resolve,
    /// `Timeouts::connect`
    Connect,
    /// `Timeouts::tls`
    Tls,
    /// `Timeouts::write`
    Write,
    /// `Timeouts::first_byte`
    FirstByte,
    /// `Timeouts::read`
    Read,
    /// `Timeouts::total`
    Total,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Understanding the request; nothing has been asked of anybody.
    Request,
    /// Waiting for a place in the pool.
    Pool,
    /// Looking up addresses.
    Resolve,
    /// Connecting.
    Connect,
    /// Agreeing with a proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// Sending the request.
    Send,
    /// Waiting for the response's head, or reading it.
    Head,
    /// Reading the response's body.
    Body,
}

/// How much of the request was handed to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sent {
    /// Nothing: the peer cannot have acted on it.
    Nothing,
    /// Something, but not all.
    Part,
    /// All of it.
    All,
}

/// Whose doing it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The caller asked for something that cannot be done, or its body failed.
    Caller,
    /// The other end refused, broke the rules, or went away.
    Peer,
    /// Something between here and there.
    Network,
    /// A limit set on this side: a time limit, a full queue, a closed pool.
    Local,
}

/// An error code of HTTP/2, which ends a stream or a connection (RFC 9113 §7). Any number is one;
/// those which the RFC defines have names.
///
/// ```
/// use httpcore_core_primitives::Http2ErrorCode;
///
/// assert_eq!(Http2ErrorCode::CANCEL.value(), 8);
/// assert_eq!(Http2ErrorCode::new(0xb).to_string(), "ENHANCE_YOUR_CALM (0xb)");
/// assert_eq!(Http2ErrorCode::new(0xff).name(), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Http2ErrorCode(u32);

impl Http2ErrorCode {
    /// Nothing is wrong: the end was meant.
    pub const NO_ERROR: Self = Http2ErrorCode(0x0);
    /// The other side broke a rule for which there is no code of its own.
    pub const PROTOCOL_ERROR: Self = Http2ErrorCode(0x1);
    /// The sender failed.
    pub const INTERNAL_ERROR: Self = Http2ErrorCode(0x2);
    /// The other side sent more than the windows allowed.
    pub const FLOW_CONTROL_ERROR: Self = Http2ErrorCode(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Self = Http2ErrorCode(0x4);
    /// A frame came for a stream which is half closed.
    pub const STREAM_CLOSED: Self = Http2ErrorCode(0x5);
    /// A frame's size is not allowed.
    pub const FRAME_SIZE_ERROR: Self = Http2ErrorCode(0x6);
    /// The stream was refused before anything of it was processed.
    pub const REFUSED_STREAM: Self = Http2ErrorCode(0x7);
    /// The stream is not needed any more.
    pub const CANCEL: Self = Http2ErrorCode(0x8);
    /// The compression state of fields cannot be maintained.
    pub const COMPRESSION_ERROR: Self = Http2ErrorCode(0x9);
    /// The connection which `CONNECT` asked for was reset or ended abnormally.
    pub const CONNECT_ERROR: Self = Http2ErrorCode(0xa);
    /// The other side may be generating excessive load.
    pub const ENHANCE_YOUR_CALM: Self = Http2ErrorCode(0xb);
    /// The transport does not meet the minimum of security.
    pub const INADEQUATE_SECURITY: Self = Http2ErrorCode(0xc);
    /// HTTP/1.1 is demanded instead of HTTP/2.
    pub const HTTP_1_1_REQUIRED: Self = Http2ErrorCode(0xd);

    /// The code of this number.
    pub const fn new(value: u32) -> Self {
        Http2ErrorCode(value)
    }

    /// Its number.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Its name in RFC 9113 §7, if it is defined there.
    pub fn name(self) -> Option<&'static str> {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        NAMES.get(usize::try_from(self.0).ok()?).copied()
    }
}

impl fmt::Display for Http2ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({:#x})", self.0),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for Http2ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// An error of `kind`, met in `phase`, before anything was sent.
    pub fn new(kind: Kind, phase: Phase) -> Self {
        Error(Box::new(Inner {
            kind,
            phase,
            sent: Sent::Nothing,
            response_started: false,
            reused: false,
            attempts: 1,
            http2_error_code: None,
            message: None,
            source: None,
        }))
    }

    /// This, saying `message` instead of what its kind and phase would say: one sentence without a
    /// full stop, without credentials.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// This, because of `source`.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// This, with what was sent.
    #[must_use]
    pub fn with_sent(mut self, sent: Sent) -> Self {
        self.0.sent = sent;
        self
    }

    /// This, with whether any byte of a response had come.
    #[must_use]
    pub fn with_response_started(mut self, started: bool) -> Self {
        self.0.response_started = started;
        self
    }

    /// This, with whether the connection had served another exchange before.
    #[must_use]
    pub fn with_reused(mut self, reused: bool) -> Self {
        self.0.reused = reused;
        self
    }

    /// This, with how many times the request was tried.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// This, with the code with which an HTTP/2 server ended the stream or the connection.
    #[must_use]
    pub fn with_http2_error_code(mut self, code: Http2ErrorCode) -> Self {
        self.0.http2_error_code = Some(code);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What was being done.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// How much of the request was handed to the network, in the last attempt.
    pub fn sent(&self) -> Sent {
        self.0.sent
    }

    /// Whether any byte of a response had come.
    pub fn response_started(&self) -> bool {
        self.0.response_started
    }

    /// Whether the connection had served another exchange before.
    pub fn connection_reused(&self) -> bool {
        self.0.reused
    }

    /// How many times the request was tried.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The code which the server sent with the end of the stream (RST_STREAM) or of the connection
    /// (GOAWAY), if it was one of HTTP/2 and sent one. Nothing for what this side ended.
    pub fn http2_error_code(&self) -> Option<Http2ErrorCode> {
        self.0.http2_error_code
    }

    /// Whether a time limit ran out.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::Timeout(_))
    }

    /// Whether no connection could be made: nothing was sent, and the same request may be sent
    /// somewhere else.
    pub fn is_connect(&self) -> bool {
        matches!(
            self.0.phase,
            Phase::Resolve | Phase::Connect | Phase::Proxy | Phase::Tls
        )
    }

    /// Whether the same request can be sent again as if nothing had happened: nothing of it was
    /// sent, and trying again might help.
    pub fn is_retryable(&self) -> bool {
        self.0.sent == Sent::Nothing
            && self.fault() != Fault::Caller
            && !matches!(
                self.0.kind,
                Kind::Timeout(TimeoutKind::Total) | Kind::PoolClosed | Kind::RuntimeGone
            )
    }

    /// Whose doing it was.
    pub fn fault(&self) -> Fault {
        match self.0.kind {
            Kind::InvalidUrl
            | Kind::UnsupportedScheme
            | Kind::InvalidRequest
            | Kind::RequestBody => Fault::Caller,
            Kind::Tls | Kind::Proxy | Kind::Closed | Kind::Protocol => Fault::Peer,
            Kind::Resolve | Kind::Connect | Kind::Network => Fault::Network,
            Kind::Timeout(_)
            | Kind::TooLarge
            | Kind::QueueFull
            | Kind::PoolClosed
            | Kind::RuntimeGone => Fault::Local,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(message) = &self.0.message {
            return f.write_str(message);
        }
        let doing = self.0.phase.doing();
        match self.0.kind {
            Kind::InvalidUrl => f.write_str("the URL is not valid"),
            Kind::UnsupportedScheme => f.write_str("the URL's scheme is not supported"),
            Kind::InvalidRequest => f.write_str("the request cannot be sent as it is"),
            Kind::RequestBody => f.write_str("the request's body failed"),
            Kind::Timeout(limit) => write!(f, "the {limit} ran out while {doing}"),
            Kind::Resolve => f.write_str("the host's addresses could not be found"),
            Kind::Connect => f.write_str("no connection could be made"),
            Kind::Tls => write!(f, "TLS failed while {doing}"),
            Kind::Proxy => write!(f, "the proxy failed while {doing}"),
            Kind::Network => write!(f, "the connection failed while {doing}"),
            Kind::Closed => write!(f, "the peer closed the connection while {doing}"),
            Kind::Protocol => write!(f, "the peer broke the protocol while {doing}"),
            Kind::TooLarge => f.write_str("the response is larger than was allowed"),
            Kind::QueueFull => f.write_str("the pool's queue is full"),
            Kind::PoolClosed => f.write_str("the pool has been closed"),
            Kind::RuntimeGone => f.write_str("the runtime is gone"),
        }
    }
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeoutKind::Pool => "pool timeout",
            TimeoutKind::Resolve => "resolve timeout",
            TimeoutKind::Connect => "connect timeout",
            TimeoutKind::Tls => "TLS timeout",
            TimeoutKind::Write => "write timeout",
            TimeoutKind::FirstByte => "first-byte timeout",
            TimeoutKind::Read => "read timeout",
            TimeoutKind::Total => "total timeout",
        })
    }
}

impl Phase {
    fn doing(self) -> &'static str {
        match self {
            Phase::Request => "preparing the request",
            Phase::Pool => "waiting for a place in the pool",
            Phase::Resolve => "looking up the host's addresses",
            Phase::Connect => "connecting",
            Phase::Proxy => "agreeing with the proxy",
            Phase::Tls => "shaking hands over TLS",
            Phase::Send => "sending the request",
            Phase::Head => "waiting for the response's head",
            Phase::Body => "reading the response's body",
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            kind,
            phase,
            sent,
            response_started,
            reused,
            attempts,
            http2_error_code,
            message,
            source,
        } = &*self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", kind)
            .field("phase", phase)
            .field("sent", sent)
            .field("response_started", response_started)
            .field("reused", reused)
            .field("attempts", attempts);
        if let Some(code) = http2_error_code {
            out.field("http2_error_code", code);
        }
        if let Some(message) = message {
            out.field("message", message);
        }
        if let Some(source) = source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_its_own_level_and_its_source_the_next() {
        let io = io::Error::other("wires crossed");
        let error = Error::new(Kind::Network, Phase::Body).with_source(io);
        assert_eq!(
            error.to_string(),
            "the connection failed while reading the response's body"
        );
        assert_eq!(error.source().unwrap().to_string(), "wires crossed");
    }

    #[test]
    fn only_what_was_not_sent_and_might_work_next_time_is_retryable() {
        let refused = Error::new(Kind::Connect, Phase::Connect);
        assert!(refused.is_retryable() && refused.is_connect());
        let sent = Error::new(Kind::Closed, Phase::Head).with_sent(Sent::All);
        assert!(!sent.is_retryable());
        let nonsense = Error::new(Kind::InvalidUrl, Phase::Request);
        assert!(!nonsense.is_retryable());
        assert_eq!(nonsense.fault(), Fault::Caller);
    }

    #[test]
    fn an_error_is_a_word_wide_and_may_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
