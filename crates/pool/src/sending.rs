//! One request on its way: in the queue, and then in its exchange.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Instant,
};

use httpcore_core_primitives::{
    Alarm, BoxFuture, ConnectionUse, Error, Event, Kind, Lease, Phase, Reclaim, Request, Response,
    SendError, Terms, TimeoutKind, Timeouts, Trace,
    options::{deadline, earlier},
};

use crate::{
    retry::may_be_sent_again,
    route::Route,
    shell::{DialTerms, Granted, Shared},
    state::{Connection, Refusal, TicketId},
};

/// How often a request is sent at most.
const MOST_ATTEMPTS: u32 = 2;

/// A request on its way: the future of [`Pool::send`](crate::Pool::send).
#[must_use = "futures do nothing unless polled"]
pub struct Sending {
    pool: Arc<Shared>,
    route: Route,
    terms: DialTerms,
    /// Until it is handed to a connection.
    request: Option<Request>,
    /// When the wait for a place ends. Set once, and so it never restarts.
    pool_deadline: Option<Instant>,
    /// When everything ends.
    deadline: Option<Instant>,
    attempts: u32,
    wish: ConnectionUse,
    stage: Stage,
}

enum Stage {
    /// Not polled yet.
    New,
    Queued {
        ticket: Ticket,
        alarm: Alarm,
    },
    Exchanging {
        exchange: BoxFuture<'static, Result<Response, SendError>>,
        reused: bool,
        shared: bool,
    },
    Over,
}

impl Sending {
    pub(crate) fn new(pool: Arc<Shared>, route: Route, request: Request) -> Self {
        Sending {
            terms: DialTerms::default(),
            pool,
            route,
            request: Some(request),
            pool_deadline: None,
            deadline: None,
            attempts: 0,
            wish: ConnectionUse::default(),
            stage: Stage::New,
        }
    }

    /// The first poll: reads the request's own settings, starts its clock, and asks.
    fn begin(&mut self) -> Result<Stage, Error> {
        let settings = self.request.as_ref().map(http::Request::extensions);
        let timeouts = settings.and_then(|settings| settings.get::<Timeouts>().copied());
        let trace = settings.and_then(|settings| settings.get::<Trace>().cloned());
        let wish = settings.and_then(|settings| settings.get::<ConnectionUse>().copied());
        self.wish = wish.unwrap_or_default();
        self.terms.timeouts = timeouts.unwrap_or(self.pool.config.timeouts);
        self.terms.trace = trace.unwrap_or_default();
        let now = self.pool.runtime.now();
        self.pool_deadline = deadline(now, self.terms.timeouts.pool);
        self.deadline = deadline(now, self.terms.timeouts.total);
        self.ask(now)
    }

    fn ask(&mut self, now: Instant) -> Result<Stage, Error> {
        self.attempts += 1;
        let (id, answer) = self.pool.ask(&self.route, self.wish, &self.terms, now);
        match answer {
            Some(answer) => self.answered(id, answer),
            None => {
                self.tell(|| Event::Queued);
                Ok(Stage::Queued {
                    ticket: Ticket {
                        pool: Some(self.pool.clone()),
                        id,
                        dialling: false,
                    },
                    alarm: Alarm::new(self.pool.runtime.clone(), "waiting for a connection"),
                })
            }
        }
    }

    /// The wait is over: begins the exchange.
    fn answered(
        &mut self,
        ticket: TicketId,
        answer: Result<Granted, Refusal>,
    ) -> Result<Stage, Error> {
        let Granted { connection, reused } = match answer {
            Ok(granted) => granted,
            Err(Refusal::Dial(error)) => return Err(error),
            Err(Refusal::QueueFull) => return Err(Error::new(Kind::QueueFull, Phase::Pool)),
            Err(Refusal::Closed) => return Err(Error::new(Kind::PoolClosed, Phase::Pool)),
        };
        let owner: Weak<dyn Reclaim> = self.pool.me.clone();
        let terms = Terms {
            lease: Lease::new(ticket.lease(), owner),
            timeouts: self.terms.timeouts,
            deadline: self.deadline,
            trace: self.terms.trace.clone(),
        };
        self.tell(|| Event::Granted { reused });
        let request = self.request.take().expect("handed over once an attempt");
        let (exchange, shared) = match connection {
            Connection::Exclusive(connection) => (connection.exchange(request, terms), false),
            Connection::Shared(connection) => (connection.exchange(request, terms), true),
        };
        Ok(Stage::Exchanging {
            exchange,
            reused,
            shared,
        })
    }

