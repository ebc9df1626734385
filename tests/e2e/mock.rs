//! Pools of one runtime that are used in another: each says so at once.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use httpcore::{ConnectionPool, EventLoop, Timeouts};
use httpcore_net_mock::{MockNet, ServerStream};
use httpcore_origin::Origin;

fn panic_of(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("this was to panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload
            .downcast::<&str>()
            .map_or_else(|_| String::new(), |text| (*text).to_owned()),
    }
}

async fn answer(mut stream: ServerStream) {
    while stream.read_head().await.is_ok() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(answer).await.unwrap();
    }
}

/// Pools with time limits and without: those without wait for nothing but the network.
fn limits() -> [Timeouts; 2] {
    [Timeouts::default(), Timeouts::none()]
}

#[test]
fn a_mock_pool_in_a_real_loop_panics_at_once() {
    for timeouts in limits() {
        for is_warm in [false, true] {
            let net = MockNet::new();
            net.serve("server.test", 80, answer);
            let pool = ConnectionPool::builder()
                .timeouts(timeouts)
                .build(Arc::new(net.clone()));
            let get = || async {
                let response = pool.get("http://server.test/").await.unwrap();
                response.into_body().bytes(10).await.unwrap()
            };
            if is_warm {
                // Not the same connection, which needs no clock to be used once more.
                assert_eq!(net.run(get()), "ok");
                pool.close_idle();
            }
            let epoll = EventLoop::new().unwrap();
            let said = panic_of(|| drop(epoll.block_on(get())));
            assert!(said.contains("in an event loop in real time"), "{said}");
            assert!(said.contains("MockNet::run"), "{said}");
            // In its own world it goes on.
            let pool = ConnectionPool::new(Arc::new(net.clone()));
            let response = net.run(pool.get("http://server.test/")).unwrap();
            assert_eq!(net.run(response.into_body().bytes(10)).unwrap(), "ok");
        }
    }
}

#[test]
fn a_real_pool_in_a_mock_run_is_reported_at_once_and_named_as_possible() {
    let origin = Origin::start().unwrap();
    for timeouts in limits() {
        let epoll = EventLoop::new().unwrap();
        let pool = ConnectionPool::builder()
            .timeouts(timeouts)
            .build(epoll.backend());
        let net = MockNet::new();
        let said = panic_of(|| drop(net.run(pool.get(&*origin.url("/hello")))));
        assert!(said.contains("the world is stuck"), "{said}");
        assert!(said.contains("a real event loop"), "{said}");
    }
}

#[test]
fn a_world_that_runs_within_a_real_loop_is_no_mistake() {
    let net = MockNet::new();
    net.serve("server.test", 80, answer);
    let epoll = EventLoop::new().unwrap();
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let text = epoll.block_on(async {
        net.run(async {
            net.sleep(Duration::from_secs(1)).await;
            let response = pool.get("http://server.test/").await.unwrap();
            response.into_body().bytes(10).await.unwrap()
        })
    });
    assert_eq!(text, "ok");
}
