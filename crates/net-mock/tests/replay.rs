//! What was recorded can be replayed, and holds no secrets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;

use std::{io::ErrorKind, sync::Arc};

use client::{MS, connect, panic_of, read_all, read_exactly, shutdown, write_all};
use httpcore_core_primitives::{Alpn, NetworkBackend, TlsConnector};
use httpcore_net_mock::{DnsEntry, Link, MockNet, MockTls, Recorder, Script, TlsServer};

const REQUEST: &str = "GET / HTTP/1.1\r\nCookie: id=7\r\nx-key: k1\r\nhost: a.test\r\nproxy-authorization:none\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nset-cookie: id=8\r\ncontent-length: 5\r\n\r\n\"\\\x00é";

/// A world in which `a.test` answers one request, over TLS or not, and nothing else works.
fn origin(tls: bool) -> MockNet {
    let net = MockNet::new();
    let begin = match tls {
        true => Script::new().start_tls(TlsServer::new().alpn(&[Alpn::Http1])),
        false => Script::new(),
    };
    let table = begin
        .expect(REQUEST)
        .wait(30 * MS)
        .send(RESPONSE)
        .wait(MS)
        .half_close();
    net.serve_script("a.test", 443, table)
        .links([Link::refused(), Link::new().latency(10 * MS)]);
    net.name("gone.test", DnsEntry::fails(ErrorKind::NotFound));
    net
}

