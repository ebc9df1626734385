//! A connection being made, in a task of its own.

use std::{
    future::Future,
    pin::Pin,
    sync::Weak,
    task::{Context, Poll},
    time::Duration,
};

use httpcore_core_primitives::{
    BoxFuture, Error, ErrorKind, ErrorPhase, Established, RequestSent, TimeoutKind, Timer,
    TraceEvent,
};

use crate::{
    route::Route,
    shell::{ConnectContext, Shared},
    state::PlaceId,
};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The task: ends when the connection is made or cannot be, or when nobody wants it any more. Its
/// place is given back whatever becomes of it.
pub(crate) struct Dialling {
    // Before the guard: what the dial holds is gone when its place is free.
    step: Step,
    /// How many attempts have failed.
    failed: u32,
    route: Route,
    terms: ConnectContext,
    guard: Guard,
}

impl Dialling {
    pub(crate) fn new(
        pool: Weak<Shared>,
        place: PlaceId,
        route: Route,
        terms: ConnectContext,
    ) -> Self {
        Dialling {
            step: Step::New,
            failed: 0,
            route,
            terms,
            guard: Guard {
                pool,
                place,
                reported: false,
            },
        }
    }

    pub(crate) fn start(mut self: Box<Self>, pool: &Shared) {
        self.step = Step::begin(pool, &self.route, &self.terms);
        pool.runtime.spawn("dial", Pin::from(self));
    }
}

enum Step {
    /// Ordered, and not begun yet.
    New,
    Attempt(BoxFuture<'static, Result<Established, Error>>),
    /// Between two attempts, until then. Not an `LazyTimer`: that keeps its runtime alive, and this
    /// task belongs to the runtime.
    Pause(std::time::Instant, Box<dyn Timer>),
}

impl Step {
    fn begin(pool: &Shared, route: &Route, terms: &ConnectContext) -> Self {
        let trace = &terms.trace;
        trace.emit(|| (pool.runtime.now(), TraceEvent::ConnectStarted));
        Step::Attempt(pool.dial.connect(route, terms))
    }
}

impl Future for Dialling {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        loop {
            // Woken when the pool is dropped, or gives this attempt up; else by the dial itself.
            let wanted = task.guard.pool.upgrade();
            let wanted = wanted.filter(|pool| pool.attend(task.guard.place, cx.waker()));
            let Some(pool) = wanted else {
                task.guard.reported = true;
                return Poll::Ready(());
            };
            let outcome = match &mut task.step {
                Step::New => {
                    task.step = Step::begin(&pool, &task.route, &task.terms);
                    continue;
                }
                Step::Attempt(dial) => {
                    // What is dropped while it is polled may be the pool's last handle.
                    drop(pool);
                    std::task::ready!(dial.as_mut().poll(cx))
                }
                Step::Pause(until, timer) => {
                    std::task::ready!(timer.poll_until(cx, *until));
                    task.step = Step::begin(&pool, &task.route, &task.terms);
                    continue;
                }
            };
            if let Err(error) = &outcome
                && let Some(pool) = task.guard.pool.upgrade()
            {
                let now = pool.runtime.now();
                let event = || (now, TraceEvent::ConnectFailed { error });
                task.terms.trace.emit(event);
                if let Some(pause) = task.pause_after(&pool, error) {
                    pool.lock().state.count_dial_retry();
                    task.failed += 1;
                    task.step = match now.checked_add(pause).filter(|_| !pause.is_zero()) {
                        Some(until) => Step::Pause(until, pool.runtime.timer("connect again")),
                        None => Step::begin(&pool, &task.route, &task.terms),
                    };
                    continue;
                }
            }
            task.guard.report(outcome);
            return Poll::Ready(());
        }
    }
}

impl Dialling {
    /// How long to wait before another attempt, if there is to be one.
    fn pause_after(&self, pool: &Shared, error: &Error) -> Option<Duration> {
        let may_pass = matches!(
            error.kind(),
            ErrorKind::Connect
                | ErrorKind::Resolve
                | ErrorKind::Timeout(TimeoutKind::Connect | TimeoutKind::Resolve)
        );
        let again = self.failed < pool.config.connect_retries
            && may_pass
            && pool.lock().state.is_attended(self.guard.place);
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

/// Owns the place of a connection being made, until the pool has been told what became of it.
struct Guard {
    pool: Weak<Shared>,
    place: PlaceId,
    reported: bool,
}

impl Guard {
    fn report(&mut self, outcome: Result<Established, Error>) {
        self.reported = true;
        if let Some(pool) = self.pool.upgrade() {
            pool.dialled(self.place, outcome);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.reported {
            self.report(Err(Error::new(
                ErrorKind::RuntimeShutdown,
                ErrorPhase::Connect,
                RequestSent::None,
            )
            .with_message("the runtime dropped the attempt to connect")));
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
