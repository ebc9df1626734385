//! How the end of a stream is told: one kind for one end, whichever version of HTTP met it.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io::{self, IoSlice},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use httpcore::{
    Body, ConnectionPool, Error, ErrorKind,
    backend::{BoxFuture, BoxStream, BytesMut, IdleEvent, NetworkStream, TlsConnector},
    config::{PoolConfig, Retry},
    error::{Http2ErrorCode, RequestSent, TlsFailure},
    mock::MockNet,
    net::{Alpn, ConnectionInfo, TlsInfo},
};
use httpcore_core_primitives::RuntimeShutdown;

/// Stands in no head, and in no frame but DATA.
const BODY: &str = "the body of the request";

type Make = fn() -> io::Error;

/// How a stream ends: how writing fails, unless it does not, and then how reading does.
#[derive(Clone, Copy, Debug)]
struct End {
    written: Option<Make>,
    /// What is read before.
    said: &'static [u8],
    read: Option<Make>,
}

/// A stream that takes a request and then ends, or does not take it at all.
#[derive(Debug)]
struct Ending {
    end: End,
    alpn: Alpn,
    /// The request's body has been written, or was to be by the write that fails.
    is_over: bool,
    /// What there is to be read has been announced. Until then reading is told that there is nothing, as
    /// by an event loop which has yet to ask the kernel.
    is_announced: bool,
    reader: Option<Waker>,
}

impl NetworkStream for Ending {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if !self.is_over {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if !self.is_announced {
            self.is_announced = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let said = std::mem::take(&mut self.end.said);
        if !said.is_empty() {
            buf.extend_from_slice(said);
            return Poll::Ready(Ok(said.len()));
        }
        match self.end.read.map(|make| make()) {
            Some(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(0)),
        }
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.is_over |= written
            .windows(BODY.len())
            .any(|part| part == BODY.as_bytes());
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        match self.end.written.filter(|_| self.is_over) {
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

    fn poll_idle(&mut self, _: &mut Context<'_>) -> Poll<IdleEvent> {
        Poll::Pending
    }

    fn info(&self) -> ConnectionInfo {
        let mut tls = TlsInfo::default();
        tls.alpn = Some(self.alpn);
        let mut info = ConnectionInfo::default();
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
        let stream = Ending {
            end,
            alpn,
            is_over: false,
            is_announced: false,
            reader: None,
        };
        Box::pin(std::future::ready(Ok(Box::new(stream) as BoxStream)))
    }
}

/// Reading never ends.
fn never() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

fn told(end: End, alpn: Alpn) -> Error {
    told_in(&MockNet::new(), end, alpn)
}

fn told_in(net: &MockNet, end: End, alpn: Alpn) -> Error {
    net.serve("ends.test", 443, async |stream| stream.stall().await);
    let mut config = PoolConfig::default();
    config.retry = Retry::Never;
    let pool = ConnectionPool::builder()
        .configure_pool(|pool| *pool = config)
        .tls(Arc::new(Ends(end, alpn)))
        .build(Arc::new(net.clone()));
    let request = http::Request::post("https://ends.test/").body(Body::from(BODY));
    let error = net.run(pool.request(request.unwrap())).unwrap_err();
    net.clear();
    error
}

#[test]
fn the_end_of_a_stream_is_the_same_kind_over_both_versions() {
    let cut: Make = || TlsFailure::error(io::ErrorKind::UnexpectedEof, "no close_notify");
    let alert: Make = || TlsFailure::error(io::ErrorKind::InvalidData, "alert: access denied");
    let eof: Make = || io::ErrorKind::UnexpectedEof.into();
    let reset: Make = || io::ErrorKind::ConnectionReset.into();
    let pipe: Make = || io::ErrorKind::BrokenPipe.into();
    let gone: Make = RuntimeShutdown::error;
    for (name, written, read, kind) in [
        ("an end", None, None, ErrorKind::ConnectionClosed),
        (
            "an end without close_notify",
            None,
            Some(cut),
            ErrorKind::ConnectionClosed,
        ),
        (
            "an early end of another layer",
            None,
            Some(eof),
            ErrorKind::ConnectionClosed,
        ),
        ("an alert", None, Some(alert), ErrorKind::Tls),
        ("a reset", None, Some(reset), ErrorKind::Network),
        (
            "a runtime that ended",
            None,
            Some(gone),
            ErrorKind::RuntimeShutdown,
        ),
        (
            "a failed write, an end",
            Some(pipe),
            None,
            ErrorKind::ConnectionClosed,
        ),
        (
            "a failed write, a reset",
            Some(pipe),
            Some(reset),
            ErrorKind::Network,
        ),
        (
            "a failed write, an alert",
            Some(pipe),
            Some(alert),
            ErrorKind::Tls,
        ),
        (
            "a failed write, a cut",
            Some(pipe),
            Some(cut),
            ErrorKind::ConnectionClosed,
        ),
        (
            "TLS fails to write, a reset",
            Some(alert),
            Some(reset),
            ErrorKind::Tls,
        ),
    ] {
        for alpn in [Alpn::Http1, Alpn::Http2] {
            let said = b"";
            let error = told(
                End {
                    written,
                    said,
                    read,
                },
                alpn,
            );
            assert_eq!(error.kind(), kind, "{name}, {alpn:?}: {error:?}");
        }
    }
}

#[test]
fn what_an_http2_server_said_before_a_write_failed_decides() {
    // SETTINGS, and then GOAWAY below the first stream, or RST_STREAM of the first.
    let goaway = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let refused = b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07";
    let cancelled = b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08";
    let broken: Option<Make> = Some(|| io::ErrorKind::BrokenPipe.into());
    let reset: Option<Make> = Some(|| io::ErrorKind::ConnectionReset.into());
    for (said, kind, sent, code) in [
        (
            &goaway[..],
            ErrorKind::ConnectionClosed,
            RequestSent::None,
            Http2ErrorCode::NO_ERROR,
        ),
        (
            refused,
            ErrorKind::Protocol,
            RequestSent::None,
            Http2ErrorCode::REFUSED_STREAM,
        ),
        (
            cancelled,
            ErrorKind::Protocol,
            RequestSent::Full,
            Http2ErrorCode::CANCEL,
        ),
    ] {
        for read in [None, reset] {
            let end = End {
                written: broken,
                said,
                read,
            };
            let error = told(end, Alpn::Http2);
            let told = (error.kind(), error.sent(), error.http2_error_code());
            assert_eq!(told, (kind, sent, Some(code)), "{error:?}");
        }
    }
}

#[test]
fn a_connection_that_can_be_neither_written_to_nor_read_to_its_end_is_given_up() {
    let net = MockNet::new();
    let began = net.elapsed();
    let end = End {
        written: Some(|| io::ErrorKind::BrokenPipe.into()),
        said: b"",
        read: Some(never),
    };
    let error = told_in(&net, end, Alpn::Http2);
    assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    let took = net.elapsed() - began;
    assert!(took <= Duration::from_secs(1), "{took:?}");
}
