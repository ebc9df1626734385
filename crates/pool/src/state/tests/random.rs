//! Random steps, with everything checked after each.
//!
//! `HTTPCORE_SEEDS` says how many runs; a failure prints its seed and its steps, and `HTTPCORE_SEED`
//! repeats it alone.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use super::*;

#[test]
fn the_counts_agree_and_every_request_is_served_whatever_happens() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    let seeds = match (number("HTTPCORE_SEED"), number("HTTPCORE_SEEDS")) {
        (Some(one), _) => one..one + 1,
        (None, many) => 0..many.unwrap_or(3000),
    };
    for seed in seeds {
        let mut world = World::new(seed, a_moment());
        let run = catch_unwind(AssertUnwindSafe(|| world.run()));
        if let Err(panic) = run {
            eprintln!("HTTPCORE_SEED={seed} failed after:\n{}", world.log);
            resume_unwind(panic);
        }
    }
}

/// splitmix64
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())].clone()
    }
}

/// What the world knows by itself of a connection.
struct Known {
    route: usize,
    conn: ConnId,
    shared: bool,
    dead: bool,
    /// The peer has said that it admits no more.
    over: bool,
    closed: bool,
    /// Taken out to be asked.
    checking: bool,
    lent: Vec<WaiterId>,
    limit: usize,
    served: usize,
    /// A request was to be the last to use it.
    last: bool,
}

struct Waiting {
    route: usize,
    fresh: bool,
    close_after: bool,
    order: usize,
    /// In which step it joined the queue.
    joined: usize,
    reserved: Option<Reserved>,
}

/// A waiter that no request has taken over.
#[derive(Clone, Copy)]
struct Reserved {
    made: Instant,
    hold: Option<Duration>,
    /// When it was granted a connection.
    granted: Option<Instant>,
    /// It was told to end.
    expired: bool,
}

struct Attempt {
    route: usize,
    /// `None` if it began for no request.
    cause: Option<WaiterId>,
    began: Instant,
    /// In which step it began.
    step: usize,
}

/// The world around a machine: it carries out the effects, and checks each against what it knows
/// without asking.
struct World {
    dice: Dice,
    log: String,
    state: State<u32, u32>,
    effects: Effects<u32, u32>,
    now: Instant,
    steps: usize,
    /// Requests that were granted something: when they arrived, by the machine's count and by ours.
    served: Vec<(Arrival, usize)>,
    routes: Vec<Route>,
    /// Whether a route turns out to be shared.
    shared: Vec<bool>,
    limit: usize,
    requests_limit: usize,
    waiting: BTreeMap<WaiterId, Waiting>,
    /// What the waiters which hold a connection asked for.
    holding: BTreeMap<WaiterId, Waiting>,
    refused: Vec<WaiterId>,
    /// What was a reservation at first.
    reserved: BTreeSet<WaiterId>,
    dials: HashMap<ConnId, Attempt>,
    preempt_after: Option<Duration>,
    patience: Option<Duration>,
    /// Whether a request ran into a time limit on this route.
    timed_out: Vec<bool>,
    /// Whether an attempt along a route has ever ended by itself.
    tried: Vec<bool>,
    connections: BTreeMap<u32, Known>,
    next: u32,
    order: usize,
    closed: bool,
    max_pending_requests: Option<usize>,
    backs_off: bool,
}

