//! Time limits, in virtual time.

use super::*;

#[test]
fn each_time_limit_ends_its_phase() {
    let limits = Timeouts::none()
        .with_write(3 * SECOND)
        .with_response_head(5 * SECOND)
        .with_read(4 * SECOND);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    type Script =
        Box<dyn FnOnce(ServerStream) -> httpcore_core_primitives::BoxFuture<'static, ()> + Send>;
    let rows: Vec<(&str, Body, Timeouts, Script, TimeoutKind, ErrorPhase, u64)> = vec![
        (
            "nothing is read",
            Body::from(vec![0; 100_000]),
            limits,
            Box::new(|server| Box::pin(server.stall())),
            TimeoutKind::Write,
            ErrorPhase::Send,
            3,
        ),
        (
            "a little is read, and then nothing",
            Body::from(vec![0; 100_000]),
            limits,
            Box::new(|mut server| {
                Box::pin(async move {
                    for _ in 0..4 {
                        server.sleep(2 * SECOND).await;
                        server.read_some().await.unwrap();
                    }
                    server.stall().await;
                })
            }),
            TimeoutKind::Write,
            ErrorPhase::Send,
            11,
        ),
        (
            "no word",
            Body::empty(),
            limits,
            Box::new(|server| Box::pin(server.stall())),
            TimeoutKind::Read,
            ErrorPhase::Head,
            4,
        ),
        (
            "a head, drop by drop",
            Body::empty(),
            limits,
            Box::new(move |mut server| {
                Box::pin(async move {
                    for byte in head.as_bytes() {
                        server.sleep(SECOND).await;
                        if server.write_all([*byte]).await.is_err() {
                            return;
                        }
                    }
                })
            }),
            TimeoutKind::ResponseHead,
            ErrorPhase::Head,
            5,
        ),
        (
            "half a body",
            Body::empty(),
            limits,
            Box::new(move |mut server| {
                Box::pin(async move {
                    server.write_all(head).await.unwrap();
                    for _ in 0..4 {
                        server.sleep(3 * SECOND).await;
                        server.write_all("x").await.unwrap();
                    }
                    server.stall().await;
                })
            }),
            TimeoutKind::Read,
            ErrorPhase::Body,
            16,
        ),
        (
            "an early head, and then neither direction",
            Body::from(vec![0; 100_000]),
            limits.with_write(100 * SECOND),
            Box::new(move |mut server| {
                Box::pin(async move {
                    server.write_all(head).await.unwrap();
                    server.stall().await;
                })
            }),
            TimeoutKind::Read,
            ErrorPhase::Body,
            4,
        ),
    ];
    for (what, body, timeouts, script, kind, phase, seconds) in rows {
        let net = MockNet::new();
        let link = Link::new().buffer(1000);
        let mut client = served(&net, link, |server| async { script(server).await });
        client.timeouts = timeouts;
        let error = net.run(async {
            match client.send(post(body)).await {
                Ok(response) => text(response).await.unwrap_err(),
                Err(error) => error.error,
            }
        });
        assert_eq!(error.kind(), ErrorKind::Timeout(kind), "{what}");
        assert_eq!(error.phase(), phase, "{what}");
        assert_eq!(
            net.elapsed(),
            SECOND * u32::try_from(seconds).unwrap(),
            "{what}"
        );
        assert_eq!(client.end(), Some(CloseReason::Failed));
        assert_eq!(
            (net.live_counts().streams, net.live_counts().timers),
            (0, 0),
            "{what}"
        );
        net.clear();
    }
}

#[test]
fn slow_response_does_not_outlast_the_total_deadline() {
    for (start, drop) in [
        ("", "H"),
        ("HTTP/1.1 200 OK\r\nx: ", "y"),
        ("HTTP/1.1 200 OK\r\n\r\n", "z"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\nz\r\n",
        ),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let net = MockNet::new();
        let mut client = served(&net, Link::new(), move |mut server| async move {
            server.read_head().await.unwrap();
            server.write_all(start).await.unwrap();
            let mut rest = if start.is_empty() && drop == "H" {
                "HTTP/1.1 200 OK\r\n\r\n".chars().collect::<VecDeque<_>>()
            } else {
                VecDeque::new()
            };
            loop {
                server.sleep(SECOND / 2).await;
                let next = rest.pop_front().map_or(drop.to_owned(), String::from);
                if server.write_all(next).await.is_err() {
                    return;
                }
            }
        });
        client.timeouts = Timeouts::none().with_read(SECOND);
        client.total = Some(10 * SECOND);
        let error = net.run(async {
            match client.send(get()).await {
                Ok(response) => text(response).await.unwrap_err(),
                Err(error) => error.error,
            }
        });
        assert_eq!(
            error.kind(),
            ErrorKind::Timeout(TimeoutKind::Total),
            "{start:?}"
        );
        assert_eq!(net.elapsed(), 10 * SECOND, "{start:?}");
        net.clear();
    }
}

#[test]
fn body_that_never_waits_meets_the_total_deadline() {
    let net = MockNet::new();
    let mut client = served(&net, Link::new(), |mut server| async move {
        server.read_head().await.unwrap();
        server.write_all("HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while server.write_all([0; 1000]).await.is_ok() {}
    });
    client.total = Some(10 * SECOND);
    let error = net.run(async {
        let mut body = client.send(get()).await.unwrap().into_body();
        body.chunk().await.unwrap().unwrap();
        net.sleep(11 * SECOND).await;
        body.chunk().await.unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Timeout(TimeoutKind::Total));
}

#[test]
fn slow_reader_does_not_meet_the_read_limit() {
    let net = MockNet::new();
    let mut client = served(&net, Link::new(), |mut server| async move {
        server.read_head().await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na";
        server.write_all(head).await.unwrap();
        server.sleep(SECOND).await;
        server.write_all("b").await.unwrap();
        server.sleep(31 * SECOND).await;
        server.write_all("c").await.unwrap();
        server.idle().await;
    });
    client.timeouts = Timeouts::none().with_read(3 * SECOND);
    net.run(async {
        let mut body = client.send(get()).await.unwrap().into_body();
        assert_eq!(body.chunk().await.unwrap().unwrap(), "a");
        assert_eq!(body.chunk().await.unwrap().unwrap(), "b");
        // By the time it is polled for, the last byte has almost arrived.
        net.sleep(30 * SECOND).await;
        assert_eq!(body.chunk().await.unwrap().unwrap(), "c");
    });
    assert_eq!(client.end(), None);
}

#[test]
fn slow_upload_does_not_meet_the_read_limit() {
    let net = MockNet::new();
    let mut client = served(&net, Link::new(), |mut server| async move {
        server.read_until("0\r\n\r\n").await.unwrap();
        let answer = "HTTP/1.1 204 No Content\r\n\r\n";
        server.write_all(answer).await.unwrap();
        server.idle().await;
    });
    client.timeouts = Timeouts::none()
        .with_read(SECOND)
        .with_response_head(SECOND)
        .with_write(SECOND);
    let mut nap = Box::pin(net.sleep(10 * SECOND));
    let mut slept = false;
    let body = Body::poll_fn(move |cx| {
        if !slept {
            std::task::ready!(nap.as_mut().poll(cx));
            slept = true;
            return Poll::Ready(Some(Ok::<_, Infallible>("x".into())));
        }
        Poll::Ready(None)
    });
    net.run(async { client.send(post(body)).await.unwrap() });
    assert_eq!((net.elapsed(), client.end()), (10 * SECOND, None));
    net.clear();
}
