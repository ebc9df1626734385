//! Dropped exchanges and bodies.

use super::*;

#[test]
fn dropped_body_is_drained_if_its_small_rest_has_arrived() {
    let limit = Http1Config::default().max_drain_on_drop;
    let length = |left: usize| {
        let zeros = "0".repeat(left);
        format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n{zeros}")
    };
    let chunked = |rest: &str| {
        let zeros = "0".repeat(17_000);
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4268\r\n{zeros}\r\n{rest}")
    };
    let abandoned = Some(CloseReason::Abandoned);
    for (what, answer, expected) in [
        ("of known length", length(20_000), None),
        ("as much as is allowed", length(limit), None),
        ("more than is allowed", length(2 * limit), abandoned),
        ("in chunks", chunked("1\r\nx\r\n0\r\n\r\n"), None),
        ("with trailers", chunked("0\r\na: b\r\n\r\n"), None),
        ("which has not all come", chunked("5\r\nab"), abandoned),
        ("of which the end has not come", chunked("0\r\n"), abandoned),
        ("which breaks a rule", chunked("x"), abandoned),
        (
            "in more chunks than are allowed",
            chunked(&("1\r\nx\r\n".repeat(limit / 6) + "0\r\n\r\n")),
            abandoned,
        ),
        (
            "behind which something is left over",
            length(17_000) + "HTTP/1.1 200 OK\r\n\r\n",
            Some(CloseReason::UnsolicitedData),
        ),
        (
            "of a connection that will be closed",
            length(17_000).replace("OK\r\n", "OK\r\nConnection: close\r\n"),
            abandoned,
        ),
        (
            "that lasts until the close",
            format!("HTTP/1.1 200 OK\r\n\r\n{}", "0".repeat(17_000)),
            abandoned,
        ),
    ] {
        let net = MockNet::new();
        let client = answering(&net, Link::new().buffer(1 << 20), answer);
        net.run(async {
            let response = client.send(get()).await.unwrap();
            assert_eq!(client.ends(), 0, "{what}: there is a rest");
            net.sleep(SECOND).await;
            drop(response);
        });
        assert_eq!(client.end(), expected, "a rest {what}");
        net.clear();
    }
}

#[test]
fn dropped_body_is_not_drained_beyond_the_limit_or_what_has_arrived() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab";
    let mut never = Http1Config::default();
    never.max_drain_on_drop = 0;
    let late = |mut server: ServerStream| async move {
        server.read_head().await.unwrap();
        server.write_all(half).await.unwrap();
        server.sleep(SECOND).await;
        let _ = server.write_all("cd").await;
        server.idle().await;
    };
    for (config, waits, expected) in [
        (Http1Config::default(), false, Some(CloseReason::Abandoned)),
        (Http1Config::default(), true, None),
        (never, true, Some(CloseReason::Abandoned)),
    ] {
        let net = MockNet::new();
        let (stream, server) = net.pair();
        net.spawn("server", late(server));
        let client = Client::with(&net, stream, config);
        net.run(async {
            let response = client.send(get()).await.unwrap();
            net.sleep(if waits { 2 * SECOND } else { SECOND / 2 }).await;
            drop(response);
            assert_eq!(client.ends(), 1, "dropping waits for nothing");
        });
        assert_eq!(client.end(), expected, "{waits}");
        net.clear();
    }
    // RFC 9112 §9.3: a request that has not been sent would be taken for the next one.
    let net = MockNet::new();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
    let client = served(&net, Link::new(), move |mut server| async move {
        server.read_head().await.unwrap();
        server.write_all(&answer[..answer.len() - 1]).await.unwrap();
        server.write_all("d").await.unwrap();
        server.idle().await;
    });
    net.run(async {
        let response = client.send(post(silent())).await.unwrap();
        net.sleep(SECOND).await;
        drop(response);
    });
    assert!(client.end().is_some());
    net.clear();
}

