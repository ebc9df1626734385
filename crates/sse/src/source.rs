//! An event stream that reconnects (HTML standard, 9.2.3).
//!
//! ```text
//!   connecting ─ 200, events ─► open ─ end, failure ─► waiting ─► connecting …
//!     │ failure ─► waiting
//!     └ 204, another response, permanent failure ─► closed
//! ```

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_core::Stream;
use http::StatusCode;
use httpcore_core_primitives::{
    BoxFuture, Error, ErrorKind, ErrorPhase, Fault, LazyTimer, Request, RequestSent, Response,
    Runtime,
};

use crate::{
    events::{Events, UnexpectedResponse},
    parser::{Event, Parser},
    subscription::{Plan, Subscription},
};

type Sending = Box<dyn FnMut(Request) -> BoxFuture<'static, Result<Response, Error>> + Send>;

/// A stream of events over successive responses.
///
/// When a response ends or fails, it reconnects and requests what follows the last event; whether
/// events are repeated or lost depends on the server. It ends with a response of `204`, and with an
/// error where reconnecting would fail again: another response than events, an invalid request, an
/// untrusted certificate, a closed pool. Before each reconnect it waits at least 500 ms, and longer the
/// more connections in a row yield no event ([`Subscription::reconnect_delay`]).
///
/// # Cancellation
///
/// Dropping it closes its connection or aborts its request.
pub struct EventSource {
    plan: Option<Plan>,
    send: Sending,
    alarm: LazyTimer,
    stage: Stage,
    last_event_id: String,
    retry: Option<Duration>,
    /// Number of connections in a row that failed or ended since the last event.
    failures: u32,
}

enum Stage {
    /// About to send a request.
    New,
    /// The subscription is invalid.
    Refused(Error),
    Asking(BoxFuture<'static, Result<Response, Error>>),
    Open(Box<Events>),
    Waiting(Option<Instant>),
    /// The server has said that there is nothing more.
    Over,
    /// It has ended with this error, which is returned again each time.
    Failed(Error),
}

/// A change of an [`EventSource`], or an event.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceEvent {
    /// A response with status 200 and events has arrived.
    Opened,
    /// An event.
    Event(Event),
    /// The response has ended or failed; a reconnect follows.
    Waiting {
        /// Time until the reconnect.
        reconnect_delay: Duration,
        /// The error, if it did not just end.
        error: Option<Error>,
    },
}

