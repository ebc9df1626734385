//! Other runtimes than a single-threaded one: many threads, and one that is gone.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

use httpcore_core_primitives::{
    Body, BoxFuture, CloseReason, ConnectionInfo, Error, ErrorKind, Established, ExchangeContext,
    ExclusiveConnection, IdleEvent, Origin, Request, Response, Runtime, Scheme, SendError,
    Timeouts, Timer,
};
use httpcore_pool::{Connect, ConnectContext, Pool, PoolConfig, Route};

/// A connection which answers at once; every so often it is not given back.
struct Quick {
    alive: Arc<AtomicUsize>,
    served: usize,
}

impl Quick {
    fn new(alive: &Arc<AtomicUsize>) -> Box<Self> {
        alive.fetch_add(1, SeqCst);
        Box::new(Quick {
            alive: alive.clone(),
            served: 0,
        })
    }
}

impl Drop for Quick {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, SeqCst);
    }
}

impl fmt::Debug for Quick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quick")
    }
}

impl ExclusiveConnection for Quick {
    fn exchange(
        mut self: Box<Self>,
        _request: Request,
        terms: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        self.served += 1;
        Box::pin(async move {
            // Lets others in between.
            thread::yield_now();
            if self.served.is_multiple_of(7) {
                drop(self);
                terms.lease.close(CloseReason::PeerSaidClose);
            } else {
                terms.lease.give_back(self);
            }
            Ok(Response::new(Body::empty()))
        })
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

struct Connector {
    alive: Arc<AtomicUsize>,
}

impl Connect for Connector {
    fn connect(
        &self,
        _: &Route,
        _: &ConnectContext,
    ) -> BoxFuture<'static, Result<Established, Error>> {
        let alive = self.alive.clone();
        Box::pin(async move { Ok(Established::Exclusive(Quick::new(&alive) as _)) })
    }
}

fn route(n: usize) -> Route {
    Route::to(Origin::new(Scheme::Http, &format!("host{n}"), 80))
}

/// A thread for each task.
#[derive(Debug)]
struct Threads;

impl Runtime for Threads {
    #[allow(clippy::disallowed_methods)] // this is a backend
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn timer(&self, purpose: &'static str) -> Box<dyn Timer> {
        panic!("nothing here has a time limit, but {purpose} asks for a timer")
    }

