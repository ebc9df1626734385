//! The maintenance task, which handles what expires: connections that have been idle for too
//! long, that are too old, or that the peer has closed; shared ones that admit more or less than
//! before; attempts to connect that have had their time.
//!
//! It begins when there first is something to handle, sleeps until something expires or is noted, and
//! ends when there is no connection left. A connection that is granted and returned again and again
//! neither wakes it nor moves its timer: it finds a later expiry when it wakes for the earlier one.

use std::{
    future::Future,
    mem::replace,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Instant,
};

use httpcore_core_primitives::{
    ExclusiveConnection, SharedConnection, StreamLimit, Timer, options::earlier,
};

use crate::{
    inner::{Locked, PoolInner},
    lease::ConnHandle,
    state::{ConnId, Input},
};

/// When the maintenance task runs next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NextWake {
    /// There is no such task.
    NotRunning,
    /// At this time at the latest, or only when it is woken.
    At(Option<Instant>),
}

/// The connections that have called their idle wakers, and the waker of the maintenance task. Has a
/// lock of its own, under which no other code runs.
#[derive(Default)]
pub(crate) struct Notifier(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    conns: Vec<ConnId>,
    waker: Option<Waker>,
}

impl Notifier {
    /// A connection called its idle waker.
    pub(crate) fn note(&self, conn: ConnId) {
        let waker = {
            let mut noted = self.lock();
            noted.conns.push(conn);
            noted.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes the maintenance task.
    pub(crate) fn notify(&self) {
        if let Some(waker) = self.take_waker() {
            waker.wake();
        }
    }

    /// Takes the waker of the maintenance task.
    pub(crate) fn take_waker(&self) -> Option<Waker> {
        self.lock().waker.take()
    }

    /// Leaves a waker, and takes what was noted. What is noted later wakes.
    fn register(&self, waker: &Waker) -> Vec<ConnId> {
        let waker = Some(waker.clone());
        let (conns, _old) = {
            let mut noted = self.lock();
            let old = replace(&mut noted.waker, waker);
            (std::mem::take(&mut noted.conns), old)
        };
        conns
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn start(pool: &PoolInner) {
    let maintenance = Maintenance {
        timer: None,
        notifier: pool.notifier.clone(),
        pool: pool.me.clone(),
        over: false,
    };
    pool.runtime
        .spawn("pool maintenance", Box::pin(maintenance));
}

struct Maintenance {
    pool: Weak<PoolInner>,
    notifier: Arc<Notifier>,
    /// Not a `LazyTimer`: that keeps its runtime alive, and this task belongs to the runtime.
    timer: Option<Box<dyn Timer>>,
    over: bool,
}

impl Future for Maintenance {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        loop {
            // First the waker, then the work: what happens after the work wakes.
            let noted = task.notifier.register(cx.waker());
            // Woken once more when the pool is dropped, by the pool.
            let Some(pool) = task.pool.upgrade() else {
                task.over = true;
                return Poll::Ready(());
            };
            let NextWake::At(until) = pool.run_maintenance(&noted) else {
                task.over = true;
                return Poll::Ready(());
            };
            let Some(until) = until else {
                task.timer = None;
                return Poll::Pending;
            };
            let runtime = &pool.runtime;
            let timer = task
                .timer
                .get_or_insert_with(|| runtime.timer("idle connections"));
            std::task::ready!(timer.poll_until(cx, until));
            // The timers of a runtime that has ended are ready before their time, and this task,
            // which was being polled at that moment, would loop for ever.
            if runtime.now() < until {
                return Poll::Ready(());
            }
        }
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        // The runtime has dropped it: the next connection that becomes idle starts another.
        if !self.over
            && let Some(pool) = self.pool.upgrade()
        {
            pool.lock().maintenance = NextWake::NotRunning;
        }
    }
}

/// A connection that has called its idle waker, taken out to be asked.
enum Check {
    Exclusive(Box<dyn ExclusiveConnection>),
    Shared(Arc<dyn SharedConnection>),
}

/// What it answered.
enum Answer {
    Exclusive(Box<dyn ExclusiveConnection>, bool),
    Limit(StreamLimit),
}

impl PoolInner {
    /// Closes what has expired and what has ended. Returns until when the task may sleep.
    fn run_maintenance(&self, noted: &[ConnId]) -> NextWake {
        let checks = if noted.is_empty() {
            Vec::new()
        } else {
            self.lock().take_checks(noted)
        };
        // Connections are asked without the lock, and dropped without it.
        let mut asked = Vec::new();
        let answers: Vec<_> = checks
            .into_iter()
            .filter_map(|(conn, handle, check)| {
                let answer = match check {
                    Check::Exclusive(mut connection) => {
                        let is_idle = handle.ask(&mut *connection).is_pending();
                        Answer::Exclusive(connection, is_idle)
                    }
                    Check::Shared(connection) => Answer::Limit(handle.ask_limit(&*connection)?),
                };
                asked.push(handle);
                Some((conn, answer))
            })
            .collect();
        let now = self.runtime.now();
        let (next, _waker) = self.with_state(now, |locked, effects| {
            for (conn, answer) in answers {
                let input = match answer {
                    Answer::Exclusive(connection, is_idle) => Input::Checked {
                        conn,
                        connection,
                        is_idle,
                    },
                    Answer::Limit(limit) => Input::StreamLimit { conn, limit },
                };
                locked.state.handle(input, now, effects);
            }
            locked.state.handle(Input::Tick, now, effects);
            locked.shrink();
            // The next run is computed from what there is now.
            locked.state.timer_change();
            locked.maintenance = if locked.state.needs_maintenance() {
                let next = earlier(locked.state.next_tick(), locked.next_round(self, now));
                NextWake::At(next)
            } else {
                NextWake::NotRunning
            };
            match locked.maintenance {
                NextWake::NotRunning => (NextWake::NotRunning, self.notifier.take_waker()),
                NextWake::At(_) => (locked.maintenance, None),
            }
        });
        asked.iter().for_each(|handle| handle.note_early_wake());
        next
    }
}

impl Locked {
    /// Takes out those of `conns` that are idle, and the handles of those that are shared.
    fn take_checks(&mut self, conns: &[ConnId]) -> Vec<(ConnId, Arc<ConnHandle>, Check)> {
        let mut checks = Vec::new();
        for &conn in conns {
            let Some(handle) = self.handle_of(conn) else {
                continue;
            };
            let check = match self.state.shared(conn) {
                Some(connection) => Some(Check::Shared(connection.clone())),
                None => self.state.take_to_check(conn).map(Check::Exclusive),
            };
            checks.extend(check.map(|check| (conn, handle, check)));
        }
        checks
    }

    /// A connection in use is idle in a moment, as a rule, and would have to wake the task if that
    /// slept until its lifetime ends. So while requests come, the task runs as often as something
    /// might have been idle for too long; once none have come, only for what is known.
    fn next_round(&mut self, pool: &PoolInner, now: Instant) -> Option<Instant> {
        let granted = self.state.stats().granted;
        let before = replace(&mut self.granted_before, granted);
        let limit = pool.config.idle_timeout.filter(|_| granted != before)?;
        now.checked_add(limit)
    }
}
