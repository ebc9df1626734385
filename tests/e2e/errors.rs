//! Bad input, each with its own clear error, and nothing left open.
//!
//! Over real sockets. File descriptors are counted, and so the tests of this file take turns.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use httpcore::{
    Body, ConnectionPool, Error, ErrorKind, EventLoop, Timeouts,
    error::{ErrorPhase, Fault, RequestSent, TimeoutKind},
};
use socket2::{Domain, Socket, Type};

static TURN: Mutex<()> = Mutex::new(());

fn take_turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Sends one GET over a loop and a pool of its own, expects it to fail, and to leave nothing open.
fn error_of(url: &str, timeouts: Timeouts) -> Error {
    let before = open_files();
    let error = fail(url, timeouts);
    assert_closed(before, &error);
    error
}

/// Nothing is open that was not before. The thread which looks names up lets go of the loop a
/// moment after it has woken it, and so this looks more than once.
fn assert_closed(before: usize, error: &Error) {
    for _ in 0..100_000 {
        if open_files() == before {
            return;
        }
        thread::yield_now();
    }
    assert_eq!(open_files(), before, "left open after {error}");
}

fn fail(url: &str, timeouts: Timeouts) -> Error {
    let epoll = EventLoop::new().unwrap();
    let pool = ConnectionPool::builder()
        .timeouts(timeouts)
        .build(epoll.backend());
    epoll.block_on(async {
        match pool.get(url).await {
            Err(error) => error,
            Ok(response) => response.into_body().bytes(1 << 20).await.unwrap_err(),
        }
    })
}

/// The same, of a server for one connection, which reads a head, does what its argument says, and then
/// closes.
fn error_of_server(
    serve: impl FnOnce(&mut TcpStream) + Send + 'static,
    timeouts: Timeouts,
) -> Error {
    let before = open_files();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).unwrap();
        serve(&mut stream);
    });
    let error = fail(&url, timeouts);
    server.join().unwrap();
    assert_closed(before, &error);
    error
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[test]
fn a_malformed_url_is_named_as_such() {
    let _turn = take_turn();
    for url in [
        "http://a b/",
        "not a url",
        "/path/only",
        "http://",
        "http://h:99999/",
    ] {
        let error = error_of(url, Timeouts::default());
        assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{url}: {error}");
        assert_eq!(error.phase(), ErrorPhase::Request);
        assert_eq!(error.fault(), Fault::Caller);
    }
}

#[test]
fn a_host_that_is_not_ascii_or_has_a_zone_says_what_to_do_instead() {
    let _turn = take_turn();
    for (url, advice) in [
        ("http://b\u{fc}cher.example/", "xn--"),
        ("http://b%C3%BCcher.example/", "xn--"),
        ("http://[fe80::1%25eth0]/", "TcpOptions::interface"),
    ] {
        let error = error_of(url, Timeouts::default());
        assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{url}: {error}");
        assert!(error.to_string().contains(advice), "{url}: {error}");
    }
}

#[test]
fn an_unsupported_scheme_is_named() {
    let _turn = take_turn();
    let error = error_of("ftp://example.com/", Timeouts::default());
    assert_eq!(error.kind(), ErrorKind::UnsupportedScheme);
    assert!(error.to_string().contains("ftp"), "{error}");
}

#[test]
fn an_unknown_host_fails_while_resolving() {
    let _turn = take_turn();
    // RFC 6761 §6.4: `invalid` never resolves. The look-up's helper thread may hold files of the
    // resolver's own for a moment, and so it is started before anything is counted.
    let warm = std::net::ToSocketAddrs::to_socket_addrs(&("absent.invalid", 80));
    assert!(warm.is_err());
    let error = error_of("http://absent.invalid/", Timeouts::default());
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Resolve, ErrorPhase::Resolve)
    );
    assert!(error.is_connect() && error.is_retryable());
    assert!(error.to_string().contains("absent.invalid"), "{error}");
}

#[test]
fn a_refused_port_fails_while_connecting() {
    let _turn = take_turn();
    let addr = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let error = error_of(&format!("http://{addr}/"), Timeouts::default());
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Connect, ErrorPhase::Connect)
    );
    assert_eq!(error.sent(), RequestSent::None);
    let text = chain(&error);
    assert!(
        text.contains("refused") && text.contains(&addr.to_string()),
        "{text}"
    );
}

/// A port whose accept queue is full: the kernel does not answer further connection attempts.
fn silent_port() -> (Socket, Vec<Socket>, SocketAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let waiting = (0..4)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&addr.into());
            socket
        })
        .collect();
    (listener, waiting, addr)
}

#[test]
fn an_address_that_never_answers_meets_the_connect_timeout() {
    let _turn = take_turn();
    let (_listener, _waiting, addr) = silent_port();
    let error = error_of(
        &format!("http://{addr}/"),
        Timeouts::default().with_connect(Duration::from_millis(50)),
    );
    assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Connect));
    assert_eq!(error.phase(), ErrorPhase::Connect);
    assert!(error.is_timeout() && error.is_connect());
}

