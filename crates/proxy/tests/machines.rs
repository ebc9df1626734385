//! The negotiations as tables: every answer is cut at every byte, and must come to the same.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fmt::Write as _;

use bytes::BytesMut;
use http::{HeaderValue, header::PROXY_AUTHORIZATION};
use httpcore_core_primitives::Credentials;
use httpcore_proxy::{
    Connect, MAX_REFUSAL_BODY, Negotiation, Progress, ProxyError, Socks4, Socks5, Target,
};

/// Plays `answers` in turn, each once the output before it has been taken, in pieces of `cut` and
/// the rest. Yields what was sent, what came of it, and what was left of the input.
fn play(
    mut machine: impl Negotiation,
    answers: &[&[u8]],
    cut: usize,
    eof: bool,
) -> (Vec<Vec<u8>>, String, Vec<u8>) {
    let mut sent = Vec::new();
    let mut input = BytesMut::new();
    let mut outcome = Ok(Progress::Pending);
    let mut take_output = |machine: &mut dyn Negotiation| {
        let output = machine.output().to_vec();
        if !output.is_empty() {
            machine.advance(output.len());
            sent.push(output);
        }
    };
    'all: for answer in answers {
        take_output(&mut machine);
        let (first, second) = answer.split_at(cut.min(answer.len()));
        for piece in [first, second]
            .into_iter()
            .filter(|piece| !piece.is_empty())
        {
            input.extend_from_slice(piece);
            outcome = machine.receive(&mut input, false);
            if !matches!(outcome, Ok(Progress::Pending)) {
                break 'all;
            }
        }
    }
    if eof && matches!(outcome, Ok(Progress::Pending)) {
        take_output(&mut machine);
        outcome = machine.receive(&mut input, true);
    }
    let mut text = String::new();
    match outcome {
        Ok(progress) => write!(text, "{progress:?}").unwrap(),
        Err(ProxyError::Refused(refusal)) => write!(
            text,
            "refused {} {} {}",
            refusal.status.as_u16(),
            String::from_utf8_lossy(&refusal.body),
            refusal.is_complete
        )
        .unwrap(),
        Err(error) => write!(text, "{error}").unwrap(),
    }
    take_output(&mut machine);
    (sent, text, input.to_vec())
}

fn at_every_cut(
    machine: impl Fn() -> Box<dyn Negotiation>,
    answers: &[&[u8]],
    eof: bool,
) -> (Vec<Vec<u8>>, String, Vec<u8>) {
    let whole = play(Boxed(machine()), answers, usize::MAX, eof);
    let longest = answers.iter().map(|answer| answer.len()).max().unwrap_or(0);
    for cut in 0..=longest {
        let (sent, outcome, rest) = play(Boxed(machine()), answers, cut, eof);
        assert_eq!((&sent, &outcome), (&whole.0, &whole.1), "cut at {cut}");
        // What follows the last message may still be on its way.
        if outcome == "Done" {
            assert!(whole.2.starts_with(&rest), "cut at {cut}");
        }
    }
    whole
}

#[derive(Debug)]
struct Boxed(Box<dyn Negotiation>);
impl Negotiation for Boxed {
    fn output(&self) -> &[u8] {
        self.0.output()
    }
    fn advance(&mut self, written: usize) {
        self.0.advance(written);
    }
    fn receive(&mut self, input: &mut BytesMut, eof: bool) -> Result<Progress, ProxyError> {
        self.0.receive(input, eof)
    }
}

fn target(host: &str, port: u16) -> Target {
    Target::new(host, port).unwrap()
}

