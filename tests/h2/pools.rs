//! The pool and the peer's limits: scaling out, waiting, one probe for each origin, falling back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use httpcore::{
    Body, ConnectionPool, ConnectionPoolBuilder, Timeouts,
    extensions::{ConnectionPolicy, EarlyResponse, UploadState},
};
use httpcore_core_primitives::{Alpn, MisdirectedRequest};
use httpcore_net_mock::{Link, LiveCounts, MockNet, MockTls, ServerStream, TlsServer};
use httpcore_tests::{
    h2_peer::{
        frames::{Frame, code, data, goaway, headers, kind, ok, reset, setting, settings},
        peer::Peer,
        record::Record,
        script::{answer, be_polite, serve},
    },
    suite::{Client, tell_error},
};

const SECOND: Duration = Duration::from_secs(1);

fn client(net: &MockNet) -> Client {
    client_with(net, |builder| builder)
}

fn client_with(
    net: &MockNet,
    change: impl FnOnce(ConnectionPoolBuilder) -> ConnectionPoolBuilder,
) -> Client {
    let builder = ConnectionPool::builder().http1(false).http2(true);
    let pool = change(builder).build(Arc::new(net.clone()));
    Client::new(pool, Arc::new(net.clone()), "http://server.test")
}

/// Sends `count` GETs at once; returns the outcome of each.
fn at_once(net: &MockNet, client: &Client, count: usize) -> Vec<String> {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    for number in 0..count {
        let (client, told) = (client.clone(), told.clone());
        net.spawn("a request", async move {
            let line = client.get(&format!("/{number}")).await;
            told.lock().unwrap().push(line);
        });
    }
    net.advance(Duration::from_secs(120));
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), count, "{}", net.report());
    told
}

fn nothing_is_left(net: &MockNet, client: Client) {
    let status = client.pool.status();
    assert_eq!(
        (status.active_requests, status.queued_requests),
        (0, 0),
        "{status:#}"
    );
    drop(client);
    net.run_until_idle();
    assert_eq!(
        net.live_counts(),
        LiveCounts::default(),
        "{:#?}",
        net.live()
    );
}

fn heads(record: &Record) -> usize {
    record.of(kind::HEADERS).len()
}

/// Responds one second after a request has arrived.
async fn answer_slowly(mut peer: Peer, number: usize) -> std::io::Result<()> {
    loop {
        let request = peer.request().await?;
        let mut requests = vec![request];
        peer.wait(SECOND).await?;
        requests.extend(peer.waiting());
        for request in requests {
            peer.send(&answer(&request, number)).await?;
        }
    }
}

#[test]
fn more_requests_than_the_limit_use_a_second_connection() {
    let net = MockNet::new();
    let limit = [(setting::MAX_CONCURRENT_STREAMS, 4)];
    let (served, records) = serve(&net, &limit, answer_slowly);
    let client = client(&net);
    let told = at_once(&net, &client, 10);
    assert!(
        told.iter().all(|line| line.starts_with("200 ")),
        "{told:#?}"
    );
    // The peer fails the test if a connection carries five at once.
    assert!(
        (2..=3).contains(&served.attempts()),
        "{} connections",
        served.attempts()
    );
    let carried: usize = records.lock().unwrap().iter().map(heads).sum();
    assert_eq!(carried, 10, "each is sent once");
    nothing_is_left(&net, client);
}

#[test]
fn requests_beyond_the_connection_limit_wait() {
    let net = MockNet::new();
    let limit = [(setting::MAX_CONCURRENT_STREAMS, 4)];
    let (served, _) = serve(&net, &limit, answer_slowly);
    let client = client(&net);
    let told = at_once(&net, &client, 50);
    assert!(
        told.iter().all(|line| line.starts_with("200 ")),
        "{told:#?}"
    );
    assert_eq!(
        served.attempts(),
        4,
        "the limit of shared connections of one origin"
    );
    nothing_is_left(&net, client);
}

