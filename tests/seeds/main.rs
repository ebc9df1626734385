//! The whole client under random faults, for many seeds.
//!
//! In each world eight requests share two connections. The seed determines what they are, when they begin
//! and whether they are dropped; how each connection is linked and how it fails; what the
//! server does with each request ([`origin`]). Afterwards
//!
//! - each request has its own correct response, or an error that a fault of this world explains, or was
//!   dropped;
//! - the server has received no POST twice, and nothing that was not sent;
//! - the pool's counters are consistent, and nothing is active, queued or leaked;
//! - the next request succeeds.
//!
//! Ten thousand seeds are run, in about twenty seconds of one core without optimisation.
//! `HTTPCORE_SEEDS=100000` runs more, and `HTTPCORE_SEED=17` one of them, alone.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod asking;
mod origin;

use std::{cell::RefCell, collections::BTreeMap, sync::Arc, time::Duration};

use httpcore::{ConnectionPool, config::PoolConfig};
use httpcore_net_mock::{Chunks, DnsEntry, Link, LiveCounts, MockNet, ServerHandle, seeds};

use asking::{Ledger, Outcome, Plan};
use origin::Book;

/// Number of seeds, unless the environment sets another.
const SEEDS: u64 = 10_000;
/// Number of requests.
const REQUESTS: usize = 8;
/// Limit of connections.
const CONNECTIONS: usize = 2;
/// Number of seeds from which on every outcome must have occurred.
const ENOUGH: u64 = 2_000;

/// The faults of a world: each is enabled for half of the seeds, so that some worlds are clean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultProfile {
    /// Names are slow, or do not exist; one of two addresses is unreachable.
    names: bool,
    /// Connecting fails; connections end, are reset, or drop bytes.
    links: bool,
    /// Servers close, reset, stall and send invalid HTTP.
    servers: bool,
    /// Requests and responses are dropped.
    drops: bool,
}

impl FaultProfile {
    fn of(net: &MockNet) -> Self {
        let is_faulty = || net.random_below(2) == 1;
        FaultProfile {
            names: is_faulty(),
            links: is_faulty(),
            servers: is_faulty(),
            drops: is_faulty(),
        }
    }

    /// Whether every request must succeed, except those whose own bodies fail.
    fn is_clean(self) -> bool {
        !(self.names || self.links || self.servers || self.drops)
    }
}

fn milliseconds(count: usize) -> Duration {
    Duration::from_millis(count as u64)
}

/// A random link for a connection.
fn link(net: &MockNet, is_faulty: bool) -> Link {
    // A small buffer on a long way is a slow link; too slow for the time limits.
    let (latency, buffer) = [(0, 65_536), (10, 65_536), (1, 700), (0, 50)][net.random_below(4)];
    let link = Link::new().latency(milliseconds(latency)).buffer(buffer);
    let link = match net.random_below(6) {
        1 => link.chunks(Chunks::Each(7)),
        2 => link.chunks(Chunks::At(vec![1, 17, 18, 19, 40, 41])),
        3 => link.chunks(Chunks::AsWritten),
        _ => link,
    };
    if !is_faulty {
        return link;
    }
    let (near, far) = (net.random_below(200) as u64, net.random_below(1500) as u64);
    match net.random_below(16) {
        1 => Link::refused(),
        2 => Link::unreachable(),
        3 => Link::blackhole(),
        4 => link.to_client(|path| path.reset_at(near)),
        5 => link.to_client(|path| path.reset_at(far)),
        6 => link.to_client(|path| path.end_at(near)),
        7 => link.to_client(|path| path.end_at(far)),
        8 => link.to_client(|path| path.blackhole_at(far)),
        9 => link.to_server(|path| path.reset_at(far)),
        10 => link.to_server(|path| path.end_at(far)),
        11 => link.to_server(|path| path.blackhole_at(far)),
        _ => link,
    }
}

/// Two names, one of them with two addresses.
fn hosts(net: &MockNet, faults: FaultProfile, book: &Arc<Book>) -> [ServerHandle; 2] {
    let served = ["one.test", "two.test"].map(|host| {
        let book = book.clone();
        let served = net.serve(host, 80, move |stream| origin::serve(stream, book.clone()));
        let links: Vec<Link> = (0..8).map(|_| link(net, faults.links)).collect();
        served.links(links);
        served
    });
    let good = served[1].address().unwrap();
    let dead = "192.0.2.1:80".parse().unwrap();
    net.set_link(dead, Link::unreachable());
    let both = || DnsEntry::addresses([dead.ip().to_string(), good.ip().to_string()]);
    let name = if !faults.names {
        both()
    } else {
        net.set_link(
            dead,
            [Link::blackhole(), Link::refused()][net.random_below(2)].clone(),
        );
        match net.random_below(4) {
            1 => both().after(milliseconds(net.random_below(600))),
            2 => DnsEntry::fails(std::io::ErrorKind::NotFound),
            3 => DnsEntry::never(),
            _ => both(),
        }
    };
    net.name("two.test", name);
    served
}

