//! What runs outside the lock of the pool: wakers, listeners, connections. None of it may find the pool
//! locked, and none that fails may take others with it.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{
    Body, BoxFuture, CloseReason, ConnectionInfo, Error, ErrorKind, Established, ExchangeContext,
    ExclusiveConnection, IdleEvent, Origin, Request, Response, Runtime, Scheme, SendError, Timer,
    Trace, TraceEvent, noop_waker,
};
use httpcore_pool::{Connect, ConnectContext, Pool, PoolConfig, Route};

#[derive(Default)]
struct Facts {
    dials: AtomicUsize,
    chatty: AtomicBool,
    dead: AtomicBool,
    close: AtomicBool,
}

struct Conn(Arc<Facts>);
impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conn")
    }
}
impl ExclusiveConnection for Conn {
    fn exchange(
        self: Box<Self>,
        _request: Request,
        terms: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        Box::pin(async move {
            if self.0.close.load(SeqCst) {
                drop(self);
                terms.lease.close(CloseReason::PeerSaidClose);
            } else {
                terms.lease.give_back(self);
            }
            Ok(Response::new(Body::empty()))
        })
    }
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        if self.0.dead.load(SeqCst) {
            return Poll::Ready(IdleEvent::Closed);
        }
        // As TlsStream::poll_idle after PATIENCE fills: pending, and the waker is called at once.
        if self.0.chatty.load(SeqCst) && !cx.waker().will_wake(noop_waker()) {
            self.0.chatty.store(false, SeqCst);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
    fn info(&self) -> ConnectionInfo {
        ConnectionInfo::default()
    }
    fn version(&self) -> http::Version {
        http::Version::HTTP_11
    }
}

struct Connector(Arc<Facts>);
impl Connect for Connector {
    fn connect(
        &self,
        _: &Route,
        _: &ConnectContext,
    ) -> BoxFuture<'static, Result<Established, Error>> {
        let facts = self.0.clone();
        facts.dials.fetch_add(1, SeqCst);
        facts.dead.store(false, SeqCst);
        Box::pin(async move { Ok(Established::Exclusive(Box::new(Conn(facts)) as _)) })
    }
}

fn config(max: usize) -> PoolConfig {
    let mut config = PoolConfig::default();
    config.max_connections = Some(max);
    config.idle_timeout = None;
    config.max_lifetime = None;
    config.connect_preempt_after = None;
    config.connect_patience = None;
    config
}

fn route(n: usize) -> Route {
    Route::to(Origin::new(Scheme::Http, &format!("host{n}"), 80))
}

/// Tasks are kept, and polled by hand.
#[derive(Default)]
struct ByHand(Mutex<Vec<BoxFuture<'static, ()>>>);
impl fmt::Debug for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByHand")
    }
}
struct Never;
impl Timer for Never {
    fn poll_until(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
    fn disarm(&mut self) {}
}
impl Runtime for ByHand {
    #[allow(clippy::disallowed_methods)] // this is a backend
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn timer(&self, _: &'static str) -> Box<dyn Timer> {
        Box::new(Never)
    }
    fn spawn(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        self.0.lock().unwrap().push(task);
    }
}
impl ByHand {
    fn poll_all(&self, waker: &Waker) {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap());
        let mut left = Vec::new();
        for mut task in tasks {
            if task
                .as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_pending()
            {
                left.push(task);
            }
        }
        self.0.lock().unwrap().extend(left);
    }
}

/// The waker of a runtime's task, which looks whether the pool can be used while it is called.
struct Probe {
    pool: OnceLock<Pool>,
    called: AtomicUsize,
    under_lock: AtomicUsize,
}
impl Wake for Probe {
    fn wake(self: Arc<Self>) {
        self.called.fetch_add(1, SeqCst);
        let pool = self.pool.get().unwrap().clone();
        let (tell, hear) = mpsc::channel();
        thread::spawn(move || {
            let _ = pool.status();
            let _ = tell.send(());
        });
        if hear.recv_timeout(Duration::from_secs(1)).is_err() {
            self.under_lock.fetch_add(1, SeqCst);
        }
    }
}

