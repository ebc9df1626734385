//! Observing: events of requests and connections, snapshots and counters of a pool.

pub use httpcore_core_primitives::{
    CloseReason, Timing, TimingRecorder, Trace, TraceEvent, TraceListener,
};
pub use httpcore_pool::{Activity, ConnectionStatus, PoolStats, PoolStatus};
