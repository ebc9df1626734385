//! What a caller of `httpcore` relies on, over the network in virtual time.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in their helpers

use std::{sync::Arc, time::Duration};

use httpcore::{Body, ConnectionPool, Error, ErrorKind, Timeouts, error::TimeoutKind, http};
use httpcore_net_mock::MockNet;

const SECOND: Duration = Duration::from_secs(1);

/// A network whose only server reads a head and then sends nothing.
fn silent() -> MockNet {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.sleep(3600 * SECOND).await;
    });
    net
}

/// Sends a GET with these limits to a silent server, through a pool with those.
fn error_within(pools: Timeouts, requests: Timeouts) -> (ErrorKind, Duration) {
    let net = silent();
    let pool = ConnectionPool::builder()
        .timeouts(pools)
        .build(Arc::new(net.clone()));
    let request = http::Request::get("http://server.test/")
        .extension(requests)
        .body(Body::empty())
        .unwrap();
    let error: Error = net.run(async { pool.request(request).await }).unwrap_err();
    (error.kind(), net.elapsed())
}

#[test]
fn a_requests_total_limit_leaves_its_pools_read_limit_in_force() {
    let pools = Timeouts::default().with_read(3 * SECOND);
    let requests = Timeouts::default().with_total(60 * SECOND);
    assert_eq!(
        error_within(pools, requests),
        (ErrorKind::Timeout(TimeoutKind::Read), 3 * SECOND)
    );
}

#[test]
fn a_request_can_do_without_a_limit_of_its_pool() {
    let pools = Timeouts::default()
        .with_read(3 * SECOND)
        .with_total(60 * SECOND);
    let requests = Timeouts::default().without_read();
    assert_eq!(
        error_within(pools, requests),
        (ErrorKind::Timeout(TimeoutKind::Total), 60 * SECOND)
    );
}

#[test]
fn a_limit_set_for_a_stream_of_events_brings_back_none_of_its_pools() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        stream.write_all(head).await.unwrap();
        stream.sleep(50 * SECOND).await;
        stream.write_all("data: late\n\n").await.unwrap();
        stream.sleep(SECOND).await;
    });
    let pool = ConnectionPool::builder()
        .timeouts(Timeouts::default().with_total(SECOND))
        .build(Arc::new(net.clone()));
    let limits = Timeouts::default().with_read(60 * SECOND);
    let subscription = httpcore::sse::Subscription::new("http://server.test/").option(limits);
    let event = net.run(async { pool.events(subscription).event().await });
    assert_eq!(event.unwrap().unwrap().data, "late");
    assert_eq!(net.elapsed(), 50 * SECOND);
}

#[test]
fn an_untrusted_certificate_is_not_retryable_and_says_why() {
    let net = MockNet::new();
    let expired = httpcore::mock::TlsServer::new().bad_certificate("expired");
    net.serve_tls("server.test", 443, expired, async |stream| {
        stream.stall().await
    });
    let pool = ConnectionPool::builder()
        .tls(Arc::new(httpcore::mock::MockTls::new()))
        .build(Arc::new(net.clone()));
    let error = net.run(async { pool.get("https://server.test/").await });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("expired"), "{error}");
    assert_eq!(format!("{error:#}").matches("expired").count(), 1);
}

#[test]
fn a_server_that_speaks_no_tls_is_not_retryable_and_one_that_hangs_up_is() {
    let answers = async |mut stream: httpcore::mock::ServerStream| {
        stream
            .write_all("HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        stream.stall().await;
    };
    let hangs_up = async |mut stream: httpcore::mock::ServerStream| {
        // A ClientHello; dropping the stream closes it.
        stream.read_exact(5).await.unwrap();
    };
    for (is_http, kind, retryable) in [
        (true, ErrorKind::Tls, false),
        (false, ErrorKind::ConnectionClosed, true),
    ] {
        let net = MockNet::new();
        if is_http {
            net.serve("server.test", 443, answers);
        } else {
            net.serve("server.test", 443, hangs_up);
        }
        // With rustls, as by default.
        let pool = ConnectionPool::new(Arc::new(net.clone()));
        let error = net.run(async { pool.get("https://server.test/").await });
        let error = error.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (kind, retryable),
            "{error:?}"
        );
        let tls = httpcore::tls::TlsError::find_in(&error);
        assert!(tls.is_some(), "{error:?}");
    }
}

#[test]
fn tls_choices_do_not_outlive_their_owners_and_connections() {
    use httpcore::{extensions::TlsOverride, mock};
    let net = MockNet::new();
    net.serve_tls(
        "server.test",
        443,
        mock::TlsServer::new(),
        async |mut stream: mock::ServerStream| {
            while stream.read_head().await.is_ok() {
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        },
    );
    let pool = ConnectionPool::builder()
        .http2(false)
        .build(Arc::new(net.clone()));
    let alive: Vec<_> = (0..100)
        .map(|_| {
            let connector = Arc::new(mock::MockTls::new());
            let request = http::Request::get("https://server.test/")
                .extension(TlsOverride::new(connector.clone()))
                .body(Body::empty())
                .unwrap();
            let text = net.run(async { pool.request(request).await?.into_body().bytes(9).await });
            assert_eq!(text.unwrap(), "ok");
            Arc::downgrade(&connector)
        })
        .collect();
    pool.close_idle();
    net.run_until_idle();
    let left = alive.iter().filter(|tls| tls.strong_count() > 0).count();
    assert_eq!(left, 0);
}

#[test]
fn a_request_takes_whatever_becomes_a_body() -> Result<(), Error> {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        while let Ok(head) = stream.read_head().await {
            let size = if head.contains("content-length: 4") {
                4
            } else {
                0
            };
            assert_eq!(stream.read_exact(size).await.unwrap(), "four"[..size]);
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
        }
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let post = || http::Request::post("http://server.test/");
    net.run(async {
        for response in [
            pool.request(post().body("four")?).await?,
            pool.request(post().body(String::from("four"))?).await?,
            pool.request(post().body(vec![b'f', b'o', b'u', b'r'])?)
                .await?,
            pool.request(post().body(())?).await?,
        ] {
            assert_eq!(response.into_body().bytes(9).await?, "ok");
        }
        Ok(())
    })
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn a_refused_request_that_is_polled_again_panics() {
    let pool = ConnectionPool::new(Arc::new(MockNet::new()));
    let mut request = std::pin::pin!(pool.get("no url"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(request.as_mut().poll(&mut cx).is_ready());
    let _ = request.as_mut().poll(&mut cx);
}
