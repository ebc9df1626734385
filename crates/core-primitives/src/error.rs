//! The public error type: what failed, in which phase, and how much of the request was sent.

use std::{borrow::Cow, error::Error as StdError, fmt, io, net::SocketAddr};

use crate::{net::TlsFailure, runtime::RuntimeShutdown};

/// A boxed error of another library or of the caller.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// The error of a failed request.
///
/// `{}` prints one sentence, and [`source`](StdError::source) is the next level; `{:#}` prints all
/// levels with `: ` between them; `{:?}` prints that and the values of the accessors below. None of
/// them contains a URL's user information or a credential. Where this level has nothing to add to its
/// cause (TLS failed, the request or the URL is invalid), `{}` prints the cause's sentence, and
/// `source` is the cause's source, as with [`io::Error`]; [`cause`](Self::cause) returns the cause
/// in every case.
///
/// ```
/// use httpcore_core_primitives::{Error, ErrorKind, ErrorPhase, RequestSent};
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let error = Error::new(ErrorKind::Connect, ErrorPhase::Connect, RequestSent::None).with_source(refused);
/// assert_eq!(format!("{error}"), "connection failed");
/// assert_eq!(format!("{error:#}"), "connection failed: connection refused");
/// ```
///
/// [`sent`](Self::sent) and [`is_retryable`](Self::is_retryable) say whether the request may be sent
/// again, [`fault`](Self::fault) which side caused the error.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    phase: ErrorPhase,
    sent: RequestSent,
    response_started: bool,
    reused: bool,
    attempts: u32,
    http2_error_code: Option<Http2ErrorCode>,
    addresses_tried: Vec<(SocketAddr, io::ErrorKind)>,
    message: Option<Cow<'static, str>>,
    source: Option<BoxError>,
}

/// Maximum length of a message, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024;

/// Maximum number of levels that `{:#}` prints.
const MAX_LEVELS: usize = 16;

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL is malformed, or has no scheme or host.
    InvalidUrl,
    /// The URL's scheme is not supported.
    UnsupportedScheme,
    /// The request is invalid; nothing of it was sent.
    InvalidRequest,
    /// The request body failed, or its length differs from the announced one.
    RequestBody,
    /// A time limit was exceeded.
    Timeout(TimeoutKind),
    /// Name resolution failed.
    Resolve,
    /// No address of the host could be connected to.
    Connect,
    /// An [`AddressFilter`](crate::AddressFilter) refused each address of the host.
    AddressRefused,
    /// The TLS handshake failed, or the TLS layer failed later.
    Tls,
    /// A proxy refused the request, or failed.
    Proxy,
    /// Reading or writing an established connection failed.
    Network,
    /// The peer closed the connection before the response was complete.
    ConnectionClosed,
    /// The peer broke the rules of the protocol.
    Protocol,
    /// The response is larger than the caller's limit.
    TooLarge,
    /// The pool has the maximum number of pending requests.
    QueueFull,
    /// The pool has been closed.
    PoolClosed,
    /// The runtime has been shut down.
    RuntimeShutdown,
}

impl ErrorKind {
    /// Returns the kind for `error`, with which reading from or writing to an established connection
    /// failed. It is the same for every protocol: a premature end of the stream is
    /// [`ConnectionClosed`](ErrorKind::ConnectionClosed), also if a layer such as TLS found it; an
    /// error of that layer is [`Tls`](ErrorKind::Tls); all others are
    /// [`Network`](ErrorKind::Network), or [`RuntimeShutdown`](ErrorKind::RuntimeShutdown).
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

/// The time limit that was exceeded. See [`Timeouts`](crate::Timeouts).
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

/// The step in which an error occurred, in the order of a request's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorPhase {
    /// Checking the request, before anything else.
    Request,
    /// Waiting for a connection in the pool.
    Acquire,
    /// Resolving the host name.
    Resolve,
    /// Connecting.
    Connect,
    /// Negotiating with a proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// Sending the request.
    Send,
    /// Waiting for the response head, or reading it.
    Head,
    /// Reading the response body.
    Body,
}

