//! Roads: which tickets and places share a route, and whose turn it is.

use super::*;

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
            arriving: 0,
            places: 0,
            dials: 0,
            shared: 0,
            untold: 0,
            turn: Links::LOOSE,
            rest: Links::LOOSE,
        });
        self.index.insert(route.clone(), key);
        key
    }

    /// Brings a road's standing up to date, once its tickets have been served: dials that lost
    /// their tickets go to tickets without a dial, the road joins or leaves the ring, what is idle
    /// beyond the limit is closed, and an empty road is forgotten.
    pub(super) fn tend(&mut self, road: Key) {
        let lane = &self.roads[road];
        let quiet = lane.wanting.is_empty() && !lane.turn.is_linked() && lane.places > 0;
        if quiet && self.idle.len() <= self.limits.idle {
            return;
        }
        while let Some(claim) = self.roads[road].wanting.front()
            && let Some(dial) = self.roads[road].orphans.front()
        {
            self.roads[road].orphans.remove(&mut self.places, dial);
            self.orphans.remove(&mut self.places, dial);
            self.assign(dial, claim, false);
        }
        self.refresh(road);
        if self.idle.len() > self.limits.idle
            && let Some(oldest) = self.idle.longest(&self.places)
        {
            self.close_idle_place(oldest, ConnectionCloseReason::IdleLimit);
        }
        if self.roads[road].is_empty() {
            self.rest(road);
        }
    }

    /// Lets a road take its turn in the ring if, and only if, it could use a place.
    pub(super) fn refresh(&mut self, road: Key) {
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
        within_limit && self.protocol_allows(lane, fresh)
    }

    /// Whether what is known of the protocol lets another dial begin.
    pub(super) fn protocol_allows(&self, lane: &Road, fresh: bool) -> bool {
        match lane.knowledge {
            Knowledge::Unknown => !lane.is_probing(),
            // One which has just been made, and has yet to say how much it admits, may serve all
            // who wait.
            Knowledge::Shared { .. } => {
                let has_need = lane.untold == 0 && lane.shared < self.limits.shared_per_road;
                lane.dials == 0 && (fresh || has_need)
            }
            Knowledge::Doubtful | Knowledge::Exclusive => true,
        }
    }

    /// One who insists on a new connection, on a road whose places are all taken by shared ones:
    /// the first of them with room makes way.
    pub(super) fn retire_for_the_insistent(&mut self, road: Key) {
        let lane = &self.roads[road];
        if lane.places < self.limits.places_per_road || lane.shared < lane.places {
            return;
        }
        if let Some(first) = lane.wanting.front()
            && self.claims[first].fresh
            && let Some(place) = lane.roomy.front()
        {
            self.retire(place, ConnectionCloseReason::MadeRoom);
        }
    }

    /// Whether a connection which comes back to `road` must be given up for another road: the
    /// pool is full, another road waits for a place, and has been passed over often enough.
    pub(super) fn must_yield(&mut self, road: Key) -> bool {
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
    pub(super) fn rest(&mut self, road: Key) {
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

    pub(super) fn forget(&mut self, road: Key) {
        if let Some(road) = self.roads.remove(road) {
            self.index.remove(&road.route);
        }
    }
}

impl Road {
    pub(super) fn has_tickets(&self) -> bool {
        !self.waiting.is_empty() || !self.fresh.is_empty()
    }

    /// Whether others wait for what the one dial will find.
    pub(super) fn is_probing(&self) -> bool {
        self.may_share && self.knowledge == Knowledge::Unknown && self.dials > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places == 0 && self.arriving == 0 && !self.has_tickets()
    }
}
