//! Requests as tables: the request, and its bytes on the wire.

#![allow(clippy::unwrap_used)] // a test may: clippy.toml speaks of test functions only, not of their helpers

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Version, request};
use httpcore_core_primitives::CloseReason;
use httpcore_core_primitives::{BodyLength, ConnectionPolicy, Origin};
use httpcore_proto_h1::codec::{Codec, HeaderOrder, RequestError, RequestTarget};

fn parts(builder: request::Builder) -> request::Parts {
    builder.body(()).unwrap().into_parts().0
}

fn start(builder: request::Builder, length: BodyLength) -> Result<String, RequestError> {
    let mut out = BytesMut::from("before ");
    let started = Codec::default().encode_head(&parts(builder), length, &mut out);
    if started.is_err() {
        assert_eq!(out, "before ", "nothing of a refused request is written");
    }
    started.map(|()| {
        let text = std::str::from_utf8(&out).unwrap();
        text["before ".len()..].replace("\r\n", "|")
    })
}

fn get(url: &str) -> request::Builder {
    Request::get(url)
}

const NONE: BodyLength = BodyLength::Known(0);

#[test]
fn connection_close_is_sent_once() {
    let last = ConnectionPolicy::default().with_close_after();
    assert_eq!(
        start(get("http://a/").extension(last), NONE).unwrap(),
        "GET / HTTP/1.1|host: a|connection: close||"
    );
    let said = get("http://a/")
        .extension(last)
        .header("connection", "Close");
    assert_eq!(
        start(said, NONE).unwrap(),
        "GET / HTTP/1.1|host: a|connection: Close||"
    );
    let mut codec = Codec::default();
    let request = parts(get("http://a/").extension(last));
    codec
        .encode_head(&request, NONE, &mut BytesMut::new())
        .unwrap();
    assert_eq!(codec.closing(), Some(CloseReason::CallerSaidClose));
    let fresh = ConnectionPolicy::default().with_new_connection();
    assert_eq!(
        start(get("http://a/").extension(fresh), NONE).unwrap(),
        "GET / HTTP/1.1|host: a||"
    );
}

