//! TLS as a stream.

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

/// TLS over another stream.
///
/// - **End.** Reading ends with 0 if the peer announced it (`close_notify`, RFC 8446 §6.1), and
///   with [`ErrorKind::UnexpectedEof`] if the stream below just ended: a message which lasts until
///   the end of the stream may have been cut short by anybody.
/// - **Writing** encrypts at most 128 KiB ahead of what the stream below has taken; then it waits.
///   [`poll_flush`](NetworkStream::poll_flush) hands over the rest. A write that fails has handed over
///   nothing: if the stream below fails between two records, the next call is told. And nothing more
///   is handed over from then on.
/// - **Goodbye.** [`poll_shutdown`](NetworkStream::poll_shutdown) sends `close_notify`, and does
///   not wait for the peer's. It takes as long as the stream below takes to accept a few bytes,
///   which may be for ever: put a deadline around it, or drop the stream instead.
/// - **Idle.** [`poll_idle`](NetworkStream::poll_idle) reads session tickets and key updates, and
///   goes on being idle; no buffer for ciphertext is held meanwhile.
/// - **Dropping** closes the stream below at once, without a word.
///
/// Answers to the peer's messages (a key update, an alert) are sent along with reading, unless
/// somebody waits to write, who will send them.
pub struct TlsStream {
    below: BoxStream,
    session: Session,
    /// Ciphertext that has arrived and is not yet decrypted, from `taken` on. Borrowed from the
    /// thread while there is any.
    incoming: BytesMut,
    taken: usize,
    /// Somebody waits to write, with a waker in the stream below.
    writer_waits: bool,
    said_goodbye: bool,
    /// How the stream below has failed to write: as it said, until that has been told, and then of what
    /// kind that was.
    broken: Option<io::Error>,
    /// How much ciphertext has come since plaintext last did: parts of a record, which rustls
    /// holds until there is all of it.
    parts: usize,
    /// Whether rustls may have taken more memory for that than it keeps anyway.
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
            said_goodbye: false,
            broken: None,
            parts: 0,
            may_have_large_buffers: true,
        };
        stream.refuse_early_bytes()?;
        std::future::poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    /// What the handshake has settled. The peer's certificates are copied each time: kept, they
    /// would cost every idle connection a few kilobytes for the few that are asked.
    pub fn tls_info(&self) -> TlsInfo {
        self.session.info()
    }

    /// A server says nothing before it was spoken to. Bytes that are there already were sent by
    /// whoever spoke on this stream before, or by somebody in between; as part of a protected
    /// stream they would be believed.
    fn refuse_early_bytes(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(noop_waker());
        match self.below.poll_idle(&mut cx) {
            Poll::Pending => Ok(()),
            // No kind of its own: the handshake, which fails likewise, has the whole error. A runtime
            // that has ended is among these.
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
                Some(End::Truncated | End::Goodbye) => {
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
            // A server which refuses may close before it has read everything: what it said is a
            // better explanation than that writing failed.
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

    /// Feeds some of what has arrived; whether there was any.
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
            self.forget_incoming();
        }
    }

    fn forget_incoming(&mut self) {
        self.taken = 0;
        scratch::give(std::mem::take(&mut self.incoming));
    }

    /// Reads ciphertext, when there is none left, or learns of the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buf = scratch::take();
        let read = self.below.poll_read(cx, &mut buf);
        match read {
            Poll::Ready(Ok(0)) => self.session.feed_end(),
            Poll::Ready(Ok(read)) => {
                self.parts += read;
                self.may_have_large_buffers |= self.parts > SMALL;
                self.incoming = buf;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        scratch::give(buf);
        read.map_ok(drop)
    }

    /// Hands over all ciphertext there is.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send_some(cx, &mut false)
    }

    /// The same; sets `passed` when some of it has been handed over, whatever comes of the rest.
    fn poll_send_some(&mut self, cx: &mut Context<'_>, passed: &mut bool) -> Poll<io::Result<()>> {
        // Whoever has been told may have sent elsewhere what is still to be sent here.
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(self.has_broken(error)));
        }
        while self.session.wants_write() {
            let mut below = TransportWriter {
                stream: &mut *self.below,
                cx,
                is_pending: false,
            };
            match self.session.send(&mut below) {
                Ok(0) => return Poll::Ready(Err(self.has_broken(ErrorKind::WriteZero.into()))),
                Ok(_) => *passed = true,
                Err(_) if below.is_pending => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(self.has_broken(error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Remembers `error`, which is about to be told.
    fn has_broken(&mut self, error: io::Error) -> io::Error {
        self.broken = Some(error.kind().into());
        error
    }

    /// Sends what the peer's messages are to be answered with, as far as that goes.
    fn answer(&mut self, cx: &mut Context<'_>) {
        // The waker of somebody who waits to write must stay where it is; they will send this. And how
        // writing has failed is for those to hear who write.
        if self.session.wants_write() && !self.writer_waits && self.broken.is_none() {
            // If it fails, so will reading, or the next write.
            let _ = self.poll_send(cx);
        }
    }

    fn poll_push(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let pushed = self.session.write_plaintext(bufs)?;
            let mut passed = false;
            let sent = self.poll_send_some(cx, &mut passed);
            match (pushed, sent) {
                // Whoever is told that a write has failed may send the same elsewhere.
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
                self.parts = 0;
            }
            let is_full = buf.len() == buf.capacity();
            if is_full || (got > 0 && self.incoming.is_empty()) {
                return Poll::Ready(Ok(got));
            }
            match self.session.end() {
                // The end is told next time.
                Some(_) if got > 0 => return Poll::Ready(Ok(got)),
                Some(End::Goodbye) => return Poll::Ready(Ok(0)),
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
                ready!(poll_patience(cx, &mut fills));
                ready!(self.poll_fill(cx))?;
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.said_goodbye {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let pushed = self.poll_push(cx, bufs);
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
        if !self.said_goodbye {
            self.said_goodbye = true;
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
                Some(End::Goodbye | End::Truncated) => return Poll::Ready(IdleEvent::Closed),
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
                self.parts = 0;
                self.session.shrink();
            }
            // Asked before it is read: over a blocking socket, to read would be to wait.
            match ready!(self.below.poll_idle(cx)) {
                IdleEvent::UnsolicitedData => {}
                end => return Poll::Ready(end),
            }
            let filled = match poll_patience(cx, &mut fills) {
                Poll::Ready(()) => self.poll_fill(cx),
                Poll::Pending => Poll::Pending,
            };
            match filled {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(IdleEvent::Failed(error.kind())),
                // There is more than may be read at once, and what it is decides. Who waits is woken for
                // it; who asks without waiting would take this for fit.
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
        self.forget_incoming();
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

/// How much rustls reads without taking more memory than it keeps anyway, in bytes.
const SMALL: usize = 4096;

/// How often the stream below is read in one poll without anything coming out of it.
const MAX_FILLS_PER_POLL: u32 = 4;

/// Pending, with the waker called, once in a while: a peer which sends tickets as fast as they
/// can be read must not keep everybody else from running.
fn poll_patience(cx: &Context<'_>, fills: &mut u32) -> Poll<()> {
    if *fills == MAX_FILLS_PER_POLL {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    *fills += 1;
    Poll::Ready(())
}

/// The stream below, as rustls writes to it.
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
    fn patience_ends_in_a_wake_up_and_not_before() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let mut fills = 0;
        for _ in 0..MAX_FILLS_PER_POLL {
            assert!(poll_patience(&cx, &mut fills).is_ready());
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert!(poll_patience(&cx, &mut fills).is_pending());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }
}
