//! HTTP/2 through the whole of the facade: in virtual time, over the event loop, and on a thread
//! that waits.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    convert::Infallible,
    future::poll_fn,
    io::{IoSlice, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use httpcore::backend::NetworkStream as _;
use httpcore::{
    Body, ConnectionPool, ConnectionPoolBuilder, ErrorKind, EventLoop, Request, Timeouts, Upgraded,
    config::Http2Config,
    error::{ErrorPhase, RequestSent, TimeoutKind},
    extensions::{ConnectionPolicy, IncludeConnectionInfo, OnInformational, Protocol, StreamId},
    net::ConnectionInfo,
    service::OriginService,
};
use httpcore_net_mock::{Link, LiveCounts, MockNet, MockTls, TlsServer};
use httpcore_tests::http2::{self, Tokio};
use tower::Service;

/// HTTP/2, without asking.
fn prior_knowledge() -> ConnectionPoolBuilder {
    ConnectionPool::builder().http1(false).http2(true)
}

fn net() -> MockNet {
    let net = MockNet::new();
    net.serve("origin.test", 80, async |stream| {
        http2::serve(Tokio(stream), h2::server::Builder::new()).await;
    });
    net
}

fn post(url: &str, body: Body) -> Request {
    http::Request::post(url).body(body).unwrap()
}

/// A body of unknown length, in pieces.
fn pieces(count: usize, size: usize) -> Body {
    let piece = Bytes::from(vec![b'p'; size]);
    let mut left = count;
    Body::poll_fn(move |_| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        Poll::Ready(Some(Ok::<_, Infallible>(piece.clone())))
    })
}

async fn whole(pool: &ConnectionPool, base: &str) {
    let hello = pool.get(format!("{base}/hello")).await.unwrap();
    assert_eq!(hello.version(), http::Version::HTTP_2);
    assert_eq!(hello.extensions().get::<StreamId>(), Some(&StreamId(1)));
    assert_eq!(hello.into_body().bytes(100).await.unwrap(), "hello");

    let large = pool.get(format!("{base}/bytes/9000000")).await.unwrap();
    let large = large.into_body().bytes(9_000_000).await.unwrap();
    assert_eq!(large.len(), 9_000_000);

    let echoed = pool.request(post(&format!("{base}/echo"), pieces(300, 10_000)));
    let echoed = echoed.await.unwrap().into_body();
    assert_eq!(echoed.bytes(3_000_000).await.unwrap().len(), 3_000_000);

    let status = pool.status();
    assert_eq!(status.connections.len(), 1, "{status}");
    assert_eq!(status.active_requests, 0, "{status}");
}

#[test]
fn streamed_bodies_go_both_ways_in_virtual_time() {
    let net = net();
    let pool = prior_knowledge().build(Arc::new(net.clone()));
    net.run(whole(&pool, "http://origin.test"));
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default(), "{}", net.report());
}

#[test]
fn streamed_bodies_go_both_ways_over_the_event_loop() {
    let address = http2::start(h2::server::Builder::new()).unwrap();
    let epoll = EventLoop::new().unwrap();
    let pool = prior_knowledge().build(epoll.backend());
    epoll.block_on(whole(&pool, &format!("http://{address}")));
}

#[test]
fn streamed_bodies_go_both_ways_on_a_thread_that_waits() {
    let address = http2::start(h2::server::Builder::new()).unwrap();
    let pool = prior_knowledge().build_blocking().unwrap();
    let hello = pool.get(format!("http://{address}/hello")).unwrap();
    assert_eq!(hello.version(), http::Version::HTTP_2);
    assert_eq!(hello.into_body().bytes(100).unwrap(), "hello");
    let large = pool.get(format!("http://{address}/bytes/9000000")).unwrap();
    assert_eq!(large.into_body().bytes(9_000_000).unwrap().len(), 9_000_000);
    let echo = post(&format!("http://{address}/echo"), pieces(300, 10_000));
    let echoed = pool.request(echo).unwrap().into_body();
    assert_eq!(echoed.bytes(3_000_000).unwrap().len(), 3_000_000);
}

