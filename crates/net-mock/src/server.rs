//! A server's end of a connection, with the methods a test wants.

use std::{
    fmt,
    future::poll_fn,
    io::{self, ErrorKind, IoSlice},
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use httpcore_core_primitives::{ConnectionInfo, IdleEvent, NetworkStream};

use crate::{
    stream::{MockStream, StreamHandle},
    timer::Sleep,
    tls::TlsServer,
    tls_stream::TlsStream,
};

/// How much is read at once, in bytes.
const READ: usize = 16 * 1024;

/// How many bytes tell a TLS handshake: the header of its first record and one byte of content.
const CLIENT_HELLO: usize = 6;

/// The server's end of a connection: a stream with a buffer, and asynchronous methods.
///
/// Every method may be dropped at any point without losing bytes which have been read. Dropping
/// the stream closes it, with a FIN if everything that had arrived has been read, and with a RST
/// otherwise, as sockets do.
pub struct ServerStream {
    stream: Layers,
    handle: StreamHandle,
    buffer: BytesMut,
}

impl ServerStream {
    pub(crate) fn new(stream: MockStream) -> Self {
        ServerStream {
            handle: stream.handle(),
            stream: Layers::Plain(stream),
            buffer: BytesMut::new(),
        }
    }

    /// Answers a TLS handshake, and yields the stream inside.
    ///
    /// # Errors
    ///
    /// Those of the connection, and of the handshake if one side refuses it.
    ///
    /// # Panics
    ///
    /// If the client speaks real TLS: with what is to be done.
    pub async fn accept_tls(mut self, server: &TlsServer) -> io::Result<Self> {
        while self.buffer.len() < CLIENT_HELLO && self.may_be_tls() {
            if self.fill().await? == 0 {
                break;
            }
        }
        if self.may_be_tls() && self.buffer.get(CLIENT_HELLO - 1) == Some(&1) {
            panic!(
                "the client speaks real TLS to {}, which has TLS without cryptography: build the \
                 pool with `.tls(Arc::new(MockTls::new()))`",
                self.handle.label()
            );
        }
        let handle = self.handle.clone();
        let stream = server.accept(Box::new(self)).await?;
        Ok(ServerStream {
            stream: Layers::Tls(Box::new(stream)),
            handle,
            buffer: BytesMut::new(),
        })
    }

    /// Sends a session ticket, which the client digests without taking it for data.
    ///
    /// # Errors
    ///
    /// Those of the connection; [`ErrorKind::Unsupported`] if it is not TLS.
    pub async fn send_ticket(&mut self) -> io::Result<()> {
        let Layers::Tls(stream) = &mut self.stream else {
            return Err(ErrorKind::Unsupported.into());
        };
        stream.queue_ticket();
        poll_fn(|cx| stream.poll_flush(cx)).await
    }

    /// Sends an alert, such as `"certificate_required"`, which ends the stream for its reader: in
    /// TLS 1.3 that is how a server refuses a client's certificate, after the handshake (RFC 8446
    /// §4.4.2.4).
    ///
    /// # Errors
    ///
    /// As for [`send_ticket`](Self::send_ticket).
    pub async fn send_alert(&mut self, alert: &str) -> io::Result<()> {
        let Layers::Tls(stream) = &mut self.stream else {
            return Err(ErrorKind::Unsupported.into());
        };
        stream.queue_alert(alert);
        poll_fn(|cx| stream.poll_flush(cx)).await
    }

    /// Reads what there is, waiting until there is something; empty at the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn read_some(&mut self) -> io::Result<Bytes> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(self.buffer.split().freeze())
    }

    /// Reads up to the first occurrence of `pattern`, which is part of what is returned. Bytes
    /// beyond it stay for the next read.
    ///
    /// # Errors
    ///
    /// Those of the connection; [`ErrorKind::UnexpectedEof`] if it ends before. What had been read
    /// stays for the next read.
    pub async fn read_until(&mut self, pattern: impl AsRef<[u8]>) -> io::Result<Bytes> {
        let pattern = pattern.as_ref();
        loop {
            if let Some(at) = find(&self.buffer, pattern) {
                return Ok(self.buffer.split_to(at + pattern.len()).freeze());
            }
            if self.fill().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads the head of an HTTP/1 message, the empty handle included, as text.
    ///
    /// # Errors
    ///
    /// As for [`read_until`](Self::read_until). Bytes which are not UTF-8 are replaced.
    ///
    /// # Panics
    ///
    /// If the client speaks TLS, which this stream does not: with what is to be done.
    pub async fn read_head(&mut self) -> io::Result<String> {
        while self.buffer.len() < CLIENT_HELLO && self.may_be_tls() {
            if self.fill().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.forbid_tls();
        let head = self.read_until(b"\r\n\r\n").await?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// Reads exactly `count` bytes.
    ///
    /// # Errors
    ///
    /// As for [`read_until`](Self::read_until).
    pub async fn read_exact(&mut self, count: usize) -> io::Result<Bytes> {
        while self.buffer.len() < count {
            if self.fill().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.split_to(count).freeze())
    }

    /// Reads until the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn read_to_end(&mut self) -> io::Result<Bytes> {
        while self.fill().await? > 0 {}
        Ok(self.buffer.split().freeze())
    }

    /// Returns the bytes that have been received and not yet been returned by a read.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Writes all of `bytes`, waiting for room as often as necessary.
    ///
    /// # Errors
    ///
    /// Those of the connection. If this is dropped, some of `bytes` may have been written.
    pub async fn write_all(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut left = bytes.as_ref();
        while !left.is_empty() {
            let bufs = [IoSlice::new(left)];
            let written = poll_fn(|cx| self.stream.top().poll_write(cx, &bufs)).await?;
            left = &left[written..];
        }
        poll_fn(|cx| self.stream.top().poll_flush(cx)).await
    }

    /// Closes the writing direction; reading goes on. Over TLS, sends `close_notify`.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn close_write(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.stream.top().poll_shutdown(cx)).await
    }

    /// Closes the connection; the same as dropping it. Over TLS, without a `close_notify`.
    pub fn close(self) {}

    /// Resets the connection: the peer reads what is in flight, and then gets an error.
    pub fn reset(self) {
        self.handle.close_end(true);
    }

    /// Waits, without reading, until the peer closes or sends bytes.
    pub async fn idle(&mut self) -> IdleEvent {
        poll_fn(|cx| self.poll_idle(cx)).await
    }

    /// Waits for ever, holding the connection; reports name the stall. The future is dropped with the
    /// world.
    pub async fn stall(self) {
        let mut stalling = Stalling(self);
        poll_fn(|cx| stalling.poll(cx)).await
    }

    /// Waits for `duration` of virtual time.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(self.handle.world.clone(), duration)
    }

    /// Returns a random number below `count`, determined by the seed of the world; 0 without a seed. See [`MockNet::random_below`](crate::MockNet::random_below).
    pub fn random_below(&self, count: usize) -> usize {
        self.handle.world.random_below(count)
    }

    /// Returns the address of the client; `None` on a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.facts().peer
    }

    /// Returns the number of the connection, by which reports name it.
    pub fn id(&self) -> u64 {
        self.handle.id
    }

    fn may_be_tls(&self) -> bool {
        self.buffer
            .iter()
            .zip([22, 3])
            .all(|(byte, tls)| *byte == tls)
    }

    /// # Panics
    ///
    /// If what has come is the beginning of a TLS handshake.
    pub(crate) fn forbid_tls(&self) {
        if self.buffer.len() < CLIENT_HELLO || !self.may_be_tls() {
            return;
        }
        let label = self.handle.label();
        // RFC 8446 §4: the first byte of a real handshake's content is its kind, 1 for a ClientHello.
        let found = match self.buffer[CLIENT_HELLO - 1] {
            1 => "real TLS",
            _ => "MockTls",
        };
        panic!(
            "the client speaks {found} to {label}, where a server without TLS reads HTTP: for https, \
             serve with MockNet::serve_tls, and build the pool with \
             `.tls(Arc::new(MockTls::new()))`"
        );
    }

    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ);
        poll_fn(|cx| self.stream.top().poll_read(cx, &mut self.buffer)).await
    }
}

