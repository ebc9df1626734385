//! Adapter to the stream traits of other libraries.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use httpcore_core_primitives::{NetworkStream, Upgraded};

/// Maximum number of bytes of one read.
const READ: usize = 16 * 1024;

/// A stream with the read and write traits of `futures-io`, `tokio::io` and `hyper::rt`, each with the
/// feature of its name.
///
/// Reading costs one copy, since these traits read into memory of the caller. Writes are not buffered,
/// and no memory is held while there is nothing to read.
pub struct Io<S = Upgraded> {
    stream: S,
    /// Bytes that have been read and not yet been returned.
    unread: BytesMut,
}

impl<S: NetworkStream> Io<S> {
    /// Wraps `stream`.
    pub fn new(stream: S) -> Self {
        Io {
            stream,
            unread: BytesMut::new(),
        }
    }

    /// Returns the stream, and the bytes that had been read ahead.
    pub fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.unread)
    }

    /// Returns a reference to the stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Ready with bytes, none of them at the end: at most `room`.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<&[u8]>> {
        if self.unread.is_empty() && room > 0 {
            self.unread.reserve(room.min(READ));
            let read = self.stream.poll_read(cx, &mut self.unread);
            if !matches!(read, Poll::Ready(Ok(1..))) {
                self.unread = BytesMut::new();
            }
            ready!(read)?;
        }
        let part = self.unread.len().min(room);
        Poll::Ready(Ok(&self.unread[..part]))
    }

    fn consume(&mut self, count: usize) {
        self.unread.advance(count);
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
    }

    fn poll_write_some(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.stream.poll_write(cx, bufs)
    }
}

impl<S: fmt::Debug> fmt::Debug for Io<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Io").field(&self.stream).finish()
    }
}

/// The write methods are the same in all three traits, except for the name of the last.
macro_rules! write_half {
    ($trait:path, $close:ident) => {
        impl<S: NetworkStream + Unpin> $trait for Io<S> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_write_some(cx, &[IoSlice::new(buf)])
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.poll_write_some(cx, bufs)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.stream.poll_flush(cx)
            }

            fn $close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.stream.poll_shutdown(cx)
            }

            write_half!(@says $close);
        }
    };
    // futures-io does not ask.
    (@says poll_close) => {};
    (@says poll_shutdown) => {
        fn is_write_vectored(&self) -> bool {
            true
        }
    };
}

#[cfg(feature = "futures-io")]
mod for_futures {
    use super::*;

    impl<S: NetworkStream + Unpin> futures_io::AsyncRead for Io<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let bytes = ready!(self.poll_fill(cx, buf.len()))?;
            let count = bytes.len();
            buf[..count].copy_from_slice(bytes);
            self.consume(count);
            Poll::Ready(Ok(count))
        }
    }

    write_half!(futures_io::AsyncWrite, poll_close);
}

#[cfg(feature = "tokio-io")]
mod for_tokio {
    use super::*;

    impl<S: NetworkStream + Unpin> tokio::io::AsyncRead for Io<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let bytes = ready!(self.poll_fill(cx, buf.remaining()))?;
            let count = bytes.len();
            buf.put_slice(bytes);
            self.consume(count);
            Poll::Ready(Ok(()))
        }
    }

    write_half!(tokio::io::AsyncWrite, poll_shutdown);
}

#[cfg(feature = "hyper")]
mod for_hyper {
    use super::*;

    impl<S: NetworkStream + Unpin> hyper::rt::Read for Io<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            mut buf: hyper::rt::ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            let bytes = ready!(self.poll_fill(cx, buf.remaining()))?;
            let count = bytes.len();
            buf.put_slice(bytes);
            self.consume(count);
            Poll::Ready(Ok(()))
        }
    }

    write_half!(hyper::rt::Write, poll_shutdown);
}
