//! The sweep passes what is clean, and catches and names what leaks.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io::IoSlice,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use httpcore_core_primitives::{BoxStream, NetworkBackend, Runtime, TcpOptions, with_deadline};
use httpcore_net_mock::{
    Link, MockNet, Scenario, Sweep, SweepReport, sweep_instants, sweep_polls, sweep_steps,
};

const MS: Duration = Duration::from_millis(1);

/// One question, one answer, on a connection of its own, within a second.
async fn ask(net: MockNet) -> String {
    let runtime: Arc<dyn Runtime> = Arc::new(net.clone());
    let deadline = Some(net.now() + 1000 * MS);
    let asked = async {
        let address = net.resolve("oracle.test", 80).await.unwrap()[0];
        let options = TcpOptions::default();
        let mut stream = net.connect_tcp(address, &options).await.unwrap();
        let mut question: &[u8] = b"why?\n";
        while !question.is_empty() {
            let bufs = [IoSlice::new(question)];
            let written = poll_fn(|cx| stream.poll_write(cx, &bufs)).await.unwrap();
            question = &question[written..];
        }
        read_all(&mut stream).await
    };
    with_deadline(&runtime, "answer", deadline, asked)
        .await
        .unwrap()
}

async fn read_all(stream: &mut BoxStream) -> String {
    let mut heard = BytesMut::new();
    loop {
        heard.reserve(64);
        if poll_fn(|cx| stream.poll_read(cx, &mut heard))
            .await
            .unwrap()
            == 0
        {
            return String::from_utf8(heard.to_vec()).unwrap();
        }
    }
}

fn oracle(net: &MockNet) {
    net.serve("oracle.test", 80, async |mut stream| {
        if stream.read_until("\n").await.is_ok() {
            for part in ["because ", "it ", "is"] {
                stream.sleep(5 * MS).await;
                if stream.write_all(part).await.is_err() {
                    return;
                }
            }
        }
    })
    .link(Link::new().latency(10 * MS));
}

fn clean(net: &MockNet) -> Scenario {
    oracle(net);
    let (first, second) = (net.clone(), net.clone());
    Scenario::new(async move {
        assert_eq!(ask(first).await, "because it is");
    })
    .then(async move {
        assert_eq!(ask(second).await, "because it is");
    })
}

fn message_of(sweep: impl FnOnce() -> SweepReport) -> String {
    let panic = catch_unwind(AssertUnwindSafe(sweep)).expect_err("this was to fail");
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(_) => "no message".to_owned(),
    }
}

fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in:\n{message}");
    }
}

#[test]
fn a_clean_scenario_passes_at_every_poll_step_and_instant() {
    let polls = sweep_polls(clean);
    assert!(polls.points >= 9, "{polls:?}");
    let steps = sweep_steps(clean);
    assert!(steps.points > polls.points / 2, "{steps:?}");
    let instants = sweep_instants(clean);
    // Connected, asked, three parts: the last part and the end are one instant.
    assert!(instants.points >= 5, "{instants:?}");
}

#[test]
fn a_clean_scenario_passes_with_every_seed() {
    for seed in 0..20 {
        Sweep::polls().seed(seed).run(clean);
    }
}

#[test]
fn a_timer_left_armed_is_caught_and_named() {
    let message = message_of(|| {
        sweep_polls(|net| {
            // The fault: the timer lives beside the future, which does not take it along.
            let timer = Arc::new(Mutex::new(net.timer("read timeout")));
            let (kept, inner) = (timer.clone(), net.clone());
            let at = net.now() + 5000 * MS;
            Scenario::new(async move {
                let mut sleep = std::pin::pin!(inner.sleep(MS));
                poll_fn(|cx| {
                    let _ = kept.lock().unwrap().poll_until(cx, at);
                    sleep.as_mut().poll(cx)
                })
                .await;
            })
            .counting(move || {
                let _kept = &timer;
                Vec::new()
            })
        })
    });
    assert_names(
        &message,
        &[
            "after its poll 1",
            "timer \"read timeout\", due at +5.000000s",
        ],
    );
}

#[test]
fn stream_kept_by_a_leaked_task_is_found_and_named() {
    let message = message_of(|| {
        sweep_polls(|net| {
            oracle(net);
            let inner = net.clone();
            Scenario::new(async move {
                let address = inner.resolve("oracle.test", 80).await.unwrap()[0];
                let options = TcpOptions::default();
                let stream = inner.connect_tcp(address, &options).await.unwrap();
                // The fault: the task does not learn that the scenario has gone.
                inner.spawn("pump", async move {
                    let _stream = stream;
                    std::future::pending::<()>().await;
                });
                inner.sleep(MS).await;
            })
        })
    });
    assert_names(&message, &["task \"pump\"", "stream #", "oracle.test:80"]);
}

#[test]
fn what_is_allowed_for_a_while_must_still_be_gone_at_the_end() {
    let message = message_of(|| {
        sweep_polls(|net| {
            let inner = net.clone();
            Scenario::new(async move {
                inner.spawn("janitor", std::future::pending());
                inner.sleep(MS).await;
            })
            .allow_tasks(1)
        })
    });
    assert_names(&message, &["is left at the end", "task \"janitor\""]);
}

