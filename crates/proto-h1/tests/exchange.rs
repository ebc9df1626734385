//! Exchanges over the mock: real streams, virtual time, servers that do as they please.

#![allow(clippy::unwrap_used)] // a test may: clippy.toml speaks of test functions only, not of their helpers

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, request};
use httpcore_core_primitives::{
    Body, BoxStream, CloseReason, ConnectionInfo, Error, ErrorKind, ErrorPhase, ExchangeContext,
    ExclusiveConnection, IdleEvent, Lease, LeaseId, LeaseOwner, LeaseState, NetworkStream,
    RequestSent, Response, SendError, TimeoutKind, Timeouts, Trace, TraceEvent, Upgraded,
    lease::LeaseEnd,
};
use httpcore_net_mock::{Chunks, Link, MockNet, Scenario, ServerStream, Sweep, seeds};
use httpcore_proto_h1::{
    CaptureRawHead, H1Connection, HeaderOrder, Http1Config, OnInformational, RawHead,
};

const SECOND: Duration = Duration::from_secs(1);

/// A pool of one connection, and the book of what became of it.
#[derive(Default)]
struct Seat {
    idle: Mutex<Option<Box<dyn ExclusiveConnection>>>,
    granted: AtomicUsize,
    ends: Mutex<Vec<Option<CloseReason>>>,
    leases: LeaseState,
}

impl LeaseOwner for Seat {
    fn lease_state(&self) -> &LeaseState {
        &self.leases
    }

    fn reclaim(self: Arc<Self>, _: LeaseId, outcome: LeaseEnd) {
        let end = match outcome {
            LeaseEnd::Returned(connection, _) => {
                *self.idle.lock().unwrap() = Some(connection);
                None
            }
            LeaseEnd::Closed(reason) => Some(reason),
        };
        self.ends.lock().unwrap().push(end);
    }
}

/// A client with one connection to a server.
#[derive(Clone)]
struct Client {
    seat: Arc<Seat>,
    timeouts: Timeouts,
    total: Option<Duration>,
    attempt: u32,
    trace: Trace,
    net: MockNet,
}

impl Client {
    fn new(net: &MockNet, stream: BoxStream) -> Self {
        Self::with(net, stream, Http1Config::default())
    }

    fn with(net: &MockNet, stream: BoxStream, config: Http1Config) -> Self {
        let runtime = Arc::new(net.clone());
        let connection = H1Connection::new(stream, runtime, Arc::new(config));
        let seat = Seat::default();
        *seat.idle.lock().unwrap() = Some(Box::new(connection));
        Client {
            seat: Arc::new(seat),
            timeouts: Timeouts::none(),
            total: None,
            attempt: 1,
            trace: Trace::none(),
            net: net.clone(),
        }
    }

    fn lease(&self) -> Lease {
        self.seat.granted.fetch_add(1, Ordering::Relaxed);
        Lease::new(LeaseId::new(1), self.seat.clone())
    }

    fn send(
        &self,
        request: http::Request<Body>,
    ) -> impl Future<Output = Result<Response, SendError>> + Send + use<> {
        let connection = self.seat.idle.lock().unwrap().take();
        let terms = ExchangeContext::new(self.lease())
            .with_timeouts(self.timeouts)
            .with_deadline(self.total.map(|total| self.net.now() + total))
            .with_attempt(self.attempt)
            .with_trace(self.trace.clone());
        connection
            .expect("an idle connection")
            .exchange(request, terms)
    }

    fn is_idle(&self) -> bool {
        self.seat.idle.lock().unwrap().is_some()
    }

    /// How the latest lease ended; `None` with a connection.
    fn end(&self) -> Option<CloseReason> {
        *self.seat.ends.lock().unwrap().last().expect("an end")
    }

    fn ends(&self) -> usize {
        self.seat.ends.lock().unwrap().len()
    }
}

fn get() -> http::Request<Body> {
    http::Request::get("http://a/").body(Body::empty()).unwrap()
}

fn post(body: impl Into<Body>) -> http::Request<Body> {
    http::Request::post("http://a/").body(body.into()).unwrap()
}

