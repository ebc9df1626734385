//! Where HTTP ends on a connection: after 101, and after a 2xx to `CONNECT`, extended or not.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use bytes::{Buf, BytesMut};

use crate::{
    error::Error,
    lease::{CloseReason, ConnectionRevoked, Lease},
    net::{BoxStream, ConnectionInfo, IdleEvent, NetworkStream},
};

/// How much [`Upgraded::read`] reads at most at once, in bytes, if the buffer has no room.
const READ: usize = 16 * 1024;

/// The stream which a response has left behind (RFC 9110 §7.8, §9.3.6; RFC 8441 §5): a duplex of
/// bytes, whose meaning is the caller's.
///
/// It begins with the bytes that came together with the response. It holds the connection's lease,
/// and so its place in the pool, until it is dropped. No time limit of the request concerns it any
/// more. When a pool that is being drained runs out of patience, reading and writing fail with
/// [`ConnectionRevoked`].
///
/// It travels in the response's extensions; dropping the response drops it, unless it has been
/// [taken](Self::take_from).
///
/// ```
/// use httpcore_core_primitives::Upgraded;
///
/// # fn example(mut response: httpcore_core_primitives::Response) {
/// if let Some(stream) = Upgraded::take_from(&mut response) {
///     let (reader, writer) = stream.split();
///     # drop((reader, writer));
/// }
/// # }
/// ```
pub struct Upgraded {
    /// What had been read already, and comes first.
    leading: BytesMut,
    stream: BoxStream,
    /// Behind the stream, so that the connection is closed when its place becomes free.
    hold: LeaseGuard,
}

/// What is behind the error of a request for a [`Protocol`](crate::Protocol) to a server that does not
/// announce extended CONNECT (RFC 8441 §3). Nothing has been sent; over HTTP/1.1 the same may work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedConnectUnsupported;

impl ExtendedConnectUnsupported {
    /// Whether this is what `error` says.
    pub fn is_source_of(error: &Error) -> bool {
        error
            .cause()
            .is_some_and(|cause| cause.is::<ExtendedConnectUnsupported>())
    }
}

impl fmt::Display for ExtendedConnectUnsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server does not offer extended CONNECT (RFC 8441 §3)")
    }
}

impl std::error::Error for ExtendedConnectUnsupported {}

/// One of these is in the extensions, which must be `Clone` and `Sync`.
#[derive(Clone)]
struct Left(Arc<Mutex<Option<Upgraded>>>);

impl Upgraded {
    /// What is left of a connection: `leading` has been read from `stream` already. The lease ends
    /// as [`CloseReason::Upgraded`] when this is dropped.
    pub fn new(stream: BoxStream, leading: BytesMut, lease: Lease) -> Self {
        Upgraded {
            leading,
            stream,
            hold: LeaseGuard::new(lease),
        }
    }

    /// Leaves this with a response, for whoever asks first.
    pub fn insert_into(self, extensions: &mut http::Extensions) {
        extensions.insert(Left(Arc::new(Mutex::new(Some(self)))));
    }

    /// The stream which `response` has left behind, for whoever asks first.
    pub fn take_from<B>(response: &mut http::Response<B>) -> Option<Self> {
        let left = response.extensions_mut().remove::<Left>()?;
        let mut left = left.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.take()
    }

    /// Reads what there is into `buf`, waiting until there is something; 0 is the end. If `buf` has
    /// no room, it is given some. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Those of the connection; [`ConnectionRevoked`].
    pub async fn read(&mut self, buf: &mut BytesMut) -> io::Result<usize> {
        make_room(buf);
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// Writes all of `bytes`, and pushes them out. If the future is dropped, some may have been
    /// written.
    ///
    /// # Errors
    ///
    /// Those of the connection; [`ConnectionRevoked`].
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        poll_fn(|cx| poll_write_all(self, cx, &mut left)).await
    }