/// The part of the request that was handed to the network.
///
/// Exhaustive on purpose: there is no fourth case, and callers decide by it whether to send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestSent {
    /// Nothing. The peer cannot have processed it.
    None,
    /// A part of it.
    Partial,
    /// The whole request.
    Full,
}

/// The side that caused an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The caller: the request is invalid, or its body failed.
    Caller,
    /// The peer: it was reached, and then refused, broke the protocol, or closed the connection.
    Peer,
    /// The network: name resolution failed, connecting was refused or not answered (a firewall's
    /// refusal cannot be told from the peer's), or the connection was reset.
    Network,
    /// This side: a time limit, a size limit, a filter of addresses, a full queue, a closed pool.
    Local,
}

/// An HTTP/2 error code, sent with RST_STREAM or GOAWAY (RFC 9113 §7). Every 32-bit number is valid;
/// those that the RFC defines have names.
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
    /// Not an error: a regular end.
    pub const NO_ERROR: Self = Http2ErrorCode(0x0);
    /// The peer broke a rule that has no more specific code.
    pub const PROTOCOL_ERROR: Self = Http2ErrorCode(0x1);
    /// An internal error of the sender.
    pub const INTERNAL_ERROR: Self = Http2ErrorCode(0x2);
    /// The peer exceeded a flow-control window.
    pub const FLOW_CONTROL_ERROR: Self = Http2ErrorCode(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Self = Http2ErrorCode(0x4);
    /// A frame arrived on a half-closed stream.
    pub const STREAM_CLOSED: Self = Http2ErrorCode(0x5);
    /// A frame has an invalid size.
    pub const FRAME_SIZE_ERROR: Self = Http2ErrorCode(0x6);
    /// The stream was refused before any processing.
    pub const REFUSED_STREAM: Self = Http2ErrorCode(0x7);
    /// The stream is no longer needed.
    pub const CANCEL: Self = Http2ErrorCode(0x8);
    /// The field section compression state cannot be maintained.
    pub const COMPRESSION_ERROR: Self = Http2ErrorCode(0x9);
    /// The connection established by `CONNECT` was reset or closed abnormally.
    pub const CONNECT_ERROR: Self = Http2ErrorCode(0xa);
    /// The peer may be generating excessive load.
    pub const ENHANCE_YOUR_CALM: Self = Http2ErrorCode(0xb);
    /// The transport does not meet the minimum security requirements.
    pub const INADEQUATE_SECURITY: Self = Http2ErrorCode(0xc);
    /// HTTP/1.1 is required.
    pub const HTTP_1_1_REQUIRED: Self = Http2ErrorCode(0xd);

    /// Returns the code with this number.
    pub const fn new(value: u32) -> Self {
        Http2ErrorCode(value)
    }

    /// Returns its number.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Returns its name in RFC 9113 §7, if it is defined there.
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
    /// Creates an error of `kind` that occurred in `phase`, when `sent` of the request had been handed
    /// to the network. Pass [`RequestSent::Full`] where that is not known: callers send a request again
    /// only if nothing was sent.
    pub fn new(kind: ErrorKind, phase: ErrorPhase, sent: RequestSent) -> Self {
        Error(Box::new(Inner {
            kind,
            phase,
            sent,
            response_started: false,
            reused: false,
            attempts: 1,
            http2_error_code: None,
            addresses_tried: Vec::new(),
            message: None,
            source: None,
        }))
    }

    /// Sets the sentence that replaces the one made of kind and phase: without a full stop and without
    /// credentials. It is truncated after 1,024 bytes.
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

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Sets how much of the request was sent.
    #[must_use]
    pub fn with_sent(mut self, sent: RequestSent) -> Self {
        self.0.sent = sent;
        self
    }

    /// Sets whether any byte of a response had arrived.
    #[must_use]
    pub fn with_response_started(mut self, started: bool) -> Self {
        self.0.response_started = started;
        self
    }

    /// Sets whether the connection had served another exchange before.
    #[must_use]
    pub fn with_reused(mut self, reused: bool) -> Self {
        self.0.reused = reused;
        self
    }

    /// Sets the number of attempts.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// Sets the error code with which an HTTP/2 server ended the stream or the connection.
    #[must_use]
    pub fn with_http2_error_code(mut self, code: Http2ErrorCode) -> Self {
        self.0.http2_error_code = Some(code);
        self
    }

    /// Sets the addresses that were tried, in the order in which they failed.
    #[must_use]
    pub fn with_addresses_tried(mut self, addresses: Vec<(SocketAddr, io::ErrorKind)>) -> Self {
        self.0.addresses_tried = addresses;
        self
    }

    /// Returns what went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the step in which it went wrong.
    pub fn phase(&self) -> ErrorPhase {
        self.0.phase
    }

    /// Returns how much of the request was handed to the network, in the last attempt.
    pub fn sent(&self) -> RequestSent {
        self.0.sent
    }

    /// Returns whether any byte of a response had arrived.
    pub fn response_started(&self) -> bool {
        self.0.response_started
    }

    /// Returns whether the connection had served another exchange before.
    pub fn connection_reused(&self) -> bool {
        self.0.reused
    }

    /// Returns the number of attempts.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Returns the code that an HTTP/2 server sent with RST_STREAM or GOAWAY. `None` if it sent none,
    /// or if this side ended the stream or the connection.
    pub fn http2_error_code(&self) -> Option<Http2ErrorCode> {
        self.0.http2_error_code
    }

    /// Returns the addresses that the last attempt to connect tried, with what went wrong for each: in the
    /// order in which they failed, and then those that had not answered when the time limit passed, with
    /// [`io::ErrorKind::TimedOut`]. Empty if connecting did not fail.
    pub fn addresses_tried(&self) -> &[(SocketAddr, io::ErrorKind)] {
        &self.0.addresses_tried
    }

    /// Returns whether a time limit was exceeded.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Timeout(_))
    }

    /// Returns whether connecting failed: nothing was sent, and the same request may be sent to another
    /// server. `false` if the request is invalid, for example a server name that no certificate can be
    /// for, or if the runtime has been shut down.
    pub fn is_connect(&self) -> bool {
        matches!(
            self.0.phase,
            ErrorPhase::Resolve | ErrorPhase::Connect | ErrorPhase::Proxy | ErrorPhase::Tls
        ) && self.0.sent == RequestSent::None
            && self.fault() != Fault::Caller
            && self.0.kind != ErrorKind::RuntimeShutdown
    }

    /// Returns whether the same request can safely be sent again: nothing of it was sent, and another
    /// attempt may succeed.
    ///
    /// Of errors with [`RequestSent::None`] this holds for [`ErrorKind::Resolve`], [`ErrorKind::Connect`],
    /// [`ErrorKind::Network`], [`ErrorKind::ConnectionClosed`], [`ErrorKind::QueueFull`], every time limit except
    /// the total one, and [`ErrorKind::Protocol`] on an established connection, where it means that the server
    /// did not process the request (RFC 9113 §8.7). It does not hold where another attempt would fail
    /// likewise: an address that a filter refuses ([`ErrorKind::AddressRefused`]), an untrusted certificate, a server that does not speak TLS ([`ErrorKind::Tls`]), a proxy
    /// that refuses ([`ErrorKind::Proxy`]), an invalid request. A transport that fails during a TLS
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
            | ErrorKind::AddressRefused
            | ErrorKind::Tls
            | ErrorKind::Proxy
            | ErrorKind::TooLarge
            | ErrorKind::PoolClosed
            | ErrorKind::RuntimeShutdown => false,
        }
    }

    /// Returns the cause of this error, if there is one, also where `{}` prints the cause's sentence
    /// and [`source`](StdError::source) is therefore the cause's source.
    pub fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        let cause = self.0.source.as_deref()?;
        Some(cause)
    }

    /// Returns an error with the same values, the same text and the same [`io::ErrorKind`], but
    /// with the causes as text only: for a failure that is reported more than once, since causes
    /// cannot be cloned.
    #[must_use]
    pub fn repeated(&self) -> Self {
        let source = self.cause().map(|cause| {
            let kind = io_kind_in(cause).unwrap_or(io::ErrorKind::Other);
            BoxError::from(io::Error::new(kind, chain_of(cause)))
        });
        Error(Box::new(Inner {
            message: self.0.message.clone(),
            addresses_tried: self.0.addresses_tried.clone(),
            source,
            ..*self.0
        }))
    }

    /// Returns the cause if its sentence is printed instead of this level's.
    fn printed_cause(&self) -> Option<&(dyn StdError + 'static)> {
        let silent = matches!(
            self.0.kind,
            ErrorKind::AddressRefused
                | ErrorKind::Tls
                | ErrorKind::InvalidRequest
                | ErrorKind::InvalidUrl
        );
        if silent && self.0.message.is_none() {
            return self.cause();
        }
        None
    }

    /// Returns the side that caused the error.
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
            ErrorKind::AddressRefused
            | ErrorKind::Timeout(_)
            | ErrorKind::TooLarge
            | ErrorKind::QueueFull
            | ErrorKind::PoolClosed
            | ErrorKind::RuntimeShutdown => Fault::Local,
        }
    }
}

