//! Real proxies: forwarding, tunnels, SOCKS, TLS to the proxy, Digest, and one behind another.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use digest_auth::{AuthContext, HttpMethod};
use http::{HeaderValue, Request};
use httpcore::{
    ConnectionPool,
    proxy::{Credentials, Proxy, ProxyError, ProxyProtocol},
    tls::RustlsConnector,
};
use httpcore_core_primitives::{Error, ErrorKind, ErrorPhase, TlsOverride};
use httpcore_origin::Origin;
use httpcore_servers::{
    Authority, Server,
    client::{Client, upload},
    forward::{Forward, PASSWORD, USER, require_forward, require_privoxy, require_stunnel},
};

const MIB_16: u64 = 16 << 20;
/// As many as are sent at once.
const AT_ONCE: usize = 64;

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
    let connector = RustlsConnector::builder()
        .root_pem(door.certificate())
        .unwrap()
        .build()
        .unwrap();
    let builder = ConnectionPool::builder().tls(Arc::new(connector));
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
    let download = client.get(origin.url(&format!("/bytes/{MIB_16}"))).unwrap();
    assert_eq!((download.status(), download.length), (200, MIB_16));
    let (body, asked) = upload(MIB_16);
    let sink = client
        .send(Request::post(origin.url("/sink")), body.with_length(MIB_16))
        .unwrap();
    let counted = format!("\"bytes\": {MIB_16},");
    assert!(sink.text().contains(&counted), "{}", sink.text());
    assert!(asked.load(Ordering::Relaxed) >= MIB_16);

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
                HttpMethod::CONNECT,
            );
            let answer = prompt.respond(&context).ok()?;
            HeaderValue::try_from(answer.to_string()).ok()
        })
    };
    works(&digest(PASSWORD));
    assert!(calls.load(Ordering::Relaxed) > 0);
    for proxy in [bare.clone(), digest("wrong")] {
        let error = refused(&proxy);
        let refusal = ProxyError::source_of(&error).and_then(ProxyError::refusal);
        assert_eq!(refusal.unwrap().status, 407, "{error:?}");
    }
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
    let error = refused(&at(ProxyProtocol::Http, &tinyproxy));
    let refusal = ProxyError::source_of(&error).and_then(ProxyError::refusal);
    assert_eq!(refusal.unwrap().status, 407, "{error:?}");
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
}

#[test]
fn privoxy_passes_on_to_dante_and_so_does_a_chain_of_ours() {
    let Some(dante) = require_forward(Forward::Dante) else {
        return;
    };
    let Some(privoxy) = require_privoxy(&dante) else {
        return;
    };
    works(&at(ProxyProtocol::Http, &privoxy).with_tunnel_for_http(true));
    let Some(squid) = require_forward(Forward::Squid) else {
        return;
    };
    let chain = at(ProxyProtocol::Http, &squid).through(at(ProxyProtocol::Socks5, &dante));
    works(&chain.unwrap());
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
    let roots = RustlsConnector::builder()
        .root_pem(authority.root())
        .unwrap()
        .build()
        .unwrap();
    let untrusted = at(ProxyProtocol::Https, &stunnel);
    let proxy = untrusted
        .clone()
        .with_tls(TlsOverride::new(Arc::new(roots)));
    works(&proxy);
    works(&proxy.clone().with_tunnel_for_http(true));
    refuses(&proxy);
    assert_eq!(refused(&untrusted).kind(), ErrorKind::Tls);
}
