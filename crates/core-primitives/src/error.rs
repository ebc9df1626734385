//! The one public error: what failed, in which phase, and what was sent.

use std::{borrow::Cow, error::Error as StdError, fmt, io};

use crate::{net::TlsFailure, runtime::RuntimeGone};

/// A boxed error of somebody else's.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong with a request, and what can be done about it.
///
/// `{}` prints one sentence, and [`source`](StdError::source) is the next level; `{:#}` prints all
/// levels with `: ` between them; `{:?}` prints that and the facts below. None of them holds a
/// URL's user information or a credential. Where this level has nothing to add to its cause (TLS
/// failed, the request or the URL is invalid), `{}` prints the cause's sentence, and `source` is
/// what is behind the cause, as with [`io::Error`]; [`cause`](Self::cause) returns the cause
/// itself in every case.
///
/// ```
/// use httpcore_core_primitives::{Error, Kind, Phase, Sent};
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let error = Error::new(Kind::Connect, Phase::Connect, Sent::Nothing).with_source(refused);
/// assert_eq!(format!("{error}"), "no connection could be made");
/// assert_eq!(format!("{error:#}"), "no connection could be made: connection refused");
/// ```
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

/// Maximum length of a message, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024;

/// Maximum number of levels that `{:#}` prints.
const MAX_LEVELS: usize = 16;

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
    /// The peer was reached, and then refused, broke the rules, or closed the connection.
    Peer,
    /// The peer was not reached, or a connection to it failed: its name was not found, connecting
    /// was refused or came to nothing (a firewall in between refuses as the peer does), or the
    /// connection was reset.
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
    /// An error of `kind`, met in `phase`, when `sent` of the request had been handed to the
    /// network. Pass [`Sent::All`] where that is not known: callers send a request again only if
    /// nothing was sent.
    pub fn new(kind: Kind, phase: Phase, sent: Sent) -> Self {
        Error(Box::new(Inner {
            kind,
            phase,
            sent,
            response_started: false,
            reused: false,
            attempts: 1,
            http2_error_code: None,
            message: None,
            source: None,
        }))
    }

    /// This, saying `message` instead of what its kind and phase would say: one sentence without a
    /// full stop, without credentials. What is beyond 1,024 bytes is cut off.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE_BYTES {
            let end = (0..=MAX_MESSAGE_BYTES)
                .rfind(|&end| message.is_char_boundary(end))
                .unwrap_or(0);
            message = format!("{}…", &message[..end]).into();
        }
        self.0.message = Some(message);
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
    /// somewhere else. False where the request itself is at fault, as by a name that no certificate
    /// can be for, or where the runtime is gone.
    pub fn is_connect(&self) -> bool {
        matches!(
            self.0.phase,
            Phase::Resolve | Phase::Connect | Phase::Proxy | Phase::Tls
        ) && self.0.sent == Sent::Nothing
            && self.fault() != Fault::Caller
            && self.0.kind != Kind::RuntimeGone
    }

    /// Whether the same request can be sent again as if nothing had happened: nothing of it was
    /// sent, and trying again might help.
    ///
    /// Of errors with [`Sent::Nothing`] that is so for [`Kind::Resolve`], [`Kind::Connect`],
    /// [`Kind::Network`], [`Kind::Closed`], [`Kind::QueueFull`], every time limit but that on the
    /// whole, and [`Kind::Protocol`] on an established connection, where it means that the server
    /// did not process the request (RFC 9113 §8.7). A refusal would be repeated: an untrusted
    /// certificate, a server that does not speak TLS ([`Kind::Tls`]), a proxy that refuses
    /// ([`Kind::Proxy`]), and whatever is the caller's fault. A transport that breaks during a TLS
    /// handshake is [`Kind::Network`] or [`Kind::Closed`].
    pub fn is_retryable(&self) -> bool {
        if self.0.sent != Sent::Nothing {
            return false;
        }
        match self.0.kind {
            Kind::Resolve | Kind::Connect | Kind::Network | Kind::Closed | Kind::QueueFull => true,
            Kind::Timeout(limit) => limit != TimeoutKind::Total,
            Kind::Protocol => matches!(self.0.phase, Phase::Send | Phase::Head | Phase::Body),
            Kind::InvalidUrl
            | Kind::UnsupportedScheme
            | Kind::InvalidRequest
            | Kind::RequestBody
            | Kind::Tls
            | Kind::Proxy
            | Kind::TooLarge
            | Kind::PoolClosed
            | Kind::RuntimeGone => false,
        }
    }

    /// Returns what caused this error, if anything did, also where `{}` prints its sentence and
    /// [`source`](StdError::source) is therefore what is behind it.
    pub fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        let cause = self.0.source.as_deref()?;
        Some(cause)
    }

    /// Returns an error with the same facts, the same text and the same [`io::ErrorKind`], but
    /// with the causes as text only: for a failure that is reported again, since the causes
    /// cannot be cloned.
    #[must_use]
    pub fn repeated(&self) -> Self {
        let source = self.cause().map(|cause| {
            let kind = io_kind_behind(cause).unwrap_or(io::ErrorKind::Other);
            BoxError::from(io::Error::new(kind, chain_of(cause)))
        });
        Error(Box::new(Inner {
            message: self.0.message.clone(),
            source,
            ..*self.0
        }))
    }

    /// The cause, if it has a better sentence than this level.
    fn said_by_cause(&self) -> Option<&(dyn StdError + 'static)> {
        let silent = matches!(
            self.0.kind,
            Kind::Tls | Kind::InvalidRequest | Kind::InvalidUrl
        );
        if silent && self.0.message.is_none() {
            return self.cause();
        }
        None
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

/// Prints `error` and what is behind it.
fn write_chain(f: &mut impl fmt::Write, error: &(dyn StdError + 'static)) -> fmt::Result {
    write!(f, "{error}")?;
    let mut cause = error.source();
    for _ in 1..MAX_LEVELS {
        let Some(error) = cause else {
            break;
        };
        write!(f, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

fn chain_of(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    // A `String` takes everything.
    let _ = write_chain(&mut text, error);
    text
}

/// Returns the kind of the first [`io::Error`] in the chain that begins with `error`, if it says
/// something to a reader. `Interrupted` and `WouldBlock` would have the reader try again.
fn io_kind_behind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    use io::ErrorKind::{Interrupted, Other, WouldBlock};
    let mut next = Some(error);
    for _ in 0..MAX_LEVELS {
        let error = next?;
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind())
                .filter(|kind| !matches!(kind, Interrupted | WouldBlock | Other));
        }
        next = error.source();
    }
    None
}

/// For [`io::Read`] and the like. The kind is that of the [`io::Error`] behind it, where there is
/// one that says more than `Other`; otherwise:
///
/// | [`Kind`] | [`io::ErrorKind`] |
/// |---|---|
/// | `InvalidUrl`, `UnsupportedScheme`, `InvalidRequest` | `InvalidInput` |
/// | `Timeout` | `TimedOut` |
/// | `Resolve` | `NotFound` |
/// | `Connect` | `NotConnected` |
/// | `Tls`, `Protocol` | `InvalidData` |
/// | `Network` | `ConnectionReset` |
/// | `Closed` | `UnexpectedEof` |
/// | `Proxy`, `PoolClosed` | `ConnectionAborted` |
/// | `TooLarge` | `FileTooLarge` |
/// | `QueueFull` | `ResourceBusy` |
/// | `RequestBody`, `RuntimeGone` | `Other` |
///
/// Only `RequestBody`, `Resolve`, `Connect`, `Proxy` and `Network` look at what is behind them.
/// The error itself is inside: [`io::Error::get_ref`].
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        use io::ErrorKind;
        let behind = || error.cause().and_then(io_kind_behind);
        let kind = match error.0.kind {
            Kind::InvalidUrl | Kind::UnsupportedScheme | Kind::InvalidRequest => {
                ErrorKind::InvalidInput
            }
            Kind::Timeout(_) => ErrorKind::TimedOut,
            Kind::Resolve => behind().unwrap_or(ErrorKind::NotFound),
            Kind::Connect => behind().unwrap_or(ErrorKind::NotConnected),
            Kind::Tls | Kind::Protocol => ErrorKind::InvalidData,
            Kind::Network => behind().unwrap_or(ErrorKind::ConnectionReset),
            Kind::Closed => ErrorKind::UnexpectedEof,
            Kind::Proxy => behind().unwrap_or(ErrorKind::ConnectionAborted),
            Kind::PoolClosed => ErrorKind::ConnectionAborted,
            Kind::TooLarge => ErrorKind::FileTooLarge,
            Kind::QueueFull => ErrorKind::ResourceBusy,
            Kind::RequestBody => behind().unwrap_or(ErrorKind::Other),
            Kind::RuntimeGone => ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A request or a URL that could not be built: [`Kind::InvalidUrl`] if its URL is at fault,
/// [`Kind::InvalidRequest`] otherwise.
impl From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        let inner = error.get_ref();
        let kind =
            if inner.is::<http::uri::InvalidUri>() || inner.is::<http::uri::InvalidUriParts>() {
                Kind::InvalidUrl
            } else {
                Kind::InvalidRequest
            };
        Error::new(kind, Phase::Request, Sent::Nothing).with_source(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return write_chain(f, self);
        }
        if let Some(cause) = self.said_by_cause() {
            return write!(f, "{cause}");
        }
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

/// One line for people, since `main` prints it when it returns an error: the chain, and then the
/// facts. The `Debug` of causes is not used: it may print what their `Display` keeps back.
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
            message: _,
            source: _,
        } = &*self.0;
        write_chain(f, self)?;
        write!(
            f,
            " (kind: {kind:?}, phase: {phase:?}, sent: {sent:?}, \
             response_started: {response_started}, reused: {reused}, attempts: {attempts}"
        )?;
        if let Some(code) = http2_error_code {
            write!(f, ", http2_error_code: {code}")?;
        }
        f.write_str(")")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.said_by_cause() {
            Some(cause) => cause.source(),
            None => self.cause(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_its_own_level_and_its_source_the_next() {
        let io = io::Error::other("wires crossed");
        let error = Error::new(Kind::Network, Phase::Body, Sent::All).with_source(io);
        assert_eq!(
            error.to_string(),
            "the connection failed while reading the response's body"
        );
        assert_eq!(error.source().unwrap().to_string(), "wires crossed");
    }

    #[test]
    fn only_what_was_not_sent_and_might_work_next_time_is_retryable() {
        let refused = Error::new(Kind::Connect, Phase::Connect, Sent::Nothing);
        assert!(refused.is_retryable() && refused.is_connect());
        let sent = Error::new(Kind::Closed, Phase::Head, Sent::All);
        assert!(!sent.is_retryable());
        let nonsense = Error::new(Kind::InvalidUrl, Phase::Request, Sent::Nothing);
        assert!(!nonsense.is_retryable());
        assert_eq!(nonsense.fault(), Fault::Caller);
    }

    const KINDS: [Kind; 23] = [
        Kind::InvalidUrl,
        Kind::UnsupportedScheme,
        Kind::InvalidRequest,
        Kind::RequestBody,
        Kind::Timeout(TimeoutKind::Pool),
        Kind::Timeout(TimeoutKind::Resolve),
        Kind::Timeout(TimeoutKind::Connect),
        Kind::Timeout(TimeoutKind::Tls),
        Kind::Timeout(TimeoutKind::Write),
        Kind::Timeout(TimeoutKind::FirstByte),
        Kind::Timeout(TimeoutKind::Read),
        Kind::Timeout(TimeoutKind::Total),
        Kind::Resolve,
        Kind::Connect,
        Kind::Tls,
        Kind::Proxy,
        Kind::Network,
        Kind::Closed,
        Kind::Protocol,
        Kind::TooLarge,
        Kind::QueueFull,
        Kind::PoolClosed,
        Kind::RuntimeGone,
    ];

    #[test]
    fn a_refusal_is_not_retryable_and_a_broken_transport_is() {
        let retryable = [
            Kind::Timeout(TimeoutKind::Pool),
            Kind::Timeout(TimeoutKind::Resolve),
            Kind::Timeout(TimeoutKind::Connect),
            Kind::Timeout(TimeoutKind::Tls),
            Kind::Timeout(TimeoutKind::Write),
            Kind::Timeout(TimeoutKind::FirstByte),
            Kind::Timeout(TimeoutKind::Read),
            Kind::Resolve,
            Kind::Connect,
            Kind::Network,
            Kind::Closed,
            Kind::QueueFull,
        ];
        for kind in KINDS {
            for phase in [Phase::Connect, Phase::Tls, Phase::Send, Phase::Head] {
                let expected =
                    retryable.contains(&kind) || kind == Kind::Protocol && phase >= Phase::Send;
                let error = Error::new(kind, phase, Sent::Nothing);
                assert_eq!(error.is_retryable(), expected, "{kind:?} {phase:?}");
                for sent in [Sent::Part, Sent::All] {
                    assert!(!Error::new(kind, phase, sent).is_retryable(), "{kind:?}");
                }
            }
        }
    }

    #[test]
    fn a_bad_name_or_an_ended_runtime_is_no_failure_to_connect() {
        let error = |kind| Error::new(kind, Phase::Tls, Sent::Nothing);
        assert!(!error(Kind::InvalidRequest).is_connect());
        assert!(!error(Kind::RuntimeGone).is_connect());
        assert!(error(Kind::Tls).is_connect() && error(Kind::Network).is_connect());
    }

    #[test]
    fn a_reader_gets_the_kind_of_io_error_that_fits() {
        use io::ErrorKind;
        for (kind, behind, expected) in [
            (Kind::InvalidUrl, None, ErrorKind::InvalidInput),
            (Kind::UnsupportedScheme, None, ErrorKind::InvalidInput),
            (Kind::InvalidRequest, None, ErrorKind::InvalidInput),
            (Kind::RequestBody, None, ErrorKind::Other),
            (
                Kind::RequestBody,
                Some(ErrorKind::PermissionDenied),
                ErrorKind::PermissionDenied,
            ),
            (Kind::Timeout(TimeoutKind::Read), None, ErrorKind::TimedOut),
            (Kind::Resolve, None, ErrorKind::NotFound),
            (Kind::Connect, None, ErrorKind::NotConnected),
            (
                Kind::Connect,
                Some(ErrorKind::ConnectionRefused),
                ErrorKind::ConnectionRefused,
            ),
            (
                Kind::Tls,
                Some(ErrorKind::InvalidData),
                ErrorKind::InvalidData,
            ),
            (Kind::Proxy, None, ErrorKind::ConnectionAborted),
            (Kind::Network, None, ErrorKind::ConnectionReset),
            (
                Kind::Network,
                Some(ErrorKind::ConnectionReset),
                ErrorKind::ConnectionReset,
            ),
            (
                Kind::Network,
                Some(ErrorKind::ConnectionAborted),
                ErrorKind::ConnectionAborted,
            ),
            // A reader would try again, and again.
            (
                Kind::Network,
                Some(ErrorKind::Interrupted),
                ErrorKind::ConnectionReset,
            ),
            (
                Kind::Network,
                Some(ErrorKind::WouldBlock),
                ErrorKind::ConnectionReset,
            ),
            (Kind::Closed, None, ErrorKind::UnexpectedEof),
            (Kind::Protocol, None, ErrorKind::InvalidData),
            (Kind::TooLarge, None, ErrorKind::FileTooLarge),
            (Kind::QueueFull, None, ErrorKind::ResourceBusy),
            (Kind::PoolClosed, None, ErrorKind::ConnectionAborted),
            (Kind::RuntimeGone, None, ErrorKind::Other),
        ] {
            let mut error = Error::new(kind, Phase::Body, Sent::All);
            if let Some(behind) = behind {
                error = error.with_source(io::Error::new(behind, "why"));
            }
            let again = error.repeated();
            assert_eq!(format!("{error:#}"), format!("{again:#}"));
            assert_eq!(io::Error::from(again).kind(), expected, "{kind:?} again");
            let io = io::Error::from(error);
            assert_eq!(io.kind(), expected, "{kind:?} {behind:?}");
            assert!(io.get_ref().unwrap().is::<Error>());
        }
    }

    #[test]
    fn the_alternate_form_prints_the_chain_and_no_sentence_twice() {
        let network = Error::new(Kind::Network, Phase::Head, Sent::All)
            .with_source(io::Error::other("wires crossed"));
        assert_eq!(
            format!("{network:#}"),
            "the connection failed while waiting for the response's head: wires crossed"
        );
        let tls = Error::new(Kind::Tls, Phase::Tls, Sent::Nothing)
            .with_source(io::Error::other("not trusted"));
        assert_eq!(format!("{tls}"), "not trusted");
        assert_eq!(format!("{tls:#}"), "not trusted");
        assert_eq!(tls.cause().unwrap().to_string(), "not trusted");
        assert!(tls.source().is_none());
        let text = format!("{network:?}");
        assert!(
            text.starts_with(
                "the connection failed while waiting for the response's head: wires crossed \
                 (kind: Network, phase: Head, sent: All,"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_message_of_any_length_is_cut() {
        let error = Error::new(Kind::Resolve, Phase::Resolve, Sent::Nothing)
            .with_message("ä".repeat(100_000));
        assert!(error.to_string().len() <= MAX_MESSAGE_BYTES + "…".len());
    }

    #[test]
    fn a_request_that_cannot_be_built_is_the_callers_fault() {
        for (built, kind) in [
            (http::Request::get("http://a b/").body(()), Kind::InvalidUrl),
            (
                http::Request::get("/").header("a b", "c").body(()),
                Kind::InvalidRequest,
            ),
        ] {
            let error = Error::from(built.unwrap_err());
            assert_eq!((error.kind(), error.fault()), (kind, Fault::Caller));
        }
    }

    #[test]
    fn an_error_is_a_word_wide_and_may_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