#[test]
fn socks4_sends_an_address_or_a_name_and_reads_eight_bytes() {
    for (host, request) in [
        ("1.2.3.4", &b"\x04\x01\x00\x50\x01\x02\x03\x04me\0"[..]),
        (
            "a.test",
            &b"\x04\x01\x00\x50\x00\x00\x00\x01me\0a.test\0"[..],
        ),
    ] {
        for (answer, outcome, rest) in [
            (&b"\0\x5a\0\0\0\0\0\0"[..], "Done", &b""[..]),
            (b"\x04\x5a\0\0\0\0\0\0", "Done", b""),
            (b"\0\x5a\0\0\0\0\0\0early", "Done", b"early"),
            (
                b"\0\x5b\0\0\0\0\0\0",
                "the SOCKS proxy refused to connect: general failure",
                b"",
            ),
            (
                b"\0\x5d\0\0\0\0\0\0",
                "the SOCKS proxy refused to connect: the identd reports another user",
                b"",
            ),
            (
                b"\0\x07\0\0\0\0\0\0",
                "the SOCKS proxy refused to connect: code 7",
                b"",
            ),
            (
                b"HTTP/1.1 400 Bad\r\n",
                "malformed answer from the proxy: not a SOCKS4 reply",
                b"",
            ),
            (
                b"\0\x5a\0",
                "the proxy closed the connection before the tunnel was open",
                b"",
            ),
            (
                b"",
                "the proxy closed the connection before the tunnel was open",
                b"",
            ),
        ] {
            let machine = || -> Box<dyn Negotiation> {
                Box::new(Socks4::new(&target(host, 80), Some("me")).unwrap())
            };
            let (sent, found, left) = at_every_cut(machine, &[answer], true);
            assert_eq!((&sent[0][..], &*found), (request, outcome));
            if outcome == "Done" {
                assert_eq!(left, rest);
            }
        }
    }
    assert!(matches!(
        Socks4::new(&target("::1", 80), None),
        Err(ProxyError::UnsupportedTarget(_))
    ));
    assert!(Socks4::new(&target("a", 80), Some("a\0b")).is_err());
}

#[test]
fn socks5_negotiates_a_method_authenticates_and_connects() {
    let credentials = Credentials::new("me", "pw");
    let ok = &b"\x05\0\0\x01\x01\x02\x03\x04\x01\xbb"[..];
    type Row<'a> = (Option<&'a Credentials>, &'a [&'a [u8]], usize, &'a str);
    let rows: &[Row<'_>] = &[
        (None, &[b"\x05\0", ok], 2, "Done"),
        (Some(&credentials), &[b"\x05\0", ok], 2, "Done"),
        (Some(&credentials), &[b"\x05\x02", b"\x01\0", ok], 3, "Done"),
        (Some(&credentials), &[b"\x05\x02", b"\x05\0", ok], 3, "Done"),
        (
            None,
            &[b"\x05\0", b"\x05\0\0\x04aaaabbbbccccdddd\0\x01"],
            2,
            "Done",
        ),
        (None, &[b"\x05\0", b"\x05\0\0\x03\x03abc\0\x01"], 2, "Done"),
        (None, &[b"\x05\0", b"\x05\0\0\x03\0\0\x01"], 2, "Done"),
        (
            Some(&credentials),
            &[b"\x05\x02", b"\x01\x01"],
            2,
            "the SOCKS5 proxy rejected the user name and password",
        ),
        (
            None,
            &[b"\x05\xff"],
            1,
            "the SOCKS5 proxy accepts none of the authentication methods offered",
        ),
        (
            None,
            &[b"\x05\x02"],
            1,
            "malformed answer from the proxy: a SOCKS5 authentication method that was not offered",
        ),
        (
            None,
            &[b"\x04\x5a"],
            1,
            "malformed answer from the proxy: not a SOCKS5 method selection",
        ),
        (
            None,
            &[b"\x05\0", b"\x05\x05\0\x01\0\0\0\0\0\0"],
            2,
            "the SOCKS proxy refused to connect: connection refused",
        ),
        (
            None,
            &[b"\x05\0", b"\x05\x02"],
            2,
            "the SOCKS proxy refused to connect: connection not allowed by ruleset",
        ),
        (
            None,
            &[b"\x05\0", b"\x05\x2a\0"],
            2,
            "the SOCKS proxy refused to connect: code 42",
        ),
        (
            None,
            &[b"\x05\0", b"\x05\0\0\x09\0\0\0"],
            2,
            "malformed answer from the proxy: an unknown SOCKS5 address type",
        ),
        (
            None,
            &[b"\x05\0", b"HTTP"],
            2,
            "malformed answer from the proxy: not a SOCKS5 reply",
        ),
        (
            None,
            &[b"\x05\0", b"\x05\0\0\x01\x01"],
            2,
            "the proxy closed the connection before the tunnel was open",
        ),
        (
            None,
            &[b"\x05"],
            1,
            "the proxy closed the connection before the tunnel was open",
        ),
    ];
    for (credentials, answers, messages, outcome) in rows {
        let machine = || -> Box<dyn Negotiation> {
            Box::new(Socks5::new(&target("a.test", 443), *credentials).unwrap())
        };
        let (sent, found, _) = at_every_cut(machine, answers, true);
        assert_eq!((sent.len(), &*found), (*messages, *outcome), "{answers:?}");
    }
}

