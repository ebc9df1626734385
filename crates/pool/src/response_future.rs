//! One request: in the queue, in its exchange, and sent again.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use http::{StatusCode, header};
use httpcore_core_primitives::{
    BoxFuture, CloseReason, ConnectionInfo, ConnectionPolicy, Error, ErrorKind, ErrorPhase,
    ExchangeContext, Http2ErrorCode, IncludeConnectionInfo, Lease, MisdirectedRequest, Request,
    RequestSent, Response, SendError, TimeoutKind, Timeouts, Timer, Trace, TraceEvent, noop_waker,
    options::{self, deadline, earlier},
};

use crate::{
    config::Retry,
    inner::{Granted, PoolInner, Reserved, WaitsFor},
    pool::{ConnectContext, ConnectPhase},
    record::ConnectRecord,
    retry::may_be_sent_again,
    route::Route,
    state::{Arrival, Connection, Input, Rejection, WaiterId},
};

/// Maximum number of times a request is sent.
const MAX_ATTEMPTS: u32 = 2;

/// The same, if the server said each time that it did not process the request (RFC 9113 §8.7). A
/// server that ends its connections after twenty requests refuses most of a hundred that arrive at
/// once, and some of them several times.
const MAX_UNPROCESSED_ATTEMPTS: u32 = 10;

/// A request on its way: the future of [`Pool::send`](crate::Pool::send).
///
/// # Panics
///
/// When it is polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    pool: Arc<PoolInner>,
    route: Route,
    trace: Trace,
    /// Until it is handed to a connection, and again when that hands it back.
    request: Option<Request>,
    /// When the wait for a slot ends. Set once, and so it never restarts.
    pool_deadline: Option<Instant>,
    /// When everything ends.
    deadline: Option<Instant>,
    attempts: u32,
    policy: ConnectionPolicy,
    /// It was sent again after a 421 or a 408 already.
    was_repeated: bool,
    /// Its place in the order of arrivals, once it has waited.
    arrival: Option<Arrival>,
    /// What the response is to say of its connection, if it is to say it.
    info: Option<Box<ConnectionInfo>>,
    stage: Stage,
    /// Its wait in the queue. Not in the stage, which each request changes, and most never wait.
    queued: Option<Queued>,
}

struct Queued {
    wait: Wait,
    /// Once there is something to wait for.
    timer: Option<Box<dyn Timer>>,
    /// While it waits for an attempt to connect of another request: until when, if there is a limit.
    other_connect: Option<Option<Instant>>,
    /// Whether an attempt to connect began for it before the request was there: with other limits.
    reserved: bool,
}

enum Stage {
    /// Not polled yet.
    New,
    /// The same, with a place reserved.
    Reserved(Box<Reservation>),
    Queued,
    Exchanging {
        exchange: BoxFuture<'static, Result<Response, SendError>>,
        reused: bool,
        shared: bool,
    },
    Over,
}

impl ResponseFuture {
    pub(crate) fn reserved(
        pool: Arc<PoolInner>,
        route: Route,
        request: Request,
        reservation: Reservation,
    ) -> Self {
        let mut sending = Self::new(pool, route, request);
        sending.stage = Stage::Reserved(Box::new(reservation));
        sending
    }

    #[inline]
    pub(crate) fn new(pool: Arc<PoolInner>, route: Route, request: Request) -> Self {
        ResponseFuture {
            trace: Trace::none(),
            pool,
            route: route.preferred(),
            request: Some(request),
            pool_deadline: None,
            deadline: None,
            attempts: 0,
            policy: ConnectionPolicy::default(),
            was_repeated: false,
            arrival: None,
            info: None,
            stage: Stage::New,
            queued: None,
        }
    }

    /// The first poll: reads the request's own settings, starts its clock, and asks for a connection.
    fn begin(&mut self) -> Result<(), Error> {
        if let Some(request) = &self.request
            && !request.extensions().is_empty()
        {
            let settings = request.extensions();
            self.trace = settings.get::<Trace>().cloned().unwrap_or_default();
            self.policy = settings
                .get::<ConnectionPolicy>()
                .copied()
                .unwrap_or_default();
        }
        let now = self.pool.runtime.now();
        let timeouts = timeouts(&self.pool, self.request.as_ref());
        let (acquire, total) = (timeouts.acquire(), timeouts.total());
        if total == Some(Duration::ZERO) {
            let kind = ErrorKind::Timeout(TimeoutKind::Total);
            return Err(Error::new(kind, ErrorPhase::Acquire, RequestSent::None));
        }
        self.pool_deadline = deadline(now, acquire);
        self.deadline = deadline(now, total);
        if let Stage::Reserved(_) = self.stage
            && let Some(result) = self.use_reservation()
        {
            return result;
        }
        self.acquire(now)
    }

