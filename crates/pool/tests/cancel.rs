//! Requests dropped wherever they can be: the books balance at once, and the next one succeeds.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    time::Duration,
};

use httpcore_core_primitives::Body;
use httpcore_net_mock::{MockNet, Scenario, Sweep, SweepReport, seeds};
use httpcore_pool::{Pool, PoolConfig, Route};

mod fake;
use fake::{Peer, SECOND, fetch, get, negotiated, pool, post, route};

/// Every kind of sweep over what `build` makes of a pool.
fn sweep(
    set: impl Fn(&mut PoolConfig),
    build: impl Fn(&MockNet, &Pool, &Arc<Peer>) -> Scenario,
) -> Vec<SweepReport> {
    [Sweep::polls(), Sweep::steps(), Sweep::instants()]
        .into_iter()
        .flat_map(|sweep| (0..3).map(move |seed| sweep.clone().seed(seed)))
        .map(|sweep| {
            sweep.run(|net| {
                let (pool, peer) = pool(net, &set);
                let counted = (pool.clone(), peer.clone());
                build(net, &pool, &peer)
                    .counting(move || {
                        let (pool, peer) = &counted;
                        let status = pool.status();
                        let others = peer.others.load(SeqCst);
                        let requests = status.active_requests + status.queued_requests;
                        let busy = status.active_connections - peer.dials_running.load(SeqCst);
                        vec![
                            ("requests", requests - others),
                            ("connections in use", busy.saturating_sub(others)),
                            (
                                "exchanges",
                                peer.exchanges.load(SeqCst).saturating_sub(others),
                            ),
                        ]
                    })
                    // A dial goes on; what is idle is watched.
                    .allow_tasks(3)
                    .allow_timers(4)
            })
        })
        .collect()
}

#[test]
fn a_request_on_a_new_connection_can_be_dropped_anywhere() {
    let swept = sweep(
        |config| config.max_connections = Some(1),
        |_, pool, _| {
            let (one, two) = (pool.clone(), pool.clone());
            Scenario::new(async move {
                fetch(&one, &route(0), get("/dropped")).await.unwrap();
            })
            .then(async move {
                fetch(&two, &route(0), get("/after")).await.unwrap();
            })
        },
    );
    assert!(swept.iter().all(|swept| swept.points >= 3), "{swept:?}");
}

#[test]
fn a_request_on_an_idle_connection_can_be_dropped_anywhere() {
    sweep(
        |config| config.max_connections = Some(1),
        |_, pool, _| {
            let (one, two) = (pool.clone(), pool.clone());
            Scenario::new(async move {
                fetch(&one, &route(0), get("/first")).await.unwrap();
                fetch(&one, &route(0), get("/dropped")).await.unwrap();
            })
            .then(async move {
                fetch(&two, &route(0), get("/after")).await.unwrap();
            })
        },
    );
}

#[test]
fn a_request_in_the_queue_can_be_dropped_anywhere() {
    let swept = sweep(
        |config| config.max_connections = Some(1),
        |net, pool, peer| {
            let (one, two, other) = (pool.clone(), pool.clone(), pool.clone());
            // Others before it and behind it, none of which may notice.
            let counts = peer.clone();
            net.spawn("others", async move {
                for n in 0..4 {
                    counts.others.store(1, SeqCst);
                    fetch(&other, &route(n % 2), get("/other")).await.unwrap();
                    counts.others.store(0, SeqCst);
                }
            });
            Scenario::new(async move {
                fetch(&one, &route(0), get("/dropped")).await.unwrap();
            })
            .then(async move {
                fetch(&two, &route(0), get("/after")).await.unwrap();
            })
        },
    );
    assert!(swept.iter().all(|swept| swept.points >= 3), "{swept:?}");
}

#[test]
fn a_retried_request_can_be_dropped_anywhere() {
    sweep(
        |_| {},
        |_, pool, peer| {
            let (one, two, peer) = (pool.clone(), pool.clone(), peer.clone());
            Scenario::new(async move {
                fetch(&one, &route(0), get("/first")).await.unwrap();
                peer.close_quietly(0);
                fetch(&one, &route(0), get("/dropped")).await.unwrap();
            })
            .then(async move {
                // The first connection may still be there, dead: a request that meets it is sent again.
                fetch(&two, &route(0), get("/after")).await.unwrap();
                fetch(&two, &route(0), post("/after")).await.unwrap();
            })
        },
    );
}

