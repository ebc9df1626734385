//! What one request costs in the pool: a connection taken out and given back.
//!
//! Counts repeat where times do not, and so this is made to be run under a counter, twice:
//!
//! ```sh
//! bench=$(cargo bench -p httpcore-pool --bench checkout --no-run --message-format short 2>&1 | \
//!     sed -n 's/.*(\(.*\))/\1/p')
//! for n in 1000 2000; do
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null $bench pool 10000 0 $n
//! done
//! ```
//!
//! The difference of the two, divided by the difference in requests, is one request's. Arguments:
//! `pool` or `bare` (the same without a pool, to be subtracted), idle connections over as many
//! origins, waiting requests over as many other origins, requests.

use std::{
    fmt,
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Instant,
};

use httpcore_core_primitives::{
    Body, BoxFuture, ConnectionInfo, Error, Established, ExchangeContext, ExclusiveConnection,
    IdleEvent, Lease, Origin, Request, Response, Runtime, Scheme, SendError, Timer,
};
use httpcore_pool::{Connect, ConnectContext, Pool, PoolConfig, Route};

/// A connection which answers at once, and allocates nothing.
struct Instantly;

impl fmt::Debug for Instantly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instantly")
    }
}

impl ExclusiveConnection for Instantly {
    fn exchange(
        self: Box<Self>,
        request: Request,
        terms: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        if request.uri().path() == "/hold" {
            if let Ok(mut held) = HELD.lock() {
                held.push((self, terms.lease));
            }
        } else {
            terms.lease.give_back(self);
        }
        drop(request);
        Box::pin(Answer)
    }

    fn poll_idle(&mut self, _: &mut Context<'_>) -> Poll<IdleEvent> {
        Poll::Pending
    }

    fn info(&self) -> ConnectionInfo {
        ConnectionInfo::default()
    }

    fn version(&self) -> http::Version {
        http::Version::HTTP_11
    }
}

/// Connections which are not given back.
static HELD: Mutex<Vec<(Box<Instantly>, Lease)>> = Mutex::new(Vec::new());

struct Answer;

impl Future for Answer {
    type Output = Result<Response, SendError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Response::new(Body::empty())))
    }
}

/// Makes connections at once, or never.
struct Connector;

impl Connect for Connector {
    fn connect(
        &self,
        _: &Route,
        _: &ConnectContext,
    ) -> BoxFuture<'static, Result<Established, Error>> {
        Box::pin(async { Ok(Established::Exclusive(Box::new(Instantly))) })
    }
}

/// Polls each task once when it is spawned, and keeps it.
#[derive(Default)]
struct Once(Mutex<Vec<BoxFuture<'static, ()>>>);

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

impl Runtime for Once {
    #[allow(clippy::disallowed_methods)] // this is a backend, and its clock is part of the cost
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn timer(&self, _: &'static str) -> Box<dyn Timer> {
        Box::new(Never)
    }

    fn spawn(&self, _: &'static str, mut task: BoxFuture<'static, ()>) {
        let mut cx = Context::from_waker(Waker::noop());
        if task.as_mut().poll(&mut cx).is_pending()
            && let Ok(mut tasks) = self.0.lock()
        {
            tasks.push(task);
        }
    }
}

struct Never;

impl Timer for Never {
    fn poll_until(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }

    fn disarm(&mut self) {}
}

fn now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn route(n: usize) -> Route {
    Route::to(Origin::new(Scheme::Http, &format!("host{n}.test"), 80))
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let number = |n: usize, default| arguments.get(n).map_or(Ok(default), |text| text.parse());
    let (Ok(idle), Ok(waiting), Ok(requests)) = (number(2, 100), number(3, 0), number(4, 1000))
    else {
        eprintln!("usage: checkout [pool|bare] [IDLE] [WAITING] [REQUESTS]");
        std::process::exit(2);
    };
    let bare = arguments.get(1).is_some_and(|what| what == "bare");
    let runtime = Arc::new(Once::default());
    let mut config = PoolConfig::default();
    config.max_connections = None;
    config.max_connections_per_origin = Some(1);
    config.idle_timeout = Some(std::time::Duration::from_secs(3600));
    let pool = Pool::new(config, runtime, Arc::new(Connector));
    let routes: Vec<Route> = (0..idle.max(1)).map(route).collect();
    for route in &routes {
        // The dial ends while the request is being asked for, and so the second poll serves it.
        let mut sending = Box::pin(pool.send(route.clone(), Request::new(Body::empty())));
        while sending
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
        {}
    }
    // Origins whose one connection is in use, each with a request that waits for it.
    let mut queue = Vec::new();
    for n in 0..waiting {
        let route = route(idle + 1 + n);
        let mut hold = Request::new(Body::empty());
        *hold.uri_mut() = http::Uri::from_static("/hold");
        let mut sending = Box::pin(pool.send(route.clone(), hold));
        while sending
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
        {}
        let mut waits = Box::pin(pool.send(route, Request::new(Body::empty())));
        let poll = waits.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending(), "its only place is taken");
        queue.push(waits);
    }
    for n in 0..requests {
        if bare {
            let terms = ExchangeContext::new(Lease::unowned());
            let exchange = Box::new(Instantly).exchange(Request::new(Body::empty()), terms);
            black_box(now(exchange));
        } else {
            let route = routes[n * 7919 % routes.len()].clone();
            black_box(now(pool.send(route, Request::new(Body::empty()))));
        }
    }
    println!("{} {:?}", pool.status(), pool.stats());
}
