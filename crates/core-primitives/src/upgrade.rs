//! The stream that is left of a connection after `101`, and after a 2xx to `CONNECT` (plain or extended).

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
    sync::lock,
};

/// Capacity that [`Upgraded::read`] reserves if the buffer is full, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// The stream of a connection after an upgrade or CONNECT (RFC 9110 §7.8, §9.3.6; RFC 8441 §5): a duplex
/// of bytes in a protocol of the caller's.
///
/// It begins with the bytes that arrived together with the response. It holds the connection's lease,
/// and so its slot in the pool, until it is dropped. The request's time limits no longer apply. When the
/// pool is drained and its deadline passes, reading and writing fail with [`ConnectionRevoked`]. After an
/// error of reading, every later read returns an error of the same kind and text, and never the end.
///
/// It is in the response's extensions; dropping the response drops it, unless it has been
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
    /// Bytes that were read together with the response.
    leading: BytesMut,
    stream: BoxStream,
    /// The error that ended reading. A stream is not asked again after an error; a socket that was
    /// reset, for example, then reports an end.
    failure: Option<(io::ErrorKind, String)>,
    /// After the stream, so that the connection is closed before its slot becomes free.
    lease: LeaseGuard,
}

/// The cause of the error of a request with a [`Protocol`](crate::Protocol) to a server that does not
/// announce extended CONNECT (RFC 8441 §3). Nothing has been sent; the request may succeed over HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not support extended CONNECT (RFC 8441 §3)")]
pub struct ExtendedConnectUnsupported;

impl ExtendedConnectUnsupported {
    /// Returns whether `error` has this cause.
    pub fn is_source_of(error: &Error) -> bool {
        error
            .cause()
            .is_some_and(|cause| cause.is::<ExtendedConnectUnsupported>())
    }
}

/// The form in which it is in the extensions, whose values must be `Clone` and `Sync`.
#[derive(Clone)]
struct Slot(Arc<Mutex<Option<Upgraded>>>);

impl Upgraded {
    /// Creates it from a stream from which `leading` has been read already. The lease ends with
    /// [`CloseReason::Upgraded`] when this is dropped.
    pub fn new(stream: BoxStream, leading: BytesMut, lease: Lease) -> Self {
        Upgraded {
            leading,
            stream,
            failure: None,
            lease: LeaseGuard::new(lease),
        }
    }

    /// Inserts it into a response's extensions, from which it can be taken once.
    pub fn insert_into(self, extensions: &mut http::Extensions) {
        extensions.insert(Slot(Arc::new(Mutex::new(Some(self)))));
    }

    /// Takes the stream out of `response`; `None` if there is none, or if it was taken before.
    pub fn take_from<B>(response: &mut http::Response<B>) -> Option<Self> {
        let slot = response.extensions_mut().remove::<Slot>()?;
        lock(&slot.0).take()
    }

    /// Reads into `buf` and yields the number of bytes; 0 is the end. Reserves 16 KiB if `buf` is full.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Those of the connection; [`ConnectionRevoked`].
    pub async fn read(&mut self, buf: &mut BytesMut) -> io::Result<usize> {
        make_room(buf);
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// Writes all of `bytes` and flushes. If the future is dropped, a part may have been written.
    ///
    /// # Errors
    ///
    /// Those of the connection; [`ConnectionRevoked`].
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        poll_fn(|cx| poll_write_all(self, cx, &mut left)).await
    }

    /// Shuts the write side down, with each layer's closing message. Reading can continue.
    ///
    /// # Errors
    ///
    /// Those of the connection; [`ConnectionRevoked`].
    pub async fn close_write(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_shutdown(cx)).await
    }

    /// Splits it into a half for each direction, for two tasks. The connection is closed when both are
    /// dropped.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let whole = Arc::new(Mutex::new(self));
        (ReadHalf(whole.clone()), WriteHalf(whole))
    }

    /// Ready with an error if the lease has been revoked; otherwise calls `poll`, and if that is pending,
    /// registers the waker for the revocation as well.
    fn unless_revoked<T>(
        &mut self,
        cx: &mut Context<'_>,
        direction: Direction,
        poll: impl FnOnce(&mut BoxStream, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.lease.is_revoked() {
            return Poll::Ready(Err(ConnectionRevoked::error()));
        }
        let polled = poll(&mut self.stream, cx);
        if polled.is_pending() && self.lease.register(direction, cx.waker()) {
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
        if let Some((kind, text)) = &self.failure {
            return Poll::Ready(Err(io::Error::new(*kind, text.clone())));
        }
        if self.leading.is_empty() {
            let read =
                self.unless_revoked(cx, Direction::Read, |stream, cx| stream.poll_read(cx, buf));
            if let Poll::Ready(Err(error)) = &read {
                self.failure = Some((error.kind(), error.to_string()));
            }
            return read;
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
        if polled.is_pending() && self.lease.register(Direction::Read, cx.waker()) {
            return Poll::Ready(IdleEvent::Closed);
        }
        polled
    }

    fn info(&self) -> ConnectionInfo {
        self.stream.info()
    }
}

/// The read half of an [`Upgraded`]. The halves share a lock, which is held for one poll and never across
/// polls.
#[derive(Debug)]
pub struct ReadHalf(Arc<Mutex<Upgraded>>);

/// The write half of an [`Upgraded`]. Dropping it alone does not close the write side:
/// [`close_write`] does, and dropping both halves.
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

    /// Joins the halves again. If they are not of the same stream, drops both and returns `None`.
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

fn make_room(buf: &mut BytesMut) {
    if buf.capacity() == buf.len() {
        buf.reserve(READ_BYTES);
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

/// The lease, and the wakers for its revocation.
struct LeaseGuard {
    lease: Option<Lease>,
    wakers: Arc<RevocationWakers>,
}

/// The waker of each direction: they may belong to two tasks, and a lease keeps only one waker.
#[derive(Default)]
struct RevocationWakers {
    woken: AtomicBool,
    wakers: Mutex<[Option<Waker>; 2]>,
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

impl LeaseGuard {
    fn new(lease: Lease) -> Self {
        let wakers = Arc::<RevocationWakers>::default();
        if lease.is_revoked_or_wakes(&wakers.clone().into()) {
            wakers.woken.store(true, Ordering::Release);
        }
        LeaseGuard {
            lease: Some(lease),
            wakers,
        }
    }

    fn is_revoked(&self) -> bool {
        // A wake-up may be spurious.
        self.wakers.woken.load(Ordering::Acquire)
            && self.lease.as_ref().is_some_and(Lease::is_revoked)
    }

    /// Registers `waker` for the revocation. Returns whether the lease has been revoked already.
    fn register(&self, direction: Direction, waker: &Waker) -> bool {
        let mut wakers = self.wakers.lock();
        let slot = &mut wakers[direction as usize];
        if slot.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            let old = slot.replace(waker.clone());
            drop(wakers);
            drop(old);
        } else {
            drop(wakers);
        }
        // Checked after the waker was registered: a revocation in between has called it.
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
        lock(&self.wakers)
    }
}

impl Wake for RevocationWakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        let wakers = std::mem::take(&mut *self.lock());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}
