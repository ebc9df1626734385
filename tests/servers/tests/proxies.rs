//! Real proxies: forwarding, tunnels, SOCKS, TLS and HTTP/2 to the proxy, Digest, one behind another, and the
//! PROXY protocol.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use digest_auth::{AuthContext, HttpMethod};
use http::{HeaderValue, Request, Version};
use httpcore::{
    ConnectionPool,
    proxy::{Addresses, Credentials, Proxy, ProxyError, ProxyHeader, ProxyProtocol},
    sse::Subscription,
    tls::{RustlsConnector, TlsVersion},
};
use httpcore_core_primitives::{
    ConnectionPolicy, Error, ErrorKind, ErrorPhase, RequestSent, TlsOverride,
};
use httpcore_origin::{Origin, TlsDoor};
use httpcore_servers::{
    Authority, Door, Front, Server,
    client::{Answer, Client, Transfer, trusting},
    forward::{
        Forward, PASSWORD, USER, require_accept_proxy, require_forward, require_mitmproxy,
        require_nghttpx, require_privoxy, require_stunnel,
    },
};

const MIB_64: u64 = 64 << 20;
/// Number of requests at once.
const AT_ONCE: usize = 64;
/// Number of requests in a row.
const IN_A_ROW: usize = 1_000;

fn at(protocol: ProxyProtocol, server: &Server) -> Proxy {
    let addr = server.addr();
    Proxy::new(protocol, &addr.ip().to_string(), addr.port()).unwrap()
}

fn known(proxy: Proxy) -> Proxy {
    proxy
        .with_credentials(Credentials::new(USER, PASSWORD))
        .unwrap()
}

/// Everything that works without a proxy, through `proxy`; it forwards, or there is a tunnel.
fn works(proxy: &Proxy) {
    let mut origin = Origin::start().unwrap();
    let door = origin.listen_tls().unwrap();
    works_before(&origin, &door, door.certificate(), proxy);
}

