//! The vocabulary of httpcore.
//!
//! An HTTP transport engine needs a handful of words which all of its parts share, and which know
//! neither a protocol nor a socket. This crate is those words, and nothing else:
//!
//! - [`net`]: what is asked of a network. [`NetworkStream`] is a duplex of bytes (a socket, TLS
//!   over a stream, a tunnel, a script), [`NetworkBackend`] is where streams come from,
//!   [`TlsConnector`] puts TLS on top of one.
//! - [`runtime`]: what is asked of time and tasks. [`Runtime`] and [`Timer`] are all the clock
//!   there is; nothing above a backend ever calls `Instant::now`.
//! - [`connection`]: what a pool asks of a connection ([`ExclusiveConnection`] for one exchange at
//!   a time, [`SharedConnection`] for many), and what an exchange is given ([`ExchangeContext`]).
//! - [`lease`]: one exchange's claim on a connection. Whatever happens, its `Drop` settles it.
//! - [`body`]: request and response bodies: what they hold, how long they are, whether they can be
//!   sent twice.
//! - [`origin`]: scheme, host and port of a URL, and what the `Host` field says of them.
//! - [`options`]: what may be set for each request, above all [`Timeouts`].
//! - [`error`]: the one public [`Error`]: what failed, in which phase, and what was sent.
//! - [`credentials`], [`base64`]: a user and a password, and the encoding in which they are sent.
//! - [`trace`]: what happened, told to whoever listens; [`informational`]: who is told of interim
//!   responses.
//! - [`deadlines`]: the time limits of an exchange, for protocols.
//! - [`write_buf`]: what a protocol has to write, gathered to go out together.
//! - [`scratch`]: large buffers for reading and writing, which belong to the thread.
//! - [`upgrade`]: what is left of a connection when HTTP has ended on it.
//!
//! ```text
//!   facade ──► pool ──► Lease ◄── proto-h1, proto-h2        (this crate is what the arrows carry)
//!                │                     │
//!             Runtime            NetworkStream
//!                └───── NetworkBackend ┘  ◄── net-epoll, net-tokio, net-mock
//! ```
//!
//! Cancellation is `drop`: every future here may be dropped at any poll, and dropping is enough.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod base64;
pub mod body;
mod classify;
mod collect;
pub mod connection;
pub mod credentials;
pub mod deadlines;
pub mod driven;
pub mod error;
pub mod informational;
pub mod lease;
pub mod net;
pub mod options;
pub mod origin;
mod reader;
pub mod runtime;
pub mod scratch;
mod shared;
mod tcp_setters;
pub mod trace;
pub mod upgrade;
pub mod write_buf;

pub use body::{Body, BodyLength};
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
pub use lease::{CloseReason, ConnectionRevoked, KeepAliveHints, Lease, LeaseId, LeaseOwner};
pub use net::{
    Alpn, BoxFuture, BoxStream, ConnectionInfo, IdleEvent, NetworkBackend, NetworkStream,
    SharedIoError, TcpOptions, TlsConnector, TlsFailure, TlsInfo,
};
pub use options::{
    ConnectionPolicy, IncludeConnectionInfo, Partition, Protocol, RequestTarget, ServerName,
    Timeouts, TlsOverride,
};
pub use origin::{Origin, Scheme};
pub use runtime::{
    LazyTimer, Runtime, RuntimeShutdown, Timer, noop_waker, sleep_until, with_deadline,
};
pub use trace::{Trace, TraceEvent, TraceListener};
pub use upgrade::Upgraded;
