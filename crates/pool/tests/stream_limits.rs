//! How many exchanges a shared connection admits, said while the pool is busy.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

use std::{
    fmt,
    future::{Future, pending},
    pin::pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use httpcore_core_primitives::{
    Alpn, Body, BoxFuture, ConnectionInfo, Error, Established, ExchangeContext, Origin, Request,
    Response, Runtime, Scheme, SendError, ServerName, SharedConnection, StreamLimit, Timeouts,
    Timer,
};
use httpcore_pool::{Connect, ConnectContext, Hop, Pool, PoolConfig, Route, RouteParts};

/// A runtime whose tasks go on when they are told to.
#[derive(Default)]
struct ByHand(Mutex<Vec<BoxFuture<'static, ()>>>);

impl fmt::Debug for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByHand")
    }
}

impl Runtime for ByHand {
    #[allow(clippy::disallowed_methods)] // this is a backend
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn timer(&self, purpose: &'static str) -> Box<dyn Timer> {
        panic!("nothing here has a time limit, but {purpose} asks for a timer")
    }

    fn spawn(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        self.0.lock().unwrap().push(task);
    }
}

impl ByHand {
    /// Polls every task there is once, but for the one which calls this.
    fn poll_all(&self) {
        let mut cx = Context::from_waker(Waker::noop());
        let there = self.0.lock().unwrap().len();
        for _ in 0..there {
            let mut task = self.0.lock().unwrap().remove(0);
            if task.as_mut().poll(&mut cx).is_pending() {
                self.0.lock().unwrap().push(task);
            }
        }
    }
}

/// A connection whose limit arrives just after it was first polled; and before that
/// comes to anything, all the other tasks have had their turn, as if on another thread.
struct Sudden {
    runtime: Weak<ByHand>,
    was_asked: AtomicBool,
    news: Mutex<Option<StreamLimit>>,
    begun: Arc<AtomicUsize>,
}

impl fmt::Debug for Sudden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sudden")
    }
}

impl SharedConnection for Sudden {
    fn exchange(
        &self,
        _request: Request,
        terms: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        self.begun.fetch_add(1, SeqCst);
        Box::pin(async move {
            let _lease = terms.lease;
            pending().await
        })
    }

    fn poll_stream_limit(&self, cx: &mut Context<'_>) -> Poll<StreamLimit> {
        if !self.was_asked.swap(true, SeqCst) {
            cx.waker().wake_by_ref();
            self.runtime.upgrade().unwrap().poll_all();
            return Poll::Pending;
        }
        self.news
            .lock()
            .unwrap()
            .take()
            .map_or(Poll::Pending, Poll::Ready)
    }

    /// It has no stream that could end.
    fn check_open(&self) -> bool {
        true
    }

    fn info(&self) -> ConnectionInfo {
        ConnectionInfo::default()
    }

    fn version(&self) -> http::Version {
        http::Version::HTTP_2
    }
}

struct Connector {
    runtime: Weak<ByHand>,
    news: StreamLimit,
    begun: Arc<AtomicUsize>,
}

impl Connect for Connector {
    fn connect(
        &self,
        _: &Route,
        _: &ConnectContext,
    ) -> BoxFuture<'static, Result<Established, Error>> {
        let connection = Sudden {
            runtime: self.runtime.clone(),
            was_asked: AtomicBool::new(false),
            news: Mutex::new(Some(self.news)),
            begun: self.begun.clone(),
        };
        Box::pin(async move { Ok(Established::Shared(Arc::new(connection) as _)) })
    }
}

#[test]
fn early_stream_limit_of_a_new_connection_is_not_lost() {
    let runtime = Arc::new(ByHand::default());
    let begun = Arc::<AtomicUsize>::default();
    let dialler = Connector {
        runtime: Arc::downgrade(&runtime),
        news: StreamLimit::Max(3),
        begun: begun.clone(),
    };
    let mut config = PoolConfig::default();
    (config.idle_timeout, config.max_lifetime) = (None, None);
    (config.connect_preempt_after, config.connect_patience) = (None, None);
    config.timeouts = Timeouts::none();
    let pool = Pool::new(config, runtime.clone(), Arc::new(dialler));
    let ask = |host| {
        let mut parts = RouteParts::to(Origin::new(Scheme::Https, host, 443));
        parts.hops = vec![Hop::Tls {
            server_name: ServerName::new(host),
            offer: vec![Alpn::Http2],
        }];
        pool.send(parts.into(), Request::new(Body::empty()))
    };
    let mut cx = Context::from_waker(Waker::noop());
    // The first connection starts the maintenance task, and so the second finds it running.
    for host in ["first", "second"] {
        let before = begun.load(SeqCst);
        let (mut one, mut two, mut three) = (pin!(ask(host)), pin!(ask(host)), pin!(ask(host)));
        for _ in 0..5 {
            assert!(one.as_mut().poll(&mut cx).is_pending());
            assert!(two.as_mut().poll(&mut cx).is_pending());
            assert!(three.as_mut().poll(&mut cx).is_pending());
            runtime.poll_all();
        }
        let all = begun.load(SeqCst) - before;
        assert_eq!(
            all,
            3,
            "of three, at the {host} connection\n{:#}",
            pool.status()
        );
    }
}
