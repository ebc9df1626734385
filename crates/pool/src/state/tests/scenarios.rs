//! What the machine does, case by case.

use super::*;

#[test]
fn an_idle_connection_is_lent_again_and_the_latest_first() {
    let mut bench = Bench::new(|_| {});
    let route = plain(0);
    bench.park(&route);
    bench.pass(1);
    bench.park(&route);
    bench.ask(&route);
    assert_eq!(bench.told(), ["grant 2 again"]);
    bench.ask(&route);
    assert_eq!(bench.told(), ["grant 1 again"]);
}

#[test]
fn a_waiter_survives_the_end_of_the_last_connection_of_its_route() {
    let mut bench = Bench::new(|_| {});
    let route = plain(0);
    let (_, connection) = bench.park(&route);
    bench.dead.insert(connection);
    bench.ask(&route);
    assert_eq!(bench.told(), ["close 1: peer closed", "dial host0"]);
}

#[test]
fn waiter_takes_the_first_ready_connection_and_its_attempt_continues() {
    let mut bench = Bench::new(|_| {});
    let route = plain(0);
    let first = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    let second = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    bench.back(first, connection);
    assert_eq!(granted(&bench.drain()), [(second, connection)]);
    let late = bench.made(dial);
    assert_eq!(
        bench.told(),
        [""; 0],
        "no request waits, and so it becomes idle"
    );
    assert_eq!(bench.state.counts().idle, 1);
    let third = bench.ask(&route);
    let actions = bench.drain();
    assert_eq!(granted(&actions), [(third, late)]);
    assert_eq!(word(&actions[0]), "grant 2", "no request has used it yet");
}

#[test]
fn a_connection_goes_to_the_request_that_arrived_first() {
    let mut bench = Bench::new(|_| {});
    let route = plain(0);
    let waiters = [bench.ask(&route), bench.ask(&route), bench.ask(&route)];
    let dials = dials(&bench.drain());
    assert_eq!(dials.len(), 3);
    for (n, &dial) in dials.iter().rev().enumerate() {
        let connection = bench.made(dial);
        assert_eq!(granted(&bench.drain()), [(waiters[n], connection)]);
    }
}

#[test]
fn a_failed_attempt_fails_the_waiter_that_caused_it() {
    let mut bench = Bench::new(|_| {});
    let route = plain(0);
    bench.ask(&route);
    let second = bench.ask(&route);
    let dials = dials(&bench.drain());
    bench.failed(dials[1]);
    let actions = bench.drain();
    assert!(
        matches!(&actions[..], [Effect::Reject { waiter, why: Rejection::Connect(_) }] if *waiter == second),
        "{actions:?}"
    );
}

#[test]
fn a_failed_attempt_of_a_request_that_left_fails_no_other() {
    let mut bench = Bench::new(|_| {});
    let route = plain(0);
    let gone = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    bench.cancel(gone);
    assert_eq!(bench.told(), [""; 0], "the attempt goes on");
    let next_waiter = bench.ask(&route);
    assert_eq!(bench.told(), [""; 0], "and the next request waits for it");
    assert!(bench.state.is_connecting(next_waiter));
    bench.failed(dial);
    assert_eq!(bench.told(), ["drop error", "requeued", "dial host0"]);
    assert!(bench.state.is_connecting(next_waiter));
}

#[test]
fn an_attempt_that_lost_its_waiter_goes_to_one_that_lost_its_attempt() {
    let mut bench = Bench::new(|config| config.max_connections = Some(2));
    let route = plain(0);
    let first = bench.ask(&route);
    let second = bench.ask(&route);
    let dials = dials(&bench.drain());
    // The second one's dial serves the first, whose own dial is now the second's.
    let connection = bench.made(dials[1]);
    assert_eq!(granted(&bench.drain()), [(first, connection)]);
    assert!(bench.state.is_connecting(second));
    bench.failed(dials[0]);
    let actions = bench.drain();
    assert_eq!(
        actions.iter().map(word).collect::<Vec<_>>(),
        ["drop error", "requeued", "dial host0"]
    );
    // This time it is the second one's own.
    bench.failed(one_dial(&actions));
    assert_eq!(bench.told(), ["refuse: dial"]);
}

#[test]
fn an_idle_connection_makes_room_for_another_route_the_longest_idle_first() {
    let mut bench = Bench::new(|config| config.max_connections = Some(2));
    bench.park(&plain(0));
    bench.pass(1);
    bench.park(&plain(1));
    bench.ask(&plain(2));
    assert_eq!(bench.told(), ["close 1: slot needed", "dial host2"]);
    bench.ask(&plain(3));
    assert_eq!(bench.told(), ["close 2: slot needed", "dial host3"]);
    bench.ask(&plain(4));
    assert_eq!(bench.told(), [""; 0]);
}

#[test]
fn an_unclaimed_attempt_is_abandoned_before_an_idle_connection_is_evicted() {
    let mut bench = Bench::new(|config| config.max_connections = Some(2));
    bench.park(&plain(0));
    let gone = bench.ask(&plain(1));
    let dial = one_dial(&bench.drain());
    bench.cancel(gone);
    bench.drain();
    bench.ask(&plain(2));
    assert_eq!(bench.told(), ["abandon", "dial host2"]);
    // It comes all the same, a little late.
    bench.made(dial);
    assert_eq!(bench.told(), ["close 2: redundant"]);
}

