//! The machine, with numbers for connections.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use super::*;
use httpcore_core_primitives::{Alpn, Origin, Scheme, ServerName};

use crate::route::{Hop, RouteParts};

mod audit;
mod random;
mod reservations;
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
        server_name: ServerName::new(host),
        offer: vec![Alpn::Http2, Alpn::Http1],
    }];
    parts.into()
}

fn refused() -> Error {
    Error::new(ErrorKind::Connect, ErrorPhase::Connect, RequestSent::None)
}

/// A state, a clock, a table of the connections that are dead, and what is to be done.
struct Bench {
    state: State<u32, u32>,
    effects: Effects<u32, u32>,
    now: Instant,
    dead: HashSet<u32>,
    next: u32,
    audits: bool,
}

impl Bench {
    /// A pool in which an attempt to connect holds others back until it ends.
    fn new(set: impl FnOnce(&mut PoolConfig)) -> Self {
        let mut config = PoolConfig {
            connect_patience: None,
            ..PoolConfig::default()
        };
        set(&mut config);
        Bench {
            state: State::new(&config),
            effects: Effects::new(),
            now: a_moment(),
            dead: HashSet::new(),
            next: 1,
            audits: true,
        }
    }

    fn handle(&mut self, input: Input<'_, u32, u32>) -> Option<WaiterId> {
        let waiter = self.state.handle(input, self.now, &mut self.effects);
        if self.audits {
            self.state.audit();
        }
        waiter
    }

    /// Takes what is to be done. As the pool does, asks exclusive connections that are granted.
    fn drain(&mut self) -> Vec<Effect<u32, u32>> {
        let mut done = Vec::new();
        loop {
            let effects = std::mem::take(&mut self.effects);
            if effects.is_empty() {
                return done;
            }
            for effect in effects {
                if let Effect::Grant {
                    waiter, connection, ..
                } = &effect
                    && self.dead.contains(&number(connection))
                {
                    let waiter = *waiter;
                    done.push(Effect::Close {
                        connection: Connection::Exclusive(number(connection)),
                        reason: CloseReason::PeerClosed,
                    });
                    self.handle(Input::Stale { waiter });
                } else {
                    done.push(effect);
                }
            }
        }
    }

    /// What is to be done, in words.
    fn told(&mut self) -> Vec<String> {
        self.drain().iter().map(word).collect()
    }

    fn ask(&mut self, route: &Route) -> WaiterId {
        self.request(route, any())
    }

    fn request(&mut self, route: &Route, policy: ConnectionPolicy) -> WaiterId {
        let arrival = None;
        let request = Input::Request {
            route,
            policy,
            arrival,
        };
        self.handle(request).unwrap()
    }

    fn request_again(&mut self, route: &Route, arrival: Arrival) -> WaiterId {
        let request = Input::Request {
            route,
            policy: any(),
            arrival: Some(arrival),
        };
        self.handle(request).unwrap()
    }

    fn reserve(&mut self, route: &Route, seconds: u64) -> WaiterId {
        let hold = Some(Duration::from_secs(seconds));
        self.handle(Input::Reserve { route, hold }).unwrap()
    }

    /// Returns whether it still was a reservation.
    fn unreserve(&mut self, waiter: WaiterId) -> bool {
        self.handle(Input::Unreserve { waiter }).is_some()
    }

    fn cancel(&mut self, waiter: WaiterId) {
        let timed_out = false;
        self.handle(Input::Cancel { waiter, timed_out });
    }

    fn time_out(&mut self, waiter: WaiterId) {
        let timed_out = true;
        self.handle(Input::Cancel { waiter, timed_out });
    }

    fn connected(&mut self, conn: ConnId, result: Result<Connection<u32, u32>, Error>) {
        self.handle(Input::Connected {
            conn,
            copy: result.is_err().then(|| Arc::new(refused())),
            result,
            limit: None,
        });
    }

    fn made(&mut self, conn: ConnId) -> u32 {
        let connection = self.next;
        self.next += 1;
        self.connected(conn, Ok(Connection::Exclusive(connection)));
        connection
    }