    /// The exchange failed: the request is sent again, or the error is the caller's.
    fn failed(&mut self, failure: SendError, reused: bool, shared: bool) -> Result<Stage, Error> {
        let again = self.attempts < MOST_ATTEMPTS
            && may_be_sent_again(self.pool.config.retry, &failure, reused, shared);
        let error = failure.error.with_reused(reused);
        match failure.request {
            Some(request) if again => {
                self.tell(|| Event::Retried { error: &error });
                self.pool.lock().state.count_retry();
                self.request = Some(*request);
                // What killed one idle connection has as a rule killed its neighbours. A shared
                // one says by itself when it is of no more use.
                self.wish.fresh |= !shared;
                self.ask(self.pool.runtime.now())
            }
            _ => Err(error),
        }
    }

    /// Which time limit ended the wait.
    fn too_late(&self, dialling: bool) -> Error {
        let phase = if dialling {
            Phase::Connect
        } else {
            Phase::Pool
        };
        let total = self
            .deadline
            .is_some_and(|deadline| dialling || deadline <= self.pool.runtime.now());
        let limit = if total {
            TimeoutKind::Total
        } else {
            TimeoutKind::Pool
        };
        Error::new(Kind::Timeout(limit), phase)
    }

    fn tell<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        self.terms.trace.emit(|| (self.pool.runtime.now(), event()));
    }

    fn fail(&mut self, error: Error) -> Error {
        self.stage = Stage::Over;
        let error = error.with_attempts(self.attempts);
        self.tell(|| Event::Failed { error: &error });
        error
    }
}

impl Future for Sending {
    type Output = Result<Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let sending = self.get_mut();
        loop {
            let next = match &mut sending.stage {
                Stage::New => sending.begin(),
                Stage::Queued { ticket, alarm } => match ticket.poll(cx) {
                    Poll::Ready(answer) => {
                        let id = ticket.id;
                        sending.answered(id, answer)
                    }
                    Poll::Pending => {
                        // Woken by the pool: when granted or refused, and when a connection that
                        // was being made for it no longer is.
                        let dialling = ticket.dialling;
                        let limit = if dialling {
                            sending.deadline
                        } else {
                            earlier(sending.pool_deadline, sending.deadline)
                        };
                        std::task::ready!(alarm.poll_until(cx, limit));
                        Err(sending.too_late(dialling))
                    }
                },
                Stage::Exchanging {
                    exchange,
                    reused,
                    shared,
                } => match std::task::ready!(exchange.as_mut().poll(cx)) {
                    Ok(response) => {
                        sending.stage = Stage::Over;
                        return Poll::Ready(Ok(response));
                    }
                    Err(failure) => {
                        let (reused, shared) = (*reused, *shared);
                        // The lease ends here at the latest: its place may be the next one.
                        sending.stage = Stage::Over;
                        sending.failed(failure, reused, shared)
                    }
                },
                Stage::Over => panic!("polled after it was ready"),
            };
            match next {
                Ok(stage) => sending.stage = stage,
                Err(error) => return Poll::Ready(Err(sending.fail(error))),
            }
        }
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::New => "new",
            Stage::Queued { .. } => "queued",
            Stage::Exchanging { .. } => "exchanging",
            Stage::Over => "over",
        };
        f.debug_struct("Sending")
            .field("route", &format_args!("{}", self.route))
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}

/// A wait in the queue. Dropped, it leaves the queue; what it was granted in the meantime goes to
/// the next.
struct Ticket {
    /// None once the wait is over.
    pool: Option<Arc<Shared>>,
    id: TicketId,
    dialling: bool,
}

impl Ticket {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Granted, Refusal>> {
        let Some(pool) = &self.pool else {
            return Poll::Pending;
        };
        match pool.look(self.id, cx.waker()) {
            Ok(answer) => {
                self.pool = None;
                Poll::Ready(answer)
            }
            Err(dialling) => {
                self.dialling = dialling;
                Poll::Pending
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.leave(self.id);
        }
    }
}