/// Prints `error` and its sources.
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
    // Writing to a `String` does not fail.
    let _ = write_chain(&mut text, error);
    text
}

/// Returns the kind of the first [`io::Error`] in the chain that begins with `error`, unless it is
/// `Other`, or would make a reader try again (`Interrupted`, `WouldBlock`).
fn io_kind_in(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
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

/// For [`io::Read`] and similar traits. The kind is:
///
/// | [`ErrorKind`] | [`io::ErrorKind`] |
/// |---|---|
/// | `InvalidUrl`, `UnsupportedScheme`, `InvalidRequest` | `InvalidInput` |
/// | `Timeout` | `TimedOut` |
/// | `Resolve` | `NotFound` |
/// | `Connect` | `NotConnected` |
/// | `AddressRefused` | `PermissionDenied` |
/// | `Tls`, `Protocol` | `InvalidData` |
/// | `Network` | `ConnectionReset` |
/// | `ConnectionClosed` | `UnexpectedEof` |
/// | `Proxy`, `PoolClosed` | `ConnectionAborted` |
/// | `TooLarge` | `FileTooLarge` |
/// | `QueueFull` | `ResourceBusy` |
/// | `RequestBody`, `RuntimeShutdown` | `Other` |
///
/// For `RequestBody`, `Resolve`, `Connect`, `Proxy` and `Network` it is the kind of the [`io::Error`]
/// among the causes, if there is one other than `Other`. [`io::Error::get_ref`] returns the `Error`.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        use io::ErrorKind as IoErrorKind;
        let inner_kind = || error.cause().and_then(io_kind_in);
        let kind = match error.0.kind {
            ErrorKind::InvalidUrl | ErrorKind::UnsupportedScheme | ErrorKind::InvalidRequest => {
                IoErrorKind::InvalidInput
            }
            ErrorKind::Timeout(_) => IoErrorKind::TimedOut,
            ErrorKind::Resolve => inner_kind().unwrap_or(IoErrorKind::NotFound),
            ErrorKind::Connect => inner_kind().unwrap_or(IoErrorKind::NotConnected),
            ErrorKind::AddressRefused => IoErrorKind::PermissionDenied,
            ErrorKind::Tls | ErrorKind::Protocol => IoErrorKind::InvalidData,
            ErrorKind::Network => inner_kind().unwrap_or(IoErrorKind::ConnectionReset),
            ErrorKind::ConnectionClosed => IoErrorKind::UnexpectedEof,
            ErrorKind::Proxy => inner_kind().unwrap_or(IoErrorKind::ConnectionAborted),
            ErrorKind::PoolClosed => IoErrorKind::ConnectionAborted,
            ErrorKind::TooLarge => IoErrorKind::FileTooLarge,
            ErrorKind::QueueFull => IoErrorKind::ResourceBusy,
            ErrorKind::RequestBody => inner_kind().unwrap_or(IoErrorKind::Other),
            ErrorKind::RuntimeShutdown => IoErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// The error of a request or URL that could not be built: [`ErrorKind::InvalidUrl`] if the URL is
/// invalid, [`ErrorKind::InvalidRequest`] otherwise.
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

macro_rules! from_errors_of_http {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                http::Error::from(error).into()
            }
        }
    )*};
}