#[test]
fn slots_go_round_between_routes() {
    let mut bench = Bench::new(|config| config.max_connections = Some(1));
    let busy = bench.ask(&plain(9));
    let dial = one_dial(&bench.drain());
    bench.made(dial);
    bench.drain();
    for _ in 0..3 {
        bench.ask(&plain(0));
    }
    bench.ask(&plain(1));
    bench.ask(&plain(2));
    bench.drain();
    bench.ended(busy, CloseReason::Failed);
    let mut order = Vec::new();
    for _ in 0..5 {
        let actions = bench.drain();
        order.extend(
            actions
                .iter()
                .map(word)
                .filter(|word| word.starts_with("dial")),
        );
        let dial = one_dial(&actions);
        bench.made(dial);
        let (waiter, _) = granted(&bench.drain())[0];
        bench.ended(waiter, CloseReason::Failed);
    }
    assert_eq!(
        order,
        [
            "dial host0",
            "dial host1",
            "dial host2",
            "dial host0",
            "dial host0"
        ]
    );
}

#[test]
fn a_route_with_a_long_queue_gives_up_a_connection_for_another_in_the_end() {
    let mut bench = Bench::new(|config| config.max_connections = Some(1));
    let mut waiter = bench.ask(&plain(0));
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    for _ in 0..100 {
        bench.ask(&plain(0));
    }
    bench.ask(&plain(1));
    bench.drain();
    let mut served = 0;
    let actions = loop {
        bench.back(waiter, connection);
        let actions = bench.drain();
        match granted(&actions)[..] {
            [(next, _)] => waiter = next,
            _ => break actions,
        }
        served += 1;
    };
    assert_eq!(served, 16);
    let words: Vec<_> = actions.iter().map(word).collect();
    assert_eq!(words, ["close 1: slot needed", "dial host1"]);
}

#[test]
fn a_route_keeps_its_connection_while_no_other_waits() {
    let mut bench = Bench::new(|config| config.max_connections = Some(1));
    let mut waiter = bench.ask(&plain(0));
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    for _ in 0..100 {
        bench.ask(&plain(0));
    }
    bench.drain();
    for _ in 0..100 {
        bench.back(waiter, connection);
        waiter = granted(&bench.drain())[0].0;
    }
}

#[test]
fn one_route_takes_no_more_slots_than_it_may() {
    let mut bench = Bench::new(|config| config.max_connections_per_origin = Some(2));
    for _ in 0..5 {
        bench.ask(&plain(0));
    }
    bench.ask(&plain(1));
    assert_eq!(bench.told(), ["dial host0", "dial host0", "dial host1"]);
}

#[test]
fn a_limit_of_none_at_all_is_a_limit_of_one() {
    let mut bench = Bench::new(|config| {
        config.max_connections = Some(0);
        config.max_connections_per_origin = Some(0);
    });
    bench.ask(&plain(0));
    bench.ask(&plain(0));
    assert_eq!(bench.told(), ["dial host0"]);
}

#[test]
fn dead_connection_is_found_when_granted_returned_or_woken() {
    let mut bench = Bench::new(|_| {});
    let route = plain(0);
    let (_, connection) = bench.park(&route);
    bench.dead.insert(connection);
    let waiter = bench.ask(&route);
    let actions = bench.drain();
    let words: Vec<_> = actions.iter().map(word).collect();
    assert_eq!(words, ["close 1: peer closed", "dial host0"]);

    let connection = bench.made(one_dial(&actions));
    bench.drain();
    bench.dead.insert(connection);
    bench.back(waiter, connection);
    assert_eq!(bench.told(), ["close 2: peer closed"]);

    let (place, connection) = bench.park(&route);
    bench.woken(place);
    assert_eq!(bench.told(), [""; 0], "a false alarm");
    bench.dead.insert(connection);
    bench.woken(place);
    assert_eq!(bench.told(), ["close 3: peer closed"]);
    bench.woken(place);
    assert_eq!(bench.told(), [""; 0], "old news");
}

#[test]
fn a_connection_needs_no_timer_before_it_is_idle() {
    let (idle, age) = (Duration::from_secs(9), Duration::from_secs(7));
    let mut bench = Bench::new(|config| {
        config.idle_timeout = Some(idle);
        config.max_lifetime = Some(age);
    });
    let waiter = bench.ask(&plain(0));
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    let made = bench.now;
    bench.drain();
    assert_eq!(bench.state.timer_change(), TimerChange::default());
    bench.pass(1);
    bench.back(waiter, connection);
    bench.drain();
    let news = bench.state.timer_change();
    assert_eq!((news.any, news.soonest), (true, Some(made + age)));
}

#[test]
fn a_connection_is_closed_on_return_where_none_may_be_idle() {
    for limit in [true, false] {
        let mut bench = Bench::new(|config| {
            let set = if limit {
                &mut config.max_idle
            } else {
                &mut config.max_idle_per_origin
            };
            *set = Some(0);
        });
        let waiter = bench.ask(&plain(0));
        let dial = one_dial(&bench.drain());
        let connection = bench.made(dial);
        bench.drain();
        bench.back(waiter, connection);
        assert_eq!(bench.told(), ["close 1: idle limit"]);
        assert_eq!(bench.state.timer_change(), TimerChange::default());
    }
}

#[test]
fn what_is_idle_too_long_is_closed_and_what_expires_unnoticed_is_not_lent() {
    let mut bench = Bench::new(|config| config.idle_timeout = Some(Duration::from_secs(4)));
    let route = plain(0);
    bench.park(&route);
    bench.pass(1);
    bench.park(&route);
    assert_eq!(
        bench.state.next_tick(),
        Some(bench.now + Duration::from_secs(3))
    );
    bench.pass(3);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), ["close 1: idle timeout"]);
    bench.pass(2);
    bench.ask(&route);
    assert_eq!(bench.told(), ["close 2: idle timeout", "dial host0"]);
}

