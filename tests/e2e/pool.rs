//! The pool through the facade, over HTTP/1.1 in virtual time.

#![allow(clippy::unwrap_used)] // a test may: clippy.toml speaks of test functions only, not of their helpers

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use httpcore::{
    Body, ConnectionPool, ConnectionPoolBuilder, ErrorKind, Upgraded,
    error::{ConnectionRevoked, ErrorPhase, Fault},
    extensions::{ConnectionPolicy, EarlyResponse, Partition, UploadState},
    trace::CloseReason,
};
use httpcore_net_mock::{Link, LiveCounts, MockNet, ServerStream};

const SECOND: Duration = Duration::from_secs(1);

/// Serves `server.test`, says `fields` in every answer, and notes the heads.
fn serve(net: &MockNet, fields: &'static str) -> Arc<Mutex<Vec<String>>> {
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let heads_ = heads.clone();
    net.serve("server.test", 80, move |mut stream: ServerStream| {
        let heads = heads_.clone();
        async move {
            while let Ok(head) = stream.read_head().await {
                heads.lock().unwrap().push(head.to_string());
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{fields}\r\nok");
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
    });
    heads
}

fn pool(
    net: &MockNet,
    set: impl FnOnce(ConnectionPoolBuilder) -> ConnectionPoolBuilder,
) -> ConnectionPool {
    let builder = ConnectionPool::builder().idle_timeout(None);
    set(builder).build(Arc::new(net.clone()))
}

fn get() -> http::request::Builder {
    http::Request::get("http://server.test/")
}

async fn fetch(pool: &ConnectionPool, request: http::request::Builder) {
    let response = pool.request(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.unwrap().into_body().bytes(10).await.unwrap(), "ok");
}

#[test]
fn a_keep_alive_field_has_the_connection_closed_a_second_before_the_server_would() {
    let net = MockNet::new();
    serve(&net, "keep-alive: timeout=5, max=100\r\n");
    let pool = pool(&net, |builder| builder);
    net.run(async {
        fetch(&pool, get()).await;
        net.sleep(4 * SECOND - Duration::from_millis(1)).await;
        assert_eq!(pool.status().idle_connections, 1);
        net.sleep(Duration::from_millis(2)).await;
        assert_eq!(pool.status().idle_connections, 0);
    });
    assert_eq!(pool.stats().closed_for(CloseReason::IdleTimeout), 1);
}

/// A body of two pieces, the second of which comes once it is asked for again.
fn two_pieces(second: bool) -> Body {
    let mut left = 2;
    Body::poll_fn(move |_| match left {
        2 => {
            left = 1;
            std::task::Poll::Ready(Some(Ok::<_, httpcore::Error>("piece".into())))
        }
        1 if second => {
            left = 0;
            std::task::Poll::Ready(Some(Ok("piece".into())))
        }
        0 => std::task::Poll::Ready(None),
        _ => std::task::Poll::Pending,
    })
}

#[test]
fn a_response_that_cut_the_upload_short_can_be_told_from_one_that_did_not() {
    // Whether the request has a second piece, and whether it comes; the rest of the response.
    for (second, state) in [(true, None), (false, Some(UploadState::CutShort))] {
        let net = MockNet::new();
        net.serve(
            "server.test",
            80,
            move |mut stream: ServerStream| async move {
                stream.read_head().await.unwrap();
                stream.read_until("5\r\npiece\r\n").await.unwrap();
                if second {
                    stream.read_until("0\r\n\r\n").await.unwrap();
                }
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo";
                stream.write_all(head).await.unwrap();
                stream.sleep(SECOND).await;
                let _ = stream.write_all("dy").await;
            },
        );
        let pool = pool(&net, |builder| builder);
        let request = http::Request::post("http://server.test/").body(two_pieces(second));
        let response = net.run(pool.request(request.unwrap())).unwrap();
        let early = response.extensions().get::<EarlyResponse>().cloned();
        if state.is_some() {
            assert_eq!(early.as_ref().unwrap().upload(), UploadState::Sending);
        }
        assert_eq!(net.run(response.into_body().bytes(10)).unwrap(), "body");
        assert_eq!(early.map(|early| early.upload()), state);
    }
}

#[test]
fn a_misdirected_request_is_sent_again_once_on_a_new_connection() {
    // The first of the connections that does not say 421, and what comes of a POST.
    for (right, status, attempts) in [(2, 200, 2), (9, 421, 2)] {
        let net = MockNet::new();
        let count = AtomicUsize::new(0);
        let served = net.serve("server.test", 80, move |mut stream: ServerStream| {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                while stream.read_head().await.is_ok() {
                    assert_eq!(stream.read_exact(5).await.unwrap(), "again");
                    let status = if number < right { 421 } else { 200 };
                    let answer = format!("HTTP/1.1 {status} \r\ncontent-length: 2\r\n\r\nok");
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            }
        });
        let pool = pool(&net, |builder| builder);
        let request = http::Request::post("http://server.test/").body(Body::from("again"));
        let response = net.run(pool.request(request.unwrap())).unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(net.run(response.into_body().bytes(10)).unwrap(), "ok");
        assert_eq!(served.attempts(), attempts);
        assert_eq!(pool.stats().retried, 1);
    }
}

/// RFC 9110 §15.5.9: a server that has waited long enough on an idle connection may say 408 while the next
/// request is on its way.
#[test]
fn a_late_408_on_a_reused_connection_sends_an_idempotent_request_again() {
    for (method, first, close, status, connections) in [
        ("GET", 200, true, 200, 2),
        // What is not idempotent may have been processed.
        ("POST", 200, true, 408, 1),
        // On a new connection it is an answer.
        ("GET", 408, true, 408, 1),
        ("GET", 200, false, 408, 1),
    ] {
        let net = MockNet::new();
        let count = AtomicUsize::new(0);
        let served = net.serve("server.test", 80, move |mut stream: ServerStream| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            async move {
                let late = if close { "connection: close\r\n" } else { "" };
                let late = format!("HTTP/1.1 408 \r\n{late}content-length: 0\r\n\r\n");
                let ok = "HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n".to_owned();
                let answers = match (number, first) {
                    (0, 200) => vec![ok, late],
                    (0, _) => vec![late],
                    _ => vec![ok],
                };
                for answer in answers {
                    if stream.read_head().await.is_err() || stream.write_all(answer).await.is_err()
                    {
                        return;
                    }
                }
            }
        });
        let pool = pool(&net, |builder| builder);
        let request = || {
            let request = http::Request::builder()
                .method(method)
                .uri("http://server.test/");
            request.body(Body::empty()).unwrap()
        };
        if first == 200 {
            let response = net.run(pool.request(request())).unwrap();
            assert_eq!(response.status(), 200);
        }
        let response = net.run(pool.request(request())).unwrap();
        assert_eq!(response.status(), status, "{method} {first} {close}");
        assert_eq!(served.attempts(), connections, "{method} {first} {close}");
        assert_eq!(pool.stats().retried, u64::from(connections == 2));
    }
}

#[test]
fn a_request_which_is_to_be_the_last_tells_the_server_and_closes() {
    let net = MockNet::new();
    let heads = serve(&net, "");
    let pool = pool(&net, |builder| builder);
    net.run(async {
        fetch(&pool, get()).await;
        fetch(
            &pool,
            get().extension(ConnectionPolicy::default().with_close_after()),
        )
        .await;
    });
    assert!(pool.status().connections.is_empty());
    let heads = heads.lock().unwrap();
    let says_close: Vec<_> = heads
        .iter()
        .map(|head| head.contains("connection: close"))
        .collect();
    assert_eq!(says_close, [false, true]);
    assert_eq!(pool.stats().opened, 1);
}

#[test]
fn partitions_and_those_who_insist_on_a_new_one_do_not_share_connections() {
    let net = MockNet::new();
    serve(&net, "");
    let pool = pool(&net, |builder| builder);
    net.run(async {
        for _ in 0..2 {
            fetch(&pool, get()).await;
            fetch(&pool, get().extension(Partition::new("one"))).await;
            fetch(&pool, get().extension(Partition::new("two"))).await;
        }
        assert_eq!(pool.stats().opened, 3);
        fetch(
            &pool,
            get().extension(ConnectionPolicy::default().with_new_connection()),
        )
        .await;
        assert_eq!(pool.stats().opened, 4);
    });
    let status = format!("{:#}", pool.status());
    assert!(
        status.contains("<http://server.test:80 [one], HTTP/1.1, idle for"),
        "{status}"
    );
}

#[test]
fn an_origin_behind_a_black_hole_does_not_keep_the_others_waiting() {
    let net = MockNet::new();
    serve(&net, "");
    net.set_link("192.0.2.1:80".parse().unwrap(), Link::blackhole());
    let pool = pool(&net, |builder| {
        builder
            .max_connections(2)
            .timeouts(httpcore::Timeouts::none())
    });
    for _ in 0..10 {
        let sending = pool.get("http://192.0.2.1/");
        net.spawn("into the hole", async move { drop(sending.await) });
    }
    net.run_until_idle();
    assert_eq!(pool.status().active_connections, 2);
    net.run(async {
        fetch(&pool, get()).await;
        assert!(net.elapsed() < 6 * SECOND, "{:?}", net.elapsed());
    });
    net.clear();
}

#[test]
fn a_refused_connect_is_repeated_as_often_as_was_asked_for() {
    let net = MockNet::new();
    net.set_link("192.0.2.1:80".parse().unwrap(), Link::refused());
    let pool = pool(&net, |builder| builder.connect_retries(3));
    net.run(async {
        let error = pool.get("http://192.0.2.1/").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        // At once, after half a second and after a second.
        assert_eq!(net.elapsed().as_millis(), 1_500);
    });
    assert_eq!(pool.stats().dials_retried, 3);
}

#[test]
fn drained_pool_serves_earlier_requests_and_rejects_later_ones() {
    let net = MockNet::new();
    serve(&net, "");
    let pool = pool(&net, |builder| builder.max_connections(1));
    net.run(async {
        let response = pool.get("http://server.test/").await.unwrap();
        let (pool_, net_) = (pool.clone(), net.clone());
        net.spawn("reader", async move {
            net_.sleep(SECOND).await;
            response.into_body().bytes(10).await.unwrap();
            drop(pool_);
        });
        assert_eq!(pool.drain(60 * SECOND).await.aborted, 0);
        let error = pool.get("http://server.test/").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PoolClosed);
    });
    assert!(pool.status().connections.is_empty());
}

