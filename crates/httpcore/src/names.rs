//! Which addresses the hosts of a pool have: overrides first, then a cache, then the pool's own resolver
//! or the backend's.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use httpcore_core_primitives::{BoxFuture, LazyTimer, NetworkBackend, Runtime};
use httpcore_resolver::{AnswerFuture, CachingResolver, Lookup, Resolve, StaticHosts, joined};

/// Time for which IPv4 addresses wait for the IPv6 ones of the same host (RFC 8305 §3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// How a pool resolves names.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameConfig {
    pub(crate) resolver: Option<Arc<dyn Resolve>>,
    pub(crate) hosts: Vec<(String, Vec<IpAddr>)>,
    /// The times for which addresses, and missing names, are cached.
    pub(crate) cache: Option<(Duration, Duration)>,
}

impl NameConfig {
    /// Returns the resolver; `None` if it is the backend's alone.
    pub(crate) fn build(self, backend: &Arc<dyn NetworkBackend>) -> Option<Arc<dyn Resolve>> {
        if self.resolver.is_none() && self.hosts.is_empty() && self.cache.is_none() {
            return None;
        }
        let mut names: Arc<dyn Resolve> = match self.resolver {
            Some(resolver) => resolver,
            None => Arc::new(BackendNames(backend.clone())),
        };
        if let Some((positive, negative)) = self.cache {
            let clock = backend.clone();
            let cache = CachingResolver::new(names, move || clock.now());
            names = Arc::new(cache.positive_ttl(positive).negative_ttl(negative));
        }
        if !self.hosts.is_empty() {
            let mut table = StaticHosts::new(names);
            for (host, addresses) in self.hosts {
                table = table.host(&host, addresses);
            }
            names = Arc::new(table);
        }
        Some(names)
    }
}

/// The resolver of a backend.
#[derive(Debug)]
struct BackendNames(Arc<dyn NetworkBackend>);

impl Resolve for BackendNames {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        self.0.resolve(host, port)
    }
}

/// Returns the addresses of `host` in `overrides`, if it is there: without regard to case and a final
/// dot, as in [`StaticHosts`].
pub(crate) fn overridden(
    overrides: &[(String, Vec<IpAddr>)],
    host: &str,
    port: u16,
) -> Option<Vec<SocketAddr>> {
    let relative = |host: &str| host.strip_suffix('.').unwrap_or(host).len();
    let host = &host[..relative(host)];
    let (_, addresses) = overrides
        .iter()
        .find(|(name, _)| name[..relative(name)].eq_ignore_ascii_case(host))?;
    let addresses = addresses.iter().map(|ip| SocketAddr::new(*ip, port));
    Some(addresses.collect())
}

/// The addresses with which connecting begins, and the look-up of the rest, if that goes on.
pub(crate) struct FirstAddresses {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) rest: Option<AnswerFuture>,
}

/// Waits until connecting may begin (RFC 8305 §3): for all addresses; or for IPv6 ones; or for IPv4 ones
/// and [`RESOLUTION_DELAY`] more.
pub(crate) struct FirstAnswer {
    v6: Family,
    v4: Family,
    /// When IPv4 addresses alone are enough, once they are there.
    due: Option<Instant>,
    timer: LazyTimer,
    runtime: Arc<dyn Runtime>,
}

enum Family {
    Asked(AnswerFuture),
    Answered(io::Result<Vec<SocketAddr>>),
}

impl Family {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Family::Asked(answer) = self
            && let Poll::Ready(answer) = answer.as_mut().poll(cx)
        {
            *self = Family::Answered(answer.map(|answer| answer.addresses));
        }
    }

    fn take(&mut self) -> Family {
        std::mem::replace(self, Family::Answered(Ok(Vec::new())))
    }

    /// Whether there are addresses.
    fn is_there(&self) -> bool {
        matches!(self, Family::Answered(Ok(found)) if !found.is_empty())
    }
}

impl FirstAnswer {
    pub(crate) fn new(lookup: Lookup, runtime: Arc<dyn Runtime>) -> Self {
        let (v6, v4) = match lookup {
            Lookup::Whole(answer) => (Family::Answered(Ok(Vec::new())), Family::Asked(answer)),
            Lookup::Families { v6, v4 } => (Family::Asked(v6), Family::Asked(v4)),
        };
        FirstAnswer {
            v6,
            v4,
            due: None,
            timer: LazyTimer::new(runtime.clone(), "IPv6 addresses"),
            runtime,
        }
    }
}

impl Future for FirstAnswer {
    type Output = io::Result<FirstAddresses>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.v6.poll(cx);
        this.v4.poll(cx);
        match (&this.v6, &this.v4) {
            (Family::Asked(_), Family::Answered(_)) if this.v4.is_there() => {
                let due = *this
                    .due
                    .get_or_insert_with(|| this.runtime.now() + RESOLUTION_DELAY);
                std::task::ready!(this.timer.poll_until(cx, Some(due)));
            }
            (Family::Answered(_), Family::Asked(_)) if this.v6.is_there() => {}
            (Family::Answered(_), Family::Answered(_)) => {}
            _ => return Poll::Pending,
        }
        let found = match (this.v6.take(), this.v4.take()) {
            (Family::Answered(v6), Family::Answered(v4)) => joined(v6, v4).map(|addresses| {
                let rest = None;
                FirstAddresses { addresses, rest }
            }),
            (Family::Answered(first), Family::Asked(rest))
            | (Family::Asked(rest), Family::Answered(first)) => first.map(|addresses| {
                let rest = Some(rest);
                FirstAddresses { addresses, rest }
            }),
            (Family::Asked(_), Family::Asked(_)) => unreachable!("one of them has been answered"),
        };
        Poll::Ready(found)
    }
}
