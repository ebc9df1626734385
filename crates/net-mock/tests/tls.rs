//! TLS without cryptography behaves like TLS.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    task::{Context, Poll, Waker},
};

use client::{MS, connect, panic_of, read, read_all, read_exactly, shutdown, write, write_all};
use httpcore_core_primitives::{Alpn, BoxStream, IdleEvent, TlsConnector, TlsFailure};
use httpcore_net_mock::{Link, LiveCounts, MockNet, MockTls, MockTlsError, Script, TlsServer};

const BOTH: [Alpn; 2] = [Alpn::Http2, Alpn::Http1];

async fn handshake(net: &MockNet, tls: &MockTls, offer: &[Alpn]) -> io::Result<BoxStream> {
    let stream = connect(net, "tls.test", 443).await?;
    tls.handshake(stream, "tls.test", offer).await
}

fn alpn_of(stream: &BoxStream) -> Option<Alpn> {
    stream.info().tls.unwrap().alpn
}

fn now_or_never(stream: &mut BoxStream) -> Poll<IdleEvent> {
    stream.poll_idle(&mut Context::from_waker(Waker::noop()))
}

fn error_of(outcome: io::Result<BoxStream>) -> MockTlsError {
    let error = outcome.unwrap_err();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let failure: &TlsFailure = inner.unwrap();
    failure
        .cause()
        .downcast_ref::<MockTlsError>()
        .unwrap()
        .clone()
}

#[test]
fn a_handshake_takes_a_round_trip_and_settles_alpn() {
    for (ours, offer, chosen) in [
        (&BOTH[..], &BOTH[..], Some(Alpn::Http2)),
        (&BOTH[..], &[Alpn::Http1][..], Some(Alpn::Http1)),
        (&[Alpn::Http1][..], &BOTH[..], Some(Alpn::Http1)),
        (&[][..], &BOTH[..], None),
        (&BOTH[..], &[][..], None),
    ] {
        let net = MockNet::new();
        let server = TlsServer::new().alpn(ours);
        net.serve_tls("tls.test", 443, server, async |stream| stream.stall().await)
            .link(Link::new().latency(10 * MS));
        net.run(async {
            let stream = handshake(&net, &MockTls::new(), offer).await.unwrap();
            assert_eq!((alpn_of(&stream), net.elapsed()), (chosen, 40 * MS));
        });
    }
}

#[test]
fn without_a_common_protocol_the_handshake_fails() {
    let net = MockNet::new();
    let server = TlsServer::new().alpn(&[Alpn::Http2]);
    net.serve_tls("tls.test", 443, server, async |_| {
        unreachable!("no handshake")
    });
    let error = error_of(net.run(handshake(&net, &MockTls::new(), &[Alpn::Http1])));
    assert_eq!(
        error,
        MockTlsError::Alert("no_application_protocol".to_owned())
    );
    assert_eq!(net.live_counts(), LiveCounts::default());
}

#[test]
fn certificates_are_judged_by_name_and_by_their_faults() {
    let wrong_name = TlsServer::new().certificate_for(&["other.test"]);
    let expired = TlsServer::new().bad_certificate("it has expired");
    for (server, error) in [
        (wrong_name, MockTlsError::WrongName("tls.test".to_owned())),
        (
            expired,
            MockTlsError::BadCertificate("it has expired".to_owned()),
        ),
    ] {
        let net = MockNet::new();
        net.serve_tls("tls.test", 443, server, async |stream| stream.stall().await);
        net.run(async {
            let outcome = handshake(&net, &MockTls::new(), &[]).await;
            assert_eq!(outcome.as_ref().unwrap_err().kind(), ErrorKind::InvalidData);
            assert_eq!(error_of(outcome), error);
            let trusting = MockTls::new().accept_any_certificate();
            handshake(&net, &trusting, &[]).await.unwrap();
        });
    }
    let net = MockNet::new();
    let right = TlsServer::new().certificate_for(&["a.test", "TLS.test"]);
    net.serve_tls("tls.test", 443, right, async |stream| stream.stall().await);
    net.run(handshake(&net, &MockTls::new(), &[])).unwrap();
}