#[test]
fn threads_that_wait_share_a_connection() {
    let address = http2::start(h2::server::Builder::new()).unwrap();
    let pool = prior_knowledge().build_blocking().unwrap();
    let url = format!("http://{address}/bytes/100000");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let response = pool.get(url.as_str()).unwrap();
                    let length = response.into_body().bytes(100_000).unwrap().len();
                    assert_eq!(length, 100_000);
                }
            });
        }
    });
    let counters = pool.stats();
    assert_eq!(counters.granted, 160);
    assert_eq!(counters.opened, 1, "{}", pool.status());
    assert_eq!(pool.status().active_requests, 0);
}

#[test]
fn a_server_chooses_http2_in_its_handshake() {
    let net = MockNet::new();
    let tls = TlsServer::new().alpn(&[httpcore::net::Alpn::Http2]);
    net.serve_tls("origin.test", 443, tls, async |stream| {
        http2::serve(Tokio(stream), h2::server::Builder::new()).await;
    });
    let pool = ConnectionPool::builder()
        .tls(Arc::new(MockTls::new()))
        .build(Arc::new(net.clone()));
    net.run(whole(&pool, "https://origin.test"));
    net.run(async {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = "https://origin.test/".parse().unwrap();
        request.extensions_mut().insert(IncludeConnectionInfo);
        let response = pool.request(request).await.unwrap();
        let info: &ConnectionInfo = response.extensions().get().unwrap();
        let chosen = info.tls.as_ref().and_then(|tls| tls.alpn);
        assert_eq!(chosen, Some(httpcore::net::Alpn::Http2));
        assert_eq!(response.version(), http::Version::HTTP_2);
    });
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default(), "{}", net.report());
}

/// A server which knows extended CONNECT.
fn with_connect() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    builder
}

fn connect(url: &str, protocol: &'static str) -> Request {
    http::Request::connect(url)
        .extension(Protocol::new(protocol))
        .body(Body::empty())
        .unwrap()
}

async fn write_all(stream: &mut Upgraded, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(bytes)])).await;
        bytes = &bytes[written.unwrap()..];
    }
}

async fn read_some(stream: &mut Upgraded) -> BytesMut {
    let mut buf = BytesMut::with_capacity(100);
    poll_fn(|cx| stream.poll_read(cx, &mut buf)).await.unwrap();
    buf
}

async fn duplex(pool: &ConnectionPool, base: &str) {
    let request = connect(&format!("{base}/chat"), "websocket");
    let mut response = pool.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut stream = Upgraded::take_from(&mut response).unwrap();
    for text in ["once", "twice"] {
        write_all(&mut stream, text.as_bytes()).await;
        assert_eq!(read_some(&mut stream).await, text);
    }
    // The connection carries others meanwhile.
    let hello = pool.get(format!("{base}/hello")).await.unwrap();
    assert_eq!(hello.into_body().bytes(100).await.unwrap(), "hello");
    assert_eq!(pool.status().active_requests, 1);
    poll_fn(|cx| stream.poll_shutdown(cx)).await.unwrap();
    assert_eq!(read_some(&mut stream).await, "", "the end");
    drop(stream);
    assert_eq!(pool.status().active_requests, 0);
    assert_eq!(pool.status().connections.len(), 1);

    // What asks for an upgrade over HTTP/1.1 asks for the same here.
    let upgrade = http::Request::get(format!("{base}/chat"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .extension(Protocol::new("websocket"));
    let upgrade = upgrade.body(Body::empty()).unwrap();
    let mut response = pool.request(upgrade).await.unwrap();
    let mut stream = Upgraded::take_from(&mut response).unwrap();
    write_all(&mut stream, b"thrice").await;
    assert_eq!(read_some(&mut stream).await, "thrice");
    drop(stream);

    let refused = pool.request(connect(&format!("{base}/chat"), "connect-udp"));
    let refused = refused.await.unwrap();
    assert_eq!(refused.status(), 501);
    let why = refused.into_body().bytes(100).await.unwrap();
    assert_eq!(why, "which protocol?");
}

#[test]
fn an_extended_connect_is_a_stream_both_ways() {
    let net = MockNet::new();
    net.serve("origin.test", 80, async |stream| {
        http2::serve(Tokio(stream), with_connect()).await;
    });
    let pool = prior_knowledge().build(Arc::new(net.clone()));
    net.run(duplex(&pool, "http://origin.test"));
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default(), "{}", net.report());
}

#[test]
fn a_tunnel_carries_more_than_the_windows_hold() {
    let net = MockNet::new();
    net.serve("origin.test", 80, async |stream| {
        http2::serve(Tokio(stream), with_connect()).await;
    });
    let mut config = Http2Config::default();
    (config.stream_window, config.max_buffered_per_connection) = (64 << 10, 192 << 10);
    let pool = prior_knowledge()
        .configure_http2(|http2| *http2 = config)
        .build(Arc::new(net.clone()));
    net.run(async {
        let request = connect("http://origin.test/chat", "websocket");
        let mut response = pool.request(request).await.unwrap();
        let mut stream = Upgraded::take_from(&mut response).unwrap();
        let piece = vec![b'x'; 10_000];
        for _ in 0..100 {
            write_all(&mut stream, &piece).await;
            let mut heard = 0;
            while heard < piece.len() {
                heard += read_some(&mut stream).await.len();
            }
        }
    });
    net.clear();
}

#[test]
fn an_extended_connect_is_a_stream_both_ways_over_the_event_loop() {
    let address = http2::start(with_connect()).unwrap();
    let epoll = EventLoop::new().unwrap();
    let pool = prior_knowledge().build(epoll.backend());
    epoll.block_on(duplex(&pool, &format!("http://{address}")));
}

#[test]
fn an_extended_connect_waits_for_settings_and_is_refused_where_they_do_not_offer_it() {
    let net = net();
    let pool = prior_knowledge().build(Arc::new(net.clone()));
    let error = net
        .run(pool.request(connect("http://origin.test/chat", "websocket")))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error:?}");
    assert_eq!(error.sent(), RequestSent::None);
    assert_eq!(pool.status().active_requests, 0);
    let hello = net.run(pool.get("http://origin.test/hello")).unwrap();
    assert_eq!(hello.status(), 200, "the connection is as good as before");
    net.clear();
}

