//! `https` through the pool, with real TLS in virtual time.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../crates/net-tls/tests/zoo/mod.rs"]
mod zoo;

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use httpcore::{
    Body, ConnectionPool, Error, ErrorKind, EventLoop, Request, Timeouts,
    backend::{BoxFuture, BoxStream, IdleEvent, NetworkStream, TlsConnector},
    error::{ErrorPhase, Fault, RequestSent, TimeoutKind},
    extensions::{IncludeConnectionInfo, ServerName, TlsOverride},
    mock::{Chunks, Link, LiveCounts, MockNet},
    net::{Alpn, ConnectionInfo, TlsInfo},
    trace::{Trace, TraceEvent},
};
use httpcore_net_tls::{
    TlsError, TlsErrorKind,
    rustls::{
        ServerConnection, StreamOwned,
        version::{TLS12, TLS13},
    },
};
use zoo::{Authority, ServerTls, serve, stay};

const URL: &str = "https://tls.test/";

fn pool(net: &MockNet, root: &Authority) -> ConnectionPool {
    ConnectionPool::builder()
        .tls(Arc::new(root.connector()))
        .build(Arc::new(net.clone()))
}

fn refusal(error: &Error) -> TlsErrorKind {
    TlsError::find_in(error).unwrap().kind().clone()
}

async fn get(pool: &ConnectionPool) -> Result<Vec<u8>, Error> {
    let response = pool.get(URL).await?;
    Ok(response.into_body().bytes(1 << 20).await?.to_vec())
}

/// Answers requests without bodies until the client leaves.
async fn answer(mut stream: ServerTls) {
    while stream.read_until("\r\n\r\n").await.is_ok() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// A request which writes down every handshake.
fn traced(seen: &Arc<Mutex<Vec<TlsInfo>>>) -> Request {
    let seen = seen.clone();
    http::Request::get(URL)
        .extension(Trace::to(move |_: Instant, event: &TraceEvent<'_>| {
            if let TraceEvent::TlsEstablished { info } = event {
                seen.lock().unwrap().push((*info).clone());
            }
        }))
        .body(Body::empty())
        .unwrap()
}

#[test]
fn connections_are_kept_across_tickets_and_sessions_across_connections() {
    let net = MockNet::new();
    let root = Authority::new("root");
    let mut config = root.issue(&["tls.test"]).server();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let served = serve(&net, config, answer);
    let pool = pool(&net, &root);
    let seen = Arc::default();
    net.run(async {
        for _ in 0..3 {
            let response = pool.request(traced(&seen)).await.unwrap();
            assert_eq!(response.into_body().bytes(99).await.unwrap(), "hello");
            net.sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(served.attempts(), 1, "one connection for all three");
        pool.close_idle();
        let response = pool.request(traced(&seen)).await.unwrap();
        assert_eq!(response.into_body().bytes(99).await.unwrap(), "hello");
        assert_eq!(served.attempts(), 2);
    });
    let seen = seen.lock().unwrap();
    let facts: Vec<_> = seen.iter().map(|info| (info.alpn, info.resumed)).collect();
    assert_eq!(
        facts,
        [(Some(Alpn::Http1), false), (Some(Alpn::Http1), true)]
    );
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default());
}

/// What the client makes of `response`, of which only `sent` bytes come, and then the end: one
/// that TLS announces, or one that it does not.
fn cut(
    root: &Authority,
    response: &'static str,
    sent: usize,
    announced: bool,
) -> Result<Vec<u8>, Error> {
    let net = MockNet::new();
    let config = root.issue(&["tls.test"]).server();
    serve(&net, config, move |mut stream| async move {
        stream.read_until("\r\n\r\n").await.unwrap();
        stream.write_all(&response[..sent]).await.unwrap();
        if announced {
            stream.close().await.unwrap();
        }
    });
    let pool = pool(&net, root);
    let heard = net.run(get(&pool));
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default());
    heard
}

