//! Connections which are not: enough of a peer to show what a pool does with them.

// Each test file uses its own part of this.
#![allow(dead_code)]
// clippy.toml lets tests unwrap, and does not know that this is one.
#![allow(clippy::unwrap_used)]

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use httpcore_core_primitives::{
    Body, BoxFuture, CloseReason, ConnectionInfo, ConnectionPolicy, Error, ErrorKind, ErrorPhase,
    Established, ExchangeContext, ExclusiveConnection, IdleEvent, KeepAliveHints, Lease, Origin,
    Request, RequestSent, Response, Runtime, Scheme, SendError, ServerName, SharedConnection,
    StreamLimit, Timeouts,
};
use httpcore_net_mock::MockNet;
use httpcore_pool::{
    Connect, ConnectContext, Hop, Pool, PoolConfig, ResponseFuture, Route, RouteParts,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The other side of a pool: makes connections that answer after a while.
pub(crate) struct Peer {
    net: MockNet,
    /// How long a dial takes.
    pub(crate) dial: Mutex<Duration>,
    /// How long an exchange takes until its response's head.
    pub(crate) answer: Mutex<Duration>,
    pub(crate) dials_fail: AtomicBool,
    /// So many dials fail first.
    pub(crate) first_dials_fail: AtomicUsize,
    /// So many dials never end.
    pub(crate) first_dials_hang: AtomicUsize,
    /// Shared connections say that they admit nothing for now.
    pub(crate) admits_nothing: AtomicBool,
    /// Each connection is ended by the server as soon as it is made.
    pub(crate) goes_away: AtomicBool,
    /// When dials began, on the network's clock.
    pub(crate) dialled_at: Mutex<Vec<Duration>>,
    /// Dials to this host never end.
    pub(crate) hanging: Mutex<Option<&'static str>>,
    /// What the server says of keeping its connections.
    pub(crate) hints: Mutex<KeepAliveHints>,
    /// Connections turn out to be shared, and admit so many exchanges; 0 if they do not.
    pub(crate) admits: AtomicUsize,
    pub(crate) dials: AtomicUsize,
    pub(crate) dials_running: AtomicUsize,
    pub(crate) alive: AtomicUsize,
    pub(crate) exchanges: AtomicUsize,
    pub(crate) most_alive: AtomicUsize,
    /// Requests in progress which are not the ones being tested.
    pub(crate) others: AtomicUsize,
    wires: Mutex<Vec<Arc<Wire>>>,
    /// What was served, in order.
    pub(crate) served: Mutex<Vec<String>>,
}

impl Peer {
    pub(crate) fn new(net: &MockNet) -> Arc<Self> {
        Arc::new(Peer {
            net: net.clone(),
            dial: Mutex::new(SECOND),
            answer: Mutex::new(SECOND),
            dials_fail: AtomicBool::new(false),
            first_dials_fail: AtomicUsize::new(0),
            first_dials_hang: AtomicUsize::new(0),
            admits_nothing: AtomicBool::new(false),
            goes_away: AtomicBool::new(false),
            dialled_at: Mutex::default(),
            hanging: Mutex::new(None),
            hints: Mutex::default(),
            admits: AtomicUsize::new(0),
            dials: AtomicUsize::new(0),
            dials_running: AtomicUsize::new(0),
            alive: AtomicUsize::new(0),
            exchanges: AtomicUsize::new(0),
            most_alive: AtomicUsize::new(0),
            others: AtomicUsize::new(0),
            wires: Mutex::default(),
            served: Mutex::default(),
        })
    }

    /// Closes the connection that was made as number `n`, counted from 0.
    pub(crate) fn close(&self, n: usize) {
        let wire = self.wires.lock().unwrap()[n].clone();
        wire.close();
    }

    /// Closes every connection there is.
    pub(crate) fn close_all(&self) {
        let wires = self.wires.lock().unwrap().clone();
        for wire in wires {
            wire.close();
        }
    }

    /// As `close`, but the pool is not told: the news is still on its way.
    pub(crate) fn close_quietly(&self, n: usize) {
        self.wires.lock().unwrap()[n]
            .closed_unheard
            .store(true, SeqCst);
    }

    /// As `close`, but no waker is called: the next check finds it closed.
    pub(crate) fn close_unnoticed(&self, n: usize) {
        self.wires.lock().unwrap()[n].closed.store(true, SeqCst);
    }

    pub(crate) fn admit(&self, n: usize, exchanges: usize) {
        let wire = self.wires.lock().unwrap()[n].clone();
        wire.admit(exchanges);
    }

    pub(crate) fn served(&self) -> Vec<String> {
        self.served.lock().unwrap().clone()
    }

    pub(crate) fn dials(&self) -> usize {
        self.dials.load(SeqCst)
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(SeqCst)
    }
}

/// A pool in `net`, and its other side.
pub(crate) fn pool(net: &MockNet, set: impl FnOnce(&mut PoolConfig)) -> (Pool, Arc<Peer>) {
    let mut config = PoolConfig::default();
    set(&mut config);
    let peer = Peer::new(net);
    let runtime: Arc<dyn Runtime> = Arc::new(net.clone());
    (
        Pool::new(config, runtime, Arc::new(Connector(peer.clone()))),
        peer,
    )
}

pub(crate) fn route(n: usize) -> Route {
    Route::to(Origin::new(Scheme::Http, &format!("host{n}"), 80))
}

/// A route which may turn out to be shared.
pub(crate) fn negotiated(n: usize) -> Route {
    let mut parts = RouteParts::to(Origin::new(Scheme::Https, &format!("host{n}"), 443));
    parts.hops = vec![Hop::Tls {
        server_name: ServerName::new(format!("host{n}")),
        offer: vec![httpcore_core_primitives::Alpn::Http2],
    }];
    parts.into()
}

pub(crate) fn get(path: &str) -> Request {
    http::Request::get(path).body(Body::empty()).unwrap()
}

pub(crate) fn post(path: &str) -> Request {
    http::Request::post(path).body(Body::from("data")).unwrap()
}

/// Sends a request and reads its response to the end.
pub(crate) async fn fetch(pool: &Pool, route: &Route, request: Request) -> Result<Bytes, Error> {
    let response = pool.send(route.clone(), request).await?;
    response.into_body().bytes(1 << 20).await
}

struct Connector(Arc<Peer>);

/// Counts up, and down again when dropped.
struct Count(Arc<Peer>, fn(&Peer) -> &AtomicUsize);

impl Count {
    fn new(peer: &Arc<Peer>, of: fn(&Peer) -> &AtomicUsize) -> Self {
        of(peer).fetch_add(1, SeqCst);
        Count(peer.clone(), of)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, SeqCst);
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        route: &Route,
        _terms: &ConnectContext,
    ) -> BoxFuture<'static, Result<Established, Error>> {
        let peer = self.0.clone();
        let number = peer.dials.fetch_add(1, SeqCst);
        peer.dialled_at.lock().unwrap().push(peer.net.elapsed());
        let hangs = *peer.hanging.lock().unwrap() == Some(route.origin().host())
            || number < peer.first_dials_hang.load(SeqCst);
        let running = Count::new(&peer, |peer| &peer.dials_running);
        let sleep = peer.net.sleep(*peer.dial.lock().unwrap());
        Box::pin(async move {
            let _running = running;
            sleep.await;
            if hangs {
                std::future::pending::<()>().await;
            }
            if peer.dials_fail.load(SeqCst) || number < peer.first_dials_fail.load(SeqCst) {
                return Err(Error::new(
                    ErrorKind::Connect,
                    ErrorPhase::Connect,
                    RequestSent::None,
                ));
            }
            let wire = Arc::new(Wire::default());
            peer.wires.lock().unwrap().push(wire.clone());
            let alive = Count::new(&peer, |peer| &peer.alive);
            peer.most_alive.fetch_max(peer.alive(), SeqCst);
            let fake = Fake {
                peer: peer.clone(),
                wire,
                _alive: alive,
            };
            let admits = peer.admits.load(SeqCst);
            let goes_away = peer.goes_away.load(SeqCst);
            Ok(if admits == 0 {
                fake.wire.closed.store(goes_away, SeqCst);
                Established::Exclusive(Box::new(fake))
            } else {
                if peer.admits_nothing.load(SeqCst) {
                    fake.wire.pause();
                } else {
                    fake.wire.admit(if goes_away { 0 } else { admits });
                }
                Established::Shared(Arc::new(fake))
            })
        })
    }
}

