//! The handle to a world, and running it.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{BoxFuture, Runtime, Timer};

use crate::{
    event_queue::At,
    rng::Rng,
    timer::{Sleep, TimerHandle},
    world::{Drives, World},
};

/// A handle to a world: a network, a clock and tasks. A clone is another handle to the same world.
///
/// See the [crate documentation](crate) for time and lifetimes.
#[derive(Clone)]
pub struct MockNet {
    owner: Arc<Owner>,
}

/// Ends the world when the last handle goes.
struct Owner(Arc<World>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.watch().end();
        self.0.clear();
    }
}

/// The point at which a main future is dropped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Never,
    /// When it has been woken for its poll of this number, and has not been polled.
    BeforePoll(usize),
    /// Right after its poll of this number.
    AfterPoll(usize),
    /// After this number of polls of any task.
    AfterSteps(usize),
    /// When the clock has moved so often, and all that could run has run.
    AfterInstants(usize),
}

impl MockNet {
    /// Returns an empty world, without hosts and tasks.
    pub fn new() -> Self {
        Self::with_rng(Rng::default())
    }

    /// Returns an empty world whose choices are random, determined by `seed`: which ready task runs
    /// next; with some seeds also short reads and writes, operations that are pending once although
    /// they could complete, and spurious wake-ups. The same seed and the same program give the same
    /// run.
    pub fn seeded(seed: u64) -> Self {
        Self::with_rng(Rng::seeded(seed))
    }

    fn with_rng(rng: Rng) -> Self {
        MockNet {
            owner: Arc::new(Owner(Arc::new(World::new(rng)))),
        }
    }

    pub(crate) fn world(&self) -> &Arc<World> {
        &self.owner.0
    }

    /// Runs `main` to its end, and all tasks meanwhile. `main` is queued behind the tasks that are ready
    /// already. Tasks that have not ended by then continue in the next `run`.
    ///
    /// # Panics
    ///
    /// When no task can run and no event is scheduled although `main` has not ended, with a report on
    /// what each task waits for. Likewise when one run takes more steps than [`max_steps`](Self::max_steps) or more
    /// virtual time than [`max_time`](Self::max_time): something re-arms its timers for ever, or
    /// tasks wake each other for ever. Also when a task panics, and when called from within itself.
    ///
    /// Futures of this world do not run elsewhere: a timer, a look-up or a connection that has to wait,
    /// or a task that is spawned, panics at once within `block_on` of a real event loop or within `run`
    /// of another world. Under another executor, such as tokio's or that of the futures crate, debug
    /// builds say so on stderr after a second. Awaiting a pool of a real event loop in `main` makes the
    /// world stuck, which is reported at once.
    pub fn run<F: Future>(&self, main: F) -> F::Output {
        match self.drive(pin!(main), Cut::Never) {
            Some(output) => output,
            None => unreachable!("nothing was to be cut"),
        }
    }

