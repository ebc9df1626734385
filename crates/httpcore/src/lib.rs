//! An HTTP transport engine: the layer below an HTTP client.
//!
//! It has a connection pool with limits and a fair queue, HTTP/1.1 and HTTP/2, exact timeouts, and
//! errors that say what failed and whether to try again. It runs on its own event loop, on tokio, or
//! blocking. Redirects, cookies, decompression and caching belong to the layers above.
//!
//! The event loop runs on Linux and Android. Elsewhere, turn on the feature `tokio`.
//!
//! # Getting started
//!
//! ```no_run
//! # #[cfg(feature = "epoll")] {
//! use httpcore::{ConnectionPool, EventLoop};
//!
//! let event_loop = EventLoop::new()?;
//! let pool = ConnectionPool::new(event_loop.backend());
//! event_loop.block_on(async {
//!     let response = pool.get("http://example.com/").await?;
//!     println!("{}", response.status());
//!     println!("{}", response.into_body().text(1 << 20).await?);
//!     Ok::<(), httpcore::Error>(())
//! })?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In a tokio application, with the feature `tokio`:
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn fetch() -> Result<(), httpcore::Error> {
//! let pool = httpcore::ConnectionPool::builder().build_tokio()?;
//! let response = pool.get("http://example.com/").await?;
//! # let _ = response;
//! # Ok(())
//! # }
//! ```
//!
//! # Contents
//!
//! Sending:
//!
//! - [`ConnectionPool`] and its [builder](ConnectionPoolBuilder): [`request`](ConnectionPool::request)
//!   takes an [`http::Request`] and yields an [`http::Response`] with a streaming [`Body`].
//! - [`RequestExt`]: options of a request, with a table of all of them.
//! - [`get`], [`request`]: a single request without a pool. `httpcore::blocking`: the same engine for threads
//!   that block. `httpcore::service`: a pool as a `tower_service::Service`, with or without back-pressure.
//! - [`Upgraded`]: the stream after `101` or CONNECT. `httpcore::ws`: WebSockets. `httpcore::sse`:
//!   Server-Sent Events.
//!
//! Limits and errors:
//!
//! - [`Timeouts`]: time limits of a pool and of a request. [`config`]: all settings.
//! - [`Error`]: what failed, in which [phase](error::ErrorPhase), whose [fault](error::Fault) it was
//!   and how much of the request was [sent](error::RequestSent).
//! - `httpcore::tls`: roots, client certificates and other settings of TLS, for
//!   [`ConnectionPoolBuilder::tls`].
//!
//! Proxies:
//!
//! - [`proxy`]: HTTP and SOCKS proxies, chains of them, and the rules that choose them.
//!
//! Watching and testing:
//!
//! - [`trace`]: events, snapshots and counters.
//! - `httpcore::mock`: a network in virtual time, for tests.
//!
//! Implementing:
//!
//! - [`net`]: event loops, resolvers and facts about connections. [`extensions`]: what travels in a
//!   message's extensions. [`backend`]: the traits of backends, streams and TLS layers.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `epoll` | yes | [`EventLoop`] and `blocking`, on Linux and Android; no effect elsewhere |
//! | `tokio` | | `net::TokioBackend` and `ConnectionPoolBuilder::build_tokio` |
//! | `tower` | | `ConnectionPool::{service, service_for}` |
//! | `http2` | yes | HTTP/2, where a server offers it |
//! | `tls` | yes | `https`: `rustls`, `ring` and `webpki-roots` together |
//! | `rustls` | by `tls` | TLS without cryptography and without roots; see `tls::Builder::provider` |
//! | `ring` | by `tls` | cryptography by ring |
//! | `aws-lc-rs` | | cryptography by AWS-LC with post-quantum key exchange; the default where `ring` is off |
//! | `webpki-roots` | by `tls` | Mozilla's list of certificate authorities, compiled in |
//! | `platform-verifier` | | the operating system's authorities; the default where `webpki-roots` is off |
//! | `ws`, `ws-messages` | | WebSocket handshakes; messages, by tungstenite |
//! | `futures-io`, `tokio-io`, `hyper-io` | | `httpcore::adapters`: streams and runtimes to and from the traits of other libraries |
//! | `sse` | | Server-Sent Events |
//! | `stream` | | bodies from and as `futures_core::Stream` |
//! | `mock` | | the backend in virtual time |
//!
//! # Crates
//!
//! This crate assembles the others, each of which can be used on its own: `httpcore-core-primitives`
//! (traits and types), `httpcore-pool` (the pool, without a protocol), `httpcore-proto-h1`,
//! `httpcore-proto-h2`, `httpcore-proxy`, `httpcore-net-epoll`, `httpcore-net-tokio`,
//! `httpcore-net-smol`, `httpcore-net-tls`, `httpcore-net-mock`, `httpcore-resolver`,
//! `httpcore-adapters`, `httpcore-ws-upgrade`, `httpcore-sse`. It makes routes from URLs, and
//! connections from routes. (`httpcore-executor` and `httpcore-net-common` are for backends;
//! `httpcore-proto-common` is internal to the protocols.)

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backend;
#[cfg(all(feature = "epoll", unix))]
pub mod blocking;
mod challenged;
pub mod config;
mod connect;
mod connect_to;
mod connection_pool;
pub mod error;
pub mod extensions;
mod names;
pub mod net;
pub mod proxy;
mod proxy_connections;
mod race;
mod recent;
mod request_ext;
mod routes;
#[cfg(feature = "tower")]
pub mod service;
pub mod trace;
mod url;

pub use bytes::Bytes;
pub use connection_pool::{ConnectionPool, ConnectionPoolBuilder, Drain, ResponseFuture};
/// The crate of request, response, header and URI types.
pub use http;
#[cfg(any(feature = "futures-io", feature = "hyper-io", feature = "tokio-io"))]
pub use httpcore_adapters as adapters;
pub use httpcore_core_primitives::{Body, Error, ErrorKind, Request, Response, Timeouts, Upgraded};
#[cfg(all(feature = "epoll", unix))]
pub use httpcore_net_epoll::EventLoop;
#[cfg(feature = "mock")]
pub use httpcore_net_mock as mock;
#[cfg(feature = "rustls")]
pub use httpcore_net_tls as tls;
pub use httpcore_pool::{DrainSummary, Preconnect};
#[cfg(feature = "sse")]
pub use httpcore_sse as sse;
#[cfg(feature = "ws")]
pub use httpcore_ws_upgrade as ws;
pub use request_ext::RequestExt;
pub use url::IntoUrl;

#[cfg(any(feature = "tokio", all(feature = "epoll", unix)))]
use error::{ErrorPhase, RequestSent};

/// Sends a GET over a connection of its own, on the event loop that this thread is running: that of
/// `EventLoop::block_on`, or with the feature `tokio` a tokio runtime's.
///
/// A program that sends more than one request should use a [`ConnectionPool`].
///
/// # Errors
///
/// As for [`ConnectionPool::get`]; [`ErrorKind::RuntimeShutdown`] if this thread is running no event
/// loop.
#[cfg(any(feature = "tokio", all(feature = "epoll", unix)))]
pub async fn get(url: impl IntoUrl) -> Result<Response, Error> {
    let url = url.into_url()?;
    pool_for_one("httpcore::get")?.get(url).await
}

/// Sends a request over a connection of its own, which is closed after it; see [`get`] and
/// [`ConnectionPool::request`].
///
/// ```no_run
/// # #[cfg(feature = "epoll")] {
/// use httpcore::http;
///
/// httpcore::EventLoop::new()?.block_on(async {
///     let request = http::Request::put("http://example.com/items/7").body("seven")?;
///     let response = httpcore::request(request).await?;
///     println!("{}", response.status());
///     Ok::<(), httpcore::Error>(())
/// })?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As for [`ConnectionPool::request`]; [`ErrorKind::RuntimeShutdown`] if this thread is running no
/// event loop.
#[cfg(any(feature = "tokio", all(feature = "epoll", unix)))]
pub async fn request<B: Into<Body>>(request: http::Request<B>) -> Result<Response, Error> {
    pool_for_one("httpcore::request")?.request(request).await
}

/// Returns a pool on the event loop that this thread is running.
#[cfg(any(feature = "tokio", all(feature = "epoll", unix)))]
fn pool_for_one(caller: &str) -> Result<ConnectionPool, Error> {
    #[cfg(all(feature = "epoll", unix))]
    if let Some(event_loop) = EventLoop::current() {
        return Ok(ConnectionPool::new(event_loop));
    }
    #[cfg(feature = "tokio")]
    if let Ok(backend) = httpcore_net_tokio::TokioBackend::current() {
        return Ok(ConnectionPool::new(backend));
    }
    let where_to_call = if cfg!(feature = "tokio") {
        "EventLoop::block_on or a tokio runtime"
    } else {
        "EventLoop::block_on, or in a tokio runtime with the feature `tokio`"
    };
    Err(Error::new(
        ErrorKind::RuntimeShutdown,
        ErrorPhase::Request,
        RequestSent::None,
    )
    .with_message(format!(
        "{caller} needs an event loop: call it inside {where_to_call}"
    )))
}

/// The examples of the crate's README, tested.
#[cfg(all(
    doctest,
    feature = "epoll",
    feature = "tokio",
    feature = "tower",
    target_os = "linux"
))]
#[doc = include_str!("../README.md")]
struct Readme;
