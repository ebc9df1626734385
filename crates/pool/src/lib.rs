//! A connection pool which knows no protocol and no stream.
//!
//! It has limits (in all, for each origin, for what is idle), a queue which is first come first
//! served along one route and goes round between routes, honest retries, and nothing in it leaks:
//! whatever is dropped, wherever, its place is free before `drop` returns. What a request costs
//! here does not depend on how many connections, origins or waiters there are.
//!
//! - [`state`] is the pool without I/O: a machine that is told what happened and says what to do.
//!   Start there to know how the pool decides.
//! - [`Pool`] is the shell around it: a lock, wakers, and two kinds of background tasks (one for
//!   each connection being made, and one which watches what is idle).
//! - [`Route`] says where a connection leads and by which way; equal routes share connections.
//! - [`Connect`] makes connections, and is all that the pool knows of networks.
//! - [`PoolConfig`], [`PoolStatus`] and [`PoolStats`] are what is set, what there is, and what has been.
//!
//! ```text
//!   send ─► Ticket ─────────────► Lease ──────────────► body ─► give_back ─┐
//!           in the queue          with the exchange     until its end      │
//!              ▲    ▲                                                      ▼
//!              │    └───────────────── idle ◄──────────────────────────────┤
//!              │                        │ janitor: expired, ended          │
//!    Connect ─────┘                        ▼                                  ▼
//!    a place, from the first moment   closed ◄───────────────────── dropped, worn out
//! ```
//!
//! A ticket, a lease, a body and a place each have one owner, whose `Drop` settles them. That is
//! the whole of cancellation.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod arena;
pub mod config;
mod dialling;
mod draining;
mod errands;
mod janitor;
#[cfg(feature = "lock-count")]
mod lock_count;
mod retry;
pub mod route;
mod sending;
mod shell;
pub mod state;
pub mod status;

pub use config::{PoolConfig, Retry};
pub use draining::{Drain, DrainSummary};
#[cfg(feature = "lock-count")]
#[doc(hidden)]
pub use lock_count::lock_count;
pub use route::{Endpoint, Hop, ProxyHop, Route, RouteParts, WeakRoute};
pub use sending::ResponseFuture;
pub use shell::{Connect, ConnectContext, Pool};
pub use state::{ConnectionCloseReason, PoolStats};
pub use status::{ConnectionStatus, PoolStatus};