#[test]
fn the_total_timeout_ends_connecting_too() {
    let _turn = take_turn();
    let (_listener, _waiting, addr) = silent_port();
    let error = error_of(
        &format!("http://{addr}/"),
        Timeouts::default().with_total(Duration::from_millis(50)),
    );
    assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Total));
}

#[test]
fn a_server_that_says_nothing_meets_the_read_timeout() {
    let _turn = take_turn();
    let error = error_of_server(
        // Until the client has closed.
        |stream| drop(stream.read(&mut [0])),
        Timeouts::default().with_read(Duration::from_millis(50)),
    );
    assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Read));
    assert_eq!(
        (error.phase(), error.sent()),
        (ErrorPhase::Head, RequestSent::Full)
    );
}

#[test]
fn a_server_that_closes_early_is_told_from_one_that_talks_nonsense() {
    let _turn = take_turn();
    let error = error_of_server(|_| {}, Timeouts::default());
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::ConnectionClosed, ErrorPhase::Head)
    );
    assert!(!error.response_started());

    let error = error_of_server(
        |stream| {
            stream.write_all(b"\x15\x03\x01\x00\x02\x02\x46").unwrap();
            let _ = stream.read(&mut [0]);
        },
        Timeouts::default(),
    );
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Protocol, ErrorPhase::Head)
    );
    assert_eq!(error.fault(), Fault::Peer);

    let error = error_of_server(
        |stream| {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
            stream.write_all(head).unwrap();
        },
        Timeouts::default(),
    );
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::ConnectionClosed, ErrorPhase::Body)
    );
}

#[test]
fn no_password_of_a_url_stands_in_an_error() {
    let _turn = take_turn();
    let addr = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let error = error_of(&format!("http://user:s3cr3t@{addr}/"), Timeouts::default());
    assert!(!format!("{error:?} {}", chain(&error)).contains("s3cr3t"));
}

#[test]
fn a_get_outside_of_a_loop_says_what_is_missing() {
    let _turn = take_turn();
    let mut get = std::pin::pin!(httpcore::get("http://127.0.0.1:1/"));
    let request = http::Request::get("http://127.0.0.1:1/").body(()).unwrap();
    let mut request = std::pin::pin!(httpcore::request(request));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = get.as_mut().poll(&mut cx) else {
        panic!("it has nothing to wait for");
    };
    assert_eq!(error.kind(), ErrorKind::RuntimeShutdown);
    assert!(error.to_string().contains("block_on"), "{error}");
    let std::task::Poll::Ready(Err(error)) = request.as_mut().poll(&mut cx) else {
        panic!("it has nothing to wait for");
    };
    assert!(error.to_string().contains("httpcore::request"), "{error}");
}

#[test]
fn a_pool_that_was_closed_says_so() {
    let _turn = take_turn();
    let epoll = EventLoop::new().unwrap();
    let pool = ConnectionPool::new(epoll.backend());
    pool.close();
    let request = http::Request::get("http://127.0.0.1:1/")
        .body(Body::empty())
        .unwrap();
    let error = epoll.block_on(pool.request(request)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PoolClosed);
}

#[test]
fn a_loop_that_ends_under_a_request_is_named_and_no_network_is_blamed() {
    let _turn = take_turn();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let epoll = EventLoop::new().unwrap();
    let (handle, pool) = (epoll.handle(), ConnectionPool::new(epoll.backend()));
    let client = thread::spawn(move || handle.block_on(pool.get(url)).unwrap_err());
    let (mut stream, _) = listener.accept().unwrap();
    // The request is under way, and waits for its answer.
    let _ = stream.read(&mut [0; 1024]).unwrap();
    drop(epoll);
    let error = client.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::RuntimeShutdown, "{error:?}");
    assert_eq!(error.fault(), Fault::Local);
    assert!(!error.is_retryable());
}

#[test]
fn a_handshake_whose_loop_is_gone_says_so() {
    use httpcore::backend::TlsConnector;
    let _turn = take_turn();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let tls = httpcore_net_tls::RustlsConnector::builder()
        .build()
        .unwrap();
    for is_begun in [false, true] {
        let epoll = EventLoop::new().unwrap();
        let (handle, backend) = (epoll.handle(), epoll.backend());
        let connecting = backend.connect_tcp(address, &httpcore::config::TcpOptions::default());
        let stream = epoll.block_on(connecting).unwrap();
        let mut handshake = tls.handshake(stream, "127.0.0.1", &[]);
        if is_begun {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(handshake.as_mut().poll(&mut cx).is_pending());
        }
        drop(epoll);
        let error = handle.block_on(handshake).unwrap_err();
        assert!(
            httpcore_core_primitives::RuntimeShutdown::is_source_of(&error),
            "{error:?}"
        );
    }
}