/// One place for one holder at a time, with a queue.
#[derive(Default)]
struct Gate {
    held: Mutex<(bool, VecDeque<(usize, Waker)>)>,
    entered: AtomicUsize,
    leases: AtomicUsize,
    /// The fault, if there is to be one.
    keeps_dropped_waiters: bool,
    forgets_leases: bool,
}

struct Pass(Arc<Gate>);

struct Waiting(Arc<Gate>, Option<usize>);

impl Waiting {
    async fn enter(gate: Arc<Gate>) -> Pass {
        let mut waiting = Waiting(gate, None);
        poll_fn(|cx| {
            let gate = waiting.0.clone();
            let mut held = gate.held.lock().unwrap();
            let first = waiting.1.is_none() || held.1.front().map(|one| one.0) == waiting.1;
            if !held.0 && first {
                if waiting.1.take().is_some() {
                    held.1.pop_front();
                }
                held.0 = true;
                return Poll::Ready(());
            }
            let id = *waiting
                .1
                .get_or_insert_with(|| gate.entered.fetch_add(1, Ordering::Relaxed));
            held.1.retain(|one| one.0 != id);
            held.1.push_back((id, cx.waker().clone()));
            Poll::Pending
        })
        .await;
        waiting.0.leases.fetch_add(1, Ordering::Relaxed);
        Pass(waiting.0.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(id) = self.1 else { return };
        if self.0.keeps_dropped_waiters {
            return;
        }
        let mut held = self.0.held.lock().unwrap();
        held.1.retain(|one| one.0 != id);
        // The next waiter may have been woken without need.
        let next = held.1.front().map(|one| one.1.clone());
        drop(held);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut held = self.0.held.lock().unwrap();
        held.0 = false;
        let next = held.1.front().map(|one| one.1.clone());
        drop(held);
        if !self.0.forgets_leases {
            self.0.leases.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(next) = next {
            next.wake();
        }
    }
}

fn through_a_gate(net: &MockNet, gate: Gate) -> Scenario {
    let gate = Arc::new(gate);
    let (net, other) = (net.clone(), net.clone());
    let (main, rival, later, counted) = (gate.clone(), gate.clone(), gate.clone(), gate);
    Scenario::new(async move {
        let first = Waiting::enter(rival).await;
        let mut second = std::pin::pin!(Waiting::enter(main));
        // In the queue behind the first, which leaves after a while.
        poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending())).await;
        net.sleep(MS).await;
        drop(first);
        let second = second.await;
        net.sleep(MS).await;
        drop(second);
    })
    .counting(move || {
        vec![
            ("leases", counted.leases.load(Ordering::Relaxed)),
            ("waiters", counted.held.lock().unwrap().1.len()),
        ]
    })
    .then(async move {
        let _pass = Waiting::enter(later).await;
        other.sleep(MS).await;
    })
}

#[test]
fn a_queue_without_faults_passes() {
    sweep_polls(|net| through_a_gate(net, Gate::default()));
    sweep_steps(|net| through_a_gate(net, Gate::default()));
}

#[test]
fn a_waiter_left_in_the_queue_is_caught_and_named() {
    let message = message_of(|| {
        sweep_polls(|net| {
            let gate = Gate {
                keeps_dropped_waiters: true,
                ..Gate::default()
            };
            through_a_gate(net, gate)
        })
    });
    assert_names(&message, &["waiters: 1, and it was 0"]);
}

#[test]
fn a_lease_that_is_not_returned_is_caught_and_named() {
    let message = message_of(|| {
        sweep_polls(|net| {
            let gate = Gate {
                forgets_leases: true,
                ..Gate::default()
            };
            through_a_gate(net, gate)
        })
    });
    assert_names(&message, &["leases: 1, and it was 0"]);
}

#[test]
fn a_waiter_that_is_never_woken_leaves_the_follow_up_stuck() {
    let message = message_of(|| {
        sweep_polls(|net| {
            // The fault, without anything to count: the next one waits behind one who is gone.
            let gate = Arc::new(Gate {
                keeps_dropped_waiters: true,
                ..Gate::default()
            });
            let (holder, main, later, counted) = (gate.clone(), gate.clone(), gate.clone(), gate);
            let leave = net.sleep(MS);
            net.spawn("holder", async move {
                let _pass = Waiting::enter(holder).await;
                leave.await;
            });
            Scenario::new(async move {
                drop(Waiting::enter(main).await);
            })
            // Not a leak yet by itself: one may wait, and the other is said to have gone.
            .counting(move || {
                let waiters = counted.held.lock().unwrap().1.len();
                vec![("waiters", if waiters > 1 { waiters } else { 0 })]
            })
            .then(async move {
                drop(Waiting::enter(later).await);
            })
        })
    });
    assert_names(
        &message,
        &[
            "the world is stuck",
            "the main future waits\n  for nothing of this world's",
            "the follow-up failed, with the scenario dropped",
            "; waiters: 2",
        ],
    );
}
