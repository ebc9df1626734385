//! Where HTTP ends: on a connection after 101, and on a connection or a stream of one after a 2xx to
//! `CONNECT`.

use std::{
    fmt,
    io::{self, IoSlice},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use crate::{
    connection::Response,
    lease::{CloseReason, Lease},
    net::{BoxStream, IdleEnd, NetworkStream, StreamInfo},
};
use bytes::{Buf, BytesMut};

/// The stream which a response has left behind, in its extensions (RFC 9110 §7.8, §9.3.6, and over
/// HTTP/2 RFC 9113 §8.5, RFC 8441 §5).
///
/// It begins with the bytes that came together with the response. It holds the connection's lease,
/// and so its place in the pool, until it is dropped; dropping the response drops it, unless it
/// has been taken.
#[derive(Clone)]
pub struct Upgraded(Arc<Mutex<Option<BoxStream>>>);

impl Upgraded {
    /// What `leading` and then `stream` say; `lease` ends, as [`CloseReason::Upgraded`], when the
    /// stream has been dropped.
    pub fn new(stream: BoxStream, leading: BytesMut, lease: Option<Lease>) -> Self {
        let stream = UpgradedStream {
            leading,
            stream,
            _lease: UpgradeLease(lease),
        };
        Upgraded(Arc::new(Mutex::new(Some(Box::new(stream)))))
    }

    /// The stream, for whoever asks first.
    pub fn take(&self) -> Option<BoxStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The stream which `response` has left behind, for whoever asks first.
    pub fn take_from(response: &mut Response) -> Option<BoxStream> {
        response.extensions_mut().remove::<Upgraded>()?.take()
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgraded")
    }
}

#[derive(Debug)]
struct UpgradedStream {
    /// What had been read already, and comes first.
    leading: BytesMut,
    stream: BoxStream,
    /// Behind the stream, so that the connection is closed when its place becomes free.
    _lease: UpgradeLease,
}

#[derive(Debug)]
struct UpgradeLease(Option<Lease>);

impl Drop for UpgradeLease {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.close(CloseReason::Upgraded);
        }
    }
}

impl NetworkStream for UpgradedStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.leading.is_empty() {
            return self.stream.poll_read(cx, buf);
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
        self.stream.poll_write(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEnd> {
        if self.leading.is_empty() {
            self.stream.poll_idle(cx)
        } else {
            Poll::Ready(IdleEnd::UnsolicitedData)
        }
    }

    fn info(&self) -> StreamInfo {
        self.stream.info()
    }
}
