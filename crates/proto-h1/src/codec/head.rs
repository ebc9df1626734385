//! Heads: finding their end, refusing what cannot become one, reading and writing them.
//!
//! A whole head is read by httparse, and by a check for what httparse is lenient about. When what
//! is there is no whole head, or not a good one, each byte of it is looked at once more, however
//! the bytes are cut: a search for the empty line at the end goes on where it left off, and a small
//! strict machine ([`Grammar`]) sees to it that a hopeless head is refused at the very byte which
//! makes it hopeless, and names the rule. So the verdict is always that machine's, and never
//! depends on how the bytes came.
//!
//! The rules are RFC 9112's for a recipient, without its leniencies: lines end with CR LF; no line
//! is folded; nothing precedes the status line; a reason may be missing, with its space or
//! without. Where a [`Leniency`] is asked for, the machine alone looks for the end; then the head
//! is written anew without what is not in order, and read like any other.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version, header, request,
};
use httparse::EMPTY_HEADER;
use httpcore_core_primitives::ConnectionUse;

use super::{
    Leniency,
    error::{Misuse, Violation},
    framing::{RequestFraming, Said},
    spelling::{HeaderOrder, Spelled, write_field},
};

/// How large a head, or a section of trailers, may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) fields: usize,
    pub(super) too_long: Violation,
    pub(super) too_many: Violation,
}

/// How far the search for the end of a head, or of trailers, has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    /// Nothing before this offset is an LF which has not been seen.
    searched: usize,
    /// Where the line begins that has not ended.
    line: usize,
    /// How many lines have ended, the status line included.
    lines: usize,
    /// Nothing before this offset breaks `grammar`.
    checked: usize,
    grammar: Grammar,
    has_status_line: bool,
}

enum Found {
    /// The head ends before this offset.
    End(usize),
    /// There is no end yet.
    More,
    /// A line ends with LF alone.
    BareLf,
}

impl Scan {
    /// A head: a status line and fields.
    pub(super) fn head() -> Self {
        Scan::from(Grammar::head(), true)
    }

    /// Trailers: fields alone.
    pub(super) fn trailers() -> Self {
        Scan::from(Grammar::fields(), false)
    }

    fn from(grammar: Grammar, has_status_line: bool) -> Self {
        Scan {
            searched: 0,
            line: 0,
            lines: 0,
            checked: 0,
            grammar,
            has_status_line,
        }
    }

    /// The length of the head at the beginning of `input`, once all of it is there. `input` is the
    /// same as at the last call, with more at its end.
    pub(super) fn end(
        &mut self,
        input: &[u8],
        bounds: &Bounds,
        leniency: Leniency,
    ) -> Result<Option<usize>, Violation> {
        if leniency.is_for_heads() {
            return self.lenient_end(input, bounds, leniency);
        }
        let end = match self.find_end(input) {
            Found::End(end) if end <= bounds.bytes && self.fields() <= bounds.fields => {
                return Ok(Some(end));
            }
            Found::End(end) => end,
            Found::More | Found::BareLf => input.len(),
        };
        self.check(&input[..end.min(bounds.bytes)], bounds)?;
        if end >= bounds.bytes {
            return Err(bounds.too_long);
        }
        Ok(None)
    }

    /// What the machine says is the end.
    fn lenient_end(
        &mut self,
        input: &[u8],
        bounds: &Bounds,
        leniency: Leniency,
    ) -> Result<Option<usize>, Violation> {
        let within = &input[..input.len().min(bounds.bytes)];
        while let Some(&byte) = within.get(self.checked) {
            self.checked += 1;
            self.grammar.lenient_step(byte, bounds, leniency)?;
            if let At::End = self.grammar.at {
                return Ok(Some(self.checked));
            }
        }
        if input.len() >= bounds.bytes {
            return Err(bounds.too_long);
        }
        Ok(None)
    }

    /// How many fields a complete head has.
    pub(super) fn fields(&self) -> usize {
        let lines = self.lines.saturating_sub(usize::from(self.has_status_line));
        lines.max(self.grammar.fields)
    }

