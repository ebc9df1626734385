//! A cache in front of another resolver.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use httpcore_core_primitives::BoxFuture;

use crate::{
    Answer, AnswerFuture, Lookup, Resolve,
    failure::Failure,
    getaddrinfo::with_port,
    host::{check, key},
    lookup::without_ttl,
    sync::{Arc, Mutex, MutexGuard, lock},
};

/// Maximum number of addresses in an answer that is cached.
const MAX_ADDRESSES: usize = 256;

/// A cache in front of another resolver.
///
/// - Addresses are kept for the TTL of the answer, if it has one ([`Resolve::lookup`]), but at most for a
///   day; otherwise for 30 seconds ([`positive_ttl`](Self::positive_ttl)), since the system's look-up does not
///   pass on the TTLs of DNS. That a name does not exist or has no addresses
///   ([`io::ErrorKind::NotFound`]) is kept for 5 seconds ([`negative_ttl`](Self::negative_ttl)). All are
///   counted from the moment of the answer. Zero disables that part of the cache.
/// - Address families that the inner resolver asks for apart are kept apart.
/// - Other errors are not kept: the next look-up calls the inner resolver again.
/// - Up to 1,024 names are kept ([`max_entries`](Self::max_entries)); beyond that, the one that was
///   used least recently is dropped. An answer with more than 256 addresses is not kept, nor is one
///   for a host that is empty or longer than a domain name can be.
/// - Names are compared without case; a dot at the end counts, because the system may search other
///   domains for a name without it.
/// - Concurrent look-ups of one name that is not in the cache all call the inner resolver;
///   [`SystemResolver`](crate::SystemResolver) makes one look-up of them.
/// - Dropping the future drops the inner one, and nothing is cached.
pub struct CachingResolver {
    inner: Arc<dyn Resolve>,
    now: Arc<Clock>,
    cache: Arc<Mutex<Cache>>,
}

/// Maximum time for which an answer is kept, whatever its TTL says. The names that a cache holds are
/// bounded, and so is the harm of a wrong TTL.
const MAX_TTL: Duration = Duration::from_secs(86_400);

/// Which addresses an entry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Whole,
    V6,
    V4,
}

type Clock = dyn Fn() -> Instant + Send + Sync;

impl CachingResolver {
    /// Creates an empty cache in front of `inner`, with the default limits.
    ///
    /// `now` is the clock of the runtime: `move || runtime.now()`. A resolver that is part of its
    /// runtime must not hold the runtime, which would then never be dropped. A loop of `httpcore-net-epoll`
    /// is built after its resolver, and has `EventLoop::now` for this.
    pub fn new(inner: Arc<dyn Resolve>, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        CachingResolver {
            inner,
            now: Arc::new(now),
            cache: Arc::new(Mutex::new(Cache::default())),
        }
    }

    /// Sets the time for which addresses are cached that come without a TTL. 30 seconds by default; zero
    /// caches no addresses, whatever their TTL.
    #[must_use = "the resolver is returned"]
    pub fn positive_ttl(self, ttl: Duration) -> Self {
        self.cache().positive_ttl = ttl;
        self
    }

    /// Sets the time for which it is cached that a name does not exist. 5 seconds by default.
    #[must_use = "the resolver is returned"]
    pub fn negative_ttl(self, ttl: Duration) -> Self {
        self.cache().negative_ttl = ttl;
        self
    }

    /// Sets the maximum number of cached names. At least one; 1,024 by default.
    #[must_use = "the resolver is returned"]
    pub fn max_entries(self, max_entries: usize) -> Self {
        self.cache().max_entries = max_entries.max(1);
        self
    }

    /// Removes all entries: the next look-up of each name calls the inner resolver. Results of look-ups in
    /// progress are cached when they complete.
    pub fn clear(&self) {
        let mut cache = self.cache();
        cache.entries = HashMap::new();
        cache.by_use = BTreeMap::new();
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        lock(&self.cache)
    }

    fn known(&self, key: &Arc<str>, part: Part, port: u16) -> Option<io::Result<Vec<SocketAddr>>> {
        // The clock is foreign code: it is not called under the lock.
        let now = (self.now)();
        self.cache().get(key, part, now, port)
    }

    fn miss(&self, key: Arc<str>, part: Part, lookup: AnswerFuture) -> AnswerFuture {
        Box::pin(Miss {
            lookup,
            key: (key, part),
            now: self.now.clone(),
            cache: self.cache.clone(),
        })
    }
}

