//! Limits and durations at their ends: zero, one nanosecond, the maximum; and servers that admit nothing.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

mod fake;

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use fake::{Peer, SECOND, fetch, get, negotiated, pool, route};
use httpcore_core_primitives::{ConnectionPolicy, ErrorKind, TimeoutKind, Timeouts};
use httpcore_net_mock::MockNet;
use httpcore_pool::PoolConfig;

/// Sends `count` requests one after the other, and then `count` at once. Returns how many connections
/// were made.
fn connections(
    way: usize,
    admits: usize,
    count: usize,
    set: impl FnOnce(&mut PoolConfig),
) -> [usize; 2] {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, set);
    peer.admits.store(admits, SeqCst);
    *peer.dial.lock().unwrap() = SECOND / 10;
    *peer.answer.lock().unwrap() = SECOND / 10;
    let route = if admits > 0 {
        negotiated(way)
    } else {
        route(way)
    };
    for _ in 0..count {
        net.run(fetch(&pool, &route, get("/"))).unwrap();
    }
    let one_by_one = peer.dials();
    for _ in 0..count {
        let (pool, route) = (pool.clone(), route.clone());
        net.spawn("request", async move {
            fetch(&pool, &route, get("/")).await.unwrap();
        });
    }
    net.advance(20 * SECOND);
    assert_eq!(peer.served().len(), 2 * count, "all are served");
    assert_eq!(pool.status().queued_requests, 0);
    drop(pool);
    net.run_until_idle();
    assert_eq!((net.live_counts().tasks, peer.alive()), (0, 0));
    [one_by_one, peer.dials() - one_by_one]
}

#[test]
fn an_idle_timeout_of_zero_closes_each_connection_when_it_is_idle() {
    for limit in [Duration::ZERO, Duration::from_nanos(1)] {
        for admits in [0, 100] {
            let [one_by_one, _] = connections(0, admits, 3, |config| {
                config.idle_timeout = Some(limit);
            });
            let expected = if limit.is_zero() { 3 } else { one_by_one };
            assert_eq!(one_by_one, expected, "{limit:?}, admits {admits}");
        }
    }
}

#[test]
fn no_connection_is_idle_where_none_may_be_along_a_route() {
    for admits in [0, 100] {
        let limits: [fn(&mut PoolConfig); 2] = [
            |config| config.max_idle = Some(0),
            |config| config.max_idle_per_origin = Some(0),
        ];
        for limit in limits {
            let [one_by_one, _] = connections(0, admits, 3, limit);
            assert_eq!(one_by_one, 3, "admits {admits}");
        }
    }
}

#[test]
fn a_lifetime_of_zero_gives_each_request_a_connection_of_its_own() {
    for limit in [Duration::ZERO, Duration::from_nanos(1)] {
        for admits in [0, 100] {
            let made = connections(0, admits, 3, |config| config.max_lifetime = Some(limit));
            let at_once = if limit.is_zero() || admits == 0 {
                3
            } else {
                made[1]
            };
            assert_eq!(made, [3, at_once], "{limit:?}, admits {admits}");
        }
    }
}

#[test]
fn every_limit_of_zero_or_of_the_maximum_works() {
    type Set = fn(&mut PoolConfig, usize, Duration);
    let settings: [(&str, Set); 12] = [
        ("max_connections", |config, n, _| {
            config.max_connections = Some(n)
        }),
        ("max_connections_per_origin", |config, n, _| {
            config.max_connections_per_origin = Some(n);
        }),
        ("max_requests_per_origin", |config, n, _| {
            config.max_requests_per_origin = Some(n)
        }),
        ("max_http2_connections_per_origin", |config, n, _| {
            config.max_http2_connections_per_origin = Some(n)
        }),
        ("max_idle", |config, n, _| config.max_idle = Some(n)),
        ("max_idle_per_origin", |config, n, _| {
            config.max_idle_per_origin = Some(n)
        }),
        ("max_requests_per_connection", |config, n, _| {
            config.max_requests_per_connection = Some(n as u64);
        }),
        ("idle_timeout", |config, _, time| {
            config.idle_timeout = Some(time)
        }),
        ("max_age", |config, _, time| {
            config.max_lifetime = Some(time)
        }),
        ("connect_preempt_after", |config, _, time| {
            config.connect_preempt_after = Some(time)
        }),
        ("connect_patience", |config, _, time| {
            config.connect_patience = Some(time)
        }),
        ("connect_retries", |config, n, _| {
            config.connect_retries = n as u32
        }),
    ];
    let values = [
        (0, Duration::ZERO),
        (1, Duration::from_nanos(1)),
        (usize::MAX, Duration::MAX),
    ];
    for (name, set) in settings {
        for (count, time) in values {
            for admits in [0, 3] {
                let made = connections(0, admits, 4, |config| set(config, count, time));
                let requests = 8;
                assert!(
                    made[0] + made[1] <= requests,
                    "{name} of {count} or {time:?}: {made:?} connections for {requests} requests"
                );
            }
        }
    }
}

