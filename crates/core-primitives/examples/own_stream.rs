//! A custom stream: wraps another one and counts the bytes that pass through it.

use std::{
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use httpcore_core_primitives::{BoxStream, ConnectionInfo, IdleEvent, NetworkStream};

/// Counts the bytes read and written.
#[derive(Debug)]
struct Counted {
    inner: BoxStream,
    bytes: Arc<AtomicUsize>,
}

impl NetworkStream for Counted {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let read = std::task::ready!(self.inner.poll_read(cx, buf))?;
        self.bytes.fetch_add(read, Ordering::Relaxed);
        Poll::Ready(Ok(read))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(self.inner.poll_write(cx, bufs))?;
        self.bytes.fetch_add(written, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_shutdown(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        self.inner.poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        self.inner.info()
    }
}

/// A stream that yields its bytes once and accepts every write.
#[derive(Debug)]
struct Canned(&'static [u8]);

impl NetworkStream for Canned {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let bytes = self.0;
        buf.extend_from_slice(bytes);
        self.0 = &[];
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_idle(&mut self, _: &mut Context<'_>) -> Poll<IdleEvent> {
        Poll::Pending
    }

    fn info(&self) -> ConnectionInfo {
        ConnectionInfo::default()
    }
}

fn main() -> io::Result<()> {
    let bytes = Arc::new(AtomicUsize::new(0));
    let mut stream = Counted {
        inner: Box::new(Canned(b"some bytes")),
        bytes: bytes.clone(),
    };
    let mut cx = Context::from_waker(Waker::noop());
    let mut received = BytesMut::with_capacity(64);
    let Poll::Ready(read) = stream.poll_read(&mut cx, &mut received) else {
        unreachable!("this stream is never pending");
    };
    println!("read {} bytes: {:?}", read?, received);
    let Poll::Ready(written) = stream.poll_write(&mut cx, &[IoSlice::new(b"hello")]) else {
        unreachable!("this stream is never pending");
    };
    println!("wrote {} bytes", written?);
    println!("{} bytes passed through", bytes.load(Ordering::Relaxed));
    Ok(())
}
