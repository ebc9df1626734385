//! Networks: event loops, name resolution, and facts about connections.

pub use httpcore_core_primitives::{
    AddressFilter, AddressRefused, Alpn, BodyLength, ConnectTarget, ConnectionInfo, Origin,
    PooledInfo, Scheme, TlsInfo,
    upgrade::{ReadHalf, WriteHalf},
};
#[cfg(all(feature = "epoll", unix))]
pub use httpcore_net_epoll::{EventLoop, Handle, Task};
#[cfg(feature = "tokio")]
pub use httpcore_net_tokio::TokioBackend;
pub use httpcore_pool::Route;
pub use httpcore_resolver::{
    Answer, AnswerFuture, CachingResolver, Lookup, PublicAddresses, Resolve, StaticHosts,
    SystemResolver, is_public,
};