#[test]
fn a_request_on_a_shared_connection_can_be_dropped_anywhere() {
    sweep(
        |config| config.max_connections = Some(1),
        |_, pool, peer| {
            peer.admits.store(1, SeqCst);
            let (one, two) = (pool.clone(), pool.clone());
            Scenario::new(async move {
                fetch(&one, &negotiated(0), get("/first")).await.unwrap();
                fetch(&one, &negotiated(0), get("/dropped")).await.unwrap();
            })
            .then(async move {
                fetch(&two, &negotiated(0), get("/after")).await.unwrap();
            })
        },
    );
}

#[test]
fn a_reservation_and_the_request_that_uses_it_can_be_dropped_anywhere() {
    let hold = Some(SECOND);
    let swept = sweep(
        |config| config.max_connections = Some(1),
        |net, pool, peer| {
            let (one, two, other) = (pool.clone(), pool.clone(), pool.clone());
            let (sleep, counts) = (net.sleep(SECOND / 2), peer.clone());
            net.spawn("other", async move {
                counts.others.store(1, SeqCst);
                fetch(&other, &route(1), get("/other")).await.unwrap();
                counts.others.store(0, SeqCst);
            });
            Scenario::new(async move {
                let mut reservation = one.reserve(route(0), hold);
                poll_fn(|cx| reservation.poll_ready(cx)).await.unwrap();
                sleep.await;
                let sent = one.send_reserved(route(0), get("/dropped"), reservation);
                let response = sent.await.unwrap();
                response.into_body().bytes(1000).await.unwrap();
            })
            .then(async move {
                fetch(&two, &route(0), get("/after")).await.unwrap();
            })
        },
    );
    assert!(swept.iter().all(|swept| swept.points >= 3), "{swept:?}");
}

#[test]
fn a_crowd_dropped_at_random_leaves_nothing_behind() {
    // Each world shuffles its tasks by its own seed; which requests there are differs, too.
    let world = Mutex::new(0);
    seeds(0..150, |net| {
        let number = {
            let mut world = world.lock().unwrap();
            *world += 1;
            *world
        };
        let (pool, peer) = pool(&net, |config| {
            config.max_connections = Some(3);
            config.max_connections_per_origin = Some(2);
        });
        let mut dice = Dice(number);
        peer.admits.store(dice.roll(4) as usize, SeqCst);
        for n in 0..40 {
            let route: Route = match dice.roll(4) {
                0 | 1 => route(0),
                2 => route(1),
                _ => negotiated(2),
            };
            let (pool, peer) = (pool.clone(), peer.clone());
            let begin = net.sleep(Duration::from_millis(dice.roll(10_000)));
            let patience = net.sleep(Duration::from_millis(dice.roll(15_000)));
            let dies = dice.roll(5) == 0;
            net.spawn("request", async move {
                begin.await;
                let request = async {
                    let response = pool.send(route, get(&format!("/{n}"))).await;
                    if dies {
                        peer.close_all();
                    }
                    let body = response.map_or(Body::empty(), |response| response.into_body());
                    let _ = body.bytes(1000).await;
                };
                first_of(request, patience).await;
            });
        }
        net.advance(300 * SECOND);
        let status = pool.status();
        assert_eq!(status.active_requests, 0, "{status:#}");
        assert_eq!(status.queued_requests, 0, "{status:#}");
        assert_eq!(status.connections.len(), 0, "{status:#}");
        assert_eq!(peer.alive(), 0);
        assert!(peer.most_alive.load(SeqCst) <= 3);
        net.run(async {
            fetch(&pool, &route(0), get("/after")).await.unwrap();
        });
        drop(pool);
        net.run_until_idle();
        let counts = net.live_counts();
        assert_eq!((counts.tasks, counts.timers), (0, 0), "{}", net.report());
    });
}

async fn first_of(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (Box::pin(one), Box::pin(other));
    poll_fn(|cx| {
        if one.as_mut().poll(cx).is_ready() || other.as_mut().poll(cx).is_ready() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// splitmix64
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
