//! Random steps, with everything checked after each. Each run is made twice, by the short ways where
//! the dice say so and by the long ones alone, and both must come to the same.
//!
//! `HTTPCORE_SEEDS` says how many runs; a failure prints its seed and its steps, and `HTTPCORE_SEED`
//! repeats it alone.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use super::*;

#[test]
fn the_books_balance_and_everybody_is_served_whatever_happens() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    let seeds = match (number("HTTPCORE_SEED"), number("HTTPCORE_SEEDS")) {
        (Some(one), _) => one..one + 1,
        (None, many) => 0..many.unwrap_or(3000),
    };
    for seed in seeds {
        let now = a_moment();
        let [short, long] = [true, false].map(|short| {
            let mut world = World::new(seed, short, now);
            let run = catch_unwind(AssertUnwindSafe(|| world.run()));
            if let Err(panic) = run {
                eprintln!("HTTPCORE_SEED={seed} failed after:\n{}", world.log);
                resume_unwind(panic);
            }
            world
        });
        let differs = std::iter::zip(&short.looks, &long.looks).find(|(short, long)| short != long);
        assert!(
            differs.is_none(),
            "HTTPCORE_SEED={seed} came to {differs:#?} after, by the short ways,\n{}\nand by the long ones\n{}",
            short.log,
            long.log
        );
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
    place: PlaceId,
    shared: bool,
    dead: bool,
    closed: bool,
    lent: Vec<TicketId>,
    limit: usize,
    served: usize,
    /// Somebody was to be the last to use it.
    last: bool,
}

struct Waiting {
    route: usize,
    fresh: bool,
    close_after: bool,
    order: usize,
}

/// The world around a machine: it carries out what it is told, and checks each thing against what
/// it knows without asking.
struct World {
    dice: Dice,
    log: String,
    state: State<u32, u32>,
    now: Instant,
    /// Those who were granted something: when they came, by the machine's count and by ours.
    served: Vec<(Arrival, usize)>,
    routes: Vec<Route>,
    /// Whether a route turns out to be shared.
    shared: Vec<bool>,
    limit: usize,
    waiting: BTreeMap<TicketId, Waiting>,
    refused: Vec<TicketId>,
    /// Their routes, whom they were begun for, and when.
    dials: HashMap<PlaceId, (usize, TicketId, Instant)>,
    patience: Option<Duration>,
    /// Whether a dial along a route has ever ended by itself.
    tried: Vec<bool>,
    connections: BTreeMap<u32, Known>,
    next: u32,
    order: usize,
    closed: bool,
    max_pending_requests: Option<usize>,
    /// Whether the short ways are gone where the dice say so.
    short: bool,
    /// What there was after each step.
    looks: Vec<String>,
}

