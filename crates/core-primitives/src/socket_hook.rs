//! A caller's function that prepares sockets.

use std::{
    fmt,
    hash::{Hash, Hasher},
    io,
    net::SocketAddr,
    os::fd::BorrowedFd,
    sync::Arc,
};

/// A function that is called with the descriptor of each new TCP socket before that is connected, after the
/// options of [`TcpOptions`](crate::TcpOptions) have been set: for socket options that those do not have.
///
/// It is called without a lock of this library, must not block, and must leave the descriptor open,
/// non-blocking and unconnected. An error of it is the error of the attempt to connect to that address.
///
/// Two hooks are equal if one is a clone of the other, and connections are shared only among requests with
/// equal hooks.
///
/// ```
/// use httpcore_core_primitives::{SocketHook, TcpOptions};
///
/// let hook = SocketHook::new(|descriptor, peer| {
///     println!("{descriptor:?} is going to be connected to {peer}");
///     Ok(())
/// });
/// let options = TcpOptions::default().with_hook(hook);
/// # let _ = options;
/// ```
#[derive(Clone)]
pub struct SocketHook(Arc<Prepare>);

type Prepare = dyn Fn(BorrowedFd<'_>, SocketAddr) -> io::Result<()> + Send + Sync;

impl SocketHook {
    /// Creates a hook.
    pub fn new(
        prepare: impl Fn(BorrowedFd<'_>, SocketAddr) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        SocketHook(Arc::new(prepare))
    }

    /// Calls the hook, for backends.
    ///
    /// # Errors
    ///
    /// Those of the function.
    pub fn prepare(&self, descriptor: BorrowedFd<'_>, peer: SocketAddr) -> io::Result<()> {
        (self.0)(descriptor, peer)
    }

    fn identity(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }
}

impl PartialEq for SocketHook {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for SocketHook {}

impl Hash for SocketHook {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Debug for SocketHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketHook").finish_non_exhaustive()
    }
}