#[test]
fn age_ends_a_connection_wherever_it_is() {
    let mut bench = Bench::new(|config| {
        config.idle_timeout = None;
        config.max_lifetime = Some(Duration::from_secs(10));
    });
    let route = plain(0);
    bench.park(&route);
    let busy = bench.ask(&route);
    bench.drain();
    bench.park(&route);
    bench.pass(10);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), ["close 2: max lifetime"]);
    bench.back(busy, 1);
    assert_eq!(bench.told(), ["close 1: max lifetime"]);
    assert_eq!(bench.state.next_tick(), None);
}

#[test]
fn a_connection_serves_as_many_requests_as_it_may() {
    let mut bench = Bench::new(|config| config.max_requests_per_connection = Some(2));
    let route = plain(0);
    let (_, connection) = bench.park(&route);
    let waiter = bench.ask(&route);
    assert_eq!(bench.told(), ["grant 1 again"]);
    bench.back(waiter, connection);
    assert_eq!(bench.told(), ["close 1: max requests"]);
}

#[test]
fn too_many_idle_ones_are_closed_the_oldest_first() {
    let mut bench = Bench::new(|config| {
        config.max_idle = Some(2);
        config.max_idle_per_origin = Some(1);
    });
    bench.park(&plain(0));
    let waiter = bench.request(&plain(0), fresh());
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    bench.back(waiter, connection);
    assert_eq!(bench.told(), ["close 1: idle limit"]);
    bench.park(&plain(1));
    bench.park(&plain(2));
    assert_eq!(bench.state.counts().idle, 2);
    assert_eq!(bench.state.stats().closed_for(CloseReason::IdleLimit), 2);
}

#[test]
fn a_request_that_needs_a_new_connection_gets_one() {
    let mut bench = Bench::new(|config| config.max_connections_per_origin = Some(1));
    let route = plain(0);
    bench.park(&route);
    bench.request(&route, fresh());
    assert_eq!(bench.told(), ["close 1: slot needed", "dial host0"]);
}

#[test]
fn a_request_that_needs_a_new_connection_does_not_hold_up_later_ones() {
    let mut bench = Bench::new(|config| config.max_connections = Some(1));
    let route = plain(0);
    let busy = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    bench.request(&route, fresh());
    let behind = bench.ask(&route);
    bench.drain();
    bench.back(busy, connection);
    assert_eq!(granted(&bench.drain()), [(behind, connection)]);
    bench.back(behind, connection);
    assert_eq!(bench.told(), ["close 1: slot needed", "dial host0"]);
}

#[test]
fn the_newest_request_is_rejected_when_the_queue_is_full() {
    let mut bench = Bench::new(|config| {
        config.max_connections = Some(1);
        config.max_pending_requests = Some(1);
    });
    bench.ask(&plain(0));
    assert_eq!(
        bench.told(),
        ["dial host0"],
        "one with an attempt of its own does not count"
    );
    bench.ask(&plain(0));
    assert_eq!(bench.told(), [""; 0]);
    bench.ask(&plain(1));
    assert_eq!(bench.told(), ["refuse: full"]);
}

#[test]
fn closing_rejects_abandons_and_closes() {
    let mut bench = Bench::new(|config| config.max_connections = Some(3));
    bench.park(&plain(0));
    let busy = bench.request(&plain(0), fresh());
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    bench.ask(&plain(1));
    bench.drain();
    bench.handle(Input::Close);
    assert_eq!(
        bench.told(),
        ["close 1: pool closed", "refuse: closed", "abandon"]
    );
    bench.back(busy, connection);
    assert_eq!(bench.told(), ["close 2: pool closed"]);
    bench.ask(&plain(0));
    assert_eq!(bench.told(), ["refuse: closed"]);
}

#[test]
fn one_attempt_finds_out_the_protocol_for_all() {
    let mut bench = Bench::new(|_| {});
    let route = negotiated(0);
    for _ in 0..3 {
        bench.ask(&route);
    }
    let actions = bench.drain();
    assert_eq!(dials(&actions).len(), 1);
    // It turns out exclusive: now everybody needs one of their own.
    bench.made(one_dial(&actions));
    assert_eq!(
        bench.told(),
        [
            "grant 1",
            "requeued",
            "requeued",
            "dial host0",
            "dial host0"
        ]
    );
    assert_eq!(dials(&bench.drain()).len(), 0);
}

#[test]
fn what_was_found_out_is_remembered_without_a_connection() {
    let mut bench = Bench::new(|_| {});
    bench.park(&negotiated(0));
    bench.handle(Input::CloseIdle);
    bench.drain();
    bench.ask(&negotiated(0));
    bench.ask(&negotiated(0));
    assert_eq!(bench.told(), ["dial host0", "dial host0"]);
}

#[test]
fn the_number_of_remembered_routes_is_bounded() {
    let mut bench = Bench::new(|_| {});
    bench.audits = false; // each takes as long as there are routes
    for n in 0..MAX_EMPTY_ROUTES + 10 {
        bench.park(&negotiated(n));
        bench.handle(Input::CloseIdle);
        bench.drain();
    }
    assert_eq!(bench.state.routes.len(), MAX_EMPTY_ROUTES);
}

#[test]
fn after_a_failed_probe_each_waiter_has_an_attempt_of_its_own() {
    let mut bench = Bench::new(|_| {});
    let route = negotiated(0);
    for _ in 0..3 {
        bench.ask(&route);
    }
    let dial = one_dial(&bench.drain());
    bench.failed(dial);
    let told = bench.told();
    assert_eq!(
        told.iter().filter(|word| *word == "refuse: dial").count(),
        1
    );
    assert_eq!(told.iter().filter(|word| *word == "dial host0").count(), 2);
}