/// The same before this origin, whose TLS, or what stands for it, `root` vouches for.
fn works_before(origin: &Origin, door: &TlsDoor, root: &str, proxy: &Proxy) {
    let connector = RustlsConnector::builder().root_pem(root).unwrap();
    let builder = ConnectionPool::builder().tls(Arc::new(connector.build().unwrap()));
    let client = Client::new(builder.proxy(proxy.clone())).unwrap();
    let secure = |path: &str| format!("https://localhost:{}{path}", door.addr().port());
    for url in [origin.url("/hello"), secure("/hello")] {
        let answer = client.get(&*url).unwrap();
        assert_eq!(
            (answer.status(), &*answer.text()),
            (200, "Hello, world!\n"),
            "{url}"
        );
    }
    for echo in [origin.url("/echo"), secure("/echo")] {
        let answer = client.send(Request::post(&echo), "body").unwrap();
        assert_eq!(answer.text(), "body", "{echo}");
    }
    let url = origin.url("/hello");
    let done = Arc::new(AtomicUsize::new(0));
    client.epoll.block_on(async {
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (pool, url, done) = (client.asker.pool.clone(), url.clone(), done.clone());
                client.epoll.spawn(async move {
                    let response = pool.get(url).await.unwrap();
                    let body = response.into_body().bytes(100).await.unwrap();
                    assert_eq!(body, "Hello, world!\n");
                    done.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
    assert_eq!(done.load(Ordering::Relaxed), AT_ONCE);

    let uri: http::Uri = origin.url("/echo").replace("http:", "ws:").parse().unwrap();
    client.epoll.block_on(async {
        let handshake = httpcore::ws::Handshake::new(uri);
        let mut socket = client.asker.pool.websocket(handshake).await.unwrap();
        // A text frame with a mask of zeros, and the echo without one (RFC 6455 §5.2).
        socket
            .stream
            .write_all(b"\x81\x82\0\0\0\0hi")
            .await
            .unwrap();
        let mut echo = bytes::BytesMut::with_capacity(64);
        while echo.len() < 4 {
            assert!(socket.stream.read(&mut echo).await.unwrap() > 0);
        }
        assert_eq!(&echo[..], b"\x81\x02hi");
    });
    let uri: http::Uri = origin.url("/events/3").parse().unwrap();
    let data = client.epoll.block_on(async {
        let mut events = client.asker.pool.events(Subscription::new(uri));
        let mut data = Vec::new();
        while data.len() < 3 {
            data.push(events.event().await.unwrap().unwrap().data);
        }
        data
    });
    assert_eq!(data.len(), 3, "{data:?}");
}

/// 1,000 requests in a row along one connection, or as few as the proxy allows, and 64 MiB both ways within 24 MiB of
/// memory. `options` describe the proxy to the process that carries them.
fn carries_much(proxy: &Proxy, options: &[&str]) {
    let origin = Origin::start().unwrap();
    let client = Client::new(ConnectionPool::builder().proxy(proxy.clone())).unwrap();
    let hello = |answer: &Answer| assert_eq!(answer.text(), "Hello, world!\n");
    client
        .many(IN_A_ROW, 1, &origin.url("/hello"), hello)
        .unwrap();
    let requests = client.asker.pool.stats();
    let connections = requests.opened;
    assert!(
        connections <= 50,
        "{connections} connections for {IN_A_ROW} requests"
    );

    let transfer = |method: &str, path: &str, size: &str| {
        let url = origin.url(path);
        let mut arguments = vec![method, &url, size, "length"];
        arguments.extend(options);
        let transfer = Transfer::run(env!("CARGO_BIN_EXE_transfer"), &arguments).unwrap();
        let peak = transfer.peak;
        println!("{options:?}: {peak} KiB at the peak of {method}");
        assert!(
            peak < 24 << 10,
            "{options:?}: {peak} KiB at the peak of {method}"
        );
        transfer
    };
    let down = transfer("GET", &format!("/bytes/{MIB_64}"), "0");
    assert_eq!((down.status, down.received), (200, MIB_64));
    let up = transfer("POST", "/sink", &MIB_64.to_string());
    let counted = format!("\"bytes\": {MIB_64},");
    assert!(up.said.contains(&counted), "{}", up.said);
}

/// A proxy that is killed ends what is on its way, and cannot be connected to.
fn ends_with(proxy: &Proxy, server: Server) {
    let origin = Origin::start().unwrap();
    let client = Client::new(ConnectionPool::builder().proxy(proxy.clone())).unwrap();
    let pool = client.asker.pool.clone();
    client.epoll.block_on(async {
        let drip = origin.url("/drip/1000?ms=20");
        let mut response = pool.get(drip).await.unwrap();
        assert!(response.body_mut().chunk().await.unwrap().is_ok());
        drop(server);
        let error = loop {
            match response.body_mut().chunk().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("the body ended though its proxy was killed"),
            }
        };
        assert!(
            matches!(
                error.kind(),
                ErrorKind::ConnectionClosed | ErrorKind::Network
            ),
            "{error:?}"
        );
        let error = pool.get(origin.url("/hello")).await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        assert_eq!(error.sent(), RequestSent::None, "{error:?}");
    });
}

/// Returns the URL of a proxy with its credentials, for [`Transfer`].
fn url_of(proxy: &Proxy) -> String {
    let text = proxy.to_string();
    match (proxy.credentials(), text.split_once("://")) {
        (Some(known), Some((scheme, rest))) => {
            format!("{scheme}://{}:{}@{rest}", known.user(), known.password())
        }
        _ => text,
    }
}

/// The error of a request to a port where nothing listens, through a tunnel.
fn refused(proxy: &Proxy) -> Error {
    let proxy = proxy.clone().with_tunnel_for_http(true);
    let client = Client::new(ConnectionPool::builder().proxy(proxy)).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", taken.local_addr().unwrap());
    drop(taken);
    let error = client.get(url).unwrap_err();
    *error.downcast::<Error>().unwrap()
}

/// A target that refuses is a refusal of the proxy.
fn refuses(proxy: &Proxy) {
    let error = refused(proxy);
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Proxy, ErrorPhase::Proxy),
        "{error:?}"
    );
    let source = ProxyError::source_of(&error).unwrap();
    match proxy.protocol().is_socks() {
        true => assert!(matches!(source, ProxyError::SocksRefused(_)), "{source:?}"),
        false => assert!(
            source.refusal().unwrap().status.is_server_error(),
            "{source:?}"
        ),
    }
}

#[test]
fn squid_forwards_and_tunnels() {
    let Some(squid) = require_forward(Forward::Squid) else {
        return;
    };
    let proxy = at(ProxyProtocol::Http, &squid);
    works(&proxy);
    works(&proxy.clone().with_tunnel_for_http(true));
    refuses(&proxy);
    carries_much(&proxy, &["--proxy", &url_of(&proxy)]);
    let tunnel = proxy.clone().with_tunnel_for_http(true);
    carries_much(&tunnel, &["--proxy", &url_of(&proxy), "--tunnel"]);
    ends_with(&tunnel, squid);
}

#[test]
fn squid_takes_digest_through_the_hook() {
    let Some(squid) = require_forward(Forward::SquidDigest) else {
        return;
    };
    let bare = at(ProxyProtocol::Http, &squid).with_tunnel_for_http(true);
    let calls = Arc::new(AtomicUsize::new(0));
    let digest = |password: &'static str| {
        let calls = calls.clone();
        bare.clone().with_authentication(move |challenge| {
            calls.fetch_add(1, Ordering::Relaxed);
            let value = challenge.values().next()?.to_str().ok()?;
            let mut prompt = digest_auth::parse(value).ok()?;
            let context = AuthContext::new_with_method(
                USER,
                password,
                challenge.target,
                None::<&[u8]>,
                HttpMethod::from(challenge.method.as_str().to_owned()),
            );
            let answer = prompt.respond(&context).ok()?;
            HeaderValue::try_from(answer.to_string()).ok()
        })
    };
    works(&digest(PASSWORD));
    refuses(&digest(PASSWORD));
    assert!(calls.load(Ordering::Relaxed) > 0);
    // Requests that are forwarded, where the nonce is asked for anew each time.
    let origin = Origin::start().unwrap();
    let forward = digest(PASSWORD).with_tunnel_for_http(false);
    let client = Client::new(ConnectionPool::builder().proxy(forward)).unwrap();
    for _ in 0..2 {
        let answer = client
            .send(Request::post(origin.url("/echo")), "body")
            .unwrap();
        assert_eq!((answer.status(), &*answer.text()), (200, "body"));
    }
    assert_eq!(client.asker.pool.stats().opened, 1);
    let wrong = digest("wrong").with_tunnel_for_http(false);
    let client = Client::new(ConnectionPool::builder().proxy(wrong)).unwrap();
    assert_eq!(client.get(origin.url("/hello")).unwrap().status(), 407);
    for proxy in [bare.clone(), digest("wrong")] {
        let error = refused(&proxy);
        let refusal = ProxyError::source_of(&error).and_then(ProxyError::refusal);
        assert_eq!(refusal.unwrap().status, 407, "{error:?}");
    }
    ends_with(&digest(PASSWORD), squid);
}

