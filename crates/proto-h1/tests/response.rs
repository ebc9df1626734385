//! Responses as tables. Each is read whole, cut in two at every byte, and byte by byte; the
//! outcome must be the same.
//!
//! In a table, `¦` stands where the connection ends in the accepted rows, and behind the byte which
//! makes a refusal certain in the refused ones.

#![allow(clippy::unwrap_used)] // a test may: clippy.toml speaks of test functions only, not of their helpers

use bytes::BytesMut;
use http::Version;
use httpcore_core_primitives::BodyLength;
use httpcore_proto_h1::codec::{Codec, Event, Limits, ReasonPhrase, Violation};
use proptest::prelude::*;

/// What became of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    /// `status`, fields other than framing, `'data'`, trailers, `end`, and what of the connection.
    told: String,
    refused: Option<Violation>,
}

fn codec(method: &str, limits: Limits) -> Codec {
    let request = match method {
        "UPGRADE" => http::Request::get("http://localhost/")
            .header("connection", "upgrade")
            .header("upgrade", "websocket"),
        "CLOSE" => http::Request::get("http://localhost/").header("connection", "close"),
        "1.0" => http::Request::get("http://localhost/").version(Version::HTTP_10),
        _ => http::Request::builder()
            .method(method)
            .uri("http://localhost:80/"),
    };
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let mut codec = Codec::new(limits);
    codec
        .start(&parts, BodyLength::Known(0), &mut BytesMut::new())
        .unwrap();
    codec
}

/// Feeds `pieces` one after the other, as a connection would.
fn read(mut codec: Codec, pieces: &[&[u8]], eof: bool) -> Outcome {
    let mut told = String::new();
    let mut data = Vec::new();
    let mut input = BytesMut::new();
    let mut ended = false;
    let mut pieces = pieces.iter();
    loop {
        let more = pieces.next();
        input.extend_from_slice(more.unwrap_or(&&b""[..]));
        let at_end = more.is_none() && eof;
        loop {
            let event = match codec.receive(&mut input, at_end) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(violation) => {
                    flush(&mut told, &mut data);
                    assert_eq!(
                        codec.receive(&mut input, true).unwrap_err(),
                        violation,
                        "once refused, always refused"
                    );
                    return Outcome {
                        told: told.trim().to_owned(),
                        refused: Some(violation),
                    };
                }
            };
            if let Event::Data(piece) = &event {
                assert!(!piece.is_empty());
                data.extend_from_slice(piece);
                continue;
            }
            flush(&mut told, &mut data);
            match event {
                Event::Informational(head) | Event::Head(head) => {
                    told += &format!("{}", head.status().as_u16());
                    if head.version() == Version::HTTP_10 {
                        told += "/1.0";
                    }
                    if let Some(reason) = head.extensions().get::<ReasonPhrase>() {
                        told += &format!("({})", reason.as_bytes().escape_ascii());
                    }
                    tell(&mut told, head.headers());
                    told += " ";
                }
                Event::Trailers(fields) => {
                    told += "trailers";
                    tell(&mut told, &fields);
                    told += " ";
                }
                Event::Data(_) => unreachable!(),
                Event::End => {
                    told += "end ";
                    ended = true;
                }
            }
        }
        if more.is_none() {
            break;
        }
    }
    flush(&mut told, &mut data);
    if ended {
        told += &match codec.reuse(&input) {
            Ok(()) => "kept".to_owned(),
            Err(reason) => format!("{reason:?}"),
        };
    } else if codec.reuse(&[]) == Err(httpcore_proto_h1::codec::MustClose::Switched) {
        told += &format!("switched '{}'", input.escape_ascii());
    } else {
        told += "waiting";
    }
    Outcome {
        told: told.trim().to_owned(),
        refused: None,
    }
}

fn flush(told: &mut String, data: &mut Vec<u8>) {
    if !data.is_empty() {
        *told += &format!("'{}' ", data.escape_ascii());
        data.clear();
    }
}

fn tell(told: &mut String, fields: &http::HeaderMap) {
    for (name, value) in fields {
        if !["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
            *told += &format!(" {name}={}", value.as_bytes().escape_ascii());
        }
    }
}

