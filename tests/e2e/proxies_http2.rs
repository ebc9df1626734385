//! HTTP/2 to proxies, in virtual time: tunnels as streams of shared connections, requests in absolute form as
//! ordinary ones, and what goes wrong with them.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    collections::BTreeSet,
    future::{Future, poll_fn},
    io::IoSlice,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderValue, Method, Request, StatusCode};
use httpcore::{
    ConnectionPool,
    backend::NetworkBackend,
    proxy::{Proxy, ProxyError, Refusal, UseProxy},
};
use httpcore_core_primitives::{
    Alpn, Body, Error, ErrorKind, ErrorPhase, Partition, RequestSent, RequestTarget, ServerName,
    TcpOptions, TimeoutKind, Timeouts, Trace, TraceEvent,
};
use httpcore_net_mock::{
    Chunks, Link, MockNet, MockTls, Scenario, ServerHandle, ServerStream, Sweep, TlsServer,
};
use httpcore_tests::http2;

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const SECOND: Duration = Duration::from_secs(1);

/// What the servers have seen, in order.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn count(&self, part: &str) -> usize {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.contains(part)).count()
    }
}

/// What the proxy does with a `CONNECT`.
#[derive(Clone, Copy, Debug)]
enum Act {
    Tunnel,
    /// Bytes in the tunnel before any have come.
    Early,
    /// A refusal with a body of this length.
    Refuse(u16, usize),
    /// A 407, until the token of this number is there.
    Challenge(usize),
    Reset(Reason),
    Stall,
    /// A tunnel, and GOAWAY behind it.
    GoAway,
    /// A tunnel, and the connection is closed after this time.
    Close(Duration),
    /// A tunnel, and the proxy neither reads nor writes after this time.
    Freeze(Duration),
}

type Decide = Arc<dyn Fn(&str) -> Act + Send + Sync>;

/// A proxy over TLS that chooses HTTP/2, and connects to the hosts of the mock.
fn serve_proxy(
    net: &MockNet,
    host: &'static str,
    streams: u32,
    log: &Log,
    decide: impl Fn(&str) -> Act + Send + Sync + 'static,
) -> ServerHandle {
    let (net_of_proxy, log, decide) = (net.clone(), log.clone(), Arc::new(decide));
    net.serve(host, 443, move |stream| {
        let (net, log) = (net_of_proxy.clone(), log.clone());
        let decide: Decide = decide.clone();
        async move { proxy_connection(net, host, streams, stream, log, decide).await }
    })
}