#[test]
fn peer_that_admits_no_streams_yet_is_waited_for() {
    let net = MockNet::new();
    let limit = [(setting::MAX_CONCURRENT_STREAMS, 0)];
    let (served, records) = serve(&net, &limit, async |mut peer, number| {
        peer.wait(SECOND).await?;
        peer.send(&[settings(&[(setting::MAX_CONCURRENT_STREAMS, 10)])])
            .await?;
        peer.serve(|request| answer(request, number)).await
    });
    let client = client_with(&net, |builder| {
        let mut config = httpcore::config::PoolConfig::default();
        config.max_http2_connections_per_origin = Some(1);
        config.timeouts = Timeouts::none();
        builder.configure_pool(|pool| *pool = config)
    });
    let told = at_once(&net, &client, 3);
    assert!(
        told.iter().all(|line| line.starts_with("200 x-seen=")),
        "{told:#?}"
    );
    // The first says so only after it has been given a request, which another one serves.
    assert!(served.attempts() <= 2, "{} connections", served.attempts());
    let carried: usize = records.lock().unwrap().iter().map(heads).sum();
    assert_eq!(carried, 3, "each is sent once");
    nothing_is_left(&net, client);
}

#[test]
fn peer_that_never_admits_streams_is_waited_for_until_the_acquire_timeout() {
    let net = MockNet::new();
    let limit = [(setting::MAX_CONCURRENT_STREAMS, 0)];
    let (served, records) = serve(&net, &limit, async |mut peer, number| {
        peer.serve(|request| answer(request, number)).await
    });
    let client = client_with(&net, |builder| {
        let limits = Timeouts::none()
            .with_acquire(SECOND)
            .with_response_head(SECOND);
        builder.timeouts(limits)
    });
    for line in &at_once(&net, &client, 3) {
        assert!(
            line.starts_with("Timeout(Acquire) in Acquire, sent None"),
            "{line}"
        );
    }
    // One for each, and the one that said so only after it had been given the first request.
    assert!(served.attempts() <= 4, "{} connections", served.attempts());
    let carried: usize = records.lock().unwrap().iter().map(heads).sum();
    assert_eq!(carried, 0);
    nothing_is_left(&net, client);
}

#[test]
fn limit_of_no_streams_in_the_configuration_is_a_limit_of_one() {
    let net = MockNet::new();
    let (served, records) = serve(&net, &[], answer_slowly);
    let client = client_with(&net, |builder| {
        builder
            .configure_http2(|config| config.max_streams = 0)
            .configure_pool(|pool| pool.max_http2_connections_per_origin = Some(1))
    });
    let told = at_once(&net, &client, 6);
    assert!(told.iter().all(|line| line.starts_with("200")), "{told:#?}");
    assert_eq!(heads(&records.lock().unwrap()[0]), 6);
    assert_eq!(served.attempts(), 1);
    nothing_is_left(&net, client);
}

/// In all orders of the server's first SETTINGS and the first requests.
#[test]
fn requests_that_meet_a_first_limit_of_none_are_unsent_and_go_elsewhere() {
    for (seed, count) in (0..150).flat_map(|seed| [(seed, 1), (seed, 3)]) {
        for fresh in [false, true] {
            let net = MockNet::seeded(seed);
            // The first connection admits none, and refuses what had left before it said so; the
            // others serve.
            let connections = Arc::new(AtomicUsize::new(0));
            let served = net.serve("server.test", 80, move |stream| {
                let number = connections.fetch_add(1, Ordering::Relaxed);
                async move {
                    let Ok(mut peer) = Peer::accept(stream, Record::default()).await else {
                        return;
                    };
                    let limit = if number == 0 { 0 } else { 10 };
                    let first = settings(&[(setting::MAX_CONCURRENT_STREAMS, limit)]);
                    if peer.send(&[first]).await.is_err() {
                        return;
                    }
                    if number > 0 {
                        let _ = peer.serve(|request| answer(request, number)).await;
                        return;
                    }
                    while let Ok(request) = peer.request().await {
                        let refusal = reset(request.frame.stream, code::REFUSED_STREAM);
                        let _ = peer.send(&[refusal]).await;
                    }
                }
            });
            let client = client_with(&net, |builder| {
                builder.timeouts(Timeouts::none().with_acquire(60 * SECOND))
            });
            let told = Arc::new(std::sync::Mutex::new(Vec::new()));
            for number in 0..count {
                let (client, told) = (client.clone(), told.clone());
                net.spawn("a request", async move {
                    let mut request =
                        client.request("POST", &format!("/{number}"), Body::from("x"));
                    if fresh {
                        let policy = ConnectionPolicy::default().with_new_connection();
                        request.extensions_mut().insert(policy);
                    }
                    let response = client.pool.request(request).await;
                    let line = response.map_or_else(
                        |error| tell_error(&error),
                        |response| response.status().to_string(),
                    );
                    told.lock().unwrap().push(line);
                });
            }
            net.advance(120 * SECOND);
            let told = told.lock().unwrap().clone();
            let context = format!("seed {seed}, {count} requests, fresh: {fresh}: {told:#?}");
            assert_eq!(told.len(), count, "{context}");
            for line in &told {
                assert!(line.starts_with("200"), "{context}");
            }
            assert!(served.attempts() <= count + 1, "{context}");
            nothing_is_left(&net, client);
        }
    }
}

