//! Exchanges over the mock: real streams, virtual time, scripted servers.

#![allow(clippy::unwrap_used)] // a test may: clippy.toml speaks of test functions only, not of their helpers

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, request};
use httpcore_core_primitives::{
    Body, BoxStream, CloseReason, ConnectionInfo, Error, ErrorKind, ErrorPhase, ExchangeContext,
    ExclusiveConnection, IdleEvent, Lease, LeaseId, LeaseOwner, LeaseState, NetworkStream,
    RequestSent, Response, SendError, TimeoutKind, Timeouts, Trace, TraceEvent, Upgraded,
    lease::LeaseEnd,
};
use httpcore_net_mock::{Chunks, Link, MockNet, Scenario, ServerStream, Sweep, seeds};
use httpcore_proto_h1::{
    CaptureRawHead, H1Connection, HeaderOrder, Http1Config, OnInformational, RawHead,
};

mod cancellation;
mod download;
mod errors;
mod timeouts;
mod upgrade;
mod upload;

const SECOND: Duration = Duration::from_secs(1);

/// A pool of one connection, which records how its leases ended.
#[derive(Default)]
struct OneConnectionPool {
    idle: Mutex<Option<Box<dyn ExclusiveConnection>>>,
    granted: AtomicUsize,
    ends: Mutex<Vec<Option<CloseReason>>>,
    leases: LeaseState,
}

impl LeaseOwner for OneConnectionPool {
    fn lease_state(&self) -> &LeaseState {
        &self.leases
    }

    fn reclaim(self: Arc<Self>, _: LeaseId, outcome: LeaseEnd) {
        let end = match outcome {
            LeaseEnd::Returned(connection, _) => {
                *self.idle.lock().unwrap() = Some(connection);
                None
            }
            LeaseEnd::Closed(reason) => Some(reason),
        };
        self.ends.lock().unwrap().push(end);
    }
}

/// A client with one connection to a server.
#[derive(Clone)]
struct Client {
    pool: Arc<OneConnectionPool>,
    timeouts: Timeouts,
    total: Option<Duration>,
    attempt: u32,
    trace: Trace,
    net: MockNet,
}

impl Client {
    fn new(net: &MockNet, stream: BoxStream) -> Self {
        Self::with(net, stream, Http1Config::default())
    }

    fn with(net: &MockNet, stream: BoxStream, config: Http1Config) -> Self {
        let runtime = Arc::new(net.clone());
        let connection = H1Connection::new(stream, runtime, Arc::new(config));
        let pool = OneConnectionPool::default();
        *pool.idle.lock().unwrap() = Some(Box::new(connection));
        Client {
            pool: Arc::new(pool),
            timeouts: Timeouts::none(),
            total: None,
            attempt: 1,
            trace: Trace::none(),
            net: net.clone(),
        }
    }

    fn lease(&self) -> Lease {
        self.pool.granted.fetch_add(1, Ordering::Relaxed);
        Lease::new(LeaseId::new(1), self.pool.clone())
    }

    fn send(
        &self,
        request: http::Request<Body>,
    ) -> impl Future<Output = Result<Response, SendError>> + Send + use<> {
        let connection = self.pool.idle.lock().unwrap().take();
        let context = ExchangeContext::new(self.lease())
            .with_timeouts(self.timeouts)
            .with_deadline(self.total.map(|total| self.net.now() + total))
            .with_attempt(self.attempt)
            .with_trace(self.trace.clone());
        connection
            .expect("an idle connection")
            .exchange(request, context)
    }

    fn is_idle(&self) -> bool {
        self.pool.idle.lock().unwrap().is_some()
    }

    /// Returns how the latest lease ended; `None` if the connection was given back.
    fn end(&self) -> Option<CloseReason> {
        *self.pool.ends.lock().unwrap().last().expect("an end")
    }

    fn ends(&self) -> usize {
        self.pool.ends.lock().unwrap().len()
    }
}

fn get() -> http::Request<Body> {
    http::Request::get("http://a/").body(Body::empty()).unwrap()
}

fn post(body: impl Into<Body>) -> http::Request<Body> {
    http::Request::post("http://a/").body(body.into()).unwrap()
}

fn with(builder: request::Builder, body: impl Into<Body>) -> http::Request<Body> {
    builder.uri("http://a/").body(body.into()).unwrap()
}

/// A body in pieces.
fn pieces(texts: &[&'static str]) -> Body {
    let mut texts: VecDeque<_> = texts.iter().copied().collect();
    Body::poll_fn(move |_| {
        Poll::Ready(
            texts
                .pop_front()
                .map(|text| Ok::<_, Infallible>(text.into())),
        )
    })
}

/// A body in pieces, none of which is ready at the first poll for it.
fn pausing(texts: &[&'static str]) -> Body {
    let (mut pieces, mut pauses) = (pieces(texts), false);
    Body::poll_fn(move |cx| {
        pauses = !pauses;
        if pauses {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = pieces.poll_next(cx);
        next.map(|next| next.map(|frame| frame.map(|frame| frame.into_data().unwrap())))
    })
}

/// A body that yields nothing and does not end.
fn silent() -> Body {
    Body::poll_fn(|_| Poll::<Option<Result<Bytes, Infallible>>>::Pending)
}

/// An endless body of zeros.
fn endless() -> Body {
    Body::poll_fn(|_| Poll::Ready(Some(Ok::<_, Infallible>(Bytes::from_static(&[0; 1000])))))
}

async fn text(response: Response) -> Result<String, Error> {
    let bytes = response.into_body().bytes(1 << 20).await?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// A client of a server that runs `script`.
fn served<F>(
    net: &MockNet,
    link: Link,
    script: impl FnOnce(ServerStream) -> F + Send + 'static,
) -> Client
where
    F: Future<Output = ()> + Send + 'static,
{
    let (stream, server) = net.pair_with(link);
    net.spawn("server", script(server));
    Client::new(net, stream)
}

/// A client of a server that reads a head, sends `answer` and waits for the end of the connection.
fn answering(net: &MockNet, link: Link, answer: impl AsRef<[u8]>) -> Client {
    let answer = answer.as_ref().to_vec();
    served(net, link, |mut server| async move {
        if server.read_head().await.is_ok() && server.write_all(answer).await.is_ok() {
            server.idle().await;
        }
    })
}

fn failed(result: Result<Response, SendError>) -> Error {
    result.expect_err("a failure").error
}