/// Reads `bytes` in every way, and yields the one outcome.
fn read_every_way(method: &str, limits: Limits, bytes: &[u8], eof: bool) -> Outcome {
    let whole = read(codec(method, limits), &[bytes], eof);
    for cut in 0..=bytes.len() {
        let (a, b) = bytes.split_at(cut);
        let cut_in_two = read(codec(method, limits), &[a, b], eof);
        assert_eq!(cut_in_two, whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(
        read(codec(method, limits), &single, eof),
        whole,
        "byte by byte: {}",
        bytes.escape_ascii()
    );
    whole
}

/// What is written `\xNN` and the like in Rust is bytes already; `é` and other characters stand for
/// the one byte of Latin-1.
fn bytes_of(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(c as u32).expect("Latin-1"))
        .collect()
}

fn accepts(rows: &[(&str, &str, &str, &str)]) {
    for (rule, method, response, expected) in rows {
        let (bytes, eof) = match response.split_once('¦') {
            Some((before, after)) => {
                assert_eq!(after, "", "{rule}");
                (bytes_of(before), true)
            }
            None => (bytes_of(response), false),
        };
        let outcome = read_every_way(method, Limits::default(), &bytes, eof);
        assert_eq!(
            (outcome.told.as_str(), outcome.refused),
            (*expected, None),
            "{rule}: {response:?}"
        );
    }
}

fn refuses_within(limits: Limits, rows: &[(&str, &str, &str, Violation)]) {
    for (rule, method, response, expected) in rows {
        let (before, after) = response.split_once('¦').expect("a mark in each row");
        let (certain, rest) = (bytes_of(before), bytes_of(after));
        let whole = [certain.clone(), rest].concat();
        for eof in [false, true] {
            let outcome = read_every_way(method, limits, &whole, eof);
            assert_eq!(
                outcome.refused,
                Some(*expected),
                "{rule}: {response:?} {outcome:?}"
            );
        }
        // RFC-breaking or not: nothing is refused before it is certain, or later.
        let at_once = read(codec(method, limits), &[&certain], false);
        assert_eq!(
            at_once.refused,
            Some(*expected),
            "late: {rule}: {response:?}"
        );
        let before = &certain[..certain.len() - 1];
        let too_early = read(codec(method, limits), &[before], false);
        assert_eq!(too_early.refused, None, "early: {rule}: {response:?}");
    }
}

fn refuses(rows: &[(&str, &str, &str, Violation)]) {
    refuses_within(Limits::default(), rows);
}

#[test]
fn heads_are_read_as_they_are_meant() {
    accepts(&[
        (
            "RFC 9112 §4: a status line",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "200 end kept",
        ),
        (
            "RFC 9112 §4: the reason may be empty",
            "GET",
            "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
            "200() end kept",
        ),
        (
            "RFC 9112 §4: and is missing sometimes, with its space",
            "GET",
            "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            "200() end kept",
        ),
        (
            "RFC 9112 §4: an unusual reason",
            "GET",
            "HTTP/1.1 404 Nowhere to be seen\r\nContent-Length: 0\r\n\r\n",
            "404(Nowhere to be seen) end kept",
        ),
        (
            "RFC 9112 §4: obs-text in the reason",
            "GET",
            "HTTP/1.1 200 D'accord, ça va\r\nContent-Length: 0\r\n\r\n",
            "200(D\\'accord, \\xe7a va) end kept",
        ),
        (
            "RFC 9110 §15: an unknown code of a known class",
            "GET",
            "HTTP/1.1 299 OK\r\nContent-Length: 0\r\n\r\n",
            "299(OK) end kept",
        ),
        (
            "RFC 9110 §15: codes beyond the classes reach the caller",
            "GET",
            "HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n",
            "999(No) end kept",
        ),
        (
            "RFC 9112 §5: optional white space around values is none of theirs",
            "GET",
            "HTTP/1.1 204 No Content\r\na:b\r\nc: \t d \t \r\n\r\n",
            "204 a=b c=d end kept",
        ),
        (
            "RFC 9110 §5.5: empty values, and white space within values",
            "GET",
            "HTTP/1.1 204 No Content\r\na:\r\nb:   \r\nc: d  e\tf\r\n\r\n",
            "204 a= b= c=d  e\\tf end kept",
        ),
        (
            "RFC 9110 §5.5: obs-text in values",
            "GET",
            "HTTP/1.1 204 No Content\r\na: ÿ\r\n\r\n",
            "204 a=\\xff end kept",
        ),
        (
            "RFC 9110 §5.3: duplicates stay, in order",
            "GET",
            "HTTP/1.1 204 No Content\r\na: 2\r\nb: 1\r\nA: 1\r\n\r\n",
            "204 a=2 a=1 b=1 end kept",
        ),
        (
            "RFC 9110 §5.6.2: every token character in a name",
            "GET",
            "HTTP/1.1 204 No Content\r\n!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n",
            "204 !#$%&'*+-.^_`|~09azaz=x end kept",
        ),
        (
            "RFC 9110 §5.5: colons, quotes and commas within values",
            "GET",
            "HTTP/1.1 204 No Content\r\na: :b: \"c, d\"\r\n\r\n",
            "204 a=:b: \\\"c, d\\\" end kept",
        ),
        (
            "seventeen fields and more need more room",
            "GET",
            &format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n",
                "server: x\r\n".repeat(20)
            ),
            &format!("200{} end kept", " server=x".repeat(20)),
        ),
    ]);
}

