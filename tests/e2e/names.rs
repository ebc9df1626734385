//! Names and where they lead: overrides, caches, other hosts to connect to, and addresses that come in two
//! parts or failed lately.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;
use httpcore::{
    ConnectionPool, Error, ErrorKind, RequestExt,
    backend::BoxFuture,
    extensions::ConnectTo,
    net::{Alpn, Answer, Lookup, PublicAddresses, Resolve},
    trace::{Trace, TraceEvent},
};
use httpcore_net_mock::{
    DnsEntry, Link, MockNet, MockTls, Scenario, ServerStream, Sweep, TlsServer,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Answers each request with the name of the server and the `Host` field.
fn serve(net: &MockNet, host: &str, port: u16) -> httpcore_net_mock::ServerHandle {
    let name = host.to_owned();
    net.serve(host, port, move |stream| answer(stream, name.clone()))
}

async fn answer(mut stream: ServerStream, name: String) {
    while let Ok(head) = stream.read_head().await {
        let host = head.lines().find_map(|line| line.strip_prefix("host: "));
        let body = format!("{name} for {}", host.unwrap_or("no host"));
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(head + &body).await.is_err() {
            return;
        }
    }
}

async fn send(pool: &ConnectionPool, request: http::request::Builder) -> Result<String, Error> {
    let response = pool.request(request.body(()).unwrap()).await?;
    response.into_body().text(200).await
}

async fn get(pool: &ConnectionPool, url: &str) -> Result<String, Error> {
    send(pool, Request::get(url)).await
}

#[test]
fn a_pools_table_of_hosts_goes_before_its_resolver_and_a_requests_before_both() {
    let net = MockNet::new();
    for server in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        serve(&net, server, 80);
    }
    net.name("a.test", DnsEntry::addresses(["10.0.0.1"]));
    net.name("b.test", DnsEntry::addresses(["10.0.0.1"]));
    let pool = ConnectionPool::builder()
        .resolve("A.test.", [ip("10.0.0.2")])
        .resolve("none.test", [])
        .build(net.clone());
    net.run(async {
        assert_eq!(
            get(&pool, "http://a.test/").await.unwrap(),
            "10.0.0.2 for a.test"
        );
        assert_eq!(
            get(&pool, "http://b.test/").await.unwrap(),
            "10.0.0.1 for b.test"
        );
        let error = get(&pool, "http://none.test/").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Resolve);
        let own = || Request::get("http://a.test/").resolve("a.TEST", [ip("10.0.0.3")]);
        assert_eq!(send(&pool, own()).await.unwrap(), "10.0.0.3 for a.test");
        let missing = Request::get("http://b.test/")
            .resolve("a.test", [ip("10.0.0.3")])
            .resolve("b.test", []);
        let error = send(&pool, missing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Resolve);
        // Connections are not shared between the two, in either order.
        assert_eq!(
            get(&pool, "http://a.test/").await.unwrap(),
            "10.0.0.2 for a.test"
        );
        assert_eq!(send(&pool, own()).await.unwrap(), "10.0.0.3 for a.test");
        assert_eq!(pool.stats().opened, 3);
    });
}

#[test]
fn a_request_connects_to_one_host_and_speaks_for_another() {
    let net = MockNet::new();
    serve(&net, "front.test", 80);
    serve(&net, "back.test", 8080);
    let tls = TlsServer::new().certificate_for(&["front.test"]);
    net.serve_tls("back.test", 8443, tls, |stream| {
        answer(stream, "back over TLS".into())
    });
    net.serve_unix("/run/app.sock", |stream| answer(stream, "socket".into()));
    let pool = ConnectionPool::builder()
        .tls(MockTls::new())
        .build(net.clone());
    net.run(async {
        let to = |url: &str, to: ConnectTo| Request::get(url).connect_to(to);
        let front = "http://front.test/";
        for _ in 0..2 {
            assert_eq!(
                get(&pool, front).await.unwrap(),
                "front.test for front.test"
            );
            let back = to(front, ConnectTo::host("BACK.test", 8080));
            assert_eq!(send(&pool, back).await.unwrap(), "back.test for front.test");
            let secure = to("https://front.test/", ConnectTo::host("back.test", 8443));
            assert_eq!(
                send(&pool, secure).await.unwrap(),
                "back over TLS for front.test"
            );
            let unix = to(front, ConnectTo::unix("/run/app.sock"));
            assert_eq!(send(&pool, unix).await.unwrap(), "socket for front.test");
        }
        assert_eq!(pool.stats().opened, 4);
    });
}