    /// Says goodbye, in the way of each layer, and closes the writing side: reading goes on.
    ///
    /// # Errors
    ///
    /// Those of the connection; [`ConnectionRevoked`].
    pub async fn close_write(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_shutdown(cx)).await
    }

    /// A half for each direction, for two tasks. The connection lives until both are gone.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let whole = Arc::new(Mutex::new(self));
        (ReadHalf(whole.clone()), WriteHalf(whole))
    }

    /// Ready with an error if the lease has been revoked; otherwise `poll` is asked, and if it has
    /// to wait, the revocation wakes as well.
    fn unless_revoked<T>(
        &mut self,
        cx: &mut Context<'_>,
        direction: Direction,
        poll: impl FnOnce(&mut BoxStream, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.hold.is_revoked() {
            return Poll::Ready(Err(ConnectionRevoked::error()));
        }
        let polled = poll(&mut self.stream, cx);
        if polled.is_pending() && self.hold.listen(direction, cx.waker()) {
            return Poll::Ready(Err(ConnectionRevoked::error()));
        }
        polled
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded")
            .field("leading", &self.leading.len())
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl NetworkStream for Upgraded {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.leading.is_empty() {
            return self
                .unless_revoked(cx, Direction::Read, |stream, cx| stream.poll_read(cx, buf));
        }
        let taken = self.leading.len().min(buf.capacity() - buf.len());
        buf.extend_from_slice(&self.leading[..taken]);
        self.leading.advance(taken);
        if self.leading.is_empty() {
            self.leading = BytesMut::new();
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unless_revoked(cx, Direction::Write, |stream, cx| {
            stream.poll_write(cx, bufs)
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_revoked(cx, Direction::Write, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_revoked(cx, Direction::Write, |stream, cx| stream.poll_shutdown(cx))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        if !self.leading.is_empty() {
            return Poll::Ready(IdleEvent::UnsolicitedData);
        }
        let polled = self.stream.poll_idle(cx);
        if polled.is_pending() && self.hold.listen(Direction::Read, cx.waker()) {
            return Poll::Ready(IdleEvent::Closed);
        }
        polled
    }

    fn info(&self) -> ConnectionInfo {
        self.stream.info()
    }
}

/// The half of an [`Upgraded`] that reads.
#[derive(Debug)]
pub struct ReadHalf(Arc<Mutex<Upgraded>>);

/// The half of an [`Upgraded`] that writes. Dropping it closes nothing: [`close_write`] does, and
/// dropping both halves.
///
/// [`close_write`]: Self::close_write
#[derive(Debug)]
pub struct WriteHalf(Arc<Mutex<Upgraded>>);

impl ReadHalf {
    /// See [`NetworkStream::poll_read`].
    ///
    /// # Errors
    ///
    /// As for [`Upgraded::read`].
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_read(cx, buf)
    }

    /// See [`Upgraded::read`].
    ///
    /// # Errors
    ///
    /// As for [`Upgraded::read`].
    pub async fn read(&mut self, buf: &mut BytesMut) -> io::Result<usize> {
        make_room(buf);
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// The whole again; `None`, and both halves closed, if they are not of one stream.
    pub fn reunite(self, writer: WriteHalf) -> Option<Upgraded> {
        if !Arc::ptr_eq(&self.0, &writer.0) {
            return None;
        }
        drop(writer);
        let whole = Arc::into_inner(self.0)?;
        Some(whole.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl WriteHalf {
    /// See [`NetworkStream::poll_write`].
    ///
    /// # Errors
    ///
    /// As for [`Upgraded::write_all`].
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(cx, bufs)
    }

    /// See [`NetworkStream::poll_flush`].
    ///
    /// # Errors
    ///
    /// As for [`Upgraded::write_all`].
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_flush(cx)
    }

    /// See [`NetworkStream::poll_shutdown`].
    ///
    /// # Errors
    ///
    /// As for [`Upgraded::close_write`].
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_shutdown(cx)
    }

    /// See [`Upgraded::write_all`].
    ///
    /// # Errors
    ///
    /// As for [`Upgraded::write_all`].
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        poll_fn(|cx| poll_write_all(&mut lock(&self.0), cx, &mut left)).await
    }

    /// See [`Upgraded::close_write`].
    ///
    /// # Errors
    ///
    /// As for [`Upgraded::close_write`].
    pub async fn close_write(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_shutdown(cx)).await
    }
}

/// Held while the stream is asked, never while anybody waits.
fn lock(whole: &Mutex<Upgraded>) -> MutexGuard<'_, Upgraded> {
    whole.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_room(buf: &mut BytesMut) {
    if buf.capacity() == buf.len() {
        buf.reserve(READ);
    }
}

fn poll_write_all(
    stream: &mut Upgraded,
    cx: &mut Context<'_>,
    left: &mut &[u8],
) -> Poll<io::Result<()>> {
    while !left.is_empty() {
        let written = ready!(stream.poll_write(cx, &[IoSlice::new(left)]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        *left = &left[written..];
    }
    stream.poll_flush(cx)
}

/// The lease, and the ear that is kept open for its revocation.
struct LeaseGuard {
    lease: Option<Lease>,
    ear: Arc<RevocationWakers>,
}

/// Who waits in each direction; they may be two tasks, and the owner of a lease knows one waker.
#[derive(Default)]
struct RevocationWakers {
    called: AtomicBool,
    waiting: Mutex<[Option<Waker>; 2]>,
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

impl LeaseGuard {
    fn new(lease: Lease) -> Self {
        let ear = Arc::<RevocationWakers>::default();
        if lease.is_revoked_or_wakes(&ear.clone().into()) {
            ear.called.store(true, Ordering::Release);
        }
        LeaseGuard {
            lease: Some(lease),
            ear,
        }
    }

    fn is_revoked(&self) -> bool {
        // Who calls may do so for nothing.
        self.ear.called.load(Ordering::Acquire)
            && self.lease.as_ref().is_some_and(Lease::is_revoked)
    }

    /// Whether the lease has been revoked; if not, that will wake.
    fn listen(&self, direction: Direction, waker: &Waker) -> bool {
        let mut waiting = self.ear.lock();
        let slot = &mut waiting[direction as usize];
        if slot.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            let old = slot.replace(waker.clone());
            drop(waiting);
            drop(old);
        } else {
            drop(waiting);
        }
        // Looked at after the waker was left: a call in between has found it.
        self.is_revoked()
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.close(CloseReason::Upgraded);
        }
    }
}

impl RevocationWakers {
    fn lock(&self) -> MutexGuard<'_, [Option<Waker>; 2]> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for RevocationWakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.called.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut *self.lock());
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}
