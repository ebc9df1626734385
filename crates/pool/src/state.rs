//! The pool without I/O.
//!
//! Everything that happens to a [`State`] is a method; everything it wants done comes out of
//! [`poll_action`](State::poll_action), which is asked after each of them until there is nothing
//! more. (The methods which end in `at_once`, and [`lend`](State::lend), are short ways through both:
//! after them there is nothing to ask for.) It has no lock, no clock and no `async`; what a connection
//! is, it does not know. Tests use numbers.
//!
//! A request is a *ticket*, from the queue to the end of its exchange. A connection has a *place*,
//! from the moment in which it begins to be made until it is gone:
//!
//! ```text
//!              enqueue                       Grant
//!   ticket:  ─────────► waiting ──────────────────────────► holding ──► over
//!                          │  cancel, Refuse                  reclaimed, decline
//!                          └─────────────► over
//!
//!               Dial             dialled
//!   place:   ─────────► dial ─────────────► settling ──┬─► lent ──► settling     exclusive
//!                          │ failed, Abandon           └─► idle ──► lent, Close
//!                          └─► gone             └───────► shared ──► Close       shared
//! ```
//!
//! # What holds after every drained step
//!
//! - `dials + idle + lent + shared` is the number of places, and at most `max_connections`.
//! - Nobody waits while a place is free and may be used for them, nor while a connection on their
//!   own route could serve them.
//! - A dial begins only for a ticket which waits and has none; so there are never more dials begun
//!   for a route than tickets that wait on it. A dial whose ticket has gone goes on, for the next
//!   ticket on its route, or until its place is needed.
//! - Along one route, tickets are served in the order of their coming; what ends a wait is whatever
//!   comes first, an idle connection or a new one. Between routes, places go round.
//!
//! ```
//! use httpcore_core_primitives::{ConnectionPolicy, Origin, Scheme};
//! use httpcore_pool::{PoolConfig, Route, state::{Action, Connection, State}};
//!
//! let mut state = State::<&str, ()>::new(&PoolConfig::default());
//! let route = Route::to(Origin::new(Scheme::Http, "localhost", 80));
//! # #[allow(clippy::disallowed_methods)]
//! let now = std::time::Instant::now();
//! let mut fit = |_, _: &mut &str| true;
//!
//! let first = state.enqueue(&route, ConnectionPolicy::default(), now);
//! let Some(Action::Dial { place, .. }) = state.poll_action(now, &mut fit) else { panic!() };
//! state.dialled(place, Ok(Connection::Exclusive("the first")), now);
//! let Some(Action::Grant { ticket, connection, .. }) = state.poll_action(now, &mut fit) else {
//!     panic!()
//! };
//! assert_eq!(ticket, first);
//! assert!(matches!(connection, Connection::Exclusive("the first")));
//! assert!(state.poll_action(now, &mut fit).is_none());
//! ```

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    time::{Duration, Instant},
};

use httpcore_core_primitives::{
    CloseReason, ConnectionPolicy, Error, KeepAliveHints, StreamLimit, options::earlier,
};

use crate::{
    arena::{Arena, Chain, Key, Links, List},
    config::PoolConfig,
    route::{Route, RouteMap},
};

mod acting;
mod action;
mod idle;
mod places;
mod roads;
mod short;
mod sight;
mod tickets;

use idle::{Class, Idle};

pub use action::{
    Action, Arrival, Connection, ConnectionCloseReason, Lent, PlaceId, Refusal, TicketId,
};
pub use sight::{Activity, Books, PoolStats, Sight};

/// How many requests may be served on connections of other routes while a route waits for a place
/// in a full pool, before one of those connections is closed for it. A new connection costs about
/// as much as so many small exchanges.
const PATIENCE: u32 = 16;

/// How often the dials made for one request may have to give way and are given longer the next
/// time. The last time is 32 times as long as the first.
const LEVELS: usize = 6;

/// How many routes without connections are remembered for the protocol that was spoken there.
const REMEMBERED: usize = 1024;

