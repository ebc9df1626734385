//! What the fuzz targets share: a way to read a response in pieces, and readers of HTTP/1.1 that
//! have nothing in common with the codec but the RFC.
//!
//! These readers are slow and simple, and see the whole input at once. They answer what the codec
//! should have made of it.

#![forbid(unsafe_code)]

use bytes::BytesMut;
use http::Version;
use httpcore_core_primitives::BodyLength;
use httpcore_core_primitives::CloseReason;
use httpcore_proto_h1::codec::{Codec, Event, Limits, ParserOptions, ProtocolError};

/// Name in lower case, and value.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// An event, in a shape that can be compared; adjoining data are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// An interim or final head: version, status, fields.
    Head(Version, u16, Fields),
    /// Of the body.
    Data(Vec<u8>),
    /// Behind the body.
    Trailers(Fields),
    /// The response ended, and this is whether another may follow.
    End(Result<(), CloseReason>),
    /// The connection is another protocol's, with these bytes first.
    Switched(Vec<u8>),
    /// A rule was broken.
    Refused(ProtocolError),
}

/// The fields of `map`, in its order.
pub fn fields(map: &http::HeaderMap) -> Fields {
    map.iter()
        .map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

/// A codec which has sent a request of `method`, without a body.
pub fn asked(method: &str, limits: Limits) -> Codec {
    let mut builder = http::Request::builder()
        .method(method)
        .uri("http://localhost:80/");
    if method == "GET" {
        builder = builder
            .header("connection", "upgrade")
            .header("upgrade", "x");
    }
    let (parts, ()) = builder.body(()).expect("a request").into_parts();
    let mut codec = Codec::new(limits);
    codec
        .encode_head(&parts, BodyLength::Known(0), &mut BytesMut::new())
        .expect("nothing is wrong with it");
    codec
}

/// What `codec` tells of `pieces`, which come one after the other.
pub fn read<'a>(
    mut codec: Codec,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    eof: bool,
) -> Vec<Told> {
    let mut told = Vec::new();
    let mut input = BytesMut::new();
    let mut pieces = pieces.into_iter();
    loop {
        let piece = pieces.next();
        input.extend_from_slice(piece.unwrap_or_default());
        loop {
            match codec.decode(&mut input, eof && piece.is_none()) {
                Ok(Some(Event::Informational(head) | Event::Head(head))) => told.push(Told::Head(
                    head.version(),
                    head.status().as_u16(),
                    fields(head.headers()),
                )),
                Ok(Some(Event::Data(data))) => match told.last_mut() {
                    Some(Told::Data(before)) => before.extend_from_slice(&data),
                    _ => told.push(Told::Data(data.to_vec())),
                },
                Ok(Some(Event::Trailers(map))) => told.push(Told::Trailers(fields(&map))),
                // What follows the end decides of the connection, and may come later.
                Ok(Some(Event::End)) => told.push(Told::End(Ok(()))),
                Ok(None) => break,
                Err(violation) => {
                    told.push(Told::Refused(violation));
                    return told;
                }
            }
        }
        if piece.is_none() {
            break;
        }
    }
    if let Some(Told::End(verdict)) = told.last_mut() {
        *verdict = codec.can_reuse(&input);
    } else if codec.can_reuse(&[]) == Err(CloseReason::Upgraded) {
        told.push(Told::Switched(input.to_vec()));
    }
    told
}

/// RFC 9110 §5.6.2: token.
pub fn is_token(bytes: &[u8]) -> bool {
    let mark = |byte: &u8| b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || mark(byte))
}

/// RFC 9110 §5.5: a field's value, trimmed.
pub fn is_value(bytes: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !is_space(bytes.first())
        && !is_space(bytes.last())
        && bytes
            .iter()
            .all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// The line at the beginning of `bytes`, without its CR LF, and what follows. `None` if it does
/// not end, or has a CR or LF of its own.
pub fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
    (!line.contains(&b'\r') && !line.contains(&b'\n')).then_some((line, rest))
}

/// The field lines at the beginning of `bytes`, up to and without the empty line, and what follows
/// that. `None` if there is a fault in them.
pub fn field_lines(mut bytes: &[u8]) -> Option<(Fields, &[u8])> {
    let mut fields = Fields::new();
    loop {
        let (this, rest) = line(bytes)?;
        bytes = rest;
        if this.is_empty() {
            return Some((fields, rest));
        }
        let colon = this.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&this[..colon], &this[colon + 1..]);
        let value = trim(value);
        if !is_token(name) || !is_value(value) {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value.to_vec()));
    }
}

/// RFC 9110 §5.6.3: without optional white space, which is SP and HTAB and nothing else.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A chunked body at the beginning of `bytes`: data, trailers, and what follows. `None` if it is
/// incomplete or has a fault.
pub fn chunked(mut bytes: &[u8]) -> Option<(Vec<u8>, Fields, &[u8])> {
    let mut data = Vec::new();
    loop {
        let (first, rest) = line(bytes)?;
        let digits = first
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (size, extension) = first.split_at(digits);
        if digits == 0 || digits > 16 {
            return None;
        }
        let extension = trim(extension);
        let visible = |&byte: &u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        if !(extension.is_empty() || extension[0] == b';') || !extension.iter().all(visible) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            let (trailers, rest) = field_lines(rest)?;
            return Some((data, trailers, rest));
        }
        let size = usize::try_from(size).ok()?;
        data.extend_from_slice(rest.get(..size)?);
        bytes = rest[size..].strip_prefix(b"\r\n")?;
    }
}

/// `fields` grouped by name, in the order of first appearance: the order a `HeaderMap` has after
/// nothing was removed.
pub fn grouped(fields: &[(Vec<u8>, Vec<u8>)]) -> Fields {
    let mut names: Vec<&[u8]> = Vec::new();
    for (name, _) in fields {
        if !names.contains(&&name[..]) {
            names.push(name);
        }
    }
    names
        .iter()
        .flat_map(|name| fields.iter().filter(move |field| field.0 == *name))
        .cloned()
        .collect()
}

/// Limits beyond what a fuzzer can send, so that they do not hide what is behind them.
pub fn no_limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_head_size = usize::MAX;
    limits.max_headers = 20_000;
    limits.max_informational = usize::MAX;
    limits.max_informational_size = usize::MAX;
    limits.max_chunk_extension_size = usize::MAX;
    limits.max_trailer_size = usize::MAX;
    limits.max_trailers = 20_000;
    limits
}

/// All that concerns heads.
pub fn lenient() -> ParserOptions {
    let mut leniency = ParserOptions::default();
    leniency.bare_lf = true;
    leniency.obs_fold = true;
    leniency.space_before_colon = true;
    leniency.malformed_fields = true;
    leniency
}
