//! Framing of message bodies (RFC 9112 §6.3), as one function for each direction.
//!
//! Where the RFC leaves a choice, this is the one that two recipients cannot read differently:
//!
//! | input | result |
//! |---|---|
//! | `Transfer-Encoding` with `Content-Length` | refused (§6.3 rule 3 allows to prefer the former: [`ParserOptions::length_beside_coding`]) |
//! | `Transfer-Encoding` in HTTP/1.0 | refused (§6.1 calls it faulty) |
//! | any coding but a single `chunked` | refused: `TE` never offers another
//! ([`ParserOptions::codings_before_chunked`] accepts them before it) |
//! | `chunked,` and `, chunked` | `chunked`: RFC 9110 §5.6.1 has empty elements ignored |
//! | several equal `Content-Length`s, or a list of equal ones | their value (§6.3 rule 5) |
//! | several that differ, signs, spaces within, an empty one, 2^64 and more | refused |
//! | framing fields in a 1xx | refused, unless `Content-Length: 0`: the next response follows |
//! | framing fields in a 204, contradictory ones in a 304 or for HEAD | no body, and the connection is closed |
//! | framing fields in a 2xx to CONNECT | ignored (RFC 9110 §9.3.6) |

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request};
use httpcore_core_primitives::{BodyLength, CloseReason};

use super::{
    ParserOptions,
    error::{ProtocolError, RequestError},
    header_case::CaptureRawHead,
    keep_alive::{ConnectionOptions, KeepAliveField},
    scan::is_token,
};

/// Framing of a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body, and the final response is still to come.
    Interim,
    /// No body.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks, and perhaps trailers.
    Chunked,
    /// All bytes until the connection is closed.
    Close,
    /// No body: another protocol follows.
    Switch,
}

/// What the fields of a head declare about the message and its connection, found in one pass.
#[derive(Debug, Default)]
pub(super) struct FramingHeaders<'a> {
    pub(super) length: Length,
    pub(super) coding: Coding,
    pub(super) connection: ConnectionOptions,
    pub(super) keep_alive: KeepAliveField,
    pub(super) host: Option<&'a HeaderValue>,
    pub(super) several_hosts: bool,
    pub(super) upgrade: bool,
    pub(super) expects_continue: bool,
}

/// The value of `Content-Length`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Length {
    #[default]
    Unsaid,
    Is(u64),
    Malformed,
    Several,
}

/// The value of `Transfer-Encoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    #[default]
    Unsaid,
    /// Only empty elements so far.
    Empty,
    /// Codings other than `chunked` so far.
    Before,
    Chunked,
    /// Codings other than `chunked`, and `chunked` after them.
    CodedChunked,
    Other,
}

impl<'a> FramingHeaders<'a> {
    /// Returns what the fields of a request declare.
    pub(super) fn of_request(headers: &'a HeaderMap) -> Self {
        let mut fields = FramingHeaders::default();
        for (name, value) in headers {
            if *name == header::HOST {
                fields.several_hosts |= fields.host.is_some();
                fields.host = Some(value);
            } else if *name == header::UPGRADE {
                fields.upgrade = true;
            } else if *name == header::EXPECT {
                fields.expects_continue |= value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            } else {
                fields.note(name, value.as_bytes());
            }
        }
        fields
    }

    /// Returns whether a field with a name of this length may be one that is noted.
    pub(super) fn may_note(length: usize) -> bool {
        const LENGTHS: [usize; 3] = [
            "content-length".len(),
            "transfer-encoding".len(),
            "connection".len(), // and of `keep-alive`
        ];
        LENGTHS.contains(&length)
    }

    /// Notes one field of a message in either direction.
    pub(super) fn note(&mut self, name: &HeaderName, value: &[u8]) {
        if *name == header::CONTENT_LENGTH {
            self.length.note(value);
        } else if *name == header::TRANSFER_ENCODING {
            self.coding.note(value);
        } else if *name == header::CONNECTION {
            self.connection.note(value);
        }
    }
}

impl Length {
    /// RFC 9112 §6.3 rule 5: one decimal number, or the same one several times.
    fn note(&mut self, value: &[u8]) {
        // Nearly always it occurs once, and is no list.
        if let (Length::Unsaid, Some(number)) = (*self, decimal(value)) {
            *self = Length::Is(number);
            return;
        }
        for number in value.split(|&byte| byte == b',') {
            *self = match (*self, decimal(number.trim_ascii())) {
                (Length::Malformed, _) | (_, None) => Length::Malformed,
                (Length::Several, _) => Length::Several,
                (Length::Is(before), Some(number)) if before != number => Length::Several,
                (_, Some(number)) => Length::Is(number),
            };
        }
    }

