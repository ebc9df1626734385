//! The loop for programs that block: a thread that waits for one answer waits in its socket.
//!
//! Asking an event loop for one answer on one socket takes three system calls: send, wait, receive.
//! A blocking socket needs two. [`Blocking`] is a loop like [`EventLoop`], with tasks,
//! timers and connects that wait in epoll, whose streams do this:
//!
//! 1. A read which has nothing to go by makes no system call. It notes that this thread's future
//!    *wants* to read this stream, and is pending.
//! 2. When the future is pending, [`block_on`](Blocking::block_on) looks at the note. If that read
//!    is the only thing that can ever wake the future, timers aside, the future is polled again
//!    with a *permit*, and now the read waits in recv(2), until the earliest deadline there is
//!    (`SO_RCVTIMEO`).
//! 3. Otherwise the thread waits as for any loop: it drives, or is parked.
//!
//! What else could wake the future is known by counting the references to its waker. So a body that
//! comes from a channel, a response that is read while the request is written, a connection somebody
//! else makes: whatever is more than one read waits in epoll, and full duplex is never cut short.
//! A waker that has been forgotten somewhere costs a system call and no more.
//!
//! What is different for those who use it:
//!
//! - Background tasks run while some thread waits in the loop, before a thread starts to wait in
//!   its socket, and when it comes out. Nothing that a waiting thread depends on is held up: what it
//!   depends on holds its waker.
//! - The loop turns seldom, and so [`poll_idle`](NetworkStream::poll_idle) asks the socket more often: a
//!   connection that is used again within some tens of microseconds is not asked here either.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    path::Path,
    pin::pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use httpcore_core_primitives::{
    BoxFuture, BoxStream, ConnectionInfo, IdleEvent, NetworkBackend, NetworkStream, Runtime,
    TcpOptions, Timer,
};

use httpcore_net_common::{socket, spare};

use crate::{
    EventLoop, Handle, Task,
    driver::{BlockOnWaker, Current, DriverSlot, Shared},
    source::{Direction, Source},
    stream::Stream,
};

/// A loop for programs that block, and its owner. See the [module](self).
///
/// ```
/// use httpcore_net_epoll::Blocking;
///
/// let blocking = Blocking::new()?;
/// assert_eq!(blocking.block_on(async { 5 }), 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Blocking {
    handle: Handle,
}

impl Blocking {
    /// A loop with the system's own name lookup. For another one, see
    /// [`Builder::build_blocking`](crate::Builder::build_blocking).
    ///
    /// # Errors
    ///
    /// See [`EventLoop::new`].
    pub fn new() -> io::Result<Self> {
        EventLoop::builder().build_blocking()
    }

    pub(crate) fn over(handle: Handle) -> Self {
        Blocking { handle }
    }

    /// Runs `future` to its end on this thread, and yields what it yields. Any number of threads
    /// may do so at once, and they do not wait for each other.
    ///
    /// # Panics
    ///
    /// When `future` does; not when a task does.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Runs `future` in the background, while somebody waits. See [`Handle::spawn`].
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// A handle to this loop, which does not keep it going.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// This loop as a backend: its handle, behind the trait.
    pub fn backend(&self) -> Arc<dyn NetworkBackend> {
        Arc::new(self.handle())
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.handle.0.end();
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.describe("Blocking", f)
    }
}

impl Runtime for Blocking {
    fn now(&self) -> Instant {
        self.handle.now()
    }

    fn timer(&self, purpose: &'static str) -> Box<dyn Timer> {
        self.handle.timer(purpose)
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        Runtime::spawn(&self.handle, name, task);
    }

    fn waits_in_sockets(&self) -> bool {
        self.handle.waits_in_sockets()
    }
}

impl NetworkBackend for Blocking {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        self.handle.resolve(host, port)
    }

    fn connect_tcp(
        &self,
        peer: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        self.handle.connect_tcp(peer, options)
    }

    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxStream>> {
        self.handle.connect_unix(path)
    }
}

/// What one `block_on` knows of the poll that is going on, for the streams which are polled in it.
struct PollContext {
    root: Arc<BlockOnWaker>,
    waker: Waker,
    /// How many references there are to `root` when only `block_on` itself has any.
    alone: usize,
    /// The one stream that may wait in its socket.
    may_block: Option<Weak<Source>>,
    /// A stream that would be read if there were anything to read, and others of that kind. Weak:
    /// a stream is closed when it is dropped.
    want: Option<Weak<Source>>,
    other_wants: Vec<Weak<Source>>,
}

thread_local! {
    /// The note of the root future that is being polled on this thread; the innermost of several.
    static NOTE: RefCell<Option<PollContext>> = const { RefCell::new(None) };
}

impl PollContext {
    /// Whether `cx` is the root future's own, so that polling that again will come by here.
    fn is_for(&self, stream: &Stream, cx: &Context<'_>) -> bool {
        self.waker.will_wake(cx.waker()) && self.root.is_of(stream.reactor())
    }

