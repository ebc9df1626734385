//! A request dropped at any moment leaves nothing behind: shown at every poll point.
//!
//! The moments are: before anything, in the queue, while the name is looked up, while connecting,
//! while sending, while the head is read, while the body is read; when it is sent a second time; and
//! while the pool is being drained. After each the pool's books must balance at once, and the next
//! request must succeed.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use httpcore::{Body, ConnectionPool, Timeouts};
use httpcore_core_primitives::Alpn;
use httpcore_net_mock::{
    Chunks, DnsEntry, Link, MockNet, MockTls, Scenario, ServerHandle, ServerStream, Sweep,
    TlsServer,
};

/// Answers every request after a while, in two parts, having read what was sent.
async fn answer_all(mut stream: ServerStream) {
    loop {
        let Ok(head) = stream.read_head().await else {
            return;
        };
        if head.starts_with("POST") && stream.read_until("0\r\n\r\n").await.is_err() {
            return;
        }
        for part in [
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst",
            "other",
        ] {
            stream.sleep(Duration::from_millis(5)).await;
            if stream.write_all(part).await.is_err() {
                return;
            }
        }
    }
}

/// A server whose name takes a while to look up, behind a link which cuts everything up.
fn serve(net: &MockNet) -> ServerHandle {
    let served = net.serve("server.test", 80, answer_all);
    served.link(
        Link::new()
            .latency(Duration::from_millis(10))
            .chunks(Chunks::Each(16))
            .buffer(64),
    );
    served
}

/// Limits that are never reached: each arms a timer that must be disarmed.
const PATIENT: Timeouts = {
    let hour = Duration::from_secs(3600);
    Timeouts::none()
        .with_acquire(hour)
        .with_resolve(hour)
        .with_connect(hour)
        .with_write(hour)
        .with_response_head(hour)
        .with_read(hour)
        .with_total(hour)
};

fn one_place(net: &MockNet, timeouts: Timeouts) -> ConnectionPool {
    ConnectionPool::builder()
        .max_connections(1)
        .timeouts(timeouts)
        .build(Arc::new(net.clone()))
}

fn request(method: &str) -> httpcore::Request {
    let body = match method {
        "POST" => {
            let mut pieces = 0;
            Body::poll_fn(move |_| {
                pieces += 1;
                let piece =
                    (pieces <= 5).then(|| Ok::<_, std::convert::Infallible>("x".repeat(40).into()));
                std::task::Poll::Ready(piece)
            })
        }
        _ => Body::empty(),
    };
    http::Request::builder()
        .method(method)
        .uri("http://server.test/")
        .body(body)
        .unwrap()
}

async fn exchange(pool: &ConnectionPool, method: &str) {
    let response = pool.request(request(method)).await.unwrap();
    let body = response.into_body().bytes(100).await.unwrap();
    assert_eq!(body, "firstother");
}

/// What only a live request may hold.
fn counts(pool: &ConnectionPool) -> Vec<(&'static str, usize)> {
    let status = pool.status();
    vec![
        ("active requests", status.active_requests),
        ("queued requests", status.queued_requests),
    ]
}

/// One request on a pool of one place, dropped wherever it can be.
fn alone(method: &'static str) -> impl Fn(&MockNet) -> Scenario {
    move |net| {
        serve(net);
        let pool = one_place(net, PATIENT);
        let (asked, again) = (pool.clone(), pool.clone());
        Scenario::new(async move { exchange(&asked, method).await })
            .counting(move || counts(&pool))
            // The connection belongs to the pool: it may be in the making, or idle and watched.
            .allow_tasks(2)
            .allow_streams(1)
            .allow_timers(2)
            .allow_attempts(1)
            .then(async move { exchange(&again, "GET").await })
    }
}

#[test]
fn a_dropped_get_leaves_nothing_behind() {
    let swept = Sweep::polls().run(alone("GET"));
    assert!(swept.points > 5, "{swept:?}");
}