#[test]
fn lowered_limit_applies_to_later_requests() {
    let net = MockNet::new();
    let limit = [(setting::MAX_CONCURRENT_STREAMS, 3)];
    let (served, records) = serve(&net, &limit, async |mut peer, number| {
        let three = [
            peer.request().await?,
            peer.request().await?,
            peer.request().await?,
        ];
        peer.send(&[settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)])])
            .await?;
        peer.wait(SECOND).await?;
        for request in three {
            peer.send(&answer(&request, number)).await?;
        }
        // From here on the peer fails the test if two come at once.
        answer_slowly(peer, number).await
    });
    let client = client_with(&net, |builder| {
        let mut config = httpcore::config::PoolConfig::default();
        config.max_http2_connections_per_origin = Some(1);
        config.timeouts = Timeouts::none();
        builder.configure_pool(|pool| *pool = config)
    });
    let told = at_once(&net, &client, 9);
    assert!(
        told.iter().all(|line| line.starts_with("200 x-seen=1")),
        "{told:#?}"
    );
    assert_eq!(served.attempts(), 1);
    assert_eq!(heads(&records.lock().unwrap()[0]), 9);
    nothing_is_left(&net, client);
}

#[test]
fn refusals_over_the_limit_are_retried_a_bounded_number_of_times() {
    let net = MockNet::new();
    let (_, records) = serve(&net, &[], async |mut peer, _| {
        loop {
            let request = peer.request().await?;
            peer.send(&[reset(request.frame.stream, code::REFUSED_STREAM)])
                .await?;
        }
    });
    let client = client(&net);
    let told = at_once(&net, &client, 1);
    assert!(!told[0].starts_with("200"), "{told:?}");
    let asked: usize = records.lock().unwrap().iter().map(heads).sum();
    assert!((2..=10).contains(&asked), "asked {asked} times: {told:?}");
    nothing_is_left(&net, client);
}

#[test]
fn goaway_on_every_connection_is_retried_a_bounded_number_of_times() {
    let net = MockNet::new();
    let (served, _) = serve(&net, &[], async |mut peer, _| {
        peer.request().await?;
        peer.send(&[goaway(0, code::NO_ERROR)]).await?;
        while peer.next().await?.is_some() {}
        Ok(())
    });
    let client = client(&net);
    let told = at_once(&net, &client, 1);
    assert!(!told[0].starts_with("200"), "{told:?}");
    assert!(
        (2..=10).contains(&served.attempts()),
        "{} attempts: {told:?}",
        served.attempts()
    );
    nothing_is_left(&net, client);
}

#[test]
fn burst_of_requests_waits_for_one_probe() {
    let net = MockNet::new();
    let (served, records) = serve(&net, &[], async |mut peer, number| {
        peer.serve(|request| answer(request, number)).await
    });
    served.link(Link::new().latency(Duration::from_millis(50)));
    let client = client(&net);
    let told = at_once(&net, &client, 40);
    assert!(
        told.iter().all(|line| line.starts_with("200 x-seen=1")),
        "{told:#?}"
    );
    assert_eq!(served.attempts(), 1);
    assert_eq!(heads(&records.lock().unwrap()[0]), 40);
    nothing_is_left(&net, client);
}

fn client_over_tls(net: &MockNet) -> Client {
    let pool = ConnectionPool::builder()
        .tls(Arc::new(MockTls::new()))
        .http2(true)
        .build(Arc::new(net.clone()));
    Client::new(pool, Arc::new(net.clone()), "https://server.test")
}

#[test]
fn protocol_negotiated_by_alpn_is_used_and_shared_by_a_burst() {
    let net = MockNet::new();
    let tls = TlsServer::new().alpn(&[Alpn::Http2, Alpn::Http1]);
    let count = AtomicUsize::new(0);
    let served = net.serve_tls("server.test", 443, tls, move |stream| {
        be_polite(stream, count.fetch_add(1, Ordering::Relaxed) + 1)
    });
    served.link(Link::new().latency(Duration::from_millis(50)));
    let client = client_over_tls(&net);
    let told = at_once(&net, &client, 40);
    assert!(
        told.iter().all(|line| line.starts_with("200 x-seen=1")),
        "{told:#?}"
    );
    assert_eq!(served.attempts(), 1, "one probe");
    nothing_is_left(&net, client);
}

