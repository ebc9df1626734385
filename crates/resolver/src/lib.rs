//! Name resolution for the backends of [httpcore](https://docs.rs/httpcore), and for other programs with
//! blocking look-ups and futures.
//!
//! - [`Resolve`] is the trait: a host and a port in, addresses out. A [`Lookup`] may have the two address
//!   families apart, and TTLs.
//! - [`SystemResolver`] is the system's look-up on a bounded number of worker threads. One look-up for
//!   each name at a time; names whose servers do not answer do not block other names.
//! - [`StaticHosts`] resolves some names from a table, and passes the others to another resolver.
//! - [`CachingResolver`] caches the answers of another resolver, and that a name does not exist, for a
//!   limited time and a limited number of names.
//! - [`is_public`] returns whether an address belongs to the public Internet, for programs that connect
//!   to hosts from untrusted input; [`PublicAddresses`] is a filter that allows no others.
//! - [`literal`] parses IP addresses.
//!
//! ```
//! use httpcore_resolver::{CachingResolver, SystemResolver, Resolve, StaticHosts};
//! use std::{net::Ipv4Addr, sync::Arc, time::Instant};
//!
//! let system = Arc::new(SystemResolver::default());
//! // A backend's clock; this is the system's.
//! let cached = Arc::new(CachingResolver::new(system, Instant::now));
//! let resolver = StaticHosts::new(cached).host("api.test", [Ipv4Addr::LOCALHOST.into()]);
//! let answer = resolver.resolve("API.test", 8080);
//! # let waker = std::task::Waker::noop();
//! # let mut cx = std::task::Context::from_waker(waker);
//! # let std::task::Poll::Ready(found) = std::pin::pin!(answer).poll(&mut cx) else { panic!() };
//! # assert_eq!(found?, ["127.0.0.1:8080".parse().unwrap()]);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Time
//!
//! A look-up has no deadline of its own: the caller sets one (`Timeouts::resolve`) and drops the future.
//! This crate knows no event loop, no socket and no protocol.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod addresses;
mod cache;
mod failure;
mod getaddrinfo;
mod host;
mod lookup;
mod static_hosts;
mod sync;
mod system;
#[cfg(test)]
mod testing;

use std::{fmt, io, net::SocketAddr};

use httpcore_core_primitives::BoxFuture;

pub use addresses::{PublicAddresses, is_public};
pub use cache::CachingResolver;
pub use getaddrinfo::{Builder, SystemResolver};
pub use host::literal;
pub use lookup::{Answer, AnswerFuture, Lookup, joined};
pub use static_hosts::StaticHosts;

/// A resolver: the system's, a table, a cache, or a custom DNS client. It is passed to a backend when that
/// is built, for example by `EventLoop::builder().resolver(…)`.
///
/// It is not called for IP literals, which backends parse with [`literal`].
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// Looks up the addresses of `host`, in the order in which they should be tried, each with
    /// `port`. Dropping the future cancels the look-up for this caller.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if the name does not exist; any other kind if the look-up failed.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

    /// As [`resolve`](Self::resolve), for callers that can use the two families apart, and TTLs. To be
    /// implemented by resolvers that have these, and by those in front of another resolver; without it,
    /// there is one answer without a TTL.
    fn lookup(&self, host: &str, port: u16) -> Lookup {
        Lookup::of_addresses(self.resolve(host, port))
    }
}

impl<R: Resolve + ?Sized> Resolve for std::sync::Arc<R> {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        (**self).resolve(host, port)
    }

    fn lookup(&self, host: &str, port: u16) -> Lookup {
        (**self).lookup(host, port)
    }
}

/// The examples of the README, tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