async fn proxy_connection(
    net: MockNet,
    host: &str,
    streams: u32,
    stream: ServerStream,
    log: Log,
    decide: Decide,
) {
    let tls = TlsServer::new()
        .certificate_for(&[host])
        .alpn(&[Alpn::Http2, Alpn::Http1]);
    let Ok(stream) = stream.accept_tls(&tls).await else {
        return;
    };
    log.push(format!("{host}: connection"));
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(http2::Tokio(stream)).await else {
        return;
    };
    let mut tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    let mut until = None;
    let (mut freezes, mut is_frozen) = (false, false);
    poll_fn(|cx| {
        loop {
            if is_frozen {
                break;
            }
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let target = request.uri().authority().unwrap().to_string();
                    log.push(seen(host, &request));
                    let act = match *request.method() {
                        Method::CONNECT => decide(&target),
                        _ => Act::Tunnel,
                    };
                    if let Act::GoAway = act {
                        connection.graceful_shutdown();
                    }
                    if let Act::Close(time) | Act::Freeze(time) = act {
                        let sleep = net.sleep(time);
                        until = Some(Box::pin(sleep));
                        freezes = matches!(act, Act::Freeze(_));
                    }
                    let net = net.clone();
                    tasks.push(Box::pin(async move {
                        drop(serve(net, act, target, request, respond).await);
                    }));
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if !is_frozen {
            tasks.retain_mut(|task| task.as_mut().poll(cx).is_pending());
        }
        if let Some(sleep) = &mut until
            && sleep.as_mut().poll(cx).is_ready()
        {
            until = None;
            is_frozen = freezes;
            if !is_frozen {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

/// One line of what a request looks like.
fn seen(host: &str, request: &Request<RecvStream>) -> String {
    let mut line = format!("{host}: {} {}", request.method(), request.uri());
    for (name, value) in request.headers() {
        line.push_str(&format!(" [{name}: {}]", value.to_str().unwrap()));
    }
    line
}

async fn serve(
    net: MockNet,
    act: Act,
    target: String,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let head = |status: u16| http::Response::builder().status(status);
    if request.method() != Method::CONNECT {
        let challenge = request.headers().contains_key("x-challenge")
            && request.headers().get("proxy-authorization").is_none();
        let status = if challenge { 407 } else { 200 };
        let head = head(status).header("proxy-authenticate", "Token 1");
        let mut body = respond.send_response(head.body(()).unwrap(), false)?;
        return body.send_data(Bytes::from_static(b"hello"), true);
    }
    match act {
        Act::Refuse(status, length) => {
            let mut body = respond.send_response(head(status).body(()).unwrap(), false)?;
            http2::send(&mut body, vec![b'x'; length].into()).await?;
            body.send_data(Bytes::new(), true)
        }
        Act::Challenge(wanted) => {
            let token = request.headers().get("proxy-authorization");
            let given = token.map_or(0, |value| {
                value.to_str().unwrap()["Token ".len()..].parse().unwrap()
            });
            if given == wanted {
                return tunnel(net, target, request, respond, b"").await;
            }
            let challenge = format!("Token {}", given + 1);
            let head = head(407).header("proxy-authenticate", challenge);
            let mut body = respond.send_response(head.body(()).unwrap(), false)?;
            body.send_data(Bytes::from_static(b"who?"), true)
        }
        Act::Reset(reason) => {
            respond.send_reset(reason);
            Ok(())
        }
        Act::Stall => {
            std::future::pending::<()>().await;
            Ok(())
        }
        Act::Early => tunnel(net, target, request, respond, b"220 hello\r\n").await,
        Act::Tunnel | Act::GoAway | Act::Close(_) | Act::Freeze(_) => {
            tunnel(net, target, request, respond, b"").await
        }
    }
}

/// Connects to `target`, and carries bytes both ways until both have ended.
async fn tunnel(
    net: MockNet,
    target: String,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    first: &'static [u8],
) -> Result<(), h2::Error> {
    let (host, port) = target.rsplit_once(':').unwrap();
    let found = net.resolve(host, port.parse().unwrap()).await;
    let connected = match found {
        Ok(addresses) => net.connect_tcp(addresses[0], &TcpOptions::default()).await,
        Err(error) => Err(error),
    };
    let Ok(stream) = connected else {
        let head = http::Response::builder().status(502).body(()).unwrap();
        return respond.send_response(head, true).map(drop);
    };
    let head = http::Response::builder().status(200).body(()).unwrap();
    let mut sending = respond.send_response(head, false)?;
    if !first.is_empty() {
        sending.send_data(Bytes::from_static(first), false)?;
    }
    let stream = Mutex::new(stream);
    let mut receiving = request.into_body();
    let up = async {
        while let Some(data) = receiving.data().await {
            let data = data?;
            let mut left = &data[..];
            while !left.is_empty() {
                let written = poll_fn(|cx| {
                    let bufs = [IoSlice::new(left)];
                    stream.lock().unwrap().poll_write(cx, &bufs)
                });
                let Ok(written) = written.await else {
                    return Err(Reason::CONNECT_ERROR.into());
                };
                left = &left[written..];
            }
            let _ = receiving.flow_control().release_capacity(data.len());
        }
        let _ = poll_fn(|cx| stream.lock().unwrap().poll_shutdown(cx)).await;
        Ok::<(), h2::Error>(())
    };
    let down = async {
        loop {
            let mut data = BytesMut::with_capacity(4096);
            let read = poll_fn(|cx| stream.lock().unwrap().poll_read(cx, &mut data)).await;
            match read {
                Ok(0) => return sending.send_data(Bytes::new(), true),
                Ok(_) => http2::send(&mut sending, data.freeze()).await?,
                Err(_) => {
                    sending.send_reset(Reason::CONNECT_ERROR);
                    return Ok(());
                }
            }
        }
    };
    let (mut up, mut down) = (pin!(up), pin!(down));
    let mut is_up = true;
    poll_fn(|cx| {
        if is_up && let Poll::Ready(done) = up.as_mut().poll(cx) {
            done?;
            is_up = false;
        }
        down.as_mut().poll(cx)
    })
    .await
}

/// An origin over TLS or without, which answers with [`HELLO`] and logs the first lines of what it is sent.
fn serve_origin(net: &MockNet, host: &'static str, port: u16, log: &Log) -> ServerHandle {
    let log = log.clone();
    net.serve(host, port, move |stream| {
        let log = log.clone();
        async move { drop(origin_connection(host, port, stream, log).await) }
    })
}

async fn origin_connection(
    host: &str,
    port: u16,
    mut stream: ServerStream,
    log: Log,
) -> std::io::Result<()> {
    if port == 443 {
        let tls = TlsServer::new()
            .certificate_for(&[host])
            .alpn(&[Alpn::Http1]);
        stream = stream.accept_tls(&tls).await?;
    }
    loop {
        let head = stream.read_head().await?;
        let secrets = head.contains("proxy-authorization");
        assert!(!secrets, "{head}");
        log.push(format!("{host}: {}", head.lines().next().unwrap()));
        if head.contains("content-length: 4") {
            stream.read_exact(4).await?;
        }
        stream.write_all(HELLO).await?;
    }
}

/// A builder with the TLS of the mock. Not a function, which would name the builder's type.
macro_rules! builder {
    () => {
        ConnectionPool::builder().tls(Arc::new(MockTls::new()))
    };
}

fn pool(net: &MockNet, proxy: Proxy) -> ConnectionPool {
    builder!().proxy(proxy).build(Arc::new(net.clone()))
}

fn proxy(url: &str) -> Proxy {
    url.parse().unwrap()
}

async fn send(pool: &ConnectionPool, request: Request<Body>) -> Result<Bytes, Error> {
    let response = pool.request(request).await?;
    response.into_body().bytes(1 << 20).await
}

async fn get(pool: &ConnectionPool, url: &str) -> Result<Bytes, Error> {
    pool.get(url).await?.into_body().bytes(1 << 20).await
}

fn post(url: &str) -> Request<Body> {
    Request::post(url).body(Body::from("body")).unwrap()
}

fn with(url: &str, extension: impl Clone + Send + Sync + 'static) -> Request<Body> {
    let request = Request::get(url).extension(extension);
    request.body(Body::empty()).unwrap()
}

fn refusal_of(error: &Error) -> &Refusal {
    ProxyError::source_of(error)
        .and_then(ProxyError::refusal)
        .unwrap()
}

/// Runs `count` futures at once, and yields their outputs.
async fn at_once<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = running.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, done) in running.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

const ORIGINS: [&str; 3] = ["a.test", "b.test", "c.test"];

fn all_origins(net: &MockNet, log: &Log) {
    for host in ORIGINS {
        serve_origin(net, host, 443, log);
        serve_origin(net, host, 80, log);
    }
}

#[test]
fn tunnels_to_many_origins_share_one_connection_to_the_proxy() {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve_proxy(&net, "proxy.test", 100, &log, |_| Act::Tunnel);
    all_origins(&net, &log);
    let proxy = proxy("https://user:s3cret@proxy.test")
        .with_tunnel_for_http(true)
        .with_header(
            "x-for-proxy".parse().unwrap(),
            HeaderValue::from_static("yes"),
        )
        .unwrap();
    let pool = pool(&net, proxy);
    net.run(async {
        let urls = ORIGINS
            .iter()
            .flat_map(|host| [format!("https://{host}/"), format!("http://{host}/")])
            .cycle()
            .take(30);
        let pool = &pool;
        let bodies = at_once(urls.map(|url| async move { get(pool, &url).await })).await;
        for body in bodies {
            assert_eq!(body.unwrap(), "hello");
        }
        let status = pool.proxy_status().unwrap();
        assert_eq!(status.connections.len(), 1, "{status:#}");
        // The tunnels are the pool's, under their origins.
        assert_eq!(pool.status().connections.len(), 30, "{:#}", pool.status());
        assert_eq!(get(pool, "https://a.test/").await.unwrap(), "hello");
    });
    assert_eq!(served.attempts(), 1);
    assert_eq!(log.count("proxy.test: CONNECT"), 30);
    let connects = log.count("[x-for-proxy: yes]");
    assert_eq!(connects, 30);
    assert_eq!(
        log.count("[proxy-authorization: Basic dXNlcjpzM2NyZXQ=]"),
        30
    );
    assert_eq!(log.count(": GET / HTTP/1.1"), 31);
    drop(pool);
    net.run_until_idle();
}

#[test]
fn an_http_target_is_an_ordinary_request_with_its_scheme() {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve_proxy(&net, "proxy.test", 100, &log, |_| Act::Tunnel);
    let pool = pool(&net, proxy("https://user:s3cret@proxy.test"));
    net.run(async {
        for url in ["http://a.test/x?y", "http://u:p@B.test:8080"] {
            assert_eq!(get(&pool, url).await.unwrap(), "hello");
        }
        let asterisk = Request::options("http://d.test:81/")
            .extension(RequestTarget::Asterisk)
            .body(Body::empty());
        assert_eq!(send(&pool, asterisk.unwrap()).await.unwrap(), "hello");
        assert_eq!(send(&pool, post("http://a.test/")).await.unwrap(), "hello");
    });
    assert_eq!(served.attempts(), 1);
    let authorization = " [proxy-authorization: Basic dXNlcjpzM2NyZXQ=]";
    let expected = [
        "GET http://a.test/x?y",
        "GET http://b.test:8080/",
        "OPTIONS http://d.test:81*",
        "POST http://a.test/",
    ];
    for (line, request) in log.lines()[1..].iter().zip(expected) {
        assert!(
            line.starts_with(&format!("proxy.test: {request}")),
            "{line}"
        );
        assert!(line.contains(authorization), "{line}");
        assert!(!line.contains("via") && !line.contains("proxy-connection"));
    }
    assert_eq!(log.lines().len(), 5, "{:?}", log.lines());
}

#[test]
fn http1_is_spoken_to_the_proxy_where_that_is_asked_for() {
    let (net, offers) = (MockNet::new(), Log::default());
    let seen = offers.clone();
    net.serve("proxy.test", 443, move |stream| {
        let offers = seen.clone();
        async move {
            // HTTP/2 is preferred, and not offered.
            let tls = TlsServer::new()
                .certificate_for(&["proxy.test"])
                .alpn(&[Alpn::Http2, Alpn::Http1]);
            let mut stream = stream.accept_tls(&tls).await.unwrap();
            let head = stream.read_head().await.unwrap();
            offers.push(head.lines().next().unwrap());
            stream
                .write_all("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
        }
    });
    let only_http1 = proxy("https://proxy.test").with_http1_only(true);
    for pool in [
        pool(&net, only_http1),
        builder!()
            .http2(false)
            .proxy(proxy("https://proxy.test"))
            .build(Arc::new(net.clone())),
    ] {
        let error = net.run(get(&pool, "https://a.test/")).unwrap_err();
        assert_eq!(refusal_of(&error).status, StatusCode::FORBIDDEN);
        assert!(pool.proxy_status().is_none());
    }
    // A forwarded request that must not be HTTP/2.
    let policy = httpcore_core_primitives::ConnectionPolicy::default().with_http1_only();
    let pool = pool(&net, proxy("https://proxy.test"));
    let response = net.run(pool.request(with("http://a.test/", policy)));
    assert_eq!(response.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(
        offers.lines(),
        [
            "CONNECT a.test:443 HTTP/1.1",
            "CONNECT a.test:443 HTTP/1.1",
            "GET http://a.test/ HTTP/1.1"
        ]
    );
}

#[test]
fn connections_to_a_proxy_are_not_shared_between_users_fields_hooks_and_partitions() {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve_proxy(&net, "proxy.test", 100, &log, |_| Act::Tunnel);
    all_origins(&net, &log);
    let field = proxy("https://one:1@proxy.test")
        .with_header("x-a".parse().unwrap(), HeaderValue::from_static("b"))
        .unwrap();
    let proxies = [
        proxy("https://one:1@proxy.test"),
        proxy("https://two:1@proxy.test"),
        proxy("https://one:2@proxy.test"),
        proxy("https://proxy.test"),
        field,
        proxy("https://one:1@proxy.test").with_authentication(|_| None),
        proxy("https://one:1@proxy.test").with_authentication(|_| None),
    ];
    let pool = builder!().build(Arc::new(net.clone()));
    net.run(async {
        for _ in 0..2 {
            for proxy in &proxies {
                for host in ORIGINS {
                    let url = format!("https://{host}/");
                    let request = with(&url, UseProxy::through(proxy.clone()));
                    send(&pool, request).await.unwrap();
                }
            }
            for partition in ["x", "y"] {
                let mut request = with("https://a.test/", UseProxy::through(proxies[0].clone()));
                request.extensions_mut().insert(Partition::new(partition));
                send(&pool, request).await.unwrap();
            }
        }
        // The name of the origin's certificate separates tunnels, and not connections to the proxy.
        let mut named = with("https://b.test/", UseProxy::through(proxies[0].clone()));
        named.extensions_mut().insert(ServerName::new("other.test"));
        let error = send(&pool, named).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls);
    });
    assert_eq!(served.attempts(), proxies.len() + 2);
    assert_eq!(log.count("CONNECT"), proxies.len() * 3 + 2 + 1);
}

#[test]
fn a_refusal_on_a_stream_is_the_proxys_and_leaves_the_connection_to_others() {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve_proxy(&net, "proxy.test", 100, &log, |target| match target {
        "a.test:443" => Act::Refuse(403, 5),
        "b.test:443" => Act::Refuse(502, 100_000),
        _ => Act::Tunnel,
    });
    all_origins(&net, &log);
    let pool = pool(&net, proxy("https://u:hunter2@proxy.test"));
    net.run(async {
        for (url, status, length, is_complete) in [
            ("https://a.test/", 403, 5, true),
            ("https://b.test/", 502, 64 * 1024, false),
        ] {
            let error = get(&pool, url).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.phase(), error.sent()),
                (ErrorKind::Proxy, ErrorPhase::Proxy, RequestSent::None)
            );
            let refusal = refusal_of(&error);
            assert_eq!(refusal.status, status);
            assert_eq!(
                (refusal.body.len(), refusal.is_complete),
                (length, is_complete)
            );
            assert!(!format!("{error:#} {error:?}").contains("hunter"));
        }
        assert_eq!(get(&pool, "https://c.test/").await.unwrap(), "hello");
        let status = pool.proxy_status().unwrap();
        assert_eq!(status.active_requests, 1, "the tunnel: {status:#}");
    });
    assert_eq!(served.attempts(), 1);
}

#[test]
fn challenges_are_answered_on_streams_of_the_same_connection() {
    for (wanted, calls_made, works) in [(1, 1, true), (3, 3, true), (4, 3, false)] {
        let (net, log) = (MockNet::new(), Log::default());
        let served = serve_proxy(&net, "proxy.test", 100, &log, move |_| {
            Act::Challenge(wanted)
        });
        all_origins(&net, &log);
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let hooked = proxy("https://proxy.test").with_authentication(move |challenge| {
            assert_eq!(
                (challenge.method, challenge.target),
                (&Method::CONNECT, "a.test:443")
            );
            let call = counted.fetch_add(1, Ordering::Relaxed);
            assert_eq!(usize::try_from(challenge.round).unwrap(), call);
            challenge.values().next().cloned()
        });
        let pool = pool(&net, hooked);
        let outcome = net.run(get(&pool, "https://a.test/"));
        assert_eq!(calls.load(Ordering::Relaxed), calls_made);
        match outcome {
            Ok(body) => assert!(works && body == "hello"),
            Err(error) => {
                assert!(!works, "{error:?}");
                assert_eq!(refusal_of(&error).body, "who?");
            }
        }
        assert_eq!(served.attempts(), 1);
        assert_eq!(log.count("CONNECT"), calls_made + 1);
    }
}

#[test]
fn a_reset_of_a_tunnel_ends_that_tunnel_only() {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve_proxy(&net, "proxy.test", 100, &log, |target| match target {
        "a.test:443" => Act::Reset(Reason::CONNECT_ERROR),
        _ => Act::Tunnel,
    });
    all_origins(&net, &log);
    let pool = pool(&net, proxy("https://proxy.test"));
    net.run(async {
        assert_eq!(get(&pool, "https://b.test/").await.unwrap(), "hello");
        let error = get(&pool, "https://a.test/").await.unwrap_err();
        assert_eq!(error.phase(), ErrorPhase::Proxy, "{error:?}");
        assert_eq!(error.sent(), RequestSent::None);
        assert!(
            matches!(error.kind(), ErrorKind::Proxy | ErrorKind::Network),
            "{error:?}"
        );
        assert_eq!(get(&pool, "https://b.test/").await.unwrap(), "hello");
        assert_eq!(get(&pool, "https://c.test/").await.unwrap(), "hello");
    });
    assert_eq!(served.attempts(), 1);
    assert_eq!(log.count("CONNECT b.test"), 1, "the tunnel was kept");
}

#[test]
fn after_goaway_tunnels_go_on_and_new_ones_have_a_new_connection() {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve_proxy(&net, "proxy.test", 100, &log, |target| match target {
        "a.test:443" => Act::GoAway,
        _ => Act::Tunnel,
    });
    all_origins(&net, &log);
    let pool = pool(&net, proxy("https://proxy.test"));
    net.run(async {
        assert_eq!(get(&pool, "https://a.test/").await.unwrap(), "hello");
        net.sleep(SECOND).await;
        assert_eq!(get(&pool, "https://a.test/").await.unwrap(), "hello");
        assert_eq!(get(&pool, "https://b.test/").await.unwrap(), "hello");
        assert_eq!(get(&pool, "https://c.test/").await.unwrap(), "hello");
    });
    assert_eq!(served.attempts(), 2);
    assert_eq!(log.count("CONNECT a.test"), 1, "the tunnel was kept");
}

#[test]
fn tunnels_beyond_the_stream_limit_have_more_connections_within_the_limit_for_the_proxy() {
    // Without a limit on connections, and with one of 1, within which the third tunnel waits too long.
    for (limit, connections) in [(None, 2), (Some(1), 1)] {
        let (net, log) = (MockNet::new(), Log::default());
        let served = serve_proxy(&net, "proxy.test", 2, &log, |_| Act::Tunnel);
        all_origins(&net, &log);
        let pool = builder!()
            .proxy(proxy("https://proxy.test"))
            .max_connections_per_origin(limit)
            .timeouts(Timeouts::default().with_connect(SECOND))
            .build(Arc::new(net.clone()));
        net.run(async {
            get(&pool, "https://a.test/").await.unwrap();
            get(&pool, "https://b.test/").await.unwrap();
            let third = get(&pool, "https://c.test/").await;
            let Some(_) = limit else {
                assert_eq!(third.unwrap(), "hello");
                return;
            };
            let error = third.unwrap_err();
            assert_eq!(
                (error.kind(), error.phase()),
                (ErrorKind::Timeout(TimeoutKind::Connect), ErrorPhase::Proxy)
            );
            // The idle tunnels are closed after four seconds, and so there is room.
            net.sleep(4 * SECOND).await;
            assert_eq!(get(&pool, "https://c.test/").await.unwrap(), "hello");
        });
        assert_eq!(served.attempts(), connections);
    }
}

#[test]
fn a_proxy_that_does_not_answer_runs_into_the_limit_on_connecting() {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve_proxy(&net, "proxy.test", 100, &log, |target| match target {
        "a.test:443" => Act::Stall,
        _ => Act::Tunnel,
    });
    all_origins(&net, &log);
    let pool = builder!()
        .proxy(proxy("https://proxy.test"))
        .timeouts(Timeouts::default().with_connect(SECOND))
        .build(Arc::new(net.clone()));
    net.run(async {
        get(&pool, "https://b.test/").await.unwrap();
        let began = net.now();
        let error = get(&pool, "https://a.test/").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Timeout(TimeoutKind::Connect), ErrorPhase::Proxy)
        );
        assert_eq!(net.now() - began, SECOND);
        // The proxy answers PINGs, and so its connection goes on.
        net.sleep(SECOND).await;
        assert_eq!(get(&pool, "https://b.test/").await.unwrap(), "hello");
        assert_eq!(get(&pool, "https://c.test/").await.unwrap(), "hello");
    });
    assert_eq!(served.attempts(), 1);
}

#[test]
fn a_silent_connection_to_a_proxy_is_given_up_with_its_tunnels() {
    // By a keep-alive PING while all is idle, or since a tunnel was not opened in time.
    for by_ping in [true, false] {
        let (net, log) = (MockNet::new(), Log::default());
        let connects = AtomicUsize::new(0);
        let served = serve_proxy(&net, "proxy.test", 100, &log, move |_| {
            match connects.fetch_add(1, Ordering::Relaxed) {
                0 => Act::Freeze(SECOND),
                _ => Act::Tunnel,
            }
        });
        all_origins(&net, &log);
        let pool = builder!()
            .proxy(proxy("https://proxy.test"))
            .idle_timeout(None)
            .timeouts(Timeouts::default().with_connect(SECOND))
            .configure_http2(|http2| {
                http2.keep_alive_interval = by_ping.then_some(2 * SECOND);
                http2.keep_alive_timeout = SECOND;
            })
            .build(Arc::new(net.clone()));
        net.run(async {
            get(&pool, "https://a.test/").await.unwrap();
            net.sleep(2 * SECOND).await;
            if !by_ping {
                let error = get(&pool, "https://b.test/").await.unwrap_err();
                assert_eq!(
                    (error.kind(), error.phase()),
                    (ErrorKind::Timeout(TimeoutKind::Connect), ErrorPhase::Proxy)
                );
            }
            net.sleep(10 * SECOND).await;
            assert!(pool.status().connections.is_empty(), "{:#}", pool.status());
            let left = pool.proxy_status().unwrap();
            assert!(left.connections.is_empty(), "{left:#}");
            // A POST, which is not sent twice, does not meet the end of the tunnel.
            assert_eq!(send(&pool, post("https://a.test/")).await.unwrap(), "hello");
        });
        assert_eq!(served.attempts(), 2);
        assert_eq!(log.count("a.test: POST"), 1);
    }
}

#[test]
fn connecting_to_the_proxy_is_retried_and_its_refusal_is_not() {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve_proxy(&net, "proxy.test", 100, &log, |_| Act::Refuse(503, 0));
    served.links([Link::refused(), Link::refused(), Link::new()]);
    let pool = builder!()
        .connect_retries(5)
        .proxy(proxy("https://proxy.test"))
        .build(Arc::new(net.clone()));
    let error = net.run(get(&pool, "https://a.test/")).unwrap_err();
    assert_eq!(refusal_of(&error).status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((served.attempts(), log.count("CONNECT")), (3, 1));
}

#[test]
fn secrets_are_in_no_text() {
    let (net, log) = (MockNet::new(), Log::default());
    serve_proxy(&net, "proxy.test", 100, &log, |_| Act::Tunnel);
    all_origins(&net, &log);
    let events = Log::default();
    let sink = events.clone();
    let trace =
        Trace::to(move |_: Instant, event: &TraceEvent<'_>| sink.push(format!("{event:?}")));
    let proxy = proxy("https://hunter1:hunter2@proxy.test")
        .with_header(
            "x-key".parse().unwrap(),
            HeaderValue::from_static("hunter3"),
        )
        .unwrap();
    let pool = pool(&net, proxy);
    net.run(async {
        let mut request = with("https://a.test/", trace);
        let secret = HeaderValue::from_static("hunter4");
        request.headers_mut().insert("authorization", secret);
        send(&pool, request).await.unwrap();
    });
    let proxy_status = pool.proxy_status().unwrap();
    let mut texts = events.lines();
    texts.push(format!(
        "{pool:?} {:#} {proxy_status:#} {proxy_status:?}",
        pool.status()
    ));
    assert!(texts.len() > 8, "{texts:?}");
    for text in &texts {
        assert!(!text.contains("hunter"), "{text}");
        assert!(!text.contains("aHVudGVy"), "the same in base64: {text}");
    }
    // The proxy was not shown what is for the origin.
    assert_eq!(log.count("hunter4"), 0, "{:?}", log.lines());
}

#[test]
fn bytes_in_a_tunnel_before_the_client_has_spoken_are_refused() {
    let (net, log) = (MockNet::new(), Log::default());
    serve_proxy(&net, "proxy.test", 100, &log, |_| Act::Early);
    all_origins(&net, &log);
    let pool = pool(&net, proxy("https://proxy.test").with_tunnel_for_http(true));
    for url in ["https://a.test/", "http://a.test/"] {
        let error = net.run(get(&pool, url)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Proxy, "{error:?}");
        let source = ProxyError::source_of(&error);
        assert!(
            matches!(source, Some(ProxyError::Malformed(_))),
            "{error:?}"
        );
    }
    assert_eq!(log.count("HTTP/1.1"), 0, "no request was sent");
}

#[test]
fn a_tunnel_or_a_connection_that_dies_while_idle_costs_no_request_twice() {
    // The origin closes the tunnel, or the proxy its connection.
    for closes_all in [false, true] {
        let (net, log) = (MockNet::new(), Log::default());
        let served = serve_proxy(&net, "proxy.test", 100, &log, move |_| match closes_all {
            true => Act::Close(SECOND),
            false => Act::Tunnel,
        });
        let seen = log.clone();
        net.serve("a.test", 443, move |stream| {
            let log = seen.clone();
            async move {
                let tls = TlsServer::new()
                    .certificate_for(&["a.test"])
                    .alpn(&[Alpn::Http1]);
                let mut stream = stream.accept_tls(&tls).await.unwrap();
                let Ok(head) = stream.read_head().await else {
                    return;
                };
                log.push(head.lines().next().unwrap());
                if head.contains("content-length: 4") {
                    stream.read_exact(4).await.unwrap();
                }
                stream.write_all(HELLO).await.unwrap();
                stream.sleep(SECOND).await;
            }
        });
        let pool = builder!()
            .proxy(proxy("https://proxy.test"))
            .idle_timeout(None)
            .build(Arc::new(net.clone()));
        net.run(async {
            get(&pool, "https://a.test/").await.unwrap();
            net.sleep(2 * SECOND).await;
            send(&pool, post("https://a.test/")).await.unwrap();
            net.sleep(2 * SECOND).await;
            get(&pool, "https://a.test/").await.unwrap();
        });
        assert_eq!(served.attempts(), if closes_all { 3 } else { 1 });
        assert_eq!(log.count("HTTP/1.1"), 3, "{:?}", log.lines());
    }
}

#[test]
fn a_client_that_does_not_read_holds_up_the_origin() {
    let (net, log) = (MockNet::new(), Log::default());
    serve_proxy(&net, "proxy.test", 100, &log, |_| Act::Tunnel);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    net.serve("a.test", 80, move |mut stream| {
        let sent = counted.clone();
        async move {
            stream.read_head().await.unwrap();
            stream.write_all("HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            for _ in 0..4096 {
                if stream.write_all(vec![b'x'; 4096]).await.is_err() {
                    return;
                }
                sent.fetch_add(4096, Ordering::Relaxed);
            }
        }
    });
    let window = 128 * 1024;
    let pool = builder!()
        .proxy(proxy("https://proxy.test").with_tunnel_for_http(true))
        .configure_http2(|http2| http2.stream_window = window)
        .build(Arc::new(net.clone()));
    let mut response = net.run(pool.get("http://a.test/")).unwrap();
    net.advance(SECOND);
    let held = sent.load(Ordering::Relaxed);
    assert!(
        held < 1 << 20,
        "{held} bytes were sent to a client that does not read"
    );
    let total = net.run(async {
        let mut total = 0;
        while let Some(chunk) = response.body_mut().chunk().await {
            total += chunk.unwrap().len();
        }
        total
    });
    assert_eq!(total, 4096 * 4096);
}

#[test]
fn a_chain_of_such_proxies_has_a_shared_connection_to_each() {
    let (net, log) = (MockNet::new(), Log::default());
    let first = serve_proxy(&net, "one.test", 100, &log, |_| Act::Tunnel);
    let second = serve_proxy(&net, "two.test", 100, &log, |_| Act::Tunnel);
    all_origins(&net, &log);
    let chain = proxy("https://b:2@two.test")
        .through(proxy("https://a:1@one.test"))
        .unwrap();
    let steps = Log::default();
    let told = steps.clone();
    let trace = Trace::to(move |_: Instant, event: &TraceEvent<'_>| match event {
        TraceEvent::ProxyStarted { proxy, target } => {
            told.push(format!("{proxy} {}", target.unwrap_or("-")));
        }
        TraceEvent::ProxyEstablished { target, .. } => {
            told.push(format!("open {}", target.unwrap_or("-")));
        }
        TraceEvent::TlsEstablished { .. } | TraceEvent::TcpConnected { .. } => {
            told.push(event.name());
        }
        _ => {}
    });
    let pool = pool(&net, chain);
    net.run(async {
        send(&pool, with("https://a.test/", trace.clone()))
            .await
            .unwrap();
        let first = [
            "connection.tcp.complete",
            "https://one.test:443 two.test:443",
            "connection.tls.complete",
            "open two.test:443",
            "https://two.test:443 a.test:443",
            "connection.tls.complete",
            "open a.test:443",
            "connection.tls.complete",
        ];
        assert_eq!(steps.lines(), first);
        send(&pool, with("https://b.test/", trace)).await.unwrap();
        let next = [
            "https://two.test:443 b.test:443",
            "open b.test:443",
            "connection.tls.complete",
        ];
        assert_eq!(steps.lines()[first.len()..], next);
    });
    assert_eq!((first.attempts(), second.attempts()), (1, 1));
    assert_eq!(
        log.count("one.test: CONNECT two.test:443 [proxy-authorization: Basic YTox]"),
        1
    );
    assert_eq!(log.count("two.test: CONNECT"), 2);
    assert_eq!(log.count("[proxy-authorization: Basic Yjoy]"), 2);
}

#[test]
fn a_forwarded_request_answers_a_challenge_over_http2() {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve_proxy(&net, "proxy.test", 100, &log, |_| Act::Tunnel);
    let hooked = proxy("https://proxy.test").with_authentication(|challenge| {
        assert_eq!(challenge.target, "http://a.test/x");
        challenge.values().next().cloned()
    });
    let pool = pool(&net, hooked);
    net.run(async {
        let request = Request::post("http://a.test/x")
            .header("x-challenge", "yes")
            .body(Body::from("body"));
        let response = pool.request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        drop(response);
        assert_eq!(pool.status().active_requests, 0);
    });
    assert_eq!(served.attempts(), 1);
    assert_eq!(log.count("POST http://a.test/x"), 2);
    assert_eq!(log.count("[proxy-authorization: Token 1]"), 1);
}

#[test]
fn connections_to_proxies_end_with_their_pool() {
    let (net, log) = (MockNet::new(), Log::default());
    serve_proxy(&net, "proxy.test", 100, &log, |_| Act::Tunnel);
    all_origins(&net, &log);
    let connections = |pool: &ConnectionPool| {
        net.run_until_idle();
        pool.proxy_status().unwrap().connections.len()
    };
    let make = || {
        builder!()
            .idle_timeout(None)
            .proxy(proxy("https://proxy.test"))
            .build(Arc::new(net.clone()))
    };
    let pool = make();
    net.run(get(&pool, "https://a.test/")).unwrap();
    assert_eq!(connections(&pool), 1);
    pool.close_idle();
    net.run_until_idle();
    pool.close_idle();
    assert_eq!(connections(&pool), 0, "{:#}", pool.proxy_status().unwrap());

    net.run(get(&pool, "https://a.test/")).unwrap();
    let drained = net.run(pool.drain(SECOND));
    assert_eq!(drained.aborted, 0);
    assert_eq!(connections(&pool), 0);

    let pool = make();
    net.run(get(&pool, "https://a.test/")).unwrap();
    pool.close();
    assert_eq!(connections(&pool), 0);
}

// Failure at each byte, stalls, cancellation.

const LIMITS: Timeouts = Timeouts::none()
    .with_connect(SECOND)
    .with_tls(Duration::from_secs(2))
    .with_response_head(Duration::from_secs(3))
    .with_read(Duration::from_secs(4))
    .with_total(Duration::from_secs(12));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaks {
    End,
    Reset,
    Stall,
}

/// Sends a POST through [TLS, HTTP/2 CONNECT, TLS], where the proxy's bytes break off after `n`.
fn break_at(breaks: Breaks, n: u64) -> (Result<Bytes, Error>, usize, Duration) {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve_proxy(&net, "proxy.test", 100, &log, |_| Act::Tunnel);
    serve_origin(&net, "a.test", 443, &log);
    served.link(Link::new().to_client(|path| match breaks {
        Breaks::End => path.end_at(n),
        Breaks::Reset => path.reset_at(n),
        Breaks::Stall => path.blackhole_at(n),
    }));
    let pool = builder!()
        .proxy(proxy("https://u:hunter2@proxy.test"))
        .timeouts(LIMITS)
        .build(Arc::new(net.clone()));
    let outcome = net.run(send(&pool, post("https://a.test/")));
    let took = net.elapsed();
    let posts = log.count(": POST");
    if outcome.is_err() {
        net.advance(60 * SECOND);
        assert!(pool.status().connections.is_empty(), "{}", pool.status());
        if let Some(status) = pool.proxy_status() {
            assert!(status.connections.is_empty(), "{breaks:?} {n}: {status:#}");
        }
    }
    (outcome, posts, took)
}

#[test]
fn a_connection_that_breaks_at_any_byte_fails_in_its_phase_and_sends_no_post_twice() {
    for breaks in [Breaks::End, Breaks::Reset, Breaks::Stall] {
        let mut phases = BTreeSet::new();
        let mut n = 0;
        loop {
            let (outcome, posts, took) = break_at(breaks, n);
            let what = format!("{breaks:?} at {n}");
            assert!(posts <= 1, "{what}: {posts} POSTs");
            let error = match outcome {
                Ok(_) => break,
                Err(error) => error,
            };
            if matches!(error.phase(), ErrorPhase::Proxy | ErrorPhase::Tls) {
                assert_eq!(error.sent(), RequestSent::None, "{what}: {error:?}");
                assert_eq!(posts, 0, "{what}");
            }
            match (breaks, error.phase()) {
                (Breaks::Stall, ErrorPhase::Proxy) => {
                    assert_eq!(
                        error.kind(),
                        ErrorKind::Timeout(TimeoutKind::Connect),
                        "{what}"
                    );
                    assert_eq!(took, SECOND, "{what}");
                }
                (Breaks::Stall, ErrorPhase::Tls) => {
                    assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Tls), "{what}");
                    assert_eq!(took, 2 * SECOND, "{what}");
                }
                (Breaks::Stall, _) => assert!(error.is_timeout(), "{what}: {error:?}"),
                (_, ErrorPhase::Proxy) => assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::ConnectionClosed | ErrorKind::Network
                    ),
                    "{what}: {error:?}"
                ),
                _ => {}
            }
            let text = format!("{error:#} {error:?}");
            assert!(!text.contains("hunter"), "{text}");
            phases.insert(format!("{:?}", error.phase()));
            n += 1;
            assert!(n < 20_000, "{what}");
        }
        for phase in [ErrorPhase::Tls, ErrorPhase::Proxy] {
            assert!(
                phases.contains(&format!("{phase:?}")),
                "{breaks:?}: {phases:?}"
            );
        }
        assert!(n > 100, "there are only {n} bytes");
    }
}