/// What both sides know of a connection.
#[derive(Default)]
struct Wire {
    closed: AtomicBool,
    closed_unheard: AtomicBool,
    news: Mutex<Option<StreamLimit>>,
    waker: Mutex<Option<Waker>>,
}

impl Wire {
    fn close(&self) {
        self.closed.store(true, SeqCst);
        self.wake();
    }

    /// As many exchanges, or none any more.
    fn admit(&self, exchanges: usize) {
        *self.news.lock().unwrap() = Some(match exchanges {
            0 => StreamLimit::Closed,
            limit => StreamLimit::Max(limit),
        });
        self.wake();
    }

    /// No exchanges, for now.
    fn pause(&self) {
        *self.news.lock().unwrap() = Some(StreamLimit::Max(0));
        self.wake();
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn listen(&self, cx: &mut Context<'_>) {
        *self.waker.lock().unwrap() = Some(cx.waker().clone());
    }

    fn is_dead(&self) -> bool {
        self.closed.load(SeqCst) || self.closed_unheard.load(SeqCst)
    }
}

struct Fake {
    peer: Arc<Peer>,
    wire: Arc<Wire>,
    _alive: Count,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

impl ExclusiveConnection for Fake {
    fn exchange(
        self: Box<Self>,
        request: Request,
        terms: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        let (peer, wire) = (self.peer.clone(), self.wire.clone());
        let holds = Holds {
            connection: Some(self),
            lease: Some(terms.lease),
        };
        exchange(&peer, wire, request, holds)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        if self.wire.closed.load(SeqCst) {
            return Poll::Ready(IdleEvent::Closed);
        }
        self.wire.listen(cx);
        Poll::Pending
    }