#[test]
fn an_extended_connect_does_not_wait_for_settings_for_ever() {
    let net = MockNet::new();
    net.serve("origin.test", 80, async |stream| stream.stall().await);
    for (limits, kind) in [
        (
            Timeouts::default().with_read(Duration::from_secs(5)),
            TimeoutKind::Read,
        ),
        (
            Timeouts::default().with_response_head(Duration::from_secs(5)),
            TimeoutKind::ResponseHead,
        ),
    ] {
        let pool = prior_knowledge()
            .timeouts(limits)
            .build(Arc::new(net.clone()));
        let begun = net.elapsed();
        let error = net
            .run(pool.request(connect("http://origin.test/chat", "websocket")))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(kind), "{error:?}");
        assert_eq!(
            (error.phase(), error.sent()),
            (ErrorPhase::Send, RequestSent::None)
        );
        assert_eq!(net.elapsed() - begun, Duration::from_secs(5));
    }
    net.clear();
}

#[test]
fn an_extended_connect_hears_of_a_connection_that_ends_before_its_settings() {
    let net = MockNet::new();
    let served = net.serve("origin.test", 80, async |mut stream| {
        stream.read_exact(24).await.unwrap();
        stream.sleep(Duration::from_secs(1)).await;
    });
    let pool = prior_knowledge().build(Arc::new(net.clone()));
    let error = net
        .run(pool.request(connect("http://origin.test/chat", "websocket")))
        .unwrap_err();
    // It has not read everything, and so its end is a reset.
    assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    assert_eq!(
        (error.phase(), error.sent()),
        (ErrorPhase::Send, RequestSent::None)
    );
    // What was not sent may be sent again, and that has an end.
    assert_eq!((error.attempts(), served.attempts()), (10, 10));
    assert_eq!(net.elapsed(), Duration::from_secs(10));
    net.clear();
}

