//! The pool against servers that close idle connections when they please.
//!
//! These take real time, for that is what the servers' limits are made of: the pauses between
//! requests straddle those limits, on many connections at once. Nothing here depends on how a race
//! between a request and a close ends; whatever happens, no error may come of it.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use httpcore::{
    Body, ConnectionPool, EventLoop, Request, Timeouts, backend::sleep_until, config::PoolConfig,
    error::BoxError, extensions::Partition,
};
use httpcore_servers::{Kind, require};

/// How long a test waits for what must come: a bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);
const LIMIT: usize = 1 << 20;

/// splitmix64
struct Dice(u64);

impl Dice {
    fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        least + (z ^ (z >> 31)) % (most - least)
    }
}

/// A loop, and a pool on it which keeps connections for as long as their servers do.
struct Client {
    epoll: EventLoop,
    pool: ConnectionPool,
}

impl Client {
    fn new() -> Self {
        let epoll = EventLoop::new().unwrap();
        let mut config = PoolConfig::default();
        config.max_connections = None;
        config.idle_timeout = None;
        config.timeouts = Timeouts::default().with_total(PATIENCE);
        let pool = ConnectionPool::builder()
            .configure_pool(|pool| *pool = config)
            .build(epoll.backend());
        Client { epoll, pool }
    }

    /// Runs `count` workers at once, each with connections of its own.
    fn run<T, F>(&self, workers: u64, work: impl Fn(Worker) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BoxError>> + Send + 'static,
    {
        let tasks: Vec<_> = (0..workers)
            .map(|number| {
                let worker = Worker {
                    number,
                    dice: Dice(number),
                    pool: self.pool.clone(),
                    backend: self.epoll.backend(),
                };
                self.epoll.spawn(work(worker))
            })
            .collect();
        self.epoll.block_on(async {
            let mut outcomes = Vec::new();
            for task in tasks {
                outcomes.push(task.await.unwrap());
            }
            outcomes
        })
    }
}

struct Worker {
    number: u64,
    dice: Dice,
    pool: ConnectionPool,
    backend: Arc<dyn httpcore::backend::NetworkBackend>,
}

impl Worker {
    fn request(&self, method: &str, url: String, body: impl Into<Body>) -> Request {
        http::Request::builder()
            .method(method)
            .uri(url)
            .extension(Partition::new(self.number.to_string()))
            .body(body.into())
            .unwrap()
    }

    async fn get(&self, url: &str) -> Result<(), BoxError> {
        let request = self.request("GET", url.to_owned(), Body::empty());
        let response = self.pool.request(request).await?;
        assert!(response.status().is_success());
        response.into_body().bytes(LIMIT).await?;
        Ok(())
    }

    async fn pause(&mut self, least: u64, most: u64) {
        let pause = Duration::from_millis(self.dice.between(least, most));
        let runtime: Arc<dyn httpcore::backend::Runtime> = self.backend.clone();
        sleep_until(&runtime, self.backend.now() + pause).await;
    }
}

#[test]
fn a_steady_client_sees_no_error_from_nginx_that_closes_after_a_second() {
    let Some(nginx) = require(Kind::Nginx) else {
        return;
    };
    let client = Client::new();
    let url = nginx.url("/brief");
    client.run(100, |mut worker| {
        let url = url.clone();
        async move {
            for _ in 0..20 {
                worker.get(&url).await?;
                worker.pause(980, 1020).await;
            }
            Ok(())
        }
    });
    let counters = client.pool.stats();
    println!("{counters:?}");
    assert_eq!(counters.granted - counters.retried, 2_000);
}

#[test]
fn a_steady_client_sees_no_error_from_nginx_that_serves_twenty_on_each_connection() {
    let Some(nginx) = require(Kind::Nginx) else {
        return;
    };
    let client = Client::new();
    let url = nginx.url("/twenty");
    client.run(4, |worker| {
        let url = url.clone();
        async move {
            for _ in 0..500 {
                worker.get(&url).await?;
            }
            Ok(())
        }
    });
    let counters = client.pool.stats();
    println!("{counters:?}");
    assert_eq!(counters.retried, 0, "nginx says which one is the last");
    assert_eq!((counters.opened, counters.reused), (100, 1_900));
}

#[test]
fn a_steady_client_sees_no_error_from_node_and_lets_go_before_it_does() {
    let Some(node) = require(Kind::Node) else {
        return;
    };
    let client = Client::new();
    let url = node.url("/hello");
    client.run(400, |mut worker| {
        let url = url.clone();
        async move {
            for _ in 0..5 {
                worker.get(&url).await?;
                worker.pause(3_800, 5_100).await;
            }
            Ok(())
        }
    });
    let counters = client.pool.stats();
    println!("{counters:?}");
    // Node says `Keep-Alive: timeout=5`. (A second is enough for any close to be noticed.)
    assert_eq!(
        counters.closed_for(httpcore::trace::CloseReason::PeerClosed),
        0
    );
    assert_eq!(counters.granted - counters.retried, 2_000);
}

#[test]
fn nothing_is_posted_twice_to_a_server_that_closes_while_it_is_being_asked() {
    let Some(node) = require(Kind::Node) else {
        return;
    };
    let client = Client::new();
    let base = node.url("/once");
    let outcomes = client.run(50, |mut worker| {
        let base = base.clone();
        async move {
            let mut outcomes = Vec::new();
            for n in 0..40 {
                let id = worker.number * 1_000 + n;
                let request = worker.request("POST", format!("{base}/{id}/50"), "data");
                let served = match worker.pool.request(request).await {
                    Ok(response) => response.into_body().bytes(LIMIT).await.is_ok(),
                    // It may have been acted on, and so this is for the caller to decide.
                    Err(_) => false,
                };
                outcomes.push((id, served));
                worker.pause(40, 60).await;
            }
            Ok(outcomes)
        }
    });
    let text = client.epoll.block_on(async {
        let response = client.pool.get(node.url("/times")).await.unwrap();
        response.into_body().bytes(LIMIT).await.unwrap()
    });
    let times: HashMap<u64, u32> = std::str::from_utf8(&text)
        .unwrap()
        .lines()
        .map(|line| {
            let (id, times) = line.split_once(' ').unwrap();
            (id.parse().unwrap(), times.parse().unwrap())
        })
        .collect();
    let outcomes = outcomes.concat();
    let failed = outcomes.iter().filter(|(_, served)| !served).count();
    println!(
        "{failed} of {} failed\n{:?}",
        outcomes.len(),
        client.pool.stats()
    );
    for (id, served) in outcomes {
        let times = times.get(&id).copied().unwrap_or_default();
        assert!(times <= 1, "{id} was posted {times} times");
        assert!(
            times == 1 || !served,
            "{id} was answered without having been asked"
        );
    }
}
