//! The short ways: what most requests and connections go through, in one step and without the work
//! queue. Each does what the long way would have done, where that has nothing else to decide, and
//! otherwise nothing.

use super::*;

impl<X, S: Clone> State<X, S> {
    /// As [`enqueue`](Self::enqueue) and a grant, if an idle connection, or a shared one with room,
    /// can be lent at once; if not, nothing has happened but that a dead one may have been found, which
    /// [`poll_action`](Self::poll_action) will say. This is the way most requests go.
    pub fn lend(
        &mut self,
        route: &Route,
        wish: ConnectionPolicy,
        now: Instant,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Option<Lent<X, S>> {
        let &road = self.index.get(route)?;
        let lane = &self.roads[road];
        if wish.new_connection || self.is_closed() || lane.has_tickets() {
            return None;
        }
        if let Some(roomy) = lane.roomy.front() {
            return self.share(road, roomy, wish, now);
        }
        let key = lane.idle.front()?;
        let place = self.places.get_mut(key)?;
        let reason = self.limits.expired(place, now);
        let Stage::Idle(connection) = &mut place.stage else {
            return None;
        };
        if reason.is_some() || !is_fit(PlaceId(key), connection) {
            self.close_idle_place(key, reason.unwrap_or(ConnectionCloseReason::PeerEnded));
            return None;
        }
        let reused = place.served > 0;
        place.served += 1;
        let Stage::Idle(connection) = std::mem::replace(&mut place.stage, Stage::Lent) else {
            return None;
        };
        let class = place.class;
        self.roads[road].idle.remove(&mut self.places, key);
        self.idle.remove_from(class, &mut self.places, key);
        self.counters.requests += 1;
        self.counters.granted += 1;
        self.counters.reused += u64::from(reused);
        let stage = ClaimStage::Holding { place: key };
        let claim = self.new_claim(road, wish, now, stage);
        Some(Lent {
            ticket: TicketId(claim),
            connection: Connection::Exclusive(connection),
            place: PlaceId(key),
            reused,
        })
    }

    /// As [`lend`](Self::lend), of a shared connection which takes another exchange.
    fn share(
        &mut self,
        road: Key,
        key: Key,
        wish: ConnectionPolicy,
        now: Instant,
    ) -> Option<Lent<X, S>> {
        let place = &self.places[key];
        let reused = place.served > 0;
        // Where nobody waits in the loop, nobody has noticed that its time is over.
        let may_be_over = matches!(place.stage, Stage::Shared { exchanges: 0, .. });
        if self.is_busy()
            || wish.close_after
            || place.served + 1 >= self.limits.max_requests
            || may_be_over && self.limits.expired(place, now).is_some()
        {
            return None;
        }
        self.passed_over = 0;
        self.counters.requests += 1;
        let stage = ClaimStage::Waiting { dial: None };
        let claim = self.new_claim(road, wish, now, stage);
        match self.grant_shared(claim, key, now) {
            Action::Grant { connection, .. } => Some(Lent {
                ticket: TicketId(claim),
                connection,
                place: PlaceId(key),
                reused,
            }),
            _ => unreachable!("a grant is a grant"),
        }
    }

    /// As [`reclaimed`](Self::reclaimed) with a connection, if it can lie idle at once, and does
    /// not expire before `watched`, when somebody will [look](Self::expire) anyway.
    ///
    /// # Errors
    ///
    /// With the connection, if there is more to be decided: nothing has happened then.
    pub fn park_at_once(
        &mut self,
        ticket: TicketId,
        mut connection: X,
        hints: KeepAliveHints,
        now: Instant,
        watched: Option<Instant>,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Result<(), X> {
        let Some(&Claim {
            stage: ClaimStage::Holding { place: key },
            close_after: false,
            ..
        }) = self.claims.get(ticket.0)
        else {
            return Err(connection);
        };
        let place = &self.places[key];
        let lane = &self.roads[place.road];
        let nothing_to_decide = matches!(place.stage, Stage::Lent)
            && hints == KeepAliveHints::default()
            && self.ring.is_empty()
            && !self.draining
            && !lane.has_tickets()
            && lane.idle.len() < self.limits.idle_per_road
            && self.idle.len() < self.limits.idle
            && !self.closed
            && self.limits.reason_to_end(place, now).is_none();
        let until = self.limits.idle_end(Class::default(), now);
        let ends = earlier(until, place.ends);
        let unwatched = ends.is_some_and(|ends| watched.is_none_or(|watched| ends < watched));
        if unwatched || !nothing_to_decide || !is_fit(PlaceId(key), &mut connection) {
            return Err(connection);
        }
        self.claims.remove(ticket.0);
        let place = &mut self.places[key];
        place.idle_since = now;
        place.class = Class::default();
        place.idle_until = until;
        place.stage = Stage::Idle(connection);
        let road = place.road;
        self.put_down(key, road, Class::default());
        Ok(())
    }

    /// As [`reclaimed`](Self::reclaimed) without a connection, if that was a shared one which just
    /// carries one exchange less, and nobody waits. It does not expire before `watched`, as for
    /// [`park_at_once`](Self::park_at_once). Whether it was so; if not, nothing has happened.
    pub fn finish_at_once(
        &mut self,
        ticket: TicketId,
        reason: CloseReason,
        now: Instant,
        watched: Option<Instant>,
    ) -> bool {
        let Some(&Claim {
            stage: ClaimStage::Holding { place: key },
            road,
            ..
        }) = self.claims.get(ticket.0)
        else {
            return false;
        };
        let place = &self.places[key];
        let Stage::Shared {
            exchanges,
            retired: None,
            ..
        } = place.stage
        else {
            return false;
        };
        let until = self.limits.idle_end(place.class, now);
        let ends = earlier(until, place.ends);
        let unwatched = ends.is_some_and(|ends| watched.is_none_or(|watched| ends < watched));
        let is_last = exchanges == 1;
        if reason == CloseReason::PeerSaidClose
            || self.is_busy()
            || self.is_closed()
            || self.roads[road].has_tickets()
            || is_last && (unwatched || self.idle.len() >= self.limits.idle)
        {
            return false;
        }
        self.claims.remove(ticket.0);
        self.leave_shared(key, now);
        true
    }

    /// As [`reclaimed`](Self::reclaimed), where that ends an exclusive connection and nobody waits:
    /// it is `gone` for some reason, or it came back although nothing may lie idle. Whether it was
    /// so; if not, nothing has happened. What came back is then the caller's to drop.
    pub fn end_at_once(
        &mut self,
        ticket: TicketId,
        gone: Option<CloseReason>,
        now: Instant,
    ) -> bool {
        let Some(&Claim {
            stage: ClaimStage::Holding { place: key },
            close_after,
            road,
            ..
        }) = self.claims.get(ticket.0)
        else {
            return false;
        };
        let place = &self.places[key];
        let reason = match gone {
            Some(reason) => ConnectionCloseReason::Exchange(reason),
            None if self.limits.nothing_idle()
                && !close_after
                && self.limits.reason_to_end(place, now).is_none() =>
            {
                ConnectionCloseReason::IdleLimit
            }
            None => return false,
        };
        if !matches!(place.stage, Stage::Lent)
            || self.waiting > 0
            || self.is_busy()
            || self.is_closed()
        {
            return false;
        }
        self.claims.remove(ticket.0);
        self.counters.close(reason);
        self.remove_place(key);
        if self.roads[road].is_empty() {
            self.rest(road);
        }
        true
    }

    /// As [`enqueue`](Self::enqueue) and a [dial](Action::Dial), if one is to be begun for the
    /// ticket at once, since nobody else waits for a place and nothing is there that could serve it.
    pub fn dial_at_once(
        &mut self,
        route: &Route,
        wish: ConnectionPolicy,
        now: Instant,
    ) -> Option<(TicketId, PlaceId)> {
        if self.is_closed() || self.is_busy() || self.places.len() >= self.limits.places {
            return None;
        }
        let road = self.road(route);
        let lane = &self.roads[road];
        // Others may wait for their own dials.
        let nothing_there = lane.idle.is_empty()
            && lane.roomy.is_empty()
            && lane.wanting.is_empty()
            && lane.orphans.is_empty();
        if !nothing_there
            || lane.places >= self.limits.places_per_road
            || !self.protocol_allows(lane, wish.new_connection)
        {
            return None;
        }
        self.counters.requests += 1;
        let stage = ClaimStage::Waiting { dial: None };
        let claim = self.new_claim(road, wish, now, stage);
        let lane = &mut self.roads[road];
        let queue = if wish.new_connection {
            &mut lane.fresh
        } else {
            &mut lane.waiting
        };
        queue.push_back(&mut self.claims, claim);
        self.waiting += 1;
        let place = self.begin_dial(road, claim, now);
        Some((TicketId(claim), PlaceId(place)))
    }

    /// As [`dialled`](Self::dialled) with an exclusive connection and its [grant](Action::Grant), if
    /// that goes to the ticket for which it was made.
    ///
    /// # Errors
    ///
    /// With the connection, if there is more to be decided: nothing has happened then.
    pub fn grant_at_once(
        &mut self,
        dial: PlaceId,
        mut connection: X,
        now: Instant,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Result<Action<X, S>, X> {
        let PlaceId(key) = dial;
        let Some(&Place {
            stage:
                Stage::Dial {
                    ticket: Some(claim),
                    ..
                },
            road,
            level,
            ..
        }) = self.places.get(key)
        else {
            return Err(connection);
        };
        let nothing_to_decide = !self.is_busy()
            && !self.closed
            && self.roads[road].wanting.is_empty()
            && self.first_for(road, |_| true) == Some(claim);
        if !nothing_to_decide || !is_fit(dial, &mut connection) {
            return Err(connection);
        }
        self.attended[usize::from(level)].remove(&mut self.places, key);
        self.roads[road].dials -= 1;
        self.claims[claim].stage = ClaimStage::Waiting { dial: None };
        self.open(key, now);
        self.know(road, Knowledge::Exclusive);
        Ok(self.grant_exclusive(claim, key, connection, now))
    }

    /// As [`reclaimed`](Self::reclaimed) with a connection and its [grant](Action::Grant), if that
    /// goes to the next in the queue of the same route, and no other route waits for a place: so it
    /// is in a full pool with a queue.
    ///
    /// # Errors
    ///
    /// With the connection, if there is more to be decided: nothing has happened then.
    pub fn hand_on_at_once(
        &mut self,
        ticket: TicketId,
        mut connection: X,
        hints: KeepAliveHints,
        now: Instant,
        is_fit: &mut impl FnMut(PlaceId, &mut X) -> bool,
    ) -> Result<Action<X, S>, X> {
        let Some(&Claim {
            stage: ClaimStage::Holding { place: key },
            close_after: false,
            road,
            ..
        }) = self.claims.get(ticket.0)
        else {
            return Err(connection);
        };
        let lane = &self.roads[road];
        let place = &self.places[key];
        let Some(next) = lane.waiting.front() else {
            return Err(connection);
        };
        let others_wait = self.ring.len() > usize::from(lane.turn.is_linked());
        let nothing_to_decide = matches!(place.stage, Stage::Lent)
            && hints == KeepAliveHints::default()
            && self.work.is_empty()
            && !others_wait
            && !self.is_closed()
            && lane.fresh.is_empty()
            && lane.roomy.is_empty()
            // A dial of its own would have to be left to somebody else.
            && self.claims[next].wanting.is_linked()
            && self.limits.reason_to_end(place, now).is_none();
        if !nothing_to_decide || !is_fit(PlaceId(key), &mut connection) {
            return Err(connection);
        }
        self.claims.remove(ticket.0);
        self.passed_over = 0;
        let grant = self.grant_exclusive(next, key, connection, now);
        self.refresh(road);
        Ok(grant)
    }

    /// Whether something has yet to be dealt with, or somebody waits for a place.
    fn is_busy(&self) -> bool {
        !self.work.is_empty() || !self.ring.is_empty()
    }
}