#[test]
fn a_response_cut_at_any_byte_is_an_error_unless_its_end_was_told() {
    let root = Authority::new("root");
    let (length, chunked, close) = (
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    );
    for response in [length, chunked, close] {
        let head = response.find("\r\n\r\n").unwrap() + 4;
        for sent in 0..=response.len() {
            for announced in [true, false] {
                let heard = cut(&root, response, sent, announced);
                let is_whole = match response == close {
                    // RFC 9112 §9.8: only the close_notify says that this body is complete.
                    true => announced && sent >= head,
                    false => sent == response.len(),
                };
                let told = format!("{sent} bytes of {response:?}, announced: {announced}");
                match heard {
                    Ok(heard) => {
                        assert!(is_whole, "{told}: {heard:?}");
                        let body = match response == close {
                            true => &response.as_bytes()[head..sent],
                            false => b"hello",
                        };
                        assert_eq!(heard, body, "{told}");
                    }
                    Err(error) => {
                        assert!(!is_whole, "{told}: {error:?}");
                        assert_eq!(
                            error.kind(),
                            ErrorKind::ConnectionClosed,
                            "{told}: {error:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_response_tells_what_its_connection_is_if_it_is_asked_to() {
    let net = MockNet::new();
    let root = Authority::new("root");
    let identity = root.issue(&["tls.test"]);
    let leaf = identity.chain[0].to_vec();
    let mut config = identity.server();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    serve(&net, config, answer);
    let pool = pool(&net, &root);
    let ask = async |curious: bool| {
        let mut request = Request::default();
        *request.uri_mut() = URL.parse().unwrap();
        if curious {
            request.extensions_mut().insert(IncludeConnectionInfo);
        }
        let response = pool.request(request).await.unwrap();
        let info: Option<ConnectionInfo> = response.extensions().get().cloned();
        assert_eq!(response.into_body().bytes(99).await.unwrap(), "hello");
        info
    };
    net.run(async {
        assert!(ask(false).await.is_none());
        // The connection is the first one's, and so are the facts.
        let info = ask(true).await.unwrap();
        assert_eq!(info.peer.unwrap().port(), 443);
        let tls = info.tls.unwrap();
        assert_eq!(
            (tls.version, tls.alpn),
            (Some("TLS 1.3"), Some(Alpn::Http1))
        );
        assert!(tls.cipher_suite.unwrap().starts_with("TLS13_"), "{tls:?}");
        assert_eq!(tls.key_exchange, Some("X25519"));
        assert_eq!(
            (&tls.peer_chain[..], tls.resumed),
            (&[leaf.into()][..], false)
        );
        pool.close_idle();
        let resumed = ask(true).await.unwrap().tls.unwrap();
        assert!(resumed.resumed);
        assert_eq!(resumed.peer_chain, tls.peer_chain);
    });
}

/// Asks for `name` at the host `tls.test`, and says whom the server believes it was asked for.
async fn ask_for(pool: &ConnectionPool, name: Option<&str>) -> Result<String, Error> {
    let mut request = Request::default();
    *request.uri_mut() = URL.parse().unwrap();
    if let Some(name) = name {
        request.extensions_mut().insert(ServerName::new(name));
    }
    let body = pool.request(request).await?.into_body().bytes(99).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Answers with the name in SNI and the number of requests before this one.
async fn answer_with_name(mut stream: ServerTls) {
    let name = stream.tls.server_name().unwrap_or("none").to_owned();
    for n in 0.. {
        if stream.read_until("\r\n\r\n").await.is_err() {
            return;
        }
        let body = format!("{name} {n}");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head + &body).await.unwrap();
    }
}

#[test]
fn connections_are_not_shared_between_server_names() {
    let net = MockNet::new();
    let root = Authority::new("root");
    let config = root.issue(&["tls.test", "a.test", "b.test"]).server();
    let served = serve(&net, config, answer_with_name);
    let pool = pool(&net, &root);
    net.run(async {
        for (name, heard) in [
            (None, "tls.test 0"),
            (Some("a.test"), "a.test 0"),
            (Some("b.test"), "b.test 0"),
            (Some("A.TEST"), "a.test 1"),
            (None, "tls.test 1"),
            (Some("tls.test"), "tls.test 2"), // the default
        ] {
            assert_eq!(ask_for(&pool, name).await.unwrap(), heard, "{name:?}");
        }
    });
    assert_eq!(served.attempts(), 3);
}

#[test]
fn the_name_that_was_asked_for_is_the_one_a_certificate_must_be_for() {
    let root = Authority::new("root");
    for (certificate, pools, requests, heard) in [
        ("tls.test", None, None, Ok("tls.test 0")),
        ("tls.test", None, Some("a.test"), Err("a.test")),
        ("a.test", None, Some("a.test"), Ok("a.test 0")),
        ("a.test", None, None, Err("tls.test")),
        ("a.test", Some("a.test"), None, Ok("a.test 0")),
        ("tls.test", Some("a.test"), None, Err("a.test")),
        ("b.test", Some("a.test"), Some("b.test"), Ok("b.test 0")),
        ("10.1.2.3", None, Some("10.1.2.3"), Ok("none 0")),
    ] {
        let net = MockNet::new();
        serve(&net, root.issue(&[certificate]).server(), answer_with_name);
        let mut builder = ConnectionPool::builder().tls(Arc::new(root.connector()));
        if let Some(name) = pools {
            builder = builder.server_name(ServerName::new(name));
        }
        let pool = builder.build(Arc::new(net.clone()));
        let told = net.run(ask_for(&pool, requests));
        match (told, heard) {
            (Ok(told), Ok(heard)) => assert_eq!(told, heard),
            (Err(error), Err(name)) => {
                assert_eq!(error.kind(), ErrorKind::Tls);
                let TlsErrorKind::WrongName { expected, .. } = refusal(&error) else {
                    panic!("{error:?}");
                };
                assert_eq!(expected, name);
            }
            (told, _) => panic!("{certificate}, {pools:?}, {requests:?}: {told:?}"),
        }
    }
}

#[test]
fn request_with_a_tls_override_shares_no_connection() {
    let net = MockNet::new();
    let (root, clients) = (Authority::new("root"), Authority::new("clients"));
    let identity = clients.issue_with(&["client.test"], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let config = root
        .issue(&["tls.test"])
        .server_for_clients_of(&clients, &[&TLS13]);
    let served = serve(&net, config, answer);
    let pool = pool(&net, &root);
    let chain = identity.chain.iter().map(|der| der.to_vec());
    let admitted = root
        .builder()
        .client_certificate_der(chain, identity.key.serialize_der())
        .unwrap();
    let admitted = TlsOverride::new(Arc::new(admitted.build().unwrap()));
    let stranger = TlsOverride::new(Arc::new(Authority::new("other").connector()));
    let ask = async |choice: Option<&TlsOverride>| {
        let mut request = Request::default();
        *request.uri_mut() = URL.parse().unwrap();
        if let Some(choice) = choice {
            request.extensions_mut().insert(choice.clone());
        }
        let body = pool.request(request).await?.into_body();
        body.bytes(99).await
    };
    net.run(async {
        for _ in 0..2 {
            assert_eq!(ask(Some(&admitted)).await.unwrap(), "hello");
            // There is an idle connection, and it is not for these.
            let rejected = refusal(&ask(None).await.unwrap_err());
            assert!(matches!(rejected, TlsErrorKind::Alert(_)), "{rejected:?}");
            let distrust = refusal(&ask(Some(&stranger)).await.unwrap_err());
            assert_eq!(distrust, TlsErrorKind::UnknownIssuer);
        }
    });
    assert_eq!(served.attempts(), 5, "one for the two that were admitted");
}

#[test]
fn a_name_no_certificate_can_be_for_is_the_callers_fault() {
    let net = MockNet::new();
    let root = Authority::new("root");
    serve(&net, root.issue(&["tls.test"]).server(), answer);
    let error = net
        .run(ask_for(&pool(&net, &root), Some("no name")))
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::InvalidRequest, ErrorPhase::Tls)
    );
    assert_eq!(
        (error.fault(), error.sent()),
        (Fault::Caller, RequestSent::None)
    );
    assert_eq!(refusal(&error), TlsErrorKind::BadName("no name".to_owned()));
}

const LARGE: u64 = 12 << 20;

/// Pieces of odd sizes, which together are [`LARGE`]; each byte says where it is.
fn large() -> Body {
    let mut sent = 0;
    let body = Body::poll_fn(move |_| {
        let end = (sent + 70_001).min(LARGE);
        let piece: Vec<u8> = (sent..end).map(byte_at).collect();
        sent = end;
        Poll::Ready((!piece.is_empty()).then(|| Ok::<_, io::Error>(piece.into())))
    });
    body.with_length(LARGE)
}

fn byte_at(place: u64) -> u8 {
    (place % 251) as u8
}

/// How many of `bytes`, which stand from `place` on, are the right ones.
fn right_ones(place: u64, bytes: &[u8]) -> u64 {
    let expected = (place..).map(byte_at);
    bytes
        .iter()
        .zip(expected)
        .filter(|(a, b)| **a == *b)
        .count() as u64
}

/// Sends [`large`], and yields what the server has counted.
async fn upload(pool: &ConnectionPool, url: &str) -> Result<String, Error> {
    let request = http::Request::put(url).body(large()).unwrap();
    let body = pool.request(request).await?.into_body().bytes(99).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn a_large_upload_arrives_whole_through_a_narrow_link() {
    let net = MockNet::new();
    let root = Authority::new("root");
    let config = root.issue(&["tls.test"]).server();
    let link = Link::new().buffer(50_000).chunks(Chunks::Each(9_001));
    serve(&net, config, async |mut stream| {
        let (mut head, mut right) = (Vec::new(), 0);
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = bytes::BytesMut::with_capacity(1);
            std::future::poll_fn(|cx| stream.poll_read(cx, &mut byte))
                .await
                .unwrap();
            head.extend_from_slice(&byte);
        }
        let mut place = 0;
        while place < LARGE {
            let part = stream.read_some().await.unwrap();
            assert!(!part.is_empty(), "{place} bytes");
            right += right_ones(place, &part);
            place += part.len() as u64;
        }
        let told = right.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", told.len());
        stream.write_all(head + &told).await.unwrap();
    })
    .link(link);
    let pool = pool(&net, &root);
    assert_eq!(net.run(upload(&pool, URL)).unwrap(), LARGE.to_string());
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default());
}

#[test]
fn a_large_upload_arrives_whole_over_a_socket() {
    let root = Authority::new("root");
    let config = Arc::new(root.issue(&["127.0.0.1"]).server());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept()?;
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let mut body = vec![0; LARGE as usize];
        stream.read_exact(&mut body)?;
        let told = right_ones(0, &body).to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", told.len());
        stream.write_all((head + &told).as_bytes())?;
        stream.flush()
    });
    let epoll = EventLoop::new().unwrap();
    let pool = ConnectionPool::builder()
        .tls(Arc::new(root.connector()))
        .timeouts(Timeouts::default().with_total(Duration::from_secs(60)))
        .build(epoll.backend());
    assert_eq!(
        epoll.block_on(upload(&pool, &url)).unwrap(),
        LARGE.to_string()
    );
    server.join().unwrap().unwrap();
}

#[test]
fn a_refused_certificate_is_an_error_of_tls_and_says_why() {
    let net = MockNet::new();
    let server = Authority::new("other").issue(&["tls.test"]).server();
    serve(&net, server, stay);
    let pool = pool(&net, &Authority::new("root"));
    let error = net.run(get(&pool)).unwrap_err();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Tls, ErrorPhase::Tls)
    );
    assert_eq!(refusal(&error), TlsErrorKind::UnknownIssuer);
}

