//! Settings of a pool, of its connections and of the protocols.
//!
//! The usual settings have methods of [`ConnectionPoolBuilder`](crate::ConnectionPoolBuilder); these
//! structs have all of them. Options of a single request are in [`extensions`](crate::extensions).

#[cfg(unix)]
pub use httpcore_core_primitives::SocketHook;
pub use httpcore_core_primitives::{TcpOptions, Timeouts};
pub use httpcore_pool::{PoolConfig, Retry, RetryBudget, StreamPlacement};
pub use httpcore_proto_h1::{
    Http1Config, Limits as Http1Limits, ParserOptions as Http1ParserOptions,
};
#[cfg(feature = "http2")]
pub use httpcore_proto_h2::Http2Config;