#[test]
fn a_shared_connection_carries_what_it_admits_and_then_another_is_made() {
    let mut bench = Bench::new(|config| config.max_http2_connections_per_origin = Some(2));
    let route = negotiated(0);
    let waiters: Vec<_> = (0..7).map(|_| bench.ask(&route)).collect();
    let dial = one_dial(&bench.drain());
    bench.made_shared(dial, 3);
    let actions = bench.drain();
    let served: Vec<_> = granted(&actions).iter().map(|grant| grant.0).collect();
    assert_eq!(served, waiters[..3]);
    bench.made_shared(one_dial(&actions), 3);
    let told = bench.told();
    assert_eq!(
        told,
        ["grant 2", "grant 2 again", "grant 2 again"],
        "and no third one"
    );
    bench.ended(waiters[0], CloseReason::Finished);
    assert_eq!(bench.told(), ["grant 1 again"]);
}

#[test]
fn a_request_that_was_not_processed_comes_before_later_ones() {
    let mut bench = Bench::new(|_| {});
    let route = negotiated(0);
    let waiters: Vec<_> = (0..4).map(|_| bench.ask(&route)).collect();
    let dial = one_dial(&bench.drain());
    bench.made_shared(dial, 4);
    assert_eq!(granted(&bench.drain()).len(), 4);
    bench.ask(&route);
    let next = one_dial(&bench.drain());
    // The server goes away, and they are told one after the other that it did nothing for them.
    let mut again = Vec::new();
    for n in [2, 3, 0, 1] {
        let arrival = bench.state.arrival(waiters[n]).unwrap();
        bench.ended(waiters[n], CloseReason::PeerSaidClose);
        let waiter = bench.request_again(&route, arrival);
        again.push((n, waiter));
        assert!(granted(&bench.drain()).is_empty(), "that one is not used");
    }
    again.sort();
    bench.made_shared(next, 4);
    let served: Vec<_> = granted(&bench.drain())
        .iter()
        .map(|grant| grant.0)
        .collect();
    let expected: Vec<_> = again.iter().map(|(_, waiter)| *waiter).collect();
    assert_eq!(served, expected, "in the order in which they came first");
}

#[test]
fn a_lowered_limit_takes_nothing_away_and_a_raised_one_lets_in() {
    let mut bench = Bench::new(|config| config.max_http2_connections_per_origin = Some(1));
    let route = negotiated(0);
    let waiters: Vec<_> = (0..4).map(|_| bench.ask(&route)).collect();
    let dial = one_dial(&bench.drain());
    bench.made_shared(dial, 3);
    bench.drain();
    bench.admits(dial, StreamLimit::Max(1));
    let end = |bench: &mut Bench, n: usize| {
        bench.ended(waiters[n], CloseReason::Finished);
        bench.told()
    };
    assert_eq!(end(&mut bench, 0), [""; 0]);
    assert_eq!(end(&mut bench, 1), [""; 0]);
    bench.admits(dial, StreamLimit::Max(2));
    assert_eq!(bench.told(), ["grant 1 again"]);
}

#[test]
fn a_second_shared_connection_that_is_not_needed_is_closed() {
    let mut bench = Bench::new(|_| {});
    let route = negotiated(0);
    let first = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    bench.made_shared(dial, 1);
    bench.drain();
    let second = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    bench.ended(first, CloseReason::Finished);
    assert_eq!(granted(&bench.drain()), [(second, 1)]);
    bench.ended(second, CloseReason::Finished);
    bench.drain();
    bench.made_shared(dial, 1);
    assert_eq!(bench.told(), ["close 2: redundant"]);
}

#[test]
fn a_shared_connection_that_was_idle_for_too_long_is_not_granted() {
    let mut bench = Bench::new(|config| config.idle_timeout = Some(Duration::from_secs(4)));
    let route = negotiated(0);
    let first = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    bench.made_shared(dial, 100);
    bench.drain();
    bench.ended(first, CloseReason::Finished);
    bench.drain();
    // No tick has come in the meantime.
    bench.now += Duration::from_secs(5);
    bench.ask(&route);
    assert_eq!(bench.told(), ["close 1: idle timeout", "dial host0"]);
}

#[test]
fn request_for_a_new_connection_gets_it_beside_a_shared_one_with_room() {
    let mut bench = Bench::new(|_| {});
    let route = negotiated(0);
    bench.ask(&route);
    let dial = one_dial(&bench.drain());
    bench.made_shared(dial, 100);
    bench.drain();
    let second = bench.request(&route, fresh());
    let dial = one_dial(&bench.drain());
    bench.made_shared(dial, 100);
    assert_eq!(
        granted(&bench.drain()),
        [(second, 2)],
        "and nothing else is dialled"
    );
}

#[test]
fn a_busy_shared_connection_makes_room_too_if_it_must() {
    let mut bench = Bench::new(|config| config.max_connections = Some(1));
    let route = negotiated(0);
    let mut open = VecDeque::from([bench.ask(&route)]);
    let dial = one_dial(&bench.drain());
    bench.made_shared(dial, 100);
    bench.drain();
    open.push_back(bench.ask(&route));
    bench.drain();
    bench.ask(&plain(1));
    bench.drain();
    // It never is without an exchange, and so it never is idle.
    let mut granted_since = 0;
    loop {
        open.push_back(bench.ask(&route));
        if granted(&bench.drain()).is_empty() {
            open.pop_back();
            break;
        }
        granted_since += 1;
        assert!(granted_since < 1000, "the other route waits for ever");
        let first = open.pop_front().unwrap();
        bench.ended(first, CloseReason::Finished);
        bench.drain();
    }
    assert_eq!(granted_since, 16);
    let mut told = Vec::new();
    for waiter in open {
        bench.ended(waiter, CloseReason::Finished);
        told.extend(bench.told());
    }
    assert_eq!(told, ["close 1: slot needed", "dial host1"]);
}