/// Sends `bytes` as they are, below TLS, when it has heard a request.
async fn break_off(mut stream: ServerTls, response: &'static str, bytes: &'static [u8]) {
    stream.read_until("\r\n\r\n").await.unwrap();
    stream.write_all(response).await.unwrap();
    let mut below = stream.into_below();
    zoo::write_all(&mut *below, bytes).await.unwrap();
    // Until the client leaves: no end of the stream hides behind what it makes of this.
    while zoo::read(&mut *below)
        .await
        .is_ok_and(|heard| !heard.is_empty())
    {}
}

#[test]
fn what_breaks_in_tls_after_the_handshake_is_an_error_of_tls() {
    // A record that is not encrypted; and a version of the record layer that does not exist.
    let (forged, nonsense) = (
        b"\x17\x03\x03\0\x20abcdefghijklmnopqrstuvwxyz012345",
        b"HTTP/1.1 200",
    );
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    for (response, phase, started) in [
        ("", ErrorPhase::Head, false),
        (head, ErrorPhase::Body, true),
    ] {
        for bytes in [&forged[..], nonsense] {
            let net = MockNet::new();
            let root = Authority::new("root");
            serve(&net, root.issue(&["tls.test"]).server(), move |stream| {
                break_off(stream, response, bytes)
            });
            let pool = pool(&net, &root);
            let error = net.run(get(&pool)).unwrap_err();
            assert_eq!(
                (error.kind(), error.phase()),
                (ErrorKind::Tls, phase),
                "{error:?}"
            );
            assert_eq!(
                (error.fault(), error.sent()),
                (Fault::Peer, RequestSent::Full)
            );
            assert_eq!(error.response_started(), started);
            assert_eq!(refusal(&error), TlsErrorKind::Protocol);
            drop(pool);
            net.run_until_idle();
            assert_eq!(net.live_counts(), LiveCounts::default());
        }
    }
}

