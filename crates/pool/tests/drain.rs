//! Closing, draining and dropping a pool. With fake connections in virtual time.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

mod fake;

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    task::{Context, Poll, Waker},
};

use fake::{Ended, HOUR, SECOND, fetch, get, is_waiting, pool, route, spawn, turn};
use httpcore_core_primitives::CloseReason;
use httpcore_core_primitives::ErrorKind;
use httpcore_net_mock::MockNet;

#[test]
fn closing_refuses_requests_that_wait_and_abandons_attempts_to_connect() {
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
    let census = net.live_counts();
    assert_eq!((census.tasks, census.timers), (0, 0), "{}", net.report());
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
fn dropped_connections_and_wakers_may_use_the_pool() {
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
fn draining_serves_accepted_requests_and_refuses_new_ones() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(1));
    let told = Ended::default();
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
    assert_eq!(pool.stats().closed_for(CloseReason::PoolClosed), 1);
    let census = net.live_counts();
    assert_eq!((census.tasks, census.timers), (0, 0), "{}", net.report());
}

#[test]
fn a_drain_ends_with_its_time_and_says_how_many_requests_are_left() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |config| config.max_connections = Some(1));
    *peer.answer.lock().unwrap() = 20 * SECOND;
    let told = Ended::default();
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
fn a_drain_goes_on_after_its_future_is_dropped_and_two_end_together() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    let told = Ended::default();
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
    let census = net.live_counts();
    assert_eq!((census.tasks, census.timers), (0, 0), "{}", net.report());
}
