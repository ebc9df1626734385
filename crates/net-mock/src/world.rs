//! The world: its state under one lock, its tasks and its clock.
//!
//! ```text
//!   run:  ready task? ──yes──► poll it ──┐
//!           │ no          ▲              │
//!           ▼             └──────────────┘
//!   something due later? ──yes──► advance the clock, call its wakers
//!           │ no
//!           ▼
//!        panic, with a report on what each task waits for
//! ```

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{BoxFuture, Driven, Driver, Watch};
use httpcore_executor::TaskQueue;

use crate::{
    connection::Connection,
    ends::Side,
    event_queue::{EventQueue, ScheduledEvent, Wakes},
    hosts::Hosts,
    pipe::StepContext,
    rng::Rng,
    sync::lock,
    timer_entry::TimerEntry,
    transcript::Transcripts,
};

/// A world, as streams, timers and tasks hold it. They do not keep its tasks and servers alive.
pub(crate) struct World {
    base: Instant,
    queue: TaskQueue,
    main: Main,
    pub(crate) running: AtomicBool,
    watch: Watch,
    state: Mutex<State>,
}

/// The warning where something waits in a world, and no thread runs it. That is not a mistake by itself: a
/// test may poll a future by hand and run the world afterwards.
const NO_RUN: &str = "httpcore: an operation waits in a MockNet that no thread runs, and will never complete: its clock \
     moves only within `MockNet::run` of the same MockNet. Await it there, and not under another executor.";

#[derive(Default)]
pub(crate) struct State {
    pub(crate) event_queue: EventQueue,
    pub(crate) rng: Rng,
    pub(crate) timers: BTreeMap<u64, TimerEntry>,
    pub(crate) tasks: BTreeMap<u64, Task>,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) hosts: Hosts,
    pub(crate) transcripts: Transcripts,
    pub(crate) bounds: Bounds,
    /// The connections on which a server stalls, as its script says, and the task that does.
    pub(crate) stalls: BTreeMap<u64, Waker>,
    /// The task being polled; `None` for the main future, and outside `run`.
    pub(crate) current: Option<u64>,
}

/// Bounds of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    pub(crate) steps: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            time: Duration::from_secs(100 * 365 * 86_400),
            steps: 20_000_000,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) side: Side,
    /// What it was last polled with: identifies what the task waits for.
    pub(crate) waker: Option<Waker>,
}

impl State {
    /// The side of the task that is being polled.
    pub(crate) fn side(&self) -> Side {
        self.current
            .and_then(|id| self.tasks.get(&id))
            .map_or(Side::Client, |task| task.side)
    }

    /// A connection, and what a step of it may touch.
    pub(crate) fn connection<'a>(
        &'a mut self,
        id: u64,
        wakes: &'a mut Wakes,
    ) -> Option<(&'a mut Connection, StepContext<'a>)> {
        let context = StepContext {
            event_queue: &mut self.event_queue,
            rng: &mut self.rng,
            wakes,
        };
        Some((self.connections.get_mut(&id)?, context))
    }
}

/// Marks a thread as driven by a world.
pub(crate) struct Drives<'a> {
    watch: &'a Watch,
    _driven: Driven,
}

impl Drop for Drives<'_> {
    fn drop(&mut self) {
        self.watch.leave();
    }
}