from_errors_of_http!(
    http::header::InvalidHeaderName,
    http::header::InvalidHeaderValue,
    http::method::InvalidMethod,
    http::uri::InvalidUri,
    http::uri::InvalidUriParts
);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return write_chain(f, self);
        }
        if let Some(cause) = self.printed_cause() {
            return write!(f, "{cause}");
        }
        if let Some(message) = &self.0.message {
            return f.write_str(message);
        }
        let during = self.0.phase.during();
        match self.0.kind {
            ErrorKind::InvalidUrl => f.write_str("invalid URL"),
            ErrorKind::UnsupportedScheme => f.write_str("unsupported URL scheme"),
            ErrorKind::InvalidRequest => f.write_str("invalid request"),
            ErrorKind::RequestBody => f.write_str("request body failed"),
            ErrorKind::Timeout(limit) => write!(f, "{limit} {during}"),
            ErrorKind::Resolve => f.write_str("name resolution failed"),
            ErrorKind::Connect => f.write_str("connection failed"),
            ErrorKind::AddressRefused => f.write_str("address refused by a filter"),
            ErrorKind::Tls => write!(f, "TLS failed {during}"),
            ErrorKind::Proxy => write!(f, "proxy failed {during}"),
            ErrorKind::Network => write!(f, "connection failed {during}"),
            ErrorKind::ConnectionClosed => {
                write!(f, "connection closed by peer {during}")
            }
            ErrorKind::Protocol => write!(f, "protocol error {during}"),
            ErrorKind::TooLarge => f.write_str("response too large"),
            ErrorKind::QueueFull => f.write_str("too many pending requests"),
            ErrorKind::PoolClosed => f.write_str("pool closed"),
            ErrorKind::RuntimeShutdown => f.write_str("runtime shut down"),
        }
    }
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeoutKind::Acquire => "acquire timeout",
            TimeoutKind::Resolve => "resolve timeout",
            TimeoutKind::Connect => "connect timeout",
            TimeoutKind::Tls => "TLS timeout",
            TimeoutKind::Write => "write timeout",
            TimeoutKind::ResponseHead => "response head timeout",
            TimeoutKind::Read => "read timeout",
            TimeoutKind::Total => "total timeout",
        })
    }
}