    fn info(&self) -> ConnectionInfo {
        ConnectionInfo::default()
    }

    fn version(&self) -> http::Version {
        http::Version::HTTP_11
    }
}

impl SharedConnection for Fake {
    fn exchange(
        &self,
        request: Request,
        terms: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        let holds = Holds {
            connection: None,
            lease: Some(terms.lease),
        };
        exchange(&self.peer, self.wire.clone(), request, holds)
    }

    fn poll_stream_limit(&self, cx: &mut Context<'_>) -> Poll<StreamLimit> {
        self.wire.listen(cx);
        self.wire
            .news
            .lock()
            .unwrap()
            .take()
            .map_or(Poll::Pending, Poll::Ready)
    }

    fn check_open(&self) -> bool {
        !self.wire.closed.load(SeqCst)
    }

    fn info(&self) -> ConnectionInfo {
        ConnectionInfo::default()
    }

    fn version(&self) -> http::Version {
        http::Version::HTTP_2
    }
}

/// What an exchange owns, in the order in which it is dropped.
struct Holds {
    connection: Option<Box<Fake>>,
    lease: Option<Lease>,
}

impl Holds {
    fn settle(&mut self) {
        let lease = self.lease.take().unwrap();
        match self.connection.take() {
            Some(connection) => {
                let hints = *connection.peer.hints.lock().unwrap();
                lease.give_back_with(connection, hints);
            }
            None => lease.close(CloseReason::Finished),
        }
    }
}

fn exchange(
    peer: &Arc<Peer>,
    wire: Arc<Wire>,
    request: Request,
    mut holds: Holds,
) -> BoxFuture<'static, Result<Response, SendError>> {
    let count = Count::new(peer, |peer| &peer.exchanges);
    let peer = peer.clone();
    let (head, body) = {
        let answer = *peer.answer.lock().unwrap();
        (peer.net.sleep(answer), peer.net.sleep(2 * answer))
    };
    Box::pin(async move {
        let _count = count;
        if wire.is_dead() {
            let error = Error::new(
                ErrorKind::ConnectionClosed,
                ErrorPhase::Head,
                RequestSent::Full,
            );
            return Err(SendError::new(error, Some(Box::new(request))));
        }
        head.await;
        peer.served
            .lock()
            .unwrap()
            .push(request.uri().path().to_owned());
        let mut body = Box::pin(body);
        let mut said = false;
        let body = Body::poll_fn(move |cx| {
            if said {
                return Poll::Ready(None);
            }
            std::task::ready!(body.as_mut().poll(cx));
            said = true;
            holds.settle();
            Poll::Ready(Some(Ok::<_, Error>(Bytes::from_static(b"answer"))))
        });
        Ok(Response::new(body))
    })
}

/// Waits until everything that can run has run.
pub(crate) async fn turn() {
    let mut turns = 0;
    poll_fn(|cx| {
        turns += 1;
        if turns > 20 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Polls `sending` once. Returns whether it waits.
pub(crate) async fn is_waiting(sending: &mut Pin<Box<ResponseFuture>>) -> bool {
    poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_pending())).await
}

pub(crate) fn with_timeouts(mut request: Request, timeouts: Timeouts) -> Request {
    request.extensions_mut().insert(timeouts);
    request
}

pub(crate) fn with_use(mut request: Request, policy: ConnectionPolicy) -> Request {
    request.extensions_mut().insert(policy);
    request
}

/// The names of requests, when they ended, and how.
pub(crate) type Ended = Arc<Mutex<Vec<(String, Duration, Option<ErrorKind>)>>>;

/// Sends a request to host `n` in a task, which notes when it has ended and how.
pub(crate) fn spawn(net: &MockNet, pool: &Pool, n: usize, name: &str, ended: &Ended) {
    let (net_, pool, ended, name) = (net.clone(), pool.clone(), ended.clone(), name.to_owned());
    net.spawn("request", async move {
        let outcome = fetch(&pool, &route(n), get(&format!("/{name}"))).await;
        let kind = outcome.err().map(|error: Error| error.kind());
        ended.lock().unwrap().push((name, net_.elapsed(), kind));
    });
}
