//! Heads of responses, and trailers: from bytes to fields.
//!
//! They are read by httparse, and by a check for what httparse is lenient about.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use httparse::EMPTY_HEADER;

use super::{
    ParserOptions,
    error::ProtocolError,
    framing::FramingHeaders,
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

/// Number of field lines of a response's head that were malformed and were skipped, in its extensions
/// if there were any ([`ParserOptions::malformed_fields`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedFields(usize);

impl SkippedFields {
    /// How many there were, at least one.
    pub fn count(self) -> usize {
        self.0
    }

    /// How many there were in `response`.
    pub fn of<B>(response: &Response<B>) -> usize {
        let skipped = response.extensions().get::<SkippedFields>();
        skipped.map_or(0, |skipped| skipped.count())
    }
}

/// A head which has been read. It is large, and so it is read where it will stay.
#[derive(Default)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    /// Its length on the wire.
    pub(super) length: usize,
    pub(super) said: FramingHeaders<'static>,
    /// A copy of it, which the values share. If all of the input was small, then of that: a small
    /// response is one allocation, its body included, and the input's buffer is free for the next.
    pub(super) store: Bytes,
    /// How much of the store is the head.
    pub(super) stored: usize,
}

/// What is copied out of the input, up to this size, costs less than the buffer it would pin.
pub(super) const SMALL: usize = 1024;

/// How many fields there is room for on the stack; nearly all heads have fewer.
const SMALL_HEAD_FIELDS: usize = 64;

/// Reads the head at the beginning of `input` into `head`, an empty one; false if it is not all
/// there.
pub(super) fn read(
    scan: &mut Scan,
    input: &[u8],
    bounds: &Bounds,
    leniency: ParserOptions,
    head: &mut Head,
) -> Result<bool, ProtocolError> {
    if input.is_empty() {
        return Ok(false);
    }
    // Most heads come in one piece and are in order, and need no search for their end.
    if scan.has_not_begun() && parse(input, SMALL_HEAD_FIELDS, bounds, head).is_some() {
        return Ok(true);
    }
    let Some(length) = scan.end(input, bounds, leniency)? else {
        return Ok(false);
    };
    *head = Head::default();
    if leniency.is_for_heads() {
        let (ordered, skipped) = in_order(&input[..length], leniency);
        // What came was within bounds; a CR more for each line does not count.
        let unbounded = Bounds {
            bytes: usize::MAX,
            ..*bounds
        };
        parse(&ordered, scan.fields(), &unbounded, head)
            .ok_or_else(|| scan.verdict(&ordered, &unbounded))?;
        head.length = length;
        if skipped > 0 {
            let skipped = SkippedFields(skipped);
            head.response.extensions_mut().insert(skipped);
        }
    } else {
        parse(&input[..length], scan.fields(), bounds, head)
            .ok_or_else(|| scan.verdict(&input[..length], bounds))?;
    }
    Ok(true)
}

/// Reads the head at the beginning of `input`, of at most so many fields; `None` if it is not
/// complete, or breaks a rule. Then `head` may have some of it.
fn parse(input: &[u8], fields: usize, bounds: &Bounds, head: &mut Head) -> Option<()> {
    let mut few = [const { MaybeUninit::uninit() }; SMALL_HEAD_FIELDS];
    let mut many = Vec::new();
    let room = if fields <= SMALL_HEAD_FIELDS {
        &mut few[..]
    } else {
        many.resize_with(fields, MaybeUninit::uninit);
        &mut many[..]
    };
    let mut parsed = httparse::Response::new(&mut []);
    let outcome = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut parsed,
        input,
        room,
    );
    let (Ok(httparse::Status::Complete(length)), Some(version), Some(code)) =
        (outcome, parsed.version, parsed.code)
    else {
        return None;
    };
    let within = length <= bounds.bytes && parsed.headers.len() <= bounds.fields;
    // httparse skips empty lines before the status line.
    if !within || !input.starts_with(b"H") || !ends_lines_with_crlf(&input[..length], &parsed) {
        return None;
    }
    let store = share(if input.len() <= SMALL {
        input
    } else {
        &input[..length]
    });
    let status = StatusCode::from_u16(code).ok()?;
    let reason = unusual_reason(status, parsed.reason, &store);
    let response = &mut head.response;
    let said = &mut head.said;
    read_fields(response.headers_mut(), parsed.headers, input, &store, said)?;
    *response.status_mut() = status;
    *response.version_mut() = match version {
        0 => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    if let Some(reason) = reason {
        response.extensions_mut().insert(reason);
    }
    (head.length, head.stored) = (length, length);
    head.store = store;
    Some(())
}

/// The reason of a status line which httparse has accepted, at the beginning of `store`, unless it
/// is the usual one. httparse says that it is empty if it is not ASCII.
fn unusual_reason(status: StatusCode, parsed: Option<&str>, store: &Bytes) -> Option<ReasonPhrase> {
    const BEFORE: usize = b"HTTP/1.1 200".len();
    let usual = status.canonical_reason().unwrap_or_default();
    if parsed == Some(usual) && !usual.is_empty() {
        return None;
    }
    let line = store.get(BEFORE..)?;
    let reason = line.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let reason = reason.strip_prefix(b" ").unwrap_or(reason);
    (reason != usual.as_bytes()).then(|| ReasonPhrase(Bytes::copy_from_slice(reason)))
}

