//! Running a negotiation over a stream.

use std::{
    fmt,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use httpcore_core_primitives::{BoxStream, ConnectionInfo, IdleEvent, NetworkStream};

use crate::error::ProxyError;

/// How much is read at most at once, in bytes: no answer that is not refused is longer than a head.
const READ_BYTES: usize = 4 * 1024;

/// A negotiation without I/O.
///
/// Write [`output`](Self::output) until it is empty, [advancing](Self::advance) by what was written; read
/// into a buffer and let [`receive`](Self::receive) take from it what belongs to the negotiation. What is
/// left in the buffer at the end came through the tunnel.
pub trait Negotiation: fmt::Debug + Send {
    /// Returns the bytes that are to be sent next.
    fn output(&self) -> &[u8];

    /// Removes the first `written` bytes of the output: they have been sent.
    fn advance(&mut self, written: usize);

    /// Takes what it can from `input`; `eof` says that no more will be appended to it.
    ///
    /// # Errors
    ///
    /// As soon as what arrived cannot become a tunnel any more.
    fn receive(&mut self, input: &mut BytesMut, eof: bool) -> Result<Progress, ProxyError>;
}

/// What a negotiation has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Send the output, then read more.
    Pending,
    /// The tunnel is open.
    Done,
}

/// Runs `negotiation` over `stream`, and yields the tunnel.
///
/// Bytes that arrived after the proxy's last message are the first that the tunnel reads.
///
/// # Errors
///
/// What the negotiation reports; [`ProxyError::Io`] and [`ProxyError::Closed`] of the stream.
///
/// # Cancellation
///
/// Dropping the future closes the stream.
pub async fn negotiate(
    mut stream: BoxStream,
    negotiation: &mut (dyn Negotiation + '_),
) -> Result<Tunnel, ProxyError> {
    let mut input = BytesMut::new();
    std::future::poll_fn(|cx| poll_negotiation(&mut stream, negotiation, &mut input, cx)).await?;
    Ok(Tunnel {
        leading: input,
        stream,
    })
}

fn poll_negotiation(
    stream: &mut BoxStream,
    negotiation: &mut (dyn Negotiation + '_),
    input: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<Result<(), ProxyError>> {
    let mut write_error = None;
    loop {
        while write_error.is_none() && !negotiation.output().is_empty() {
            match stream.poll_write(cx, &[IoSlice::new(negotiation.output())]) {
                Poll::Ready(Ok(written)) => negotiation.advance(written),
                // The proxy may have answered before it closed: that is read first.
                Poll::Ready(Err(error)) => write_error = Some(error),
                Poll::Pending => break,
            }
        }
        if write_error.is_none() && negotiation.output().is_empty() {
            // Pending may be treated as complete: what is read next was sent after all of it arrived.
            match stream.poll_flush(cx) {
                Poll::Ready(Err(error)) => write_error = Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        input.reserve(READ_BYTES);
        let read = match (ready!(stream.poll_read(cx, input)), write_error.take()) {
            (Ok(read), None) => read,
            (Ok(read), Some(error)) if read > 0 => {
                write_error = Some(error);
                read
            }
            (Ok(_) | Err(_), Some(error)) | (Err(error), None) => {
                return Poll::Ready(Err(ProxyError::Io(error)));
            }
        };
        match negotiation.receive(input, read == 0)? {
            Progress::Done => return Poll::Ready(Ok(())),
            Progress::Pending => {}
        }
    }
}

/// A stream through a proxy. It begins with the bytes that arrived together with the proxy's last message.
#[derive(Debug)]
pub struct Tunnel {
    leading: BytesMut,
    stream: BoxStream,
}

impl Tunnel {
    /// Returns the bytes that arrived together with the proxy's last message and have not been read.
    pub fn leading(&self) -> &[u8] {
        &self.leading
    }

    /// Returns the stream below, if nothing arrived early: it is then the tunnel itself, without a
    /// layer around it.
    pub fn into_stream(self) -> BoxStream {
        if self.leading.is_empty() {
            self.stream
        } else {
            Box::new(self)
        }
    }
}

impl NetworkStream for Tunnel {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.leading.is_empty() {
            return self.stream.poll_read(cx, buf);
        }
        let room = buf.capacity() - buf.len();
        let length = room.min(self.leading.len());
        buf.extend_from_slice(&self.leading[..length]);
        self.leading.advance(length);
        Poll::Ready(Ok(length))
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

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        if self.leading.is_empty() {
            self.stream.poll_idle(cx)
        } else {
            Poll::Ready(IdleEvent::UnsolicitedData)
        }
    }

    fn info(&self) -> ConnectionInfo {
        self.stream.info()
    }
}
