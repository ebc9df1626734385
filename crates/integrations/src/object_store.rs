//! The HTTP client of `object_store`.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use httpcore::{Body, ConnectionPool, Error, ErrorKind, error::RequestSent};
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
        HttpResponse, HttpResponseBody, HttpService,
    },
};

use crate::sync::SyncBody;

/// A pool as an [`HttpConnector`], for `with_http_connector` of `object_store`'s builders.
///
/// Of [`ClientOptions`], the user agent and the default headers are used. Time limits, TLS, proxies,
/// the versions of HTTP and the limits on connections are those of the pool.
///
/// Requests run wherever their futures are polled, and their I/O on the pool's backend: with a pool on
/// an event loop of its own, no `SpawnService` is needed to keep I/O off a busy runtime.
#[derive(Clone, Debug)]
pub struct ObjectStoreConnector {
    pool: ConnectionPool,
}

impl ObjectStoreConnector {
    /// Sends requests through `pool`.
    pub fn new(pool: ConnectionPool) -> Self {
        ObjectStoreConnector { pool }
    }
}

impl HttpConnector for ObjectStoreConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut headers = options.get_default_headers().cloned().unwrap_or_default();
        if let Some(agent) = options.get_config_value(&ClientConfigKey::UserAgent) {
            let agent = http::HeaderValue::try_from(agent).map_err(|error| {
                object_store::Error::Generic {
                    store: "httpcore",
                    source: error.into(),
                }
            })?;
            headers.insert(http::header::USER_AGENT, agent);
        }
        Ok(HttpClient::new(Client {
            pool: self.pool.clone(),
            headers,
        }))
    }
}

#[derive(Debug)]
struct Client {
    pool: ConnectionPool,
    /// Fields of every request that does not set them.
    headers: http::HeaderMap,
}

#[async_trait::async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut request = request.map(replayable);
        for (name, value) in &self.headers {
            let entry = request.headers_mut().entry(name);
            entry.or_insert_with(|| value.clone());
        }
        let response = self.pool.request(request).await.map_err(to_error)?;
        Ok(response.map(|body| HttpResponseBody::new(ResponseBody(SyncBody::new(body)))))
    }
}

/// The same body, which can be sent again.
fn replayable(body: HttpRequestBody) -> Body {
    if let Some(bytes) = body.as_bytes() {
        return bytes.clone().into();
    }
    let length = body.content_length() as u64;
    Body::replayable(move || Body::wrap(body.clone())).with_length(length)
}

/// `object_store` repeats `Connect` and `Request` whatever the method, so that nothing of such a request
/// may have been sent; it repeats `Timeout` and `Interrupted` if the method is idempotent.
fn to_error(error: Error) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_retryable() && error.sent() == RequestSent::None {
        HttpErrorKind::Request
    } else {
        match error.kind() {
            ErrorKind::Network | ErrorKind::ConnectionClosed => HttpErrorKind::Interrupted,
            ErrorKind::Protocol => HttpErrorKind::Decode,
            _ => HttpErrorKind::Unknown,
        }
    };
    HttpError::new(kind, error)
}

struct ResponseBody(SyncBody);

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        polled.map(|frame| frame.map(|frame| frame.map_err(to_error)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
