//! Cancellation sweeps: a scenario is run once for each point at which it can be dropped.
//!
//! ```text
//!   for k in 0..:
//!     build the scenario in a new world ── count ── run it, drop it at point k
//!       ── run until idle ── count again: what is more than before (and not allowed) has leaked
//!       ── run the follow-up: it must succeed
//!       ── drop everything, run what is due ── count: nothing may be left
//!   until the scenario ends before point k
//! ```

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    time::Duration,
};

use crate::{
    net::{Cut, MockNet},
    report::LiveCounts,
    seed::fail_again,
};

/// Maximum number of points; a scenario with more is reported as endless.
const MAX_POINTS: usize = 100_000;
/// Virtual time that passes at the end, so that remaining timers expire.
const AFTERWARDS: Duration = Duration::from_secs(3600);

/// A scenario to be cancelled: built anew for each point.
///
/// The futures run in the world that is passed to the function that builds the scenario. They need not be
/// `Send`.
pub struct Scenario {
    main: Pin<Box<dyn Future<Output = ()>>>,
    counts: Option<Box<dyn Fn() -> Vec<(&'static str, usize)>>>,
    follow_up: Option<Pin<Box<dyn Future<Output = ()>>>>,
    allowed: LiveCounts,
}

impl Scenario {
    /// Returns a scenario with the future `main`, which is dropped at each point.
    pub fn new(main: impl Future<Output = ()> + 'static) -> Self {
        Scenario {
            main: Box::pin(main),
            counts: None,
            follow_up: None,
            allowed: LiveCounts::default(),
        }
    }

