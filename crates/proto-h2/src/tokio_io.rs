//! A [`NetworkStream`](httpcore_core_primitives::NetworkStream) with the traits that h2 needs:
//! tokio's, without its runtime.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak},
    task::{Context, Poll, Waker, ready},
};

use bytes::BytesMut;
use httpcore_core_primitives::{BoxStream, ErrorKind, IdleEvent};
use httpcore_proto_common::{buffers, write_buf::WriteBuf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    link::{ConnShared, End},
    payload,
    preface::PrefaceCheck,
    validate::{FrameValidator, FrameViolation, Headers},
};

/// Number of bytes that are gathered before they are written. A system call for each frame of 16
/// KiB took sixteen times as many.
const MAX_HELD_BYTES: usize = 256 * 1024;

/// Maximum number of bytes of it that are not payload: from a server that does not read what it is
/// sent, reading stops soon.
const MAX_FRAMING_BYTES: usize = 16 * 1024;

/// The stream below a connection. It reads into a large buffer of the thread and passes that on in
/// parts, which costs a copy and saves most of the system calls. What h2 writes and flushes frame
/// by frame is gathered until the driver's poll ends. Between two polls it holds no buffer, unless
/// the task has yielded or the stream takes no more.
pub(crate) struct Io {
    stream: BoxStream,
    /// What h2 has written.
    outgoing: WriteBuf,
    /// Written bytes may still be held back below.
    is_unflushed: bool,
    /// The stream took no more in this poll, and has the waker.
    is_blocked: bool,
    /// The error with which writing failed. What the server had sent before is still read, and what
    /// h2 writes meanwhile is dropped: h2 would end every stream with the error.
    broken: Option<End>,
    /// A layer below has buffers that it releases when it is idle.
    is_layered: bool,
    incoming: BytesMut,
    /// Number of bytes of `incoming` that have been passed on.
    taken: usize,
    /// Until the server's first frame has arrived.
    opening: Option<PrefaceCheck>,
    inspector: FrameValidator,
    headers: Headers,
    held: Held,
    link: Arc<ConnShared>,
}

/// The last bytes that were read, if the validator must inspect the next ones together with them: a
/// part of a frame header.
#[derive(Clone, Copy, Default)]
struct Held {
    bytes: [u8; 9],
    count: usize,
}