fn pool(net: &MockNet) -> ConnectionPool {
    let mut config = PoolConfig::default();
    config.max_connections = Some(CONNECTIONS);
    config.idle_timeout = Some(milliseconds([4000, 30][net.random_below(2)]));
    config.timeouts = asking::TIMEOUTS;
    ConnectionPool::builder()
        .configure_pool(|pool| *pool = config)
        .build(Arc::new(net.clone()))
}

/// One world, from beginning to end. Counts in `tally` how each request went.
fn mixed(net: &MockNet, tally: &mut BTreeMap<String, usize>) {
    let faults = FaultProfile::of(net);
    let book = Arc::new(Book::new(faults.servers));
    let served = hosts(net, faults, &book);
    let pool = pool(net);
    let ledger = Arc::new(Ledger::default());
    for number in 0..REQUESTS {
        let plan = Plan::new(net, number, faults.drops);
        asking::spawn(net, &pool, plan, &ledger);
    }
    net.run(ledger.filled(REQUESTS));

    for entry in ledger.take() {
        let told = asking::check(&entry, faults, &book);
        *tally.entry(told).or_default() += 1;
    }
    book.check();
    check_books(net, &pool);

    // The world is clean from now on, and the next requests succeed. What there is of old
    // connections, idle or in the making, may still be bad: each of them may fail one request.
    let old = pool.status().connections.len();
    book.stop_faults();
    served.iter().for_each(|served| {
        served.link(Link::new());
    });
    net.name(
        "two.test",
        DnsEntry::addresses([served[1].address().unwrap().ip().to_string()]),
    );
    for again in 0..=old {
        let plan = Plan::plain(net, REQUESTS + again);
        asking::spawn(net, &pool, plan, &ledger);
        net.run(ledger.filled(1));
        let entry = ledger.take().remove(0);
        match &entry.outcome {
            Outcome::Answered => break,
            Outcome::Failed(_) if again < old => {}
            outcome => panic!("the next request, {again} times failed before: {outcome:?}"),
        }
    }
    check_books(net, &pool);
    drop(pool);
    net.run_until_idle();
    assert_eq!(
        net.live_counts(),
        LiveCounts::default(),
        "{:#?}",
        net.live()
    );
}

/// Nothing is in use, and what has been counted adds up.
fn check_books(net: &MockNet, pool: &ConnectionPool) {
    net.run_until_idle();
    let (status, counts, counted) = (pool.status(), net.live_counts(), pool.stats());
    assert_eq!(
        (status.active_requests, status.queued_requests),
        (0, 0),
        "{status:#}"
    );
    assert!(status.connections.len() <= CONNECTIONS, "{status:#}");
    assert_eq!(
        counts.streams, status.idle_connections,
        "{status:#}\n{counts:?}"
    );
    assert_eq!(
        counted.requests,
        counted.granted + counted.refused + counted.cancelled,
        "{counted:#?}"
    );
    let being_made = status.active_connections as u64;
    assert_eq!(
        counted.dials,
        counted.opened + counted.dials_failed + counted.dials_abandoned + being_made,
        "{counted:#?}"
    );
    if being_made == 0 {
        // Only the maintenance task is left.
        let is_quiet = counts.tasks <= 1 && counts.timers <= 1 && counts.attempts == 0;
        assert!(is_quiet, "{:#?}", net.live());
    }
    let closed: u64 = counted.closed().map(|(_, count)| count).sum();
    assert_eq!(
        counted.opened,
        closed + status.idle_connections as u64,
        "{counted:#?}"
    );
}

#[test]
fn whatever_fails_each_request_gets_its_own_answer_or_a_fitting_error() {
    let (tally, worlds) = (RefCell::new(BTreeMap::new()), RefCell::new(0));
    seeds(0..SEEDS, |net| {
        mixed(&net, &mut tally.borrow_mut());
        *worlds.borrow_mut() += 1;
    });
    let (tally, worlds) = (tally.into_inner(), worlds.into_inner());
    println!("{worlds} worlds: {tally:#?}");
    // A scenario in which something never happens proves nothing about it.
    for outcome in asking::OUTCOMES {
        let seen = tally.keys().any(|told| told.starts_with(outcome));
        assert!(seen || worlds < ENOUGH, "{outcome} never occurred");
    }
}
