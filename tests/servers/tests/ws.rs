//! WebSockets with real servers: over HTTP/1.1 and HTTP/2, plain and over TLS.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use http::Version;
use httpcore::{
    ConnectionPool, EventLoop, Timeouts,
    backend::with_deadline,
    tls::RustlsConnector,
    ws::{CloseFrame, Config, Fragment, Handshake, Message, OpenError, WebSocket},
};
use httpcore_servers::{Authority, Door, Front, Server, Talker, require_talker};

/// A bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// Runs `test` with a pool which trusts `authority`, and speaks HTTP/2 alone if that is asked.
fn with_acquire<F: Future<Output = ()>>(
    authority: Option<&Authority>,
    http1: bool,
    test: impl FnOnce(ConnectionPool) -> F,
) {
    let epoll = EventLoop::new().unwrap();
    let mut builder = ConnectionPool::builder().http1(http1);
    if let Some(authority) = authority {
        let connector = RustlsConnector::builder()
            .root_pem(authority.root().as_bytes())
            .unwrap()
            .build()
            .unwrap();
        builder = builder.tls(Arc::new(connector));
    }
    let pool = builder.build(epoll.backend());
    let runtime: Arc<dyn httpcore::backend::Runtime> = epoll.backend();
    epoll.block_on(async {
        let until = runtime.now() + PATIENCE;
        let done = with_deadline(&runtime, "a test", Some(until), test(pool)).await;
        assert!(done.is_some(), "it takes too long");
    });
}

fn url(server: &Server, secure: bool, path: &str) -> String {
    let scheme = if secure { "wss" } else { "ws" };
    format!("{scheme}://{}{path}", server.addr())
}

async fn open(pool: &ConnectionPool, url: &str) -> (WebSocket, Version) {
    let limit = Timeouts::default().with_response_head(Duration::from_secs(20));
    let handshake = Handshake::new(url).option(limit);
    let opened = pool.websocket(handshake).await.unwrap();
    let version = opened.response.version();
    let config = Config::default().with_max_message_size(65 * MIB);
    (WebSocket::new(opened.stream, config), version)
}

async fn said_back(socket: &mut WebSocket, message: Message) {
    let mut said = Some(message.clone());
    // Both directions at once: some servers answer each frame, and listen only if that is heard.
    let heard = poll_fn(|cx| {
        if let Poll::Ready(ready) = socket.poll_ready(cx)
            && let Some(said) = said.take()
        {
            ready.unwrap();
            socket.start_send(said).unwrap();
        }
        socket.poll_message(cx)
    });
    assert_eq!(heard.await.unwrap().unwrap(), message);
}

/// Text and binary of every size, pings, and a message of 64 MiB in pieces; then a close.
async fn converse(pool: ConnectionPool, url: String, version: Version) {
    let (mut socket, spoken) = open(&pool, &url).await;
    assert_eq!(spoken, version);
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 3 * MIB] {
        said_back(&mut socket, Message::text("x".repeat(size))).await;
        let data: Bytes = (0..size).map(|n| n as u8).collect();
        said_back(&mut socket, Message::binary(data)).await;
    }
    said_back(&mut socket, Message::text("κόσμε ".repeat(20_000))).await;
    socket.send(Message::Ping("hello?".into())).await.unwrap();
    let pong = socket.message().await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("hello?".into()));

    let piece: Bytes = (0..64 << 10).map(|n: usize| (n % 251) as u8).collect();
    let mut sent = 0;
    let whole = poll_fn(|cx| {
        while sent < 1024
            && let Poll::Ready(ready) = socket.poll_ready(cx)
        {
            ready.unwrap();
            sent += 1;
            let piece = Fragment::Binary(piece.clone());
            socket.start_fragment(piece, sent == 1024).unwrap();
        }
        socket.poll_message(cx)
    });
    let whole = whole.await.unwrap().unwrap().into_data();
    assert_eq!(whole.len(), 64 * MIB);
    assert!(whole.chunks(64 << 10).all(|part| part == piece));

    let why = CloseFrame {
        code: 4000.into(),
        reason: "enough".into(),
    };
    socket.close(Some(why)).await.unwrap();
    drop(socket);
    assert_eq!(pool.status().active_requests, 0);
}

/// What the server says when it closes.
async fn closed(pool: &ConnectionPool, url: &str) -> (u16, String) {
    let (mut socket, _) = open(pool, url).await;
    let close = socket.message().await.unwrap().unwrap();
    let Message::Close(Some(close)) = close else {
        panic!("{close:?}");
    };
    assert!(socket.message().await.is_none());
    (close.code.into(), close.reason.to_string())
}

