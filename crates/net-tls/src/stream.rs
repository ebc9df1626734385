//! The TLS stream.

use std::{
    fmt,
    io::{self, ErrorKind, IoSlice, Write},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use httpcore_core_primitives::{
    BoxStream, ConnectionInfo, IdleEvent, NetworkStream, TlsInfo, noop_waker, scratch,
};

use crate::{
    error::{TlsError, TlsErrorKind},
    session::{End, Session},
};

/// A TLS connection over another stream.
///
/// - **End.** Reading ends with 0 after the peer's `close_notify` (RFC 8446 §6.1), and with
///   [`ErrorKind::UnexpectedEof`] if the stream below ends without one: an attacker may have
///   truncated a message that is delimited by the end of the stream.
/// - **Writing** encrypts at most 128 KiB ahead of what the stream below has accepted, and is pending
///   beyond that. [`poll_flush`](NetworkStream::poll_flush) writes the rest. A write that returns an
///   error has written nothing: if the stream below fails between two records, the next call returns
///   the error. No write follows a failed one.
/// - **Shutdown.** [`poll_shutdown`](NetworkStream::poll_shutdown) sends `close_notify`, and does
///   not wait for the peer's. It is pending until the stream below accepts a few bytes, which may be
///   for ever: use a deadline, or drop the stream instead.
/// - **Idle.** [`poll_idle`](NetworkStream::poll_idle) processes session tickets and key updates, and
///   stays pending; no buffer for ciphertext is held meanwhile.
/// - **Dropping** closes the stream below at once, without `close_notify`.
///
/// Responses to the peer's messages (a key update, an alert) are sent by the reading side, unless a
/// task waits to write: then its next write sends them.
pub struct TlsStream {
    below: BoxStream,
    session: Session,
    /// Ciphertext that has arrived and is not yet decrypted, from `taken` on. Borrowed from the
    /// thread while there is any.
    incoming: BytesMut,
    taken: usize,
    /// Whether a task waits to write, with its waker in the stream below.
    writer_waits: bool,
    close_notify_sent: bool,
    /// The error with which writing to the stream below failed: the error itself until it has been
    /// returned, then its kind.
    broken: Option<io::Error>,
    /// Number of bytes of ciphertext received since the last plaintext: parts of a record, which
    /// rustls holds until it is complete.
    unconsumed: usize,
    /// Whether rustls may have allocated more than it keeps when idle.
    may_have_large_buffers: bool,
}

impl TlsStream {
    /// Performs the handshake.
    pub(crate) async fn connect(below: BoxStream, session: Session) -> io::Result<Self> {
        let mut stream = TlsStream {
            below,
            session,
            incoming: BytesMut::new(),
            taken: 0,
            writer_waits: false,
            close_notify_sent: false,
            broken: None,
            unconsumed: 0,
            may_have_large_buffers: true,
        };
        stream.check_no_early_bytes()?;
        std::future::poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    /// Returns the results of the handshake. Copies the peer's certificates on each call; cached, they
    /// would cost each idle connection a few kilobytes.
    pub fn tls_info(&self) -> TlsInfo {
        self.session.info()
    }

    /// Fails if bytes have arrived before the handshake. A TLS server does not send first: such bytes
    /// were injected, or belong to an earlier use of the stream, and must not be read as part of a
    /// protected stream.
    fn check_no_early_bytes(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(noop_waker());
        match self.below.poll_idle(&mut cx) {
            Poll::Pending => Ok(()),
            // The kind alone says too little: the handshake fails with the complete error. One of these
            // is a runtime that has shut down.
            Poll::Ready(IdleEvent::Failed(ErrorKind::Other)) => Ok(()),
            Poll::Ready(IdleEvent::Failed(kind)) => Err(kind.into()),
            Poll::Ready(IdleEvent::Closed) => {
                Err(TlsError::new(TlsErrorKind::Unfinished).into_io())
            }
            Poll::Ready(_) => Err(TlsError::new(TlsErrorKind::EarlyBytes).into_io()),
        }
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = self.poll_send(cx);
            match self.session.end() {
                // The alert that says why has been sent, if it could be.
                Some(End::Failed(error)) => return Poll::Ready(Err(error.into_io())),
                Some(End::Truncated | End::CloseNotify) => {
                    return Poll::Ready(Err(TlsError::new(TlsErrorKind::Unfinished).into_io()));
                }
                None => {}
            }
            if !self.session.is_handshaking() {
                ready!(sent)?;
                return self.below.poll_flush(cx);
            }
            let filled = if self.process_incoming() {
                Poll::Ready(Ok(()))
            } else {
                self.poll_fill(cx)
            };
            // A server that rejects the handshake may close before it has read everything: its alert
            // explains more than the write error.
            match (filled, sent) {
                (Poll::Ready(Ok(())), Poll::Ready(Err(error))) => self.broken = Some(error),
                (Poll::Ready(Ok(())), _) => {}
                (_, Poll::Ready(Err(error))) | (Poll::Ready(Err(error)), _) => {
                    return Poll::Ready(Err(error));
                }
                (Poll::Pending, _) => return Poll::Pending,
            }
        }
    }

    /// Decrypts some of what has arrived; returns whether there was any.
    #[inline]
    fn process_incoming(&mut self) -> bool {
        let is_some = !self.incoming.is_empty();
        if is_some {
            self.read_ciphertext();
        }
        is_some
    }

    fn read_ciphertext(&mut self) {
        self.taken += self.session.read_ciphertext(&self.incoming[self.taken..]);
        if self.taken == self.incoming.len() {
            self.release_incoming();
        }
    }

    fn release_incoming(&mut self) {
        self.taken = 0;
        scratch::give(std::mem::take(&mut self.incoming));
    }

    /// Reads ciphertext, or the end of the stream below.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buf = scratch::take();
        let read = self.below.poll_read(cx, &mut buf);
        match read {
            Poll::Ready(Ok(0)) => self.session.process_eof(),
            Poll::Ready(Ok(read)) => {
                self.unconsumed += read;
                self.may_have_large_buffers |= self.unconsumed > SMALL_BYTES;
                self.incoming = buf;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        scratch::give(buf);
        read.map_ok(drop)
    }

    /// Writes all ciphertext to the stream below.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send_some(cx, &mut false)
    }

    /// The same; sets `passed` once some of it has been written, also if the rest fails.
    fn poll_send_some(&mut self, cx: &mut Context<'_>, passed: &mut bool) -> Poll<io::Result<()>> {
        // The caller may have sent the rest elsewhere after the error: nothing more is written.
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(self.record_write_error(error)));
        }
        while self.session.wants_write() {
            let mut below = TransportWriter {
                stream: &mut *self.below,
                cx,
                is_pending: false,
            };
            match self.session.send(&mut below) {
                Ok(0) => {
                    return Poll::Ready(Err(self.record_write_error(ErrorKind::WriteZero.into())));
                }
                Ok(_) => *passed = true,
                Err(_) if below.is_pending => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(self.record_write_error(error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the kind of `error`, which is about to be returned.
    fn record_write_error(&mut self, error: io::Error) -> io::Error {
        self.broken = Some(error.kind().into());
        error
    }

    /// Sends responses to the peer's messages, as far as the stream below accepts them.
    fn answer(&mut self, cx: &mut Context<'_>) {
        // The waker of a waiting writer must stay registered; that writer sends the response. A write
        // error is returned to writers only.
        if self.session.wants_write() && !self.writer_waits && self.broken.is_none() {
            // If it fails, reading or the next write fails too.
            let _ = self.poll_send(cx);
        }
    }

    fn poll_write_plaintext(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let pushed = self.session.write_plaintext(bufs)?;
            let mut passed = false;
            let sent = self.poll_send_some(cx, &mut passed);
            match (pushed, sent) {
                // A caller may send the same bytes elsewhere after a failed write.
                (1.., Poll::Ready(Err(error))) if passed => {
                    self.broken = Some(error);
                    return Poll::Ready(Ok(pushed));
                }
                (_, Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
                (0, Poll::Pending) => return Poll::Pending,
                // There was no room, and now there is.
                (0, Poll::Ready(Ok(()))) if bufs.iter().any(|buf| !buf.is_empty()) => {}
                // What could not be sent yet is sent by the next call, or by a flush.
                (pushed, _) => return Poll::Ready(Ok(pushed)),
            }
        }
    }
}

impl NetworkStream for TlsStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let before = buf.len();
        let mut fills = 0;
        loop {
            self.session.read_plaintext(buf);
            let got = buf.len() - before;
            if got > 0 {
                self.unconsumed = 0;
            }
            let is_full = buf.len() == buf.capacity();
            if is_full || (got > 0 && self.incoming.is_empty()) {
                return Poll::Ready(Ok(got));
            }
            match self.session.end() {
                // The next call returns the end.
                Some(_) if got > 0 => return Poll::Ready(Ok(got)),
                Some(End::CloseNotify) => return Poll::Ready(Ok(0)),
                Some(End::Truncated) => {
                    return Poll::Ready(Err(TlsError::new(TlsErrorKind::Truncated).into_io()));
                }
                Some(End::Failed(error)) => {
                    self.answer(cx);
                    return Poll::Ready(Err(error.into_io()));
                }
                None => {}
            }
            if !self.process_incoming() {
                self.answer(cx);
                ready!(poll_fill_budget(cx, &mut fills));
                ready!(self.poll_fill(cx))?;
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.close_notify_sent {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let pushed = self.poll_write_plaintext(cx, bufs);
        self.writer_waits = pushed.is_pending();
        pushed
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match self.poll_send(cx) {
            Poll::Ready(Ok(())) => self.below.poll_flush(cx),
            other => other,
        };
        self.writer_waits = flushed.is_pending();
        flushed
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.close_notify_sent {
            self.close_notify_sent = true;
            self.session.send_close_notify();
        }
        let sent = match self.poll_send(cx) {
            Poll::Ready(Ok(())) => self.below.poll_shutdown(cx),
            other => other,
        };
        self.writer_waits = sent.is_pending();
        sent
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        let mut fills = 0;
        loop {
            if self.session.has_plaintext() {
                return Poll::Ready(IdleEvent::UnsolicitedData);
            }
            match self.session.end() {
                None => {}
                Some(End::CloseNotify | End::Truncated) => return Poll::Ready(IdleEvent::Closed),
                Some(End::Failed(_)) => {
                    return Poll::Ready(IdleEvent::Failed(ErrorKind::InvalidData));
                }
            }
            if self.process_incoming() {
                continue;
            }
            self.answer(cx);
            if self.may_have_large_buffers {
                self.may_have_large_buffers = false;
                self.unconsumed = 0;
                self.session.shrink();
            }
            // `poll_idle` first: over a blocking socket, a read would block.
            match ready!(self.below.poll_idle(cx)) {
                IdleEvent::UnsolicitedData => {}
                end => return Poll::Ready(end),
            }
            let filled = match poll_fill_budget(cx, &mut fills) {
                Poll::Ready(()) => self.poll_fill(cx),
                Poll::Pending => Poll::Pending,
            };
            match filled {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(IdleEvent::Failed(error.kind())),
                // More has arrived than may be read in one poll. A registered waker is woken for the
                // rest; for a caller with a no-op waker, pending would mean that the stream is idle.
                Poll::Pending if noop_waker().will_wake(cx.waker()) => {
                    return Poll::Ready(IdleEvent::UnsolicitedData);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn info(&self) -> ConnectionInfo {
        let mut info = self.below.info();
        info.tls = Some(Arc::new(self.tls_info()));
        info
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        self.release_incoming();
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("below", &self.below)
            .field("is_handshaking", &self.session.is_handshaking())
            .field("undecrypted", &(self.incoming.len() - self.taken))
            .finish_non_exhaustive()
    }
}

/// Number of bytes that rustls buffers without allocating more than it keeps when idle.
const SMALL_BYTES: usize = 4096;

/// Maximum number of reads from the stream below in one poll that yield no plaintext.
const MAX_FILLS_PER_POLL: u32 = 4;

/// Pending, with the waker called, after [`MAX_FILLS_PER_POLL`] reads: a peer that sends tickets as
/// fast as they can be read must not starve other tasks.
fn poll_fill_budget(cx: &Context<'_>, fills: &mut u32) -> Poll<()> {
    if *fills == MAX_FILLS_PER_POLL {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    *fills += 1;
    Poll::Ready(())
}

/// Adapts the stream below to the `Write` that rustls wants.
struct TransportWriter<'a, 'b> {
    stream: &'a mut dyn NetworkStream,
    cx: &'a mut Context<'b>,
    is_pending: bool,
}

impl Write for TransportWriter<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.stream.poll_write(self.cx, bufs) {
            Poll::Ready(written) => written,
            Poll::Pending => {
                self.is_pending = true;
                Err(ErrorKind::WouldBlock.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::{Wake, Waker},
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn exhausted_fill_budget_wakes_the_task_and_yields() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let mut fills = 0;
        for _ in 0..MAX_FILLS_PER_POLL {
            assert!(poll_fill_budget(&cx, &mut fills).is_ready());
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert!(poll_fill_budget(&cx, &mut fills).is_pending());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }
}