/// Rule, request, length of its body, and bytes on the wire.
fn sent() -> Vec<(&'static str, request::Builder, BodyLength, &'static str)> {
    vec![
        (
            "RFC 9112 §3.2.1: origin form",
            get("http://a.b/c?d=e"),
            NONE,
            "GET /c?d=e HTTP/1.1|host: a.b||",
        ),
        (
            "RFC 9112 §3.2.1: an empty path",
            get("http://a.b"),
            NONE,
            "GET / HTTP/1.1|host: a.b||",
        ),
        (
            "RFC 9112 §3.2.1: with a query",
            get("http://a.b?c"),
            NONE,
            "GET /?c HTTP/1.1|host: a.b||",
        ),
        (
            "RFC 9110 §4.2.5: no fragment",
            get("http://a.b/c#d"),
            NONE,
            "GET /c HTTP/1.1|host: a.b||",
        ),
        (
            "RFC 9110 §4.2.4: no user",
            get("http://u:p@a.b/"),
            NONE,
            "GET / HTTP/1.1|host: a.b||",
        ),
        (
            "RFC 3986 §2.1: escapes stay",
            get("http://a.b/%7e%2F//../x"),
            NONE,
            "GET /%7e%2F//../x HTTP/1.1|host: a.b||",
        ),
        (
            "RFC 9110 §7.2: IPv6 in brackets",
            get("http://[::1]:8080/"),
            NONE,
            "GET / HTTP/1.1|host: [::1]:8080||",
        ),
        (
            "RFC 9110 §7.2: the caller's Host",
            get("http://a.b/").header("Host", "c:1"),
            NONE,
            "GET / HTTP/1.1|host: c:1||",
        ),
        (
            "RFC 9110 §7.2: the caller's Host",
            get("/").header("Host", "c"),
            NONE,
            "GET / HTTP/1.1|host: c||",
        ),
        (
            "RFC 9112 §3.2: an empty Host, if the caller says so",
            get("http://a/").header("host", ""),
            NONE,
            "GET / HTTP/1.1|host: ||",
        ),
        (
            "RFC 9110 §7.2: Host comes first",
            get("http://a/")
                .header("x", "1")
                .header("host", "b")
                .header("y", "2"),
            NONE,
            "GET / HTTP/1.1|host: b|x: 1|y: 2||",
        ),
        (
            "RFC 9110 §5.3: duplicates in order",
            get("http://a/").header("x", "2").header("x", "1"),
            NONE,
            "GET / HTTP/1.1|host: a|x: 2|x: 1||",
        ),
        (
            "RFC 9110 §5.5: empty values",
            get("http://a/").header("x", ""),
            NONE,
            "GET / HTTP/1.1|host: a|x: ||",
        ),
        (
            "RFC 9110 §8.6: a length for content",
            Request::post("http://a/"),
            BodyLength::Known(5),
            "POST / HTTP/1.1|host: a|content-length: 5||",
        ),
        (
            "RFC 9110 §8.6: and for none, where some is expected",
            Request::post("http://a/"),
            NONE,
            "POST / HTTP/1.1|host: a|content-length: 0||",
        ),
        (
            "RFC 9110 §8.6: likewise",
            Request::put("http://a/"),
            NONE,
            "PUT / HTTP/1.1|host: a|content-length: 0||",
        ),
        (
            "RFC 9110 §8.6: likewise",
            Request::patch("http://a/"),
            NONE,
            "PATCH / HTTP/1.1|host: a|content-length: 0||",
        ),
        (
            "RFC 9110 §8.6: not where none is",
            Request::delete("http://a/"),
            NONE,
            "DELETE / HTTP/1.1|host: a||",
        ),
        (
            "RFC 9110 §8.6: unless the caller says so",
            get("http://a/").header("Content-Length", "0"),
            NONE,
            "GET / HTTP/1.1|host: a|content-length: 0||",
        ),
        (
            "RFC 9110 §9.3.1: GET may have content",
            get("http://a/"),
            BodyLength::Known(1),
            "GET / HTTP/1.1|host: a|content-length: 1||",
        ),
        (
            "RFC 9112 §6.1: unknown length",
            Request::post("http://a/"),
            BodyLength::Unknown,
            "POST / HTTP/1.1|host: a|transfer-encoding: chunked||",
        ),
        (
            "RFC 9112 §6.1: the caller wants chunks",
            Request::post("http://a/").header("transfer-encoding", "Chunked"),
            BodyLength::Known(5),
            "POST / HTTP/1.1|host: a|transfer-encoding: chunked||",
        ),
        (
            "RFC 9110 §8.6: the caller's length, checked",
            Request::post("http://a/").header("content-length", "05"),
            BodyLength::Known(5),
            "POST / HTTP/1.1|host: a|content-length: 5||",
        ),
        (
            "RFC 9110 §8.6: one is enough",
            Request::post("http://a/")
                .header("content-length", "5")
                .header("content-length", "5"),
            BodyLength::Known(5),
            "POST / HTTP/1.1|host: a|content-length: 5||",
        ),
        (
            "RFC 9110 §8.6: the caller knows a length the body does not",
            Request::post("http://a/").header("content-length", "5"),
            BodyLength::Unknown,
            "POST / HTTP/1.1|host: a|content-length: 5||",
        ),
        (
            "RFC 9110 §8.6: large",
            Request::post("http://a/"),
            BodyLength::Known(u64::MAX),
            "POST / HTTP/1.1|host: a|content-length: 18446744073709551615||",
        ),
        (
            "RFC 9112 §3.2.3: authority form",
            Request::builder().method("CONNECT").uri("a.b:443"),
            NONE,
            "CONNECT a.b:443 HTTP/1.1|host: a.b:443||",
        ),
        (
            "RFC 9112 §3.2.3: with the default port",
            Request::builder().method("CONNECT").uri("http://a.b:80"),
            NONE,
            "CONNECT a.b:80 HTTP/1.1|host: a.b:80||",
        ),
        (
            "RFC 9112 §3.2.4: asterisk form",
            Request::options("http://a.b").extension(RequestTarget::Asterisk),
            NONE,
            "OPTIONS * HTTP/1.1|host: a.b||",
        ),
        (
            "RFC 9112 §3.2.4: as a URL",
            Request::options("*").header("host", "a"),
            NONE,
            "OPTIONS * HTTP/1.1|host: a||",
        ),
        (
            "RFC 9112 §3.2.2: absolute form",
            get("http://u:p@a.b:81/c?d#e").extension(RequestTarget::Absolute),
            NONE,
            "GET http://a.b:81/c?d HTTP/1.1|host: a.b:81||",
        ),
        (
            "RFC 9112 §3.2.2: an empty path",
            get("http://a.b").extension(RequestTarget::Absolute),
            NONE,
            "GET http://a.b/ HTTP/1.1|host: a.b||",
        ),
        (
            "exactly this",
            get("http://a.b/c").extension(RequestTarget::Exact(Bytes::from_static(b"/%%//\"<>"))),
            NONE,
            "GET /%%//\"<> HTTP/1.1|host: a.b||",
        ),
        (
            "RFC 9110 §9.1: methods of one's own",
            Request::builder().method("PURGE").uri("http://a/"),
            NONE,
            "PURGE / HTTP/1.1|host: a||",
        ),
        (
            "RFC 9112 §2.3: 1.0",
            get("http://a/").version(Version::HTTP_10),
            NONE,
            "GET / HTTP/1.0|host: a||",
        ),
        (
            "RFC 9112 §9.6: close",
            get("http://a/").header("Connection", "close"),
            NONE,
            "GET / HTTP/1.1|host: a|connection: close||",
        ),
    ]
}

