//! `https` through the pool, with real TLS in virtual time.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../crates/net-tls/tests/zoo/mod.rs"]
mod zoo;

use std::{
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use httpcore::{
    Alpn, Body, BoxFuture, BoxStream, ConnectionPool, Error, Event, IdleEnd, Kind, NetworkStream,
    Phase, Request, StreamInfo, TimeoutKind, Timeouts, TlsConnector, TlsInfo, Trace,
    mock::{Census, MockNet},
};
use httpcore_net_tls::Refusal;
use zoo::{Authority, ServerTls, serve, stay, tls_error};

const URL: &str = "https://tls.test/";

fn pool(net: &MockNet, root: &Authority) -> ConnectionPool {
    ConnectionPool::builder()
        .tls(Arc::new(root.connector()))
        .build(Arc::new(net.clone()))
}

async fn get(pool: &ConnectionPool) -> Result<Vec<u8>, Error> {
    let response = pool.get(URL).await?;
    Ok(response.into_body().bytes(1 << 20).await?.to_vec())
}

/// Answers requests without bodies until the client leaves.
async fn answer(mut stream: ServerTls) {
    while stream.read_until("\r\n\r\n").await.is_ok() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// A request which writes down every handshake.
fn traced(seen: &Arc<Mutex<Vec<TlsInfo>>>) -> Request {
    let seen = seen.clone();
    http::Request::get(URL)
        .extension(Trace::to(move |_: Instant, event: &Event<'_>| {
            if let Event::TlsEstablished { info } = event {
                seen.lock().unwrap().push((*info).clone());
            }
        }))
        .body(Body::empty())
        .unwrap()
}

#[test]
fn connections_are_kept_across_tickets_and_sessions_across_connections() {
    let net = MockNet::new();
    let root = Authority::new("root");
    let mut config = root.issue(&["tls.test"]).server();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let served = serve(&net, config, answer);
    let pool = pool(&net, &root);
    let seen = Arc::default();
    net.run(async {
        for _ in 0..3 {
            let response = pool.request(traced(&seen)).await.unwrap();
            assert_eq!(response.into_body().bytes(99).await.unwrap(), "hello");
            net.sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(served.attempts(), 1, "one connection for all three");
        pool.close_idle();
        let response = pool.request(traced(&seen)).await.unwrap();
        assert_eq!(response.into_body().bytes(99).await.unwrap(), "hello");
        assert_eq!(served.attempts(), 2);
    });
    let seen = seen.lock().unwrap();
    let facts: Vec<_> = seen.iter().map(|info| (info.alpn, info.resumed)).collect();
    assert_eq!(
        facts,
        [(Some(Alpn::Http1), false), (Some(Alpn::Http1), true)]
    );
    drop(pool);
    net.settle();
    assert_eq!(net.census(), Census::default());
}

/// What the client makes of `response`, of which only `sent` bytes come, and then the end: one
/// that TLS announces, or one that it does not.
fn cut(
    root: &Authority,
    response: &'static str,
    sent: usize,
    announced: bool,
) -> Result<Vec<u8>, Error> {
    let net = MockNet::new();
    let config = root.issue(&["tls.test"]).server();
    serve(&net, config, move |mut stream| async move {
        stream.read_until("\r\n\r\n").await.unwrap();
        stream.write_all(&response[..sent]).await.unwrap();
        if announced {
            stream.close().await.unwrap();
        }
    });
    let pool = pool(&net, root);
    let heard = net.run(get(&pool));
    drop(pool);
    net.settle();
    assert_eq!(net.census(), Census::default());
    heard
}

#[test]
fn a_response_cut_at_any_byte_is_an_error_unless_its_end_was_told() {
    let root = Authority::new("root");
    let (length, chunked, close) = (
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    );
    for response in [length, chunked, close] {
        let head = response.find("\r\n\r\n").unwrap() + 4;
        for sent in 0..=response.len() {
            for announced in [true, false] {
                let heard = cut(&root, response, sent, announced);
                let is_whole = match response == close {
                    // RFC 9112 §9.8: only the close_notify says that this body is complete.
                    true => announced && sent >= head,
                    false => sent == response.len(),
                };
                let told = format!("{sent} bytes of {response:?}, announced: {announced}");
                match heard {
                    Ok(heard) => {
                        assert!(is_whole, "{told}: {heard:?}");
                        let body = match response == close {
                            true => &response.as_bytes()[head..sent],
                            false => b"hello",
                        };
                        assert_eq!(heard, body, "{told}");
                    }
                    Err(error) => {
                        assert!(!is_whole, "{told}: {error:?}");
                        assert_eq!(error.kind(), Kind::Closed, "{told}: {error:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_refused_certificate_is_an_error_of_tls_and_says_why() {
    let net = MockNet::new();
    let server = Authority::new("other").issue(&["tls.test"]).server();
    serve(&net, server, stay);
    let pool = pool(&net, &Authority::new("root"));
    let error = net.run(get(&pool)).unwrap_err();
    assert_eq!((error.kind(), error.phase()), (Kind::Tls, Phase::Tls));
    let source: &io::Error = std::error::Error::source(&error)
        .and_then(|source| source.downcast_ref())
        .unwrap();
    assert_eq!(tls_error(source).refusal(), &Refusal::UnknownIssuer);
}

#[test]
fn a_handshake_that_stalls_runs_into_its_own_timeout() {
    let net = MockNet::new();
    net.serve("tls.test", 443, async |stream| stream.stall().await);
    let root = Authority::new("root");
    let pool = ConnectionPool::builder()
        .tls(Arc::new(root.connector()))
        .timeouts(Timeouts::default().with_tls(Duration::from_secs(7)))
        .build(Arc::new(net.clone()));
    let error = net.run(get(&pool)).unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout(TimeoutKind::Tls));
    assert_eq!(net.elapsed(), Duration::from_secs(7));
}

#[test]
fn https_works_without_being_asked_for_and_trusts_nobody_we_made_up() {
    let net = MockNet::new();
    let root = Authority::new("root");
    serve(&net, root.issue(&["tls.test"]).server(), answer);
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let error = net.run(get(&pool)).unwrap_err();
    assert_eq!(error.kind(), Kind::Tls, "{error:?}");
}

/// Says that HTTP/2 was agreed on, whatever was offered.
#[derive(Debug)]
struct Liar;

#[derive(Debug)]
struct Lie(BoxStream);

impl TlsConnector for Liar {
    fn handshake(
        &self,
        stream: BoxStream,
        _: &str,
        _: &[Alpn],
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        Box::pin(std::future::ready(Ok(Box::new(Lie(stream)) as BoxStream)))
    }
}

impl NetworkStream for Lie {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut bytes::BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buf)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEnd> {
        self.0.poll_idle(cx)
    }

    fn info(&self) -> StreamInfo {
        let mut tls = TlsInfo::default();
        tls.alpn = Some(Alpn::Http2);
        let mut info = self.0.info();
        info.tls = Some(Arc::new(tls));
        info
    }
}

#[test]
fn a_protocol_which_nobody_offered_is_not_spoken() {
    let net = MockNet::new();
    net.serve("tls.test", 443, async |stream| stream.stall().await);
    let pool = ConnectionPool::builder()
        .http2(false)
        .tls(Arc::new(Liar))
        .build(Arc::new(net.clone()));
    let error = net.run(get(&pool)).unwrap_err();
    assert_eq!(error.kind(), Kind::Tls);
    assert!(error.to_string().contains("not offered"), "{error}");
}
