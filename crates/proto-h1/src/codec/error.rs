//! What the two sides can do wrong: the peer ([`ProtocolError`]) and the caller ([`RequestError`]).

use std::fmt;

/// What a server did that HTTP/1.1 forbids, or that a limit of ours does. After it, the connection
/// is good for nothing.
///
/// `Display` names the rule with its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The first bytes are not `HTTP/`.
    NotHttp,
    /// The version is neither 1.0 nor 1.1.
    Version,
    /// The status is not three digits, the first of them from 1 to 9.
    StatusCode,
    /// Anything else about the status line.
    StatusLine,
    /// A line of the head or the trailers begins with white space.
    LeadingWhitespace,
    /// White space stands between a field's name and its colon.
    SpaceBeforeColon,
    /// A field has no name.
    EmptyFieldName,
    /// A field's name holds a byte which no name may hold, or has no colon behind it.
    FieldName,
    /// A field's value holds NUL or another control character.
    FieldValue,
    /// CR without LF.
    BareCr,
    /// LF without CR.
    BareLf,
    /// The head is larger than [`Limits::head_bytes`](super::Limits::head_bytes).
    HeadTooLong,
    /// The head has more fields than [`Limits::fields`](super::Limits::fields).
    TooManyFields,
    /// More interim responses than [`Limits::interim`](super::Limits::interim).
    TooManyInterim,
    /// Interim responses of more than
    /// [`Limits::interim_bytes`](super::Limits::interim_bytes).
    InterimTooLong,
    /// An interim response announces a body.
    InterimBody,
    /// `Transfer-Encoding` and `Content-Length` in one message.
    LengthAndCoding,
    /// `Transfer-Encoding` in a message of HTTP/1.0.
    CodingInHttp10,
    /// A transfer coding other than one single `chunked`.
    Coding,
    /// A `Content-Length` which is not a decimal number, or not one below 2^64.
    ContentLength,
    /// Several `Content-Length`s which differ.
    LengthsDiffer,
    /// A switch of protocols which was not asked for.
    UnaskedSwitch,
    /// A chunk's size is not made of hexadecimal digits, or has none.
    ChunkSize,
    /// A chunk's size has more than sixteen digits, leading zeros included.
    ChunkSizeTooLong,
    /// A chunk extension holds a byte it may not hold.
    ChunkExtension,
    /// Chunk extensions of more than
    /// [`Limits::max_chunk_extension_size`](super::Limits::max_chunk_extension_size) in one body.
    ChunkExtensionsTooLong,
    /// A chunk's data is not followed by CR LF.
    ChunkEnd,
    /// The trailers are larger than [`Limits::max_trailer_size`](super::Limits::max_trailer_size).
    TrailersTooLong,
    /// There are more trailers than [`Limits::max_trailers`](super::Limits::max_trailers).
    TooManyTrailers,
    /// The connection ended before the first byte of a response.
    ClosedBeforeHead,
    /// The connection ended within the head.
    ClosedInHead,
    /// The connection ended before the body had its announced length.
    ClosedInBody,
    /// The connection ended before the last chunk, or within the trailers.
    ClosedInChunks,
}

impl ProtocolError {
    /// Whether the connection ended too early, and nothing else was wrong.
    pub fn is_truncation(self) -> bool {
        matches!(
            self,
            ProtocolError::ClosedBeforeHead
                | ProtocolError::ClosedInHead
                | ProtocolError::ClosedInBody
                | ProtocolError::ClosedInChunks
        )
    }

    /// Whether the response might be in order, and is larger than one of the
    /// [`Limits`](super::Limits).
    pub fn is_limit(self) -> bool {
        matches!(
            self,
            ProtocolError::HeadTooLong
                | ProtocolError::TooManyFields
                | ProtocolError::TooManyInterim
                | ProtocolError::InterimTooLong
                | ProtocolError::ChunkExtensionsTooLong
                | ProtocolError::TrailersTooLong
                | ProtocolError::TooManyTrailers
        )
    }