/// The main future in the task queue: a task that sets a flag when it is polled.
#[derive(Default)]
struct Main {
    turn: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl World {
    #[expect(
        clippy::disallowed_methods,
        reason = "a backend: the origin of its own clock"
    )]
    pub(crate) fn new(rng: Rng) -> Self {
        World {
            base: Instant::now(),
            queue: TaskQueue::new(|| {}),
            main: Main::default(),
            running: AtomicBool::new(false),
            watch: Watch::new(NO_RUN),
            state: Mutex::new(State {
                rng,
                ..State::default()
            }),
        }
    }

    /// A number below `count`: 0 without a seed.
    pub(crate) fn random_below(&self, count: usize) -> usize {
        self.with(|state, _| state.rng.random_below(count))
    }

    /// Marks this thread as driven by this world, until the value is dropped.
    pub(crate) fn drives(&self) -> Drives<'_> {
        self.watch.enter();
        Drives {
            watch: &self.watch,
            _driven: Driven::by(self.driver()),
        }
    }

    /// The check that a thread runs the world.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    fn driver(&self) -> Driver {
        Driver::World(std::ptr::from_ref(self) as usize)
    }

    /// # Panics
    ///
    /// Where a future or a task of this world is `done` something to under another runtime, which
    /// will never move the clock here: it would wait for ever.
    pub(crate) fn assert_not_driven_elsewhere(&self, done: &str) {
        let other = match Driver::current() {
            Driver::EventLoop | Driver::BlockingThread => "an event loop in real time",
            driver @ Driver::World(_) if driver != self.driver() => "another MockNet",
            _ => return,
        };
        panic!(
            "something of a MockNet is {done} in {other}, which never moves its clock: a pool (or \
             stream, or timer) of a MockNet is to be used within MockNet::run of the same one"
        );
    }

    /// Runs `step` under the lock, and calls and drops wakers after releasing it.
    pub(crate) fn with<T>(&self, step: impl FnOnce(&mut State, &mut Wakes) -> T) -> T {
        let mut wakes = Wakes::default();
        let done = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            step(&mut state, &mut wakes)
        };
        wakes.run();
        done
    }

    pub(crate) fn since_beginning(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.base)
    }

    pub(crate) fn instant(&self, at: Duration) -> Instant {
        match self.base.checked_add(at) {
            Some(instant) => instant,
            None => panic!("the world is {at:?} old, and its clock ends before that"),
        }
    }

    pub(crate) fn spawn(
        self: &Arc<Self>,
        queue_name: &'static str,
        name: String,
        side: Side,
        future: BoxFuture<'static, ()>,
    ) {
        let id = self.with(|state, _| {
            let id = state.event_queue.number();
            let waker = None;
            state.tasks.insert(id, Task { name, side, waker });
            id
        });
        let tracked = Tracked {
            future,
            entry: Entry {
                world: self.clone(),
                id,
            },
        };
        self.queue.spawn(queue_name, Box::pin(tracked));
    }

    /// Polls one ready task; `false` if there is none.
    pub(crate) fn step(&self) -> bool {
        let ready = self.queue.ready();
        if ready == 0 {
            return false;
        }
        let (index, disturbed) = self.with(|state, _| {
            if state.rng.seed().is_none() {
                return (0, None);
            }
            let wakers: Vec<&Waker> = state
                .connections
                .values()
                .flat_map(Connection::wakers)
                .chain(
                    state
                        .timers
                        .values()
                        .filter_map(|timer| timer.waker.as_ref()),
                )
                .collect();
            let whom = state.rng.spurious_wake(wakers.len());
            let disturbed = whom.map(|whom| wakers[whom].clone());
            (state.rng.random_below(ready), disturbed)
        });
        if let Some(task) = self.queue.pop_at(index) {
            task.run();
        }
        if let Some(waker) = disturbed {
            waker.wake();
        }
        true
    }

    /// Advances the clock to the next scheduled instant, at most to `limit`, and runs its events.
    pub(crate) fn advance(&self, limit: Duration) -> bool {
        self.with(|state, wakes| {
            let Some(next) = state
                .event_queue
                .next_instant()
                .filter(|next| *next <= limit)
            else {
                return false;
            };
            state.event_queue.advance_to(next);
            while let Some(happening) = state.event_queue.take_due() {
                match happening {
                    ScheduledEvent::TimerExpired(id) => {
                        if let Some(timer) = state.timers.get_mut(&id) {
                            timer.due = None;
                            wakes.call(timer.waker.take());
                        }
                    }
                    ScheduledEvent::Arrival(id, direction) => {
                        if let Some((one, mut context)) = state.connection(id, wakes) {
                            one.pipe(direction).arrived(&mut context);
                        }
                    }
                }
            }
            true
        })
    }

    /// Drops every task and every server.
    pub(crate) fn clear(self: &Arc<Self>) {
        // A server that is dropped may hold streams, and a task may hold the last use of a server.
        let hosts = self.with(|state, _| std::mem::take(&mut state.hosts));
        drop(hosts);
        let main = lock(&self.main.waker).take();
        drop(main);
        self.queue.clear();
        if self.running.load(Ordering::Acquire) {
            self.queue_main();
        }
    }
}

impl World {
    /// The waker of the main future, while it is being run.
    pub(crate) fn main_waker(&self) -> Option<Waker> {
        let main = lock(&self.main.waker).clone();
        main.filter(|_| self.running.load(Ordering::Acquire))
    }

    /// The main future's waker, if it is its turn.
    pub(crate) fn take_main_poll(&self) -> Option<Waker> {
        if !self.main.turn.swap(false, Ordering::AcqRel) {
            return None;
        }
        let waker = lock(&self.main.waker).clone();
        Some(waker.unwrap_or_else(|| Waker::noop().clone()))
    }

    /// Queues the main future.
    pub(crate) fn queue_main(self: &Arc<Self>) {
        // A turn that the main future before this one did not take.
        self.main.turn.store(false, Ordering::Release);
        if let Some(waker) = lock(&self.main.waker).clone() {
            waker.wake();
            return;
        }
        let world = Arc::downgrade(self);
        let place = std::future::poll_fn(move |cx| {
            let Some(world) = world.upgrade() else {
                return Poll::Ready(());
            };
            let before = lock(&world.main.waker).replace(cx.waker().clone());
            drop(before);
            world.main.turn.store(true, Ordering::Release);
            Poll::Pending
        });
        self.queue.spawn("main", Box::pin(place));
    }
}

/// A task that is registered while it lives, and is the current one while it is polled.
struct Tracked {
    future: BoxFuture<'static, ()>,
    entry: Entry,
}

struct Entry {
    world: Arc<World>,
    id: u64,
}

impl Future for Tracked {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        struct Leave<'a>(&'a World, Option<u64>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.with(|state, _| state.current = self.1);
            }
        }
        let this = &mut *self;
        let id = this.entry.id;
        let before = this.entry.world.with(|state, wakes| {
            if let Some(task) = state.tasks.get_mut(&id)
                && !task
                    .waker
                    .as_ref()
                    .is_some_and(|old| old.will_wake(cx.waker()))
            {
                wakes.register(&mut task.waker, cx.waker().clone());
            }
            state.current.replace(id)
        });
        let _leave = Leave(&this.entry.world, before);
        this.future.as_mut().poll(cx)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.world.with(|state, _| state.tasks.remove(&self.id));
    }
}
