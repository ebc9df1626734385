//! The wire as text is the same for the same conversation, and readable.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;

use client::{MS, connect, read, read_all, read_exactly, shutdown, write_all};
use httpcore_core_primitives::{Alpn, TlsConnector};
use httpcore_net_mock::{Link, MockNet, MockTls, Script, TlsServer};

fn exchange(net: &MockNet) {
    let table = Script::new()
        .expect("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n")
        .wait(5 * MS)
        .send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    net.serve_script("a.test", 80, table)
        .link(Link::new().latency(10 * MS));
    net.run(async {
        let mut stream = connect(net, "a.test", 80).await.unwrap();
        let request = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
        write_all(&mut stream, request).await.unwrap();
        read_exactly(&mut stream, 43).await.unwrap();
        shutdown(&mut stream).await.unwrap();
    });
}

const EXCHANGE: &str = "\
#1 10.255.0.1:49152 -> 10.0.0.1:80 (a.test:80)
+0.020000s > GET / HTTP/1.1
           > host: a.test
           >
+0.035000s < HTTP/1.1 200 OK
           < content-length: 5
           <
           < hello…
+0.045000s > (end)
";

#[test]
fn http1_reads_as_text_with_times() {
    let net = MockNet::new();
    exchange(&net);
    assert_eq!(net.transcript(), EXCHANGE);
}

#[test]
fn the_text_does_not_depend_on_how_writes_were_cut() {
    for seed in 0..50 {
        let net = MockNet::seeded(seed);
        exchange(&net);
        assert_eq!(net.transcript(), EXCHANGE, "seed {seed}");
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn http2_reads_as_frames_inside_tls_too() {
    for tls in [false, true] {
        let net = MockNet::new();
        let server = [
            frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]),
            frame(1, 4, 1, b"response"),
            frame(0, 1, 1, b"body"),
            frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
        ]
        .concat();
        let client = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[]),
            frame(1, 5, 1, b"request"),
            frame(8, 0, 0, &[0, 0, 4, 0]),
            frame(3, 0, 1, &[0, 0, 0, 8]),
            vec![0, 0, 9],
        ]
        .concat();
        let begin = match tls {
            true => Script::new().start_tls(TlsServer::new().alpn(&[Alpn::Http2])),
            false => Script::new(),
        };
        let table = begin.expect(&client).send(&server).half_close();
        net.serve_script("h2.test", 443, table);
        net.run(async {
            let mut stream = connect(&net, "h2.test", 443).await.unwrap();
            if tls {
                let tls = MockTls::new();
                stream = tls
                    .handshake(stream, "h2.test", &[Alpn::Http2])
                    .await
                    .unwrap();
            }
            write_all(&mut stream, &client).await.unwrap();
            read_all(&mut stream).await.unwrap();
        });
        let expected = "\
+0.000000s > [HTTP/2 preface]
+0.000000s > [SETTINGS length=0]
+0.000000s > [HEADERS stream=1 END_STREAM END_HEADERS length=7]
+0.000000s > [WINDOW_UPDATE length=4 increment=1024]
+0.000000s > [RST_STREAM stream=1 length=4 error=8]
+0.000000s < [SETTINGS length=6 3=100]
+0.000000s < [HEADERS stream=1 END_HEADERS length=8]
+0.000000s < [DATA stream=1 END_STREAM length=4]
+0.000000s < [GOAWAY length=8 last=1 error=0]
";
        let wire = net.transcript();
        assert!(wire.contains(expected), "{wire}");
        assert!(
            wire.contains("> [3 bytes of something unfinished]"),
            "{wire}"
        );
        assert_eq!(
            wire.contains("[TLS hello sni=h2.test alpn=h2]"),
            tls,
            "{wire}"
        );
        assert_eq!(wire.contains("[TLS alert close_notify]"), tls, "{wire}");
    }
}

#[test]
fn resets_are_told_from_ends_and_from_each_other() {
    let net = MockNet::new();
    let (_client, mut server) = net.pair_with(Link::new().to_client(|path| path.reset_at(2)));
    net.run(server.write_all("abc")).unwrap();
    let (client, other) = net.pair();
    other.reset();
    drop(client);
    let wires = net.transcripts();
    assert_eq!(
        wires[0],
        "#1 pair\n+0.000000s < abc…\n+0.000000s < (reset by the link)\n"
    );
    assert_eq!(
        wires[1],
        "#2 pair\n+0.000000s < (reset)\n+0.000000s > (end)\n"
    );
}

#[test]
fn only_so_many_bytes_are_kept() {
    let net = MockNet::new();
    net.set_transcript_limit(4);
    let (mut client, mut server) = net.pair();
    net.run(async {
        write_all(&mut client, "abcdef").await.unwrap();
        server.write_all("\x01\n").await.unwrap();
        read(&mut client).await.unwrap();
    });
    assert_eq!(
        net.transcript(),
        "#1 pair\n+0.000000s > abcd…\n+0.000000s > (2 more bytes)\n+0.000000s < \\u{1}\\n\n"
    );
}