/// What a client does in it, and what comes of it.
async fn story(net: Arc<dyn NetworkBackend>, tls: Arc<dyn TlsConnector>, use_tls: bool) -> String {
    assert_eq!(
        connect(&*net, "gone.test", 80).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let refused = connect(&*net, "a.test", 443).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let mut stream = connect(&*net, "a.test", 443).await.unwrap();
    if use_tls {
        let offer = [Alpn::Http2, Alpn::Http1];
        stream = tls.handshake(stream, "a.test", &offer).await.unwrap();
        assert_eq!(stream.info().tls.unwrap().alpn, Some(Alpn::Http1));
    }
    write_all(&mut stream, REQUEST).await.unwrap();
    let heard = read_all(&mut stream).await.unwrap();
    shutdown(&mut stream).await.unwrap();
    heard
}

fn record(use_tls: bool, shape: impl FnOnce(Recorder) -> Recorder) -> String {
    let net = origin(use_tls);
    let recorder = shape(Recorder::new(Arc::new(net.clone())));
    let tls = Arc::new(recorder.tls(Arc::new(MockTls::new())));
    let heard = net.run(story(Arc::new(recorder.clone()), tls, use_tls));
    assert_eq!(heard, RESPONSE);
    recorder.text()
}

const RECORDING: &str = r#"httpcore recording 1
name gone.test fails NotFound
name a.test 10.0.0.1

connection 10.0.0.1:443
@0.000000 failed ConnectionRefused

connection 10.0.0.1:443
@0.020000 open
@0.020000 > "GET / HTTP/1.1\r\n"
@0.020000 > "Cookie: " *** "\r\n"
@0.020000 > "x-key: " *** "\r\n"
@0.020000 > "host: a.test\r\n"
@0.020000 > "proxy-authorization:" *** "\r\n"
@0.020000 > "\r\n"
@0.070000 < "HTTP/1.1 200 OK\r\n"
@0.070000 < "set-cookie: " *** "\r\n"
@0.070000 < "content-length: 5\r\n"
@0.070000 < "\r\n"
@0.070000 < "\"\\\x00\xc3\xa9"
@0.071000 < end
@0.071000 > end
"#;

#[test]
fn a_recording_is_readable_and_holds_no_secrets() {
    assert_eq!(
        record(false, |recorder| recorder.redact("X-Key")),
        RECORDING
    );
}

#[test]
fn a_recording_of_tls_holds_what_is_inside() {
    let text = record(true, |recorder| recorder.redact("X-Key"));
    let expected = RECORDING
        .replace("@0.020000 >", "@0.040000 >")
        .replace("@0.07", "@0.09")
        .replace("open\n", "open\n@0.040000 tls alpn=http/1.1\n");
    assert_eq!(text, expected);
}

#[test]
fn secrets_are_kept_if_that_is_asked_for() {
    let text = record(false, Recorder::without_redaction);
    assert!(text.contains(r#"> "Cookie: id=7\r\n""#), "{text}");
    assert!(!text.contains("***"), "{text}");
}

#[test]
fn a_replay_says_what_was_said_with_the_same_pauses() {
    for use_tls in [false, true] {
        let text = record(use_tls, |recorder| recorder);
        let net = MockNet::new();
        let replay = net.replay(&text).unwrap();
        let heard = net.run(story(
            Arc::new(net.clone()),
            Arc::new(MockTls::new()),
            use_tls,
        ));
        assert_eq!(heard, RESPONSE.replace("id=8", "***"));
        replay.assert_finished();
        // Two attempts, 20 ms to connect, and the round trip of a handshake is not repeated.
        assert_eq!(net.elapsed(), 71 * MS);
    }
}

#[test]
fn a_replay_takes_any_secret_and_nothing_else() {
    let recording = record(false, |recorder| recorder);
    let ask = |request: String| {
        let net = MockNet::new();
        let replay = net.replay(&recording).unwrap();
        net.run(async {
            connect(&net, "a.test", 443).await.unwrap_err();
            let mut stream = connect(&net, "a.test", 443).await.unwrap();
            write_all(&mut stream, request).await.unwrap();
            read_exactly(&mut stream, 1).await.unwrap();
        });
        drop(replay);
    };
    ask(REQUEST.replace("id=7", "another user's"));
    let message = panic_of(|| ask(REQUEST.replace("k1", "k2")));
    assert!(message.contains("x-key: k2"), "{message}");
}

#[test]
fn a_replay_knows_what_has_not_happened_again() {
    let net = MockNet::new();
    let replay = net.replay(RECORDING).unwrap();
    assert_eq!(
        replay.remaining(),
        ["script 1: not started, since no connection was made"]
    );
    assert!(panic_of(|| replay.assert_finished()).contains("no connection"));
}

#[test]
fn a_recording_survives_being_read_and_written() {
    let net = MockNet::new();
    net.replay(RECORDING).unwrap();
    for (line, bad) in [
        (1, "something else"),
        (2, "httpcore recording 1\nname a.test elsewhere"),
        (3, "httpcore recording 1\n# a note\n@0.000000 open"),
        (3, "httpcore recording 1\nconnection 10.0.0.1:80\n@0.1 open"),
        (
            3,
            "httpcore recording 1\nconnection 10.0.0.1:80\n@0.000000 > \"open",
        ),
        (
            3,
            "httpcore recording 1\nconnection 10.0.0.1:80\n@0.000000 > \"\\q\"",
        ),
        (
            3,
            "httpcore recording 1\nconnection 10.0.0.1:80\n@0.000000 < failed Oddly",
        ),
        (2, "httpcore recording 1\nconnection somewhere"),
    ] {
        let error = net.replay(bad).unwrap_err();
        assert_eq!(error.line(), line, "{bad:?}: {error}");
    }
}

#[test]
fn a_secret_cut_into_many_reads_and_writes_is_still_left_out() {
    let net = MockNet::new();
    net.serve("a.test", 80, async |mut stream| {
        let _ = stream.read_head().await;
        let _ = stream
            .write_all("HTTP/1.1 200 OK\r\nSet-Cookie: topsecret\r\n")
            .await;
    })
    .link(Link::new().buffer(3));
    let recorder = Recorder::new(Arc::new(net.clone()));
    net.run(async {
        let mut stream = connect(&recorder, "a.test", 80).await.unwrap();
        let request = "GET / HTTP/1.1\r\nAuthorization: Basic topsecret\r\n\r\n";
        write_all(&mut stream, request).await.unwrap();
        read_all(&mut stream).await.unwrap();
    });
    let text = recorder.text();
    for part in ["top", "sec", "ret", "Bas"] {
        assert!(!text.contains(part), "{part:?} is in:\n{text}");
    }
    assert_eq!(text.matches("***").count(), 2, "{text}");
}

#[test]
fn header_blocks_of_http2_are_left_out_and_such_a_recording_is_not_served() {
    let net = MockNet::new();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let headers = b"\x00\x00\x06\x01\x05\x00\x00\x00\x01cookie";
    let client = [&preface[..], headers].concat();
    let table = Script::new().expect(&client).send(headers).close();
    net.serve_script("h2.test", 80, table);
    let recorder = Recorder::new(Arc::new(net.clone()));
    net.run(async {
        let mut stream = connect(&recorder, "h2.test", 80).await.unwrap();
        write_all(&mut stream, &client).await.unwrap();
        read_all(&mut stream).await.unwrap();
    });
    let text = recorder.text();
    assert!(!text.contains("cookie"), "{text}");
    assert_eq!(text.matches("*6*").count(), 2, "{text}");
    let error = MockNet::new().replay(&text).unwrap_err();
    assert!(error.to_string().contains("cannot be replayed"), "{error}");
}

#[test]
fn a_handshake_on_a_connection_unknown_to_the_recorder_is_noted() {
    let net = MockNet::new();
    let recorder = Recorder::new(Arc::new(net.clone()));
    let tls = recorder.tls(Arc::new(MockTls::new()));
    net.serve_tls("a.test", 443, TlsServer::new(), async |stream| {
        stream.stall().await
    });
    net.run(async {
        let stream = connect(&net, "a.test", 443).await.unwrap();
        tls.handshake(stream, "a.test", &[]).await.unwrap();
    });
    let text = recorder.text();
    assert!(text.contains("# a TLS handshake with a.test"), "{text}");
}
