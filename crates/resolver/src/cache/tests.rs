//! In virtual time: the clock is a mock network's, and so is the delay of the inner resolver.

use std::sync::atomic::{AtomicUsize, Ordering};

use httpcore_net_mock::MockNet;

use super::*;

/// Answers after a second, each time with another address, and counts its calls.
struct Slow {
    net: MockNet,
    asked: AtomicUsize,
}

impl fmt::Debug for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slow")
    }
}

impl Slow {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Resolve for Slow {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from(([192, 0, 2, number as u8], port));
        let answer = match host {
            "unknown" => Err(io::Error::new(io::ErrorKind::NotFound, "y".repeat(5000))),
            "failing" => Err(io::Error::from(io::ErrorKind::TimedOut)),
            "empty" => Ok(Vec::new()),
            "many" => Ok(vec![address; 257]),
            _ => Ok(vec![address]),
        };
        let delay = self.net.sleep(Duration::from_secs(1));
        Box::pin(async {
            delay.await;
            answer
        })
    }
}

struct Setup {
    net: MockNet,
    inner: Arc<Slow>,
    cache: CachingResolver,
}

fn setup() -> Setup {
    let net = MockNet::new();
    let inner = Arc::new(Slow {
        net: net.clone(),
        asked: AtomicUsize::new(0),
    });
    let clock = net.clone();
    let cache = CachingResolver::new(inner.clone(), move || clock.now());
    Setup { net, inner, cache }
}

impl Setup {
    fn ask(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        self.net.run(self.cache.resolve(host, 80))
    }

    fn pass(&self, millis: u64) {
        self.net.run(self.net.sleep(Duration::from_millis(millis)));
    }
}

#[test]
fn addresses_are_cached_for_the_ttl_after_the_answer() {
    let setup = setup();
    let first = setup.ask("a.test").unwrap();
    setup.pass(29_999);
    assert_eq!(setup.ask("A.test").unwrap(), first);
    let other_port = setup.net.run(setup.cache.resolve("a.test", 443)).unwrap();
    assert_eq!(other_port, [SocketAddr::new(first[0].ip(), 443)]);
    assert_eq!(setup.inner.asked(), 1);
    setup.pass(1);
    assert_ne!(setup.ask("a.test").unwrap(), first);
    assert_eq!(setup.inner.asked(), 2);
    // A use does not prolong it.
    setup.pass(20_000);
    setup.ask("a.test").unwrap();
    setup.pass(10_000);
    setup.ask("a.test").unwrap();
    assert_eq!(setup.inner.asked(), 3);
    // The name with a final dot is another name, since the system's search list does not apply.
    setup.ask("a.test.").unwrap();
    assert_eq!(setup.inner.asked(), 4);
}

#[test]
fn missing_names_are_cached_for_the_negative_ttl() {
    let setup = setup();
    for _ in 0..2 {
        let error = setup.ask("unknown").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
    assert!(setup.ask("unknown").unwrap_err().to_string().len() < 300);
    assert!(setup.ask("empty").unwrap().is_empty());
    assert!(setup.ask("empty").unwrap().is_empty());
    assert_eq!(setup.inner.asked(), 2);
    setup.pass(5_000);
    setup.ask("unknown").unwrap_err();
    setup.ask("empty").unwrap();
    assert_eq!(setup.inner.asked(), 4);
}

#[test]
fn other_errors_and_very_long_answers_are_not_cached() {
    let setup = setup();
    for asked in 1..=3 {
        let error = setup.ask("failing").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(setup.inner.asked(), asked);
    }
    for asked in 4..=5 {
        assert_eq!(setup.ask("many").unwrap().len(), 257);
        assert_eq!(setup.inner.asked(), asked);
    }
    for asked in 6..=7 {
        setup.ask(&"a".repeat(300)).unwrap();
        assert_eq!(setup.inner.asked(), asked);
    }
    assert!(setup.cache.cache().entries.is_empty());
}

#[test]
fn least_recently_used_name_is_removed_from_a_full_cache() {
    let mut setup = setup();
    setup.cache = setup.cache.max_entries(3);
    for host in ["a", "b", "c"] {
        setup.ask(host).unwrap();
    }
    setup.ask("a").unwrap();
    setup.ask("d").unwrap();
    assert_eq!(setup.inner.asked(), 4);
    for host in ["a", "c", "d"] {
        setup.ask(host).unwrap();
    }
    assert_eq!(setup.inner.asked(), 4, "one that was used was dropped");
    setup.ask("b").unwrap();
    assert_eq!(setup.inner.asked(), 5, "the one that was not used was kept");
    for n in 0..100 {
        setup.ask(&format!("{n}.test")).unwrap();
        let cache = setup.cache.cache();
        assert_eq!(cache.entries.len(), 3);
        assert_eq!(cache.by_use.len(), 3);
    }
}

#[test]
fn zero_ttls_cache_nothing_and_endless_ones_do_not_overflow() {
    let mut setup = setup();
    setup.cache = setup
        .cache
        .positive_ttl(Duration::ZERO)
        .negative_ttl(Duration::MAX);
    setup.ask("a.test").unwrap();
    setup.ask("a.test").unwrap();
    assert_eq!(setup.inner.asked(), 2);
    setup.ask("unknown").unwrap_err();
    setup.pass(1_000_000_000);
    setup.ask("unknown").unwrap_err();
    assert_eq!(setup.inner.asked(), 3);
    setup.cache.clear();
    setup.ask("unknown").unwrap_err();
    assert_eq!(setup.inner.asked(), 4);
}

#[test]
fn dropped_lookup_leaves_no_entry_and_concurrent_ones_leave_one() {
    let setup = setup();
    let mut dropped = setup.cache.resolve("a.test", 1);
    let waker = std::task::Waker::noop();
    assert!(crate::testing::poll_with(&mut dropped, waker).is_pending());
    drop(dropped);
    assert!(setup.cache.cache().entries.is_empty());
    let first = setup.cache.resolve("a.test", 1);
    let second = setup.cache.resolve("a.test", 2);
    setup.net.run(first).unwrap();
    setup.net.run(second).unwrap();
    assert_eq!(setup.cache.cache().entries.len(), 1);
    assert_eq!(setup.cache.cache().by_use.len(), 1);
    assert_eq!(
        format!("{:?}", setup.cache),
        "CachingResolver { entries: 1, max_entries: 1024, inner: Slow }"
    );
}

/// Asks for the families apart: IPv4 addresses are valid for 10 seconds, and there are no IPv6 ones.
struct Apart {
    net: MockNet,
    asked: [Arc<AtomicUsize>; 2],
}

impl fmt::Debug for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Apart")
    }
}

