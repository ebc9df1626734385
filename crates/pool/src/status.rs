//! Snapshots of a pool, to print.

use std::{fmt, time::Duration, time::Instant};

use http::Version;

use crate::{
    route::Route,
    state::{Activity, ConnId, Counts, State},
};

/// A snapshot of a pool: what [`Pool::status`](crate::Pool::status) yields.
///
/// Prints as one line, and with `{:#}` with a line more for each connection:
///
/// ```text
/// <Pool [Requests: 1 active, 0 queued | Connections: 1 active, 1 idle]>
///   <http://localhost:8080, HTTP/1.1, active, 3 requests, age 1.2s>
///   <http://localhost:8080, HTTP/1.1, idle for 0.5s, 2 requests, age 1.3s>
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolStatus {
    /// Number of requests which have a connection, their responses' bodies included.
    pub active_requests: usize,
    /// Number of requests which wait for one.
    pub queued_requests: usize,
    /// Number of connections in use or being made.
    pub active_connections: usize,
    /// Number of idle connections.
    pub idle_connections: usize,
    /// Each connection, by route, the oldest first.
    pub connections: Vec<ConnectionStatus>,
}

/// One connection of a [`PoolStatus`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionStatus {
    /// Its route.
    pub route: Route,
    /// Which version of HTTP is spoken on it, once that is known.
    pub version: Option<Version>,
    /// Current activity.
    pub activity: Activity,
    /// Number of requests it was granted to.
    pub requests: u64,
    /// Time since it was made, or since the attempt to make it began.
    pub age: Duration,
    /// Time since its last exchange ended, if it is idle.
    pub idle_for: Option<Duration>,
}

impl PoolStatus {
    pub(crate) fn of<X, S: Clone>(
        state: &State<X, S>,
        now: Instant,
        version: impl Fn(ConnId) -> Option<Version>,
    ) -> Self {
        let Counts {
            waiting,
            holding,
            conns,
            idle,
            shared_idle,
            ..
        } = state.counts();
        let mut connections: Vec<_> = state
            .connections()
            .map(|found| ConnectionStatus {
                route: found.route.clone(),
                version: match found.activity {
                    Activity::Connecting => None,
                    _ => version(found.conn),
                },
                activity: found.activity,
                requests: found.served,
                age: now.saturating_duration_since(found.created),
                idle_for: match found.activity {
                    Activity::Idle(since) => Some(since),
                    Activity::Shared { idle_since, .. } => idle_since,
                    Activity::Connecting | Activity::Active => None,
                }
                .map(|since| now.saturating_duration_since(since)),
            })
            .collect();
        connections.sort_by(|one, other| {
            let origins = one.route.origin().cmp(other.route.origin());
            origins.then(other.age.cmp(&one.age))
        });
        PoolStatus {
            active_requests: holding,
            queued_requests: waiting,
            active_connections: conns - idle - shared_idle,
            idle_connections: idle + shared_idle,
            connections,
        }
    }

    pub(crate) fn headline(&self) -> String {
        format!(
            "<Pool [Requests: {} active, {} queued | Connections: {} active, {} idle]>",
            self.active_requests,
            self.queued_requests,
            self.active_connections,
            self.idle_connections
        )
    }
}

impl fmt::Display for PoolStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if f.alternate() {
            for connection in &self.connections {
                write!(f, "\n  {connection}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ConnectionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}, ", self.route)?;
        if let Some(version) = self.version {
            write!(f, "{version:?}, ")?;
        }
        match (self.activity, self.idle_for) {
            (Activity::Connecting, _) => f.write_str("connecting")?,
            (Activity::Active, _) => f.write_str("active")?,
            (Activity::Idle(_), idle) => {
                write!(f, "idle for {}", Seconds(idle.unwrap_or_default()))?;
            }
            (
                Activity::Shared {
                    exchanges,
                    limit,
                    retired,
                    ..
                },
                idle,
            ) => {
                match idle {
                    Some(idle) => write!(f, "shared, idle for {}", Seconds(idle))?,
                    None => write!(f, "shared, {exchanges} of {limit} exchanges")?,
                }
                if retired {
                    f.write_str(", retired")?;
                }
            }
        }
        let s = if self.requests == 1 { "" } else { "s" };
        write!(
            f,
            ", {} request{s}, age {}>",
            self.requests,
            Seconds(self.age)
        )
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}s", self.0.as_secs_f64())
    }
}
