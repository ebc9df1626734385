//! Failed exchanges: kind, phase, what was sent, and the request for another attempt.

use super::*;

#[test]
fn error_has_the_number_of_attempts_also_if_the_body_yields_it() {
    let partial = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
    for (response, phase) in [
        ("HTTP/1.1 2", ErrorPhase::Head),
        (partial, ErrorPhase::Body),
    ] {
        let net = MockNet::new();
        let mut client = served(&net, Link::new(), move |mut server| async move {
            server.read_head().await.unwrap();
            server.write_all(response).await.unwrap();
        });
        client.attempt = 2;
        let error = net.run(async {
            match client.send(get()).await {
                Ok(response) => text(response).await.unwrap_err(),
                Err(error) => error.error,
            }
        });
        assert_eq!((error.phase(), error.attempts()), (phase, 2));
    }
}

#[test]
fn truncated_response_body_is_an_error() {
    let responses = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\na: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    ];
    for response in responses {
        let head = response.find("\r\n\r\n").unwrap() + 4;
        for at in 0..response.len() {
            for reset in [false, true] {
                let net = MockNet::new();
                let client = served(&net, Link::new(), move |mut server| async move {
                    server.read_head().await.unwrap();
                    server.write_all(&response[..at]).await.unwrap();
                    if reset {
                        server.reset();
                    }
                });
                let outcome = net.run(async {
                    match client.send(get()).await {
                        Ok(response) => text(response).await,
                        Err(error) => Err(error.error),
                    }
                });
                let case = format!("{response:?} at {at}, reset: {reset}: {outcome:?}");
                assert!(
                    !client.is_idle() && net.live_counts().streams == 0,
                    "{case}"
                );
                if !reset && head == 19 && at >= head {
                    // This body may have any length, and so its end cannot be an error.
                    assert_eq!(outcome.unwrap(), &response[head..at], "{case}");
                    continue;
                }
                let error = outcome.expect_err(&case);
                let kind = if reset {
                    ErrorKind::Network
                } else {
                    ErrorKind::ConnectionClosed
                };
                let phase = if at < head {
                    ErrorPhase::Head
                } else {
                    ErrorPhase::Body
                };
                assert_eq!((error.kind(), error.phase()), (kind, phase), "{case}");
                assert_eq!(error.response_started(), at > 0, "{case}");
                assert_eq!(error.sent(), RequestSent::Full, "{case}");
                assert_eq!(client.end(), Some(CloseReason::Failed), "{case}");
            }
        }
    }
}

#[test]
fn close_before_the_first_byte_of_a_response_has_a_message_of_its_own() {
    let net = MockNet::new();
    let client = served(&net, Link::new(), |mut server| async move {
        server.read_head().await.unwrap();
    });
    let error = net.run(async { failed(client.send(get()).await) });
    assert_eq!(
        error.to_string(),
        "the server closed the connection without sending a response"
    );
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::ConnectionClosed, ErrorPhase::Head)
    );
    assert!(!error.response_started() && !error.connection_reused());
}

#[test]
fn error_says_whether_the_connection_was_reused() {
    for reset in [false, true] {
        let net = MockNet::new();
        let client = served(&net, Link::new(), move |mut server| async move {
            server.read_head().await.unwrap();
            let answer = "HTTP/1.1 204 No Content\r\n\r\n";
            server.write_all(answer).await.unwrap();
            if reset {
                server.reset();
            }
        });
        net.run(async { client.send(get()).await.unwrap() });
        net.run_until_idle();
        let mut error = net.run(async { client.send(post("x")).await.unwrap_err() });
        assert!(error.error.connection_reused() && !error.error.response_started());
        let again = error.request.take().unwrap();
        assert_eq!(again.body().as_bytes().unwrap(), "x");
        assert!(matches!(
            error.error.kind(),
            ErrorKind::ConnectionClosed | ErrorKind::Network
        ));
    }
}

#[test]
fn malformed_response_is_refused_at_once_and_the_error_names_the_rule() {
    let net = MockNet::new();
    // The server does not close, and the rest of its response never arrives.
    let client = answering(&net, Link::new(), "SSH-2.0-OpenSSH_9.2\r\n");
    let error = net.run(async { failed(client.send(get()).await) });
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Protocol, ErrorPhase::Head)
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("RFC 9112 §4"), "{source}");
    assert_eq!(net.live_counts().streams, 0);
}

