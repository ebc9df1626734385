//! Server-Sent Events for a client, by the rules of the WHATWG HTML standard (section 9.2).
//!
//! In three layers, each of which may be left out from above:
//!
//! - [`Parser`] makes [`Event`]s of bytes, however they were cut. No I/O, and bounded memory.
//! - [`Events`] is a response as a stream of events: ready with each as soon as its last byte has
//!   come. It ends when the response does.
//! - [`EventSource`] goes on where that ends: it asks again, with `Last-Event-ID`, after the time
//!   the server wished for, and longer the more often that fails. [`Subscription`] says what is
//!   asked for.
//!
//! ```text
//!   Subscription ─► EventSource ─ request ─► (a pool: anything) ─ response ─► Events ─► Parser
//!                       ▲  waits, asks again                                    │
//!                       └──────────────── end, failure ◄────────────────────────┘
//! ```
//!
//! ```
//! use httpcore_sse::{Limits, Parser};
//!
//! let mut parser = Parser::new(Limits::default());
//! let mut input = "event: greeting\ndata: hello\ndata: world\nid: 7\n\n".into();
//! let event = parser.next(&mut input)?.expect("a whole event");
//! assert_eq!((&*event.name, &*event.data, &*event.id), ("greeting", "hello\nworld", "7"));
//! # Ok::<(), httpcore_sse::TooLarge>(())
//! ```
//!
//! # Silence
//!
//! An event stream may be silent for hours. A [`Subscription`] has time limits of its own, which bound
//! the time until the response head and not the time between events. If the server sends comments
//! as keep-alives, set [`Timeouts::read`](httpcore_core_primitives::Timeouts) to detect a dead one.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod events;
mod parser;
mod source;
mod subscription;

pub use events::{Events, UnexpectedResponse};
pub use parser::{Event, Limits, Parser, TooLarge};
pub use source::{EventSource, SourceEvent};
pub use subscription::Subscription;

/// The examples of the README, tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