async fn refused(pool: &ConnectionPool, url: &str) -> (u16, String) {
    let error = pool.websocket(Handshake::new(url)).await.unwrap_err();
    let OpenError::Refused(response) = error else {
        panic!("{error:?}");
    };
    let response = response.into_response();
    let status = response.status().as_u16();
    let body = response.into_body().bytes(1000).await.unwrap();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn with_pythons_websockets() {
    let Some(server) = require_talker(Talker::Websockets, Door::Plain) else {
        return;
    };
    let url = |path: &str| url(&server, false, path);
    with_acquire(None, true, |pool| {
        converse(pool, url("/echo"), Version::HTTP_11)
    });
    with_acquire(None, true, async |pool| {
        for code in [1000, 1001, 1011, 3000, 4999] {
            let path = format!("/close/{code}");
            let expected = (code, "because".to_owned());
            assert_eq!(closed(&pool, &url(&path)).await, expected);
        }
        // A message in fragments is one.
        let (mut socket, _) = open(&pool, &url("/fragments")).await;
        let message = socket.message().await.unwrap().unwrap();
        assert_eq!(message, Message::text("one two three four"));
        drop(socket);

        for (path, status, body) in [
            ("/busy", 401, "who are you?\n"),
            ("/plain", 200, "just text\n"),
            ("/refuse", 403, "no\n"),
        ] {
            let expected = (status, body.to_owned());
            assert_eq!(refused(&pool, &url(path)).await, expected);
        }
        // Not a WebSocket at all: the server wants to hear the word.
        let plain = pool
            .get(url("/echo").replace("ws:", "http:"))
            .await
            .unwrap();
        assert_eq!(plain.status(), 426);

        let offer = || Handshake::new(url("/echo")).subprotocol("chat.v1");
        let opened = pool
            .websocket(offer().subprotocol("chat.v2"))
            .await
            .unwrap();
        assert_eq!(opened.subprotocol.as_deref(), Some("chat.v2"));
        let refused = pool.websocket(offer()).await.unwrap_err();
        assert_eq!(refused.into_response().unwrap().status(), 400);
    });
}

#[test]
fn with_nodes_ws() {
    let Some(server) = require_talker(Talker::Node, Door::Plain) else {
        return;
    };
    let url = |path: &str| url(&server, false, path);
    with_acquire(None, true, |pool| {
        converse(pool, url("/echo"), Version::HTTP_11)
    });
    with_acquire(None, true, async |pool| {
        assert_eq!(closed(&pool, &url("/close/1013")).await.0, 1013);
    });
}

#[test]
fn with_hypercorn_over_http1() {
    let Some(server) = require_talker(Talker::Hypercorn, Door::Plain) else {
        return;
    };
    let url = |path: &str| url(&server, false, path);
    with_acquire(None, true, |pool| {
        converse(pool, url("/echo"), Version::HTTP_11)
    });
    with_acquire(None, true, async |pool| {
        let expected = (4321, "because".to_owned());
        assert_eq!(closed(&pool, &url("/close/4321")).await, expected);
        assert_eq!(refused(&pool, &url("/refuse")).await.0, 403);
    });
}

#[test]
fn with_hypercorn_over_http2_in_tls() {
    let authority = Authority::new().unwrap();
    let Some(server) = require_talker(Talker::Hypercorn, Door::Tls(&authority)) else {
        return;
    };
    let url = |path: &str| url(&server, true, path);
    with_acquire(Some(&authority), true, |pool| {
        converse(pool, url("/echo"), Version::HTTP_2)
    });
    with_acquire(Some(&authority), true, async |pool| {
        assert_eq!(refused(&pool, &url("/refuse")).await.0, 403);
        // Ten at once, beside a request, on one connection.
        let mut sockets = Vec::new();
        for _ in 0..10 {
            sockets.push(open(&pool, &url("/echo")).await.0);
        }
        for socket in &mut sockets {
            said_back(socket, Message::text("and you?")).await;
        }
        let other = pool.get(url("/elsewhere").replace("wss", "https")).await;
        assert_eq!(other.unwrap().status(), 404);
        assert_eq!(pool.status().connections.len(), 1);
    });
    // On a connection of its own: when Hypercorn (0.18) has closed first, the answer to that finds
    // its stream gone, and takes the whole connection with it.
    with_acquire(Some(&authority), true, async |pool| {
        let expected = (4321, "because".to_owned());
        assert_eq!(closed(&pool, &url("/close/4321")).await, expected);
    });
}

#[test]
fn with_hypercorn_over_http2_without_tls() {
    let Some(server) = require_talker(Talker::Hypercorn, Door::Plain) else {
        return;
    };
    let url = url(&server, false, "/echo");
    with_acquire(None, false, |pool| converse(pool, url, Version::HTTP_2));
}

/// Before our own origin, over HTTP/1.1: the proxy turns the one handshake into the other.
fn through(front: Front, version: Version) {
    let authority = Authority::new().unwrap();
    let Some(server) = front.require(Door::Tls(&authority)) else {
        return;
    };
    let url = url(&server, true, "/echo");
    with_acquire(Some(&authority), true, |pool| converse(pool, url, version));
}

#[test]
fn through_haproxy_over_http2() {
    through(Front::Haproxy, Version::HTTP_2);
}

#[test]
fn through_apache_over_http2() {
    through(Front::Apache, Version::HTTP_2);
}

#[test]
fn through_caddy() {
    through(Front::Caddy, Version::HTTP_11);
}