#[test]
fn preemption_after_no_time_at_all_lets_two_routes_connect_through_one_slot() {
    for after in [Duration::ZERO, Duration::from_nanos(1)] {
        let net = MockNet::new();
        let (pool, peer) = pool(&net, |config| {
            config.max_connections = Some(1);
            config.connect_preempt_after = Some(after);
        });
        *peer.dial.lock().unwrap() = SECOND / 50;
        for n in 0..2 {
            let pool = pool.clone();
            net.spawn("request", async move {
                fetch(&pool, &route(n), get("/")).await.unwrap();
            });
        }
        net.advance(20 * SECOND);
        assert_eq!(peer.served().len(), 2);
        assert!(peer.dials() < 20, "{} attempts", peer.dials());
    }
}

#[test]
fn a_total_limit_of_zero_is_over_before_anything_is_sent() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    net.run(fetch(&pool, &route(0), get("/"))).unwrap();
    let mut request = get("/late");
    let limits = Timeouts::none().with_total(Duration::ZERO);
    request.extensions_mut().insert(limits);
    let error = net.run(fetch(&pool, &route(0), request)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Total));
    assert_eq!(peer.served(), ["/"]);
}

#[test]
fn a_route_has_at_most_so_many_requests_at_once_whatever_its_protocol() {
    for admits in [0, 100] {
        let net = MockNet::new();
        let (pool, peer) = pool(&net, |config| config.max_requests_per_origin = Some(4));
        peer.admits.store(admits, SeqCst);
        for n in 0..2 {
            for _ in 0..20 {
                let (pool, way) = (pool.clone(), if n == 0 { negotiated(n) } else { route(n) });
                net.spawn("request", async move {
                    fetch(&pool, &way, get("/")).await.unwrap();
                });
            }
        }
        for _ in 0..100 {
            net.advance(SECOND / 4);
            let running = peer.exchanges.load(SeqCst);
            assert!(running <= 8, "{running} requests at once to two origins");
        }
        assert_eq!(peer.served().len(), 40);
        assert!(peer.dials() <= 8, "{} connections", peer.dials());
    }
}

fn fresh() -> httpcore_core_primitives::Request {
    let mut request = get("/");
    request
        .extensions_mut()
        .insert(ConnectionPolicy::default().with_new_connection());
    request
}

/// Sends `count` requests which insist on a new connection to a server that says `admits`.
fn dials_for_fresh_requests(count: usize, first: &str, admits: impl Fn(&Peer)) -> usize {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    *peer.dial.lock().unwrap() = SECOND / 100;
    admits(&peer);
    for _ in 0..count {
        let pool = pool.clone();
        net.spawn("request", async move {
            let _ = fetch(&pool, &negotiated(0), fresh()).await;
        });
    }
    net.advance(2 * SECOND);
    let dials = peer.dials();
    assert!(dials > 0, "{first}");
    net.clear();
    dials
}

#[test]
fn server_that_admits_no_stream_is_connected_to_once_per_request() {
    for count in [1, 10] {
        let dials = dials_for_fresh_requests(count, "nothing", |peer| {
            peer.admits.store(7, SeqCst);
            peer.admits_nothing.store(true, SeqCst);
        });
        assert!(dials <= count, "{dials} connections for {count} requests");
    }
}

#[test]
fn a_server_that_ends_each_new_connection_is_not_connected_to_without_end() {
    let dials = dials_for_fresh_requests(1, "gone", |peer| {
        peer.admits.store(7, SeqCst);
        peer.goes_away.store(true, SeqCst);
    });
    assert!(dials <= 10, "{dials} connections for one request");
    // Over HTTP/1.1, a new connection that is closed before it is used.
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    peer.goes_away.store(true, SeqCst);
    let error = net.run(fetch(&pool, &route(0), get("/"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionClosed);
    assert!(peer.dials() <= 10, "{} connections", peer.dials());
}
