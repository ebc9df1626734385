//! Places: what becomes of a connection, from its dial to its end.

use super::*;

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
        let level = usize::from(self.places[key].level);
        self.attended[level].remove(&mut self.places, key);
        self.claims[claim].stage = ClaimStage::Waiting { dial: None };
        self.roads[road].wanting.push_front(&mut self.claims, claim);
        self.wanting += 1;
        Some((claim, own))
    }

    /// Ends a dial that nobody waits for.
    pub(super) fn abandon(&mut self, key: Key) {
        self.end_dial(key);
        self.lose_dial(key);
    }

    /// A dial which has ended in the books ends.
    fn lose_dial(&mut self, key: Key) {
        let road = self.places[key].road;
        self.remove_place(key);
        self.counters.dials_abandoned += 1;
        self.work.push_back(Work::Act(Action::Abandon {
            place: PlaceId(key),
        }));
        self.work.push_back(Work::Serve(road));
    }

    /// When the first dial has lasted so long that it gives way to others who wait for a place;
    /// `None` if nobody does.
    pub(super) fn next_to_give_way(&self) -> Option<Instant> {
        let patience = self.limits.connect_preempt_after?;
        if self.ring.is_empty() || self.places.len() < self.limits.places || !self.is_dialled() {
            return None;
        }
        (0..LEVELS)
            .filter(|&level| self.may_give_way(level).is_some())
            .filter_map(|level| self.gives_way(level, patience))
            .min()
    }

    /// Whether any connection is being made.
    fn is_dialled(&self) -> bool {
        self.made < self.places.len()
    }

    /// When the first dial of a level has had its time.
    fn gives_way(&self, level: usize, patience: Duration) -> Option<Instant> {
        let first = self.attended[level].front()?;
        let patience = patience.checked_mul(1 << level)?;
        self.places[first].born.checked_add(patience)
    }

    /// The first dial of a level, if anybody else than its own road waits for a place.
    fn may_give_way(&self, level: usize) -> Option<Key> {
        let first = self.attended[level].front()?;
        let only_its_own =
            self.ring.len() == 1 && self.ring.front() == Some(self.places[first].road);
        (!only_its_own).then_some(first)
    }

    /// Ends a dial that has had its time, for somebody on another road who waits for a place; its
    /// own ticket waits for a place again, and its next dial has twice as long. So an origin whose
    /// connects hang holds no place for ever, and one whose connects are merely slow gets there.
    pub(super) fn make_a_dial_give_way(&mut self, now: Instant) -> Option<()> {
        let patience = self
            .limits
            .connect_preempt_after
            .filter(|_| self.is_dialled())?;
        let key = (0..LEVELS).find_map(|level| {
            let is_due = self
                .gives_way(level, patience)
                .is_some_and(|due| due <= now);
            self.may_give_way(level).filter(|_| is_due)
        })?;
        let road = self.places[key].road;
        if self.ring.front() == Some(road) {
            self.ring.remove(&mut self.roads, road);
            self.ring.push_back(&mut self.roads, road);
        }
        if let Some((claim, _)) = self.end_dial(key) {
            let claimed = &mut self.claims[claim];
            claimed.gave_way = (claimed.gave_way + 1).min(LEVELS as u8 - 1);
            self.work.push_back(Work::Requeue(claim));
        }
        self.lose_dial(key);
        Some(())
    }

    pub(super) fn open(&mut self, key: Key, now: Instant) {
        self.counters.opened += 1;
        let sequence = self.next_sequence();
        let place = &mut self.places[key];
        place.born = now;
        place.born_sequence = sequence;
        place.made = true;
        self.made += 1;
        place.ends = self
            .limits
            .max_lifetime
            .and_then(|age| now.checked_add(age));
        place.idle_since = now;
        if place.ends.is_some() {
            self.ages.push_back(&mut self.places, key);
        }
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
        let place = &mut self.places[key];
        place.stage = Stage::Shared {
            handle,
            exchanges: 0,
            limit,
            told: false,
            retired: None,
        };
        place.idle_until = self.limits.idle_end(place.class, place.idle_since);
        self.news.hear(place.ends_idle());
        self.shared += 1;
        let lane = &mut self.roads[road];
        lane.shared += 1;
        lane.untold += 1;
        // Where the last one admitted nothing, this one has to say that it does.
        if limit > 0 {
            lane.roomy.push_back(&mut self.places, key);
        }
        self.idle.push(&mut self.places, key);
        if superfluous {
            self.retire(key, ConnectionCloseReason::Superfluous);
        } else if self.closed {
            self.retire(key, ConnectionCloseReason::PoolClosed);
        }
    }

    pub(super) fn know(&mut self, road: Key, knowledge: Knowledge) {
        if self.roads[road].may_share {
            self.roads[road].knowledge = knowledge;
        }
    }

    /// Leaves an exclusive connection to whoever comes next, unless there are too many already.
    pub(super) fn park(&mut self, key: Key, connection: X) {
        let place = &mut self.places[key];
        let (road, class) = (place.road, place.class);
        let until = self.limits.idle_end(class, place.idle_since);
        place.idle_until = until;
        place.stage = Stage::Idle(connection);
        self.news.hear(place.ends_idle());
        self.put_down(key, road, class);
        let lane = &mut self.roads[road];
        if lane.idle.len() > self.limits.idle_per_road
            && let Some(oldest) = lane.idle.back()
        {
            self.close_idle_place(oldest, ConnectionCloseReason::IdleLimit);
        }
    }

    /// Puts an exclusive connection among the idle ones.
    pub(super) fn put_down(&mut self, key: Key, road: Key, class: Class) {
        self.roads[road].idle.push_front(&mut self.places, key);
        self.idle.push_to(class, &mut self.places, key);
    }

    pub(super) fn unpark(&mut self, key: Key, next: Stage<X, S>) -> X {
        let road = self.places[key].road;
        self.roads[road].idle.remove(&mut self.places, key);
        self.idle.remove(&mut self.places, key);
        match std::mem::replace(&mut self.places[key].stage, next) {
            Stage::Idle(connection) => connection,
            Stage::Dial { .. } | Stage::Settling | Stage::Lent | Stage::Shared { .. } => {
                unreachable!("asked of idle connections only")
            }
        }
    }

    /// Closes a connection without exchanges, of either kind.
    pub(super) fn close_idle_place(&mut self, key: Key, reason: ConnectionCloseReason) {
        match self.places[key].stage {
            Stage::Idle(_) => {
                let connection = self.unpark(key, Stage::Settling);
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
    pub(super) fn give_up(
        &mut self,
        key: Key,
        connection: X,
        reason: ConnectionCloseReason,
    ) -> Action<X, S> {
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
            reason: ConnectionCloseReason::Superfluous,
        }));
    }

    /// A shared connection takes no more exchanges, and is closed after the last of those it has.
    pub(super) fn retire(&mut self, key: Key, reason: ConnectionCloseReason) {
        let Some(place) = self.places.get_mut(key) else {
            return;
        };
        let road = place.road;
        let Stage::Shared {
            exchanges,
            told,
            retired,
            ..
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
        lane.untold -= usize::from(!*told);
        lane.roomy.remove(&mut self.places, key);
        if unused {
            self.idle.remove(&mut self.places, key);
            self.close_shared(key);
        }
        self.work.push_back(Work::Serve(road));
    }

    pub(super) fn close_shared(&mut self, key: Key) {
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
            told,
            retired: None,
            ..
        } = &mut place.stage
        else {
            return;
        };
        *limit = new;
        let (room, first) = (*exchanges < new, !std::mem::replace(told, true));
        let lane = &mut self.roads[road];
        lane.untold -= usize::from(first);
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
        let road = self.places[key].road;
        self.leave_shared(key, now);
        self.work.push_back(Work::Serve(road));
    }

    /// A shared connection carries one exchange less.
    pub(super) fn leave_shared(&mut self, key: Key, now: Instant) {
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
            place.idle_until = self.limits.idle_end(place.class, place.idle_since);
            self.news.hear(place.idle_until);
        }
        if room && !retired && !place.on_road.is_linked() {
            self.roads[road].roomy.push_back(&mut self.places, key);
        }
        if unused {
            self.idle.push(&mut self.places, key);
        }
    }

    /// Empties a place which is in no list but that of ages.
    pub(super) fn remove_place(&mut self, key: Key) {
        self.ages.remove(&mut self.places, key);
        if let Some(place) = self.places.remove(key) {
            self.roads[place.road].places -= 1;
            self.made -= usize::from(place.made);
        }
    }

    /// Why an idle connection must not be lent, if there is a reason which needs no asking.
    pub(super) fn expired(&self, key: Key, now: Instant) -> Option<ConnectionCloseReason> {
        let closed = self.closed.then_some(ConnectionCloseReason::PoolClosed);
        closed.or_else(|| self.limits.expired(&self.places[key], now))
    }

    /// Why a connection serves no more exchanges, however fit it is.
    pub(super) fn reason_to_end(&self, key: Key, now: Instant) -> Option<ConnectionCloseReason> {
        let closed = self.closed.then_some(ConnectionCloseReason::PoolClosed);
        closed.or_else(|| self.limits.reason_to_end(&self.places[key], now))
    }
}