    fn find_end(&mut self, input: &[u8]) -> Found {
        while let Some(distance) = find_lf(&input[self.searched..]) {
            let lf = self.searched + distance;
            self.searched = lf + 1;
            // RFC 9112 §2.2: a recipient may take LF alone for the end of a line. Two recipients
            // who disagree about that can be set apart, and so this one does not.
            if lf == 0 || input[lf - 1] != b'\r' {
                return Found::BareLf;
            }
            if lf == self.line + 1 {
                return Found::End(lf + 1);
            }
            self.lines += 1;
            self.line = lf + 1;
        }
        self.searched = input.len();
        Found::More
    }

    /// Runs the grammar over what it has not seen of `input`.
    fn check(&mut self, input: &[u8], bounds: &Bounds) -> Result<(), Violation> {
        while let Some(&byte) = input.get(self.checked) {
            self.checked += 1;
            self.grammar.step(byte, bounds)?;
        }
        Ok(())
    }

    /// Names the rule which `head` breaks, which httparse or one of the types of `http` refused.
    fn verdict(&self, head: &[u8], bounds: &Bounds) -> Violation {
        let mut anew = if self.has_status_line {
            Scan::head()
        } else {
            Scan::trailers()
        };
        match anew.check(head, bounds) {
            Err(violation) => violation,
            // Only a name longer than `http` can hold comes here.
            Ok(()) => Violation::FieldName,
        }
    }
}

/// The offset of the first LF. `skip_until` is the standard library's `memchr`.
fn find_lf(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let through = std::io::BufRead::skip_until(&mut rest, b'\n').ok()?;
    (through > 0 && bytes[through - 1] == b'\n').then(|| through - 1)
}

/// The grammar of a head, byte by byte.
#[derive(Clone, Copy, Debug)]
struct Grammar {
    at: At,
    fields: usize,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// Within `HTTP/1.x `, behind so many bytes of it.
    Version(u8),
    /// Within the status code, behind so many digits.
    Code(u8),
    AfterCode,
    Reason,
    LineStart,
    Name,
    /// Between a name and its colon, by leniency.
    AfterName,
    Value,
    /// Behind the CR which ends a line that is not empty.
    Cr,
    /// Behind the CR of the empty line.
    LastCr,
    End,
}

impl Grammar {
    fn head() -> Self {
        Grammar {
            at: At::Version(0),
            fields: 0,
        }
    }

    fn fields() -> Self {
        Grammar {
            at: At::LineStart,
            fields: 0,
        }
    }

    /// [`step`](Self::step), and what `leniency` lets through.
    fn lenient_step(
        &mut self,
        byte: u8,
        bounds: &Bounds,
        leniency: Leniency,
    ) -> Result<(), Violation> {
        self.at = match (self.at, byte) {
            (At::AfterCode | At::Reason | At::Value, b'\n') if leniency.bare_lf => At::LineStart,
            (At::LineStart, b'\n') if leniency.bare_lf => At::End,
            (At::LineStart, b' ' | b'\t') if leniency.folding && self.fields > 0 => At::Value,
            (At::Name | At::AfterName, b' ' | b'\t') if leniency.space_before_colon => {
                At::AfterName
            }
            (At::AfterName, b':') => At::Value,
            _ => return self.step(byte, bounds),
        };
        Ok(())
    }

