//! Whatever a caller asks for is refused, or written so that a strict reader understands just that.
//!
//! The input is lines, which end with LF: method, URL, exact target (or none), a letter for the
//! version and one for the body, fields as `name:value`, an empty line, and pieces of the body.

#![no_main]

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use httpcore_core_primitives::BodyLength;
use httpcore_fuzz::{Fields, chunked, field_lines, is_token, line};
use httpcore_proto_h1::codec::{Codec, HeaderOrder, RequestTarget};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let mut builder = Request::builder().method(next()).uri(next());
    match next() {
        b"" => {}
        b"*" => builder = builder.extension(RequestTarget::Asterisk),
        b"//" => builder = builder.extension(RequestTarget::Absolute),
        exact => builder = builder.extension(RequestTarget::Exact(Bytes::copy_from_slice(exact))),
    }
    let choice = next();
    if choice.first() == Some(&b'0') {
        builder = builder.version(Version::HTTP_10);
    }
    let Ok(mut request) = builder.body(()) else {
        return;
    };
    let fields = read_fields(&mut next);
    *request.headers_mut() = fields.clone();
    if choice.get(3) == Some(&b'o') {
        // Every other name, in capitals, backwards.
        let names = fields
            .keys()
            .step_by(2)
            .map(|name| name.as_str().to_uppercase());
        let mut names: Vec<String> = names.collect();
        names.reverse();
        names.push("Content-Length".into());
        let order = HeaderOrder::new(names).expect("they have been names before");
        request.extensions_mut().insert(order);
    }
    let trailers = (choice.get(2) == Some(&b't')).then(|| read_fields(&mut next));
    let pieces: Vec<&[u8]> = lines.collect();
    let body = pieces.concat();
    let length = match choice.get(1) {
        Some(b'c') => BodyLength::Unknown,
        Some(b'l') => BodyLength::Known(body.len() as u64),
        Some(b's') => BodyLength::Known(body.len() as u64 + 1),
        _ => BodyLength::Known(0),
    };
    let (parts, ()) = request.into_parts();
    let mut codec = Codec::default();
    let mut out = BytesMut::new();
    if codec.encode_head(&parts, length, &mut out).is_err() {
        assert!(out.is_empty(), "something of a refused request is written");
        return;
    }
    let is_whole = write_body(&mut codec, &pieces, trailers.as_ref(), &mut out);

    let (request_line, rest) = line(&out).expect("a request line");
    let words: Vec<&[u8]> = request_line.split(|&byte| byte == b' ').collect();
    let [method, target, version] = words[..] else {
        panic!("{}", request_line.escape_ascii());
    };
    assert!(is_token(method));
    assert_eq!(method, parts.method.as_str().as_bytes());
    assert!(!target.is_empty() && target.iter().all(u8::is_ascii_graphic));
    assert!(!target.contains(&b'#') || parts.extensions.get::<RequestTarget>().is_some());
    assert_eq!(version, format!("{:?}", parts.version).as_bytes());

    let (told, rest) = field_lines(rest).expect("fields");
    let count = |name: &str| {
        told.iter()
            .filter(|field| field.0 == name.as_bytes())
            .count()
    };
    assert_eq!(count("host"), 1);
    assert!(count("content-length") + count("transfer-encoding") <= 1);
    let framing = ["host", "content-length", "transfer-encoding"];
    let others = |fields: &Fields| -> Fields {
        let is_other = |name: &[u8]| !framing.iter().any(|other| other.as_bytes() == name);
        let mut others: Fields = fields
            .iter()
            .filter(|(name, _)| is_other(name))
            .map(|(name, value)| (name.clone(), value.trim_ascii().to_vec()))
            .collect();
        others.sort();
        others
    };
    assert_eq!(others(&told), others(&httpcore_fuzz::fields(&fields)));

    if !is_whole {
        return;
    }
    let value = |name: &str| {
        let field = told.iter().find(|field| field.0 == name.as_bytes());
        field.map(|(_, value)| std::str::from_utf8(value).expect("text"))
    };
    if let Some(coding) = value("transfer-encoding") {
        assert_eq!(coding, "chunked");
        let (data, told, rest) = chunked(rest).expect("chunks");
        assert_eq!(data, body);
        assert_eq!(
            others(&told),
            others(&httpcore_fuzz::fields(&trailers.unwrap_or_default()))
        );
        assert!(rest.is_empty());
    } else {
        let length = value("content-length").map_or(0, |length| length.parse().expect("digits"));
        assert_eq!(rest.len(), length);
        assert_eq!(rest, body);
    }
});

/// Up to an empty line.
fn read_fields<'a>(next: &mut impl FnMut() -> &'a [u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    loop {
        let field = next();
        if field.is_empty() || fields.len() > 100 {
            return fields;
        }
        let colon = field.iter().position(|&byte| byte == b':');
        let (name, value) = field.split_at(colon.unwrap_or(field.len()));
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.get(1..).unwrap_or_default()),
        ) {
            fields.append(name, value);
        }
    }
}

/// Whether the body was taken to its end.
fn write_body(
    codec: &mut Codec,
    pieces: &[&[u8]],
    trailers: Option<&HeaderMap>,
    out: &mut BytesMut,
) -> bool {
    for piece in pieces {
        let Ok(after) = codec.encode_data(piece.len(), out) else {
            return false;
        };
        out.extend_from_slice(piece);
        out.extend_from_slice(after);
    }
    codec.encode_end(trailers, out).is_ok()
}