impl<X, S> Place<X, S> {
    /// When it ends if nobody uses it. One that is in use is looked at when it comes back, and so
    /// nobody has to watch its age before it is idle.
    pub(super) fn ends_idle(&self) -> Option<Instant> {
        earlier(self.idle_until, self.ends)
    }
}

impl Limits {
    /// See [`State::expired`].
    #[inline]
    pub(super) fn expired<X, S>(
        &self,
        place: &Place<X, S>,
        now: Instant,
    ) -> Option<ConnectionCloseReason> {
        if place.idle_until.is_some_and(|end| end <= now) {
            return Some(ConnectionCloseReason::IdleTimeout);
        }
        self.reason_to_end(place, now)
    }

    /// See [`State::reason_to_end`].
    #[inline]
    pub(super) fn reason_to_end<X, S>(
        &self,
        place: &Place<X, S>,
        now: Instant,
    ) -> Option<ConnectionCloseReason> {
        if place.served >= self.max_requests {
            Some(ConnectionCloseReason::MaxRequests)
        } else if place.ending.is_some() {
            place.ending
        } else if place.ends.is_some_and(|end| end <= now) {
            Some(ConnectionCloseReason::MaxAge)
        } else {
            None
        }
    }

    /// Whether no connection may lie idle.
    pub(super) fn nothing_idle(&self) -> bool {
        self.idle.min(self.idle_per_road) == 0
    }

    /// When a connection of such a class, idle `since` then, has been idle for too long.
    pub(super) fn idle_end(&self, class: Class, since: Instant) -> Option<Instant> {
        since.checked_add(class.length(self.idle_timeout)?)
    }
}