impl World {
    fn new(seed: u64, now: Instant) -> Self {
        let mut dice = Dice(seed);
        let seconds = |n| Some(Duration::from_secs(n));
        let mut config = PoolConfig::default();
        let limit = 1 + dice.roll(5);
        config.max_connections = Some(limit);
        config.max_connections_per_origin = dice.pick(&[None, Some(1), Some(2)]);
        config.max_requests_per_origin = dice.pick(&[None, None, Some(1), Some(3)]);
        config.max_http2_connections_per_origin = dice.pick(&[None, Some(1), Some(2)]);
        config.max_idle = dice.pick(&[None, None, Some(0), Some(2)]);
        config.max_idle_per_origin = dice.pick(&[None, None, Some(1)]);
        config.idle_timeout = dice.pick(&[None, seconds(3), seconds(3), seconds(0)]);
        config.max_lifetime = dice.pick(&[None, seconds(10), seconds(10), seconds(0)]);
        config.max_requests_per_connection = dice.pick(&[None, None, Some(1), Some(3)]);
        config.connect_preempt_after = dice.pick(&[None, seconds(2)]);
        config.connect_patience = dice.pick(&[None, seconds(1), seconds(3), seconds(0)]);
        config.max_connecting = dice.pick(&[None, None, Some(1), Some(2)]);
        config.max_connecting_per_origin = dice.pick(&[None, None, Some(1)]);
        config.connect_delay = Duration::from_secs(dice.pick(&[0, 0, 1, 2]));
        config.connect_backoff = dice.pick(&[None, None, seconds(1)]);
        config.http2_placement = dice.pick(&[StreamPlacement::Fill, StreamPlacement::Spread]);
        config.max_pending_requests = dice.pick(&[None, None, Some(0), Some(3)]);
        let routes = 1 + dice.roll(4);
        let negotiated_too = dice.roll(2) == 0;
        let routes: Vec<Route> = (0..routes)
            .map(|n| {
                if negotiated_too && dice.roll(2) == 0 {
                    negotiated(n)
                } else {
                    plain(n)
                }
            })
            .collect();
        let shared = routes
            .iter()
            .map(|route| route.may_be_shared() && dice.roll(3) > 0)
            .collect();
        let how_many = routes.len();
        World {
            log: format!("{config:#?}\n"),
            state: State::new(&config),
            effects: Effects::new(),
            now,
            steps: 0,
            served: Vec::new(),
            routes,
            shared,
            limit,
            requests_limit: config.max_requests_per_origin.unwrap_or(usize::MAX),
            waiting: BTreeMap::new(),
            holding: BTreeMap::new(),
            refused: Vec::new(),
            reserved: BTreeSet::new(),
            dials: HashMap::new(),
            connections: BTreeMap::new(),
            next: 1,
            order: 0,
            closed: false,
            max_pending_requests: config.max_pending_requests,
            backs_off: config.connect_backoff.is_some(),
            preempt_after: config.connect_preempt_after,
            patience: config.connect_patience,
            timed_out: vec![false; how_many],
            tried: vec![false; how_many],
            dice,
        }
    }

    fn run(&mut self) {
        for _ in 0..20 + self.dice.roll(60) {
            self.step();
            self.drain();
        }
        self.bring_to_an_end();
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let what = what();
        let _ = writeln!(self.log, "{what}");
    }

