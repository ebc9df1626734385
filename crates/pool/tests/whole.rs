//! Hints, patience, retries of connects, draining and the settings of single requests, with fake
//! connections in virtual time.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

use std::{
    future::{Future, poll_fn},
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    task::Poll,
    time::Duration,
};

use httpcore_core_primitives::{
    ConnectionPolicy, Error, ErrorKind, KeepAliveHints, Request, Timeouts,
};
use httpcore_net_mock::MockNet;
use httpcore_pool::{ConnectionCloseReason, Pool};

mod fake;
use fake::{SECOND, fetch, get, negotiated, pool, route, turn};

const HOUR: Duration = Duration::from_secs(3600);

type Told = Arc<Mutex<Vec<(String, Duration, Option<ErrorKind>)>>>;

/// Sends a request to host `n` in a task, which notes when it has ended and how.
fn spawn(net: &MockNet, pool: &Pool, n: usize, name: &str, told: &Told) {
    let (net_, pool, told, name) = (net.clone(), pool.clone(), told.clone(), name.to_owned());
    net.spawn("request", async move {
        let outcome = fetch(&pool, &route(n), get(&format!("/{name}"))).await;
        let kind = outcome.err().map(|error: Error| error.kind());
        told.lock().unwrap().push((name, net_.elapsed(), kind));
    });
}

fn with_use(mut request: Request, wish: ConnectionPolicy) -> Request {
    request.extensions_mut().insert(wish);
    request
}

#[test]
fn a_connection_is_retired_a_second_before_its_server_would_close_it() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.idle_timeout = Some(HOUR));
    *peer.hints.lock().unwrap() = KeepAliveHints::default().with_timeout(5 * SECOND);
    net.run(async {
        fetch(&pool, &route(0), get("/")).await.unwrap();
    });
    net.advance(4 * SECOND - Duration::from_millis(1));
    assert_eq!(peer.alive(), 1);
    net.advance(Duration::from_millis(1));
    assert_eq!(peer.alive(), 0);
    assert_eq!(
        pool.stats().closed_for(ConnectionCloseReason::IdleTimeout),
        1
    );
    assert_eq!(net.live_counts().tasks, 0, "{}", net.report());
}

#[test]
fn a_hint_of_one_second_leaves_half_of_it_and_one_of_none_leaves_nothing() {
    for (hint, milliseconds) in [(1, 500), (0, 0)] {
        let net = MockNet::new();
        let (pool, peer) = pool(&net, |_| {});
        *peer.hints.lock().unwrap() = KeepAliveHints::default().with_timeout(hint * SECOND);
        net.run(async {
            fetch(&pool, &route(0), get("/")).await.unwrap();
            assert_eq!(peer.alive(), usize::from(milliseconds > 0));
            net.sleep(Duration::from_millis(milliseconds)).await;
            turn().await;
            assert_eq!(peer.alive(), 0);
        });
    }
}

#[test]
fn the_last_request_that_a_server_announces_is_the_last() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    net.run(async {
        for more in [2, 1, 0] {
            *peer.hints.lock().unwrap() = KeepAliveHints::default().with_max_requests(more);
            fetch(&pool, &route(0), get("/")).await.unwrap();
        }
    });
    assert_eq!((peer.dials(), peer.alive()), (1, 0));
    assert_eq!(
        pool.stats().closed_for(ConnectionCloseReason::PeerHinted),
        1
    );
}

#[test]
fn a_request_may_insist_on_a_new_connection_and_be_the_last_on_one() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.idle_timeout = None);
    net.run(async {
        fetch(&pool, &route(0), get("/")).await.unwrap();
        let fresh = ConnectionPolicy::default().with_new_connection();
        fetch(&pool, &route(0), with_use(get("/"), fresh))
            .await
            .unwrap();
        assert_eq!((peer.dials(), peer.alive()), (2, 2));
        let last = ConnectionPolicy::default().with_close_after();
        fetch(&pool, &route(0), with_use(get("/"), last))
            .await
            .unwrap();
        assert_eq!((peer.dials(), peer.alive()), (2, 1));
    });
}

