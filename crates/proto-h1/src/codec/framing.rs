//! How a message's body is delimited (RFC 9112 §6.3), as one function for each direction.
//!
//! Where the RFC leaves a choice, the one is taken which cannot set two readers apart:
//!
//! | what came | what is done |
//! |---|---|
//! | `Transfer-Encoding` with `Content-Length` | refused (§6.3 rule 3 allows to prefer the former) |
//! | `Transfer-Encoding` in HTTP/1.0 | refused (§6.1 calls it faulty) |
//! | any coding but a single `chunked` | refused: no other is ever asked for in `TE` |
//! | `chunked,` and `, chunked` | `chunked`: RFC 9110 §5.6.1 has empty elements ignored |
//! | several equal `Content-Length`s, or a list of equal ones | their value (§6.3 rule 5) |
//! | several that differ, signs, spaces within, an empty one, 2^64 and more | refused |
//! | framing fields in a 1xx | refused, unless `Content-Length: 0`: the next response follows |
//! | framing fields in a 204, contradictory ones in a 304 or for HEAD | no body, and the connection is closed |
//! | framing fields in a 2xx to CONNECT | ignored (RFC 9110 §9.3.6) |

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request};
use httpcore_core_primitives::BodyLength;

use super::{
    error::{Misuse, Violation},
    reuse::{ConnectionOptions, MustClose},
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

/// What of a request matters to the framing of its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The method was `HEAD`.
    pub head: bool,
    /// The method was `CONNECT`.
    pub connect: bool,
    /// The request offered to switch protocols (RFC 9110 §7.8).
    pub upgrade: bool,
}

impl Asked {
    /// What `request` asks.
    pub fn by(request: &request::Parts) -> Self {
        Asked {
            head: request.method == Method::HEAD,
            connect: request.method == Method::CONNECT,
            upgrade: request.headers.contains_key(header::UPGRADE)
                && ConnectionOptions::of(&request.headers).upgrade,
        }
    }
}

/// RFC 9112 §6.3: how the body of the response to `asked` is delimited, and whether what its head
/// says of a body it has not forbids another exchange.
///
/// # Errors
///
/// Whatever has no reading, or more than one.
pub fn response_framing(
    asked: Asked,
    version: Version,
    status: StatusCode,
    fields: &HeaderMap,
) -> Result<(Framing, Option<MustClose>), Violation> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        // RFC 9110 §15.2.2, §7.8: only to what was offered, and there is no such thing in 1.0.
        if !asked.upgrade || version == Version::HTTP_10 {
            return Err(Violation::UnaskedSwitch);
        }
        return Ok((Framing::Switch, None));
    }
    // RFC 9110 §9.3.6: any 2xx to CONNECT opens the tunnel, whatever its framing fields say.
    if asked.connect && status.is_success() {
        return Ok((Framing::Switch, None));
    }
    let announced = announced(version, fields);
    // RFC 9112 §6.3 rule 1: these end with their heads, whatever their fields say.
    if status.is_informational() {
        // RFC 9112 §6.1, RFC 9110 §8.6: they must not announce a body. If one came, it would be
        // taken for the final response.
        return match announced {
            Ok(None | Some(Framing::Length(0))) => Ok((Framing::Interim, None)),
            _ => Err(Violation::InterimBody),
        };
    }
    if status == StatusCode::NO_CONTENT {
        let dubious = !matches!(announced, Ok(None | Some(Framing::Length(0))));
        return Ok((Framing::None, dubious.then_some(MustClose::DubiousBody)));
    }
    if asked.head || status == StatusCode::NOT_MODIFIED {
        let dubious = announced.is_err();
        return Ok((Framing::None, dubious.then_some(MustClose::DubiousBody)));
    }
    // RFC 9112 §6.3 rule 8: with neither field, a response lasts as long as its connection.
    Ok((announced?.unwrap_or(Framing::Close), None))
}

