//! One request on its way: in the queue, and then in its exchange.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Instant,
};

use http::StatusCode;
use httpcore_core_primitives::{
    BoxFuture, ConnectionInfo, ConnectionPolicy, Error, ErrorKind, ErrorPhase, ExchangeContext,
    Http2ErrorCode, IncludeConnectionInfo, Lease, LeaseOwner, MisdirectedRequest, Request,
    RequestSent, Response, SendError, TimeoutKind, Timeouts, Timer, Trace, TraceEvent,
    options::{self, deadline, earlier},
};

use crate::{
    config::Retry,
    retry::may_be_sent_again,
    route::Route,
    shell::{ConnectContext, Granted, Shared},
    state::{Arrival, Connection, Refusal, TicketId},
};

/// How often a request is sent at most.
const MAX_ATTEMPTS: u32 = 2;

/// How often, if the server said each time that it did not process it (RFC 9113 §8.7). A server that
/// ends its connections after twenty requests turns most of a hundred away which come at once, and
/// some of them several times.
const MAX_UNPROCESSED_RETRIES: u32 = 10;

/// A request on its way: the future of [`Pool::send`](crate::Pool::send).
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    pool: Arc<Shared>,
    route: Route,
    trace: Trace,
    /// Until it is handed to a connection, and again when that hands it back.
    request: Option<Request>,
    /// When the wait for a place ends. Set once, and so it never restarts.
    pool_deadline: Option<Instant>,
    /// When everything ends.
    deadline: Option<Instant>,
    attempts: u32,
    wish: ConnectionPolicy,
    /// It was sent again after a 421 already.
    was_misdirected: bool,
    /// Its turn among all, once it has stood in the queue.
    came: Option<Arrival>,
    /// What the response is to say of its connection, if it is to say it.
    info: Option<Box<ConnectionInfo>>,
    stage: Stage,
    /// Its wait in the queue. Not in the stage, which each request changes, and most never wait.
    queued: Option<Queued>,
}

struct Queued {
    ticket: Ticket,
    /// Once there is something to wait for.
    timer: Option<Box<dyn Timer>>,
}

enum Stage {
    /// Not polled yet.
    New,
    Queued,
    Exchanging {
        exchange: BoxFuture<'static, Result<Response, SendError>>,
        reused: bool,
        shared: bool,
    },
    Over,
}

impl ResponseFuture {
    pub(crate) fn new(pool: Arc<Shared>, route: Route, request: Request) -> Self {
        ResponseFuture {
            trace: Trace::none(),
            pool,
            route: route.preferred(),
            request: Some(request),
            pool_deadline: None,
            deadline: None,
            attempts: 0,
            wish: ConnectionPolicy::default(),
            was_misdirected: false,
            came: None,
            info: None,
            stage: Stage::New,
            queued: None,
        }
    }

    /// The first poll: reads the request's own settings, starts its clock, and asks.
    fn begin(&mut self) -> Result<(), Error> {
        if let Some(request) = &self.request
            && !request.extensions().is_empty()
        {
            let settings = request.extensions();
            self.trace = settings.get::<Trace>().cloned().unwrap_or_default();
            self.wish = settings
                .get::<ConnectionPolicy>()
                .copied()
                .unwrap_or_default();
        }
        let now = self.pool.runtime.now();
        let timeouts = timeouts(&self.pool, self.request.as_ref());
        self.pool_deadline = deadline(now, timeouts.acquire());
        self.deadline = deadline(now, timeouts.total());
        self.ask(now)
    }

    fn ask(&mut self, now: Instant) -> Result<(), Error> {
        self.attempts += 1;
        let mut came = self.came;
        let terms = || ConnectContext {
            timeouts: timeouts(&self.pool, self.request.as_ref()),
            trace: self.trace.clone(),
        };
        let (id, answer) = self.pool.ask(&self.route, self.wish, &mut came, terms, now);
        self.came = came;
        match answer {
            Some(answer) => self.answered(id, answer),
            None => {
                self.tell(|| TraceEvent::WaitingForConnection);
                let ticket = Ticket {
                    pool: Some(self.pool.clone()),
                    id,
                    dialling: false,
                };
                let timer = None;
                self.queued = Some(Queued { ticket, timer });
                self.stage = Stage::Queued;
                Ok(())
            }
        }
    }