    /// Takes the reservation over. Returns none if it is over, or of no use to this request.
    #[cold]
    fn use_reservation(&mut self) -> Option<Result<(), Error>> {
        let Stage::Reserved(reservation) = std::mem::replace(&mut self.stage, Stage::New) else {
            return None;
        };
        let mut reservation = reservation;
        let fits = self.policy == ConnectionPolicy::default()
            && reservation.route == self.route
            && Arc::ptr_eq(&reservation.pool, &self.pool);
        // Otherwise it is given back here.
        let waiter = reservation.waiter.take_if(|_| fits)?;
        let mut arrival = None;
        let used = self
            .pool
            .use_reservation(waiter, &mut arrival, self.context())?;
        self.attempts += 1;
        self.arrival = arrival;
        Some(match used {
            Some(granted) => self.acquired(waiter, Ok(granted), false),
            None => {
                self.wait(waiter);
                if let Some(queued) = &mut self.queued {
                    queued.reserved = true;
                }
                Ok(())
            }
        })
    }

    fn acquire(&mut self, now: Instant) -> Result<(), Error> {
        self.attempts += 1;
        let mut arrival = self.arrival;
        let context = || self.context();
        let (waiter, outcome) =
            self.pool
                .acquire(&self.route, self.policy, &mut arrival, context, now);
        self.arrival = arrival;
        match outcome {
            Some(outcome) => self.acquired(waiter, outcome, false),
            None => {
                self.wait(waiter);
                Ok(())
            }
        }
    }

    /// What an attempt to connect for this request is given.
    fn context(&self) -> ConnectContext {
        ConnectContext {
            timeouts: timeouts(&self.pool, self.request.as_ref()),
            trace: self.trace.clone(),
            phase: ConnectPhase::default(),
            record: ConnectRecord::default(),
        }
    }

    fn wait(&mut self, waiter: WaiterId) {
        // First the wait, whose owner settles it: the listener may panic.
        self.queued = Some(Queued {
            wait: Wait {
                pool: Some(self.pool.clone()),
                waiter,
                timed_out: false,
            },
            timer: None,
            other_connect: None,
            reserved: false,
        });
        self.stage = Stage::Queued;
        self.tell(|| TraceEvent::WaitingForConnection);
    }

    /// The wait is over: begins the exchange, if the connection is still open.
    ///
    /// A connection which has just been made for a request that `waited` is used even if its end has
    /// arrived: what the server said, such as the alert for a missing client certificate, is what the
    /// exchange then fails with.
    fn acquired(
        &mut self,
        waiter: WaiterId,
        mut outcome: Result<Granted, Rejection>,
        mut waited: bool,
    ) -> Result<(), Error> {
        loop {
            let mut granted = match outcome {
                Ok(granted) => granted,
                Err(Rejection::Connect(error)) => return Err(error),
                Err(Rejection::OtherConnect(error)) => return Err(error.repeated()),
                Err(Rejection::QueueFull) => {
                    return Err(Error::new(
                        ErrorKind::QueueFull,
                        ErrorPhase::Acquire,
                        RequestSent::None,
                    ));
                }
                Err(Rejection::PoolClosed) => {
                    return Err(Error::new(
                        ErrorKind::PoolClosed,
                        ErrorPhase::Acquire,
                        RequestSent::None,
                    ));
                }
            };
            let is_new = waited && !granted.reused;
            if is_new || is_usable(&self.pool, waiter, &self.route, &mut granted) {
                return self.begin_exchange(waiter, granted);
            }
            // Without the lock, and before its slot is free.
            drop(granted);
            waited = false;
            let mut arrival = self.arrival;
            let context = self.context();
            let next = self.pool.return_stale(waiter, &mut arrival, context);
            self.arrival = arrival;
            match next {
                Some(next) => outcome = next,
                None => {
                    self.wait(waiter);
                    return Ok(());
                }
            }
        }
    }

