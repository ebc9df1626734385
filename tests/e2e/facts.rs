//! What is known of a request afterwards: its connection, the addresses tried, and when each step
//! happened. In virtual time.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::{Request, Version};
use httpcore::{
    ConnectionPool, ErrorKind, RequestExt, Timeouts,
    error::TimeoutKind,
    net::{Alpn, ConnectionInfo, PooledInfo},
    trace::{Timing, TimingRecorder, Trace, TraceEvent},
};
use httpcore_net_mock::{DnsEntry, Link, MockNet, MockTls, ServerStream, TlsServer};
use httpcore_tests::http2;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Answers each request with a head after 30 ms, and with its body 40 ms later.
async fn answer(mut stream: ServerStream) {
    while stream.read_head().await.is_ok() {
        stream.sleep(30 * MS).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        if stream.write_all(head).await.is_err() {
            return;
        }
        stream.sleep(40 * MS).await;
        if stream.write_all("hello").await.is_err() {
            return;
        }
    }
}

#[test]
fn a_response_says_what_the_pool_knows_of_its_connection() {
    let net = MockNet::new();
    net.serve("a.test", 80, answer);
    let pool = ConnectionPool::builder()
        .idle_timeout(60 * SECOND)
        .build(net.clone());
    let send = async || -> PooledInfo {
        let request = Request::get("http://a.test/").include_connection_info();
        let response = pool.request(request.body(()).unwrap()).await.unwrap();
        let info: &ConnectionInfo = response.extensions().get().unwrap();
        assert!(info.peer.is_some() && info.local.is_some());
        let pooled = info.pooled.unwrap();
        response.into_body().text(10).await.unwrap();
        pooled
    };
    net.run(async {
        let first = send().await;
        assert_eq!((first.requests_before, first.is_reused()), (0, false));
        assert_eq!(
            (first.age, first.idle_for),
            (Duration::ZERO, Duration::ZERO)
        );
        assert_eq!(first.version, Version::HTTP_11);
        net.sleep(7 * SECOND).await;
        let second = send().await;
        assert_eq!((second.requests_before, second.is_reused()), (1, true));
        assert_eq!(
            (second.age, second.idle_for),
            (7 * SECOND + 70 * MS, 7 * SECOND)
        );
        assert_eq!(second.id, first.id);
        pool.close_idle();
        let third = send().await;
        assert_ne!(third.id, first.id);
        assert_eq!(third.requests_before, 0);
    });
}

#[test]
fn a_shared_connection_in_use_is_not_idle() {
    let net = MockNet::new();
    let tls = TlsServer::new()
        .certificate_for(&["a.test"])
        .alpn(&[Alpn::Http2]);
    net.serve_tls("a.test", 443, tls, async |stream| {
        let io = http2::Tokio(stream);
        http2::serve_with(io, h2::server::Builder::new(), |request, respond| {
            Box::pin(async move { drop(http2::answer(request, respond).await) })
        })
        .await;
    });
    let pool = ConnectionPool::builder()
        .tls(MockTls::new())
        .build(net.clone());
    net.run(async {
        let request = || {
            // More than a window: the response goes on until it is read.
            let request = Request::get("https://a.test/bytes/8000000").include_connection_info();
            pool.request(request.body(()).unwrap())
        };
        let pooled = |response: &httpcore::Response| {
            let info: &ConnectionInfo = response.extensions().get().unwrap();
            info.pooled.unwrap()
        };
        let first = request().await.unwrap();
        net.sleep(SECOND).await;
        let second = request().await.unwrap();
        let (one, other) = (pooled(&first), pooled(&second));
        assert_eq!((one.id, one.version), (other.id, Version::HTTP_2));
        assert_eq!((one.requests_before, other.requests_before), (0, 1));
        assert!(other.age >= SECOND);
        assert_eq!(other.idle_for, Duration::ZERO);
    });
}