#[test]
fn tinyproxy_takes_basic() {
    let Some(tinyproxy) = require_forward(Forward::Tinyproxy) else {
        return;
    };
    let proxy = known(at(ProxyProtocol::Http, &tinyproxy));
    works(&proxy);
    works(&proxy.clone().with_tunnel_for_http(true));
    refuses(&proxy);
    let tunnel = proxy.clone().with_tunnel_for_http(true);
    carries_much(&tunnel, &["--proxy", &url_of(&proxy), "--tunnel"]);
    let error = refused(&at(ProxyProtocol::Http, &tinyproxy));
    let refusal = ProxyError::source_of(&error).and_then(ProxyError::refusal);
    assert_eq!(refusal.unwrap().status, 407, "{error:?}");
    ends_with(&tunnel, tinyproxy);
}

#[test]
fn dante_speaks_socks_4_and_5() {
    let Some(dante) = require_forward(Forward::Dante) else {
        return;
    };
    for protocol in [
        ProxyProtocol::Socks4,
        ProxyProtocol::Socks5,
        ProxyProtocol::Socks5h,
    ] {
        let proxy = at(protocol, &dante);
        works(&proxy);
        refuses(&proxy);
    }
    let proxy = at(ProxyProtocol::Socks5, &dante);
    carries_much(&proxy, &["--proxy", &url_of(&proxy)]);
    ends_with(&proxy, dante);
}

#[test]
fn microsocks_takes_a_password() {
    let Some(microsocks) = require_forward(Forward::Microsocks) else {
        return;
    };
    let proxy = known(at(ProxyProtocol::Socks5h, &microsocks));
    works(&proxy);
    refuses(&proxy);
    let wrong = at(ProxyProtocol::Socks5h, &microsocks)
        .with_credentials(Credentials::new(USER, "wrong"))
        .unwrap();
    let error = refused(&wrong);
    assert!(
        matches!(
            ProxyError::source_of(&error),
            Some(ProxyError::AuthenticationFailed)
        ),
        "{error:?}"
    );
    carries_much(&proxy, &["--proxy", &url_of(&proxy)]);
    ends_with(&proxy, microsocks);
}