#[test]
fn server_without_http_2_serves_waiting_requests_over_http_1_1() {
    let net = MockNet::new();
    for alpn in [&[Alpn::Http1][..], &[]] {
        let tls = TlsServer::new().alpn(alpn);
        let served = net.serve_tls("server.test", 443, tls, async |mut stream: ServerStream| {
            while stream.read_head().await.is_ok() {
                stream.sleep(SECOND).await;
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        });
        served.link(Link::new().latency(Duration::from_millis(50)));
        let client = client_over_tls(&net);
        let told = at_once(&net, &client, 10);
        assert!(told.iter().all(|line| line == "200 \"ok\""), "{told:#?}");
        nothing_is_left(&net, client);
    }
}

/// Serves HTTP/1.1 to requests that did not get HTTP/2, and records their paths.
async fn serve_http1(mut stream: ServerStream, asked: Arc<std::sync::Mutex<Vec<String>>>) {
    while let Ok(head) = stream.read_head().await {
        let length = head
            .to_ascii_lowercase()
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split_once("\r\n")?.0.parse().ok())
            .unwrap_or(0);
        stream.read_exact(length).await.unwrap();
        let line = head.lines().next().unwrap_or_default().to_owned();
        asked.lock().unwrap().push(format!("{line} +{length}"));
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// Responds to the first request with these frames, and ends.
async fn demand_once(stream: ServerStream, demand: fn(u32) -> Vec<Frame>) {
    let mut peer = Peer::accept(stream, Record::default()).await.unwrap();
    peer.send(&[settings(&[])]).await.unwrap();
    let stream = peer.request().await.unwrap().frame.stream;
    peer.send(&demand(stream)).await.unwrap();
    // The client may end it before.
    let _ = peer.wait(SECOND).await;
}

/// A body that can be sent once.
fn sent_once() -> Body {
    let mut left = Some(bytes::Bytes::from_static(b"once"));
    Body::poll_fn(move |_| std::task::Poll::Ready(left.take().map(Ok::<_, httpcore::Error>)))
}

#[test]
fn http_1_1_required_sends_the_request_again_over_http_1_1_and_is_remembered() {
    // By a reset of the stream, by GOAWAY below it, and by GOAWAY above it and the end.
    let demands: [fn(u32) -> Vec<Frame>; 3] = [
        |stream| vec![reset(stream, code::HTTP_1_1_REQUIRED)],
        |_| vec![goaway(0, code::HTTP_1_1_REQUIRED)],
        |stream| vec![goaway(stream, code::HTTP_1_1_REQUIRED)],
    ];
    for (number, demand) in demands.into_iter().enumerate() {
        let net = MockNet::new();
        let tls = TlsServer::new().alpn(&[Alpn::Http2, Alpn::Http1]);
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (asked_too, count) = (asked.clone(), AtomicUsize::new(0));
        let served = net.serve_tls("server.test", 443, tls, move |stream: ServerStream| {
            let (asked, is_first) = (
                asked_too.clone(),
                count.fetch_add(1, Ordering::Relaxed) == 0,
            );
            async move {
                // Over HTTP/2 the later ones would be requests for `PRI *`.
                if !is_first {
                    return serve_http1(stream, asked).await;
                }
                demand_once(stream, demand).await;
            }
        });
        let client = client_over_tls(&net);
        let post = client.request("POST", "/one", "four");
        assert_eq!(net.run(client.send(post)), "200 \"ok\"", "demand {number}");
        assert_eq!(net.run(client.get("/two")), "200 \"ok\"");
        client.pool.close_idle();
        assert_eq!(net.run(client.get("/three")), "200 \"ok\"");
        let asked = asked.lock().unwrap().clone();
        let expected = [
            "POST /one HTTP/1.1 +4",
            "GET /two HTTP/1.1 +0",
            "GET /three HTTP/1.1 +0",
        ];
        assert_eq!(asked, expected, "demand {number}");
        assert_eq!(served.attempts(), 3, "one of them over HTTP/2");
        nothing_is_left(&net, client);
    }
}

#[test]
fn body_that_cannot_be_replayed_is_not_sent_again_over_http_1_1() {
    let net = MockNet::new();
    let tls = TlsServer::new().alpn(&[Alpn::Http2, Alpn::Http1]);
    net.serve_tls("server.test", 443, tls, async |stream: ServerStream| {
        demand_once(stream, |stream| {
            vec![reset(stream, code::HTTP_1_1_REQUIRED)]
        })
        .await;
    });
    let client = client_over_tls(&net);
    let request = client.request("POST", "/", sent_once());
    let error = net.run(client.pool.request(request)).unwrap_err();
    assert_eq!(error.attempts(), 1, "{error:?}");
    let code = error.http2_error_code().unwrap();
    assert_eq!(code.to_string(), "HTTP_1_1_REQUIRED (0xd)");
    nothing_is_left(&net, client);
}

#[test]
fn early_response_says_whether_the_upload_was_cut_short() {
    // Whether the body comes to its end.
    for (ends, state) in [(true, None), (false, Some(UploadState::CutShort))] {
        let net = MockNet::new();
        serve(&net, &[], async |mut peer, _| {
            let stream = peer.request().await?.frame.stream;
            peer.wait(SECOND).await?;
            peer.send(&[ok(stream), data(stream, "bo")]).await?;
            peer.wait(SECOND).await?;
            peer.send(&[data(stream, "dy").end()]).await?;
            peer.wait(SECOND).await
        });
        let client = client(&net);
        let mut left = Some(bytes::Bytes::from_static(b"piece"));
        let body = Body::poll_fn(move |_| match left.take() {
            None if !ends => std::task::Poll::Pending,
            piece => std::task::Poll::Ready(piece.map(Ok::<_, httpcore::Error>)),
        });
        let request = client.request("POST", "/case", body);
        let response = net.run(client.pool.request(request)).unwrap();
        let early = response.extensions().get::<EarlyResponse>().cloned();
        if state.is_some() {
            assert_eq!(early.as_ref().unwrap().upload(), UploadState::Sending);
        }
        assert_eq!(net.run(response.into_body().bytes(10)).unwrap(), "body");
        assert_eq!(early.map(|early| early.upload()), state);
        nothing_is_left(&net, client);
    }
}

#[test]
fn dynamic_table_has_the_configured_size() {
    for (size, said) in [
        (4096, None),
        (0, Some(0)),
        (8192, Some(8192)),
        (1 << 30, Some(1 << 16)),
    ] {
        let net = MockNet::new();
        let (_, records) = serve(&net, &[], async |mut peer, number| {
            peer.serve(|request| answer(request, number)).await
        });
        let client = client_with(&net, |builder| {
            let mut config = httpcore::config::Http2Config::default();
            config.header_table_size = size;
            builder.configure_http2(|http2| *http2 = config)
        });
        assert!(net.run(client.get("/")).starts_with("200 "));
        let record = records.lock().unwrap()[0].clone();
        let settings = record.of(kind::SETTINGS);
        let entries = settings[0].frame.payload.chunks_exact(6);
        let mut told = entries
            .filter(|entry| entry[..2] == [0, 1])
            .map(|entry| u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]));
        assert_eq!(told.next_back(), said);
        nothing_is_left(&net, client);
    }
}