    /// Runs `main` until it ends, or until the point at which it is to be cut.
    pub(crate) fn drive<F: Future + ?Sized>(
        &self,
        mut main: Pin<&mut F>,
        cut: Cut,
    ) -> Option<F::Output> {
        let world = self.world();
        let _running = Running::enter(world);
        world.queue_main();
        let (mut polls_of_main, mut steps, mut instants) = (0, 0, 0);
        let (mut spent, mut spent_before, mut instants_without_main) = (0_u64, 0_u64, 0_u64);
        let bounds = world.with(|state, _| state.bounds);
        let latest = self.elapsed().saturating_add(bounds.time);
        loop {
            if let Some(waker) = world.take_main_poll() {
                instants_without_main = 0;
                polls_of_main += 1;
                if cut == Cut::BeforePoll(polls_of_main) {
                    return None;
                }
                if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Some(output);
                }
                if cut == Cut::AfterPoll(polls_of_main) {
                    return None;
                }
            }
            if cut == Cut::AfterSteps(steps) {
                return None;
            }
            if world.step() {
                steps += 1;
                spent += 1;
                if spent - spent_before > bounds.steps {
                    panic!("{}", world.report(&beyond_steps(SPINS, bounds.steps)));
                }
                continue;
            }
            if cut == Cut::AfterInstants(instants) {
                return None;
            }
            // Asked when all that could run has run: then the report can say what waits for what.
            if spent > bounds.steps {
                panic!("{}", world.report(&beyond_steps(GOES_ON, bounds.steps)));
            }
            spent += 1;
            spent_before = spent;
            instants += 1;
            instants_without_main += 1;
            if !world.advance(latest) {
                let next = world.with(|state, _| state.event_queue.next_instant());
                match next {
                    None => panic!("{}", world.report(STUCK)),
                    Some(next) => panic!("{}", world.report(&beyond_time(next, bounds.time))),
                }
            }
            if instants_without_main > MAX_INSTANTS_WITHOUT_MAIN {
                panic!("{}", world.report(STUCK_BESIDE));
            }
        }
    }

    /// Runs everything that can run, without moving the clock. From outside [`run`](Self::run), or
    /// from its main future; not from a task.
    pub fn run_until_idle(&self) {
        let world = self.world();
        let current = world.with(|state, _| state.current);
        assert!(current.is_none(), "run_until_idle() called from a task");
        let most = world.with(|state, _| state.bounds.steps);
        let _drives = world.drives();
        let mut polls = 0_u64;
        while world.step() {
            polls += 1;
            if polls > most {
                panic!("{}", world.report(&beyond_steps(SPINS, most)));
            }
        }
    }

    /// Sets the maximum number of steps (polls of tasks and of the main future, and moves of the
    /// clock) in one [`run`](Self::run), and of polls in one [`run_until_idle`](Self::run_until_idle); 20 million by
    /// default. Beyond it they panic, with a report on what each task waits for.
    pub fn max_steps(&self, steps: u64) -> &Self {
        self.world().with(|state, _| state.bounds.steps = steps);
        self
    }

    /// Sets the maximum of virtual time in one [`run`](Self::run); 100 years by default. Where the
    /// next thing to happen is later than that, it panics, with a report on what each task waits for.
    pub fn max_time(&self, time: Duration) -> &Self {
        self.world().with(|state, _| state.bounds.time = time);
        self
    }

    /// Advances the clock by `duration`, running what is due until then. To be called where [`run_until_idle`](Self::run_until_idle) may be called.
    pub fn advance(&self, duration: Duration) {
        let world = self.world();
        let until = self.elapsed().saturating_add(duration);
        self.run_until_idle();
        while world.advance(until) {
            self.run_until_idle();
        }
        world.with(|state, _| state.event_queue.advance_to(until));
    }

    /// Returns the current time of this world, which begins at the real time of its creation.
    pub fn now(&self) -> Instant {
        self.world().instant(self.elapsed())
    }

    /// Returns the virtual time since the creation of the world.
    pub fn elapsed(&self) -> Duration {
        self.world().with(|state, _| state.event_queue.now())
    }

    /// Waits for `duration` of virtual time, from now on.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(self.world().clone(), duration)
    }

    /// Runs `task` in the background until it ends, or until the last handle to the world is dropped.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        Runtime::spawn(self, name, Box::pin(task));
    }

    /// Returns a random number below `count`, determined by the seed, for the test's own choices: which
    /// request is slow, which server fails. Without a seed it is always 0: let 0 be the case without
    /// faults.
    ///
    /// ```
    /// use httpcore_net_mock::MockNet;
    ///
    /// let throw = |seed| {
    ///     let net = MockNet::seeded(seed);
    ///     [0; 9].map(|_| net.random_below(6))
    /// };
    /// assert_eq!(throw(1), throw(1));
    /// assert_ne!(throw(1), throw(2));
    /// assert_eq!(MockNet::new().random_below(6), 0);
    /// ```
    pub fn random_below(&self, count: usize) -> usize {
        self.world().random_below(count)
    }

    /// Runs everything that is due within `limit` from now.
    pub(crate) fn run_due_within(&self, limit: Duration) {
        let until = self.elapsed().saturating_add(limit);
        self.run_until_idle();
        while self.world().advance(until) {
            self.run_until_idle();
        }
    }

    /// Drops every task and every server now, for worlds in which a task or a server holds a handle,
    /// and which would never end otherwise.
    pub fn clear(&self) {
        self.world().clear();
    }
}

impl Runtime for MockNet {
    fn now(&self) -> Instant {
        MockNet::now(self)
    }

    fn timer(&self, purpose: &'static str) -> Box<dyn Timer> {
        Box::new(TimerHandle::timer(self.world().clone(), purpose))
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.world().assert_not_driven_elsewhere("spawned");
        self.world().watch().spawned(name);
        let side = self.world().with(|state, _| state.side());
        self.world().spawn(name, name.to_owned(), side, task);
    }
}

impl Default for MockNet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MockNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockNet")
            .field("elapsed", &self.elapsed())
            .field("live_counts", &self.live_counts())
            .finish_non_exhaustive()
    }
}

/// Marks the world as running, until dropped.
struct Running<'a> {
    world: &'a World,
    _drives: Drives<'a>,
}

impl<'a> Running<'a> {
    fn enter(world: &'a World) -> Self {
        let before = world.running.swap(true, Ordering::AcqRel);
        assert!(!before, "the world is being run already");
        Running {
            world,
            _drives: world.drives(),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.world.running.store(false, Ordering::Release);
    }
}

/// Maximum number of advances of the clock without a poll of the main future, which is then reported as
/// stuck beside periodic work.
const MAX_INSTANTS_WITHOUT_MAIN: u64 = 300_000;

const SPINS: &str = "the world does not become idle: tasks wake each other for ever";
const GOES_ON: &str = "the world goes on without end";
const STUCK: &str = "the world is stuck: nothing can run, and nothing is due (what waits for something \
                     outside it, such as a real event loop, is not heard here)";
const STUCK_BESIDE: &str = "the main future is stuck beside something periodic";

fn beyond_steps(opening: &str, most: u64) -> String {
    format!("{opening}: more than {most} steps (MockNet::max_steps)")
}

fn beyond_time(next: Duration, most: Duration) -> String {
    format!(
        "{GOES_ON}: the next thing happens at {}, more than {most:?} after the beginning of this run \
         (MockNet::max_time)",
        At(next)
    )
}