#[test]
fn what_is_given_back_unused_counts_as_unused() {
    let mut bench = Bench::new(|_| {});
    let route = plain(0);
    let waiter = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    let connection = Connection::Exclusive(connection);
    bench.handle(Input::Declined { waiter, connection });
    bench.drain();
    bench.ask(&route);
    assert_eq!(bench.told(), ["grant 1"]);
}

#[test]
fn a_lease_that_ends_twice_ends_once() {
    let mut bench = Bench::new(|_| {});
    let route = plain(0);
    let waiter = bench.ask(&route);
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    bench.back(waiter, connection);
    bench.drain();
    bench.back(waiter, 77);
    assert_eq!(bench.told(), ["close 77: redundant"]);
    assert_eq!(bench.state.counts().idle, 1);
}

#[test]
fn an_empty_pool_remembers_few_plain_routes() {
    let mut bench = Bench::new(|_| {});
    for n in 0..50 {
        bench.park(&plain(n));
    }
    bench.handle(Input::CloseIdle);
    bench.drain();
    assert_eq!(bench.state.routes.len(), MAX_EMPTY_PLAIN_ROUTES);
    assert_eq!(bench.state.routes.indexed(), MAX_EMPTY_PLAIN_ROUTES);
    assert_eq!(bench.state.waiters.len(), 0);
}

fn hints(seconds: u64) -> KeepAliveHints {
    KeepAliveHints::default().with_timeout(Duration::from_secs(seconds))
}

#[test]
fn a_connection_is_given_up_before_the_server_said_it_would_close_it() {
    let mut bench = Bench::new(|config| config.idle_timeout = Some(Duration::from_secs(60)));
    bench.park(&plain(0));
    let waiter = bench.ask(&plain(1));
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    bench.back_with(waiter, connection, hints(5));
    bench.drain();
    assert_eq!(
        bench.state.next_tick(),
        Some(bench.now + Duration::from_secs(4))
    );
    bench.pass(3);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), [""; 0]);
    bench.pass(1);
    bench.handle(Input::Tick);
    assert_eq!(
        bench.told(),
        ["close 2: idle timeout"],
        "though the other has been idle longer"
    );
    bench.pass(56);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), ["close 1: idle timeout"]);
}

#[test]
fn the_latest_word_of_the_server_counts() {
    let mut bench = Bench::new(|config| config.idle_timeout = Some(Duration::from_secs(60)));
    let route = plain(0);
    bench.park(&route);
    for (said, expires) in [
        (hints(5), 4),
        (hints(20), 19),
        (KeepAliveHints::default(), 60),
    ] {
        let waiter = bench.ask(&route);
        bench.drain();
        bench.back_with(waiter, 1, said);
        bench.drain();
        assert_eq!(
            bench.state.next_tick(),
            Some(bench.now + Duration::from_secs(expires))
        );
    }
}

#[test]
fn a_connection_the_server_will_not_keep_is_not_kept() {
    let no_more = KeepAliveHints::default().with_max_requests(0);
    for (said, reason) in [
        (hints(0), "idle timeout"),
        (no_more, "keep-alive exhausted"),
    ] {
        let mut bench = Bench::new(|_| {});
        let waiter = bench.ask(&plain(0));
        let dial = one_dial(&bench.drain());
        let connection = bench.made(dial);
        bench.drain();
        bench.back_with(waiter, connection, said);
        assert_eq!(bench.told(), [format!("close 1: {reason}")]);
    }
}

#[test]
fn the_last_request_on_a_connection_is_the_last() {
    let mut bench = Bench::new(|_| {});
    let route = plain(0);
    let (_, connection) = bench.park(&route);
    let waiter = bench.request(&route, any().with_close_after());
    assert_eq!(bench.told(), ["grant 1 again"]);
    bench.back(waiter, connection);
    assert_eq!(bench.told(), ["close 1: caller said close"]);
}

#[test]
fn an_origin_whose_connects_hang_does_not_hold_every_slot_for_ever() {
    let mut bench = Bench::new(|config| {
        config.max_connections = Some(2);
        config.connect_preempt_after = Some(Duration::from_secs(5));
    });
    for _ in 0..10 {
        bench.ask(&plain(0));
    }
    assert_eq!(dials(&bench.drain()).len(), 2);
    bench.pass(60);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), [""; 0], "no other route wants the slots");
    assert_eq!(bench.state.next_tick(), None);
    let other = bench.ask(&plain(1));
    let actions = bench.drain();
    let words: Vec<_> = actions.iter().map(word).collect();
    assert_eq!(words, ["requeued", "abandon", "dial host1"]);
    // The place goes round from then on.
    let connection = bench.made(one_dial(&actions));
    assert_eq!(granted(&bench.drain()), [(other, connection)]);
    bench.back(other, connection);
    assert_eq!(bench.told(), ["close 1: slot needed", "dial host0"]);
    bench.ask(&plain(1));
    assert_eq!(
        bench.told(),
        ["requeued", "abandon", "dial host1"],
        "the other one has had its time too"
    );
}

