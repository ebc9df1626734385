//! What holds after every input.

use super::*;

impl<X, S: Clone> State<X, S> {
    /// Panics unless everything that is kept twice agrees, and no request waits in vain.
    pub(super) fn audit(&self) {
        self.audit_counts();
        for (key, route) in self.routes.iter() {
            self.audit_route(key, route);
        }
        self.audit_lists();
        self.audit_waiting();
        let reservations = self.reservations.audit(|key| {
            let waiter = self.waiters.get(key)?;
            waiter.is_reservation.then(|| self.is_ready(WaiterId(key)))
        });
        let waiters = self.waiters.iter();
        assert_eq!(
            waiters.filter(|(_, waiter)| waiter.is_reservation).count(),
            reservations,
            "every reservation is kept once"
        );
    }

    fn audit_counts(&self) {
        let counts = self.counts();
        assert_eq!(
            counts.connecting + counts.idle + counts.lent + counts.shared,
            counts.conns,
            "the stages add up"
        );
        assert!(
            counts.conns <= self.limits.conns,
            "the pool keeps its limit"
        );
        assert!(
            counts.connecting <= self.limits.connecting,
            "the pool keeps its limit of attempts"
        );
        assert!(counts.idle + counts.shared_idle <= self.limits.idle);
        let by_route: usize = self.routes.iter().map(|(_, route)| route.conns).sum();
        assert_eq!(by_route, counts.conns, "every connection is on a route");
        let connecting = |conn: &Conn<X, S>| matches!(conn.stage, Stage::Connecting { .. });
        assert_eq!(
            self.conns
                .iter()
                .filter(|(_, conn)| connecting(conn))
                .count(),
            counts.connecting
        );
        assert_eq!(self.conns.opened(), counts.conns - counts.connecting);
        assert_eq!(self.conns.shared(), counts.shared);
        assert_eq!(self.routes.len(), self.routes.indexed());
        let carried: usize = self
            .conns
            .iter()
            .map(|(_, conn)| match conn.stage {
                Stage::Lent => 1,
                Stage::Shared { exchanges, .. } => exchanges,
                Stage::Connecting { .. } | Stage::Idle(_) => 0,
            })
            .sum();
        assert_eq!(
            carried, counts.holding,
            "every connection in use has its requests"
        );
    }

    fn audit_route(&self, key: Key, route: &RouteState) {
        assert!(
            route.conns <= self.limits.conns_per_route,
            "a route keeps its limit"
        );
        assert!(
            route.connects <= self.limits.connecting_per_route,
            "a route keeps its limit of attempts"
        );
        assert!(
            route.delayed_until.is_none()
                || (route.active > 0 || route.failures > 0) && !route.without_connect.is_empty(),
            "requests wait for connections in use, or after failures"
        );
        assert!(
            route.active <= self.limits.requests_per_route,
            "a route keeps its limit of requests"
        );
        assert_eq!(self.routes.find(&route.route), Some(key));
        let on = |stage: fn(&Stage<X, S>) -> bool| {
            self.conns
                .iter()
                .filter(|(_, conn)| conn.route == key && stage(&conn.stage))
                .count()
        };
        assert_eq!(on(|_| true), route.conns);
        assert_eq!(
            on(|stage| matches!(stage, Stage::Connecting { .. })),
            route.connects
        );
        assert_eq!(
            on(|stage| matches!(stage, Stage::Connecting { stale: true, .. })),
            route.stale_connects
        );
        assert_eq!(
            on(|stage| matches!(
                stage,
                Stage::Connecting {
                    waiter: None,
                    stale: true,
                    ..
                }
            )),
            route.stale.len()
        );
        assert_eq!(
            on(|stage| matches!(
                stage,
                Stage::Connecting {
                    waiter: None,
                    stale: false,
                    ..
                }
            )),
            route.unclaimed.len()
        );
        assert_eq!(
            on(|stage| matches!(stage, Stage::Idle(_))),
            route.idle.len()
        );
        assert!(route.idle.len() <= self.limits.idle_per_route);
        assert_eq!(
            on(|stage| matches!(stage, Stage::Shared { retired: None, .. })),
            route.shared
        );
        assert_eq!(
            on(|stage| matches!(
                stage,
                Stage::Shared {
                    retired: None,
                    has_settings: false,
                    ..
                }
            )),
            route.awaiting_settings
        );
        assert_eq!(
            on(|stage| matches!(
                stage,
                Stage::Shared { retired: None, exchanges, limit, .. } if exchanges < limit
            )),
            route.available.len()
        );
        let holding = self.waiters.iter().filter(|(_, waiter)| {
            waiter.route == key && matches!(waiter.stage, WaiterStage::Holding { .. })
        });
        assert_eq!(holding.count(), route.active);
        let waiters: Vec<_> = self
            .waiters
            .list(&route.waiters)
            .chain(self.waiters.list(&route.waiters_new_conn))
            .collect();
        let without_connect = waiters
            .iter()
            .filter(|&&waiter| {
                matches!(
                    self.waiters[waiter].stage,
                    WaiterStage::Waiting { connect: None }
                )
            })
            .count();
        assert_eq!(without_connect, route.without_connect.len());
        assert_eq!(
            route.connects,
            waiters.len() - without_connect + route.unclaimed.len() + route.stale.len()
        );
        assert_eq!(
            self.could_connect(key),
            self.routes.is_in_connect_queue(key),
            "a route is in the connect queue if and only if it could use a slot"
        );
        if route.conns == 0 && waiters.is_empty() {
            assert!(
                self.routes.is_cached(key) || route.active > 0,
                "an empty route is kept for what is known of it only"
            );
        }
    }

