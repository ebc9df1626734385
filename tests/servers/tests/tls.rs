//! `https` against real servers, in both versions of TLS.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use httpcore::{
    Body, BoxError, Bytes, ConnectionPool, Epoll, Event, Timeouts, TlsInfo, Trace,
    tls::RustlsConnector,
};
use httpcore_servers::{Authority, Server, require_nginx_tls, require_openssl};

/// How long a test waits for what must come: a bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

fn builder(authority: &Authority) -> httpcore::Builder {
    let connector = RustlsConnector::builder()
        .root_pem(authority.root())
        .unwrap()
        .build()
        .unwrap();
    ConnectionPool::builder()
        .timeouts(Timeouts::default().with_total(PATIENCE))
        .tls(Arc::new(connector))
}

/// A pool on a loop of its own, and the handshakes it has made.
struct Client {
    epoll: Epoll,
    pool: ConnectionPool,
    handshakes: Arc<Mutex<Vec<TlsInfo>>>,
}

impl Client {
    fn new(authority: &Authority) -> Self {
        let epoll = Epoll::new().unwrap();
        Client {
            pool: builder(authority).build(epoll.backend()),
            epoll,
            handshakes: Arc::default(),
        }
    }

    /// Sends a request; the status, and how much of the body was what.
    fn send(&self, method: &str, url: String, body: impl Into<Body>) -> (u16, Bytes, u64) {
        let handshakes = self.handshakes.clone();
        let request = http::Request::builder()
            .method(method)
            .uri(url)
            .extension(Trace::to(move |_: Instant, event: &Event<'_>| {
                if let Event::TlsEstablished { info } = event {
                    handshakes.lock().unwrap().push((*info).clone());
                }
            }))
            .body(body.into())
            .unwrap();
        self.epoll
            .block_on(async {
                let mut response = self.pool.request(request).await?;
                let (mut first, mut length) = (Bytes::new(), 0);
                while let Some(piece) = response.body_mut().chunk().await {
                    let piece = piece?;
                    length += piece.len() as u64;
                    if first.is_empty() {
                        first = piece;
                    }
                }
                Ok::<_, BoxError>((response.status().as_u16(), first, length))
            })
            .unwrap()
    }

    fn get(&self, server: &Server, path: &str) -> (u16, Bytes, u64) {
        self.send("GET", server.https_url(path), Body::empty())
    }

    /// Version and whether it was resumed, of each handshake.
    fn handshakes(&self) -> Vec<(&'static str, bool)> {
        let handshakes = self.handshakes.lock().unwrap();
        handshakes
            .iter()
            .map(|info| (info.version.unwrap(), info.resumed))
            .collect()
    }
}

const VERSIONS: [(&str, &str, &str); 2] = [
    ("TLSv1.2", "-tls1_2", "TLS 1.2"),
    ("TLSv1.3", "-tls1_3", "TLS 1.3"),
];

#[test]
fn nginx_serves_and_keeps_connections_and_sessions() {
    let authority = Authority::new().unwrap();
    for (version, _, name) in VERSIONS {
        let Some(nginx) = require_nginx_tls(&authority, version) else {
            return;
        };
        let client = Client::new(&authority);
        for _ in 0..3 {
            let (status, body, _) = client.get(&nginx, "/hello.txt");
            assert_eq!((status, &body[..]), (200, &b"Hello from nginx!\n"[..]));
        }
        assert_eq!(client.get(&nginx, "/chunked/mib").2, MIB + 5);
        assert_eq!(client.handshakes(), [(name, false)], "one for all four");
        client.pool.close_idle();
        assert_eq!(client.get(&nginx, "/kib").2, 1024);
        assert_eq!(client.handshakes(), [(name, false), (name, true)]);
    }
}

#[test]
fn nginx_sends_and_takes_much() {
    let authority = Authority::new().unwrap();
    for (version, _, _) in VERSIONS {
        let Some(nginx) = require_nginx_tls(&authority, version) else {
            return;
        };
        let client = Client::new(&authority);
        assert_eq!(client.get(&nginx, "/256mib").2, 256 * MIB);
        let sent: Vec<u8> = (0..8 * MIB).map(|n| (n % 251) as u8).collect();
        let url = nginx.https_url("/upload/much");
        assert_eq!(client.send("PUT", url, sent.clone()).0, 201);
        assert!(fs::read(nginx.uploads().join("much")).unwrap() == sent);
        assert_eq!(client.handshakes().len(), 1);
    }
}

#[test]
fn threads_that_wait_are_served_too() {
    let authority = Authority::new().unwrap();
    let Some(nginx) = require_nginx_tls(&authority, "TLSv1.3") else {
        return;
    };
    let pool = httpcore::blocking::ConnectionPool::from_builder(builder(&authority)).unwrap();
    for path in ["/hello.txt", "/hello.txt", "/mib"] {
        let response = pool.get(nginx.https_url(path)).unwrap();
        let body = response.into_body().bytes(2 << 20).unwrap();
        assert!(body.len() == 18 || body.len() as u64 == MIB);
    }
    let status = pool.status();
    assert_eq!(status.connections.len(), 1, "{status}");
}

#[test]
fn a_server_of_nobody_we_know_is_refused_by_both_forms() {
    let authority = Authority::new().unwrap();
    let Some(nginx) = require_nginx_tls(&authority, "TLSv1.3") else {
        return;
    };
    let url = nginx.https_url("/hello.txt");
    let error = httpcore::blocking::get(url.as_str()).unwrap_err();
    assert_eq!(error.kind(), httpcore::Kind::Tls, "{error:?}");
    let error = Epoll::new()
        .unwrap()
        .block_on(httpcore::get(url))
        .unwrap_err();
    assert_eq!(error.kind(), httpcore::Kind::Tls, "{error:?}");
}

#[test]
fn tls_where_plain_http_is_spoken_is_said_to_be_just_that() {
    let Some(nginx) = httpcore_servers::require(httpcore_servers::Kind::Nginx) else {
        return;
    };
    let error = httpcore::blocking::get(nginx.https_url("/")).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("plain HTTP"), "{source}");
}

#[test]
fn openssl_agrees_that_the_second_session_is_the_first() {
    let authority = Authority::new().unwrap();
    for (_, version, name) in VERSIONS {
        let Some(openssl) = require_openssl(&authority, version) else {
            return;
        };
        let client = Client::new(&authority);
        for (n, said) in ["New, TLSv1", "Reused, TLSv1"].into_iter().enumerate() {
            let (status, page, _) = client.get(&openssl, "/");
            let page = String::from_utf8_lossy(&page).into_owned();
            assert_eq!(status, 200);
            assert!(page.contains(said), "{name} {n}: {page}");
        }
        assert_eq!(client.handshakes(), [(name, false), (name, true)]);
    }
}
