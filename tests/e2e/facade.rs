//! What a caller of `httpcore` relies on, over the network in virtual time.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in their helpers

use std::{sync::Arc, time::Duration};

use httpcore::{
    Body, ConnectionPool, Error, ErrorKind, Timeouts,
    error::{ErrorPhase, RequestSent, TimeoutKind},
    http,
    proxy::{Proxy, UseProxy},
};
use httpcore_net_mock::{DnsEntry, Link, MockNet, MockTls};

const SECOND: Duration = Duration::from_secs(1);

/// A network whose only server reads a head and then sends nothing.
fn silent() -> MockNet {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.sleep(3600 * SECOND).await;
    });
    net
}

/// Sends a GET with these limits to a silent server, through a pool with those.
fn error_within(pools: Timeouts, requests: Timeouts) -> (ErrorKind, Duration) {
    let net = silent();
    let pool = ConnectionPool::builder()
        .timeouts(pools)
        .build(Arc::new(net.clone()));
    let request = http::Request::get("http://server.test/")
        .extension(requests)
        .body(Body::empty())
        .unwrap();
    let error: Error = net.run(async { pool.request(request).await }).unwrap_err();
    (error.kind(), net.elapsed())
}

#[test]
fn a_requests_total_limit_leaves_its_pools_read_limit_in_force() {
    let pools = Timeouts::default().with_read(3 * SECOND);
    let requests = Timeouts::default().with_total(60 * SECOND);
    assert_eq!(
        error_within(pools, requests),
        (ErrorKind::Timeout(TimeoutKind::Read), 3 * SECOND)
    );
}

/// A step of connecting at which a network hangs, and how to get there.
struct Hangs {
    phase: ErrorPhase,
    url: &'static str,
    proxy: Option<&'static str>,
    prepare: fn(&MockNet),
}

#[test]
fn total_limit_reports_the_step_that_the_attempt_to_connect_has_reached() {
    for case in [
        Hangs {
            phase: ErrorPhase::Resolve,
            url: "http://server.test/",
            proxy: None,
            prepare: |net| net.name("server.test", DnsEntry::never()),
        },
        Hangs {
            phase: ErrorPhase::Connect,
            url: "http://server.test/",
            proxy: None,
            prepare: |net| {
                let served = net.serve("server.test", 80, async |stream| stream.stall().await);
                served.link(Link::blackhole());
            },
        },
        Hangs {
            phase: ErrorPhase::Tls,
            url: "https://server.test/",
            proxy: None,
            prepare: |net| {
                net.serve("server.test", 443, async |stream| stream.stall().await);
            },
        },
        Hangs {
            phase: ErrorPhase::Proxy,
            url: "https://server.test/",
            proxy: Some("http://proxy.test:3128"),
            prepare: |net| {
                net.serve("proxy.test", 3128, async |stream| stream.stall().await);
            },
        },
        Hangs {
            phase: ErrorPhase::Proxy,
            url: "http://server.test/",
            proxy: Some("socks5h://proxy.test:1080"),
            prepare: |net| {
                net.serve("proxy.test", 1080, async |stream| stream.stall().await);
            },
        },
        Hangs {
            phase: ErrorPhase::Tls,
            url: "http://server.test/",
            proxy: Some("https://proxy.test:3128"),
            prepare: |net| {
                net.serve("proxy.test", 3128, async |stream| stream.stall().await);
            },
        },
        Hangs {
            phase: ErrorPhase::Resolve,
            url: "http://server.test/",
            proxy: Some("socks5://proxy.test:1080"),
            prepare: |net| {
                net.serve("proxy.test", 1080, async |stream| stream.stall().await);
                net.name("server.test", DnsEntry::never());
            },
        },
    ] {
        let net = MockNet::new();
        (case.prepare)(&net);
        let pool = ConnectionPool::builder()
            .tls(Arc::new(MockTls::new()))
            .timeouts(Timeouts::none())
            .build(Arc::new(net.clone()));
        let get = |total: u32| {
            let mut request = http::Request::get(case.url)
                .extension(Timeouts::default().with_total(total * SECOND))
                .body(Body::empty())
                .unwrap();
            if let Some(proxy) = case.proxy {
                let proxy: Proxy = proxy.parse().unwrap();
                request.extensions_mut().insert(UseProxy::through(proxy));
            }
            pool.request(request)
        };
        // The first has its own attempt; the second one waits for that, and then takes it over.
        let (first, second) = (get(3), get(5));
        let errors = net.run(async {
            let mut first = std::pin::pin!(first);
            let mut second = std::pin::pin!(second);
            let mut errors = (None, None);
            std::future::poll_fn(|cx| {
                use std::task::Poll;
                if errors.0.is_none()
                    && let Poll::Ready(outcome) = first.as_mut().poll(cx)
                {
                    errors.0 = outcome.err();
                }
                if errors.1.is_none()
                    && let Poll::Ready(outcome) = second.as_mut().poll(cx)
                {
                    errors.1 = outcome.err();
                }
                match errors {
                    (Some(_), Some(_)) => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            })
            .await;
            [errors.0, errors.1]
        });
        assert_eq!(net.elapsed(), 5 * SECOND);
        for error in errors.into_iter().flatten() {
            let context = format!("{} {:?}: {error:?}", case.url, case.proxy);
            assert_eq!(
                error.kind(),
                ErrorKind::Timeout(TimeoutKind::Total),
                "{context}"
            );
            assert_eq!(error.phase(), case.phase, "{context}");
            assert_eq!(error.sent(), RequestSent::None, "{context}");
        }
    }
}

#[test]
fn a_request_can_do_without_a_limit_of_its_pool() {
    let pools = Timeouts::default()
        .with_read(3 * SECOND)
        .with_total(60 * SECOND);
    let requests = Timeouts::default().without_read();
    assert_eq!(
        error_within(pools, requests),
        (ErrorKind::Timeout(TimeoutKind::Total), 60 * SECOND)
    );
}

#[test]
fn a_limit_set_for_a_stream_of_events_brings_back_none_of_its_pools() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        stream.write_all(head).await.unwrap();
        stream.sleep(50 * SECOND).await;
        stream.write_all("data: late\n\n").await.unwrap();
        stream.sleep(SECOND).await;
    });
    let pool = ConnectionPool::builder()
        .timeouts(Timeouts::default().with_total(SECOND))
        .build(Arc::new(net.clone()));
    let limits = Timeouts::default().with_read(60 * SECOND);
    let subscription = httpcore::sse::Subscription::new("http://server.test/").option(limits);
    let event = net.run(async { pool.events(subscription).event().await });
    assert_eq!(event.unwrap().unwrap().data, "late");
    assert_eq!(net.elapsed(), 50 * SECOND);
}