#[test]
fn a_dropped_post_leaves_nothing_behind() {
    let swept = Sweep::polls().run(alone("POST"));
    assert!(swept.points > 10, "{swept:?}");
}

#[test]
fn a_request_dropped_at_any_instant_leaves_nothing_behind() {
    for method in ["GET", "POST"] {
        let swept = Sweep::instants().run(alone(method));
        assert!(swept.points > 3, "{swept:?}");
    }
}

#[test]
fn a_request_over_tls_dropped_anywhere_leaves_nothing_behind() {
    let swept = Sweep::steps().run(|net| {
        let tls = TlsServer::new().alpn(&[Alpn::Http1]).tickets(2);
        net.serve_tls("server.test", 443, tls, answer_all)
            .link(Link::new().latency(Duration::from_millis(10)));
        let pool = ConnectionPool::builder()
            .timeouts(PATIENT)
            .tls(Arc::new(MockTls::new()))
            .build(Arc::new(net.clone()));
        let (asked, again) = (pool.clone(), pool.clone());
        let ask = async |pool: ConnectionPool| {
            let response = pool.get("https://server.test/").await.unwrap();
            let body = response.into_body().bytes(100).await.unwrap();
            assert_eq!(body, "firstother");
        };
        Scenario::new(async move { ask(asked).await })
            .counting(move || counts(&pool))
            .allow_tasks(2)
            .allow_streams(1)
            .allow_timers(2)
            .allow_attempts(1)
            .then(async move { ask(again).await })
    });
    assert!(swept.points > 10, "{swept:?}");
}

#[test]
fn request_dropped_after_any_step_of_any_task_leaks_nothing() {
    for method in ["GET", "POST"] {
        let swept = Sweep::steps().run(alone(method));
        assert!(swept.points > 10, "{swept:?}");
    }
}

/// One request in the queue behind another, on a pool of one place.
fn behind_another(net: &MockNet, timeouts: Timeouts) -> Scenario {
    serve(net);
    let pool = one_place(net, timeouts);
    let (first, second, again) = (pool.clone(), pool.clone(), pool.clone());
    let others = Arc::new(AtomicUsize::new(1));
    let counted = others.clone();
    // It has the only place until its body has been read.
    net.spawn("the first in the queue", async move {
        exchange(&first, "GET").await;
        others.fetch_sub(1, Ordering::Relaxed);
    });
    Scenario::new(async move { exchange(&second, "POST").await })
        .counting(move || {
            let status = pool.status();
            let requests = status.active_requests + status.queued_requests;
            let others = counted.load(Ordering::Relaxed);
            vec![("requests beside the other", requests.saturating_sub(others))]
        })
        .allow_tasks(3)
        .allow_streams(1)
        .allow_timers(3)
        .allow_attempts(1)
        .then(async move { exchange(&again, "GET").await })
}

#[test]
fn a_request_dropped_in_the_queue_leaves_nothing_behind() {
    // A time limit puts an end to a wait whose wake-up was lost. Without one the world is stuck,
    // and says so.
    for timeouts in [Timeouts::none(), PATIENT] {
        let swept = Sweep::polls().run(|net| behind_another(net, timeouts));
        assert!(swept.points > 10, "{swept:?}");
    }
}

#[test]
fn a_request_dropped_while_its_host_is_looked_up_or_cannot_be_reached_leaves_nothing_behind() {
    let swept = Sweep::polls().run(|net| {
        let served = serve(net);
        let good = served.address().unwrap();
        let dead = "192.0.2.1:80".parse().unwrap();
        net.set_link(dead, Link::blackhole());
        net.name(
            "server.test",
            DnsEntry::addresses(["192.0.2.1".to_owned(), good.ip().to_string()])
                .after(Duration::from_millis(30)),
        );
        let pool = ConnectionPool::builder()
            .timeouts(PATIENT)
            .build(Arc::new(net.clone()));
        let (asked, again) = (pool.clone(), pool.clone());
        Scenario::new(async move { exchange(&asked, "GET").await })
            .counting(move || counts(&pool))
            .allow_tasks(2)
            .allow_streams(1)
            .allow_timers(3)
            .allow_attempts(2)
            .then(async move { exchange(&again, "GET").await })
    });
    assert!(swept.points > 5, "{swept:?}");
}