impl EventSource {
    /// Returns an event source for `subscription`. Requests are sent with `send`; waits use the clock of
    /// `runtime`. Nothing is sent before the first poll.
    pub fn new<F>(
        subscription: Subscription,
        runtime: Arc<dyn Runtime>,
        mut send: impl FnMut(Request) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Response, Error>> + Send + 'static,
    {
        let (plan, stage) = match subscription.0 {
            Ok(plan) => (Some(plan), Stage::New),
            Err(error) => (None, Stage::Refused(error)),
        };
        let last_event_id = plan.as_ref().map(|plan| plan.last_event_id.clone());
        EventSource {
            plan,
            send: Box::new(move |request| Box::pin(send(request))),
            alarm: LazyTimer::new(runtime, "before an event source reconnects"),
            stage,
            last_event_id: last_event_id.unwrap_or_default(),
            retry: None,
            failures: 0,
        }
    }

    /// Returns the next event; `None` after the end. Dropping the future loses no event.
    ///
    /// # Errors
    ///
    /// The error that makes reconnecting useless. Every later call returns an
    /// [equal error](Error::repeated).
    pub async fn event(&mut self) -> Option<Result<Event, Error>> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Like [`event`](Self::event).
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        // Ends in `Pending`: before each reconnect there is a wait of at least `MIN_PAUSE`.
        loop {
            match ready!(self.poll_step(cx)) {
                Some(Ok(SourceEvent::Event(event))) => return Poll::Ready(Some(Ok(event))),
                Some(Ok(SourceEvent::Opened | SourceEvent::Waiting { .. })) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Like [`event`](Self::event), and also returns connects and reconnects.
    ///
    /// # Errors
    ///
    /// As for [`event`](Self::event).
    pub async fn step(&mut self) -> Option<Result<SourceEvent, Error>> {
        poll_fn(|cx| self.poll_step(cx)).await
    }

    /// Like [`step`](Self::step).
    pub fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<SourceEvent, Error>>> {
        loop {
            let Some(plan) = &self.plan else {
                return Poll::Ready(match std::mem::replace(&mut self.stage, Stage::Over) {
                    Stage::Refused(error) | Stage::Failed(error) => Some(Err(self.fail(error))),
                    _ => None,
                });
            };
            match &mut self.stage {
                Stage::New => {
                    let request = plan.request(&self.last_event_id);
                    self.stage = Stage::Asking((self.send)(request));
                }
                Stage::Asking(asking) => {
                    let answer = ready!(asking.as_mut().poll(cx));
                    let parser = Parser::new(plan.limits).with_last_event_id(&*self.last_event_id);
                    let opened = answer.map(|response| Events::with_parser(response, parser));
                    match opened {
                        Ok(Ok(events)) => {
                            self.stage = Stage::Open(Box::new(events));
                            return Poll::Ready(Some(Ok(SourceEvent::Opened)));
                        }
                        Ok(Err(UnexpectedResponse(response))) => {
                            let error = no_events(response.status());
                            drop(response);
                            (self.stage, self.plan) = (Stage::Over, None);
                            return Poll::Ready(error.map(|error| Err(self.fail(error))));
                        }
                        Err(error) => return Poll::Ready(Some(self.broken(Some(error)))),
                    }
                }
                Stage::Open(events) => {
                    let event = ready!(events.poll_event(cx));
                    self.retry = events.retry().or(self.retry);
                    if self.last_event_id != events.last_event_id() {
                        events.last_event_id().clone_into(&mut self.last_event_id);
                    }
                    return Poll::Ready(Some(match event {
                        Some(Ok(event)) => {
                            self.failures = 0;
                            Ok(SourceEvent::Event(event))
                        }
                        Some(Err(error)) => self.broken(Some(error)),
                        None => self.broken(None),
                    }));
                }
                Stage::Waiting(until) => {
                    ready!(self.alarm.poll_until(cx, *until));
                    self.alarm.disarm();
                    self.stage = Stage::New;
                }
                Stage::Refused(_) | Stage::Failed(_) | Stage::Over => return Poll::Ready(None),
            }
        }
    }

    /// Returns the id for `Last-Event-ID` of the next request; empty if there is none.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Handles the end of a response or a failed request: a reconnect, or the end.
    fn broken(&mut self, error: Option<Error>) -> Result<SourceEvent, Error> {
        self.failures = self.failures.saturating_add(1);
        let Some(plan) = &self.plan else {
            return Err(no_use());
        };
        let is_over = error.as_ref().is_some_and(is_useless)
            || plan
                .max_reconnects
                .is_some_and(|reconnects| self.failures > reconnects);
        if is_over {
            return Err(self.fail(error.unwrap_or_else(no_use)));
        }
        let reconnect_delay = plan.pause_after(self.failures, self.retry);
        // A pause too long for the clock to express never ends.
        self.stage = Stage::Waiting(self.alarm.now().checked_add(reconnect_delay));
        Ok(SourceEvent::Waiting {
            reconnect_delay,
            error,
        })
    }

    /// Ends with `error`.
    fn fail(&mut self, error: Error) -> Error {
        (self.stage, self.plan) = (Stage::Failed(error.repeated()), None);
        error
    }
}

/// Converts another response than events: `204` is the end, anything else an error.
fn no_events(status: StatusCode) -> Option<Error> {
    if status == StatusCode::NO_CONTENT {
        return None;
    }
    let error = Error::new(ErrorKind::Protocol, ErrorPhase::Head, RequestSent::Full)
        .with_message(format!("response is not an event stream (status {status})"))
        .with_response_started(true);
    Some(error)
}

fn no_use() -> Error {
    Error::new(
        ErrorKind::ConnectionClosed,
        ErrorPhase::Body,
        RequestSent::Full,
    )
    .with_message("every response ended without an event, up to the maximum number of reconnects")
    .with_response_started(true)
}

/// Returns whether the same request would fail again.
fn is_useless(error: &Error) -> bool {
    error.fault() == Fault::Caller
        || matches!(
            (error.kind(), error.phase()),
            // A certificate which is not believed now is not believed in three seconds.
            (ErrorKind::Tls, ErrorPhase::Tls)
                | (
                    ErrorKind::PoolClosed | ErrorKind::RuntimeShutdown | ErrorKind::TooLarge,
                    _
                )
        )
}

impl Stream for EventSource {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx)
    }
}

impl fmt::Debug for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::New => "new",
            Stage::Refused(_) => "refused",
            Stage::Asking(_) => "asking",
            Stage::Open(_) => "open",
            Stage::Waiting(_) => "waiting",
            Stage::Over => "over",
            Stage::Failed(_) => "failed",
        };
        f.debug_struct("EventSource")
            .field("stage", &stage)
            .field("last_event_id", &self.last_event_id)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}
