//! The clock, the tasks, and the world that is stuck.

use std::{
    future::poll_fn,
    io::{ErrorKind, IoSlice},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use httpcore_core_primitives::{
    NetworkBackend, Runtime, TcpOptions, TlsConnector, sleep_until, with_deadline,
};
use httpcore_net_mock::{DnsEntry, Link, LiveCounts, MockNet, MockTls, Script, TlsServer};

const SECOND: Duration = Duration::from_secs(1);

fn panic_of(run: impl FnOnce()) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    let payload = caught.expect_err("this was to panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload
            .downcast::<&str>()
            .map_or_else(|_| String::new(), |text| (*text).to_owned()),
    }
}

#[test]
fn the_clock_moves_to_the_next_timer_when_nothing_else_can_run() {
    let net = MockNet::new();
    let begin = net.now();
    net.run(net.sleep(3600 * SECOND));
    assert_eq!(net.now() - begin, 3600 * SECOND);
    assert_eq!(net.elapsed(), 3600 * SECOND);
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines_and_then_of_their_arming() {
    let net = MockNet::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    for (name, seconds) in [("c", 3), ("a", 1), ("b1", 2), ("b2", 2)] {
        let (order, sleep) = (order.clone(), net.sleep(seconds * SECOND));
        net.spawn("sleeper", async move {
            sleep.await;
            order.lock().unwrap().push(name);
        });
    }
    net.run(net.sleep(4 * SECOND));
    assert_eq!(*order.lock().unwrap(), ["a", "b1", "b2", "c"]);
}

#[test]
fn a_deadline_ends_what_would_never_end() {
    let net = MockNet::new();
    let runtime: Arc<dyn Runtime> = Arc::new(net.clone());
    let deadline = Some(net.now() + SECOND);
    let ended = net.run(with_deadline(
        &runtime,
        "patience",
        deadline,
        std::future::pending::<()>(),
    ));
    assert_eq!((ended, net.elapsed()), (None, SECOND));
    assert_eq!(net.live_counts(), LiveCounts::default());
}

#[test]
fn a_disarmed_timer_counts_for_nothing_until_it_is_armed_again() {
    let net = MockNet::new();
    let mut timer = net.timer("patience");
    let (first, second) = (net.now() + SECOND, net.now() + 2 * SECOND);
    net.run(async {
        poll_fn(|cx| Poll::Ready(timer.poll_until(cx, first).is_pending())).await;
        assert_eq!(net.live_counts().timers, 1);
        timer.disarm();
        assert_eq!(net.live_counts(), LiveCounts::default());
        poll_fn(|cx| timer.poll_until(cx, second)).await;
    });
    assert_eq!(net.elapsed(), 2 * SECOND);
}

#[test]
fn a_stuck_world_fails_at_once_and_says_who_waits_for_what() {
    let net = MockNet::new();
    net.serve("silent.test", 80, async |stream| stream.stall().await);
    let report = panic_of(|| {
        net.spawn("janitor", std::future::pending());
        net.name("unknown.test", DnsEntry::never());
        let look_up = net.resolve("unknown.test", 80);
        net.spawn("sleeper", async move { drop(look_up.await) });
        let unarmed = net.timer("idle expiry");
        let (_client, mut server) = net.pair();
        net.run(async {
            server.read_some().await.unwrap();
        });
        drop(unarmed);
    });
    for part in [
        "the world is stuck",
        "at +0.000000s",
        "the main future waits\n  to read from stream #",
        "task \"janitor\" waits\n  for nothing of this world's",
        "task \"sleeper\" waits\n  for \"look up unknown.test\", never answered",
        "timer \"idle expiry\", not armed",
        "client -> server: 0 bytes written, 0 read; server waits to read",
    ] {
        assert!(report.contains(part), "{part:?} is not in:\n{report}");
    }
}

#[test]
fn a_main_future_stuck_beside_something_periodic_is_noticed() {
    let net = MockNet::new();
    let runtime: Arc<dyn Runtime> = Arc::new(net.clone());
    net.spawn("metronome", async move {
        loop {
            sleep_until(&runtime, runtime.now() + SECOND).await;
        }
    });
    let report = panic_of(|| net.run(std::future::pending()));
    assert!(
        report.contains("stuck beside something periodic"),
        "{report}"
    );
    net.clear();
}

#[test]
fn settling_runs_what_can_run_and_leaves_the_clock_alone() {
    let net = MockNet::new();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (noted, sleep) = (steps.clone(), net.sleep(SECOND));
    net.spawn("stepper", async move {
        noted.lock().unwrap().push(1);
        sleep.await;
        noted.lock().unwrap().push(2);
    });
    net.run_until_idle();
    assert_eq!(
        (net.elapsed(), steps.lock().unwrap().clone()),
        (Duration::ZERO, vec![1])
    );
    net.advance(SECOND / 2);
    assert_eq!(
        (net.elapsed(), steps.lock().unwrap().clone()),
        (SECOND / 2, vec![1])
    );
    net.advance(SECOND);
    assert_eq!(
        (net.elapsed(), steps.lock().unwrap().clone()),
        (SECOND * 3 / 2, vec![1, 2])
    );
}

#[test]
fn a_task_that_main_left_behind_goes_on_in_the_next_run() {
    let net = MockNet::new();
    let done = Arc::new(Mutex::new(false));
    let (noted, sleep) = (done.clone(), net.sleep(SECOND));
    net.spawn("late", async move {
        sleep.await;
        *noted.lock().unwrap() = true;
    });
    net.run(async {});
    assert_eq!((net.live_counts().tasks, net.live_counts().timers), (1, 1));
    net.run(net.sleep(2 * SECOND));
    assert!(*done.lock().unwrap());
    assert_eq!(net.live_counts(), LiveCounts::default());
}

#[test]
fn the_last_handle_takes_the_tasks_along() {
    let net = MockNet::new();
    let alive = Arc::new(());
    let held = alive.clone();
    let (stream, server) = net.pair();
    let timer = net.sleep(SECOND);
    net.spawn("holder", async move {
        let _held = (held, stream, timer);
        std::future::pending::<()>().await;
    });
    let served = alive.clone();
    net.serve("held.test", 80, move |_| {
        let _served = &served;
        async {}
    });
    let second = net.clone();
    drop(net);
    assert_eq!(Arc::strong_count(&alive), 3);
    drop(second);
    assert_eq!(Arc::strong_count(&alive), 1);
    drop(server);
}

#[test]
fn a_world_that_holds_itself_ends_when_it_is_cleared() {
    let net = MockNet::new();
    let alive = Arc::new(());
    let (held, inner) = (alive.clone(), net.clone());
    net.spawn("loop", async move {
        let _held = held;
        inner.sleep(SECOND).await;
    });
    net.run_until_idle();
    net.clear();
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_wake_from_another_thread_counts_while_the_world_runs() {
    let net = MockNet::new();
    let mut started = false;
    net.run(poll_fn(|cx| {
        if std::mem::replace(&mut started, true) {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        Poll::Pending
    }));
}

#[test]
fn running_within_a_run_is_refused() {
    let net = MockNet::new();
    let report = panic_of(|| net.run(async { net.run(async {}) }));
    assert!(report.contains("being run already"), "{report}");
    net.run(async {});
}

#[test]
fn a_wait_without_end_is_no_overflow() {
    let net = MockNet::new();
    net.run(net.sleep(SECOND));
    net.spawn("patient", net.sleep(Duration::MAX));
    net.run(net.sleep(SECOND));
    assert_eq!(net.elapsed(), 2 * SECOND);
}

#[test]
fn a_timer_that_is_armed_again_for_ever_ends_at_the_maximum_of_time() {
    let month = 30 * 86_400 * SECOND;
    for (net, years) in [(MockNet::new(), 100), (MockNet::new(), 2)] {
        if years != 100 {
            net.max_time(years * 365 * 86_400 * SECOND);
        }
        let report = panic_of(|| {
            net.run(async {
                loop {
                    net.sleep(month).await;
                }
            })
        });
        for part in [
            "the world goes on without end",
            "MockNet::max_time",
            "the main future waits\n  for timer \"sleep\", due at",
        ] {
            assert!(report.contains(part), "{part:?} is not in:\n{report}");
        }
        let most = years * 365 * 86_400 * SECOND;
        assert!(net.elapsed() <= most && net.elapsed() > most - month);
        // It counts from the beginning of each run.
        net.run(net.sleep(month));
    }
}

#[test]
fn a_timer_that_is_armed_again_for_ever_ends_at_the_maximum_of_steps() {
    let net = MockNet::new();
    net.max_steps(1000);
    let report = panic_of(|| {
        net.run(async {
            loop {
                net.sleep(SECOND).await;
            }
        })
    });
    for part in [
        "the world goes on without end: more than 1000 steps (MockNet::max_steps)",
        "the main future waits\n  for timer \"sleep\"",
    ] {
        assert!(report.contains(part), "{part:?} is not in:\n{report}");
    }
    assert!(net.elapsed() < 1000 * SECOND);
    net.run(net.sleep(SECOND));
}

#[test]
fn tasks_that_wake_themselves_for_ever_end_at_the_maximum_of_steps() {
    let net = MockNet::new();
    net.max_steps(1000);
    let report = panic_of(|| {
        net.run(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
    });
    assert!(
        report.contains("the world does not become idle"),
        "{report}"
    );
    assert!(report.contains("more than 1000 steps"), "{report}");
    assert_eq!(net.elapsed(), Duration::ZERO);
}

#[test]
fn a_server_that_stalls_is_reported_as_stalling_and_not_as_a_lost_wake_up() {
    let net = MockNet::new();
    net.serve("silent.test", 80, async |stream| stream.stall().await);
    net.serve_script("table.test", 80, Script::new().stall());
    let report = panic_of(|| {
        net.run(async {
            let mut streams = Vec::new();
            for name in ["silent.test", "table.test"] {
                let address = net.resolve(name, 80).await.unwrap()[0];
                let options = TcpOptions::default();
                streams.push(net.connect_tcp(address, &options).await.unwrap());
            }
            std::future::pending::<()>().await;
        });
    });
    assert_eq!(report.matches(", as scripted").count(), 2, "{report}");
    assert!(report.contains("(server) waits\n  for nothing: it stalls on stream #"));
    // The main future alone waits for nothing.
    assert_eq!(report.matches("a wake-up was lost").count(), 1, "{report}");
    // What has gone is not said to stall.
    let report = net.report();
    assert!(!report.contains("the main future"), "{report}");
    net.clear();
    assert!(!net.report().contains("stalls"));
}

#[test]
fn a_name_and_an_address_that_nothing_serves_say_what_is_served() {
    let net = MockNet::new();
    let said = net.run(net.resolve("shop.test", 80)).unwrap_err();
    assert_eq!(said.kind(), ErrorKind::NotFound);
    assert_eq!(
        said.to_string(),
        "this MockNet has no host \"shop.test\"; nothing is served"
    );
    for n in 0..25 {
        net.serve(&format!("host{n:02}.test"), 80, async |_| {});
    }
    net.name("none.test", DnsEntry::fails(ErrorKind::NotFound));
    let said = net.run(net.resolve("shop.test", 80)).unwrap_err();
    let said = said.to_string();
    assert!(
        said.contains("served are host00.test:80, host01.test:80, "),
        "{said}"
    );
    assert!(said.ends_with("host19.test:80 and 5 more"), "{said}");
    let connect = |address: &str| {
        let address = address.parse().unwrap();
        let connect = net.connect_tcp(address, &TcpOptions::default());
        net.run(connect).unwrap_err()
    };
    let refused = connect("10.0.0.1:443");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(
        refused.to_string().starts_with(
            "this MockNet serves nothing at 10.0.0.1:443; served are host00.test:80, "
        ),
        "{refused}"
    );
    let absent = net.run(net.connect_unix("/none".as_ref())).unwrap_err();
    assert!(absent.to_string().contains("nothing at /none"), "{absent}");
    // What a test has wished for is no mistake.
    let wished = net.run(net.resolve("none.test", 80)).unwrap_err();
    assert!(!wished.to_string().contains("served"), "{wished}");
    net.set_link("10.9.9.9:80".parse().unwrap(), Link::refused());
    assert!(!connect("10.9.9.9:80").to_string().contains("served"));
}

#[test]
fn tls_to_a_server_without_it_says_what_is_missing() {
    // RFC 8446 §5.1, §4: a record of a handshake, and a ClientHello in it.
    const REAL: &[u8] = &[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    async fn say(net: &MockNet, name: &str) {
        let address = net.resolve(name, 443).await.unwrap()[0];
        let options = TcpOptions::default();
        let mut stream = net.connect_tcp(address, &options).await.unwrap();
        let written = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(REAL)])).await;
        assert_eq!(written.unwrap(), REAL.len());
        std::future::pending::<()>().await;
    }
    let net = MockNet::new();
    let serve = || {
        net.clear();
        net.serve("plain.test", 443, async |mut stream| {
            let _ = stream.read_head().await;
        });
        let table = Script::new().expect_request("GET /", &[]);
        net.serve_script("table.test", 443, table);
        net.serve_tls("tls.test", 443, TlsServer::new(), async |_| {});
    };
    for (name, what) in [
        ("plain.test", "serve_tls"),
        ("table.test", "serve_tls"),
        ("tls.test", "TLS without cryptography"),
    ] {
        serve();
        let said = panic_of(|| net.run(say(&net, name)));
        assert!(said.contains(&format!("real TLS to {name}:443")), "{said}");
        assert!(said.contains("MockTls::new()"), "{said}");
        assert!(said.contains(what), "{said}");
    }
    serve();
    let said = panic_of(|| {
        net.run(async {
            let address = net.resolve("plain.test", 443).await.unwrap()[0];
            let options = TcpOptions::default();
            let stream = net.connect_tcp(address, &options).await.unwrap();
            let _ = MockTls::new().handshake(stream, "plain.test", &[]).await;
        });
    });
    assert!(said.contains("MockTls to plain.test:443"), "{said}");
    net.clear();
}

#[test]
fn what_waits_in_another_world_panics_at_once() {
    let (net, other) = (MockNet::new(), MockNet::new());
    let said = panic_of(|| net.run(other.sleep(SECOND)));
    assert!(said.contains("awaited in another MockNet"), "{said}");
    let said = panic_of(|| net.run(async { other.spawn("lost", async {}) }));
    assert!(said.contains("spawned in another MockNet"), "{said}");
    // One within the other is another matter, and so is a world that is moved by hand there.
    net.run(async {
        other.run(other.sleep(SECOND));
        let sleep = other.sleep(SECOND);
        other.advance(SECOND);
        sleep.await;
    });
    assert_eq!(
        (net.elapsed(), other.elapsed()),
        (Duration::ZERO, 2 * SECOND)
    );
}
