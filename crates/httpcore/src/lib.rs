//! An HTTP transport engine: what sits *under* a client.
//!
//! A pool of connections with limits and a fair queue, HTTP/1.1 and HTTP/2, exact timeouts, and errors that
//! say what can be done, on an event loop of its own, with no runtime to bring along. Redirects,
//! cookies, decompression and caching belong to the layers above, and are not here.
//!
//! ```
//! # let origin = httpcore_origin::Origin::start()?;
//! # let url = origin.url("/hello");
//! let epoll = httpcore::EventLoop::new()?;
//! epoll.block_on(async {
//!     let response = httpcore::get(url).await?;
//!     println!("{}", response.status());
//!     let body = response.into_body().bytes(1 << 20).await?;
//!     println!("{} bytes", body.len());
//!     Ok::<(), httpcore::Error>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`ConnectionPool`] is the main thing: [`request`](ConnectionPool::request) in, a response
//!   with a streaming [`Body`] out.
//! - `https` works as it is; `httpcore::tls` has the connector for roots, client certificates and the
//!   like, which [`Builder::tls`] takes.
//! - [`EventLoop`] is the event loop; [`blocking`] is the same engine for threads that wait.
//! - Requests and responses are the `http` crate's; [`Timeouts`], [`Trace`], [`ConnectionPolicy`],
//!   [`Partition`], [`ServerName`], [`TlsOverride`] and [`IncludeConnectionInfo`] travel in a request's extensions.
//! - [`Error`] says what failed, when, whose fault it was and how much was sent.
//! - What is left after `101` and `CONNECT` is an [`Upgraded`]; with the feature `ws`,
//!   `ConnectionPool::websocket` opens WebSockets; with `sse`, `ConnectionPool::events` listens to
//!   Server-Sent Events.
//! - With the feature `mock`, `httpcore::mock` is a network in virtual time for tests of your own.
//!
//! # What stands on what
//!
//! Each part is a crate of its own: `httpcore-core-primitives` (the vocabulary), `httpcore-pool`
//! (the pool, without a protocol), `httpcore-proto-h1` (the HTTP/1.1 codec, without I/O, and its
//! driver), `httpcore-proto-h2` (HTTP/2), `httpcore-net-epoll` (the loop), `httpcore-resolver` (names), `httpcore-net-tls` (TLS), `httpcore-net-mock` (virtual time). This one only
//! puts them together: it makes routes out of URLs, and connections out of routes.
//!
//! # Features
//!
//! - `epoll` (default): the event loop, [`get`] and [`blocking`].
//! - `http2` (default): HTTP/2, where a server offers it, and [`Builder::http2`].
//! - `tls` (default): `https`, by rustls with ring and Mozilla's list of authorities.
//! - `platform-verifier`, `aws-lc-rs`: what a connector may be built with besides; they change
//!   nothing by themselves.
//! - `mock`: the backend in virtual time.
//! - `ws`: WebSocket handshakes (`httpcore::ws`); `ws-messages`: messages over them, by tungstenite.
//! - `futures-io`, `tokio-io`, `hyper-io`: adapters between streams and runtimes and the traits of these
//!   libraries, in both directions (`httpcore::adapters`).
//! - `sse`: Server-Sent Events (`httpcore::sse`).
//! - `stream`: bodies from and as `futures_core::Stream`.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "epoll")]
pub mod blocking;
mod connect;
mod connection_pool;
mod race;
mod routes;

pub use bytes::{Bytes, BytesMut};
pub use connection_pool::{Builder, ConnectionPool, ResponseFuture};
/// The crate whose requests, responses, fields and URIs these are.
pub use http;
#[cfg(any(feature = "futures-io", feature = "hyper-io", feature = "tokio-io"))]
pub use httpcore_adapters as adapters;
pub use httpcore_core_primitives::{
    Alpn, Body, BodyLength, BoxError, BoxFuture, BoxStream, CloseReason, ConnectionInfo,
    ConnectionPolicy, ConnectionRevoked, EarlyResponse, Error, ErrorKind, ErrorPhase, Fault,
    Http2ErrorCode, IdleEvent, IncludeConnectionInfo, LazyTimer, NetworkBackend, NetworkStream,
    OnInformational, Origin, Partition, Protocol, RejectedResponse, Request, RequestSent, Response,
    Runtime, Scheme, ServerName, StreamId, TcpOptions, TimeoutKind, Timeouts, Timer, TlsConnector,
    TlsFailure, TlsInfo, TlsOverride, Trace, TraceEvent, TraceListener, Upgraded, UploadState,
    sleep_until, upgrade, with_deadline,
};
#[cfg(feature = "epoll")]
pub use httpcore_net_epoll::{
    CachingResolver, EventLoop, Handle, Resolve, StaticHosts, SystemResolver, Task,
};
#[cfg(feature = "mock")]
pub use httpcore_net_mock as mock;
#[cfg(feature = "tls")]
pub use httpcore_net_tls as tls;
pub use httpcore_pool::{
    ConnectionCloseReason, ConnectionStatus, Drain, DrainSummary, PoolConfig, PoolStats,
    PoolStatus, Retry, Route,
};
pub use httpcore_proto_h1::{
    CaptureRawHead, HeaderOrder, Http1Config, Limits as Http1Limits,
    ParserOptions as Http1Leniency, RawHead, ReasonPhrase, RequestTarget, SkippedFields,
};
#[cfg(feature = "http2")]
pub use httpcore_proto_h2::Http2Config;
#[cfg(feature = "sse")]
pub use httpcore_sse as sse;
#[cfg(feature = "ws")]
pub use httpcore_ws_upgrade as ws;

// Without a comment for rustdoc, which would put it before that of each.
pub use httpcore_core_primitives::upgrade::{ReadHalf, WriteHalf};

/// Sends a GET over a connection of its own, on the event loop which this thread is running.
///
/// For the first try and the single request; anything that sends two wants a [`ConnectionPool`].
///
/// # Errors
///
/// As for [`ConnectionPool::get`]; [`ErrorKind::RuntimeShutdown`] outside of [`EventLoop::block_on`].
#[cfg(feature = "epoll")]
pub async fn get<U>(url: U) -> Result<Response, Error>
where
    U: TryInto<http::Uri>,
    U::Error: Into<BoxError>,
{
    let url = connection_pool::parse_url(url)?;
    let Some(epoll) = EventLoop::current() else {
        return Err(Error::new(
            ErrorKind::RuntimeShutdown,
            ErrorPhase::Request,
            RequestSent::None,
        )
        .with_message("httpcore::get works inside EventLoop::block_on, on its thread"));
    };
    ConnectionPool::new(std::sync::Arc::new(epoll))
        .get(url)
        .await
}

/// The examples of the crate's README, tested.
#[cfg(all(doctest, feature = "epoll"))]
#[doc = include_str!("../README.md")]
struct Readme;
