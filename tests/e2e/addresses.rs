//! Which addresses are connected to: filters, whatever the spelling, the resolver, the proxy or an idle
//! connection.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Request;
use httpcore::{
    ConnectionPool, Error, ErrorKind, RequestExt,
    error::{ErrorPhase, Fault, RequestSent},
    net::{AddressFilter, AddressRefused, ConnectTarget, PublicAddresses},
    proxy::Proxy,
    trace::{Trace, TraceEvent},
};
use httpcore_net_mock::{DnsEntry, MockNet, MockTls, ServerHandle, ServerStream, TlsServer};
use httpcore_tests::http2;

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Hosts of URLs that lead to the machine itself, its network, or to no host, and the address that
/// they lead to: the host itself, or what `getaddrinfo` or DNS says. Those without an address are no
/// URL.
#[rustfmt::skip]
const SPELLINGS: &[(&str, &str)] = &[
    // IPv4.
    ("127.0.0.1", "127.0.0.1"), ("127.255.255.254", "127.255.255.254"), ("0.0.0.0", "0.0.0.0"),
    ("10.0.0.1", "10.0.0.1"), ("10.255.255.255", "10.255.255.255"), ("172.16.0.1", "172.16.0.1"),
    ("172.31.255.255", "172.31.255.255"), ("192.168.0.1", "192.168.0.1"),
    ("192.168.255.255", "192.168.255.255"), ("169.254.169.254", "169.254.169.254"),
    ("169.254.0.1", "169.254.0.1"), ("100.64.0.1", "100.64.0.1"),
    ("100.127.255.255", "100.127.255.255"), ("192.0.0.1", "192.0.0.1"),
    ("192.0.0.170", "192.0.0.170"), ("192.0.2.1", "192.0.2.1"), ("198.18.0.1", "198.18.0.1"),
    ("198.19.255.255", "198.19.255.255"), ("198.51.100.1", "198.51.100.1"),
    ("203.0.113.1", "203.0.113.1"), ("192.88.99.1", "192.88.99.1"), ("224.0.0.1", "224.0.0.1"),
    ("239.255.255.250", "239.255.255.250"), ("240.0.0.1", "240.0.0.1"),
    ("255.255.255.255", "255.255.255.255"),
    // IPv6.
    ("[::1]", "::1"), ("[::]", "::"), ("[0000:0000:0000:0000:0000:0000:0000:0001]", "::1"),
    ("[fe80::1]", "fe80::1"), ("[febf::1]", "febf::1"), ("[fec0::1]", "fec0::1"),
    ("[fc00::1]", "fc00::1"), ("[FD00:EC2::254]", "fd00:ec2::254"), ("[ff02::1]", "ff02::1"),
    ("[ff0e::1]", "ff0e::1"), ("[2001:db8::1]", "2001:db8::1"), ("[100::1]", "100::1"),
    ("[3fff::1]", "3fff::1"),
    // IPv6 with an IPv4 address inside: compatible, mapped, translated, NAT64, 6to4, Teredo.
    ("[::127.0.0.1]", "::127.0.0.1"), ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
    ("[::ffff:7f00:1]", "::ffff:127.0.0.1"), ("[0:0:0:0:0:ffff:127.0.0.1]", "::ffff:127.0.0.1"),
    ("[::FFFF:10.0.0.1]", "::ffff:10.0.0.1"), ("[::ffff:a9fe:a9fe]", "::ffff:169.254.169.254"),
    ("[::ffff:0:127.0.0.1]", "::ffff:0:127.0.0.1"), ("[64:ff9b::127.0.0.1]", "64:ff9b::127.0.0.1"),
    ("[64:ff9b::7f00:1]", "64:ff9b::127.0.0.1"), ("[64:ff9b::a9fe:a9fe]", "64:ff9b::169.254.169.254"),
    ("[64:ff9b::10.0.0.1]", "64:ff9b::10.0.0.1"), ("[64:ff9b:1::8.8.8.8]", "64:ff9b:1::8.8.8.8"),
    ("[2002:7f00:1::]", "2002:7f00:1::"), ("[2002:a9fe:a9fe::1]", "2002:a9fe:a9fe::1"),
    ("[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    // Names that getaddrinfo reads as numbers: decimal, hexadecimal, octal, with fewer parts.
    ("2130706433", "127.0.0.1"), ("0x7f000001", "127.0.0.1"), ("017700000001", "127.0.0.1"),
    ("0x7f.0.0.1", "127.0.0.1"), ("0177.0.0.1", "127.0.0.1"), ("127.1", "127.0.0.1"),
    ("127.0.1", "127.0.0.1"), ("0x7f.1", "127.0.0.1"), ("0000177.0.0.1", "127.0.0.1"),
    ("127.0.0.0x1", "127.0.0.1"), ("2852039166", "169.254.169.254"),
    ("169.16689662", "169.254.169.254"), ("0xA9FEA9FE", "169.254.169.254"),
    ("3232235521", "192.168.0.1"), ("167772161", "10.0.0.1"), ("0xac100001", "172.16.0.1"),
    ("0", "0.0.0.0"), ("0x0", "0.0.0.0"), ("012.1", "10.0.0.1"), ("192.168.1", "192.168.0.1"),
    ("192.168.257", "192.168.1.1"),
    // Names.
    ("localhost", "127.0.0.1"), ("localhost.", "::1"), ("LocalHost", "127.0.0.1"),
    ("127.0.0.1.nip.test", "127.0.0.1"), ("metadata.google.internal", "169.254.169.254"),
    ("mapped.test", "::ffff:10.0.0.1"), ("nat64.test", "64:ff9b::7f00:1"), ("six.test", "::1"),
    ("user:pw@evil.test", "127.0.0.1"), ("unspecified.test", "0.0.0.0"),
    // No URL.
    ("[fe80::1%25eth0]", ""), ("127.0.0.1%00", ""), ("①②⑦.⓪.⓪.①", ""), ("127。0。0。1", ""),
    ("[::ffff:127.0.0.1", ""), ("[127.0.0.1]", ""),
];

/// Answers all requests with [`HELLO`].
async fn answer(mut stream: ServerStream) {
    while stream.read_head().await.is_ok() {
        if stream.write_all(HELLO).await.is_err() {
            return;
        }
    }
}

fn name_of(host: &str) -> &str {
    host.rsplit_once('@').map_or(host, |(_, host)| host)
}

/// A network in which `host` has a server, at `address`.
fn network(host: &str, address: &str) -> (MockNet, ServerHandle) {
    let net = MockNet::new();
    let host = name_of(host);
    if host
        .trim_matches(['[', ']'])
        .parse::<std::net::IpAddr>()
        .is_err()
    {
        net.name(host, DnsEntry::addresses([address]));
    }
    let server = net.serve(address, 80, answer);
    (net, server)
}

fn public() -> AddressFilter {
    PublicAddresses::only().into()
}

/// Sends a GET, reads the response, and returns its body.
async fn get(pool: &ConnectionPool, url: &str) -> Result<String, Error> {
    pool.get(url).await?.into_body().text(100).await
}

async fn get_filtered(
    pool: &ConnectionPool,
    url: &str,
    filter: &AddressFilter,
) -> Result<String, Error> {
    let request = Request::get(url)
        .address_filter(filter.clone())
        .body(())
        .unwrap();
    pool.request(request).await?.into_body().text(100).await
}

fn assert_refused(error: &Error, address: &str) {
    assert_eq!(
        error.kind(),
        ErrorKind::AddressRefused,
        "{address}: {error:?}"
    );
    assert_eq!(error.phase(), ErrorPhase::Connect);
    assert_eq!(
        (error.fault(), error.sent()),
        (Fault::Local, RequestSent::None)
    );
    assert!(!error.is_retryable() && !error.may_repeat(&http::Method::GET));
    let refused = AddressRefused::source_of(error).unwrap();
    assert_eq!(
        refused.address().unwrap().ip(),
        address.parse::<std::net::IpAddr>().unwrap()
    );
    assert_eq!(refused.reason(), "not a public address");
    assert!(
        error.to_string().contains("not a public address"),
        "{error}"
    );
}

#[test]
fn no_spelling_of_a_private_address_reaches_it_through_the_filter() {
    assert!(SPELLINGS.len() >= 80, "{}", SPELLINGS.len());
    for &(host, address) in SPELLINGS {
        let url = format!("http://{host}/");
        if address.is_empty() {
            let net = MockNet::new();
            let pool = ConnectionPool::new(net.clone());
            let error = net.run(get(&pool, &url)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{host}");
            continue;
        }
        let (net, server) = network(host, address);
        let pool = ConnectionPool::new(net.clone());
        let body = net.run(get(&pool, &url)).unwrap();
        assert_eq!(
            (&*body, server.attempts()),
            ("hello", 1),
            "{host} without a filter"
        );

        let (net, server) = network(host, address);
        let pool = ConnectionPool::builder()
            .address_filter(PublicAddresses::only())
            .connect_retries(3)
            .build(net.clone());
        let error = net.run(get(&pool, &url)).unwrap_err();
        assert_refused(&error, address);
        assert_eq!(server.attempts(), 0, "{host}");
        assert_eq!(net.elapsed(), Duration::ZERO, "{host}: not repeated");
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn numbers_that_the_system_reads_as_loopback_addresses_are_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let event_loop = httpcore::EventLoop::new().unwrap();
    let pool = ConnectionPool::builder()
        .address_filter(PublicAddresses::only())
        .build(event_loop.backend());
    let mut read = 0;
    for &(host, address) in SPELLINGS {
        if address != "127.0.0.1" || !host.starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        let url = format!("http://{host}:{port}/");
        match event_loop.block_on(get(&pool, &url)) {
            // A C library may not read all of these as numbers.
            Err(error) if error.kind() == ErrorKind::Resolve => {}
            outcome => {
                assert_refused(&outcome.unwrap_err(), address);
                read += 1;
            }
        }
    }
    assert!(read > 0);
    assert!(listener.accept().is_err(), "no connection was made");
}

#[test]
fn only_the_allowed_addresses_of_a_name_are_connected_to() {
    let net = MockNet::new();
    net.name(
        "mixed.test",
        DnsEntry::addresses(["127.0.0.1", "93.184.216.34", "::1", "10.0.0.1"]),
    );
    let private = net.serve("127.0.0.1", 80, answer);
    let open = net.serve("93.184.216.34", 80, answer);
    let refused = Arc::new(Mutex::new(Vec::new()));
    let log = refused.clone();
    let trace = Trace::to(move |_, event: &TraceEvent<'_>| match event {
        TraceEvent::AddressRefused { refused } => {
            log.lock()
                .unwrap()
                .push(refused.address().unwrap().ip().to_string());
        }
        TraceEvent::TcpConnectStarted { peer } => {
            assert_eq!(peer.ip().to_string(), "93.184.216.34");
        }
        _ => {}
    });
    let pool = ConnectionPool::builder()
        .address_filter(PublicAddresses::only())
        .build(net.clone());
    let request = Request::get("http://mixed.test/")
        .trace(trace)
        .body(())
        .unwrap();
    let response = net.run(async { pool.request(request).await?.into_body().text(100).await });
    assert_eq!(response.unwrap(), "hello");
    assert_eq!((private.attempts(), open.attempts()), (0, 1));
    assert_eq!(*refused.lock().unwrap(), ["127.0.0.1", "::1", "10.0.0.1"]);
}

#[test]
fn a_name_that_leads_elsewhere_at_the_second_look_up_is_refused_then() {
    let net = MockNet::new();
    net.name("rebind.test", DnsEntry::addresses(["93.184.216.34"]));
    let private = net.serve("127.0.0.1", 80, answer);
    net.serve("93.184.216.34", 80, answer);
    let pool = ConnectionPool::builder()
        .address_filter(PublicAddresses::only())
        .build(net.clone());
    net.run(async {
        assert_eq!(get(&pool, "http://rebind.test/").await.unwrap(), "hello");
        pool.close_idle();
        net.name("rebind.test", DnsEntry::addresses(["127.0.0.1"]));
        let error = get(&pool, "http://rebind.test/").await.unwrap_err();
        assert_refused(&error, "127.0.0.1");
    });
    assert_eq!(private.attempts(), 0);
}

#[test]
fn a_filter_sees_host_port_and_hop() {
    let net = MockNet::new();
    net.name("a.test", DnsEntry::addresses(["10.0.0.1"]));
    net.serve("10.0.0.1", 8080, answer);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let filter = AddressFilter::new(move |target: &ConnectTarget<'_>| {
        let address = target.address.map(|address| address.to_string());
        let text = format!(
            "{} {} {} {} {}",
            address.unwrap_or_default(),
            target.host,
            target.port,
            target.hop,
            target.is_proxy
        );
        log.lock().unwrap().push(text);
        match target.port {
            8080 => Ok(()),
            port => Err(format!("port {port} is closed to us").into()),
        }
    });
    let pool = ConnectionPool::builder()
        .address_filter(filter)
        .build(net.clone());
    net.run(async {
        get(&pool, "http://a.test:8080/").await.unwrap();
        let error = get(&pool, "http://10.0.0.1/").await.unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "connecting to 10.0.0.1:80 was refused: port 80 is closed to us"
        );
    });
    let expected = [
        "10.0.0.1:8080 a.test 8080 0 false",
        "10.0.0.1:80 10.0.0.1 80 0 false",
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn an_idle_connection_that_a_requests_filter_refuses_is_not_lent_to_it() {
    let (net, server) = network("10.0.0.1", "10.0.0.1");
    let pool = ConnectionPool::new(net.clone());
    net.run(async {
        let url = "http://10.0.0.1/";
        get(&pool, url).await.unwrap();
        assert_eq!(pool.status().idle_connections, 1);
        let error = get_filtered(&pool, url, &public()).await.unwrap_err();
        assert_refused(&error, "10.0.0.1");
        // It is there for others still.
        get(&pool, url).await.unwrap();
    });
    assert_eq!(server.attempts(), 1);
}

#[test]
fn a_requests_filter_does_not_allow_what_its_pools_refuses() {
    let (net, server) = network("10.0.0.1", "10.0.0.1");
    let pool = ConnectionPool::builder()
        .address_filter(PublicAddresses::only())
        .build(net.clone());
    let all = AddressFilter::new(|_| Ok(()));
    let error = net
        .run(get_filtered(&pool, "http://10.0.0.1/", &all))
        .unwrap_err();
    assert_refused(&error, "10.0.0.1");
    assert_eq!(server.attempts(), 0);
}

/// A filter that refuses everything from the moment at which the flag is set.
fn closable() -> (Arc<AtomicBool>, AddressFilter) {
    let is_closed = Arc::new(AtomicBool::new(false));
    let inner = is_closed.clone();
    let filter = AddressFilter::new(move |_| match inner.load(Ordering::SeqCst) {
        false => Ok(()),
        true => Err("not a public address".into()),
    });
    (is_closed, filter)
}

#[test]
fn a_filter_that_changes_its_mind_closes_the_connections_it_had_allowed() {
    let (net, server) = network("10.0.0.1", "10.0.0.1");
    let (is_closed, filter) = closable();
    let pool = ConnectionPool::new(net.clone());
    net.run(async {
        let url = "http://10.0.0.1/";
        for _ in 0..3 {
            get_filtered(&pool, url, &filter).await.unwrap();
        }
        assert_eq!((server.attempts(), pool.status().idle_connections), (1, 1));
        is_closed.store(true, Ordering::SeqCst);
        let error = get_filtered(&pool, url, &filter).await.unwrap_err();
        assert_refused(&error, "10.0.0.1");
        assert_eq!(pool.status().connections.len(), 0, "{}", pool.status());
        is_closed.store(false, Ordering::SeqCst);
        get_filtered(&pool, url, &filter).await.unwrap();
    });
    assert_eq!(server.attempts(), 2);
}

#[test]
fn a_shared_connection_that_a_filter_refuses_later_takes_no_further_request() {
    let net = MockNet::new();
    let tls = TlsServer::new()
        .certificate_for(&["10.0.0.1"])
        .alpn(&[httpcore::net::Alpn::Http2]);
    let server = net.serve_tls("10.0.0.1", 443, tls, async |stream| {
        let io = http2::Tokio(stream);
        http2::serve_with(io, h2::server::Builder::new(), |request, respond| {
            Box::pin(async move { drop(http2::answer(request, respond).await) })
        })
        .await;
    });
    let (is_closed, filter) = closable();
    let pool = ConnectionPool::builder()
        .tls(MockTls::new())
        .build(net.clone());
    net.run(async {
        let url = "https://10.0.0.1/hello";
        get_filtered(&pool, url, &filter).await.unwrap();
        get_filtered(&pool, url, &filter).await.unwrap();
        is_closed.store(true, Ordering::SeqCst);
        let error = get_filtered(&pool, url, &filter).await.unwrap_err();
        assert_refused(&error, "10.0.0.1");
    });
    assert_eq!(server.attempts(), 1);
}

/// Answers as a proxy that takes everything: SOCKS 5 with any target, CONNECT, and forwarding.
async fn any_proxy(mut stream: ServerStream) {
    let Ok(first) = stream.read_exact(1).await else {
        return;
    };
    if first[0] == 5 {
        stream.read_exact(2).await.unwrap();
        stream.write_all(b"\x05\0").await.unwrap();
        let head = stream.read_exact(5).await.unwrap();
        let rest = match head[3] {
            1 => 3 + 2,
            4 => 15 + 2,
            _ => usize::from(head[4]) + 2,
        };
        stream.read_exact(rest).await.unwrap();
        stream.write_all(b"\x05\0\0\x01\0\0\0\0\0\0").await.unwrap();
    }
    answer(stream).await;
}

#[test]
fn a_filter_sees_proxies_and_what_they_are_asked_to_connect_to() {
    let strict = public();
    let trusting: AddressFilter = PublicAddresses::only().trust_proxies().into();
    const OPEN: &str = "93.184.216.34";
    const CLOSED: &str = "10.9.9.9";
    // Proxy's scheme and address, URL, then who is refused and where: the address, or the name.
    for (filter, proxy, url, refused) in [
        // The proxy itself is private.
        (
            &strict,
            format!("http://{CLOSED}"),
            "http://93.184.216.34/",
            Some((CLOSED, 0)),
        ),
        (
            &trusting,
            format!("http://{CLOSED}"),
            "http://open.test/",
            None,
        ),
        (
            &strict,
            "http://proxy.test".into(),
            "http://93.184.216.34/",
            Some((CLOSED, 0)),
        ),
        // The proxy would resolve a name.
        (
            &strict,
            format!("http://{OPEN}"),
            "http://open.test/",
            Some(("open.test", 1)),
        ),
        (
            &strict,
            format!("socks5h://{OPEN}"),
            "http://open.test/",
            Some(("open.test", 1)),
        ),
        (
            &trusting,
            format!("socks5h://{OPEN}"),
            "http://open.test/",
            None,
        ),
        // The target is resolved here.
        (
            &strict,
            format!("socks5://{OPEN}"),
            "http://open.test/",
            None,
        ),
        (
            &strict,
            format!("socks5://{OPEN}"),
            "http://closed.test/",
            Some((CLOSED, 1)),
        ),
        (
            &trusting,
            format!("socks5://{OPEN}"),
            "http://closed.test/",
            Some((CLOSED, 1)),
        ),
        // The target is an address.
        (
            &trusting,
            format!("http://{OPEN}"),
            "http://10.9.9.9/",
            Some((CLOSED, 1)),
        ),
        (
            &trusting,
            format!("socks5h://{OPEN}"),
            "http://10.9.9.9/",
            Some((CLOSED, 1)),
        ),
        (
            &strict,
            format!("http://{OPEN}"),
            "http://93.184.216.34/",
            None,
        ),
    ] {
        let net = MockNet::new();
        net.name("proxy.test", DnsEntry::addresses([CLOSED]));
        net.name("closed.test", DnsEntry::addresses([CLOSED]));
        net.name("open.test", DnsEntry::addresses([OPEN]));
        for address in [OPEN, CLOSED] {
            net.serve(address, 1080, any_proxy);
        }
        let proxy: Proxy = format!("{proxy}:1080").parse().unwrap();
        let pool = ConnectionPool::builder()
            .address_filter(filter.clone())
            .proxy(proxy.clone())
            .build(net.clone());
        let outcome = net.run(get(&pool, url));
        let Some((host, hop)) = refused else {
            assert_eq!(outcome.unwrap(), "hello", "{proxy} {url}");
            continue;
        };
        let error = outcome.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::AddressRefused,
            "{proxy} {url}: {error:?}"
        );
        let refusal = AddressRefused::source_of(&error).unwrap();
        let address = refusal.address().map(|address| address.ip().to_string());
        assert_eq!(
            address.as_deref().unwrap_or(refusal.host()),
            host,
            "{proxy} {url}"
        );
        assert_eq!(refusal.hop(), hop, "{proxy} {url}");
    }
}
