//! The types that users of [httpcore](https://docs.rs/httpcore) meet, and the traits that backends, TLS
//! layers and protocols implement.
//!
//! It contains no protocol and no socket.
//!
//! Types of a request:
//!
//! - [`body`]: request and response bodies.
//! - [`options`]: per-request settings, above all [`Timeouts`].
//! - [`origin`]: scheme, host and port of a URL, and the `Host` field made of them.
//! - [`error`]: the public [`Error`]: what failed, in which phase, and how much of the request was sent.
//! - [`trace`]: events of requests and connections; [`informational`]: a callback for 1xx responses.
//! - [`upgrade`]: the stream that is left of a connection after `101` or CONNECT.
//! - [`credentials`], [`base64`]: user and password, and the encoding in which they are sent.
//!
//! Traits between the layers:
//!
//! - [`net`]: [`NetworkStream`] is a duplex of bytes (a socket, TLS over a stream, a tunnel, a script),
//!   [`NetworkBackend`] makes streams, [`TlsConnector`] adds TLS to one.
//! - [`runtime`]: [`Runtime`] and [`Timer`], the only clock: no code above a backend calls
//!   `Instant::now`. [`driven`]: which event loop polls the futures of a thread. [`watch`]: a warning
//!   where no thread runs a loop.
//! - [`connection`]: what a pool requires of a connection ([`ExclusiveConnection`] for one exchange at
//!   a time, [`SharedConnection`] for several), and the context of an exchange ([`ExchangeContext`]).
//! - [`lease`]: one exchange's claim on a connection, which its `Drop` settles. [`close_reason`]: why a
//!   connection is not used again.
//!
//! ```text
//!   facade ──► pool ──► Lease ◄── proto-h1, proto-h2        (the arrows carry types of this crate)
//!                │                     │
//!             Runtime            NetworkStream
//!                └───── NetworkBackend ┘  ◄── net-epoll, net-tokio, net-mock
//! ```
//!
//! Cancellation is `drop`: every future may be dropped at any poll; nothing else is needed.
//!
//! Types that will grow are `#[non_exhaustive]`, with constructors where other crates build them. Enums
//! whose cases every user must handle are exhaustive and say so: [`Established`], [`StreamLimit`],
//! [`BodyLength`], [`RequestSent`], [`LeaseEnd`](lease::LeaseEnd).

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address_filter;
pub mod base64;
pub mod body;
mod classify;
pub mod close_reason;
mod collect;
pub mod connection;
pub mod credentials;
pub mod driven;
pub mod error;
pub mod informational;
pub mod lease;
pub mod net;
pub mod options;
pub mod origin;
mod reader;
pub mod runtime;
mod shared;
#[cfg(unix)]
mod socket_hook;
mod sync;
mod tcp_setters;
mod timing;
pub mod trace;
pub mod upgrade;
pub mod watch;

pub use address_filter::{AddressFilter, AddressRefused, ConnectTarget};
pub use body::{Body, BodyLength};
pub use close_reason::CloseReason;
pub use collect::Collected;
pub use connection::{
    EarlyResponse, Established, ExchangeContext, ExclusiveConnection, MisdirectedRequest,
    RejectedResponse, Request, Response, SendError, SharedConnection, StreamId, StreamLimit,
    UploadState,
};
pub use credentials::Credentials;
pub use driven::{Driven, Driver};
pub use error::{
    BoxError, Error, ErrorKind, ErrorPhase, Fault, Http2ErrorCode, RequestSent, TimeoutKind,
};
pub use informational::OnInformational;
pub use lease::{ConnectionRevoked, KeepAliveHints, Lease, LeaseId, LeaseOwner, LeaseState};
pub use net::{
    Alpn, BoxFuture, BoxStream, ConnectionInfo, IdleEvent, NetworkBackend, NetworkStream,
    PooledInfo, SharedIoError, TcpOptions, TlsConnector, TlsFailure, TlsInfo,
};
pub use options::{
    ConnectionPolicy, IncludeConnectionInfo, Partition, Protocol, RequestTarget, ServerName,
    Timeouts, TlsOverride,
};
pub use origin::{Origin, Scheme};
pub use runtime::{
    LazyTimer, Runtime, RuntimeShutdown, Timer, noop_waker, sleep_until, with_deadline,
};
#[cfg(unix)]
pub use socket_hook::SocketHook;
pub use timing::{Timing, TimingRecorder};
pub use trace::{Trace, TraceEvent, TraceListener};
pub use upgrade::Upgraded;
pub use watch::Watch;
