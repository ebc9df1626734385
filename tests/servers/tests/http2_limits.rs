//! What servers of HTTP/2 do to their clients: limits, GOAWAY, and unsolicited frames.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Version};
use httpcore::{Body, ConnectionPool, ConnectionPoolBuilder, error::BoxError, tls::TlsVersion};
use httpcore_proto_h1::OnInformational;
use httpcore_servers::{
    Authority, Door, Front, Server,
    client::{Answer, Client, trusting, upload},
    require_nghttpd, require_nginx_http2, require_nginx_tls, require_openssl,
};

/// How long a test waits for what must come: a bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

fn prior_knowledge() -> ConnectionPoolBuilder {
    ConnectionPool::builder().http1(false).http2(true)
}

/// Hypercorn ends a connection after its thousandth request.
#[test]
fn connection_that_hypercorn_ends_after_a_thousand_requests_fails_no_request() {
    let Some(hypercorn) = Front::Hypercorn.require(Door::Plain) else {
        return;
    };
    let client = Client::new(prior_knowledge()).unwrap();
    client
        .many(3_000, 100, &hypercorn.url("/hello"), |answer| {
            assert_eq!(
                (answer.status(), answer.head.version),
                (200, Version::HTTP_2)
            );
        })
        .unwrap();
    let counters = client.asker.pool.stats();
    println!("{counters:?}");
    assert!(counters.opened >= 3, "{counters:?}");
}

/// Remembers how often any request was sent again.
fn most(retries: &Arc<AtomicUsize>) -> impl Fn(&Answer) + Clone + Send + 'static + use<> {
    let retries = retries.clone();
    move |answer: &Answer| {
        assert_eq!(
            (answer.status(), answer.head.version),
            (200, Version::HTTP_2)
        );
        retries.fetch_max(answer.retries, Ordering::Relaxed);
    }
}

/// Runs `test` with nginx without TLS, and with TLS.
fn with_nginx(directives: &str, test: impl Fn(&Server, &str, &Client)) {
    let authority = Authority::new().unwrap();
    for door in [Door::Plain, Door::Tls(&authority)] {
        let Some(nginx) = require_nginx_http2(door, directives) else {
            return;
        };
        let (base, builder) = match door {
            Door::Plain => (nginx.url(""), prior_knowledge()),
            Door::Tls(authority) => {
                let builder = trusting(authority, TlsVersion::Tls12, TlsVersion::Tls13).unwrap();
                (nginx.https_url(""), builder)
            }
        };
        test(&nginx, &base, &Client::new(builder).unwrap());
    }
}

#[test]
fn connection_that_nginx_ends_after_twenty_requests_fails_no_request() {
    with_nginx("keepalive_requests 20;", |_, base, client| {
        let retries = Arc::default();
        let url = format!("{base}/hello");
        client.many(2_000, 50, &url, most(&retries)).unwrap();
        println!("sent again at most {retries:?} times");
        let counters = client.asker.pool.stats();
        println!("{counters:?}");
        assert!(counters.opened >= 100, "{counters:?}");
    });
}

/// What nginx says that it did not process, it did not: not even a POST has to fail, and the origin
/// sees each of them once.
#[test]
fn a_connection_that_nginx_ends_costs_no_post_and_sends_none_twice() {
    const WORKERS: u64 = 50;
    const POSTS: u64 = 10;
    with_nginx("keepalive_requests 20;", |nginx, base, client| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                let (asker, url) = (client.asker.clone(), format!("{base}/sink"));
                client.epoll.spawn(async move {
                    for _ in 0..POSTS {
                        let answer = asker.fetch(Request::post(&url), "once".into()).await?;
                        assert!(answer.text().contains("\"bytes\": 4,"), "{}", answer.text());
                    }
                    Ok::<_, BoxError>(())
                })
            })
            .collect();
        client.epoll.block_on(async {
            for worker in workers {
                worker.await.unwrap();
            }
        });
        let counters = client.asker.pool.stats();
        println!("{counters:?}");
        assert!(counters.retried > 0, "{counters:?}");
        assert_eq!(nginx.origin().unwrap().stats().requests, WORKERS * POSTS);
    });
}

#[test]
fn more_requests_than_nginx_allows_on_a_connection_get_another() {
    with_nginx("http2_max_concurrent_streams 4;", |_, base, client| {
        client
            .many(200, 32, &format!("{base}/wait/20"), |answer| {
                assert_eq!(
                    (answer.status(), answer.head.version),
                    (200, Version::HTTP_2)
                );
            })
            .unwrap();
        let counters = client.asker.pool.stats();
        println!("{counters:?}");
        assert!((2..=8).contains(&counters.opened), "{counters:?}");
        assert_eq!(counters.retried, 0, "{counters:?}");
    });
}

/// nginx replaces its worker five times, and every request is answered.
fn a_reload_under_load_goes_unnoticed(nginx: &Server, base: &str, client: &Client) {
    const REQUESTS: usize = 6_000;
    let (reloader, answered) = (nginx.reloader(), Arc::new(AtomicUsize::new(0)));
    let count = answered.clone();
    client
        .many(REQUESTS, 50, &format!("{base}/hello"), move |answer| {
            assert_eq!(answer.status(), 200);
            let answered = count.fetch_add(1, Ordering::Relaxed) + 1;
            if answered.is_multiple_of(1_000) && answered < REQUESTS {
                reloader.reload().unwrap();
            }
        })
        .unwrap();
    assert_eq!(answered.load(Ordering::Relaxed), REQUESTS);
    let counters = client.asker.pool.stats();
    println!("{counters:?}");
    assert!(counters.opened > 1, "no worker was replaced: {counters:?}");
}