    /// Adds counts of objects that the world does not know, by name: leases, waiters. After `main` has
    /// been dropped, none may be greater than before.
    pub fn counting(mut self, counts: impl Fn() -> Vec<(&'static str, usize)> + 'static) -> Self {
        self.counts = Some(Box::new(counts));
        self
    }

    /// Sets a future that must succeed after `main` has been dropped, such as another request. It fails
    /// by panicking or by never ending.
    pub fn then(mut self, follow_up: impl Future<Output = ()> + 'static) -> Self {
        self.follow_up = Some(Box::pin(follow_up));
        self
    }

    /// Allows `connections` idle connections of one pool to be left after `main` has been dropped, and
    /// as many attempts to connect: for each a task, a stream and a timer, and for the pool one task and
    /// one timer more. For other numbers, see [`allow_tasks`](Self::allow_tasks) and the others.
    pub fn allow_idle_connections(self, connections: usize) -> Self {
        self.allow_tasks(connections + 1)
            .allow_streams(connections)
            .allow_timers(connections + 1)
            .allow_attempts(connections)
    }

    /// Maximum number of client tasks that may exist after `main` has been dropped, beyond those
    /// that existed before; 0 unless this is called.
    ///
    /// For what is kept on purpose: an idle connection in a pool, for example, has a task, a stream
    /// and a timer. At the end, when the whole scenario has been dropped, they must be gone too.
    pub fn allow_tasks(mut self, tasks: usize) -> Self {
        self.allowed.tasks = tasks;
        self
    }

    /// Maximum number of additional client streams; see [`allow_tasks`](Self::allow_tasks).
    pub fn allow_streams(mut self, streams: usize) -> Self {
        self.allowed.streams = streams;
        self
    }

    /// Maximum number of additional armed timers; see [`allow_tasks`](Self::allow_tasks).
    pub fn allow_timers(mut self, timers: usize) -> Self {
        self.allowed.timers = timers;
        self
    }

    /// Maximum number of additional attempts to connect; see [`allow_tasks`](Self::allow_tasks).
    pub fn allow_attempts(mut self, attempts: usize) -> Self {
        self.allowed.attempts = attempts;
        self
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// Result of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// Number of points at which the scenario was dropped before its end. Assert a minimum, so that a
    /// scenario that ends at once is noticed.
    pub points: usize,
}

/// Configuration of a sweep.
///
/// ```
/// use httpcore_net_mock::{Scenario, Sweep};
/// use std::time::Duration;
///
/// let swept = Sweep::polls().seed(3).run(|net| {
///     let (one, two) = (net.sleep(Duration::from_secs(1)), net.sleep(Duration::from_secs(2)));
///     Scenario::new(async {
///         one.await;
///         two.await;
///     })
/// });
/// assert!(swept.points >= 3);
/// ```
#[derive(Clone, Debug)]
pub struct Sweep {
    points: Points,
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Points {
    Polls,
    Steps,
    Instants,
}

impl Sweep {
    /// Drops the scenario before and after each of its polls. Between a wake-up and the poll, the future
    /// may own what it waited for without having observed it.
    pub fn polls() -> Self {
        Sweep {
            points: Points::Polls,
            seed: None,
        }
    }

    /// Drops the scenario after each poll of any task: its own, another one, a server.
    pub fn steps() -> Self {
        Sweep {
            points: Points::Steps,
            seed: None,
        }
    }

    /// Drops the scenario at each instant with an event, after all tasks that could run have run.
    pub fn instants() -> Self {
        Sweep {
            points: Points::Instants,
            seed: None,
        }
    }

    /// Uses worlds of this seed; see [`MockNet::seeded`].
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Runs the sweep over the scenario that `build` builds, in a new world for each point.
    ///
    /// # Panics
    ///
    /// If something leaks, or the scenario or its follow-up fails, with the point and the names of what
    /// leaked.
    pub fn run(&self, build: impl Fn(&MockNet) -> Scenario) -> SweepReport {
        for point in 0..MAX_POINTS {
            let net = self.seed.map_or_else(MockNet::new, MockNet::seeded);
            let at = Point {
                points: self.points,
                number: point,
                seed: self.seed,
            };
            let ended = at.cancel(&net, &build);
            net.clear();
            if ended {
                return SweepReport { points: point };
            }
        }
        panic!("the scenario has not ended after {MAX_POINTS} points");
    }
}

/// Drops a scenario at every poll; see [`Sweep::polls`] and [`Sweep::run`].
pub fn sweep_polls(build: impl Fn(&MockNet) -> Scenario) -> SweepReport {
    Sweep::polls().run(build)
}

/// Drops a scenario after every poll of any task; see [`Sweep::steps`] and [`Sweep::run`].
pub fn sweep_steps(build: impl Fn(&MockNet) -> Scenario) -> SweepReport {
    Sweep::steps().run(build)
}

/// Drops a scenario at every virtual instant; see [`Sweep::instants`] and [`Sweep::run`].
pub fn sweep_instants(build: impl Fn(&MockNet) -> Scenario) -> SweepReport {
    Sweep::instants().run(build)
}

/// One point at which a scenario is dropped.
struct Point {
    points: Points,
    number: usize,
    seed: Option<u64>,
}

impl Point {
    /// Runs the scenario up to this point, and checks what is left. Returns whether it ended before.
    fn cancel(&self, net: &MockNet, build: &impl Fn(&MockNet) -> Scenario) -> bool {
        let scenario = build(net);
        let Scenario {
            mut main,
            counts,
            follow_up,
            allowed,
        } = scenario;
        net.run_until_idle();
        let counted = || counts.as_ref().map_or_else(Vec::new, |counts| counts());
        let (before, counted_before) = (net.live_counts(), counted());
        let cut = || net.drive(main.as_mut(), self.cut());
        let ended = self.watch("the scenario", &counted, cut);
        drop(main);
        net.run_until_idle();
        let mut leaks = self.find_leaks(net, before, allowed);
        leaks.extend(count_leaks(&counted_before, &counted()));
        self.assert_none(&leaks, "is left after it was dropped");
        if let Some(follow_up) = follow_up {
            self.watch("the follow-up", &counted, || net.run(follow_up));
        }
        drop(counts);
        net.run_due_within(AFTERWARDS);
        self.assert_none(&net.live_and_unarmed(), "is left at the end");
        ended.is_some()
    }

    fn cut(&self) -> Cut {
        match self.points {
            Points::Polls if self.number.is_multiple_of(2) => Cut::BeforePoll(self.number / 2 + 1),
            Points::Polls => Cut::AfterPoll(self.number.div_ceil(2)),
            Points::Steps => Cut::AfterSteps(self.number),
            Points::Instants => Cut::AfterInstants(self.number),
        }
    }

    /// Adds the point and the counts to a panic of `part`, which may have waited for something that the
    /// scenario leaked.
    fn watch<T>(
        &self,
        part: &str,
        counted: &dyn Fn() -> Vec<(&'static str, usize)>,
        run: impl FnOnce() -> T,
    ) -> T {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(done) => done,
            Err(panic) => {
                let counts = counted();
                let counts = counts
                    .iter()
                    .map(|(name, count)| format!("; {name}: {count}"));
                let counts: String = counts.collect();
                fail_again(
                    panic,
                    &format!("{part} failed, with the scenario dropped {self}{counts}"),
                )
            }
        }
    }

    fn find_leaks(&self, net: &MockNet, before: LiveCounts, allowed: LiveCounts) -> Vec<String> {
        let now = net.live_counts();
        let more = |now: usize, before: usize, allowed: usize| now > before + allowed;
        let leaked = more(now.tasks, before.tasks, allowed.tasks)
            || more(now.streams, before.streams, allowed.streams)
            || more(now.timers, before.timers, allowed.timers)
            || more(now.attempts, before.attempts, allowed.attempts);
        if !leaked {
            return Vec::new();
        }
        let mut lines = vec![format!("{now:?}, and it was {before:?}")];
        lines.extend(net.live());
        lines
    }

    fn assert_none(&self, leaks: &[String], when: &str) {
        assert!(
            leaks.is_empty(),
            "the scenario, dropped {self}, leaks; this {when}:\n  {}",
            leaks.join("\n  ")
        );
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.points {
            Points::Polls if self.number.is_multiple_of(2) => {
                write!(f, "before its poll {}", self.number / 2 + 1)?;
            }
            Points::Polls => write!(f, "after its poll {}", self.number.div_ceil(2))?,
            Points::Steps => write!(f, "after step {} of the world", self.number)?,
            Points::Instants => write!(f, "at instant {} of the world", self.number)?,
        }
        match self.seed {
            Some(seed) => write!(f, " (seed {seed})"),
            None => Ok(()),
        }
    }
}

fn count_leaks(before: &[(&'static str, usize)], now: &[(&'static str, usize)]) -> Vec<String> {
    now.iter()
        .filter_map(|(name, count)| {
            let was = before
                .iter()
                .find(|(other, _)| other == name)
                .map_or(0, |(_, count)| *count);
            (*count > was).then(|| format!("{name}: {count}, and it was {was}"))
        })
        .collect()
}