/// The pool without I/O. `X` is an exclusive connection, `S` a handle to a shared one. See the
/// [module](self).
pub struct State<X, S> {
    limits: Limits,
    index: RouteMap<Key>,
    roads: Arena<Road>,
    places: Arena<Place<X, S>>,
    claims: Arena<Claim>,
    /// Roads which could begin a dial if there were a place, in the order of their turns.
    ring: List<Turn>,
    /// Roads without places and tickets, kept for what is known of them; longest empty first.
    resting: List<Rest>,
    /// Connections without exchanges.
    idle: Idle,
    /// Dials that nobody waits for, oldest first.
    orphans: List<Lru>,
    /// Dials that somebody waits for, oldest first, by how often those before them gave way.
    attended: [List<Lru>; LEVELS],
    /// Connections by the time of their making, oldest first, until they reach their age.
    ages: List<ByAge>,
    work: VecDeque<Work<X, S>>,
    /// The latest ticket: the one to be refused if the queue is too long.
    newcomer: Option<Key>,
    /// How many tickets have neither a connection nor a dial.
    wanting: usize,
    /// How many tickets wait.
    waiting: usize,
    /// How many connections there are.
    made: usize,
    /// How many shared connections there are that still take exchanges, or finish some.
    shared: usize,
    /// How often others were served while the front of the ring waited for a place.
    passed_over: u32,
    /// A shared connection which finishes its exchanges so that its place can go to another road.
    yielding: Option<Key>,
    /// What has begun that will end by itself, since that was last asked.
    news: News,
    closed: bool,
    /// Newcomers are refused, and nothing is kept that nobody waits for.
    draining: bool,
    sequence: u64,
    counters: PoolStats,
}

/// What has begun that will end by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Whether there is any such thing.
    pub any: bool,
    /// When the first of them ends.
    pub soonest: Option<Instant>,
}

impl News {
    fn hear(&mut self, end: Option<Instant>) {
        self.any = true;
        self.soonest = earlier(self.soonest, end);
    }
}

struct Limits {
    places: usize,
    places_per_road: usize,
    shared_per_road: usize,
    idle: usize,
    idle_per_road: usize,
    idle_timeout: Option<Duration>,
    max_lifetime: Option<Duration>,
    max_requests: u64,
    queue: usize,
    connect_preempt_after: Option<Duration>,
}

/// A route with something on it.
struct Road {
    route: Route,
    may_share: bool,
    knowledge: Knowledge,
    /// Tickets content with any connection, longest waiting first.
    waiting: List<Queue>,
    /// Tickets which will have a new connection only.
    fresh: List<Queue>,
    /// Of both, those for which nothing is being dialled.
    wanting: List<Wanting>,
    /// Exclusive connections, most recently used first.
    idle: List<OnRoad>,
    /// Shared connections which take another exchange.
    roomy: List<OnRoad>,
    /// Dials that nobody waits for.
    orphans: List<OnRoad>,
    /// Tickets which have come, and are in no queue yet.
    arriving: usize,
    places: usize,
    dials: usize,
    /// Shared connections which are not retired.
    shared: usize,
    /// Those of them which have yet to say how much they admit.
    untold: usize,
    turn: Links,
    rest: Links,
}

/// What is known of the protocol at the end of a route that may be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knowledge {
    /// Nothing: one dial is made to find out, and the others wait for what it finds.
    Unknown,
    /// The attempt to find out failed, and so everybody tries for themselves.
    Doubtful,
    /// Connections are exclusive.
    Exclusive,
    /// Connections are shared; the last one admitted so many exchanges.
    Shared { limit: usize },
}

struct Place<X, S> {
    road: Key,
    stage: Stage<X, S>,
    /// When the dial began, and then when it ended.
    born: Instant,
    /// The same, in the order of tickets.
    born_sequence: u64,
    /// When its age ends it, once it is made.
    ends: Option<Instant>,
    idle_since: Instant,
    /// When idleness ends it, while it is idle.
    idle_until: Option<Instant>,
    /// How long it may be idle.
    class: Class,
    /// Among which of the attended dials it is, while it is one.
    level: u8,
    /// Why it is not used again, if whoever used it last has said so.
    ending: Option<ConnectionCloseReason>,
    served: u64,
    /// Whether its dial has succeeded.
    made: bool,
    on_road: Links,
    lru: Links,
    age: Links,
}

