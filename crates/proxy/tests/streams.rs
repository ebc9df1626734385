//! Negotiations over a stream, in virtual time: cut, delayed, broken off and dropped anywhere.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{future::poll_fn, io::IoSlice, time::Duration};

use bytes::{Bytes, BytesMut};
use httpcore_core_primitives::{BoxStream, Credentials};
use httpcore_net_mock::{Chunks, Link, MockNet, Scenario, sweep_instants, sweep_polls};
use httpcore_proxy::{Connect, Negotiation, ProxyError, Socks4, Socks5, Target, negotiate};

type Machine = fn() -> Box<dyn Negotiation>;

/// A machine, and the conversation: what the proxy expects, and what it answers.
const CASES: [(Machine, &[(&[u8], &[u8])]); 3] = [
    (
        || Box::new(Socks4::new(&target(), Some("me")).unwrap()),
        &[(
            b"\x04\x01\x00\x50\0\0\0\x01me\0a.test\0",
            b"\0\x5a\0\0\0\0\0\0",
        )],
    ),
    (
        || Box::new(Socks5::new(&target(), Some(&Credentials::new("me", "pw"))).unwrap()),
        &[
            (b"\x05\x02\0\x02", b"\x05\x02"),
            (b"\x01\x02me\x02pw", b"\x01\0"),
            (
                b"\x05\x01\0\x03\x06a.test\0\x50",
                b"\x05\0\0\x01\0\0\0\0\0\0",
            ),
        ],
    ),
    (
        || Box::new(Connect::new(&target()).unwrap()),
        &[(
            b"CONNECT a.test:80 HTTP/1.1\r\nhost: a.test:80\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        )],
    ),
];

fn target() -> Target {
    Target::new("a.test", 80).unwrap()
}

/// A stream to a proxy which says what `conversation` has it say, then `hello`, and echoes.
fn proxy(net: &MockNet, link: Link, conversation: &'static [(&[u8], &[u8])]) -> BoxStream {
    let (stream, mut server) = net.pair_with(link);
    net.spawn("proxy", async move {
        for (expected, answer) in conversation {
            match server.read_exact(expected.len()).await {
                Ok(request) => assert_eq!(request, *expected),
                Err(_) => return,
            }
            if server.write_all(answer).await.is_err() {
                return;
            }
        }
        if server.write_all("hello").await.is_err() {
            return;
        }
        while let Ok(data) = server.read_some().await
            && !data.is_empty()
            && server.write_all(data).await.is_ok()
        {}
    });
    stream
}

async fn read_exact(stream: &mut BoxStream, count: usize) -> std::io::Result<Bytes> {
    let mut input = BytesMut::new();
    while input.len() < count {
        input.reserve(1);
        if poll_fn(|cx| stream.poll_read(cx, &mut input)).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(input.freeze())
}

async fn open_and_use(stream: BoxStream, machine: Machine) -> Result<(), ProxyError> {
    let mut machine = machine();
    let mut tunnel = negotiate(stream, &mut *machine).await?.into_stream();
    let hello = read_exact(&mut tunnel, 5).await.map_err(ProxyError::Io)?;
    assert_eq!(hello, "hello");
    // Byte by byte: where a link holds a single one, more would wait for its own echo.
    for byte in b"ping" {
        let piece = [*byte];
        poll_fn(|cx| tunnel.poll_write(cx, &[IoSlice::new(&piece)]))
            .await
            .map_err(ProxyError::Io)?;
        let echo = read_exact(&mut tunnel, 1).await.map_err(ProxyError::Io)?;
        assert_eq!(echo[..], piece);
    }
    Ok(())
}

#[test]
fn a_tunnel_loses_nothing_however_its_bytes_are_cut() {
    for (machine, conversation) in CASES {
        for link in [
            Link::new(),
            Link::new().chunks(Chunks::Each(1)),
            Link::new().buffer(1),
            Link::new().latency(Duration::from_millis(20)),
        ] {
            let net = MockNet::new();
            let stream = proxy(&net, link, conversation);
            net.run(open_and_use(stream, machine)).unwrap();
        }
    }
}

#[test]
fn a_proxy_that_ends_or_fails_at_any_byte_is_an_error() {
    for (machine, conversation) in CASES {
        let answers: usize = conversation.iter().map(|(_, answer)| answer.len()).sum();
        for at in 0..answers as u64 {
            let ends = Link::new().to_client(|path| path.end_at(at));
            let fails = Link::new().to_client(|path| path.reset_at(at));
            for (link, is_end) in [(ends, true), (fails, false)] {
                let net = MockNet::new();
                let stream = proxy(&net, link, conversation);
                let mut machine = machine();
                let error = net.run(negotiate(stream, &mut *machine)).unwrap_err();
                let is_fitting = match error {
                    ProxyError::Closed | ProxyError::Http(_) => is_end,
                    ProxyError::Io(_) => !is_end,
                    _ => false,
                };
                assert!(is_fitting, "at {at}: {error:?}");
            }
        }
    }
}

#[test]
fn a_negotiation_can_be_dropped_anywhere() {
    for (machine, conversation) in CASES {
        let build = |net: &MockNet| {
            let link = Link::new()
                .chunks(Chunks::Each(1))
                .latency(Duration::from_millis(1));
            let stream = proxy(net, link, conversation);
            Scenario::new(async move {
                open_and_use(stream, machine).await.unwrap();
            })
        };
        let swept = sweep_polls(build);
        assert!(swept.points > 5, "{swept:?}");
        sweep_instants(build);
    }
}
