//! Connections to a proxy that forwards requests and challenges them (407): each exchange answers as often
//! as the proxy's hook does, and is one exchange to the pool.
//!
//! The answer goes out on the connection that the challenge came on, which some schemes authenticate as a
//! whole. A connection that ends with the challenge gives its request back to the pool, for a new one.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use http::{StatusCode, Version, header};
use httpcore_core_primitives::{
    Body, BoxFuture, CloseReason, ConnectionInfo, Error, ErrorKind, Established, ExchangeContext,
    ExclusiveConnection, IdleEvent, Lease, LeaseId, LeaseOwner, LeaseState, MisdirectedRequest,
    Request, RequestTarget, Response, SendError, SharedConnection, StreamLimit, lease::LeaseEnd,
    noop_waker,
};
use httpcore_proxy::{Challenges, Proxy};

/// Maximum number of bytes of a challenge's body that are read so that its connection can be used again.
const MAX_CHALLENGE_BODY: usize = 64 * 1024;

/// Makes `connection`, which leads to `proxy`, answer the challenges of that.
pub(crate) fn answering(connection: Established, proxy: &Proxy) -> Established {
    let proxy = proxy.clone();
    match connection {
        Established::Exclusive(inner) => {
            Established::Exclusive(Box::new(Answering { inner, proxy }))
        }
        Established::Shared(inner) => Established::Shared(Arc::new(Answering { inner, proxy })),
    }
}

struct Answering<C> {
    inner: C,
    proxy: Proxy,
}

impl<C: fmt::Debug> fmt::Debug for Answering<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answering").field(&self.inner).finish()
    }
}

impl ExclusiveConnection for Answering<Box<dyn ExclusiveConnection>> {
    fn exchange(
        self: Box<Self>,
        request: Request,
        context: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        Box::pin(exchange(
            Via::Exclusive(self.inner),
            self.proxy,
            request,
            context,
        ))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        self.inner.poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        self.inner.info()
    }

    fn version(&self) -> Version {
        self.inner.version()
    }
}

impl SharedConnection for Answering<Arc<dyn SharedConnection>> {
    fn exchange(
        &self,
        request: Request,
        context: ExchangeContext,
    ) -> BoxFuture<'static, Result<Response, SendError>> {
        let via = Via::Shared(self.inner.clone());
        Box::pin(exchange(via, self.proxy.clone(), request, context))
    }

    fn poll_stream_limit(&self, cx: &mut Context<'_>) -> Poll<StreamLimit> {
        self.inner.poll_stream_limit(cx)
    }

    fn check_open(&self) -> bool {
        self.inner.check_open()
    }

    fn info(&self) -> ConnectionInfo {
        self.inner.info()
    }

    fn version(&self) -> Version {
        self.inner.version()
    }
}

/// The connection of the next round.
enum Via {
    Exclusive(Box<dyn ExclusiveConnection>),
    Shared(Arc<dyn SharedConnection>),
}

/// The challenges that a request has answered, in its extensions: they count across connections.
#[derive(Clone)]
struct Answered(Challenges);

async fn exchange(
    mut via: Via,
    proxy: Proxy,
    mut request: Request,
    context: ExchangeContext,
) -> Result<Response, SendError> {
    let mut challenges = match request.extensions_mut().remove() {
        Some(Answered(challenges)) => challenges,
        None => proxy.challenges(),
    };
    let ExchangeContext {
        lease,
        timeouts,
        deadline,
        attempt,
        trace,
        ..
    } = context;
    let claim = Claim::new(lease, proxy);
    let mut is_answer = false;
    loop {
        let copy = copy_of(&request);
        let context = ExchangeContext::new(claim.lease())
            .with_timeouts(timeouts)
            .with_deadline(deadline)
            .with_attempt(attempt)
            .with_trace(trace.clone());
        let shared = match &via {
            Via::Shared(shared) => Some(shared.clone()),
            Via::Exclusive(_) => None,
        };
        let sending = match via {
            Via::Exclusive(connection) => connection.exchange(request, context),
            Via::Shared(connection) => connection.exchange(request, context),
        };
        let response = match sending.await {
            Ok(response) => response,
            Err(failure) => {
                // The proxy closed the connection instead of reading the answer, or while it forwarded the
                // request: a method that is not idempotent is not sent twice.
                return match copy.filter(|_| is_answer && ended_unanswered(&failure.error)) {
                    Some(copy) if shared.is_none() && copy.method().is_idempotent() => {
                        Ok(on_new_connection(copy, challenges))
                    }
                    _ => Err(failure),
                };
            }
        };
        let answer = copy.and_then(|copy| {
            let target = target_of(&copy);
            let (status, fields) = (response.status(), response.headers());
            let value = challenges.answer(status, fields, copy.method(), &target)?;
            Some((copy, value))
        });
        let Some((mut next, value)) = answer else {
            return Ok(response);
        };
        next.headers_mut()
            .insert(header::PROXY_AUTHORIZATION, value);
        is_answer = true;
        drain(response.into_body()).await;
        via = match (shared, claim.next()) {
            (Some(shared), _) => Via::Shared(shared),
            (None, Some(connection)) => Via::Exclusive(connection),
            (None, None) => return Ok(on_new_connection(next, challenges)),
        };
        request = next;
    }
}