#[test]
fn a_request_may_insist_on_http1() {
    let net = MockNet::new();
    let tls = TlsServer::new().alpn(&[httpcore::net::Alpn::Http2, httpcore::net::Alpn::Http1]);
    net.serve_tls("origin.test", 443, tls, async |mut stream| {
        while stream.read_head().await.is_ok() {
            let answer = "HTTP/1.1 204 No Content\r\n\r\n";
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    });
    let pool = ConnectionPool::builder()
        .tls(Arc::new(MockTls::new()))
        .build(Arc::new(net.clone()));
    let request = || {
        http::Request::get("https://origin.test/")
            .extension(ConnectionPolicy::default().with_http1_only())
            .body(Body::empty())
            .unwrap()
    };
    for _ in 0..2 {
        let response = net.run(pool.request(request())).unwrap();
        assert_eq!(response.version(), http::Version::HTTP_11);
    }
    assert_eq!(pool.status().connections.len(), 1, "and they share");
    net.clear();
}

/// A pool which wants a sign of life after half a minute, within ten seconds.
fn watchful() -> ConnectionPoolBuilder {
    let mut config = Http2Config::default();
    config.keep_alive_interval = Some(Duration::from_secs(30));
    config.keep_alive_timeout = Duration::from_secs(10);
    prior_knowledge().configure_http2(|http2| *http2 = config)
}

#[test]
fn a_server_that_falls_silent_is_found_out() {
    let net = MockNet::new();
    net.serve("origin.test", 80, async |stream| {
        let mut server = h2::server::handshake(Tokio(stream)).await.unwrap();
        let _request = server.accept().await;
        std::future::pending::<()>().await;
    });
    let pool = watchful().build(Arc::new(net.clone()));
    let error = net.run(pool.get("http://origin.test/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    assert!(error.to_string().contains("ping timed out"), "{error}");
    assert_eq!(net.elapsed(), Duration::from_secs(40));
    net.clear();
}

#[test]
fn a_server_that_takes_nothing_in_is_found_out_too() {
    let net = MockNet::new();
    let server = net.serve("origin.test", 80, async |mut stream| {
        // Windows without end, and then it does not read.
        let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff";
        let update = b"\0\0\x04\x08\0\0\0\0\0\x7f\0\0\0";
        stream.write_all(settings).await.unwrap();
        stream.write_all(update).await.unwrap();
        stream.stall().await;
    });
    server.link(Link::new().buffer(100_000));
    let pool = watchful().build(Arc::new(net.clone()));
    let upload = post("http://origin.test/echo", pieces(1000, 10_000));
    let error = net.run(pool.request(upload)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    assert_eq!(error.sent(), RequestSent::Partial);
    assert_eq!(net.elapsed(), Duration::from_secs(40));
    assert!(pool.status().connections.is_empty());
    net.clear();
}

#[test]
fn windows_grow_to_what_the_path_holds() {
    let took = |adaptive: bool| {
        let net = MockNet::new();
        net.serve("origin.test", 80, async |stream| {
            http2::serve(Tokio(stream), h2::server::Builder::new()).await;
        })
        .link(
            Link::new()
                .latency(Duration::from_millis(50))
                .buffer(8 << 20),
        );
        let mut config = Http2Config::default();
        config.stream_window = 64 << 10;
        config.adaptive_window = adaptive;
        let pool = prior_knowledge()
            .configure_http2(|http2| *http2 = config)
            .build(Arc::new(net.clone()));
        let length = net.run(async {
            let response = pool.get("http://origin.test/bytes/20000000").await;
            let body = response.unwrap().into_body();
            body.bytes(20_000_000).await.unwrap().len()
        });
        assert_eq!(length, 20_000_000);
        let elapsed = net.elapsed();
        net.clear();
        elapsed
    };
    let (fixed, grown) = (took(false), took(true));
    // 300 windows of 64 KiB, one after the other; or a few of several megabytes.
    assert!(fixed > Duration::from_secs(15), "{fixed:?}");
    assert!(grown < Duration::from_secs(2), "{grown:?}");
}

#[test]
fn hints_trailers_and_early_answers_come_through() {
    let net = net();
    let pool = prior_knowledge().build(Arc::new(net.clone()));
    let hints = Arc::new(Mutex::new(Vec::new()));
    let noted = hints.clone();
    let hinted = http::Request::get("http://origin.test/hints")
        .extension(OnInformational::new(move |hint| {
            noted.lock().unwrap().push(hint.status().as_u16());
        }))
        .body(Body::empty())
        .unwrap();
    net.run(async {
        let response = pool.request(hinted).await.unwrap();
        assert_eq!(response.into_body().bytes(100).await.unwrap(), "hinted");

        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", "9".parse().unwrap());
        let body = pieces(2, 5).with_trailers(trailers);
        let echoed = pool.request(post("http://origin.test/echo", body));
        let mut echoed = echoed.await.unwrap().into_body();
        let mut got = (0, None);
        while let Some(frame) = poll_fn(|cx| echoed.poll_next(cx)).await {
            match frame.unwrap().into_data() {
                Ok(data) => got.0 += data.len(),
                Err(frame) => got.1 = frame.into_trailers().ok(),
            }
        }
        let trailers = got.1.unwrap();
        assert_eq!(
            (got.0, &trailers["x-sum"], &trailers["x-length"]),
            (10, &"9".parse().unwrap(), &"10".parse().unwrap())
        );

        // The answer comes although the body has no end.
        let endless = pieces(usize::MAX, 10_000);
        let refused = pool.request(post("http://origin.test/refuse", endless));
        assert_eq!(refused.await.unwrap().status(), 413);
        let hello = pool.get("http://origin.test/hello").await.unwrap();
        assert_eq!(hello.status(), 200);
        assert_eq!(pool.status().connections.len(), 1);
    });
    assert_eq!(*hints.lock().unwrap(), [103]);
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default(), "{}", net.report());
}

#[test]
fn a_drain_waits_for_streams_and_then_breaks_them_off() {
    let net = MockNet::new();
    net.serve("origin.test", 80, async |stream| {
        let mut server = h2::server::handshake(Tokio(stream)).await.unwrap();
        let mut unanswered = Vec::new();
        while let Some(Ok(request)) = server.accept().await {
            unanswered.push(request);
        }
    });
    let pool = prior_knowledge().build(Arc::new(net.clone()));
    let (asking, after) = (pool.clone(), Arc::new(Mutex::new(None)));
    let noted = after.clone();
    net.spawn("client", async move {
        let outcome = asking.get("http://origin.test/").await;
        *noted.lock().unwrap() = outcome.err();
    });
    net.run(async {
        net.sleep(Duration::from_secs(1)).await;
        let drained = pool.drain(Duration::from_secs(5)).await;
        assert_eq!(drained.aborted, 1);
    });
    assert_eq!(net.elapsed(), Duration::from_secs(6));
    drop(pool);
    net.run_until_idle();
    let error = after.lock().unwrap().take().unwrap();
    assert_eq!(error.kind(), ErrorKind::PoolClosed, "{error:?}");
    assert_eq!(net.live_counts(), LiveCounts::default(), "{}", net.report());
}

/// Reads frames up to the first HEADERS; on which stream they were.
fn next_request(stream: &mut TcpStream) -> u8 {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).unwrap();
        if head[3] == 1 {
            return head[8];
        }
    }
}

/// Serves one request on each of two connections, and closes the first behind it.
fn serve_two(listener: &TcpListener, closed: &mpsc::Sender<()>) {
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 24]).unwrap();
        stream.write_all(b"\0\0\0\x04\0\0\0\0\0").unwrap();
        let asked = next_request(&mut stream);
        let answer = [0, 0, 1, 1, 5, 0, 0, 0, asked, 0x88];
        stream.write_all(&answer).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        closed.send(()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn a_get_on_a_connection_that_ended_unnoticed_is_sent_on_another() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, closed) = mpsc::channel();
    let server = std::thread::spawn(move || serve_two(&listener, &sender));
    let pool = prior_knowledge().build_blocking().unwrap();
    let url = format!("http://{address}/");
    assert_eq!(pool.get(url.as_str()).unwrap().status(), 200);
    closed.recv().unwrap();
    // The pool's loop is not running, so that the end of the connection is not observed. Whether that
    // is found out before the request is written or by writing it, a GET may be sent once more.
    assert_eq!(pool.get(url.as_str()).unwrap().status(), 200);
    assert_eq!(pool.stats().opened, 2);
    drop(pool);
    server.join().unwrap();
}