    fn known(self) -> Result<Option<u64>, ProtocolError> {
        match self {
            Length::Unsaid => Ok(None),
            Length::Is(length) => Ok(Some(length)),
            Length::Malformed => Err(ProtocolError::ContentLength),
            Length::Several => Err(ProtocolError::LengthsDiffer),
        }
    }
}

impl Coding {
    /// RFC 9112 §6.1, §7: `chunked`, once, in any case and without parameters. Requests never offer
    /// other codings.
    fn note(&mut self, value: &[u8]) {
        for coding in value.split(|&byte| byte == b',') {
            let coding = coding.trim_ascii();
            *self = match *self {
                Coding::Unsaid | Coding::Empty if coding.is_empty() => Coding::Empty,
                // RFC 9110 §5.6.1: empty elements are ignored.
                before if coding.is_empty() => before,
                Coding::Unsaid | Coding::Empty if coding.eq_ignore_ascii_case(b"chunked") => {
                    Coding::Chunked
                }
                Coding::Before if coding.eq_ignore_ascii_case(b"chunked") => Coding::CodedChunked,
                Coding::Unsaid | Coding::Empty | Coding::Before if is_other_coding(coding) => {
                    Coding::Before
                }
                // RFC 9112 §6.1: chunked is applied once, and last.
                _ => Coding::Other,
            };
        }
    }
}

/// RFC 9112 §7: returns whether this is the name of a coding other than `chunked`, with parameters
/// or without. Not with a quoted one: it might contain a comma, and what follows that is not the
/// next coding.
fn is_other_coding(coding: &[u8]) -> bool {
    let (name, parameters) = match coding.iter().position(|&byte| byte == b';') {
        Some(at) => coding.split_at(at),
        None => (coding, &b""[..]),
    };
    let name = name.trim_ascii();
    let is_name = !name.is_empty() && name.iter().all(|&byte| is_token(byte));
    is_name && !name.eq_ignore_ascii_case(b"chunked") && !parameters.contains(&b'"')
}

/// RFC 9110 §8.6: digits and nothing else; no sign, no space, and no more than 64 bits.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// The facts of a request on which the framing of its response depends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestInfo {
    /// The method was `GET`.
    pub(super) get: bool,
    /// The method was `HEAD`.
    pub(super) head: bool,
    /// The method was `CONNECT`.
    pub(super) connect: bool,
    /// The request offered to switch protocols (RFC 9110 §7.8).
    pub(super) upgrade: bool,
    /// The caller captures raw heads.
    pub(super) raw_head: bool,
}

impl RequestInfo {
    /// Returns the facts of `request`, whose fields declare `fields`.
    pub(super) fn of(request: &request::Parts, fields: &FramingHeaders<'_>) -> Self {
        RequestInfo {
            get: request.method == Method::GET,
            head: request.method == Method::HEAD,
            connect: request.method == Method::CONNECT,
            upgrade: fields.upgrade && fields.connection.upgrade,
            raw_head: request.extensions.get::<CaptureRawHead>().is_some(),
        }
    }
}

/// RFC 9112 §6.3: returns the framing of the response to `asked`, and the reason to close the
/// connection if the head declares a body that the response does not have.
///
/// # Errors
///
/// If the fields have no reading, or more than one.
pub(super) fn response_framing(
    asked: RequestInfo,
    version: Version,
    status: StatusCode,
    fields: &FramingHeaders<'_>,
    options: ParserOptions,
) -> Result<(Framing, Option<CloseReason>), ProtocolError> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        // RFC 9110 §15.2.2, §7.8: only to a protocol that was offered, and never in HTTP/1.0.
        if !asked.upgrade || version == Version::HTTP_10 {
            return Err(ProtocolError::UnaskedSwitch);
        }
        return Ok((Framing::Switch, None));
    }
    // RFC 9110 §9.3.6: any 2xx to CONNECT opens the tunnel, whatever its framing fields are.
    if asked.connect && status.is_success() {
        return Ok((Framing::Switch, None));
    }
    let announced = announced(version, fields, options);
    // RFC 9112 §6.3 rule 3: where both were accepted, the connection ends with the response.
    let has_both = fields.coding != Coding::Unsaid && fields.length != Length::Unsaid;
    let both = (has_both && options.length_beside_coding).then_some(CloseReason::AmbiguousLength);
    // RFC 9112 §6.3 rule 1: these end with their heads, whatever their fields are.
    if status.is_informational() {
        // RFC 9112 §6.1, RFC 9110 §8.6: they must not declare a body. If one came, it would be
        // taken for the final response.
        return match announced {
            Ok(None | Some(Framing::Length(0))) => Ok((Framing::Interim, None)),
            _ => Err(ProtocolError::InterimBody),
        };
    }
    if status == StatusCode::NO_CONTENT {
        let suspicious = !matches!(announced, Ok(None | Some(Framing::Length(0))));
        return Ok((
            Framing::None,
            both.or(suspicious.then_some(CloseReason::UnexpectedBodyFraming)),
        ));
    }
    if asked.head || status == StatusCode::NOT_MODIFIED {
        let suspicious = announced.is_err();
        return Ok((
            Framing::None,
            both.or(suspicious.then_some(CloseReason::UnexpectedBodyFraming)),
        ));
    }
    // RFC 9112 §6.3 rule 8: with neither field, a response lasts as long as its connection.
    Ok((announced?.unwrap_or(Framing::Close), both))
}