#[test]
fn privoxy_passes_on_to_dante_and_so_does_a_chain_of_ours() {
    let Some(dante) = require_forward(Forward::Dante) else {
        return;
    };
    let Some(privoxy) = require_privoxy(&dante) else {
        return;
    };
    let tunnel = at(ProxyProtocol::Http, &privoxy).with_tunnel_for_http(true);
    works(&tunnel);
    refuses(&tunnel);
    carries_much(&tunnel, &["--proxy", &url_of(&tunnel), "--tunnel"]);
    ends_with(&tunnel, privoxy);
    let Some(squid) = require_forward(Forward::Squid) else {
        return;
    };
    let chain = at(ProxyProtocol::Http, &squid).through(at(ProxyProtocol::Socks5, &dante));
    let chain = chain.unwrap();
    works(&chain);
    refuses(&chain);
    ends_with(&chain, squid);
}

#[test]
fn stunnel_takes_tls_before_squid() {
    let Some(squid) = require_forward(Forward::Squid) else {
        return;
    };
    let authority = Authority::new().unwrap();
    let Some(stunnel) = require_stunnel(&authority, &squid) else {
        return;
    };
    let untrusted = at(ProxyProtocol::Https, &stunnel);
    let proxy = untrusted.clone().with_tls(roots_of(authority.root()));
    works(&proxy);
    works(&proxy.clone().with_tunnel_for_http(true));
    refuses(&proxy);
    assert_eq!(refused(&untrusted).kind(), ErrorKind::Tls);
    let root = authority.root_file().to_string_lossy();
    let tunnel = proxy.clone().with_tunnel_for_http(true);
    let url = url_of(&proxy);
    carries_much(
        &tunnel,
        &["--proxy", &url, "--proxy-root", &root, "--tunnel"],
    );
    ends_with(&tunnel, stunnel);
}

fn roots_of(root: &str) -> TlsOverride {
    let roots = RustlsConnector::builder().root_pem(root).unwrap();
    TlsOverride::new(Arc::new(roots.build().unwrap()))
}

