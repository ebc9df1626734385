//! The builder's settings, a pool's clock, and options of requests, in virtual time.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{future::pending, sync::Arc, time::Duration};

use httpcore::{
    ConnectionPool, ErrorKind, RequestExt, Timeouts, backend::NetworkBackend, error::TimeoutKind,
    http, mock::MockNet,
};

const SECOND: Duration = Duration::from_secs(1);

/// A network whose server answers each request after a second.
fn slow() -> MockNet {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        while stream.read_head().await.is_ok() {
            stream.sleep(SECOND).await;
            if stream
                .write_all("HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .is_err()
            {
                return;
            }
        }
    });
    net
}

/// Sends two requests at the same time, and returns the kind of the second one's error.
fn second_of_two(net: &MockNet, pool: &ConnectionPool) -> Option<ErrorKind> {
    net.run(async {
        let mut first = pool.get("http://server.test/");
        let mut second = pool.get("http://server.test/");
        let mut outcomes = (None, None);
        std::future::poll_fn(|cx| {
            for (request, outcome) in [
                (&mut first, &mut outcomes.0),
                (&mut second, &mut outcomes.1),
            ] {
                if outcome.is_none()
                    && let std::task::Poll::Ready(result) = std::pin::Pin::new(request).poll(cx)
                {
                    *outcome = Some(result.err().map(|error| error.kind()));
                }
            }
            match outcomes {
                (Some(_), Some(_)) => std::task::Poll::Ready(()),
                _ => std::task::Poll::Pending,
            }
        })
        .await;
        assert_eq!(outcomes.0, Some(None));
        outcomes.1.unwrap()
    })
}

#[test]
fn settings_add_up_in_either_order() {
    for configured_last in [true, false] {
        let net = slow();
        let builder = ConnectionPool::builder();
        let builder = if configured_last {
            builder
                .max_connections(1)
                .configure_pool(|pool| pool.max_pending_requests = Some(0))
        } else {
            builder
                .configure_pool(|pool| pool.max_pending_requests = Some(0))
                .max_connections(1)
        };
        let pool = builder.build(net.clone());
        assert_eq!(second_of_two(&net, &pool), Some(ErrorKind::QueueFull));
    }
}

#[test]
fn a_limit_can_be_taken_away() {
    let net = slow();
    let pool = ConnectionPool::builder()
        .max_connections(1)
        .max_connections(None)
        .max_pending_requests(0)
        .build(net.clone());
    assert_eq!(second_of_two(&net, &pool), None);
    assert_eq!(net.elapsed(), SECOND);
}

#[test]
fn a_backend_is_taken_by_value_and_shared() {
    let net = slow();
    let shared: Arc<dyn NetworkBackend> = Arc::new(net.clone());
    for pool in [
        ConnectionPool::new(net.clone()),
        ConnectionPool::new(Arc::new(net.clone())),
        ConnectionPool::new(shared.clone()),
    ] {
        let response = net.run(pool.get("http://server.test/")).unwrap();
        assert_eq!(response.status(), 204);
    }
    // No pool that has been dropped keeps it.
    net.run_until_idle();
    assert_eq!(Arc::strong_count(&shared), 1);
}

#[test]
fn a_pools_clock_is_its_backends() {
    let net = MockNet::new();
    let pool = ConnectionPool::new(net.clone());
    let hour = 3600 * SECOND;
    net.run(async {
        let start = pool.now();
        pool.sleep(hour).await;
        assert_eq!(pool.now() - start, hour);
        assert_eq!(pool.timeout(SECOND, pending::<()>()).await, None);
        assert_eq!(pool.timeout(SECOND, async { 5 }).await, Some(5));
    });
    assert_eq!(net.elapsed(), hour + SECOND);
}

#[test]
fn options_on_a_requests_builder_reach_the_pool() {
    let net = slow();
    let pool = ConnectionPool::new(net.clone());
    let request = http::Request::get("http://server.test/")
        .timeouts(Timeouts::default().with_read(SECOND / 2))
        .body(())
        .unwrap();
    let error = net.run(pool.request(request)).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read));
    // Two partitions share no connection.
    for partition in ["one", "two", "one"] {
        let request = http::Request::get("http://server.test/")
            .partition(partition)
            .body(())
            .unwrap();
        net.run(pool.request(request)).unwrap();
    }
    assert_eq!(pool.status().connections.len(), 2);
}

#[test]
fn an_invalid_url_fails_its_request_and_names_the_place() {
    let net = MockNet::new();
    let pool = ConnectionPool::new(net.clone());
    let error = net.run(pool.get("http://server.test/a b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUrl);
    assert!(error.to_string().contains("at byte 20"), "{error}");
}