enum Stage<X, S> {
    /// Being made.
    Dial {
        /// Who waits for it.
        ticket: Option<Key>,
        /// Whether it was begun for that ticket, which then bears its failure.
        own: bool,
    },
    /// Come, and about to be lent, parked or closed: the connection is in the work queue.
    Settling,
    Idle(X),
    Lent,
    Shared {
        handle: S,
        exchanges: usize,
        limit: usize,
        /// Whether that is its own word, and not a guess.
        told: bool,
        /// Why it takes no more.
        retired: Option<ConnectionCloseReason>,
    },
}

struct Claim {
    road: Key,
    sequence: u64,
    fresh: bool,
    close_after: bool,
    /// How often a dial made for it had to give way.
    gave_way: u8,
    asked: Instant,
    stage: ClaimStage,
    queue: Links,
    wanting: Links,
}

enum ClaimStage {
    Waiting {
        dial: Option<Key>,
    },
    Holding {
        place: Key,
    },
    /// And its owner has yet to be told.
    Refused,
}

/// What happened and has yet to be dealt with, in order.
enum Work<X, S> {
    /// A ticket has come.
    Arrive(Key),
    /// Tickets on this road may be served, or the road have become empty.
    Serve(Key),
    /// An exclusive connection has come, from a dial or from an exchange.
    Settle {
        place: Key,
        connection: X,
    },
    /// An idle connection may have ended.
    Ask(Key),
    /// The dial that a ticket waited for has ended, and was not for it.
    Requeue(Key),
    Act(Action<X, S>),
}

/// Runs through roads: the ring.
struct Turn;
/// Runs through roads: the resting ones.
struct Rest;
/// Runs through claims: the two queues of a road.
struct Queue;
/// Runs through claims: those of a road which lack a dial.
struct Wanting;
/// Runs through places: by road and stage.
struct OnRoad;
/// Runs through places: idle connections, orphaned dials, or attended ones.
struct Lru;
/// Runs through places: by age.
struct ByAge;

macro_rules! chain {
    ($chain:ty, $item:ty, $field:ident $(, $generic:ident)*) => {
        impl<$($generic),*> Chain<$item> for $chain {
            fn links(item: &$item) -> &Links {
                &item.$field
            }
            fn links_mut(item: &mut $item) -> &mut Links {
                &mut item.$field
            }
        }
    };
}
chain!(Turn, Road, turn);
chain!(Rest, Road, rest);
chain!(Queue, Claim, queue);
chain!(Wanting, Claim, wanting);
chain!(OnRoad, Place<X, S>, on_road, X, S);
chain!(Lru, Place<X, S>, lru, X, S);
chain!(ByAge, Place<X, S>, age, X, S);

impl<X, S: Clone> State<X, S> {
    /// An empty pool.
    pub fn new(config: &PoolConfig) -> Self {
        let limit = |limit: Option<usize>| limit.unwrap_or(usize::MAX);
        State {
            limits: Limits {
                places: limit(config.max_connections).max(1),
                places_per_road: limit(config.max_connections_per_origin).max(1),
                shared_per_road: limit(config.max_http2_connections_per_origin).max(1),
                idle: limit(config.max_idle),
                idle_per_road: limit(config.max_idle_per_origin),
                idle_timeout: config.idle_timeout,
                max_lifetime: config.max_lifetime,
                max_requests: config
                    .max_requests_per_connection
                    .unwrap_or(u64::MAX)
                    .max(1),
                queue: limit(config.max_pending_requests),
                connect_preempt_after: config.connect_preempt_after,
            },
            index: RouteMap::default(),
            roads: Arena::new(),
            places: Arena::new(),
            claims: Arena::new(),
            ring: List::new(),
            resting: List::new(),
            idle: Idle::new(),
            orphans: List::new(),
            attended: [const { List::new() }; LEVELS],
            ages: List::new(),
            work: VecDeque::new(),
            newcomer: None,
            wanting: 0,
            waiting: 0,
            made: 0,
            shared: 0,
            passed_over: 0,
            yielding: None,
            news: News::default(),
            closed: false,
            draining: false,
            sequence: 0,
            counters: PoolStats::default(),
        }
    }

