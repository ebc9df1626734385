//! HTTP/2 through the whole of the facade: in virtual time, over the event loop, and on a thread
//! that waits.

use std::{convert::Infallible, sync::Arc, task::Poll};

use bytes::Bytes;
use httpcore::{Body, Builder, ConnectionPool, Epoll, Request, StreamId, blocking};
use httpcore_net_mock::{Census, MockNet, MockTls, TlsServer};
use httpcore_tests::http2::{self, Tokio};

/// HTTP/2, without asking.
fn prior_knowledge() -> Builder {
    ConnectionPool::builder().http1(false).http2(true)
}

fn net() -> MockNet {
    let net = MockNet::new();
    net.serve("origin.test", 80, async |stream| {
        http2::serve(Tokio(stream), h2::server::Builder::new()).await;
    });
    net
}

fn post(url: &str, body: Body) -> Request {
    http::Request::post(url).body(body).unwrap()
}

/// A body of unknown length, in pieces.
fn pieces(count: usize, size: usize) -> Body {
    let piece = Bytes::from(vec![b'p'; size]);
    let mut left = count;
    Body::poll_fn(move |_| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        Poll::Ready(Some(Ok::<_, Infallible>(piece.clone())))
    })
}

async fn whole(pool: &ConnectionPool, base: &str) {
    let hello = pool.get(format!("{base}/hello")).await.unwrap();
    assert_eq!(hello.version(), http::Version::HTTP_2);
    assert_eq!(hello.extensions().get::<StreamId>(), Some(&StreamId(1)));
    assert_eq!(hello.into_body().bytes(100).await.unwrap(), "hello");

    let large = pool.get(format!("{base}/bytes/9000000")).await.unwrap();
    let large = large.into_body().bytes(9_000_000).await.unwrap();
    assert_eq!(large.len(), 9_000_000);

    let echoed = pool.request(post(&format!("{base}/echo"), pieces(300, 10_000)));
    let echoed = echoed.await.unwrap().into_body();
    assert_eq!(echoed.bytes(3_000_000).await.unwrap().len(), 3_000_000);

    let status = pool.status();
    assert_eq!(status.connections.len(), 1, "{status}");
    assert_eq!(status.active_requests, 0, "{status}");
}

#[test]
fn streamed_bodies_go_both_ways_in_virtual_time() {
    let net = net();
    let pool = prior_knowledge().build(Arc::new(net.clone()));
    net.run(whole(&pool, "http://origin.test"));
    drop(pool);
    net.settle();
    assert_eq!(net.census(), Census::default(), "{}", net.report());
}

#[test]
fn streamed_bodies_go_both_ways_over_the_event_loop() {
    let address = http2::start(h2::server::Builder::new()).unwrap();
    let epoll = Epoll::new().unwrap();
    let pool = prior_knowledge().build(epoll.backend());
    epoll.block_on(whole(&pool, &format!("http://{address}")));
}

#[test]
fn streamed_bodies_go_both_ways_on_a_thread_that_waits() {
    let address = http2::start(h2::server::Builder::new()).unwrap();
    let pool = blocking::ConnectionPool::from_builder(prior_knowledge()).unwrap();
    let hello = pool.get(format!("http://{address}/hello")).unwrap();
    assert_eq!(hello.version(), http::Version::HTTP_2);
    assert_eq!(hello.into_body().bytes(100).unwrap(), "hello");
    let large = pool.get(format!("http://{address}/bytes/9000000")).unwrap();
    assert_eq!(large.into_body().bytes(9_000_000).unwrap().len(), 9_000_000);
    let echo = post(&format!("http://{address}/echo"), pieces(300, 10_000));
    let echoed = pool.request(echo).unwrap().into_body();
    assert_eq!(echoed.bytes(3_000_000).unwrap().len(), 3_000_000);
}

#[test]
fn a_server_chooses_http2_in_its_handshake() {
    let net = MockNet::new();
    let tls = TlsServer::new().alpn(&[httpcore::Alpn::Http2]);
    net.serve_tls("origin.test", 443, tls, async |stream| {
        http2::serve(Tokio(stream), h2::server::Builder::new()).await;
    });
    let pool = ConnectionPool::builder()
        .tls(Arc::new(MockTls::new()))
        .build(Arc::new(net.clone()));
    net.run(whole(&pool, "https://origin.test"));
    drop(pool);
    net.settle();
    assert_eq!(net.census(), Census::default(), "{}", net.report());
}
