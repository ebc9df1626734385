//! The stream as the blocking `Read` and `Write` that tungstenite wants.

use std::{
    io::{self, IoSlice, Read, Write},
    task::{Context, Poll},
};

use bytes::BytesMut;
use httpcore_core_primitives::NetworkStream;
use tungstenite::error::Error;

use super::watch::Watch;

/// Maximum number of bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// Maximum number of reads in one poll, so that other tasks run: a message may have any number of
/// empty frames.
const MAX_READS_PER_POLL: usize = 32;

/// Adapts a stream: `Pending` becomes [`WouldBlock`](io::ErrorKind::WouldBlock).
pub(super) struct Bridge<'a, 'b, S> {
    stream: &'a mut S,
    cx: &'a mut Context<'b>,
    watch: &'a mut Watch,
    reads: usize,
    /// Whether reading stopped at [`MAX_READS_PER_POLL`], with the waker called.
    pub(super) yielded: bool,
}

pub(super) fn bridge<'a, 'b, S>(
    stream: &'a mut S,
    watch: &'a mut Watch,
    cx: &'a mut Context<'b>,
) -> Bridge<'a, 'b, S> {
    Bridge {
        stream,
        cx,
        watch,
        reads: 0,
        yielded: false,
    }
}

pub(super) fn is_blocked<T>(result: &Result<T, Error>) -> bool {
    result.as_ref().is_err_and(is_blocking)
}

pub(super) fn is_blocking(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Converts a poll to the result of a non-blocking call.
fn now<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<S: NetworkStream> Read for Bridge<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.reads == MAX_READS_PER_POLL {
            self.yielded = true;
            self.cx.waker().wake_by_ref();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.reads += 1;
        let mut read = BytesMut::with_capacity(buf.len().min(READ_BYTES));
        let count = now(self.stream.poll_read(self.cx, &mut read))?;
        buf[..count].copy_from_slice(&read);
        self.watch.see(&read);
        Ok(count)
    }
}

impl<S: NetworkStream> Write for Bridge<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        now(self.stream.poll_write(self.cx, &[IoSlice::new(buf)]))
    }

    fn flush(&mut self) -> io::Result<()> {
        now(self.stream.poll_flush(self.cx))
    }
}
