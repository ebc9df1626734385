//! A request's body on its way out, and the request for another attempt.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, StatusCode, request};
use http_body::{Body as _, Frame};
use httpcore_core_primitives::{
    Body, BodyLength, Error, ErrorKind, ErrorPhase, MisdirectedRequest, Request, RequestSent,
    SendError,
};

/// A request's body, and whether it can still be sent from its beginning.
#[derive(Debug, Default)]
pub struct RequestBody {
    body: Body,
    /// Set by the first poll: what it yielded is gone.
    polled: bool,
}

impl RequestBody {
    /// Returns a body that has not been polled.
    #[inline]
    pub fn new(body: Body) -> Self {
        RequestBody {
            body,
            polled: false,
        }
    }

    /// Returns whether the body is known to have no data.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Returns the length that the body declares.
    pub fn length(&self) -> BodyLength {
        self.body.length()
    }

    /// Returns all of the body, if it is in memory. It can then be sent again without a copy.
    #[inline]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        self.body.as_bytes()
    }

    /// Ready with the next frame.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.polled = true;
        self.body.poll_next(cx)
    }

    /// Returns whether the body says that no frame follows.
    pub fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Takes the body from its beginning, if that is possible.
    pub fn rewind(&mut self) -> Option<Body> {
        if self.polled {
            self.body.try_clone()
        } else {
            Some(std::mem::take(&mut self.body))
        }
    }

    /// Moves `request` into the `extensions` of a `421 (Misdirected Request)` or a `408 (Request
    /// Timeout)` if this body can be sent again: the request may be sent on another connection
    /// (RFC 9110 §15.5.20, §15.5.9).
    pub fn keep_if_repeatable(
        &self,
        status: StatusCode,
        extensions: &mut Extensions,
        request: &mut Option<request::Parts>,
    ) {
        if matches!(
            status,
            StatusCode::MISDIRECTED_REQUEST | StatusCode::REQUEST_TIMEOUT
        ) && let Some(body) = self.body.try_clone()
            && let Some(parts) = request.take()
        {
            let request = Request::from_parts(parts, body);
            extensions.insert(MisdirectedRequest::new(request));
        }
    }
}

/// Returns `error` with the request, if both its parts are there.
pub fn send_error(error: Error, request: Option<request::Parts>, body: Option<Body>) -> SendError {
    let request = request.zip(body);
    let request = request.map(|(parts, body)| Box::new(Request::from_parts(parts, body)));
    SendError::new(error, request)
}

/// Returns the error of an exchange's future that is polled after it was ready. The connection and the
/// request belong to it no longer.
#[cold]
pub fn polled_after_end() -> SendError {
    SendError::without_request(
        Error::new(
            ErrorKind::InvalidRequest,
            ErrorPhase::Request,
            RequestSent::Full,
        )
        .with_message("the future of an exchange was polled after it was ready"),
    )
}