#[test]
fn heads_that_break_a_rule_are_refused_at_the_byte_that_breaks_it() {
    use Violation::*;
    refuses(&[
        ("RFC 9112 §4: not HTTP", "GET", "S¦SH-2.0-x\r\n", NotHttp),
        ("RFC 9112 §4: not HTTP", "GET", "HTTQ¦", NotHttp),
        (
            "RFC 9112 §4: case matters",
            "GET",
            "h¦ttp/1.1 200 OK\r\n\r\n",
            NotHttp,
        ),
        ("RFC 1945 §3.1: no HTTP/0.9", "GET", "<¦html>", NotHttp),
        (
            "RFC 9112 §2.2: no empty line first",
            "GET",
            "\r¦\nHTTP/1.1 200 OK\r\n\r\n",
            NotHttp,
        ),
        (
            "RFC 9112 §2.2: no empty line first",
            "GET",
            "\n¦HTTP/1.1 200 OK\r\n\r\n",
            NotHttp,
        ),
        (
            "RFC 9112 §2.2: no space first",
            "GET",
            " ¦HTTP/1.1 200 OK\r\n\r\n",
            NotHttp,
        ),
        (
            "RFC 9112 §2.3: major version",
            "GET",
            "HTTP/2¦.0 200 OK\r\n\r\n",
            Version,
        ),
        (
            "RFC 9112 §2.3: major version",
            "GET",
            "HTTP/0¦.9 200 OK\r\n\r\n",
            Version,
        ),
        (
            "RFC 9110 §2.5: minor version",
            "GET",
            "HTTP/1.2¦ 200 OK\r\n\r\n",
            Version,
        ),
        (
            "RFC 9112 §2.3: two digits",
            "GET",
            "HTTP/1,¦1 200 OK\r\n\r\n",
            Version,
        ),
        (
            "RFC 9112 §2.3: two digits",
            "GET",
            "HTTP/1.10¦ 200 OK\r\n\r\n",
            StatusLine,
        ),
        (
            "RFC 9112 §4: one space",
            "GET",
            "HTTP/1.1\t¦200 OK\r\n\r\n",
            StatusLine,
        ),
        (
            "RFC 9112 §4: one space",
            "GET",
            "HTTP/1.1  ¦200 OK\r\n\r\n",
            StatusCode,
        ),
        (
            "RFC 9112 §4: a status",
            "GET",
            "HTTP/1.1\r¦\n\r\n",
            StatusLine,
        ),
        (
            "RFC 9112 §4: a status",
            "GET",
            "HTTP/1.1 \r¦\n\r\n",
            StatusCode,
        ),
        (
            "RFC 9110 §15: three digits",
            "GET",
            "HTTP/1.1 20 ¦OK\r\n\r\n",
            StatusCode,
        ),
        (
            "RFC 9110 §15: three digits",
            "GET",
            "HTTP/1.1 2000¦ OK\r\n\r\n",
            StatusCode,
        ),
        (
            "RFC 9110 §15: digits",
            "GET",
            "HTTP/1.1 2x¦0 OK\r\n\r\n",
            StatusCode,
        ),
        (
            "RFC 9110 §15: from 100",
            "GET",
            "HTTP/1.1 0¦99 OK\r\n\r\n",
            StatusCode,
        ),
        (
            "RFC 9110 §15: no sign",
            "GET",
            "HTTP/1.1 +¦20 OK\r\n\r\n",
            StatusCode,
        ),
        (
            "RFC 9112 §4: space before the reason",
            "GET",
            "HTTP/1.1 200O¦K\r\n\r\n",
            StatusLine,
        ),
        (
            "RFC 9112 §4: NUL in the reason",
            "GET",
            "HTTP/1.1 200 O\0¦K\r\n\r\n",
            StatusLine,
        ),
        (
            "RFC 9112 §2.2: bare CR in the reason",
            "GET",
            "HTTP/1.1 200 O\rK¦\r\n\r\n",
            BareCr,
        ),
        (
            "RFC 9112 §2.2: bare LF",
            "GET",
            "HTTP/1.1 200 OK\n¦\n",
            BareLf,
        ),
        ("RFC 9112 §2.2: bare LF", "GET", "HTTP/1.1 200\n¦\n", BareLf),
        (
            "RFC 9112 §2.2: bare LF",
            "GET",
            "HTTP/1.1 200 OK\r\na: b\n¦\r\n",
            BareLf,
        ),
        (
            "RFC 9112 §2.2: bare LF",
            "GET",
            "HTTP/1.1 200 OK\r\na: b\r\n\n¦",
            BareLf,
        ),
        (
            "RFC 9112 §2.2: bare CR",
            "GET",
            "HTTP/1.1 200 OK\r\na: b\rc¦\r\n\r\n",
            BareCr,
        ),
        (
            "RFC 9112 §2.2: CR CR LF",
            "GET",
            "HTTP/1.1 200 OK\r\na: b\r\r¦\n\r\n",
            BareCr,
        ),
        (
            "RFC 9112 §2.2: CR CR LF",
            "GET",
            "HTTP/1.1 200 OK\r\na: b\r\n\r\r¦\n",
            BareCr,
        ),
        (
            "RFC 9112 §5.2: folding",
            "GET",
            "HTTP/1.1 200 OK\r\na: b\r\n ¦c\r\n\r\n",
            LeadingWhitespace,
        ),
        (
            "RFC 9112 §5.2: folding",
            "GET",
            "HTTP/1.1 200 OK\r\na: b\r\n\t¦c: d\r\n\r\n",
            LeadingWhitespace,
        ),
        (
            "RFC 9112 §2.2: before the first field",
            "GET",
            "HTTP/1.1 200 OK\r\n ¦a: b\r\n\r\n",
            LeadingWhitespace,
        ),
        (
            "RFC 9112 §5.1: before the colon",
            "GET",
            "HTTP/1.1 200 OK\r\na ¦: b\r\n\r\n",
            SpaceBeforeColon,
        ),
        (
            "RFC 9112 §5.1: before the colon",
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length\t¦: 5\r\n\r\n",
            SpaceBeforeColon,
        ),
        (
            "RFC 9112 §5.1: within the name",
            "GET",
            "HTTP/1.1 200 OK\r\na ¦b: c\r\n\r\n",
            SpaceBeforeColon,
        ),
        (
            "RFC 9110 §5.1: no name",
            "GET",
            "HTTP/1.1 200 OK\r\n:¦ b\r\n\r\n",
            EmptyFieldName,
        ),
        (
            "RFC 9110 §5.1: no colon",
            "GET",
            "HTTP/1.1 200 OK\r\nab\r¦\n\r\n",
            FieldName,
        ),
        (
            "RFC 9110 §5.1: no colon",
            "GET",
            "HTTP/1.1 200 OK\r\nab\n¦\r\n",
            FieldName,
        ),
        (
            "RFC 9110 §5.6.2: a delimiter",
            "GET",
            "HTTP/1.1 200 OK\r\na/¦b: c\r\n\r\n",
            FieldName,
        ),
        (
            "RFC 9110 §5.6.2: a quote",
            "GET",
            "HTTP/1.1 200 OK\r\n\"¦a\": c\r\n\r\n",
            FieldName,
        ),
        (
            "RFC 9110 §5.6.2: NUL",
            "GET",
            "HTTP/1.1 200 OK\r\na\0¦: c\r\n\r\n",
            FieldName,
        ),
        (
            "RFC 9110 §5.6.2: obs-text",
            "GET",
            "HTTP/1.1 200 OK\r\né¦: c\r\n\r\n",
            FieldName,
        ),
        (
            "RFC 9110 §5.5: NUL",
            "GET",
            "HTTP/1.1 200 OK\r\na: b\0¦c\r\n\r\n",
            FieldValue,
        ),
        (
            "RFC 9110 §5.5: DEL",
            "GET",
            "HTTP/1.1 200 OK\r\na: \x7f¦\r\n\r\n",
            FieldValue,
        ),
        (
            "RFC 9110 §5.5: ESC",
            "GET",
            "HTTP/1.1 200 OK\r\na:\x1b¦[2J\r\n\r\n",
            FieldValue,
        ),
        (
            "RFC 9110 §5.5: FF",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length:\x0c¦5\r\n\r\n",
            FieldValue,
        ),
        (
            "RFC 9110 §5.5: VT",
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0b¦chunked\r\n\r\n",
            FieldValue,
        ),
    ]);
}

