//! A program that depends on `httpcore` alone can name the types of its signatures.

#![cfg(feature = "epoll")]
#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use httpcore::{
    Body, ConnectionPool, EventLoop,
    backend::{BoxFuture, BoxStream, BytesMut, IdleEvent, NetworkStream, TlsConnector},
    extensions::RequestTarget,
    http,
    net::{Alpn, ConnectionInfo, Resolve},
};
use httpcore_origin::Origin;

#[derive(Debug)]
struct Always(SocketAddr);

impl Resolve for Always {
    fn resolve(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(std::future::ready(Ok(vec![self.0])))
    }
}

/// A TLS layer that encrypts nothing.
#[derive(Debug)]
struct Plain;

impl TlsConnector for Plain {
    fn handshake(
        &self,
        stream: BoxStream,
        _: &str,
        _: &[Alpn],
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        Box::pin(std::future::ready(Ok(
            Box::new(Through(stream)) as BoxStream
        )))
    }
}

#[derive(Debug)]
struct Through(BoxStream);

impl NetworkStream for Through {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buf)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        self.0.poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        self.0.info()
    }
}

#[test]
fn a_resolver_a_tls_layer_and_a_request_target_need_no_other_crate() {
    let origin = Origin::start().unwrap();
    let event_loop = EventLoop::builder()
        .resolver(Arc::new(Always(origin.addr())))
        .build()
        .unwrap();
    let pool = ConnectionPool::builder()
        .tls(Plain)
        .build(event_loop.backend());
    let request = http::Request::get("https://nowhere.test/ignored")
        .extension(RequestTarget::Exact("/hello".into()))
        .body(Body::empty())
        .unwrap();
    let body = event_loop.block_on(async {
        let response = pool.request(request).await.unwrap();
        response.into_body().bytes(1024).await.unwrap()
    });
    assert_eq!(body, "Hello, world!\n");
}