/// Answers the path `/head` never, `/body` with a body that does not end, and `/stream` with a switch
/// to silence.
fn serve_endlessly(net: &MockNet) {
    net.serve("server.test", 80, async |mut stream| {
        let Ok(head) = stream.read_head().await else {
            return;
        };
        let answer = match head.split(' ').nth(1) {
            Some("/body") => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n",
            Some("/stream") => {
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
            }
            _ => "",
        };
        let _ = stream.write_all(answer).await;
        stream.stall().await;
    });
}

fn get_path(path: &str) -> httpcore::Request {
    http::Request::get(format!("http://server.test{path}"))
        .header("connection", "upgrade")
        .header("upgrade", "x")
        .body(Body::empty())
        .unwrap()
}

#[test]
fn a_drain_that_has_waited_long_enough_breaks_off_whatever_has_not_ended() {
    let net = MockNet::new();
    serve_endlessly(&net);
    let pool = pool(&net, |builder| builder);
    let ends = Arc::<Mutex<Vec<String>>>::default();
    let tell = |text: String| ends.lock().unwrap().push(text);
    net.run(async {
        let mut body = pool.request(get_path("/body")).await.unwrap().into_body();
        assert_eq!(body.chunk().await.unwrap().unwrap(), "x");
        let mut response = pool.request(get_path("/stream")).await.unwrap();
        let (mut reader, mut writer) = Upgraded::take_from(&mut response).unwrap().split();

        let heads = pool.clone();
        let ends_ = ends.clone();
        net.spawn("head", async move {
            let error = heads.request(get_path("/head")).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.fault()),
                (ErrorKind::PoolClosed, Fault::Local)
            );
            assert!(!error.is_retryable());
            ends_
                .lock()
                .unwrap()
                .push(format!("{:?}: {error}", error.phase()));
        });
        let ends_ = ends.clone();
        net.spawn("reader", async move {
            let error = reader.read(&mut BytesMut::new()).await.unwrap_err();
            assert!(ConnectionRevoked::is_source_of(&error), "{error}");
            ends_.lock().unwrap().push(format!("read: {error}"));
        });
        let ends_ = ends.clone();
        net.spawn("writer", async move {
            // The server never reads, and buffers are bounded.
            let error = writer.write_all(&vec![0; 10 << 20]).await.unwrap_err();
            assert!(ConnectionRevoked::is_source_of(&error), "{error}");
            ends_.lock().unwrap().push(format!("write: {error}"));
        });
        let drain = pool.drain(SECOND);
        let ends_ = ends.clone();
        net.spawn("drain", async move {
            let drained = drain.await;
            ends_
                .lock()
                .unwrap()
                .push(format!("{} unfinished", drained.aborted));
        });

        let error = body.chunk().await.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::PoolClosed, ErrorPhase::Body)
        );
        tell(format!("body: {error}"));
        net.sleep(SECOND).await;
    });
    let mut ends = std::mem::take(&mut *ends.lock().unwrap());
    ends.sort();
    let exchange = "the pool was drained before the exchange ended";
    let stream = "connection revoked: the pool was drained and its deadline has passed";
    assert_eq!(
        ends,
        [
            "3 unfinished".to_owned(),
            format!("Head: {exchange}"),
            format!("body: {exchange}"),
            format!("read: {stream}"),
            format!("write: {stream}"),
        ]
    );
    assert_eq!(net.elapsed(), 2 * SECOND);
    let revoked = CloseReason::Revoked;
    assert_eq!(pool.stats().closed_for(revoked), 2);
    assert_eq!(pool.status().active_requests, 0);
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts().streams, 0);
}

