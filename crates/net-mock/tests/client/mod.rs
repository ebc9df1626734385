//! A small client for tests of the world: streams with asynchronous methods.

#![allow(dead_code, reason = "each test uses what it needs")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use bytes::BytesMut;
use httpcore_core_primitives::{BoxStream, NetworkBackend, TcpOptions};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// Connects to the first address of a name.
pub(crate) async fn connect(
    net: &dyn NetworkBackend,
    host: &str,
    port: u16,
) -> io::Result<BoxStream> {
    let address = net.resolve(host, port).await?[0];
    net.connect_tcp(address, &TcpOptions::default()).await
}

/// Reads what there is; empty at the end.
pub(crate) async fn read(stream: &mut BoxStream) -> io::Result<String> {
    let mut buf = BytesMut::with_capacity(4096);
    poll_fn(|cx| stream.poll_read(cx, &mut buf)).await?;
    Ok(String::from_utf8_lossy(&buf).into_owned())
}

/// Reads exactly `count` bytes.
pub(crate) async fn read_exactly(stream: &mut BoxStream, count: usize) -> io::Result<String> {
    let mut heard = String::new();
    while heard.len() < count {
        let part = read(stream).await?;
        if part.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        heard += &part;
    }
    Ok(heard)
}

/// Reads to the end.
pub(crate) async fn read_all(stream: &mut BoxStream) -> io::Result<String> {
    let mut heard = String::new();
    loop {
        let part = read(stream).await?;
        if part.is_empty() {
            return Ok(heard);
        }
        heard += &part;
    }
}

/// Writes once.
pub(crate) async fn write(stream: &mut BoxStream, bytes: &str) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(bytes.as_bytes())])).await
}

/// Writes all, and flushes.
pub(crate) async fn write_all(stream: &mut BoxStream, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut left = bytes.as_ref();
    while !left.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(left)])).await?;
        left = &left[written..];
    }
    poll_fn(|cx| stream.poll_flush(cx)).await
}

pub(crate) async fn shutdown(stream: &mut BoxStream) -> io::Result<()> {
    poll_fn(|cx| stream.poll_shutdown(cx)).await
}

/// What `run` says when it panics, which it must.
pub(crate) fn panic_of<T>(run: impl FnOnce() -> T) -> String {
    let panic = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(_) => panic!("this was to panic"),
        Err(panic) => panic,
    };
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast::<&str>()
            .map_or_else(|_| String::new(), |text| (*text).to_owned()),
    }
}
