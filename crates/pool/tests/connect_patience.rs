//! Attempts to connect that hang, and requests that wait for the attempt of another.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

mod fake;

use std::{
    future::Future,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    time::Duration,
};

use fake::{Peer, SECOND, fetch, get, negotiated, pool, route};
use httpcore_core_primitives::{ErrorKind, TimeoutKind, Timeouts};
use httpcore_net_mock::MockNet;
use httpcore_pool::{Pool, Route};

const MILLISECOND: Duration = Duration::from_millis(1);

type Outcomes = Arc<Mutex<Vec<(usize, Duration, Option<ErrorKind>)>>>;

/// Sends a request in a task of its own, and notes when and how it ended.
fn spawn(net: &MockNet, pool: &Pool, route: Route, limits: Timeouts, n: usize, out: &Outcomes) {
    let (pool, out, clock) = (pool.clone(), out.clone(), net.clone());
    net.spawn("request", async move {
        let mut request = get("/");
        request.extensions_mut().insert(limits);
        let outcome = fetch(&pool, &route, request).await;
        let kind = outcome.err().map(|error| error.kind());
        out.lock().unwrap().push((n, clock.elapsed(), kind));
    });
}

/// The first attempt to connect never ends; others take 100 ms, and answers as long.
fn first_hangs(peer: &Peer) {
    *peer.dial.lock().unwrap() = 100 * MILLISECOND;
    *peer.answer.lock().unwrap() = 50 * MILLISECOND;
    peer.first_dials_hang.store(1, SeqCst);
}

#[test]
fn hanging_attempt_does_not_block_sequential_requests_of_its_origin() {
    for (admits, way) in [(0, route(0)), (0, negotiated(0)), (10, negotiated(0))] {
        let net = MockNet::new();
        let (pool, peer) = pool(&net, |_| {});
        peer.admits.store(admits, SeqCst);
        first_hangs(&peer);
        let total = Timeouts::default().with_total(SECOND);
        let mut failed = 0;
        for _ in 0..10 {
            let mut request = get("/");
            request.extensions_mut().insert(total);
            let outcome = net.run(fetch(&pool, &way, request));
            failed += usize::from(outcome.is_err());
        }
        assert_eq!(failed, 1, "{way}, admits {admits}");
        assert_eq!(peer.dials(), 2);
        net.clear();
    }
}

#[test]
fn an_attempt_that_hangs_does_not_block_requests_beside_it() {
    for admits in [0, 10] {
        let net = MockNet::new();
        let (pool, peer) = pool(&net, |_| {});
        peer.admits.store(admits, SeqCst);
        first_hangs(&peer);
        let out = Outcomes::default();
        for n in 0..4 {
            let total = Timeouts::default().with_total(SECOND);
            spawn(&net, &pool, negotiated(0), total, n, &out);
        }
        net.advance(5 * SECOND);
        // A second attempt begins after the patience, and shows the protocol; whichever connection
        // is ready first serves all.
        let failed: Vec<_> = out
            .lock()
            .unwrap()
            .iter()
            .filter(|(.., kind)| kind.is_some())
            .cloned()
            .collect();
        assert_eq!(failed, [], "admits {admits}");
        net.clear();
    }
}

#[test]
fn at_most_one_more_attempt_begins_for_each_patience() {
    for (total, way) in [
        (SECOND / 10, route(0)),
        (SECOND / 10, negotiated(0)),
        (3 * SECOND, negotiated(0)),
    ] {
        let net = MockNet::new();
        let (pool, peer) = pool(&net, |_| {});
        peer.first_dials_hang.store(usize::MAX, SeqCst);
        for _ in 0..100 {
            let mut request = get("/");
            let limits = Timeouts::default().with_total(total);
            request.extensions_mut().insert(limits);
            net.run(fetch(&pool, &way, request)).unwrap_err();
        }
        let time = net.elapsed().as_millis() as usize;
        let bound = 2 + time / 500;
        assert!(
            peer.dials() <= bound,
            "{} attempts in {time} ms, {way}",
            peer.dials()
        );
        net.clear();
    }
}

#[test]
fn patience_begins_attempts_within_the_limits_only() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(2));
    peer.first_dials_hang.store(usize::MAX, SeqCst);
    let out = Outcomes::default();
    for n in 0..8 {
        let limits = Timeouts::default();
        spawn(&net, &pool, negotiated(0), limits, n, &out);
    }
    net.advance(10 * SECOND);
    assert_eq!(peer.dials_running.load(SeqCst), 2);
    assert_eq!(peer.dials(), 2);
    net.clear();
}

#[test]
fn attempt_of_a_dropped_request_is_left_to_the_next_within_the_patience() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    *peer.dial.lock().unwrap() = 300 * MILLISECOND;
    *peer.answer.lock().unwrap() = Duration::ZERO;
    let way = route(0);
    let mut gone = Box::pin(fetch(&pool, &way, get("/")));
    net.run(std::future::poll_fn(|cx| {
        assert!(gone.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    }));
    net.advance(100 * MILLISECOND);
    drop(gone);
    net.run(fetch(&pool, &route(0), get("/"))).unwrap();
    assert_eq!(peer.dials(), 1);
    net.clear();
}

#[test]
fn the_limits_of_a_request_end_its_wait_for_the_attempt_of_another() {
    for patience in [None, Some(SECOND / 2)] {
        let net = MockNet::new();
        let (pool, peer) = pool(&net, |config| {
            config.max_connections = Some(1);
            config.connect_patience = patience;
        });
        peer.first_dials_hang.store(usize::MAX, SeqCst);
        let out = Outcomes::default();
        spawn(&net, &pool, negotiated(0), Timeouts::none(), 0, &out);
        net.advance(Duration::from_millis(1));
        let limits = Timeouts::none()
            .with_connect(SECOND / 4)
            .with_tls(SECOND / 8);
        spawn(&net, &pool, negotiated(0), limits, 1, &out);
        net.advance(5 * SECOND);
        let at = MILLISECOND + 3 * SECOND / 8;
        let kind = ErrorKind::Timeout(TimeoutKind::Connect);
        assert_eq!(*out.lock().unwrap(), [(1, at, Some(kind))]);
        net.clear();
    }
}

#[test]
fn the_attempt_of_another_goes_on_when_a_request_gives_up() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.connect_patience = None);
    *peer.dial.lock().unwrap() = 10 * SECOND;
    peer.admits.store(5, SeqCst);
    let out = Outcomes::default();
    spawn(&net, &pool, negotiated(0), Timeouts::none(), 0, &out);
    let limits = Timeouts::none().with_connect(SECOND);
    net.run_until_idle();
    spawn(&net, &pool, negotiated(0), limits, 1, &out);
    net.advance(60 * SECOND);
    let late = ErrorKind::Timeout(TimeoutKind::Connect);
    assert_eq!(
        *out.lock().unwrap(),
        [(1, SECOND, Some(late)), (0, 12 * SECOND, None)]
    );
    assert_eq!(peer.dials(), 1);
}

#[test]
fn a_patience_of_zero_gives_each_request_an_attempt_of_its_own() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| {
        config.connect_patience = Some(Duration::ZERO)
    });
    peer.admits.store(5, SeqCst);
    let out = Outcomes::default();
    for n in 0..3 {
        let limits = Timeouts::default();
        spawn(&net, &pool, negotiated(0), limits, n, &out);
    }
    net.advance(20 * SECOND);
    assert_eq!(peer.dials(), 3);
    assert!(out.lock().unwrap().iter().all(|(.., kind)| kind.is_none()));
}
