//! httpcore against real servers.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    collections::VecDeque,
    convert::Infallible,
    fs,
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::{StatusCode, request, response};
use httpcore::{
    Body, Bytes, ConnectionPool, ConnectionPoolBuilder, EventLoop, Request, Timeouts,
    error::BoxError,
    trace::{Trace, TraceEvent},
};
use httpcore_servers::{Kind, Server, client::Transfer, require};

/// How long a test waits for what must come: a bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than any body that is read into memory here.
const LIMIT: usize = 16 << 20;
const MIB: u64 = 1 << 20;

/// A loop, a pool on it, and a count of the connections which requests were given.
struct Client {
    epoll: EventLoop,
    pool: ConnectionPool,
    given: Arc<Given>,
}

#[derive(Default)]
struct Given {
    new: AtomicUsize,
    reused: AtomicUsize,
}

impl Client {
    fn new() -> Self {
        Client::with(|builder| builder)
    }

    fn with(configure: impl FnOnce(ConnectionPoolBuilder) -> ConnectionPoolBuilder) -> Self {
        let epoll = EventLoop::new().unwrap();
        let timeouts = Timeouts::default().with_total(PATIENCE);
        let builder = ConnectionPool::builder().timeouts(timeouts);
        let pool = configure(builder).build(epoll.backend());
        Client {
            epoll,
            pool,
            given: Arc::default(),
        }
    }

    fn run<T>(&self, future: impl Future<Output = Result<T, BoxError>>) -> T {
        self.epoll.block_on(future).unwrap()
    }

