//! HTTP/2 for a client (RFC 9113): many exchanges on one connection.
//!
//! - [`H2Connection`] is a [`SharedConnection`](httpcore_core_primitives::SharedConnection) over
//!   any [`NetworkStream`](httpcore_core_primitives::NetworkStream). A task of the
//!   [`Runtime`](httpcore_core_primitives::Runtime) drives it, so that PINGs are answered, and a
//!   server's goodbye is heard, while nobody asks for anything.
//! - [`Http2Config`] is what may be set: windows, limits, keep-alive.
//!
//! Frames, HPACK and flow control are the `h2` crate's, which is named nowhere outside. It brings
//! the traits of tokio for reading and writing, and not its runtime.
//!
//! ```text
//!   ExchangeFuture ──┐ heads and pieces of bodies              ┌── stream below
//!   (caller's)   ├────────► h2 ◄──── Driver (a task) ◄─────┤   (64 KiB at a time)
//!   ResponseBody ┘ wakes it ──►       turns it             └── timer: keep-alive
//!                                        │ what is admitted
//!                                        ▼
//!                                     the pool
//! ```
//!
//! # An exchange
//!
//! The request's fields are those of HTTP/1.1, and become those of HTTP/2: `Host` is the authority,
//! what concerns a connection is left out (RFC 9113 §8.2.2). The rest is as
//! `httpcore-proto-h1` has it: both directions go on at once, whoever polls moves the request's
//! body on, and all time limits mean the same. One that runs out ends its own stream; the
//! connection and the other streams go on.
//!
//! What the server says it has not processed (a stream above the last of a GOAWAY, REFUSED_STREAM)
//! fails as [`Sent::Nothing`](httpcore_core_primitives::RequestSent::None), and so may be sent again
//! whatever it was (RFC 9113 §8.7).

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
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
mod upload;
mod validate;

pub use config::Http2Config;
pub use connection::H2Connection;
pub use head::RequestError;