#[test]
fn what_is_not_asked_meanwhile_hears_of_the_drain_when_it_is() {
    let net = MockNet::new();
    serve_endlessly(&net);
    let pool = pool(&net, |builder| builder);
    net.run(async {
        let mut response = pool.request(get_path("/stream")).await.unwrap();
        let mut stream = Upgraded::take_from(&mut response).unwrap();
        let mut body = pool.request(get_path("/body")).await.unwrap().into_body();
        assert_eq!(pool.drain(SECOND).await.aborted, 2);
        let error = stream.write_all(b"hello?").await.unwrap_err();
        assert!(ConnectionRevoked::is_source_of(&error), "{error}");
        // Although there is something to be read.
        let error = body.chunk().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PoolClosed);
    });
}

#[test]
fn pool_is_freed_after_a_drain_in_any_order_of_its_waiters() {
    for (first, last) in [("holder", "waiter"), ("waiter", "holder")] {
        let net = MockNet::new();
        serve_endlessly(&net);
        let pool = pool(&net, |builder| builder.max_connections(1));
        let (holds, waits) = (pool.clone(), pool.clone());
        net.run(async {
            let mut body = holds.request(get_path("/body")).await.unwrap().into_body();
            drop(holds);
            let mut waiting = Box::pin(waits.request(get_path("/head")));
            drop(waits);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            assert_eq!(pool.drain(SECOND).await.aborted, 2);
            drop(pool);
            for who in [first, last] {
                match who {
                    "holder" => while let Ok(Some(_)) = body.chunk().await.transpose() {},
                    _ => {
                        let refused = waiting.as_mut().await.unwrap_err();
                        assert_eq!(refused.kind(), ErrorKind::PoolClosed);
                    }
                }
            }
        });
        net.run_until_idle();
        assert_eq!(net.live_counts(), LiveCounts::default(), "{}", net.report());
    }
}