/// A stalled connection, registered in the world.
struct Stalling(ServerStream);

impl Stalling {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let handle = &self.0.handle;
        handle.world.with(|state, wakes| {
            wakes.discard(state.stalls.insert(handle.id, waker));
        });
        Poll::Pending
    }
}

impl Drop for Stalling {
    fn drop(&mut self) {
        let handle = &self.0.handle;
        handle.world.with(|state, wakes| {
            wakes.discard(state.stalls.remove(&handle.id));
        });
    }
}

/// The connection, or TLS over it.
#[derive(Debug)]
enum Layers {
    Plain(MockStream),
    Tls(Box<TlsStream>),
}

impl Layers {
    fn top(&mut self) -> &mut dyn NetworkStream {
        match self {
            Layers::Plain(stream) => stream,
            Layers::Tls(stream) => &mut **stream,
        }
    }

    fn facts(&self) -> ConnectionInfo {
        match self {
            Layers::Plain(stream) => stream.info(),
            Layers::Tls(stream) => stream.info(),
        }
    }
}

impl NetworkStream for ServerStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() {
            return self.stream.top().poll_read(cx, buf);
        }
        let part = self.buffer.len().min(buf.capacity() - buf.len());
        buf.extend_from_slice(&self.buffer.split_to(part));
        Poll::Ready(Ok(part))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.top().poll_write(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.top().poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.top().poll_shutdown(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        if !self.buffer.is_empty() {
            return Poll::Ready(IdleEvent::UnsolicitedData);
        }
        self.stream.top().poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        self.stream.facts()
    }
}

impl fmt::Debug for ServerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerStream({:?})", self.stream)
    }
}

/// Where `pattern` first occurs in `bytes`.
pub(crate) fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    if pattern.is_empty() {
        return Some(0);
    }
    bytes
        .windows(pattern.len())
        .position(|window| window == pattern)
}
