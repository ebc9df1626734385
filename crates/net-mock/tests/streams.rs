//! Connections: bytes, ends, resets, room, and what links do to them.

use std::{
    future::poll_fn,
    io::{self, ErrorKind, IoSlice},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use httpcore_core_primitives::{BoxStream, IdleEvent, NetworkBackend, TcpOptions};
use httpcore_net_mock::{Chunks, DnsEntry, Link, LiveCounts, MockNet, ServerStream};

const MS: Duration = Duration::from_millis(1);

async fn read(stream: &mut BoxStream) -> io::Result<String> {
    let mut buf = BytesMut::with_capacity(4096);
    poll_fn(|cx| stream.poll_read(cx, &mut buf)).await?;
    Ok(String::from_utf8_lossy(&buf).into_owned())
}

async fn write(stream: &mut BoxStream, bytes: &str) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(bytes.as_bytes())])).await
}

async fn connect(net: &MockNet, host: &str, port: u16) -> io::Result<BoxStream> {
    let address = net.resolve(host, port).await?[0];
    net.connect_tcp(address, &TcpOptions::default()).await
}

fn now_or_never(stream: &mut BoxStream) -> Poll<IdleEvent> {
    stream.poll_idle(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_one_end_writes_the_other_reads_in_order() {
    let net = MockNet::new();
    let (mut client, mut server) = net.pair();
    net.run(async {
        let bufs = [
            IoSlice::new(b"one, "),
            IoSlice::new(b""),
            IoSlice::new(b"two\n"),
        ];
        let written = poll_fn(|cx| client.poll_write(cx, &bufs)).await.unwrap();
        assert_eq!(written, 9);
        assert_eq!(&server.read_until("\n").await.unwrap()[..], b"one, two\n");
        server.write_all("three").await.unwrap();
        assert_eq!(read(&mut client).await.unwrap(), "three");
    });
}

#[test]
fn a_half_closed_connection_still_carries_the_other_direction() {
    let net = MockNet::new();
    let (mut client, mut server) = net.pair();
    net.run(async {
        poll_fn(|cx| client.poll_shutdown(cx)).await.unwrap();
        assert_eq!(server.read_some().await.unwrap().len(), 0);
        server.write_all("still here").await.unwrap();
        assert_eq!(read(&mut client).await.unwrap(), "still here");
        let again = write(&mut client, "x").await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn writing_to_one_who_is_gone_succeeds_once_and_then_breaks() {
    let net = MockNet::new();
    let (mut client, server) = net.pair();
    net.run(async {
        server.close();
        assert_eq!(write(&mut client, "hello?").await.unwrap(), 6);
        let error = write(&mut client, "hello?").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(read(&mut client).await.unwrap(), "");
    });
}

#[test]
fn closing_with_unread_bytes_resets() {
    let net = MockNet::new();
    let (mut client, mut server) = net.pair();
    net.run(async {
        write(&mut client, "a long upload").await.unwrap();
        server.write_all("413").await.unwrap();
        server.close();
        assert_eq!(read(&mut client).await.unwrap(), "413");
        let error = read(&mut client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_reset_follows_what_is_on_its_way_and_breaks_writing() {
    let net = MockNet::new();
    let (mut client, mut server) = net.pair();
    net.run(async {
        server.write_all("last words").await.unwrap();
        server.reset();
        assert_eq!(read(&mut client).await.unwrap(), "last words");
        let error = read(&mut client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = write(&mut client, "x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn an_idle_stream_tells_why_it_is_no_longer_fit() {
    let net = MockNet::new();
    let (mut fit, held) = net.pair();
    assert_eq!(now_or_never(&mut fit), Poll::Pending);
    let (mut closed, server) = net.pair();
    server.close();
    assert_eq!(now_or_never(&mut closed), Poll::Ready(IdleEvent::Closed));
    let (mut reset, server) = net.pair();
    server.reset();
    let failed = IdleEvent::Failed(ErrorKind::ConnectionReset);
    assert_eq!(now_or_never(&mut reset), Poll::Ready(failed));
    let (mut spoken_to, mut server) = net.pair();
    net.run(server.write_all("408")).unwrap();
    assert_eq!(
        now_or_never(&mut spoken_to),
        Poll::Ready(IdleEvent::UnsolicitedData)
    );
    drop(held);
}

#[test]
fn idle_stream_wakes_its_task_at_the_end() {
    let net = MockNet::new();
    net.serve("brief.test", 80, async |stream| {
        stream.sleep(60_000 * MS).await;
    });
    net.run(async {
        let mut stream = connect(&net, "brief.test", 80).await.unwrap();
        let end = poll_fn(|cx| stream.poll_idle(cx)).await;
        assert_eq!((end, net.elapsed()), (IdleEvent::Closed, 60_000 * MS));
    });
}

#[test]
fn a_full_buffer_holds_the_writer_until_the_reader_makes_room() {
    let net = MockNet::new();
    let (mut client, mut server) = net.pair_with(Link::new().buffer(4));
    net.run(async {
        assert_eq!(write(&mut client, "abcdef").await.unwrap(), 4);
        let mut pending = std::pin::pin!(write(&mut client, "ef"));
        let first = poll_fn(|cx| Poll::Ready(pending.as_mut().poll(cx))).await;
        assert!(first.is_pending());
        assert_eq!(&server.read_some().await.unwrap()[..], b"abcd");
        assert_eq!(pending.await.unwrap(), 2);
    });
}

#[test]
fn latency_delays_bytes_and_ends_alike() {
    let net = MockNet::new();
    let (mut client, mut server) = net.pair_with(Link::new().latency(20 * MS));
    net.run(async {
        write(&mut client, "ping").await.unwrap();
        assert_eq!(&server.read_some().await.unwrap()[..], b"ping");
        assert_eq!(net.elapsed(), 20 * MS);
        server.close();
        assert_eq!(read(&mut client).await.unwrap(), "");
        assert_eq!(net.elapsed(), 40 * MS);
    });
}

#[test]
fn bandwidth_spreads_bytes_over_time() {
    let net = MockNet::new();
    let (mut client, mut server) = net.pair_with(Link::new().bandwidth(1460));
    net.run(async {
        write(&mut client, &"x".repeat(4380)).await.unwrap();
        for second in 1..=3 {
            assert_eq!(server.read_some().await.unwrap().len(), 1460);
            assert_eq!(net.elapsed(), Duration::from_secs(second));
        }
    });
}

async fn pieces(mut server: ServerStream) -> io::Result<Vec<String>> {
    let mut pieces = Vec::new();
    loop {
        let piece = server.read_some().await?;
        if piece.is_empty() {
            return Ok(pieces);
        }
        pieces.push(String::from_utf8_lossy(&piece).into_owned());
    }
}

#[test]
fn chunks_decide_what_a_read_yields() {
    for (chunks, expected) in [
        (Chunks::Coalesced, vec!["abcdefg"]),
        (Chunks::AsWritten, vec!["abcde", "fg"]),
        (Chunks::Each(1), vec!["a", "b", "c", "d", "e", "f", "g"]),
        (Chunks::Each(3), vec!["abc", "def", "g"]),
        (Chunks::At(vec![2, 6]), vec!["ab", "cdef", "g"]),
    ] {
        let net = MockNet::new();
        let (mut client, server) = net.pair_with(Link::new().chunks(chunks.clone()));
        let seen = net.run(async {
            write(&mut client, "abcde").await.unwrap();
            write(&mut client, "fg").await.unwrap();
            drop(client);
            pieces(server).await.unwrap()
        });
        assert_eq!(seen, expected, "{chunks:?}");
    }
}

#[test]
fn a_path_that_resets_delivers_so_many_bytes_and_fails_both_ends() {
    for (n, delivered) in [(0, ""), (3, "abc"), (6, "abcdef")] {
        let net = MockNet::new();
        let link = Link::new().to_client(|path| path.reset_at(n));
        let (mut client, mut server) = net.pair_with(link);
        net.run(async {
            server.write_all("abcdef").await.unwrap();
            let mut heard = String::new();
            let error = loop {
                match read(&mut client).await {
                    Ok(part) => heard += &part,
                    Err(error) => break error,
                }
            };
            assert_eq!(
                (heard.as_str(), error.kind()),
                (delivered, ErrorKind::ConnectionReset)
            );
            // Each end is told once, in whichever direction it asks first.
            let again = write(&mut client, "x").await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::BrokenPipe);
            let first = server.write_all("x").await.unwrap_err();
            assert_eq!(first.kind(), ErrorKind::ConnectionReset);
            assert_eq!(server.read_some().await.unwrap().len(), 0);
        });
    }
}

#[test]
fn a_path_that_ends_deceives_the_reader_and_not_the_writer() {
    let net = MockNet::new();
    let (mut client, mut server) = net.pair_with(Link::new().to_client(|path| path.end_at(3)));
    net.run(async {
        server.write_all("abcdef").await.unwrap();
        server.write_all("x".repeat(100_000)).await.unwrap();
        assert_eq!(read(&mut client).await.unwrap(), "abc");
        assert_eq!(read(&mut client).await.unwrap(), "");
    });
}

#[test]
fn a_blackhole_swallows_bytes_and_ends_and_fills_the_buffer() {
    let net = MockNet::new();
    let link = Link::new().buffer(8).to_client(|path| path.blackhole_at(3));
    let (mut client, mut server) = net.pair_with(link);
    let report = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        net.run(async {
            server.write_all("abcdef").await.unwrap();
            assert_eq!(read(&mut client).await.unwrap(), "abc");
            server.write_all("12345678").await.unwrap();
        })
    }))
    .expect_err("a full buffer was to hold the writer for ever");
    let report = report.downcast::<String>().unwrap();
    assert!(
        report.contains("server waits for room to write"),
        "{report}"
    );
    server.close();
    assert_eq!(now_or_never(&mut client), Poll::Pending);
}

#[test]
fn connecting_takes_a_round_trip_and_meets_its_fate() {
    let net = MockNet::new();
    let host = net.serve("h.test", 80, async |stream| stream.stall().await);
    let far = |link: Link| link.latency(5 * MS);
    host.links([
        far(Link::refused()),
        far(Link::unreachable()),
        far(Link::new()),
    ]);
    net.run(async {
        let first = connect(&net, "h.test", 80).await.unwrap_err();
        assert_eq!(
            (first.kind(), net.elapsed()),
            (ErrorKind::ConnectionRefused, 10 * MS)
        );
        let second = connect(&net, "h.test", 80).await.unwrap_err();
        assert_eq!(
            (second.kind(), net.elapsed()),
            (ErrorKind::HostUnreachable, 20 * MS)
        );
        for _ in 0..2 {
            connect(&net, "h.test", 80).await.unwrap();
        }
        let port = connect(&net, "h.test", 81).await.unwrap_err();
        assert_eq!(port.kind(), ErrorKind::ConnectionRefused);
        let absent = connect(&net, "203.0.113.9", 80).await.unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::HostUnreachable);
        host.stop();
        let stopped = connect(&net, "h.test", 80).await.unwrap_err();
        assert_eq!(stopped.kind(), ErrorKind::ConnectionRefused);
    });
    assert_eq!(net.live_counts(), LiveCounts::default());
}

#[test]
fn an_attempt_that_is_never_answered_is_counted_until_it_is_dropped() {
    let net = MockNet::new();
    net.set_link("10.9.9.9:80".parse().unwrap(), Link::blackhole());
    let mut attempt = net.connect_tcp("10.9.9.9:80".parse().unwrap(), &TcpOptions::default());
    net.run(poll_fn(|cx| {
        assert!(attempt.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    }));
    assert_eq!(net.live(), ["\"connect to 10.9.9.9:80\", never answered"]);
    drop(attempt);
    assert_eq!(net.live_counts(), LiveCounts::default());
}

#[test]
fn names_have_addresses_in_order_or_fates_of_their_own() {
    let net = MockNet::new();
    net.name(
        "two.test",
        DnsEntry::addresses(["10.0.1.1", "fd00::1"]).after(30 * MS),
    );
    net.name("broken.test", DnsEntry::fails(ErrorKind::TimedOut));
    net.run(async {
        let all = net.resolve("TWO.test", 8080).await.unwrap();
        assert_eq!(
            all,
            [
                "10.0.1.1:8080".parse().unwrap(),
                "[fd00::1]:8080".parse().unwrap()
            ]
        );
        assert_eq!(net.elapsed(), 30 * MS);
        let broken = net.resolve("broken.test", 80).await.unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::TimedOut);
        let unknown = net.resolve("unknown.test", 80).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
        let literal = net.resolve("[::1]", 80).await.unwrap();
        assert_eq!(literal, ["[::1]:80".parse().unwrap()]);
    });
}

#[test]
fn addresses_of_one_name_have_fates_of_their_own() {
    let net = MockNet::new();
    net.name(
        "multi.test",
        DnsEntry::addresses(["10.0.1.1", "10.0.1.2", "10.0.1.3"]),
    );
    net.set_link("10.0.1.1:80".parse().unwrap(), Link::unreachable());
    net.serve("10.0.1.3", 80, async |mut stream| {
        stream.write_all("third").await.unwrap();
    });
    net.run(async {
        let mut fates = Vec::new();
        for address in net.resolve("multi.test", 80).await.unwrap() {
            let options = TcpOptions::default();
            fates.push(match net.connect_tcp(address, &options).await {
                Ok(mut stream) => read(&mut stream).await.unwrap(),
                Err(error) => format!("{:?}", error.kind()),
            });
        }
        assert_eq!(fates, ["HostUnreachable", "ConnectionRefused", "third"]);
    });
}

#[test]
fn addresses_of_both_ends_are_known() {
    let net = MockNet::new();
    net.serve("h.test", 80, async |mut stream| {
        let peer = stream.peer().unwrap().to_string();
        stream.write_all(peer).await.unwrap();
    });
    net.run(async {
        let mut stream = connect(&net, "h.test", 80).await.unwrap();
        let info = stream.info();
        assert_eq!(info.peer, Some("10.0.0.1:80".parse().unwrap()));
        assert_eq!(
            read(&mut stream).await.unwrap(),
            info.local.unwrap().to_string()
        );
        let mut options = TcpOptions::default();
        options.local_v4 = Some([192, 0, 2, 7].into());
        let from = net.connect_tcp(info.peer.unwrap(), &options).await.unwrap();
        assert_eq!(from.info().local.unwrap().ip().to_string(), "192.0.2.7");
    });
}

#[test]
fn unix_sockets_are_known_by_their_paths() {
    let net = MockNet::new();
    net.serve_unix("/run/app.sock", async |mut stream| {
        stream.write_all("local").await.unwrap();
    });
    net.run(async {
        let mut stream = net.connect_unix("/run/app.sock".as_ref()).await.unwrap();
        assert_eq!(read(&mut stream).await.unwrap(), "local");
        assert_eq!(stream.info().peer, None);
        let error = net
            .connect_unix("/run/other.sock".as_ref())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_server_that_fails_an_assertion_fails_the_run() {
    let net = MockNet::new();
    net.serve("strict.test", 80, async |mut stream| {
        assert_eq!(stream.read_head().await.unwrap(), "GET / HTTP/1.1\r\n\r\n");
    });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        net.run(async {
            let mut stream = connect(&net, "strict.test", 80).await.unwrap();
            write(&mut stream, "PUT / HTTP/1.1\r\n\r\n").await.unwrap();
            read(&mut stream).await
        })
    }));
    assert!(caught.is_err());
}

#[test]
fn live_counts_are_those_of_the_client_and_not_of_the_servers() {
    let net = MockNet::new();
    net.serve("h.test", 80, async |stream| {
        stream.sleep(1000 * MS).await;
        stream.stall().await;
    });
    net.run(async {
        let stream = connect(&net, "h.test", 80).await.unwrap();
        net.run_until_idle();
        assert_eq!(
            (
                net.live_counts().streams,
                net.live_counts().tasks,
                net.live_counts().timers
            ),
            (1, 0, 0)
        );
        assert_eq!(net.live().len(), 1);
        assert!(net.live()[0].contains("h.test:80"), "{:?}", net.live());
        drop(stream);
        assert_eq!(net.live_counts(), LiveCounts::default());
    });
}