    fn step(&mut self, byte: u8, bounds: &Bounds) -> Result<(), Violation> {
        self.at = match (self.at, byte) {
            // RFC 9112 §4: HTTP-version SP status-code, and the version is of major 1.
            (At::Version(seen), _) => version_step(seen, byte)?,
            // RFC 9110 §15: the first digit is the class. Classes from 6 on are not defined, and
            // are used nevertheless; they reach the caller, who may take them for a 5xx.
            (At::Code(0), b'1'..=b'9') => At::Code(1),
            (At::Code(1), b'0'..=b'9') => At::Code(2),
            (At::Code(2), b'0'..=b'9') => At::AfterCode,
            (At::Code(_), _) => return Err(Violation::StatusCode),
            // RFC 9112 §4: a space stands even before an empty reason. Servers leave it out, and
            // nothing else can be meant.
            (At::AfterCode, b' ') => At::Reason,
            (At::AfterCode | At::Reason | At::Value, b'\r') => At::Cr,
            (At::AfterCode | At::Reason | At::Value | At::LineStart, b'\n') => {
                return Err(Violation::BareLf);
            }
            (At::AfterCode, b'0'..=b'9') => return Err(Violation::StatusCode),
            (At::AfterCode, _) => return Err(Violation::StatusLine),
            (At::Reason, _) if is_text(byte) => At::Reason,
            (At::Reason, _) => return Err(Violation::StatusLine),
            (At::LineStart, b'\r') => At::LastCr,
            // RFC 9112 §5.2, §2.2: neither folded lines nor white space before the first field.
            (At::LineStart, b' ' | b'\t') => return Err(Violation::LeadingWhitespace),
            (At::LineStart, b':') => return Err(Violation::EmptyFieldName),
            (At::LineStart, _) if is_token(byte) => {
                self.fields += 1;
                if self.fields > bounds.fields {
                    return Err(bounds.too_many);
                }
                At::Name
            }
            (At::Name, b':') => At::Value,
            (At::Name, _) if is_token(byte) => At::Name,
            // RFC 9112 §5.1: `Content-Length : 5` is read by some and ignored by others.
            (At::Name, b' ' | b'\t') | (At::AfterName, _) => {
                return Err(Violation::SpaceBeforeColon);
            }
            (At::LineStart | At::Name, _) => return Err(Violation::FieldName),
            (At::Value, _) if is_text(byte) => At::Value,
            (At::Value, _) => return Err(Violation::FieldValue),
            (At::Cr, b'\n') => At::LineStart,
            (At::LastCr, b'\n') => At::End,
            (At::Cr | At::LastCr, _) => return Err(Violation::BareCr),
            (At::End, _) => At::End,
        };
        Ok(())
    }
}

fn version_step(seen: u8, byte: u8) -> Result<At, Violation> {
    const EXPECTED: &[u8; 9] = b"HTTP/1.x ";
    let fits = match seen {
        7 => matches!(byte, b'0' | b'1'),
        _ => byte == EXPECTED[usize::from(seen)],
    };
    match (fits, seen) {
        (true, 8) => Ok(At::Code(0)),
        (true, _) => Ok(At::Version(seen + 1)),
        // Nothing may precede the status line, an empty line included: what does is the rest of
        // something else.
        (false, ..=4) => Err(Violation::NotHttp),
        // RFC 9110 §2.5: a higher minor version could be read as 1.1. There is none, and whoever
        // claims one is not trusted with the rest.
        (false, 5..=7) => Err(Violation::Version),
        (false, _) => Err(Violation::StatusLine),
    }
}

/// RFC 9110 §5.6.2: tchar.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §5.5, RFC 9112 §4: HTAB, SP, VCHAR and obs-text.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

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

/// How a request names its target (RFC 9112 §3.2), in the request's extensions. Without it,
/// a request has the origin form, and `CONNECT` the authority form.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// The URL with scheme and host, as a proxy wants it. User information stays away.
    Absolute,
    /// `*`, for `OPTIONS`.
    Asterisk,
    /// Exactly these bytes. Only what would break the request line is refused.
    Exact(Bytes),
}

