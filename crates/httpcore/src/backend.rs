//! What an implementer of a backend, a stream or a TLS layer needs.
//!
//! A backend implements [`NetworkBackend`] and [`Runtime`]; a TLS layer implements [`TlsConnector`];
//! both yield streams, which implement [`NetworkStream`].

pub use bytes::BytesMut;
pub use httpcore_core_primitives::{
    BoxFuture, BoxStream, IdleEvent, LazyTimer, NetworkBackend, NetworkStream, Runtime,
    SharedIoError, Timer, TlsConnector, noop_waker, sleep_until, upgrade, with_deadline,
};