#[test]
fn requests_are_encoded_as_in_the_table() {
    for (rule, builder, length, expected) in sent() {
        assert_eq!(start(builder, length).as_deref(), Ok(expected), "{rule}");
    }
}

/// Rule, request, length of its body, and error.
fn refused() -> Vec<(&'static str, request::Builder, BodyLength, RequestError)> {
    vec![
        ("RFC 9112 §3.2", get("/"), NONE, RequestError::NoHost),
        (
            "RFC 9110 §4.2.1: no host but its port",
            get("http://u@:80/"),
            NONE,
            RequestError::NoHost,
        ),
        (
            "RFC 9112 §3.2",
            get("/")
                .extension(RequestTarget::Absolute)
                .header("host", "a"),
            NONE,
            RequestError::NoHost,
        ),
        (
            "RFC 9112 §3.2",
            get("http://a/").header("host", "a").header("host", "a"),
            NONE,
            RequestError::SeveralHosts,
        ),
        (
            "RFC 9110 §7.2",
            get("http://a/").header("host", "a b"),
            NONE,
            RequestError::Host,
        ),
        (
            "RFC 9110 §7.2",
            get("http://a/").header("host", "u@a"),
            NONE,
            RequestError::Host,
        ),
        (
            "RFC 9110 §7.2",
            get("http://a/").header("host", "a/b"),
            NONE,
            RequestError::Host,
        ),
        (
            "RFC 9112 §3.2: space",
            get("http://a/").extension(RequestTarget::Exact(Bytes::from_static(b"/ HTTP/1.1"))),
            NONE,
            RequestError::Target,
        ),
        (
            "RFC 9112 §3.2: CR LF",
            get("http://a/").extension(RequestTarget::Exact(Bytes::from_static(b"/\r\nx: y"))),
            NONE,
            RequestError::Target,
        ),
        (
            "RFC 9112 §3.2: NUL",
            get("http://a/").extension(RequestTarget::Exact(Bytes::from_static(b"/\0"))),
            NONE,
            RequestError::Target,
        ),
        (
            "RFC 9112 §3.2: nothing",
            get("http://a/").extension(RequestTarget::Exact(Bytes::new())),
            NONE,
            RequestError::Target,
        ),
        (
            "RFC 3986 §2: not ASCII",
            get("http://a/ü"),
            NONE,
            RequestError::Target,
        ),
        (
            "RFC 9112 §3.2.3",
            Request::builder().method("CONNECT").uri("http://a/"),
            NONE,
            RequestError::ConnectTarget,
        ),
        (
            "RFC 9112 §3.2.3",
            Request::builder()
                .method("CONNECT")
                .uri("/")
                .header("host", "a"),
            NONE,
            RequestError::ConnectTarget,
        ),
        (
            "RFC 9110 §9.3.6",
            Request::builder().method("CONNECT").uri("a:1"),
            BodyLength::Known(1),
            RequestError::ContentForbidden,
        ),
        (
            "RFC 9110 §9.3.8",
            Request::builder().method("TRACE").uri("http://a/"),
            BodyLength::Unknown,
            RequestError::ContentForbidden,
        ),
        (
            "RFC 9110 §9.3.8",
            Request::builder()
                .method("TRACE")
                .uri("http://a/")
                .header("transfer-encoding", "chunked"),
            NONE,
            RequestError::ContentForbidden,
        ),
        (
            "RFC 9112 §2.3",
            get("http://a/").version(Version::HTTP_09),
            NONE,
            RequestError::Version,
        ),
        (
            "RFC 9110 §8.6",
            Request::post("http://a/").header("content-length", "5"),
            BodyLength::Known(6),
            RequestError::LengthDiffers,
        ),
        (
            "RFC 9110 §8.6",
            Request::post("http://a/")
                .header("content-length", "5")
                .header("content-length", "6"),
            BodyLength::Unknown,
            RequestError::ContentLength,
        ),
        (
            "RFC 9110 §8.6",
            Request::post("http://a/").header("content-length", "+5"),
            BodyLength::Known(5),
            RequestError::ContentLength,
        ),
        (
            "RFC 9112 §6.2",
            Request::post("http://a/")
                .header("content-length", "5")
                .header("transfer-encoding", "chunked"),
            BodyLength::Known(5),
            RequestError::LengthAndCoding,
        ),
        (
            "RFC 9112 §6.1",
            Request::post("http://a/").header("transfer-encoding", "gzip, chunked"),
            BodyLength::Unknown,
            RequestError::Coding,
        ),
        (
            "RFC 9112 §6.1",
            Request::post("http://a/")
                .header("transfer-encoding", "chunked")
                .version(Version::HTTP_10),
            BodyLength::Unknown,
            RequestError::LengthUnknown,
        ),
        (
            "RFC 9112 §6.3",
            Request::post("http://a/").version(Version::HTTP_10),
            BodyLength::Unknown,
            RequestError::LengthUnknown,
        ),
    ]
}

