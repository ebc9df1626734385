//! The HTTP client of OpenTelemetry exporters.

use bytes::Bytes;
use httpcore::{Body, ConnectionPool};
use opentelemetry_http::{HttpClient, HttpError};

/// Maximum length of a response's body, in bytes; that of the clients which `opentelemetry-http` has.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// A pool as an [`HttpClient`], for `with_http_client` of OTLP exporters.
///
/// Time limits are those of the pool: an exporter expects its client to have one for the whole
/// request ([`Timeouts::total`](httpcore::Timeouts::total)). A response of more than 4 MiB is an
/// error.
///
/// The future needs no runtime of its own, and so an exporter works on a thread that blocks on it, where
/// the pool's backend runs elsewhere.
#[derive(Clone, Debug)]
pub struct OtelClient {
    pool: ConnectionPool,
}

impl OtelClient {
    /// Sends requests through `pool`.
    pub fn new(pool: ConnectionPool) -> Self {
        OtelClient { pool }
    }
}

#[async_trait::async_trait]
impl HttpClient for OtelClient {
    async fn send_bytes(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, HttpError> {
        let response = self.pool.request(request.map(Body::from)).await?;
        let (parts, body) = response.into_parts();
        let body = body.bytes(MAX_BODY_BYTES).await?;
        Ok(http::Response::from_parts(parts, body))
    }
}