#[test]
fn an_origin_whose_connects_are_slow_is_reached_in_the_end() {
    let mut bench = Bench::new(|config| {
        config.max_connections = Some(1);
        config.connect_preempt_after = Some(Duration::from_secs(5));
    });
    let slow = bench.ask(&plain(0));
    let mut dial = one_dial(&bench.drain());
    for seconds in [5, 10, 20] {
        let quick = bench.ask(&plain(1));
        bench.drain();
        assert_eq!(
            bench.state.next_tick(),
            Some(bench.now + Duration::from_secs(seconds))
        );
        bench.pass(seconds);
        bench.handle(Input::Tick);
        let actions = bench.drain();
        let connection = bench.made(one_dial(&actions));
        assert_eq!(granted(&bench.drain()), [(quick, connection)]);
        bench.ended(quick, CloseReason::Failed);
        dial = one_dial(&bench.drain());
    }
    bench.ask(&plain(1));
    bench.pass(35);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), [""; 0]);
    let connection = bench.made(dial);
    assert_eq!(granted(&bench.drain()), [(slow, connection)]);
}

#[test]
fn draining_serves_waiters_rejects_new_requests_and_keeps_nothing() {
    let mut bench = Bench::new(|config| config.max_connections = Some(2));
    bench.park(&plain(9));
    let busy = bench.ask(&plain(0));
    let dial = one_dial(&bench.drain());
    let connection = bench.made(dial);
    bench.drain();
    let other = bench.ask(&plain(1));
    let dial = one_dial(&bench.drain());
    let waits = bench.ask(&plain(0));
    bench.drain();
    bench.handle(Input::Drain);
    assert_eq!(bench.told(), [""; 0]);
    bench.ask(&plain(0));
    assert_eq!(bench.told(), ["refuse: closed"]);
    bench.back(busy, connection);
    assert_eq!(granted(&bench.drain()), [(waits, connection)]);
    bench.back(waits, connection);
    assert_eq!(bench.told(), ["close 2: pool closed"]);
    bench.cancel(other);
    assert_eq!(bench.told(), ["abandon"]);
    assert!(bench.state.is_empty());
    bench.made(dial);
    assert_eq!(bench.told(), ["close 3: redundant"]);
}

#[test]
fn request_that_arrives_as_the_last_connection_expires_is_served() {
    let mut bench = Bench::new(|config| config.idle_timeout = Some(Duration::from_secs(4)));
    let route = plain(0);
    bench.park(&route);
    bench.pass(4);
    bench.ask(&route);
    assert_eq!(bench.told(), ["close 1: idle timeout", "dial host0"]);
}

#[test]
fn no_attempt_begins_beside_a_shared_connection_whose_settings_are_awaited() {
    let mut bench = Bench::new(|_| {});
    let route = negotiated(0);
    let waiters: Vec<_> = (0..3).map(|_| bench.ask(&route)).collect();
    let dial = one_dial(&bench.drain());
    bench.connected(dial, Ok(Connection::Shared(1)));
    assert_eq!(granted(&bench.drain()), [(waiters[0], 1)]);
    bench.admits(dial, StreamLimit::Max(2));
    let actions = bench.drain();
    assert_eq!(granted(&actions), [(waiters[1], 1)]);
    // The third has found it full.
    one_dial(&actions);
}

#[test]
fn shared_connection_that_ends_before_its_settings_is_replaced() {
    let mut bench = Bench::new(|_| {});
    let route = negotiated(0);
    let waiters: Vec<_> = (0..2).map(|_| bench.ask(&route)).collect();
    let dial = one_dial(&bench.drain());
    bench.connected(dial, Ok(Connection::Shared(1)));
    assert_eq!(granted(&bench.drain()), [(waiters[0], 1)]);
    bench.admits(dial, StreamLimit::Closed);
    one_dial(&bench.drain());
}

#[test]
fn connection_is_lent_once_its_stream_limit_rises_from_zero() {
    let mut bench = Bench::new(|_| {});
    let route = negotiated(0);
    let waiters: Vec<_> = (0..2).map(|_| bench.ask(&route)).collect();
    let dial = one_dial(&bench.drain());
    bench.made_shared(dial, 0);
    let actions = bench.drain();
    assert_eq!(granted(&actions), [], "nothing is admitted");
    let dial = one_dial(&actions);
    bench.connected(dial, Ok(Connection::Shared(2)));
    assert_eq!(granted(&bench.drain()), [], "nothing is known to be");
    bench.admits(dial, StreamLimit::Max(5));
    let both = [(waiters[0], 2), (waiters[1], 2)];
    assert_eq!(granted(&bench.drain()), both);
}

fn patient(seconds: u64) -> Bench {
    Bench::new(|config| config.connect_patience = Some(Duration::from_secs(seconds)))
}

#[test]
fn an_attempt_that_is_older_than_the_patience_holds_back_no_other() {
    let mut bench = patient(1);
    let route = negotiated(0);
    for _ in 0..3 {
        bench.ask(&route);
    }
    let hangs = one_dial(&bench.drain());
    assert_eq!(
        bench.state.next_tick(),
        Some(bench.now + Duration::from_secs(1))
    );
    bench.pass(1);
    bench.handle(Input::Tick);
    let second = bench.drain();
    let words: Vec<_> = second.iter().map(word).collect();
    assert_eq!(words, ["requeued", "requeued", "dial host0"]);
    bench.pass(1);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), ["requeued", "dial host0"]);
    // The second is ready first, and serves all; the others become superfluous.
    bench.made_shared(one_dial(&second), 10);
    assert_eq!(granted(&bench.drain()).len(), 3);
    bench.made_shared(hangs, 10);
    assert_eq!(bench.told(), ["close 2: redundant"]);
}