#[test]
fn socks5_sends_what_the_rfcs_say() {
    let credentials = Credentials::new("me", "p");
    for (host, request) in [
        ("a.test", &b"\x05\x01\0\x03\x06a.test\x01\xbb"[..]),
        ("1.2.3.4", b"\x05\x01\0\x01\x01\x02\x03\x04\x01\xbb"),
        (
            "::1",
            b"\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb",
        ),
    ] {
        let machine = Socks5::new(&target(host, 443), Some(&credentials)).unwrap();
        let (sent, ..) = play(machine, &[b"\x05\x02", b"\x01\0"], usize::MAX, false);
        assert_eq!(sent, [&b"\x05\x02\0\x02"[..], b"\x01\x02me\x01p", request]);
    }
}

#[test]
fn bytes_after_a_socks_reply_belong_to_the_tunnel() {
    let machine = Socks5::new(&target("a.test", 443), None).unwrap();
    let answer = &b"\x05\0\0\x01\0\0\0\0\0\0hello"[..];
    let (_, outcome, rest) = play(machine, &[b"\x05\0", answer], usize::MAX, false);
    assert_eq!((&*outcome, &rest[..]), ("Done", &b"hello"[..]));
    // An answer to what has not been asked yet does not.
    let machine = Socks5::new(&target("a.test", 443), None).unwrap();
    let (_, outcome, _) = play(machine, &[b"\x05\0\x05\0\0\x01"], usize::MAX, false);
    assert_eq!(
        outcome,
        "malformed answer from the proxy: a SOCKS5 answer before its request"
    );
}

#[test]
fn socks5_credentials_have_one_to_255_bytes() {
    for (user, password, is_ok) in [
        ("a".repeat(255), "b".repeat(255), true),
        ("a".repeat(256), "b".to_owned(), false),
        ("a".to_owned(), "b".repeat(256), false),
        (String::new(), "b".to_owned(), false),
        ("a".to_owned(), String::new(), false),
    ] {
        let credentials = Credentials::new(user, password);
        let machine = Socks5::new(&target("a", 1), Some(&credentials));
        assert_eq!(machine.is_ok(), is_ok);
    }
}

fn connect() -> Connect {
    Connect::new(&target("a.test", 443)).unwrap()
}

#[test]
fn connect_is_opened_by_any_2xx_and_by_nothing_else() {
    for (answer, outcome, rest) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "Done", ""),
        ("HTTP/1.0 200 Connection established\r\n\r\n", "Done", ""),
        ("HTTP/1.1 204 No\r\n\r\n", "Done", ""),
        ("HTTP/1.1 299 Odd\r\n\r\n", "Done", ""),
        (
            "HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01",
            "Done",
            "\x16\x03\x01",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "Done",
            "abc",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Done",
            "0\r\n\r\n",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "Done",
            "",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!\n",
            "refused 403 no!\n true",
            "",
        ),
        (
            "HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n",
            "refused 502 bad true",
            "",
        ),
        (
            "HTTP/1.1 503 Busy\r\n\r\nuntil close",
            "refused 503 until close true",
            "",
        ),
        (
            "HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ncut",
            "refused 503 cut false",
            "",
        ),
        (
            "HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\nzz",
            "refused 502 bad false",
            "",
        ),
        (
            "HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
            "refused 301  true",
            "",
        ),
        (
            "HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n",
            "refused 407  true",
            "",
        ),
        (
            "",
            "the proxy closed the connection before the tunnel was open",
            "",
        ),
        (
            "HTTP/1.1 200 O",
            "the proxy closed the connection before the tunnel was open",
            "",
        ),
        (
            "\x05\x00",
            "malformed response to CONNECT from the proxy",
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\nbad field\r\n\r\n",
            "malformed response to CONNECT from the proxy",
            "",
        ),
    ] {
        let machine = || -> Box<dyn Negotiation> { Box::new(connect()) };
        let (sent, found, left) = at_every_cut(machine, &[answer.as_bytes()], true);
        assert_eq!(
            sent,
            [b"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n"]
        );
        if outcome == "refused 503 until close true" {
            // A body that ends with the connection is complete when that does.
            assert!(found.starts_with("refused 503 until close"), "{found}");
            continue;
        }
        assert_eq!(found, outcome, "{answer:?}");
        if outcome == "Done" {
            assert_eq!(String::from_utf8(left).unwrap(), rest);
        }
    }
}

