//! Reservations, case by case.

use super::*;

#[test]
fn a_reservation_takes_an_idle_connection_out_of_reach() {
    let mut bench = Bench::new(|config| config.max_connections = Some(1));
    let route = plain(0);
    bench.park(&route);
    let reserved = bench.reserve(&route, 5);
    assert_eq!(bench.told(), ["grant 1 again"]);
    assert!(bench.state.is_ready(reserved));
    let waiter = bench.ask(&route);
    assert_eq!(bench.told(), [""; 0], "it waits");
    assert!(bench.unreserve(reserved));
    bench.back(reserved, 1);
    assert_eq!(granted(&bench.drain()), [(waiter, 1)]);
}

#[test]
fn a_reservation_without_a_connection_begins_one_and_is_ready_by_that() {
    let mut bench = Bench::new(|_| {});
    let route = plain(0);
    let reserved = bench.reserve(&route, 5);
    let actions = bench.drain();
    let words: Vec<_> = actions.iter().map(word).collect();
    assert_eq!(words, ["ready", "dial host0"]);
    assert!(bench.state.is_ready(reserved));
    let connection = bench.made(one_dial(&actions));
    assert_eq!(granted(&bench.drain()), [(reserved, connection)]);
}

#[test]
fn a_reservation_in_a_full_pool_waits_in_turn() {
    let mut bench = Bench::new(|config| config.max_connections = Some(1));
    let route = plain(0);
    let first = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    let before = bench.ask(&route);
    let reserved = bench.reserve(&route, 5);
    let after = bench.ask(&route);
    assert!(!bench.state.is_ready(reserved));
    bench.back(first, connection);
    assert_eq!(granted(&bench.drain()), [(before, connection)]);
    bench.back(before, connection);
    assert_eq!(granted(&bench.drain()), [(reserved, connection)]);
    bench.unreserve(reserved);
    bench.back(reserved, connection);
    assert_eq!(granted(&bench.drain()), [(after, connection)]);
}

#[test]
fn behind_the_attempt_that_finds_out_the_protocol_a_reservation_is_not_ready() {
    let mut bench = Bench::new(|_| {});
    let route = negotiated(0);
    let first = bench.reserve(&route, 5);
    let second = bench.reserve(&route, 5);
    let dial = one_dial(&bench.drain());
    assert!(bench.state.is_ready(first));
    assert!(!bench.state.is_ready(second));
    let connection = bench.made_shared(dial, 2);
    let both = [(first, connection), (second, connection)];
    assert_eq!(granted(&bench.drain()), both);
}

#[test]
fn a_reservation_holds_one_stream_of_a_shared_connection() {
    let mut bench = Bench::new(|config| config.max_http2_connections_per_origin = Some(1));
    let route = negotiated(0);
    let first = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    let connection = bench.made_shared(dial, 2);
    bench.drain();
    let reserved = bench.reserve(&route, 5);
    assert_eq!(granted(&bench.drain()), [(reserved, connection)]);
    let waiter = bench.ask(&route);
    assert_eq!(bench.told(), [""; 0], "both streams are taken");
    bench.unreserve(reserved);
    bench.handle(Input::Declined {
        waiter: reserved,
        connection: Connection::Shared(connection),
    });
    assert_eq!(granted(&bench.drain()), [(waiter, connection)]);
    bench.ended(first, CloseReason::Finished);
    bench.ended(waiter, CloseReason::Finished);
}

#[test]
fn what_is_not_used_expires_once_it_was_ready_for_its_time() {
    let mut bench = Bench::new(|config| config.max_connections = Some(1));
    let route = plain(0);
    let first = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    let reserved = bench.reserve(&route, 3);
    bench.pass(10);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), [""; 0], "it is not ready yet");
    bench.back(first, connection);
    bench.drain();
    let end = bench.now + Duration::from_secs(3);
    assert_eq!(bench.state.next_tick(), Some(end));
    bench.pass(2);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), [""; 0]);
    bench.pass(1);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), ["expired"]);
    assert!(
        bench.state.is_reservation(reserved),
        "until it is given back"
    );
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), [""; 0], "once only");
    assert!(bench.unreserve(reserved));
    assert!(!bench.unreserve(reserved));
    bench.back(reserved, connection);
    assert_eq!(bench.state.counts().idle, 1);
}

#[test]
fn a_reservation_that_loses_its_attempt_has_its_full_time_with_the_next() {
    let mut bench = Bench::new(|config| {
        config.max_connections = Some(1);
        config.connect_preempt_after = Some(Duration::from_secs(2));
    });
    let (route, other) = (plain(0), plain(1));
    let reserved = bench.reserve(&route, 3);
    bench.drain();
    let waiter = bench.ask(&other);
    bench.pass(2);
    bench.handle(Input::Tick);
    let actions = bench.drain();
    let words: Vec<_> = actions.iter().map(word).collect();
    assert_eq!(words, ["requeued", "abandon", "dial host1"]);
    assert!(!bench.state.is_ready(reserved));
    bench.pass(1);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), [""; 0], "it is not ready");
    let connection = bench.made(dials(&actions)[0]);
    bench.drain();
    bench.back(waiter, connection);
    let words = bench.told();
    assert!(words.contains(&"ready".to_owned()), "{words:?}");
    bench.pass(2);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), [""; 0]);
    bench.pass(1);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), ["expired"]);
}

#[test]
fn a_drain_and_a_close_end_reservations() {
    for input in [Input::Drain, Input::Close] {
        let mut bench = Bench::new(|_| {});
        let route = plain(0);
        bench.park(&route);
        let held = bench.reserve(&route, 1000);
        bench.drain();
        bench.handle(input);
        assert_eq!(bench.told(), ["expired"]);
        bench.unreserve(held);
        bench.back(held, 1);
        assert_eq!(bench.told(), ["close 1: pool closed"]);
        let late = bench.reserve(&route, 1000);
        assert_eq!(bench.told(), ["refuse: closed"]);
        bench.unreserve(late);
        bench.state.acknowledge(late);
        assert_eq!(bench.state.counts(), Counts::default());
    }
}
