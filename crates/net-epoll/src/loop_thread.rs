//! A loop on a thread of its own.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
};

use httpcore_core_primitives::NetworkBackend;

use crate::{Builder, EventLoop, Handle};

/// A thread that runs an [`EventLoop`], until this is dropped.
///
/// Its [`handle`](Self::handle) and [`backend`](Self::backend) can be used from any thread and under any
/// runtime. The thread sleeps in the kernel while no descriptor is ready, no timer is due and no task is woken.
///
/// # Drop
///
/// Dropping it ends the loop and joins the thread: the tasks of the loop are dropped on the loop's thread, its
/// streams and connection attempts fail with [`RuntimeShutdown`](httpcore_core_primitives::RuntimeShutdown), and
/// its timers are ready. `drop` blocks until the poll that the loop's thread is in, if any, has returned and
/// every task has been dropped.
///
/// Dropped on the loop's own thread, by a task of the loop, it ends the loop and does not join: the thread
/// ends after the current poll.
///
/// ```
/// use httpcore_net_epoll::EventLoop;
///
/// let thread = EventLoop::spawn_thread("http")?;
/// let handle = thread.handle();
/// let task = handle.spawn(async { 2 + 3 });
/// // Any executor may await it; here, another loop.
/// assert_eq!(EventLoop::new()?.block_on(task), 5);
/// drop(thread);
/// assert!(handle.is_shut_down());
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "dropping it ends its loop"]
pub struct LoopThread {
    handle: Handle,
    stop: Arc<Stop>,
    /// `None` once it has been joined.
    thread: Option<JoinHandle<()>>,
}

/// Ends the future that the loop's thread is blocked on.
#[derive(Default)]
struct Stop {
    is_set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Stop {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Before the flag is read: a stop that is set in between finds the waker.
        let former = self.waker().replace(cx.waker().clone());
        drop(former);
        if self.is_set.load(Ordering::SeqCst) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventLoop {
    /// Starts a thread called `name` that runs a loop with the defaults. See [`LoopThread`].
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::new`], and if the thread cannot be started.
    pub fn spawn_thread(name: impl Into<String>) -> io::Result<LoopThread> {
        EventLoop::builder().spawn_thread(name)
    }
}

impl Builder {
    /// Starts a thread called `name` that runs the loop. See [`LoopThread`].
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::new`], and if the thread cannot be started.
    pub fn spawn_thread(self, name: impl Into<String>) -> io::Result<LoopThread> {
        let epoll = self.build()?;
        let handle = epoll.handle();
        let stop = Arc::new(Stop::default());
        let stopped = stop.clone();
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            epoll.block_on(std::future::poll_fn(|cx| stopped.poll(cx)));
            // Here, and not in a thread that joins this one: tasks end where they ran.
            drop(epoll);
        })?;
        Ok(LoopThread {
            handle,
            stop,
            thread: Some(thread),
        })
    }
}

impl LoopThread {
    /// Returns a handle to the loop, which does not keep it running.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns the loop as a backend: its handle, behind the trait.
    pub fn backend(&self) -> Arc<dyn NetworkBackend> {
        Arc::new(self.handle())
    }
}

impl Drop for LoopThread {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // It panics only if its epoll instance is broken, and the panic hook has reported that.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for LoopThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopThread")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