    fn begin_exchange(&mut self, waiter: WaiterId, granted: Granted) -> Result<(), Error> {
        let Granted {
            connection,
            handle,
            reused,
        } = granted;
        let (conn, version) = (handle.conn(), handle.version());
        // Not by its `with_…`, each of which would move it.
        let mut context = ExchangeContext::new(Lease::new(waiter.lease(), handle));
        context.timeouts = timeouts(&self.pool, self.request.as_ref());
        context.deadline = self.deadline;
        context.attempt = self.attempts;
        context.trace = self.trace.clone();
        self.tell(|| TraceEvent::ConnectionAcquired { reused });
        let asks_for_info = self.request.as_ref().is_some_and(|request| {
            request
                .extensions()
                .get::<IncludeConnectionInfo>()
                .is_some()
        });
        if asks_for_info {
            let mut info = match &connection {
                Connection::Exclusive(connection) => connection.info(),
                Connection::Shared(connection) => connection.info(),
            };
            info.pooled = self.pool.pooled_info(conn, version);
            self.info = Some(Box::new(info));
        }
        // Here, and not by `expect` or `let`: it would be moved once more for each.
        let (exchange, shared) = match (connection, self.request.take()) {
            (Connection::Exclusive(connection), Some(request)) => {
                (connection.exchange(request, context), false)
            }
            (Connection::Shared(connection), Some(request)) => {
                (connection.exchange(request, context), true)
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
        let max = if shared && failure.error.sent() == RequestSent::None {
            MAX_UNPROCESSED_ATTEMPTS
        } else {
            MAX_ATTEMPTS
        };
        let mut again = self.attempts < max
            && may_be_sent_again(self.pool.config.retry, &failure, reused, shared);
        // RFC 9113 §7: over HTTP/2 it would fail again.
        if failure.error.http2_error_code() == Some(Http2ErrorCode::HTTP_1_1_REQUIRED) {
            match self.route.demand_http1() {
                Some(route) => self.route = route,
                None => again = false,
            }
        }
        let error = failure.error.with_reused(reused);
        // RFC 9113 §8.7: what the server has not processed costs it nothing.
        let is_free = shared && error.sent() == RequestSent::None;
        let again = again && self.take_retry(is_free);
        match failure.request {
            Some(request) if again => {
                self.tell(|| TraceEvent::Retried { error: &error });
                self.request = Some(*request);
                // The cause that closed one idle connection usually closed the others of its route. A
                // shared one reports by itself that it is closed.
                self.policy.new_connection |= !shared;
                self.acquire(self.pool.runtime.now())
            }
            _ => Err(error),
        }
    }

    /// Takes the request of a 421 or of a late 408, if it is to be sent again. That is done once; the
    /// second such response is the caller's. A 407 comes with a request that answers the challenge, and as
    /// often as its connection decides.
    #[inline]
    fn take_repeatable(&self, response: &mut Response, reused: bool) -> Option<Box<Request>> {
        match response.status() {
            StatusCode::MISDIRECTED_REQUEST
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED => self.take_rejected(response, reused),
            _ => None,
        }
    }

    fn take_rejected(&self, response: &mut Response, reused: bool) -> Option<Box<Request>> {
        let request = response
            .extensions_mut()
            .remove::<MisdirectedRequest>()
            .and_then(|misdirected| misdirected.take());
        let retry = self.pool.config.retry;
        let request = request.filter(|request| match response.status() {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => true,
            _ if self.was_repeated => false,
            // RFC 9110 §15.5.20: whatever its method.
            StatusCode::MISDIRECTED_REQUEST => retry != Retry::Never,
            // RFC 9110 §15.5.9: the server gave up waiting on the idle connection while the request was
            // on its way, and closes it.
            _ => {
                reused
                    && retry == Retry::Idempotent
                    && request.method().is_idempotent()
                    && says_close(response)
            }
        });
        let answers_challenge = response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        request.filter(|_| self.take_retry(answers_challenge))
    }

    /// Sends the request of a response with `status` again, on a new connection.
    fn repeat(
        &mut self,
        request: Box<Request>,
        status: StatusCode,
        reused: bool,
    ) -> Result<(), Error> {
        let answers_challenge = status == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        let message = match status {
            StatusCode::MISDIRECTED_REQUEST => "the server is not the one for this request (421)",
            _ if answers_challenge => "the connection ended with the proxy's challenge (407)",
            _ => "the server closed the idle connection when the request was sent (408)",
        };
        self.was_repeated |= !answers_challenge;
        let error = Error::new(ErrorKind::Protocol, ErrorPhase::Head, RequestSent::Full)
            .with_message(message)
            .with_response_started(true)
            .with_reused(reused)
            .with_attempts(self.attempts);
        self.tell(|| TraceEvent::Retried { error: &error });
        self.request = Some(*request);
        self.policy.new_connection = true;
        self.acquire(self.pool.runtime.now())
    }

    /// Returns whether the budget has room for sending this request again, and counts it then.
    fn take_retry(&self, is_free: bool) -> bool {
        let now = self.pool.runtime.now();
        self.pool.lock().state.take_retry(is_free, now)
    }

    /// Returns until when the wait in the queue may last.
    fn wait_limit(&mut self, waits_for: WaitsFor) -> Option<Instant> {
        let queued = self.queued.as_mut();
        match waits_for {
            WaitsFor::OwnConnect => self.deadline,
            WaitsFor::Slot => {
                queued?.other_connect = None;
                earlier(self.pool_deadline, self.deadline)
            }
            WaitsFor::OtherConnect => {
                let (pool, request) = (&self.pool, self.request.as_ref());
                // Its own attempt would have had this long; the limits of the other one may differ.
                let limit = queued?.other_connect.get_or_insert_with(|| {
                    let limits = timeouts(pool, request);
                    let limit = limits.connect().map(|connect| {
                        let others = [limits.resolve(), limits.tls()].into_iter().flatten();
                        others.fold(connect, Duration::saturating_add)
                    });
                    deadline(pool.runtime.now(), limit)
                });
                earlier(*limit, self.deadline)
            }
        }
    }

    /// Returns the error of the time limit that ended the wait.
    fn too_late(&self, waits_for: WaitsFor, waiter: WaiterId, limit: Instant) -> Error {
        let (phase, kind) = match waits_for {
            WaitsFor::OwnConnect | WaitsFor::OtherConnect => {
                (self.pool.connect_phase(waiter), TimeoutKind::Connect)
            }
            WaitsFor::Slot => (ErrorPhase::Acquire, TimeoutKind::Acquire),
        };
        let now = self.pool.runtime.now();
        if now < limit {
            // Only the timers of a runtime that has ended are ready before their time.
            return Error::new(ErrorKind::RuntimeShutdown, phase, RequestSent::None);
        }
        let total = self.deadline.is_some_and(|deadline| deadline <= now);
        let kind = if total { TimeoutKind::Total } else { kind };
        Error::new(ErrorKind::Timeout(kind), phase, RequestSent::None)
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

    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(Queued { wait, reserved, .. }) = &mut self.queued else {
            unreachable!("a request in the queue waits")
        };
        let waits_for = match wait.poll(cx.waker()) {
            Ok(outcome) => {
                let waiter = wait.waiter;
                self.queued = None;
                return Poll::Ready(self.acquired(waiter, outcome, true));
            }
            // Woken by the pool: when a connection is granted or refused, and when an attempt to
            // connect that it waited for no longer goes on.
            Err(WaitsFor::OwnConnect) if *reserved => WaitsFor::OtherConnect,
            Err(waits_for) => waits_for,
        };
        let limit = self.wait_limit(waits_for);
        let Some(Queued { wait, timer, .. }) = &mut self.queued else {
            unreachable!("a request in the queue waits")
        };
        let Some(limit) = limit else {
            *timer = None;
            return Poll::Pending;
        };
        let runtime = &self.pool.runtime;
        let timer = timer.get_or_insert_with(|| runtime.timer("waiting for a connection"));
        std::task::ready!(timer.poll_until(cx, limit));
        wait.timed_out = true;
        let waiter = wait.waiter;
        // Before it leaves the queue: the error says how far the attempt is that it waits for.
        let error = self.too_late(waits_for, waiter, limit);
        self.queued = None;
        Poll::Ready(Err(error))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let sending = self.get_mut();
        loop {
            let next = match &mut sending.stage {
                Stage::New | Stage::Reserved(_) => sending.begin(),
                Stage::Queued => std::task::ready!(sending.poll_queued(cx)),
                Stage::Exchanging {
                    exchange,
                    reused,
                    shared,
                } => match std::task::ready!(exchange.as_mut().poll(cx)) {
                    Ok(mut response) => {
                        let reused = *reused;
                        sending.stage = Stage::Over;
                        let Some(request) = sending.take_repeatable(&mut response, reused) else {
                            if let Some(info) = sending.info.take() {
                                response.extensions_mut().insert(*info);
                            }
                            return Poll::Ready(Ok(response));
                        };
                        let status = response.status();
                        // Its connection, or its stream, ends here.
                        drop(response);
                        sending.repeat(request, status, reused)
                    }
                    Err(failure) => {
                        let (reused, shared) = (*reused, *shared);
                        // The lease ends here at the latest: its slot may be the next one.
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

/// Asks a connection that was granted whether it is still open, without the lock: its end may have
/// arrived while the thread was busy, or the request was slow to take it. Asks the filters of its route
/// as well: they may refuse now what they allowed when the connection was made.
#[inline]
fn is_usable(pool: &PoolInner, waiter: WaiterId, route: &Route, granted: &mut Granted) -> bool {
    let unsettled = Unsettled { pool, waiter };
    let is_allowed = route.filters().is_empty() || granted.handle.is_allowed(route);
    let is_open = match &mut granted.connection {
        Connection::Exclusive(connection) => {
            let cx = &mut Context::from_waker(noop_waker());
            connection.poll_idle(cx).is_pending()
        }
        Connection::Shared(connection) => connection.check_open(),
    };
    std::mem::forget(unsettled);
    is_allowed && is_open
}

/// A claim on a connection which has no lease yet. Dropped if the connection panics.
struct Unsettled<'a> {
    pool: &'a PoolInner,
    waiter: WaiterId,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.pool.handle(Input::Ended {
            waiter: self.waiter,
            reason: CloseReason::Failed,
        });
    }
}

/// Returns whether a response says that its connection is closed after it (RFC 9112 §9.6).
fn says_close(response: &Response) -> bool {
    let values = response.headers().get_all(header::CONNECTION).iter();
    let mut options = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// The request's own limits over the pool's. Not kept, since they take 128 bytes.
#[inline]
fn timeouts(pool: &PoolInner, request: Option<&Request>) -> Timeouts {
    let own = request.and_then(|request| request.extensions().get());
    options::effective(&pool.config.timeouts, own)
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::New | Stage::Reserved(_) => "new",
            Stage::Queued => "queued",
            Stage::Exchanging { .. } => "exchanging",
            Stage::Over => "over",
        };
        f.debug_struct("ResponseFuture")
            .field("route", &format_args!("{}", self.route))
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}

/// A place reserved along a route, for one request to come: a connection, a stream's place on one, or
/// an attempt to make one. Dropped, it is given back.
///
/// Made by [`Pool::reserve`](crate::Pool::reserve), and used by
/// [`Pool::send_reserved`](crate::Pool::send_reserved).
pub struct Reservation {
    pool: Arc<PoolInner>,
    route: Route,
    hold: Option<Duration>,
    /// None while no place is reserved or waited for.
    waiter: Option<WaiterId>,
}

impl Reservation {
    pub(crate) fn new(pool: Arc<PoolInner>, route: Route, hold: Option<Duration>) -> Self {
        Reservation {
            pool,
            route: route.preferred(),
            hold,
            waiter: None,
        }
    }

    /// Waits for a place along the route, and returns `Ready` once there is one: a connection, or an
    /// attempt to make one. `Pending` means that the limits of the pool or of the route are reached,
    /// or that the first connection along the route is being made, which shows whether requests can
    /// share it.
    ///
    /// A place that is not used within the time given to [`Pool::reserve`](crate::Pool::reserve) is
    /// given back by the pool; the next call then waits for another. So does one after the attempt to
    /// connect has failed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PoolClosed`], for good. Nothing else: what fails is tried anew by the request,
    /// and is its error.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut is_new = false;
        loop {
            let waiter = *self.waiter.get_or_insert_with(|| {
                is_new = true;
                self.pool.reserve(&self.route, self.hold)
            });
            match self.pool.poll_reserved(waiter, cx.waker()) {
                Reserved::Waiting => return Poll::Pending,
                Reserved::Ready => return Poll::Ready(Ok(())),
                // A request will be told in the same way.
                Reserved::Refused | Reserved::Over if is_new => return Poll::Ready(Ok(())),
                Reserved::Refused | Reserved::Over => self.release(),
                Reserved::Closed => {
                    self.release();
                    return Poll::Ready(Err(Error::new(
                        ErrorKind::PoolClosed,
                        ErrorPhase::Acquire,
                        RequestSent::None,
                    )));
                }
            }
        }
    }

    /// Gives the place back, or stops waiting for one.
    pub fn release(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            self.pool.end_reservation(waiter);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("route", &format_args!("{}", self.route))
            .field("reserved", &self.waiter.is_some())
            .finish_non_exhaustive()
    }
}

/// A wait in the queue. Dropped, it leaves the queue; what it was granted in the meantime goes to
/// the next.
struct Wait {
    /// None once the wait is over.
    pool: Option<Arc<PoolInner>>,
    waiter: WaiterId,
    /// Whether a time limit ends it.
    timed_out: bool,
}

impl Wait {
    /// Takes the outcome, or leaves `waker` and returns what there is to wait for.
    fn poll(&mut self, waker: &Waker) -> Result<Result<Granted, Rejection>, WaitsFor> {
        let Some(pool) = &self.pool else {
            unreachable!("polled after it was over")
        };
        let outcome = pool.poll_acquired(self.waiter, waker)?;
        self.pool = None;
        Ok(outcome)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.cancel_wait(self.waiter, self.timed_out);
        }
    }
}
