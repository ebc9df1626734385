//! tower-http's layers over a pool: a small real client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use httpcore::{Body, ConnectionPool};
use httpcore_tests_integrations::{Server, Version, on_own_loop, on_tokio};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::{
    decompression::DecompressionLayer, follow_redirect::FollowRedirectLayer, timeout::TimeoutLayer,
    trace::TraceLayer,
};

/// `hello, hello, hello, hello` by gzip.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xd7,
    0x51, 0xc8, 0xc0, 0xa4, 0x00, 0x55, 0xa3, 0x82, 0x77, 0x1a, 0x00, 0x00, 0x00,
];

fn server(version: Version) -> Server {
    Server::start(version, async |_, request| {
        let response = Response::builder();
        let response = match request.uri().path() {
            "/gzip" => response
                .header(header::CONTENT_ENCODING, "gzip")
                .body(Full::new(Bytes::from_static(GZIP))),
            "/slow" => std::future::pending().await,
            path => match path.strip_prefix("/redirect/").map(|left| left.parse()) {
                Some(Ok(0)) => response
                    .status(StatusCode::FOUND)
                    .header(header::LOCATION, "/gzip")
                    .body(Full::default()),
                Some(Ok(left)) => response
                    .status(StatusCode::TEMPORARY_REDIRECT)
                    .header(header::LOCATION, format!("{}", left - 1u32))
                    .body(Full::default()),
                _ => response.status(404).body(Full::default()),
            },
        };
        response.expect("a response")
    })
}

fn get(url: String) -> Request<Body> {
    Request::get(url).body(Body::empty()).expect("a request")
}

fn builder(version: Version) -> httpcore::ConnectionPoolBuilder {
    match version {
        Version::Http1 => ConnectionPool::builder(),
        Version::Http2 => ConnectionPool::builder().http1(false).http2(true),
    }
}

/// What needs no runtime: redirects are followed, the body is decompressed, and events are seen.
async fn follow_and_decompress(pool: ConnectionPool, server: &Server) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let trace = TraceLayer::new_for_http().on_response(
        move |_: &Response<_>, _: Duration, _: &tracing::Span| {
            count.fetch_add(1, SeqCst);
        },
    );
    let client = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(DecompressionLayer::new())
        .layer(trace)
        .service(pool.service());
    let response = client.clone().oneshot(get(server.url("/redirect/3"))).await;
    let response = response.expect("a response");
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "hello, hello, hello, hello");
    assert_eq!(seen.load(SeqCst), 5);
    assert_eq!(server.connections(), 1, "all over one connection");
    // More redirects than the layer follows: its last response is returned.
    let response = client.oneshot(get(server.url("/redirect/30"))).await;
    assert_eq!(response.expect("a response").status(), 307);
}

#[test]
fn layers_work_on_tokio_over_both_versions() {
    for version in [Version::Http1, Version::Http2] {
        let server = server(version);
        on_tokio(builder(version), |pool| {
            follow_and_decompress(pool, &server)
        });
    }
}

#[test]
fn layers_work_without_any_runtime() {
    for version in [Version::Http1, Version::Http2] {
        let server = server(version);
        on_own_loop(builder(version), |pool| {
            follow_and_decompress(pool, &server)
        });
    }
}

/// `TimeoutLayer` has tokio's timer.
#[test]
fn a_layer_that_times_out_aborts_the_request_and_frees_its_connection() {
    for version in [Version::Http1, Version::Http2] {
        let server = server(version);
        on_tokio(builder(version), |pool| {
            let server = &server;
            async move {
                let limit = Duration::from_millis(20);
                let layer = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, limit);
                let client = ServiceBuilder::new().layer(layer).service(pool.service());
                let response = client.oneshot(get(server.url("/slow"))).await;
                assert_eq!(response.expect("a response").status(), 504);
                assert_eq!(pool.status().active_requests, 0);
                let hello = pool.get(server.url("/gzip")).await.expect("a response");
                assert_eq!(hello.status(), 200);
            }
        });
    }
}
