//! Seeded runs are reproducible, inject the documented faults, and find bugs with some seed.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    collections::BTreeSet,
    future::poll_fn,
    io::IoSlice,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::BytesMut;
use httpcore_net_mock::{MockNet, seeds};

const MS: Duration = Duration::from_millis(1);

/// Three talkers and their listeners, and everything each of them saw, in order.
fn story(net: &MockNet) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    for name in ["a", "b", "c"] {
        let (mut client, mut server) = net.pair();
        let (talks, hears) = (seen.clone(), seen.clone());
        net.spawn("talker", async move {
            let mut left: &[u8] = b"the quick brown fox jumps over the lazy dog";
            while !left.is_empty() {
                let bufs = [IoSlice::new(left)];
                let written = poll_fn(|cx| client.poll_write(cx, &bufs)).await.unwrap();
                talks.lock().unwrap().push(format!("{name} says {written}"));
                left = &left[written..];
            }
        });
        net.spawn("listener", async move {
            loop {
                let heard = server.read_some().await.unwrap();
                hears
                    .lock()
                    .unwrap()
                    .push(format!("{name} hears {}", heard.len()));
                if heard.is_empty() {
                    return;
                }
            }
        });
    }
    net.run(net.sleep(MS));
    assert_eq!(net.live_counts().tasks, 0);
    let seen = seen.lock().unwrap();
    seen.clone()
}

#[test]
fn a_seed_repeats_itself_exactly_and_differs_from_others() {
    let mut stories = BTreeSet::new();
    for seed in 0..50 {
        let first = story(&MockNet::seeded(seed));
        assert_eq!(first, story(&MockNet::seeded(seed)), "seed {seed}");
        stories.insert(first);
    }
    assert!(
        stories.len() > 45,
        "only {} different stories",
        stories.len()
    );
}

#[test]
fn some_seeds_cut_reads_and_writes_short_and_others_only_shuffle() {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..50 {
        let seen = story(&MockNet::seeded(seed));
        match seen.iter().filter(|line| line.ends_with(" 43")).count() {
            6 => whole += 1,
            _ => cut += 1,
        }
    }
    assert!(cut >= 10 && whole >= 5, "{cut} cut, {whole} whole");
}

#[test]
fn some_seeds_wake_those_who_wait_for_nothing() {
    let disturbed = AtomicUsize::new(0);
    for seed in 0..50 {
        let net = MockNet::seeded(seed);
        let busy = (0..20).map(|_| net.pair()).collect::<Vec<_>>();
        for (_client, mut server) in busy {
            net.spawn("busy", async move {
                drop(server.read_some().await);
            });
        }
        let (mut client, server) = net.pair();
        let mut sleep = Box::pin(net.sleep(MS));
        let mut polls = 0;
        net.run(poll_fn(|cx| {
            polls += 1;
            let mut buf = BytesMut::with_capacity(1);
            assert!(client.poll_read(cx, &mut buf).is_pending());
            sleep.as_mut().poll(cx)
        }));
        if polls > 2 {
            disturbed.fetch_add(1, Ordering::Relaxed);
        }
        drop(server);
    }
    let disturbed = disturbed.into_inner();
    assert!((3..=40).contains(&disturbed), "{disturbed} of 50");
}

#[test]
fn a_failing_seed_is_named_and_fails_again_alone() {
    // The fault: it counts on the first task spawned being the first to run.
    let hasty = |net: MockNet| {
        let order = Arc::new(Mutex::new(Vec::new()));
        for n in 0..3 {
            let order = order.clone();
            net.spawn("racer", async move { order.lock().unwrap().push(n) });
        }
        net.run_until_idle();
        assert_eq!(order.lock().unwrap()[0], 0, "the race");
    };
    hasty(MockNet::new());
    let fails = |seed: &u64| {
        let alone = || hasty(MockNet::seeded(*seed));
        catch_unwind(AssertUnwindSafe(alone)).is_err()
    };
    // From there on, since the environment may have chosen that only one be run.
    let first = (0..100).find(fails).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| seeds(first..100, hasty))).unwrap_err();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains("the race"), "{message}");
    let (_, seed) = message.rsplit_once("HTTPCORE_SEED=").unwrap();
    let seed = seed.parse().unwrap();
    for _ in 0..3 {
        assert!(fails(&seed), "seed {seed}");
    }
}

#[test]
fn a_lost_wake_up_is_found_within_ten_seeds() {
    let forgetful = |net: MockNet| {
        let (full, mut waiting) = (Arc::new(Mutex::new(false)), None);
        let (fill, sleep) = (full.clone(), net.sleep(MS));
        net.spawn("filler", async move {
            sleep.await;
            // The fault: the task is not woken.
            *fill.lock().unwrap() = true;
        });
        net.run(poll_fn(|cx| {
            if *full.lock().unwrap() {
                return Poll::Ready(());
            }
            waiting = Some(cx.waker().clone());
            Poll::Pending
        }));
    };
    let panic = catch_unwind(AssertUnwindSafe(|| seeds(0..10, forgetful))).unwrap_err();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains("the world is stuck"), "{message}");
}
