//! Proxies in virtual time: tunnels, forwarding, SOCKS and chains, and what goes wrong with them.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use httpcore::{
    ConnectionPool,
    proxy::{
        Addresses, Proxy, ProxyError, ProxyHeader, ProxyProtocol, ProxyRules, Refusal, SocksReply,
        UseProxy,
    },
};
use httpcore_core_primitives::{
    Alpn, Body, Error, ErrorKind, ErrorPhase, Fault, NetworkStream, Partition, RequestSent,
    RequestTarget, ServerName, TimeoutKind, Timeouts, TlsOverride, Trace, TraceEvent,
};
use httpcore_net_mock::{
    Chunks, DnsEntry, Link, MockNet, MockTls, Scenario, ServerHandle, ServerStream, Sweep,
    TlsServer,
};
use httpcore_tests::http2;

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const SECOND: Duration = Duration::from_secs(1);

/// What the servers have read, head by head.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, head: impl Into<String>) {
        self.0.lock().unwrap().push(head.into());
    }

    fn heads(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// The first lines.
    fn lines(&self) -> Vec<String> {
        let first = |head: &String| head.lines().next().unwrap_or_default().to_owned();
        self.heads().iter().map(first).collect()
    }
}

/// What a server accepts before HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Connect(&'static str),
    /// SOCKS 5 without a password, for this name.
    Socks5h(&'static str),
    /// TLS with a certificate for this name only.
    Tls(&'static str),
    /// The same, with HTTP/2 inside.
    TlsH2(&'static str),
}

/// A server's side of `layers`.
async fn accept(mut stream: ServerStream, layers: &[Layer], log: &Log) -> io::Result<ServerStream> {
    for layer in layers {
        match layer {
            Layer::Connect(target) => {
                let head = stream.read_head().await?;
                log.push(&*head);
                assert!(
                    head.starts_with(&format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n")),
                    "{head}"
                );
                stream
                    .write_all("HTTP/1.1 200 Connection established\r\n\r\n")
                    .await?;
            }
            Layer::Socks5h(name) => {
                let methods = stream.read_exact(3).await?;
                assert_eq!(methods[..], *b"\x05\x01\x00");
                stream.write_all(b"\x05\x00").await?;
                let length = u8::try_from(name.len()).unwrap();
                let request = stream.read_exact(5 + name.len() + 2).await?;
                assert_eq!(request[..5], [5, 1, 0, 3, length]);
                assert_eq!(request[5..5 + name.len()], *name.as_bytes());
                stream.write_all(b"\x05\x00\x00\x01\0\0\0\0\0\0").await?;
            }
            Layer::Tls(name) | Layer::TlsH2(name) => {
                let alpn = match layer {
                    Layer::TlsH2(_) => Alpn::Http2,
                    _ => Alpn::Http1,
                };
                let tls = TlsServer::new().certificate_for(&[name]).alpn(&[alpn]);
                stream = stream.accept_tls(&tls).await?;
            }
        }
    }
    Ok(stream)
}

/// Answers requests with [`HELLO`], and logs their heads.
async fn answer(mut stream: ServerStream, log: Log) {
    while let Ok(head) = stream.read_head().await {
        log.push(&*head);
        if head.contains("content-length: 4") && stream.read_exact(4).await.is_err() {
            return;
        }
        if stream.write_all(HELLO).await.is_err() {
            return;
        }
    }
}

/// A host that accepts `layers`, and is the origin behind them.
fn serve(
    net: &MockNet,
    host: &str,
    port: u16,
    layers: &'static [Layer],
    log: &Log,
) -> ServerHandle {
    let log = log.clone();
    net.serve(host, port, move |stream| {
        let log = log.clone();
        async move {
            let Ok(stream) = accept(stream, layers, &log).await else {
                return;
            };
            match layers.last() {
                Some(Layer::TlsH2(_)) => {
                    let io = http2::Tokio(stream);
                    http2::serve_with(io, h2::server::Builder::new(), |request, respond| {
                        log.push(format!("{} over HTTP/2", request.method()));
                        Box::pin(async move { drop(http2::answer(request, respond).await) })
                    })
                    .await;
                }
                _ => answer(stream, log).await,
            }
        }
    })
}

/// A host that answers each connection by hand.
fn by_hand<F>(
    net: &MockNet,
    host: &str,
    port: u16,
    server: impl Fn(usize, ServerStream) -> F + Send + Sync + 'static,
) -> ServerHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    let count = AtomicUsize::new(0);
    net.serve(host, port, move |stream| {
        server(count.fetch_add(1, Ordering::Relaxed), stream)
    })
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
    pool.request(request)
        .await?
        .into_body()
        .bytes(1 << 20)
        .await
}

async fn get(pool: &ConnectionPool, url: &str) -> Result<Bytes, Error> {
    pool.get(url).await?.into_body().bytes(1 << 20).await
}

fn with(url: &str, extension: impl Clone + Send + Sync + 'static) -> Request<Body> {
    Request::get(url)
        .extension(extension)
        .body(Body::empty())
        .unwrap()
}

fn refusal_of(error: &Error) -> &Refusal {
    ProxyError::source_of(error)
        .and_then(ProxyError::refusal)
        .unwrap()
}

// Tunnels.

#[test]
fn https_goes_through_a_tunnel_and_the_proxys_fields_stay_with_the_proxy() {
    let (net, log) = (MockNet::new(), Log::default());
    let layers = &[Layer::Connect("origin.test:443"), Layer::Tls("origin.test")];
    let served = serve(&net, "proxy.test", 3128, layers, &log);
    let proxy = proxy("http://user:s3cret@proxy.test:3128")
        .with_header(
            "x-for-proxy".parse().unwrap(),
            HeaderValue::from_static("yes"),
        )
        .unwrap();
    let pool = pool(&net, proxy);
    net.run(async {
        for _ in 0..2 {
            let request = Request::get("https://origin.test/a")
                .header("authorization", "Bearer for-origin")
                .header("proxy-authorization", "Basic by-hand")
                .body(Body::empty());
            assert_eq!(send(&pool, request.unwrap()).await.unwrap(), "hello");
        }
    });
    assert_eq!(served.attempts(), 1);
    let heads = log.heads();
    let [connect, first, second] = &heads[..] else {
        panic!("{heads:?}")
    };
    assert!(connect.contains("x-for-proxy: yes\r\n"));
    assert!(connect.contains("proxy-authorization: Basic dXNlcjpzM2NyZXQ=\r\n"));
    assert!(!connect.contains("for-origin") && !connect.contains("by-hand"));
    for inner in [first, second] {
        assert!(inner.starts_with("GET /a HTTP/1.1\r\nhost: origin.test\r\n"));
        assert!(inner.contains("for-origin"));
        assert!(!inner.contains("x-for-proxy") && !inner.contains("proxy-authorization"));
    }
}

#[test]
fn any_2xx_opens_a_tunnel_after_any_1xx_and_its_framing_is_ignored() {
    for opening in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 299 Fine\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 103 Early\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let net = MockNet::new();
        by_hand(&net, "proxy.test", 80, move |_, mut stream| async move {
            stream.read_head().await.unwrap();
            stream.write_all(opening).await.unwrap();
            answer(stream, Log::default()).await;
        });
        let pool = pool(&net, proxy("http://proxy.test").with_tunnel_for_http(true));
        let body = net.run(get(&pool, "http://origin.test/"));
        assert_eq!(body.unwrap(), "hello", "{opening:?}");
    }
}

#[test]
fn a_refusal_is_the_proxys_and_comes_with_its_status_fields_and_64_kib_of_its_body() {
    let large = "x".repeat(100 * 1024);
    for (status, body, kept) in [
        ("403 Forbidden", "no such host", 12),
        ("502 Bad Gateway", &*large, 64 * 1024),
        ("302 Found", "", 0),
        ("407 Proxy Authentication Required", "who?", 4),
    ] {
        let net = MockNet::new();
        let response = format!(
            "HTTP/1.1 {status}\r\nx-why: policy\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let served = by_hand(&net, "proxy.test", 80, move |_, mut stream| {
            let response = response.clone();
            async move {
                stream.read_head().await.unwrap();
                let _ = stream.write_all(response).await;
                stream.stall().await;
            }
        });
        let pool = pool(&net, proxy("http://u:hunter2@proxy.test"));
        let error = net.run(get(&pool, "https://origin.test/")).unwrap_err();
        assert_eq!(
            (error.kind(), error.phase(), error.fault(), error.sent()),
            (
                ErrorKind::Proxy,
                ErrorPhase::Proxy,
                Fault::Peer,
                RequestSent::None
            )
        );
        assert!(error.is_connect() && !error.is_retryable());
        let refusal = refusal_of(&error);
        assert_eq!(refusal.status.as_u16().to_string(), status[..3]);
        assert_eq!(refusal.headers["x-why"], "policy");
        assert_eq!(refusal.body.len(), kept);
        assert_eq!(refusal.is_complete, kept == body.len());
        let text = format!("{error:#}");
        assert!(
            text.starts_with(
                "the proxy http://proxy.test:80 opened no tunnel to origin.test:443: "
            ),
            "{text}"
        );
        assert!(
            text.contains(&status[..3]) && !text.contains("hunter2"),
            "{text}"
        );
        assert_eq!(served.attempts(), 1);
        assert!(pool.status().connections.is_empty());
    }
}

