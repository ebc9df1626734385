//! Heads of responses, and trailers: from bytes to fields.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use memchr::memchr;

use super::{
    Leniency,
    error::Violation,
    framing::Said,
    scan::{Bounds, Scan, is_text, is_token},
};

/// The reason phrase of a response, in its extensions where it is not the one that
/// [`StatusCode::canonical_reason`] knows, so that the usual ones cost nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonPhrase(Bytes);

impl ReasonPhrase {
    /// The phrase as it came: perhaps empty, perhaps not UTF-8 (RFC 9112 §4).
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The phrase of `response`, whether it is the usual one or not.
    pub fn of<B>(response: &Response<B>) -> &[u8] {
        match response.extensions().get::<ReasonPhrase>() {
            Some(phrase) => phrase.as_bytes(),
            None => response
                .status()
                .canonical_reason()
                .unwrap_or_default()
                .as_bytes(),
        }
    }
}

/// A head which has been read. It is large, and so it is read where it will stay.
#[derive(Default)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    /// Its length on the wire.
    pub(super) length: usize,
    pub(super) said: Said<'static>,
    /// A copy of it, which the values share. If all of the input was small, then of that: a small
    /// response is one allocation, its body included, and the input's buffer is free for the next.
    pub(super) store: Bytes,
    /// How much of the store is the head.
    pub(super) stored: usize,
}

/// What is copied out of the input, up to this size, costs less than the buffer it would pin.
pub(super) const SMALL: usize = 1024;

/// For how many lines of a head their ends are noted on the stack; nearly all heads have fewer.
const FEW: usize = 32;

/// Reads the head at the beginning of `input` into `head`, an empty one; false if it is not all
/// there.
pub(super) fn read(
    scan: &mut Scan,
    input: &[u8],
    bounds: &Bounds,
    leniency: Leniency,
    head: &mut Head,
) -> Result<bool, Violation> {
    if input.is_empty() {
        return Ok(false);
    }
    let mut ends = [0; FEW];
    let Some(length) = scan.end(input, bounds, leniency, &mut ends)? else {
        return Ok(false);
    };
    if leniency.is_for_heads() {
        let ordered = in_order(&input[..length]);
        // What came was within bounds; a CR more for each line does not count.
        let unbounded = Bounds {
            bytes: usize::MAX,
            ..*bounds
        };
        parse(
            &ordered,
            ordered.len(),
            &all_ends(Scan::head(), &ordered),
            head,
        )
        .ok_or_else(|| scan.verdict(&ordered, &unbounded))?;
    } else {
        match scan.noted(&ends) {
            Some(ends) => parse(input, length, ends, head),
            None => parse(
                input,
                length,
                &all_ends(Scan::head(), &input[..length]),
                head,
            ),
        }
        .ok_or_else(|| scan.verdict(&input[..length], bounds))?;
    }
    head.length = length;
    Ok(true)
}

/// The end of each line of `head`, which is whole.
fn all_ends(mut scan: Scan, head: &[u8]) -> Vec<usize> {
    let lines = head.iter().filter(|&&byte| byte == b'\n').count();
    let mut ends = vec![0; lines];
    scan.find_end(head, &mut ends);
    ends.pop(); // The empty line is none of them.
    ends
}

/// Reads the head of so many bytes at the beginning of `input`, whose lines have these ends; `None`
/// if it breaks a rule.
fn parse(input: &[u8], stored: usize, ends: &[usize], head: &mut Head) -> Option<()> {
    let (&first, ends) = ends.split_first()?;
    let (version, status, reason) = status_line(input.get(..first)?.strip_suffix(b"\r\n")?)?;
    head.stored = stored;
    head.store = share(if input.len() <= SMALL {
        input
    } else {
        &input[..stored]
    });
    let response = &mut head.response;
    *response.status_mut() = status;
    *response.version_mut() = version;
    if let Some(reason) = reason {
        response.extensions_mut().insert(reason);
    }
    let fields = response.headers_mut();
    read_fields(fields, first, ends, &head.store, &mut head.said)
}

/// The version, the status, and the reason if it is not the usual one, of a line without its end
/// (RFC 9112 §4).
fn status_line(line: &[u8]) -> Option<(Version, StatusCode, Option<ReasonPhrase>)> {
    let (version, rest) = match line.split_first_chunk()? {
        (b"HTTP/1.1 ", rest) => (Version::HTTP_11, rest),
        (b"HTTP/1.0 ", rest) => (Version::HTTP_10, rest),
        _ => return None,
    };
    let (code, reason) = rest.split_first_chunk::<3>()?;
    let status = StatusCode::from_bytes(code).ok()?;
    let reason = match reason {
        [] => reason,
        [b' ', reason @ ..] => reason,
        _ => return None,
    };
    if reason == status.canonical_reason().unwrap_or_default().as_bytes() {
        return Some((version, status, None));
    }
    let is_good = reason.iter().all(|&byte| is_text(byte));
    is_good.then(|| {
        (
            version,
            status,
            Some(ReasonPhrase(Bytes::copy_from_slice(reason))),
        )
    })
}

/// `head`, which a lenient [`Grammar`] has accepted, or trailers, as they should have come: lines
/// that end with CR LF, that are not folded, and whose names are followed by their colon.
fn in_order(head: &[u8]) -> Vec<u8> {
    let mut ordered: Vec<u8> = Vec::with_capacity(head.len() + 16);
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let [b' ' | b'\t', ..] = line {
            // RFC 9112 §5.2: a fold is a space, wherever it stands.
            ordered.truncate(ordered.len().saturating_sub(b"\r\n".len()));
            ordered.push(b' ');
            ordered.extend_from_slice(trim(line));
        } else if let Some(colon) = line.iter().position(|&byte| byte == b':')
            && is_name(trim(&line[..colon]))
        {
            ordered.extend_from_slice(trim(&line[..colon]));
            ordered.extend_from_slice(&line[colon..]);
        } else {
            ordered.extend_from_slice(line);
        }
        ordered.extend_from_slice(b"\r\n");
    }
    ordered
}

