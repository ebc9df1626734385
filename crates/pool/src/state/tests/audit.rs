//! What must hold whenever the machine has nothing more to do.

use super::*;

impl<X, S: Clone> State<X, S> {
    /// Panics unless everything that is kept twice agrees, and nobody waits in vain.
    pub(super) fn audit(&self) {
        assert!(self.work.is_empty(), "the machine was drained");
        self.audit_books();
        for (key, road) in self.roads.iter() {
            self.audit_road(key, road);
        }
        self.audit_lists();
        self.audit_waiting();
    }

    fn audit_books(&self) {
        let books = self.books();
        assert_eq!(
            books.dials + books.idle + books.lent + books.shared,
            books.places,
            "books balance"
        );
        assert!(
            books.places <= self.limits.places,
            "the pool keeps its limit"
        );
        assert!(books.idle + books.shared_idle <= self.limits.idle);
        let by_road: usize = self.roads.iter().map(|(_, road)| road.places).sum();
        assert_eq!(by_road, books.places, "every place is on a road");
        let settling = self
            .places
            .iter()
            .filter(|(_, place)| matches!(place.stage, Stage::Settling))
            .count();
        assert_eq!(settling, 0, "nothing stays between two states");
        assert_eq!(self.made, books.places - books.dials);
        assert_eq!(self.shared, books.shared);
        assert_eq!(self.roads.len(), self.index.len());
        let carried: usize = self
            .places
            .iter()
            .map(|(_, place)| match place.stage {
                Stage::Lent => 1,
                Stage::Shared { exchanges, .. } => exchanges,
                Stage::Dial { .. } | Stage::Settling | Stage::Idle(_) => 0,
            })
            .sum();
        assert_eq!(
            carried, books.holding,
            "every connection in use has its tickets"
        );
    }

    fn audit_road(&self, key: Key, road: &Road) {
        assert!(
            road.places <= self.limits.places_per_road,
            "a route keeps its limit"
        );
        assert_eq!(
            road.arriving, 0,
            "whoever has come is in a queue, or served"
        );
        assert_eq!(self.index.get(&road.route), Some(&key));
        let on = |stage: fn(&Stage<X, S>) -> bool| {
            self.places
                .iter()
                .filter(|(_, place)| place.road == key && stage(&place.stage))
                .count()
        };
        assert_eq!(on(|_| true), road.places);
        assert_eq!(on(|stage| matches!(stage, Stage::Dial { .. })), road.dials);
        assert_eq!(on(|stage| matches!(stage, Stage::Idle(_))), road.idle.len());
        assert!(road.idle.len() <= self.limits.idle_per_road);
        assert_eq!(
            on(|stage| matches!(stage, Stage::Shared { retired: None, .. })),
            road.shared
        );
        assert_eq!(
            on(|stage| matches!(
                stage,
                Stage::Shared {
                    retired: None,
                    told: false,
                    ..
                }
            )),
            road.untold
        );
        assert_eq!(
            on(|stage| matches!(
                stage,
                Stage::Shared { retired: None, exchanges, limit, .. } if exchanges < limit
            )),
            road.roomy.len()
        );
        let tickets: Vec<_> = road
            .waiting
            .iter(&self.claims)
            .chain(road.fresh.iter(&self.claims))
            .collect();
        let without_dial = tickets
            .iter()
            .filter(|&&claim| {
                matches!(self.claims[claim].stage, ClaimStage::Waiting { dial: None })
            })
            .count();
        assert_eq!(without_dial, road.wanting.len());
        assert_eq!(
            road.dials,
            tickets.len() - without_dial + road.orphans.len()
        );
        let could = self.could_dial(road);
        assert_eq!(
            could,
            self.ring.iter(&self.roads).any(|turn| turn == key),
            "whoever could use a place is in the ring, and nobody else"
        );
        if road.places == 0 && tickets.is_empty() {
            assert!(
                self.resting.iter(&self.roads).any(|rest| rest == key),
                "an empty road is kept for its knowledge only"
            );
        }
    }

    fn audit_lists(&self) {
        let lists: Vec<Vec<_>> = self
            .idle
            .lists()
            .map(|list| list.iter(&self.places).collect())
            .collect();
        let idle = lists.concat();
        assert_eq!(idle.len(), self.idle.len());
        let unused = self
            .places
            .iter()
            .filter(|(_, place)| {
                matches!(
                    place.stage,
                    Stage::Idle(_) | Stage::Shared { exchanges: 0, .. }
                )
            })
            .count();
        assert_eq!(idle.len(), unused, "what carries nothing can be evicted");
        for list in &lists {
            let since = |key: Key| self.places[key].idle_since;
            let until = |key: Key| self.places[key].idle_until;
            assert!(
                list.windows(2).all(
                    |pair| since(pair[0]) <= since(pair[1]) && until(pair[0]) <= until(pair[1])
                ),
                "the longest idle comes first, and expires first"
            );
        }
        let attended: usize = self.attended.iter().map(List::len).sum();
        let dials = self.places.iter().filter(|(_, place)| {
            matches!(
                place.stage,
                Stage::Dial {
                    ticket: Some(_),
                    ..
                }
            )
        });
        assert_eq!(attended, dials.count(), "dials are attended or orphaned");
        let orphans: usize = self.roads.iter().map(|(_, road)| road.orphans.len()).sum();
        assert_eq!(self.orphans.len(), orphans);
        let wanting: usize = self.roads.iter().map(|(_, road)| road.wanting.len()).sum();
        assert_eq!(self.wanting, wanting);
        assert_eq!(
            self.waiting,
            self.claims_in(|stage| matches!(stage, ClaimStage::Waiting { .. }))
                .len()
        );
    }

    fn audit_waiting(&self) {
        for (_, road) in self.roads.iter() {
            if !road.wanting.is_empty() {
                assert!(
                    road.orphans.is_empty(),
                    "nobody lacks a dial while one goes on for nobody"
                );
            }
            if !road.waiting.is_empty() {
                assert!(
                    road.idle.is_empty(),
                    "nobody waits beside an idle connection"
                );
                assert!(
                    road.roomy.is_empty(),
                    "nobody waits beside a roomy connection"
                );
            }
        }
        if !self.ring.is_empty() {
            assert_eq!(
                self.places.len(),
                self.limits.places,
                "nobody waits while a place is free"
            );
            assert!(
                self.idle.is_empty(),
                "nobody waits while a place can be freed"
            );
            assert!(self.orphans.is_empty(), "nor while one is used for nobody");
        }
    }
}