#[test]
fn a_body_has_the_length_it_was_given() {
    accepts(&[
        (
            "RFC 9112 §6.3 rule 6: Content-Length",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "200 'hello' end kept",
        ),
        (
            "RFC 9110 §8.6: leading zeros are digits",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 00000000000000000000000005\r\n\r\nhello",
            "200 'hello' end kept",
        ),
        (
            "RFC 9112 §6.3 rule 5: equal lengths are one",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "200 'hello' end kept",
        ),
        (
            "RFC 9112 §6.3 rule 5: and so is a list of them",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5 ,5\r\n\r\nhello",
            "200 'hello' end kept",
        ),
        (
            "RFC 9112 §6.3: a body that has not come",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
            "200 'hello' waiting",
        ),
        (
            "RFC 9112 §9.2: what follows is nobody's",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
            "200 'hello' end LeftOver",
        ),
        (
            "RFC 9112 §9.2: not even an empty line",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\r\n",
            "200 'hello' end LeftOver",
        ),
        (
            "RFC 9112 §6.3 rule 8: neither length nor coding",
            "GET",
            "HTTP/1.1 200 OK\r\n\r\nhello¦",
            "200 'hello' end DelimitedByClose",
        ),
        (
            "RFC 9112 §6.3 rule 8: an empty one",
            "GET",
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n¦",
            "200 end DelimitedByClose",
        ),
        (
            "RFC 9112 §6.3 rule 8: which has not ended",
            "GET",
            "HTTP/1.1 200 OK\r\n\r\nhello",
            "200 'hello' waiting",
        ),
        (
            "RFC 9112 §6.3: bytes that look like heads are data",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "200 'HTTP/1.1 200 OK\\r\\n\\r\\n' end kept",
        ),
    ]);
}

#[test]
fn some_responses_have_no_body_whatever_they_say() {
    accepts(&[
        (
            "RFC 9112 §6.3 rule 1: HEAD",
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "200 end kept",
        ),
        (
            "RFC 9112 §6.3 rule 1: HEAD, of what would be chunked",
            "HEAD",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "200 end kept",
        ),
        (
            "RFC 9112 §6.3 rule 1: HEAD, of what would last until the close",
            "HEAD",
            "HTTP/1.1 200 OK\r\n\r\n",
            "200 end kept",
        ),
        (
            "RFC 9110 §9.3.2: a body after HEAD is left over",
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "200 end LeftOver",
        ),
        (
            "RFC 9112 §6.3: contradictions end the connection",
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "200 end DubiousBody",
        ),
        (
            "RFC 9112 §6.3 rule 1: 304",
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            "304 end kept",
        ),
        (
            "RFC 9112 §6.1: 304 may name the coding of what it is not sending",
            "GET",
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
            "304 end kept",
        ),
        (
            "RFC 9112 §6.3 rule 1: 204",
            "GET",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "204 end kept",
        ),
        (
            "RFC 9110 §8.6: 204 must not say 0, and some do",
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "204 end kept",
        ),
        (
            "RFC 9110 §8.6: 204 with a length might send a body",
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            "204 end DubiousBody",
        ),
        (
            "RFC 9112 §6.1: 204 with chunks might send them",
            "GET",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            "204 end DubiousBody",
        ),
        (
            "RFC 9110 §15.3.6: 205 has a body like any other, if it says so",
            "GET",
            "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nab",
            "205 'ab' end kept",
        ),
        (
            "RFC 9110 §9.3.6: 2xx to CONNECT is the tunnel's beginning, whatever it says",
            "CONNECT",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n\x16\x03",
            "200 switched '\\x16\\x03'",
        ),
        (
            "RFC 9110 §9.3.6: a refused CONNECT is an ordinary response",
            "CONNECT",
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno",
            "407 'no' end kept",
        ),
    ]);
}

