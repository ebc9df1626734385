//! Requests that are sent again. With fake connections in virtual time.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

mod fake;

use std::sync::atomic::Ordering::SeqCst;

use fake::{fetch, get, pool, post, route};
use httpcore_core_primitives::{ErrorKind, RequestSent};
use httpcore_net_mock::MockNet;
use httpcore_pool::Retry;

#[test]
fn a_request_that_meets_a_dying_connection_is_sent_once_more_on_a_new_one() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    net.run(async {
        // Two idle connections, both of which die unheard.
        let one = pool.send(route(0), get("/")).await.unwrap();
        let two = pool.send(route(0), get("/")).await.unwrap();
        one.into_body().bytes(100).await.unwrap();
        two.into_body().bytes(100).await.unwrap();
        peer.close_quietly(0);
        peer.close_quietly(1);
        fetch(&pool, &route(0), get("/again")).await.unwrap();
    });
    assert_eq!(peer.dials(), 3, "the second attempt was made on a new one");
    assert_eq!(pool.stats().retried, 1);
    assert_eq!(peer.served(), ["/", "/", "/again"]);
}

#[test]
fn a_request_which_is_not_idempotent_is_not_sent_twice_once_it_was_sent() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    net.run(async {
        fetch(&pool, &route(0), get("/")).await.unwrap();
        peer.close_quietly(0);
        let error = fetch(&pool, &route(0), post("/buy")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionClosed);
        assert_eq!(error.sent(), RequestSent::Full);
        assert!(error.connection_reused());
        assert_eq!(error.attempts(), 1);
    });
    assert_eq!(pool.stats().retried, 0);
    assert_eq!(pool.status().connections.len(), 0);
}

#[test]
fn an_error_says_that_it_is_of_the_second_attempt() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    net.run(async {
        fetch(&pool, &route(0), get("/")).await.unwrap();
        peer.close_quietly(0);
        peer.dials_fail.store(true, SeqCst);
        let error = fetch(&pool, &route(0), get("/")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert_eq!(error.attempts(), 2);
    });
}

#[test]
fn nothing_is_sent_twice_without_retries() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.retry = Retry::Never);
    net.run(async {
        fetch(&pool, &route(0), get("/")).await.unwrap();
        peer.close_quietly(0);
        let error = fetch(&pool, &route(0), get("/")).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.attempts()),
            (ErrorKind::ConnectionClosed, 1)
        );
    });
}