    /// The wait is over: begins the exchange.
    fn answered(
        &mut self,
        ticket: TicketId,
        answer: Result<Granted, Refusal>,
    ) -> Result<(), Error> {
        let Granted { connection, reused } = match answer {
            Ok(granted) => granted,
            Err(Refusal::Dial(error)) => return Err(error),
            Err(Refusal::QueueFull) => {
                return Err(Error::new(
                    ErrorKind::QueueFull,
                    ErrorPhase::Acquire,
                    RequestSent::None,
                ));
            }
            Err(Refusal::Closed) => {
                return Err(Error::new(
                    ErrorKind::PoolClosed,
                    ErrorPhase::Acquire,
                    RequestSent::None,
                ));
            }
        };
        let owner: Weak<dyn LeaseOwner> = self.pool.me.clone();
        let terms = ExchangeContext::new(Lease::new(ticket.lease(), owner))
            .with_timeouts(timeouts(&self.pool, self.request.as_ref()))
            .with_deadline(self.deadline)
            .with_attempt(self.attempts)
            .with_trace(self.trace.clone());
        self.tell(|| TraceEvent::ConnectionAcquired { reused });
        let asks_for_info = self.request.as_ref().is_some_and(|request| {
            request
                .extensions()
                .get::<IncludeConnectionInfo>()
                .is_some()
        });
        if asks_for_info {
            self.info = Some(Box::new(match &connection {
                Connection::Exclusive(connection) => connection.info(),
                Connection::Shared(connection) => connection.info(),
            }));
        }
        // Here, and not by `expect`: it would be moved once more for each.
        let (exchange, shared) = match (connection, self.request.take()) {
            (Connection::Exclusive(connection), Some(request)) => {
                (connection.exchange(request, terms), false)
            }
            (Connection::Shared(connection), Some(request)) => {
                (connection.exchange(request, terms), true)
            }
            (_, None) => unreachable!("a request is handed over once an attempt"),
        };
        self.stage = Stage::Exchanging {
            exchange,
            reused,
            shared,
        };
        Ok(())
    }

    /// The exchange failed: the request is sent again, or the error is the caller's.
    fn failed(&mut self, failure: SendError, reused: bool, shared: bool) -> Result<(), Error> {
        let most = if shared && failure.error.sent() == RequestSent::None {
            MAX_UNPROCESSED_RETRIES
        } else {
            MAX_ATTEMPTS
        };
        let mut again = self.attempts < most
            && may_be_sent_again(self.pool.config.retry, &failure, reused, shared);
        // RFC 9113 §7: over HTTP/2 it would fail again.
        if failure.error.http2_error_code() == Some(Http2ErrorCode::HTTP_1_1_REQUIRED) {
            match self.route.demand_http1() {
                Some(route) => self.route = route,
                None => again = false,
            }
        }
        let error = failure.error.with_reused(reused);
        match failure.request {
            Some(request) if again => {
                self.tell(|| TraceEvent::Retried { error: &error });
                self.pool.lock().state.count_retry();
                self.request = Some(*request);
                // What killed one idle connection has as a rule killed its neighbours. A shared
                // one says by itself when it is of no more use.
                self.wish.new_connection |= !shared;
                self.ask(self.pool.runtime.now())
            }
            _ => Err(error),
        }
    }