    fn request(&self, builder: request::Builder, body: Body) -> Request {
        let given = self.given.clone();
        let trace = Trace::to(move |_, event: &TraceEvent<'_>| {
            if let TraceEvent::ConnectionAcquired { reused } = event {
                let count = if *reused { &given.reused } else { &given.new };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        builder.extension(trace).body(body).unwrap()
    }

    /// Sends a request and reads the response to its end.
    fn fetch<B: Into<Body>>(
        &self,
        builder: request::Builder,
        body: B,
    ) -> impl Future<Output = Result<(response::Parts, Bytes), BoxError>> + Send + 'static + use<B>
    {
        let sending = self.pool.request(self.request(builder, body.into()));
        async move {
            let (parts, body) = sending.await?.into_parts();
            Ok((parts, body.bytes(LIMIT).await?))
        }
    }

    fn get(&self, url: String) -> (response::Parts, Bytes) {
        self.run(self.fetch(http::Request::get(url), Body::empty()))
    }

    /// How many new connections requests were given, and how many that had served before.
    fn given(&self) -> (usize, usize) {
        let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (load(&self.given.new), load(&self.given.reused))
    }
}

/// A body of unknown length, in these pieces.
fn pieces(pieces: &[&'static str]) -> Body {
    let mut pieces: VecDeque<_> = pieces
        .iter()
        .map(|piece| Bytes::from_static(piece.as_bytes()))
        .collect();
    Body::poll_fn(move |_| Poll::Ready(pieces.pop_front().map(Ok::<_, Infallible>)))
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// HEAD and 204 leave a connection which the next request can use.
fn responses_without_content(server: &Server, page: &str, no_content: &str) {
    let client = Client::new();
    for _ in 0..3 {
        let (head, body) =
            client.run(client.fetch(http::Request::head(server.url(page)), Body::empty()));
        assert!(head.status.is_success() && body.is_empty());
        let (head, body) = client.get(server.url(no_content));
        assert_eq!((head.status, body.len()), (StatusCode::NO_CONTENT, 0));
        let (head, body) = client.get(server.url(page));
        assert!(head.status.is_success() && !body.is_empty());
    }
    assert_eq!(client.given(), (1, 8));
}

fn a_thousand_requests_share_one_connection(server: &Server, page: &str) {
    let client = Client::new();
    client.run(async {
        for _ in 0..1_000 {
            let (head, body) = client
                .fetch(http::Request::get(server.url(page)), Body::empty())
                .await?;
            assert!(head.status.is_success() && !body.is_empty());
        }
        Ok(())
    });
    assert_eq!(client.given(), (1, 999));
}

fn sixty_four_at_once_stay_within(limit: usize, server: &Server, page: &str) {
    let client = Client::with(|builder| builder.max_connections(limit));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let request = http::Request::get(server.url(page));
            client.epoll.spawn(client.fetch(request, Body::empty()))
        })
        .collect();
    client.run(async {
        for task in tasks {
            let (head, body) = task.await?;
            assert!(head.status.is_success() && !body.is_empty());
        }
        Ok(())
    });
    let (new, reused) = client.given();
    assert!(new <= limit, "{new} connections for a limit of {limit}");
    assert_eq!(new + reused, 64);
    assert!(client.epoll.handle().streams() <= limit);
}

/// Without any request, the pool drops a connection that the server has closed.
fn a_close_while_idle_is_noticed(server: &Server, brief: &str) {
    let client = Client::new();
    let (head, _) = client.get(server.url(brief));
    assert!(head.status.is_success());
    assert_eq!(client.epoll.handle().streams(), 1);
    let backend = client.epoll.backend();
    let deadline = backend.now() + PATIENCE;
    client.run(async {
        while client.epoll.handle().streams() > 0 {
            assert!(backend.now() < deadline, "the close goes unnoticed");
            let mut timer = backend.timer("another look");
            let next = backend.now() + Duration::from_millis(20);
            poll_fn(|cx| timer.poll_until(cx, next)).await;
        }
        Ok(())
    });
    let (head, _) = client.get(server.url(brief));
    assert!(head.status.is_success());
    assert_eq!(client.given(), (2, 0));
}

fn a_unix_socket_serves_too(server: &Server, page: &str) {
    let path = server.unix_socket().unwrap().to_owned();
    let client = Client::with(|builder| builder.unix_socket(path));
    for _ in 0..2 {
        let (head, body) = client.get(format!("http://localhost{page}"));
        assert!(head.status.is_success() && !body.is_empty());
    }
    assert_eq!(client.given(), (1, 1));
}

/// Runs one transfer in a process of its own: status and size of the response, and the peak of
/// its memory in KiB.
fn transfer(method: &str, url: &str, size: u64, framing: &str) -> (u16, u64, u64) {
    let arguments = [method, url, &size.to_string(), framing];
    let Transfer {
        status,
        received,
        peak,
        ..
    } = Transfer::run(env!("CARGO_BIN_EXE_transfer"), &arguments).unwrap();
    assert!(peak < 16 << 10, "{method} {url}: {peak} KiB at the peak");
    (status, received, peak)
}

#[test]
fn nginx_gives_and_takes_bodies() {
    let Some(nginx) = require(Kind::Nginx) else {
        return;
    };
    let client = Client::new();
    let (head, body) = client.get(nginx.url("/hello.txt"));
    assert_eq!(head.status, StatusCode::OK);
    assert!(head.headers["server"].as_bytes().starts_with(b"nginx/"));
    assert_eq!(text(&body), "Hello from nginx!\n");
    let (_, body) = client.run(client.fetch(http::Request::post(nginx.url("/what")), "hello"));
    assert_eq!(text(&body), "POST 5\n");
    let (head, body) = client.get(nginx.url("/chunked/hello.txt"));
    assert_eq!(head.headers["transfer-encoding"], "chunked");
    assert_eq!(text(&body), "Hello from nginx!\ntail\n");
    for (name, upload) in [
        ("whole", "one two".into()),
        ("chunked", pieces(&["one", " ", "two"])),
    ] {
        let url = nginx.url(&format!("/upload/{name}"));
        let (head, _) = client.run(client.fetch(http::Request::put(url), upload));
        assert_eq!(head.status, StatusCode::CREATED);
        let stored = fs::read_to_string(nginx.uploads().join(name)).unwrap();
        assert_eq!(stored, "one two");
    }
    assert_eq!(client.given(), (1, 4));
}

#[test]
fn nginx_closing_after_a_response_costs_the_next_request_a_connection_and_nothing_else() {
    let Some(nginx) = require(Kind::Nginx) else {
        return;
    };
    let client = Client::new();
    for _ in 0..3 {
        assert_eq!(text(&client.get(nginx.url("/last")).1), "last\n");
    }
    assert_eq!(client.given(), (3, 0));
}

#[test]
fn nginx_keeps_connections_and_closes_them_when_idle() {
    let Some(nginx) = require(Kind::Nginx) else {
        return;
    };
    responses_without_content(&nginx, "/hello.txt", "/no-content");
    a_thousand_requests_share_one_connection(&nginx, "/hello.txt");
    sixty_four_at_once_stay_within(64, &nginx, "/kib");
    sixty_four_at_once_stay_within(4, &nginx, "/kib");
    a_unix_socket_serves_too(&nginx, "/hello.txt");
    a_close_while_idle_is_noticed(&nginx, "/brief");
}

#[test]
fn nginx_sends_and_takes_256_mib_in_little_memory() {
    let Some(nginx) = require(Kind::Nginx) else {
        return;
    };
    let (status, received, down) = transfer("GET", &nginx.url("/256mib"), 0, "length");
    assert_eq!((status, received), (200, 256 * MIB));
    let mut peaks = vec![down];
    for framing in ["length", "chunked"] {
        let url = nginx.url(&format!("/upload/{framing}"));
        let (status, _, up) = transfer("PUT", &url, 256 * MIB, framing);
        assert_eq!(status, 201);
        let stored = fs::metadata(nginx.uploads().join(framing)).unwrap().len();
        assert_eq!(stored, 256 * MIB);
        peaks.push(up);
    }
    println!("KiB at the peak: {peaks:?}");
}

#[test]
fn httpbin_gives_and_takes_bodies() {
    let Some(httpbin) = require(Kind::Httpbin) else {
        return;
    };
    let client = Client::new();
    let (head, body) = client.get(httpbin.url("/get?a=b"));
    assert_eq!(head.headers["content-type"], "application/json");
    assert!(text(&body).contains("\"a\": \"b\""));
    for upload in ["one two".into(), pieces(&["one", " ", "two"])] {
        let request =
            http::Request::post(httpbin.url("/post")).header("content-type", "text/plain");
        let (head, body) = client.run(client.fetch(request, upload));
        assert_eq!(head.status, StatusCode::OK);
        assert!(
            text(&body).contains("\"data\": \"one two\""),
            "{}",
            text(&body)
        );
    }
    let (head, body) = client.get(httpbin.url("/stream/5"));
    assert_eq!(head.headers["transfer-encoding"], "chunked");
    assert_eq!(text(&body).lines().count(), 5);
    let (head, body) = client.get(httpbin.url("/bytes/10000"));
    assert_eq!((head.status.as_u16(), body.len()), (200, 10_000));
    for code in [201, 204, 304, 418, 500] {
        let (head, _) = client.get(httpbin.url(&format!("/status/{code}")));
        assert_eq!(head.status, code);
    }
}

#[test]
fn httpbin_keeps_connections() {
    let Some(httpbin) = require(Kind::Httpbin) else {
        return;
    };
    responses_without_content(&httpbin, "/get", "/status/204");
    a_thousand_requests_share_one_connection(&httpbin, "/get");
    sixty_four_at_once_stay_within(64, &httpbin, "/get");
    sixty_four_at_once_stay_within(4, &httpbin, "/get");
    a_unix_socket_serves_too(&httpbin, "/get");
}

#[test]
fn httpbin_takes_and_returns_256_mib_in_little_memory() {
    let Some(httpbin) = require(Kind::Httpbin) else {
        return;
    };
    for framing in ["length", "chunked"] {
        let (status, received, _) = transfer("POST", &httpbin.url("/post"), 256 * MIB, framing);
        assert_eq!(status, 200);
        assert!(received > 256 * MIB, "{received}");
    }
}

#[test]
fn node_gives_and_takes_bodies() {
    let Some(node) = require(Kind::Node) else {
        return;
    };
    let client = Client::new();
    assert_eq!(
        text(&client.get(node.url("/hello")).1),
        "Hello from Node!\n"
    );
    for upload in ["one two".into(), pieces(&["one", " ", "two"])] {
        let (_, body) = client.run(client.fetch(http::Request::post(node.url("/echo")), upload));
        assert_eq!(text(&body), "one two");
    }
    let (_, body) = client.get(node.url("/chunked/1000"));
    assert_eq!(text(&body).lines().count(), 1_000);
    let (head, body) = client.get(node.url("/early-hints"));
    assert_eq!(
        (head.status.as_u16(), text(&body)),
        (200, "after the hints\n")
    );
    assert_eq!(client.given(), (1, 4));
    let trailers = client.run(async {
        let sending = client.pool.get(node.url("/trailers"));
        let mut body = sending.await?.into_body();
        let mut trailers = None;
        while let Some(frame) = poll_fn(|cx| body.poll_next(cx)).await {
            trailers = frame?.into_trailers().ok().or(trailers);
        }
        Ok(trailers)
    });
    assert_eq!(trailers.unwrap()["x-checksum"], "1234");
}

#[test]
fn node_keeps_connections_and_closes_them_when_idle() {
    let Some(node) = require(Kind::Node) else {
        return;
    };
    responses_without_content(&node, "/hello", "/no-content");
    a_thousand_requests_share_one_connection(&node, "/hello");
    sixty_four_at_once_stay_within(64, &node, "/hello");
    sixty_four_at_once_stay_within(4, &node, "/hello");
    a_unix_socket_serves_too(&node, "/hello");
    a_close_while_idle_is_noticed(&node, "/brief");
    let (status, received, _) = transfer("POST", &node.url("/echo"), 256 * MIB, "chunked");
    assert_eq!((status, received), (200, 256 * MIB));
}

#[test]
fn http_server_speaks_http_1_0_and_closes() {
    let Some(server) = require(Kind::HttpServer) else {
        return;
    };
    let client = Client::new();
    for _ in 0..3 {
        let (head, body) = client.get(server.url("/hello.txt"));
        assert_eq!(head.version, http::Version::HTTP_10);
        assert_eq!(text(&body), "Hello from Python!\n");
    }
    let (head, body) = client.get(server.url("/mib"));
    assert_eq!((head.status.as_u16(), body.len() as u64), (200, MIB));
    let (head, body) = client.get(server.url("/missing"));
    assert!(head.status == StatusCode::NOT_FOUND && !body.is_empty());
    assert_eq!(client.given(), (5, 0));
}
