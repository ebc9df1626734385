//! HTTP/1.1 for clients: a codec without a connection, and a connection without a task.
//!
//! - [`codec`] is the protocol: requests to bytes, bytes to responses, strictly (RFC 9110, RFC 9112).
//!   It knows no stream, no clock and no future, and can be used on its own.
//! - [`H1Connection`] drives it over a
//!   [`NetworkStream`](httpcore_core_primitives::NetworkStream), as an
//!   [`ExclusiveConnection`](httpcore_core_primitives::ExclusiveConnection): one exchange at a
//!   time, which owns it.
//! - [`Upgraded`] is the stream after 101, or after a 2xx to `CONNECT`.
//!
//! # An exchange
//!
//! ```text
//!   H1Connection (idle, no buffers)
//!        │ exchange(request, context)
//!        ▼
//!   future: head and body out ──► ┐
//!           1xx in                │ both in each poll
//!           head in ◄──────────── ┘
//!        ▼
//!   response: body in, and the rest of the request out, while the body is polled
//!        │
//!        ├── complete, and reusable ──────► Lease::give_back(H1Connection)
//!        ├── complete, and not reusable ──► closed, Lease::close(reason)
//!        └── failed, or dropped anywhere ─► closed, Lease::close(reason)
//! ```
//!
//! One exception: when a body is dropped of which little is missing, and that has arrived already, the
//! rest is drained and the connection given back ([`Http1Config::max_drain_on_drop`]). Nothing waits for
//! that.
//!
//! No task is spawned and no channel is made: the task that polls the future, or the body, does the
//! work. The connection is given back to its pool before the last byte of the response is yielded, so
//! that the next request can use it at once.
//!
//! # Time
//!
//! [`Timeouts`](httpcore_core_primitives::Timeouts) bound each phase. The write limit counts while
//! the stream accepts no bytes. The response-head limit counts from the end of the request to the
//! head of the final response. The read limit counts the time without received bytes while the server
//! is to act: once the request has been sent, or once a response has begun although it has not,
//! except while the exchange waits for the caller's body. The deadline in
//! [`ExchangeContext`](httpcore_core_primitives::ExchangeContext) bounds the whole exchange.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

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
