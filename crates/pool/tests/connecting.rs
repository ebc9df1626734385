//! Attempts to connect: failures, retries, preemption. With fake connections in virtual time.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

mod fake;

use std::{future::poll_fn, sync::atomic::Ordering::SeqCst, task::Poll, time::Duration};

use fake::{Ended, SECOND, fetch, get, pool, route, spawn};
use httpcore_core_primitives::{ErrorKind, Timeouts};
use httpcore_net_mock::MockNet;

#[test]
fn a_failed_attempt_to_connect_is_the_error_of_its_request() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    peer.dials_fail.store(true, SeqCst);
    net.run(async {
        let error = fetch(&pool, &route(0), get("/")).await.unwrap_err();
        assert!(error.is_connect() && error.is_retryable());
        assert!(!error.connection_reused());
    });
    assert_eq!(pool.stats().dials_failed, 1);
    assert_eq!(pool.status().connections.len(), 0);
    assert_eq!(net.live_counts().tasks, 0);
}

#[test]
fn an_origin_that_never_answers_cannot_hold_every_slot() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| {
        config.max_connections = Some(4);
        config.timeouts = Timeouts::none();
    });
    *peer.hanging.lock().unwrap() = Some("host0");
    let told = Ended::default();
    for _ in 0..20 {
        spawn(&net, &pool, 0, "hangs", &told);
    }
    net.advance(SECOND);
    for _ in 0..3 {
        spawn(&net, &pool, 1, "works", &told);
    }
    net.advance(60 * SECOND);
    let told = told.lock().unwrap().clone();
    let ends: Vec<_> = told
        .iter()
        .map(|(name, at, kind)| (&**name, *at, *kind))
        .collect();
    assert_eq!(ends.len(), 3, "{ends:?}");
    for (name, at, kind) in ends {
        // Five seconds of patience, and then a dial and an answer, one after the other at worst.
        assert_eq!((name, kind), ("works", None));
        assert!(at < 20 * SECOND, "{at:?}");
    }
    assert!(pool.stats().dials_abandoned > 0);
    net.clear();
}

#[test]
fn a_slow_attempt_is_not_preempted_while_no_other_route_waits() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(1));
    *peer.dial.lock().unwrap() = 29 * SECOND;
    let told = Ended::default();
    spawn(&net, &pool, 0, "one", &told);
    spawn(&net, &pool, 0, "two", &told);
    net.advance(60 * SECOND);
    assert_eq!(peer.dials(), 1);
    assert_eq!(told.lock().unwrap().len(), 2);
}

#[test]
fn failed_attempts_are_repeated_at_once_and_then_after_growing_pauses() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.connect_retries = 4);
    peer.first_dials_fail.store(4, SeqCst);
    net.run(async {
        fetch(&pool, &route(0), get("/")).await.unwrap();
    });
    // Each attempt takes a second; the pauses are 0, 0.5, 1 and 2 s.
    let at: Vec<_> = peer
        .dialled_at
        .lock()
        .unwrap()
        .iter()
        .map(Duration::as_millis)
        .collect();
    assert_eq!(at, [0, 1000, 2500, 4500, 7500]);
    let counters = pool.stats();
    assert_eq!(
        (
            counters.dials,
            counters.dials_retried,
            counters.dials_failed
        ),
        (1, 4, 0)
    );
}

#[test]
fn the_failure_is_returned_after_the_last_retry_and_without_retries_at_once() {
    for (retries, dials) in [(0, 1), (2, 3)] {
        let net = MockNet::new();
        let (pool, peer) = pool(&net, |config| config.connect_retries = retries);
        peer.dials_fail.store(true, SeqCst);
        net.run(async {
            let error = fetch(&pool, &route(0), get("/")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connect);
        });
        assert_eq!(peer.dials(), dials);
        assert_eq!(pool.stats().dials_failed, 1);
    }
}

#[test]
fn no_attempt_is_repeated_for_a_request_that_was_dropped() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.connect_retries = 10);
    peer.dials_fail.store(true, SeqCst);
    net.run(async {
        let limit = Timeouts::none().with_total(Duration::from_millis(1700));
        let mut request = get("/");
        request.extensions_mut().insert(limit);
        fetch(&pool, &route(0), request).await.unwrap_err();
        net.sleep(60 * SECOND).await;
    });
    assert_eq!(peer.dials(), 2);
    let census = net.live_counts();
    assert_eq!((census.tasks, census.timers), (0, 0), "{}", net.report());
}

#[test]
fn a_pool_dropped_between_two_attempts_leaves_no_task() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.connect_retries = 10);
    peer.dials_fail.store(true, SeqCst);
    let mut sending = Box::pin(pool.send(route(0), get("/")));
    net.run(async {
        poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_pending())).await;
        // Into the first pause.
        net.sleep(Duration::from_millis(2200)).await;
    });
    assert_eq!(net.live_counts().tasks, 1);
    drop(sending);
    drop(pool);
    net.run_until_idle();
    let census = net.live_counts();
    assert_eq!((census.tasks, census.timers), (0, 0), "{}", net.report());
}
