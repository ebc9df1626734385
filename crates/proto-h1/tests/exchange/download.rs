//! Responses: what is read, and when the connection is free again.

use super::*;

#[test]
fn connection_serves_one_request_after_another() {
    seeds(0..30, |net| {
        let client = served(&net, Link::new(), |mut server| async move {
            for n in 0..5 {
                let head = server.read_head().await.unwrap();
                assert!(head.starts_with("GET / HTTP/1.1\r\nhost: a\r\n"), "{head}");
                let answer = match n {
                    0 => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nn0",
                    1 => {
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nn1\r\n0\r\n\r\n"
                    }
                    2 => "HTTP/1.1 204 No Content\r\n\r\n",
                    3 => "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
                    _ => "HTTP/1.0 200 OK\r\n\r\nn4",
                };
                server.write_all(answer).await.unwrap();
            }
        });
        net.run(async {
            for (n, expected) in ["n0", "n1", "", "", "n4"].into_iter().enumerate() {
                let response = client.send(get()).await.unwrap();
                assert_eq!(text(response).await.unwrap(), expected);
                assert_eq!(client.is_idle(), n < 4);
            }
        });
        assert_eq!(client.end(), Some(CloseReason::NotPersistent));
        assert_eq!(net.live_counts().streams, 0);
    });
}

