//! Networks: event loops, name resolution, and facts about connections.

pub use httpcore_core_primitives::{
    Alpn, BodyLength, ConnectionInfo, Origin, Scheme, TlsInfo,
    upgrade::{ReadHalf, WriteHalf},
};
#[cfg(all(feature = "epoll", unix))]
pub use httpcore_net_epoll::{
    CachingResolver, EventLoop, Handle, Resolve, StaticHosts, SystemResolver, Task,
};
#[cfg(feature = "tokio")]
pub use httpcore_net_tokio::TokioBackend;
#[cfg(all(feature = "tokio", not(all(feature = "epoll", unix))))]
pub use httpcore_net_tokio::{CachingResolver, Resolve, StaticHosts, SystemResolver};
pub use httpcore_pool::Route;