fn with(builder: request::Builder, body: impl Into<Body>) -> http::Request<Body> {
    builder.uri("http://a/").body(body.into()).unwrap()
}

/// A body in pieces.
fn pieces(texts: &[&'static str]) -> Body {
    let mut texts: VecDeque<_> = texts.iter().copied().collect();
    Body::poll_fn(move |_| {
        Poll::Ready(
            texts
                .pop_front()
                .map(|text| Ok::<_, Infallible>(text.into())),
        )
    })
}

/// A body in pieces, none of which is there when it is asked for.
fn pausing(texts: &[&'static str]) -> Body {
    let (mut pieces, mut pauses) = (pieces(texts), false);
    Body::poll_fn(move |cx| {
        pauses = !pauses;
        if pauses {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = pieces.poll_next(cx);
        next.map(|next| next.map(|frame| frame.map(|frame| frame.into_data().unwrap())))
    })
}

/// A body which says nothing, and has not ended.
fn silent() -> Body {
    Body::poll_fn(|_| Poll::<Option<Result<Bytes, Infallible>>>::Pending)
}

/// An endless body of zeros.
fn endless() -> Body {
    Body::poll_fn(|_| Poll::Ready(Some(Ok::<_, Infallible>(Bytes::from_static(&[0; 1000])))))
}

async fn text(response: Response) -> Result<String, Error> {
    let bytes = response.into_body().bytes(1 << 20).await?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// A client, and a server which is `script`.
fn served<F>(
    net: &MockNet,
    link: Link,
    script: impl FnOnce(ServerStream) -> F + Send + 'static,
) -> Client
where
    F: Future<Output = ()> + Send + 'static,
{
    let (stream, server) = net.pair_with(link);
    net.spawn("server", script(server));
    Client::new(net, stream)
}

/// A server which reads a head, says `answer` and waits for the client to go.
fn answering(net: &MockNet, link: Link, answer: impl AsRef<[u8]>) -> Client {
    let answer = answer.as_ref().to_vec();
    served(net, link, |mut server| async move {
        if server.read_head().await.is_ok() && server.write_all(answer).await.is_ok() {
            server.idle().await;
        }
    })
}

fn failed(result: Result<Response, SendError>) -> Error {
    result.expect_err("a failure").error
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
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
fn the_connection_is_back_before_the_end_of_the_response_is_told() {
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
            // Nobody has asked whether there is more.
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
fn a_request_without_body_is_one_write_and_so_is_one_with_a_body_at_hand() {
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
fn bodies_arrive_as_they_were_sent() {
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
fn pieces_that_are_there_are_written_together() {
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
fn an_upload_holds_little_of_what_the_server_does_not_take() {
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
fn an_early_answer_is_heard_although_the_server_reads_no_further() {
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
                // A body which lasts until the close must not end with a reset.
                (Err(error), true) => assert_eq!(error.kind(), ErrorKind::Network),
                (heard, _) => panic!("{answer}: {heard:?}"),
            }
            assert_eq!((client.is_idle(), net.live_counts().streams), (false, 0));
            net.clear();
        }
    }
}

#[test]
fn an_upload_goes_on_while_the_response_is_read() {
    seeds(0..30, |net| {
        // An echo which says everything back at once, and reads only what it has said.
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
fn an_error_says_how_often_the_request_was_tried_also_when_the_body_meets_it() {
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
fn a_body_that_is_cut_short_is_never_complete() {
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
                    // Nobody can tell: this body may have any length.
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
fn a_server_that_closes_without_a_word_is_told_apart() {
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
fn an_error_on_a_connection_that_has_served_before_says_so() {
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
fn a_body_that_has_given_all_it_promised_need_not_say_that_it_has_ended() {
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
fn garbage_is_refused_at_once_and_names_its_rule() {
    let net = MockNet::new();
    // The server does not close, and the rest of its answer never comes.
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
fn a_response_beyond_a_limit_is_too_large() {
    let net = MockNet::new();
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let client = answering(&net, Link::new(), many);
    let error = net.run(async { failed(client.send(get()).await) });
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn no_endless_answer_makes_us_read_a_mebibyte() {
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
        // Zeros without end are no number of their own.
        let expected = if again.starts_with('0') {
            ErrorKind::Protocol
        } else {
            ErrorKind::TooLarge
        };
        assert_eq!(error.kind(), expected, "{start:?} {error:?}");
        // What the link holds counts too: 64 KiB each way.
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 1 << 20, "{start:?}: {sent} bytes");
        assert_eq!(client.end(), Some(CloseReason::Failed));
        assert_eq!(net.live_counts().streams, 0, "{start:?}");
    }
}

#[test]
fn leniency_is_configured_and_an_answer_without_a_head_must_be_the_first() {
    let mut config = Http1Config::default();
    config.leniency.http09 = true;
    config.leniency.bare_lf = true;
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
fn a_request_is_spelled_and_a_head_is_kept_as_asked() {
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
fn leftover_bytes_close_the_connection_and_are_nobodys_response() {
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
fn a_small_rest_that_is_here_is_read_away_when_nobody_wants_it() {
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
fn nothing_is_read_away_that_is_not_here_or_not_allowed() {
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
fn a_drained_connection_serves_the_next_request() {
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
fn either_side_may_say_close() {
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
fn a_refused_request_comes_back_and_leaves_the_connection_as_it_was() {
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
fn a_request_comes_back_if_its_body_can_be_sent_again() {
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
fn a_body_that_fails_or_lies_about_its_length_is_the_callers_error() {
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
fn each_limit_ends_its_phase() {
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
fn no_drip_outlasts_the_total_deadline() {
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
fn a_body_that_never_waits_is_late_all_the_same() {
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
fn a_reader_may_take_its_time_without_the_server_being_blamed() {
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
        // By the time it is asked for, the last byte is nearly there.
        net.sleep(30 * SECOND).await;
        assert_eq!(body.chunk().await.unwrap().unwrap(), "c");
    });
    assert_eq!(client.end(), None);
}

#[test]
fn a_slow_upload_is_not_the_servers_silence() {
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

#[test]
fn interim_responses_reach_who_asks_for_them() {
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
fn a_body_which_expects_100_waits_for_it_or_a_second_or_an_answer() {
    let expecting = || {
        let request = http::Request::post("/").header("expect", "100-continue");
        with(request, "hello")
    };
    // A server which says it after half a second, never, or refuses.
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
fn an_answer_instead_of_100_is_the_end_of_the_upload() {
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
fn a_refused_upload_goes_on_unless_the_server_closes() {
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
fn no_protocol_is_switched_in_the_middle_of_a_request() {
    let net = MockNet::new();
    let client = served(&net, Link::new().buffer(100), |mut server| async move {
        server.read_head().await.unwrap();
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
        server.write_all(answer).await.unwrap();
        server.stall().await;
    });
    let request = http::Request::post("/")
        .header("connection", "upgrade")
        .header("upgrade", "x");
    let error = net.run(async { failed(client.send(with(request, vec![0; 2000])).await) });
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(net.live_counts().streams, 0);
}

#[test]
fn a_write_that_fails_does_not_end_reading() {
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

#[test]
fn after_a_switch_the_stream_goes_on_with_the_bytes_already_read() {
    seeds(0..20, |net| {
        for (request, answer) in [
            (
                with(
                    http::Request::get("/")
                        .header("connection", "Upgrade")
                        .header("upgrade", "echo"),
                    (),
                ),
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nfirst ",
            ),
            (
                http::Request::connect("a:443").body(Body::empty()).unwrap(),
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst ",
            ),
        ] {
            let client = served(&net, Link::new(), move |mut server| async move {
                server.read_head().await.unwrap();
                server.write_all(answer).await.unwrap();
                while let Ok(some) = server.read_some().await
                    && !some.is_empty()
                {
                    server.write_all(some).await.unwrap();
                }
            });
            net.run(async {
                let mut response = client.send(request).await.unwrap();
                let mut stream = Upgraded::take_from(&mut response).unwrap();
                assert!(Upgraded::take_from(&mut response).is_none());
                drop(response);
                assert_eq!(client.ends(), 0, "the stream holds the place");
                let mut word = &b"second"[..];
                while !word.is_empty() {
                    let bufs = [IoSlice::new(word)];
                    let n = poll_fn(|cx| stream.poll_write(cx, &bufs)).await.unwrap();
                    word = &word[n..];
                }
                let mut heard = BytesMut::new();
                while heard.len() < 12 {
                    heard.reserve(4);
                    poll_fn(|cx| stream.poll_read(cx, &mut heard))
                        .await
                        .unwrap();
                }
                assert_eq!(heard, "first second");
                drop(stream);
                assert_eq!(client.end(), Some(CloseReason::Upgraded));
            });
            assert_eq!(net.live_counts().streams, 0);
        }
    });
}

#[test]
fn a_switch_that_nobody_takes_is_closed_with_its_response() {
    let net = MockNet::new();
    let client = answering(&net, Link::new(), "HTTP/1.1 200 OK\r\n\r\n");
    let connect = http::Request::connect("a:443").body(Body::empty()).unwrap();
    let response = net.run(async { client.send(connect).await.unwrap() });
    drop(response);
    assert_eq!(client.end(), Some(CloseReason::Upgraded));
    assert_eq!(net.live_counts().streams, 0);
}

#[test]
fn a_response_of_ten_kibibytes_takes_one_read_and_its_connection_is_free_with_the_head() {
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
fn a_kept_body_does_not_pin_the_buffer_of_a_large_request() {
    // With two, hardly anything of that buffer is left.
    for fields in [1, 2] {
        let net = MockNet::new();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n{}",
            "0".repeat(10240)
        );
        // It is there as soon as the request is written, as it is for a thread that waits in its
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
fn a_large_body_streams_in_large_pieces() {
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
fn an_endless_upload_leaves_others_their_turn() {
    let net = MockNet::new();
    let client = served(&net, Link::new().buffer(1 << 20), |mut server| async move {
        while !server.read_some().await.unwrap().is_empty() {}
    });
    let mut sending = pin!(client.send(post(endless())));
    // Everything can be written at once, for ever: nevertheless each poll ends, and asks for the
    // next.
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

/// A stream which keeps what is written until it is flushed, as TLS may.
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
fn whatever_a_stream_holds_back_is_pushed_out_before_waiting() {
    seeds(0..20, |net| {
        let (stream, mut server) = net.pair_with(Link::new().buffer(50));
        net.spawn("server", async move {
            server.read_head().await.unwrap();
            server
                .write_all("HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .unwrap();
            server.read_until("one").await.unwrap();
            // The body says no more until this is heard.
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

#[test]
fn a_connection_is_closed_before_its_place_is_free() {
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
        let terms = ExchangeContext::new(Lease::new(LeaseId::new(1), place.clone()))
            .with_timeouts(Timeouts::none());
        let connection = client.seat.idle.lock().unwrap().take().unwrap();
        let request = http::Request::get("/")
            .header("connection", "upgrade")
            .header("upgrade", "x");
        drop(net.run(connection.exchange(with(request, ()), terms)));
    }
    assert_eq!(*place.1.lock().unwrap(), [0; 4]);
    net.clear();
}

#[test]
fn dropping_an_exchange_anywhere_settles_the_lease_and_drops_the_connection() {
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
                let (seat, counting) = (client.seat.clone(), net.clone());
                Scenario::new(async move {
                    let response = client.send(request).await.unwrap();
                    let mut body = response.into_body();
                    while let Some(data) = body.chunk().await {
                        data.unwrap();
                    }
                    assert_eq!(client.ends(), 1, "settled before the body was dropped");
                })
                .counting(move || {
                    let idle = usize::from(seat.idle.lock().unwrap().is_some());
                    let granted = seat.granted.load(Ordering::Relaxed);
                    vec![
                        ("lent streams", counting.live_counts().streams - idle),
                        ("leases", granted - seat.ends.lock().unwrap().len()),
                    ]
                })
            });
            assert!(swept.points >= least, "{which}: {swept:?}");
        }
    }
}

#[test]
fn a_trace_tells_what_happened_in_order() {
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
            "ConnectionClosed { reason: NotPersistent, detail: \"HTTP/1.0 does not keep connections (RFC 9112 §9.3)\" }",
        ]
    );
}
