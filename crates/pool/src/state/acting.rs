//! How the machine decides: what happens between two actions.

use super::*;

impl<X, S: Clone> State<X, S> {
    /// The next thing to do, until there is none. The methods that say what happened decide
    /// nothing by themselves: ask this after each of them until it says `None`.
    ///
    /// `is_fit` is asked before an exclusive connection is parked or granted, and when it was
    /// [woken](Self::woken): whether the connection can serve an exchange. It leaves a waker with
    /// it. In the shell it is one call of `poll_idle`; in tests, a table.
    pub fn poll_action(
        &mut self,
        now: Instant,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Option<Action<X, S>> {
        loop {
            let Some(work) = self.work.pop_front() else {
                if self.make_room() {
                    continue;
                }
                return self.dial_next(now).or_else(|| self.turn_away());
            };
            let action = match work {
                Work::Serve(road) => self.serve(road, now, is_fit),
                Work::Settle { place, connection } => self.settle(place, connection, now, is_fit),
                Work::Ask(place) => self.ask(place, is_fit),
                Work::Act(action) => Some(action),
            };
            if action.is_some() {
                return action;
            }
        }
    }

    /// Serves the first ticket of a road, if something is there for it.
    fn serve(
        &mut self,
        road: Key,
        now: Instant,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Option<Action<X, S>> {
        if !self.roads.contains(road) {
            return None;
        }
        let action = self
            .lend_shared(road, now)
            .or_else(|| self.lend_idle(road, now, is_fit));
        if action.is_some() && self.roads[road].has_tickets() {
            self.work.push_front(Work::Serve(road));
        } else {
            self.tend(road);
        }
        action
    }

    fn lend_shared(&mut self, road: Key, now: Instant) -> Option<Action<X, S>> {
        loop {
            let place = self.roads[road].roomy.front()?;
            let claim = self.first_for(road, |claim| {
                !claim.fresh || claim.sequence < self.places[place].born_sequence
            })?;
            if self.yielding.is_none() && self.must_yield(road) {
                self.yielding = Some(place);
                self.retire(place, Closed::MadeRoom);
                continue;
            }
            return Some(self.grant_shared(claim, place, now));
        }
    }

    fn lend_idle(
        &mut self,
        road: Key,
        now: Instant,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Option<Action<X, S>> {
        let claim = self.roads[road].waiting.front()?;
        let key = self.roads[road].idle.front()?;
        let expired = self.expired(key, now);
        let mut connection = self.unpark(key);
        if let Some(reason) = expired {
            return Some(self.give_up(key, connection, reason));
        }
        if !is_fit(PlaceId(key), &mut connection) {
            return Some(self.give_up(key, connection, Closed::PeerEnded));
        }
        Some(self.grant_exclusive(claim, key, connection, now))
    }

    /// What becomes of an exclusive connection which has just come.
    fn settle(
        &mut self,
        key: Key,
        mut connection: X,
        now: Instant,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Option<Action<X, S>> {
        let place = &self.places[key];
        let (road, new) = (place.road, place.served == 0);
        if let Some(reason) = self.reason_to_end(key, now) {
            return Some(self.give_up(key, connection, reason));
        }
        let claim = self.first_for(road, |claim| new || !claim.fresh);
        if claim.is_some() && !new && self.must_yield(road) {
            return Some(self.give_up(key, connection, Closed::MadeRoom));
        }
        if !is_fit(PlaceId(key), &mut connection) {
            return Some(self.give_up(key, connection, Closed::PeerEnded));
        }
        match claim {
            Some(claim) => {
                let grant = self.grant_exclusive(claim, key, connection, now);
                self.tend(road);
                Some(grant)
            }
            None => {
                self.park(key, connection);
                self.tend(road);
                None
            }
        }
    }

    fn ask(
        &mut self,
        key: Key,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Option<Action<X, S>> {
        let Some(Place {
            stage: Stage::Idle(connection),
            ..
        }) = self.places.get_mut(key)
        else {
            return None;
        };
        if is_fit(PlaceId(key), connection) {
            return None;
        }
        let connection = self.unpark(key);
        Some(self.give_up(key, connection, Closed::PeerEnded))
    }

    /// Sees to it that the road whose turn it is finds a place, if one can be had; whether
    /// something had to end for it.
    fn make_room(&mut self) -> bool {
        let Some(road) = self.ring.front() else {
            return false;
        };
        let road = &self.roads[road];
        if road.places >= self.limits.places_per_road {
            // Only for one who insists on a new connection does a road give up one of its own.
            let oldest = road.idle.back();
            oldest.map(|key| self.close_idle_place(key, Closed::MadeRoom))
        } else if self.places.len() < self.limits.places {
            None
        } else if let Some(dial) = self.orphans.front() {
            // Nobody waits for this one, and somebody does for its place.
            self.abandon(dial);
            Some(())
        } else {
            let oldest = self.idle.front();
            oldest.map(|key| self.close_idle_place(key, Closed::MadeRoom))
        }
        .is_some()
    }

    /// Begins a dial for the road whose turn it is, if there is a place.
    fn dial_next(&mut self, now: Instant) -> Option<Action<X, S>> {
        let road = self.ring.front()?;
        if self.places.len() >= self.limits.places
            || self.roads[road].places >= self.limits.places_per_road
        {
            return None;
        }
        self.ring.remove(&mut self.roads, road);
        self.passed_over = 0;
        let claim = self.roads[road].wanting.front()?;
        let sequence = self.next_sequence();
        let place = self.places.insert(Place {
            road,
            stage: Stage::Dial {
                ticket: None,
                own: true,
            },
            born: now,
            born_sequence: sequence,
            idle_since: now,
            served: 0,
            on_road: Links::LOOSE,
            lru: Links::LOOSE,
            age: Links::LOOSE,
        });
        self.assign(place, claim, true);
        self.roads[road].places += 1;
        self.roads[road].dials += 1;
        self.counters.dials += 1;
        self.refresh(road);
        Some(Action::Dial {
            place: PlaceId(place),
            route: self.roads[road].route.clone(),
            ticket: TicketId(claim),
        })
    }

    /// Refuses the newest ticket, if it found nothing and too many wait already.
    fn turn_away(&mut self) -> Option<Action<X, S>> {
        let claim = self.newcomer.take()?;
        if self.wanting <= self.limits.queue || !self.claims.get(claim)?.wanting.is_linked() {
            return None;
        }
        let road = self.claims[claim].road;
        self.leave(claim);
        self.claims[claim].stage = ClaimStage::Refused;
        self.counters.refused += 1;
        self.tend(road);
        Some(Action::Refuse {
            ticket: TicketId(claim),
            why: Refusal::QueueFull,
        })
    }
}

/// Tickets.
impl<X, S: Clone> State<X, S> {
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// A ticket takes its place at the end of its road's queue.
    pub(super) fn join(&mut self, claim: Key) {
        let Claim { road, fresh, .. } = self.claims[claim];
        let road = &mut self.roads[road];
        let queue = if fresh {
            &mut road.fresh
        } else {
            &mut road.waiting
        };
        queue.push_back(&mut self.claims, claim);
        road.wanting.push_back(&mut self.claims, claim);
        self.wanting += 1;
        self.waiting += 1;
    }

    /// A ticket leaves the queue, whatever for. The dial that it waited for goes to another.
    pub(super) fn leave(&mut self, claim: Key) {
        let Claim {
            road, fresh, stage, ..
        } = &self.claims[claim];
        let (road, fresh) = (*road, *fresh);
        let dial = match stage {
            ClaimStage::Waiting { dial } => *dial,
            ClaimStage::Holding { .. } | ClaimStage::Refused => None,
        };
        let lane = &mut self.roads[road];
        let queue = if fresh {
            &mut lane.fresh
        } else {
            &mut lane.waiting
        };
        queue.remove(&mut self.claims, claim);
        if lane.wanting.remove(&mut self.claims, claim) {
            self.wanting -= 1;
        }
        self.waiting -= 1;
        if let Some(dial) = dial {
            self.roads[road].orphans.push_back(&mut self.places, dial);
            self.orphans.push_back(&mut self.places, dial);
            self.places[dial].stage = Stage::Dial {
                ticket: None,
                own: false,
            };
        }
    }

    pub(super) fn refuse(&mut self, claim: Key, why: Refusal) {
        self.leave(claim);
        self.claims[claim].stage = ClaimStage::Refused;
        self.counters.refused += 1;
        self.work.push_back(Work::Act(Action::Refuse {
            ticket: TicketId(claim),
            why,
        }));
    }

    pub(super) fn claims_in(&self, stage: impl Fn(&ClaimStage) -> bool) -> Vec<Key> {
        let mut claims: Vec<_> = self
            .claims
            .iter()
            .filter(|(_, claim)| stage(&claim.stage))
            .map(|(key, claim)| (claim.sequence, key))
            .collect();
        claims.sort_unstable();
        claims.into_iter().map(|(_, key)| key).collect()
    }

    /// The ticket that has waited longest among those at the heads of the two queues which
    /// `suits`.
    fn first_for(&self, road: Key, suits: impl Fn(&Claim) -> bool) -> Option<Key> {
        let road = &self.roads[road];
        let head = |queue: &List<Queue>| queue.front().filter(|&claim| suits(&self.claims[claim]));
        match (head(&road.waiting), head(&road.fresh)) {
            (Some(any), Some(fresh)) => {
                let earlier = self.claims[any].sequence < self.claims[fresh].sequence;
                Some(if earlier { any } else { fresh })
            }
            (one, other) => one.or(other),
        }
    }

    /// A dial is made for a ticket which had none.
    fn assign(&mut self, dial: Key, claim: Key, own: bool) {
        let road = self.claims[claim].road;
        if self.roads[road].wanting.remove(&mut self.claims, claim) {
            self.wanting -= 1;
        }
        self.claims[claim].stage = ClaimStage::Waiting { dial: Some(dial) };
        self.places[dial].stage = Stage::Dial {
            ticket: Some(claim),
            own,
        };
    }

    fn grant_exclusive(
        &mut self,
        claim: Key,
        key: Key,
        connection: X,
        now: Instant,
    ) -> Action<X, S> {
        self.places[key].stage = Stage::Lent;
        self.grant(claim, key, Connection::Exclusive(connection), now)
    }

    fn grant_shared(&mut self, claim: Key, key: Key, now: Instant) -> Action<X, S> {
        let served = self.places[key].served + 1;
        let road = self.places[key].road;
        let Stage::Shared {
            handle,
            exchanges,
            limit,
            ..
        } = &mut self.places[key].stage
        else {
            unreachable!("only shared connections are roomy")
        };
        let handle = handle.clone();
        *exchanges += 1;
        let (first, full) = (*exchanges == 1, *exchanges >= *limit);
        if first {
            self.idle.remove(&mut self.places, key);
        }
        if full {
            self.roads[road].roomy.remove(&mut self.places, key);
        }
        let grant = self.grant(claim, key, Connection::Shared(handle), now);
        if served >= self.limits.max_requests {
            self.retire(key, Closed::MaxRequests);
        }
        grant
    }

    fn grant(
        &mut self,
        claim: Key,
        key: Key,
        connection: Connection<X, S>,
        now: Instant,
    ) -> Action<X, S> {
        self.leave(claim);
        let place = &mut self.places[key];
        let reused = place.served > 0;
        place.served += 1;
        let claimed = &mut self.claims[claim];
        claimed.stage = ClaimStage::Holding { place: key };
        self.counters.granted += 1;
        self.counters.reused += u64::from(reused);
        self.counters.queue_time += now.saturating_duration_since(claimed.asked);
        Action::Grant {
            ticket: TicketId(claim),
            connection,
            place: PlaceId(key),
            reused,
        }
    }
}

/// Places.
impl<X, S: Clone> State<X, S> {
    /// A dial is over; says who waited for it (and now waits without), and whether it was theirs.
    pub(super) fn end_dial(&mut self, key: Key) -> Option<(Key, bool)> {
        let place = &mut self.places[key];
        let road = place.road;
        let stage = std::mem::replace(&mut place.stage, Stage::Settling);
        self.roads[road].dials -= 1;
        let Stage::Dial { ticket, own } = stage else {
            unreachable!("asked of dials only")
        };
        let Some(claim) = ticket else {
            self.orphans.remove(&mut self.places, key);
            self.roads[road].orphans.remove(&mut self.places, key);
            return None;
        };
        self.claims[claim].stage = ClaimStage::Waiting { dial: None };
        self.roads[road].wanting.push_front(&mut self.claims, claim);
        self.wanting += 1;
        Some((claim, own))
    }

    /// Ends a dial that nobody waits for.
    pub(super) fn abandon(&mut self, key: Key) {
        let road = self.places[key].road;
        self.end_dial(key);
        self.remove_place(key);
        self.counters.dials_abandoned += 1;
        self.work.push_back(Work::Act(Action::Abandon {
            place: PlaceId(key),
        }));
        self.work.push_back(Work::Serve(road));
    }

    pub(super) fn open(&mut self, key: Key, now: Instant) {
        self.counters.opened += 1;
        let sequence = self.next_sequence();
        let place = &mut self.places[key];
        place.born = now;
        place.born_sequence = sequence;
        place.idle_since = now;
        self.ages.push_back(&mut self.places, key);
    }

    pub(super) fn open_shared(&mut self, key: Key, handle: S) {
        let road = self.places[key].road;
        let limit = match self.roads[road].knowledge {
            Knowledge::Shared { limit } => limit,
            Knowledge::Unknown | Knowledge::Doubtful | Knowledge::Exclusive => 1,
        };
        self.roads[road].knowledge = Knowledge::Shared { limit };
        // Somebody else's connection has room, and nobody waits: one is enough.
        let superfluous = !self.roads[road].roomy.is_empty() && !self.roads[road].has_tickets();
        self.places[key].stage = Stage::Shared {
            handle,
            exchanges: 0,
            limit,
            retired: None,
        };
        self.shared += 1;
        let lane = &mut self.roads[road];
        lane.shared += 1;
        lane.roomy.push_back(&mut self.places, key);
        self.idle.push_back(&mut self.places, key);
        if superfluous {
            self.retire(key, Closed::Superfluous);
        } else if self.closed {
            self.retire(key, Closed::PoolClosed);
        }
    }

    pub(super) fn know(&mut self, road: Key, knowledge: Knowledge) {
        if self.roads[road].may_share {
            self.roads[road].knowledge = knowledge;
        }
    }

    /// Leaves an exclusive connection to whoever comes next, unless there are too many already.
    fn park(&mut self, key: Key, connection: X) {
        self.places[key].stage = Stage::Idle(connection);
        let road = self.places[key].road;
        self.roads[road].idle.push_front(&mut self.places, key);
        self.idle.push_back(&mut self.places, key);
        if self.roads[road].idle.len() > self.limits.idle_per_road
            && let Some(oldest) = self.roads[road].idle.back()
        {
            self.close_idle_place(oldest, Closed::IdleLimit);
        }
    }

    fn unpark(&mut self, key: Key) -> X {
        let road = self.places[key].road;
        self.roads[road].idle.remove(&mut self.places, key);
        self.idle.remove(&mut self.places, key);
        match std::mem::replace(&mut self.places[key].stage, Stage::Settling) {
            Stage::Idle(connection) => connection,
            Stage::Dial { .. } | Stage::Settling | Stage::Lent | Stage::Shared { .. } => {
                unreachable!("asked of idle connections only")
            }
        }
    }

    /// Closes a connection without exchanges, of either kind.
    pub(super) fn close_idle_place(&mut self, key: Key, reason: Closed) {
        match self.places[key].stage {
            Stage::Idle(_) => {
                let connection = self.unpark(key);
                let close = self.give_up(key, connection, reason);
                self.work.push_front(Work::Act(close));
            }
            Stage::Shared { .. } => self.retire(key, reason),
            Stage::Dial { .. } | Stage::Settling | Stage::Lent => {
                unreachable!("asked of idle connections only")
            }
        }
    }

    /// An exclusive connection that is in no list any more is given up.
    fn give_up(&mut self, key: Key, connection: X, reason: Closed) -> Action<X, S> {
        let road = self.places[key].road;
        self.counters.close(reason);
        self.remove_place(key);
        self.work.push_back(Work::Serve(road));
        Action::Close {
            place: PlaceId(key),
            connection: Connection::Exclusive(connection),
            reason,
        }
    }

    /// Gets rid of an exclusive connection which came back to a place that is not its own.
    pub(super) fn discard(&mut self, place: PlaceId, connection: X) {
        self.work.push_back(Work::Act(Action::Close {
            place,
            connection: Connection::Exclusive(connection),
            reason: Closed::Superfluous,
        }));
    }

    /// A shared connection takes no more exchanges, and is closed after the last of those it has.
    pub(super) fn retire(&mut self, key: Key, reason: Closed) {
        let Some(place) = self.places.get_mut(key) else {
            return;
        };
        let road = place.road;
        let Stage::Shared {
            exchanges, retired, ..
        } = &mut place.stage
        else {
            return;
        };
        if retired.is_some() {
            return;
        }
        *retired = Some(reason);
        let unused = *exchanges == 0;
        let lane = &mut self.roads[road];
        lane.shared -= 1;
        lane.roomy.remove(&mut self.places, key);
        if unused {
            self.idle.remove(&mut self.places, key);
            self.close_shared(key);
        }
        self.work.push_back(Work::Serve(road));
    }

    fn close_shared(&mut self, key: Key) {
        let road = self.places[key].road;
        let stage = std::mem::replace(&mut self.places[key].stage, Stage::Settling);
        self.remove_place(key);
        self.shared -= 1;
        if self.yielding == Some(key) {
            self.yielding = None;
        }
        if let Stage::Shared {
            handle,
            retired: Some(reason),
            ..
        } = stage
        {
            self.counters.close(reason);
            self.work.push_front(Work::Act(Action::Close {
                place: PlaceId(key),
                connection: Connection::Shared(handle),
                reason,
            }));
        }
        self.work.push_back(Work::Serve(road));
    }

    pub(super) fn set_limit(&mut self, key: Key, new: usize) {
        let Some(place) = self.places.get_mut(key) else {
            return;
        };
        let road = place.road;
        let Stage::Shared {
            exchanges,
            limit,
            retired: None,
            ..
        } = &mut place.stage
        else {
            return;
        };
        *limit = new;
        let room = *exchanges < new;
        let lane = &mut self.roads[road];
        lane.knowledge = Knowledge::Shared { limit: new };
        match (room, place.on_road.is_linked()) {
            (true, false) => lane.roomy.push_back(&mut self.places, key),
            (false, true) => {
                lane.roomy.remove(&mut self.places, key);
            }
            (true, true) | (false, false) => {}
        }
        self.work.push_back(Work::Serve(road));
    }

    pub(super) fn end_exchange(&mut self, key: Key, now: Instant) {
        let place = &mut self.places[key];
        let road = place.road;
        let Stage::Shared {
            exchanges,
            limit,
            retired,
            ..
        } = &mut place.stage
        else {
            return;
        };
        *exchanges -= 1;
        let (unused, room, retired) = (*exchanges == 0, *exchanges < *limit, retired.is_some());
        if unused && retired {
            return self.close_shared(key);
        }
        if unused {
            place.idle_since = now;
        }
        if room && !retired && !place.on_road.is_linked() {
            self.roads[road].roomy.push_back(&mut self.places, key);
        }
        if unused {
            self.idle.push_back(&mut self.places, key);
        }
        self.work.push_back(Work::Serve(road));
    }

    /// Empties a place which is in no list but that of ages.
    pub(super) fn remove_place(&mut self, key: Key) {
        self.ages.remove(&mut self.places, key);
        if let Some(place) = self.places.remove(key) {
            self.roads[place.road].places -= 1;
        }
    }

    /// Why an idle connection must not be lent, if there is a reason which needs no asking.
    fn expired(&self, key: Key, now: Instant) -> Option<Closed> {
        let place = &self.places[key];
        if self
            .limits
            .idle_timeout
            .is_some_and(|limit| is_past(place.idle_since, limit, now))
        {
            return Some(Closed::IdleTimeout);
        }
        self.reason_to_end(key, now)
    }

    /// Why a connection serves no more exchanges, however fit it is.
    fn reason_to_end(&self, key: Key, now: Instant) -> Option<Closed> {
        let place = &self.places[key];
        if self.closed {
            Some(Closed::PoolClosed)
        } else if place.served >= self.limits.max_requests {
            Some(Closed::MaxRequests)
        } else if self
            .limits
            .max_age
            .is_some_and(|limit| is_past(place.born, limit, now))
        {
            Some(Closed::MaxAge)
        } else {
            None
        }
    }
}

/// Roads.
impl<X, S: Clone> State<X, S> {
    /// The road of `route`, which begins to exist if need be.
    pub(super) fn road(&mut self, route: &Route) -> Key {
        if let Some(&key) = self.index.get(route) {
            self.resting.remove(&mut self.roads, key);
            return key;
        }
        let key = self.roads.insert(Road {
            route: route.clone(),
            may_share: route.may_be_shared(),
            knowledge: Knowledge::Unknown,
            waiting: List::new(),
            fresh: List::new(),
            wanting: List::new(),
            idle: List::new(),
            roomy: List::new(),
            orphans: List::new(),
            places: 0,
            dials: 0,
            shared: 0,
            turn: Links::LOOSE,
            rest: Links::LOOSE,
        });
        self.index.insert(route.clone(), key);
        key
    }

    /// Brings a road's standing up to date, once its tickets have been served: dials that lost
    /// their tickets go to tickets without a dial, the road joins or leaves the ring, what is idle
    /// beyond the limit is closed, and an empty road is forgotten.
    fn tend(&mut self, road: Key) {
        while let Some(claim) = self.roads[road].wanting.front()
            && let Some(dial) = self.roads[road].orphans.front()
        {
            self.roads[road].orphans.remove(&mut self.places, dial);
            self.orphans.remove(&mut self.places, dial);
            self.assign(dial, claim, false);
        }
        self.refresh(road);
        if self.idle.len() > self.limits.idle
            && let Some(oldest) = self.idle.front()
        {
            self.close_idle_place(oldest, Closed::IdleLimit);
        }
        if self.roads[road].is_empty() {
            self.rest(road);
        }
    }

    /// Lets a road take its turn in the ring if, and only if, it could use a place.
    fn refresh(&mut self, road: Key) {
        let lane = &self.roads[road];
        let could = self.could_dial(lane);
        match (could, lane.turn.is_linked()) {
            (true, false) => self.ring.push_back(&mut self.roads, road),
            (false, true) => {
                self.ring.remove(&mut self.roads, road);
            }
            (true, true) | (false, false) => {}
        }
        if !could {
            self.retire_for_the_insistent(road);
        }
    }

    pub(super) fn could_dial(&self, lane: &Road) -> bool {
        let Some(first) = lane.wanting.front() else {
            return false;
        };
        let fresh = self.claims[first].fresh;
        let within_limit =
            lane.places < self.limits.places_per_road || (fresh && !lane.idle.is_empty());
        let protocol_allows = match lane.knowledge {
            Knowledge::Unknown => !lane.is_probing(),
            Knowledge::Shared { .. } => {
                lane.dials == 0 && (fresh || lane.shared < self.limits.shared_per_road)
            }
            Knowledge::Doubtful | Knowledge::Exclusive => true,
        };
        within_limit && protocol_allows
    }

    /// One who insists on a new connection, on a road whose places are all taken by shared ones:
    /// the first of them with room makes way.
    fn retire_for_the_insistent(&mut self, road: Key) {
        let lane = &self.roads[road];
        if lane.places < self.limits.places_per_road || lane.shared < lane.places {
            return;
        }
        if let Some(first) = lane.wanting.front()
            && self.claims[first].fresh
            && let Some(place) = lane.roomy.front()
        {
            self.retire(place, Closed::MadeRoom);
        }
    }

    /// Whether a connection which comes back to `road` must be given up for another road: the
    /// pool is full, another road waits for a place, and has been passed over often enough.
    fn must_yield(&mut self, road: Key) -> bool {
        let Some(next) = self.ring.front() else {
            self.passed_over = 0;
            return false;
        };
        if next == road && self.ring.len() == 1 {
            self.passed_over = 0;
            return false;
        }
        if self.places.len() < self.limits.places {
            return false;
        }
        self.passed_over += 1;
        if self.passed_over <= PATIENCE {
            return false;
        }
        self.passed_over = 0;
        if next == road {
            self.ring.remove(&mut self.roads, road);
            self.ring.push_back(&mut self.roads, road);
        }
        true
    }

    /// An empty road is forgotten, unless it is worth remembering what was spoken there.
    fn rest(&mut self, road: Key) {
        if self.roads[road].rest.is_linked() {
            return;
        }
        let known = match self.roads[road].knowledge {
            Knowledge::Unknown | Knowledge::Doubtful => false,
            Knowledge::Exclusive | Knowledge::Shared { .. } => self.roads[road].may_share,
        };
        if !known {
            return self.forget(road);
        }
        self.resting.push_back(&mut self.roads, road);
        if self.resting.len() > REMEMBERED
            && let Some(oldest) = self.resting.pop_front(&mut self.roads)
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, road: Key) {
        if let Some(road) = self.roads.remove(road) {
            self.index.remove(&road.route);
        }
    }
}

impl Road {
    fn has_tickets(&self) -> bool {
        !self.waiting.is_empty() || !self.fresh.is_empty()
    }

    /// Whether others wait for what the one dial will find.
    pub(super) fn is_probing(&self) -> bool {
        self.may_share && self.knowledge == Knowledge::Unknown && self.dials > 0
    }

    fn is_empty(&self) -> bool {
        self.places == 0 && !self.has_tickets()
    }
}
