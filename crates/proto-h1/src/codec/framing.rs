//! How a message's body is delimited (RFC 9112 §6.3), as one function for each direction.
//!
//! Where the RFC leaves a choice, the one is taken which cannot set two readers apart:
//!
//! | what came | what is done |
//! |---|---|
//! | `Transfer-Encoding` with `Content-Length` | refused (§6.3 rule 3 allows to prefer the former: [`ParserOptions::length_beside_coding`]) |
//! | `Transfer-Encoding` in HTTP/1.0 | refused (§6.1 calls it faulty) |
//! | any coding but a single `chunked` | refused: no other is ever asked for in `TE` ([`ParserOptions::codings_before_chunked`] has them read before it) |
//! | `chunked,` and `, chunked` | `chunked`: RFC 9110 §5.6.1 has empty elements ignored |
//! | several equal `Content-Length`s, or a list of equal ones | their value (§6.3 rule 5) |
//! | several that differ, signs, spaces within, an empty one, 2^64 and more | refused |
//! | framing fields in a 1xx | refused, unless `Content-Length: 0`: the next response follows |
//! | framing fields in a 204, contradictory ones in a 304 or for HEAD | no body, and the connection is closed |
//! | framing fields in a 2xx to CONNECT | ignored (RFC 9110 §9.3.6) |

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request};
use httpcore_core_primitives::BodyLength;

use super::{
    ParserOptions,
    error::{ProtocolError, RequestError},
    header_case::CaptureRawHead,
    reuse::{ConnectionOptions, KeepAlive, MustClose},
    scan::is_token,
};

/// How a response's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, and the final response is still to come.
    Interim,
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks, and perhaps trailers.
    Chunked,
    /// Whatever comes until the connection is closed.
    Close,
    /// What follows is another protocol.
    Switch,
}

/// What the fields of a head say of the message and its connection, found in one pass.
#[derive(Debug, Default)]
pub(super) struct FramingHeaders<'a> {
    pub(super) length: Length,
    pub(super) coding: Coding,
    pub(super) connection: ConnectionOptions,
    pub(super) keep_alive: KeepAlive,
    pub(super) host: Option<&'a HeaderValue>,
    pub(super) several_hosts: bool,
    pub(super) upgrade: bool,
    pub(super) expects_continue: bool,
}

/// What `Content-Length` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Length {
    #[default]
    Unsaid,
    Is(u64),
    Malformed,
    Several,
}

/// What `Transfer-Encoding` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    #[default]
    Unsaid,
    /// Nothing but empty elements so far.
    Empty,
    /// Codings other than `chunked` so far.
    Before,
    Chunked,
    /// Codings other than `chunked`, and that behind them.
    CodedChunked,
    Other,
}

impl<'a> FramingHeaders<'a> {
    /// What the fields of a request say.
    pub(super) fn by_request(fields: &'a HeaderMap) -> Self {
        let mut said = FramingHeaders::default();
        for (name, value) in fields {
            if *name == header::HOST {
                said.several_hosts |= said.host.is_some();
                said.host = Some(value);
            } else if *name == header::UPGRADE {
                said.upgrade = true;
            } else if *name == header::EXPECT {
                said.expects_continue |= value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            } else {
                said.note(name, value.as_bytes());
            }
        }
        said
    }