    fn audit_lists(&self) {
        let lists = self.conns.idle_lists();
        let idle = lists.concat();
        assert_eq!(idle.len(), self.conns.idle());
        let unused = self
            .conns
            .iter()
            .filter(|(_, conn)| {
                matches!(
                    conn.stage,
                    Stage::Idle(_) | Stage::Shared { exchanges: 0, .. }
                )
            })
            .count();
        assert_eq!(idle.len(), unused, "what carries nothing can be evicted");
        for list in &lists {
            let since = |key: Key| self.conns[key].idle_since;
            let until = |key: Key| self.conns[key].idle_until;
            assert!(
                list.windows(2).all(
                    |pair| since(pair[0]) <= since(pair[1]) && until(pair[0]) <= until(pair[1])
                ),
                "the longest idle comes first, and expires first"
            );
        }
        let count = |suits: fn(&Stage<X, S>) -> bool| {
            self.conns
                .iter()
                .filter(|(_, conn)| suits(&conn.stage))
                .count()
        };
        let unclaimed = count(|stage| matches!(stage, Stage::Connecting { waiter: None, .. }));
        let claimed = count(|stage| {
            matches!(
                stage,
                Stage::Connecting {
                    waiter: Some(_),
                    ..
                }
            )
        });
        assert_eq!(
            self.conns.listed_connects(),
            (unclaimed, claimed),
            "attempts are claimed or unclaimed"
        );
        let inherited = count(|stage| {
            matches!(
                stage,
                Stage::Connecting {
                    waiter: Some(_),
                    own: false,
                    ..
                }
            )
        });
        assert_eq!(self.conns.inherited(), inherited);
        let young = count(|stage| matches!(stage, Stage::Connecting { stale: false, .. }));
        if self.limits.connect_patience.is_some() {
            assert_eq!(self.conns.young(), young);
        }
        let without: usize = self
            .routes
            .iter()
            .map(|(_, route)| route.without_connect.len())
            .sum();
        assert_eq!(self.waiters.without_connect(), without);
        assert_eq!(self.waiters.queued(), self.waiters.in_order().len());
    }

    fn audit_waiting(&self) {
        for (_, route) in self.routes.iter() {
            if !self.admits_request(route) {
                continue;
            }
            if !route.without_connect.is_empty()
                && route.active + route.claimed() < self.limits.requests_per_route
            {
                assert!(
                    route.unclaimed.is_empty(),
                    "no request is without an attempt while one goes on for none"
                );
            }
            if !route.waiters.is_empty() {
                let mut idle = self.conns.in_list(&route.idle);
                assert!(
                    idle.all(|key| matches!(self.conns[key].stage, Stage::Idle(None))),
                    "no request waits beside an idle connection"
                );
                assert!(
                    route.available.is_empty(),
                    "no request waits beside a connection that admits it"
                );
            }
        }
        if self.routes.next_to_connect().is_some() {
            let may_begin = self.conns.connecting() < self.limits.connecting;
            assert!(
                self.conns.len() == self.limits.conns || !may_begin,
                "no request waits while a slot is free"
            );
            assert!(
                self.conns.idle() == 0 || !may_begin,
                "no request waits while a slot can be freed"
            );
            assert_eq!(
                self.conns.listed_connects().0,
                0,
                "nor while one is used for none"
            );
        }
    }
}
