//! HTTP/2 for clients (RFC 9113): many exchanges on one connection.
//!
//! - [`H2Connection`] is a [`SharedConnection`](httpcore_core_primitives::SharedConnection) over
//!   any [`NetworkStream`](httpcore_core_primitives::NetworkStream). A task of the
//!   [`Runtime`](httpcore_core_primitives::Runtime) drives it, so that PINGs are answered, and a
//!   server's GOAWAY is received, while there are no exchanges.
//! - [`Http2Config`] is its configuration: windows, limits, keep-alive.
//!
//! Frames, HPACK and flow control are the `h2` crate's, which is named nowhere outside. It brings
//! the traits of tokio for reading and writing, and not its runtime.
//!
//! ```text
//!   ExchangeFuture ──┐ heads and data of bodies              ┌── stream below
//!   (caller's)       ├────────► h2 ◄──── Driver (a task) ◄───┤   (64 KiB at a time)
//!   ResponseBody   ──┘ wakes it ──►      polls it            └── timer: keep-alive
//!                                        │ stream limit
//!                                        ▼
//!                                     the pool
//! ```
//!
//! # An exchange
//!
//! The request's fields are those of HTTP/1.1, and become those of HTTP/2: `Host` is the authority,
//! fields that concern a connection are removed (RFC 9113 §8.2.2). The rest is as in
//! `httpcore-proto-h1`: both directions progress in each poll, the task that polls sends the request's
//! body, and all time limits mean the same. A limit that is reached ends its own stream; the
//! connection and the other streams go on.
//!
//! A request that the server declares unprocessed (a stream above the last of a GOAWAY,
//! REFUSED_STREAM) fails with [`RequestSent::None`](httpcore_core_primitives::RequestSent::None), and so
//! may be sent again whatever its method (RFC 9113 §8.7).

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod connection;
mod driver;
mod error;
mod exchange;
mod head;
mod link;
mod payload;
mod ping;
mod preface;
mod setters;
mod shares;
mod tokio_io;
mod tunnel;
mod validate;

pub use config::Http2Config;
pub use connection::H2Connection;
pub use head::RequestError;
