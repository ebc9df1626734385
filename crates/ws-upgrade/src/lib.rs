//! WebSockets for a client: the opening handshake over any HTTP client, the upgraded stream, and
//! optionally messages.
//!
//! - [`Handshake`] has the URL, subprotocols, extensions and header fields. It makes a request, and
//!   [`ResponseCheck`] verifies the response (RFC 6455 §4; RFC 8441 over HTTP/2).
//! - [`WebSocketStream`] is the result: an [`Upgraded`](httpcore_core_primitives::Upgraded) stream, from
//!   the first byte after the response, with the selected subprotocol and extensions.
//! - [`OpenError`] is the failure. If the server does not accept, it has the complete response with its
//!   body, and the connection stays reusable. After an invalid acceptance the connection is closed.
//! - `WebSocket` (feature `messages`) sends and receives messages over the stream, with the state
//!   machine of tungstenite.
//! - `Io`, of `httpcore-adapters`, implements the traits of other libraries for any stream: `futures-io`, `tokio::io`,
//!   `hyper::rt`, each behind the feature of its name.
//!
//! ```text
//!   Handshake ─ open  ─► request ─► (a pool, a connection: anything) ─► response
//!                  └───► ResponseCheck ────────────── verify ◄──────────────────┘
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
//! # Responsibilities of the caller
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
/// Re-export of tungstenite, for its messages and close codes.
#[cfg(feature = "messages")]
pub use tungstenite;

/// The examples of the README, tested.
#[cfg(all(doctest, feature = "messages"))]
#[doc = include_str!("../README.md")]
struct Readme;