/// Returns the framing that the fields alone declare: chunks, a length, or none.
fn announced(
    version: Version,
    fields: &FramingHeaders<'_>,
    options: ParserOptions,
) -> Result<Option<Framing>, ProtocolError> {
    match fields.coding {
        Coding::Unsaid => Ok(fields.length.known()?.map(Framing::Length)),
        // RFC 9112 §6.1: an HTTP/1.0 message with Transfer-Encoding is treated as faulty framing.
        _ if version == Version::HTTP_10 => Err(ProtocolError::CodingInHttp10),
        // RFC 9112 §6.3 rule 3: this looks like request smuggling or response splitting.
        _ if fields.length != Length::Unsaid && !options.length_beside_coding => {
            Err(ProtocolError::LengthAndCoding)
        }
        Coding::Chunked => Ok(Some(Framing::Chunked)),
        Coding::CodedChunked if options.codings_before_chunked => Ok(Some(Framing::Chunked)),
        Coding::Empty | Coding::Before | Coding::CodedChunked | Coding::Other => {
            Err(ProtocolError::Coding)
        }
    }
}

/// Framing of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestFraming {
    /// No body, and none is declared.
    None,
    /// This many bytes, declared in `Content-Length`.
    Length(u64),
    /// Chunks, and perhaps trailers, declared in `Transfer-Encoding`.
    Chunked,
}

impl RequestFraming {
    /// Returns the field that declares it.
    pub(super) fn field(self) -> Option<&'static HeaderName> {
        match self {
            RequestFraming::None => None,
            RequestFraming::Length(_) => Some(&header::CONTENT_LENGTH),
            RequestFraming::Chunked => Some(&header::TRANSFER_ENCODING),
        }
    }
}

/// Returns the framing of `request` with a body of `length`. Its own framing fields are checked,
/// and must agree.
///
/// # Errors
///
/// If the fields contradict the body or each other, or if the request cannot have that body.
pub(super) fn request_framing(
    request: &request::Parts,
    fields: &FramingHeaders<'_>,
    length: BodyLength,
) -> Result<RequestFraming, RequestError> {
    let told = fields
        .length
        .known()
        .map_err(|_| RequestError::ContentLength)?;
    let coded = fields.coding != Coding::Unsaid;
    // RFC 9110 §9.3.6, §9.3.8: CONNECT has no content, and TRACE must not have any.
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        if length != BodyLength::Known(0) || coded || told.is_some_and(|told| told != 0) {
            return Err(RequestError::ContentForbidden);
        }
        return Ok(RequestFraming::None);
    }
    if coded {
        // RFC 9112 §6.2: never both.
        if told.is_some() {
            return Err(RequestError::LengthAndCoding);
        }
        if fields.coding != Coding::Chunked {
            return Err(RequestError::Coding);
        }
        // RFC 9112 §6.1: transfer codings are sent only to recipients known to be HTTP/1.1.
        if request.version == Version::HTTP_10 {
            return Err(RequestError::LengthUnknown);
        }
        return Ok(RequestFraming::Chunked);
    }
    match (told, length) {
        (Some(told), BodyLength::Known(length)) if told != length => {
            Err(RequestError::LengthDiffers)
        }
        (Some(told), _) => Ok(RequestFraming::Length(told)),
        (None, BodyLength::Known(0)) => {
            // RFC 9110 §8.6: methods that expect content declare its absence; others do not.
            let expects = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
            Ok(if expects {
                RequestFraming::Length(0)
            } else {
                RequestFraming::None
            })
        }
        (None, BodyLength::Known(length)) => Ok(RequestFraming::Length(length)),
        (None, BodyLength::Unknown) if request.version == Version::HTTP_10 => {
            Err(RequestError::LengthUnknown)
        }
        (None, BodyLength::Unknown) => Ok(RequestFraming::Chunked),
    }
}
