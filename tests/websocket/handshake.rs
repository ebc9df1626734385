//! What a client has to check (RFC 6455 §4.1), one row for each thing.

use std::sync::Arc;

use httpcore::{
    ConnectionPool, ErrorKind, Timeouts, blocking,
    ws::{Handshake, OpenError, Violation},
};
use httpcore_net_mock::{Chunks, Link, MockNet, MockTls, TlsServer};

use crate::peer::{ACCEPTED, handshake};

/// Answers every head with `answer`.
fn answering(net: &MockNet, answer: String) {
    net.serve("server.test", 80, move |mut stream| {
        let answer = answer.clone();
        async move {
            while stream.read_head().await.is_ok() {
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .link(Link::new().chunks(Chunks::Each(7)));
}

/// What comes of a handshake which is answered so.
fn open(handshake: Handshake, answer: String) -> Result<String, OpenError> {
    let net = MockNet::new();
    answering(&net, answer);
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let opened = net.run(pool.websocket(handshake));
    let active = pool.status().active_requests;
    assert_eq!(active, usize::from(opened.is_ok()), "places in use");
    let opened = opened?;
    let names = opened.extensions.iter().map(|one| one.name.as_str());
    let names: Vec<_> = names.collect();
    Ok(format!("{:?} {names:?}", opened.subprotocol))
}

fn accepted_with(fields: &str) -> String {
    ACCEPTED.replacen("\r\n\r\n", &format!("\r\n{fields}\r\n\r\n"), 1)
}

fn offering() -> Handshake {
    handshake()
        .subprotocol("one")
        .subprotocol("two")
        .extension("permessage-deflate; client_max_window_bits")
}

#[test]
fn an_acceptance_is_taken_however_it_is_spelled() {
    let plain = || Ok::<_, ()>("None []");
    for (handshake, answer, expected) in [
        (handshake(), ACCEPTED.to_owned(), plain()),
        (offering(), ACCEPTED.to_owned(), plain()),
        (
            handshake(),
            ACCEPTED.replace("Upgrade: websocket", "UPGRADE: WebSocket"),
            plain(),
        ),
        (
            handshake(),
            ACCEPTED.replace("Connection: Upgrade", "connection: keep-alive,\tuPGRADE"),
            plain(),
        ),
        (
            handshake(),
            ACCEPTED.replace(
                "Connection: Upgrade",
                "Connection: x\r\nConnection: upgrade",
            ),
            plain(),
        ),
        (handshake(), ACCEPTED.replace("xOo=", "xOo= \t"), plain()),
        (
            offering(),
            accepted_with("Sec-WebSocket-Protocol: two"),
            Ok(r#"Some("two") []"#),
        ),
        (
            offering(),
            accepted_with(
                "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10",
            ),
            Ok(r#"None ["permessage-deflate"]"#),
        ),
        (
            handshake(),
            accepted_with("Sec-WebSocket-Extensions: "),
            plain(),
        ),
    ] {
        let opened = open(handshake, answer.clone());
        assert_eq!(opened.ok().as_deref(), expected.ok(), "{answer}");
    }
}

#[test]
fn each_thing_that_is_wrong_has_a_name_and_closes_the_connection() {
    let without = |field: &str| {
        let lines = ACCEPTED.split_inclusive("\r\n");
        lines.filter(|line| !line.starts_with(field)).collect()
    };
    for (handshake, answer, violation) in [
        (handshake(), without("Upgrade"), Violation::Upgrade),
        (
            handshake(),
            ACCEPTED.replace("websocket", "websocket2"),
            Violation::Upgrade,
        ),
        (handshake(), without("Connection"), Violation::Connection),
        (
            handshake(),
            ACCEPTED.replace("Connection: Upgrade", "Connection: keep-alive"),
            Violation::Connection,
        ),
        (
            handshake(),
            without("Sec-WebSocket-Accept"),
            Violation::Accept,
        ),
        (
            handshake(),
            ACCEPTED.replace("s3pP", "s3pQ"),
            Violation::Accept,
        ),
        (
            handshake(),
            // In base64, letters of another case are other letters.
            ACCEPTED.replace("s3pP", "S3PP"),
            Violation::Accept,
        ),
        (
            handshake(),
            accepted_with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            Violation::Accept,
        ),
        (
            handshake(),
            accepted_with("Sec-WebSocket-Protocol: one"),
            Violation::Subprotocol,
        ),
        (
            offering(),
            accepted_with("Sec-WebSocket-Protocol: three"),
            Violation::Subprotocol,
        ),
        (
            offering(),
            accepted_with("Sec-WebSocket-Protocol: ONE"),
            Violation::Subprotocol,
        ),
        (
            offering(),
            accepted_with("Sec-WebSocket-Protocol: one, two"),
            Violation::Subprotocol,
        ),
        (
            offering(),
            accepted_with("Sec-WebSocket-Protocol: one\r\nSec-WebSocket-Protocol: two"),
            Violation::Subprotocol,
        ),
        (
            handshake(),
            accepted_with("Sec-WebSocket-Extensions: permessage-deflate"),
            Violation::Extension,
        ),
        (
            offering(),
            accepted_with("Sec-WebSocket-Extensions: permessage-deflate, x"),
            Violation::Extension,
        ),
        (
            offering(),
            accepted_with("Sec-WebSocket-Extensions: permessage-deflate;"),
            Violation::Extension,
        ),
    ] {
        match open(handshake, answer.clone()) {
            Err(OpenError::Violation(found)) => assert_eq!(found, violation, "{answer}"),
            other => panic!("{other:?}: {answer}"),
        }
    }
}

#[test]
fn a_refusal_comes_with_head_and_body_and_leaves_the_connection_in_use() {
    for (status, fields) in [
        (200, ""),
        (204, ""),
        (302, "location: /elsewhere\r\n"),
        (400, "sec-websocket-version: 13, 8\r\n"),
        (401, "www-authenticate: Basic realm=\"x\"\r\n"),
        (403, ""),
        (
            426,
            "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 8\r\n",
        ),
        (503, "retry-after: 1\r\n"),
    ] {
        let body = if status == 204 { "" } else { "because" };
        let length = match status {
            204 => String::new(),
            _ => format!("content-length: {}\r\n", body.len()),
        };
        let net = MockNet::new();
        let answer = format!("HTTP/1.1 {status} Reason\r\n{fields}{length}\r\n{body}");
        answering(&net, answer);
        let pool = ConnectionPool::new(Arc::new(net.clone()));
        net.run(async {
            for _ in 0..2 {
                let error = pool.websocket(handshake()).await.unwrap_err();
                assert!(error.to_string().contains(&status.to_string()), "{error}");
                let response = error.into_response().unwrap();
                assert_eq!(response.status(), status);
                for field in fields.lines() {
                    let (name, value) = field.split_once(": ").unwrap();
                    assert_eq!(response.headers()[name], value);
                }
                let read = response.into_body().bytes(100).await.unwrap();
                assert_eq!(read, body);
            }
        });
        assert_eq!(pool.stats().dials, 1, "{status}");
    }
}

#[test]
fn switch_without_a_valid_accept_is_rejected() {
    // HTTP/1.0 has no 101 (RFC 9110 §15.2).
    let error = open(handshake(), ACCEPTED.replace("HTTP/1.1", "HTTP/1.0")).unwrap_err();
    let OpenError::Request(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[test]
fn the_request_is_what_the_rfc_wants() {
    let net = MockNet::new();
    answering(&net, ACCEPTED.to_owned());
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let asked = Handshake::new("ws://user:secret@SERVER.test:80/chat?room=1")
        .key(crate::peer::KEY)
        .subprotocol("one")
        .subprotocol("two")
        .extension("x; y=z")
        .extension("v")
        .header("origin", "http://here.test")
        .header("cookie", "a=b");
    net.run(pool.websocket(asked))
        .unwrap_or_else(|error| panic!("{error:?}"));
    let wire = net.transcript();
    for line in [
        "GET /chat?room=1 HTTP/1.1",
        "host: server.test",
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol: one, two",
        "sec-websocket-extensions: x; y=z",
        "sec-websocket-extensions: v",
        "origin: http://here.test",
        "cookie: a=b",
    ] {
        assert!(wire.contains(line), "{line}\n{wire}");
    }
    assert!(!wire.contains("secret"), "{wire}");
}

#[test]
fn what_cannot_be_asked_for_is_refused_before_anything_is_sent() {
    let new = || Handshake::new("ws://server.test/");
    for (handshake, kind) in [
        (
            Handshake::new("ftp://server.test/"),
            ErrorKind::UnsupportedScheme,
        ),
        (Handshake::new("server.test"), ErrorKind::InvalidUrl),
        (Handshake::new("ws://"), ErrorKind::InvalidUrl),
        (new().subprotocol("a b"), ErrorKind::InvalidRequest),
        (new().subprotocol(""), ErrorKind::InvalidRequest),
        (
            new().subprotocol("a").subprotocol("a"),
            ErrorKind::InvalidRequest,
        ),
        (new().extension("a b"), ErrorKind::InvalidRequest),
        (new().extension(""), ErrorKind::InvalidRequest),
        (new().extension("a\r\nx: y"), ErrorKind::InvalidRequest),
        (new().header("a b", "c"), ErrorKind::InvalidRequest),
        (new().header("a", "b\r\nc: d"), ErrorKind::InvalidRequest),
        (new().header("upgrade", "h2c"), ErrorKind::InvalidRequest),
        (
            new().header("sec-websocket-key", "x"),
            ErrorKind::InvalidRequest,
        ),
    ] {
        let error = handshake.into_request().map(drop).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn secure_websockets_go_over_tls() {
    let net = MockNet::new();
    let tls = TlsServer::new();
    net.serve_tls("server.test", 443, tls, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.write_all(ACCEPTED).await.unwrap();
        stream.stall().await;
    });
    let pool = ConnectionPool::builder()
        .tls(Arc::new(MockTls::new()))
        .build(Arc::new(net.clone()));
    let asked = Handshake::new("wss://server.test/").key(crate::peer::KEY);
    let opened = net.run(pool.websocket(asked)).unwrap();
    assert!(
        httpcore::backend::NetworkStream::info(&opened.stream)
            .tls
            .is_some()
    );
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |stream| stream.stall().await);
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let limit = std::time::Duration::from_secs(5);
    let asked = handshake().option(Timeouts::default().with_response_head(limit));
    let error = net.run(pool.websocket(asked)).unwrap_err();
    assert!(matches!(error, OpenError::Request(error) if error.is_timeout()));
    assert_eq!(net.elapsed(), limit);
}

#[test]
fn a_thread_that_waits_opens_websockets_too() {
    let pool = blocking::ConnectionPool::new().unwrap();
    let error = pool
        .websocket(Handshake::new("ws://127.0.0.1:1/"))
        .unwrap_err();
    assert!(matches!(error, OpenError::Request(error) if error.is_connect()));
}

#[test]
fn an_error_may_go_wherever_errors_go() {
    fn goes<T: std::error::Error + Send + Sync + 'static>() {}
    goes::<OpenError>();
    goes::<httpcore::ws::MessageError>();
    goes::<httpcore::sse::UnexpectedResponse>();
}
