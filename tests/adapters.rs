//! hyper's own connections on our backends, by way of the adapters.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use httpcore::{
    Body, ConnectionPool, EventLoop,
    adapters::{HyperRuntime, Io},
};
use httpcore_core_primitives::{NetworkBackend, TcpOptions};
use httpcore_net_epoll::TcpListener;
use httpcore_net_mock::MockNet;
use httpcore_origin::Origin;
use httpcore_tests::{
    http2::{self, Tokio},
    smol::Smol,
};
use hyper::rt::{Executor, Timer};

async fn get<B>(
    mut send: impl FnMut(http::Request<Full<Bytes>>) -> B,
    base: &str,
    path: &str,
) -> (http::StatusCode, Bytes)
where
    B: Future<Output = hyper::Result<http::Response<hyper::body::Incoming>>>,
{
    let request = http::Request::get(format!("{base}{path}"))
        .header("host", "origin.test")
        .body(Full::default())
        .unwrap();
    let response = send(request).await.unwrap();
    let status = response.status();
    (
        status,
        response.into_body().collect().await.unwrap().to_bytes(),
    )
}

/// Some requests of hyper's HTTP/1.1 over one connection of `backend`.
async fn http1(backend: Arc<dyn NetworkBackend>, address: SocketAddr) {
    let runtime = HyperRuntime::from(backend.clone());
    let stream = backend.connect_tcp(address, &TcpOptions::default());
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .handshake(Io::new(stream.await.unwrap()))
        .await
        .unwrap();
    runtime.execute(connection);
    for _ in 0..3 {
        sender.ready().await.unwrap();
        let (status, body) = get(|request| sender.send_request(request), "", "/hello").await;
        assert_eq!((status.as_u16(), &body[..]), (200, &b"Hello, world!\n"[..]));
    }
    sender.ready().await.unwrap();
    let (_, body) = get(|request| sender.send_request(request), "", "/bytes/1000000").await;
    assert_eq!(body.len(), 1_000_000);
}

#[test]
fn hypers_http1_runs_on_the_event_loop_without_another_runtime() {
    let origin = Origin::start().unwrap();
    let epoll = EventLoop::new().unwrap();
    epoll.block_on(http1(epoll.backend(), origin.addr()));
}

#[test]
fn hypers_http1_runs_on_smol() {
    let origin = Origin::start().unwrap();
    let smol = Smol::new();
    smol.block_on(http1(Arc::new(smol.backend()), origin.addr()));
}

#[test]
fn hypers_http2_with_keep_alive_pings_runs_in_virtual_time() {
    let net = MockNet::new();
    net.serve("origin.test", 80, async |stream| {
        http2::serve(Tokio(stream), h2::server::Builder::new()).await;
    });
    net.run(async {
        let address = net.resolve("origin.test", 80).await.unwrap()[0];
        let stream = net.connect_tcp(address, &TcpOptions::default());
        let runtime = HyperRuntime::new(Arc::new(net.clone()));
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(runtime.clone())
            .timer(runtime.clone())
            .keep_alive_interval(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .handshake(Io::new(stream.await.unwrap()))
            .await
            .unwrap();
        runtime.execute(connection);
        for _ in 0..3 {
            sender.ready().await.unwrap();
            let send = |request| sender.send_request(request);
            let (status, body) = get(send, "http://origin.test", "/bytes/100000").await;
            assert_eq!((status.as_u16(), body.len()), (200, 100_000));
            // Pings go back and forth meanwhile, each after a timer of ours.
            runtime.sleep(Duration::from_secs(60)).await;
        }
    });
    net.clear();
}

#[test]
fn a_timer_of_hypers_is_reset_and_follows_our_clock() {
    let net = MockNet::new();
    net.run(async {
        let runtime = HyperRuntime::new(Arc::new(net.clone()));
        let start = Timer::now(&runtime);
        let hour = Duration::from_secs(3600);
        let mut sleep = runtime.sleep(hour);
        runtime.reset(&mut sleep, start + 2 * hour);
        poll_fn(|cx| Pin::new(&mut sleep).poll(cx)).await;
        assert_eq!(Timer::now(&runtime), start + 2 * hour);
    });
}

/// A server of hyper's on our listener, asked by our pool.
#[test]
fn hypers_server_runs_on_the_event_loop() {
    let epoll = EventLoop::new().unwrap();
    let listener = TcpListener::bind(&epoll.handle(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let runtime = HyperRuntime::from(epoll.backend());
    let pool = ConnectionPool::new(epoll.backend());
    epoll.block_on(async {
        let serving = epoll.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = hyper::service::service_fn(async |request: http::Request<_>| {
                    let body: hyper::body::Incoming = request.into_body();
                    let body = body.collect().await?.to_bytes();
                    Ok::<_, hyper::Error>(http::Response::new(Full::new(body)))
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(runtime.clone())
                    .serve_connection(Io::new(stream), answer);
                runtime.execute(connection);
            }
        });
        for text in ["one", "two"] {
            let request = http::Request::post(&url).body(Body::from(text)).unwrap();
            let response = pool.request(request).await.unwrap();
            assert_eq!(response.into_body().bytes(100).await.unwrap(), text);
        }
        drop(serving);
    });
}