#[test]
fn a_server_that_misses_the_clients_certificate_is_understood_in_both_versions() {
    // RFC 8446 §4.4.2.4: in TLS 1.3 the client has finished its handshake by the time it is refused.
    for (version, phase, sent) in [
        (&TLS12, ErrorPhase::Tls, RequestSent::None),
        (&TLS13, ErrorPhase::Head, RequestSent::Full),
    ] {
        let net = MockNet::new();
        let root = Authority::new("root");
        let config = root
            .issue(&["tls.test"])
            .server_for_clients_of(&Authority::new("clients"), &[version]);
        serve(&net, config, answer);
        let pool = pool(&net, &root);
        let error = net.run(get(&pool)).unwrap_err();
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Tls, phase),
            "{error:?}"
        );
        assert_eq!((error.fault(), error.sent()), (Fault::Peer, sent));
        assert!(
            matches!(refusal(&error), TlsErrorKind::Alert(_)),
            "{error:?}"
        );
        let said = TlsError::find_in(&error).unwrap().to_string();
        assert!(said.contains("client certificate"), "{said}");
    }
}

#[test]
fn a_missing_client_certificate_shows_the_alert_every_time() {
    let root = Authority::new("root");
    let mut config = root
        .issue(&["127.0.0.1", "localhost"])
        .server_for_clients_of(&Authority::new("clients"), &[&TLS13]);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    // Detached: it ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut tls = ServerConnection::new(config.clone()).unwrap();
            while tls.complete_io(&mut stream).is_ok() {}
            // The alert; and what has come behind the handshake makes the end a reset.
            while tls.wants_write() && tls.write_tls(&mut stream).is_ok() {}
        }
    });
    let epoll = EventLoop::new().unwrap();
    for http2 in [true, false] {
        let pool = ConnectionPool::builder()
            .tls(Arc::new(root.connector()))
            .http2(http2)
            .build(epoll.backend());
        for round in 0..100 {
            let request = http::Request::post(url.as_str()).body(Body::from("some"));
            let error = epoll.block_on(pool.request(request.unwrap())).unwrap_err();
            let place = format!("HTTP/2 {http2}, round {round}: {error:?}");
            assert_eq!(error.kind(), ErrorKind::Tls, "{place}");
            let behind = TlsError::find_in(&error).expect(&place);
            assert!(matches!(behind.kind(), TlsErrorKind::Alert(_)), "{place}");
            let said = behind.to_string();
            assert!(said.contains("client certificate"), "{place}");
            assert_eq!(error.attempts(), 1, "{place}");
        }
    }
}