#[test]
fn invalid_request_is_refused_before_anything_is_written() {
    for (rule, builder, length, expected) in refused() {
        assert_eq!(start(builder, length), Err(expected), "{rule}");
    }
}

#[test]
fn host_field_is_that_of_the_origin() {
    for url in [
        "http://EXAMPLE.com/",
        "http://a.b:80/",
        "http://a.b:443/",
        "https://a.b:443/",
        "https://a.b:80/",
        "ws://a:80/",
        "wss://a:443/",
        "http://[2001:DB8::1]:81/",
        "http://[::1]:80/",
        "http://user:secret@a.b:81/",
        "http://a.b:/",
        "HTTP://a.b:80/",
    ] {
        let origin = Origin::of(&url.parse().unwrap()).unwrap();
        let expected = format!("GET / HTTP/1.1|host: {}||", origin.host_field());
        assert_eq!(start(get(url), NONE).as_deref(), Ok(&*expected), "{url}");
    }
}

/// Returns the bytes of a body of these pieces on the wire.
fn body(
    builder: request::Builder,
    length: BodyLength,
    pieces: &[&str],
) -> Result<String, RequestError> {
    let mut out = BytesMut::new();
    let mut codec = Codec::default();
    codec.encode_head(&parts(builder), length, &mut out)?;
    out.clear();
    for piece in pieces {
        let after = codec.encode_data(piece.len(), &mut out)?;
        out.extend_from_slice(piece.as_bytes());
        out.extend_from_slice(after);
    }
    codec.encode_end(None, &mut out)?;
    assert!(codec.is_sent());
    Ok(String::from_utf8(out.to_vec()).unwrap())
}

#[test]
fn body_is_framed_as_declared() {
    let post = || Request::post("http://a/");
    let long = "x".repeat(300);
    for (length, pieces, expected) in [
        (
            BodyLength::Known(5),
            vec!["he", "", "llo"],
            Ok("hello".to_owned()),
        ),
        (
            BodyLength::Unknown,
            vec!["he", "", "llo"],
            Ok("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n".to_owned()),
        ),
        (
            BodyLength::Unknown,
            vec![&*long],
            Ok(format!("12c\r\n{long}\r\n0\r\n\r\n")),
        ),
        (BodyLength::Unknown, vec![], Ok("0\r\n\r\n".to_owned())),
        (BodyLength::Known(0), vec![], Ok(String::new())),
        (
            BodyLength::Known(5),
            vec!["hell"],
            Err(RequestError::BodyTooShort),
        ),
        (
            BodyLength::Known(5),
            vec!["he", "llo!"],
            Err(RequestError::BodyTooLong),
        ),
        (BodyLength::Known(0), vec!["h"], Err(RequestError::BodyOver)),
    ] {
        assert_eq!(
            body(post(), length, &pieces),
            expected,
            "{length:?} {pieces:?}"
        );
    }
    let told = post().header("content-length", "2");
    assert_eq!(
        body(told, BodyLength::Unknown, &["abc"]),
        Err(RequestError::BodyTooLong)
    );
}

