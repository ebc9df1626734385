//! One request on its way: in the queue, and then in its exchange.

use std::{
    fmt,
    future::Future,
    mem::replace,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Instant,
};

use httpcore_core_primitives::{
    Alarm, BoxFuture, Error, Event, Kind, Lease, Phase, Reclaim, Request, Response, SendError,
    Terms, TimeoutKind, Timeouts, Trace,
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
    /// When the wait for a place ends. Set once, and so it never restarts.
    pool_deadline: Option<Instant>,
    /// When everything ends.
    deadline: Option<Instant>,
    attempts: u32,
    stage: Stage,
}

enum Stage {
    /// Not in the queue yet.
    Asking {
        request: Request,
        fresh: bool,
    },
    Queued {
        ticket: Ticket,
        alarm: Alarm,
        request: Request,
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
            pool_deadline: None,
            deadline: None,
            attempts: 0,
            stage: Stage::Asking {
                request,
                fresh: false,
            },
        }
    }

    /// The first poll: reads the request's own settings, and starts its clock.
    fn begin(&mut self, now: Instant) {
        let Stage::Asking { request, .. } = &self.stage else {
            return;
        };
        let settings = request.extensions();
        let timeouts = settings.get::<Timeouts>().copied();
        let timeouts = timeouts.unwrap_or(self.pool.config.timeouts);
        let trace = settings.get::<Trace>().cloned().unwrap_or_default();
        self.pool_deadline = deadline(now, timeouts.pool);
        self.deadline = deadline(now, timeouts.total);
        self.terms = DialTerms { timeouts, trace };
    }

    fn ask(&mut self, request: Request, fresh: bool) -> Result<Stage, Error> {
        let now = self.pool.runtime.now();
        let (id, answer) = self.pool.ask(&self.route, fresh, &self.terms, now);
        match answer {
            Some(answer) => self.answered(id, answer, request),
            None => {
                self.terms.trace.emit(|| (now, Event::Queued));
                Ok(Stage::Queued {
                    ticket: Ticket {
                        pool: Some(self.pool.clone()),
                        id,
                        dialling: false,
                    },
                    alarm: Alarm::new(self.pool.runtime.clone(), "waiting for a connection"),
                    request,
                })
            }
        }
    }

    /// The wait is over: begins the exchange.
    fn answered(
        &self,
        ticket: TicketId,
        answer: Result<Granted, Refusal>,
        request: Request,
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
        Ok(match connection {
            Connection::Exclusive(connection) => Stage::Exchanging {
                exchange: connection.exchange(request, terms),
                reused,
                shared: false,
            },
            Connection::Shared(connection) => Stage::Exchanging {
                exchange: connection.exchange(request, terms),
                reused,
                shared: true,
            },
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
                self.attempts += 1;
                // What killed one idle connection has as a rule killed its neighbours. A shared
                // one says by itself when it is of no more use.
                self.ask(*request, !shared)
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

    fn end(&mut self, result: Result<Response, Error>) -> Poll<Result<Response, Error>> {
        self.stage = Stage::Over;
        Poll::Ready(result.map_err(|error| {
            let error = error.with_attempts(self.attempts);
            self.tell(|| Event::Failed { error: &error });
            error
        }))
    }
}

impl Future for Sending {
    type Output = Result<Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let sending = self.get_mut();
        loop {
            let next = match &mut sending.stage {
                Stage::Asking { .. } => {
                    if sending.attempts == 0 {
                        sending.attempts = 1;
                        sending.begin(sending.pool.runtime.now());
                    }
                    let Stage::Asking { request, fresh } = replace(&mut sending.stage, Stage::Over)
                    else {
                        unreachable!("matched above")
                    };
                    sending.ask(request, fresh)
                }
                Stage::Queued { ticket, alarm, .. } => match ticket.poll(cx) {
                    Poll::Ready(answer) => {
                        let id = ticket.id;
                        let Stage::Queued { request, .. } =
                            replace(&mut sending.stage, Stage::Over)
                        else {
                            unreachable!("matched above")
                        };
                        sending.answered(id, answer, request)
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
                    Ok(response) => return sending.end(Ok(response)),
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
                Err(error) => return sending.end(Err(error)),
            }
        }
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Asking { .. } => "asking",
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
