//! The body of a blocking response, read in part.

#![cfg(feature = "epoll")]

use std::io::Read;

use httpcore::{Body, Kind, Sent, blocking, http};

#[test]
fn a_body_that_is_too_large_does_not_make_a_post_retryable() {
    let origin = httpcore_origin::Origin::start().unwrap();
    let pool = blocking::ConnectionPool::new().unwrap();
    let post = http::Request::post(origin.url("/echo"))
        .body(Body::from("hello, world"))
        .unwrap();
    let mut body = pool.request(post).unwrap().into_body();
    body.read_exact(&mut [0; 2]).unwrap();
    let error = body.bytes(5).unwrap_err();
    assert_eq!((error.kind(), error.sent()), (Kind::TooLarge, Sent::All));
    assert!(error.response_started() && !error.is_retryable());
}