impl ErrorPhase {
    fn during(self) -> &'static str {
        match self {
            ErrorPhase::Request => "before the request was sent",
            ErrorPhase::Acquire => "while waiting for a connection",
            ErrorPhase::Resolve => "during name resolution",
            ErrorPhase::Connect => "while connecting",
            ErrorPhase::Proxy => "during proxy negotiation",
            ErrorPhase::Tls => "during the TLS handshake",
            ErrorPhase::Send => "while sending the request",
            ErrorPhase::Head => "while waiting for the response head",
            ErrorPhase::Body => "while reading the response body",
        }
    }
}

/// One line, since `main` prints it when it returns an error: the chain, and then the values. The
/// `Debug` of causes is not used: it may print what their `Display` omits.
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
            addresses_tried,
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
        if !addresses_tried.is_empty() {
            write!(f, ", addresses_tried: {addresses_tried:?}")?;
        }
        f.write_str(")")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.printed_cause() {
            Some(cause) => cause.source(),
            None => self.cause(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_prints_one_level_and_source_is_the_next() {
        let io = io::Error::other("broken cable");
        let error =
            Error::new(ErrorKind::Network, ErrorPhase::Body, RequestSent::Full).with_source(io);
        assert_eq!(
            error.to_string(),
            "connection failed while reading the response body"
        );
        assert_eq!(error.source().unwrap().to_string(), "broken cable");
    }

    #[test]
    fn only_unsent_requests_that_may_succeed_next_time_are_retryable() {
        let refused = Error::new(ErrorKind::Connect, ErrorPhase::Connect, RequestSent::None);
        assert!(refused.is_retryable() && refused.is_connect());
        let sent = Error::new(
            ErrorKind::ConnectionClosed,
            ErrorPhase::Head,
            RequestSent::Full,
        );
        assert!(!sent.is_retryable());
        let invalid = Error::new(
            ErrorKind::InvalidUrl,
            ErrorPhase::Request,
            RequestSent::None,
        );
        assert!(!invalid.is_retryable());
        assert_eq!(invalid.fault(), Fault::Caller);
    }

    const KINDS: [ErrorKind; 24] = [
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
        ErrorKind::AddressRefused,
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
    fn refusals_are_not_retryable_and_transport_failures_are() {
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
    fn invalid_names_and_shut_down_runtimes_are_not_connect_errors() {
        let error = |kind| Error::new(kind, ErrorPhase::Tls, RequestSent::None);
        assert!(!error(ErrorKind::InvalidRequest).is_connect());
        assert!(!error(ErrorKind::RuntimeShutdown).is_connect());
        assert!(error(ErrorKind::Tls).is_connect() && error(ErrorKind::Network).is_connect());
    }

    #[test]
    fn each_kind_becomes_its_io_error_kind() {
        use io::ErrorKind as IoErrorKind;
        for (kind, inner, expected) in [
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
            (
                ErrorKind::AddressRefused,
                None,
                IoErrorKind::PermissionDenied,
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
            // These would make a reader try again without end.
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
            if let Some(inner) = inner {
                error = error.with_source(io::Error::new(inner, "cause"));
            }
            let again = error.repeated();
            assert_eq!(format!("{error:#}"), format!("{again:#}"));
            assert_eq!(io::Error::from(again).kind(), expected, "{kind:?} again");
            let io = io::Error::from(error);
            assert_eq!(io.kind(), expected, "{kind:?} {inner:?}");
            assert!(io.get_ref().unwrap().is::<Error>());
        }
    }

    #[test]
    fn alternate_display_prints_the_chain_without_repetition() {
        let network = Error::new(ErrorKind::Network, ErrorPhase::Head, RequestSent::Full)
            .with_source(io::Error::other("broken cable"));
        assert_eq!(
            format!("{network:#}"),
            "connection failed while waiting for the response head: broken cable"
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
                "connection failed while waiting for the response head: broken cable \
                 (kind: Network, phase: Head, sent: Full,"
            ),
            "{text}"
        );
    }

    #[test]
    fn long_messages_are_truncated() {
        let error = Error::new(ErrorKind::Resolve, ErrorPhase::Resolve, RequestSent::None)
            .with_message("ä".repeat(100_000));
        assert!(error.to_string().len() <= MAX_MESSAGE_BYTES + "…".len());
    }

    #[test]
    fn requests_that_cannot_be_built_are_the_callers_fault() {
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
        // The parts of a request, each with `?`.
        let url = "http://a b/".parse::<http::Uri>();
        assert_eq!(Error::from(url.unwrap_err()).kind(), ErrorKind::InvalidUrl);
        let parts = http::Uri::from_parts({
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(http::uri::Scheme::HTTP);
            parts
        });
        let error = Error::from(parts.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::InvalidUrl);
        let value = http::HeaderValue::from_str("a\nb");
        let error = Error::from(value.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }

    #[test]
    fn error_is_one_word_wide_and_is_send_and_sync() {
        fn assert_send_sync<T: Send + Sync + 'static>() {}
        assert_send_sync::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