#[test]
fn tunnels_are_cancelled_at_any_moment_without_leaks() {
    for sweep in [Sweep::polls(), Sweep::instants()] {
        let swept = sweep.run(|net| {
            let log = Log::default();
            let served = serve_proxy(net, "proxy.test", 100, &log, |_| Act::Tunnel);
            serve_origin(net, "a.test", 443, &log);
            served.link(
                Link::new()
                    .latency(Duration::from_millis(10))
                    .chunks(Chunks::Each(32)),
            );
            let pool = builder!()
                .proxy(proxy("https://proxy.test"))
                .max_connections(1)
                .timeouts(LIMITS)
                .build(Arc::new(net.clone()));
            let (main, counted, then) = (pool.clone(), pool.clone(), pool);
            Scenario::new(async move {
                let body = get(&main, "https://a.test/").await;
                assert!(body.is_ok(), "{body:?}");
            })
            .counting(move || {
                let status = counted.status();
                vec![
                    ("active requests", status.active_requests),
                    ("queued requests", status.queued_requests),
                ]
            })
            .then(async move {
                let body = get(&then, "https://a.test/").await;
                assert!(body.is_ok(), "{body:?}");
            })
            // A tunnel that has been begun is finished for the next request; the connection to the proxy is
            // kept.
            .allow_tasks(6)
            .allow_streams(4)
            .allow_timers(8)
            .allow_attempts(2)
        });
        assert!(swept.points > 4, "{}", swept.points);
    }
}

#[test]
fn a_pool_that_is_dropped_with_a_tunnel_under_way_leaves_nothing() {
    let (net, log) = (MockNet::new(), Log::default());
    serve_proxy(&net, "proxy.test", 100, &log, |_| Act::Stall);
    let chain = proxy("https://proxy.test").through(proxy("https://proxy.test"));
    for proxy in [proxy("https://proxy.test"), chain.unwrap()] {
        let pool = builder!()
            .proxy(proxy)
            .timeouts(Timeouts::none())
            .build(Arc::new(net.clone()));
        let mut request = Box::pin(get(&pool, "https://a.test/"));
        let pending = net.run(poll_fn(|cx| {
            Poll::Ready(request.as_mut().poll(cx).is_pending())
        }));
        assert!(pending);
        net.run_until_idle();
        assert_eq!(pool.proxy_status().unwrap().connections.len(), 1);
        drop(request);
        drop(pool);
        net.run_until_idle();
    }
    let left = net.live();
    assert!(
        !left.iter().any(|what| what.contains("connect")),
        "{left:?}"
    );
}
