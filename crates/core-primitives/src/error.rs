//! The one public error: what failed, in which phase, and what was sent.

use std::{borrow::Cow, error::Error as StdError, fmt, io};

use crate::{net::TlsFailure, runtime::RuntimeShutdown};

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
/// use httpcore_core_primitives::{Error, ErrorKind, ErrorPhase, RequestSent};
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let error = Error::new(ErrorKind::Connect, ErrorPhase::Connect, RequestSent::None).with_source(refused);
/// assert_eq!(format!("{error}"), "no connection could be made");
/// assert_eq!(format!("{error:#}"), "no connection could be made: connection refused");
/// ```
///
/// To decide whether a request may be sent again, ask [`sent`](Self::sent) and
/// [`is_retryable`](Self::is_retryable); to decide whom to tell, ask [`fault`](Self::fault).
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    phase: ErrorPhase,
    sent: RequestSent,
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
pub enum ErrorKind {
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
    ConnectionClosed,
    /// The peer broke the rules of the protocol.
    Protocol,
    /// The response is larger than the caller allowed.
    TooLarge,
    /// The pool's queue is full.
    QueueFull,
    /// The pool has been closed.
    PoolClosed,
    /// The runtime that was to do the work is gone.
    RuntimeShutdown,
}

impl ErrorKind {
    /// What it is when reading from, or writing to, an established connection fails with `error`. The
    /// same for every protocol: an end that came too early is [`Closed`](ErrorKind::ConnectionClosed), also where a
    /// layer such as TLS found it; what that layer refuses is [`Tls`](ErrorKind::Tls); the rest is
    /// [`Network`](ErrorKind::Network), unless the runtime is gone.
    pub fn of_stream_error(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            ErrorKind::ConnectionClosed
        } else if RuntimeShutdown::is_source_of(error) {
            ErrorKind::RuntimeShutdown
        } else if TlsFailure::is_source_of(error) {
            ErrorKind::Tls
        } else {
            ErrorKind::Network
        }
    }
}