impl Held {
    fn of(bytes: &[u8]) -> Self {
        let mut held = Held::default();
        for (place, byte) in held.bytes.iter_mut().zip(bytes) {
            *place = *byte;
            held.count += 1;
        }
        held
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

impl Io {
    /// Creates the I/O of a connection; `is_layered` says whether there is more than a socket
    /// below.
    pub(crate) fn new(stream: BoxStream, is_layered: bool, link: Arc<ConnShared>) -> Self {
        Io {
            stream,
            outgoing: WriteBuf::default(),
            is_unflushed: false,
            is_blocked: false,
            broken: None,
            is_layered,
            incoming: BytesMut::new(),
            taken: 0,
            opening: Some(PrefaceCheck::default()),
            inspector: FrameValidator::new(),
            headers: Headers::new(),
            held: Held::default(),
            link,
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut asked = false;
        loop {
            // h2 reads for as long as there is something. With large windows and a fast server no
            // other task would run.
            if !self.link.may_read() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut buffer = buffers::take_large();
            buffer.extend_from_slice(self.held.bytes());
            let read = self.stream.poll_read(cx, &mut buffer);
            match &read {
                Poll::Ready(Ok(count)) if *count > 0 => {
                    self.link.has_read(*count);
                    if let Some(opening) = &mut self.opening
                        && opening.look(&mut buffer)
                    {
                        self.opening = None;
                    }
                    let seen = self.inspect(&mut buffer)?;
                    self.held = Held::of(&buffer[seen..]);
                    buffer.truncate(seen);
                    if buffer.is_empty() {
                        buffers::recycle(&mut buffer);
                        continue;
                    }
                    self.incoming = buffer;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(_)) => self.link.ended(match self.broken.take() {
                    Some(End::Failed(error)) => End::ClosedAfter(error),
                    Some(_) | None => End::Closed,
                }),
                // What broke first is the better explanation, unless reading says more.
                Poll::Ready(Err(error))
                    if ErrorKind::of_stream_error(error) == ErrorKind::Network =>
                {
                    if let Some(broken) = self.broken.take() {
                        self.link.ended(broken);
                    }
                }
                Poll::Ready(Err(_)) | Poll::Pending => {}
            }
            buffers::recycle(&mut buffer);
            // TLS releases its buffers when it is polled as idle. What it finds then is read in the
            // next iteration.
            if read.is_pending() && self.is_layered && self.link.is_idle() && !asked {
                asked = true;
                if self.stream.poll_idle(cx).is_ready() {
                    continue;
                }
            }
            return self.note(read.map_ok(drop));
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.incoming.is_empty() {
            ready!(self.poll_fill(cx))?;
        }
        let there = &self.incoming[self.taken..];
        let count = there.len().min(out.remaining());
        out.put_slice(&there[..count]);
        self.taken += count;
        if self.taken == self.incoming.len() {
            self.taken = 0;
            buffers::recycle(&mut self.incoming);
        }
        Poll::Ready(Ok(()))
    }

    /// Inspects what has arrived; returns how many bytes of it may be passed on.
    fn inspect(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut abused = false;
        if self.link.has_stranded() {
            self.inspector.admits_none = true;
        }
        let held = self.inspector.look(bytes, |finding| {
            abused |= finding == FrameViolation::TooManyBlocks;
            self.link.found(finding);
        });
        let control = std::mem::take(&mut self.inspector.control);
        if control > 0 {
            self.link.count_control_frame(control);
        }
        if abused {
            return Err(io::ErrorKind::Other.into());
        }
        Ok(bytes.len().saturating_sub(held))
    }

    /// Returns the end of the stream if no task has noticed it: on a thread that waits elsewhere,
    /// the loop may not have run for a long time. What has not been written then can be sent on
    /// another connection.
    fn end_while_idle(&mut self, cx: &mut Context<'_>) -> Option<End> {
        match self.stream.poll_idle(cx) {
            Poll::Ready(IdleEvent::Closed) => Some(End::Closed),
            Poll::Ready(IdleEvent::Failed(kind)) => Some(End::Failed(Arc::new(kind.into()))),
            // What can be read is read in the next poll.
            Poll::Ready(_) | Poll::Pending => None,
        }
    }

    /// Returns whether the stream is open, by what has arrived so far. `cx` is that of the driver,
    /// which then reads what was found.
    fn is_open(&mut self, cx: &mut Context<'_>) -> bool {
        let mut end = self.stream.poll_idle(cx);
        // The end may have arrived behind frames.
        if matches!(end, Poll::Ready(IdleEvent::UnsolicitedData))
            && self.incoming.is_empty()
            && self.link.may_read()
        {
            end = match self.poll_fill(cx) {
                Poll::Ready(Ok(())) if self.incoming.is_empty() => Poll::Ready(IdleEvent::Closed),
                Poll::Ready(Ok(())) => self.stream.poll_idle(cx),
                Poll::Ready(Err(error)) => Poll::Ready(IdleEvent::Failed(error.kind())),
                Poll::Pending => Poll::Pending,
            };
        }
        !matches!(end, Poll::Ready(IdleEvent::Closed | IdleEvent::Failed(_)))
    }

    /// Takes all of `bufs`, once there is room.
    fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let payload = payload::offered();
        if self.outgoing.is_full(MAX_HELD_BYTES)
            || self.outgoing.buf_mut().len() >= MAX_FRAMING_BYTES
        {
            ready!(self.poll_send(cx));
        }
        if self.broken.is_some() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        if self.outgoing.is_empty() {
            self.outgoing = WriteBuf::new(buffers::take_large());
        }
        for buf in bufs {
            self.headers.look(buf);
        }
        let opened = self.headers.newest;
        if opened > self.link.opened() {
            // A stream that was declared unsent is not sent: its request may be on another
            // connection.
            if self.link.has_stranded() {
                let error = io::Error::other("a stream was opened that had been declared unsent");
                self.broken = Some(End::Closed);
                return self.note(Poll::Ready(Err(error)));
            }
            self.link.opens(opened);
        }
        let before = self.outgoing.len();
        for buf in bufs {
            match payload::part(&payload, buf) {
                Some(data) => self.outgoing.push(data, b""),
                None => self.outgoing.buf_mut().extend_from_slice(buf),
            }
        }
        Poll::Ready(Ok(self.outgoing.len() - before))
    }

    /// Writes all that was gathered, or finds that nothing can be written any more.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.outgoing.is_empty() && !self.is_unflushed {
            return Poll::Ready(());
        }
        self.is_unflushed = true;
        self.is_blocked = true;
        let sent = ready!(self.poll_write_all(cx));
        self.is_unflushed = false;
        self.is_blocked = false;
        buffers::recycle(&mut self.outgoing.into_buf());
        if let Err(end) = sent {
            self.broken = Some(end);
            // Reading finds how the connection ended.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(())
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let failed = |error| End::Failed(Arc::new(error));
        if self.link.begins_anew()
            && let Some(end) = self.end_while_idle(cx)
        {
            return Poll::Ready(Err(end));
        }
        while !self.outgoing.is_empty() {
            match ready!(self.outgoing.poll_write(cx, &mut *self.stream)) {
                Ok(0) => return Poll::Ready(Err(failed(io::ErrorKind::WriteZero.into()))),
                Ok(written) => self.link.has_written(written),
                Err(error) => {
                    // A layer may have passed on some of it before it failed.
                    self.link.has_written(1);
                    return Poll::Ready(Err(failed(error)));
                }
            }
        }
        self.stream.poll_flush(cx).map_err(failed)
    }

    /// Keeps the error: h2 keeps only its text.
    fn note<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        outcome.map_err(|error| {
            let kind = error.kind();
            self.link.ended(End::Failed(Arc::new(error)));
            kind.into()
        })
    }
}

/// The access of h2 and the driver to an [`Io`]. h2's connection gives no access to its I/O. Both
/// are one task, and so the lock is never waited for.
#[derive(Clone)]
pub(crate) struct SharedIo(Arc<Mutex<Io>>);

impl SharedIo {
    pub(crate) fn new(io: Io) -> Self {
        SharedIo(Arc::new(Mutex::new(io)))
    }

