//! Heads of responses, and trailers: from bytes to fields.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use httparse::EMPTY_HEADER;

use super::{
    Leniency,
    error::Violation,
    framing::Said,
    scan::{Bounds, Scan, is_token},
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

/// A head which has been read.
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

/// Reads the head at the beginning of `input`, once all of it is there.
pub(super) fn read(
    scan: &mut Scan,
    input: &[u8],
    bounds: &Bounds,
    leniency: Leniency,
) -> Result<Option<Head>, Violation> {
    if input.is_empty() {
        return Ok(None);
    }
    // Most heads come in one piece and are in order, and need no search for their end.
    if scan.searched == 0
        && scan.checked == 0
        && let Some(head) = parse(input, FEW, bounds)
    {
        return Ok(Some(head));
    }
    let Some(end) = scan.end(input, bounds, leniency)? else {
        return Ok(None);
    };
    if leniency.is_for_heads() {
        let head = in_order(&input[..end]);
        // What came was within bounds; a CR more for each line does not count.
        let unbounded = Bounds {
            bytes: usize::MAX,
            ..*bounds
        };
        return match parse(&head, scan.fields(), &unbounded) {
            Some(head) => Ok(Some(Head {
                length: end,
                ..head
            })),
            None => Err(scan.verdict(&head, &unbounded)),
        };
    }
    match parse(&input[..end], scan.fields(), bounds) {
        Some(head) => Ok(Some(head)),
        None => Err(scan.verdict(&input[..end], bounds)),
    }
}

/// The head at the beginning of `input`, of at most so many fields, if it is complete and breaks no
/// rule.
fn parse(input: &[u8], fields: usize, bounds: &Bounds) -> Option<Head> {
    let mut few = [const { MaybeUninit::uninit() }; FEW];
    let mut many = Vec::new();
    let room = if fields <= FEW {
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
    let copied = if input.len() <= SMALL {
        input
    } else {
        &input[..length]
    };
    // httparse skips empty lines before the status line.
    if !within || !input.starts_with(b"H") || !ends_lines_with_crlf(&input[..length], &parsed) {
        return None;
    }
    let store = share(copied);
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(code).ok()?;
    *response.version_mut() = match version {
        0 => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let mut said = Said::default();
    *response.headers_mut() = fields_of(parsed.headers, input, &store, &mut said)?;
    keep_unusual_reason(&mut response, parsed.reason, &store);
    Some(Head {
        response,
        length,
        said,
        store,
        stored: length,
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
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// How many fields there is room for on the stack; nearly all heads have fewer.
const FEW: usize = 64;

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
    let store = &store;
    let mut room = vec![EMPTY_HEADER; scan.fields()];
    let fields = match httparse::parse_headers(store, &mut room) {
        Ok(httparse::Status::Complete((_, fields))) => {
            fields_of(fields, store, store, &mut Said::default())
        }
        _ => None,
    };
    fields.ok_or_else(|| scan.verdict(store, bounds))
}

/// A map of `parsed`, which stands in `input`; its values are slices of `store`, which begins with
/// the same bytes. What they say is noted in `said`. `None` if `http` does not take one.
fn fields_of(
    parsed: &[httparse::Header<'_>],
    input: &[u8],
    store: &Bytes,
    said: &mut Said<'_>,
) -> Option<HeaderMap> {
    // `with_capacity` and `append` panic where `http` cannot hold so many.
    let mut fields = HeaderMap::try_with_capacity(parsed.len()).ok()?;
    for field in parsed {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        // The length rules out most of them, for less than a comparison of names.
        if Said::may_note(field.name.len()) {
            said.note(&name, field.value);
            // Not among the names which `http` knows by heart.
            if field.name.eq_ignore_ascii_case("keep-alive") {
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
    Some(fields)
}

/// `store` begins with a status line which httparse has accepted, and whose reason it has read as
/// `reason`: empty, if that is not ASCII.
fn keep_unusual_reason(response: &mut Response<()>, reason: Option<&str>, store: &Bytes) {
    const BEFORE: usize = b"HTTP/1.1 200".len();
    let usual = response.status().canonical_reason().unwrap_or_default();
    if reason == Some(usual) && !usual.is_empty() {
        return;
    }
    let reason = store
        .get(BEFORE..)
        .and_then(|rest| rest.split(|&byte| byte == b'\r').next())
        .unwrap_or_default();
    let reason = reason.strip_prefix(b" ").unwrap_or(reason);
    if reason != usual.as_bytes() {
        let phrase = ReasonPhrase(Bytes::copy_from_slice(reason));
        response.extensions_mut().insert(phrase);
    }
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
