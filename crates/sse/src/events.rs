//! The events of one response.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http::{StatusCode, header::CONTENT_TYPE};
use httpcore_core_primitives::{
    Body, Error, ErrorKind, ErrorPhase, RejectedResponse, RequestSent, Response,
};

use crate::parser::{Event, Limits, Parser};

/// Maximum number of body chunks without an event that are read in one poll, so that other tasks run.
const PIECES_AT_ONCE: usize = 32;

/// The events of one response, each as soon as it is complete.
///
/// It owns the response body, and with it the connection; dropping it drops both. After an error, an
/// [equal one](Error::repeated) is returned each time.
#[derive(Debug)]
pub struct Events {
    body: Option<Body>,
    failure: Option<Error>,
    parser: Parser,
    /// Received and not yet parsed.
    input: Bytes,
}

/// A response that is not an event stream. The response is inside, with its body unread.
#[derive(Debug, thiserror::Error)]
#[error("response is not an event stream (status {})", .0.status())]
pub struct UnexpectedResponse(pub RejectedResponse);

impl Events {
    /// Returns the events of `response`.
    ///
    /// # Errors
    ///
    /// [`UnexpectedResponse`], unless the status is 200 and the content type `text/event-stream`.
    pub fn new(response: Response, limits: Limits) -> Result<Self, UnexpectedResponse> {
        Self::with_parser(response, Parser::new(limits))
    }

    pub(crate) fn with_parser(
        response: Response,
        parser: Parser,
    ) -> Result<Self, UnexpectedResponse> {
        if response.status() != StatusCode::OK || !says_events(&response) {
            return Err(UnexpectedResponse(RejectedResponse::new(response)));
        }
        Ok(Events {
            body: Some(response.into_body()),
            failure: None,
            parser,
            input: Bytes::new(),
        })
    }

    /// Returns the next event; `None` at the end. Dropping the future loses no event.
    ///
    /// # Errors
    ///
    /// Errors of the body; [`ErrorKind::TooLarge`] for an event beyond its limit. Every later call
    /// returns an [equal error](Error::repeated): the events before it are a part of the stream.
    pub async fn event(&mut self) -> Option<Result<Event, Error>> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Like [`event`](Self::event).
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        if let Some(failure) = &self.failure {
            return Poll::Ready(Some(Err(failure.repeated())));
        }
        for _ in 0..PIECES_AT_ONCE {
            match self.parser.next(&mut self.input) {
                Ok(Some(event)) => return Poll::Ready(Some(Ok(event))),
                Ok(None) => {}
                Err(too_large) => {
                    let error =
                        Error::new(ErrorKind::TooLarge, ErrorPhase::Body, RequestSent::Full)
                            .with_source(too_large)
                            .with_response_started(true);
                    return Poll::Ready(Some(Err(self.fail(error))));
                }
            }
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            match ready!(body.poll_next(cx)) {
                Some(Ok(frame)) => self.input = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(self.fail(error)))),
                None => self.body = None,
            }
        }
        // There may be more. The others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends the stream with `error`.
    fn fail(&mut self, error: Error) -> Error {
        (self.body, self.input) = (None, Bytes::new());
        self.failure = Some(error.repeated());
        error
    }

    /// Returns the id for `Last-Event-ID` of the next request; empty if there is none.
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// Returns the reconnection time that the server has set, if any.
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }
}

impl Stream for Events {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx)
    }
}

/// RFC 9110 §8.3.1: type and subtype are case-insensitive, and may have parameters.
fn says_events(response: &Response) -> bool {
    let value = response.headers().get(CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = value.split(';').next().unwrap_or("");
    kind.trim().eq_ignore_ascii_case("text/event-stream")
}