#[test]
fn bytes_before_the_client_has_spoken_are_refused() {
    for url in ["https://origin.test/", "http://origin.test/"] {
        let net = MockNet::new();
        let served = by_hand(&net, "proxy.test", 80, |_, mut stream| async move {
            stream.read_head().await.unwrap();
            // In one write with the head.
            let early = format!("HTTP/1.1 200 OK\r\n\r\n{HELLO}");
            let _ = stream.write_all(early).await;
            stream.stall().await;
        });
        let pool = pool(&net, proxy("http://proxy.test").with_tunnel_for_http(true));
        let error = net.run(get(&pool, url)).unwrap_err();
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Proxy, ErrorPhase::Proxy)
        );
        let error = format!("{error:#}");
        assert!(
            error.contains("bytes in the tunnel before any were sent"),
            "{error}"
        );
        assert_eq!(served.attempts(), 1);
    }
}

#[test]
fn the_preface_of_an_http2_server_may_follow_the_proxys_head_at_once() {
    let net = MockNet::new();
    by_hand(&net, "proxy.test", 80, |_, mut stream| async move {
        stream.read_head().await.unwrap();
        // RFC 9113 §3.4: an empty SETTINGS frame, which may be sent before the client's preface.
        let early = b"HTTP/1.1 200 OK\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        stream.write_all(early).await.unwrap();
        let preface = stream.read_exact(24).await.unwrap();
        assert!(preface.starts_with(b"PRI * HTTP/2.0"));
        stream.stall().await;
    });
    let pool = builder!()
        .http1(false)
        .proxy(proxy("http://proxy.test"))
        .timeouts(Timeouts::default().with_response_head(SECOND))
        .build(Arc::new(net.clone()));
    let error = net.run(get(&pool, "http://origin.test/")).unwrap_err();
    // The connection stands, and the request was sent: only the answer is missing.
    assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::ResponseHead));
}

// Challenges.

/// Asks for `Token N` with a 407 that `framing` frames, until it is there.
async fn challenge(
    mut stream: ServerStream,
    rounds: usize,
    framing: &'static str,
    closes: bool,
    log: Log,
) {
    loop {
        let Ok(head) = stream.read_head().await else {
            return;
        };
        log.push(&*head);
        if head.contains(&format!("proxy-authorization: Token {rounds}\r\n")) {
            break;
        }
        let nonce = (0..rounds)
            .find(|round| head.contains(&format!("Token {round}\r\n")))
            .map_or(1, |round| round + 1);
        let challenge = format!(
            "HTTP/1.1 407 Who\r\nproxy-authenticate: Token {nonce}\r\n{framing}\r\n\r\nwho?"
        );
        if stream.write_all(challenge).await.is_err() || closes {
            return;
        }
    }
    if stream.write_all("HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
        answer(stream, log).await;
    }
}

/// Sends the token that the proxy names.
fn obedient(url: &str, calls: &Arc<AtomicUsize>) -> Proxy {
    let calls = calls.clone();
    proxy(url)
        .with_tunnel_for_http(true)
        .with_authentication(move |challenge| {
            assert_eq!(challenge.target, "origin.test:80");
            let call = calls.fetch_add(1, Ordering::Relaxed);
            assert_eq!(usize::try_from(challenge.round).unwrap(), call);
            challenge.values().next().cloned()
        })
}

#[test]
fn challenges_are_answered_on_the_same_connection_where_the_framing_allows() {
    for (framing, closes, connections) in [
        ("content-length: 4", false, 1),
        ("content-length: 4\r\nconnection: close", false, 3),
        // It closes without saying so.
        ("content-length: 4", true, 3),
        // The end of the connection is the end of the body.
        ("a: b", true, 3),
    ] {
        let (net, log, calls) = (MockNet::new(), Log::default(), Arc::default());
        let servers = log.clone();
        let served = by_hand(&net, "proxy.test", 80, move |_, stream| {
            challenge(stream, 2, framing, closes, servers.clone())
        });
        let pool = pool(&net, obedient("http://proxy.test", &calls));
        let body = net.run(get(&pool, "http://origin.test/"));
        assert_eq!(body.unwrap(), "hello", "{framing:?}");
        assert_eq!(served.attempts(), connections, "{framing:?}");
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert_eq!(log.lines().len(), 4, "three CONNECTs and one GET");
        assert!(!log.heads()[3].contains("Token"));
    }
}

#[test]
fn a_fourth_challenge_is_a_refusal_and_so_is_one_without_an_answer() {
    for closes in [false, true] {
        let (net, calls) = (MockNet::new(), Arc::default());
        let served = by_hand(&net, "proxy.test", 80, move |_, stream| {
            challenge(stream, 9, "content-length: 4", closes, Log::default())
        });
        let pool = pool(&net, obedient("http://proxy.test", &calls));
        let error = net.run(get(&pool, "http://origin.test/")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Proxy);
        assert_eq!(
            refusal_of(&error).status,
            StatusCode::PROXY_AUTHENTICATION_REQUIRED
        );
        assert_eq!(calls.load(Ordering::Relaxed), 3);
        assert_eq!(served.attempts(), if closes { 4 } else { 1 });
    }
    let net = MockNet::new();
    let served = by_hand(&net, "proxy.test", 80, |_, stream| {
        challenge(stream, 1, "content-length: 4", false, Log::default())
    });
    let silent = proxy("http://proxy.test").with_authentication(|_| None);
    let pool = pool(&net, silent);
    let error = net.run(get(&pool, "https://origin.test/")).unwrap_err();
    assert_eq!(refusal_of(&error).body, "who?");
    assert_eq!(served.attempts(), 1);
}

// Forwarding.