#[test]
fn last_piece_and_end_can_be_encoded_together() {
    for (length, pieces, expected) in [
        (BodyLength::Known(2), "ab", Ok("ab")),
        (BodyLength::Unknown, "ab", Ok("2\r\nab\r\n0\r\n\r\n")),
        (BodyLength::Unknown, "", Ok("0\r\n\r\n")),
        (BodyLength::Known(3), "ab", Err(RequestError::BodyTooShort)),
        (BodyLength::Known(1), "ab", Err(RequestError::BodyTooLong)),
    ] {
        let mut out = BytesMut::new();
        let mut codec = Codec::default();
        codec
            .encode_head(&parts(Request::post("http://a/")), length, &mut out)
            .unwrap();
        out.clear();
        let framed = codec.encode_last_data(pieces.len(), &mut out).map(|after| {
            out.extend_from_slice(pieces.as_bytes());
            out.extend_from_slice(after);
            std::str::from_utf8(&out).unwrap()
        });
        assert_eq!(framed, expected);
    }
}

#[test]
fn trailers_are_sent_after_chunks_only() {
    let trailers = |name: &'static str| {
        let mut fields = HeaderMap::new();
        fields.insert(name, HeaderValue::from_static("v"));
        fields
    };
    let finish = |length, fields: &HeaderMap| {
        let mut out = BytesMut::new();
        let mut codec = Codec::default();
        codec
            .encode_head(&parts(Request::post("http://a/")), length, &mut out)
            .unwrap();
        out.clear();
        let finished = codec.encode_end(Some(fields), &mut out);
        finished.map(|()| String::from_utf8(out.to_vec()).unwrap())
    };
    assert_eq!(
        finish(BodyLength::Unknown, &trailers("x-sum")).as_deref(),
        Ok("0\r\nx-sum: v\r\n\r\n")
    );
    assert_eq!(
        finish(NONE, &trailers("x-sum")),
        Err(RequestError::TrailersUnframed)
    );
    for name in [
        "content-length",
        "transfer-encoding",
        "host",
        "connection",
        "authorization",
    ] {
        let refused = finish(BodyLength::Unknown, &trailers(name));
        assert_eq!(refused, Err(RequestError::TrailerForbidden), "{name}");
    }
}

#[test]
fn codec_serves_one_exchange_after_another() {
    let mut codec = Codec::default();
    let mut out = BytesMut::new();
    for _ in 0..3 {
        let request = parts(get("http://a/"));
        codec.encode_head(&request, NONE, &mut out).unwrap();
        let again = codec.encode_head(&request, NONE, &mut out);
        assert_eq!(again, Err(RequestError::NotReady));
        let mut input = BytesMut::from("HTTP/1.1 204 No Content\r\n\r\n");
        while codec.decode(&mut input, false).unwrap().is_some() {}
        assert_eq!(codec.can_reuse(&input), Ok(()));
    }
}

#[test]
fn response_that_ends_before_its_request_closes_the_connection() {
    for abandoned in [false, true] {
        let mut codec = Codec::default();
        let request = parts(Request::post("http://a/"));
        let length = BodyLength::Known(5);
        codec
            .encode_head(&request, length, &mut BytesMut::new())
            .unwrap();
        if abandoned {
            codec.abort_request();
        }
        let mut input = BytesMut::from("HTTP/1.1 204 No Content\r\n\r\n");
        while codec.decode(&mut input, false).unwrap().is_some() {}
        assert_eq!(codec.can_reuse(&input), Err(CloseReason::UnfinishedRequest));
        let again = codec.encode_head(&request, length, &mut BytesMut::new());
        assert_eq!(again, Err(RequestError::NotReady));
    }
}