#[test]
fn an_error_has_the_addresses_that_were_tried_and_what_became_of_each() {
    let net = MockNet::new();
    net.name(
        "a.test",
        DnsEntry::addresses(["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
    );
    for (host, link) in [
        ("10.0.0.1", Link::refused()),
        ("10.0.0.2", Link::unreachable()),
        ("10.0.0.3", Link::refused()),
    ] {
        net.serve(host, 80, answer).link(link);
    }
    let pool = ConnectionPool::new(net.clone());
    let tried = |error: &httpcore::Error| -> Vec<(String, io::ErrorKind)> {
        let tried = error.addresses_tried().iter();
        tried
            .map(|(peer, kind)| (peer.ip().to_string(), *kind))
            .collect()
    };
    let error = net
        .run(async { pool.get("http://a.test/").await })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(
        tried(&error),
        [
            ("10.0.0.1".to_owned(), io::ErrorKind::ConnectionRefused),
            ("10.0.0.2".to_owned(), io::ErrorKind::HostUnreachable),
            ("10.0.0.3".to_owned(), io::ErrorKind::ConnectionRefused),
        ]
    );
    assert_eq!(tried(&error.repeated()), tried(&error));
    let error = net
        .run(async { pool.get("http://10.0.0.1/").await })
        .unwrap_err();
    assert_eq!(tried(&error).len(), 1);

    // A limit: those that have not answered are named as well.
    net.name("b.test", DnsEntry::addresses(["10.0.0.1", "10.0.0.4"]));
    net.serve("10.0.0.4", 80, answer).link(Link::blackhole());
    for (url, expected) in [
        ("http://b.test/", vec!["10.0.0.1", "10.0.0.4"]),
        ("http://10.0.0.4/", vec!["10.0.0.4"]),
    ] {
        let pool = ConnectionPool::builder()
            .timeouts(Timeouts::default().with_connect(SECOND))
            .build(net.clone());
        let error = net.run(async { pool.get(url).await }).unwrap_err();
        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Connect));
        let hosts: Vec<_> = tried(&error).into_iter().map(|(host, _)| host).collect();
        assert_eq!(hosts, expected);
        let last = tried(&error).pop().unwrap();
        assert_eq!(last.1, io::ErrorKind::TimedOut);
    }
}

#[test]
fn the_time_of_each_step_is_known_also_after_the_body() {
    let net = MockNet::new();
    net.name("a.test", DnsEntry::addresses(["10.0.0.1"]).after(25 * MS));
    let tls = TlsServer::new()
        .certificate_for(&["a.test"])
        .alpn(&[Alpn::Http1]);
    net.serve_tls("10.0.0.1", 443, tls, answer)
        .link(Link::new().latency(5 * MS));
    let pool = ConnectionPool::builder()
        .tls(MockTls::new())
        .build(net.clone());
    net.run(async {
        let send = async || -> Timing {
            let recorder = TimingRecorder::new();
            let request = Request::get("https://a.test/").trace(recorder.trace());
            let response = pool.request(request.body(()).unwrap()).await.unwrap();
            let head = recorder.timing();
            assert!(head.response_head.is_some() && head.ended.is_none());
            response.into_body().text(10).await.unwrap();
            recorder.timing()
        };
        let timing = send().await;
        assert_eq!(timing.resolve(), Some(25 * MS));
        assert_eq!(timing.connect(), Some(10 * MS));
        let tls = timing.tls().unwrap();
        assert!(tls >= 10 * MS, "{tls:?}");
        assert_eq!(timing.until_acquired(), Some(35 * MS + tls));
        assert_eq!(timing.wait(), Some(40 * MS));
        assert_eq!(timing.receive(), Some(40 * MS));
        assert_eq!(timing.total(), Some(115 * MS + tls));
        // On an idle connection.
        let timing = send().await;
        assert_eq!(
            (timing.resolve(), timing.connect(), timing.tls()),
            (None, None, None)
        );
        assert_eq!(timing.until_acquired(), Some(Duration::ZERO));
        assert_eq!(timing.total(), Some(80 * MS));
    });
}

#[test]
fn a_failure_ends_the_timing_and_events_are_passed_on() {
    let net = MockNet::new();
    net.name(
        "a.test",
        DnsEntry::fails(io::ErrorKind::NotFound).after(5 * MS),
    );
    let names = Arc::new(Mutex::new(Vec::new()));
    let log = names.clone();
    let trace = Trace::to(move |_: Instant, event: &TraceEvent<'_>| {
        log.lock().unwrap().push(event.name());
    });
    let recorder = TimingRecorder::new();
    let request = Request::get("http://a.test/").trace(recorder.trace_and(trace));
    let pool = ConnectionPool::new(net.clone());
    net.run(async { pool.request(request.body(()).unwrap()).await })
        .unwrap_err();
    let timing = recorder.timing();
    assert_eq!((timing.total(), timing.resolve()), (Some(5 * MS), None));
    assert_eq!(names.lock().unwrap().last(), Some(&"request.failed"));
}