/// RFC 9112 §2.2: httparse lets LF alone end a line. A line ends before each field's name, and
/// before the empty line.
fn ends_lines_with_crlf(head: &[u8], parsed: &httparse::Response<'_, '_>) -> bool {
    let line_begins = |name: &str| {
        let at = offset(name.as_bytes(), head);
        head.get(..at)
            .is_some_and(|before| before.ends_with(b"\r\n"))
    };
    head.ends_with(b"\r\n\r\n") && parsed.headers.iter().all(|field| line_begins(field.name))
}

/// Where in `whole` its slice `part` begins.
fn offset(part: &[u8], whole: &[u8]) -> usize {
    (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize)
}

/// `head`, or trailers, which a [`Scan`] has accepted with leniency, as they should have come: lines
/// that end with CR LF, that are not folded, and whose names are followed by their colon; and how many
/// lines are left out because they are no fields.
fn in_order(head: &[u8], leniency: ParserOptions) -> (Vec<u8>, usize) {
    let mut ordered: Vec<u8> = Vec::with_capacity(head.len() + 16);
    let mut skipped = 0;
    let mut is_skipping = false;
    for (number, line) in head.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let [b' ' | b'\t', ..] = line {
            // What continues a line that is skipped is skipped with it.
            if is_skipping {
                continue;
            }
            // RFC 9112 §5.2: a fold is a space, wherever it stands.
            ordered.truncate(ordered.len().saturating_sub(b"\r\n".len()));
            ordered.push(b' ');
            ordered.extend_from_slice(trim(line));
        } else if let Some(colon) = line.iter().position(|&byte| byte == b':')
            && is_name(trim(&line[..colon]))
            && (!leniency.malformed_fields || line[colon..].iter().all(|&byte| is_text(byte)))
        {
            is_skipping = false;
            ordered.extend_from_slice(trim(&line[..colon]));
            ordered.extend_from_slice(&line[colon..]);
        } else {
            // The first line is the status line, and an empty one is the end.
            is_skipping = leniency.malformed_fields && number > 0 && !line.is_empty();
            if is_skipping {
                skipped += 1;
                continue;
            }
            ordered.extend_from_slice(line);
        }
        ordered.extend_from_slice(b"\r\n");
    }
    (ordered, skipped)
}

fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token(byte))
}

/// RFC 9110 §5.6.3: without the white space that may stand around things.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Reads the complete trailers which are all of `store`.
pub(super) fn read_trailers(
    scan: &Scan,
    mut store: Bytes,
    bounds: &Bounds,
    leniency: ParserOptions,
) -> Result<HeaderMap, ProtocolError> {
    if leniency.is_for_heads() {
        store = in_order(&store, leniency).0.into();
    }
    let mut room = vec![EMPTY_HEADER; scan.fields()];
    let mut fields = HeaderMap::new();
    let parsed = match httparse::parse_headers(&store, &mut room) {
        Ok(httparse::Status::Complete((_, parsed))) => Some(parsed),
        _ => None,
    };
    parsed
        .and_then(|parsed| {
            let said = &mut FramingHeaders::default();
            read_fields(&mut fields, parsed, &store, &store, said)
        })
        .ok_or_else(|| scan.verdict(&store, bounds))?;
    Ok(fields)
}

/// Puts into `fields` what is `parsed` and stands in `input`; the values are slices of `store`, which
/// begins with the same bytes. What they say is noted in `said`. `None` if `http` does not take one.
fn read_fields(
    fields: &mut HeaderMap,
    parsed: &[httparse::Header<'_>],
    input: &[u8],
    store: &Bytes,
    said: &mut FramingHeaders<'_>,
) -> Option<()> {
    // `reserve` and `append` panic where `http` cannot hold so many.
    fields.try_reserve(parsed.len()).ok()?;
    for field in parsed {
        let original_case = field.name.as_bytes();
        let name = match usual_name(original_case) {
            Some(name) => name,
            None => HeaderName::from_bytes(original_case).ok()?,
        };
        // The length rules out most of them, for less than a comparison of names.
        if FramingHeaders::may_note(original_case.len()) {
            said.note(&name, field.value);
            // Not among the names which `http` knows by heart.
            if original_case.eq_ignore_ascii_case(b"keep-alive") {
                said.keep_alive.note(field.value);
            }
        }
        let value = if field.value.is_empty() {
            HeaderValue::from_static("")
        } else {
            let at = offset(field.value, input);
            HeaderValue::from_maybe_shared(store.slice(at..at + field.value.len())).ok()?
        };
        fields.try_append(name, value).ok()?;
    }
    Some(())
}

/// The name in its usual letters, if it is among those that most responses have: `http` looks for
/// any name in any letters, and needs 140 instructions where this needs 30.
fn usual_name(original_case: &[u8]) -> Option<HeaderName> {
    Some(match original_case {
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
