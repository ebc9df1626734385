//! The contract of a pool as a `tower_service::Service`, in virtual time.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use httpcore::{
    Body, Bytes, ConnectionPool, ErrorKind, ResponseFuture, error::BoxError, http, mock::MockNet,
    service::PoolService,
};
use tower::{Service, ServiceExt};

/// A network whose server answers each request with its path, after a second.
fn echo() -> MockNet {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        while let Ok(head) = stream.read_head().await {
            let head = head.to_string();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            stream.sleep(Duration::from_secs(1)).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", path.len());
            if stream.write_all(head + &path).await.is_err() {
                return;
            }
        }
    });
    net
}

fn get(path: &str) -> http::Request<Body> {
    let url = format!("http://server.test{path}");
    http::Request::get(url).body(Body::empty()).unwrap()
}

async fn ready(service: &mut PoolService) -> &mut PoolService {
    ServiceExt::<http::Request<Body>>::ready(service)
        .await
        .unwrap()
}

async fn text(response: ResponseFuture) -> String {
    response.await.unwrap().into_body().text(100).await.unwrap()
}

#[test]
fn the_service_and_its_futures_move_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<PoolService>();
    sent::<<PoolService as Service<http::Request<Body>>>::Future>();
}

#[test]
fn calls_of_clones_run_at_the_same_time_over_one_pool() {
    let net = echo();
    let pool = ConnectionPool::new(net.clone());
    let mut service = pool.service();
    let mut other = service.clone();
    let answers = net.run(async {
        let mut calls = [
            Box::pin(text(ready(&mut service).await.call(get("/one")))),
            Box::pin(text(ready(&mut other).await.call(get("/two")))),
            // The first service takes a second call while its first one is running.
            Box::pin(text(ready(&mut service).await.call(get("/three")))),
        ];
        let mut answers = [const { None }; 3];
        poll_fn(|cx| {
            for (call, answer) in calls.iter_mut().zip(&mut answers) {
                if answer.is_none()
                    && let Poll::Ready(text) = call.as_mut().poll(cx)
                {
                    *answer = Some(text);
                }
            }
            if answers.iter().all(Option::is_some) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
        answers.map(Option::unwrap)
    });
    assert_eq!(answers, ["/one", "/two", "/three"]);
    assert_eq!(net.elapsed(), Duration::from_secs(1));
    assert_eq!(pool.status().connections.len(), 3);
}

#[test]
fn a_full_pool_is_ready_and_its_calls_wait_in_turn() {
    let net = echo();
    let pool = ConnectionPool::builder()
        .max_connections(1)
        .build(net.clone());
    let mut service = pool.service();
    let (first, second) = net.run(async {
        let mut running = ready(&mut service).await.call(get("/one"));
        poll_fn(|cx| {
            assert!(pin!(&mut running).poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let waiting = ready(&mut service).await.call(get("/two"));
        (text(running).await, text(waiting).await)
    });
    assert_eq!((&first[..], &second[..]), ("/one", "/two"));
    assert_eq!(net.elapsed(), Duration::from_secs(2));
}

#[test]
fn a_call_that_is_not_polled_reserves_nothing() {
    let net = echo();
    let pool = ConnectionPool::builder()
        .max_connections(1)
        .max_pending_requests(0)
        .build(net.clone());
    let mut service = pool.service();
    let idle = service.call(get("/never"));
    let answer = net.run(async { text(service.clone().call(get("/one"))).await });
    assert_eq!(answer, "/one");
    drop(idle);
}

#[test]
fn a_dropped_call_releases_its_connection() {
    let net = echo();
    let pool = ConnectionPool::builder()
        .max_connections(1)
        .build(net.clone());
    let mut service = pool.service();
    net.run(async {
        let mut dropped = Box::pin(service.call(get("/dropped")));
        poll_fn(|cx| {
            assert!(dropped.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        net.sleep(Duration::from_millis(500)).await;
        drop(dropped);
        assert_eq!(text(service.call(get("/next"))).await, "/next");
    });
    drop((service, pool));
    net.run_until_idle();
    assert_eq!(net.census(), httpcore::mock::LiveCounts::default());
}

#[test]
fn a_service_outlives_the_pool_that_it_was_made_from() {
    let net = echo();
    let mut service = ConnectionPool::new(net.clone()).service();
    let answer = net.run(async { text(service.call(get("/one"))).await });
    assert_eq!(answer, "/one");
}

#[test]
fn a_closed_pool_is_ready_and_fails_its_calls() {
    let net = echo();
    let pool = ConnectionPool::new(net.clone());
    let mut service = pool.service();
    pool.close();
    let error = net.run(async { ready(&mut service).await.call(get("/")).await });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::PoolClosed);
}

/// A body of another type, with errors of another type.
struct Failing(Option<Bytes>);

impl http_body::Body for Failing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(match self.0.take() {
            Some(data) => Ok(http_body::Frame::data(data)),
            None => Err("the source of the body failed".into()),
        }))
    }
}

#[test]
fn any_body_of_bytes_is_sent_and_its_failure_is_the_requests() {
    let net = echo();
    let mut service = ConnectionPool::new(net.clone()).service();
    let request = http::Request::put("http://server.test/")
        .body(Failing(Some("part".into())))
        .unwrap();
    let error = net.run(service.call(request)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RequestBody);
    assert!(format!("{error:#}").contains("the source of the body failed"));
}

#[test]
fn a_service_works_under_a_layer_that_maps_its_requests() {
    let net = echo();
    let service = ConnectionPool::new(net.clone()).service();
    let mut layered = service.map_request(|path: &'static str| get(path));
    let answer = net.run(async {
        layered
            .call("/mapped")
            .await
            .unwrap()
            .into_body()
            .text(100)
            .await
            .unwrap()
    });
    assert_eq!(answer, "/mapped");
}