/// Writes the head of `request` to `out`, or nothing.
pub(super) fn write(
    request: &request::Parts,
    said: &Said<'_>,
    framing: RequestFraming,
    out: &mut BytesMut,
) -> Result<(), Misuse> {
    let start = out.len();
    let written = write_all(request, said, framing, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn write_all(
    request: &request::Parts,
    said: &Said<'_>,
    framing: RequestFraming,
    out: &mut BytesMut,
) -> Result<(), Misuse> {
    let version: &[u8] = match request.version {
        Version::HTTP_11 => b" HTTP/1.1\r\n",
        Version::HTTP_10 => b" HTTP/1.0\r\n",
        _ => return Err(Misuse::Version),
    };
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    write_target(request, out)?;
    out.extend_from_slice(version);
    if let Some(order) = request.extensions.get::<HeaderOrder>() {
        write_in_order(order, request, said, framing, out)?;
    } else {
        // RFC 9110 §7.2: Host stands first.
        out.extend_from_slice(b"host: ");
        write_host(request, said, out)?;
        out.extend_from_slice(b"\r\n");
        for (name, value) in &request.headers {
            if !is_ours(name) {
                write_field(name.as_str().as_bytes(), value.as_bytes(), out);
            }
        }
        write_framing(framing, None, out);
    }
    // RFC 9112 §9.6: who will not use the connection again says so.
    if closes_after(request) && !said.connection.close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Host is checked, and the framing fields are ours to write.
fn is_ours(name: &HeaderName) -> bool {
    *name == header::HOST || *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING
}

fn write_in_order(
    order: &HeaderOrder,
    request: &request::Parts,
    said: &Said<'_>,
    framing: RequestFraming,
    out: &mut BytesMut,
) -> Result<(), Misuse> {
    let framing_field = framing.field();
    let mut host = BytesMut::new();
    write_host(request, said, &mut host)?;
    if !order.names(&header::HOST) {
        write_field(b"host", &host, out);
    }
    for Spelled {
        name,
        letters,
        before,
        is_last,
    } in order.iter()
    {
        if !is_ours(name) {
            let values = request.headers.get_all(name).iter().skip(*before);
            for value in values.take(if *is_last { usize::MAX } else { 1 }) {
                write_field(letters, value.as_bytes(), out);
            }
        } else if *before > 0 {
            // However often these are named, they stand in one place.
        } else if *name == header::HOST {
            write_field(letters, &host, out);
        } else if framing_field == Some(name) {
            write_framing(framing, Some(letters), out);
        }
    }
    for (name, value) in &request.headers {
        if !is_ours(name) && !order.names(name) {
            write_field(name.as_str().as_bytes(), value.as_bytes(), out);
        }
    }
    if framing_field.is_some_and(|name| !order.names(name)) {
        write_framing(framing, None, out);
    }
    Ok(())
}

/// Writes the framing field, if there is one, in `letters` if there are some.
fn write_framing(framing: RequestFraming, letters: Option<&[u8]>, out: &mut BytesMut) {
    let Some(name) = framing.field() else {
        return;
    };
    out.extend_from_slice(letters.unwrap_or(name.as_str().as_bytes()));
    out.extend_from_slice(b": ");
    match framing {
        RequestFraming::None => {}
        RequestFraming::Length(length) => write_decimal(length, out),
        RequestFraming::Chunked => out.extend_from_slice(b"chunked"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether the request's settings ask that its connection serve nobody else.
pub(super) fn closes_after(request: &request::Parts) -> bool {
    let settings = request.extensions.get::<ConnectionUse>();
    settings.is_some_and(|settings| settings.close_after)
}

fn write_target(request: &request::Parts, out: &mut BytesMut) -> Result<(), Misuse> {
    let start = out.len();
    let url = &request.uri;
    match request.extensions.get::<Target>() {
        Some(Target::Exact(target)) => out.extend_from_slice(target),
        Some(Target::Asterisk) => out.extend_from_slice(b"*"),
        // RFC 9112 §3.2.3: host and port, the default port included.
        None | Some(Target::Absolute) if request.method == Method::CONNECT => {
            let authority = url.authority().ok_or(Misuse::ConnectTarget)?;
            if authority.port_u16().is_none() {
                return Err(Misuse::ConnectTarget);
            }
            out.extend_from_slice(without_user(authority.as_str()).as_bytes());
        }
        // RFC 9112 §3.2.2
        Some(Target::Absolute) => {
            let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
                return Err(Misuse::NoHost);
            };
            out.extend_from_slice(scheme.as_bytes());
            out.extend_from_slice(b"://");
            out.extend_from_slice(without_user(authority.as_str()).as_bytes());
            write_path(url, out);
        }
        // RFC 9112 §3.2.1
        None => write_path(url, out),
    }
    // `http` lets bytes through which a URL may not hold; and `Exact` is anything.
    let target = &out[start..];
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Misuse::Target);
    }
    Ok(())
}

/// Path and query as they are; an empty path is `/` (RFC 9112 §3.2.1). `http` keeps no fragment.
fn write_path(url: &Uri, out: &mut BytesMut) {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    if path.starts_with('?') {
        out.extend_from_slice(b"/");
    }
    out.extend_from_slice(path.as_bytes());
}

/// RFC 9110 §4.2.4: user information is never sent.
fn without_user(authority: &str) -> &str {
    match authority.bytes().rposition(|byte| byte == b'@') {
        Some(at) => &authority[at + 1..],
        None => authority,
    }
}

/// RFC 9112 §3.2: exactly one `Host`. The caller's, if there is one, else the URL's.
fn write_host(request: &request::Parts, said: &Said<'_>, out: &mut BytesMut) -> Result<(), Misuse> {
    let start = out.len();
    if said.several_hosts {
        return Err(Misuse::SeveralHosts);
    }
    let is_good = if let Some(host) = said.host {
        out.extend_from_slice(host.as_bytes());
        host.as_bytes().iter().all(|&byte| in_host(byte) != 0)
    } else {
        let authority = request.uri.authority().ok_or(Misuse::NoHost)?;
        let host = match tunnel_end(request) {
            Some(target) => target,
            None => host_field(request, authority.as_str()),
        };
        // User information is rare, and its `@` is no byte of a host: looked for on failure only.
        let is_good = write_lower(host, out) || {
            out.truncate(start);
            write_lower(without_user(host), out)
        };
        if out.len() == start {
            return Err(Misuse::NoHost);
        }
        is_good
    };
    is_good.then_some(()).ok_or(Misuse::Host)
}

/// RFC 9110 §4.2.3: the host is the same in any case, and lower case is the usual one. Whether all
/// of it may stand in a host.
fn write_lower(host: &str, out: &mut BytesMut) -> bool {
    let start = out.len();
    out.extend_from_slice(host.as_bytes());
    let mut is_good = true;
    for byte in &mut out[start..] {
        *byte = in_host(*byte);
        is_good &= *byte != 0;
    }
    is_good
}

/// RFC 9112 §3.2.3: for CONNECT, `Host` says what the target says; where the URL names the proxy, that
/// is an exact one.
fn tunnel_end(request: &request::Parts) -> Option<&str> {
    if request.method != Method::CONNECT {
        return None;
    }
    match request.extensions.get()? {
        Target::Exact(target) => std::str::from_utf8(target).ok(),
        Target::Absolute | Target::Asterisk => None,
    }
}

/// What of a URL's `host`, its port included, a `Host` field says.
fn host_field<'a>(request: &request::Parts, host: &'a str) -> &'a str {
    // RFC 9112 §3.2.3: for CONNECT, what the target says.
    if request.method == Method::CONNECT {
        return host;
    }
    // RFC 9110 §4.2.1, §4.2.2: a scheme's own port is not written.
    let own_port = match request.uri.scheme_str() {
        Some("http" | "ws") => ":80",
        Some("https" | "wss") => ":443",
        _ => ":",
    };
    // RFC 3986 §3.2.3: nor is an empty one.
    let host = host.strip_suffix(own_port).unwrap_or(host);
    host.strip_suffix(':').unwrap_or(host)
}

/// The byte in lower case, if it is one of those that a host with its port is made of, else 0
/// (RFC 3986 §3.2.2, §3.2.3).
fn in_host(byte: u8) -> u8 {
    const IN_HOST: [u8; 256] = {
        let mut allowed = [0; 256];
        let punctuation = b"-._~!$&'()*+,;=:%[]";
        let mut at = 0;
        while at < punctuation.len() {
            allowed[punctuation[at] as usize] = punctuation[at];
            at += 1;
        }
        let mut byte = 0;
        while byte < 128_u8 {
            if byte.is_ascii_alphanumeric() {
                allowed[byte as usize] = byte.to_ascii_lowercase();
            }
            byte += 1;
        }
        allowed
    };
    IN_HOST[usize::from(byte)]
}

/// Writes `trailers`, each with its line end.
pub(super) fn write_trailers(trailers: &HeaderMap, out: &mut BytesMut) -> Result<(), Misuse> {
    if trailers.keys().any(is_forbidden_trailer) {
        return Err(Misuse::TrailerForbidden);
    }
    for (name, value) in trailers {
        write_field(name.as_str().as_bytes(), value.as_bytes(), out);
    }
    Ok(())
}

/// RFC 9110 §6.5.1: not framing, routing, modifiers of the request, authentication, or what says
/// how the content is to be read.
fn is_forbidden_trailer(name: &HeaderName) -> bool {
    [
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::HOST,
        header::CONNECTION,
        header::TRAILER,
        header::TE,
        header::UPGRADE,
        header::EXPECT,
        header::MAX_FORWARDS,
        header::CACHE_CONTROL,
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
    ]
    .contains(name)
}

fn write_decimal(number: u64, out: &mut BytesMut) {
    write_number::<10>(number, out);
}

/// Writes `number` in hexadecimal.
pub(super) fn write_hex(number: u64, out: &mut BytesMut) {
    write_number::<16>(number, out);
}

fn write_number<const BASE: u64>(mut number: u64, out: &mut BytesMut) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdef"[(number % BASE) as usize];
        number /= BASE;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}
