//! Waiting for a connection: order, limits, time limits, what is counted. With fake connections in virtual time.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

mod fake;

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    time::Duration,
};

use fake::{SECOND, fetch, get, is_waiting, negotiated, pool, route, turn, with_timeouts};
use httpcore_core_primitives::{ErrorKind, ErrorPhase, TimeoutKind, Timeouts};
use httpcore_net_mock::MockNet;

#[test]
fn requests_beyond_the_limit_wait_in_order() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(2));
    for n in 0..8 {
        let pool = pool.clone();
        net.spawn("request", async move {
            fetch(&pool, &route(0), get(&format!("/{n}")))
                .await
                .unwrap();
        });
    }
    net.advance(Duration::from_secs(20));
    let served = peer.served();
    assert_eq!(served, ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7"]);
    assert_eq!(peer.most_alive.load(SeqCst), 2);
}

#[test]
fn waiting_for_a_slot_ends_with_the_pool_timeout_to_the_instant() {
    let net = MockNet::new();
    let (pool, _peer) = pool(&net, |config| config.max_connections = Some(1));
    net.run(async {
        let _busy = pool.send(route(0), get("/busy")).await.unwrap();
        let begun = net.elapsed();
        let limit = Timeouts::none().with_acquire(3 * SECOND);
        let error = pool
            .send(route(0), with_timeouts(get("/late"), limit))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Acquire));
        assert_eq!(error.phase(), ErrorPhase::Acquire);
        assert_eq!(error.attempts(), 1);
        assert_eq!(net.elapsed() - begun, 3 * SECOND);
    });
    assert_eq!(pool.status().queued_requests, 0);
}

#[test]
fn the_pool_timeout_does_not_count_while_a_connection_is_being_made() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    *peer.dial.lock().unwrap() = 20 * SECOND;
    net.run(async {
        let limit = Timeouts::none().with_acquire(SECOND);
        let request = with_timeouts(get("/"), limit);
        fetch(&pool, &route(0), request).await.unwrap();
    });
}

#[test]
fn the_pool_timeout_does_not_count_while_one_attempt_finds_out_the_protocol() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.connect_patience = None);
    peer.admits.store(10, SeqCst);
    *peer.dial.lock().unwrap() = 20 * SECOND;
    for n in 0..3 {
        let pool = pool.clone();
        net.spawn("request", async move {
            let limit = Timeouts::none().with_acquire(SECOND);
            let request = with_timeouts(get(&format!("/{n}")), limit);
            fetch(&pool, &negotiated(0), request).await.unwrap();
        });
    }
    net.advance(60 * SECOND);
    assert_eq!(peer.served(), ["/0", "/1", "/2"]);
    assert_eq!(peer.dials(), 1);
}

#[test]
fn acquire_timeout_counts_again_when_the_connection_goes_to_another_request() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| {
        config.max_connections = Some(2);
        config.connect_patience = None;
    });
    // Two dials for two requests on two routes; the first of the second route comes as a probe
    // that turns out exclusive, and leaves the third request without a place.
    *peer.dial.lock().unwrap() = 5 * SECOND;
    *peer.answer.lock().unwrap() = 100 * SECOND;
    let kinds: Arc<Mutex<Vec<_>>> = Arc::default();
    let limit = Timeouts::none().with_acquire(SECOND);
    let ways = [route(0), negotiated(1), negotiated(1)];
    for (n, way) in ways.into_iter().enumerate() {
        let (pool, kinds, net_) = (pool.clone(), kinds.clone(), net.clone());
        net.spawn("request", async move {
            let request = with_timeouts(get("/"), limit);
            let failed = fetch(&pool, &way, request)
                .await
                .map_err(|error| error.kind());
            kinds
                .lock()
                .unwrap()
                .push((n, net_.elapsed(), failed.err()));
        });
    }
    net.advance(60 * SECOND);
    let expected = (
        2,
        5 * SECOND,
        Some(ErrorKind::Timeout(TimeoutKind::Acquire)),
    );
    assert_eq!(*kinds.lock().unwrap(), [expected]);
    net.clear();
}

#[test]
fn the_total_timeout_covers_the_queue_and_the_attempt_to_connect() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(1));
    *peer.dial.lock().unwrap() = 20 * SECOND;
    let limit = Timeouts::none().with_total(2 * SECOND);
    net.run(async {
        let error = fetch(&pool, &route(0), with_timeouts(get("/"), limit)).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Total));
        assert_eq!(error.phase(), ErrorPhase::Connect);
        assert!(error.is_connect());
        assert_eq!(net.elapsed(), 2 * SECOND);
        // The dial goes on, and the connection lies idle.
        net.sleep(18 * SECOND).await;
        turn().await;
        assert_eq!(pool.status().idle_connections, 1);
        let _busy = pool.send(route(0), get("/busy")).await.unwrap();
        let error = fetch(&pool, &route(0), with_timeouts(get("/"), limit)).await;
        assert_eq!(error.unwrap_err().phase(), ErrorPhase::Acquire);
    });
    assert_eq!(peer.dials(), 1);
}

#[test]
fn a_request_beyond_the_limit_of_the_queue_fails_at_once() {
    let net = MockNet::new();
    let (pool, _peer) = pool(&net, |config| {
        config.max_connections = Some(1);
        config.max_pending_requests = Some(1);
    });
    net.run(async {
        let _busy = pool.send(route(0), get("/busy")).await.unwrap();
        let mut waits = Box::pin(pool.send(route(0), get("/waits")));
        assert!(is_waiting(&mut waits).await);
        let error = pool.send(route(0), get("/")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueueFull);
        assert_eq!(pool.status().queued_requests, 1);
    });
}

#[test]
fn a_request_is_polled_only_when_something_concerns_it() {
    let net = MockNet::new();
    let (pool, _peer) = pool(&net, |config| config.max_connections = Some(1));
    net.run(async {
        let busy = pool.send(route(0), get("/busy")).await.unwrap();
        let mut waits = Box::pin(pool.send(route(0), get("/waits")));
        let mut polls = 0;
        let counted = poll_fn(|cx| {
            polls += 1;
            waits.as_mut().poll(cx)
        });
        net.spawn("busy", async move {
            busy.into_body().bytes(100).await.unwrap();
        });
        counted.await.unwrap();
        assert_eq!(polls, 3, "once to wait, once granted, once answered");
    });
}

#[test]
fn the_future_is_send_and_small() {
    fn crosses<T: Send + 'static>(_: &T) {}
    let net = MockNet::new();
    let (pool, _peer) = pool(&net, |_| {});
    let sending = pool.send(route(0), get("/"));
    crosses(&sending);
    assert!(size_of_val(&sending) <= 1024, "{}", size_of_val(&sending));
}

#[test]
fn queue_time_ends_when_an_attempt_to_connect_begins() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(1));
    *peer.dial.lock().unwrap() = 10 * SECOND;
    for n in 0..2 {
        let pool = pool.clone();
        net.spawn("request", async move {
            fetch(&pool, &route(n), get("/")).await.unwrap();
        });
    }
    net.advance(60 * SECOND);
    // The second waits for 5 s, and the first again while the second has the slot.
    let waited = pool.stats().queue_time;
    assert!(waited <= 5 * SECOND, "{waited:?}");
}
