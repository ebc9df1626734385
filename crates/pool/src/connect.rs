//! One attempt to connect, in a task of its own.

use std::{
    future::Future,
    mem::take,
    pin::Pin,
    sync::Weak,
    task::{Context, Poll},
    time::Duration,
};

use httpcore_core_primitives::{
    BoxFuture, Error, ErrorKind, ErrorPhase, Established, TimeoutKind, Timer, TraceEvent,
};

use crate::{
    inner::PoolInner, pool::ConnectContext, preconnect::Begun, record::ConnectRecord, route::Route,
    state::ConnId,
};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The task: ends when the connection is made or cannot be, or when it is not wanted any more. Its slot
/// is free afterwards, whatever becomes of it.
pub(crate) struct Connecting {
    // Before the guard: what the attempt holds is gone when its slot is free.
    step: Step,
    /// How many attempts have failed.
    failed: u32,
    route: Route,
    context: ConnectContext,
    /// If it began for no request.
    begun: Option<Begun>,
    guard: SlotGuard,
}

impl Connecting {
    pub(crate) fn new(
        pool: Weak<PoolInner>,
        conn: ConnId,
        route: Route,
        mut context: ConnectContext,
        begun: Option<Begun>,
    ) -> Self {
        context.record = ConnectRecord::for_route(&route);
        Connecting {
            step: Step::New,
            failed: 0,
            route,
            context,
            begun,
            guard: SlotGuard {
                pool,
                conn,
                reported: false,
            },
        }
    }

    pub(crate) fn start(self: Box<Self>, pool: &PoolInner) {
        pool.runtime.spawn("connect", Pin::from(self));
    }
}

enum Step {
    /// Not begun yet.
    New,
    Attempt(BoxFuture<'static, Result<Established, Error>>),
    /// Between two attempts, until then. Not a `LazyTimer`: that keeps its runtime alive, and this
    /// task belongs to the runtime.
    Pause(std::time::Instant, Box<dyn Timer>),
}

impl Step {
    fn begin(pool: &PoolInner, route: &Route, context: &ConnectContext) -> Self {
        let trace = &context.trace;
        trace.emit(|| (pool.runtime.now(), TraceEvent::ConnectStarted));
        context.phase.set(ErrorPhase::Connect);
        Step::Attempt(pool.connect.connect(route, context))
    }
}

impl Future for Connecting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        loop {
            // Woken when the pool is dropped, or abandons this attempt; else by the attempt itself.
            let wanted = task.guard.pool.upgrade();
            let wanted =
                wanted.filter(|pool| pool.register_connect_waker(task.guard.conn, cx.waker()));
            let Some(pool) = wanted else {
                task.guard.reported = true;
                return Poll::Ready(());
            };
            if let Step::New = task.step {
                task.step = Step::begin(&pool, &task.route, &task.context);
            }
            let result = match &mut task.step {
                Step::New => unreachable!("it has just begun"),
                Step::Attempt(attempt) => {
                    // What is dropped while it is polled may be the last handle of the pool.
                    drop(pool);
                    std::task::ready!(attempt.as_mut().poll(cx))
                }
                Step::Pause(until, timer) => {
                    std::task::ready!(timer.poll_until(cx, *until));
                    task.step = Step::begin(&pool, &task.route, &task.context);
                    continue;
                }
            };
            if let Err(error) = &result
                && let Some(pool) = task.guard.pool.upgrade()
            {
                let now = pool.runtime.now();
                let event = || (now, TraceEvent::ConnectFailed { error });
                task.context.trace.emit(event);
                if let Some(pause) = task.pause_after(&pool, error) {
                    pool.lock().state.count_connect_retry();
                    task.failed += 1;
                    task.step = match now.checked_add(pause).filter(|_| !pause.is_zero()) {
                        Some(until) => Step::Pause(until, pool.runtime.timer("connect again")),
                        None => Step::begin(&pool, &task.route, &task.context),
                    };
                    continue;
                }
            }
            if let Some(begun) = &task.begun {
                begun.ended(result.as_ref().err());
            }
            task.guard.report(result, take(&mut task.context.record));
            return Poll::Ready(());
        }
    }
}

impl Connecting {
    /// How long to wait before another attempt, if there is to be one.
    fn pause_after(&self, pool: &PoolInner, error: &Error) -> Option<Duration> {
        let may_pass = matches!(
            error.kind(),
            ErrorKind::Connect
                | ErrorKind::Resolve
                | ErrorKind::Timeout(TimeoutKind::Connect | TimeoutKind::Resolve)
        );
        let again = self.failed < pool.config.connect_retries
            && may_pass
            && pool.lock().state.is_claimed(self.guard.conn);
        again.then(|| pause(self.failed))
    }
}

/// 0, 0.5, 1, 2, 4 … s.
fn pause(failed: u32) -> Duration {
    let half = Duration::from_millis(500);
    match failed.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => 2_u32
            .checked_pow(doublings)
            .and_then(|times| half.checked_mul(times))
            .map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE)),
    }
}

/// Owns the slot of an attempt to connect, until the pool knows what became of it.
struct SlotGuard {
    pool: Weak<PoolInner>,
    conn: ConnId,
    reported: bool,
}

impl SlotGuard {
    fn report(&mut self, result: Result<Established, Error>, record: ConnectRecord) {
        self.reported = true;
        if let Some(pool) = self.pool.upgrade() {
            pool.connected(self.conn, result, record);
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        if !self.reported
            && let Some(pool) = self.pool.upgrade()
        {
            pool.connect_lost(self.conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_never_overflow() {
        let milliseconds: Vec<_> = (0..9).map(|failed| pause(failed).as_millis()).collect();
        assert_eq!(
            milliseconds,
            [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
        );
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
