//! Reuse of connections, and what ends them. With fake connections in virtual time.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

mod fake;

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use fake::{HOUR, SECOND, fetch, get, is_waiting, negotiated, pool, post, route, turn, with_use};
use httpcore_core_primitives::CloseReason;
use httpcore_core_primitives::{ConnectionPolicy, KeepAliveHints};
use httpcore_net_mock::MockNet;

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    net.run(async {
        for _ in 0..3 {
            fetch(&pool, &route(0), get("/")).await.unwrap();
        }
    });
    assert_eq!((peer.dials(), peer.alive()), (1, 1));
    let counters = pool.stats();
    assert_eq!((counters.opened, counters.reused), (1, 2));
    assert_eq!(
        format!("{:#}", pool.status()),
        "<Pool [Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]>\n  \
         <http://host0:80, HTTP/1.1, idle for 0.0s, 3 requests, age 6.0s>"
    );
}

#[test]
fn idle_connection_is_closed_after_its_timeout_and_no_task_is_left() {
    let net = MockNet::new();
    let hour = Duration::from_secs(3600);
    let (pool, peer) = pool(&net, |config| {
        config.idle_timeout = Some(hour);
        config.max_lifetime = None;
    });
    net.run(async {
        fetch(&pool, &route(0), get("/")).await.unwrap();
    });
    net.advance(hour - SECOND);
    assert_eq!(peer.alive(), 1);
    net.advance(SECOND);
    assert_eq!(peer.alive(), 0);
    assert_eq!(pool.stats().closed_for(CloseReason::IdleTimeout), 1);
    let census = net.live_counts();
    assert_eq!((census.tasks, census.timers), (0, 0), "{}", net.report());
}

#[test]
fn a_connection_used_now_and_then_stays_and_expires_after_its_last_use() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.idle_timeout = Some(10 * SECOND));
    net.run(async {
        for _ in 0..10 {
            fetch(&pool, &route(0), get("/")).await.unwrap();
            net.sleep(9 * SECOND).await;
        }
        assert_eq!(peer.dials(), 1);
        net.sleep(SECOND).await;
        turn().await;
        assert_eq!(peer.alive(), 0);
    });
    assert_eq!(net.live_counts().tasks, 0);
}

#[test]
fn a_connection_that_is_too_old_is_not_used_again() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_lifetime = Some(60 * SECOND));
    net.run(async {
        for _ in 0..30 {
            fetch(&pool, &route(0), get("/")).await.unwrap();
            net.sleep(SECOND).await;
        }
    });
    assert_eq!(peer.dials(), 2);
    assert_eq!(pool.stats().closed_for(CloseReason::MaxLifetime), 1);
}

#[test]
fn a_close_by_the_server_is_noticed_without_a_request() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.idle_timeout = None);
    net.run(async {
        fetch(&pool, &route(0), get("/")).await.unwrap();
        fetch(&pool, &route(1), get("/")).await.unwrap();
        turn().await;
        peer.close(0);
        turn().await;
        assert_eq!(peer.alive(), 1);
        assert_eq!(pool.stats().closed_for(CloseReason::PeerClosed), 1);
        fetch(&pool, &route(0), get("/")).await.unwrap();
    });
    assert_eq!(pool.stats().retried, 0);
}

#[test]
fn close_is_noticed_on_a_connection_that_never_served_a_request() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.idle_timeout = None);
    *peer.dial.lock().unwrap() = SECOND;
    net.run(async {
        let mut request = Box::pin(pool.send(route(0), get("/")));
        assert!(is_waiting(&mut request).await);
        drop(request);
    });
    net.advance(SECOND);
    assert_eq!((pool.status().idle_connections, peer.alive()), (1, 1));
    net.run(async {
        peer.close(0);
        turn().await;
    });
    assert_eq!((pool.status().idle_connections, peer.alive()), (0, 0));
    assert_eq!(pool.stats().closed_for(CloseReason::PeerClosed), 1);
}

#[test]
fn a_dropped_response_closes_its_connection_and_the_next_request_is_served() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(1));
    net.run(async {
        let unread = pool.send(route(0), get("/unread")).await.unwrap();
        let mut next = Box::pin(pool.send(route(0), get("/next")));
        assert!(is_waiting(&mut next).await);
        drop(unread);
        assert_eq!(peer.alive(), 0);
        next.await.unwrap();
    });
    assert_eq!(peer.dials(), 2);
}

#[test]
fn connection_returned_after_a_long_exchange_has_the_usual_idle_timeout() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.idle_timeout = Some(4 * SECOND));
    net.run(async {
        fetch(&pool, &route(0), get("/")).await.unwrap(); // starts the maintenance task
        *peer.answer.lock().unwrap() = 10 * SECOND; // which then finds nothing idle, and sleeps for long
        fetch(&pool, &route(0), get("/")).await.unwrap();
    });
    assert_eq!((pool.status().idle_connections, peer.dials()), (1, 1));
    net.advance(4 * SECOND);
    assert_eq!((pool.status().idle_connections, peer.alive()), (0, 0));
}

#[test]
fn a_request_that_is_granted_a_closed_connection_is_sent_on_another() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    for (admits, way) in [(0, route(0)), (9, negotiated(1))] {
        peer.admits.store(admits, SeqCst);
        net.run(fetch(&pool, &way, get("/"))).unwrap();
        let dials = peer.dials();
        // No waker is called: the news has arrived, and no task has run since.
        peer.close_unnoticed(dials - 1);
        net.run(async {
            let response = pool.send(way.clone(), post("/")).await.unwrap();
            drop(response);
        });
        assert_eq!(peer.dials(), dials + 1);
        assert_eq!(pool.stats().retried, 0);
    }
    assert_eq!(pool.stats().closed_for(CloseReason::PeerClosed), 2);
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
    assert_eq!(pool.stats().closed_for(CloseReason::IdleTimeout), 1);
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
fn a_connection_is_closed_after_the_last_request_its_server_announced() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    net.run(async {
        for more in [2, 1, 0] {
            *peer.hints.lock().unwrap() = KeepAliveHints::default().with_max_requests(more);
            fetch(&pool, &route(0), get("/")).await.unwrap();
        }
    });
    assert_eq!((peer.dials(), peer.alive()), (1, 0));
    assert_eq!(pool.stats().closed_for(CloseReason::KeepAliveExhausted), 1);
}

#[test]
fn a_request_may_need_a_new_connection_and_be_the_last_on_one() {
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