    fn made_shared(&mut self, conn: ConnId, admits: usize) -> u32 {
        let connection = self.next;
        self.next += 1;
        self.handle(Input::Connected {
            conn,
            result: Ok(Connection::Shared(connection)),
            limit: Some(StreamLimit::Max(admits)),
            copy: None,
        });
        connection
    }

    fn admits(&mut self, conn: ConnId, limit: StreamLimit) {
        self.handle(Input::StreamLimit { conn, limit });
    }

    fn failed(&mut self, conn: ConnId) {
        self.connected(conn, Err(refused()));
    }

    fn back(&mut self, waiter: WaiterId, connection: u32) {
        self.back_with(waiter, connection, KeepAliveHints::default());
    }

    /// As the pool does, asks the connection before it is returned.
    fn back_with(&mut self, waiter: WaiterId, connection: u32, hints: KeepAliveHints) {
        if self.dead.contains(&connection) {
            self.effects.push(Effect::Close {
                connection: Connection::Exclusive(connection),
                reason: CloseReason::PeerClosed,
            });
            let reason = CloseReason::PeerClosed;
            self.handle(Input::Ended { waiter, reason });
        } else {
            self.handle(Input::Returned {
                waiter,
                connection,
                hints,
            });
        }
    }

    fn ended(&mut self, waiter: WaiterId, reason: CloseReason) {
        self.handle(Input::Ended { waiter, reason });
    }

    /// An idle connection has called its waker: it is taken out, and asked.
    fn woken(&mut self, conn: ConnId) {
        if let Some(connection) = self.state.take_to_check(conn) {
            let is_idle = !self.dead.contains(&connection);
            self.handle(Input::Checked {
                conn,
                connection,
                is_idle,
            });
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// A connection on `route`, made and given back.
    fn park(&mut self, route: &Route) -> (ConnId, u32) {
        let waiter = self.request(route, fresh());
        let conn = one_dial(&self.drain());
        let connection = self.made(conn);
        self.drain();
        self.back(waiter, connection);
        self.drain();
        (conn, connection)
    }
}

#[allow(clippy::disallowed_methods)] // any moment will do: the machine only compares
fn a_moment() -> Instant {
    Instant::now()
}

fn one_dial(effects: &[Effect<u32, u32>]) -> ConnId {
    dials(effects)[0]
}

fn dials(effects: &[Effect<u32, u32>]) -> Vec<ConnId> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Connect { conn, .. } => Some(*conn),
            _ => None,
        })
        .collect()
}

fn granted(effects: &[Effect<u32, u32>]) -> Vec<(WaiterId, u32)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Grant {
                waiter, connection, ..
            } => Some((*waiter, number(connection))),
            _ => None,
        })
        .collect()
}

fn number(connection: &Connection<u32, u32>) -> u32 {
    match connection {
        Connection::Exclusive(number) | Connection::Shared(number) => *number,
    }
}

fn word(effect: &Effect<u32, u32>) -> String {
    match effect {
        Effect::Connect { route, .. } => format!("dial {}", route.origin().host()),
        Effect::AbandonConnect { .. } => "abandon".to_owned(),
        Effect::Grant {
            connection, reused, ..
        } => format!(
            "grant {}{}",
            number(connection),
            if *reused { " again" } else { "" }
        ),
        Effect::Reject { why, .. } => match why {
            Rejection::Connect(_) => "refuse: dial".to_owned(),
            Rejection::OtherConnect(_) => "refuse: other dial".to_owned(),
            Rejection::QueueFull => "refuse: full".to_owned(),
            Rejection::PoolClosed => "refuse: closed".to_owned(),
        },
        Effect::ConnectLost { .. } => "requeued".to_owned(),
        Effect::ReservationReady { .. } => "ready".to_owned(),
        Effect::ReservationExpired { .. } => "expired".to_owned(),
        Effect::Close {
            connection, reason, ..
        } => format!("close {}: {}", number(connection), reason.label()),
        Effect::DropError(_) => "drop error".to_owned(),
    }
}
