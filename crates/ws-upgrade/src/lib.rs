//! WebSockets for a client: the handshake, over whatever speaks HTTP; the stream that comes of it;
//! and, if you like, messages.
//!
//! - [`Handshake`] says what is asked for: a URL, subprotocols, extensions, fields. It becomes a
//!   request, and [`ResponseCheck`] judges the response (RFC 6455 §4; RFC 8441 over HTTP/2).
//! - [`WebSocketStream`] is what comes of it: an [`Upgraded`](httpcore_core_primitives::Upgraded) stream,
//!   which begins with the first byte after the response, and what was agreed on.
//! - [`OpenError`] is the other case. A server that refuses has its whole response given back, body
//!   included; its connection goes on being used. One that accepts wrongly is not spoken to.
//! - `WebSocket` (feature `messages`) is messages over the stream: tungstenite's machine, polled.
//! - `Io`, of `httpcore-adapters`, lends any stream the traits of other libraries: `futures-io`, `tokio::io`, `hyper::rt`,
//!   each behind the feature of its name.
//!
//! ```text
//!   Handshake ─ offer ─► request ─► (a pool, a connection: anything) ─► response
//!                  └───► ResponseCheck ────────────── judge ◄──────────────────┘
//!                                                  │
//!                             WebSocketStream { Upgraded, subprotocol, extensions }
//!                                        │                     │
//!                                WebSocket, or Io and another library's
//! ```
//!
//! This crate knows no pool and no protocol crate: [`Handshake::open`] takes the function that
//! sends. In the facade that is one call, `ConnectionPool::websocket`.
//!
//! ```
//! use httpcore_core_primitives::{Error, Request, Response};
//! use httpcore_ws_upgrade::{Handshake, OpenError};
//!
//! async fn chat<F: Future<Output = Result<Response, Error>>>(
//!     send: impl FnOnce(Request) -> F,
//! ) -> Result<(), OpenError> {
//!     let handshake = Handshake::new("ws://localhost/chat").subprotocol("chat.v2");
//!     let opened = handshake.open(send).await?;
//!     assert!(matches!(opened.subprotocol.as_deref(), None | Some("chat.v2")));
//!     Ok(())
//! }
//! ```
//!
//! # What is left to the caller
//!
//! RFC 6455 §4.1 allows one connecting WebSocket for each host at a time. A caller that opens many has
//! to see to that: nothing here queues. The request's time limits apply until the response; after it
//! there are none.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod extensions;
mod handshake;
#[cfg(feature = "messages")]
mod messages;
mod refusal;

pub use extensions::Extension;
pub use handshake::{Handshake, ResponseCheck, WebSocketStream};
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio"))]
pub use httpcore_adapters::Io;
#[cfg(feature = "messages")]
pub use messages::{CloseFrame, Config, Fragment, Message, MessageError, Role, WebSocket};
pub use refusal::{OpenError, Violation};
/// The crate whose messages and close codes these are.
#[cfg(feature = "messages")]
pub use tungstenite;

/// The examples of the README, tested.
#[cfg(all(doctest, feature = "messages"))]
#[doc = include_str!("../README.md")]
struct Readme;