#[test]
fn drained_connection_serves_the_next_request() {
    let net = MockNet::new();
    let client = served(&net, Link::new().buffer(1 << 20), |mut server| async move {
        for n in 0..3 {
            server.read_head().await.unwrap();
            let zeros = "0".repeat(20_000);
            let answer =
                format!("HTTP/1.1 200 OK\r\nn: {n}\r\nContent-Length: 20000\r\n\r\n{zeros}");
            server.write_all(answer).await.unwrap();
        }
    });
    net.run(async {
        for n in 0..3 {
            let response = client.send(get()).await.unwrap();
            assert_eq!(response.headers()["n"], n.to_string().as_str());
            net.sleep(SECOND).await;
            drop(response);
            assert!(client.is_idle(), "{n}");
        }
    });
    net.clear();
}

#[test]
fn connection_is_dropped_before_its_lease_ends() {
    struct Place(MockNet, Mutex<Vec<usize>>, LeaseState);
    impl LeaseOwner for Place {
        fn lease_state(&self) -> &LeaseState {
            &self.2
        }

        fn reclaim(self: Arc<Self>, _: LeaseId, outcome: LeaseEnd) {
            assert!(matches!(outcome, LeaseEnd::Closed(_)));
            self.1.lock().unwrap().push(self.0.live_counts().streams);
        }
    }
    let net = MockNet::new();
    let place = Arc::new(Place(net.clone(), Mutex::default(), LeaseState::default()));
    let answers = [
        "garbage",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ];
    for answer in answers {
        let client = answering(&net, Link::new(), answer);
        let context = ExchangeContext::new(Lease::new(LeaseId::new(1), place.clone()))
            .with_timeouts(Timeouts::none());
        let connection = client.pool.idle.lock().unwrap().take().unwrap();
        let request = http::Request::get("/")
            .header("connection", "upgrade")
            .header("upgrade", "x");
        drop(net.run(connection.exchange(with(request, ()), context)));
    }
    assert_eq!(*place.1.lock().unwrap(), [0; 4]);
    net.clear();
}

#[test]
fn exchange_dropped_at_any_poll_ends_its_lease_and_drops_the_connection() {
    fn requests() -> Vec<(http::Request<Body>, &'static str)> {
        vec![
            (
                get(),
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n012345678901234567890123456789",
            ),
            (
                post(pieces(&["one", "two", "three"])),
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\na: b\r\n\r\n",
            ),
            (
                with(
                    http::Request::post("/").header("expect", "100-continue"),
                    vec![0; 300],
                ),
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the end",
            ),
        ]
    }
    for which in 0..requests().len() {
        for (sweep, least) in [
            (Sweep::polls(), 8),
            (Sweep::steps(), 8),
            (Sweep::instants(), 2),
            (Sweep::polls().seed(7), 8),
        ] {
            let swept = sweep.run(|net| {
                let (request, answer) = requests().swap_remove(which);
                let link = Link::new()
                    .latency(Duration::from_millis(5))
                    .buffer(100)
                    .chunks(Chunks::Each(7));
                let (stream, mut server) = net.pair_with(link);
                net.spawn("server", async move {
                    if server.read_head().await.is_err() {
                        return;
                    }
                    let _ = server.write_all(answer).await;
                    if which == 2 {
                        let _ = server.read_exact(300).await;
                    } else {
                        let _ = server.read_to_end().await;
                    }
                });
                let mut client = Client::new(net, stream);
                client.timeouts = Timeouts::none().with_read(60 * SECOND);
                let (pool, counting) = (client.pool.clone(), net.clone());
                Scenario::new(async move {
                    let response = client.send(request).await.unwrap();
                    let mut body = response.into_body();
                    while let Some(data) = body.chunk().await {
                        data.unwrap();
                    }
                    assert_eq!(client.ends(), 1, "settled before the body was dropped");
                })
                .counting(move || {
                    let idle = usize::from(pool.idle.lock().unwrap().is_some());
                    let granted = pool.granted.load(Ordering::Relaxed);
                    vec![
                        ("lent streams", counting.live_counts().streams - idle),
                        ("leases", granted - pool.ends.lock().unwrap().len()),
                    ]
                })
            });
            assert!(swept.points >= least, "{which}: {swept:?}");
        }
    }
}
