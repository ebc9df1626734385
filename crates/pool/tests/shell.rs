//! The pool as its users meet it, with fake connections in virtual time.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    task::{Context, Poll, Waker},
    time::Duration,
};

use httpcore_core_primitives::{
    ErrorKind, ErrorPhase, Request, RequestSent, TimeoutKind, Timeouts, Trace, TraceEvent,
};
use httpcore_net_mock::MockNet;
use httpcore_pool::{ConnectionCloseReason, ResponseFuture, Retry};

mod fake;
use fake::{SECOND, fetch, get, negotiated, pool, post, route, turn};

/// Polls `sending` once; whether it waits.
async fn is_waiting(sending: &mut Pin<Box<ResponseFuture>>) -> bool {
    poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_pending())).await
}

fn with_timeouts(mut request: Request, timeouts: Timeouts) -> Request {
    request.extensions_mut().insert(timeouts);
    request
}

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
fn requests_beyond_the_limit_wait_their_turn() {
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
fn waiting_for_a_place_ends_with_the_pool_timeout_to_the_instant() {
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
fn a_connection_being_made_is_no_wait_for_a_place() {
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
fn nor_is_the_attempt_that_finds_out_the_protocol_for_all() {
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
fn the_pool_timeout_counts_again_when_the_connection_goes_to_somebody_else() {
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
fn the_total_timeout_covers_the_queue_and_the_dial() {
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
fn an_idle_connection_is_closed_when_its_hour_is_over_and_nothing_is_left_running() {
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
    assert_eq!(
        pool.stats().closed_for(ConnectionCloseReason::IdleTimeout),
        1
    );
    let counts = net.live_counts();
    assert_eq!((counts.tasks, counts.timers), (0, 0), "{}", net.report());
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
    assert_eq!(pool.stats().closed_for(ConnectionCloseReason::MaxAge), 1);
}

#[test]
fn the_servers_close_is_noticed_without_a_request() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.idle_timeout = None);
    net.run(async {
        fetch(&pool, &route(0), get("/")).await.unwrap();
        fetch(&pool, &route(1), get("/")).await.unwrap();
        turn().await;
        peer.close(0);
        turn().await;
        assert_eq!(peer.alive(), 1);
        assert_eq!(pool.stats().closed_for(ConnectionCloseReason::PeerEnded), 1);
        fetch(&pool, &route(0), get("/")).await.unwrap();
    });
    assert_eq!(pool.stats().retried, 0);
}

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
fn an_error_tells_of_the_second_attempt() {
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
fn nothing_is_sent_twice_if_that_is_not_wanted() {
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

#[test]
fn a_failed_dial_is_the_error_of_its_request() {
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
fn the_queue_has_an_end_if_it_is_given_one() {
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
fn closing_refuses_who_waits_and_gives_up_what_is_being_made() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(3));
    net.run(async {
        fetch(&pool, &route(0), get("/idle")).await.unwrap();
        let busy = pool.send(route(1), get("/busy")).await.unwrap();
        *peer.dial.lock().unwrap() = 100 * SECOND;
        let mut dialling = Box::pin(pool.send(route(2), get("/")));
        assert!(is_waiting(&mut dialling).await);
        turn().await;
        assert_eq!((peer.dials_running.load(SeqCst), peer.alive()), (1, 2));

        pool.close();
        let error = dialling.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PoolClosed);
        let error = pool.send(route(0), get("/")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PoolClosed);
        turn().await;
        assert_eq!((peer.dials_running.load(SeqCst), peer.alive()), (0, 1));

        // What is in use goes on until it is over.
        busy.into_body().bytes(100).await.unwrap();
        assert_eq!(peer.alive(), 0);
        turn().await;
    });
    assert_eq!(net.live_counts().tasks, 0);
    assert_eq!(
        pool.status().to_string(),
        "<Pool [Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]>"
    );
}

#[test]
fn a_dropped_pool_leaves_no_task_and_no_connection_but_those_in_use() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    net.run(async {
        fetch(&pool, &route(0), get("/idle")).await.unwrap();
        let busy = pool.send(route(1), get("/busy")).await.unwrap();
        *peer.dial.lock().unwrap() = 100 * SECOND;
        let mut dialling = Box::pin(pool.send(route(2), get("/")));
        assert!(is_waiting(&mut dialling).await);
        turn().await;
        drop(dialling);
        drop(pool);
        turn().await;
        assert_eq!((peer.dials_running.load(SeqCst), peer.alive()), (0, 1));
        busy.into_body().bytes(100).await.unwrap();
    });
    assert_eq!(peer.alive(), 0);
    let counts = net.live_counts();
    assert_eq!((counts.tasks, counts.timers), (0, 0), "{}", net.report());
}

#[test]
fn a_request_goes_on_without_its_pools_handle() {
    let net = MockNet::new();
    let (pool, _peer) = pool(&net, |_| {});
    let sending = pool.send(route(0), get("/"));
    drop(pool);
    net.run(async {
        let response = sending.await.unwrap();
        assert_eq!(response.into_body().bytes(100).await.unwrap(), "answer");
    });
}

#[test]
fn a_dropped_response_gives_up_its_connection_and_serves_the_next() {
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
        assert_eq!(pool.stats().closed_for(ConnectionCloseReason::Retired), 1);
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
fn a_trace_tells_what_happened_in_order() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = heard.clone();
    let trace = Trace::to(move |_: std::time::Instant, event: &TraceEvent<'_>| {
        let detail = match event {
            TraceEvent::ConnectionAcquired { reused: true } => " again",
            _ => "",
        };
        listener
            .lock()
            .unwrap()
            .push(format!("{}{detail}", event.name()));
    });
    net.run(async {
        let mut request = get("/");
        request.extensions_mut().insert(trace.clone());
        fetch(&pool, &route(0), request).await.unwrap();
        peer.close_quietly(0);
        peer.dials_fail.store(true, SeqCst);
        let mut request = get("/");
        request.extensions_mut().insert(trace.clone());
        fetch(&pool, &route(0), request).await.unwrap_err();
    });
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "pool.waiting",
            "connection.connect.started",
            "pool.acquired",
            "pool.acquired again",
            "request.retried",
            "pool.waiting",
            "connection.connect.started",
            "connection.connect.failed",
            "request.failed",
        ]
    );
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
fn what_is_dropped_or_woken_may_use_the_pool() {
    // A waker that looks at the pool would find its lock held, if it were called under it.
    struct Looks(httpcore_pool::Pool, Mutex<usize>);
    impl std::task::Wake for Looks {
        fn wake(self: Arc<Self>) {
            *self.1.lock().unwrap() += self.0.status().queued_requests + 1;
        }
    }
    impl Drop for Looks {
        fn drop(&mut self) {
            let _ = self.0.status();
        }
    }
    let net = MockNet::new();
    let (pool, _peer) = pool(&net, |config| config.max_connections = Some(1));
    net.run(async {
        let busy = pool.send(route(0), get("/busy")).await.unwrap();
        let mut waits = Box::pin(pool.send(route(0), get("/waits")));
        for _ in 0..2 {
            // The second waker displaces the first.
            let waker = Waker::from(Arc::new(Looks(pool.clone(), Mutex::new(0))));
            assert!(
                waits
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        busy.into_body().bytes(100).await.unwrap();
        waits.await.unwrap();
    });
}

#[test]
fn sending_may_cross_threads_and_is_not_large() {
    fn crosses<T: Send + 'static>(_: &T) {}
    let net = MockNet::new();
    let (pool, _peer) = pool(&net, |_| {});
    let sending = pool.send(route(0), get("/"));
    crosses(&sending);
    assert!(size_of_val(&sending) <= 1024, "{}", size_of_val(&sending));
}

#[test]
fn a_connection_returned_after_a_long_exchange_is_idle_no_longer_than_others() {
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

#[test]
fn a_closed_connection_is_found_out_by_the_request_that_is_granted_it() {
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
    assert_eq!(pool.stats().closed_for(ConnectionCloseReason::PeerEnded), 2);
}