    /// The rule, with its section.
    pub fn text(self) -> &'static str {
        match self {
            ProtocolError::NotHttp => "what came is not an HTTP/1 response (RFC 9112 §4)",
            ProtocolError::Version => {
                "the response's version is neither 1.0 nor 1.1 (RFC 9112 §2.3)"
            }
            ProtocolError::StatusCode => "the status code is not three digits (RFC 9110 §15)",
            ProtocolError::StatusLine => "the status line is malformed (RFC 9112 §4)",
            ProtocolError::LeadingWhitespace => {
                "a field line begins with white space (RFC 9112 §2.2, §5.2)"
            }
            ProtocolError::SpaceBeforeColon => {
                "white space stands before a field's colon (RFC 9112 §5.1)"
            }
            ProtocolError::EmptyFieldName => "a field has no name (RFC 9110 §5.1)",
            ProtocolError::FieldName => "a field's name is malformed (RFC 9110 §5.1)",
            ProtocolError::FieldValue => {
                "a field's value holds a control character (RFC 9110 §5.5)"
            }
            ProtocolError::BareCr => "a CR is not followed by LF (RFC 9112 §2.2)",
            ProtocolError::BareLf => "a line ends with LF alone (RFC 9112 §2.2)",
            ProtocolError::HeadTooLong => "the head is larger than allowed (RFC 9110 §5.4)",
            ProtocolError::TooManyFields => "the head has more fields than allowed (RFC 9110 §5.4)",
            ProtocolError::TooManyInterim => {
                "more interim responses than allowed came (RFC 9110 §15.2)"
            }
            ProtocolError::InterimTooLong => {
                "the interim responses are larger than allowed (RFC 9110 §15.2)"
            }
            ProtocolError::InterimBody => "an interim response announces a body (RFC 9112 §6.1)",
            ProtocolError::LengthAndCoding => {
                "Transfer-Encoding and Content-Length contradict each other (RFC 9112 §6.3)"
            }
            ProtocolError::CodingInHttp10 => "Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)",
            ProtocolError::Coding => {
                "the transfer coding is not a single \"chunked\" (RFC 9112 §6.1, §7)"
            }
            ProtocolError::ContentLength => "the Content-Length is malformed (RFC 9110 §8.6)",
            ProtocolError::LengthsDiffer => "several Content-Lengths differ (RFC 9112 §6.3)",
            ProtocolError::UnaskedSwitch => {
                "the server switched protocols without being asked (RFC 9110 §15.2.2)"
            }
            ProtocolError::ChunkSize => "a chunk's size is malformed (RFC 9112 §7.1)",
            ProtocolError::ChunkSizeTooLong => "a chunk's size has too many digits (RFC 9112 §7.1)",
            ProtocolError::ChunkExtension => "a chunk's extension is malformed (RFC 9112 §7.1.1)",
            ProtocolError::ChunkExtensionsTooLong => {
                "the chunk extensions are larger than allowed (RFC 9112 §7.1.1)"
            }
            ProtocolError::ChunkEnd => "a chunk is longer than its size says (RFC 9112 §7.1)",
            ProtocolError::TrailersTooLong => {
                "the trailers are larger than allowed (RFC 9112 §7.1.2)"
            }
            ProtocolError::TooManyTrailers => {
                "there are more trailers than allowed (RFC 9112 §7.1.2)"
            }
            ProtocolError::ClosedBeforeHead => {
                "the server closed the connection without sending a response"
            }
            ProtocolError::ClosedInHead => {
                "the server closed the connection within the response's head (RFC 9112 §8)"
            }
            ProtocolError::ClosedInBody => {
                "the body ended before its announced length (RFC 9112 §8)"
            }
            ProtocolError::ClosedInChunks => "the body ended before its last chunk (RFC 9112 §8)",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for ProtocolError {}

/// What a caller asked for that cannot be sent. The wire is still in order: nothing wrong has been
/// written.
///
/// `Display` names the rule with its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestError {
    /// Another request has not come to its end, or the connection must be closed.
    NotReady,
    /// The request's version is 0.9.
    Version,
    /// The URL has no authority, and the request no `Host`.
    NoHost,
    /// The request has several `Host`s.
    SeveralHosts,
    /// The request's `Host` is not a host and a port.
    Host,
    /// The target holds a byte which no request line may hold.
    Target,
    /// The target of a `CONNECT` is not a host and a port.
    ConnectTarget,
    /// A method which has no content was given some.
    ContentForbidden,
    /// The request's `Content-Length` is not a decimal number, or there are several which differ.
    ContentLength,
    /// The request's `Content-Length` is not the length of its body.
    LengthDiffers,
    /// The request's `Transfer-Encoding` is something else than `chunked`.
    Coding,
    /// The request has both `Content-Length` and `Transfer-Encoding`.
    LengthAndCoding,
    /// The length of the body is unknown, and HTTP/1.0 has no other way to tell its end.
    LengthUnknown,
    /// The body has ended already, or has none.
    BodyOver,
    /// The body is longer than was announced.
    BodyTooLong,
    /// The body is shorter than was announced.
    BodyTooShort,
    /// Trailers, where there is no place for them: only chunked bodies have one.
    TrailersUnframed,
    /// A field which must not be a trailer.
    TrailerForbidden,
}

impl RequestError {
    /// Whether it was the body which broke a promise, and not the head.
    pub fn is_body(self) -> bool {
        matches!(
            self,
            RequestError::BodyOver
                | RequestError::BodyTooLong
                | RequestError::BodyTooShort
                | RequestError::TrailersUnframed
                | RequestError::TrailerForbidden
        )
    }

