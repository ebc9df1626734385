//! HTTP/1.1 over TLS with every server that speaks it: both versions, connections that are kept,
//! sessions that are resumed, and large bodies both ways.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use http::{Request, Version};
use httpcore::tls::TlsVersion;
use httpcore_servers::{
    Authority, Door, Front,
    client::{Client, Transfer, trusting},
    require_openssl_files,
};

const MIB: u64 = 1 << 20;
const VERSIONS: [(TlsVersion, &str); 2] = [
    (TlsVersion::Tls12, "TLS 1.2"),
    (TlsVersion::Tls13, "TLS 1.3"),
];

fn transfer(authority: &Authority, method: &str, url: &str, size: u64, framing: &str) -> Transfer {
    let root = authority.root_file().to_string_lossy();
    let arguments = [method, url, &size.to_string(), framing, "--root", &root];
    let transfer = Transfer::run(env!("CARGO_BIN_EXE_transfer"), &arguments).unwrap();
    let peak = transfer.peak;
    assert!(peak < 16 << 10, "{method} {url}: {peak} KiB at the peak");
    transfer
}

/// Small requests share a connection; a second connection resumes the session of the first, and
/// the server says so too.
fn sessions_are_resumed(front: Front, authority: &Authority, base: &str) {
    for (version, name) in VERSIONS {
        let builder = trusting(authority, version, version).unwrap();
        let client = Client::new(builder.http2(false)).unwrap();
        for _ in 0..3 {
            let answer = client.get(format!("{base}/hello")).unwrap();
            assert_eq!(
                (answer.status(), answer.head.version),
                (200, Version::HTTP_11)
            );
            assert!(answer.text().starts_with("Hello"), "{}", answer.text());
            if let Some((new, _)) = front.says_resumed() {
                assert_eq!(answer.field("x-resumed"), new, "{name}");
            }
        }
        // Go's server for HTTP/1.1 cannot answer while it is still being sent a body: Caddy then
        // aborts the response now and then, with any client. Up to 64 KiB are echoed at their end.
        let size = match front {
            Front::Caddy => 60_000,
            _ => 1_000_000,
        };
        let sent: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let request = Request::post(format!("{base}/echo"));
        let echo = client.send(request, sent.clone()).unwrap();
        assert!(echo.body == sent, "{front:?}: {} bytes", echo.length);
        assert_eq!(
            client.asker.handshakes(),
            [(name, false)],
            "one for all four"
        );

        client.asker.pool.close_idle();
        let answer = client.get(format!("{base}/hello")).unwrap();
        assert_eq!(
            client.asker.handshakes(),
            [(name, false), (name, true)],
            "{front:?}"
        );
        if let Some((_, resumed)) = front.says_resumed() {
            assert_eq!(answer.field("x-resumed"), resumed, "{name}");
        }
    }
}

fn large_bodies_pass_both_ways(authority: &Authority, base: &str) {
    let mut peaks = Vec::new();
    let large = 256 * MIB;
    let down = transfer(
        authority,
        "GET",
        &format!("{base}/bytes/{large}"),
        0,
        "length",
    );
    assert_eq!((down.status, down.received), (200, large));
    peaks.push(down.peak);
    for framing in ["length", "chunked"] {
        let up = transfer(authority, "POST", &format!("{base}/sink"), large, framing);
        assert_eq!(up.status, 200);
        assert!(up.said.contains(&large.to_string()), "{}", up.said);
        peaks.push(up.peak);
    }
    println!("KiB at the peak: {peaks:?}");
}

fn speaks_https(front: Front) {
    let authority = Authority::new().unwrap();
    let Some(server) = front.require(Door::Tls(&authority)) else {
        return;
    };
    let base = server.https_url("");
    // First, since h2o makes the keys of its tickets in a thread of its own, and gives none out
    // before that.
    large_bodies_pass_both_ways(&authority, &base);
    sessions_are_resumed(front, &authority, &base);
}

macro_rules! servers {
    ($($test:ident: $front:ident,)*) => {
        $(#[test]
        fn $test() {
            speaks_https(Front::$front);
        })*
    };
}

servers! {
    apache_keeps_resumes_and_takes_much: Apache,
    caddy_keeps_resumes_and_takes_much: Caddy,
    h2o_keeps_resumes_and_takes_much: H2o,
    haproxy_keeps_resumes_and_takes_much: Haproxy,
    hypercorn_keeps_resumes_and_takes_much: Hypercorn,
    nginx_keeps_resumes_and_takes_much: Nginx,
    node_keeps_resumes_and_takes_much: Node,
}

#[test]
fn a_large_file_of_openssl_ends_with_its_connection() {
    let authority = Authority::new().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(openssl) = require_openssl_files(&authority, version) else {
            return;
        };
        let down = transfer(
            &authority,
            "GET",
            &openssl.https_url("/256mib"),
            0,
            "length",
        );
        assert_eq!((down.status, down.received), (200, 256 * MIB));
    }
}
