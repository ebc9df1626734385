//! HTTP/2 with every server there is, by prior knowledge and over TLS.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{convert::Infallible, task::Poll};

use http::{HeaderMap, Request, Version};
use httpcore::{Body, Bytes, ConnectionPool, ConnectionPoolBuilder, tls::TlsVersion};
use httpcore_servers::{
    Authority, Door, Front, Server,
    client::{Answer, Client, Transfer, trusting},
};

const MIB: u64 = 1 << 20;

/// A way to speak to the server in front of a test.
#[derive(Clone, Copy, Debug)]
struct Way<'a>(Door<'a>);

impl Way<'_> {
    fn builder(self) -> ConnectionPoolBuilder {
        match self.0 {
            Door::Plain => ConnectionPool::builder().http1(false).http2(true),
            Door::Tls(authority) => {
                trusting(authority, TlsVersion::Tls12, TlsVersion::Tls13).unwrap()
            }
        }
    }

    fn client(self) -> Client {
        Client::new(self.builder()).unwrap()
    }

    fn url(self, server: &Server, path: &str) -> String {
        match self.0 {
            Door::Plain => server.url(path),
            Door::Tls(_) => server.https_url(path),
        }
    }

    fn transfer(self, method: &str, url: &str, size: u64, framing: &str) -> Transfer {
        let size = size.to_string();
        let mut arguments = vec![method, url, &size, framing, "--http2"];
        let root;
        if let Door::Tls(authority) = self.0 {
            root = authority.root_file().to_string_lossy().into_owned();
            arguments.extend(["--root", &root]);
        }
        let transfer = Transfer::run(env!("CARGO_BIN_EXE_transfer"), &arguments).unwrap();
        let peak = transfer.peak;
        assert!(peak < 24 << 10, "{method} {url}: {peak} KiB at the peak");
        transfer
    }
}

fn is_http2(answer: &Answer) {
    assert_eq!(
        (answer.status(), answer.head.version),
        (200, Version::HTTP_2)
    );
}

/// Bytes which tell where they belong.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

/// A body of unknown length, in pieces of this size.
fn pieces(bytes: &[u8], size: usize) -> Body {
    let mut pieces: std::collections::VecDeque<_> =
        bytes.chunks(size).map(Bytes::copy_from_slice).collect();
    Body::poll_fn(move |_| Poll::Ready(pieces.pop_front().map(Ok::<_, Infallible>)))
}

fn bodies_come_and_go(way: Way<'_>, server: &Server) {
    let client = way.client();
    let hello = client.get(way.url(server, "/hello")).unwrap();
    is_http2(&hello);
    assert!(hello.text().starts_with("Hello"), "{}", hello.text());
    let head = client
        .send(Request::head(way.url(server, "/hello")), ())
        .unwrap();
    assert_eq!((head.status(), head.length), (200, 0));
    let sent = pattern(1_000_000);
    for body in [
        Body::from(sent.clone()),
        pieces(&sent, 7_777),
        Body::empty(),
    ] {
        let expected: &[u8] = if body.is_empty() { &[] } else { &sent };
        let echo = client
            .send(Request::post(way.url(server, "/echo")), body)
            .unwrap();
        is_http2(&echo);
        assert!(echo.body == expected, "{} bytes came back", echo.length);
    }
    let missing = client.get(way.url(server, "/nowhere")).unwrap();
    assert_eq!(missing.status(), 404);
    assert_eq!(client.asker.pool.stats().opened, 1);
}

fn a_thousand_requests_share_a_connection(way: Way<'_>, server: &Server) {
    let client = way.client();
    let url = way.url(server, "/hello");
    client.many(1_000, 100, &url, is_http2).unwrap();
    let counters = client.asker.pool.stats();
    assert_eq!((counters.opened, counters.retried), (1, 0), "{counters:?}");
}

/// Aborted downloads take nothing from later requests on the same
/// connection: each of them fills a window before it is dropped, and two leave room for no more than
/// one. (Three that are kept and not read may stop every other.)
fn abandoned_downloads_leave_room(way: Way<'_>, server: &Server) {
    let client = way.client();
    let large = way.url(server, &format!("/bytes/{}", 256 * MIB));
    let pool = &client.asker.pool;
    client.epoll.block_on(async {
        for _ in 0..8 {
            let mut kept = Vec::new();
            for _ in 0..2 {
                let response = pool.get(large.as_str()).await.unwrap();
                let mut body = response.into_body();
                assert!(!body.chunk().await.unwrap().unwrap().is_empty());
                kept.push(body);
            }
        }
    });
    let hello = client.get(way.url(server, "/hello")).unwrap();
    is_http2(&hello);
    let echo = client.send(Request::post(way.url(server, "/echo")), pattern(1_000_000));
    assert!(echo.unwrap().body == pattern(1_000_000));
    let counters = pool.stats();
    assert_eq!((counters.opened, counters.retried), (1, 0), "{counters:?}");
}