#[test]
fn framing_with_two_readings_or_none_is_refused() {
    use Violation::*;
    let rows: Vec<(&str, &str, Violation)> = vec![
        (
            "RFC 9112 §6.3 rule 3",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            LengthAndCoding,
        ),
        (
            "RFC 9112 §6.3 rule 3",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            LengthAndCoding,
        ),
        (
            "RFC 9112 §6.3 rule 3",
            "Transfer-Encoding: identity\r\nContent-Length: 5",
            LengthAndCoding,
        ),
        (
            "RFC 9112 §6.3 rule 5",
            "Content-Length: 5\r\nContent-Length: 6",
            LengthsDiffer,
        ),
        (
            "RFC 9112 §6.3 rule 5",
            "Content-Length: 5, 6",
            LengthsDiffer,
        ),
        ("RFC 9110 §8.6: empty", "Content-Length:", ContentLength),
        (
            "RFC 9110 §8.6: an empty element",
            "Content-Length: 5,",
            ContentLength,
        ),
        (
            "RFC 9110 §8.6: an empty element",
            "Content-Length: ,5",
            ContentLength,
        ),
        ("RFC 9110 §8.6: sign", "Content-Length: +5", ContentLength),
        ("RFC 9110 §8.6: sign", "Content-Length: -5", ContentLength),
        ("RFC 9110 §8.6: space", "Content-Length: 1 2", ContentLength),
        (
            "RFC 9110 §8.6: hexadecimal",
            "Content-Length: 0x5",
            ContentLength,
        ),
        (
            "RFC 9110 §8.6: fraction",
            "Content-Length: 5.0",
            ContentLength,
        ),
        (
            "RFC 9110 §8.6: underscore",
            "Content-Length: 1_0",
            ContentLength,
        ),
        (
            "RFC 9110 §8.6: quotes",
            "Content-Length: \"5\"",
            ContentLength,
        ),
        (
            "RFC 9110 §8.6: 2^64",
            "Content-Length: 18446744073709551616",
            ContentLength,
        ),
        (
            "RFC 9110 §8.6: 2^64 and a bit",
            "Content-Length: 184467440737095516165",
            ContentLength,
        ),
        (
            "RFC 9110 §8.6: other digits",
            "Content-Length: ²",
            ContentLength,
        ),
        ("RFC 9112 §6.1: empty", "Transfer-Encoding:", Coding),
        ("RFC 9112 §6.1: empty", "Transfer-Encoding: ,", Coding),
        (
            "RFC 9112 §7: unknown",
            "Transfer-Encoding: identity",
            Coding,
        ),
        (
            "RFC 9112 §7: unknown",
            "Transfer-Encoding: xchunked",
            Coding,
        ),
        (
            "RFC 9112 §7: unknown",
            "Transfer-Encoding: chunked1",
            Coding,
        ),
        (
            "RFC 9112 §7: unknown",
            "Transfer-Encoding: chunk ed",
            Coding,
        ),
        (
            "RFC 9112 §7: quoted",
            "Transfer-Encoding: \"chunked\"",
            Coding,
        ),
        (
            "RFC 9112 §7.1: parameters",
            "Transfer-Encoding: chunked;a=b",
            Coding,
        ),
        (
            "RFC 9112 §6.1: never asked for",
            "Transfer-Encoding: gzip, chunked",
            Coding,
        ),
        (
            "RFC 9112 §6.3 rule 4: not final",
            "Transfer-Encoding: chunked, gzip",
            Coding,
        ),
        (
            "RFC 9112 §6.1: twice",
            "Transfer-Encoding: chunked, chunked",
            Coding,
        ),
        (
            "RFC 9112 §6.1: twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Coding,
        ),
        (
            "RFC 9112 §6.1: not final",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
            Coding,
        ),
    ];
    for (rule, fields, violation) in rows {
        let response = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n¦0\r\n\r\n");
        refuses(&[(rule, "GET", &response, violation)]);
    }
    refuses(&[(
        "RFC 9112 §6.1: chunks in 1.0",
        "GET",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n¦0\r\n\r\n",
        CodingInHttp10,
    )]);
}

#[test]
fn chunked_bodies_are_read_in_every_legal_spelling() {
    let chunked = |coding: &str, body: &str| {
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n{body}")
    };
    for coding in [
        "chunked",
        "Chunked",
        "CHUNKED",
        "chunked,",
        ", chunked",
        " chunked , ,",
    ] {
        let rule = "RFC 9112 §7, RFC 9110 §5.6.1: any case, empty elements ignored";
        accepts(&[(
            rule,
            "GET",
            &chunked(coding, "5\r\nhello\r\n0\r\n\r\n"),
            "200 'hello' end kept",
        )]);
    }
    for (rule, body, expected) in [
        ("RFC 9112 §7.1: no data", "0\r\n\r\n", "200 end kept"),
        (
            "RFC 9112 §7.1: pieces",
            "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
            "200 'abc' end kept",
        ),
        (
            "RFC 9112 §7.1: digits in both cases",
            "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
            "200 '01234567890123456789' end kept",
        ),
        (
            "RFC 9112 §7.1: sixteen digits",
            "0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n",
            "200 'hello' end kept",
        ),
        (
            "RFC 9112 §7.1: data that looks like framing",
            "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
            "200 '\\r\\n0\\r\\n\\r\\n' end kept",
        ),
        (
            "RFC 9112 §7.1.1: extensions",
            "5;a;b=c;d=\"e;f\"\r\nhello\r\n0;last\r\n\r\n",
            "200 'hello' end kept",
        ),
        (
            "RFC 9112 §7.1.1: white space around them",
            "5 ; a = b \r\nhello\r\n0\t;x\r\n\r\n",
            "200 'hello' end kept",
        ),
        (
            "RFC 9112 §7.1: padding without extension",
            "5  \r\nhello\r\n0 \r\n\r\n",
            "200 'hello' end kept",
        ),
        (
            "RFC 9112 §7.1.2: trailers",
            "0\r\na: b\r\nContent-Length: 7\r\na: c\r\n\r\n",
            "200 trailers a=b a=c end kept",
        ),
        (
            "RFC 9112 §7.1.2: after data",
            "1\r\nx\r\n0\r\nsum: 1\r\n\r\n",
            "200 'x' trailers sum=1 end kept",
        ),
        (
            "RFC 9112 §9.2: left over",
            "0\r\n\r\n0\r\n\r\n",
            "200 end LeftOver",
        ),
        (
            "RFC 9112 §7.1: not over yet",
            "5\r\nhello\r\n",
            "200 'hello' waiting",
        ),
        (
            "RFC 9112 §7.1: not over yet",
            "5\r\nhello\r\n0\r\n",
            "200 'hello' waiting",
        ),
        (
            "RFC 9112 §7.1: not over yet",
            "5\r\nhello\r\n0\r\na: b\r\n",
            "200 'hello' waiting",
        ),
    ] {
        accepts(&[(rule, "GET", &chunked("chunked", body), expected)]);
    }
}