#[test]
fn misdirected_request_is_sent_again_once_on_a_new_connection() {
    // Number of connections that respond with 421, and the outcome of a POST.
    for (wrong, told, attempts) in [
        (1, "200 x-seen=2 \"/case\"", 2),
        (9, "421 \"elsewhere\"", 2),
    ] {
        let net = MockNet::new();
        let (served, records) = serve(&net, &[], move |mut peer, number| async move {
            loop {
                let request = peer.request().await?;
                let stream = request.frame.stream;
                if number <= wrong && request.field(":path") == Some("/case") {
                    let head = headers(stream, &[(":status", "421")]);
                    peer.send(&[head, data(stream, "elsewhere").end()]).await?;
                } else {
                    peer.send(&answer(&request, number)).await?;
                }
            }
        });
        let client = client(&net);
        let post = client.request("POST", "/case", "again");
        assert_eq!(net.run(client.send(post)), told);
        assert_eq!(served.attempts(), attempts);
        // Others go on over either.
        assert!(net.run(client.get("/other")).starts_with("200 x-seen="));
        assert_eq!(served.attempts(), attempts);
        let carried: usize = records.lock().unwrap().iter().map(heads).sum();
        assert_eq!(carried, 3);
        nothing_is_left(&net, client);
    }
}

#[test]
fn misdirected_request_that_cannot_be_sent_again_returns_its_response() {
    for may_retry in [true, false] {
        let net = MockNet::new();
        let (served, _) = serve(&net, &[], async |mut peer, _| {
            loop {
                let stream = peer.request().await?.frame.stream;
                let head = headers(stream, &[(":status", "421")]);
                peer.send(&[head, data(stream, "elsewhere").end()]).await?;
            }
        });
        let client = client_with(&net, |builder| match may_retry {
            true => builder,
            false => {
                let mut config = httpcore::config::PoolConfig::default();
                config.retry = httpcore::config::Retry::Never;
                builder.configure_pool(|pool| *pool = config)
            }
        });
        let body = match may_retry {
            true => sent_once(),
            false => Body::from("x"),
        };
        let request = client.request("POST", "/case", body);
        let response = net.run(client.pool.request(request)).unwrap();
        assert_eq!(response.status(), 421);
        assert!(response.extensions().get::<MisdirectedRequest>().is_none());
        drop(response);
        assert_eq!(served.attempts(), 1);
        nothing_is_left(&net, client);
    }
}