    fn spawn(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        thread::spawn(move || block_on(task));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn config(max_connections: usize) -> PoolConfig {
    let mut config = PoolConfig::default();
    config.max_connections = Some(max_connections);
    config.idle_timeout = None;
    config.max_lifetime = None;
    config.connect_preempt_after = None;
    config.connect_patience = None;
    // A thread may meet the attempt of another that has left.
    config.timeouts = Timeouts::none();
    config
}

#[test]
fn one_pool_serves_many_threads() {
    let alive = Arc::<AtomicUsize>::default();
    let dialler = Connector {
        alive: alive.clone(),
    };
    let pool = Pool::new(config(2), Arc::new(Threads), Arc::new(dialler));
    thread::scope(|scope| {
        for n in 0..6 {
            let pool = pool.clone();
            scope.spawn(move || {
                for _ in 0..500 {
                    let sending = pool.send(route(n % 3), Request::new(Body::empty()));
                    block_on(sending).unwrap();
                    // Places, and not values alive: one that was given up may live for another
                    // moment, until the thread which gave it up has let go of the lock and
                    // dropped it.
                    let status = pool.status();
                    let places = status.active_connections + status.idle_connections;
                    assert!(places <= 2, "{status:#}");
                }
            });
        }
    });
    let counters = pool.stats();
    assert_eq!((counters.requests, counters.granted), (3000, 3000));
    let status = pool.status();
    assert_eq!((status.active_requests, status.queued_requests), (0, 0));
    pool.close();
    // An attempt begun for a request that was served otherwise may still be in progress.
    while alive.load(SeqCst) > 0 {
        thread::yield_now();
    }
}

/// Drops every task as soon as it comes.
#[derive(Debug)]
struct Gone;

impl Runtime for Gone {
    #[allow(clippy::disallowed_methods)] // this is a backend
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn timer(&self, purpose: &'static str) -> Box<dyn Timer> {
        panic!("a runtime that is gone has no timer for {purpose}")
    }

    fn spawn(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        drop(task);
    }
}

#[test]
fn a_runtime_that_is_gone_is_an_error_and_not_a_hang() {
    let alive = Arc::default();
    let pool = Pool::new(config(1), Arc::new(Gone), Arc::new(Connector { alive }));
    let mut sending = pin!(pool.send(route(0), Request::new(Body::empty())));
    let mut cx = Context::from_waker(Waker::noop());
    // The dial is dropped as soon as it has been spawned, within the first poll.
    let Poll::Ready(Err(error)) = sending.as_mut().poll(&mut cx) else {
        panic!("waits for a runtime that is gone")
    };
    assert_eq!(error.kind(), ErrorKind::RuntimeShutdown);
    assert_eq!(pool.status().connections.len(), 0);
}

/// Keeps what it is given until `clear` drops it all, and drops at once what comes then.
#[derive(Debug, Default)]
struct Ending(std::sync::Mutex<Option<Vec<Held>>>);

struct Held(#[allow(dead_code)] BoxFuture<'static, ()>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Runtime for Ending {
    #[allow(clippy::disallowed_methods)] // this is a backend
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn timer(&self, purpose: &'static str) -> Box<dyn Timer> {
        panic!("nothing here has a time limit, but {purpose} asks for a timer")
    }

    fn spawn(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        let refused = match &mut *self.0.lock().unwrap() {
            Some(tasks) => {
                tasks.push(Held(task));
                None
            }
            None => Some(task),
        };
        drop(refused);
    }
}

/// A runtime that ends while one of its tasks is being polled: the task goes on to the end of that
/// poll, and finds timers that are ready before their time.
#[derive(Debug, Default)]
struct EndsMeanwhile {
    tasks: std::sync::Mutex<Vec<Held>>,
    timers_polled: Arc<AtomicUsize>,
}

struct AtOnce(Arc<AtomicUsize>);

impl Timer for AtOnce {
    fn poll_until(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        let polled = self.0.fetch_add(1, SeqCst);
        assert!(polled < 100, "a task goes round for ever within one poll");
        Poll::Ready(())
    }

    fn disarm(&mut self) {}
}

impl Runtime for EndsMeanwhile {
    #[allow(clippy::disallowed_methods)] // this is a backend
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn timer(&self, _: &'static str) -> Box<dyn Timer> {
        Box::new(AtOnce(self.timers_polled.clone()))
    }

    fn spawn(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        self.tasks.lock().unwrap().push(Held(task));
    }
}

impl EndsMeanwhile {
    /// Polls every task there is once.
    fn poll_all(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        let mut cx = Context::from_waker(Waker::noop());
        for Held(mut task) in tasks {
            let _ = task.as_mut().poll(&mut cx);
        }
    }
}

#[test]
fn timers_that_are_ready_before_their_time_end_the_maintenance_task() {
    let runtime = Arc::new(EndsMeanwhile::default());
    let alive = Arc::default();
    let mut config = config(1);
    config.idle_timeout = Some(std::time::Duration::from_secs(60));
    let pool = Pool::new(config, runtime.clone(), Arc::new(Connector { alive }));
    let mut sending = pin!(pool.send(route(0), Request::new(Body::empty())));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sending.as_mut().poll(&mut cx).is_pending());
    runtime.poll_all();
    assert!(sending.as_mut().poll(&mut cx).is_ready());
    assert_eq!(pool.status().idle_connections, 1);
    runtime.poll_all(); // the maintenance task
    assert!(runtime.timers_polled.load(SeqCst) > 0);
}

#[test]
fn waiting_request_fails_with_runtime_shutdown_and_not_with_a_timeout() {
    let runtime = Arc::new(EndsMeanwhile::default());
    let alive = Arc::default();
    let mut config = config(1);
    let limit = std::time::Duration::from_secs(60);
    config.timeouts = config.timeouts.with_acquire(limit).with_total(limit);
    let pool = Pool::new(config, runtime, Arc::new(Connector { alive }));
    let mut sending = pin!(pool.send(route(0), Request::new(Body::empty())));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Err(error)) = sending.as_mut().poll(&mut cx) else {
        panic!("waits for a time that does not come")
    };
    assert_eq!(error.kind(), ErrorKind::RuntimeShutdown);
}

#[test]
fn a_long_queue_survives_the_end_of_its_runtime() {
    let runtime = Arc::new(Ending(std::sync::Mutex::new(Some(Vec::new()))));
    let alive = Arc::default();
    let pool = Pool::new(config(1), runtime.clone(), Arc::new(Connector { alive }));
    let mut cx = Context::from_waker(Waker::noop());
    let mut queue: Vec<_> = (0..20_000)
        .map(|_| pool.send(route(0), Request::new(Body::empty())))
        .collect();
    for sending in &mut queue {
        assert!(pin!(sending).poll(&mut cx).is_pending());
    }
    // Each dial that is dropped frees the place for the next, which is dropped at once.
    let tasks = runtime.0.lock().unwrap().take();
    drop(tasks);
    for sending in &mut queue {
        let Poll::Ready(Err(error)) = pin!(sending).poll(&mut cx) else {
            panic!("a request still waits for a runtime that is gone")
        };
        assert_eq!(error.kind(), ErrorKind::RuntimeShutdown);
    }
    assert_eq!(pool.status().connections.len(), 0);
}