#[test]
fn a_stream_that_ends_in_time_is_waited_for() {
    let net = MockNet::new();
    serve_endlessly(&net);
    let pool = pool(&net, |builder| builder);
    net.run(async {
        let mut response = pool.request(get_path("/stream")).await.unwrap();
        let stream = Upgraded::take_from(&mut response).unwrap();
        let sleep = net.sleep(SECOND / 2);
        net.spawn("user", async move {
            sleep.await;
            drop(stream);
        });
        assert_eq!(pool.drain(SECOND).await.aborted, 0);
    });
    assert_eq!(net.elapsed(), SECOND / 2);
}

#[test]
fn what_a_drain_breaks_off_hears_of_it_although_the_pool_is_dropped_at_once() {
    let net = MockNet::new();
    serve_endlessly(&net);
    let pool = pool(&net, |builder| builder);
    net.run(async {
        let mut body = pool.request(get_path("/body")).await.unwrap().into_body();
        let mut response = pool.request(get_path("/stream")).await.unwrap();
        let mut stream = Upgraded::take_from(&mut response).unwrap();
        let heard = Arc::<Mutex<bool>>::default();
        let hears = heard.clone();
        net.spawn("reader", async move {
            let error = stream.read(&mut BytesMut::new()).await.unwrap_err();
            assert!(ConnectionRevoked::is_source_of(&error), "{error}");
            *hears.lock().unwrap() = true;
        });
        assert_eq!(pool.drain(SECOND).await.aborted, 2);
        // Before any of them has been polled.
        drop(pool);
        net.sleep(SECOND).await;
        assert!(*heard.lock().unwrap());
        let error = body.chunk().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PoolClosed);
    });
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default(), "{}", net.report());
}