impl Resolve for CachingResolver {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        // Invalid names are not cached, so that the length of keys is bounded.
        if check(host).is_err() {
            return self.inner.resolve(host, port);
        }
        let key = key(host);
        match self.known(&key, Part::Whole, port) {
            Some(known) => Box::pin(std::future::ready(known)),
            None => {
                let answer = without_ttl(self.inner.resolve(host, port));
                Lookup::Whole(self.miss(key, Part::Whole, answer)).into_addresses()
            }
        }
    }

    fn lookup(&self, host: &str, port: u16) -> Lookup {
        if check(host).is_err() {
            return self.inner.lookup(host, port);
        }
        let key = key(host);
        if let Some(known) = self.known(&key, Part::Whole, port) {
            return Lookup::ready(known.map(Answer::new));
        }
        let v6 = self.known(&key, Part::V6, port);
        let v4 = self.known(&key, Part::V4, port);
        let ready = |known: io::Result<Vec<SocketAddr>>| -> AnswerFuture {
            Box::pin(std::future::ready(known.map(Answer::new)))
        };
        let (v6, v4) = match (v6, v4) {
            (Some(v6), Some(v4)) => {
                let (v6, v4) = (ready(v6), ready(v4));
                return Lookup::Families { v6, v4 };
            }
            known => known,
        };
        match self.inner.lookup(host, port) {
            Lookup::Whole(answer) => Lookup::Whole(self.miss(key, Part::Whole, answer)),
            // Of what is known already, the new look-up is dropped before it begins.
            Lookup::Families {
                v6: asked6,
                v4: asked4,
            } => Lookup::Families {
                v6: match v6 {
                    Some(known) => ready(known),
                    None => self.miss(key.clone(), Part::V6, asked6),
                },
                v4: match v4 {
                    Some(known) => ready(known),
                    None => self.miss(key, Part::V4, asked4),
                },
            },
        }
    }
}

impl fmt::Debug for CachingResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entries, max_entries) = {
            let cache = self.cache();
            (cache.entries.len(), cache.max_entries)
        };
        f.debug_struct("CachingResolver")
            .field("entries", &entries)
            .field("max_entries", &max_entries)
            .field("inner", &self.inner)
            .finish()
    }
}

/// The entries. The caller passes the time.
struct Cache {
    positive_ttl: Duration,
    negative_ttl: Duration,
    max_entries: usize,
    entries: HashMap<Key, Entry>,
    /// The keys of all entries, the least recently used first.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
}

/// A name in the form in which names are compared, and which of its addresses.
type Key = (Arc<str>, Part);

struct Entry {
    answer: Result<Vec<SocketAddr>, Failure>,
    /// `None` is never.
    expires: Option<Instant>,
    /// Its key in [`Cache::by_use`].
    used: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Cache {
            positive_ttl: Duration::from_secs(30),
            negative_ttl: Duration::from_secs(5),
            max_entries: 1024,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }
}

impl Cache {
    fn get(
        &mut self,
        key: &Arc<str>,
        part: Part,
        now: Instant,
        port: u16,
    ) -> Option<io::Result<Vec<SocketAddr>>> {
        let key = (key.clone(), part);
        let entry = self.entries.get_mut(&key)?;
        if entry.expires.is_some_and(|expires| expires <= now) {
            let used = entry.used;
            self.entries.remove(&key);
            self.by_use.remove(&used);
            return None;
        }
        self.uses += 1;
        let former = std::mem::replace(&mut entry.used, self.uses);
        if let Some(key) = self.by_use.remove(&former) {
            self.by_use.insert(self.uses, key);
        }
        Some(match &entry.answer {
            Ok(found) => Ok(with_port(found, port)),
            Err(failure) => Err(failure.error()),
        })
    }

    /// Returns the time for which an answer is cached; `None` if it is not.
    fn ttl(&self, answer: &io::Result<Answer>) -> Option<Duration> {
        let ttl = match answer {
            Ok(found) if found.addresses.len() > MAX_ADDRESSES => return None,
            Ok(found) if found.addresses.is_empty() => self.negative_ttl,
            Ok(_) if self.positive_ttl.is_zero() => return None,
            Ok(found) => found.ttl.map_or(self.positive_ttl, |ttl| ttl.min(MAX_TTL)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.negative_ttl,
            Err(_) => return None,
        };
        (!ttl.is_zero()).then_some(ttl)
    }

    fn insert(
        &mut self,
        key: Key,
        answer: Result<Vec<SocketAddr>, Failure>,
        expires: Option<Instant>,
    ) {
        self.uses += 1;
        let entry = Entry {
            answer,
            expires,
            used: self.uses,
        };
        self.by_use.insert(self.uses, key.clone());
        if let Some(former) = self.entries.insert(key, entry) {
            self.by_use.remove(&former.used);
        }
        while self.entries.len() > self.max_entries {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            self.entries.remove(&oldest);
        }
    }
}

/// A look-up of a name that is not in the cache.
struct Miss {
    lookup: AnswerFuture,
    key: Key,
    now: Arc<Clock>,
    cache: Arc<Mutex<Cache>>,
}

impl Future for Miss {
    type Output = io::Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.lookup.as_mut().poll(cx));
        let Some(ttl) = lock(&self.cache).ttl(&answer) else {
            return Poll::Ready(answer);
        };
        // The clock and the error's `Display` are foreign code: neither is called under the lock.
        let expires = (self.now)().checked_add(ttl);
        let (kept, answer) = match answer {
            Ok(found) => (Ok(found.addresses.clone()), Ok(found)),
            Err(error) => {
                let failure = Failure::not_found(&error);
                (Err(failure), Err(error))
            }
        };
        lock(&self.cache).insert(self.key.clone(), kept, expires);
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests;