    /// Whether a field whose name has this length may say something that is noted.
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
        // Nearly always it is said once, and is no list.
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
    /// RFC 9112 §6.1, §7: `chunked`, once, in any case and without parameters. Other codings are
    /// never asked for.
    fn note(&mut self, value: &[u8]) {
        for coding in value.split(|&byte| byte == b',') {
            let coding = coding.trim_ascii();
            *self = match *self {
                Coding::Unsaid | Coding::Empty if coding.is_empty() => Coding::Empty,
                // RFC 9110 §5.6.1: an empty element says nothing.
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

/// RFC 9112 §7: whether this is the name of a coding other than `chunked`, with parameters or without.
/// Not with a quoted one: it might hold a comma, and what is behind that is not the next coding.
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

/// What of a request matters to the framing of its response.
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
    /// The caller wants heads as they come.
    pub(super) raw_head: bool,
}

impl RequestInfo {
    /// What `request` asks, whose fields have `said` so much.
    pub(super) fn by(request: &request::Parts, said: &FramingHeaders<'_>) -> Self {
        RequestInfo {
            get: request.method == Method::GET,
            head: request.method == Method::HEAD,
            connect: request.method == Method::CONNECT,
            upgrade: said.upgrade && said.connection.upgrade,
            raw_head: request.extensions.get::<CaptureRawHead>().is_some(),
        }
    }
}

/// RFC 9112 §6.3: how the body of the response to `asked` is delimited, and whether what its head
/// says of a body it has not forbids another exchange.
///
/// # Errors
///
/// Whatever has no reading, or more than one.
pub(super) fn response_framing(
    asked: RequestInfo,
    version: Version,
    status: StatusCode,
    said: &FramingHeaders<'_>,
    leniency: ParserOptions,
) -> Result<(Framing, Option<MustClose>), ProtocolError> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        // RFC 9110 §15.2.2, §7.8: only to what was offered, and there is no such thing in 1.0.
        if !asked.upgrade || version == Version::HTTP_10 {
            return Err(ProtocolError::UnaskedSwitch);
        }
        return Ok((Framing::Switch, None));
    }
    // RFC 9110 §9.3.6: any 2xx to CONNECT opens the tunnel, whatever its framing fields say.
    if asked.connect && status.is_success() {
        return Ok((Framing::Switch, None));
    }
    let announced = announced(version, said, leniency);
    // RFC 9112 §6.3 rule 3: where both were let through, the connection ends with the response.
    let has_both = said.coding != Coding::Unsaid && said.length != Length::Unsaid;
    let both = (has_both && leniency.length_beside_coding).then_some(MustClose::LengthAndCoding);
    // RFC 9112 §6.3 rule 1: these end with their heads, whatever their fields say.
    if status.is_informational() {
        // RFC 9112 §6.1, RFC 9110 §8.6: they must not announce a body. If one came, it would be
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
            both.or(suspicious.then_some(MustClose::SuspiciousBody)),
        ));
    }
    if asked.head || status == StatusCode::NOT_MODIFIED {
        let suspicious = announced.is_err();
        return Ok((
            Framing::None,
            both.or(suspicious.then_some(MustClose::SuspiciousBody)),
        ));
    }
    // RFC 9112 §6.3 rule 8: with neither field, a response lasts as long as its connection.
    Ok((announced?.unwrap_or(Framing::Close), both))
}

/// What the fields alone say: chunks, a length, or nothing.
fn announced(
    version: Version,
    said: &FramingHeaders<'_>,
    leniency: ParserOptions,
) -> Result<Option<Framing>, ProtocolError> {
    match said.coding {
        Coding::Unsaid => Ok(said.length.known()?.map(Framing::Length)),
        // RFC 9112 §6.1: a message of 1.0 with Transfer-Encoding has been mangled on its way.
        _ if version == Version::HTTP_10 => Err(ProtocolError::CodingInHttp10),
        // RFC 9112 §6.3 rule 3: this looks like request smuggling, or response splitting.
        _ if said.length != Length::Unsaid && !leniency.length_beside_coding => {
            Err(ProtocolError::LengthAndCoding)
        }
        Coding::Chunked => Ok(Some(Framing::Chunked)),
        Coding::CodedChunked if leniency.codings_before_chunked => Ok(Some(Framing::Chunked)),
        Coding::Empty | Coding::Before | Coding::CodedChunked | Coding::Other => {
            Err(ProtocolError::Coding)
        }
    }
}

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestFraming {
    /// There is none, and none is announced.
    None,
    /// This many bytes, announced in `Content-Length`.
    Length(u64),
    /// Chunks, and perhaps trailers, announced in `Transfer-Encoding`.
    Chunked,
}

impl RequestFraming {
    /// The field which announces it.
    pub(super) fn field(self) -> Option<&'static HeaderName> {
        match self {
            RequestFraming::None => None,
            RequestFraming::Length(_) => Some(&header::CONTENT_LENGTH),
            RequestFraming::Chunked => Some(&header::TRANSFER_ENCODING),
        }
    }
}

/// How `request` with a body of `length` is framed. What its own framing fields say is checked,
/// and must agree.
///
/// # Errors
///
/// If the fields contradict the body or each other, or if the request cannot have that body.
pub(super) fn request_framing(
    request: &request::Parts,
    said: &FramingHeaders<'_>,
    length: BodyLength,
) -> Result<RequestFraming, RequestError> {
    let told = said
        .length
        .known()
        .map_err(|_| RequestError::ContentLength)?;
    let coded = said.coding != Coding::Unsaid;
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
        if said.coding != Coding::Chunked {
            return Err(RequestError::Coding);
        }
        // RFC 9112 §6.1: only a peer known to speak 1.1 is sent a transfer coding.
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
            // RFC 9110 §8.6: methods which expect content say that there is none; others do not.
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
