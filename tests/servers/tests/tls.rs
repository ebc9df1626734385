//! `https` against real servers, in both versions of TLS.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::fs;

use http::Request;
use httpcore::{EventLoop, tls::TlsVersion};
use httpcore_servers::{
    Authority, Server,
    client::{Answer, Client, trusting},
    require_nginx_tls, require_openssl,
};

const MIB: u64 = 1 << 20;

fn builder(authority: &Authority) -> httpcore::ConnectionPoolBuilder {
    trusting(authority, TlsVersion::Tls12, TlsVersion::Tls13).unwrap()
}

fn client(authority: &Authority) -> Client {
    Client::new(builder(authority)).unwrap()
}

fn get(client: &Client, server: &Server, path: &str) -> Answer {
    client.get(server.https_url(path)).unwrap()
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
        let client = client(&authority);
        for _ in 0..3 {
            let answer = get(&client, &nginx, "/hello.txt");
            assert_eq!(
                (answer.status(), &*answer.text()),
                (200, "Hello from nginx!\n")
            );
        }
        assert_eq!(get(&client, &nginx, "/chunked/mib").length, MIB + 5);
        assert_eq!(
            client.asker.handshakes(),
            [(name, false)],
            "one for all four"
        );
        client.asker.pool.close_idle();
        assert_eq!(get(&client, &nginx, "/kib").length, 1024);
        assert_eq!(client.asker.handshakes(), [(name, false), (name, true)]);
    }
}

#[test]
fn nginx_sends_and_takes_much() {
    let authority = Authority::new().unwrap();
    for (version, _, _) in VERSIONS {
        let Some(nginx) = require_nginx_tls(&authority, version) else {
            return;
        };
        let client = client(&authority);
        assert_eq!(get(&client, &nginx, "/256mib").length, 256 * MIB);
        let sent: Vec<u8> = (0..8 * MIB).map(|n| (n % 251) as u8).collect();
        let request = Request::put(nginx.https_url("/upload/much"));
        assert_eq!(client.send(request, sent.clone()).unwrap().status(), 201);
        assert!(fs::read(nginx.uploads().join("much")).unwrap() == sent);
        assert_eq!(client.asker.handshakes().len(), 1);
    }
}

#[test]
fn threads_that_wait_are_served_too() {
    let authority = Authority::new().unwrap();
    let Some(nginx) = require_nginx_tls(&authority, "TLSv1.3") else {
        return;
    };
    let pool = builder(&authority).build_blocking().unwrap();
    for path in ["/hello.txt", "/hello.txt", "/mib"] {
        let response = pool.get(nginx.https_url(path)).unwrap();
        let body = response.into_body().bytes(2 << 20).unwrap();
        assert!(body.len() == 18 || body.len() as u64 == MIB);
    }
    let status = pool.status();
    assert_eq!(status.connections.len(), 1, "{status}");
}

#[test]
fn server_with_an_unknown_issuer_is_rejected_by_both_forms() {
    let authority = Authority::new().unwrap();
    let Some(nginx) = require_nginx_tls(&authority, "TLSv1.3") else {
        return;
    };
    let url = nginx.https_url("/hello.txt");
    let error = httpcore::blocking::get(url.as_str()).unwrap_err();
    assert_eq!(error.kind(), httpcore::ErrorKind::Tls, "{error:?}");
    let error = EventLoop::new()
        .unwrap()
        .block_on(httpcore::get(url))
        .unwrap_err();
    assert_eq!(error.kind(), httpcore::ErrorKind::Tls, "{error:?}");
}

#[test]
fn tls_where_plain_http_is_spoken_is_said_to_be_just_that() {
    let Some(nginx) = httpcore_servers::require(httpcore_servers::Kind::Nginx) else {
        return;
    };
    let error = httpcore::blocking::get(nginx.https_url("/")).unwrap_err();
    assert!(error.to_string().contains("plain HTTP"), "{error}");
}

#[test]
fn openssl_agrees_that_the_second_session_is_the_first() {
    let authority = Authority::new().unwrap();
    for (_, version, name) in VERSIONS {
        let Some(openssl) = require_openssl(&authority, version) else {
            return;
        };
        let client = client(&authority);
        for (n, said) in ["New, TLSv1", "Reused, TLSv1"].into_iter().enumerate() {
            let answer = get(&client, &openssl, "/");
            let page = answer.text();
            assert_eq!(answer.status(), 200);
            assert!(page.contains(said), "{name} {n}: {page}");
        }
        assert_eq!(client.asker.handshakes(), [(name, false), (name, true)]);
    }
}