    /// A request asks for a connection along `route`, to be used in such a way.
    pub fn enqueue(&mut self, route: &Route, wish: ConnectionPolicy, now: Instant) -> TicketId {
        let claim = self.enter(route, wish, now);
        TicketId(claim)
    }

    /// As [`enqueue`](Self::enqueue), for a request which had a connection that did not serve it: it
    /// waits before those who have come since it first did. (Not if it insists on a new connection:
    /// that is one which is new now.)
    pub fn enqueue_again(
        &mut self,
        route: &Route,
        wish: ConnectionPolicy,
        arrival: Arrival,
        now: Instant,
    ) -> TicketId {
        let claim = self.enter(route, wish, now);
        if !wish.new_connection {
            self.claims[claim].sequence = arrival.0.get();
        }
        TicketId(claim)
    }

    /// When the request behind a ticket came.
    pub fn arrival(&self, ticket: TicketId) -> Option<Arrival> {
        let sequence = self.claims.get(ticket.0)?.sequence;
        NonZeroU64::new(sequence).map(Arrival)
    }

    fn enter(&mut self, route: &Route, wish: ConnectionPolicy, now: Instant) -> Key {
        self.counters.requests += 1;
        let road = self.road(route);
        let stage = ClaimStage::Waiting { dial: None };
        let claim = self.new_claim(road, wish, now, stage);
        // There may be work for this road from before: it must not be forgotten over that.
        self.roads[road].arriving += 1;
        self.work.push_back(Work::Arrive(claim));
        claim
    }

    /// A request leaves: the queue, if it waits; otherwise it acknowledges that it was refused.
    ///
    /// A ticket that was granted something must end with [`reclaimed`](Self::reclaimed) or
    /// [`decline`](Self::decline) instead; for such a one, this does nothing.
    pub fn cancel(&mut self, ticket: TicketId) {
        let Some(claim) = self.claims.get(ticket.0) else {
            return;
        };
        match claim.stage {
            ClaimStage::Waiting { .. } => {
                let road = claim.road;
                self.leave(ticket.0);
                self.claims.remove(ticket.0);
                self.counters.cancelled += 1;
                self.work.push_back(Work::Serve(road));
            }
            ClaimStage::Refused => {
                self.claims.remove(ticket.0);
            }
            ClaimStage::Holding { .. } => {}
        }
    }

    /// Whether a connection is being made which `ticket` waits for: for itself alone, or the one
    /// that will show which protocol is spoken along its route.
    pub fn is_dialling(&self, ticket: TicketId) -> bool {
        match self.claims.get(ticket.0) {
            Some(Claim {
                stage: ClaimStage::Waiting { dial },
                road,
                ..
            }) => dial.is_some() || self.roads[*road].is_probing(),
            _ => false,
        }
    }

    /// Whether a dial is still wanted: false once it was [abandoned](Action::Abandon), or has
    /// been reported.
    pub fn is_wanted(&self, dial: PlaceId) -> bool {
        matches!(
            self.places.get(dial.0),
            Some(Place {
                stage: Stage::Dial { .. },
                ..
            })
        )
    }

