//! A connection being made, in a task of its own.

use std::{
    future::Future,
    pin::Pin,
    sync::Weak,
    task::{Context, Poll},
};

use httpcore_core_primitives::{BoxFuture, Error, Established, Event, Kind, Phase};

use crate::{
    route::Route,
    shell::{DialTerms, Shared},
    state::PlaceId,
};

/// A dial that is to begin. Its place is given back whatever becomes of it.
pub(crate) struct Order {
    route: Route,
    terms: DialTerms,
    guard: Guard,
}

impl Order {
    pub(crate) fn new(pool: Weak<Shared>, place: PlaceId, route: Route, terms: DialTerms) -> Self {
        let guard = Guard {
            pool,
            place,
            reported: false,
        };
        Order {
            route,
            terms,
            guard,
        }
    }

    pub(crate) fn start(self, pool: &Shared) {
        let trace = &self.terms.trace;
        trace.emit(|| (pool.runtime.now(), Event::DialStarted));
        let task = Dialling {
            dial: pool.dial.dial(&self.route, &self.terms),
            terms: self.terms,
            guard: self.guard,
        };
        pool.runtime.spawn("dial", Box::pin(task));
    }
}

/// The task: ends when the connection is made or cannot be, or when nobody wants it any more.
struct Dialling {
    // Before the guard: what the dial holds is gone when its place is free.
    dial: BoxFuture<'static, Result<Established, Error>>,
    terms: DialTerms,
    guard: Guard,
}

impl Future for Dialling {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        // Woken when the pool is dropped, or gives this attempt up; else by the dial itself.
        let wanted = task
            .guard
            .pool
            .upgrade()
            .is_some_and(|pool| pool.attend(task.guard.place, cx.waker()));
        if !wanted {
            task.guard.reported = true;
            return Poll::Ready(());
        }
        let outcome = std::task::ready!(task.dial.as_mut().poll(cx));
        if let Err(error) = &outcome
            && let Some(pool) = task.guard.pool.upgrade()
        {
            let event = || (pool.runtime.now(), Event::DialFailed { error });
            task.terms.trace.emit(event);
        }
        task.guard.report(outcome);
        Poll::Ready(())
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
            self.report(Err(Error::new(Kind::RuntimeGone, Phase::Connect)
                .with_message("the runtime dropped the attempt to connect")));
        }
    }
}
