//! A cache with a virtual clock: half an hour of look-ups in no real time.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use httpcore_core_primitives::BoxFuture;
use httpcore_net_mock::MockNet;
use httpcore_resolver::{CachingResolver, Resolve, StaticHosts};

/// A stand-in for a resolver that uses the network. Counts its look-ups.
#[derive(Debug)]
struct Counted {
    lookups: AtomicUsize,
    table: StaticHosts,
}

impl Resolve for Counted {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.table.resolve(host, port)
    }
}

/// A resolver for which no name exists.
#[derive(Debug)]
struct Nothing;

impl Resolve for Nothing {
    fn resolve(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let error = io::Error::new(io::ErrorKind::NotFound, "no such name");
        Box::pin(std::future::ready(Err(error)))
    }
}

fn main() {
    let net = MockNet::new();
    let known = Ipv4Addr::new(192, 0, 2, 1);
    let inner = Arc::new(Counted {
        lookups: AtomicUsize::new(0),
        table: StaticHosts::new(Arc::new(Nothing)).host("known.test", [known.into()]),
    });
    let clock = net.clone();
    let cache = CachingResolver::new(inner.clone(), move || clock.now())
        .positive_ttl(Duration::from_secs(600))
        .negative_ttl(Duration::from_secs(60));
    for host in ["known.test", "unknown.test"] {
        let before = inner.lookups.load(Ordering::Relaxed);
        net.run(async {
            for _ in 0..1800 {
                let _ = cache.resolve(host, 443).await;
                net.sleep(Duration::from_secs(1)).await;
            }
        });
        let lookups = inner.lookups.load(Ordering::Relaxed) - before;
        println!("{host}: 1800 times asked for in half an hour, {lookups} look-ups");
    }
}