    fn handle(&mut self, input: Input<'_, u32, u32>) -> Option<WaiterId> {
        self.steps += 1;
        let waiter = self.state.handle(input, self.now, &mut self.effects);
        self.state.audit();
        waiter
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..30 => self.ask(),
            30..38 => self.give_up(),
            38..53 => self.finish_dial(),
            53..75 => self.end_lease(),
            75..79 => self.die(),
            79..82 => self.end_check(),
            82..86 => self.change_limit(),
            86..93 => {
                let seconds = 1 + self.dice.roll(3) as u64;
                self.note(|| format!("{seconds} s pass"));
                self.now += Duration::from_secs(seconds);
                if self.dice.roll(2) == 0 {
                    self.handle(Input::Tick);
                    self.check_next_tick();
                    self.drain();
                    self.check_holds();
                }
            }
            93..96 => {
                self.note(|| "close idle".to_owned());
                self.handle(Input::CloseIdle);
            }
            96 => self.preconnect(),
            97 if self.dice.roll(8) == 0 => {
                self.note(|| "drain".to_owned());
                self.closed = true;
                self.handle(Input::Drain);
            }
            98 if self.dice.roll(8) == 0 => {
                self.note(|| "close".to_owned());
                self.closed = true;
                self.handle(Input::Close);
            }
            _ => self.ask(),
        }
        self.drain();
        if self.dice.roll(8) == 0 {
            self.reserve();
        }
        if self.dice.roll(6) == 0 {
            self.use_reservation();
        }
    }

    /// After a tick, the next one is later: otherwise the maintenance task would loop.
    fn check_next_tick(&self) {
        let next = self.state.next_tick();
        assert!(next.is_none_or(|next| next > self.now), "a tick does all");
    }

    fn ask(&mut self) {
        let route = self.dice.roll(self.routes.len());
        let fresh = self.dice.roll(8) == 0;
        let mut policy = any();
        policy.new_connection = fresh;
        policy.close_after = self.dice.roll(12) == 0;
        // One that a connection did not serve.
        let again = if self.dice.roll(6) == 0 {
            self.served.pop()
        } else {
            None
        };
        let way = self.routes[route].clone();
        let request = Input::Request {
            route: &way,
            policy,
            arrival: again.map(|(arrival, _)| arrival),
        };
        let waiter = self.handle(request).expect("a waiter");
        self.note(|| {
            format!(
                "{waiter:?} asks for {route}{}{}",
                if fresh { ", fresh" } else { "" },
                if again.is_some() { ", again" } else { "" }
            )
        });
        self.order += 1;
        let waiting = Waiting {
            route,
            fresh,
            close_after: policy.close_after,
            order: again.map_or(self.order, |(_, order)| order),
            joined: self.steps,
            reserved: None,
        };
        assert!(
            self.waiting.insert(waiter, waiting).is_none(),
            "no two waiters share a name"
        );
    }

    fn preconnect(&mut self) {
        let n = self.dice.roll(self.routes.len());
        let connections = self.dice.roll(4);
        self.note(|| format!("{connections} connections to {n} in advance"));
        let route = &self.routes[n].clone();
        self.handle(Input::Preconnect { route, connections });
    }

    fn reserve(&mut self) {
        let route = self.dice.roll(self.routes.len());
        let hold = self.dice.pick(&[None, Some(0), Some(2), Some(5)]);
        let hold = hold.map(Duration::from_secs);
        let way = self.routes[route].clone();
        let reserve = Input::Reserve { route: &way, hold };
        let waiter = self.handle(reserve).expect("a waiter");
        self.note(|| format!("{waiter:?} reserves {route} for {hold:?}"));
        self.order += 1;
        let waiting = Waiting {
            route,
            fresh: false,
            close_after: false,
            order: self.order,
            joined: self.steps,
            reserved: Some(Reserved {
                made: self.now,
                hold,
                granted: None,
                expired: false,
            }),
        };
        assert!(self.waiting.insert(waiter, waiting).is_none());
        self.reserved.insert(waiter);
        self.drain();
    }

    /// A request takes a reservation over; what it was granted may have ended.
    fn use_reservation(&mut self) {
        let waiters = self.waiting.iter().chain(&self.holding);
        let reserved: Vec<_> = waiters
            .filter(|(_, waiting)| waiting.reserved.is_some())
            .map(|(&waiter, _)| waiter)
            .collect();
        if reserved.is_empty() {
            return;
        }
        let waiter = self.dice.pick(&reserved);
        self.note(|| format!("{waiter:?} is used"));
        self.unreserve(waiter);
        let lent = |known: &Known| known.dead && known.lent.contains(&waiter);
        let dead = self.connections.iter().find(|(_, known)| lent(known));
        if let Some((&number, _)) = dead {
            self.return_stale(waiter, number);
        }
    }

    /// A reservation becomes an ordinary waiter, if it is not one.
    fn unreserve(&mut self, waiter: WaiterId) {
        let mut waiters = self.waiting.iter_mut().chain(&mut self.holding);
        let found = waiters.find(|(found, _)| **found == waiter);
        let was = found.is_some_and(|(_, waiting)| waiting.reserved.take().is_some());
        let is = self.handle(Input::Unreserve { waiter }).is_some();
        assert_eq!(was, is, "it is known what is reserved");
        self.drain();
    }

    /// After a tick, nothing that was granted to a reservation is kept for longer than it may be.
    fn check_holds(&self) {
        for waiting in self.holding.values() {
            if let Some(Reserved {
                hold: Some(hold),
                granted: Some(granted),
                ..
            }) = waiting.reserved
            {
                let hold = hold.max(Duration::from_millis(1));
                assert!(granted + hold > self.now, "a reservation did not end");
            }
        }
    }

    fn give_up(&mut self) {
        let waiting: Vec<_> = self.waiting.keys().copied().collect();
        if !waiting.is_empty() {
            let waiter = self.dice.pick(&waiting);
            let timed_out = self.dice.roll(2) == 0;
            self.note(|| format!("{waiter:?} gives up, timed out: {timed_out}"));
            self.unreserve(waiter);
            let Some(gone) = self.waiting.remove(&waiter) else {
                return;
            };
            self.timed_out[gone.route] |= timed_out;
            self.handle(Input::Cancel { waiter, timed_out });
        }
    }

    fn finish_dial(&mut self) {
        let mut dials: Vec<_> = self.dials.keys().copied().collect();
        dials.sort_unstable();
        if dials.is_empty() {
            return;
        }
        let conn = self.dice.pick(&dials);
        let succeeds = self.dice.roll(4) > 0;
        self.end_dial(conn, succeeds);
    }

    fn end_dial(&mut self, conn: ConnId, succeeds: bool) {
        let Some(Attempt {
            route, cause, step, ..
        }) = self.dials.remove(&conn)
        else {
            return;
        };
        self.tried[route] = true;
        if !succeeds {
            self.note(|| format!("{conn:?} fails, begun for {cause:?}"));
            // Not if it was served meanwhile, by a connection that was closed.
            let waits = cause.and_then(|cause| self.waiting.get(&cause));
            let waits = waits.is_some_and(|waiting| waiting.joined <= step);
            let result = Err(refused());
            let limit = None;
            self.handle(Input::Connected {
                conn,
                result,
                limit,
                copy: Some(Arc::new(refused())),
            });
            let told = self.drain();
            let expected: Vec<_> = waits
                .then(|| format!("refuse: dial {:?}", cause.expect("it waits")))
                .into_iter()
                .collect();
            assert_eq!(
                told, expected,
                "a failed attempt fails its cause, if that waits, and no other request"
            );
            return;
        }
        let number = self.next;
        self.next += 1;
        let shared = self.shared[route];
        self.note(|| {
            format!(
                "{conn:?} is made: {number}{}",
                if shared { ", shared" } else { "" }
            )
        });
        self.connections.insert(
            number,
            Known {
                route,
                conn,
                shared,
                dead: false,
                over: false,
                closed: false,
                checking: false,
                lent: Vec::new(),
                limit: usize::MAX,
                served: 0,
                last: false,
            },
        );
        if shared {
            let result = Ok(Connection::Shared(number));
            let limit = StreamLimit::Max(self.dice.roll(4));
            let at_once = self.dice.roll(2) == 0;
            if let (true, StreamLimit::Max(limit)) = (at_once, limit) {
                self.known(number).limit = limit;
            }
            self.handle(Input::Connected {
                conn,
                result,
                limit: at_once.then_some(limit),
                copy: None,
            });
            if !at_once {
                self.set_limit(number, limit);
            }
        } else {
            let result = Ok(Connection::Exclusive(number));
            let limit = None;
            self.handle(Input::Connected {
                conn,
                result,
                limit,
                copy: None,
            });
        }
    }

    fn set_limit(&mut self, number: u32, limit: StreamLimit) {
        self.note(|| format!("{number} admits {limit:?}"));
        let known = self.known(number);
        (known.limit, known.over) = match limit {
            StreamLimit::Max(limit) => (limit, false),
            StreamLimit::Closed => (0, true),
        };
        let conn = known.conn;
        // What was granted before the peer said so is not too much.
        self.drain_before(number);
        self.handle(Input::StreamLimit { conn, limit });
    }

    /// Deals with what was granted on a connection before its limit changes.
    fn drain_before(&mut self, number: u32) {
        let limit = std::mem::replace(&mut self.known(number).limit, usize::MAX);
        self.drain();
        self.known(number).limit = limit;
    }

    fn living(&self, shared: bool) -> Vec<u32> {
        self.connections
            .iter()
            .filter(|(_, known)| {
                known.shared == shared && !known.closed && !known.dead && !known.over
            })
            .map(|(&number, _)| number)
            .collect()
    }

    fn change_limit(&mut self) {
        let shared = self.living(true);
        if !shared.is_empty() {
            let number = self.dice.pick(&shared);
            let limit = match self.dice.roll(5) {
                0 => StreamLimit::Closed,
                roll => StreamLimit::Max(roll - 1),
            };
            self.set_limit(number, limit);
        }
    }

    /// A connection dies; the pool may find out at once, later, or not before it is granted.
    fn die(&mut self) {
        let shared = self.dice.roll(4) == 0;
        let living = self.living(shared);
        if living.is_empty() {
            return;
        }
        let number = self.dice.pick(&living);
        self.note(|| format!("{number} dies"));
        self.known(number).dead = true;
        if !shared && self.dice.roll(2) == 0 {
            self.begin_check(number);
        }
    }

    /// An idle connection has called its waker, and is taken out.
    fn begin_check(&mut self, number: u32) {
        let conn = self.connections[&number].conn;
        if let Some(taken) = self.state.take_to_check(conn) {
            assert_eq!(taken, number);
            self.note(|| format!("{number} is taken out"));
            self.known(number).checking = true;
            if self.dice.roll(2) == 0 {
                self.end_check();
            }
        }
    }

    /// What was taken out comes back; or a living one is taken out.
    fn end_check(&mut self) {
        let checking = self.connections.iter().find(|(_, known)| known.checking);
        let Some((&number, known)) = checking else {
            let living = self.living(false);
            if !living.is_empty() {
                let number = self.dice.pick(&living);
                let conn = self.connections[&number].conn;
                if let Some(taken) = self.state.take_to_check(conn) {
                    assert_eq!(taken, number);
                    self.known(number).checking = true;
                }
            }
            return;
        };
        let (conn, is_idle) = (known.conn, !known.dead);
        self.note(|| format!("{number} comes back, idle: {is_idle}"));
        self.known(number).checking = false;
        self.handle(Input::Checked {
            conn,
            connection: number,
            is_idle,
        });
    }

    fn end_lease(&mut self) {
        let leases = self.leases();
        if !leases.is_empty() {
            let (number, waiter) = self.dice.pick(&leases);
            let how = self.dice.roll(6);
            self.settle_lease(number, waiter, how);
        }
    }

    fn leases(&self) -> Vec<(u32, WaiterId)> {
        self.connections
            .iter()
            .flat_map(|(&number, known)| known.lent.iter().map(move |&waiter| (number, waiter)))
            .collect()
    }

    fn settle_lease(&mut self, number: u32, waiter: WaiterId, how: usize) {
        self.unreserve(waiter);
        self.holding.remove(&waiter);
        let known = self.known(number);
        known.lent.retain(|&lease| lease != waiter);
        match (how, known.shared) {
            (0, false) => {
                known.closed = true;
                self.note(|| format!("{waiter:?} ends, and {number} with it"));
                let reason = CloseReason::Abandoned;
                self.handle(Input::Ended { waiter, reason });
            }
            (1, shared) => {
                known.served -= 1;
                known.last &= known.shared;
                self.note(|| format!("{waiter:?} does not want {number}"));
                let connection = if shared {
                    Connection::Shared(number)
                } else {
                    Connection::Exclusive(number)
                };
                self.handle(Input::Declined { waiter, connection });
            }
            (_, false) if known.dead => {
                known.closed = true;
                self.note(|| format!("{waiter:?} finds {number} dead"));
                let reason = CloseReason::PeerClosed;
                self.handle(Input::Ended { waiter, reason });
            }
            (_, false) => {
                let mut hints = KeepAliveHints::default();
                if how == 2 && self.dice.roll(2) == 0 {
                    hints = hints.with_timeout(Duration::from_secs(self.dice.roll(5) as u64));
                }
                if how == 2 && self.dice.roll(3) == 0 {
                    hints = hints.with_max_requests(self.dice.roll(3) as u64);
                }
                self.note(|| format!("{waiter:?} gives {number} back, {hints:?}"));
                self.handle(Input::Returned {
                    waiter,
                    connection: number,
                    hints,
                });
            }
            (_, true) => {
                self.note(|| format!("{waiter:?} ends on {number}"));
                let reason = CloseReason::Finished;
                self.handle(Input::Ended { waiter, reason });
            }
        }
    }

    /// Carries the effects out, and checks each of them.
    fn drain(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let effects = std::mem::take(&mut self.effects);
            if effects.is_empty() {
                break;
            }
            let mut closes = Vec::new();
            let mut stale = Vec::new();
            let mut expired = Vec::new();
            for effect in effects {
                self.note(|| format!("    {}", word(&effect)));
                match effect {
                    Effect::Connect {
                        conn,
                        route,
                        waiter,
                    } => self.check_dial(conn, &route, waiter),
                    Effect::AbandonConnect { conn } => self.check_abandon(conn),
                    Effect::Grant {
                        waiter,
                        connection,
                        conn,
                        reused,
                    } => {
                        let number = number(&connection);
                        self.check_grant(waiter, number, conn, reused);
                        // A reservation asks when it is used.
                        if self.connections[&number].dead
                            && self.holding[&waiter].reserved.is_none()
                        {
                            stale.push((waiter, number));
                        }
                    }
                    Effect::Reject { waiter, why } => {
                        let rejected = self.waiting.remove(&waiter);
                        let rejected = rejected.expect("only requests that wait are rejected");
                        if rejected.reserved.is_some() {
                            let ended = self.handle(Input::Unreserve { waiter });
                            assert_eq!(ended, Some(waiter));
                        }
                        match why {
                            Rejection::Connect(error)
                                if error.kind() == ErrorKind::ConnectionClosed => {}
                            Rejection::Connect(_) => told.push(format!("refuse: dial {waiter:?}")),
                            Rejection::OtherConnect(_) => assert!(self.backs_off),
                            Rejection::QueueFull => assert!(self.max_pending_requests.is_some()),
                            Rejection::PoolClosed => assert!(self.closed),
                        }
                        self.refused.push(waiter);
                    }
                    Effect::ConnectLost { .. } | Effect::DropError(_) => {}
                    Effect::ReservationReady { waiter } => {
                        assert!(
                            self.reserved.contains(&waiter),
                            "only reservations are told that they are ready"
                        );
                    }
                    Effect::ReservationExpired { waiter } => expired.push(waiter),
                    Effect::Close { connection, .. } => closes.push(number(&connection)),
                }
            }
            for number in closes {
                let known = self.known(number);
                assert!(!known.closed, "nothing is closed twice");
                assert!(known.lent.is_empty(), "nothing is closed that is in use");
                known.closed = true;
            }
            for (waiter, number) in stale {
                self.return_stale(waiter, number);
            }
            for waiter in expired {
                self.end_expired(waiter);
            }
        }
        for waiter in std::mem::take(&mut self.refused) {
            if self.dice.roll(2) == 0 {
                self.state.acknowledge(waiter);
            } else {
                let timed_out = false;
                self.handle(Input::Cancel { waiter, timed_out });
            }
        }
        self.state.audit();
        self.check_conns();
        self.check_counts();
        told
    }

    /// A reservation was told to end: it is given back, or was used in the meantime.
    fn end_expired(&mut self, waiter: WaiterId) {
        let mut waiters = self.waiting.iter_mut().chain(&mut self.holding);
        let found = waiters.find(|(found, _)| **found == waiter);
        let Some(reserved) = found.and_then(|(_, waiting)| waiting.reserved.as_mut()) else {
            assert!(self.closed, "it was rejected in the same step");
            return;
        };
        assert!(!reserved.expired, "told twice");
        reserved.expired = true;
        let is_due = reserved
            .hold
            .is_some_and(|hold| self.now - reserved.made >= hold);
        assert!(is_due || self.closed, "a reservation ended early");
        if self.dice.roll(3) == 0 {
            self.note(|| format!("{waiter:?} is used, late"));
            self.unreserve(waiter);
        } else if self.waiting.contains_key(&waiter) {
            self.unreserve(waiter);
            self.waiting.remove(&waiter);
            let timed_out = false;
            self.handle(Input::Cancel { waiter, timed_out });
        } else {
            let lent = |known: &Known| known.lent.contains(&waiter);
            let held = self.connections.iter().find(|(_, known)| lent(known));
            let (&number, known) = held.expect("it holds a connection");
            // One that has ended is found out, as the pool asks it.
            let how = if known.dead && !known.shared { 5 } else { 1 };
            self.settle_lease(number, waiter, how);
        }
    }

    /// A request finds that the connection it was granted is closed.
    fn return_stale(&mut self, waiter: WaiterId, number: u32) {
        self.note(|| format!("{waiter:?} finds {number} closed"));
        let known = self.known(number);
        known.lent.retain(|&lease| lease != waiter);
        known.served -= 1;
        known.closed |= !known.shared;
        known.over = true;
        let mut waiting = self.holding.remove(&waiter).expect("it was granted");
        waiting.joined = self.steps + 1;
        self.waiting.insert(waiter, waiting);
        self.handle(Input::Stale { waiter });
    }

    fn known(&mut self, number: u32) -> &mut Known {
        self.connections.get_mut(&number).expect("a connection")
    }

    /// Connections that take a slot. One that is closed while it is being asked does not.
    fn open(&self) -> usize {
        let in_use: Vec<_> = self.state.connections().map(|found| found.conn).collect();
        self.connections
            .values()
            .filter(|known| {
                let has_slot = !known.checking || in_use.contains(&known.conn);
                !known.closed && has_slot
            })
            .count()
    }

    fn check_conns(&self) {
        assert!(
            self.dials.len() + self.open() <= self.limit,
            "there are never more connections than slots"
        );
    }

    fn hangs(&self, attempt: &Attempt) -> bool {
        let old = self
            .patience
            .is_some_and(|patience| self.now - attempt.began >= patience);
        old || self.patience.is_some() && self.timed_out[attempt.route]
    }

    fn check_dial(&mut self, conn: ConnId, route: &Route, waiter: Option<WaiterId>) {
        let n = self.routes.iter().position(|known| known == route);
        let n = n.expect("a route that was asked for");
        let attempt = Attempt {
            route: n,
            cause: waiter,
            began: self.now,
            step: self.steps,
        };
        assert!(self.dials.insert(conn, attempt).is_none());
        let Some(waiter) = waiter else {
            return;
        };
        // The request may be answered by what came after this in the same step.
        if let Some(waiting) = self.waiting.get(&waiter) {
            assert_eq!(waiting.route, n, "attempts begin for those who wait");
        }
        let on_route = self.dials.values().filter(|attempt| attempt.route == n);
        let for_requests = on_route.filter(|attempt| attempt.cause.is_some());
        let young = for_requests.filter(|attempt| !self.hangs(attempt)).count();
        let waiting = self.waiting.values().filter(|waiting| waiting.route == n);
        assert!(
            young <= waiting.count(),
            "no more attempts begin than requests wait"
        );
        assert!(
            young <= 1 || self.tried[n] || !self.routes[n].may_be_shared(),
            "one attempt finds out the protocol for all"
        );
        let own = self.dials.values().filter(|attempt| {
            attempt.cause == Some(waiter)
                && self
                    .waiting
                    .get(&waiter)
                    .is_some_and(|waiting| waiting.joined <= attempt.step)
        });
        assert!(own.count() <= 1, "one attempt for each request");
    }

    fn check_abandon(&mut self, conn: ConnId) {
        let on = |world: &World, n: usize| world.waiting.values().filter(|w| w.route == n).count();
        let dials = |world: &World, n: usize| world.dials.values().filter(|d| d.route == n).count();
        let attempt = self.dials.get(&conn).expect("only attempts are abandoned");
        let n = attempt.route;
        let for_none = dials(self, n) > on(self, n)
            || attempt.cause.is_none()
            || self.hangs(attempt)
                && !attempt
                    .cause
                    .is_some_and(|cause| self.waiting.contains_key(&cause))
            || attempt
                .cause
                .and_then(|cause| self.waiting.get(&cause))
                .is_some_and(|waiting| waiting.joined > attempt.step);
        let has_had_its_time = self
            .preempt_after
            .is_some_and(|after| self.now - attempt.began >= after);
        let others_wait = self.waiting.values().any(|waiting| waiting.route != n);
        let limited = self.requests_limit < usize::MAX;
        assert!(
            for_none || limited || (has_had_its_time && others_wait),
            "an attempt is preempted for others only, and when it has had its time"
        );
        self.dials.remove(&conn);
    }

    fn check_grant(&mut self, waiter: WaiterId, number: u32, conn: ConnId, reused: bool) {
        let served = self
            .waiting
            .remove(&waiter)
            .expect("a granted waiter was waiting");
        if !served.fresh {
            let arrival = self.state.arrival(waiter).expect("a waiter of its own");
            self.served.push((arrival, served.order));
        }
        let known = self.connections.get_mut(&number).expect("a connection");
        assert_eq!(
            known.route, served.route,
            "connections serve their own route"
        );
        assert_eq!(known.conn, conn);
        assert!(!known.closed && !known.over, "a closed connection was lent");
        assert!(!known.checking, "one that is being asked was lent");
        assert_eq!(reused, known.served > 0, "it is known what is new");
        if known.shared {
            assert!(
                known.lent.len() < known.limit,
                "no more exchanges than admitted"
            );
        } else {
            assert!(known.lent.is_empty(), "lent to one at a time");
            assert!(!(served.fresh && reused), "a new connection is new");
        }
        let overtaken = self
            .waiting
            .values()
            .any(|other| other.route == served.route && other.order < served.order && !other.fresh);
        assert!(!overtaken, "requests are served in the order of arrival");
        assert!(!known.last, "the last request on a connection was not");
        known.last = served.close_after;
        known.served += 1;
        known.lent.push(waiter);
        let route = served.route;
        let mut served = served;
        if let Some(reserved) = &mut served.reserved {
            reserved.granted = Some(self.now);
        }
        self.holding.insert(waiter, served);
        let active = self.holding.values().filter(|held| held.route == route);
        assert!(
            active.count() <= self.requests_limit,
            "a route keeps its limit of requests"
        );
    }

    fn check_counts(&self) {
        let counts = self.state.counts();
        assert_eq!(counts.waiting, self.waiting.len());
        assert_eq!(counts.connecting, self.dials.len());
        assert_eq!(
            counts.conns,
            self.dials.len() + self.open(),
            "a slot leaked"
        );
        let lent: usize = self
            .connections
            .values()
            .map(|known| known.lent.len())
            .sum();
        assert_eq!(counts.holding, lent);
        if let Some(limit) = self.max_pending_requests {
            // Requests that lost their attempt may wait besides.
            let without = self
                .waiting
                .keys()
                .filter(|&&waiter| !self.state.is_connecting(waiter))
                .count();
            assert!(without <= limit + self.limit + self.waiting.len() / 2 + 2);
        }
    }

    /// From here on everything goes well: all requests that wait are served, and then the pool can
    /// be emptied.
    fn bring_to_an_end(&mut self) {
        self.note(|| "from here on everything goes well".to_owned());
        while self.connections.values().any(|known| known.checking) {
            self.end_check();
            self.drain();
        }
        // The end of a shared connection becomes known.
        let dead = |known: &Known| known.shared && known.dead && !known.closed && !known.over;
        while let Some((&number, _)) = self.connections.iter().find(|(_, known)| dead(known)) {
            self.set_limit(number, StreamLimit::Closed);
            self.drain();
        }
        for _ in 0..10_000 {
            if self.waiting.is_empty() {
                break;
            }
            let mut dials: Vec<_> = self.dials.keys().copied().collect();
            dials.sort_unstable();
            for conn in dials {
                self.end_dial(conn, true);
                self.drain();
            }
            for (number, waiter) in self.leases() {
                if self.known(number).lent.contains(&waiter) {
                    self.settle_lease(number, waiter, 5);
                    self.drain();
                }
            }
            // A limit of nothing is for now, and ends.
            for number in self.living(true) {
                if self.connections[&number].limit == 0 {
                    self.set_limit(number, StreamLimit::Max(1));
                    self.drain();
                }
            }
            if let Some(next) = self.state.next_tick() {
                self.now = self.now.max(next);
                self.handle(Input::Tick);
                self.drain();
                self.check_next_tick();
            }
        }
        assert!(self.waiting.is_empty(), "a request waits for ever");
        self.closed = true;
        self.handle(Input::Close);
        self.drain();
        assert!(self.dials.is_empty(), "a closed pool makes no connections");
        for (number, waiter) in self.leases() {
            self.settle_lease(number, waiter, 5);
        }
        self.drain();
        let counts = self.state.counts();
        assert_eq!(counts, Counts::default(), "nothing is left");
    }
}
