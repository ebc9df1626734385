//! A pool as a [`tower_service::Service`]: [`PoolService`] for all origins, which queues inside, and
//! [`OriginService`] for one, which is ready when the pool has a place for a request.

use std::{
    mem::replace,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Uri;
use httpcore_core_primitives::{Body, BoxError, Error, ErrorKind, ErrorPhase, Origin, RequestSent};
use httpcore_pool::{Reservation, Route};
use tower_service::Service;

use crate::{ConnectionPool, IntoUrl, ResponseFuture};

/// For how long a service for one origin keeps a place that it does not use.
const DEFAULT_HOLD: Duration = Duration::from_secs(1);

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

/// A pool as a [`Service`] of requests to one origin, returned by [`ConnectionPool::service_for`].
///
/// Unlike a [`PoolService`] it has back-pressure: `poll_ready` reserves a place for one request, and
/// `call` uses it. So `tower::balance` sends requests where there is room, `tower::load_shed` fails
/// those for which there is none, and `tower::buffer` keeps them in its own queue.
///
/// # What a place is
///
/// Over HTTP/1.1 a connection, over HTTP/2 a stream on one; either may be a connection which is still
/// being made, as `poll_ready` begins the attempt where the limits of the pool permit one. It returns
/// `Pending` when a limit is reached
/// ([`max_connections`](crate::config::PoolConfig::max_connections) and those for each origin, or
/// the server's on streams), and, where HTTP/1.1 and HTTP/2 are both possible, while the first
/// connection is being made. It wakes its task when a place is free, in turn with the requests that
/// wait in the pool.
///
/// A place is in use until the response's body has ended or is dropped, not only until the response's
/// head has arrived.
///
/// # Who has it
///
/// - Each `poll_ready` that returns `Ready` has reserved one place, and each `call` uses it up.
/// - A clone has no place. A place is returned when its service is dropped, or the future of a call
///   is dropped before it was polled.
/// - A place that is not used within [a second](Self::hold_for) is returned, since
///   `tower::balance` keeps services that are ready without using them. `poll_ready` then reserves
///   another, for which it may have to wait; a `call` without a place waits inside the pool, as
///   with [`PoolService`]. So does a request whose options demand another connection than the
///   reserved one ([`ConnectionPolicy`](crate::extensions::ConnectionPolicy), a partition, …).
///
/// `poll_ready` fails only when the pool is closed. That a connection cannot be made is the error of
/// a request: one that uses its place before the attempt has failed, or a later one, for which another
/// attempt is made.
///
/// # Requests
///
/// A URI without an authority is completed with the service's origin. One of another origin fails
/// with [`ErrorKind::InvalidRequest`]. Bodies are those of [`PoolService`].
#[derive(Debug)]
pub struct OriginService {
    pool: ConnectionPool,
    origin: Origin,
    /// The origin as a URI, with an empty path.
    base: Uri,
    route: Route,
    hold: Option<Duration>,
    reservation: Reservation,
}

impl OriginService {
    pub(crate) fn new(pool: ConnectionPool, origin: impl IntoUrl) -> Result<Self, Error> {
        let base = origin.into_url()?;
        let origin = Origin::of(&base)?;
        let mut request = http::Request::new(Body::empty());
        *request.uri_mut() = base.clone();
        let route = pool.route_of(&request)?;
        let hold = Some(DEFAULT_HOLD);
        Ok(OriginService {
            reservation: pool.reserve(route.clone(), hold),
            pool,
            origin,
            base,
            route,
            hold,
        })
    }

    /// Sets for how long a place is kept that is not used, at least 1 ms: 1 s by default. `None` keeps
    /// it until it is used or the service is dropped.
    #[must_use]
    pub fn hold_for(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.hold = time.into();
        self.reservation = self.reserve();
        self
    }

    /// Returns the pool.
    pub fn pool(&self) -> &ConnectionPool {
        &self.pool
    }

    /// Returns the origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    fn reserve(&self) -> Reservation {
        self.pool.reserve(self.route.clone(), self.hold)
    }

    /// Completes the request's URI.
    fn complete<B>(&self, request: &mut http::Request<B>) -> Result<(), Error> {
        if request.uri().authority().is_some() {
            if Origin::of(request.uri())? == self.origin {
                return Ok(());
            }
            return Err(invalid(
                "the request is for another origin than the service",
            ));
        }
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(parts)
            .map_err(|_| invalid("the request's URI has neither an authority nor a path"))?;
        Ok(())
    }
}

fn invalid(message: &'static str) -> Error {
    let kind = ErrorKind::InvalidRequest;
    Error::new(kind, ErrorPhase::Request, RequestSent::None).with_message(message)
}

/// Another service without a reserved place.
impl Clone for OriginService {
    fn clone(&self) -> Self {
        OriginService {
            pool: self.pool.clone(),
            origin: self.origin.clone(),
            base: self.base.clone(),
            route: self.route.clone(),
            hold: self.hold,
            reservation: self.reserve(),
        }
    }
}

impl<B> Service<http::Request<B>> for OriginService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.reservation.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> ResponseFuture {
        let next = self.reserve();
        let reservation = replace(&mut self.reservation, next);
        match self.complete(&mut request) {
            Ok(()) => self
                .pool
                .request_reserved(request.map(Body::wrap), reservation),
            Err(error) => ResponseFuture::refused(error),
        }
    }
}