#[test]
fn expectation_of_100_needs_a_body() {
    let expects = |builder: request::Builder, length| {
        let mut codec = Codec::default();
        let request = parts(builder.header("expect", "100-Continue"));
        codec
            .encode_head(&request, length, &mut BytesMut::new())
            .unwrap();
        codec.expects_continue()
    };
    assert!(expects(Request::post("http://a/"), BodyLength::Unknown));
    assert!(!expects(Request::post("http://a/"), NONE));
    let old = Request::post("http://a/").version(Version::HTTP_10);
    assert!(!expects(old, BodyLength::Known(1)));
}

fn order(names: &[&str]) -> HeaderOrder {
    HeaderOrder::new(names).unwrap()
}

/// As [`sent`], with an order.
fn ordered() -> Vec<(&'static str, request::Builder, BodyLength, &'static str)> {
    vec![
        (
            "RFC 9110 §5.1: the letters are the caller's",
            get("http://a/")
                .header("accept", "1")
                .header("user-agent", "2")
                .extension(order(&["HOST", "User-Agent", "ACCEPT"])),
            NONE,
            "GET / HTTP/1.1|HOST: a|User-Agent: 2|ACCEPT: 1||",
        ),
        (
            "RFC 9112 §3.2: Host comes first, unless it is named",
            get("http://a/").header("b", "1").extension(order(&["B"])),
            NONE,
            "GET / HTTP/1.1|host: a|B: 1||",
        ),
        (
            "Host may come anywhere, and once",
            get("http://a/")
                .header("b", "1")
                .extension(order(&["B", "Host", "hosT"])),
            NONE,
            "GET / HTTP/1.1|B: 1|Host: a||",
        ),
        (
            "fields that are not named follow in their usual order",
            get("http://a/")
                .header("x", "1")
                .header("b", "2")
                .header("y", "3")
                .extension(order(&["B"])),
            NONE,
            "GET / HTTP/1.1|host: a|B: 2|x: 1|y: 3||",
        ),
        (
            "names without a field mean nothing",
            get("http://a/").extension(order(&["Cookie", "Content-Length", "Host"])),
            NONE,
            "GET / HTTP/1.1|Host: a||",
        ),
        (
            "RFC 9110 §5.3: one value at each place, and the rest at the last",
            get("http://a/")
                .header("a", "1")
                .header("a", "2")
                .header("a", "3")
                .header("b", "4")
                .extension(order(&["Host", "A", "B", "a"])),
            NONE,
            "GET / HTTP/1.1|Host: a|A: 1|B: 4|a: 2|a: 3||",
        ),
        (
            "RFC 9110 §8.6: the length stands where it was named",
            Request::post("http://a/")
                .header("content-length", "5")
                .header("b", "1")
                .extension(order(&["Content-Length", "Host", "B"])),
            BodyLength::Known(5),
            "POST / HTTP/1.1|Content-Length: 5|Host: a|B: 1||",
        ),
        (
            "RFC 9112 §6.2: one framing field, whatever was named",
            Request::post("http://a/")
                .header("b", "1")
                .extension(order(&["Content-Length", "Transfer-Encoding", "B"])),
            BodyLength::Unknown,
            "POST / HTTP/1.1|host: a|Transfer-Encoding: chunked|B: 1||",
        ),
        (
            "RFC 9110 §8.6: behind everything, unless it was named",
            Request::post("http://a/")
                .header("b", "1")
                .extension(order(&["B"])),
            BodyLength::Known(5),
            "POST / HTTP/1.1|host: a|B: 1|content-length: 5||",
        ),
    ]
}

#[test]
fn fields_are_sent_in_the_order_and_case_of_the_header_order() {
    for (rule, builder, length, expected) in ordered() {
        assert_eq!(start(builder, length).as_deref(), Ok(expected), "{rule}");
    }
    for name in ["", "a b", "a:", "a\r\nb", "ä"] {
        assert!(HeaderOrder::new([name]).is_err(), "{name:?}");
    }
    let refused = get("/").extension(order(&["Host"]));
    assert_eq!(start(refused, NONE), Err(RequestError::NoHost));
}

#[test]
fn tables_of_requests_have_sixty_cases() {
    assert!(sent().len() + refused().len() + ordered().len() >= 60);
}
