//! Host names to addresses, for the backends of [httpcore](https://docs.rs/httpcore) and for
//! everything else that has blocking look-ups and futures.
//!
//! - [`Resolve`] is the trait: a host and a port in, addresses out.
//! - [`SystemResolver`] is the system's look-up on a bounded number of worker threads. One look-up for
//!   each name at a time; names whose servers do not answer do not block other names.
//! - [`StaticHosts`] answers some names from a table, and leaves the others to another resolver.
//! - [`CachingResolver`] keeps answers of another resolver, and that a name does not exist, for a
//!   while and up to a number of names.
//! - [`is_public`] says whether an address is one of the public Internet, for programs that connect
//!   to hosts which others name.
//! - [`literal`] tells IP addresses from names.
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
//! A look-up has no deadline of its own: the caller puts one around it (`Timeouts::resolve`), and
//! dropping the future ends its interest. Nothing here knows an event loop, a socket or a protocol.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod addresses;
mod cache;
mod failure;
mod getaddrinfo;
mod host;
mod static_hosts;
mod system;
#[cfg(test)]
mod testing;

use std::{fmt, io, net::SocketAddr};

use httpcore_core_primitives::BoxFuture;

pub use addresses::is_public;
pub use cache::CachingResolver;
pub use getaddrinfo::{Builder, SystemResolver};
pub use host::literal;
pub use static_hosts::StaticHosts;

/// Looks names up: the system's way, a table, a cache, or a DNS client of one's own. A backend takes
/// one where it is built, for example by `EventLoop::builder().resolver(…)`.
///
/// IP literals never get here: backends answer them by [`literal`].
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// Looks up the addresses of `host`, in the order in which they should be tried, each with
    /// `port`. Dropping the future gives the look-up up.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] when the name does not exist; any other kind when it could not be
    /// looked up.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// The examples of the README, tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