#[test]
fn disabled_protocol_is_not_offered() {
    let net = MockNet::new();
    let tls = TlsServer::new().alpn(&[Alpn::Http2, Alpn::Http1]);
    net.serve_tls("server.test", 443, tls, async |mut stream: ServerStream| {
        while stream.read_head().await.is_ok() {
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    });
    let old = TlsServer::new().alpn(&[Alpn::Http1]);
    net.serve_tls("old.test", 443, old, async |stream: ServerStream| {
        stream.stall().await
    });
    let client = |http1, http2| {
        let pool = ConnectionPool::builder()
            .tls(Arc::new(MockTls::new()))
            .http1(http1)
            .http2(http2)
            .build(Arc::new(net.clone()));
        Client::new(pool, Arc::new(net.clone()), "https://server.test")
    };
    let without = client(true, false);
    assert_eq!(net.run(without.get("/")), "200 \"ok\"");
    let only = client(false, true);
    let error = net.run(only.pool.get("https://old.test/")).unwrap_err();
    assert_eq!(error.kind(), httpcore::ErrorKind::Tls, "{error:?}");
    assert!(only.pool.status().connections.is_empty());
    nothing_is_left(&net, without);
}

#[test]
fn server_that_closes_before_its_settings_fails_the_burst_and_not_the_pool() {
    let net = MockNet::new();
    let count = AtomicUsize::new(0);
    net.serve("server.test", 80, move |stream| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            if number > 1 {
                be_polite(stream, number).await;
            }
        }
    });
    let client = client(&net);
    let told = at_once(&net, &client, 5);
    // Requests sent on the first connection may have been processed.
    let answered = told.iter().filter(|line| line.starts_with("200 ")).count();
    let closed = told
        .iter()
        .filter(|line| line.starts_with("ConnectionClosed in ") || line.starts_with("Network in "))
        .count();
    assert_eq!(answered + closed, 5, "{told:#?}");
    assert!(net.run(client.get("/next")).starts_with("200 "));
    nothing_is_left(&net, client);
}

#[test]
fn drain_aborts_exchanges_on_a_shared_connection_at_its_deadline() {
    let net = MockNet::new();
    // One has no response, and the response of the other never ends.
    serve(&net, &[], async |mut peer, _| {
        let (one, two) = (peer.request().await?, peer.request().await?);
        let begun = match one.field(":path") {
            Some("/begun") => one.frame.stream,
            _ => two.frame.stream,
        };
        peer.send(&[ok(begun), data(begun, "some")]).await?;
        while peer.next().await?.is_some() {}
        Ok(())
    });
    let client = client(&net);
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    for path in ["/begun", "/waiting"] {
        let (client, told, net_too) = (client.clone(), told.clone(), net.clone());
        net.spawn("a request", async move {
            let line = client.get(path).await;
            told.lock().unwrap().push((net_too.elapsed(), line));
        });
    }
    net.advance(SECOND);
    let drained = net.run(client.pool.drain(5 * SECOND));
    assert_eq!(drained.aborted, 2);
    // Only the revocation ends them.
    net.run_until_idle();
    let mut told = told.lock().unwrap().clone();
    told.sort();
    assert_eq!(
        told,
        [
            "200 then PoolClosed in Body, sent Full, response begun, connection new, attempts 1",
            "PoolClosed in Head, sent Full, response not begun, connection reused, attempts 1",
        ]
        .map(|line| (6 * SECOND, line.to_owned()))
    );
    nothing_is_left(&net, client);
}