#[test]
fn an_attempt_whose_request_ran_into_a_limit_is_taken_over_by_none() {
    for timed_out in [true, false] {
        let mut bench = patient(60);
        let route = plain(0);
        let gone = bench.ask(&route);
        bench.drain();
        if timed_out {
            bench.time_out(gone);
        } else {
            bench.cancel(gone);
        }
        let next = bench.ask(&route);
        let expected = if timed_out { &["dial host0"][..] } else { &[] };
        assert_eq!(bench.told(), expected);
        // Another one within the patience waits for what goes on.
        bench.time_out(next);
        bench.ask(&route);
        let expected = if timed_out { &[][..] } else { &["dial host0"] };
        assert_eq!(bench.told(), expected);
        bench.pass(60);
        bench.handle(Input::Tick);
        let expected = if timed_out { &["dial host0"][..] } else { &[] };
        assert_eq!(bench.told(), expected);
    }
}

#[test]
fn hanging_attempt_is_replaced_when_its_route_has_no_slot_left() {
    let mut bench = Bench::new(|config| {
        config.connect_patience = Some(Duration::from_secs(1));
        config.max_connections_per_origin = Some(1);
    });
    let gone = bench.ask(&plain(0));
    bench.drain();
    bench.time_out(gone);
    bench.ask(&plain(0));
    assert_eq!(bench.told(), ["abandon", "dial host0"]);
}

#[test]
fn a_route_has_no_more_attempts_than_requests_it_may_have() {
    let mut bench = Bench::new(|config| config.max_requests_per_origin = Some(2));
    let first = bench.ask(&plain(0));
    bench.ask(&plain(0));
    bench.ask(&plain(0));
    let dials = dials(&bench.drain());
    assert_eq!(dials.len(), 2);
    let connection = bench.made(dials[0]);
    bench.made(dials[1]);
    assert_eq!(granted(&bench.drain()).len(), 2);
    bench.back(first, connection);
    assert_eq!(bench.told(), ["grant 1 again"]);
}

#[test]
fn a_connection_that_is_being_asked_is_not_granted_and_may_be_evicted() {
    let mut bench = Bench::new(|config| config.max_connections = Some(2));
    let (place, connection) = bench.park(&plain(0));
    let taken = bench.state.take_to_check(place).unwrap();
    assert_eq!(taken, connection);
    bench.ask(&plain(0));
    assert_eq!(bench.told(), ["dial host0"]);
    let checked = |is_idle| Input::Checked {
        conn: place,
        connection,
        is_idle,
    };
    bench.handle(checked(true));
    assert_eq!(bench.told(), ["grant 1 again"], "it comes back to a waiter");

    let mut bench = Bench::new(|config| config.max_connections = Some(1));
    let (conn, connection) = bench.park(&plain(0));
    bench.state.take_to_check(conn).unwrap();
    bench.ask(&plain(1));
    assert_eq!(bench.told(), ["dial host1"], "its slot is needed");
    bench.handle(Input::Checked {
        conn,
        connection,
        is_idle: true,
    });
    assert_eq!(bench.told(), ["close 1: redundant"]);
}

#[test]
fn tables_are_given_back_after_a_burst() {
    let mut bench = Bench::new(|config| config.max_connections = Some(1));
    bench.audits = false;
    let waiters: Vec<_> = (0..10_000).map(|_| bench.ask(&plain(0))).collect();
    assert!(bench.state.waiter_slots() >= 10_000);
    for waiter in waiters {
        bench.cancel(waiter);
    }
    bench.drain();
    assert!(bench.state.waiter_slots() <= KEPT_SLOTS);
}

#[test]
fn no_more_attempts_go_on_than_may_and_the_next_begins_when_one_ends() {
    let mut bench = Bench::new(|config| {
        config.max_connecting = Some(2);
        config.max_connecting_per_origin = Some(1);
    });
    for n in 0..2 {
        bench.ask(&plain(n));
        bench.ask(&plain(n));
    }
    bench.ask(&plain(2));
    let first = dials(&bench.drain());
    assert_eq!(first.len(), 2, "one for each of two routes");
    bench.made(first[0]);
    assert_eq!(bench.told(), ["grant 1", "dial host2"]);
    // The route whose attempt ended waits behind the one that had none.
    bench.failed(first[1]);
    assert_eq!(bench.told(), ["refuse: dial", "dial host0"]);
}

#[test]
fn an_idle_connection_is_not_closed_for_a_route_that_may_not_connect_yet() {
    let mut bench = Bench::new(|config| {
        config.max_connections = Some(2);
        config.max_connecting = Some(1);
    });
    bench.park(&plain(0));
    bench.ask(&plain(1));
    assert_eq!(bench.told(), ["dial host1"]);
    bench.ask(&plain(2));
    assert!(bench.told().is_empty(), "the idle connection stays");
    bench.ask(&plain(0));
    assert_eq!(bench.told(), ["grant 1 again"]);
}

#[test]
fn a_request_waits_for_a_connection_in_use_before_another_one_is_made() {
    let mut bench = Bench::new(|config| config.connect_delay = Duration::from_secs(2));
    let first = bench.ask(&plain(0));
    let conn = one_dial(&bench.drain());
    let connection = bench.made(conn);
    bench.drain();
    // The connection is free in time.
    let second = bench.ask(&plain(0));
    assert!(bench.told().is_empty());
    assert_eq!(
        bench.state.next_tick(),
        Some(bench.now + Duration::from_secs(2))
    );
    bench.pass(1);
    bench.back(first, connection);
    assert_eq!(bench.told(), ["grant 1 again"]);
    // It is not.
    bench.ask(&plain(0));
    bench.pass(1);
    bench.ask(&plain(0));
    bench.pass(1);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), ["dial host0"], "for the first of the two");
    bench.pass(1);
    bench.handle(Input::Tick);
    assert_eq!(bench.told(), ["dial host0"]);
    // It ends: there is nothing to wait for.
    bench.ask(&plain(0));
    assert!(bench.told().is_empty());
    bench.ended(second, CloseReason::Failed);
    assert_eq!(bench.told(), ["dial host0"]);
}

