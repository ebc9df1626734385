//! The machine, with numbers for connections.

use std::{collections::HashSet, time::Duration};

use super::*;
use httpcore_core_primitives::{Alpn, ErrorKind, ErrorPhase, Origin, RequestSent, Scheme};

use crate::route::{Hop, RouteParts};

mod audit;
mod random;
mod scenarios;

fn any() -> ConnectionPolicy {
    ConnectionPolicy::default()
}

fn fresh() -> ConnectionPolicy {
    any().with_new_connection()
}

/// A route which is exclusive.
fn plain(n: usize) -> Route {
    Route::to(Origin::new(Scheme::Http, &format!("host{n}"), 80))
}

/// A route which may turn out to be shared.
fn negotiated(n: usize) -> Route {
    let host = format!("host{n}");
    let mut parts = RouteParts::to(Origin::new(Scheme::Https, &host, 443));
    parts.hops = vec![Hop::Tls {
        server_name: host,
        offer: vec![Alpn::Http2, Alpn::Http1],
    }];
    parts.into()
}

fn refused() -> Error {
    Error::new(ErrorKind::Connect, ErrorPhase::Connect, RequestSent::None)
}

/// A state, a clock, and a table of the connections that are dead.
struct Bench {
    state: State<u32, u32>,
    now: Instant,
    dead: HashSet<u32>,
    next: u32,
    audits: bool,
}

impl Bench {
    fn new(set: impl FnOnce(&mut PoolConfig)) -> Self {
        let mut config = PoolConfig::default();
        set(&mut config);
        Bench {
            state: State::new(&config),
            now: a_moment(),
            dead: HashSet::new(),
            next: 1,
            audits: true,
        }
    }

    fn drain(&mut self) -> Vec<Action<u32, u32>> {
        let dead = &self.dead;
        let mut is_fit = |_, connection: &mut u32| !dead.contains(connection);
        let actions =
            std::iter::from_fn(|| self.state.poll_action(self.now, &mut is_fit)).collect();
        if self.audits {
            self.state.audit();
        }
        actions
    }

    /// What the machine wants done, in words.
    fn told(&mut self) -> Vec<String> {
        self.drain().iter().map(word).collect()
    }

    fn ask(&mut self, route: &Route) -> TicketId {
        self.state.enqueue(route, any(), self.now)
    }

    fn made(&mut self, dial: PlaceId) -> u32 {
        let connection = self.next;
        self.next += 1;
        self.state
            .dialled(dial, Ok(Connection::Exclusive(connection)), self.now);
        connection
    }

    fn made_shared(&mut self, dial: PlaceId, admits: usize) -> u32 {
        let connection = self.next;
        self.next += 1;
        self.state
            .dialled(dial, Ok(Connection::Shared(connection)), self.now);
        self.state.admits(dial, StreamLimit::Max(admits));
        connection
    }

    fn failed(&mut self, dial: PlaceId) {
        self.state.dialled(dial, Err(refused()), self.now);
    }

    fn back(&mut self, ticket: TicketId, connection: u32) {
        self.state.reclaimed(ticket, Ok(connection), self.now);
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// A connection on `route`, made and given back.
    fn park(&mut self, route: &Route) -> (PlaceId, u32) {
        let ticket = self.state.enqueue(route, fresh(), self.now);
        let dial = one_dial(&self.drain());
        let connection = self.made(dial);
        self.drain();
        self.back(ticket, connection);
        self.drain();
        (dial, connection)
    }
}

#[allow(clippy::disallowed_methods)] // any moment will do: the machine only compares
fn a_moment() -> Instant {
    Instant::now()
}

fn one_dial(actions: &[Action<u32, u32>]) -> PlaceId {
    dials(actions)[0]
}

fn dials(actions: &[Action<u32, u32>]) -> Vec<PlaceId> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Dial { place, .. } => Some(*place),
            _ => None,
        })
        .collect()
}

fn granted(actions: &[Action<u32, u32>]) -> Vec<(TicketId, u32)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Grant {
                ticket, connection, ..
            } => Some((*ticket, number(connection))),
            _ => None,
        })
        .collect()
}

fn number(connection: &Connection<u32, u32>) -> u32 {
    match connection {
        Connection::Exclusive(number) | Connection::Shared(number) => *number,
    }
}

fn word(action: &Action<u32, u32>) -> String {
    match action {
        Action::Dial { route, .. } => format!("dial {}", route.origin().host()),
        Action::Abandon { .. } => "abandon".to_owned(),
        Action::Grant {
            connection, reused, ..
        } => format!(
            "grant {}{}",
            number(connection),
            if *reused { " again" } else { "" }
        ),
        Action::Refuse { why, .. } => match why {
            Refusal::Dial(_) => "refuse: dial".to_owned(),
            Refusal::QueueFull => "refuse: full".to_owned(),
            Refusal::Closed => "refuse: closed".to_owned(),
        },
        Action::Requeued { .. } => "requeued".to_owned(),
        Action::Close {
            connection, reason, ..
        } => format!("close {}: {}", number(connection), reason.label()),
    }
}
