//! The contract of a shared connection with its pool: changes of its limit, and one end for each lease.
//! Against a server that sends frames, in virtual time.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use httpcore_core_primitives::{
    Body, BoxStream, CloseReason, ConnectionInfo, ErrorKind, ExchangeContext, IdleEvent, Lease,
    LeaseId, LeaseOwner, LeaseState, NetworkStream, Protocol, Request, RequestSent, Response,
    SendError, SharedConnection, StreamLimit, lease::LeaseEnd,
};
use httpcore_net_mock::{Link, LiveCounts, MockNet, ServerStream};
use httpcore_proto_h2::{H2Connection, Http2Config};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200`, by its number in the static table.
const OK: &[u8] = &[0x88];

/// The server: sends and receives frames.
struct Server(ServerStream);

impl Server {
    /// Reads the preface.
    async fn begin(mut stream: ServerStream) -> Self {
        stream.read_exact(24).await.unwrap();
        Server(stream)
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(frame).await.unwrap();
    }

    /// SETTINGS with MAX_CONCURRENT_STREAMS.
    async fn admit(&mut self, streams: u8) {
        self.send(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, streams]).await;
    }

    async fn go_away(&mut self, last: u8) {
        self.send(GOAWAY, 0, 0, &[0, 0, 0, last, 0, 0, 0, 0]).await;
    }

    async fn answer(&mut self, stream: u32) {
        self.send(HEADERS, END_HEADERS, stream, OK).await;
        self.send(DATA, END_STREAM, stream, b"hello").await;
    }

    /// Reads up to the next frame of this kind; `None` at the end.
    async fn next(&mut self, kind: u8) -> Option<(u32, Vec<u8>)> {
        loop {
            let head = self.0.read_exact(9).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let payload = self.0.read_exact(length as usize).await.ok()?;
            if head[3] == kind && !(kind == SETTINGS && head[4] & ACK != 0) {
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                return Some((stream, payload.to_vec()));
            }
        }
    }
}

/// Records how leases end.
#[derive(Default)]
struct Book(Mutex<Vec<CloseReason>>, LeaseState);

impl LeaseOwner for Book {
    fn reclaim(self: Arc<Self>, _: LeaseId, outcome: LeaseEnd) {
        match outcome {
            LeaseEnd::Closed(reason) => self.0.lock().unwrap().push(reason),
            LeaseEnd::Returned(..) => panic!("there is nothing to give back"),
        }
    }

    fn lease_state(&self) -> &LeaseState {
        &self.1
    }
}

impl Book {
    fn context(self: &Arc<Self>) -> ExchangeContext {
        ExchangeContext::new(Lease::new(LeaseId::new(1), self.clone()))
    }

    fn ends(&self) -> Vec<CloseReason> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn get() -> Request {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = "http://origin.test/".parse().unwrap();
    request
}

/// Returns a connection to a server that runs `serve`.
async fn connect<F>(net: &MockNet, serve: impl FnOnce(ServerStream) -> F) -> H2Connection
where
    F: Future<Output = ()> + Send + 'static,
{
    let (stream, server) = net.pair();
    net.spawn("server", serve(server));
    let runtime = Arc::new(net.clone());
    let opened = H2Connection::open(stream, runtime, Arc::new(Http2Config::default()));
    opened.await.unwrap()
}

async fn limit(connection: &H2Connection) -> StreamLimit {
    poll_fn(|cx| connection.poll_stream_limit(cx)).await
}

/// Returns whether the limit has not changed.
fn is_quiet(connection: &H2Connection) -> bool {
    let cx = &mut Context::from_waker(Waker::noop());
    connection.poll_stream_limit(cx).is_pending()
}

async fn hello(response: Result<Response, SendError>) {
    let body = response.unwrap().into_body();
    assert_eq!(body.bytes(100).await.unwrap(), "hello");
}

fn ends_clean(net: &MockNet) {
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default(), "{}", net.report());
}

#[test]
fn stream_limit_is_reported_whenever_it_changes() {
    let net = MockNet::new();
    net.run(async {
        let connection = connect(&net, async |stream| {
            let mut server = Server::begin(stream).await;
            server.0.sleep(Duration::from_secs(1)).await;
            for streams in [7, 7, 0, 9] {
                server.admit(streams).await;
                server.0.sleep(Duration::from_secs(1)).await;
            }
            server.go_away(0).await;
            server.next(GOAWAY).await;
        });
        let connection = connection.await;
        assert!(is_quiet(&connection), "nothing is known before SETTINGS");
        for streams in [7, 0, 9] {
            assert_eq!(limit(&connection).await, StreamLimit::Max(streams));
        }
        assert_eq!(limit(&connection).await, StreamLimit::Closed);
        assert!(is_quiet(&connection), "and that is the last word");
        drop(connection);
    });
    ends_clean(&net);
}

#[test]
fn goaway_is_reported_while_a_response_is_still_arriving() {
    let net = MockNet::new();
    net.run(async {
        let connection = connect(&net, async |stream| {
            let mut server = Server::begin(stream).await;
            server.admit(10).await;
            let (stream, _) = server.next(HEADERS).await.unwrap();
            server.send(HEADERS, END_HEADERS, stream, OK).await;
            server.go_away(1).await;
            server.0.sleep(Duration::from_secs(60)).await;
            server.send(DATA, END_STREAM, stream, b"hello").await;
            server.next(GOAWAY).await;
        });
        let connection = connection.await;
        let book = Arc::<Book>::default();
        assert_eq!(limit(&connection).await, StreamLimit::Max(10));
        let response = connection.exchange(get(), book.context()).await;
        assert_eq!(limit(&connection).await, StreamLimit::Closed);
        assert_eq!(net.elapsed(), Duration::ZERO, "at once");
        hello(response).await;
        assert_eq!(net.elapsed(), Duration::from_secs(60));
        drop(connection);
    });
    ends_clean(&net);
}

#[test]
fn server_without_a_limit_is_limited_by_the_configuration() {
    let net = MockNet::new();
    net.run(async {
        let connection = connect(&net, async |stream| {
            let mut server = Server::begin(stream).await;
            server.send(SETTINGS, 0, 0, &[]).await;
            server.next(GOAWAY).await;
        });
        let connection = connection.await;
        assert_eq!(limit(&connection).await, StreamLimit::Max(1000));
    });
    ends_clean(&net);
}

#[test]
fn end_of_an_idle_connection_is_reported() {
    let net = MockNet::new();
    net.run(async {
        let connection = connect(&net, async |stream| {
            let mut server = Server::begin(stream).await;
            server.admit(7).await;
            server.0.sleep(Duration::from_secs(1)).await;
            server.0.close_write().await.unwrap();
            server.0.read_to_end().await.unwrap();
        });
        let connection = connection.await;
        assert_eq!(limit(&connection).await, StreamLimit::Max(7));
        assert_eq!(limit(&connection).await, StreamLimit::Closed);
        let book = Arc::new(Book::default());
        let failure = connection
            .exchange(get(), book.context())
            .await
            .unwrap_err();
        assert_eq!(failure.error.kind(), ErrorKind::ConnectionClosed);
        assert_eq!(failure.error.sent(), RequestSent::None);
        assert!(failure.request.is_some());
        assert_eq!(book.ends(), [CloseReason::PeerSaidClose]);
    });
    ends_clean(&net);
}

#[test]
fn end_is_known_before_a_task_of_the_connection_has_run() {
    for frames in [false, true] {
        let net = MockNet::new();
        net.run(async {
            let (stream, server) = net.pair();
            let mut server = Server(server);
            server.admit(7).await;
            let runtime = Arc::new(net.clone());
            let opened = H2Connection::open(stream, runtime, Arc::new(Http2Config::default()));
            let connection = opened.await.unwrap();
            assert_eq!(limit(&connection).await, StreamLimit::Max(7));
            assert!(connection.check_open());
            server.0.read_exact(24).await.unwrap();
            // Unread frames are not the end.
            server.send(PING, 0, 0, &[0; 8]).await;
            assert!(connection.check_open());
            assert!(server.next(PING).await.is_some(), "the driver reads them");
            if frames {
                server.go_away(0).await;
            }
            server.0.close_write().await.unwrap();
            // No task has run since.
            assert!(!connection.check_open(), "frames before the end: {frames}");
            assert_eq!(limit(&connection).await, StreamLimit::Closed);
            assert!(!connection.check_open());
        });
        ends_clean(&net);
    }
}

#[test]
fn stream_that_was_never_opened_fails_as_unsent_when_the_server_admits_none() {
    for method in [http::Method::GET, http::Method::POST] {
        let net = MockNet::new();
        net.run(async {
            let (stream, server) = net.pair();
            let mut server = Server(server);
            server.admit(7).await;
            let runtime = Arc::new(net.clone());
            let opened = H2Connection::open(stream, runtime, Arc::new(Http2Config::default()));
            let connection = opened.await.unwrap();
            server.0.read_exact(24).await.unwrap();
            assert_eq!(limit(&connection).await, StreamLimit::Max(7));
            let book = Arc::<Book>::default();
            let mut before = connection.exchange(get(), book.context());
            poll_fn(|cx| Poll::Ready(before.as_mut().poll(cx).is_pending())).await;
            let (opened, _) = server.next(HEADERS).await.unwrap();

            // It has arrived before the driver is polled with the request.
            server.admit(0).await;
            let mut request = get();
            *request.method_mut() = method.clone();
            *request.body_mut() = Body::from(if method == "POST" { "all" } else { "" });
            let failure = connection.exchange(request, book.context()).await;
            let failure = failure.unwrap_err();
            assert_eq!(net.elapsed(), Duration::ZERO);
            assert_eq!(
                failure.error.sent(),
                RequestSent::None,
                "{:?}",
                failure.error
            );
            assert_eq!(failure.error.kind(), ErrorKind::ConnectionClosed);
            assert!(failure.request.is_some());
            assert_eq!(limit(&connection).await, StreamLimit::Closed);

            // Nor is it sent later, when the server admits streams again.
            server.admit(9).await;
            server.send(PING, 0, 0, &[0; 8]).await;
            assert!(server.next(PING).await.is_some());
            server.answer(opened).await;
            hello(before.await).await;
            drop(connection);
            let after = server.next(HEADERS).await;
            assert_eq!(after, None, "the stream was opened after all");
        });
        ends_clean(&net);
    }
}

#[test]
fn lease_ends_once_with_its_reason() {
    let net = MockNet::new();
    let book = Arc::new(Book::default());
    net.run(async {
        let connection = connect(&net, async |stream| {
            let mut server = Server::begin(stream).await;
            server.admit(7).await;
            let (whole, _) = server.next(HEADERS).await.unwrap();
            server.answer(whole).await;
            let (refused, _) = server.next(HEADERS).await.unwrap();
            server.send(RST_STREAM, 0, refused, &[0, 0, 0, 7]).await;
            let (dropped, _) = server.next(HEADERS).await.unwrap();
            server.send(HEADERS, END_HEADERS, dropped, OK).await;
            // RFC 9113 §7: CANCEL
            let reset = server.next(RST_STREAM).await.unwrap();
            assert_eq!(reset, (dropped, vec![0, 0, 0, 8]));
            let (last, _) = server.next(HEADERS).await.unwrap();
            server.go_away(u8::try_from(last).unwrap() - 2).await;
            assert_eq!(server.next(HEADERS).await, None);
        });
        let connection = connection.await;
        let ask = || connection.exchange(get(), book.context());

        hello(ask().await).await;
        assert_eq!(book.ends(), [CloseReason::Finished]);

        let refused = ask().await.unwrap_err();
        assert_eq!(
            refused.error.sent(),
            RequestSent::None,
            "{:?}",
            refused.error
        );
        assert_eq!(book.ends(), [CloseReason::Failed]);

        drop(ask().await.unwrap());
        assert_eq!(book.ends(), [CloseReason::Abandoned]);

        // Its reset is sent before any other request.
        net.sleep(Duration::from_secs(1)).await;
        let unprocessed = ask().await.unwrap_err();
        assert_eq!(unprocessed.error.kind(), ErrorKind::ConnectionClosed);
        assert_eq!(unprocessed.error.sent(), RequestSent::None);
        assert_eq!(book.ends(), [CloseReason::PeerSaidClose]);
    });
    ends_clean(&net);
    assert_eq!(book.ends(), []);
}

#[test]
fn exchanges_outlive_the_handle_and_then_goaway_is_sent() {
    let net = MockNet::new();
    let told = Arc::new(Mutex::new(None));
    let noted = told.clone();
    net.run(async {
        let connection = connect(&net, async move |stream| {
            let mut server = Server::begin(stream).await;
            server.admit(7).await;
            let (asked, _) = server.next(HEADERS).await.unwrap();
            server.0.sleep(Duration::from_secs(1)).await;
            server.answer(asked).await;
            let goaway = server.next(GOAWAY).await;
            *noted.lock().unwrap() = goaway.map(|(_, payload)| payload[4..8].to_vec());
            assert_eq!(server.0.read_exact(1).await.ok(), None, "and it is closed");
        });
        let connection = connection.await;
        let book = Arc::new(Book::default());
        let exchange = connection.exchange(get(), book.context());
        drop(connection);
        hello(exchange.await).await;
        assert_eq!(book.ends(), [CloseReason::Finished]);
    });
    ends_clean(&net);
    // RFC 9113 §7: NO_ERROR
    assert_eq!(told.lock().unwrap().take(), Some(vec![0; 4]));
}

#[test]
fn runtime_that_drops_the_driver_leaves_no_exchange_waiting() {
    let net = MockNet::new();
    let book = Arc::new(Book::default());
    let connection = net.run(connect(&net, async |stream| {
        let mut server = Server::begin(stream).await;
        server.admit(7).await;
        server.0.stall().await;
    }));
    let mut exchange = connection.exchange(get(), book.context());
    let first = poll_fn(|cx| Poll::Ready(exchange.as_mut().poll(cx).is_pending()));
    assert!(net.run(first));
    net.clear();
    let cx = &mut Context::from_waker(Waker::noop());
    let Poll::Ready(Err(failure)) = exchange.as_mut().poll(cx) else {
        panic!("an exchange waits for ever");
    };
    assert_eq!(
        failure.error.kind(),
        ErrorKind::RuntimeShutdown,
        "{:?}",
        failure.error
    );
    assert_eq!(book.ends(), [CloseReason::PeerSaidClose]);
}

/// Counts its clones, as any waker keeps its task.
struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn request_dropped_while_it_waits_for_settings_leaves_no_waker() {
    let net = MockNet::new();
    net.run(async {
        let connection = connect(&net, async |stream| {
            // It sends nothing, and waits for the end.
            Server::begin(stream).await.next(GOAWAY).await;
        });
        let connection = connection.await;
        let book = Arc::<Book>::default();
        let ask = || {
            let mut request = get();
            *request.method_mut() = http::Method::CONNECT;
            let protocol = Protocol::new("websocket");
            request.extensions_mut().insert(protocol);
            connection.exchange(request, book.context())
        };
        let (stays, goes) = (Arc::new(Task), Arc::new(Task));
        let mut staying = ask();
        let waker = stays.clone().into();
        assert!(
            staying
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        for _ in 0..100 {
            // Each time from another task.
            let (one, other) = (goes.clone().into(), Arc::new(Task).into());
            let mut going = ask();
            assert!(
                going
                    .as_mut()
                    .poll(&mut Context::from_waker(&other))
                    .is_pending()
            );
            assert!(
                going
                    .as_mut()
                    .poll(&mut Context::from_waker(&one))
                    .is_pending()
            );
        }
        assert_eq!(Arc::strong_count(&goes), 1, "their wakers are kept");
        assert_eq!(
            Arc::strong_count(&stays),
            4,
            "ours, the waker, and its clones with the connection and with the lease"
        );
        drop(staying);
        drop(connection);
    });
    ends_clean(&net);
}

/// A stream that can be made to pass on what it is given and then to fail all the same, as TLS does if
/// the connection below breaks between two of its records.
#[derive(Debug)]
struct Breaking {
    stream: BoxStream,
    breaks: Arc<AtomicBool>,
    writes: Writes,
}

/// For each write, where its slices were in memory and how long they were.
type Writes = Arc<Mutex<Vec<Vec<(usize, usize)>>>>;

impl NetworkStream for Breaking {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.stream.poll_read(cx, buf)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream.poll_write(cx, bufs);
        if written.is_ready() {
            let slices = bufs.iter().map(|buf| (buf.as_ptr() as usize, buf.len()));
            self.writes.lock().unwrap().push(slices.collect());
        }
        if self.breaks.load(SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        written
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
fn data_that_a_failed_write_may_have_passed_on_does_not_count_as_unsent() {
    let net = MockNet::new();
    net.run(async {
        let breaks = Arc::<AtomicBool>::default();
        let (stream, server) = net.pair();
        let stream = Box::new(Breaking {
            stream,
            breaks: breaks.clone(),
            writes: Writes::default(),
        });
        let received = Arc::<AtomicBool>::default();
        let receives = received.clone();
        net.spawn("server", async move {
            let mut server = Server::begin(server).await;
            server.admit(10).await;
            receives.store(server.next(HEADERS).await.is_some(), SeqCst);
        });
        let runtime = Arc::new(net.clone());
        let opened = H2Connection::open(stream, runtime, Arc::new(Http2Config::default()));
        let connection = opened.await.unwrap();
        assert_eq!(limit(&connection).await, StreamLimit::Max(10));
        let book = Arc::<Book>::default();
        breaks.store(true, SeqCst);
        let failure = connection
            .exchange(get(), book.context())
            .await
            .unwrap_err();
        net.run_until_idle();
        assert!(received.load(SeqCst), "the server has the request");
        assert_eq!(
            failure.error.sent(),
            RequestSent::Full,
            "{:?}",
            failure.error
        );
        drop(connection);
    });
    ends_clean(&net);
}

#[test]
fn frames_of_a_body_are_one_write_without_a_copy() {
    const LENGTH: usize = 60_000; // within the windows that every server begins with
    let net = MockNet::new();
    net.run(async {
        let writes = Writes::default();
        let (stream, server) = net.pair_with(Link::new().buffer(1 << 20));
        let stream = Box::new(Breaking {
            stream,
            breaks: Arc::default(),
            writes: writes.clone(),
        });
        net.spawn("server", async move {
            let mut server = Server::begin(server).await;
            server.admit(10).await;
            let mut left = LENGTH;
            while left > 0 {
                let (_, data) = server.next(DATA).await.unwrap();
                assert!(data.iter().all(|byte| *byte == 7));
                left -= data.len();
            }
            server.answer(1).await;
            assert!(server.next(GOAWAY).await.is_some());
        });
        let runtime = Arc::new(net.clone());
        let opened = H2Connection::open(stream, runtime, Arc::new(Http2Config::default()));
        let connection = opened.await.unwrap();
        assert_eq!(limit(&connection).await, StreamLimit::Max(10));
        let body = Bytes::from(vec![7; LENGTH]);
        let place = body.as_ptr() as usize..body.as_ptr() as usize + LENGTH;
        let mut request = get();
        *request.method_mut() = http::Method::POST;
        *request.body_mut() = body.into();
        hello(
            connection
                .exchange(request, Arc::<Book>::default().context())
                .await,
        )
        .await;
        let writes = writes.lock().unwrap();
        let of_body = writes.iter().filter_map(|write| {
            let slices = write.iter().filter(|(at, _)| place.contains(at));
            let bytes: usize = slices.map(|(_, length)| length).sum();
            (bytes > 0).then_some(bytes)
        });
        let of_body: Vec<_> = of_body.collect();
        // h2 writes the beginning of each frame together with its header.
        assert!(
            matches!(of_body[..], [bytes] if bytes > LENGTH - 4 * 256),
            "{of_body:?}"
        );
        drop(connection);
    });
    ends_clean(&net);
}

#[test]
fn exchange_that_is_polled_after_its_end_yields_an_error() {
    for (is_answered, is_whole) in [(true, true), (true, false), (false, false)] {
        let net = MockNet::new();
        net.run(async {
            let connection = connect(&net, async move |stream| {
                let mut server = Server::begin(stream).await;
                server.admit(10).await;
                let (stream, _) = server.next(HEADERS).await.unwrap();
                match (is_answered, is_whole) {
                    (true, true) => server.answer(stream).await,
                    (true, false) => server.send(HEADERS, END_HEADERS, stream, OK).await,
                    (false, _) => server.send(RST_STREAM, 0, stream, &[0, 0, 0, 2]).await,
                }
                server.next(GOAWAY).await;
            });
            let connection = connection.await;
            let book = Arc::<Book>::default();
            let mut exchange = connection.exchange(get(), book.context());
            let kept = exchange.as_mut().await;
            assert_eq!(kept.is_ok(), is_answered);
            for _ in 0..3 {
                let failure = exchange.as_mut().await.unwrap_err();
                assert_eq!(failure.error.kind(), ErrorKind::InvalidRequest);
                assert_eq!(failure.error.sent(), RequestSent::Full);
                assert!(failure.request.is_none());
            }
            drop((kept, exchange, connection));
            assert_eq!(book.ends().len(), 1);
        });
        ends_clean(&net);
    }
}

#[test]
fn interim_responses_beyond_the_limit_are_named_in_the_error() {
    // `:status: 103`, not indexed.
    let hints = [&[0x08, 3][..], b"103"].concat();
    for count in [1 + Http2Config::default().max_informational, 200] {
        let net = MockNet::new();
        net.run(async {
            let hints = hints.clone();
            let connection = connect(&net, async move |stream| {
                let mut server = Server::begin(stream).await;
                server.admit(10).await;
                let (stream, _) = server.next(HEADERS).await.unwrap();
                for _ in 0..count {
                    server.send(HEADERS, END_HEADERS, stream, &hints).await;
                }
                let _ = server.0.read_to_end().await;
            });
            let connection = connection.await;
            let exchange = connection.exchange(get(), Arc::<Book>::default().context());
            let error = exchange.await.unwrap_err().error;
            let text = format!("{error:#}");
            assert!(text.contains("1xx") && text.contains("more than"), "{text}");
        });
    }
}

#[test]
fn promise_on_any_stream_ends_the_connection_with_a_protocol_error() {
    // On a stream that waits, on one that was reset here, and on one that was never opened; whole,
    // and in bytes.
    for (dropped, offset, in_bytes) in [
        (false, 0, false),
        (true, 0, false),
        (true, 0, true),
        (false, 2, true),
    ] {
        let net = MockNet::new();
        net.run(async {
            let connection = connect(&net, async move |stream| {
                let mut server = Server::begin(stream).await;
                server.admit(10).await;
                let (stream, _) = server.next(HEADERS).await.unwrap();
                if dropped {
                    server.next(RST_STREAM).await.unwrap();
                }
                let stream = (stream + offset).to_be_bytes();
                // A GET, by the static table, on stream 2.
                let promise = [
                    &[0, 0, 7, PUSH_PROMISE, END_HEADERS][..],
                    &stream,
                    &[0, 0, 0, 2, 0x82, 0x84, 0x86],
                ]
                .concat();
                let pieces = promise.chunks(if in_bytes { 1 } else { 100 });
                for piece in pieces {
                    server.0.write_all(piece).await.unwrap();
                    server.0.sleep(Duration::from_millis(1)).await;
                }
                let (_, goaway) = server.next(GOAWAY).await.unwrap();
                assert_eq!(goaway[4..8], [0, 0, 0, 1], "PROTOCOL_ERROR");
            });
            let connection = connection.await;
            assert_eq!(limit(&connection).await, StreamLimit::Max(10));
            let mut exchange = connection.exchange(get(), Arc::<Book>::default().context());
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(exchange.as_mut().poll(cx).is_pending());
            net.sleep(Duration::from_secs(1)).await;
            if dropped {
                drop(exchange);
            }
            assert_eq!(limit(&connection).await, StreamLimit::Closed);
        });
    }
}