#[test]
fn connections_made_in_advance_keep_all_limits_and_serve_the_next_requests() {
    let mut bench = Bench::new(|config| {
        config.max_connections = Some(4);
        config.max_connections_per_origin = Some(3);
    });
    let route = plain(0);
    let (_, parked) = bench.park(&plain(1));
    let ask = |bench: &mut Bench, connections| {
        let route = &route;
        bench.handle(Input::Preconnect { route, connections });
        dials(&bench.drain())
    };
    let begun = ask(&mut bench, 2);
    assert_eq!(begun.len(), 2);
    assert_eq!(ask(&mut bench, 2), [], "they are on their way");
    assert_eq!(ask(&mut bench, 9).len(), 1, "three for each origin");
    bench.made(begun[0]);
    assert!(bench.told().is_empty());
    bench.ask(&route);
    assert_eq!(bench.told(), [format!("grant {}", parked + 1)]);
    // A request takes over an attempt, and does not receive its error.
    let waiter = bench.ask(&route);
    assert!(bench.told().is_empty());
    assert!(bench.state.is_connecting(waiter) && !bench.state.has_own_connect(waiter));
    // One for another route has the slot of the attempt that no request waits for.
    bench.ask(&plain(2));
    assert_eq!(bench.told(), ["abandon", "dial host2"]);
    bench.handle(Input::Close);
    bench.drain();
    assert_eq!(ask(&mut bench, 9), [], "a closed pool makes none");
}

#[test]
fn shared_connections_made_in_advance_are_kept_and_spread_over() {
    for (placement, expected) in [
        (
            StreamPlacement::Fill,
            ["grant 1", "grant 1 again", "grant 1 again", "grant 2"],
        ),
        (
            StreamPlacement::Spread,
            ["grant 1", "grant 2", "grant 1 again", "grant 2 again"],
        ),
    ] {
        let mut bench = Bench::new(|config| config.http2_placement = placement);
        let route = &negotiated(0);
        bench.handle(Input::Preconnect {
            route,
            connections: 2,
        });
        for conn in dials(&bench.drain()) {
            bench.made_shared(conn, 3);
        }
        assert!(bench.told().is_empty(), "neither is superfluous");
        let mut told = Vec::new();
        for _ in 0..4 {
            bench.ask(route);
            told.extend(bench.told());
        }
        assert_eq!(told, expected, "{placement:?}");
    }
}

#[test]
fn after_a_failure_one_attempt_at_a_time_begins_at_growing_intervals_and_all_fail_with_it() {
    let mut bench = Bench::new(|config| config.connect_backoff = Some(Duration::from_secs(1)));
    let route = plain(0);
    let attempts = [bench.ask(&route), bench.ask(&route)];
    let begun = dials(&bench.drain());
    assert_eq!(begun.len(), attempts.len(), "nothing has failed yet");
    bench.failed(begun[0]);
    assert_eq!(bench.told(), ["refuse: dial"]);
    // The other one is on its way: no further one begins, and its failure counts.
    bench.ask(&route);
    assert!(bench.told().is_empty());
    bench.failed(begun[1]);
    assert_eq!(bench.told(), ["refuse: dial", "refuse: other dial"]);
    // Two failures: two seconds.
    bench.ask(&route);
    bench.ask(&route);
    assert!(bench.told().is_empty());
    let at = bench.now + Duration::from_secs(2);
    assert_eq!(bench.state.next_tick(), Some(at));
    bench.now = at;
    bench.handle(Input::Tick);
    let probe = bench.drain();
    assert_eq!(dials(&probe).len(), 1, "for both");
    bench.ask(&route);
    assert!(bench.told().is_empty());
    bench.failed(one_dial(&probe));
    let told = ["refuse: dial", "refuse: other dial", "refuse: other dial"];
    assert_eq!(bench.told(), told);
    // A success ends it.
    bench.pass(60);
    bench.ask(&route);
    bench.ask(&route);
    let probe = one_dial(&bench.drain());
    bench.made(probe);
    assert_eq!(bench.told(), ["grant 1", "dial host0"]);
}

#[test]
fn failures_are_remembered_without_requests() {
    let mut bench = Bench::new(|config| config.connect_backoff = Some(Duration::from_secs(3)));
    let route = plain(0);
    bench.ask(&route);
    let conn = one_dial(&bench.drain());
    bench.failed(conn);
    bench.drain();
    bench.pass(1);
    let waiter = bench.ask(&route);
    assert!(bench.told().is_empty());
    bench.cancel(waiter);
    bench.pass(2);
    bench.ask(&route);
    assert_eq!(bench.told(), ["dial host0"]);
}

#[test]
fn a_failed_attempt_fails_no_request_that_a_connection_in_use_may_serve() {
    let mut bench = Bench::new(|config| config.connect_backoff = Some(Duration::from_secs(1)));
    let route = plain(0);
    let first = bench.ask(&route);
    let conn = one_dial(&bench.drain());
    let connection = bench.made(conn);
    bench.drain();
    bench.ask(&route);
    let conn = one_dial(&bench.drain());
    bench.failed(conn);
    assert_eq!(bench.told(), ["refuse: dial"]);
    bench.ask(&route);
    bench.pass(1);
    bench.handle(Input::Tick);
    let probe = one_dial(&bench.drain());
    bench.ask(&route);
    bench.failed(probe);
    assert_eq!(bench.told(), ["refuse: dial"]);
    bench.back(first, connection);
    assert_eq!(bench.told(), ["grant 1 again"]);
}