#[test]
fn chunked_bodies_that_break_a_rule_are_refused_at_the_byte_that_breaks_it() {
    use Violation::*;
    for (rule, body, violation) in [
        ("RFC 9112 §7.1: no digit", "\r¦\n\r\n", ChunkSize),
        ("RFC 9112 §7.1: no digit", ";¦a\r\n", ChunkSize),
        ("RFC 9112 §7.1: space first", " ¦5\r\nhello", ChunkSize),
        ("RFC 9112 §7.1: sign", "+¦5\r\nhello", ChunkSize),
        ("RFC 9112 §7.1: sign", "-¦5\r\nhello", ChunkSize),
        ("RFC 9112 §7.1: not hexadecimal", "g¦\r\n", ChunkSize),
        ("RFC 9112 §7.1: prefix", "0x¦5\r\nhello", ChunkSize),
        ("RFC 9112 §7.1: underscore", "1_¦0\r\n", ChunkSize),
        ("RFC 9112 §7.1: behind a space", "5 h¦\r\n", ChunkSize),
        ("RFC 9112 §7.1: two sizes", "1 1¦\r\n", ChunkSize),
        ("RFC 9112 §7.1: NUL", "5\0¦\r\n", ChunkSize),
        (
            "RFC 9112 §7.1: overflow",
            "10000000000000000¦\r\n",
            ChunkSizeTooLong,
        ),
        (
            "RFC 9112 §7.1: zeros",
            "00000000000000005¦\r\nhello",
            ChunkSizeTooLong,
        ),
        ("RFC 9112 §2.2: bare LF", "5\n¦hello\r\n0\r\n\r\n", BareLf),
        ("RFC 9112 §2.2: bare LF", "5;a\n¦hello\r\n0\r\n\r\n", BareLf),
        ("RFC 9112 §2.2: bare CR", "5\rh¦ello", BareCr),
        (
            "RFC 9112 §7.1.1: bare CR in an extension",
            "5;a\rb¦\r\nhello",
            BareCr,
        ),
        (
            "RFC 9112 §7.1.1: control characters",
            "5;a\0¦\r\nhello",
            ChunkExtension,
        ),
        (
            "RFC 9112 §7.1: data too long",
            "5\r\nhello!¦\r\n0\r\n\r\n",
            ChunkEnd,
        ),
        (
            "RFC 9112 §7.1: data too short",
            "5\r\nhell\r\n¦0\r\n\r\n",
            ChunkEnd,
        ),
        (
            "RFC 9112 §7.1: LF for CR LF",
            "5\r\nhello\n¦0\r\n\r\n",
            ChunkEnd,
        ),
        (
            "RFC 9112 §7.1: CR for CR LF",
            "5\r\nhello\r0¦\r\n\r\n",
            ChunkEnd,
        ),
        (
            "RFC 9112 §7.1.2: trailers are fields",
            "0\r\na\r¦\n\r\n",
            FieldName,
        ),
        (
            "RFC 9112 §5.2: folded",
            "0\r\na: b\r\n ¦c\r\n\r\n",
            LeadingWhitespace,
        ),
        ("RFC 9112 §2.2: bare LF", "0\r\na: b\n¦\r\n", BareLf),
        ("RFC 9112 §2.2: bare LF", "0\r\n\n¦", BareLf),
        ("RFC 9110 §5.5: NUL", "0\r\na: \0¦\r\n\r\n", FieldValue),
        (
            "RFC 9112 §7.1.2: a response is no trailer",
            "0\r\nHTTP/¦1.1 200 OK\r\n\r\n",
            FieldName,
        ),
    ] {
        let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        refuses(&[(rule, "GET", &response, violation)]);
    }
}

#[test]
fn truncation_is_never_success() {
    use Violation::*;
    for (response, expected) in [
        ("", ClosedBeforeHead),
        ("H", ClosedInHead),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", ClosedInHead),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r", ClosedInHead),
        ("HTTP/1.1 100 Continue\r\n\r\n", ClosedInHead),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ClosedInBody),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            ClosedInBody,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ClosedInChunks,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            ClosedInChunks,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
            ClosedInChunks,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            ClosedInChunks,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            ClosedInChunks,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r",
            ClosedInChunks,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\r\n",
            ClosedInChunks,
        ),
    ] {
        let outcome = read_every_way("GET", Limits::default(), response.as_bytes(), true);
        assert_eq!(outcome.refused, Some(expected), "{response:?}");
        assert!(expected.is_truncation());
    }
}