#[test]
fn one_connection_to_a_forward_proxy_serves_all_http_origins() {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve(&net, "proxy.test", 3128, &[], &log);
    let proxy = proxy("http://user:s3cret@proxy.test:3128")
        .with_header(
            "x-for-proxy".parse().unwrap(),
            HeaderValue::from_static("yes"),
        )
        .unwrap();
    let pool = pool(&net, proxy);
    net.run(async {
        for url in [
            "http://a.test/x?y",
            "http://B.test:8080",
            "http://u:p@c.test/",
        ] {
            assert_eq!(get(&pool, url).await.unwrap(), "hello");
        }
        let asterisk = Request::options("http://u:p@d.test:81/")
            .extension(RequestTarget::Asterisk)
            .body(Body::empty());
        assert_eq!(send(&pool, asterisk.unwrap()).await.unwrap(), "hello");
    });
    assert_eq!(served.attempts(), 1);
    assert_eq!(
        log.lines(),
        [
            "GET http://a.test/x?y HTTP/1.1",
            "GET http://B.test:8080/ HTTP/1.1",
            "GET http://c.test/ HTTP/1.1",
            "OPTIONS http://d.test:81 HTTP/1.1",
        ]
    );
    let hosts = ["a.test", "b.test:8080", "c.test", "d.test:81"];
    for (head, host) in log.heads().iter().zip(hosts) {
        assert!(head.contains(&format!("\r\nhost: {host}\r\n")), "{head}");
        assert!(head.contains("\r\nproxy-authorization: Basic dXNlcjpzM2NyZXQ=\r\n"));
        assert!(head.contains("\r\nx-for-proxy: yes\r\n"));
        assert!(
            !head.contains("proxy-connection") && !head.contains("via"),
            "{head}"
        );
    }
    let status = pool.status().connections[0].route.to_string();
    assert!(status.ends_with("via http://proxy.test:3128"), "{status}");
}

