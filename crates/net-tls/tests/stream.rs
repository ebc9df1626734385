//! TLS behaves like a stream, whatever the network does to it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod zoo;

use std::{
    future::poll_fn,
    io::{self, ErrorKind, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use httpcore_core_primitives::{
    Alpn, BoxStream, ConnectionInfo, IdleEvent, NetworkStream, Runtime, TlsConnector, TlsInfo,
    noop_waker, with_deadline,
};
use httpcore_net_mock::{Chunks, Link, LiveCounts, MockNet, Scenario, sweep_instants, sweep_polls};
use httpcore_net_tls::{
    RustlsConnector, TlsErrorKind, TlsVersion,
    rustls::{ServerConfig, version::TLS12},
};
use zoo::{
    Authority, Identity, ServerTls, connect, read, read_to_end, serve, stay, tls_error, write_all,
};

const MS: Duration = Duration::from_millis(1);

/// Whom the client trusts, and what the server shows.
struct World {
    connector: RustlsConnector,
    identity: Identity,
}

impl World {
    fn new() -> Self {
        let root = Authority::new("root");
        World {
            connector: root.connector(),
            identity: root.issue(&["tls.test"]),
        }
    }

    async fn handshake(&self, net: &MockNet) -> io::Result<BoxStream> {
        self.handshake_offering(net, &[]).await
    }

    async fn handshake_offering(&self, net: &MockNet, offer: &[Alpn]) -> io::Result<BoxStream> {
        let stream = connect(net).await?;
        self.connector.handshake(stream, "tls.test", offer).await
    }
}

fn tls_info(stream: &BoxStream) -> Arc<TlsInfo> {
    stream.info().tls.unwrap()
}

fn idle(stream: &mut BoxStream) -> Poll<IdleEvent> {
    stream.poll_idle(&mut Context::from_waker(Waker::noop()))
}

/// Bytes which do not repeat soon.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// Gives back whatever comes, and closes in order.
async fn echo(mut stream: ServerTls) {
    loop {
        match stream.read_some().await {
            Ok(heard) if heard.is_empty() => break,
            Ok(heard) => {
                if stream.write_all(heard).await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
    let _ = stream.close().await;
}

/// Sends all of `bytes`, closes, and at the same time reads to the end.
async fn exchange(stream: &mut BoxStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let (mut sent, mut closed) = (0, false);
    let mut heard = BytesMut::new();
    poll_fn(|cx| {
        while sent < bytes.len() {
            // Two slices, one of them small.
            let middle = (sent + 7).min(bytes.len());
            let bufs = [
                IoSlice::new(&bytes[sent..middle]),
                IoSlice::new(&bytes[middle..]),
            ];
            match stream.poll_write(cx, &bufs)? {
                Poll::Ready(written) => sent += written,
                Poll::Pending => break,
            }
        }
        if sent == bytes.len() && !closed {
            closed = stream.poll_shutdown(cx)?.is_ready();
        }
        loop {
            heard.reserve(1000);
            match stream.poll_read(cx, &mut heard)? {
                Poll::Ready(0) => return Poll::Ready(Ok(heard.to_vec())),
                Poll::Ready(_) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

#[test]
fn data_is_transferred_intact_with_any_fragmentation() {
    let world = World::new();
    let bytes = noise(200_000);
    for chunks in [
        Chunks::Coalesced,
        Chunks::AsWritten,
        Chunks::Each(7),
        Chunks::Each(16_401),
    ] {
        for buffer in [1000, 64 * 1024] {
            let net = MockNet::new();
            let link = Link::new().chunks(chunks.clone()).buffer(buffer);
            serve(&net, world.identity.server(), echo).link(link);
            let heard = net.run(async {
                let mut stream = world.handshake(&net).await.unwrap();
                exchange(&mut stream, &bytes).await.unwrap()
            });
            assert!(heard == bytes, "{chunks:?} with a buffer of {buffer}");
        }
    }
}

#[test]
fn tls_works_inside_of_tls() {
    let world = World::new();
    let net = MockNet::new();
    let inner = Arc::new(world.identity.server());
    serve(&net, world.identity.server(), move |stream| {
        let inner = inner.clone();
        async move { echo(ServerTls::accept(Box::new(stream), inner).await.unwrap()).await }
    })
    .link(Link::new().chunks(Chunks::Each(100)));
    let bytes = noise(100_000);
    let heard = net.run(async {
        let outer = world.handshake(&net).await.unwrap();
        let inner = world.connector.handshake(outer, "tls.test", &[Alpn::Http1]);
        let mut inner = inner.await.unwrap();
        assert_eq!(idle(&mut inner), Poll::Pending);
        exchange(&mut inner, &bytes).await.unwrap()
    });
    assert!(heard == bytes);
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default());
}

#[test]
fn writing_ahead_of_a_peer_that_does_not_read_is_bounded() {
    let world = World::new();
    let net = MockNet::new();
    serve(&net, world.identity.server(), async |_stream| {
        std::future::pending::<()>().await;
    })
    .link(Link::new().buffer(10_000));
    net.run(async {
        let mut stream = world.handshake(&net).await.unwrap();
        let bytes = vec![0; 1 << 20];
        let mut cx = Context::from_waker(Waker::noop());
        let mut accepted = 0;
        for _ in 0..100 {
            match stream.poll_write(&mut cx, &[IoSlice::new(&bytes)]) {
                Poll::Ready(written) => accepted += written.unwrap(),
                Poll::Pending => break,
            }
        }
        assert!((10_000..=200_000).contains(&accepted), "{accepted}");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(
            stream
                .poll_write(&mut cx, &[IoSlice::new(&bytes)])
                .is_pending()
        );
        assert!(stream.poll_flush(&mut cx).is_pending());
    });
}

/// A stream that accepts `n` more bytes, and then fails once.
#[derive(Debug)]
struct Failing {
    stream: BoxStream,
    left: Arc<AtomicUsize>,
}

impl NetworkStream for Failing {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.stream.poll_read(cx, buf)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let left = self.left.load(Relaxed);
        if left == 0 {
            self.left.store(usize::MAX, Relaxed);
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let some = &bufs[0][..bufs[0].len().min(left)];
        let written = self.stream.poll_write(cx, &[IoSlice::new(some)]);
        if let Poll::Ready(Ok(written)) = written {
            self.left.store(left - written, Relaxed);
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
fn a_write_that_fails_has_sent_nothing_and_one_that_is_cut_short_fails_next_time() {
    let world = World::new();
    let bytes = noise(100_000);
    for sent in [0, 1, 5000, 20_000] {
        let net = MockNet::new();
        serve(&net, world.identity.server(), stay);
        net.run(async {
            let left = Arc::new(AtomicUsize::new(usize::MAX));
            let stream = Box::new(Failing {
                stream: connect(&net).await.unwrap(),
                left: left.clone(),
            });
            let connected = world.connector.handshake(stream, "tls.test", &[]);
            let mut stream = connected.await.unwrap();
            left.store(sent, Relaxed);
            let mut write = async || {
                let bufs = [IoSlice::new(&bytes)];
                poll_fn(|cx| stream.poll_write(cx, &bufs)).await
            };
            if sent > 0 {
                assert!(write().await.unwrap() > 0, "{sent}");
            }
            let error = write().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{sent}");
        });
    }
}

/// The caller may have sent the same elsewhere after the error, and still reads the response.
#[test]
fn data_of_a_failed_write_is_not_sent_later() {
    let world = World::new();
    let net = MockNet::new();
    let heard = Arc::new(AtomicUsize::new(0));
    let hears = heard.clone();
    serve(&net, world.identity.server(), move |mut stream| {
        let hears = hears.clone();
        async move {
            stream.write_all("answer").await.unwrap();
            while let Ok(some) = stream.read_some().await {
                if some.is_empty() {
                    break;
                }
                hears.fetch_add(some.len(), Relaxed);
            }
        }
    });
    net.run(async {
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let stream = Box::new(Failing {
            stream: connect(&net).await.unwrap(),
            left: left.clone(),
        });
        let connected = world.connector.handshake(stream, "tls.test", &[]);
        let mut stream = connected.await.unwrap();
        left.store(0, Relaxed);
        let bufs = [IoSlice::new(b"request")];
        let written = poll_fn(|cx| stream.poll_write(cx, &bufs)).await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let mut buf = BytesMut::with_capacity(100);
        let read = poll_fn(|cx| stream.poll_read(cx, &mut buf)).await;
        assert_eq!((read.unwrap(), &buf[..]), (6, &b"answer"[..]));
        let flushed = poll_fn(|cx| stream.poll_flush(cx)).await;
        assert_eq!(flushed.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let written = poll_fn(|cx| stream.poll_write(cx, &bufs)).await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
    net.run_until_idle();
    assert_eq!(heard.load(Relaxed), 0);
}

#[test]
fn end_without_close_notify_is_an_error() {
    let world = World::new();
    for announced in [true, false] {
        let net = MockNet::new();
        serve(
            &net,
            world.identity.server(),
            move |mut stream| async move {
                stream.write_all("all of it").await.unwrap();
                if announced {
                    stream.close().await.unwrap();
                }
            },
        );
        let (heard, end) = net.run(async {
            let mut stream = world.handshake(&net).await.unwrap();
            read_to_end(&mut *stream).await
        });
        assert_eq!(heard, b"all of it");
        match end {
            Ok(()) => assert!(announced),
            Err(error) => {
                assert!(!announced);
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                assert_eq!(tls_error(&error).kind(), &TlsErrorKind::Truncated);
            }
        }
    }
}

#[test]
fn a_record_that_was_tampered_with_ends_the_stream_after_what_came_before_it() {
    let world = World::new();
    let net = MockNet::new();
    let config = Arc::new(world.identity.server());
    net.serve("tls.test", 443, move |stream| {
        let config = config.clone();
        async move {
            let mut stream = ServerTls::accept(Box::new(stream), config).await.unwrap();
            stream.write_all("good").await.unwrap();
            // As application data that is not encrypted.
            let mut below = stream.into_below();
            let forged = [&[23, 3, 3, 0, 40][..], &[0; 40]].concat();
            write_all(&mut *below, &forged).await.unwrap();
            let _ = read(&mut *below).await;
        }
    });
    let (heard, end) = net.run(async {
        let mut stream = world.handshake(&net).await.unwrap();
        read_to_end(&mut *stream).await
    });
    assert_eq!(heard, b"good");
    let error = end.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(tls_error(&error).kind(), &TlsErrorKind::Protocol);
}

#[test]
fn alpn_selects_a_common_protocol_or_none() {
    let world = World::new();
    let both = [Alpn::Http2, Alpn::Http1];
    for (theirs, offer, settled) in [
        (&["h2", "http/1.1"][..], &both[..], Some(Alpn::Http2)),
        (&["http/1.1"], &both, Some(Alpn::Http1)),
        (&["h2", "http/1.1"], &[Alpn::Http1], Some(Alpn::Http1)),
        (&[], &both, None),
        (&["h2"], &[], None),
    ] {
        let net = MockNet::new();
        let mut config = world.identity.server();
        config.alpn_protocols = theirs.iter().map(|name| name.as_bytes().to_vec()).collect();
        serve(&net, config, stay);
        let stream = net.run(world.handshake_offering(&net, offer)).unwrap();
        assert_eq!(tls_info(&stream).alpn, settled, "{theirs:?} {offer:?}");
    }
}

#[test]
fn without_a_common_alpn_protocol_the_handshake_fails_with_an_alert() {
    let world = World::new();
    let net = MockNet::new();
    let mut config = world.identity.server();
    config.alpn_protocols = vec![b"h2".to_vec()];
    serve(&net, config, stay);
    let error = net.run(world.handshake_offering(&net, &[Alpn::Http1]));
    let error = tls_error(&error.unwrap_err());
    let alert = "no_application_protocol".to_owned();
    assert_eq!(error.kind(), &TlsErrorKind::Alert(alert));
}

#[test]
fn tls_info_reports_the_results_of_the_handshake() {
    let world = World::new();
    let net = MockNet::new();
    serve(&net, world.identity.server(), stay);
    let stream = net.run(world.handshake(&net)).unwrap();
    let info = tls_info(&stream);
    assert_eq!(info.version, Some("TLS 1.3"));
    assert_eq!(info.cipher_suite, Some("TLS13_AES_256_GCM_SHA384"));
    assert_eq!(info.key_exchange, Some("X25519"));
    assert_eq!(info.peer_chain.len(), 1);
    assert_eq!(info.peer_chain[0], world.identity.chain[0].as_ref());
    assert!(!info.resumed);
    assert_eq!(stream.info().peer, Some("10.0.0.1:443".parse().unwrap()));
}

#[test]
fn second_connection_resumes_with_any_alpn_offer() {
    let root = Authority::new("root");
    let identity = root.issue(&["tls.test"]);
    let old = ServerConfig::builder_with_provider(httpcore_net_tls::ring())
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key_der())
        .unwrap();
    for config in [identity.server(), old] {
        let connector = root.connector();
        let net = MockNet::new();
        serve(&net, config, stay);
        let resumed = net.run(async {
            let mut resumed = Vec::new();
            for offer in [&[Alpn::Http1][..], &[Alpn::Http1], &[]] {
                let stream = connect(&net).await.unwrap();
                let handshake = connector.handshake(stream, "tls.test", offer);
                let mut stream = handshake.await.unwrap();
                // The ticket comes after the handshake, and is read while idle.
                net.sleep(MS).await;
                assert_eq!(idle(&mut stream), Poll::Pending);
                resumed.push(tls_info(&stream).resumed);
            }
            resumed
        });
        assert_eq!(resumed, [false, true, true]);
    }
}

#[test]
fn connectors_share_no_sessions_and_may_cache_none() {
    let root = Authority::new("root");
    let identity = root.issue(&["tls.test"]);
    let net = MockNet::new();
    serve(&net, identity.server(), stay);
    let forgetful = root.builder().session_cache_size(0).build().unwrap();
    let (one, other) = (root.connector(), root.connector());
    net.run(async {
        for connector in [&forgetful, &forgetful, &one, &other] {
            let stream = connect(&net).await.unwrap();
            let mut stream = connector.handshake(stream, "tls.test", &[]).await.unwrap();
            net.sleep(MS).await;
            assert_eq!(idle(&mut stream), Poll::Pending);
            assert!(!tls_info(&stream).resumed);
        }
    });
}

#[test]
fn tickets_keep_a_stream_idle_and_everything_else_ends_idleness() {
    type Deed = fn(ServerTls) -> httpcore_core_primitives::BoxFuture<'static, ()>;
    let world = World::new();
    let deeds: [(Deed, Poll<IdleEvent>); 4] = [
        (|stream| Box::pin(stay(stream)), Poll::Pending),
        (
            |mut stream| {
                Box::pin(async move {
                    stream.write_all("hello?").await.unwrap();
                    stay(stream).await;
                })
            },
            Poll::Ready(IdleEvent::UnsolicitedData),
        ),
        (
            |stream| Box::pin(async move { stream.close().await.unwrap() }),
            Poll::Ready(IdleEvent::Closed),
        ),
        (
            |stream| Box::pin(async move { drop(stream) }),
            Poll::Ready(IdleEvent::Closed),
        ),
    ];
    for (n, (deed, expected)) in deeds.into_iter().enumerate() {
        let net = MockNet::new();
        let mut config = world.identity.server();
        config.send_tls13_tickets = 5;
        serve(&net, config, deed);
        net.run(async {
            let mut stream = world.handshake(&net).await.unwrap();
            net.sleep(MS).await;
            assert_eq!(idle(&mut stream), expected, "deed {n}");
            assert_eq!(idle(&mut stream), expected, "deed {n}, asked again");
        });
    }
}

#[test]
fn data_behind_many_tickets_is_reported_as_unsolicited() {
    let world = World::new();
    let net = MockNet::new();
    let mut config = world.identity.server();
    config.send_tls13_tickets = 5;
    serve(&net, config, async |mut stream| {
        stream.write_all("unasked").await.unwrap();
        stay(stream).await;
    })
    .link(Link::new().to_client(|path| path.chunks(Chunks::Each(100))));
    net.run(async {
        let mut stream = world.handshake(&net).await.unwrap();
        net.sleep(MS).await;
        let asked = stream.poll_idle(&mut Context::from_waker(noop_waker()));
        assert_eq!(asked, Poll::Ready(IdleEvent::UnsolicitedData));
    });
}

#[test]
fn idle_stream_wakes_its_task_when_it_ends() {
    let world = World::new();
    let net = MockNet::new();
    serve(&net, world.identity.server(), async |mut stream| {
        leave_when_told(&mut stream).await;
    });
    net.run(async {
        let mut stream = world.handshake(&net).await.unwrap();
        write_all(&mut *stream, b"leave\n").await.unwrap();
        let end = poll_fn(|cx| stream.poll_idle(cx)).await;
        assert_eq!(end, IdleEvent::Closed);
    });
}

/// Leaves when it is told to.
async fn leave_when_told(stream: &mut ServerTls) {
    stream.read_until("leave\n").await.unwrap();
}

#[test]
fn keys_are_changed_while_idle_and_while_reading() {
    let world = World::new();
    let net = MockNet::new();
    serve(&net, world.identity.server(), async |mut stream| {
        for n in 0..3 {
            let asked = stream.read_until("\n").await.unwrap();
            stream.tls.refresh_traffic_keys().unwrap();
            stream.write_all(format!("{n} {asked}")).await.unwrap();
            stream.tls.refresh_traffic_keys().unwrap();
            poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        }
        stay(stream).await;
    });
    net.run(async {
        let mut stream = world.handshake(&net).await.unwrap();
        for n in 0..3 {
            write_all(&mut *stream, b"next\n").await.unwrap();
            assert_eq!(read(&mut *stream).await.unwrap(), format!("{n} next\n"));
            net.sleep(MS).await;
            assert_eq!(idle(&mut stream), Poll::Pending);
        }
    });
}

#[test]
fn peer_without_tls_is_reported_as_such() {
    let world = World::new();
    for (answer, http) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", true),
        ("SSH-2.0-OpenSSH_9.2\r\n", false),
        ("H", true),
        ("?", false),
    ] {
        let net = MockNet::new();
        net.serve("tls.test", 443, move |mut stream| async move {
            let _ = stream.read_some().await;
            let _ = stream.write_all(answer).await;
        });
        let error = tls_error(&net.run(world.handshake(&net)).unwrap_err());
        assert_eq!(error.kind(), &TlsErrorKind::NotTls { http }, "{answer:?}");
        net.run_until_idle();
        assert_eq!(net.live_counts(), LiveCounts::default());
    }
}

#[test]
fn bytes_from_before_the_handshake_are_refused() {
    let world = World::new();
    let net = MockNet::new();
    net.serve("tls.test", 443, async |mut stream| {
        let _ = stream.write_all("220 mail.test ESMTP\r\n").await;
        let _ = stream.read_to_end().await;
    });
    let error = net.run(async {
        let stream = connect(&net).await.unwrap();
        net.sleep(MS).await;
        let handshake = world.connector.handshake(stream, "tls.test", &[]);
        handshake.await.unwrap_err()
    });
    assert_eq!(tls_error(&error).kind(), &TlsErrorKind::EarlyBytes);
}

#[test]
fn stalled_handshake_is_aborted_at_its_deadline() {
    let world = World::new();
    let net = MockNet::new();
    net.serve("tls.test", 443, async |stream| stream.stall().await);
    let runtime: Arc<dyn Runtime> = Arc::new(net.clone());
    net.run(async {
        let deadline = Some(net.now() + 5000 * MS);
        let outcome = with_deadline(&runtime, "tls", deadline, world.handshake(&net)).await;
        assert!(outcome.is_none());
        assert_eq!(net.elapsed(), 5000 * MS);
    });
    drop(runtime);
    net.run_until_idle();
    assert_eq!(net.live_counts().streams, 0);
}

/// How many bytes go each way until the client's handshake is over.
fn handshake_bytes(world: &World) -> (u64, u64) {
    let reaches = |to_server: bool, n: u64| {
        let net = MockNet::new();
        let link = match to_server {
            true => Link::new().to_server(|path| path.end_at(n)),
            false => Link::new().to_client(|path| path.end_at(n)),
        };
        serve(&net, world.identity.server(), stay).link(link);
        net.run(world.handshake(&net)).is_ok()
    };
    let bytes = |to_server| (1..10_000).find(|n| reaches(to_server, *n)).unwrap();
    (bytes(true), bytes(false))
}

#[test]
fn handshake_truncated_at_any_byte_fails_and_leaks_nothing() {
    let root = Authority::new("root");
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        // Every handshake a full one, and so of one length.
        let builder = root.builder().session_cache_size(0);
        let builder = builder.min_version(version).max_version(version);
        let world = World {
            connector: builder.build().unwrap(),
            identity: root.issue(&["tls.test"]),
        };
        let (out, back) = handshake_bytes(&world);
        assert!(out > 100 && back > 500, "{out} {back}");
        for n in 0..out {
            cut(&world, Link::new().to_server(|path| path.end_at(n)));
        }
        for n in 0..back {
            cut(&world, Link::new().to_client(|path| path.end_at(n)));
        }
    }
}

fn cut(world: &World, link: Link) {
    let net = MockNet::new();
    let told = format!("{link:?}");
    serve(&net, world.identity.server(), stay).link(link);
    let outcome = net.run(world.handshake(&net));
    let error = outcome.expect_err("a whole handshake");
    assert!(
        matches!(tls_error(&error).kind(), TlsErrorKind::Unfinished),
        "{told}: {error:?}"
    );
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default(), "{told}");
}

#[test]
fn handshake_reset_at_any_byte_fails_and_leaks_nothing() {
    let world = World::new();
    // Past the handshake, too: the server has more to say than is let through.
    for n in (0..2000).step_by(13) {
        let net = MockNet::new();
        let link = Link::new().to_client(|path| path.reset_at(n));
        serve(&net, world.identity.server(), async |mut stream| {
            let _ = stream.write_all([0; 4000]).await;
            stay(stream).await;
        })
        .link(link);
        let outcome = net.run(async {
            let mut stream = world.handshake(&net).await?;
            read_to_end(&mut *stream).await.1
        });
        assert!(outcome.is_err(), "{n}");
        net.run_until_idle();
        assert_eq!(net.live_counts(), LiveCounts::default(), "{n}");
    }
}

#[test]
fn handshake_dropped_at_any_poll_leaks_nothing() {
    let world = Arc::new(World::new());
    let build = |net: &MockNet| {
        let config = world.identity.server();
        serve(net, config, echo).link(Link::new().latency(5 * MS).chunks(Chunks::Each(300)));
        let (net, world) = (net.clone(), world.clone());
        Scenario::new(async move {
            let mut stream = world.handshake(&net).await.unwrap();
            let heard = exchange(&mut stream, &noise(40_000)).await.unwrap();
            assert_eq!(heard.len(), 40_000);
        })
    };
    let polls = sweep_polls(build);
    assert!(polls.points > 10, "{polls:?}");
    sweep_instants(build);
}
