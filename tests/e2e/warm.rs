//! Connections in advance, attempts within limits, and requests sent again within a budget: through the
//! facade, in virtual time.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use httpcore::{
    ConnectionPool, Error, ErrorKind,
    config::{RetryBudget, StreamPlacement},
    error::RequestSent,
    net::Alpn,
};
use httpcore_net_mock::{Link, MockNet, MockTls, Scenario, ServerStream, Sweep, TlsServer};
use httpcore_tests::http2;

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const MS: Duration = Duration::from_millis(1);

async fn get(pool: &ConnectionPool, url: &str) -> Result<String, Error> {
    pool.get(url).await?.into_body().text(100).await
}

/// Answers each request after `after`.
async fn answer(mut stream: ServerStream, after: Duration) {
    while stream.read_head().await.is_ok() {
        stream.sleep(after).await;
        if stream.write_all(HELLO).await.is_err() {
            return;
        }
    }
}

/// Runs requests at the same time, and returns how they ended.
async fn all(pool: &ConnectionPool, url: &str, count: usize) -> Vec<Result<String, Error>> {
    let mut running: Vec<_> = (0..count).map(|_| Box::pin(get(pool, url))).collect();
    let mut ended = Vec::new();
    std::future::poll_fn(|cx| {
        running.retain_mut(|request| match request.as_mut().poll(cx) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(outcome) => {
                ended.push(outcome);
                false
            }
        });
        match running.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    ended
}

#[test]
fn connections_in_advance_are_idle_when_requests_come() {
    let net = MockNet::new();
    let server = net.serve("a.test", 80, |stream| answer(stream, 10 * MS));
    server.link(Link::new().latency(20 * MS));
    let pool = ConnectionPool::new(net.clone());
    net.run(async {
        assert_eq!(pool.connect("http://a.test/", 3).await.unwrap(), 3);
        assert_eq!(
            pool.connect("http://a.test/", 2).await.unwrap(),
            0,
            "there are more"
        );
        assert_eq!(pool.status().idle_connections, 3);
        let before = net.elapsed();
        for outcome in all(&pool, "http://a.test/", 3).await {
            assert_eq!(outcome.unwrap(), "hello");
        }
        assert_eq!(net.elapsed() - before, 50 * MS, "no handshake");
    });
    assert_eq!(server.attempts(), 3);
}

#[test]
fn a_failed_connection_in_advance_is_an_error_after_all_have_ended() {
    let net = MockNet::new();
    let server = net.serve("a.test", 80, |stream| answer(stream, MS));
    server.links([Link::new().latency(30 * MS), Link::refused(), Link::new()]);
    let pool = ConnectionPool::new(net.clone());
    let error = net.run(pool.connect("http://a.test/", 3)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");
    assert_eq!(pool.status().idle_connections, 2);
    let error = net.run(pool.connect("not a url", 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUrl);
    pool.close();
    assert_eq!(net.run(pool.connect("http://a.test/", 1)).unwrap(), 0);
}

#[test]
fn connecting_in_advance_is_cancelled_at_any_moment_without_leaks() {
    let swept = Sweep::polls().run(|net: &MockNet| {
        net.serve("a.test", 80, |stream| answer(stream, MS))
            .link(Link::new().latency(10 * MS));
        let pool = ConnectionPool::new(net.clone());
        let then = pool.clone();
        Scenario::new(async move {
            assert_eq!(pool.connect("http://a.test/", 2).await.unwrap(), 2);
        })
        .then(async move {
            assert_eq!(get(&then, "http://a.test/").await.unwrap(), "hello");
        })
        .allow_tasks(4)
        .allow_streams(2)
        .allow_timers(6)
        .allow_attempts(2)
    });
    assert!(swept.points >= 2, "{}", swept.points);
}

#[test]
fn no_more_connections_are_made_at_once_than_may_be() {
    let net = MockNet::new();
    let server = net.serve("a.test", 80, |stream| answer(stream, 10_000 * MS));
    server.link(Link::new().latency(50 * MS)); // 100 ms until connected
    let pool = ConnectionPool::builder()
        .configure_pool(|pool| pool.max_connecting = Some(2))
        .build(net.clone());
    net.run(async {
        let mut requests = Box::pin(all(&pool, "http://a.test/", 6));
        for (after, attempts) in [(99, 2), (2, 4), (99, 4), (2, 6)] {
            let pause = net.sleep(after * MS);
            let mut pause = std::pin::pin!(pause);
            std::future::poll_fn(|cx| {
                assert!(requests.as_mut().poll(cx).is_pending());
                pause.as_mut().poll(cx)
            })
            .await;
            assert_eq!(server.attempts(), attempts, "at {:?}", net.elapsed());
        }
        assert!(requests.await.iter().all(Result::is_ok));
    });
}

#[test]
fn a_request_is_served_by_a_connection_that_is_free_sooner_than_a_new_one() {
    for (delay, connections) in [(Duration::ZERO, 2), (100 * MS, 1), (5 * MS, 2)] {
        let net = MockNet::new();
        let server = net.serve("a.test", 80, |stream| answer(stream, 20 * MS));
        let pool = ConnectionPool::builder()
            .configure_pool(|pool| pool.connect_delay = delay)
            .build(net.clone());
        net.run(async {
            get(&pool, "http://a.test/").await.unwrap();
            let outcomes = all(&pool, "http://a.test/", 2).await;
            assert!(outcomes.iter().all(Result::is_ok));
        });
        assert_eq!(server.attempts(), connections, "{delay:?}");
    }
}

#[test]
fn an_origin_that_refuses_is_connected_to_once_for_all_who_wait() {
    let net = MockNet::new();
    let server = net.serve("a.test", 80, |stream| answer(stream, MS));
    server.link(Link::refused());
    let pool = ConnectionPool::builder()
        .configure_pool(|pool| pool.connect_backoff = Some(Duration::from_secs(1)))
        .build(net.clone());
    net.run(async {
        let url = "http://a.test/";
        let first = get(&pool, url).await.unwrap_err();
        for outcome in all(&pool, url, 5).await {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connect);
            assert!(error.is_retryable() && error.is_connect());
            assert_eq!(format!("{error:#}"), format!("{first:#}"));
        }
        assert_eq!(
            (server.attempts(), net.elapsed()),
            (2, Duration::from_secs(1))
        );
        server.link(Link::new());
        for outcome in all(&pool, url, 5).await {
            assert_eq!(outcome.unwrap(), "hello");
        }
        assert_eq!(net.elapsed(), Duration::from_secs(3) + MS);
    });
}

/// A server that answers the first request on each connection, and closes at the second.
async fn close_at_the_second(mut stream: ServerStream) {
    if stream.read_head().await.is_ok() && stream.write_all(HELLO).await.is_ok() {
        let _ = stream.read_head().await;
    }
}

#[test]
fn requests_are_sent_again_within_the_budget_only() {
    let net = MockNet::new();
    net.serve("a.test", 80, close_at_the_second);
    let pool = ConnectionPool::builder()
        .configure_pool(|pool| pool.retry_budget = Some(RetryBudget::new(0, 1)))
        .build(net.clone());
    net.run(async {
        let url = "http://a.test/";
        get(&pool, url).await.unwrap();
        // Every request fails on the connection of the one before, and is sent again: ten at once.
        for _ in 0..10 {
            assert_eq!(get(&pool, url).await.unwrap(), "hello");
        }
        let error = get(&pool, url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionClosed);
        assert_eq!((error.attempts(), error.sent()), (1, RequestSent::Full));
        let stats = pool.stats();
        assert_eq!((stats.retried, stats.retries_refused), (10, 1));
        // One more for each second.
        get(&pool, url).await.unwrap();
        net.sleep(Duration::from_secs(1)).await;
        assert_eq!(get(&pool, url).await.unwrap(), "hello");
        assert!(get(&pool, url).await.is_err());
    });
}

#[test]
fn requests_are_spread_over_connections_made_in_advance() {
    for (placement, used) in [(StreamPlacement::Fill, 1), (StreamPlacement::Spread, 3)] {
        let net = MockNet::new();
        let tls = TlsServer::new()
            .certificate_for(&["a.test"])
            .alpn(&[Alpn::Http2]);
        let used_connections = Arc::new(AtomicUsize::new(0));
        let counter = used_connections.clone();
        net.serve_tls("a.test", 443, tls, move |stream| {
            let counter = counter.clone();
            async move {
                let io = http2::Tokio(stream);
                let is_first = Arc::new(AtomicUsize::new(0));
                http2::serve_with(io, h2::server::Builder::new(), |request, respond| {
                    if is_first.fetch_add(1, Ordering::SeqCst) == 0 {
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                    Box::pin(async move { drop(http2::answer(request, respond).await) })
                })
                .await;
            }
        });
        let pool = ConnectionPool::builder()
            .tls(MockTls::new())
            .configure_pool(|pool| pool.http2_placement = placement)
            .build(net.clone());
        net.run(async {
            assert_eq!(pool.connect("https://a.test/", 3).await.unwrap(), 3);
            let outcomes = all(&pool, "https://a.test/hello", 9).await;
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        });
        assert_eq!(
            used_connections.load(Ordering::SeqCst),
            used,
            "{placement:?}"
        );
    }
}