    /// RFC 9110 §15.5.20: a 421 may be answered with the same request on another connection, whatever
    /// its method. That is done once; the second one is the caller's. Gives the response back unless
    /// the request is on its way again.
    fn misdirected(&mut self, mut response: Response) -> Result<Option<Response>, Error> {
        let request = response
            .extensions_mut()
            .remove::<MisdirectedRequest>()
            .and_then(|misdirected| misdirected.take());
        let may = !self.was_misdirected && self.pool.config.retry != Retry::Never;
        let Some(request) = request.filter(|_| may) else {
            return Ok(Some(response));
        };
        // Its connection, or its stream, ends here.
        drop(response);
        self.was_misdirected = true;
        let error = Error::new(ErrorKind::Protocol, ErrorPhase::Head, RequestSent::Full)
            .with_message("the server is not the one for this request (421)")
            .with_sent(RequestSent::Full)
            .with_response_started(true)
            .with_attempts(self.attempts);
        self.tell(|| TraceEvent::Retried { error: &error });
        self.pool.lock().state.count_retry();
        self.request = Some(*request);
        self.wish.new_connection = true;
        self.ask(self.pool.runtime.now()).map(|()| None)
    }

    /// Which time limit ended the wait.
    fn too_late(&self, dialling: bool) -> Error {
        let phase = if dialling {
            ErrorPhase::Connect
        } else {
            ErrorPhase::Acquire
        };
        let now = self.pool.runtime.now();
        let come = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if !come(self.deadline) && !come(self.pool_deadline) {
            // Only the timers of a runtime that has ended are ready before their time.
            return Error::new(ErrorKind::RuntimeShutdown, phase, RequestSent::None);
        }
        let total = dialling || come(self.deadline);
        let limit = if total {
            TimeoutKind::Total
        } else {
            TimeoutKind::Acquire
        };
        Error::new(ErrorKind::Timeout(limit), phase, RequestSent::None)
    }

    fn tell<'a>(&self, event: impl FnOnce() -> TraceEvent<'a>) {
        self.trace.emit(|| (self.pool.runtime.now(), event()));
    }

    fn fail(&mut self, error: Error) -> Error {
        self.stage = Stage::Over;
        let error = error.with_attempts(self.attempts);
        self.tell(|| TraceEvent::Failed { error: &error });
        error
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let sending = self.get_mut();
        loop {
            let next = match &mut sending.stage {
                Stage::New => sending.begin(),
                Stage::Queued => {
                    let Some(Queued { ticket, timer }) = &mut sending.queued else {
                        unreachable!("whoever is in the queue has a ticket")
                    };
                    match ticket.poll(cx) {
                        Poll::Ready(answer) => {
                            let id = ticket.id;
                            sending.queued = None;
                            sending.answered(id, answer)
                        }
                        Poll::Pending => {
                            // Woken by the pool: when granted or refused, and when a connection
                            // that was being made for it no longer is.
                            let dialling = ticket.dialling;
                            let limit = if dialling {
                                sending.deadline
                            } else {
                                earlier(sending.pool_deadline, sending.deadline)
                            };
                            let Some(limit) = limit else {
                                *timer = None;
                                return Poll::Pending;
                            };
                            let runtime = &sending.pool.runtime;
                            let timer = timer
                                .get_or_insert_with(|| runtime.timer("waiting for a connection"));
                            std::task::ready!(timer.poll_until(cx, limit));
                            sending.queued = None;
                            Err(sending.too_late(dialling))
                        }
                    }
                }
                Stage::Exchanging {
                    exchange,
                    reused,
                    shared,
                } => match std::task::ready!(exchange.as_mut().poll(cx)) {
                    Ok(response) => {
                        sending.stage = Stage::Over;
                        let response = if response.status() == StatusCode::MISDIRECTED_REQUEST {
                            sending.misdirected(response)
                        } else {
                            Ok(Some(response))
                        };
                        match response {
                            Ok(Some(mut response)) => {
                                if let Some(info) = sending.info.take() {
                                    response.extensions_mut().insert(*info);
                                }
                                return Poll::Ready(Ok(response));
                            }
                            Ok(None) => Ok(()),
                            Err(error) => Err(error),
                        }
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
            if let Err(error) = next {
                return Poll::Ready(Err(sending.fail(error)));
            }
        }
    }
}

/// The request's own limits over the pool's. Not kept, since they take 128 bytes.
#[inline]
fn timeouts(pool: &Shared, request: Option<&Request>) -> Timeouts {
    let own = request.and_then(|request| request.extensions().get());
    options::effective(&pool.config.timeouts, own)
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::New => "new",
            Stage::Queued => "queued",
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
