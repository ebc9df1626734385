//! Tickets: joining the queue, leaving it, being served.

use super::*;

impl<X, S: Clone> State<X, S> {
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn new_claim(
        &mut self,
        road: Key,
        wish: ConnectionPolicy,
        now: Instant,
        stage: ClaimStage,
    ) -> Key {
        let sequence = self.next_sequence();
        self.claims.insert(Claim {
            road,
            sequence,
            fresh: wish.new_connection,
            close_after: wish.close_after,
            gave_way: 0,
            asked: now,
            stage,
            queue: Links::LOOSE,
            wanting: Links::LOOSE,
        })
    }

    /// A ticket takes its place in its road's queue: at the end, unless it comes again.
    pub(super) fn join(&mut self, claim: Key) {
        let Claim {
            road,
            fresh,
            sequence,
            ..
        } = self.claims[claim];
        let road = &mut self.roads[road];
        let queue = if fresh {
            &mut road.fresh
        } else {
            &mut road.waiting
        };
        let claims = &mut self.claims;
        let came_later = |&other: &Key, claims: &Arena<Claim>| claims[other].sequence > sequence;
        // Who comes again is among the first, and so they are looked through from the front.
        let next = match queue.back() {
            Some(last) if came_later(&last, claims) => {
                queue.iter(claims).find(|other| came_later(other, claims))
            }
            _ => None,
        };
        match next {
            Some(next) => queue.insert_before(claims, claim, next),
            None => queue.push_back(claims, claim),
        }
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
            let level = usize::from(self.places[dial].level);
            self.attended[level].remove(&mut self.places, dial);
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
    pub(super) fn first_for(&self, road: Key, suits: impl Fn(&Claim) -> bool) -> Option<Key> {
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
    pub(super) fn assign(&mut self, dial: Key, claim: Key, own: bool) {
        let road = self.claims[claim].road;
        if self.roads[road].wanting.remove(&mut self.claims, claim) {
            self.wanting -= 1;
        }
        let claimed = &mut self.claims[claim];
        claimed.stage = ClaimStage::Waiting { dial: Some(dial) };
        let place = &mut self.places[dial];
        place.level = claimed.gave_way;
        place.stage = Stage::Dial {
            ticket: Some(claim),
            own,
        };
        let level = usize::from(place.level);
        self.attended[level].push_back(&mut self.places, dial);
    }

    pub(super) fn grant_exclusive(
        &mut self,
        claim: Key,
        key: Key,
        connection: X,
        now: Instant,
    ) -> Action<X, S> {
        self.places[key].stage = Stage::Lent;
        self.grant(claim, key, Connection::Exclusive(connection), now)
    }

    pub(super) fn grant_shared(&mut self, claim: Key, key: Key, now: Instant) -> Action<X, S> {
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
        let last = self.claims[claim].close_after;
        if first {
            self.idle.remove(&mut self.places, key);
        }
        if full {
            self.roads[road].roomy.remove(&mut self.places, key);
        }
        let grant = self.grant(claim, key, Connection::Shared(handle), now);
        if served >= self.limits.max_requests {
            self.retire(key, ConnectionCloseReason::MaxRequests);
        } else if last {
            self.retire(
                key,
                ConnectionCloseReason::Exchange(CloseReason::CallerSaidClose),
            );
        }
        grant
    }

    pub(super) fn grant(
        &mut self,
        claim: Key,
        key: Key,
        connection: Connection<X, S>,
        now: Instant,
    ) -> Action<X, S> {
        if self.claims[claim].queue.is_linked() {
            self.leave(claim);
        }
        let place = &mut self.places[key];
        let reused = place.served > 0;
        place.served += 1;
        let claimed = &mut self.claims[claim];
        claimed.stage = ClaimStage::Holding { place: key };
        self.counters.granted += 1;
        self.counters.reused += u64::from(reused);
        if claimed.asked < now {
            self.counters.queue_time += now.duration_since(claimed.asked);
        }
        Action::Grant {
            ticket: TicketId(claim),
            connection,
            place: PlaceId(key),
            reused,
        }
    }
}