    /// The rule, with its section.
    pub fn text(self) -> &'static str {
        match self {
            RequestError::NotReady => "the connection is not ready for another request",
            RequestError::Version => {
                "the request asks for HTTP/0.9, which has no fields and one method"
            }
            RequestError::NoHost => {
                "the URL has no host, and the request no Host field (RFC 9112 §3.2)"
            }
            RequestError::SeveralHosts => "the request has several Host fields (RFC 9112 §3.2)",
            RequestError::Host => "the Host field is not a host and a port (RFC 9110 §7.2)",
            RequestError::Target => {
                "the request's target holds a byte that must be percent-encoded (RFC 9112 §3.2)"
            }
            RequestError::ConnectTarget => {
                "the target of CONNECT is not a host and a port (RFC 9112 §3.2.3)"
            }
            RequestError::ContentForbidden => "this method has no content (RFC 9110 §9.3)",
            RequestError::ContentLength => {
                "the request's Content-Length is malformed (RFC 9110 §8.6)"
            }
            RequestError::LengthDiffers => {
                "the request's Content-Length is not its body's length (RFC 9110 §8.6)"
            }
            RequestError::Coding => {
                "the request's Transfer-Encoding is something else than chunked (RFC 9112 §6.1)"
            }
            RequestError::LengthAndCoding => {
                "the request has Content-Length and Transfer-Encoding (RFC 9112 §6.2)"
            }
            RequestError::LengthUnknown => {
                "HTTP/1.0 cannot send a body of unknown length (RFC 9112 §6.3)"
            }
            RequestError::BodyOver => "the request's body is over",
            RequestError::BodyTooLong => {
                "the request's body is longer than announced (RFC 9110 §8.6)"
            }
            RequestError::BodyTooShort => {
                "the request's body is shorter than announced (RFC 9110 §8.6)"
            }
            RequestError::TrailersUnframed => {
                "trailers need a chunked body, which has no announced length (RFC 9112 §7.1.2)"
            }
            RequestError::TrailerForbidden => {
                "a field that must not be a trailer (RFC 9110 §6.5.1)"
            }
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for RequestError {}