#[test]
fn a_reload_of_nginx_under_load_goes_unnoticed() {
    with_nginx(
        "keepalive_requests 1000000;",
        a_reload_under_load_goes_unnoticed,
    );
}

#[test]
fn an_upload_that_nginx_refuses_ends_with_its_answer() {
    const SIZE: u64 = 256 << 20;
    with_nginx("client_max_body_size 1m;", |_, base, client| {
        for announced in [true, false] {
            let (body, asked) = upload(SIZE);
            let mut request = Request::post(format!("{base}/sink"));
            if announced {
                request = request.header("content-length", SIZE);
            }
            let answer = client.send(request, body).unwrap();
            assert_eq!(answer.status(), 413, "{announced}");
            let asked = asked.load(Ordering::Relaxed);
            assert!(asked < SIZE, "{announced}: all of it was sent");
            assert_eq!(client.get(format!("{base}/hello")).unwrap().status(), 200);
        }
    });
}

#[test]
fn hints_of_node_and_hypercorn_reach_who_listens() {
    for front in [Front::Node, Front::Hypercorn] {
        let Some(server) = front.require(Door::Plain) else {
            continue;
        };
        let hints: Arc<Mutex<Vec<(u16, String)>>> = Arc::default();
        let told = hints.clone();
        let listener = OnInformational::new(move |response| {
            let link = response.headers().get("link");
            let link = link.map_or("", |link| link.to_str().unwrap()).to_owned();
            told.lock()
                .unwrap()
                .push((response.status().as_u16(), link));
        });
        let request = Request::get(server.url("/early-hints")).extension(listener);
        let answer = Client::new(prior_knowledge())
            .unwrap()
            .send(request, ())
            .unwrap();
        assert_eq!(
            (answer.status(), &*answer.text()),
            (200, "after the hints\n")
        );
        let hint = "</style.css>; rel=preload; as=style".to_owned();
        assert_eq!(*hints.lock().unwrap(), [(103, hint)], "{front:?}");
    }
}

#[test]
fn trailers_reach_node() {
    let Some(node) = Front::Node.require(Door::Plain) else {
        return;
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("4321"));
    let body = Body::from("a line\n").with_trailers(trailers);
    let request = Request::post(node.url("/trailed"));
    let answer = Client::new(prior_knowledge())
        .unwrap()
        .send(request, body)
        .unwrap();
    assert_eq!(&*answer.text(), r#"{"x-checksum":"4321"}"#);
}

/// Without any request, the pool closes a connection on which the server has sent GOAWAY.
#[test]
fn goaway_on_an_idle_connection_closes_it() {
    with_nginx("keepalive_timeout 1s;", |_, base, client| {
        for round in 1..=2 {
            let answer = client.get(format!("{base}/hello")).unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(client.asker.pool.stats().opened, round);
            let backend = client.epoll.backend();
            let deadline = backend.now() + PATIENCE;
            client.epoll.block_on(async {
                while client.epoll.handle().streams() > 0 {
                    assert!(backend.now() < deadline, "the GOAWAY is not noticed");
                    let mut timer = backend.timer("another look");
                    let next = backend.now() + Duration::from_millis(20);
                    poll_fn(|cx| timer.poll_until(cx, next)).await;
                }
            });
        }
        assert_eq!(client.asker.pool.stats().retried, 0);
    });
}

#[test]
fn nothing_is_pushed() {
    let Some(nghttpd) = require_nghttpd(Door::Plain, &["-p", "/hello=/bytes/268435456"]) else {
        return;
    };
    let client = Client::new(prior_knowledge()).unwrap();
    for _ in 0..3 {
        let answer = client.get(nghttpd.url("/hello")).unwrap();
        assert_eq!(
            (answer.status(), &*answer.text()),
            (200, "Hello from nghttpd!\n")
        );
    }
    drop(client);
    let log = nghttpd.log();
    assert!(log.contains("SETTINGS_ENABLE_PUSH(0x02):0"), "{log}");
    assert!(!log.contains("PUSH_PROMISE"), "{log}");
}

/// Both are offered, and who speaks HTTP/1.1 only is spoken to in HTTP/1.1.
#[test]
fn servers_without_http2_are_spoken_to_without() {
    let authority = Authority::new().unwrap();
    let builder = || trusting(&authority, TlsVersion::Tls12, TlsVersion::Tls13).unwrap();
    let Some(nginx) = require_nginx_tls(&authority, "TLSv1.2 TLSv1.3") else {
        return;
    };
    let client = Client::new(builder().max_connections(8)).unwrap();
    // Many at once, so that they wait for the answer of the first connection together.
    client
        .many(400, 40, &nginx.https_url("/hello.txt"), |answer| {
            assert_eq!(
                (answer.status(), answer.head.version),
                (200, Version::HTTP_11)
            );
        })
        .unwrap();
    assert!(client.asker.pool.stats().opened <= 8);

    // It knows nothing of ALPN, and so does not answer.
    let Some(openssl) = require_openssl(&authority, "-tls1_3") else {
        return;
    };
    let answer = Client::new(builder())
        .unwrap()
        .get(openssl.https_url("/"))
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.head.version < Version::HTTP_2, "{:?}", answer.head);
}

#[test]
fn threads_that_wait_share_a_connection_too() -> Result<(), BoxError> {
    let Some(nginx) = require_nginx_http2(Door::Plain, "") else {
        return Ok(());
    };
    let pool = prior_knowledge().build_blocking()?;
    let url = nginx.url("/hello");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let response = pool.get(url.as_str())?;
                        assert_eq!(response.version(), Version::HTTP_2);
                        assert_eq!(response.into_body().bytes(100)?, "Hello from nginx!\n");
                    }
                    Ok::<_, httpcore::Error>(())
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok::<_, BoxError>(())
    })?;
    assert_eq!(pool.stats().opened, 1);
    Ok(())
}
