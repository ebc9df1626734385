//! Servers in threads, and streams in futures.

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    net::{SocketAddr, TcpListener, TcpStream},
    task::{Context, Poll},
    thread::{self, JoinHandle},
};

use bytes::BytesMut;
use httpcore_core_primitives::{BoxStream, IdleEvent, NetworkBackend, TcpOptions, noop_waker};
use httpcore_net_epoll::EventLoop;

/// A server for one connection.
pub(crate) fn serve<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || serve(listener.accept().unwrap().0));
    (address, server)
}

/// A connection and its other end.
pub(crate) fn accepted(epoll: &EventLoop) -> (BoxStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = epoll
        .block_on(epoll.handle().connect_tcp(address, &TcpOptions::default()))
        .unwrap();
    (stream, listener.accept().unwrap().0)
}

/// Runs at least one iteration of the loop.
pub(crate) fn turn(epoll: &EventLoop) {
    for _ in 0..200 {
        epoll.block_on(yield_now());
    }
}

/// Yields once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

pub(crate) async fn write_all(stream: &mut BoxStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(bytes)])).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Returns the bytes of one read.
pub(crate) async fn read_some(stream: &mut BoxStream) -> io::Result<BytesMut> {
    let mut received = BytesMut::with_capacity(64 * 1024);
    poll_fn(|cx| stream.poll_read(cx, &mut received)).await?;
    Ok(received)
}

pub(crate) async fn read_to_end(stream: &mut BoxStream) -> io::Result<BytesMut> {
    let mut received = BytesMut::new();
    loop {
        received.reserve(16 * 1024);
        if poll_fn(|cx| stream.poll_read(cx, &mut received)).await? == 0 {
            return Ok(received);
        }
    }
}

/// Returns the number of open descriptors of this process.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Polls `stream` until it reports why it is not fit for use, on a thread that never runs the loop.
pub(crate) fn idle_event_soon(stream: &mut BoxStream) -> IdleEvent {
    let mut cx = Context::from_waker(noop_waker());
    // The data is in the kernel, and an observation of the socket is relied on for some hundreds of
    // microseconds; a hundred thousand polls take much longer.
    for _ in 0..100_000 {
        if let Poll::Ready(end) = stream.poll_idle(&mut cx) {
            return end;
        }
        thread::yield_now();
    }
    panic!("the stream is still idle");
}