#[test]
fn a_handshake_that_stalls_runs_into_its_own_timeout() {
    let net = MockNet::new();
    net.serve("tls.test", 443, async |stream| stream.stall().await);
    let root = Authority::new("root");
    let pool = ConnectionPool::builder()
        .tls(Arc::new(root.connector()))
        .timeouts(Timeouts::default().with_tls(Duration::from_secs(7)))
        .build(Arc::new(net.clone()));
    let error = net.run(get(&pool)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Tls));
    assert_eq!(net.elapsed(), Duration::from_secs(7));
}

#[test]
fn https_works_by_default_and_rejects_unknown_issuers() {
    let net = MockNet::new();
    let root = Authority::new("root");
    serve(&net, root.issue(&["tls.test"]).server(), answer);
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let error = net.run(get(&pool)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
}

/// Says that HTTP/2 was agreed on, whatever was offered.
#[derive(Debug)]
struct Liar;

#[derive(Debug)]
struct Lie(BoxStream);

impl TlsConnector for Liar {
    fn handshake(
        &self,
        stream: BoxStream,
        _: &str,
        _: &[Alpn],
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        Box::pin(std::future::ready(Ok(Box::new(Lie(stream)) as BoxStream)))
    }
}

impl NetworkStream for Lie {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut bytes::BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buf)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        self.0.poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        let mut tls = TlsInfo::default();
        tls.alpn = Some(Alpn::Http2);
        let mut info = self.0.info();
        info.tls = Some(Arc::new(tls));
        info
    }
}

#[test]
fn protocol_that_was_not_offered_is_not_used() {
    let net = MockNet::new();
    net.serve("tls.test", 443, async |stream| stream.stall().await);
    let pool = ConnectionPool::builder()
        .http2(false)
        .tls(Arc::new(Liar))
        .build(Arc::new(net.clone()));
    let error = net.run(get(&pool)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("not offered"), "{error}");
}