#[test]
fn credentials_and_fields_go_with_the_request_and_are_not_printed() {
    let machine = connect()
        .with_credentials(&Credentials::new("user", "pässword"))
        .unwrap()
        .with_header("x-team".parse().unwrap(), HeaderValue::from_static("blue"))
        .unwrap();
    let printed = format!("{machine:?}");
    let (sent, ..) = play(machine, &[b"HTTP/1.1 200 OK\r\n\r\n"], usize::MAX, false);
    assert_eq!(
        String::from_utf8_lossy(&sent[0]),
        "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\
         proxy-authorization: Basic dXNlcjpww6Rzc3dvcmQ=\r\nx-team: blue\r\n\r\n"
    );
    assert!(
        !printed.contains("Basic") && !printed.contains("blue"),
        "{printed}"
    );
    for name in ["host", "content-length", "transfer-encoding"] {
        assert!(
            connect()
                .with_header(name.parse().unwrap(), HeaderValue::from_static("1"))
                .is_err()
        );
    }
    for (user, password) in [("a:b", "c"), ("a\r\nb", "c"), ("a", "b\0")] {
        assert!(
            connect()
                .with_credentials(&Credentials::new(user, password))
                .is_err()
        );
    }
}

/// Answers with the round and the number of challenges.
fn answering() -> Connect {
    connect().with_authentication(|challenge| {
        let count = challenge.values().count();
        HeaderValue::try_from(format!(
            "Test {} {count} {}",
            challenge.round, challenge.target
        ))
        .ok()
    })
}

#[test]
fn a_407_is_answered_on_the_same_connection_where_its_framing_allows() {
    let challenge = &b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: A\r\nProxy-Authenticate: B\r\nContent-Length: 3\r\n\r\nno\n"[..];
    let ok = &b"HTTP/1.1 200 OK\r\n\r\n"[..];
    let machine = || -> Box<dyn Negotiation> { Box::new(answering()) };
    let (sent, outcome, _) = at_every_cut(machine, &[challenge, challenge, ok], true);
    assert_eq!(outcome, "Done");
    let authorizations: Vec<_> = sent
        .iter()
        .map(|request| {
            let text = String::from_utf8_lossy(request).into_owned();
            let line = text
                .lines()
                .find(|line| line.starts_with(PROXY_AUTHORIZATION.as_str()));
            line.map(str::to_owned)
        })
        .collect();
    assert_eq!(
        authorizations,
        [
            None,
            Some("proxy-authorization: Test 0 2 a.test:443".to_owned()),
            Some("proxy-authorization: Test 1 2 a.test:443".to_owned())
        ]
    );
    // Three times at most.
    let (sent, outcome, _) = play(answering(), &[challenge; 9], usize::MAX, true);
    assert_eq!((sent.len(), &*outcome), (4, "refused 407 no\n true"));
}

#[test]
fn a_407_that_ends_its_connection_is_answered_on_a_new_one() {
    for answers in [
        // It says so.
        &[&b"HTTP/1.1 407 Auth\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"[..]][..],
        // Its body ends with the connection.
        &[b"HTTP/1.1 407 Auth\r\n\r\nno"],
        // It does not say so, and closes.
        &[b"HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n", b""],
    ] {
        let mut machine = answering();
        let mut input = BytesMut::new();
        for answer in answers {
            let length = machine.output().len();
            machine.advance(length);
            input.extend_from_slice(answer);
            let _ = machine.receive(&mut input, false);
        }
        let length = machine.output().len();
        machine.advance(length);
        let _ = machine.receive(&mut input, true);
        let next = machine.retry().unwrap_or_else(|| panic!("{answers:?}"));
        let (sent, outcome, _) = play(next, &[b"HTTP/1.1 200 OK\r\n\r\n"], usize::MAX, false);
        assert!(
            String::from_utf8_lossy(&sent[0]).contains("Test 0"),
            "{sent:?}"
        );
        assert_eq!(outcome, "Done");
    }
    // Without an answer there is nothing to go on with.
    let mut machine = connect();
    let mut input =
        BytesMut::from("HTTP/1.1 407 Auth\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(machine.receive(&mut input, false).is_err());
    assert!(machine.retry().is_none());
}

#[test]
fn the_body_of_a_refusal_is_bounded() {
    let mut machine = connect();
    let mut input = BytesMut::from("HTTP/1.1 403 No\r\nContent-Length: 99999999\r\n\r\n");
    let mut fed = 0;
    loop {
        input.extend_from_slice(&[b'x'; 1000]);
        fed += 1000;
        match machine.receive(&mut input, false) {
            Ok(_) => assert!(fed <= MAX_REFUSAL_BODY),
            Err(ProxyError::Refused(refusal)) => {
                assert_eq!(refusal.body.len(), MAX_REFUSAL_BODY);
                assert!(!refusal.is_complete);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
