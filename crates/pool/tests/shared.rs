//! Connections that carry many exchanges at once. With fake connections in virtual time.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

mod fake;

use std::sync::atomic::Ordering::SeqCst;

use fake::{SECOND, fetch, get, negotiated, pool, turn, with_use};
use httpcore_core_primitives::CloseReason;
use httpcore_core_primitives::ConnectionPolicy;
use httpcore_net_mock::MockNet;

#[test]
fn a_shared_connection_serves_as_many_as_it_admits() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.connect_patience = None);
    peer.admits.store(3, SeqCst);
    for n in 0..6 {
        let pool = pool.clone();
        net.spawn("request", async move {
            fetch(&pool, &negotiated(0), get(&format!("/{n}")))
                .await
                .unwrap();
        });
    }
    // At one second the connection is there and three are on it; the other three wait for the
    // second one, which comes at the next second.
    net.advance(SECOND + SECOND / 2);
    assert_eq!(peer.exchanges.load(SeqCst), 3);
    assert_eq!(pool.status().queued_requests, 3);
    net.advance(20 * SECOND);
    assert_eq!(peer.served().len(), 6);
    assert_eq!(peer.dials(), 2);
}

#[test]
fn a_shared_connection_that_is_retired_finishes_what_it_has() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.idle_timeout = None);
    peer.admits.store(3, SeqCst);
    net.run(async {
        let old = pool.send(negotiated(0), get("/old")).await.unwrap();
        peer.admit(0, 0);
        turn().await;
        fetch(&pool, &negotiated(0), get("/new")).await.unwrap();
        assert_eq!((peer.dials(), peer.alive()), (2, 2));
        old.into_body().bytes(100).await.unwrap();
        assert_eq!(peer.alive(), 1);
        assert_eq!(pool.stats().closed_for(CloseReason::StreamsClosed), 1);
        // An idle one, too, is given up as soon as it says so.
        peer.admit(1, 0);
        turn().await;
        assert_eq!(peer.alive(), 0);
    });
    assert_eq!(net.live_counts().tasks, 0);
}

#[test]
fn an_idle_shared_connection_expires() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    peer.admits.store(3, SeqCst);
    net.run(async {
        fetch(&pool, &negotiated(0), get("/")).await.unwrap();
    });
    net.advance(4 * SECOND);
    assert_eq!(peer.alive(), 0);
    assert_eq!(net.live_counts().tasks, 0);
}

#[test]
fn a_shared_connection_takes_no_request_after_the_last_one() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    peer.admits.store(10, SeqCst);
    net.run(async {
        fetch(&pool, &negotiated(0), get("/")).await.unwrap();
        let last = ConnectionPolicy::default().with_close_after();
        let response = pool
            .send(negotiated(0), with_use(get("/"), last))
            .await
            .unwrap();
        fetch(&pool, &negotiated(0), get("/")).await.unwrap();
        assert_eq!((peer.dials(), peer.alive()), (2, 2));
        response.into_body().bytes(100).await.unwrap();
        assert_eq!(peer.alive(), 1);
    });
}