/// Which time limit ran out. See [`Timeouts`](crate::Timeouts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// `Timeouts::acquire`
    Acquire,
    /// `Timeouts::resolve`
    Resolve,
    /// `Timeouts::connect`
    Connect,
    /// `Timeouts::tls`
    Tls,
    /// `Timeouts::write`
    Write,
    /// `Timeouts::response_head`
    ResponseHead,
    /// `Timeouts::read`
    Read,
    /// `Timeouts::total`
    Total,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorPhase {
    /// Understanding the request; nothing has been asked of anybody.
    Request,
    /// Waiting for a place in the pool.
    Acquire,
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
pub enum RequestSent {
    /// Nothing: the peer cannot have acted on it.
    None,
    /// Something, but not all.
    Partial,
    /// All of it.
    Full,
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
    /// network. Pass [`RequestSent::Full`] where that is not known: callers send a request again only if
    /// nothing was sent.
    pub fn new(kind: ErrorKind, phase: ErrorPhase, sent: RequestSent) -> Self {
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
    pub fn with_sent(mut self, sent: RequestSent) -> Self {
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
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    pub fn phase(&self) -> ErrorPhase {
        self.0.phase
    }

    /// How much of the request was handed to the network, in the last attempt.
    pub fn sent(&self) -> RequestSent {
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
        matches!(self.0.kind, ErrorKind::Timeout(_))
    }

    /// Whether no connection could be made: nothing was sent, and the same request may be sent
    /// somewhere else. False where the request itself is at fault, as by a name that no certificate
    /// can be for, or where the runtime is gone.
    pub fn is_connect(&self) -> bool {
        matches!(
            self.0.phase,
            ErrorPhase::Resolve | ErrorPhase::Connect | ErrorPhase::Proxy | ErrorPhase::Tls
        ) && self.0.sent == RequestSent::None
            && self.fault() != Fault::Caller
            && self.0.kind != ErrorKind::RuntimeShutdown
    }

    /// Whether the same request can be sent again as if nothing had happened: nothing of it was
    /// sent, and trying again might help.
    ///
    /// Of errors with [`RequestSent::None`] that is so for [`ErrorKind::Resolve`], [`ErrorKind::Connect`],
    /// [`ErrorKind::Network`], [`ErrorKind::ConnectionClosed`], [`ErrorKind::QueueFull`], every time limit but that on the
    /// whole, and [`ErrorKind::Protocol`] on an established connection, where it means that the server
    /// did not process the request (RFC 9113 §8.7). A refusal would be repeated: an untrusted
    /// certificate, a server that does not speak TLS ([`ErrorKind::Tls`]), a proxy that refuses
    /// ([`ErrorKind::Proxy`]), and whatever is the caller's fault. A transport that breaks during a TLS
    /// handshake is [`ErrorKind::Network`] or [`ErrorKind::ConnectionClosed`].
    pub fn is_retryable(&self) -> bool {
        if self.0.sent != RequestSent::None {
            return false;
        }
        match self.0.kind {
            ErrorKind::Resolve
            | ErrorKind::Connect
            | ErrorKind::Network
            | ErrorKind::ConnectionClosed
            | ErrorKind::QueueFull => true,
            ErrorKind::Timeout(limit) => limit != TimeoutKind::Total,
            ErrorKind::Protocol => matches!(
                self.0.phase,
                ErrorPhase::Send | ErrorPhase::Head | ErrorPhase::Body
            ),
            ErrorKind::InvalidUrl
            | ErrorKind::UnsupportedScheme
            | ErrorKind::InvalidRequest
            | ErrorKind::RequestBody
            | ErrorKind::Tls
            | ErrorKind::Proxy
            | ErrorKind::TooLarge
            | ErrorKind::PoolClosed
            | ErrorKind::RuntimeShutdown => false,
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
            ErrorKind::Tls | ErrorKind::InvalidRequest | ErrorKind::InvalidUrl
        );
        if silent && self.0.message.is_none() {
            return self.cause();
        }
        None
    }

    /// Whose doing it was.
    pub fn fault(&self) -> Fault {
        match self.0.kind {
            ErrorKind::InvalidUrl
            | ErrorKind::UnsupportedScheme
            | ErrorKind::InvalidRequest
            | ErrorKind::RequestBody => Fault::Caller,
            ErrorKind::Tls
            | ErrorKind::Proxy
            | ErrorKind::ConnectionClosed
            | ErrorKind::Protocol => Fault::Peer,
            ErrorKind::Resolve | ErrorKind::Connect | ErrorKind::Network => Fault::Network,
            ErrorKind::Timeout(_)
            | ErrorKind::TooLarge
            | ErrorKind::QueueFull
            | ErrorKind::PoolClosed
            | ErrorKind::RuntimeShutdown => Fault::Local,
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
/// | [`ErrorKind`] | [`io::ErrorKind`] |
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
/// | `RequestBody`, `RuntimeShutdown` | `Other` |
///
/// Only `RequestBody`, `Resolve`, `Connect`, `Proxy` and `Network` look at what is behind them.
/// The error itself is inside: [`io::Error::get_ref`].
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        use io::ErrorKind as IoErrorKind;
        let behind = || error.cause().and_then(io_kind_behind);
        let kind = match error.0.kind {
            ErrorKind::InvalidUrl | ErrorKind::UnsupportedScheme | ErrorKind::InvalidRequest => {
                IoErrorKind::InvalidInput
            }
            ErrorKind::Timeout(_) => IoErrorKind::TimedOut,
            ErrorKind::Resolve => behind().unwrap_or(IoErrorKind::NotFound),
            ErrorKind::Connect => behind().unwrap_or(IoErrorKind::NotConnected),
            ErrorKind::Tls | ErrorKind::Protocol => IoErrorKind::InvalidData,
            ErrorKind::Network => behind().unwrap_or(IoErrorKind::ConnectionReset),
            ErrorKind::ConnectionClosed => IoErrorKind::UnexpectedEof,
            ErrorKind::Proxy => behind().unwrap_or(IoErrorKind::ConnectionAborted),
            ErrorKind::PoolClosed => IoErrorKind::ConnectionAborted,
            ErrorKind::TooLarge => IoErrorKind::FileTooLarge,
            ErrorKind::QueueFull => IoErrorKind::ResourceBusy,
            ErrorKind::RequestBody => behind().unwrap_or(IoErrorKind::Other),
            ErrorKind::RuntimeShutdown => IoErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A request or a URL that could not be built: [`ErrorKind::InvalidUrl`] if its URL is at fault,
/// [`ErrorKind::InvalidRequest`] otherwise.
impl From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        let inner = error.get_ref();
        let kind =
            if inner.is::<http::uri::InvalidUri>() || inner.is::<http::uri::InvalidUriParts>() {
                ErrorKind::InvalidUrl
            } else {
                ErrorKind::InvalidRequest
            };
        Error::new(kind, ErrorPhase::Request, RequestSent::None).with_source(error)
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
            ErrorKind::InvalidUrl => f.write_str("the URL is not valid"),
            ErrorKind::UnsupportedScheme => f.write_str("the URL's scheme is not supported"),
            ErrorKind::InvalidRequest => f.write_str("the request cannot be sent as it is"),
            ErrorKind::RequestBody => f.write_str("the request's body failed"),
            ErrorKind::Timeout(limit) => write!(f, "the {limit} ran out while {doing}"),
            ErrorKind::Resolve => f.write_str("the host's addresses could not be found"),
            ErrorKind::Connect => f.write_str("no connection could be made"),
            ErrorKind::Tls => write!(f, "TLS failed while {doing}"),
            ErrorKind::Proxy => write!(f, "the proxy failed while {doing}"),
            ErrorKind::Network => write!(f, "the connection failed while {doing}"),
            ErrorKind::ConnectionClosed => {
                write!(f, "the peer closed the connection while {doing}")
            }
            ErrorKind::Protocol => write!(f, "the peer broke the protocol while {doing}"),
            ErrorKind::TooLarge => f.write_str("the response is larger than was allowed"),
            ErrorKind::QueueFull => f.write_str("the pool's queue is full"),
            ErrorKind::PoolClosed => f.write_str("the pool has been closed"),
            ErrorKind::RuntimeShutdown => f.write_str("the runtime is gone"),
        }
    }
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeoutKind::Acquire => "pool timeout",
            TimeoutKind::Resolve => "resolve timeout",
            TimeoutKind::Connect => "connect timeout",
            TimeoutKind::Tls => "TLS timeout",
            TimeoutKind::Write => "write timeout",
            TimeoutKind::ResponseHead => "first-byte timeout",
            TimeoutKind::Read => "read timeout",
            TimeoutKind::Total => "total timeout",
        })
    }
}

impl ErrorPhase {
    fn doing(self) -> &'static str {
        match self {
            ErrorPhase::Request => "preparing the request",
            ErrorPhase::Acquire => "waiting for a place in the pool",
            ErrorPhase::Resolve => "looking up the host's addresses",
            ErrorPhase::Connect => "connecting",
            ErrorPhase::Proxy => "agreeing with the proxy",
            ErrorPhase::Tls => "shaking hands over TLS",
            ErrorPhase::Send => "sending the request",
            ErrorPhase::Head => "waiting for the response's head",
            ErrorPhase::Body => "reading the response's body",
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
        let error =
            Error::new(ErrorKind::Network, ErrorPhase::Body, RequestSent::Full).with_source(io);
        assert_eq!(
            error.to_string(),
            "the connection failed while reading the response's body"
        );
        assert_eq!(error.source().unwrap().to_string(), "wires crossed");
    }

    #[test]
    fn only_what_was_not_sent_and_might_work_next_time_is_retryable() {
        let refused = Error::new(ErrorKind::Connect, ErrorPhase::Connect, RequestSent::None);
        assert!(refused.is_retryable() && refused.is_connect());
        let sent = Error::new(
            ErrorKind::ConnectionClosed,
            ErrorPhase::Head,
            RequestSent::Full,
        );
        assert!(!sent.is_retryable());
        let nonsense = Error::new(
            ErrorKind::InvalidUrl,
            ErrorPhase::Request,
            RequestSent::None,
        );
        assert!(!nonsense.is_retryable());
        assert_eq!(nonsense.fault(), Fault::Caller);
    }

    const KINDS: [ErrorKind; 23] = [
        ErrorKind::InvalidUrl,
        ErrorKind::UnsupportedScheme,
        ErrorKind::InvalidRequest,
        ErrorKind::RequestBody,
        ErrorKind::Timeout(TimeoutKind::Acquire),
        ErrorKind::Timeout(TimeoutKind::Resolve),
        ErrorKind::Timeout(TimeoutKind::Connect),
        ErrorKind::Timeout(TimeoutKind::Tls),
        ErrorKind::Timeout(TimeoutKind::Write),
        ErrorKind::Timeout(TimeoutKind::ResponseHead),
        ErrorKind::Timeout(TimeoutKind::Read),
        ErrorKind::Timeout(TimeoutKind::Total),
        ErrorKind::Resolve,
        ErrorKind::Connect,
        ErrorKind::Tls,
        ErrorKind::Proxy,
        ErrorKind::Network,
        ErrorKind::ConnectionClosed,
        ErrorKind::Protocol,
        ErrorKind::TooLarge,
        ErrorKind::QueueFull,
        ErrorKind::PoolClosed,
        ErrorKind::RuntimeShutdown,
    ];

    #[test]
    fn a_refusal_is_not_retryable_and_a_broken_transport_is() {
        let retryable = [
            ErrorKind::Timeout(TimeoutKind::Acquire),
            ErrorKind::Timeout(TimeoutKind::Resolve),
            ErrorKind::Timeout(TimeoutKind::Connect),
            ErrorKind::Timeout(TimeoutKind::Tls),
            ErrorKind::Timeout(TimeoutKind::Write),
            ErrorKind::Timeout(TimeoutKind::ResponseHead),
            ErrorKind::Timeout(TimeoutKind::Read),
            ErrorKind::Resolve,
            ErrorKind::Connect,
            ErrorKind::Network,
            ErrorKind::ConnectionClosed,
            ErrorKind::QueueFull,
        ];
        for kind in KINDS {
            for phase in [
                ErrorPhase::Connect,
                ErrorPhase::Tls,
                ErrorPhase::Send,
                ErrorPhase::Head,
            ] {
                let expected = retryable.contains(&kind)
                    || kind == ErrorKind::Protocol && phase >= ErrorPhase::Send;
                let error = Error::new(kind, phase, RequestSent::None);
                assert_eq!(error.is_retryable(), expected, "{kind:?} {phase:?}");
                for sent in [RequestSent::Partial, RequestSent::Full] {
                    assert!(!Error::new(kind, phase, sent).is_retryable(), "{kind:?}");
                }
            }
        }
    }

    #[test]
    fn a_bad_name_or_an_ended_runtime_is_no_failure_to_connect() {
        let error = |kind| Error::new(kind, ErrorPhase::Tls, RequestSent::None);
        assert!(!error(ErrorKind::InvalidRequest).is_connect());
        assert!(!error(ErrorKind::RuntimeShutdown).is_connect());
        assert!(error(ErrorKind::Tls).is_connect() && error(ErrorKind::Network).is_connect());
    }

    #[test]
    fn a_reader_gets_the_kind_of_io_error_that_fits() {
        use io::ErrorKind as IoErrorKind;
        for (kind, behind, expected) in [
            (ErrorKind::InvalidUrl, None, IoErrorKind::InvalidInput),
            (
                ErrorKind::UnsupportedScheme,
                None,
                IoErrorKind::InvalidInput,
            ),
            (ErrorKind::InvalidRequest, None, IoErrorKind::InvalidInput),
            (ErrorKind::RequestBody, None, IoErrorKind::Other),
            (
                ErrorKind::RequestBody,
                Some(IoErrorKind::PermissionDenied),
                IoErrorKind::PermissionDenied,
            ),
            (
                ErrorKind::Timeout(TimeoutKind::Read),
                None,
                IoErrorKind::TimedOut,
            ),
            (ErrorKind::Resolve, None, IoErrorKind::NotFound),
            (ErrorKind::Connect, None, IoErrorKind::NotConnected),
            (
                ErrorKind::Connect,
                Some(IoErrorKind::ConnectionRefused),
                IoErrorKind::ConnectionRefused,
            ),
            (
                ErrorKind::Tls,
                Some(IoErrorKind::InvalidData),
                IoErrorKind::InvalidData,
            ),
            (ErrorKind::Proxy, None, IoErrorKind::ConnectionAborted),
            (ErrorKind::Network, None, IoErrorKind::ConnectionReset),
            (
                ErrorKind::Network,
                Some(IoErrorKind::ConnectionReset),
                IoErrorKind::ConnectionReset,
            ),
            (
                ErrorKind::Network,
                Some(IoErrorKind::ConnectionAborted),
                IoErrorKind::ConnectionAborted,
            ),
            // A reader would try again, and again.
            (
                ErrorKind::Network,
                Some(IoErrorKind::Interrupted),
                IoErrorKind::ConnectionReset,
            ),
            (
                ErrorKind::Network,
                Some(IoErrorKind::WouldBlock),
                IoErrorKind::ConnectionReset,
            ),
            (
                ErrorKind::ConnectionClosed,
                None,
                IoErrorKind::UnexpectedEof,
            ),
            (ErrorKind::Protocol, None, IoErrorKind::InvalidData),
            (ErrorKind::TooLarge, None, IoErrorKind::FileTooLarge),
            (ErrorKind::QueueFull, None, IoErrorKind::ResourceBusy),
            (ErrorKind::PoolClosed, None, IoErrorKind::ConnectionAborted),
            (ErrorKind::RuntimeShutdown, None, IoErrorKind::Other),
        ] {
            let mut error = Error::new(kind, ErrorPhase::Body, RequestSent::Full);
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
        let network = Error::new(ErrorKind::Network, ErrorPhase::Head, RequestSent::Full)
            .with_source(io::Error::other("wires crossed"));
        assert_eq!(
            format!("{network:#}"),
            "the connection failed while waiting for the response's head: wires crossed"
        );
        let tls = Error::new(ErrorKind::Tls, ErrorPhase::Tls, RequestSent::None)
            .with_source(io::Error::other("not trusted"));
        assert_eq!(format!("{tls}"), "not trusted");
        assert_eq!(format!("{tls:#}"), "not trusted");
        assert_eq!(tls.cause().unwrap().to_string(), "not trusted");
        assert!(tls.source().is_none());
        let text = format!("{network:?}");
        assert!(
            text.starts_with(
                "the connection failed while waiting for the response's head: wires crossed \
                 (kind: Network, phase: Head, sent: Full,"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_message_of_any_length_is_cut() {
        let error = Error::new(ErrorKind::Resolve, ErrorPhase::Resolve, RequestSent::None)
            .with_message("ä".repeat(100_000));
        assert!(error.to_string().len() <= MAX_MESSAGE_BYTES + "…".len());
    }

    #[test]
    fn a_request_that_cannot_be_built_is_the_callers_fault() {
        for (built, kind) in [
            (
                http::Request::get("http://a b/").body(()),
                ErrorKind::InvalidUrl,
            ),
            (
                http::Request::get("/").header("a b", "c").body(()),
                ErrorKind::InvalidRequest,
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