fn is_name(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| is_token(byte))
}

/// RFC 9110 §5.6.3: without the white space that may stand around things.
fn trim(bytes: &[u8]) -> &[u8] {
    &bytes[trimmed(bytes)]
}

fn trimmed(bytes: &[u8]) -> Range<usize> {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let begin = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(is_text)
        .map_or(begin, |last| last + 1);
    begin..end
}

/// Where in `line` its value stands, which has its colon before `begin`.
fn value_within(line: &[u8], begin: usize) -> Range<usize> {
    // Nearly always one space stands before it, and none behind.
    if let [b' ', b'!'..=b'~', .., b'!'..=b'~'] = line[begin..] {
        return begin + 1..line.len();
    }
    let within = trimmed(&line[begin..]);
    begin + within.start..begin + within.end
}

/// Reads the complete trailers which are all of `store`.
pub(super) fn read_trailers(
    scan: &Scan,
    mut store: Bytes,
    bounds: &Bounds,
    leniency: Leniency,
) -> Result<HeaderMap, Violation> {
    if leniency.is_for_heads() {
        store = in_order(&store).into();
    }
    let mut fields = HeaderMap::new();
    let ends = all_ends(Scan::trailers(), &store);
    read_fields(&mut fields, 0, &ends, &store, &mut Said::default())
        .ok_or_else(|| scan.verdict(&store, bounds))?;
    Ok(fields)
}

/// Reads into `fields` the lines of `store` from `start` on, which have these ends; their values
/// are slices of it. What they say is noted in `said`. `None` if one of them breaks a rule.
///
/// What a name and a value may hold is checked by the types of `http`, and only by them: each has
/// a table, and copies or keeps what it has checked.
fn read_fields(
    fields: &mut HeaderMap,
    mut start: usize,
    ends: &[usize],
    store: &Bytes,
    said: &mut Said<'_>,
) -> Option<()> {
    // `reserve` and `append` panic where `http` cannot hold so many.
    fields.try_reserve(ends.len()).ok()?;
    for &end in ends {
        let line = store.get(start..end)?.strip_suffix(b"\r\n")?;
        let colon = memchr(b':', line)?;
        let letters = &line[..colon];
        let within = value_within(line, colon + 1);
        let value = &line[within.clone()];
        let name = match usual_name(letters) {
            Some(name) => name,
            None => HeaderName::from_bytes(letters).ok()?,
        };
        // The length rules out most of them, for less than a comparison of names.
        if Said::may_note(letters.len()) {
            said.note(&name, value);
            // Not among the names which `http` knows by heart.
            if letters.eq_ignore_ascii_case(b"keep-alive") {
                said.keep_alive.note(value);
            }
        }
        let value = if value.is_empty() {
            HeaderValue::from_static("")
        } else {
            let shared = store.slice(start + within.start..start + within.end);
            HeaderValue::from_maybe_shared(shared).ok()?
        };
        fields.try_append(name, value).ok()?;
        start = end;
    }
    Some(())
}

/// The name in its usual letters, if it is among those that most responses have: `http` looks for
/// any name in any letters, and needs 140 instructions where this needs 30.
fn usual_name(letters: &[u8]) -> Option<HeaderName> {
    Some(match letters {
        b"Accept-Ranges" | b"accept-ranges" => header::ACCEPT_RANGES,
        b"Age" | b"age" => header::AGE,
        b"Cache-Control" | b"cache-control" => header::CACHE_CONTROL,
        b"Connection" | b"connection" => header::CONNECTION,
        b"Content-Encoding" | b"content-encoding" => header::CONTENT_ENCODING,
        b"Content-Length" | b"content-length" => header::CONTENT_LENGTH,
        b"Content-Type" | b"content-type" => header::CONTENT_TYPE,
        b"Date" | b"date" => header::DATE,
        b"ETag" | b"etag" => header::ETAG,
        b"Expires" | b"expires" => header::EXPIRES,
        b"Last-Modified" | b"last-modified" => header::LAST_MODIFIED,
        b"Location" | b"location" => header::LOCATION,
        b"Server" | b"server" => header::SERVER,
        b"Set-Cookie" | b"set-cookie" => header::SET_COOKIE,
        b"Strict-Transport-Security" | b"strict-transport-security" => {
            header::STRICT_TRANSPORT_SECURITY
        }
        b"Transfer-Encoding" | b"transfer-encoding" => header::TRANSFER_ENCODING,
        b"Vary" | b"vary" => header::VARY,
        _ => return None,
    })
}

/// A copy of a few bytes, to be sliced: one allocation, where `Bytes::copy_from_slice` needs
/// another one as soon as it is shared.
fn share(bytes: &[u8]) -> Bytes {
    fn inline<const ROOM: usize>(bytes: &[u8]) -> Bytes {
        let mut room = [0; ROOM];
        room[..bytes.len()].copy_from_slice(bytes);
        Bytes::from_owner(Inline {
            room,
            length: bytes.len(),
        })
    }
    match bytes.len() {
        0..=128 => inline::<128>(bytes),
        129..=384 => inline::<384>(bytes),
        385..=SMALL => inline::<SMALL>(bytes),
        _ => Bytes::copy_from_slice(bytes),
    }
}

struct Inline<const ROOM: usize> {
    room: [u8; ROOM],
    length: usize,
}

impl<const ROOM: usize> AsRef<[u8]> for Inline<ROOM> {
    fn as_ref(&self) -> &[u8] {
        &self.room[..self.length]
    }
}