#[test]
fn a_peer_that_does_not_speak_tls_is_told_apart() {
    let net = MockNet::new();
    net.serve("tls.test", 443, async |mut stream| {
        stream
            .write_all("HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    });
    let error = error_of(net.run(handshake(&net, &MockTls::new(), &[])));
    assert_eq!(error, MockTlsError::NotTls);
}

#[test]
fn a_peer_that_closes_during_the_handshake_ends_it() {
    let net = MockNet::new();
    net.serve("tls.test", 443, async |mut stream| {
        stream.read_some().await.unwrap();
    });
    let error = net.run(handshake(&net, &MockTls::new(), &[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn data_passes_both_ways_however_it_is_cut() {
    let long = "x".repeat(40_000);
    for seed in 0..20 {
        let net = MockNet::seeded(seed);
        net.serve_tls(
            "tls.test",
            443,
            TlsServer::new().tickets(2),
            async |mut stream| {
                let heard = stream.read_exact(40_000).await.unwrap();
                stream.write_all(heard).await.unwrap();
                stream.close_write().await.unwrap();
            },
        )
        .link(Link::new().buffer(1000));
        net.run(async {
            let mut stream = handshake(&net, &MockTls::new(), &BOTH).await.unwrap();
            write_all(&mut stream, &long).await.unwrap();
            assert_eq!(read_all(&mut stream).await.unwrap(), long);
        });
        assert_eq!(net.live_counts(), LiveCounts::default());
    }
}

#[test]
fn an_end_with_close_notify_is_clean_and_one_without_is_an_error() {
    for clean in [true, false] {
        let net = MockNet::new();
        net.serve_tls(
            "tls.test",
            443,
            TlsServer::new(),
            move |mut stream| async move {
                stream.write_all("body").await.unwrap();
                if clean {
                    stream.close_write().await.unwrap();
                }
                stream.close();
            },
        );
        net.run(async {
            let mut stream = handshake(&net, &MockTls::new(), &[]).await.unwrap();
            assert_eq!(read(&mut stream).await.unwrap(), "body");
            match read(&mut stream).await {
                Ok(end) => assert!(clean && end.is_empty()),
                Err(error) => assert_eq!((clean, error.kind()), (false, ErrorKind::UnexpectedEof)),
            }
        });
    }
}

#[test]
fn close_notify_of_the_client_reaches_the_server() {
    let net = MockNet::new();
    net.serve_tls("tls.test", 443, TlsServer::new(), async |mut stream| {
        assert_eq!(&stream.read_to_end().await.unwrap()[..], b"that is all");
        stream.write_all("understood").await.unwrap();
    });
    net.run(async {
        let mut stream = handshake(&net, &MockTls::new(), &[]).await.unwrap();
        write_all(&mut stream, "that is all").await.unwrap();
        shutdown(&mut stream).await.unwrap();
        assert_eq!(read_exactly(&mut stream, 10).await.unwrap(), "understood");
    });
}

#[test]
fn a_ticket_makes_the_connection_readable_and_leaves_it_idle() {
    let net = MockNet::new();
    net.serve_tls(
        "tls.test",
        443,
        TlsServer::new().tickets(2),
        async |mut stream| {
            stream.sleep(1000 * MS).await;
            stream.send_ticket().await.unwrap();
            stream.sleep(1000 * MS).await;
            stream.close_write().await.unwrap();
        },
    );
    net.run(async {
        let mut stream = handshake(&net, &MockTls::new(), &[]).await.unwrap();
        assert_eq!(now_or_never(&mut stream), Poll::Pending);
        let end = poll_fn(|cx| stream.poll_idle(cx)).await;
        assert_eq!((end, net.elapsed()), (IdleEvent::Closed, 2000 * MS));
    });
    let wire = net.transcript();
    assert_eq!(wire.matches("[TLS ticket]").count(), 3, "{wire}");
}

#[test]
fn an_idle_stream_tells_data_and_abrupt_ends_apart() {
    let net = MockNet::new();
    net.serve_tls(
        "tls.test",
        443,
        TlsServer::new(),
        async |mut stream| match &stream.read_some().await.unwrap()[..] {
            b"speak" => {
                stream.write_all("408").await.unwrap();
                stream.stall().await;
            }
            b"leave" => stream.close(),
            _ => stream.reset(),
        },
    );
    net.run(async {
        for (word, expected) in [
            ("speak", IdleEvent::UnsolicitedData),
            ("leave", IdleEvent::Closed),
            ("reset", IdleEvent::Failed(ErrorKind::ConnectionReset)),
        ] {
            let mut stream = handshake(&net, &MockTls::new(), &[]).await.unwrap();
            write_all(&mut stream, word).await.unwrap();
            assert_eq!(poll_fn(|cx| stream.poll_idle(cx)).await, expected, "{word}");
        }
    });
}

#[test]
fn tls_runs_inside_tls_and_inside_tables() {
    let net = MockNet::new();
    let inner = TlsServer::new()
        .alpn(&[Alpn::Http1])
        .certificate_for(&["origin.test"]);
    let table = Script::new()
        .start_tls(TlsServer::new().certificate_for(&["tls.test"]))
        .expect("CONNECT origin.test:443 HTTP/1.1\r\n\r\n")
        .send("HTTP/1.1 200 OK\r\n\r\n")
        .start_tls(inner)
        .expect("GET / HTTP/1.1\r\n\r\n")
        .send("HTTP/1.1 204 No Content\r\n\r\n")
        .half_close();
    let served = net.serve_script("tls.test", 443, table);
    net.run(async {
        let tls = MockTls::new();
        let mut stream = handshake(&net, &tls, &[]).await.unwrap();
        write_all(&mut stream, "CONNECT origin.test:443 HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        read_exactly(&mut stream, 19).await.unwrap();
        let mut stream = tls.handshake(stream, "origin.test", &BOTH).await.unwrap();
        assert_eq!(alpn_of(&stream), Some(Alpn::Http1));
        write_all(&mut stream, "GET / HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(
            read_all(&mut stream).await.unwrap(),
            "HTTP/1.1 204 No Content\r\n\r\n"
        );
    });
    served.assert_finished();
    let wire = net.transcript();
    assert!(wire.contains("< HTTP/1.1 204 No Content"), "{wire}");
}

#[test]
fn dropping_a_handshake_at_any_point_leaves_nothing_behind() {
    let swept = httpcore_net_mock::sweep_steps(|net| {
        net.serve_tls(
            "tls.test",
            443,
            TlsServer::new().tickets(1),
            async |stream| {
                stream.stall().await;
            },
        )
        .link(Link::new().latency(MS).buffer(10));
        let net = net.clone();
        httpcore_net_mock::Scenario::new(async move {
            handshake(&net, &MockTls::new(), &BOTH).await.unwrap();
        })
    });
    assert!(swept.points > 10, "{swept:?}");
}

#[test]
fn a_write_that_fails_half_way_says_so_the_next_time() {
    let serve = |net: &MockNet, n| {
        let path = Link::new().to_server(|path| path.reset_at(n));
        net.serve_tls("tls.test", 443, TlsServer::new(), async |stream| {
            stream.stall().await;
        })
        .link(path);
    };
    let hello = (0..1000).find(|&n| {
        let net = MockNet::new();
        serve(&net, n);
        net.run(handshake(&net, &MockTls::new(), &[])).is_ok()
    });
    let hello = hello.expect("a hello is shorter than that");
    httpcore_net_mock::seeds(0..50, |net| {
        // From here on something of the record gets through.
        serve(&net, hello + 1 + net.random_below(4) as u64);
        net.run(async {
            let mut stream = handshake(&net, &MockTls::new(), &[]).await.unwrap();
            assert_eq!(write(&mut stream, "hello").await.unwrap(), 5);
            write_all(&mut stream, "hello").await.unwrap_err();
        });
    });
}

#[test]
fn waiting_for_a_handshake_that_is_never_answered_is_reported() {
    let net = MockNet::new();
    net.serve("tls.test", 443, async |stream| stream.stall().await);
    let message = panic_of(|| net.run(handshake(&net, &MockTls::new(), &[])));
    assert!(message.contains("client waits to read"), "{message}");
}