/// Returns the request for another round, unless its body can be sent only once.
fn copy_of(request: &Request) -> Option<Request> {
    let body = request.body().try_clone()?;
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// Returns what stands in the request line, which is the absolute form (RFC 9112 §3.2.2).
fn target_of(request: &Request) -> String {
    if let Some(RequestTarget::Exact(target)) = request.extensions().get() {
        return String::from_utf8_lossy(target).into_owned();
    }
    let uri = request.uri();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{}://{host}{path}", uri.scheme_str().unwrap_or("http"))
}

/// Reads the rest of a challenge, so that its connection can be used again. Dropped, it ends the connection.
async fn drain(mut body: Body) {
    let mut left = MAX_CHALLENGE_BODY;
    while let Some(Ok(chunk)) = body.chunk().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn ended_unanswered(error: &Error) -> bool {
    !error.response_started()
        && matches!(
            error.kind(),
            ErrorKind::ConnectionClosed | ErrorKind::Network
        )
}

/// Returns what has the pool send `request` on a new connection.
fn on_new_connection(mut request: Request, challenges: Challenges) -> Response {
    request.extensions_mut().insert(Answered(challenges));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    let again = MisdirectedRequest::new(request);
    response.extensions_mut().insert(again);
    response
}

/// The pool's claim on the connection, for all rounds. Each round has a lease of this one, whose end is kept
/// until it is known whether another round follows.
struct Claim(Arc<Rounds>);

struct Rounds {
    id: LeaseId,
    owner: Option<Arc<dyn LeaseOwner>>,
    /// In place of the owner's.
    unowned: LeaseState,
    proxy: Proxy,
    end: Mutex<RoundEnd>,
}

enum RoundEnd {
    /// The round goes on, or the next one has not begun.
    Awaited,
    Kept(LeaseEnd),
    /// The round is the last: its end is that of the claim.
    Passed,
}

impl Claim {
    fn new(lease: Lease, proxy: Proxy) -> Self {
        let (id, owner) = lease.into_parts();
        Claim(Arc::new(Rounds {
            id,
            owner,
            unowned: LeaseState::default(),
            proxy,
            end: Mutex::new(RoundEnd::Awaited),
        }))
    }

    /// Returns the lease of one round.
    fn lease(&self) -> Lease {
        Lease::new(self.0.id, self.0.clone())
    }

    /// Returns the connection of the last round, if that has left one that is open.
    fn next(&self) -> Option<Box<dyn ExclusiveConnection>> {
        let end = std::mem::replace(&mut *self.0.lock(), RoundEnd::Awaited);
        let kept = match end {
            RoundEnd::Kept(LeaseEnd::Returned(mut connection, _)) => {
                let mut cx = Context::from_waker(noop_waker());
                if connection.poll_idle(&mut cx).is_pending() {
                    return Some(connection);
                }
                RoundEnd::Kept(LeaseEnd::Closed(CloseReason::EndedByClose))
            }
            other => other,
        };
        *self.0.lock() = kept;
        None
    }
}

/// The rounds are over, or the exchange was dropped: what ends from now on ends the claim.
impl Drop for Claim {
    fn drop(&mut self) {
        let end = std::mem::replace(&mut *self.0.lock(), RoundEnd::Passed);
        if let RoundEnd::Kept(outcome) = end {
            self.0.settle(outcome);
        }
    }
}

impl Rounds {
    fn lock(&self) -> MutexGuard<'_, RoundEnd> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, outcome: LeaseEnd) {
        let Some(owner) = &self.owner else {
            return;
        };
        let outcome = match outcome {
            LeaseEnd::Returned(inner, hints) => {
                let proxy = self.proxy.clone();
                LeaseEnd::Returned(Box::new(Answering { inner, proxy }), hints)
            }
            closed @ LeaseEnd::Closed(_) => closed,
        };
        owner.clone().reclaim(self.id, outcome);
    }
}

impl LeaseOwner for Rounds {
    fn reclaim(self: Arc<Self>, _lease: LeaseId, outcome: LeaseEnd) {
        {
            let mut end = self.lock();
            if !matches!(*end, RoundEnd::Passed) {
                *end = RoundEnd::Kept(outcome);
                return;
            }
        }
        self.settle(outcome);
    }

    fn lease_state(&self) -> &LeaseState {
        match &self.owner {
            Some(owner) => owner.lease_state(),
            None => &self.unowned,
        }
    }
}