#[test]
fn interim_responses_are_told_apart_from_final_ones() {
    accepts(&[
        (
            "RFC 9110 §15.2: any number, before the final one",
            "GET",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            "100 103 link=</a> 204 end kept",
        ),
        (
            "RFC 9110 §15.2: unknown ones too",
            "GET",
            "HTTP/1.1 199 Soon\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "199(Soon) 200 'x' end kept",
        ),
        (
            "RFC 9110 §8.6: a length of 0 does no harm",
            "GET",
            "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            "100 204 end kept",
        ),
        (
            "RFC 9112 §9.3: and its Connection does not count",
            "GET",
            "HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            "103 204 end kept",
        ),
        (
            "RFC 9110 §15.2.2: a switch that was asked for; what follows is not HTTP",
            "UPGRADE",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02",
            "101 upgrade=websocket switched '\\x01\\x02'",
        ),
        (
            "RFC 9110 §7.8: a switch refused is an ordinary response",
            "UPGRADE",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
            "200 'no' end kept",
        ),
    ]);
    use Violation::*;
    refuses(&[
        (
            "RFC 9110 §15.2.2: nobody asked",
            "GET",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n¦x",
            UnaskedSwitch,
        ),
        (
            "RFC 9110 §7.8: not in 1.0",
            "UPGRADE",
            "HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n¦x",
            UnaskedSwitch,
        ),
        (
            "RFC 9110 §8.6: 1xx has no length",
            "GET",
            "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n¦hello",
            InterimBody,
        ),
        (
            "RFC 9112 §6.1: 1xx has no coding",
            "GET",
            "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n¦0\r\n\r\n",
            InterimBody,
        ),
    ]);
}

#[test]
fn a_connection_is_kept_unless_somebody_says_close() {
    accepts(&[
        (
            "RFC 9112 §9.6",
            "GET",
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
            "204 end PeerSaidClose",
        ),
        (
            "RFC 9110 §7.6.1: any case",
            "GET",
            "HTTP/1.1 204 No Content\r\nconnection: CLOSE\r\n\r\n",
            "204 end PeerSaidClose",
        ),
        (
            "RFC 9110 §7.6.1: in a list",
            "GET",
            "HTTP/1.1 204 No Content\r\nConnection: foo , Close,\r\n\r\n",
            "204 end PeerSaidClose",
        ),
        (
            "RFC 9110 §7.6.1: in another line",
            "GET",
            "HTTP/1.1 204 No Content\r\nConnection: foo\r\nConnection: close\r\n\r\n",
            "204 end PeerSaidClose",
        ),
        (
            "RFC 9112 §9.3: close outweighs keep-alive",
            "GET",
            "HTTP/1.1 204 No Content\r\nConnection: keep-alive, close\r\n\r\n",
            "204 end PeerSaidClose",
        ),
        (
            "RFC 9110 §7.6.1: a token, not a substring",
            "GET",
            "HTTP/1.1 204 No Content\r\nConnection: closed\r\n\r\n",
            "204 end kept",
        ),
        (
            "RFC 9112 §9.3: 1.0 closes",
            "GET",
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
            "200/1.0 'ab' end Http10",
        ),
        (
            "RFC 9112 §9.3: 1.0 closes",
            "GET",
            "HTTP/1.0 200 OK\r\n\r\nab¦",
            "200/1.0 'ab' end Http10",
        ),
        (
            "RFC 9112 §9.3: unless it says otherwise",
            "GET",
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nab",
            "200/1.0 'ab' end kept",
        ),
        (
            "RFC 9112 §9.6: the request said so",
            "CLOSE",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "204 end CallerSaidClose",
        ),
        (
            "RFC 9112 §9.3: the request was of 1.0",
            "1.0",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "204 end AskedInHttp10",
        ),
    ]);
}

#[test]
fn what_a_server_says_of_keeping_the_connection_is_read_strictly_and_nothing_is_refused_for_it() {
    let rows: &[(&str, Option<u64>, Option<u64>)] = &[
        ("", None, None),
        ("Keep-Alive: timeout=5\r\n", Some(5), None),
        ("keep-alive: TIMEOUT = 5 ,\tMax=100\r\n", Some(5), Some(100)),
        ("Keep-Alive: timeout=5, timeout=2\r\n", Some(2), None),
        (
            "Keep-Alive: max=0\r\nKeep-Alive: timeout=0\r\n",
            Some(0),
            Some(0),
        ),
        ("Keep-Alive: 115\r\n", None, None),
        ("Keep-Alive: timeout\r\n", None, None),
        ("Keep-Alive: timeout=, max=-1\r\n", None, None),
        ("Keep-Alive: timeout=5s, max=+1\r\n", None, None),
        ("Keep-Alive: timeout=\"5\", max=1.5\r\n", None, None),
        ("Keep-Alive: timeout=4=5, max=7\r\n", None, Some(7)),
        (
            "Keep-Alive: timeout=99999999999\r\n",
            Some(u32::MAX.into()),
            None,
        ),
        ("Keep-Alive: timeout=99999999999999999999\r\n", None, None),
        ("Kept-Alive: timeout=5\r\n", None, None),
    ];
    for (fields, seconds, more) in rows {
        let mut codec = codec("GET", Limits::default());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n");
        let mut input = BytesMut::from(head.as_bytes());
        assert!(codec.receive(&mut input, false).unwrap().is_some());
        let hints = codec.hints();
        let idle_for = seconds.map(std::time::Duration::from_secs);
        assert_eq!(
            (hints.idle_for, hints.more),
            (idle_for, *more),
            "{fields:?}"
        );
    }
}

