//! The traits of other libraries over an upgraded stream: each reads what came with the response,
//! writes with back-pressure, and sees the end.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use httpcore::{ConnectionPool, ws::Io};
use httpcore_net_mock::{Chunks, Link, MockNet};

use crate::peer::{ACCEPTED, handshake};

/// One of the traits, in the words of all.
trait Adapter: Unpin {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>])
    -> Poll<io::Result<usize>>;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

struct Futures(Io);
struct Tokio(Io);
struct Hyper(Io);

impl Adapter for Futures {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        futures_io::AsyncRead::poll_read(Pin::new(&mut self.0), cx, buf)
    }
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        futures_io::AsyncWrite::poll_write_vectored(Pin::new(&mut self.0), cx, bufs)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_close(Pin::new(&mut self.0), cx)
    }
}

impl Adapter for Tokio {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = tokio::io::ReadBuf::new(buf);
        tokio::io::AsyncRead::poll_read(Pin::new(&mut self.0), cx, &mut buf)
            .map_ok(|()| buf.filled().len())
    }
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        assert!(tokio::io::AsyncWrite::is_write_vectored(&self.0));
        tokio::io::AsyncWrite::poll_write_vectored(Pin::new(&mut self.0), cx, bufs)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

impl Adapter for Hyper {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = hyper::rt::ReadBuf::new(buf);
        hyper::rt::Read::poll_read(Pin::new(&mut self.0), cx, buf.unfilled())
            .map_ok(|()| buf.filled().len())
    }
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        assert!(hyper::rt::Write::is_write_vectored(&self.0));
        hyper::rt::Write::poll_write_vectored(Pin::new(&mut self.0), cx, bufs)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_flush(Pin::new(&mut self.0), cx)
    }
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

/// Reads a greeting that came with the response, says much while hearing it, and closes.
async fn converse(mut adapter: impl Adapter) {
    let mut heard = Vec::new();
    let mut piece = [0; 7];
    while heard.len() < 5 {
        let count = poll_fn(|cx| adapter.poll_read(cx, &mut piece))
            .await
            .unwrap();
        heard.extend_from_slice(&piece[..count]);
    }
    assert_eq!(heard, b"hello");
    // A buffer without room is no end, and neither are no bytes to write.
    assert_eq!(
        poll_fn(|cx| adapter.poll_read(cx, &mut [])).await.unwrap(),
        0
    );
    assert_eq!(poll_fn(|cx| adapter.poll_write(cx, &[])).await.unwrap(), 0);

    let said: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut written, mut closed, mut heard) = (0, false, Vec::new());
    let mut piece = [0; 1000];
    poll_fn(|cx| {
        while written < said.len() {
            let (one, two) = said[written..].split_at((said.len() - written) / 2);
            match adapter.poll_write(cx, &[IoSlice::new(one), IoSlice::new(two)]) {
                Poll::Ready(count) => written += count.unwrap(),
                Poll::Pending => break,
            }
        }
        if written == said.len() && !closed && adapter.poll_flush(cx).is_ready() {
            closed = adapter.poll_close(cx).is_ready();
        }
        loop {
            match adapter.poll_read(cx, &mut piece) {
                Poll::Ready(Ok(0)) => return Poll::Ready(()),
                Poll::Ready(count) => heard.extend_from_slice(&piece[..count.unwrap()]),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    assert!(heard == said, "{} of {} bytes", heard.len(), said.len());
}

fn check<F: Future<Output = ()>>(converse: impl FnOnce(Io) -> F) {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.write_all(format!("{ACCEPTED}hello")).await.unwrap();
        while let Ok(some) = stream.read_some().await
            && !some.is_empty()
        {
            stream.write_all(some).await.unwrap();
        }
    })
    .link(Link::new().chunks(Chunks::Each(333)).buffer(4000));
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    net.run(async {
        let opened = pool.websocket(handshake()).await.unwrap();
        converse(Io::new(opened.stream)).await;
    });
    assert_eq!(pool.status().active_requests, 0);
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts().streams, 0);
}

#[test]
fn with_the_traits_of_futures_io() {
    check(|io| converse(Futures(io)));
}

#[test]
fn with_the_traits_of_tokio() {
    check(|io| converse(Tokio(io)));
}

#[test]
fn with_the_traits_of_hyper() {
    check(|io| converse(Hyper(io)));
}