/// Serves one request on each of two connections. Behind the first it says that there will be no more
/// (GOAWAY), and resets the connection.
fn refuse_and_serve(listener: &TcpListener, closed: &mpsc::Sender<()>) {
    for is_last in [false, true] {
        let (mut stream, _) = listener.accept().unwrap();
        // Otherwise the kernel may hold the GOAWAY back until the reset discards it.
        stream.set_nodelay(true).unwrap();
        stream.read_exact(&mut [0; 24]).unwrap();
        stream.write_all(b"\0\0\0\x04\0\0\0\0\0").unwrap();
        let asked = next_request(&mut stream);
        let answer = [0, 0, 1, 1, 5, 0, 0, 0, asked, 0x88];
        stream.write_all(&answer).unwrap();
        if is_last {
            let _ = stream.read_to_end(&mut Vec::new());
        } else {
            let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, asked, 0, 0, 0, 0];
            stream.write_all(&goaway).unwrap();
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
    }
}

#[test]
fn a_post_that_a_goaway_refused_is_sent_again_though_writing_it_failed() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let rounds = 200;
    let (sender, closed) = mpsc::channel();
    let server = std::thread::spawn(move || {
        for _ in 0..rounds {
            refuse_and_serve(&listener, &sender);
        }
    });
    let epoll = EventLoop::new().unwrap();
    for round in 0..rounds {
        let pool = prior_knowledge().build(epoll.backend());
        let status = epoll.block_on(async {
            pool.get(url.as_str()).await.unwrap();
            // The loop does not turn meanwhile, and so the GOAWAY has come and was not read.
            closed.recv().unwrap();
            let posted = pool.request(post(&url, Body::from("once"))).await;
            posted.map(|response| response.status().as_u16())
        });
        assert!(matches!(status, Ok(200)), "round {round}: {status:?}");
        assert_eq!(pool.stats().opened, 2, "round {round}");
    }
    // The last connection ends with its loop.
    drop(epoll);
    server.join().unwrap();
}