#[test]
fn a_request_dropped_while_it_is_sent_a_second_time_leaves_nothing_behind() {
    let swept = Sweep::polls().run(|net| {
        let is_first = Arc::new(AtomicBool::new(true));
        let served = net.serve("server.test", 80, move |mut stream: ServerStream| {
            let is_first = is_first.swap(false, Ordering::Relaxed);
            async move {
                if !is_first {
                    return answer_all(stream).await;
                }
                // One answer; and then it closes when it is asked again, as a server does whose
                // patience ends while a request is on its way.
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirstother";
                if stream.read_head().await.is_ok() && stream.write_all(answer).await.is_ok() {
                    let _ = stream.read_head().await;
                }
            }
        });
        served.link(Link::new().latency(Duration::from_millis(10)));
        let pool = ConnectionPool::builder()
            .max_connections(1)
            .build(Arc::new(net.clone()));
        let (asked, again) = (pool.clone(), pool.clone());
        let counters = pool.clone();
        Scenario::new(async move {
            exchange(&asked, "GET").await;
            exchange(&asked, "GET").await;
            assert_eq!(counters.stats().retried, 1, "otherwise this shows nothing");
        })
        .counting(move || counts(&pool))
        .allow_tasks(2)
        .allow_streams(1)
        .allow_timers(2)
        .allow_attempts(1)
        .then(async move { exchange(&again, "GET").await })
    });
    assert!(swept.points > 8, "{swept:?}");
}

#[test]
fn a_request_dropped_while_the_pool_is_drained_holds_nothing_up() {
    for drained_at in [5, 15, 25, 35, 45] {
        let swept = Sweep::polls().run(|net| {
            serve(net);
            let pool = ConnectionPool::builder()
                .max_connections(1)
                .build(Arc::new(net.clone()));
            let (asked, drained, again) = (pool.clone(), pool.clone(), pool.clone());
            let sleep = net.sleep(Duration::from_millis(drained_at));
            net.spawn("drain", async move {
                sleep.await;
                drained.drain(Duration::from_secs(3600)).await;
            });
            Scenario::new(async move {
                match asked.request(request("GET")).await {
                    Ok(response) => drop(response.into_body().bytes(100).await.unwrap()),
                    Err(error) => assert_eq!(error.kind(), httpcore::ErrorKind::PoolClosed),
                }
            })
            .counting(move || counts(&pool))
            .allow_tasks(3)
            .allow_streams(2)
            .allow_timers(2)
            .allow_attempts(1)
            .then(async move {
                let drained = again.drain(Duration::from_secs(3600)).await;
                assert_eq!(drained.aborted, 0);
                assert!(again.status().connections.is_empty());
            })
        });
        assert!(swept.points > 2, "{swept:?}");
    }
}

#[test]
fn dropped_drain_continues_and_leaks_nothing() {
    let swept = Sweep::polls().run(|net| {
        serve(net);
        let pool = ConnectionPool::builder()
            .max_connections(1)
            .build(Arc::new(net.clone()));
        let (busy, drained, again) = (pool.clone(), pool.clone(), pool);
        net.spawn("a request", async move { exchange(&busy, "POST").await });
        let sleep = net.sleep(Duration::from_millis(15));
        Scenario::new(async move {
            sleep.await;
            drained.drain(Duration::from_secs(3600)).await;
        })
        .allow_tasks(3)
        .allow_streams(1)
        .allow_timers(3)
        .allow_attempts(1)
        .then(async move {
            assert_eq!(again.drain(Duration::from_secs(3600)).await.aborted, 0);
            assert!(again.status().connections.is_empty());
        })
    });
    assert!(swept.points >= 2, "{swept:?}");
}