    /// A dial ended. A connection that nobody wants any more comes out as [`Action::Close`].
    ///
    /// A shared one is taken to admit as many exchanges as the last one along its route did, or
    /// one, until [`admits`](Self::admits) says otherwise. Until it does, no other is dialled for
    /// those whom it does not serve yet.
    ///
    /// An error which is nobody's, since whoever caused the dial has gone, is handed back.
    pub fn dialled(
        &mut self,
        dial: PlaceId,
        outcome: Result<Connection<X, S>, Error>,
        now: Instant,
    ) -> Option<Error> {
        let PlaceId(key) = dial;
        if !self.is_wanted(dial) {
            let connection = match outcome {
                Ok(connection) => connection,
                Err(error) => return Some(error),
            };
            self.work.push_back(Work::Act(Action::Close {
                place: dial,
                connection,
                reason: ConnectionCloseReason::Superfluous,
            }));
            return None;
        }
        let mut unheard = None;
        let road = self.places[key].road;
        // All of them waited for this one; whoever it does not serve waits for a place again.
        let attached: Vec<Key> = if self.roads[road].is_probing() {
            self.roads[road].wanting.iter(&self.claims).collect()
        } else {
            Vec::new()
        };
        let waiter = self.end_dial(key);
        match outcome {
            Ok(Connection::Exclusive(connection)) => {
                self.open(key, now);
                self.know(road, Knowledge::Exclusive);
                self.places[key].stage = Stage::Settling;
                self.work.push_back(Work::Settle {
                    place: key,
                    connection,
                });
            }
            Ok(Connection::Shared(handle)) => {
                self.open(key, now);
                self.open_shared(key, handle);
            }
            Err(error) => {
                self.counters.dials_failed += 1;
                self.remove_place(key);
                if self.roads[road].knowledge == Knowledge::Unknown {
                    self.know(road, Knowledge::Doubtful);
                }
                match waiter {
                    Some((ticket, true)) => self.refuse(ticket, Refusal::Dial(error)),
                    // Whoever caused this attempt has gone; the one that waited for it instead is
                    // not blamed for it, and gets an attempt of its own.
                    Some((ticket, false)) => {
                        self.work.push_back(Work::Requeue(ticket));
                        unheard = Some(error);
                    }
                    None => unheard = Some(error),
                }
            }
        }
        self.work.push_back(Work::Serve(road));
        self.work.extend(attached.into_iter().map(Work::Requeue));
        unheard
    }

    /// A lease ended: with its connection, if that was exclusive and is fit for another exchange;
    /// otherwise for some reason.
    pub fn reclaimed(&mut self, ticket: TicketId, outcome: Result<X, CloseReason>, now: Instant) {
        self.reclaimed_with(ticket, outcome, KeepAliveHints::default(), now);
    }

    /// As [`reclaimed`](Self::reclaimed), with what the server said of the connection's future.
    pub fn reclaimed_with(
        &mut self,
        ticket: TicketId,
        outcome: Result<X, CloseReason>,
        hints: KeepAliveHints,
        now: Instant,
    ) {
        let Some(&Claim {
            stage: ClaimStage::Holding { place: key },
            close_after,
            ..
        }) = self.claims.get(ticket.0)
        else {
            // Nobody holds this: whoever says so gets rid of the connection, and that is all.
            if let Ok(connection) = outcome {
                self.discard(PlaceId(ticket.0), connection);
            }
            return;
        };
        self.claims.remove(ticket.0);
        let ours = self.limits.idle_timeout;
        let place = &mut self.places[key];
        let road = place.road;
        match (&mut place.stage, outcome) {
            (Stage::Lent, Ok(connection)) => {
                place.stage = Stage::Settling;
                place.idle_since = now;
                let class = hints.timeout.map_or(Some(Class::default()), |idle_for| {
                    Class::within(idle::before(idle_for), ours)
                });
                place.class = class.unwrap_or_default();
                if close_after {
                    place.ending = Some(ConnectionCloseReason::Exchange(
                        CloseReason::CallerSaidClose,
                    ));
                } else if class.is_none() || hints.max_requests == Some(0) {
                    place.ending = Some(ConnectionCloseReason::PeerHinted);
                }
                self.work.push_back(Work::Settle {
                    place: key,
                    connection,
                });
            }
            (Stage::Lent, Err(reason)) => {
                self.counters.close(ConnectionCloseReason::Exchange(reason));
                self.remove_place(key);
                self.work.push_back(Work::Serve(road));
            }
            (Stage::Shared { .. }, outcome) => {
                match outcome {
                    Ok(connection) => self.discard(PlaceId(key), connection),
                    // Whoever is next must not meet the same.
                    Err(CloseReason::PeerSaidClose) => {
                        self.retire(key, ConnectionCloseReason::Retired)
                    }
                    Err(_) => {}
                }
                self.end_exchange(key, now);
            }
            (Stage::Dial { .. } | Stage::Settling | Stage::Idle(_), _) => {
                unreachable!("what a ticket holds is lent or shared")
            }
        }
    }