#[test]
fn the_version_of_a_request_is_no_preference_over_either_version() {
    use http::Version;
    for http2 in [false, true] {
        let net = MockNet::new();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = heads.clone();
        net.serve("origin.test", 80, move |mut stream| {
            let seen = seen.clone();
            async move {
                if http2 {
                    return http2::serve(Tokio(stream), h2::server::Builder::new()).await;
                }
                while let Ok(head) = stream.read_head().await {
                    seen.lock()
                        .unwrap()
                        .push(head.lines().next().unwrap().to_owned());
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            }
        });
        let pool = ConnectionPool::builder().http1(!http2).http2(http2);
        let pool = pool.build(Arc::new(net.clone()));
        for (version, said) in [
            (Version::HTTP_10, Some("GET /hello HTTP/1.0")),
            (Version::HTTP_11, Some("GET /hello HTTP/1.1")),
            (Version::HTTP_2, Some("GET /hello HTTP/1.1")),
            (Version::HTTP_3, Some("GET /hello HTTP/1.1")),
            (Version::HTTP_09, None),
        ] {
            let request = http::Request::get("http://origin.test/hello").version(version);
            let outcome = net.run(pool.request(request.body(Body::empty()).unwrap()));
            let place = format!("{version:?}, HTTP/2 {http2}");
            let Some(said) = said else {
                let error = outcome.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{place}");
                assert_eq!(error.sent(), RequestSent::None, "{place}");
                continue;
            };
            assert_eq!(outcome.unwrap().status(), 200, "{place}");
            if !http2 {
                assert_eq!(
                    heads.lock().unwrap().pop().as_deref(),
                    Some(said),
                    "{place}"
                );
            }
        }
        drop(pool);
        net.clear();
    }
}

#[test]
fn a_service_for_an_origin_has_as_many_places_as_the_server_admits_streams() {
    let net = MockNet::new();
    net.serve("origin.test", 80, async |stream| {
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(2);
        http2::serve(Tokio(stream), builder).await;
    });
    let pool = prior_knowledge()
        .configure_pool(|config| config.max_http2_connections_per_origin = Some(1))
        .build(net.clone());
    let mut first = pool.service_for("http://origin.test/").unwrap();
    let (mut second, mut third) = (first.clone(), first.clone());
    let is_ready = |service: &mut OriginService| {
        let cx = &mut Context::from_waker(Waker::noop());
        let ready = Service::<Request>::poll_ready(service, cx);
        ready.map(Result::unwrap).is_ready()
    };
    net.run(async {
        // One connection shows how many streams there are.
        let hello = pool.get("http://origin.test/hello").await.unwrap();
        hello.into_body().bytes(100).await.unwrap();
        assert!(is_ready(&mut first));
        assert!(is_ready(&mut second));
        assert!(!is_ready(&mut third));
        for service in [&mut first, &mut second] {
            let request = http::Request::get("/bytes/9000000")
                .body(Body::empty())
                .unwrap();
            let body = service.call(request).await.unwrap().into_body();
            assert!(!is_ready(&mut third), "its stream has not ended");
            drop(body);
            assert!(is_ready(&mut third));
            third = third.clone();
            assert!(is_ready(service), "both have a place again");
        }
    });
    assert_eq!(pool.stats().opened, 1);
}
