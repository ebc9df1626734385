//! How the end of a stream is told: one kind for one end, whichever version of HTTP met it.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io::{self, ErrorKind, IoSlice},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use httpcore::{
    Alpn, BoxFuture, BoxStream, Bytes, BytesMut, ConnectionPool, IdleEnd, Kind, NetworkStream,
    PoolConfig, Retry, StreamInfo, TlsConnector, TlsFailure, TlsInfo, mock::MockNet,
};
use httpcore_core_primitives::RuntimeGone;

type Make = fn() -> io::Error;

/// How a stream ends: how writing fails, unless it does not, and then how reading does.
#[derive(Clone, Copy, Debug)]
struct End {
    written: Option<Make>,
    read: Option<Make>,
}

/// A stream that takes a request and then ends, or does not take it at all.
#[derive(Debug)]
struct Ending {
    end: End,
    alpn: Alpn,
    /// How many writes there are until the end.
    left: usize,
    reader: Option<Waker>,
}

impl NetworkStream for Ending {
    fn poll_read(&mut self, cx: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.left > 0 {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(self.end.read.map_or(Ok(0), |make| Err(make())))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.left = self.left.saturating_sub(1);
        if self.end.written.is_some() {
            self.left = 0;
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        match self.end.written {
            Some(make) => Poll::Ready(Err(make())),
            None => Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum())),
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_idle(&mut self, _: &mut Context<'_>) -> Poll<IdleEnd> {
        Poll::Pending
    }

    fn info(&self) -> StreamInfo {
        let mut tls = TlsInfo::default();
        tls.alpn = Some(self.alpn);
        let mut info = StreamInfo::default();
        info.tls = Some(Arc::new(tls));
        info
    }
}

/// Yields such streams.
#[derive(Debug)]
struct Ends(End, Alpn);

impl TlsConnector for Ends {
    fn handshake(
        &self,
        _: BoxStream,
        _: &str,
        _: &[Alpn],
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        let Ends(end, alpn) = *self;
        // HTTP/2 writes its preface first.
        let left = match alpn {
            Alpn::Http1 => 1,
            Alpn::Http2 => 2,
        };
        let stream = Ending {
            end,
            alpn,
            left,
            reader: None,
        };
        Box::pin(std::future::ready(Ok(Box::new(stream) as BoxStream)))
    }
}

fn told(end: End, alpn: Alpn) -> Kind {
    let net = MockNet::new();
    net.serve("ends.test", 443, async |stream| stream.stall().await);
    let mut config = PoolConfig::default();
    config.retry = Retry::Never;
    let pool = ConnectionPool::builder()
        .pool_config(config)
        .tls(Arc::new(Ends(end, alpn)))
        .build(Arc::new(net.clone()));
    let get = async {
        let response = pool.get("https://ends.test/").await?;
        response.into_body().bytes(100).await
    };
    let error: Result<Bytes, _> = net.run(get);
    let kind = error.unwrap_err().kind();
    net.clear();
    kind
}

#[test]
fn the_end_of_a_stream_is_the_same_kind_over_both_versions() {
    let cut: Make = || TlsFailure::error(ErrorKind::UnexpectedEof, "no close_notify");
    let alert: Make = || TlsFailure::error(ErrorKind::InvalidData, "alert: access denied");
    let eof: Make = || ErrorKind::UnexpectedEof.into();
    let reset: Make = || ErrorKind::ConnectionReset.into();
    let pipe: Make = || ErrorKind::BrokenPipe.into();
    let gone: Make = RuntimeGone::error;
    for (name, written, read, kind) in [
        ("an end", None, None, Kind::Closed),
        ("an end without close_notify", None, Some(cut), Kind::Closed),
        (
            "an early end of another layer",
            None,
            Some(eof),
            Kind::Closed,
        ),
        ("an alert", None, Some(alert), Kind::Tls),
        ("a reset", None, Some(reset), Kind::Network),
        ("a runtime that ended", None, Some(gone), Kind::RuntimeGone),
        ("a failed write, an end", Some(pipe), None, Kind::Closed),
        (
            "a failed write, a reset",
            Some(pipe),
            Some(reset),
            Kind::Network,
        ),
        (
            "a failed write, an alert",
            Some(pipe),
            Some(alert),
            Kind::Tls,
        ),
        ("a failed write, a cut", Some(pipe), Some(cut), Kind::Closed),
        (
            "TLS fails to write, a reset",
            Some(alert),
            Some(reset),
            Kind::Tls,
        ),
    ] {
        for alpn in [Alpn::Http1, Alpn::Http2] {
            assert_eq!(told(End { written, read }, alpn), kind, "{name}, {alpn:?}");
        }
    }
}