#[test]
fn a_shared_connection_takes_nobody_after_the_one_who_was_to_be_the_last() {
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

#[test]
fn an_origin_that_never_answers_cannot_hold_every_place() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| {
        config.max_connections = Some(4);
        config.timeouts = Timeouts::none();
    });
    *peer.hanging.lock().unwrap() = Some("host0");
    let told = Told::default();
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
fn a_slow_connect_is_left_alone_while_nobody_else_waits() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(1));
    *peer.dial.lock().unwrap() = 29 * SECOND;
    let told = Told::default();
    spawn(&net, &pool, 0, "one", &told);
    spawn(&net, &pool, 0, "two", &told);
    net.advance(60 * SECOND);
    assert_eq!(peer.dials(), 1);
    assert_eq!(told.lock().unwrap().len(), 2);
}

#[test]
fn failed_connects_are_repeated_at_once_and_then_after_growing_pauses() {
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
fn after_the_last_retry_the_failure_is_told_and_without_retries_at_once() {
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
fn nobody_connects_again_for_a_request_that_has_gone() {
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
    let counts = net.live_counts();
    assert_eq!((counts.tasks, counts.timers), (0, 0), "{}", net.report());
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
    let counts = net.live_counts();
    assert_eq!((counts.tasks, counts.timers), (0, 0), "{}", net.report());
}

#[test]
fn draining_waits_for_all_that_has_come_and_refuses_what_comes() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(1));
    let told = Told::default();
    for name in ["one", "two"] {
        spawn(&net, &pool, 0, name, &told);
    }
    net.advance(SECOND);
    net.run(async {
        let mut draining = pool.drain(60 * SECOND);
        let waits =
            poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut draining).poll(cx).is_pending()));
        assert!(waits.await);
        assert!(pool.is_closed());
        let error = fetch(&pool, &route(0), get("/late")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PoolClosed);
        assert_eq!(draining.await.aborted, 0);
        // A dial, and two exchanges of two seconds.
        assert_eq!(net.elapsed(), 5 * SECOND);
    });
    net.run_until_idle();
    assert_eq!(peer.served(), ["/one", "/two"]);
    assert_eq!(peer.alive(), 0);
    assert_eq!(
        pool.stats().closed_for(ConnectionCloseReason::PoolClosed),
        1
    );
    let counts = net.live_counts();
    assert_eq!((counts.tasks, counts.timers), (0, 0), "{}", net.report());
}

#[test]
fn a_drain_ends_with_its_time_and_says_what_is_left() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(1));
    *peer.answer.lock().unwrap() = 20 * SECOND;
    let told = Told::default();
    for name in ["served", "refused"] {
        spawn(&net, &pool, 0, name, &told);
    }
    net.run(async {
        assert_eq!(pool.drain(3 * SECOND).await.aborted, 2);
        assert_eq!(net.elapsed(), 3 * SECOND);
    });
    net.advance(60 * SECOND);
    let told = told.lock().unwrap().clone();
    assert_eq!(
        told,
        [
            (
                "refused".to_owned(),
                3 * SECOND,
                Some(ErrorKind::PoolClosed)
            ),
            ("served".to_owned(), 41 * SECOND, None)
        ]
    );
    assert_eq!(peer.alive(), 0);
}

#[test]
fn an_empty_pool_drains_at_once_and_an_unpolled_drain_does_nothing() {
    let net = MockNet::new();
    let (pool, _peer) = pool(&net, |_| {});
    drop(pool.drain(SECOND));
    assert!(!pool.is_closed());
    net.run(async {
        fetch(&pool, &route(0), get("/")).await.unwrap();
        let begun = net.elapsed();
        assert_eq!(pool.drain(HOUR).await.aborted, 0);
        assert_eq!(net.elapsed(), begun);
    });
}

#[test]
fn a_drain_that_nobody_waits_for_goes_on_and_two_end_together() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    let told = Told::default();
    spawn(&net, &pool, 0, "one", &told);
    net.advance(SECOND);
    net.run(async {
        let mut given_up = pool.drain(HOUR);
        poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut given_up).poll(cx).is_pending())).await;
        drop(given_up);
        let (pool_, net_) = (pool.clone(), net.clone());
        net.spawn("another drain", async move {
            pool_.drain(HOUR).await;
            assert_eq!(net_.elapsed(), 3 * SECOND);
        });
        pool.drain(HOUR).await;
        assert_eq!(net.elapsed(), 3 * SECOND);
        turn().await;
    });
    assert_eq!(peer.alive(), 0);
    let counts = net.live_counts();
    assert_eq!((counts.tasks, counts.timers), (0, 0), "{}", net.report());
}