#[test]
fn a_refusal_to_forward_is_a_response() {
    let net = MockNet::new();
    by_hand(&net, "proxy.test", 80, |_, mut stream| async move {
        while let Ok(head) = stream.read_head().await {
            if head.contains("transfer-encoding") {
                while stream.read_exact(1).await.is_ok_and(|byte| byte[0] != b'0') {}
                stream.read_exact(4).await.unwrap();
            }
            let refusal = "HTTP/1.1 407 Who\r\ncontent-length: 4\r\n\r\nwho?";
            stream.write_all(refusal).await.unwrap();
        }
    });
    let silent = proxy("http://proxy.test").with_authentication(|_| None);
    // Without a hook, with one that gives up, and with a body that cannot be sent again.
    for hooked in [proxy("http://proxy.test"), silent] {
        let pool = pool(&net, hooked);
        let mut response = net.run(pool.get("http://origin.test/")).unwrap();
        assert_eq!(response.status(), StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        let body = net.run(std::mem::take(response.body_mut()).bytes(100));
        assert_eq!(body.unwrap(), "who?");
        net.run_until_idle();
        assert_eq!(pool.status().idle_connections, 1, "{}", pool.status());
    }
    let pool = pool(
        &net,
        proxy("http://proxy.test").with_authentication(|_| panic!("asked")),
    );
    let mut content = Some(Bytes::from("body"));
    let once = Body::poll_fn(move |_| std::task::Poll::Ready(content.take().map(Ok::<_, Error>)));
    let response = net.run(pool.request(Request::post("http://origin.test/").body(once).unwrap()));
    assert_eq!(
        response.unwrap().status(),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED
    );
}

/// As [`challenge`], for requests that are forwarded.
async fn challenge_forwarded(
    mut stream: ServerStream,
    rounds: usize,
    framing: &'static str,
    closes: bool,
    log: Log,
) {
    while let Ok(head) = stream.read_head().await {
        log.push(&*head);
        if head.contains("content-length: 4") && stream.read_exact(4).await.is_err() {
            return;
        }
        if head.contains(&format!("proxy-authorization: Token {rounds}\r\n")) {
            stream.write_all(HELLO).await.unwrap();
            continue;
        }
        let nonce = (0..rounds)
            .find(|round| head.contains(&format!("Token {round}\r\n")))
            .map_or(1, |round| round + 1);
        let challenge = format!(
            "HTTP/1.1 407 Who\r\nproxy-authenticate: Token {nonce}\r\n{framing}\r\n\r\nwho?"
        );
        if stream.write_all(challenge).await.is_err() || closes {
            return;
        }
    }
}

fn forward_obedient(calls: &Arc<AtomicUsize>) -> Proxy {
    let calls = calls.clone();
    proxy("http://proxy.test").with_authentication(move |challenge| {
        assert_eq!(challenge.target, "http://origin.test/x?y");
        assert_eq!(*challenge.method, http::Method::POST);
        calls.fetch_add(1, Ordering::Relaxed);
        challenge.values().next().cloned()
    })
}

#[test]
fn challenges_to_forwarded_requests_are_answered_on_the_same_connection() {
    for (framing, closes, connections) in [
        ("content-length: 4", false, 1),
        ("content-length: 4\r\nconnection: close", false, 3),
        // It closes without saying so.
        ("content-length: 4", true, 3),
        // The end of the connection is the end of the body.
        ("a: b", true, 3),
    ] {
        let (net, log, calls) = (MockNet::new(), Log::default(), Arc::default());
        let servers = log.clone();
        let served = by_hand(&net, "proxy.test", 80, move |_, stream| {
            challenge_forwarded(stream, 2, framing, closes, servers.clone())
        });
        let pool = builder!()
            .proxy(forward_obedient(&calls))
            .max_connections(1)
            .build(Arc::new(net.clone()));
        net.run(async {
            let post = Request::post("http://origin.test/x?y").body(Body::from("body"));
            assert_eq!(
                send(&pool, post.unwrap()).await.unwrap(),
                "hello",
                "{framing:?}"
            );
        });
        assert_eq!(served.attempts(), connections, "{framing:?}");
        assert_eq!(calls.load(Ordering::Relaxed), 2, "{framing:?}");
        assert_eq!(log.lines().len(), 3, "{framing:?}: {:?}", log.lines());
        net.run_until_idle();
        let status = pool.status();
        assert_eq!(
            (status.active_requests, status.idle_connections),
            (0, 1),
            "{status}"
        );
    }
}

#[test]
fn a_fourth_challenge_to_a_forwarded_request_is_its_response() {
    for closes in [false, true] {
        let (net, calls) = (MockNet::new(), Arc::default());
        let served = by_hand(&net, "proxy.test", 80, move |_, stream| {
            challenge_forwarded(stream, 9, "content-length: 4", closes, Log::default())
        });
        let pool = pool(&net, forward_obedient(&calls));
        let post = Request::post("http://origin.test/x?y").body(Body::from("body"));
        let response = net.run(pool.request(post.unwrap())).unwrap();
        assert_eq!(response.status(), StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        assert_eq!(response.headers()["proxy-authenticate"], "Token 4");
        assert_eq!(calls.load(Ordering::Relaxed), 3);
        assert_eq!(served.attempts(), if closes { 4 } else { 1 });
    }
}

#[test]
fn an_answered_challenge_has_its_connection_until_the_end() {
    // Two requests at once on one slot: the rounds of one are not interrupted by the other.
    let (net, log) = (MockNet::new(), Log::default());
    let servers = log.clone();
    let served = by_hand(&net, "proxy.test", 80, move |_, stream| {
        challenge_forwarded(stream, 3, "content-length: 4", false, servers.clone())
    });
    served.link(Link::new().latency(Duration::from_millis(10)));
    let pool = builder!()
        .proxy(forward_obedient(&Arc::default()))
        .max_connections(1)
        .build(Arc::new(net.clone()));
    net.run(async {
        let post = |name: &str| {
            let request = Request::post("http://origin.test/x?y").header("x-name", name);
            send(&pool, request.body(Body::from("body")).unwrap())
        };
        let (mut one, mut two) = (Box::pin(post("one")), Box::pin(post("two")));
        let (mut first, mut second) = (None, None);
        std::future::poll_fn(|cx| {
            use std::task::Poll;
            if first.is_none()
                && let Poll::Ready(done) = one.as_mut().poll(cx)
            {
                first = Some(done);
            }
            if second.is_none()
                && let Poll::Ready(done) = two.as_mut().poll(cx)
            {
                second = Some(done);
            }
            if first.is_some() && second.is_some() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        assert_eq!(first.unwrap().unwrap(), "hello");
        assert_eq!(second.unwrap().unwrap(), "hello");
    });
    let names: Vec<bool> = log
        .heads()
        .iter()
        .map(|head| head.contains("x-name: one"))
        .collect();
    assert_eq!(names, [true, true, true, true, false, false, false, false]);
}

#[test]
fn a_challenge_to_a_forwarded_request_is_cancelled_at_any_moment_without_leaks() {
    let swept = Sweep::polls().run(|net| {
        let served = by_hand(net, "proxy.test", 80, |_, stream| {
            challenge_forwarded(stream, 2, "content-length: 4", false, Log::default())
        });
        served.link(Link::new().latency(Duration::from_millis(10)));
        let pool = builder!()
            .proxy(forward_obedient(&Arc::default()))
            .max_connections(1)
            .build(Arc::new(net.clone()));
        let (main, counted, then) = (pool.clone(), pool.clone(), pool);
        let post = || {
            let request = Request::post("http://origin.test/x?y");
            request.body(Body::from("body")).unwrap()
        };
        Scenario::new(async move {
            assert_eq!(send(&main, post()).await.unwrap(), "hello");
        })
        .counting(move || {
            let status = counted.status();
            vec![
                ("active requests", status.active_requests),
                ("queued requests", status.queued_requests),
            ]
        })
        .then(async move {
            assert_eq!(send(&then, post()).await.unwrap(), "hello");
        })
        .allow_tasks(3)
        .allow_streams(2)
        .allow_timers(4)
        .allow_attempts(1)
    });
    assert!(swept.points > 4, "{}", swept.points);
}

// The PROXY protocol.

#[test]
fn a_proxy_header_is_the_first_thing_on_the_connection_it_is_for() {
    const V1: &str = "PROXY TCP4 192.0.2.1 192.0.2.9 5000 80\r\n";
    let addresses = |port: u16| {
        Addresses::new(
            ([192, 0, 2, 1], port).into(),
            "192.0.2.9:80".parse().unwrap(),
        )
    };
    let header = ProxyHeader::v1().with_addresses(addresses(5000));
    // Straight to the origin and to a proxy that forwards; in the tunnel of one that does not.
    for (url, through, before) in [
        ("http://origin.test/", None, &[][..]),
        ("https://origin.test/", None, &[]),
        ("http://origin.test/", Some("http://proxy.test"), &[]),
        (
            "https://origin.test/",
            Some("http://proxy.test"),
            &[Layer::Connect("origin.test:443")],
        ),
    ] {
        let (net, log) = (MockNet::new(), Log::default());
        for (host, port) in [
            ("origin.test", 80),
            ("origin.test", 443),
            ("proxy.test", 80),
        ] {
            let log = log.clone();
            by_hand(&net, host, port, move |_, stream| {
                let log = log.clone();
                async move {
                    let mut stream = accept(stream, before, &log).await.unwrap();
                    let header = stream.read_exact(V1.len()).await.unwrap();
                    log.push(String::from_utf8_lossy(&header));
                    if url.starts_with("https:") {
                        stream = accept(stream, &[Layer::Tls("origin.test")], &log)
                            .await
                            .unwrap();
                    }
                    answer(stream, log).await;
                }
            });
        }
        let mut builder = builder!().proxy_header(header.clone());
        if let Some(through) = through {
            builder = builder.proxy(proxy(through));
        }
        let pool = builder.build(Arc::new(net.clone()));
        net.run(async {
            for _ in 0..2 {
                assert_eq!(get(&pool, url).await.unwrap(), "hello", "{url} {through:?}");
            }
            // Another client's connection is another one.
            let other = ProxyHeader::v1().with_addresses(addresses(5001));
            let body = send(&pool, with(url, other)).await;
            assert_eq!(body.unwrap(), "hello", "{url} {through:?}");
        });
        let headers: Vec<_> = log
            .heads()
            .into_iter()
            .filter(|l| l.starts_with("PROXY"))
            .collect();
        assert_eq!(
            headers,
            [V1.to_owned(), V1.replace("5000", "5001")],
            "{url}"
        );
    }
}

#[test]
fn a_proxy_header_reports_the_connections_own_addresses_or_none() {
    let net = MockNet::new();
    let seen = Log::default();
    let log = seen.clone();
    net.serve("origin.test", 80, move |mut stream| {
        let log = log.clone();
        async move {
            let peer = stream.peer().unwrap();
            let line = stream.read_until(b"\r\n").await.unwrap();
            let line = String::from_utf8_lossy(&line).into_owned();
            log.push(line.replace(&peer.port().to_string(), "PORT"));
            answer(stream, Log::default()).await;
        }
    });
    let pool = builder!().build(Arc::new(net.clone()));
    for header in [ProxyHeader::v1(), ProxyHeader::v1().with_addresses(None)] {
        net.run(send(&pool, with("http://origin.test/", header)))
            .unwrap();
    }
    let lines = seen.heads();
    assert!(
        lines[0].starts_with("PROXY TCP") && lines[0].contains("PORT 80"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "PROXY UNKNOWN\r\n");
}

#[test]
fn requests_that_need_their_origins_connection_go_through_a_tunnel() {
    let (net, log) = (MockNet::new(), Log::default());
    serve(
        &net,
        "proxy.test",
        80,
        &[Layer::Connect("origin.test:80")],
        &log,
    );
    let pool = pool(&net, proxy("http://proxy.test"));
    let upgrade = Request::get("http://origin.test/")
        .header("connection", "upgrade")
        .header("upgrade", "other")
        .body(Body::empty());
    assert_eq!(net.run(send(&pool, upgrade.unwrap())).unwrap(), "hello");
    assert_eq!(
        log.lines(),
        ["CONNECT origin.test:80 HTTP/1.1", "GET / HTTP/1.1"]
    );
    net.run(get(&pool, "ws://origin.test/")).unwrap();
    assert_eq!(
        log.lines()[2..],
        ["CONNECT origin.test:80 HTTP/1.1", "GET / HTTP/1.1"]
    );
}

#[test]
fn where_only_http2_is_spoken_http_goes_through_a_tunnel() {
    let net = MockNet::new();
    by_hand(&net, "proxy.test", 80, |_, stream| async move {
        let layers = [Layer::Connect("origin.test:80")];
        let stream = accept(stream, &layers, &Log::default()).await.unwrap();
        http2::serve(http2::Tokio(stream), h2::server::Builder::new()).await;
    });
    let pool = builder!()
        .http1(false)
        .proxy(proxy("http://proxy.test"))
        .build(Arc::new(net.clone()));
    let response = net.run(pool.get("http://origin.test/hello")).unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
}

// SOCKS.

#[test]
fn socks_names_are_resolved_here_or_there_as_the_protocol_says() {
    let name = b"origin.test";
    let grant4: &[u8] = b"\0\x5a\0\0\0\0\0\0";
    let grant5: &[u8] = b"\x05\0\0\x01\0\0\0\0\0\0";
    type Exchange = (Vec<u8>, &'static [u8]);
    let cases: Vec<(&str, Vec<Exchange>)> = vec![
        (
            "socks4://me@proxy.test",
            vec![(
                [&b"\x04\x01\0\x50\x0a\x01\x02\x03me\0"[..]].concat(),
                grant4,
            )],
        ),
        (
            "socks4a://proxy.test",
            vec![(
                [&b"\x04\x01\0\x50\0\0\0\x01\0"[..], name, b"\0"].concat(),
                grant4,
            )],
        ),
        (
            "socks5://proxy.test",
            vec![
                (b"\x05\x01\0".to_vec(), b"\x05\0"),
                (
                    [
                        &b"\x05\x01\0\x04\x20\x01\x0d\xb8"[..],
                        &[0; 11],
                        b"\x01\0\x50",
                    ]
                    .concat(),
                    grant5,
                ),
            ],
        ),
        (
            "socks5h://user:pw@proxy.test",
            vec![
                (b"\x05\x02\0\x02".to_vec(), b"\x05\x02"),
                (b"\x01\x04user\x02pw".to_vec(), b"\x01\0"),
                (
                    [&b"\x05\x01\0\x03\x0b"[..], name, b"\0\x50"].concat(),
                    grant5,
                ),
            ],
        ),
    ];
    for (url, exchanges) in cases {
        let net = MockNet::new();
        net.name(
            "origin.test",
            DnsEntry::addresses(["2001:db8::1", "10.1.2.3"]),
        );
        let (log, servers, exchanges) = (Log::default(), Log::default(), Arc::new(exchanges));
        let inner = servers.clone();
        by_hand(&net, "proxy.test", 1080, move |_, mut stream| {
            let (exchanges, log) = (exchanges.clone(), inner.clone());
            async move {
                for (request, reply) in exchanges.iter() {
                    let read = stream.read_exact(request.len()).await.unwrap();
                    assert_eq!(read, request);
                    stream.write_all(reply).await.unwrap();
                }
                answer(stream, log).await;
            }
        });
        let events = log.clone();
        let trace = Trace::to(move |_: Instant, event: &TraceEvent<'_>| {
            if let TraceEvent::ResolveStarted { host } = event {
                events.push(*host);
            }
        });
        let pool = pool(&net, proxy(url));
        let body = net.run(send(&pool, with("http://origin.test/", trace)));
        assert_eq!(body.unwrap(), "hello", "{url}");
        // SOCKS proxies do not forward, and so the target is in origin form.
        assert_eq!(servers.lines(), ["GET / HTTP/1.1"]);
        let local = matches!(&url[..7], "socks4:" | "socks5:");
        let resolved: &[&str] = match local {
            true => &["proxy.test", "origin.test"],
            false => &["proxy.test"],
        };
        assert_eq!(log.heads(), resolved, "{url}");
    }
}

#[test]
fn refusals_of_socks_proxies_say_why() {
    type Case = (
        &'static str,
        &'static [&'static [u8]],
        fn(&ProxyError) -> bool,
    );
    let cases: [Case; 5] = [
        ("socks4a://p.test", &[b"\0\x5b\0\0\0\0\0\0"], |error| {
            matches!(error, ProxyError::SocksRefused(SocksReply::GeneralFailure))
        }),
        (
            "socks5h://p.test",
            &[b"\x05\0", b"\x05\x05\0\x01\0\0\0\0\0\0"],
            |error| {
                matches!(
                    error,
                    ProxyError::SocksRefused(SocksReply::ConnectionRefused)
                )
            },
        ),
        ("socks5h://p.test", &[b"\x05\xff"], |error| {
            matches!(error, ProxyError::NoAcceptableMethod)
        }),
        (
            "socks5h://u:pw@p.test",
            &[b"\x05\x02", b"\x01\x01"],
            |error| matches!(error, ProxyError::AuthenticationFailed),
        ),
        (
            "socks5h://p.test",
            &[b"HTTP/1.1 400 Bad\r\n\r\n"],
            |error| matches!(error, ProxyError::Malformed(_)),
        ),
    ];
    for (url, replies, expected) in cases {
        let net = MockNet::new();
        by_hand(&net, "p.test", 1080, move |_, mut stream| async move {
            for reply in replies {
                if stream.read_some().await.is_err() || stream.write_all(reply).await.is_err() {
                    return;
                }
            }
            stream.stall().await;
        });
        let error = net.run(get(&pool(&net, proxy(url)), "http://origin.test/"));
        let error = error.unwrap_err();
        assert_eq!(
            (error.kind(), error.phase(), error.sent()),
            (ErrorKind::Proxy, ErrorPhase::Proxy, RequestSent::None),
            "{url} {error:?}"
        );
        assert!(
            expected(ProxyError::source_of(&error).unwrap()),
            "{error:?}"
        );
    }
}

#[test]
fn socks4_reaches_no_ipv6_address() {
    let net = MockNet::new();
    net.name("origin.test", DnsEntry::addresses(["2001:db8::1"]));
    by_hand(&net, "p.test", 1080, |_, stream| stream.stall());
    let pool = pool(&net, proxy("socks4://p.test"));
    let error = net.run(get(&pool, "http://origin.test/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Resolve);
    let error = net.run(get(&pool, "http://[2001:db8::1]/")).unwrap_err();
    assert_eq!(
        (error.kind(), error.fault()),
        (ErrorKind::InvalidRequest, Fault::Caller)
    );
}

// TLS to the proxy, Unix sockets, chains.

#[test]
fn tls_to_the_proxy_is_the_proxys_own() {
    let (net, log) = (MockNet::new(), Log::default());
    let layers = &[
        Layer::Tls("proxy.test"),
        Layer::Connect("origin.test:443"),
        Layer::TlsH2("origin.test"),
    ];
    serve(&net, "proxy.test", 443, layers, &log);
    let pool_of = |proxy: Proxy| pool(&net, proxy);
    let url = "https://origin.test/hello";
    let response = net.run(pool_of(proxy("https://proxy.test")).get(url));
    assert_eq!(response.unwrap().version(), http::Version::HTTP_2);

    // A wrong name, and a TLS of its own that takes it.
    let elsewhere = proxy("https://proxy.test").with_server_name(ServerName::new("other.test"));
    let error = net.run(get(&pool_of(elsewhere.clone()), url)).unwrap_err();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Tls, ErrorPhase::Tls)
    );
    let text = format!("{error:#}");
    assert!(
        text.starts_with("the TLS handshake with the proxy https://proxy.test:443 failed: "),
        "{text}"
    );
    let lax = TlsOverride::new(Arc::new(MockTls::new().accept_any_certificate()));
    let own = elsewhere.with_tls(lax);
    assert!(net.run(get(&pool_of(own), url)).is_ok());
}

#[test]
fn the_tls_of_a_proxy_is_not_that_of_the_origin() {
    let net = MockNet::new();
    let layers = &[
        Layer::Tls("proxy.test"),
        Layer::Connect("origin.test:443"),
        Layer::Tls("not-the-origin.test"),
    ];
    serve(&net, "proxy.test", 443, layers, &Log::default());
    let lax = || TlsOverride::new(Arc::new(MockTls::new().accept_any_certificate()));
    let pool = pool(&net, proxy("https://proxy.test").with_tls(lax()));
    let error = net.run(get(&pool, "https://origin.test/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(!error.to_string().contains("proxy"), "{error}");
    let request = with("https://origin.test/", lax());
    assert_eq!(net.run(send(&pool, request)).unwrap(), "hello");
}

#[test]
fn a_proxy_can_be_on_a_unix_socket_and_forward_over_tls() {
    let (net, log) = (MockNet::new(), Log::default());
    let servers = log.clone();
    net.serve_unix("/run/proxy", move |stream| {
        let log = servers.clone();
        async move {
            let stream = accept(stream, &[Layer::Tls("localhost")], &log).await;
            answer(stream.unwrap(), log).await;
        }
    });
    let pool = pool(&net, Proxy::unix(ProxyProtocol::Https, "/run/proxy"));
    for url in ["http://a.test/", "http://b.test/"] {
        assert_eq!(net.run(get(&pool, url)).unwrap(), "hello");
    }
    assert_eq!(
        log.lines(),
        ["GET http://a.test/ HTTP/1.1", "GET http://b.test/ HTTP/1.1"]
    );
    assert_eq!(pool.status().connections.len(), 1);
}

#[test]
fn a_chain_tells_each_proxy_of_the_next_and_the_last_of_the_origin() {
    let (net, log) = (MockNet::new(), Log::default());
    let layers = &[
        Layer::Socks5h("second.test"),
        Layer::Connect("third.test:8443"),
        Layer::Tls("third.test"),
        Layer::Connect("origin.test:443"),
        Layer::Tls("origin.test"),
    ];
    serve(&net, "first.test", 1080, layers, &log);
    let second = proxy("http://second-user:pw2@second.test:3128")
        .through(proxy("socks5h://first.test"))
        .unwrap();
    let third = proxy("https://third-user:pw3@third.test:8443")
        .through(second)
        .unwrap();
    let (events, steps) = (Log::default(), Log::default());
    let sink = events.clone();
    let trace = Trace::to(move |_: Instant, event: &TraceEvent<'_>| {
        sink.push(format!("{event:?}"));
        if let TraceEvent::ProxyStarted { proxy, target } = event {
            steps.push(format!("{proxy} {}", target.unwrap_or("-")));
        }
        if let TraceEvent::ProxyEstablished { .. } = event {
            steps.push("open");
        }
        if steps.heads().len() == 6 {
            assert_eq!(
                steps.heads(),
                [
                    "socks5h://first.test:1080 second.test:3128",
                    "open",
                    "http://second.test:3128 third.test:8443",
                    "open",
                    "https://third.test:8443 origin.test:443",
                    "open",
                ]
            );
        }
    });
    let pool = pool(&net, third);
    let body = net.run(send(&pool, with("https://origin.test/", trace)));
    assert_eq!(body.unwrap(), "hello");
    let proxy_events = |name: &str| {
        let events = events.heads();
        events.iter().filter(|event| event.contains(name)).count()
    };
    assert_eq!(
        (
            proxy_events("ProxyStarted"),
            proxy_events("ProxyEstablished")
        ),
        (3, 3)
    );
    let heads = log.heads();
    assert!(heads[0].contains("proxy-authorization: Basic c2Vjb25kLXVzZXI6cHcy"));
    assert!(heads[1].contains("proxy-authorization: Basic dGhpcmQtdXNlcjpwdzM="));
    assert!(!heads[2].contains("proxy-authorization"));
    let status = pool.status().connections[0].route.to_string();
    let way = "via socks5h://first.test:1080, http://second.test:3128, https://third.test:8443";
    assert!(status.contains(way), "{status}");
}

// Choice, and what is shared.

#[test]
fn a_pool_chooses_by_rules_or_by_a_function_and_a_request_before_both() {
    let net = MockNet::new();
    let log = Log::default();
    for host in ["one.test", "two.test", "origin.test"] {
        let log = log.clone();
        net.serve(host, 80, move |mut stream| {
            let log = log.clone();
            async move {
                while let Ok(head) = stream.read_head().await {
                    let target = head.split(' ').nth(1).unwrap_or_default();
                    log.push(format!("{host} {target}"));
                    stream.write_all(HELLO).await.unwrap();
                }
            }
        });
    }
    let url = "http://origin.test/";
    let rules = ProxyRules::from_vars([
        ("http_proxy", "http://one.test"),
        ("no_proxy", "elsewhere.test"),
    ]);
    let by_rules = builder!()
        .proxy_rules(rules.unwrap())
        .build(Arc::new(net.clone()));
    let turns = AtomicUsize::new(0);
    let by_function = builder!()
        .proxy(proxy("http://never.test"))
        .proxy_with(move |origin| {
            assert_eq!(origin.host(), "origin.test");
            match turns.fetch_add(1, Ordering::Relaxed) % 3 {
                0 => Some(proxy("http://one.test")),
                1 => Some(proxy("http://two.test")),
                _ => None,
            }
        })
        .build(Arc::new(net.clone()));
    let direct = builder!().build(Arc::new(net.clone()));
    net.run(async {
        let two = || UseProxy::through(proxy("http://two.test"));
        for pool in [&by_rules, &direct] {
            get(pool, url).await.unwrap();
            send(pool, with(url, two())).await.unwrap();
            send(pool, with(url, UseProxy::direct())).await.unwrap();
        }
        for _ in 0..4 {
            get(&by_function, url).await.unwrap();
        }
    });
    let (one, two, none) = ("one.test http://", "two.test http://", "origin.test /");
    let read: Vec<String> = log.heads();
    let expected = [one, two, none, none, two, none, one, two, none, one];
    assert_eq!(read.len(), expected.len());
    for (read, expected) in read.iter().zip(expected) {
        assert!(read.starts_with(expected), "{read}, and not {expected}");
    }
}

#[test]
fn tunnels_are_not_shared_between_users_fields_hooks_partitions_and_server_names() {
    let net = MockNet::new();
    let served = by_hand(&net, "proxy.test", 80, |_, stream| async move {
        let layers = [Layer::Connect("origin.test:443")];
        let stream = accept(stream, &layers, &Log::default()).await.unwrap();
        let tls = TlsServer::new().alpn(&[Alpn::Http1]);
        if let Ok(stream) = stream.accept_tls(&tls).await {
            answer(stream, Log::default()).await;
        }
    });
    let pool = builder!().build(Arc::new(net.clone()));
    let base = || proxy("http://u:p@proxy.test");
    let field = |value: &'static str| {
        let value = HeaderValue::from_static(value);
        base().with_header("x-f".parse().unwrap(), value).unwrap()
    };
    let hooked = base().with_authentication(|_| None);
    let url = "https://origin.test/";
    let via = |proxy: Proxy| with(url, UseProxy::through(proxy));
    let also = |extension: fn(&mut http::Extensions)| {
        let mut request = via(base());
        extension(request.extensions_mut());
        request
    };
    let requests = || {
        vec![
            via(base()),
            via(proxy("http://u:q@proxy.test")),
            via(proxy("http://v:p@proxy.test")),
            via(proxy("http://proxy.test")),
            via(field("a")),
            via(field("b")),
            via(hooked.clone()),
            also(|e| drop(e.insert(Partition::new("x")))),
            also(|e| drop(e.insert(ServerName::new("other.test")))),
        ]
    };
    let count = requests().len();
    net.run(async {
        for (at, request) in requests().into_iter().enumerate() {
            send(&pool, request).await.unwrap();
            assert_eq!(served.attempts(), at + 1, "request {at} shares a tunnel");
        }
        // Each finds its own again.
        for request in requests() {
            send(&pool, request).await.unwrap();
        }
    });
    assert_eq!(served.attempts(), count);
}

#[test]
fn limits_count_tunnels_for_their_origin_and_forwarding_for_the_proxy() {
    let net = MockNet::new();
    let served = by_hand(&net, "proxy.test", 80, |_, mut stream| async move {
        let mut head = stream.read_head().await.unwrap();
        if head.starts_with("CONNECT") {
            stream.write_all("HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            head = stream.read_head().await.unwrap();
        }
        loop {
            assert!(head.starts_with("GET"));
            stream.sleep(SECOND).await;
            stream.write_all(HELLO).await.unwrap();
            match stream.read_head().await {
                Ok(next) => head = next,
                Err(_) => return,
            }
        }
    });
    for (tunnels, connections) in [(false, 1), (true, 2)] {
        let before = served.attempts();
        let proxy = proxy("http://proxy.test").with_tunnel_for_http(tunnels);
        let pool = builder!()
            .proxy(proxy)
            .max_connections_per_origin(1)
            .build(Arc::new(net.clone()));
        net.run(async {
            let mut all = Vec::new();
            for host in ["a.test", "a.test", "b.test", "b.test"] {
                let (pool, done) = (pool.clone(), Arc::new(AtomicUsize::new(0)));
                all.push(done.clone());
                net.spawn("request", async move {
                    get(&pool, &format!("http://{host}/")).await.unwrap();
                    done.store(1, Ordering::Relaxed);
                });
            }
            net.sleep(10 * SECOND).await;
            assert!(all.iter().all(|done| done.load(Ordering::Relaxed) == 1));
        });
        assert_eq!(
            served.attempts() - before,
            connections,
            "tunnels: {tunnels}"
        );
    }
}

// Everything else inside a tunnel.

#[test]
fn a_tunnel_that_died_while_idle_costs_no_request_twice() {
    let (net, log) = (MockNet::new(), Log::default());
    let servers = log.clone();
    let served = by_hand(&net, "proxy.test", 80, move |_, stream| {
        let log = servers.clone();
        async move {
            let layers = [Layer::Connect("origin.test:443"), Layer::Tls("origin.test")];
            let mut stream = accept(stream, &layers, &Log::default()).await.unwrap();
            // One request each, and then the end, without a word of it.
            let head = stream.read_head().await.unwrap();
            if head.starts_with("POST") {
                stream.read_exact(4).await.unwrap();
            }
            log.push(head);
            stream.write_all(HELLO).await.unwrap();
            stream.sleep(SECOND).await;
        }
    });
    let pool = pool(&net, proxy("http://proxy.test"));
    let post = || Request::post("https://origin.test/").body(Body::from("body"));
    net.run(async {
        get(&pool, "https://origin.test/").await.unwrap();
        net.sleep(2 * SECOND).await;
        send(&pool, post().unwrap()).await.unwrap();
        net.sleep(2 * SECOND).await;
        get(&pool, "https://origin.test/").await.unwrap();
    });
    assert_eq!(served.attempts(), 3);
    assert_eq!(log.lines().len(), 3, "{:?}", log.lines());
}

#[test]
fn websockets_events_and_trailers_work_in_a_tunnel() {
    let net = MockNet::new();
    let log = Log::default();
    let servers = log.clone();
    by_hand(&net, "proxy.test", 80, move |_, stream| {
        let log = servers.clone();
        async move {
            let layers = [Layer::Connect("origin.test:443"), Layer::Tls("origin.test")];
            let mut stream = accept(stream, &layers, &log).await.unwrap();
            let head = stream.read_head().await.unwrap();
            if head.contains("sec-websocket-key") {
                // RFC 6455 §1.3 has this key and its answer.
                assert!(head.contains("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="));
                let accepted = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                                connection: upgrade\r\n\
                                sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                stream.write_all(accepted).await.unwrap();
                stream.write_all(b"\x81\x02hi").await.unwrap();
                stream.stall().await;
            } else if head.contains("text/event-stream") {
                let events =
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: one\n\n";
                stream.write_all(events).await.unwrap();
                stream.stall().await;
            } else {
                let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                               5\r\nhello\r\n0\r\nx-sum: 9\r\n\r\n";
                stream.write_all(chunked).await.unwrap();
            }
        }
    });
    let pool = pool(&net, proxy("http://proxy.test"));
    net.run(async {
        let response = pool.get("https://origin.test/").await.unwrap();
        let mut body = response.into_body();
        let data = body.frame().await.unwrap().unwrap();
        assert_eq!(data.into_data().unwrap(), "hello");
        let trailers = body.frame().await.unwrap().unwrap();
        assert_eq!(trailers.into_trailers().unwrap()["x-sum"], "9");

        let url: http::Uri = "https://origin.test/".parse().unwrap();
        let mut events = pool.events(httpcore::sse::Subscription::new(url));
        let event = events.event().await.unwrap().unwrap();
        assert_eq!(event.data, "one");

        let url: http::Uri = "wss://origin.test/".parse().unwrap();
        let handshake = httpcore::ws::Handshake::new(url).key(*b"the sample nonce");
        let mut socket = pool.websocket(handshake).await.unwrap();
        let mut read = bytes::BytesMut::with_capacity(64);
        std::future::poll_fn(|cx| socket.stream.poll_read(cx, &mut read))
            .await
            .unwrap();
        assert_eq!(&read[..], b"\x81\x02hi");
    });
    let connects = log.lines();
    assert_eq!(connects, ["CONNECT origin.test:443 HTTP/1.1"; 3]);
}

// Failure at each byte, stalls, cancellation.

/// A chain, the layers of its servers and the URL of its proxy.
struct Chain {
    name: &'static str,
    first: (&'static str, u16),
    layers: &'static [Layer],
    proxy: fn() -> Proxy,
    /// The phases in which it can fail before the request is sent.
    phases: &'static [ErrorPhase],
}

const CHAINS: [Chain; 4] = [
    Chain {
        name: "[CONNECT, TLS]",
        first: ("one.test", 80),
        layers: &[Layer::Connect("origin.test:443"), Layer::Tls("origin.test")],
        proxy: || proxy("http://u:hunter2@one.test"),
        phases: &[ErrorPhase::Proxy, ErrorPhase::Tls],
    },
    Chain {
        name: "[TLS, CONNECT, TLS, HTTP/2]",
        first: ("one.test", 443),
        layers: &[
            Layer::Tls("one.test"),
            Layer::Connect("origin.test:443"),
            Layer::TlsH2("origin.test"),
        ],
        proxy: || proxy("https://u:hunter2@one.test"),
        phases: &[ErrorPhase::Tls, ErrorPhase::Proxy, ErrorPhase::Tls],
    },
    Chain {
        name: "[SOCKS5, TLS]",
        first: ("one.test", 1080),
        layers: &[Layer::Socks5h("origin.test"), Layer::Tls("origin.test")],
        proxy: || proxy("socks5h://one.test"),
        phases: &[ErrorPhase::Proxy, ErrorPhase::Tls],
    },
    Chain {
        name: "[CONNECT, CONNECT, TLS]",
        first: ("one.test", 80),
        layers: &[
            Layer::Connect("two.test:8080"),
            Layer::Connect("origin.test:443"),
            Layer::Tls("origin.test"),
        ],
        proxy: || {
            proxy("http://u:hunter2@two.test:8080")
                .through(proxy("http://v:hunter3@one.test"))
                .unwrap()
        },
        phases: &[ErrorPhase::Proxy, ErrorPhase::Tls],
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaks {
    End,
    Reset,
    Stall,
}

const LIMITS: Timeouts = Timeouts::none()
    .with_connect(SECOND)
    .with_tls(Duration::from_secs(2))
    .with_response_head(Duration::from_secs(3))
    .with_read(Duration::from_secs(4))
    .with_total(Duration::from_secs(12));

/// Sends a POST along `chain`, whose servers' bytes break off after `n`.
fn break_at(chain: &Chain, breaks: Breaks, n: u64) -> (Result<Bytes, Error>, usize, Duration) {
    let (net, log) = (MockNet::new(), Log::default());
    let served = serve(&net, chain.first.0, chain.first.1, chain.layers, &log);
    let latency = match breaks {
        Breaks::Stall => Duration::ZERO,
        // A connection that ends as its last handshake does is replaced before it is used, as long as the
        // request has time.
        Breaks::End | Breaks::Reset => SECOND / 10,
    };
    served.link(Link::new().latency(latency).to_client(|path| match breaks {
        Breaks::End => path.end_at(n),
        Breaks::Reset => path.reset_at(n),
        Breaks::Stall => path.blackhole_at(n),
    }));
    let pool = builder!()
        .proxy((chain.proxy)())
        .timeouts(LIMITS)
        .build(Arc::new(net.clone()));
    let outcome = net.run(async {
        let request = Request::post("https://origin.test/hello").body(Body::from("body"));
        send(&pool, request.unwrap()).await
    });
    let took = net.elapsed();
    if let Err(error) = &outcome
        && matches!(error.phase(), ErrorPhase::Proxy | ErrorPhase::Tls)
    {
        assert_eq!(served.attempts(), 1, "{} {breaks:?} at {n}", chain.name);
    }
    let posts = log.lines().iter().filter(|l| l.starts_with("POST")).count();
    if outcome.is_err() {
        net.advance(60 * SECOND);
        assert!(pool.status().connections.is_empty(), "{}", pool.status());
    }
    (outcome, posts, took)
}

#[test]
fn a_chain_that_breaks_at_any_byte_fails_in_its_phase_and_sends_no_post_twice() {
    for chain in &CHAINS {
        for breaks in [Breaks::End, Breaks::Reset, Breaks::Stall] {
            let mut phases = Vec::new();
            let mut n = 0;
            loop {
                let (outcome, posts, took) = break_at(chain, breaks, n);
                let what = format!("{} {breaks:?} at {n}", chain.name);
                assert!(posts <= 1, "{what}: {posts} POSTs");
                let error = match outcome {
                    Ok(_) => break,
                    Err(error) => error,
                };
                let before_http = matches!(error.phase(), ErrorPhase::Proxy | ErrorPhase::Tls);
                if before_http {
                    assert_eq!(error.sent(), RequestSent::None, "{what}: {error:?}");
                    assert_eq!(posts, 0, "{what}");
                    assert!(error.is_connect(), "{what}: {error:?}");
                }
                match (breaks, error.phase()) {
                    (Breaks::Stall, ErrorPhase::Proxy) => {
                        assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Connect));
                        assert_eq!(took, SECOND, "{what}");
                    }
                    (Breaks::Stall, ErrorPhase::Tls) => {
                        assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Tls));
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
                if phases.last() != Some(&error.phase()) {
                    phases.push(error.phase());
                }
                n += 1;
                assert!(n < 20_000, "{what}");
            }
            assert!(
                phases.starts_with(chain.phases),
                "{} {breaks:?}: {phases:?}",
                chain.name
            );
            assert!(n > 40, "{} has only {n} bytes", chain.name);
        }
    }
}

#[test]
fn connections_through_chains_are_cancelled_at_any_moment_without_leaks() {
    for chain in &CHAINS {
        for sweep in [Sweep::polls(), Sweep::instants()] {
            let swept = sweep.run(|net| {
                let log = Log::default();
                let served = serve(net, chain.first.0, chain.first.1, chain.layers, &log);
                served.link(
                    Link::new()
                        .latency(Duration::from_millis(10))
                        .chunks(Chunks::Each(16)),
                );
                let pool = builder!()
                    .proxy((chain.proxy)())
                    .max_connections(1)
                    .timeouts(LIMITS)
                    .build(Arc::new(net.clone()));
                let (main, counted, then) = (pool.clone(), pool.clone(), pool);
                Scenario::new(async move {
                    let body = get(&main, "https://origin.test/hello").await;
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
                    let body = get(&then, "https://origin.test/hello").await;
                    assert!(body.is_ok(), "{body:?}");
                })
                // A connection that has been begun is finished for the next request.
                .allow_tasks(3)
                .allow_streams(2)
                .allow_timers(4)
                .allow_attempts(1)
            });
            assert!(swept.points > 4, "{}: {}", chain.name, swept.points);
        }
    }
}

#[test]
fn a_dropped_challenge_leaves_nothing_behind() {
    let swept = Sweep::polls().run(|net| {
        let served = by_hand(net, "proxy.test", 80, |_, stream| {
            challenge(stream, 2, "content-length: 4", true, Log::default())
        });
        served.link(Link::new().latency(Duration::from_millis(10)));
        let hooked = proxy("http://proxy.test")
            .with_tunnel_for_http(true)
            .with_authentication(|challenge| challenge.values().next().cloned());
        let pool = pool(net, hooked);
        let (main, then) = (pool.clone(), pool);
        Scenario::new(async move {
            assert_eq!(get(&main, "http://origin.test/").await.unwrap(), "hello");
        })
        .then(async move {
            assert_eq!(get(&then, "http://origin.test/").await.unwrap(), "hello");
        })
        .allow_tasks(3)
        .allow_streams(2)
        .allow_timers(4)
        .allow_attempts(1)
    });
    assert!(swept.points > 3, "{}", swept.points);
}

#[test]
fn connecting_is_retried_before_a_proxy_and_not_after_its_refusal() {
    let net = MockNet::new();
    let served = by_hand(&net, "proxy.test", 80, |_, mut stream| async move {
        stream.read_head().await.unwrap();
        let _ = stream
            .write_all("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
            .await;
    });
    served.links([Link::refused(), Link::refused(), Link::new()]);
    let pool = builder!()
        .connect_retries(5)
        .proxy(proxy("http://proxy.test"))
        .build(Arc::new(net.clone()));
    let error = net.run(get(&pool, "https://origin.test/")).unwrap_err();
    assert_eq!(refusal_of(&error).status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(served.attempts(), 3);
}

// Secrets.

#[test]
fn secrets_are_with_their_party_only_and_in_no_text() {
    let (net, log) = (MockNet::new(), Log::default());
    let layers = &[
        Layer::Connect("two.test:8080"),
        Layer::Connect("origin.test:443"),
        Layer::Tls("origin.test"),
    ];
    serve(&net, "one.test", 80, layers, &log);
    let first = proxy("http://first-user:first-word@one.test");
    let field = HeaderValue::from_static("field-word");
    let second = proxy("http://second-user:second-word@two.test:8080")
        .with_header("x-secret".parse().unwrap(), field)
        .unwrap()
        .through(first)
        .unwrap();
    let printed = Log::default();
    printed.push(format!(
        "{second:?} {second} {:?}",
        UseProxy::through(second.clone())
    ));
    let sink = printed.clone();
    let trace = Trace::to(move |_: Instant, event: &TraceEvent<'_>| {
        sink.push(format!("{} {event:?}", event.name()));
    });
    let rules = ProxyRules::all(second.clone());
    printed.push(format!("{rules:?}"));
    let builder = builder!().proxy_rules(rules);
    printed.push(format!("{builder:?}"));
    let pool = builder.build(Arc::new(net.clone()));
    let request = |trace: Trace| {
        Request::get("https://origin.test/")
            .header("authorization", "origin-word")
            .extension(trace)
            .body(Body::empty())
            .unwrap()
    };
    net.run(send(&pool, request(trace.clone()))).unwrap();
    printed.push(format!("{pool:?} {} {:?}", pool.status(), pool.stats()));

    // And where it fails.
    let refusing = MockNet::new();
    by_hand(&refusing, "one.test", 80, |_, mut stream| async move {
        let _ = stream.read_head().await;
        let _ = stream
            .write_all("HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n")
            .await;
    });
    let refused = self::pool(&refusing, second);
    let error = refusing.run(send(&refused, request(trace))).unwrap_err();
    printed.push(format!(
        "{error} {error:#} {error:?} {:?}",
        ProxyError::source_of(&error)
    ));

    let basic = |user: &str, word: &str| {
        httpcore_core_primitives::base64::encode(format!("{user}:{word}").as_bytes())
    };
    let (first, second) = (
        basic("first-user", "first-word"),
        basic("second-user", "second-word"),
    );
    let secrets = [
        "first-user",
        "first-word",
        "second-user",
        "second-word",
        "field-word",
        "origin-word",
        &first,
        &second,
    ];
    let printed = printed.heads().join("\n");
    assert!(printed.contains("one.test") && printed.contains("connection.proxy.complete"));
    for secret in secrets {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
    // Who was sent what.
    let heads = log.heads();
    let parties: [(&str, BTreeSet<&str>); 3] = [
        (&heads[0], BTreeSet::from([&*first])),
        (&heads[1], BTreeSet::from([&*second, "field-word"])),
        (&heads[2], BTreeSet::from(["origin-word"])),
    ];
    for (head, own) in parties {
        for secret in secrets {
            assert_eq!(
                head.contains(secret),
                own.contains(secret),
                "{secret} in {head}"
            );
        }
    }
}