/// What the fields alone say: chunks, a length, or nothing.
fn announced(version: Version, fields: &HeaderMap) -> Result<Option<Framing>, Violation> {
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter().peekable();
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter().peekable();
    if codings.peek().is_some() {
        // RFC 9112 §6.1: a message of 1.0 with Transfer-Encoding has been mangled on its way.
        if version == Version::HTTP_10 {
            return Err(Violation::CodingInHttp10);
        }
        // RFC 9112 §6.3 rule 3: this looks like request smuggling, or response splitting.
        if lengths.peek().is_some() {
            return Err(Violation::LengthAndCoding);
        }
        return if only_chunked(codings) {
            Ok(Some(Framing::Chunked))
        } else {
            Err(Violation::Coding)
        };
    }
    Ok(length(lengths)?.map(Framing::Length))
}

/// RFC 9112 §6.1, §7: `chunked`, once, in any case and without parameters. Other codings are
/// never asked for.
fn only_chunked<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> bool {
    let mut chunked = false;
    for value in values {
        for coding in value.as_bytes().split(|&byte| byte == b',') {
            let coding = coding.trim_ascii();
            if coding.is_empty() {
                continue;
            }
            // RFC 9112 §6.1: chunked is applied once.
            if chunked || !coding.eq_ignore_ascii_case(b"chunked") {
                return false;
            }
            chunked = true;
        }
    }
    chunked
}

/// RFC 9112 §6.3 rule 5: one decimal number, or the same one several times.
fn length<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Result<Option<u64>, Violation> {
    let mut found = None;
    for value in values {
        for number in value.as_bytes().split(|&byte| byte == b',') {
            let number = decimal(number.trim_ascii()).ok_or(Violation::ContentLength)?;
            if found.is_some_and(|found| found != number) {
                return Err(Violation::LengthsDiffer);
            }
            found = Some(number);
        }
    }
    Ok(found)
}

/// RFC 9110 §8.6: digits and nothing else; no sign, no space, and no more than 64 bits.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFraming {
    /// There is none, and none is announced.
    None,
    /// This many bytes, announced in `Content-Length`.
    Length(u64),
    /// Chunks, and perhaps trailers, announced in `Transfer-Encoding`.
    Chunked,
}

/// How `request` with a body of `length` is framed. What its own framing fields say is checked,
/// and must agree.
///
/// # Errors
///
/// If the fields contradict the body or each other, or if the request cannot have that body.
pub fn request_framing(
    request: &request::Parts,
    length_of_body: BodyLength,
) -> Result<RequestFraming, Misuse> {
    let fields = &request.headers;
    let empty = length_of_body == BodyLength::Known(0);
    let codings = fields.get_all(header::TRANSFER_ENCODING);
    let has_coding = codings.iter().next().is_some();
    let told =
        length(fields.get_all(header::CONTENT_LENGTH).iter()).map_err(|_| Misuse::ContentLength)?;
    // RFC 9110 §9.3.6, §9.3.8: CONNECT has no content, and TRACE must not have any.
    if request.method == Method::CONNECT || request.method == Method::TRACE {
        if !empty || has_coding || told.is_some_and(|told| told != 0) {
            return Err(Misuse::ContentForbidden);
        }
        return Ok(RequestFraming::None);
    }
    if has_coding {
        // RFC 9112 §6.2: never both.
        if told.is_some() {
            return Err(Misuse::LengthAndCoding);
        }
        if !only_chunked(codings.iter()) {
            return Err(Misuse::Coding);
        }
        // RFC 9112 §6.1: only a peer known to speak 1.1 is sent a transfer coding.
        if request.version == Version::HTTP_10 {
            return Err(Misuse::LengthUnknown);
        }
        return Ok(RequestFraming::Chunked);
    }
    match (told, length_of_body) {
        (Some(told), BodyLength::Known(length)) if told != length => Err(Misuse::LengthDiffers),
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
            Err(Misuse::LengthUnknown)
        }
        (None, BodyLength::Unknown) => Ok(RequestFraming::Chunked),
    }
}