    /// A ticket gives back, unused, what it was granted.
    pub fn decline(&mut self, ticket: TicketId, connection: Connection<X, S>, now: Instant) {
        if let Some(Claim {
            stage: ClaimStage::Holding { place },
            ..
        }) = self.claims.get(ticket.0)
        {
            self.places[*place].served -= 1;
        }
        let outcome = match connection {
            Connection::Exclusive(connection) => Ok(connection),
            Connection::Shared(_) => Err(CloseReason::Finished),
        };
        self.reclaimed(ticket, outcome, now);
    }

    /// A connection's waker was called: it may have ended, if it is idle.
    pub fn woken(&mut self, place: PlaceId) {
        if let Some(Place {
            stage: Stage::Idle(_),
            ..
        }) = self.places.get(place.0)
        {
            self.work.push_back(Work::Ask(place.0));
        }
    }

    /// The handle of a shared connection.
    pub fn shared(&self, place: PlaceId) -> Option<&S> {
        match &self.places.get(place.0)?.stage {
            Stage::Shared { handle, .. } => Some(handle),
            Stage::Dial { .. } | Stage::Settling | Stage::Idle(_) | Stage::Lent => None,
        }
    }

    /// A shared connection admits another number of exchanges at once, or no more at all.
    pub fn admits(&mut self, place: PlaceId, admission: StreamLimit) {
        match admission {
            StreamLimit::Max(exchanges) => self.set_limit(place.0, exchanges),
            StreamLimit::Closed => self.retire(place.0, ConnectionCloseReason::Retired),
        }
    }

    /// Time passed.
    pub fn expire(&mut self, now: Instant) {
        while let Some((end, key)) = self.idle.first_to_expire(&self.places)
            && end <= now
        {
            self.close_idle_place(key, ConnectionCloseReason::IdleTimeout);
        }
        while let Some(key) = self.ages.front()
            && self.places[key].ends.is_some_and(|end| end <= now)
        {
            self.ages.remove(&mut self.places, key);
            match self.places[key].stage {
                Stage::Idle(_) => self.close_idle_place(key, ConnectionCloseReason::MaxAge),
                Stage::Shared { .. } => self.retire(key, ConnectionCloseReason::MaxAge),
                // One that is lent will be looked at when it comes back.
                Stage::Lent | Stage::Settling | Stage::Dial { .. } => {}
            }
        }
    }

    /// When [`expire`](Self::expire), or [`poll_action`](Self::poll_action) after it, will next
    /// have something to do, if ever.
    pub fn next_expiry(&self) -> Option<Instant> {
        let idle = self.idle.first_to_expire(&self.places).map(|(end, _)| end);
        let oldest = self.ages.front().and_then(|key| self.places[key].ends);
        earlier(earlier(idle, oldest), self.next_to_give_way())
    }

    /// Whether anything is there that may end by itself, now or as soon as it is idle: a
    /// connection, or a dial for whose place others wait.
    ///
    /// Connections in use count, since as a rule they are idle again in a moment: whoever watches
    /// should not come and go with each request.
    pub fn needs_watching(&self) -> bool {
        self.made > 0 || self.next_to_give_way().is_some()
    }

    /// What has begun that will end by itself, since this was last asked.
    pub fn news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Closes what is idle.
    pub fn close_idle(&mut self) {
        while let Some(key) = self.idle.longest(&self.places) {
            self.close_idle_place(key, ConnectionCloseReason::CloseIdle);
        }
    }

