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
                if self.draining && self.let_go() || self.make_room(now) {
                    continue;
                }
                return self.dial_next(now).or_else(|| self.turn_away());
            };
            let action = match work {
                Work::Arrive(claim) => self.arrive(claim, now, is_fit),
                Work::Serve(road) => self.serve(road, now, is_fit),
                Work::Settle { place, connection } => self.settle(place, connection, now, is_fit),
                Work::Ask(place) => self.ask(place, is_fit),
                Work::Requeue(claim) => self.requeue(claim),
                Work::Act(action) => Some(action),
            };
            if action.is_some() {
                return action;
            }
        }
    }

    /// Serves a ticket which has just come, if nobody is before it and something is there;
    /// otherwise it joins the queue. Most tickets never do.
    pub(super) fn arrive(
        &mut self,
        claim: Key,
        now: Instant,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Option<Action<X, S>> {
        let Claim { road, fresh, .. } = self.claims[claim];
        self.roads[road].arriving -= 1;
        let lane = &self.roads[road];
        if !fresh && !self.is_closed() && lane.roomy.is_empty() && !lane.has_tickets() {
            match self.lend_idle(road, claim, now, is_fit) {
                Some(close @ Action::Close { .. }) => {
                    // That one was of no use; perhaps the next one is.
                    self.roads[road].arriving += 1;
                    self.work.push_front(Work::Arrive(claim));
                    return Some(close);
                }
                Some(grant) => return Some(grant),
                None => {}
            }
        }
        self.join(claim);
        if self.is_closed() {
            self.refuse(claim, Refusal::Closed);
        } else {
            self.newcomer = Some(claim);
        }
        self.serve(road, now, is_fit)
    }

    /// Serves the first ticket of a road, if something is there for it.
    pub(super) fn serve(
        &mut self,
        road: Key,
        now: Instant,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Option<Action<X, S>> {
        let lane = self.roads.get(road)?;
        // As for most connections that come back: nobody is to be served.
        if self.waiting == 0 && !lane.turn.is_linked() && self.idle.len() <= self.limits.idle {
            if lane.is_empty() {
                self.rest(road);
            }
            return None;
        }
        let first = lane.waiting.front();
        let mut action = self.lend_shared(road, now);
        if action.is_none()
            && let Some(first) = first
        {
            action = self.lend_idle(road, first, now, is_fit);
        }
        if action.is_some() && self.roads[road].has_tickets() {
            self.work.push_front(Work::Serve(road));
        } else {
            self.tend(road);
        }
        action
    }

    pub(super) fn lend_shared(&mut self, road: Key, now: Instant) -> Option<Action<X, S>> {
        loop {
            let (place, claim) = self.next_shared(road)?;
            // Where nobody waits in the loop, nobody has noticed that its time is over.
            if let Stage::Shared { exchanges: 0, .. } = self.places[place].stage
                && let Some(reason) = self.expired(place, now)
            {
                self.retire(place, reason);
                continue;
            }
            if self.yielding.is_none() && self.must_yield(road) {
                self.yielding = Some(place);
                self.retire(place, ConnectionCloseReason::MadeRoom);
                continue;
            }
            return Some(self.grant_shared(claim, place, now));
        }
    }

    /// The ticket whose turn it is on a shared connection with room, and that connection.
    fn next_shared(&self, road: Key) -> Option<(Key, Key)> {
        let suits = |claim: &Claim, place: Key| {
            !claim.fresh || claim.sequence < self.places[place].born_sequence
        };
        let lane = &self.roads[road];
        let first = lane.roomy.front()?;
        if let Some(claim) = self.first_for(road, |claim| suits(claim, first)) {
            return Some((first, claim));
        }
        // One who insists on a new connection passes by the older ones, of which there are few.
        let claim = lane.fresh.front()?;
        let mut roomy = lane.roomy.iter(&self.places);
        let place = roomy.find(|&place| suits(&self.claims[claim], place))?;
        Some((place, claim))
    }

    pub(super) fn lend_idle(
        &mut self,
        road: Key,
        claim: Key,
        now: Instant,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Option<Action<X, S>> {
        let key = self.roads[road].idle.front()?;
        let expired = self.expired(key, now);
        let mut connection = self.unpark(key, Stage::Settling);
        if let Some(reason) = expired {
            return Some(self.give_up(key, connection, reason));
        }
        if !is_fit(PlaceId(key), &mut connection) {
            return Some(self.give_up(key, connection, ConnectionCloseReason::PeerEnded));
        }
        Some(self.grant_exclusive(claim, key, connection, now))
    }

    /// What becomes of an exclusive connection which has just come.
    pub(super) fn settle(
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
            return Some(self.give_up(key, connection, ConnectionCloseReason::MadeRoom));
        }
        if claim.is_none() && self.limits.nothing_idle() {
            return Some(self.give_up(key, connection, ConnectionCloseReason::IdleLimit));
        }
        if !is_fit(PlaceId(key), &mut connection) {
            return Some(self.give_up(key, connection, ConnectionCloseReason::PeerEnded));
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

    pub(super) fn ask(
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
        let connection = self.unpark(key, Stage::Settling);
        Some(self.give_up(key, connection, ConnectionCloseReason::PeerEnded))
    }

    pub(super) fn requeue(&self, claim: Key) -> Option<Action<X, S>> {
        let waits = self.claims.get(claim)?.wanting.is_linked();
        waits.then_some(Action::Requeued {
            ticket: TicketId(claim),
        })
    }

    /// Closes one of the things which nobody waits for; whether there was one.
    pub(super) fn let_go(&mut self) -> bool {
        if let Some(key) = self.idle.longest(&self.places) {
            self.close_idle_place(key, ConnectionCloseReason::PoolClosed);
        } else if let Some(dial) = self.orphans.front() {
            self.abandon(dial);
        } else {
            return false;
        }
        true
    }

    /// Sees to it that the road whose turn it is finds a place, if one can be had; whether
    /// something had to end for it.
    pub(super) fn make_room(&mut self, now: Instant) -> bool {
        let Some(road) = self.ring.front() else {
            return false;
        };
        let road = &self.roads[road];
        if road.places >= self.limits.places_per_road {
            // Only for one who insists on a new connection does a road give up one of its own.
            let oldest = road.idle.back();
            oldest.map(|key| self.close_idle_place(key, ConnectionCloseReason::MadeRoom))
        } else if self.places.len() < self.limits.places {
            None
        } else if let Some(dial) = self.orphans.front() {
            // Nobody waits for this one, and somebody does for its place.
            self.abandon(dial);
            Some(())
        } else if let Some(oldest) = self.idle.longest(&self.places) {
            self.close_idle_place(oldest, ConnectionCloseReason::MadeRoom);
            Some(())
        } else {
            self.make_a_dial_give_way(now)
        }
        .is_some()
    }

    /// Begins a dial for the road whose turn it is, if there is a place.
    pub(super) fn dial_next(&mut self, now: Instant) -> Option<Action<X, S>> {
        let road = self.ring.front()?;
        if self.places.len() >= self.limits.places
            || self.roads[road].places >= self.limits.places_per_road
        {
            let next = self.next_to_give_way();
            if next.is_some() {
                self.news.hear(next);
            }
            return None;
        }
        self.ring.remove(&mut self.roads, road);
        self.passed_over = 0;
        let claim = self.roads[road].wanting.front()?;
        let place = self.begin_dial(road, claim, now);
        self.refresh(road);
        Some(Action::Dial {
            place: PlaceId(place),
            route: self.roads[road].route.clone(),
            ticket: TicketId(claim),
        })
    }

    /// A place in which a connection is being made for `claim`.
    pub(super) fn begin_dial(&mut self, road: Key, claim: Key, now: Instant) -> Key {
        let sequence = self.next_sequence();
        let place = self.places.insert(Place {
            road,
            stage: Stage::Dial {
                ticket: None,
                own: true,
            },
            born: now,
            born_sequence: sequence,
            ends: None,
            idle_since: now,
            idle_until: None,
            class: Class::default(),
            level: 0,
            ending: None,
            served: 0,
            made: false,
            on_road: Links::LOOSE,
            lru: Links::LOOSE,
            age: Links::LOOSE,
        });
        self.assign(place, claim, true);
        self.roads[road].places += 1;
        self.roads[road].dials += 1;
        self.counters.dials += 1;
        place
    }

    /// Refuses the newest ticket, if it found nothing and too many wait already.
    pub(super) fn turn_away(&mut self) -> Option<Action<X, S>> {
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