    /// Writes all that was gathered, at the end of a poll.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut io = self.io();
        // Tried in this poll already, perhaps before the task yielded: not again.
        if std::mem::take(&mut io.is_blocked) {
            return Poll::Pending;
        }
        let sent = io.poll_send(cx);
        io.is_blocked = false;
        sent
    }

    pub(crate) fn downgrade(&self) -> WeakIo {
        WeakIo(Arc::downgrade(&self.0))
    }

    /// Returns the error with which writing failed, while reading continues.
    pub(crate) fn broken(&self) -> Option<End> {
        self.io().broken.clone()
    }

    fn io(&self) -> MutexGuard<'_, Io> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The access of a connection's handle to an [`Io`]: it does not keep the stream open.
pub(crate) struct WeakIo(Weak<Mutex<Io>>);

impl WeakIo {
    /// Returns whether the stream is open, by what has arrived so far. Wakes the driver, whose
    /// waker this is, if there is something for it to read.
    pub(crate) fn is_open(&self, driver: &Waker) -> bool {
        let Some(io) = self.0.upgrade() else {
            return false;
        };
        let mut cx = Context::from_waker(driver);
        let (is_open, has_frames) = match io.try_lock() {
            Ok(mut io) => (io.is_open(&mut cx), !io.incoming.is_empty()),
            Err(TryLockError::Poisoned(io)) => (io.into_inner().is_open(&mut cx), true),
            // The driver is reading or writing at this moment.
            Err(TryLockError::WouldBlock) => return true,
        };
        if !is_open || has_frames {
            driver.wake_by_ref();
        }
        is_open
    }
}

impl AsyncRead for SharedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io().poll_read(cx, out)
    }
}

impl AsyncWrite for SharedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_gather(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_gather(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// h2 flushes each frame of DATA. What was gathered is written at the end of the poll.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.io();
        ready!(io.poll_send(cx));
        if io.broken.is_some() {
            return Poll::Ready(Ok(()));
        }
        let shut = io.stream.poll_shutdown(cx);
        io.note(shut)
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        buffers::recycle(&mut self.incoming);
        buffers::recycle(&mut self.outgoing.into_buf());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use httpcore_net_mock::{Link as Wire, MockNet};
    use std::future::poll_fn;

    /// Reads as h2 does, a little at a time, until it has to wait; returns the number of bytes.
    async fn turn(io: &mut Io, link: &ConnShared, allowance: usize) -> usize {
        link.begin_turn(allowance, false);
        let mut taken = 0;
        poll_fn(|cx| {
            loop {
                let mut piece = [0; 1000];
                let mut out = ReadBuf::new(&mut piece);
                match io.poll_read(cx, &mut out) {
                    Poll::Ready(Ok(())) if !out.filled().is_empty() => taken += out.filled().len(),
                    Poll::Ready(Ok(())) | Poll::Pending => return Poll::Ready(()),
                    Poll::Ready(Err(error)) => panic!("{error}"),
                }
            }
        })
        .await;
        taken
    }

    #[test]
    fn a_turn_ends_for_the_sake_of_others_and_holds_no_buffer() {
        let net = MockNet::new();
        let (stream, mut server) = net.pair_with(Wire::new().buffer(1 << 20));
        net.run(async move {
            server.write_all(frames(1_000_000)).await.unwrap();
            let link = Arc::new(ConnShared::default());
            let mut io = Io::new(stream, false, link.clone());
            let mut taken = Vec::new();
            while taken.iter().sum::<usize>() < 1_000_000 {
                taken.push(turn(&mut io, &link, 200_000).await);
                assert_eq!(io.incoming.capacity(), 0);
            }
            assert_eq!(link.bytes_read(), 1_000_000);
            let most = taken.iter().max().copied().unwrap_or(0);
            assert!(most < 200_000 + buffers::LARGE_BYTES, "{taken:?}");
            assert!(taken.len() > 3, "{taken:?}");
        });
    }

    /// Returns this many bytes of frames: SETTINGS, and unsolicited DATA.
    fn frames(length: usize) -> Vec<u8> {
        let mut bytes = b"\0\0\0\x04\0\0\0\0\0".to_vec();
        let left = length - bytes.len() - 9;
        bytes.extend(&u32::try_from(left).unwrap().to_be_bytes()[1..]);
        bytes.extend([0, 0, 0, 0, 0, 1]);
        bytes.resize(length, 0);
        bytes
    }
}
