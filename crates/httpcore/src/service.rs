//! A pool as a [`tower_service::Service`].

use std::task::{Context, Poll};

use bytes::Bytes;
use httpcore_core_primitives::{Body, BoxError, Error};
use tower_service::Service;

use crate::{ConnectionPool, ResponseFuture};

/// A pool as a [`Service`] of [`http::Request`]s, returned by [`ConnectionPool::service`].
///
/// Cloning it yields another handle to the same pool. It is always ready: a request that finds no
/// free connection waits in the pool, within
/// [`max_pending_requests`](crate::config::PoolConfig::max_pending_requests) and
/// [`Timeouts::acquire`](crate::Timeouts::acquire). A call reserves nothing before its future is
/// first polled, and dropping the future aborts the request.
///
/// A request's body is any [`http_body::Body`] of [`Bytes`]. Only a [`Body`] or a `String` can be
/// sent again after a failure; see [`Body::wrap`].
#[derive(Clone, Debug)]
pub struct PoolService {
    pool: ConnectionPool,
}

impl PoolService {
    pub(crate) fn new(pool: ConnectionPool) -> Self {
        PoolService { pool }
    }

    /// Returns the pool.
    pub fn pool(&self) -> &ConnectionPool {
        &self.pool
    }
}

impl<B> Service<http::Request<B>> for PoolService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> ResponseFuture {
        self.pool.request(request.map(Body::wrap))
    }
}