impl World {
    fn new(seed: u64, short: bool, now: Instant) -> Self {
        let mut dice = Dice(seed);
        let mut config = PoolConfig::default();
        let limit = 1 + dice.roll(5);
        config.max_connections = Some(limit);
        config.max_connections_per_origin = dice.pick(&[None, Some(1), Some(2)]);
        config.max_http2_connections_per_origin = dice.pick(&[None, Some(1), Some(2)]);
        config.max_idle = dice.pick(&[None, None, Some(0), Some(2)]);
        config.max_idle_per_origin = dice.pick(&[None, None, Some(1)]);
        config.idle_timeout = dice.pick(&[None, Some(Duration::from_secs(3))]);
        config.max_lifetime = dice.pick(&[None, Some(Duration::from_secs(10))]);
        config.max_requests_per_connection = dice.pick(&[None, None, Some(1), Some(3)]);
        config.connect_preempt_after = dice.pick(&[None, Some(Duration::from_secs(2))]);
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
            now,
            served: Vec::new(),
            routes,
            shared,
            limit,
            waiting: BTreeMap::new(),
            refused: Vec::new(),
            dials: HashMap::new(),
            connections: BTreeMap::new(),
            next: 1,
            order: 0,
            closed: false,
            max_pending_requests: config.max_pending_requests,
            short,
            looks: Vec::new(),
            patience: config.connect_preempt_after,
            tried: vec![false; how_many],
            dice,
        }
    }

    fn run(&mut self) {
        for _ in 0..20 + self.dice.roll(60) {
            self.step();
            self.drain();
            self.look();
        }
        self.bring_to_an_end();
    }

    fn look(&mut self) {
        let state = &self.state;
        let mut sights: Vec<_> = state.look().map(|sight| format!("{sight:?}")).collect();
        sights.sort_unstable();
        let (books, counters) = (state.books(), state.stats());
        let expiry = state.next_expiry().map(|at| at - self.now);
        let look = format!("{books:?} {counters:?} {expiry:?} {sights:#?}");
        self.looks.push(look);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let what = what();
        let _ = writeln!(self.log, "{what}");
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..30 => self.ask(),
            30..38 => self.give_up(),
            38..53 => self.finish_dial(),
            53..75 => self.end_lease(),
            75..80 => self.die(),
            80..85 => self.change_limit(),
            85..93 => {
                let seconds = 1 + self.dice.roll(3) as u64;
                self.note(|| format!("{seconds} s pass"));
                self.now += Duration::from_secs(seconds);
                if self.dice.roll(2) == 0 {
                    self.state.expire(self.now);
                }
            }
            93..96 => {
                self.note(|| "close idle".to_owned());
                self.state.close_idle();
            }
            96 if self.dice.roll(8) == 0 => {
                self.note(|| "drain".to_owned());
                self.closed = true;
                self.state.drain();
            }
            97 if self.dice.roll(8) == 0 => {
                self.note(|| "close".to_owned());
                self.closed = true;
                self.state.close();
            }
            _ => self.ask(),
        }
    }

    fn ask(&mut self) {
        let route = self.dice.roll(self.routes.len());
        let fresh = self.dice.roll(8) == 0;
        let mut wish = any();
        wish.new_connection = fresh;
        wish.close_after = self.dice.roll(12) == 0;
        // Somebody whom a connection did not serve.
        let again = if self.dice.roll(6) == 0 {
            self.served.pop()
        } else {
            None
        };
        // As the shell does it, or as anybody may.
        let (at_once, drains) = (self.dice.roll(2) == 0, self.dice.roll(2) == 0);
        if at_once && self.short && again.is_none() && self.ask_at_once(route, wish, drains) {
            return;
        }
        let way = &self.routes[route];
        let ticket = match again {
            Some((arrival, _)) => self.state.enqueue_again(way, wish, arrival, self.now),
            None => self.state.enqueue(way, wish, self.now),
        };
        self.note(|| {
            format!(
                "{ticket:?} asks for {route}{}{}",
                if fresh { ", fresh" } else { "" },
                if again.is_some() { ", again" } else { "" }
            )
        });
        self.order += 1;
        let waiting = Waiting {
            route,
            fresh,
            close_after: wish.close_after,
            order: again.map_or(self.order, |(_, order)| order),
        };
        assert!(
            self.waiting.insert(ticket, waiting).is_none(),
            "no two tickets share a name"
        );
    }

    /// The short way; whether it was gone.
    fn ask_at_once(&mut self, route: usize, wish: ConnectionPolicy, drains: bool) -> bool {
        let connections = &self.connections;
        let mut is_fit = |_, number: &mut u32| !connections[number].dead;
        let way = &self.routes[route];
        let Some(lent) = self.state.lend(way, wish, self.now, &mut is_fit) else {
            if drains {
                self.drain();
            }
            return self.dial_at_once(route, wish);
        };
        self.order += 1;
        let waiting = Waiting {
            route,
            fresh: wish.new_connection,
            close_after: wish.close_after,
            order: self.order,
        };
        self.waiting.insert(lent.ticket, waiting);
        let (ticket, number) = (lent.ticket, number(&lent.connection));
        self.note(|| format!("{ticket:?} asks for {route}, and has {number} at once"));
        self.check_grant(lent.ticket, number, lent.place, lent.reused);
        self.check_nothing_is_left();
        true
    }

    /// The other short way; whether it was gone.
    fn dial_at_once(&mut self, route: usize, wish: ConnectionPolicy) -> bool {
        let way = self.routes[route].clone();
        let Some((ticket, place)) = self.state.dial_at_once(&way, wish, self.now) else {
            return false;
        };
        self.note(|| format!("{ticket:?} asks for {route}, and {place:?} is dialled at once"));
        self.order += 1;
        let waiting = Waiting {
            route,
            fresh: wish.new_connection,
            close_after: wish.close_after,
            order: self.order,
        };
        self.waiting.insert(ticket, waiting);
        self.check_dial(place, &way, ticket);
        self.check_places();
        self.check_nothing_is_left();
        true
    }

    fn give_up(&mut self) {
        let waiting: Vec<_> = self.waiting.keys().copied().collect();
        if !waiting.is_empty() {
            let ticket = self.dice.pick(&waiting);
            self.note(|| format!("{ticket:?} gives up"));
            self.waiting.remove(&ticket);
            self.state.cancel(ticket);
        }
    }

    fn finish_dial(&mut self) {
        let mut dials: Vec<_> = self.dials.keys().copied().collect();
        dials.sort_unstable();
        if dials.is_empty() {
            return;
        }
        let place = self.dice.pick(&dials);
        let succeeds = self.dice.roll(4) > 0;
        self.end_dial(place, succeeds);
    }

    fn end_dial(&mut self, place: PlaceId, succeeds: bool) {
        let Some((route, cause, _)) = self.dials.remove(&place) else {
            return;
        };
        self.tried[route] = true;
        if !succeeds {
            self.note(|| format!("{place:?} fails, begun for {cause:?}"));
            let waits = self.waiting.contains_key(&cause);
            self.state.dialled(place, Err(refused()), self.now);
            let told = self.drain();
            let expected: Vec<_> = waits
                .then(|| format!("refuse: dial {cause:?}"))
                .into_iter()
                .collect();
            assert_eq!(
                told, expected,
                "a failed dial fails its cause, if that waits, and nobody else"
            );
            return;
        }
        let number = self.next;
        self.next += 1;
        let shared = self.shared[route];
        self.note(|| {
            format!(
                "{place:?} is made: {number}{}",
                if shared { ", shared" } else { "" }
            )
        });
        self.connections.insert(
            number,
            Known {
                route,
                place,
                shared,
                dead: false,
                closed: false,
                lent: Vec::new(),
                limit: usize::MAX,
                served: 0,
                last: false,
            },
        );
        if shared {
            self.state
                .dialled(place, Ok(Connection::Shared(number)), self.now);
            let limit = 1 + self.dice.roll(3);
            self.set_limit(number, StreamLimit::Max(limit));
        } else if self.dice.roll(2) == 0 || !self.short || !self.grant_at_once(place, number) {
            self.state
                .dialled(place, Ok(Connection::Exclusive(number)), self.now);
        }
    }

    /// The short way; whether it was gone.
    fn grant_at_once(&mut self, place: PlaceId, number: u32) -> bool {
        let connections = &self.connections;
        let mut is_fit = |_, number: &mut u32| !connections[number].dead;
        let granted = self
            .state
            .grant_at_once(place, number, self.now, &mut is_fit);
        self.check_granted_at_once(granted, number)
    }

    /// The short way from one to the next; whether it was gone.
    fn hand_on_at_once(&mut self, ticket: TicketId, number: u32) -> bool {
        let connections = &self.connections;
        let mut is_fit = |_, number: &mut u32| !connections[number].dead;
        let (now, hints) = (self.now, KeepAliveHints::default());
        let granted = self
            .state
            .hand_on_at_once(ticket, number, hints, now, &mut is_fit);
        self.check_granted_at_once(granted, number)
    }

    fn check_granted_at_once(
        &mut self,
        granted: Result<Action<u32, u32>, u32>,
        number: u32,
    ) -> bool {
        match granted {
            Ok(Action::Grant {
                ticket,
                connection,
                place,
                reused,
            }) => {
                self.note(|| format!("{ticket:?} is granted {number} at once"));
                assert_eq!(super::number(&connection), number);
                self.check_grant(ticket, number, place, reused);
                self.check_nothing_is_left();
                true
            }
            Ok(_) => panic!("a grant is a grant"),
            Err(back) => {
                assert_eq!(back, number);
                false
            }
        }
    }

    fn set_limit(&mut self, number: u32, limit: StreamLimit) {
        self.note(|| format!("{number} admits {limit:?}"));
        let known = self.connections.get_mut(&number).expect("known");
        (known.limit, known.dead) = match limit {
            StreamLimit::Max(limit) => (limit, false),
            StreamLimit::Closed => (0, true),
        };
        self.state.admits(known.place, limit);
    }

    fn living(&self, shared: bool) -> Vec<u32> {
        self.connections
            .iter()
            .filter(|(_, known)| known.shared == shared && !known.closed && !known.dead)
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

    /// An exclusive connection dies; its waker may be called, or late, or not at all.
    fn die(&mut self) {
        let living = self.living(false);
        if !living.is_empty() {
            let number = self.dice.pick(&living);
            let woken = self.dice.roll(2) == 0;
            self.note(|| format!("{number} dies{}", if woken { ", and says so" } else { "" }));
            let known = self.connections.get_mut(&number).expect("known");
            known.dead = true;
            if woken {
                self.state.woken(known.place);
            }
        }
    }

    fn end_lease(&mut self) {
        let leases: Vec<(u32, TicketId)> = self
            .connections
            .iter()
            .flat_map(|(&number, known)| known.lent.iter().map(move |&ticket| (number, ticket)))
            .collect();
        if leases.is_empty() {
            return;
        }
        let (number, ticket) = self.dice.pick(&leases);
        let how = self.dice.roll(6);
        self.settle_lease(number, ticket, how);
    }

    fn settle_lease(&mut self, number: u32, ticket: TicketId, how: usize) {
        let known = self.connections.get_mut(&number).expect("known");
        known.lent.retain(|&lease| lease != ticket);
        match (how, known.shared) {
            (0, false) => {
                known.closed = true;
                self.note(|| format!("{ticket:?} ends, and {number} with it"));
                let (now, reason) = (self.now, CloseReason::Abandoned);
                let at_once = self.dice.roll(2) == 0 && self.short;
                if at_once && self.state.end_at_once(ticket, Some(reason), now) {
                    self.check_nothing_is_left();
                } else {
                    self.state.reclaimed(ticket, Err(reason), now);
                }
            }
            (1, shared) => {
                known.served -= 1;
                known.last &= known.shared;
                self.note(|| format!("{ticket:?} does not want {number}"));
                let connection = if shared {
                    Connection::Shared(number)
                } else {
                    Connection::Exclusive(number)
                };
                self.state.decline(ticket, connection, self.now);
            }
            (2, false) => {
                let mut hints = KeepAliveHints::default();
                if self.dice.roll(2) == 0 {
                    hints = hints.with_timeout(Duration::from_secs(self.dice.roll(5) as u64));
                }
                if self.dice.roll(3) == 0 {
                    hints = hints.with_max_requests(self.dice.roll(3) as u64);
                }
                self.note(|| format!("{ticket:?} gives {number} back, {hints:?}"));
                self.state
                    .reclaimed_with(ticket, Ok(number), hints, self.now);
            }
            (3 | 4, false) if self.short => {
                self.note(|| format!("{ticket:?} gives {number} back, at once if it can"));
                let connections = &self.connections;
                let mut is_fit = |_, number: &mut u32| !connections[number].dead;
                let (now, hints) = (self.now, KeepAliveHints::default());
                let parked =
                    self.state
                        .park_at_once(ticket, number, hints, now, Some(now), &mut is_fit);
                match parked {
                    Ok(()) => self.check_nothing_is_left(),
                    Err(number) if self.state.end_at_once(ticket, None, now) => {
                        self.known(number).closed = true;
                        self.check_nothing_is_left();
                    }
                    Err(number) if self.hand_on_at_once(ticket, number) => {}
                    Err(number) => self.state.reclaimed(ticket, Ok(number), now),
                }
            }
            (_, false) => {
                self.note(|| format!("{ticket:?} gives {number} back"));
                self.state.reclaimed(ticket, Ok(number), self.now);
            }
            (_, true) => {
                self.note(|| format!("{ticket:?} ends on {number}"));
                let (now, reason) = (self.now, CloseReason::Finished);
                let at_once = self.short
                    && how.is_multiple_of(2)
                    && self.state.finish_at_once(ticket, reason, now, Some(now));
                if at_once {
                    self.check_nothing_is_left();
                } else {
                    self.state.reclaimed(ticket, Err(reason), now);
                }
            }
        }
    }

    /// Carries out what the machine wants done, and checks every bit of it.
    fn drain(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let connections = &self.connections;
            let mut is_fit = |_, number: &mut u32| !connections[number].dead;
            let Some(action) = self.state.poll_action(self.now, &mut is_fit) else {
                break;
            };
            self.note(|| format!("    {}", word(&action)));
            match action {
                Action::Dial {
                    place,
                    route,
                    ticket,
                } => self.check_dial(place, &route, ticket),
                Action::Abandon { place } => self.check_abandon(place),
                Action::Grant {
                    ticket,
                    connection,
                    place,
                    reused,
                } => self.check_grant(ticket, number(&connection), place, reused),
                Action::Refuse { ticket, why } => {
                    assert!(
                        self.waiting.remove(&ticket).is_some(),
                        "who waits is refused"
                    );
                    match why {
                        Refusal::Dial(_) => told.push(format!("refuse: dial {ticket:?}")),
                        Refusal::QueueFull => assert!(self.max_pending_requests.is_some()),
                        Refusal::Closed => assert!(self.closed),
                    }
                    self.refused.push(ticket);
                }
                Action::Requeued { ticket } => assert!(self.waiting.contains_key(&ticket)),
                Action::Close { connection, .. } => {
                    let known = self
                        .connections
                        .get_mut(&number(&connection))
                        .expect("only connections are closed");
                    assert!(!known.closed, "nothing is closed twice");
                    assert!(known.lent.is_empty(), "nothing is closed that is in use");
                    known.closed = true;
                }
            }
            self.check_places();
        }
        for ticket in std::mem::take(&mut self.refused) {
            self.state.cancel(ticket);
        }
        self.state.audit();
        self.check_books();
        told
    }

    /// Behind a short way, nobody asks the machine what it wants done.
    fn check_nothing_is_left(&mut self) {
        self.state.audit();
        let mut is_fit = |_, _: &mut u32| panic!("nothing is to be asked");
        assert!(self.state.poll_action(self.now, &mut is_fit).is_none());
    }

    fn known(&mut self, number: u32) -> &mut Known {
        self.connections.get_mut(&number).expect("a connection")
    }

    fn check_places(&self) {
        let open = self.connections.values().filter(|known| !known.closed);
        assert!(
            self.dials.len() + open.count() <= self.limit,
            "there are never more connections than places, not even between two actions"
        );
    }

    fn check_dial(&mut self, place: PlaceId, route: &Route, ticket: TicketId) {
        let n = self.routes.iter().position(|known| known == route);
        let n = n.expect("a route that was asked for");
        assert_eq!(
            self.waiting[&ticket].route, n,
            "dials are begun for who waits"
        );
        assert!(self.dials.insert(place, (n, ticket, self.now)).is_none());
        let dials = self
            .dials
            .values()
            .filter(|(route, ..)| *route == n)
            .count();
        let waiting = self
            .waiting
            .values()
            .filter(|waiting| waiting.route == n)
            .count();
        assert!(
            dials <= waiting,
            "no more dials are begun than tickets wait"
        );
        assert!(
            dials == 1 || self.tried[n] || !self.routes[n].may_be_shared(),
            "one dial finds out the protocol for all"
        );
        assert!(
            self.dials
                .values()
                .filter(|(_, cause, _)| *cause == ticket)
                .count()
                == 1,
            "one dial for each ticket"
        );
    }

    fn check_abandon(&mut self, place: PlaceId) {
        let on = |world: &World, n: usize| world.waiting.values().filter(|w| w.route == n).count();
        let dials = |world: &World, n: usize| world.dials.values().filter(|d| d.0 == n).count();
        let &(n, _, begun) = self.dials.get(&place).expect("only dials are abandoned");
        let for_nobody = dials(self, n) > on(self, n);
        let has_had_its_time = self
            .patience
            .is_some_and(|patience| self.now - begun >= patience);
        let others_wait = self.waiting.values().any(|waiting| waiting.route != n);
        assert!(
            for_nobody || (has_had_its_time && others_wait),
            "a dial gives way to others only, and when it has had its time"
        );
        self.dials.remove(&place);
    }

    fn check_grant(&mut self, ticket: TicketId, number: u32, place: PlaceId, reused: bool) {
        let served = self.waiting.remove(&ticket).expect("who waits is served");
        if !served.fresh {
            let arrival = self.state.arrival(ticket).expect("a ticket of its own");
            self.served.push((arrival, served.order));
        }
        let known = self.connections.get_mut(&number).expect("a connection");
        assert_eq!(
            known.route, served.route,
            "connections serve their own route"
        );
        assert_eq!(known.place, place);
        assert!(!known.closed && !known.dead, "a dead connection was lent");
        assert_eq!(reused, known.served > 0, "it is known what is new");
        if known.shared {
            assert!(
                known.lent.len() < known.limit,
                "no more exchanges than admitted"
            );
        } else {
            assert!(known.lent.is_empty(), "lent to one at a time");
            assert!(!(served.fresh && reused), "who insists gets a new one");
        }
        let overtaken = self
            .waiting
            .values()
            .any(|other| other.route == served.route && other.order < served.order && !other.fresh);
        assert!(!overtaken, "whoever came first is served first");
        assert!(!known.last, "whoever was to be the last was not");
        known.last = served.close_after;
        known.served += 1;
        known.lent.push(ticket);
    }

    fn check_books(&self) {
        let books = self.state.books();
        assert_eq!(books.waiting, self.waiting.len());
        assert_eq!(books.dials, self.dials.len());
        let open = self.connections.values().filter(|known| !known.closed);
        assert_eq!(
            books.places,
            self.dials.len() + open.count(),
            "a place leaked"
        );
        let lent: usize = self
            .connections
            .values()
            .map(|known| known.lent.len())
            .sum();
        assert_eq!(books.holding, lent);
        if let Some(limit) = self.max_pending_requests {
            // Tickets that lost their dial to somebody may wait besides.
            let without = self
                .waiting
                .keys()
                .filter(|&&ticket| !self.state.is_dialling(ticket))
                .count();
            assert!(without <= limit + self.limit + self.waiting.len() / 2);
        }
    }

    /// From here on everything goes well: everybody who waits is served, and then the pool can be
    /// emptied.
    fn bring_to_an_end(&mut self) {
        self.note(|| "from here on everything goes well".to_owned());
        for _ in 0..10_000 {
            if self.waiting.is_empty() {
                break;
            }
            let mut dials: Vec<_> = self.dials.keys().copied().collect();
            dials.sort_unstable();
            for place in dials {
                self.end_dial(place, true);
                self.drain();
            }
            let leases: Vec<(u32, TicketId)> = self
                .connections
                .iter()
                .flat_map(|(&number, known)| known.lent.iter().map(move |&ticket| (number, ticket)))
                .collect();
            for (number, ticket) in leases {
                self.settle_lease(number, ticket, 5);
                self.drain();
            }
            // A limit of nothing is for now, and ends.
            for number in self.living(true) {
                if self.connections[&number].limit == 0 {
                    self.set_limit(number, StreamLimit::Max(1));
                    self.drain();
                }
            }
        }
        assert!(self.waiting.is_empty(), "somebody waits for ever");
        self.closed = true;
        self.state.close();
        self.drain();
        assert!(self.dials.is_empty(), "a closed pool makes no connections");
        for (number, ticket) in self
            .connections
            .iter()
            .flat_map(|(&number, known)| known.lent.iter().map(move |&ticket| (number, ticket)))
            .collect::<Vec<_>>()
        {
            self.settle_lease(number, ticket, 5);
        }
        self.drain();
        let books = self.state.books();
        assert_eq!(books, Books::default(), "nothing is left");
    }
}
