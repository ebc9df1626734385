//! Responses as tables. Each is decoded whole, cut in two at every byte, and byte by byte; the
//! outcome must be the same.
//!
//! Most of them are in `cases/responses.txt`. In the tables here, `¦` marks the end of the
//! connection, or follows the byte that makes the response invalid.

#![allow(clippy::unwrap_used)] // a test may: clippy.toml speaks of test functions only, not of their helpers

mod cases;

use std::collections::HashSet;

use bytes::BytesMut;
use http::Version;
use httpcore_core_primitives::BodyLength;
use httpcore_proto_h1::codec::{
    CaptureRawHead, Codec, Event, Limits, ParserOptions, ProtocolError, RawHead, ReasonPhrase,
    SkippedFields,
};
use proptest::prelude::*;

/// Outcome of decoding a response.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    /// `status`, number of skipped fields, fields other than framing, `'data'`, trailers, `end`, and why the connection closes.
    events: String,
    refused: Option<ProtocolError>,
}

fn codec(method: &str, limits: Limits) -> Codec {
    let request = match method {
        "UPGRADE" => http::Request::get("http://localhost/")
            .header("connection", "upgrade")
            .header("upgrade", "websocket"),
        "POST" => http::Request::post("http://localhost/").header("content-length", "0"),
        "CLOSE" => http::Request::get("http://localhost/").header("connection", "close"),
        "1.0" => http::Request::get("http://localhost/").version(Version::HTTP_10),
        _ => http::Request::builder()
            .method(method)
            .uri("http://localhost:80/"),
    };
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let mut codec = Codec::new(limits);
    codec
        .encode_head(&parts, BodyLength::Known(0), &mut BytesMut::new())
        .unwrap();
    codec
}

/// Decodes `pieces` one after another, as a connection would.
fn read(mut codec: Codec, pieces: &[&[u8]], eof: bool) -> Outcome {
    let mut events = String::new();
    let mut data = Vec::new();
    let mut input = BytesMut::new();
    let mut ended = false;
    let mut pieces = pieces.iter();
    loop {
        let more = pieces.next();
        input.extend_from_slice(more.unwrap_or(&&b""[..]));
        let at_end = more.is_none() && eof;
        loop {
            let event = match codec.decode(&mut input, at_end) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(violation) => {
                    flush(&mut events, &mut data);
                    assert_eq!(
                        codec.decode(&mut input, true).unwrap_err(),
                        violation,
                        "once refused, always refused"
                    );
                    return Outcome {
                        events: events.trim().to_owned(),
                        refused: Some(violation),
                    };
                }
            };
            if let Event::Data(piece) = &event {
                assert!(!piece.is_empty());
                data.extend_from_slice(piece);
                continue;
            }
            flush(&mut events, &mut data);
            match event {
                Event::Informational(head) | Event::Head(head) => {
                    events += &format!("{}", head.status().as_u16());
                    match head.version() {
                        Version::HTTP_09 => events += "/0.9",
                        Version::HTTP_10 => events += "/1.0",
                        _ => {}
                    }
                    if let Some(reason) = head.extensions().get::<ReasonPhrase>() {
                        events += &format!("({})", reason.as_bytes().escape_ascii());
                    }
                    if SkippedFields::of(&head) > 0 {
                        events += &format!("-{}", SkippedFields::of(&head));
                    }
                    tell(&mut events, head.headers());
                    events += " ";
                }
                Event::Trailers(fields) => {
                    events += "trailers";
                    tell(&mut events, &fields);
                    events += " ";
                }
                Event::Data(_) => unreachable!(),
                Event::End => {
                    events += "end ";
                    ended = true;
                }
            }
        }
        if more.is_none() {
            break;
        }
    }
    flush(&mut events, &mut data);
    if ended {
        events += &match codec.can_reuse(&input) {
            Ok(()) => "kept".to_owned(),
            Err(reason) => format!("{reason:?}"),
        };
    } else if codec.can_reuse(&[]) == Err(httpcore_core_primitives::CloseReason::Upgraded) {
        events += &format!("switched '{}'", input.escape_ascii());
    } else {
        events += "waiting";
    }
    Outcome {
        events: events.trim().to_owned(),
        refused: None,
    }
}

fn flush(events: &mut String, data: &mut Vec<u8>) {
    if !data.is_empty() {
        *events += &format!("'{}' ", data.escape_ascii());
        data.clear();
    }
}

fn tell(events: &mut String, fields: &http::HeaderMap) {
    for (name, value) in fields {
        if !["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
            *events += &format!(" {name}={}", value.as_bytes().escape_ascii());
        }
    }
}

/// Decodes `bytes` cut in every way, and returns the one outcome.
fn read_every_way(method: &str, limits: Limits, bytes: &[u8], eof: bool) -> Outcome {
    read_in_every_way(|| codec(method, limits), bytes, eof)
}