#[test]
fn a_proxy_is_asked_to_connect_to_the_other_host_also_where_it_would_forward() {
    let net = MockNet::new();
    let asked = Arc::new(Mutex::new(String::new()));
    let log = asked.clone();
    net.serve("proxy.test", 3128, move |mut stream| {
        let log = log.clone();
        async move {
            let head = stream.read_head().await.unwrap();
            log.lock().unwrap().push_str(head.lines().next().unwrap());
            stream.write_all("HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            answer(stream, "tunnel".into()).await;
        }
    });
    let pool = ConnectionPool::builder()
        .proxy("http://proxy.test:3128".parse().unwrap())
        .build(net.clone());
    let request = Request::get("http://front.test/").connect_to(ConnectTo::host("back.test", 81));
    let body = net.run(send(&pool, request)).unwrap();
    assert_eq!(body, "tunnel for front.test");
    assert_eq!(*asked.lock().unwrap(), "CONNECT back.test:81 HTTP/1.1");
}

/// A resolver with its own answers, which takes time, and counts.
#[derive(Clone)]
struct Scripted {
    net: MockNet,
    calls: Arc<AtomicUsize>,
    /// The time after which a family answers, and its addresses; the IPv6 one first. Without the
    /// second, both are one answer.
    v4: (Duration, Vec<&'static str>),
    v6: Option<(Duration, Vec<&'static str>)>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    fn answer(
        &self,
        (after, addresses): &(Duration, Vec<&'static str>),
        port: u16,
    ) -> BoxFuture<'static, io::Result<Answer>> {
        let pause = self.net.sleep(*after);
        let addresses: Vec<_> = addresses
            .iter()
            .map(|address| SocketAddr::new(ip(address), port))
            .collect();
        Box::pin(async move {
            pause.await;
            match addresses.is_empty() {
                true => Err(io::ErrorKind::NotFound.into()),
                false => Ok(Answer::new(addresses)),
            }
        })
    }
}

impl Resolve for Scripted {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        self.lookup(host, port).into_addresses()
    }

    fn lookup(&self, _: &str, port: u16) -> Lookup {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match &self.v6 {
            None => Lookup::Whole(self.answer(&self.v4, port)),
            Some(v6) => Lookup::Families {
                v6: self.answer(v6, port),
                v4: self.answer(&self.v4, port),
            },
        }
    }
}

fn scripted(net: &MockNet, v4: Duration, v6: Option<Duration>) -> Scripted {
    Scripted {
        net: net.clone(),
        calls: Arc::default(),
        v4: (v4, vec!["10.0.0.1"]),
        v6: v6.map(|after| (after, vec!["2001:db8::1"])),
    }
}

#[test]
fn a_pool_caches_addresses_and_missing_names_for_their_times() {
    let net = MockNet::new();
    serve(&net, "10.0.0.1", 80);
    let names = scripted(&net, Duration::ZERO, None);
    let missing = Scripted {
        v4: (Duration::ZERO, vec![]),
        calls: Arc::default(),
        ..names.clone()
    };
    for (resolver, ttl) in [(names, 10 * SECOND), (missing, 3 * SECOND)] {
        let calls = resolver.calls.clone();
        let pool = ConnectionPool::builder()
            .resolver(resolver)
            .dns_cache(10 * SECOND, 3 * SECOND)
            .build(net.clone());
        net.run(async {
            let ask = || async {
                let outcome = get(&pool, "http://a.test/").await;
                pool.close_idle();
                outcome.map_err(|error| error.kind())
            };
            let first = ask().await;
            net.sleep(ttl - MS).await;
            assert_eq!(ask().await, first);
            assert_eq!(calls.load(Ordering::Relaxed), 1);
            net.sleep(MS).await;
            assert_eq!(ask().await, first);
            assert_eq!(calls.load(Ordering::Relaxed), 2);
        });
    }
}

#[test]
fn ipv4_addresses_wait_50_ms_for_those_of_ipv6() {
    const V4: &str = "10.0.0.1";
    const V6: &str = "2001:db8::1";
    // When each family is known, which server answers, and when.
    for (v4, v6, server, after) in [
        // IPv6 first: used at once.
        (100, 30, V6, 30),
        // IPv4 first, IPv6 within 50 ms of it: IPv6 is preferred.
        (30, 79, V6, 79),
        // IPv4 first, IPv6 later: IPv4 is used.
        (30, 81, V4, 80),
        (30, 5_000, V4, 80),
        (0, 0, V6, 0),
    ] {
        let net = MockNet::new();
        serve(&net, V4, 80);
        serve(&net, V6, 80);
        let pool = ConnectionPool::builder()
            .resolver(scripted(&net, v4 * MS, Some(v6 * MS)))
            .build(net.clone());
        let body = net.run(get(&pool, "http://a.test/")).unwrap();
        assert_eq!(body, format!("{server} for a.test"), "{v4} {v6}");
        assert_eq!(net.elapsed(), after * MS, "{v4} {v6}");
    }
}

#[test]
fn addresses_that_are_found_later_join_the_race() {
    // IPv4 does not answer; IPv6 is found after 200 ms, and tried 250 ms after the attempt before.
    let net = MockNet::new();
    let v4 = serve(&net, "10.0.0.1", 80);
    v4.link(Link::blackhole());
    serve(&net, "2001:db8::1", 80);
    let pool = ConnectionPool::builder()
        .resolver(scripted(&net, Duration::ZERO, Some(200 * MS)))
        .build(net.clone());
    let body = net.run(get(&pool, "http://a.test/")).unwrap();
    assert_eq!(body, "2001:db8::1 for a.test");
    assert_eq!(net.elapsed(), 300 * MS); // 50 ms of waiting for IPv6, 250 ms
    assert_eq!(v4.attempts(), 1);
}

#[test]
fn an_address_that_fails_leaves_the_race_to_those_that_are_looked_up() {
    let net = MockNet::new();
    serve(&net, "10.0.0.1", 80).link(Link::refused());
    serve(&net, "2001:db8::1", 80);
    let pool = ConnectionPool::builder()
        .resolver(scripted(&net, Duration::ZERO, Some(3 * SECOND)))
        .build(net.clone());
    let body = net.run(get(&pool, "http://a.test/")).unwrap();
    assert_eq!(body, "2001:db8::1 for a.test");
    assert_eq!(net.elapsed(), 3 * SECOND);
}

#[test]
fn both_families_failing_is_an_error_of_resolution_and_one_is_not() {
    for (v4, v6, kind) in [
        (vec![], vec![], Some(ErrorKind::Resolve)),
        (vec!["10.0.0.1"], vec![], None),
        (vec![], vec!["2001:db8::1"], None),
    ] {
        let net = MockNet::new();
        serve(&net, "10.0.0.1", 80);
        serve(&net, "2001:db8::1", 80);
        let resolver = Scripted {
            net: net.clone(),
            calls: Arc::default(),
            v4: (10 * MS, v4),
            v6: Some((20 * MS, v6)),
        };
        let pool = ConnectionPool::builder()
            .resolver(resolver)
            .build(net.clone());
        let outcome = net.run(get(&pool, "http://a.test/"));
        assert_eq!(outcome.err().map(|error| error.kind()), kind);
        assert_eq!(net.elapsed(), 20 * MS);
    }
}

#[test]
fn a_filter_sees_the_addresses_that_are_found_later() {
    let net = MockNet::new();
    let closed = serve(&net, "10.0.0.1", 80);
    let open = serve(&net, "2606:4700::1", 80);
    for (v6_after, outcome) in [(3_000, Ok(())), (10, Ok(()))] {
        let resolver = Scripted {
            v6: Some((v6_after * MS, vec!["2606:4700::1"])),
            ..scripted(&net, Duration::ZERO, None)
        };
        let pool = ConnectionPool::builder()
            .resolver(resolver)
            .address_filter(PublicAddresses::only())
            .build(net.clone());
        let found = net.run(get(&pool, "http://a.test/"));
        assert_eq!(found.map(drop).map_err(|error| error.kind()), outcome);
    }
    assert_eq!((closed.attempts(), open.attempts()), (0, 2));
    // With no others, the refusal is the error.
    let resolver = Scripted {
        v6: Some((3 * SECOND, vec!["fd00::1"])),
        ..scripted(&net, Duration::ZERO, None)
    };
    let pool = ConnectionPool::builder()
        .resolver(resolver)
        .address_filter(PublicAddresses::only())
        .build(net.clone());
    let error = net.run(get(&pool, "http://a.test/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddressRefused);
}

/// Returns the addresses that a new connection tries, in order.
async fn tried(net: &MockNet, pool: &ConnectionPool) -> Vec<String> {
    let tried = Arc::new(Mutex::new(Vec::new()));
    let log = tried.clone();
    let trace = Trace::to(move |_, event: &TraceEvent<'_>| {
        if let TraceEvent::TcpConnectStarted { peer } = event {
            log.lock().unwrap().push(peer.ip().to_string());
        }
    });
    let request = Request::get("http://two.test/")
        .trace(trace)
        .new_connection();
    send(pool, request).await.unwrap();
    net.sleep(MS).await;
    std::mem::take(&mut *tried.lock().unwrap())
}

#[test]
fn addresses_that_failed_lately_or_were_too_slow_come_last_for_a_minute() {
    for dead in [Link::refused(), Link::blackhole()] {
        let net = MockNet::new();
        net.name("two.test", DnsEntry::addresses(["10.0.0.1", "10.0.0.2"]));
        let first = serve(&net, "10.0.0.1", 80);
        first.link(dead);
        serve(&net, "10.0.0.2", 80);
        let pool = ConnectionPool::new(net.clone());
        net.run(async {
            assert_eq!(tried(&net, &pool).await, ["10.0.0.1", "10.0.0.2"]);
            assert_eq!(tried(&net, &pool).await, ["10.0.0.2"]);
            net.sleep(58 * SECOND).await;
            assert_eq!(tried(&net, &pool).await, ["10.0.0.2"]);
            net.sleep(2 * SECOND).await;
            assert_eq!(tried(&net, &pool).await, ["10.0.0.1", "10.0.0.2"]);
            // One that works again is not last any more.
            net.sleep(61 * SECOND).await;
            first.link(Link::new());
            assert_eq!(tried(&net, &pool).await, ["10.0.0.1"]);
        });
    }
}

#[test]
fn addresses_on_which_the_connect_limit_passed_come_last() {
    let net = MockNet::new();
    net.name("two.test", DnsEntry::addresses(["10.0.0.1", "10.0.0.2"]));
    serve(&net, "10.0.0.1", 80).link(Link::blackhole());
    serve(&net, "10.0.0.2", 80);
    let pool = ConnectionPool::new(net.clone());
    let limits = httpcore::Timeouts::default().with_connect(100 * MS);
    net.run(async {
        let request = Request::get("http://two.test/").timeouts(limits);
        let error = send(&pool, request).await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(tried(&net, &pool).await, ["10.0.0.2"]);
    });
}

#[test]
fn look_ups_in_parts_are_cancelled_at_any_moment_without_leaks() {
    let swept = Sweep::instants().run(|net: &MockNet| {
        serve(net, "10.0.0.1", 80).link(Link::blackhole());
        serve(net, "2001:db8::1", 80).link(Link::new().latency(10 * MS));
        let pool = ConnectionPool::builder()
            .resolver(scripted(net, 10 * MS, Some(300 * MS)))
            .max_connections(1)
            .build(net.clone());
        let (main, then) = (pool.clone(), pool);
        Scenario::new(async move {
            get(&main, "http://a.test/").await.unwrap();
        })
        .then(async move {
            get(&then, "http://a.test/").await.unwrap();
        })
        .allow_tasks(4)
        .allow_streams(2)
        .allow_timers(8)
        .allow_attempts(2)
    });
    assert!(swept.points > 4, "{}", swept.points);
}

#[test]
fn names_over_tls_are_checked_against_the_url_whatever_is_connected_to() {
    let net = MockNet::new();
    let tls = TlsServer::new()
        .certificate_for(&["back.test"])
        .alpn(&[Alpn::Http1]);
    net.serve_tls("back.test", 443, tls, |stream| {
        answer(stream, "back".into())
    });
    let pool = ConnectionPool::builder()
        .tls(MockTls::new())
        .build(net.clone());
    let request = Request::get("https://front.test/").connect_to(ConnectTo::host("back.test", 443));
    let error = net.run(send(&pool, request)).unwrap_err();
    assert!(error.is_tls(), "{error:?}");
}
