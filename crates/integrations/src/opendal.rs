//! The HTTP client of `opendal`.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use http_body::Body as _;
use httpcore::{Body, ConnectionPool, Error as PoolError};
use opendal_core::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, Result};
use tower_http::follow_redirect::FollowRedirect;
use tower_service::Service as _;

use crate::sync::SyncBody;

/// A pool as an [`HttpTransport`], for `HttpTransporter::new` and an operator's context.
///
/// Redirects are followed, at most ten of them, as `opendal` demands it of its transports. A request
/// with a body is not sent again for one: the response is returned.
#[derive(Clone, Debug)]
pub struct OpendalTransport {
    pool: ConnectionPool,
}

impl OpendalTransport {
    /// Sends requests through `pool`.
    pub fn new(pool: ConnectionPool) -> Self {
        OpendalTransport { pool }
    }
}

impl HttpTransport for OpendalTransport {
    async fn fetch(&self, request: http::Request<Buffer>) -> Result<http::Response<HttpBody>> {
        let is_head = request.method() == http::Method::HEAD;
        let request = request.map(replayable);
        let mut service = FollowRedirect::new(self.pool.service());
        let response = service.call(request).await.map_err(to_error)?;
        let (parts, body) = response.into_parts();
        let length = body.size_hint().exact().filter(|_| !is_head);
        let body = HttpBody::new(Chunks(SyncBody::new(body)), length);
        Ok(http::Response::from_parts(parts, body))
    }
}

/// The same body, which can be sent again.
fn replayable(buffer: Buffer) -> Body {
    if buffer.is_empty() {
        return Body::empty();
    }
    // In one piece.
    if buffer.current().len() == buffer.len() {
        return buffer.current().into();
    }
    let length = buffer.len() as u64;
    let make = move || {
        let mut rest = buffer.clone();
        Body::poll_fn(move |_| Poll::Ready(rest.next().map(Ok::<_, std::convert::Infallible>)))
    };
    Body::replayable(make).with_length(length)
}

/// Temporary errors are repeated by `opendal`'s retry layer.
fn to_error(error: PoolError) -> Error {
    let is_temporary = error.is_retryable();
    let message = error.to_string();
    let error = Error::new(ErrorKind::Unexpected, message).set_source(error);
    if is_temporary {
        error.set_temporary()
    } else {
        error
    }
}

/// The data of a response, piece by piece.
struct Chunks(SyncBody);

impl Stream for Chunks {
    type Item = Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.0).poll_frame(cx));
            return Poll::Ready(match frame {
                // Trailers have no place there.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Some(Ok(data.into())),
                    Err(_) => continue,
                },
                Some(Err(error)) => Some(Err(to_error(error))),
                None => None,
            });
        }
    }
}
