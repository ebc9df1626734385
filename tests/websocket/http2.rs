//! The same over HTTP/2 (RFC 8441), and over HTTP/1.1 where a server of HTTP/2 does not know it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Method, Request, Response, Version};
use httpcore::{
    ConnectionPool, ErrorKind, Timeouts,
    backend::{NetworkStream, upgrade::ExtendedConnectUnsupported},
    error::{ConnectionRevoked, TimeoutKind},
    net::Alpn,
    ws::{Config, Handshake, Message, MessageError, OpenError, Violation, WebSocket},
};
use httpcore_net_mock::{Link, LiveCounts, MockNet, MockTls, TlsServer};
use httpcore_tests::http2::{self, Tokio, send};

use crate::peer::{self, ACCEPTED, frame, heard};

/// Accepts a WebSocket as `/accept` asks, and says every text back; refuses `/refuse`.
async fn answer(request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let _ = try_answer(request, respond).await;
}

async fn try_answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let protocol = request.extensions().get::<h2::ext::Protocol>();
    assert_eq!(protocol.map(h2::ext::Protocol::as_str), Some("websocket"));
    assert_eq!(request.method(), Method::CONNECT);
    // RFC 8441 §5: what belongs to HTTP/1.1 stays there.
    for name in ["connection", "upgrade", "sec-websocket-key", "host"] {
        assert!(!request.headers().contains_key(name), "{name}");
    }
    assert_eq!(request.headers()["sec-websocket-version"], "13");
    let mut head = Response::builder();
    match request.uri().path() {
        "/refuse" => {
            let head = head.status(403).body(()).unwrap();
            let mut body = respond.send_response(head, false)?;
            return body.send_data("no".into(), true);
        }
        "/unasked" => head = head.header("sec-websocket-protocol", "three"),
        _ if request.headers().contains_key("sec-websocket-protocol") => {
            head = head.header("sec-websocket-protocol", "two");
        }
        _ => {}
    }
    let mut sending = respond.send_response(head.status(200).body(()).unwrap(), false)?;
    let mut receiving = request.into_body();
    let mut unread = Vec::new();
    while let Some(data) = receiving.data().await {
        let data = data?;
        let _ = receiving.flow_control().release_capacity(data.len());
        unread.extend_from_slice(&data);
        // Ours come whole: they are small, and written at once.
        for (first, payload) in heard(&std::mem::take(&mut unread)) {
            send(&mut sending, frame(first, payload).into()).await?;
        }
    }
    sending.send_data(Bytes::new(), true)
}

fn knows_connect() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    builder
}

/// A server of both versions; over HTTP/2 it may know extended CONNECT, over HTTP/1.1 it accepts and
/// says nothing.
fn served(versions: &'static [Alpn], builder: h2::server::Builder) -> (MockNet, ConnectionPool) {
    served_to(ConnectionPool::builder(), Link::new(), versions, builder)
}

fn served_to(
    pool: httpcore::ConnectionPoolBuilder,
    link: Link,
    versions: &'static [Alpn],
    builder: h2::server::Builder,
) -> (MockNet, ConnectionPool) {
    let net = MockNet::new();
    let tls = TlsServer::new().alpn(versions);
    net.serve_tls("server.test", 443, tls, move |mut stream| {
        let builder = builder.clone();
        async move {
            let tls = stream.info().tls;
            if tls.is_some_and(|tls| tls.alpn == Some(Alpn::Http2)) {
                http2::serve_with(Tokio(stream), builder, |request, respond| {
                    Box::pin(answer(request, respond))
                })
                .await;
            } else if stream.read_head().await.is_ok() && stream.write_all(ACCEPTED).await.is_ok() {
                let _ = stream.read_to_end().await;
            }
        }
    })
    .link(link);
    let pool = pool
        .tls(Arc::new(MockTls::new()))
        .build(Arc::new(net.clone()));
    (net, pool)
}

fn handshake(path: &str) -> Handshake {
    Handshake::new(format!("wss://server.test{path}")).key(peer::KEY)
}

#[test]
fn a_websocket_is_a_stream_of_an_http2_connection() {
    let (net, pool) = served(&[Alpn::Http2], knows_connect());
    net.run(async {
        let mut sockets = Vec::new();
        for _ in 0..3 {
            let asked = handshake("/accept").subprotocol("one").subprotocol("two");
            let opened = pool.websocket(asked).await.unwrap();
            assert_eq!(opened.response.version(), Version::HTTP_2);
            assert_eq!(opened.subprotocol.as_deref(), Some("two"));
            sockets.push(WebSocket::new(opened.stream, Config::default()));
        }
        assert_eq!(pool.status().connections.len(), 1, "one for all of them");
        assert_eq!(pool.status().active_requests, 3);
        for (n, socket) in sockets.iter_mut().enumerate() {
            let text = Message::text(format!("number {n}"));
            socket.send(text.clone()).await.unwrap();
            assert_eq!(socket.message().await.unwrap().unwrap(), text);
        }
        for socket in &mut sockets {
            socket.close(None).await.unwrap();
        }
        drop(sockets);
        assert_eq!(pool.status().active_requests, 0);
    });
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default(), "{}", net.report());
}

