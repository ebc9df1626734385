//! Host names to addresses, for the backends of [httpcore](https://docs.rs/httpcore) and for
//! everything else that has blocking look-ups and futures.
//!
//! - [`Resolve`] is the trait: a host and a port in, addresses out.
//! - [`Getaddrinfo`] is the system's look-up on a bounded number of worker threads. One look-up for
//!   each name at a time; names whose servers do not answer do not block other names.
//! - [`literal`] tells IP addresses from names.
//!
//! # Time
//!
//! A look-up has no deadline of its own: the caller puts one around it (`Timeouts::resolve`), and
//! dropping the future ends its interest. Nothing here knows an event loop, a socket or a protocol.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod failure;
mod getaddrinfo;
mod host;
mod system;
#[cfg(test)]
mod testing;

use std::{fmt, io, net::SocketAddr};

use httpcore_core_primitives::BoxFuture;

pub use getaddrinfo::{Builder, Getaddrinfo};
pub use host::literal;

/// Looks names up: the system's way, a table, a cache, or a DNS client of one's own. A backend takes
/// one where it is built, for example by `Epoll::builder().resolver(…)`.
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