fn large_bodies_pass_both_ways(way: Way<'_>, server: &Server, front: Front) {
    let large = 256 * MIB;
    let down = way.transfer(
        "GET",
        &way.url(server, &format!("/bytes/{large}")),
        0,
        "length",
    );
    assert_eq!((down.status, down.received), (200, large));
    let up = way.transfer("POST", &way.url(server, "/sink"), large, "chunked");
    assert_eq!(up.status, 200);
    if front == Front::Nghttpd {
        assert_eq!(up.received, large, "it sends back what it got");
    } else {
        assert!(up.said.contains(&large.to_string()), "{}", up.said);
    }
    println!("KiB at the peak: {} down, {} up", down.peak, up.peak);
}

fn trailers_arrive(way: Way<'_>, server: &Server, path: &str, name: &str, value: &str) {
    // Hypercorn sends them to those only who say that they want them (RFC 9110 §10.1.4).
    let request = Request::get(way.url(server, path)).header("te", "trailers");
    let answer = way.client().send(request, ()).unwrap();
    is_http2(&answer);
    let trailers: HeaderMap = answer.trailers.unwrap();
    assert_eq!(trailers[name], value, "{trailers:?}");
}

/// In both versions of TLS, and a second connection takes up the session of the first.
fn sessions_are_resumed(authority: &Authority, server: &Server) {
    for (version, name) in [
        (TlsVersion::Tls12, "TLS 1.2"),
        (TlsVersion::Tls13, "TLS 1.3"),
    ] {
        let client = Client::new(trusting(authority, version, version).unwrap()).unwrap();
        for _ in 0..2 {
            is_http2(&client.get(server.https_url("/hello")).unwrap());
            client.asker.pool.close_idle();
        }
        assert_eq!(client.asker.handshakes(), [(name, false), (name, true)]);
    }
}

fn speaks_http2(front: Front, is_tls: bool) {
    let authority = Authority::new().unwrap();
    let door = if is_tls {
        Door::Tls(&authority)
    } else {
        Door::Plain
    };
    let Some(server) = front.require(door) else {
        return;
    };
    let way = Way(door);
    bodies_come_and_go(way, &server);
    a_thousand_requests_share_a_connection(way, &server);
    if is_tls {
        // Not at first: h2o makes the keys of its tickets in a thread of its own, and gives none out
        // before that.
        sessions_are_resumed(&authority, &server);
    }
    abandoned_downloads_leave_room(way, &server);
    match front {
        Front::Node | Front::Hypercorn => {
            trailers_arrive(way, &server, "/trailers", "x-checksum", "1234");
        }
        Front::Nghttpd => trailers_arrive(way, &server, "/hello", "x-checksum", "1234"),
        Front::Apache | Front::Caddy | Front::Haproxy => {
            trailers_arrive(way, &server, "/stream/3?trailers", "x-count", "3");
        }
        // They do not pass on what the origin sends.
        Front::H2o | Front::Nginx => {}
    }
    large_bodies_pass_both_ways(way, &server, front);
}

macro_rules! servers {
    ($($plain:ident $tls:ident: $front:ident,)*) => {
        $(#[test]
        fn $plain() {
            speaks_http2(Front::$front, false);
        }

        #[test]
        fn $tls() {
            speaks_http2(Front::$front, true);
        })*
    };
}

servers! {
    apache_speaks_http2 apache_speaks_http2_over_tls: Apache,
    caddy_speaks_http2 caddy_speaks_http2_over_tls: Caddy,
    h2o_speaks_http2 h2o_speaks_http2_over_tls: H2o,
    haproxy_speaks_http2 haproxy_speaks_http2_over_tls: Haproxy,
    hypercorn_speaks_http2 hypercorn_speaks_http2_over_tls: Hypercorn,
    nghttpd_speaks_http2 nghttpd_speaks_http2_over_tls: Nghttpd,
    nginx_speaks_http2 nginx_speaks_http2_over_tls: Nginx,
    node_speaks_http2 node_speaks_http2_over_tls: Node,
}