#[test]
fn an_untrusted_certificate_is_not_retryable_and_says_why() {
    let net = MockNet::new();
    let expired = httpcore::mock::TlsServer::new().bad_certificate("expired");
    net.serve_tls("server.test", 443, expired, async |stream| {
        stream.stall().await
    });
    let pool = ConnectionPool::builder()
        .tls(Arc::new(MockTls::new()))
        .build(Arc::new(net.clone()));
    let error = net.run(async { pool.get("https://server.test/").await });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("expired"), "{error}");
    assert_eq!(format!("{error:#}").matches("expired").count(), 1);
}

#[test]
fn a_server_that_speaks_no_tls_is_not_retryable_and_one_that_hangs_up_is() {
    let answers = async |mut stream: httpcore::mock::ServerStream| {
        stream
            .write_all("HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        stream.stall().await;
    };
    let hangs_up = async |mut stream: httpcore::mock::ServerStream| {
        // A ClientHello; dropping the stream closes it.
        stream.read_exact(5).await.unwrap();
    };
    for (is_http, kind, retryable) in [
        (true, ErrorKind::Tls, false),
        (false, ErrorKind::ConnectionClosed, true),
    ] {
        let net = MockNet::new();
        if is_http {
            net.serve("server.test", 443, answers);
        } else {
            net.serve("server.test", 443, hangs_up);
        }
        // With rustls, as by default.
        let pool = ConnectionPool::new(Arc::new(net.clone()));
        let error = net.run(async { pool.get("https://server.test/").await });
        let error = error.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (kind, retryable),
            "{error:?}"
        );
        let tls = httpcore::tls::TlsError::find_in(&error);
        assert!(tls.is_some(), "{error:?}");
    }
}

#[test]
fn tls_choices_do_not_outlive_their_owners_and_connections() {
    use httpcore::{extensions::TlsOverride, mock};
    let net = MockNet::new();
    net.serve_tls(
        "server.test",
        443,
        mock::TlsServer::new(),
        async |mut stream: mock::ServerStream| {
            while stream.read_head().await.is_ok() {
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        },
    );
    for http2 in [false, true] {
        let pool = ConnectionPool::builder()
            .http2(http2)
            .build(Arc::new(net.clone()));
        let alive: Vec<_> = (0..100)
            .map(|_| {
                let connector = Arc::new(MockTls::new());
                let request = http::Request::get("https://server.test/")
                    .extension(TlsOverride::new(connector.clone()))
                    .body(Body::empty())
                    .unwrap();
                let text =
                    net.run(async { pool.request(request).await?.into_body().bytes(9).await });
                assert_eq!(text.unwrap(), "ok");
                Arc::downgrade(&connector)
            })
            .collect();
        pool.close_idle();
        net.run_until_idle();
        let left = alive.iter().filter(|tls| tls.strong_count() > 0).count();
        assert_eq!(left, 0, "{http2}");
    }
}

#[test]
fn a_request_takes_whatever_becomes_a_body() -> Result<(), Error> {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        while let Ok(head) = stream.read_head().await {
            let size = if head.contains("content-length: 4") {
                4
            } else {
                0
            };
            assert_eq!(stream.read_exact(size).await.unwrap(), "four"[..size]);
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
        }
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let post = || http::Request::post("http://server.test/");
    net.run(async {
        for response in [
            pool.request(post().body("four")?).await?,
            pool.request(post().body(String::from("four"))?).await?,
            pool.request(post().body(vec![b'f', b'o', b'u', b'r'])?)
                .await?,
            pool.request(post().body(())?).await?,
        ] {
            assert_eq!(response.into_body().bytes(9).await?, "ok");
        }
        Ok(())
    })
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn a_refused_request_that_is_polled_again_panics() {
    let pool = ConnectionPool::new(Arc::new(MockNet::new()));
    let mut request = std::pin::pin!(pool.get("no url"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(request.as_mut().poll(&mut cx).is_ready());
    let _ = request.as_mut().poll(&mut cx);
}
