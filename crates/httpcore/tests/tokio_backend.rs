//! Pools on a tokio runtime.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use httpcore::{Body, ConnectionPool, ErrorKind, http, net::TokioBackend};
use httpcore_origin::Origin;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_built_on_the_current_runtime_is_shared_among_its_tasks() {
    let origin = Origin::start().unwrap();
    let pool = ConnectionPool::builder()
        .max_connections(4)
        .build_tokio()
        .unwrap();
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (pool, url) = (pool.clone(), origin.url("/hello"));
            tokio::spawn(async move { pool.get(url).await?.into_body().text(100).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), "Hello, world!\n");
    }
}

#[tokio::test]
async fn a_pool_takes_a_backend_by_value() {
    let origin = Origin::start().unwrap();
    let pool = ConnectionPool::builder().build(TokioBackend::current().unwrap());
    let response = pool.get(origin.url("/hello")).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_single_get_runs_on_the_current_runtime() {
    let origin = Origin::start().unwrap();
    let response = httpcore::get(origin.url("/hello")).await.unwrap();
    assert_eq!(
        response.into_body().text(100).await.unwrap(),
        "Hello, world!\n"
    );
}

#[tokio::test]
async fn a_single_request_of_any_method_runs_on_the_current_runtime() {
    let origin = Origin::start().unwrap();
    let request = http::Request::post(origin.url("/echo"))
        .body(Some("ten bytes!"))
        .unwrap();
    let response = httpcore::request(request).await.unwrap();
    assert_eq!(response.into_body().text(100).await.unwrap(), "ten bytes!");
}

#[test]
fn without_a_runtime_building_fails_and_says_so() {
    let error = ConnectionPool::builder().build_tokio().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RuntimeShutdown);
    assert!(
        error.to_string().contains("outside of a tokio runtime"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_is_uploaded_and_a_response_is_copied() {
    let origin = Origin::start().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let data = vec![b'x'; 300_000];
    std::fs::write(file.path(), &data).unwrap();
    let request = http::Request::post(origin.url("/echo"))
        .body(Body::file(file.path()).unwrap())
        .unwrap();
    let pool = ConnectionPool::builder().build_tokio().unwrap();
    let response = pool.request(request).await.unwrap();
    let mut copy = Vec::new();
    let size = response.into_body().copy_to(&mut copy).await.unwrap();
    assert_eq!(size, 300_000);
    assert!(copy == data);
}