    fn want(&mut self, source: &Arc<Source>) {
        let source = Arc::downgrade(source);
        if self.want.is_none() {
            self.want = Some(source);
        } else if !self.wants().any(|known| known.ptr_eq(&source)) {
            self.other_wants.push(source);
        }
    }

    fn wants(&self) -> impl Iterator<Item = &Weak<Source>> {
        self.want.iter().chain(&self.other_wants)
    }

    /// Whether `source` has the permit to wait, which it uses up, and nothing has come up since
    /// that was given.
    fn use_permit(&mut self, source: &Arc<Source>, shared: &Shared) -> bool {
        let permitted = self
            .may_block
            .as_ref()
            .is_some_and(|may_block| std::ptr::eq(may_block.as_ptr(), Arc::as_ptr(source)));
        permitted && self.want.is_none() && self.nothing_else_wakes(shared) && {
            self.may_block = None;
            true
        }
    }

    /// Whether nothing but a timer and what is wanted can wake the future.
    fn nothing_else_wakes(&self, shared: &Shared) -> bool {
        if self.root.is_woken() || shared.queue.ready() > 0 {
            return false;
        }
        let others = Arc::strong_count(&self.root).saturating_sub(self.alone);
        others == 0 || others == shared.timers.held(&self.waker)
    }

    /// Whether the future may be polled with a permit; otherwise the loop is to be turned first.
    fn may_wait_in_socket(&self, shared: &Shared) -> bool {
        self.want.is_some()
            && self.other_wants.is_empty()
            && self.may_block.is_none()
            && self.nothing_else_wakes(shared)
            && !(shared.should_poll_events() && shared.queue.live() > 0)
            && shared.timers.next().is_none_or(|at| at > crate::now())
    }
}

/// Puts a note where streams find it, and takes it away again, also when the future panics.
struct Noted(Option<PollContext>);

impl Noted {
    fn put(note: PollContext) -> Self {
        Noted(NOTE.with(|place| place.replace(Some(note))))
    }

    fn take(mut self) -> PollContext {
        let former = self.0.take();
        let note = NOTE.with(|place| place.replace(former));
        std::mem::forget(self);
        note.expect("what was put there is there: nested polls put back what they found")
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let former = self.0.take();
        let note = NOTE.with(|place| place.replace(former));
        drop(note);
    }
}

/// Asks the note of the poll that is going on; without one, the answer is no.
fn with_note(ask: impl FnOnce(&mut PollContext) -> bool) -> bool {
    NOTE.with_borrow_mut(|note| note.as_mut().is_some_and(ask))
}

pub(crate) fn block_on<F: Future>(handle: &Handle, future: F) -> F::Output {
    let shared = &*handle.0;
    let _current = Current::enter(handle.clone());
    let mut seat = DriverSlot::take(shared);
    let waker = Waker::from(seat.root.clone());
    let mut note = PollContext {
        root: seat.root.clone(),
        waker: waker.clone(),
        alone: 0,
        may_block: None,
        want: None,
        other_wants: Vec::new(),
    };
    note.alone = Arc::strong_count(&seat.root);
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if note.may_block.is_some() || seat.root.is_woken() {
            seat.root.take_wake();
            let noted = Noted::put(note);
            let poll = future.as_mut().poll(&mut cx);
            note = noted.take();
            if let Poll::Ready(output) = poll {
                return output;
            }
            if note.may_wait_in_socket(shared) && seat.step_aside() {
                note.may_block = note.want.take();
                continue;
            }
            // A permit that was not used, and wants that are not the only ones, wait in the loop.
            let wants = note.other_wants.drain(..);
            let wants = wants.chain(note.want.take()).chain(note.may_block.take());
            for source in wants.filter_map(|source| source.upgrade()) {
                if source.poll_ready(Direction::Read, &mut cx).is_ready() {
                    waker.wake_by_ref();
                }
            }
        }
        seat.wait();
    }
}

/// A socket in which a thread may wait.
pub(crate) struct DirectStream {
    stream: Stream,
    shared: Arc<Shared>,
    /// The last read filled its buffer: there may be more, which is worth a call.
    more: bool,
    /// How long the socket waits (`SO_RCVTIMEO`), as the kernel was last told.
    limit: Option<Duration>,
}

/// Waking early is cheap, and telling the kernel a new limit before every read is not. So the limit
/// is set to three quarters of the time that is left, and stays until it is more than what is left,
/// or less than a quarter; below `EXACT_WAIT_BELOW`, it is what is left.
const EXACT_WAIT_BELOW: Duration = Duration::from_millis(20);

