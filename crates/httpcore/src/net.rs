//! Networks: event loops, name resolution, and facts about connections.

pub use httpcore_core_primitives::{
    Alpn, BodyLength, ConnectionInfo, Origin, Scheme, TlsInfo,
    upgrade::{ReadHalf, WriteHalf},
};
#[cfg(feature = "epoll")]
pub use httpcore_net_epoll::{
    CachingResolver, EventLoop, Handle, Resolve, StaticHosts, SystemResolver, Task,
};
pub use httpcore_pool::Route;