#[test]
fn connection_is_released_before_the_end_of_the_response_is_yielded() {
    let net = MockNet::new();
    let client = served(&net, Link::new(), |mut server| async move {
        loop {
            if server.read_head().await.is_err() {
                return;
            }
            server
                .write_all("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
                .await
                .unwrap();
            server.sleep(SECOND).await;
            server.write_all("cd").await.unwrap();
            server.read_head().await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
            server.write_all(answer).await.unwrap();
            server.sleep(SECOND).await;
            server.write_all("2\r\ncd\r\n0;x=y\r\n\r\n").await.unwrap();
            server.read_head().await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
            server.write_all(answer).await.unwrap();
        }
    });
    net.run(async {
        for _ in 0..2 {
            let mut body = client.send(get()).await.unwrap().into_body();
            assert_eq!(body.chunk().await.unwrap().unwrap(), "ab");
            assert!(!client.is_idle());
            assert_eq!(body.chunk().await.unwrap().unwrap(), "cd");
            // The caller has not polled for more.
            assert!(client.is_idle());
            assert!(http_body::Body::is_end_stream(&body));
            assert!(body.chunk().await.is_none());
        }
        let response = client.send(get()).await.unwrap();
        assert!(client.is_idle(), "all of it came with the head");
        assert_eq!(text(response).await.unwrap(), "ab");
    });
    net.clear();
}

#[test]
fn trailers_of_a_response_follow_its_data() {
    seeds(0..20, |net| {
        let client = answering(
            &net,
            Link::new(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nSum: 1\r\nSum: 2\r\n\r\n",
        );
        net.run(async {
            let mut body = client.send(get()).await.unwrap().into_body();
            let data = poll_fn(|cx| body.poll_next(cx)).await.unwrap().unwrap();
            assert_eq!(data.into_data().unwrap(), "x");
            let trailers = poll_fn(|cx| body.poll_next(cx)).await.unwrap().unwrap();
            let trailers = trailers.into_trailers().unwrap();
            let sums: Vec<_> = trailers.get_all("sum").iter().collect();
            assert_eq!(sums, ["1", "2"]);
            assert!(client.is_idle());
            assert!(poll_fn(|cx| body.poll_next(cx)).await.is_none());
        });
    });
}

#[test]
fn parser_options_apply_and_http09_only_to_the_first_response() {
    let mut config = Http1Config::default();
    config.parser_options.http09 = true;
    config.parser_options.bare_lf = true;
    let net = MockNet::new();
    for (answers, expected) in [
        (vec!["<html>"], "HTTP/0.9 200 <html>"),
        (
            vec!["HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "<html>"],
            "HTTP/1.1 200 ok",
        ),
    ] {
        let (stream, mut server) = net.pair();
        let requests = answers.len();
        net.spawn("server", async move {
            for answer in answers {
                server.read_head().await.unwrap();
                server.write_all(answer).await.unwrap();
            }
        });
        let client = Client::with(&net, stream, config);
        net.run(async {
            let response = client.send(get()).await.unwrap();
            let heard = format!("{:?} {}", response.version(), response.status().as_u16());
            assert_eq!(heard + " " + &text(response).await.unwrap(), expected);
            if requests > 1 {
                let error = failed(client.send(get()).await);
                assert_eq!(error.kind(), ErrorKind::Protocol);
            }
        });
        assert!(client.end().is_some(), "{expected}: closed");
    }
}

#[test]
fn header_order_applies_to_the_request_and_the_raw_head_is_captured() {
    let net = MockNet::new();
    let client = served(&net, Link::new(), |mut server| async move {
        let head = server.read_head().await.unwrap();
        assert_eq!(head, "GET / HTTP/1.1\r\nAccept: x\r\nHOST: a\r\n\r\n");
        let answer = "HTTP/1.1 200 OK\r\nX-Y: z\r\ncontent-LENGTH: 0\r\n\r\n";
        server.write_all(answer).await.unwrap();
    });
    let order = HeaderOrder::new(["Accept", "HOST"]).unwrap();
    let builder = http::Request::get("/").header("accept", "x");
    let request = with(builder.extension(order).extension(CaptureRawHead), ());
    let response = net.run(async { client.send(request).await.unwrap() });
    let raw = response.extensions().get::<RawHead>().unwrap();
    let names: Vec<_> = raw.fields().map(|(name, _)| name).collect();
    assert_eq!(names, [&b"X-Y"[..], b"content-LENGTH"]);
}

#[test]
fn leftover_bytes_close_the_connection_and_belong_to_no_response() {
    let net = MockNet::new();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n",
    ] {
        let client = answering(&net, Link::new(), answer);
        let heard = net.run(async { text(client.send(get()).await.unwrap()).await.unwrap() });
        assert_eq!(heard, "ok");
        assert_eq!(client.end(), Some(CloseReason::UnsolicitedData));
    }
    let client = answering(
        &net,
        Link::new(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
    );
    let head = with(http::Request::head("/"), ());
    let heard = net.run(async { text(client.send(head).await.unwrap()).await.unwrap() });
    assert_eq!(
        (heard.as_str(), client.end()),
        ("", Some(CloseReason::UnsolicitedData))
    );
}

#[test]
fn connection_closes_if_either_side_sends_close() {
    let net = MockNet::new();
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let client = answering(&net, Link::new(), closing);
    net.run(async { client.send(get()).await.unwrap() });
    assert_eq!(client.end(), Some(CloseReason::PeerSaidClose));
    let client = answering(&net, Link::new(), "HTTP/1.1 204 No Content\r\n\r\n");
    let closing = with(http::Request::get("/").header("connection", "close"), ());
    net.run(async { client.send(closing).await.unwrap() });
    assert_eq!(client.end(), Some(CloseReason::CallerSaidClose));
    let client = answering(&net, Link::new(), "HTTP/1.1 204 No Content\r\n\r\n");
    net.run(async { client.send(post(silent())).await.unwrap() });
    assert_eq!(client.end(), Some(CloseReason::UnfinishedRequest));
    assert_eq!(net.live_counts().streams, 0);
}

#[test]
fn informational_responses_reach_their_listener() {
    let net = MockNet::new();
    let client = answering(
        &net,
        Link::new(),
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    );
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = heard.clone();
    let listener = OnInformational::new(move |response| {
        let line = format!("{} {:?}", response.status(), response.headers().get("link"));
        told.lock().unwrap().push(line);
    });
    let request = with(http::Request::get("/").extension(listener), ());
    let response = net.run(async { client.send(request).await.unwrap() });
    assert_eq!(response.status(), 204);
    assert_eq!(
        *heard.lock().unwrap(),
        ["103 Early Hints Some(\"</a>\")", "102 Processing None"]
    );
}

#[test]
fn response_of_ten_kib_is_one_read_and_releases_its_connection_with_the_head() {
    let net = MockNet::new();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n{}",
        "0".repeat(10240)
    );
    let client = answering(&net, Link::new(), answer);
    net.run(async {
        let response = client.send(get()).await.unwrap();
        assert!(client.is_idle());
        assert_eq!(text(response).await.unwrap().len(), 10240);
    });
    net.clear();
}

#[test]
fn kept_body_does_not_keep_the_buffer_of_a_large_request() {
    // With two, hardly any of that buffer is left.
    for fields in [1, 2] {
        let net = MockNet::new();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n{}",
            "0".repeat(10240)
        );
        // It arrives as soon as the request is written, as it does for a thread that waits in its
        // socket.
        let client = served(&net, Link::new().buffer(2 << 20), |mut server| async move {
            server.write_all(answer).await.unwrap();
            server.idle().await;
        });
        net.run_until_idle();
        let mut request = get();
        for _ in 0..fields {
            let large = "0".repeat(500_000).parse().unwrap();
            request.headers_mut().append("cookie", large);
        }
        let body = net.run(async {
            let response = client.send(request).await.unwrap();
            response.into_body().bytes(20_000).await.unwrap()
        });
        let behind = body.try_into_mut().unwrap().capacity();
        assert!(behind < 40_000, "{fields}: {behind}");
        net.clear();
    }
}

#[test]
fn large_body_arrives_in_large_pieces() {
    let net = MockNet::new();
    const SIZE: usize = 16 << 20;
    for framing in ["Content-Length: 16777216\r\n", "Connection: close\r\n"] {
        let client = served(
            &net,
            Link::new().buffer(1 << 20),
            move |mut server| async move {
                server.read_head().await.unwrap();
                let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n");
                server.write_all(head).await.unwrap();
                for _ in 0..SIZE >> 20 {
                    server.write_all(vec![7; 1 << 20]).await.unwrap();
                }
            },
        );
        let (mut read, mut frames, mut largest) = (0, 0, 0);
        net.run(async {
            let mut body = client.send(get()).await.unwrap().into_body();
            while let Some(data) = body.chunk().await {
                let data = data.unwrap();
                assert!(data.iter().all(|&byte| byte == 7));
                read += data.len();
                frames += 1;
                largest = largest.max(data.len());
            }
        });
        assert_eq!(read, SIZE, "{framing}");
        assert!(largest <= 64 << 10, "{framing}: {largest} bytes at once");
        assert!(frames < SIZE / (60 << 10), "{framing}: {frames} frames");
    }
}

#[test]
fn trace_has_the_events_in_order() {
    let net = MockNet::new();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = heard.clone();
    let mut client = served(&net, Link::new(), |mut server| async move {
        server.read_until("hello").await.unwrap();
        let answer =
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        server.write_all(answer).await.unwrap();
        server.read_head().await.unwrap();
        server
            .write_all("HTTP/1.0 200 OK\r\n\r\nbye")
            .await
            .unwrap();
    });
    client.trace = Trace::to(move |_, event: &TraceEvent<'_>| {
        told.lock().unwrap().push(format!("{event:?}"));
    });
    net.run(async {
        text(client.send(post("hello")).await.unwrap())
            .await
            .unwrap();
        text(client.send(get()).await.unwrap()).await.unwrap();
    });
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "RequestHeadSent { bytes: 47 }",
            "RequestBodySent { bytes: 5 }",
            "Informational { status: 103 }",
            "ResponseHead { status: 200, bytes: 38 }",
            "ResponseEnded { bytes: 2 }",
            "ConnectionReleased",
            "RequestHeadSent { bytes: 27 }",
            "RequestBodySent { bytes: 0 }",
            "ResponseHead { status: 200, bytes: 19 }",
            "ResponseEnded { bytes: 3 }",
            "ConnectionClosed { reason: NotPersistent }",
        ]
    );
}

#[test]
fn exchange_that_is_polled_after_its_end_yields_an_error() {
    let (short, long) = (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nab",
    );
    for answer in [short, long, "HTTP/1.1 204\r\n\r\n", "nonsense\r\n\r\n"] {
        let net = MockNet::new();
        let client = answering(&net, Link::new(), answer);
        net.run(async {
            let mut exchange = pin!(client.send(get()));
            let _kept = exchange.as_mut().await;
            for _ in 0..3 {
                let error = failed(exchange.as_mut().await);
                assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{answer:?}");
                assert_eq!(error.sent(), RequestSent::Full, "it must not be sent again");
                assert!(error.to_string().contains("polled after"), "{error}");
            }
        });
    }
    let net = MockNet::new();
    let client = answering(&net, Link::new(), "");
    net.run(async {
        let mut exchange = pin!(
            client.send(with(
                http::Request::builder()
                    .method("POST")
                    .header("content-length", "x"),
                "",
            ))
        );
        let error = failed(exchange.as_mut().await);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        let error = failed(exchange.as_mut().await);
        assert!(error.to_string().contains("polled after"), "{error}");
    });
}
