//! Streams of other libraries as ours.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use httpcore_core_primitives::{ConnectionInfo, IdleEvent, NetworkStream};

/// Maximum number of bytes of one read.
const MAX_READ_BYTES: usize = 16 * 1024;

/// Maximum number of bytes that are read from a stream that should be idle.
const IDLE_READ_BYTES: usize = 256;

/// What was read from an idle stream and not returned, and the facts about the stream.
#[derive(Default)]
struct State {
    ahead: BytesMut,
    info: ConnectionInfo,
}

impl State {
    /// Appends to `buf` what `read` returns, at most its spare capacity, after what was read ahead.
    fn poll_read(
        &mut self,
        buf: &mut BytesMut,
        read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let room = (buf.capacity() - buf.len()).min(MAX_READ_BYTES);
        if room == 0 {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a read needs spare capacity",
            )));
        }
        if !self.ahead.is_empty() {
            let moved = room.min(self.ahead.len());
            buf.extend_from_slice(&self.ahead[..moved]);
            self.ahead.advance(moved);
            return Poll::Ready(Ok(moved));
        }
        let start = buf.len();
        // These traits take initialised memory; within the capacity, this does not allocate.
        buf.resize(start + room, 0);
        let polled = read(&mut buf[start..]);
        let filled = match polled {
            Poll::Ready(Ok(filled)) => filled.min(room),
            _ => 0,
        };
        buf.truncate(start + filled);
        polled.map_ok(|_| filled)
    }

    fn poll_idle(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<IdleEvent> {
        if !self.ahead.is_empty() {
            return Poll::Ready(IdleEvent::UnsolicitedData);
        }
        let mut bytes = [0; IDLE_READ_BYTES];
        Poll::Ready(match ready!(read(&mut bytes)) {
            Ok(0) => IdleEvent::Closed,
            Ok(count) => {
                self.ahead
                    .extend_from_slice(&bytes[..count.min(bytes.len())]);
                IdleEvent::UnsolicitedData
            }
            Err(error) => IdleEvent::Failed(error.kind()),
        })
    }
}

/// Refuses a write of no bytes: it would be repeated for ever.
fn progress(written: usize) -> io::Result<usize> {
    if written == 0 {
        Err(io::ErrorKind::WriteZero.into())
    } else {
        Ok(written)
    }
}

macro_rules! foreign {
    (
        $(#[$doc:meta])*
        $name:ident, $read:path, $write:path, $close:ident, |$io:ident, $cx:ident, $bytes:ident| $poll_read:expr
    ) => {
        $(#[$doc])*
        ///
        /// Reading zeroes the memory that is read into, at most 16 KiB at a time, since a trait that
        /// fills memory of its caller's must be given initialised memory. Whether an idle stream is fit for use is found
        /// out by a read, and so as early as the stream reports it. Dropping it drops the stream.
        pub struct $name<T> {
            io: T,
            state: State,
        }

        impl<T> $name<T> {
            /// Wraps `io`.
            pub fn new(io: T) -> Self {
                $name { io, state: State::default() }
            }

            /// Sets what [`NetworkStream::info`] returns: nothing is known of `io` otherwise.
            pub fn with_info(mut self, info: ConnectionInfo) -> Self {
                self.state.info = info;
                self
            }

            /// Returns the stream, and what had been read from it.
            pub fn into_parts(self) -> (T, BytesMut) {
                (self.io, self.state.ahead)
            }
        }

        impl<T: $read + $write + Unpin + Send + 'static> NetworkStream for $name<T> {
            fn poll_read(
                &mut self,
                cx: &mut Context<'_>,
                buf: &mut BytesMut,
            ) -> Poll<io::Result<usize>> {
                let (io, state) = (&mut self.io, &mut self.state);
                state.poll_read(buf, |bytes| read_from(io, cx, bytes, |$io, $cx, $bytes| $poll_read))
            }

            fn poll_write(
                &mut self,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let io = Pin::new(&mut self.io);
                let written = if bufs.len() == 1 {
                    io.poll_write(cx, &bufs[0])
                } else {
                    io.poll_write_vectored(cx, bufs)
                };
                written.map(|written| written.and_then(progress))
            }

            fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.io).poll_flush(cx)
            }

            fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.io).$close(cx)
            }

            fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
                let (io, state) = (&mut self.io, &mut self.state);
                state.poll_idle(|bytes| read_from(io, cx, bytes, |$io, $cx, $bytes| $poll_read))
            }

            fn info(&self) -> ConnectionInfo {
                self.state.info.clone()
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("info", &self.state.info)
                    .finish_non_exhaustive()
            }
        }
    };
}

/// Gives a closure the types that a macro's argument cannot name.
fn read_from<T: Unpin>(
    io: &mut T,
    cx: &mut Context<'_>,
    bytes: &mut [u8],
    read: impl FnOnce(Pin<&mut T>, &mut Context<'_>, &mut [u8]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    read(Pin::new(io), cx, bytes)
}

#[cfg(feature = "tokio-io")]
mod for_tokio {
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;

    foreign! {
        /// A stream with the traits of `tokio::io` as a [`NetworkStream`].
        TokioStream, AsyncRead, AsyncWrite, poll_shutdown, |io, cx, bytes| {
            let mut buf = ReadBuf::new(bytes);
            io.poll_read(cx, &mut buf).map_ok(|()| buf.filled().len())
        }
    }
}

#[cfg(feature = "futures-io")]
mod for_futures {
    use futures_io::{AsyncRead, AsyncWrite};

    use super::*;

    foreign! {
        /// A stream with the traits of `futures-io` as a [`NetworkStream`].
        FuturesStream, AsyncRead, AsyncWrite, poll_close, |io, cx, bytes| io.poll_read(cx, bytes)
    }
}

#[cfg(feature = "hyper")]
mod for_hyper {
    use hyper::rt::{Read, ReadBuf, Write};

    use super::*;

    foreign! {
        /// A stream with the traits of `hyper::rt` as a [`NetworkStream`].
        HyperStream, Read, Write, poll_shutdown, |io, cx, bytes| {
            let mut buf = ReadBuf::new(bytes);
            io.poll_read(cx, buf.unfilled()).map_ok(|()| buf.filled().len())
        }
    }
}

#[cfg(feature = "futures-io")]
pub use for_futures::FuturesStream;
#[cfg(feature = "hyper")]
pub use for_hyper::HyperStream;
#[cfg(feature = "tokio-io")]
pub use for_tokio::TokioStream;