    /// From now on refuses who comes, and closes what nobody waits for. Who waits already is
    /// served.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// How many requests are in the queue or in their exchanges; with none, and no connection
    /// left, a pool that [drains](Self::drain) is empty. Takes time in proportion to what there is.
    pub fn unfinished(&self) -> usize {
        let books = self.books();
        books.waiting + books.holding
    }

    /// Whether nobody waits, and no connection is left nor being made.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0 && self.places.len() == 0
    }

    /// Closes what is idle, gives up what is being made, refuses who waits, and from now on closes
    /// what comes back and refuses who comes.
    pub fn close(&mut self) {
        self.closed = true;
        while let Some(key) = self.idle.longest(&self.places) {
            self.close_idle_place(key, ConnectionCloseReason::PoolClosed);
        }
        let waiting: Vec<Key> = self.claims_in(|stage| matches!(stage, ClaimStage::Waiting { .. }));
        for claim in waiting {
            let road = self.claims[claim].road;
            self.refuse(claim, Refusal::Closed);
            self.work.push_back(Work::Serve(road));
        }
        // Nobody waits any more, and so every dial is an orphan.
        while let Some(key) = self.orphans.front() {
            self.abandon(key);
        }
        let shared: Vec<Key> = self
            .places
            .iter()
            .filter(|(_, place)| matches!(place.stage, Stage::Shared { .. }))
            .map(|(key, _)| key)
            .collect();
        for key in shared {
            self.retire(key, ConnectionCloseReason::PoolClosed);
        }
    }

    /// Whether newcomers are refused: [`close`](Self::close) or [`drain`](Self::drain) was called.
    pub fn is_closed(&self) -> bool {
        self.closed || self.draining
    }

    /// A request is about to be sent a second time.
    pub fn count_retry(&mut self) {
        self.counters.retried += 1;
    }

    /// An attempt to connect failed, and is about to be made once more in the same place.
    pub fn count_dial_retry(&mut self) {
        self.counters.dials_retried += 1;
    }

    /// Whether somebody waits for this very dial.
    pub fn is_attended(&self, dial: PlaceId) -> bool {
        matches!(
            self.places.get(dial.0),
            Some(Place {
                stage: Stage::Dial {
                    ticket: Some(_),
                    ..
                },
                ..
            })
        )
    }

    /// What has been counted since the beginning.
    pub fn stats(&self) -> &PoolStats {
        &self.counters
    }

    /// What there is now. Takes time in proportion to it.
    pub fn books(&self) -> Books {
        let mut books = Books {
            waiting: self.waiting,
            holding: self
                .claims
                .iter()
                .filter(|(_, claim)| matches!(claim.stage, ClaimStage::Holding { .. }))
                .count(),
            places: self.places.len(),
            ..Books::default()
        };
        for (_, place) in self.places.iter() {
            match &place.stage {
                Stage::Dial { .. } => books.dials += 1,
                Stage::Idle(_) | Stage::Settling => books.idle += 1,
                Stage::Lent => books.lent += 1,
                Stage::Shared { exchanges, .. } => {
                    books.shared += 1;
                    books.shared_idle += usize::from(*exchanges == 0);
                }
            }
        }
        books
    }

    /// Every place, in no particular order.
    pub fn look(&self) -> impl Iterator<Item = Sight<'_>> {
        self.places.iter().map(|(key, place)| Sight {
            place: PlaceId(key),
            route: &self.roads[place.road].route,
            activity: match &place.stage {
                Stage::Dial { .. } => Activity::Connecting,
                Stage::Idle(_) | Stage::Settling => Activity::Idle(place.idle_since),
                Stage::Lent => Activity::Active,
                Stage::Shared {
                    exchanges,
                    limit,
                    retired,
                    ..
                } => Activity::Shared {
                    exchanges: *exchanges,
                    limit: *limit,
                    retired: retired.is_some(),
                    idle_since: (*exchanges == 0).then_some(place.idle_since),
                },
            },
            served: place.served,
            born: place.born,
        })
    }
}

#[cfg(test)]
mod tests;
