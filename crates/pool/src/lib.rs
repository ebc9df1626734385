//! A connection pool which knows no protocol and no stream.
//!
//! It has limits (in all, for each origin, for idle connections, for requests), a queue which serves
//! one route in the order of arrival and routes round-robin, retries that repeat nothing which may have
//! been processed, and no leaks: whatever is dropped, its slot is free before `drop` returns. What a
//! request costs here does not depend on the number of connections, origins or waiters.
//!
//! - [`state`] is the pool without I/O: a machine that takes inputs and returns effects. Start there
//!   to see how the pool decides.
//! - [`Pool`] puts a lock, wakers and two kinds of background tasks around it: one for each attempt to
//!   connect, and one for maintenance.
//! - [`Route`] says where a connection leads and by which way; equal routes share connections.
//! - [`Connect`] makes connections, and is all that the pool knows of networks.
//! - [`PoolConfig`], [`PoolStatus`] and [`PoolStats`] are what is set, what there is, and what has been.
//!
//! ```text
//!   send ─► waiter ─────────────► lease ──────────────► body ─► give_back ─┐
//!           in the queue          with the exchange     until its end      │
//!              ▲    ▲                                                      ▼
//!              │    └───────────────── idle ◄──────────────────────────────┤
//!              │                        │ maintenance: expired, ended      │
//!   connect ───┘                        ▼                                  ▼
//!   a slot, from the first moment    closed ◄───────────────────── dropped, limit reached
//! ```
//!
//! A waiter, a lease, a body and a slot each have one owner, whose `Drop` settles them. That is the
//! whole of cancellation.
//!
//! A request takes the lock of the pool twice: to be granted a connection, and to return it. No code
//! but the pool's own runs under the lock: connections are asked whether they are still open and idle
//! before they are returned and after they are granted, and wakers, listeners and destructors are called
//! without it.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod arena;
pub mod config;
mod connect;
mod drain;
mod effects;
mod inner;
mod lease;
#[cfg(feature = "lock-count")]
mod lock_count;
mod maintenance;
mod pool;
mod preconnect;
mod record;
mod response_future;
mod retry;
mod retry_budget;
pub mod route;
mod setters;
pub mod state;
pub mod status;

pub use config::{PoolConfig, Retry, RetryBudget, StreamPlacement};
pub use drain::{Drain, DrainSummary};
#[cfg(feature = "lock-count")]
#[doc(hidden)]
pub use lock_count::lock_count;
pub use pool::{Connect, ConnectContext, ConnectPhase, Pool};
pub use preconnect::Preconnect;
pub use record::ConnectRecord;
pub use response_future::{Reservation, ResponseFuture};
pub use route::{Endpoint, Hop, ProxyHop, Route, RouteParts, WeakRoute};
pub use state::{Activity, PoolStats};
pub use status::{ConnectionStatus, PoolStatus};
