//! object_store over a pool: against `moto`, and against a server that fails.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use httpcore::ConnectionPool;
use httpcore_integrations::object_store::ObjectStoreConnector;
use httpcore_tests_integrations::{Server, Version, moto::Moto, on_own_loop, on_tokio};
use object_store::{
    BackoffConfig, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};

const PART: usize = 8 << 20;
const PARTS: usize = 8;

fn store(pool: &ConnectionPool, endpoint: String) -> AmazonS3 {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(2),
        base: 2.0,
    };
    AmazonS3Builder::new()
        .with_http_connector(ObjectStoreConnector::new(pool.clone()))
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id("key")
        .with_secret_access_key("secret")
        .with_bucket_name("bucket")
        .with_retry(RetryConfig {
            backoff,
            max_retries: 5,
            retry_timeout: Duration::from_secs(60),
        })
        .build()
        .expect("a store")
}

/// A multipart upload of 64 MiB, reads of parts of it, and a listing.
async fn upload_read_and_list(pool: ConnectionPool, moto: &Moto, keys: usize) {
    let store = store(&pool, moto.url());
    let path = Path::from("large");
    let part = |n: usize| Bytes::from(vec![n as u8; PART]);
    let mut upload = store.put_multipart(&path).await.expect("an upload");
    // Two parts at a time.
    for n in (0..PARTS).step_by(2) {
        let (one, two) = (
            upload.put_part(part(n).into()),
            upload.put_part(part(n + 1).into()),
        );
        let (one, two) = futures_util::future::join(one, two).await;
        one.and(two).expect("parts");
    }
    upload.complete().await.expect("an end");

    let whole = store.get(&path).await.expect("an object");
    assert_eq!(whole.meta.size, (PART * PARTS) as u64);
    let mut read = 0;
    let mut chunks = whole.into_stream();
    while let Some(chunk) = chunks.try_next().await.expect("data") {
        assert_eq!(usize::from(chunk[0]), read / PART);
        read += chunk.len();
    }
    assert_eq!(read, PART * PARTS);

    let edge = PART as u64;
    let ranges: [Range<u64>; 3] = [0..1, edge - 1..edge + 1, 3 * edge..3 * edge + 10];
    let ranges = store.get_ranges(&path, &ranges).await.expect("ranges");
    assert_eq!(ranges, [&[0u8][..], &[0, 1], &[3; 10]]);

    for n in (0..keys).step_by(50) {
        let puts = (n..n + 50).map(|n| {
            let path = Path::from(format!("keys/{n:05}"));
            let store = &store;
            async move { store.put(&path, PutPayload::from_static(b"x")).await }
        });
        futures_util::future::try_join_all(puts)
            .await
            .expect("keys");
    }
    let listed = store.list(Some(&Path::from("keys")));
    let listed: Vec<_> = listed
        .map_ok(|meta| meta.location)
        .try_collect()
        .await
        .expect("a list");
    assert_eq!(listed.len(), keys);
    assert_eq!(
        listed[keys - 1],
        Path::from(format!("keys/{:05}", keys - 1))
    );
    let missing = store.get(&Path::from("missing")).await;
    assert!(matches!(missing, Err(object_store::Error::NotFound { .. })));
    assert_eq!(pool.status().active_requests, 0);
}

#[test]
fn large_uploads_ranges_and_listings_work_against_moto() {
    let Some(moto) = Moto::start("bucket") else {
        return;
    };
    on_tokio(ConnectionPool::builder(), |pool| {
        upload_read_and_list(pool, &moto, 2_000)
    });
}

/// `object_store`'s retries sleep by tokio's timer; nothing else of it needs a runtime.
#[test]
fn requests_work_without_any_runtime() {
    let Some(moto) = Moto::start("bucket") else {
        return;
    };
    on_own_loop(ConnectionPool::builder(), |pool| {
        upload_read_and_list(pool, &moto, 50)
    });
}

type AnyBody = UnsyncBoxBody<Bytes, std::io::Error>;

fn whole(text: &'static str) -> AnyBody {
    Full::new(Bytes::from_static(text.as_bytes()))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A part of a body, and later an error, for which the server drops the connection.
fn torn(text: &'static str) -> AnyBody {
    let part = stream::iter([Ok(Frame::data(Bytes::from_static(text.as_bytes())))]);
    let error = stream::once(async {
        // What there is has been sent when this is polled again.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("torn"))
    });
    StreamBody::new(part.chain(error)).boxed_unsync()
}

#[test]
fn a_server_error_and_a_dying_connection_are_repeated() {
    let ranges = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = ranges.clone();
    let server = Server::start(Version::Http1, move |n, request| {
        let range = request.headers().get("range").cloned();
        seen.lock().expect("no panic").push(range);
        async move {
            let response = Response::builder()
                .header("last-modified", "Tue, 01 Dec 2026 00:00:00 GMT")
                .header("etag", "\"tag\"");
            let response = match n {
                0 => response
                    .status(StatusCode::INTERNAL_SERVER_ERROR)
                    .body(whole("")),
                1 => response.header("content-length", 10).body(torn("hello")),
                _ => response
                    .status(StatusCode::PARTIAL_CONTENT)
                    .header("content-range", "bytes 5-9/10")
                    .body(whole("world")),
            };
            response.expect("a response")
        }
    });
    on_tokio(ConnectionPool::builder(), |pool| {
        let server = &server;
        async move {
            let store = store(&pool, server.url(""));
            let object = store.get(&Path::from("key")).await.expect("an object");
            assert_eq!(object.bytes().await.expect("all of it"), "helloworld");
        }
    });
    let ranges = ranges.lock().expect("no panic");
    let last = ranges[2].as_ref().expect("a range");
    assert_eq!(last, "bytes=5-9", "only the rest is read again");
    assert_eq!(ranges.len(), 3);
}

#[test]
fn a_server_that_is_not_there_is_an_error_of_connecting() {
    let server = Server::start(Version::Http1, async |_, _| Response::new(whole("")));
    let url = server.url("");
    drop(server);
    on_tokio(ConnectionPool::builder(), |pool| async move {
        let store = store(&pool, url);
        let error = store.get(&Path::from("key")).await.expect_err("no server");
        let text = format!("{error:?}");
        assert!(text.contains("Connect"), "{text}");
        assert_eq!(pool.stats().dials, 6, "once, and five retries");
    });
}