#[test]
fn what_is_wrong_or_refused_concerns_its_stream_alone() {
    let (net, pool) = served(&[Alpn::Http2], knows_connect());
    net.run(async {
        let error = pool.websocket(handshake("/refuse")).await.unwrap_err();
        let response = error.into_response().unwrap();
        assert_eq!(response.status(), 403);
        assert_eq!(response.into_body().bytes(10).await.unwrap(), "no");
        let error = pool.websocket(handshake("/unasked")).await.unwrap_err();
        let wrong = Violation::Subprotocol;
        assert!(matches!(error, OpenError::Violation(found) if found == wrong));
        assert_eq!(pool.status().active_requests, 0);
        pool.websocket(handshake("/accept")).await.unwrap();
        assert_eq!(pool.stats().dials, 1);
    });
    net.clear();
}

#[test]
fn a_server_of_http2_without_it_is_asked_over_http1() {
    let versions = &[Alpn::Http2, Alpn::Http1];
    let (net, pool) = served(versions, h2::server::Builder::new());
    net.run(async {
        let opened = pool.websocket(handshake("/accept")).await.unwrap();
        assert_eq!(opened.response.version(), Version::HTTP_11);
        assert_eq!(opened.response.status(), 101);
        // One that could not, and one that can.
        assert_eq!(pool.stats().dials, 2);
    });
    net.clear();
}

#[test]
fn a_connection_that_cannot_makes_room_for_one_that_can() {
    let versions = &[Alpn::Http2, Alpn::Http1];
    let full = ConnectionPool::builder().max_connections(1);
    let (net, pool) = served_to(full, Link::new(), versions, h2::server::Builder::new());
    net.run(async {
        let opened = pool.websocket(handshake("/accept")).await.unwrap();
        assert_eq!(opened.response.version(), Version::HTTP_11);
        assert_eq!(pool.status().connections.len(), 1);
    });
    net.clear();
}

#[test]
fn a_pool_without_http1_says_why_there_is_no_websocket() {
    let versions = &[Alpn::Http2, Alpn::Http1];
    let only = ConnectionPool::builder().http1(false);
    let (net, pool) = served_to(only, Link::new(), versions, h2::server::Builder::new());
    net.run(async {
        let error = pool.websocket(handshake("/accept")).await.unwrap_err();
        let OpenError::Request(error) = error else {
            panic!("{error:?}");
        };
        assert!(
            ExtendedConnectUnsupported::is_source_of(&error),
            "{error:?}"
        );
        assert_eq!(pool.stats().dials, 1);
    });
    net.clear();
}

#[test]
fn a_drain_ends_websockets_on_a_shared_connection_and_says_so() {
    let (net, pool) = served(&[Alpn::Http2], knows_connect());
    let told = Arc::<Mutex<Option<_>>>::default();
    net.run(async {
        let opened = pool.websocket(handshake("/accept")).await.unwrap();
        let mut socket = WebSocket::new(opened.stream, Config::default());
        let heard = told.clone();
        net.spawn("listener", async move {
            *heard.lock().unwrap() = socket.message().await;
        });
        let drained = pool.drain(Duration::from_secs(1)).await;
        assert_eq!(drained.aborted, 1);
    });
    assert_eq!(net.elapsed(), Duration::from_secs(1));
    drop(pool);
    net.run_until_idle();
    let end = told.lock().unwrap().take();
    let Some(Err(MessageError::Io(error))) = end else {
        panic!("{end:?}");
    };
    assert!(ConnectionRevoked::is_source_of(&error), "{error}");
    assert_eq!(net.live_counts(), LiveCounts::default(), "{}", net.report());
}

#[test]
fn the_total_time_of_a_handshake_holds_for_both_of_its_requests() {
    let versions = &[Alpn::Http2, Alpn::Http1];
    // Either connection alone takes less than ten seconds, and both take more.
    let far = Link::new().latency(Duration::from_millis(1500));
    let any = ConnectionPool::builder();
    let (net, pool) = served_to(any, far, versions, h2::server::Builder::new());
    let limit = Timeouts::default().with_total(Duration::from_secs(10));
    net.run(async {
        let error = pool
            .websocket(handshake("/accept").option(limit))
            .await
            .unwrap_err();
        let OpenError::Request(error) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Total));
    });
    assert_eq!(net.elapsed(), Duration::from_secs(10));
}