/// A limit of at least this much may stay although there is no deadline any more.
const MIN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl DirectStream {
    /// `stream`, whose socket may wait.
    pub(crate) fn new(stream: Stream, shared: Arc<Shared>) -> Self {
        DirectStream {
            stream,
            shared,
            more: false,
            limit: None,
        }
    }

    /// Reads without waiting. Pending leaves no waker behind.
    fn try_read(&mut self, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = spare::room(buf);
        let source = self.stream.source();
        loop {
            let seen = source.ready(Direction::Read)?;
            if seen.is_none() && !self.more {
                return Poll::Pending;
            }
            self.more = false;
            match spare::recv_without_waiting(&source.socket, buf) {
                Ok(read) => {
                    self.more = read == room;
                    if 0 < read && read < room {
                        self.stream.is_empty_now();
                    }
                    return Poll::Ready(Ok(read));
                }
                Err(error) => match (error.kind(), seen) {
                    (io::ErrorKind::WouldBlock, None) => return Poll::Pending,
                    (io::ErrorKind::WouldBlock, Some(seen)) => {
                        source.clear_ready(Direction::Read, seen);
                    }
                    (io::ErrorKind::Interrupted, _) => self.more = true,
                    _ => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    /// Reads, waiting for at most as long as no timer is due.
    fn wait_and_read(&mut self, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let next = self.shared.timers.next();
        let left = next.map(|at| at.saturating_duration_since(crate::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Poll::Pending;
        }
        self.set_recv_timeout(left)?;
        let room = spare::room(buf);
        let source = self.stream.source();
        match spare::recv(&source.socket, buf) {
            // The end of the loop shuts the socket down, and that is no end of what the peer says.
            Ok(0) => Poll::Ready(source.ready(Direction::Read).map(|_| 0)),
            Ok(read) => {
                self.more = read == room;
                if read < room {
                    self.stream.is_empty_now();
                }
                Poll::Ready(Ok(read))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Poll::Pending,
                _ => Poll::Ready(Err(error)),
            },
        }
    }

    fn set_recv_timeout(&mut self, left: Option<Duration>) -> io::Result<()> {
        let limit = match (self.limit, left) {
            (None, None) => return Ok(()),
            (Some(limit), None) if limit >= MIN_CHECK_INTERVAL => return Ok(()),
            (Some(limit), Some(left)) if limit <= left && limit * 4 >= left => return Ok(()),
            (_, None) => None,
            (_, Some(left)) if left > EXACT_WAIT_BELOW => Some(left / 4 * 3),
            // Nothing is how the kernel spells for ever.
            (_, Some(left)) => Some(left.max(Duration::from_millis(1))),
        };
        self.stream.source().socket.set_read_timeout(limit)?;
        self.limit = limit;
        Ok(())
    }
}

impl NetworkStream for DirectStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if spare::room(buf) == 0 {
            return Poll::Ready(Err(socket::no_room()));
        }
        // A task, a part of the future with a waker of its own, another executor: they are woken
        // by the loop.
        if !with_note(|note| note.is_for(&self.stream, cx)) {
            return self.stream.poll_read(cx, buf);
        }
        if !self.stream.may_go_on(cx) {
            return Poll::Pending;
        }
        let mut read = self.try_read(buf)?;
        if read.is_pending()
            && with_note(|note| note.use_permit(self.stream.source(), &self.shared))
        {
            read = self.wait_and_read(buf)?;
        }
        if let Poll::Ready(read) = read {
            self.stream.spend(read);
            return Poll::Ready(Ok(read));
        }
        with_note(|note| {
            note.want(self.stream.source());
            true
        });
        Poll::Pending
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }

    /// The waker is called if a thread turns the loop.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        self.stream.poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        self.stream.info()
    }
}

impl fmt::Debug for DirectStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Direct").field(&self.stream).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::poll_fn,
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    /// Asks `rounds` questions, each with a deadline if `limit` says so, and yields how often the
    /// loop was turned meanwhile.
    fn turns_of(rounds: usize, limit: Option<Duration>) -> u64 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut heard = [0; 4];
            while socket.read_exact(&mut heard).is_ok() {
                socket.write_all(&heard).unwrap();
            }
        });
        let blocking = Blocking::new().unwrap();
        let runtime: Arc<dyn Runtime> = Arc::new(blocking.handle());
        let connect = blocking.connect_tcp(address, &TcpOptions::default());
        let mut stream = blocking.block_on(connect).unwrap();
        let before = blocking.handle.0.reactor.turn();
        for _ in 0..rounds {
            blocking.block_on(async {
                let mut heard = BytesMut::with_capacity(64);
                let ask = async {
                    poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(b"ping")])).await?;
                    poll_fn(|cx| stream.poll_read(cx, &mut heard)).await
                };
                let deadline = limit.map(|limit| runtime.now() + limit);
                let asked = httpcore_core_primitives::with_deadline(&runtime, "ask", deadline, ask);
                assert_eq!(asked.await.unwrap().unwrap(), 4);
            });
        }
        let turns = blocking.handle.0.reactor.turn() - before;
        drop(stream);
        server.join().unwrap();
        turns
    }

    #[test]
    fn questions_one_after_the_other_do_not_turn_the_loop() {
        assert_eq!(turns_of(200, None), 0);
    }

    #[test]
    fn a_deadline_does_not_make_them() {
        assert_eq!(turns_of(200, Some(Duration::from_secs(3600))), 0);
    }
}