#[test]
fn each_limit_holds_exactly() {
    use Violation::*;
    let mut limits = Limits::default();
    limits.head_bytes = 40;
    limits.fields = 2;
    limits.interim = 2;
    limits.interim_bytes = 60;
    limits.extension_bytes = 4;
    limits.trailer_bytes = 20;
    limits.trailer_fields = 1;
    for response in [
        // 40 bytes
        "HTTP/1.1 204 No Content\r\na: 01234567\r\n\r\n",
        "HTTP/1.1 204 X\r\na: 1\r\nb: 2\r\n\r\n",
        "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 X\r\n\r\n",
    ] {
        let outcome = read_every_way("GET", limits, response.as_bytes(), false);
        assert!(
            outcome.told.ends_with("end kept"),
            "{response:?} {outcome:?}"
        );
    }
    refuses_within(
        limits,
        &[
            (
                "head bytes",
                "GET",
                "HTTP/1.1 204 No Content\r\na: 012345678\r\n\r¦\n",
                HeadTooLong,
            ),
            (
                "head bytes",
                "GET",
                "HTTP/1.1 204 Noooooooooooooooooooooooooo¦ooooooooooo",
                HeadTooLong,
            ),
            (
                "what is wrong first is told",
                "GET",
                "HTTP/1.1 204 No Content\r\na ¦: 0123456789012345\r\n\r\n",
                SpaceBeforeColon,
            ),
            (
                "fields",
                "GET",
                "HTTP/1.1 204 X\r\na: 1\r\nb: 2\r\nc¦: 3\r\n\r\n",
                TooManyFields,
            ),
            (
                "interim responses",
                "GET",
                "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\n¦",
                TooManyInterim,
            ),
            (
                "interim bytes",
                "GET",
                "HTTP/1.1 100 C\r\na: 01234567890\r\n\r\nHTTP/1.1 100 C\r\na: 01234567890\r\n\r\n¦",
                InterimTooLong,
            ),
        ],
    );
    limits.head_bytes = 100;
    let chunked =
        |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let outcome = read_every_way(
        "GET",
        limits,
        chunked("1;a\r\nx\r\n0;b\r\na: 012345678901\r\n\r\n").as_bytes(),
        false,
    );
    assert!(outcome.told.ends_with("end kept"), "{outcome:?}");
    refuses_within(
        limits,
        &[
            (
                "extensions of all chunks",
                "GET",
                &chunked("1;a\r\nx\r\n1;bc¦\r\nx"),
                ChunkExtensionsTooLong,
            ),
            (
                "padding counts",
                "GET",
                &chunked("1     ¦\r\nx"),
                ChunkExtensionsTooLong,
            ),
            (
                "trailer bytes",
                "GET",
                &chunked("0\r\na: 01234567890123\r\n\r¦\n"),
                TrailersTooLong,
            ),
            (
                "trailer fields",
                "GET",
                &chunked("0\r\na: 0\r\nb¦: 1\r\n\r\n"),
                TooManyTrailers,
            ),
        ],
    );
}

#[test]
fn no_number_of_fields_panics() {
    let mut limits = Limits::default();
    limits.head_bytes = usize::MAX;
    limits.fields = usize::MAX;
    let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:\r\n".repeat(40_000));
    let outcome = read(codec("GET", limits), &[head.as_bytes()], false);
    assert_eq!(outcome.refused, Some(Violation::TooManyFields));
    let name = "n".repeat(70_000);
    let head = format!("HTTP/1.1 200 OK\r\n{name}: x\r\n\r\n");
    let outcome = read(codec("GET", limits), &[head.as_bytes()], false);
    assert_eq!(outcome.refused, Some(Violation::FieldName));
}

#[test]
fn endless_responses_end_within_their_limits() {
    let endless: [(&str, &[u8]); 6] = [
        ("", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 100 Continue\r\n", b"a: b\r\n"),
        ("HTTP/1.1 200 OK\r\na: ", b"x"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"0",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
            b"x",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"a: b\r\n",
        ),
    ];
    for (start, again) in endless {
        let mut codec = codec("GET", Limits::default());
        let mut input = BytesMut::from(start);
        let mut read = input.len();
        let refused = loop {
            match codec.receive(&mut input, false) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    input.extend_from_slice(again);
                    read += again.len();
                }
                Err(violation) => break violation,
            }
        };
        assert!(read <= 80 * 1024, "{start:?} {refused:?}: {read} bytes");
    }
}

/// Whole responses, and wrecks of them.
fn responses() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 ",
        "Content-Length: 5\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "x-y:z\r\n",
        "a : b\r\n",
        " folded\r\n",
        "\r\n",
        "\r",
        "\n",
        "\0",
        ":",
        "5\r\nhello\r\n",
        "3;e=f\r\nabc\r\n",
        "0\r\n",
        "0\r\n\r\n",
        "hello",
        "é",
        "ffffffffffffffff\r\n",
    ]);
    (
        prop::bool::weighted(0.8),
        prop::collection::vec(pieces, 0..10),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
    )
        .prop_map(|(begins_well, pieces, flips)| {
            let mut bytes = Vec::new();
            if begins_well {
                bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
            }
            for piece in pieces {
                bytes.extend(bytes_of(piece));
            }
            for (index, byte) in flips {
                if !bytes.is_empty() {
                    let at = index.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn any_cut_of_the_same_bytes_gives_the_same_events(
        bytes in responses(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        eof: bool,
        small: bool,
    ) {
        let mut limits = Limits::default();
        if small {
            limits.head_bytes = 48;
            limits.fields = 2;
            limits.trailer_bytes = 8;
            limits.extension_bytes = 3;
            limits.interim = 1;
        }
        let whole = read(codec("GET", limits), &[&bytes], eof);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
        prop_assert_eq!(&read(codec("GET", limits), &pieces, eof), &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&read(codec("GET", limits), &single, eof), &whole);
    }
}