#[test]
fn no_waker_of_the_runtime_is_called_under_the_lock_of_the_pool() {
    let runtime = Arc::new(ByHand::default());
    let facts = Arc::new(Facts::default());
    let pool = Pool::new(
        config(1),
        runtime.clone(),
        Arc::new(Connector(facts.clone())),
    );
    let probe = Arc::new(Probe {
        pool: OnceLock::new(),
        called: AtomicUsize::new(0),
        under_lock: AtomicUsize::new(0),
    });
    probe.pool.set(pool.clone()).ok().unwrap();
    let noop = &mut Context::from_waker(Waker::noop());
    let mut sending = pin!(pool.send(route(0), Request::new(Body::empty())));
    assert!(sending.as_mut().poll(noop).is_pending());
    runtime.poll_all(Waker::noop()); // the dial
    assert!(sending.as_mut().poll(noop).is_ready()); // exchange, parked, janitor spawned
    let janitors = Waker::from(probe.clone());
    runtime.poll_all(&janitors); // the janitor leaves its waker
    assert_eq!(probe.called.load(SeqCst), 0);
    // The next exchange parks the connection while the janitor listens; poll_idle wakes at once.
    let mut again = pin!(pool.send(route(0), Request::new(Body::empty())));
    facts.chatty.store(true, SeqCst);
    // (not at checkout: that is asked with `noop_waker`)
    let _ = again.as_mut().poll(noop);
    if probe.called.load(SeqCst) == 0 {
        facts.chatty.store(true, SeqCst);
        let mut third = pin!(pool.send(route(0), Request::new(Body::empty())));
        let _ = third.as_mut().poll(noop);
    }
    assert!(probe.called.load(SeqCst) > 0);
    assert_eq!(probe.under_lock.load(SeqCst), 0);
}

/// A thread for each task.
#[derive(Debug)]
struct Threads;
impl Runtime for Threads {
    #[allow(clippy::disallowed_methods)] // this is a backend
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn timer(&self, _: &'static str) -> Box<dyn Timer> {
        Box::new(Never)
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

/// `TraceListener`: "It is never called under a lock of the engine's, and may use the engine."
#[test]
fn a_trace_listener_may_use_another_pool() {
    let (tell, hear) = mpsc::channel();
    thread::spawn(move || {
        // The listener's pool, with an idle connection that the server has closed meanwhile.
        let of_logs = Arc::new(Facts::default());
        let logs = Pool::new(
            config(4),
            Arc::new(Threads),
            Arc::new(Connector(of_logs.clone())),
        );
        block_on(logs.send(route(9), Request::new(Body::empty()))).unwrap();
        of_logs.dead.store(true, SeqCst);

        let facts = Arc::new(Facts::default());
        facts.close.store(true, SeqCst);
        let runtime = Arc::new(ByHand::default());
        let dialler = Arc::new(Connector(facts));
        let pool = Pool::new(config(1), runtime.clone(), dialler);
        let trace = Trace::to(move |_: Instant, event: &TraceEvent<'_>| {
            if let TraceEvent::ConnectStarted = event {
                block_on(logs.send(route(9), Request::new(Body::empty()))).unwrap();
            }
        });
        // One holds the only slot, another waits for it, and is followed by the listener.
        let noop = &mut Context::from_waker(Waker::noop());
        let mut first = Box::pin(pool.send(route(0), Request::new(Body::empty())));
        assert!(first.as_mut().poll(noop).is_pending());
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(trace);
        let mut second: Pin<Box<_>> = Box::pin(pool.send(route(1), request));
        assert!(second.as_mut().poll(noop).is_pending());
        runtime.poll_all(Waker::noop()); // the first is connected
        // Frees the slot, and so an attempt begins for the second, on this thread.
        assert!(first.as_mut().poll(noop).is_ready());
        runtime.poll_all(Waker::noop());
        assert!(second.as_mut().poll(noop).is_ready());
        tell.send(()).unwrap();
    });
    hear.recv_timeout(Duration::from_secs(5))
        .expect("the listener's request hangs for ever");
}

struct Counted(AtomicUsize);
impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn dropped_drains_leave_no_wakers() {
    let facts = Arc::new(Facts::default());
    let runtime = Arc::new(ByHand::default());
    let pool = Pool::new(config(1), runtime, Arc::new(Connector(facts)));
    let noop = &mut Context::from_waker(Waker::noop());
    let mut sending = pin!(pool.send(route(0), Request::new(Body::empty())));
    assert!(sending.as_mut().poll(noop).is_pending());
    let mut kept = 0;
    let mut all = Vec::new();
    for _ in 0..1000 {
        let counted = Arc::new(Counted(AtomicUsize::new(0)));
        let waker = Waker::from(counted.clone());
        let mut drain = Box::pin(pool.drain(Duration::from_secs(60)));
        assert!(
            drain
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(drain);
        drop(waker);
        all.push(counted);
    }
    for counted in &all {
        kept += usize::from(Arc::strong_count(counted) > 1);
    }
    assert_eq!(kept, 0);
}

/// A waker which panics.
struct Panics;
impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("this waker panics");
    }
}

