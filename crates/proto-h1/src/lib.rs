//! HTTP/1.1 for a client: a codec without a connection, and a connection without a task.
//!
//! - [`codec`] is the protocol: requests into bytes, bytes into responses, strictly (RFC 9110,
//!   RFC 9112). It knows no stream, no clock and no future, and can be used on its own.
//! - [`H1Connection`] drives it over a
//!   [`NetworkStream`](httpcore_core_primitives::NetworkStream), as an
//!   [`ExclusiveConnection`](httpcore_core_primitives::ExclusiveConnection): one exchange at a
//!   time, which owns it.
//! - [`Upgraded`] is what becomes of the stream after 101, or after a 2xx to `CONNECT`.
//!
//! # An exchange
//!
//! ```text
//!   H1Connection (idle, no buffers)
//!        │ exchange(request, terms)
//!        ▼
//!   future: head and body out ──► ┐
//!           1xx in                │ both in each poll
//!           head in ◄──────────── ┘
//!        ▼
//!   response: body in, and the rest of the request out, while somebody polls it
//!        │
//!        ├── complete, and may be followed ──► Lease::give_back(H1Connection)
//!        ├── complete, and may not ──────────► closed, Lease::close(why)
//!        └── failed, or dropped anywhere ────► closed, Lease::close(why)
//! ```
//!
//! One drop is kinder: if all that is missing of a response is little and has come already, it is
//! read away, and the connection goes back as if somebody had read it ([`Http1Config::max_drain_on_drop`]).
//! Nothing waits for that.
//!
//! No task is spawned and no channel is made: whoever polls the future, or the body, does the
//! work. The connection goes back to its pool before the last byte of the response is handed out,
//! so that the next request may have it at once.
//!
//! # Time
//!
//! [`Timeouts`](httpcore_core_primitives::Timeouts) bound each phase. The write limit counts while
//! the stream takes nothing. The first-byte limit counts from the end of the request to the head
//! of the final response. The read limit counts silence while it is for the server to speak: once
//! the request has been sent, or once a response has begun although it has not, except while the
//! caller's own body has us both wait. The deadline in
//! [`ExchangeContext`](httpcore_core_primitives::ExchangeContext) bounds everything.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod buffers;
pub mod codec;
mod connection;
mod exchange;
mod setters;

pub use codec::{
    CaptureRawHead, HeaderOrder, Limits, ParserOptions, RawHead, ReasonPhrase, RequestTarget,
    SkippedFields,
};
pub use connection::{H1Connection, Http1Config};
pub use httpcore_core_primitives::{OnInformational, Upgraded};