#[test]
fn response_beyond_a_limit_is_too_large() {
    let net = MockNet::new();
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let client = answering(&net, Link::new(), many);
    let error = net.run(async { failed(client.send(get()).await) });
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn endless_response_is_refused_before_a_mebibyte_is_read() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (start, again) in [
        ("", "HTTP/1.1 102 Processing\r\n\r\n"),
        ("HTTP/1.1 103 Early Hints\r\n", "Link: </a>\r\n"),
        ("HTTP/1.1 200 OK\r\n", "a: b\r\n"),
        ("HTTP/1.1 200 OK\r\na: ", "xxxxxxxx"),
        (CHUNKED, "00000000"),
        (CHUNKED, "1;extension\r\nx\r\n"),
        (&format!("{CHUNKED}1;"), "xxxxxxxx"),
        (&format!("{CHUNKED}0\r\n"), "a: b\r\n"),
        (&format!("{CHUNKED}0\r\na: "), "xxxxxxxx"),
    ] {
        let net = MockNet::new();
        let sent = Arc::new(AtomicUsize::new(0));
        let (first, more, count) = (start.to_owned(), again.repeat(100), sent.clone());
        let client = served(&net, Link::new(), |mut server| async move {
            let mut next = first;
            while server.write_all(&next).await.is_ok() {
                count.fetch_add(next.len(), Ordering::Relaxed);
                next.clone_from(&more);
            }
        });
        let error = net.run(async {
            match client.send(get()).await {
                Ok(response) => text(response).await.expect_err("an end"),
                Err(failed) => failed.error,
            }
        });
        // An endless run of zeros is not a number.
        let expected = if again.starts_with('0') {
            ErrorKind::Protocol
        } else {
            ErrorKind::TooLarge
        };
        assert_eq!(error.kind(), expected, "{start:?} {error:?}");
        // The capacity of the link counts too: 64 KiB in each direction.
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 1 << 20, "{start:?}: {sent} bytes");
        assert_eq!(client.end(), Some(CloseReason::Failed));
        assert_eq!(net.live_counts().streams, 0, "{start:?}");
    }
}

#[test]
fn invalid_request_is_returned_and_the_connection_is_kept() {
    let net = MockNet::new();
    let client = answering(&net, Link::new(), "HTTP/1.1 204 No Content\r\n\r\n");
    let refused = with(
        http::Request::get("/").header("content-length", "7"),
        "body",
    );
    let error = net.run(async { client.send(refused).await.unwrap_err() });
    assert_eq!(error.error.kind(), ErrorKind::InvalidRequest);
    assert_eq!(error.error.sent(), RequestSent::None);
    let request = error.request.unwrap();
    assert_eq!(request.body().as_bytes().unwrap(), "body");
    assert!(client.is_idle());
    net.run(async { client.send(get()).await.unwrap() });
    assert!(client.is_idle());
}

#[test]
fn failed_request_is_returned_if_its_body_can_be_sent_again() {
    let net = MockNet::new();
    for (body, comes_back) in [
        (Body::empty(), true),
        (Body::from("bytes"), true),
        (Body::replayable(|| pieces(&["a", "b"])), true),
        (pieces(&["a", "b"]), false),
    ] {
        let client = served(&net, Link::new(), |mut server| async move {
            server.read_head().await.unwrap();
        });
        let error = net.run(async { client.send(post(body)).await.unwrap_err() });
        assert_eq!(error.request.is_some(), comes_back, "{error}");
        if let Some(request) = error.request {
            let again = net.run(request.into_body().bytes(10)).unwrap();
            assert!(["", "bytes", "ab"].contains(&std::str::from_utf8(&again).unwrap()));
        }
    }
}

#[test]
fn body_that_fails_or_differs_from_its_length_is_the_callers_error() {
    let net = MockNet::new();
    let broken = || Body::poll_fn(|_| Poll::Ready(Some(Err::<Bytes, _>("disk on fire"))));
    for (body, sent) in [
        (broken(), RequestSent::None),
        (Body::from("abc").with_length(4), RequestSent::None),
        (Body::from("abc").with_length(2), RequestSent::None),
        (Body::from("abc").with_length(0), RequestSent::None),
        (pieces(&["abc"]).with_length(0), RequestSent::None),
        (pieces(&["abc"]).with_length(2), RequestSent::None),
        (pieces(&["abc"]).with_length(4), RequestSent::None),
        (pieces(&["ab", "c"]).with_length(2), RequestSent::None),
        (pausing(&["abc", ""]).with_length(4), RequestSent::Partial),
        (pausing(&["a", "bc"]).with_length(2), RequestSent::Partial),
    ] {
        let client = answering(&net, Link::new(), "");
        let what = format!("{body:?}");
        let error = net.run(async { failed(client.send(post(body)).await) });
        assert_eq!(error.kind(), ErrorKind::RequestBody, "{what}");
        assert_eq!(error.sent(), sent, "{what}");
        assert_eq!(client.is_idle(), sent == RequestSent::None, "{what}");
    }
}

#[test]
fn failed_write_does_not_end_reading() {
    let net = MockNet::new();
    let client = served(&net, Link::new().buffer(5000), |mut server| async move {
        server.read_head().await.unwrap();
        let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";
        server.write_all(answer).await.unwrap();
        // Before the client has been able to read it.
        server.reset();
    });
    let heard = net.run(async { text(client.send(post(endless())).await.unwrap()).await });
    assert_eq!(heard.unwrap(), "big");
    assert_eq!(client.end(), Some(CloseReason::UnfinishedRequest));
}