#[test]
fn a_waker_that_panics_loses_no_other_wake_up() {
    let facts = Arc::new(Facts::default());
    let runtime = Arc::new(ByHand::default());
    let pool = Pool::new(config(1), runtime, Arc::new(Connector(facts)));
    let counted = Arc::new(Counted(AtomicUsize::new(0)));
    let wakers = [Waker::from(Arc::new(Panics)), Waker::from(counted.clone())];
    let mut requests: Vec<_> = (0..2)
        .map(|n| Box::pin(pool.send(route(n), Request::new(Body::empty()))))
        .collect();
    for (request, waker) in requests.iter_mut().zip(&wakers) {
        assert!(
            request
                .as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
    }
    let panic = catch_unwind(AssertUnwindSafe(|| pool.close()));
    assert!(panic.is_err(), "the panic is not hidden");
    assert_eq!(counted.0.load(SeqCst), 1);
    let noop = &mut Context::from_waker(Waker::noop());
    for request in &mut requests {
        let Poll::Ready(Err(error)) = request.as_mut().poll(noop) else {
            panic!("a closed pool refuses who waits")
        };
        assert_eq!(error.kind(), ErrorKind::PoolClosed);
    }
}

#[test]
fn a_listener_that_panics_when_its_request_waits_loses_no_slot() {
    let facts = Arc::new(Facts::default());
    let runtime = Arc::new(ByHand::default());
    let pool = Pool::new(config(1), runtime.clone(), Arc::new(Connector(facts)));
    let noop = &mut Context::from_waker(Waker::noop());
    let trace = Trace::to(|_: Instant, event: &TraceEvent<'_>| {
        assert!(
            !matches!(event, TraceEvent::WaitingForConnection),
            "this listener panics"
        );
    });
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(trace);
    let mut broken = Box::pin(pool.send(route(0), request));
    let panic = catch_unwind(AssertUnwindSafe(|| broken.as_mut().poll(noop)));
    assert!(panic.is_err());
    drop(broken);
    assert_eq!(pool.status().queued_requests, 0);
    let mut next = pin!(pool.send(route(1), Request::new(Body::empty())));
    assert!(next.as_mut().poll(noop).is_pending());
    runtime.poll_all(Waker::noop());
    assert!(next.as_mut().poll(noop).is_ready());
}

#[test]
fn a_burst_of_waiters_is_given_back() {
    let facts = Arc::new(Facts::default());
    let runtime = Arc::new(ByHand::default());
    let pool = Pool::new(config(1), runtime, Arc::new(Connector(facts)));
    let noop = &mut Context::from_waker(Waker::noop());
    let mut burst: Vec<_> = (0..100_000)
        .map(|_| Box::pin(pool.send(route(0), Request::new(Body::empty()))))
        .collect();
    for request in &mut burst {
        assert!(request.as_mut().poll(noop).is_pending());
    }
    drop(burst);
    assert_eq!(pool.status().queued_requests, 0);
    assert!(
        pool.table_slots() <= 4096,
        "{} slots are kept",
        pool.table_slots()
    );
}