impl Resolve for Apart {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        self.lookup(host, port).into_addresses()
    }

    fn lookup(&self, _: &str, port: u16) -> Lookup {
        let [v6, v4] = self.asked.clone();
        let pause = || self.net.sleep(Duration::from_secs(1));
        let (pause6, pause4) = (pause(), pause());
        Lookup::Families {
            v6: Box::pin(async move {
                pause6.await;
                v6.fetch_add(1, Ordering::Relaxed);
                Err(io::ErrorKind::NotFound.into())
            }),
            v4: Box::pin(async move {
                pause4.await;
                v4.fetch_add(1, Ordering::Relaxed);
                let address = SocketAddr::from(([192, 0, 2, 1], port));
                Ok(Answer::new(vec![address]).with_ttl(Duration::from_secs(10)))
            }),
        }
    }
}

#[test]
fn families_are_cached_apart_each_for_its_own_time() {
    let net = MockNet::new();
    let asked: [Arc<AtomicUsize>; 2] = Default::default();
    let inner = Arc::new(Apart {
        net: net.clone(),
        asked: asked.clone(),
    });
    let clock = net.clone();
    let cache = CachingResolver::new(inner, move || clock.now());
    let ask = || {
        net.run(cache.lookup("a.test", 80).into_addresses())
            .unwrap()
    };
    let asked = || asked.each_ref().map(|count| count.load(Ordering::Relaxed));
    for (pass, expected) in [(0, [1, 1]), (4_999, [1, 1]), (1, [2, 1]), (5_000, [3, 2])] {
        net.run(net.sleep(Duration::from_millis(pass)));
        assert_eq!(ask(), [SocketAddr::from(([192, 0, 2, 1], 80))]);
        assert_eq!(asked(), expected, "after {pass} ms more");
    }
}

#[test]
fn no_ttl_is_longer_than_a_day_and_zero_caches_nothing() {
    let net = MockNet::new();
    let inner: Arc<dyn Resolve> = Arc::new(Slow {
        net: net.clone(),
        asked: AtomicUsize::new(0),
    });
    let clock = net.clone();
    let cache = CachingResolver::new(inner.clone(), move || clock.now());
    let ttl = |ttl: u64| {
        let answer = Answer::new(vec![SocketAddr::from(([192, 0, 2, 1], 80))]);
        cache
            .cache()
            .ttl(&Ok(answer.with_ttl(Duration::from_secs(ttl))))
    };
    assert_eq!(ttl(86_401), Some(Duration::from_secs(86_400)));
    assert_eq!(ttl(7), Some(Duration::from_secs(7)));
    assert_eq!(ttl(0), None);
    let disabled = CachingResolver::new(inner, move || net.now()).positive_ttl(Duration::ZERO);
    let answer = Answer::new(vec![SocketAddr::from(([192, 0, 2, 1], 80))]);
    let answer = Ok(answer.with_ttl(Duration::from_secs(7)));
    assert_eq!(disabled.cache().ttl(&answer), None);
}
