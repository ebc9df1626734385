//! What of HTTP/1.1 only real servers do: hints, expectations, and answers before the end of the
//! question.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use http::request;
use httpcore::{Body, Bytes, ConnectionPool, EventLoop, Timeouts, error::BoxError};
use httpcore_proto_h1::{CaptureRawHead, HeaderOrder, OnInformational, RawHead};
use httpcore_servers::{Kind, Server, client::upload, require, require_apache};

/// How long a test waits for what must come: a bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// A pool on a loop of its own.
struct Client {
    epoll: EventLoop,
    pool: ConnectionPool,
}

/// What came: the interim statuses, each with its `Link`, and the response.
#[derive(Debug)]
struct Answer {
    interim: Vec<(u16, String)>,
    status: u16,
    raw: RawHead,
    body: Bytes,
}

impl Client {
    fn new() -> Self {
        let epoll = EventLoop::new().unwrap();
        let timeouts = Timeouts::default().with_total(PATIENCE);
        let pool = ConnectionPool::builder()
            .timeouts(timeouts)
            .build(epoll.backend());
        Client { epoll, pool }
    }

    fn send(&self, builder: request::Builder, body: impl Into<Body>) -> Answer {
        let interim: Arc<Mutex<Vec<(u16, String)>>> = Arc::default();
        let told = interim.clone();
        let listener = OnInformational::new(move |response| {
            let link = response.headers().get("link");
            let link = link.map_or("", |link| link.to_str().unwrap()).to_owned();
            told.lock()
                .unwrap()
                .push((response.status().as_u16(), link));
        });
        let request = builder
            .extension(listener)
            .extension(CaptureRawHead)
            .body(body.into())
            .unwrap();
        let sending = self.pool.request(request);
        let response = self.epoll.block_on(async move {
            let (parts, body) = sending.await?.into_parts();
            Ok::<_, BoxError>((parts, body.bytes(16 << 20).await?))
        });
        let (parts, body) = response.unwrap();
        Answer {
            interim: std::mem::take(&mut interim.lock().unwrap()),
            status: parts.status.as_u16(),
            raw: parts.extensions.get::<RawHead>().unwrap().clone(),
            body,
        }
    }
}

fn get(url: String) -> request::Builder {
    http::Request::get(url)
}

fn post(url: String) -> request::Builder {
    http::Request::post(url)
}

#[test]
fn hints_of_node_reach_who_listens() {
    let Some(node) = require(Kind::Node) else {
        return;
    };
    let answer = Client::new().send(get(node.url("/early-hints")), ());
    let hint = "</style.css>; rel=preload; as=style".to_owned();
    assert_eq!(answer.interim, [(103, hint)]);
    assert_eq!(answer.status, 200);
}

#[test]
fn hints_pass_through_apache() {
    let Some(node) = require(Kind::Node) else {
        return;
    };
    let Some(apache) = require_apache(&node) else {
        return;
    };
    let answer = Client::new().send(get(apache.url("/origin/early-hints")), ());
    let hint = "</style.css>; rel=preload; as=style".to_owned();
    assert_eq!(answer.interim, [(103, hint)]);
    assert_eq!(
        (answer.status, &answer.body[..]),
        (200, &b"after the hints\n"[..])
    );
}

#[test]
fn node_refuses_an_expectation_it_does_not_know() {
    let Some(node) = require(Kind::Node) else {
        return;
    };
    let client = Client::new();
    let request = post(node.url("/echo")).header("expect", "200-perhaps");
    assert_eq!(client.send(request, "hello").status, 417);
    assert_eq!(client.send(get(node.url("/hello")), ()).status, 200);
}

fn sends_a_body_that_was_asked_for(url: &str) {
    let client = Client::new();
    let request = post(url.to_owned()).header("expect", "100-continue");
    let answer = client.send(request, "hello");
    assert_eq!(answer.interim, [(100, String::new())]);
    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
}

#[test]
fn node_asks_for_a_body_that_waits_for_it() {
    if let Some(node) = require(Kind::Node) {
        sends_a_body_that_was_asked_for(&node.url("/echo"));
    }
}

#[test]
fn apache_asks_for_a_body_that_waits_for_it() {
    let Some(node) = require(Kind::Node) else {
        return;
    };
    if let Some(apache) = require_apache(&node) {
        sends_a_body_that_was_asked_for(&apache.url("/echo"));
    }
}

#[test]
fn a_body_that_apache_does_not_want_is_never_asked_for() {
    let Some(node) = require(Kind::Node) else {
        return;
    };
    let Some(apache) = require_apache(&node) else {
        return;
    };
    let client = Client::new();
    let (body, asked) = upload(MIB);
    let request = post(apache.url("/small"))
        .header("expect", "100-continue")
        .header("content-length", MIB);
    let answer = client.send(request, body);
    assert_eq!((answer.interim.len(), answer.status), (0, 413));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

/// The answer is heard, however much of the body has been sent, and the next request succeeds.
fn an_upload_is_refused(server: &Server, path: &str, expected: u16, page: &str) {
    const SIZE: u64 = 256 * MIB;
    let client = Client::new();
    for announced in [true, false] {
        let (body, asked) = upload(SIZE);
        let mut request = post(server.url(path));
        if announced {
            request = request.header("content-length", SIZE);
        }
        assert_eq!(client.send(request, body).status, expected, "{announced}");
        let asked = asked.load(Ordering::Relaxed);
        assert!(asked < SIZE, "{announced}: all of it was sent");
        assert_eq!(client.send(get(server.url(page)), ()).status, 200);
    }
}

#[test]
fn an_upload_which_apache_refuses_ends_with_its_answer() {
    let Some(node) = require(Kind::Node) else {
        return;
    };
    if let Some(apache) = require_apache(&node) {
        an_upload_is_refused(&apache, "/small", 413, "/origin/hello");
    }
}

#[test]
fn an_upload_which_node_refuses_ends_with_its_answer() {
    if let Some(node) = require(Kind::Node) {
        an_upload_is_refused(&node, "/nowhere", 404, "/hello");
    }
}

#[test]
fn an_upload_which_httpbin_refuses_ends_with_its_answer() {
    if let Some(httpbin) = require(Kind::Httpbin) {
        an_upload_is_refused(&httpbin, "/status/413", 413, "/get");
    }
}

#[test]
fn fields_go_out_and_come_in_as_they_are_spelled() {
    let Some(httpbin) = require(Kind::Httpbin) else {
        return;
    };
    let order = HeaderOrder::new(["X-One", "HOST"]).unwrap();
    let request = get(httpbin.url("/get"))
        .header("x-one", "1")
        .extension(order);
    let answer = Client::new().send(request, ());
    assert_eq!(answer.status, 200);
    let names: Vec<_> = answer.raw.fields().map(|(name, _)| name.to_vec()).collect();
    assert!(names.contains(&b"Content-Type".to_vec()), "{answer:?}");
}