#[test]
fn nghttpx_carries_tunnels_on_one_http2_connection() {
    let Some(squid) = require_forward(Forward::Squid) else {
        return;
    };
    let authority = Authority::new().unwrap();
    let Some(nghttpx) = require_nghttpx(&authority, &squid) else {
        return;
    };
    let proxy = at(ProxyProtocol::Https, &nghttpx).with_tls(roots_of(authority.root()));
    let tunnel = proxy.clone().with_tunnel_for_http(true);
    works(&proxy);
    works(&tunnel);
    refuses(&proxy);
    let root = authority.root_file().to_string_lossy();
    let url = url_of(&proxy);
    carries_much(&proxy, &["--proxy", &url, "--proxy-root", &root]);
    carries_much(
        &tunnel,
        &["--proxy", &url, "--proxy-root", &root, "--tunnel"],
    );

    // Each request has a tunnel of its own.
    const TUNNELS: usize = 1_000;
    let origin = Origin::start().unwrap();
    let builder = ConnectionPool::builder().proxy(tunnel.clone());
    let client = Client::new(builder.max_connections(50)).unwrap();
    let (url, pool) = (origin.url("/hello"), client.asker.pool.clone());
    let begun = Arc::new(AtomicUsize::new(0));
    client.epoll.block_on(async {
        let workers: Vec<_> = (0..50)
            .map(|_| {
                let (pool, url, begun) = (pool.clone(), url.clone(), begun.clone());
                client.epoll.spawn(async move {
                    while begun.fetch_add(1, Ordering::Relaxed) < TUNNELS {
                        let policy = ConnectionPolicy::default();
                        let policy = policy.with_new_connection().with_close_after();
                        let request = Request::get(&url).extension(policy).body(()).unwrap();
                        let response = pool.request(request).await.unwrap();
                        let body = response.into_body().bytes(100).await.unwrap();
                        assert_eq!(body, "Hello, world!\n");
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await;
        }
    });
    assert_eq!(pool.stats().opened, TUNNELS as u64);
    let status = pool.proxy_status().unwrap();
    let [connection] = &status.connections[..] else {
        panic!("{status:#}")
    };
    assert_eq!(connection.version, Some(Version::HTTP_2));
    assert!(connection.requests >= TUNNELS as u64, "{status:#}");
    ends_with(&tunnel, nghttpx);
}

#[test]
fn mitmproxy_is_trusted_and_speaks_http2_inside() {
    let mut origin = Origin::start().unwrap();
    let door = origin.listen_tls().unwrap();
    let Some((mitmproxy, root)) = require_mitmproxy(door.certificate()) else {
        return;
    };
    let proxy = at(ProxyProtocol::Http, &mitmproxy);
    works_before(&origin, &door, &root, &proxy);
    refuses(&proxy);
    carries_much(&proxy, &["--proxy", &url_of(&proxy)]);
    ends_with(&proxy, mitmproxy);

    // It speaks HTTP/2 to its client where the origin does.
    let authority = Authority::new().unwrap();
    let Some(nghttpd) = Front::Nghttpd.require(Door::Tls(&authority)) else {
        return;
    };
    let Some((mitmproxy, root)) = require_mitmproxy(authority.root()) else {
        return;
    };
    let connector = RustlsConnector::builder().root_pem(&root).unwrap();
    let builder = ConnectionPool::builder().tls(Arc::new(connector.build().unwrap()));
    let proxy = at(ProxyProtocol::Http, &mitmproxy);
    let client = Client::new(builder.proxy(proxy)).unwrap();
    let url = nghttpd.https_url("/hello");
    for _ in 0..2 {
        let answer = client.get(&*url).unwrap();
        assert_eq!(
            (answer.status(), &*answer.text()),
            (200, "Hello from nghttpd!\n")
        );
        assert_eq!(answer.head.version, Version::HTTP_2);
    }
    assert_eq!(client.asker.pool.stats().opened, 1);
}

#[test]
fn haproxy_reads_proxy_headers_of_both_versions() {
    let authority = Authority::new().unwrap();
    for door in [Door::Plain, Door::Tls(&authority)] {
        let Some(haproxy) = require_accept_proxy(door) else {
            return;
        };
        let builder = match door {
            Door::Plain => ConnectionPool::builder(),
            Door::Tls(authority) => {
                trusting(authority, TlsVersion::Tls12, TlsVersion::Tls13).unwrap()
            }
        };
        let url = match door {
            Door::Plain => haproxy.url("/hello"),
            Door::Tls(_) => haproxy.https_url("/hello"),
        };
        let client = Client::new(builder.proxy_header(ProxyHeader::v1())).unwrap();
        let own = client.get(&*url).unwrap();
        assert!(own.field("x-source").starts_with("127.0.0.1:"), "{own:?}");
        assert_eq!(own.field("x-destination"), haproxy.addr().to_string());
        let mut opened = 1;
        for (source, destination) in [
            ("192.0.2.1:5000", "192.0.2.9:80"),
            ("[2001:db8::1]:5001", "[2001:db8::9]:443"),
        ] {
            let addresses = Addresses::new(source.parse().unwrap(), destination.parse().unwrap());
            for header in [ProxyHeader::v1(), ProxyHeader::v2()] {
                let header = header.with_addresses(addresses);
                for _ in 0..2 {
                    let request = Request::get(&url).extension(header.clone());
                    let answer = client.send(request, ()).unwrap();
                    let echoed = (answer.field("x-source"), answer.field("x-destination"));
                    let bare = |address: &str| address.replace(['[', ']'], "");
                    assert_eq!(echoed.0, bare(source), "{header}");
                    assert_eq!(echoed.1, bare(destination), "{header}");
                }
                opened += 1;
            }
        }
        for header in [ProxyHeader::v1(), ProxyHeader::v2()] {
            let unknown = header.with_addresses(None);
            let answer = client
                .send(Request::get(&url).extension(unknown), ())
                .unwrap();
            assert!(
                answer.field("x-source").starts_with("127.0.0.1:"),
                "{answer:?}"
            );
            opened += 1;
        }
        assert_eq!(client.asker.pool.stats().opened, opened);
        // Without a header it does not answer.
        let client = Client::new(ConnectionPool::builder()).unwrap();
        assert!(client.get(&*url).is_err());
    }
}
