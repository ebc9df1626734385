//! Bodies of blocking responses that are read in part.

#![cfg(feature = "epoll")]
#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
    time::Duration,
};

use httpcore::{Body, Error, ErrorKind, Timeouts, blocking, error::RequestSent, http};

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
    assert_eq!(
        (error.kind(), error.sent()),
        (ErrorKind::TooLarge, RequestSent::Full)
    );
    assert!(error.response_started() && !error.is_retryable());
}

#[test]
fn a_single_request_of_any_method_needs_no_pool() {
    let origin = httpcore_origin::Origin::start().unwrap();
    let post = http::Request::post(origin.url("/echo"))
        .body("hello, world")
        .unwrap();
    let body = blocking::request(post).unwrap().into_body();
    assert_eq!(body.bytes(100).unwrap(), "hello, world");
}

/// Starts a server for one connection, which reads a request, sends `response`, and then closes; or,
/// if `stays`, waits until the client closes.
fn serve(response: &'static str, stays: bool) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(response.as_bytes()).unwrap();
        while stays && stream.read(&mut [0; 1024]).is_ok_and(|size| size > 0) {}
    });
    (url, server)
}

#[test]
fn a_truncated_body_fails_every_read() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n";
    for (response, stays, io_kind) in [
        (head, false, io::ErrorKind::UnexpectedEof),
        (head, true, io::ErrorKind::TimedOut),
        (broken, true, io::ErrorKind::InvalidData),
    ] {
        let (url, server) = serve(response, stays);
        let limits = Timeouts::default().with_read(Duration::from_millis(50));
        let pool = httpcore::ConnectionPool::builder().timeouts(limits);
        let pool = pool.build_blocking().unwrap();
        let mut body = pool.get(url).unwrap().into_body();
        let mut text = Vec::new();
        let first = body.read_to_end(&mut text).unwrap_err();
        assert_eq!((first.kind(), &text[..]), (io_kind, &b"hello"[..]));
        assert!(first.get_ref().unwrap().is::<Error>());
        for _ in 0..2 {
            let again = body.read(&mut [0; 8]).unwrap_err();
            assert_eq!(
                (again.kind(), again.to_string()),
                (io_kind, first.to_string())
            );
        }
        assert!(matches!(body.chunk(), Some(Err(_))));
        let error = body.bytes(100).unwrap_err();
        assert_eq!(error.to_string(), first.to_string());
        server.join().unwrap();
    }
}