fn read_in_every_way(codec: impl Fn() -> Codec, bytes: &[u8], eof: bool) -> Outcome {
    let whole = read(codec(), &[bytes], eof);
    for cut in 0..=bytes.len() {
        let (a, b) = bytes.split_at(cut);
        let cut_in_two = read(codec(), &[a, b], eof);
        assert_eq!(cut_in_two, whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(
        read(codec(), &single, eof),
        whole,
        "byte by byte: {}",
        bytes.escape_ascii()
    );
    whole
}

/// Returns the bytes of `text`: `é` and other characters stand for the one byte of Latin-1.
fn bytes_of(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(c as u32).expect("Latin-1"))
        .collect()
}

fn refuses_within(limits: Limits, rows: &[(&str, &str, &str, ProtocolError)]) {
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
        // A response is refused at the byte that makes it invalid, neither before nor after.
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

#[test]
fn valid_responses_are_decoded_as_in_the_table() {
    let mut rows = 0;
    for case in cases::responses() {
        let Ok(expected) = case.verdict else {
            continue;
        };
        let eof = case.mark.is_some();
        let outcome = read_every_way(case.request, Limits::default(), &case.bytes, eof);
        assert_eq!(
            (outcome.events.as_str(), outcome.refused),
            (expected, None),
            "{}: {}",
            case.rule,
            case.bytes.escape_ascii()
        );
        rows += 1;
    }
    assert!(rows >= 150, "{rows}");
}

#[test]
fn invalid_responses_are_refused_at_the_byte_that_breaks_a_rule() {
    let mut rows = 0;
    for case in cases::responses() {
        let Err(violation) = case.verdict else {
            continue;
        };
        let (request, limits) = (case.request, Limits::default());
        let mark = case.mark.expect("a mark in each refused case");
        let (certain, eof) = (&case.bytes[..mark], violation.starts_with("Closed"));
        let what = format!("{}: {}", case.rule, case.bytes.escape_ascii());
        if eof {
            assert_eq!(mark, case.bytes.len(), "nothing follows the end: {what}");
        }
        for eof in [eof, true] {
            let refused = read_every_way(request, limits, &case.bytes, eof).refused;
            assert_eq!(format!("{:?}", refused.unwrap()), violation, "{what}");
            assert_eq!(
                refused.unwrap().is_truncation(),
                violation.starts_with("Closed")
            );
        }
        // A response is refused at the byte that makes it invalid, neither before nor after.
        let at_once = read(codec(request, limits), &[certain], eof).refused;
        assert_eq!(format!("{:?}", at_once.unwrap()), violation, "late: {what}");
        let before = if eof { certain } else { &certain[..mark - 1] };
        let too_early = read(codec(request, limits), &[before], false).refused;
        assert_eq!(too_early, None, "early: {what}");
        rows += 1;
    }
    assert!(rows >= 150, "{rows}");
}

#[test]
fn three_hundred_different_cases_have_a_rule_each() {
    let cases = cases::responses();
    let mut seen = HashSet::new();
    for case in &cases {
        let what = case.bytes.escape_ascii().to_string();
        let has_section = case.rule.starts_with("RFC ") && case.rule.contains(" §");
        assert!(has_section || case.rule.contains("more room"), "{what}");
        assert!(
            seen.insert((case.request, what.clone(), case.mark)),
            "twice: {what}"
        );
    }
    assert!(seen.len() >= 300, "{}", seen.len());
}

#[test]
fn keep_alive_parameters_are_parsed_strictly_and_never_refused() {
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
        assert!(codec.decode(&mut input, false).unwrap().is_some());
        let hints = codec.hints();
        let idle_for = seconds.map(std::time::Duration::from_secs);
        assert_eq!(
            (hints.timeout, hints.max_requests),
            (idle_for, *more),
            "{fields:?}"
        );
    }
}

#[test]
fn each_limit_is_exact() {
    use ProtocolError::*;
    let mut limits = Limits::default();
    limits.max_head_size = 40;
    limits.max_headers = 2;
    limits.max_informational = 2;
    limits.max_informational_size = 60;
    limits.max_chunk_extension_size = 4;
    limits.max_trailer_size = 20;
    limits.max_trailers = 1;
    for response in [
        // 40 bytes
        "HTTP/1.1 204 No Content\r\na: 01234567\r\n\r\n",
        "HTTP/1.1 204 X\r\na: 1\r\nb: 2\r\n\r\n",
        "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 X\r\n\r\n",
    ] {
        let outcome = read_every_way("GET", limits, response.as_bytes(), false);
        assert!(
            outcome.events.ends_with("end kept"),
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
                "the first error is reported",
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
    limits.max_head_size = 100;
    let chunked =
        |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let outcome = read_every_way(
        "GET",
        limits,
        chunked("1;a\r\nx\r\n0;b\r\na: 012345678901\r\n\r\n").as_bytes(),
        false,
    );
    assert!(outcome.events.ends_with("end kept"), "{outcome:?}");
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
fn field_names_are_case_insensitive() {
    let names = "Accept-Ranges Age Cache-Control Connection Content-Encoding Content-Length \
                 Content-Type Date ETag Expires Keep-Alive Last-Modified Location Server \
                 Set-Cookie Strict-Transport-Security Transfer-Encoding Vary X-Unknown";
    for name in names.split_whitespace() {
        let mixed: String = (name.chars().enumerate())
            .map(|(at, letter)| match at % 3 {
                0 => letter.to_ascii_lowercase(),
                _ => letter.to_ascii_uppercase(),
            })
            .collect();
        let lower = name.to_ascii_lowercase();
        for original_case in [name, &lower, &name.to_ascii_uppercase(), &mixed] {
            let mut input = BytesMut::from(&*format!(
                "HTTP/1.1 204 No Content\r\n{original_case}: 0\r\n\r\n"
            ));
            let event = codec("GET", Limits::default()).decode(&mut input, false);
            let Ok(Some(Event::Head(head))) = event else {
                panic!("{original_case}: {event:?}")
            };
            let read: Vec<&str> = head.headers().keys().map(|name| name.as_str()).collect();
            assert_eq!(read, [&*lower], "{original_case}");
        }
    }
}

#[test]
fn full_body_is_taken_only_once_all_of_it_has_arrived() {
    let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP";
    let head = whole.len() - b"helloHTTP".len();
    for there in head..=whole.len() {
        let mut codec = codec("GET", Limits::default());
        let mut input = BytesMut::from(&whole[..there]);
        assert!(
            codec.try_take_full_body(&mut input).is_none(),
            "before the head"
        );
        assert!(matches!(
            codec.decode(&mut input, false),
            Ok(Some(Event::Head(_)))
        ));
        let before = input.clone();
        let taken = codec.try_take_full_body(&mut input);
        if there < head + 5 {
            assert_eq!((taken, &input), (None, &before), "{there}");
            continue;
        }
        assert_eq!(taken.as_deref(), Some(&b"hello"[..]), "{there}");
        assert_eq!(input, whole[head + 5..there]);
        assert_eq!(codec.can_reuse(&input).is_ok(), input.is_empty(), "{there}");
        assert!(codec.try_take_full_body(&mut input).is_none(), "taken once");
        assert!(matches!(codec.decode(&mut input, true), Ok(None)), "no end");
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut codec = codec("GET", Limits::default());
    let mut input = BytesMut::from(chunked);
    codec.decode(&mut input, false).unwrap();
    assert!(codec.try_take_full_body(&mut input).is_none(), "chunks");
}

#[test]
fn any_number_of_fields_is_decoded_or_refused_without_a_panic() {
    let mut limits = Limits::default();
    limits.max_head_size = usize::MAX;
    limits.max_headers = usize::MAX;
    let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:\r\n".repeat(40_000));
    let outcome = read(codec("GET", limits), &[head.as_bytes()], false);
    assert_eq!(outcome.refused, Some(ProtocolError::TooManyFields));
    let name = "n".repeat(70_000);
    let head = format!("HTTP/1.1 200 OK\r\n{name}: x\r\n\r\n");
    let outcome = read(codec("GET", limits), &[head.as_bytes()], false);
    assert_eq!(outcome.refused, Some(ProtocolError::FieldName));
}

#[test]
fn endless_responses_are_refused_at_their_limits() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = |rest: &str| format!("{CHUNKED}{rest}");
    let endless: [(String, &[u8]); 15] = [
        (String::new(), b"HTTP/1.1 100 Continue\r\n\r\n"),
        (
            String::new(),
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n",
        ),
        ("HTTP/1.1 100 Continue\r\n".into(), b"a: b\r\n"),
        ("HTTP/1.1 100 ".into(), b"x"),
        ("HTTP/1.1 200 ".into(), b"x"),
        ("HTTP/1.1 200 OK\r\n".into(), b"x"),
        ("HTTP/1.1 200 OK\r\n".into(), b"no field\r\n"),
        ("HTTP/1.1 200 OK\r\n".into(), b"\x01"),
        ("HTTP/1.1 200 OK\r\na: ".into(), b"x"),
        ("HTTP/1.1 200 OK\r\na:".into(), b" "),
        ("HTTP/1.1 200 OK\r\nContent-Length: ".into(), b"0"),
        (chunked(""), b"0"),
        (chunked("1;"), b"x"),
        (chunked("1"), b" "),
        (chunked("0\r\n"), b"a: b\r\n"),
    ];
    let mut lenient = ParserOptions::default();
    (lenient.bare_lf, lenient.obs_fold) = (true, true);
    (lenient.space_before_colon, lenient.malformed_fields) = (true, true);
    for options in [ParserOptions::default(), lenient] {
        for (start, again) in &endless {
            let mut codec = codec("GET", Limits::default()).with_options(options);
            let mut input = BytesMut::from(&**start);
            let mut read = input.len();
            let refused = loop {
                match codec.decode(&mut input, false) {
                    Ok(Some(_)) => {}
                    Ok(None) => {
                        input.extend_from_slice(again);
                        read += again.len();
                    }
                    Err(violation) => break violation,
                }
            };
            let what = format!("{start:?} {refused:?}: {read} bytes read");
            assert!(read <= 80 * 1024, "{what}");
            assert!(
                input.capacity() <= 256 * 1024,
                "{what}, {} held",
                input.capacity()
            );
        }
    }
}

/// A row: the rule, the response, and its outcomes: strict, and with an option.
type LenientRow<'a> = (
    &'a str,
    &'a str,
    ProtocolError,
    Result<&'a str, ProtocolError>,
);

fn differs_by(set: impl Fn(&mut ParserOptions), rows: &[LenientRow<'_>]) {
    let mut options = ParserOptions::default();
    set(&mut options);
    for (rule, response, strictly, leniently) in rows {
        let (bytes, eof) = match response.split_once('¦') {
            Some((before, _)) => (bytes_of(before), true),
            None => (bytes_of(response), false),
        };
        let outcome = read_every_way("GET", Limits::default(), &bytes, eof);
        assert_eq!(outcome.refused, Some(*strictly), "{rule}: {response:?}");
        let lenient = || codec("GET", Limits::default()).with_options(options);
        let outcome = read_in_every_way(lenient, &bytes, eof);
        let became = match outcome.refused {
            None => Ok(&*outcome.events),
            Some(violation) => Err(violation),
        };
        assert_eq!(became, *leniently, "{rule}: {response:?}");
    }
}

#[test]
fn obs_fold_unfolds_lines() {
    use ProtocolError::*;
    differs_by(
        |options| options.obs_fold = true,
        &[
            (
                "RFC 9112 §5.2: a fold is a space",
                "HTTP/1.1 204 No Content\r\na: b\r\n \t c\r\nd: e\r\n\r\n",
                LeadingWhitespace,
                Ok("204 a=b c d=e end kept"),
            ),
            (
                "RFC 9112 §5.2: several, and an empty one",
                "HTTP/1.1 204 No Content\r\na:\r\n b\r\n\t\r\n c \r\n\r\n",
                LeadingWhitespace,
                Ok("204 a=b  c end kept"),
            ),
            (
                "RFC 9112 §5.2: what looks like a field is a value",
                "HTTP/1.1 200 OK\r\na: b\r\n Content-Length: 3\r\n\r\nx¦",
                LeadingWhitespace,
                Ok("200 a=b Content-Length: 3 'x' end EndedByClose"),
            ),
            (
                "RFC 9110 §8.6: a length in two pieces is none",
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n",
                LeadingWhitespace,
                Err(ContentLength),
            ),
            (
                "RFC 9112 §2.2: nothing to continue",
                "HTTP/1.1 204 No Content\r\n a: b\r\n\r\n",
                LeadingWhitespace,
                Err(LeadingWhitespace),
            ),
            (
                "RFC 9112 §7.1.2: trailers too",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\r\n c\r\n\r\n",
                LeadingWhitespace,
                Ok("200 trailers a=b c end kept"),
            ),
            (
                "the other rules hold",
                "HTTP/1.1 204 No Content\r\na: b\r\n c\n\r\n",
                LeadingWhitespace,
                Err(BareLf),
            ),
        ],
    );
}

#[test]
fn space_before_colon_drops_the_space() {
    use ProtocolError::*;
    differs_by(
        |options| options.space_before_colon = true,
        &[
            (
                "RFC 9112 §5.1",
                "HTTP/1.1 204 No Content\r\na \t: b\r\nc:d\r\n\r\n",
                SpaceBeforeColon,
                Ok("204 a=b c=d end kept"),
            ),
            (
                "RFC 9112 §5.1: and it is the field that it says",
                "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nab",
                SpaceBeforeColon,
                Ok("200 'ab' end kept"),
            ),
            (
                "RFC 9110 §5.1: not within a name",
                "HTTP/1.1 204 No Content\r\na b: c\r\n\r\n",
                SpaceBeforeColon,
                Err(SpaceBeforeColon),
            ),
            (
                "RFC 9110 §5.1: nor without a colon",
                "HTTP/1.1 204 No Content\r\na \r\n\r\n",
                SpaceBeforeColon,
                Err(SpaceBeforeColon),
            ),
        ],
    );
}

#[test]
fn bare_lf_accepts_lf_alone_as_the_end_of_a_line() {
    use ProtocolError::*;
    differs_by(
        |options| options.bare_lf = true,
        &[
            (
                "RFC 9112 §2.2",
                "HTTP/1.1 200 OK\na: b\nContent-Length: 2\n\nab",
                BareLf,
                Ok("200 a=b 'ab' end kept"),
            ),
            (
                "RFC 9112 §2.2: in any mixture",
                "HTTP/1.1 200\na: b\r\nContent-Length: 2\n\r\nab",
                BareLf,
                Ok("200() a=b 'ab' end kept"),
            ),
            (
                "RFC 9112 §2.2: trailers too",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\n\n",
                BareLf,
                Ok("200 trailers a=b end kept"),
            ),
            (
                "RFC 9112 §2.2: and the end without any",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n",
                BareLf,
                Ok("200 end kept"),
            ),
            (
                "RFC 9112 §7.1: the framing of chunks is no matter of taste",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\n\r\n",
                BareLf,
                Err(BareLf),
            ),
            (
                "RFC 9112 §2.2: a CR alone ends nothing",
                "HTTP/1.1 204 No Content\r\na: b\rc: d\n\n",
                BareCr,
                Err(BareCr),
            ),
            (
                "RFC 9110 §5.1: a name needs its colon",
                "HTTP/1.1 204 No Content\na\n\n",
                BareLf,
                Err(FieldName),
            ),
        ],
    );
}

#[test]
fn http09_accepts_a_response_without_a_head() {
    use ProtocolError::*;
    differs_by(
        |options| options.http09 = true,
        &[
            (
                "RFC 1945 §6: a simple response",
                "<html>¦",
                NotHttp,
                Ok("200/0.9 '<html>' end EndedByClose"),
            ),
            (
                "RFC 1945 §6: shorter than a version",
                "HTT¦",
                ClosedInHead,
                Ok("200/0.9 'HTT' end EndedByClose"),
            ),
            (
                "RFC 1945 §6: nothing at all is no answer",
                "¦",
                ClosedBeforeHead,
                Err(ClosedBeforeHead),
            ),
            (
                "RFC 9112 §2.3: what claims a version keeps to it",
                "HTTP/0.9 200 OK\r\n\r\n¦",
                Version,
                Err(Version),
            ),
            (
                "RFC 9110 §15.2: a server that has sent 100 is HTTP/1.1",
                "HTTP/1.1 100 Continue\r\n\r\nhello¦",
                NotHttp,
                Err(NotHttp),
            ),
        ],
    );
    // RFC 1945 §8.1: HTTP/0.9 has only GET; and bytes after an exchange may be the rest of it.
    let mut options = ParserOptions::default();
    options.http09 = true;
    let head = codec("HEAD", Limits::default()).with_options(options);
    assert_eq!(read(head, &[b"hello"], true).refused, Some(NotHttp));
    let mut second = codec("GET", Limits::default()).with_options(options);
    let mut input = BytesMut::from("HTTP/1.1 204 No Content\r\n\r\n");
    while second.decode(&mut input, false).unwrap().is_some() {}
    let (parts, ()) = http::Request::get("http://a/")
        .body(())
        .unwrap()
        .into_parts();
    second
        .encode_head(&parts, BodyLength::Known(0), &mut BytesMut::new())
        .unwrap();
    assert_eq!(read(second, &[b"hello"], true).refused, Some(NotHttp));
}

#[test]
fn length_beside_coding_ignores_the_length_and_closes_the_connection() {
    use ProtocolError::*;
    differs_by(
        |options| options.length_beside_coding = true,
        &[
            (
                "RFC 9112 §6.3 rule 3: Transfer-Encoding overrides Content-Length",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n0\r\n\r\n",
                LengthAndCoding,
                Ok("200 'abc' end AmbiguousLength"),
            ),
            (
                "RFC 9112 §6.3 rule 3: in the other order, and with trailers",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n\
                 1\r\na\r\n0\r\nb: c\r\n\r\n",
                LengthAndCoding,
                Ok("200 'a' trailers b=c end AmbiguousLength"),
            ),
            (
                "RFC 9112 §6.3 rule 3: whatever the length says",
                "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\nTransfer-Encoding: chunked\r\n\
                 Content-Length: x\r\n\r\n0\r\n\r\n",
                LengthAndCoding,
                Ok("200 end AmbiguousLength"),
            ),
            (
                "RFC 9112 §9.6: close says it already",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\
                 Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                LengthAndCoding,
                Ok("200 end PeerSaidClose"),
            ),
            (
                "RFC 9112 §8: the chunks must end all the same",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nab\r\n¦",
                LengthAndCoding,
                Err(ClosedInChunks),
            ),
            (
                "RFC 9112 §6.1: other codings keep to their own switch",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                LengthAndCoding,
                Err(Coding),
            ),
            (
                "RFC 9112 §6.1: not in HTTP/1.0",
                "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
                CodingInHttp10,
                Err(CodingInHttp10),
            ),
            (
                "RFC 9112 §6.1: an interim response has no body",
                "HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\
                 Transfer-Encoding: chunked\r\n\r\n",
                InterimBody,
                Err(InterimBody),
            ),
            (
                "RFC 9112 §6.3 rule 5: differing lengths alone stay refused",
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                LengthsDiffer,
                Err(LengthsDiffer),
            ),
        ],
    );
    // Responses without a body close the connection too, and the ignored field is removed.
    let mut options = ParserOptions::default();
    options.length_beside_coding = true;
    let both = "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (method, status) in [
        ("HEAD", "200 OK"),
        ("GET", "304 Not Modified"),
        ("GET", "204 No Content"),
    ] {
        let lenient = || codec(method, Limits::default()).with_options(options);
        let bytes = format!("HTTP/1.1 {status}\r\n{both}");
        let outcome = read_in_every_way(lenient, bytes.as_bytes(), false);
        let expected = format!("{} end AmbiguousLength", &status[..3]);
        assert_eq!(
            (outcome.events, outcome.refused),
            (expected, None),
            "{method}"
        );
    }
    let mut input = BytesMut::from(&*format!("HTTP/1.1 200 OK\r\n{both}"));
    let mut codec = codec("GET", Limits::default()).with_options(options);
    let Ok(Some(Event::Head(head))) = codec.decode(&mut input, false) else {
        panic!("no head");
    };
    assert_eq!(head.headers().len(), 1);
    assert_eq!(head.headers()["transfer-encoding"], "chunked");
}

#[test]
fn codings_before_chunked_delivers_the_encoded_body() {
    use ProtocolError::*;
    differs_by(
        |options| options.codings_before_chunked = true,
        &[
            (
                "RFC 9112 §7: identity, which older HTTP had",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, chunked\r\n\r\n\
                 1\r\na\r\n0\r\n\r\n",
                Coding,
                Ok("200 'a' end kept"),
            ),
            (
                "RFC 9112 §7.2: a compressed body stays compressed",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n\
                 2\r\n\x1f\x0b\r\n0\r\n\r\n",
                Coding,
                Ok("200 '\\x1f\\x0b' end kept"),
            ),
            (
                "RFC 9112 §7: several, in any letters, over two lines, with a parameter",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Foo;bar=1,, deflate\r\n\
                 Transfer-Encoding: Chunked\r\n\r\n0\r\na: b\r\n\r\n",
                Coding,
                Ok("200 trailers a=b end kept"),
            ),
            (
                "RFC 9112 §6.1: chunked is the last",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
                Coding,
                Err(Coding),
            ),
            (
                "RFC 9112 §6.1: and applied once",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked, chunked\r\n\r\n",
                Coding,
                Err(Coding),
            ),
            (
                "RFC 9112 §6.1: also behind others",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip, chunked\r\n\r\n",
                Coding,
                Err(Coding),
            ),
            (
                "RFC 9112 §6.3 rule 4: without chunked there is no end",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
                Coding,
                Err(Coding),
            ),
            (
                "RFC 9112 §7: chunked has no parameters",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked;a=b\r\n\r\n",
                Coding,
                Err(Coding),
            ),
            (
                "RFC 9110 §5.6.4: a comma in quotes is none",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: a;b=\"c, chunked\r\n\r\n",
                Coding,
                Err(Coding),
            ),
            (
                "RFC 9112 §7: a coding has a name",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: a b, chunked\r\n\r\n",
                Coding,
                Err(Coding),
            ),
            (
                "RFC 9112 §6.3 rule 3: a length beside it keeps to its own switch",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 1\r\n\r\n",
                LengthAndCoding,
                Err(LengthAndCoding),
            ),
        ],
    );
    // The response still declares the coding of its body.
    let mut options = ParserOptions::default();
    options.codings_before_chunked = true;
    let mut input = BytesMut::from("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
    let mut codec = codec("GET", Limits::default()).with_options(options);
    let Ok(Some(Event::Head(head))) = codec.decode(&mut input, false) else {
        panic!("no head");
    };
    assert_eq!(head.headers()["transfer-encoding"], "gzip, chunked");
}

#[test]
fn malformed_fields_skips_and_counts_them() {
    use ProtocolError::*;
    differs_by(
        |options| options.malformed_fields = true,
        &[
            (
                "RFC 9112 §5: no colon",
                "HTTP/1.1 204 No Content\r\na: b\r\nno\r\nc: d\r\n\r\n",
                FieldName,
                Ok("204-1 a=b c=d end kept"),
            ),
            (
                "RFC 9112 §5: words of a page, in front and at the end",
                "HTTP/1.1 204 No Content\r\nWarning in line 7\r\na: b\r\nnot: ok here: \r\nsee \r\n\r\n",
                SpaceBeforeColon,
                Ok("204-2 a=b not=ok here: end kept"),
            ),
            (
                "RFC 9110 §5.1: no name",
                "HTTP/1.1 204 No Content\r\n: x\r\n:\r\na: b\r\n\r\n",
                EmptyFieldName,
                Ok("204-2 a=b end kept"),
            ),
            (
                "RFC 9110 §5.1: a byte that no name may hold, at its start, within it, and white space",
                "HTTP/1.1 204 No Content\r\n(a: b\r\nc(: d\r\ne f: g\r\n\u{e9}: h\r\ni: j\r\n\r\n",
                FieldName,
                Ok("204-4 i=j end kept"),
            ),
            (
                "RFC 9110 §5.5: control characters in a value",
                "HTTP/1.1 204 No Content\r\na: \0\r\nb: c\x07: d\r\ne: f\x7f\r\ng: h\r\n\r\n",
                FieldValue,
                Ok("204-3 g=h end kept"),
            ),
            (
                "RFC 9112 §6.3: what frames the body is not skipped for its value",
                "HTTP/1.1 200 OK\r\nCONTENT-length: 1\0\r\n\r\n",
                FieldValue,
                Err(FieldValue),
            ),
            (
                "RFC 9112 §6.3: nor a coding",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\x0b\r\n\r\n",
                FieldValue,
                Err(FieldValue),
            ),
            (
                "RFC 9110 §15.2: of an interim response, which is counted apart",
                "HTTP/1.1 103 Early Hints\r\nno\r\n\r\nHTTP/1.1 204 No Content\r\n:\r\n:\r\n\r\n",
                FieldName,
                Ok("103-1 204-2 end kept"),
            ),
            (
                "RFC 9112 §7.1.2: not in trailers",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno\r\n\r\n",
                FieldName,
                Err(FieldName),
            ),
            (
                "RFC 9112 §5.1: space before a colon keeps to its own switch",
                "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n",
                SpaceBeforeColon,
                Err(SpaceBeforeColon),
            ),
            (
                "RFC 9112 §5.2: and so does folding",
                "HTTP/1.1 204 No Content\r\nno\r\n fold\r\n\r\n",
                FieldName,
                Err(LeadingWhitespace),
            ),
            (
                "RFC 9112 §2.2: and LF alone",
                "HTTP/1.1 204 No Content\r\nno\n\r\n",
                FieldName,
                Err(BareLf),
            ),
            (
                "RFC 9112 §2.2: CR alone ends no line and is in none",
                "HTTP/1.1 204 No Content\r\nno\rContent-Length: 1\r\n\r\n",
                FieldName,
                Err(BareCr),
            ),
            (
                "RFC 9112 §4: the status line is no field",
                "HTTP/1.1 2x0\r\n\r\n",
                StatusCode,
                Err(StatusCode),
            ),
        ],
    );
    // Together with the others.
    differs_by(
        |options| {
            (options.malformed_fields, options.obs_fold) = (true, true);
            (options.bare_lf, options.space_before_colon) = (true, true);
        },
        &[
            (
                "RFC 9112 §5.2: what continues a skipped line is skipped with it",
                "HTTP/1.1 204 No Content\nno\n a: b\n\tc\nd : e\n f\ng h\n:\n i\n\n",
                BareLf,
                Ok("204-3 d=e f end kept"),
            ),
            (
                "RFC 9112 §5.2: of a value too",
                "HTTP/1.1 204 No Content\r\na: \0\r\n b\r\nc: d\r\n\r\n",
                FieldValue,
                Ok("204-1 c=d end kept"),
            ),
            (
                "RFC 9112 §5.2: a fold is not skipped without what it continues",
                "HTTP/1.1 204 No Content\r\na: b\r\n \0\r\n\r\n",
                LeadingWhitespace,
                Err(FieldValue),
            ),
            (
                "RFC 9112 §5.1: a name, and white space, and no colon",
                "HTTP/1.1 204 No Content\r\na \r\nb \t\nc : \r\n\r\n",
                SpaceBeforeColon,
                Ok("204-2 c= end kept"),
            ),
        ],
    );
    // Skipped lines count like others.
    let mut options = ParserOptions::default();
    options.malformed_fields = true;
    let mut limits = Limits::default();
    limits.max_headers = 3;
    let lenient = || codec("GET", limits).with_options(options);
    for (lines, refused) in [
        ("a:\r\n:\r\nno\r\n", None),
        ("a:\r\n:\r\nno\r\n:\r\n", Some(TooManyFields)),
        ("a:\r\n:\r\nno\r\nno\r\n", Some(TooManyFields)),
        ("a:\r\nb:\0\r\nno\r\nc:\r\n", Some(TooManyFields)),
    ] {
        let bytes = format!("HTTP/1.1 204 No Content\r\n{lines}\r\n");
        let outcome = read_in_every_way(lenient, bytes.as_bytes(), false);
        assert_eq!(outcome.refused, refused, "{lines:?} {outcome:?}");
    }
}

#[test]
fn lenient_parsing_has_the_same_limits() {
    let mut options = ParserOptions::default();
    (options.bare_lf, options.obs_fold) = (true, true);
    let mut limits = Limits::default();
    (limits.max_head_size, limits.max_headers) = (32, 2);
    let lenient = || codec("GET", limits).with_options(options);
    for (response, refused) in [
        // 32 bytes, and more in strict form.
        ("HTTP/1.1 204 No Content\na:\nb:x\n\n", None),
        (
            "HTTP/1.1 204 No Content\na:\nb:xx\n\n",
            Some(ProtocolError::HeadTooLong),
        ),
        (
            "HTTP/1.1 204 No\na:\nb:\nc:\n\n",
            Some(ProtocolError::TooManyFields),
        ),
        (
            "HTTP/1.1 204 No\na:\n \n \n \n \n \n \n \n \n \n",
            Some(ProtocolError::HeadTooLong),
        ),
    ] {
        let outcome = read_in_every_way(lenient, response.as_bytes(), false);
        assert_eq!(outcome.refused, refused, "{response:?} {outcome:?}");
    }
}

#[test]
fn raw_head_is_captured_only_on_request() {
    let heads = b"HTTP/1.1 103 Early Hints\r\nLINK: a\r\n\r\n\
                  HTTP/1.1 200 Fine\r\nb: 1 \r\nContent-LENGTH:2\r\nA:2\r\nB:\r\n\r\nok";
    for asked in [false, true] {
        let mut request = http::Request::get("http://a/");
        if asked {
            request = request.extension(CaptureRawHead);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut codec = Codec::default();
        codec
            .encode_head(&parts, BodyLength::Known(0), &mut BytesMut::new())
            .unwrap();
        let mut input = BytesMut::from(&heads[..]);
        let Some(Event::Informational(hints)) = codec.decode(&mut input, false).unwrap() else {
            panic!()
        };
        let Some(Event::Head(head)) = codec.decode(&mut input, false).unwrap() else {
            panic!()
        };
        let raw = |head: &http::Response<()>| head.extensions().get::<RawHead>().cloned();
        if !asked {
            assert_eq!((raw(&hints), raw(&head)), (None, None));
            continue;
        }
        assert_eq!(
            raw(&hints).unwrap().fields().collect::<Vec<_>>(),
            [(&b"LINK"[..], &b"a"[..])]
        );
        let raw = raw(&head).unwrap();
        assert_eq!(
            raw.as_bytes(),
            "HTTP/1.1 200 Fine\r\nb: 1 \r\nContent-LENGTH:2\r\nA:2\r\nB:\r\n\r\n"
        );
        assert_eq!(
            raw.fields().collect::<Vec<_>>(),
            [
                (&b"b"[..], &b"1"[..]),
                (b"Content-LENGTH", b"2"),
                (b"A", b"2"),
                (b"B", b"")
            ]
        );
        let Some(Event::Data(data)) = codec.decode(&mut input, false).unwrap() else {
            panic!()
        };
        assert_eq!(data, "ok");
    }
}

/// Whole responses, and damaged ones.
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

fn limits_of(small: bool) -> Limits {
    let mut limits = Limits::default();
    if small {
        limits.max_head_size = 48;
        limits.max_headers = 2;
        limits.max_trailer_size = 8;
        limits.max_chunk_extension_size = 3;
        limits.max_informational = 1;
    }
    limits
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn any_cut_of_the_same_bytes_gives_the_same_events(
        bytes in responses(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        eof: bool,
        small: bool,
        let_through: [bool; 6],
    ) {
        let mut options = ParserOptions::default();
        [options.bare_lf, options.obs_fold, options.space_before_colon, ..] = let_through;
        [.., options.length_beside_coding, _, _] = let_through;
        [.., options.codings_before_chunked, options.malformed_fields] = let_through;
        let codec = || codec("GET", limits_of(small)).with_options(options);
        let whole = read(codec(), &[&bytes], eof);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
        prop_assert_eq!(&read(codec(), &pieces, eof), &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&read(codec(), &single, eof), &whole);
    }
}
