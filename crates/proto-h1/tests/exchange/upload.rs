//! Requests with bodies: what is written, and when.

use super::*;

#[test]
fn request_without_body_or_with_a_body_in_memory_is_one_write() {
    for (request, expected) in [
        (get(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        (
            post("hello"),
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        ),
        (
            post(pieces(&["hello"])),
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n\
             0\r\n\r\n",
        ),
        (
            post(Body::wrap(http_body_util::Full::new(Bytes::from("hello")))),
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        ),
    ] {
        let net = MockNet::new();
        let link = Link::new().chunks(Chunks::AsWritten);
        let client = served(&net, link, move |mut server| async move {
            let first = server.read_some().await.unwrap();
            assert_eq!(std::str::from_utf8(&first).unwrap(), expected);
            server
                .write_all("HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .unwrap();
            server.read_to_end().await.unwrap();
        });
        net.run(async { client.send(request).await.unwrap() });
        net.clear();
    }
}

#[test]
fn request_bodies_arrive_as_they_were_sent() {
    seeds(0..40, |net| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        for (request, expected) in [
            (
                post(pieces(&["ab", "", "c"]).with_length(3)),
                "content-length: 3\r\n\r\nabc",
            ),
            (
                post(pieces(&["ab", "", "c"])),
                "chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            ),
            (
                post(pausing(&["ab", "", "c"])),
                "chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            ),
            (post(pieces(&[])), "chunked\r\n\r\n0\r\n\r\n"),
            (post(""), "content-length: 0\r\n\r\n"),
            (
                post(pieces(&["ab"]).with_trailers(trailers.clone())),
                "chunked\r\n\r\n2\r\nab\r\n0\r\nx-sum: 7\r\n\r\n",
            ),
            (
                post(Body::replayable(|| pieces(&["ab", "c"]).with_length(3))),
                "content-length: 3\r\n\r\nabc",
            ),
        ] {
            let client = served(&net, Link::new(), move |mut server| async move {
                let sent = server.read_until(expected).await.unwrap();
                assert!(sent.ends_with(expected.as_bytes()));
                assert_eq!(server.buffered(), b"");
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                server.write_all(answer).await.unwrap();
                server.idle().await;
            });
            let answer = net.run(async {
                let response = client.send(request).await.unwrap();
                text(response).await.unwrap()
            });
            assert_eq!((answer.as_str(), client.end()), ("ok", None), "{expected}");
        }
    });
}

#[test]
fn pieces_that_are_ready_are_written_together() {
    let piece = |n: usize| Bytes::from(vec![n as u8; if n.is_multiple_of(2) { 3000 } else { 10 }]);
    let all: Vec<u8> = (0..8).flat_map(piece).collect();
    let framed = (0..8).flat_map(|n| {
        let data = piece(n);
        [format!("{:x}\r\n", data.len()).into(), data, "\r\n".into()]
    });
    let chunks: Vec<u8> = framed.chain(["0\r\n\r\n".into()]).flatten().collect();
    for (length, expected) in [(Some(all.len()), all), (None, chunks)] {
        let mut pieces = (0..8).map(piece);
        let body = Body::poll_fn(move |_| Poll::Ready(pieces.next().map(Ok::<_, Infallible>)));
        let body = match length {
            Some(length) => body.with_length(length as u64),
            None => body,
        };
        let net = MockNet::new();
        let link = Link::new().buffer(1 << 20).chunks(Chunks::AsWritten);
        let client = served(&net, link, move |mut server| async move {
            let first = server.read_some().await.unwrap();
            assert!(first.starts_with(b"POST / ") && first.ends_with(&expected));
            server
                .write_all("HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .unwrap();
            server.idle().await;
        });
        net.run(async { client.send(post(body)).await.unwrap() });
        assert!(client.is_idle());
        net.clear();
    }
}

/// Half a mebibyte, and one piece.
#[test]
fn upload_holds_at_most_half_a_mebibyte_and_one_piece() {
    const PIECE: usize = 40_000;
    let net = MockNet::new();
    let client = served(&net, Link::new().buffer(5000), |mut server| async move {
        server.read_head().await.unwrap();
        server.stall().await;
    });
    let taken = Arc::new(AtomicUsize::new(0));
    let takes = taken.clone();
    let body = Body::poll_fn(move |_| {
        takes.fetch_add(PIECE, Ordering::Relaxed);
        Poll::Ready(Some(Ok::<_, Infallible>(Bytes::from_static(&[0; PIECE]))))
    });
    let mut sending = pin!(client.send(post(body)));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..100 {
        assert!(sending.as_mut().poll(&mut cx).is_pending());
        net.run_until_idle();
    }
    let taken = taken.load(Ordering::Relaxed);
    assert!((1..=(512 << 10) + PIECE + 5000).contains(&taken), "{taken}");
}

#[test]
fn early_response_is_received_although_the_server_stops_reading() {
    for (answer, goes_on) in [
        (
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig",
            false,
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
            false,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nbig", true),
    ] {
        for reset in [false, true] {
            let net = MockNet::new();
            let client = served(
                &net,
                Link::new().buffer(5000),
                move |mut server| async move {
                    server.read_head().await.unwrap();
                    server.sleep(SECOND).await;
                    server.write_all(answer).await.unwrap();
                    server.sleep(SECOND).await;
                    if reset {
                        server.reset();
                    } else if goes_on {
                        server.close_write().await.unwrap();
                        server.stall().await;
                    } else {
                        server.stall().await;
                    }
                },
            );
            let heard = net.run(async {
                let response = client.send(post(endless())).await.unwrap();
                text(response).await
            });
            match (heard, reset && goes_on) {
                (Ok(heard), false) => assert_eq!(heard, "big"),
                // A body delimited by the end of the connection must not end with a reset.
                (Err(error), true) => assert_eq!(error.kind(), ErrorKind::Network),
                (heard, _) => panic!("{answer}: {heard:?}"),
            }
            assert_eq!((client.is_idle(), net.live_counts().streams), (false, 0));
            net.clear();
        }
    }
}

#[test]
fn upload_continues_while_the_response_is_read() {
    seeds(0..30, |net| {
        // An echo that returns everything at once.
        let client = served(&net, Link::new().buffer(64), |mut server| async move {
            let head = server.read_head().await.unwrap();
            assert!(head.contains("content-length: 3000"));
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n";
            server.write_all(answer).await.unwrap();
            let mut left = 3000;
            while left > 0 {
                let some = server.read_some().await.unwrap();
                left -= some.len();
                server.write_all(some).await.unwrap();
            }
            server.idle().await;
        });
        let sent: Vec<u8> = (0..3000_u32).map(|n| n as u8).collect();
        let heard = net.run(async {
            let response = client.send(post(sent.clone())).await.unwrap();
            response.into_body().bytes(10_000).await.unwrap()
        });
        assert_eq!(heard, sent);
        assert_eq!(client.end(), None, "both directions have ended well");
    });
}

#[test]
fn body_that_has_yielded_its_declared_length_has_ended() {
    let net = MockNet::new();
    let client = answering(&net, Link::new(), "HTTP/1.1 204 No Content\r\n\r\n");
    let mut given = false;
    let body = Body::poll_fn(move |_| {
        if std::mem::replace(&mut given, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok::<_, Infallible>("abc".into())))
    });
    net.run(async { client.send(post(body.with_length(3))).await.unwrap() });
    assert_eq!(client.end(), None);
}

#[test]
fn body_waits_for_100_or_a_second_or_a_final_response() {
    let expecting = || {
        let request = http::Request::post("/").header("expect", "100-continue");
        with(request, "hello")
    };
    // A server that sends it after half a second, never, or refuses.
    for (says, after, arrives_at) in [
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            SECOND / 2,
            Some(SECOND / 2),
        ),
        ("", SECOND / 2, Some(SECOND)),
        ("HTTP/1.1 102 Processing\r\n\r\n", SECOND / 2, Some(SECOND)),
        (
            "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n",
            SECOND / 2,
            None,
        ),
    ] {
        let net = MockNet::new();
        let clock = net.clone();
        let client = served(&net, Link::new(), move |mut server| async move {
            let head = server.read_head().await.unwrap();
            assert!(head.contains("expect: 100-continue\r\n"));
            assert_eq!(server.buffered(), b"", "the body waits");
            server.sleep(after).await;
            server.write_all(says).await.unwrap();
            match arrives_at {
                Some(at) => {
                    assert_eq!(server.read_exact(5).await.unwrap(), "hello");
                    assert_eq!(clock.elapsed(), at);
                    assert_eq!(
                        clock.live_counts().timers,
                        0,
                        "nothing is waited for any more"
                    );
                    let answer = "HTTP/1.1 204 No Content\r\n\r\n";
                    server.write_all(answer).await.unwrap();
                    server.idle().await;
                }
                None => assert_eq!(server.read_to_end().await.unwrap(), "", "no body"),
            }
        });
        let response = net.run(async { client.send(expecting()).await.unwrap() });
        match arrives_at {
            Some(_) => assert_eq!((response.status().as_u16(), client.end()), (204, None)),
            None => {
                assert_eq!(response.status(), 417);
                assert_eq!(client.end(), Some(CloseReason::UnfinishedRequest));
            }
        }
        net.clear();
    }
}

#[test]
fn final_response_in_place_of_100_ends_the_upload() {
    let net = MockNet::new();
    let client = served(&net, Link::new(), |mut server| async move {
        server.read_head().await.unwrap();
        let head = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 6\r\n\r\n";
        server.write_all(head).await.unwrap();
        for piece in ["a", "b", "c", "d", "e", "f"] {
            server.sleep(SECOND).await;
            server.write_all(piece).await.unwrap();
        }
        assert_eq!(server.read_to_end().await.unwrap(), "", "no body");
    });
    let request = http::Request::post("/").header("expect", "100-continue");
    let heard = net.run(async {
        let response = client.send(with(request, "hello")).await.unwrap();
        text(response).await.unwrap()
    });
    net.run_until_idle();
    assert_eq!(heard, "abcdef");
    assert_eq!(client.end(), Some(CloseReason::UnfinishedRequest));
    assert_eq!(
        net.report().matches("server").count(),
        0,
        "{}",
        net.report()
    );
}

#[test]
fn refused_upload_continues_unless_the_server_closes() {
    let net = MockNet::new();
    let client = served(&net, Link::new().buffer(100), |mut server| async move {
        server.read_head().await.unwrap();
        let head = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nno";
        server.write_all(head).await.unwrap();
        server.read_exact(2000).await.unwrap();
        server.write_all("ne").await.unwrap();
        server.idle().await;
    });
    let heard = net.run(async {
        let response = client.send(post(vec![0; 2000])).await.unwrap();
        text(response).await.unwrap()
    });
    assert_eq!((heard.as_str(), client.end()), ("none", None));
}

#[test]
fn endless_upload_yields_to_other_tasks() {
    let net = MockNet::new();
    let client = served(&net, Link::new().buffer(1 << 20), |mut server| async move {
        while !server.read_some().await.unwrap().is_empty() {}
    });
    let mut sending = pin!(client.send(post(endless())));
    // Everything can be written at once, without end: each poll ends nevertheless, and wakes its
    // task.
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    for polls in 1..10 {
        assert!(sending.as_mut().poll(&mut cx).is_pending());
        net.run_until_idle();
        assert!(woken.0.load(Ordering::Relaxed) >= polls);
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream that keeps what is written until it is flushed, as TLS may.
#[derive(Debug)]
struct Holding {
    stream: BoxStream,
    held: BytesMut,
}

impl NetworkStream for Holding {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.stream.poll_read(cx, buf)
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let before = self.held.len();
        bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
        Poll::Ready(Ok(self.held.len() - before))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let bufs = [IoSlice::new(&self.held)];
            let written = std::task::ready!(self.stream.poll_write(cx, &bufs))?;
            let _ = self.held.split_to(written);
        }
        self.stream.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        self.stream.poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        self.stream.info()
    }
}

#[test]
fn buffering_stream_is_flushed_before_the_exchange_waits() {
    seeds(0..20, |net| {
        let (stream, mut server) = net.pair_with(Link::new().buffer(50));
        net.spawn("server", async move {
            server.read_head().await.unwrap();
            server
                .write_all("HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .unwrap();
            server.read_until("one").await.unwrap();
            // The body yields no more until this has arrived.
            server
                .write_all("HTTP/1.1 103 Go On\r\n\r\n")
                .await
                .unwrap();
            server.read_until("0\r\n\r\n").await.unwrap();
            let answer = "HTTP/1.1 204 No Content\r\n\r\n";
            server.write_all(answer).await.unwrap();
            server.idle().await;
        });
        let held = BytesMut::new();
        let client = Client::new(&net, Box::new(Holding { stream, held }));
        let heard: Arc<Mutex<(bool, Option<Waker>)>> = Arc::default();
        let tell = heard.clone();
        let listener = OnInformational::new(move |response| {
            if response.status() == 103 {
                let waker = {
                    let mut heard = tell.lock().unwrap();
                    heard.0 = true;
                    heard.1.take()
                };
                waker.into_iter().for_each(Waker::wake);
            }
        });
        let mut said = 0;
        let body = Body::poll_fn(move |cx| {
            let mut heard = heard.lock().unwrap();
            if said == 1 && !heard.0 {
                heard.1 = Some(cx.waker().clone());
                return Poll::Pending;
            }
            said += 1;
            let piece = ["one", "two"].get(said - 1);
            Poll::Ready(piece.map(|piece| Ok::<_, Infallible>(Bytes::from(*piece))))
        });
        let request = http::Request::post("/")
            .header("expect", "100-continue")
            .extension(listener);
        net.run(async { client.send(with(request, body)).await.unwrap() });
        assert_eq!(client.end(), None);
    });
}
