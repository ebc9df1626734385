//! Frames from a server, in the groups of the Autobahn test suite, at every cut.

use std::sync::Arc;

use httpcore::{
    ConnectionPool,
    ws::{Config, WebSocket},
};
use httpcore_net_mock::{Chunks, Link, MockNet};

use crate::peer::{ACCEPTED, close, frame, handshake, receive};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// Takes FIN away.
const MORE: u8 = 0x7f;
const CONTINUED: u8 = 0x80;

/// What the server says; what the client receives; what it says itself.
type Case = (&'static str, Vec<Vec<u8>>, &'static str, &'static str);

fn check(cases: Vec<Case>) {
    check_with(Config::default(), cases);
}

fn check_with(config: Config, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for (name, frames, received, said) in cases {
        let frames = frames.concat();
        let mut links = vec![Link::new()];
        if frames.len() < 1000 {
            links.push(Link::new().chunks(Chunks::Each(1)));
            links.push(Link::new().chunks(Chunks::Each(3)));
        }
        for (way, link) in links.into_iter().enumerate() {
            let found = receive(link, &frames, config);
            if (&*found.0, &*found.1) != (received, said) {
                wrong.push(format!("{name}, cut {way}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The end of all orderly conversations here.
fn bye() -> Vec<u8> {
    close(1000, "")
}

#[test]
fn frames_of_every_size() {
    for (size, text, binary) in [
        (0, r#"text """#, r#"binary """#),
        (125, "text of 125", "binary of 125"),
        (126, "text of 126", "binary of 126"),
        (127, "text of 127", "binary of 127"),
        (128, "text of 128", "binary of 128"),
        (65_535, "text of 65535", "binary of 65535"),
        (65_536, "text of 65536", "binary of 65536"),
        (1 << 20, "text of 1048576", "binary of 1048576"),
    ] {
        let payload = vec![b'*'; size];
        for (opcode, expected) in [(TEXT, text), (BINARY, binary)] {
            let frames = [frame(opcode, &payload), bye()].concat();
            let found = receive(Link::new(), &frames, Config::default());
            let expected = format!("{expected}, close 1000 \"\"");
            assert_eq!(found, (expected, "close 1000".to_owned()));
        }
    }
}

#[test]
fn pings_are_answered_and_pongs_are_heard() {
    let full = [b'p'; 125];
    check(vec![
        (
            "2.1 an empty ping",
            vec![frame(PING, ""), bye()],
            r#"ping "", close 1000 """#,
            "pong, close 1000",
        ),
        (
            "2.2 a ping with a word",
            vec![frame(PING, "hello"), bye()],
            r#"ping "hello", close 1000 """#,
            "pong hello, close 1000",
        ),
        (
            "2.3 a ping with what is no text",
            vec![frame(PING, [0xfe, 0xff]), bye()],
            "ping \"\u{fffd}\u{fffd}\", close 1000 \"\"",
            "pong \u{fffd}\u{fffd}, close 1000",
        ),
        (
            "2.4 a full ping",
            vec![frame(PING, full), bye()],
            r#"ping of 125, close 1000 """#,
            "pong 125, close 1000",
        ),
        (
            "2.5 a ping that is too long",
            vec![frame(PING, [b'p'; 126]), bye()],
            "against the rules",
            "close 1002",
        ),
        (
            "2.7 an unsolicited pong",
            vec![frame(PONG, ""), bye()],
            r#"pong "", close 1000 """#,
            "close 1000",
        ),
        (
            "2.10 ten pings",
            vec![frame(PING, "a"); 10]
                .into_iter()
                .chain([bye()])
                .collect(),
            concat!(
                r#"ping "a", ping "a", ping "a", ping "a", ping "a", "#,
                r#"ping "a", ping "a", ping "a", ping "a", ping "a", close 1000 """#
            ),
            concat!(
                "pong a, pong a, pong a, pong a, pong a, ",
                "pong a, pong a, pong a, pong a, pong a, close 1000"
            ),
        ),
    ]);
}

#[test]
fn reserved_bits_and_opcodes_and_masks_end_it() {
    let rows = [
        ("3 the first reserved bit", frame(TEXT | 0x40, "a")),
        ("3 the second", frame(TEXT | 0x20, "a")),
        ("3 the third", frame(TEXT | 0x10, "a")),
        ("3 all, on a ping", frame(PING | 0x70, "a")),
        ("3 one, on a close", frame(CLOSE | 0x40, "")),
        ("4.1 opcode 3", frame(0x83, "")),
        ("4.1 opcode 4", frame(0x84, "a")),
        ("4.1 opcode 7", frame(0x87, "a")),
        ("4.2 opcode 11", frame(0x8b, "")),
        ("4.2 opcode 15", frame(0x8f, "a")),
        // RFC 6455 §5.1: a server does not mask.
        ("a mask", b"\x81\x81\x00\x00\x00\x00a".to_vec()),
    ];
    let cases = rows.into_iter().flat_map(|(name, bad)| {
        [
            (
                name,
                vec![bad.clone(), bye()],
                "against the rules",
                "close 1002",
            ),
            (
                name,
                vec![frame(TEXT, "ok"), bad, frame(TEXT, "no")],
                r#"text "ok", against the rules"#,
                "close 1002",
            ),
        ]
    });
    check(cases.collect());
}

#[test]
fn fragments_make_messages_and_nothing_comes_between_but_control_frames() {
    let (begun, more) = (TEXT & MORE, 0x00);
    check(vec![
        (
            "5.1 a ping in fragments",
            vec![frame(PING & MORE, "a"), frame(CONTINUED, "b")],
            "against the rules",
            "close 1002",
        ),
        (
            "5.2 a pong in fragments",
            vec![frame(PONG & MORE, "a"), frame(CONTINUED, "b")],
            "against the rules",
            "close 1002",
        ),
        (
            "5.3 a text in two",
            vec![frame(begun, "one"), frame(CONTINUED, "two"), bye()],
            r#"text "onetwo", close 1000 """#,
            "close 1000",
        ),
        (
            "5.6 with a ping between",
            vec![
                frame(begun, "one"),
                frame(PING, "!"),
                frame(CONTINUED, "two"),
                bye(),
            ],
            r#"ping "!", text "onetwo", close 1000 """#,
            "pong !, close 1000",
        ),
        (
            "empty ones",
            vec![
                frame(begun, ""),
                frame(more, ""),
                frame(more, "x"),
                frame(CONTINUED, ""),
                bye(),
            ],
            r#"text "x", close 1000 """#,
            "close 1000",
        ),
        (
            "5.9 nothing to continue",
            vec![frame(CONTINUED, "a"), frame(TEXT, "b")],
            "against the rules",
            "close 1002",
        ),
        (
            "5.12 nor with more to come",
            vec![frame(more, "a"), frame(TEXT, "b")],
            "against the rules",
            "close 1002",
        ),
        (
            "5.18 a second text before the first has ended",
            vec![frame(begun, "a"), frame(TEXT, "b")],
            "against the rules",
            "close 1002",
        ),
        (
            "5.15 and nothing to continue behind a whole one",
            vec![
                frame(begun, "a"),
                frame(CONTINUED, "b"),
                frame(CONTINUED, "c"),
            ],
            r#"text "ab", against the rules"#,
            "close 1002",
        ),
        (
            "a close between fragments",
            vec![frame(begun, "a"), bye()],
            r#"close 1000 """#,
            "close 1000",
        ),
    ]);
}

#[test]
fn text_is_utf8_wherever_it_is_cut() {
    let kosme = "κόσμε";
    let whole = kosme.as_bytes();
    let mut cases: Vec<Case> = vec![(
        "6.2 whole",
        vec![frame(TEXT, kosme), bye()],
        "text \"κόσμε\", close 1000 \"\"",
        "close 1000",
    )];
    for cut in 0..=whole.len() {
        let (one, two) = whole.split_at(cut);
        cases.push((
            "6.2 in two, everywhere",
            vec![frame(TEXT & MORE, one), frame(CONTINUED, two), bye()],
            "text \"κόσμε\", close 1000 \"\"",
            "close 1000",
        ));
    }
    for bad in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..], // 6.3: a surrogate
        b"\xf4\x90\x80\x80",                                                    // 6.4: too high
        b"\xf8\x88\x80\x80\x80",                                                // 6.6: five bytes
        b"\xc0\xaf",                                                            // 6.18: overlong
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\x80",
        b"\x80", // 6.12: a lonely continuation
        b"\xfe",
        b"\xff",
        b"a\xce", // an unfinished end
    ] {
        cases.push((
            "6 malformed",
            vec![frame(TEXT, bad), bye()],
            "against the rules",
            "close 1007",
        ));
        cases.push((
            "6 malformed, in fragments",
            vec![frame(TEXT & MORE, bad), frame(CONTINUED, ""), bye()],
            "against the rules",
            "close 1007",
        ));
    }
    check(cases);
}

#[test]
fn closes_are_answered_in_kind() {
    let mut cases: Vec<Case> = vec![
        (
            "7.3.1 nothing in it",
            vec![frame(CLOSE, "")],
            "close",
            "close",
        ),
        (
            "7.3.2 one byte",
            vec![frame(CLOSE, "a")],
            "against the rules",
            "close 1002",
        ),
        (
            "7.3.4 a reason",
            vec![close(1000, "so long")],
            r#"close 1000 "so long""#,
            "close 1000so long",
        ),
        (
            "7.3.6 a reason that is too long",
            vec![close(1000, [b'x'; 124])],
            "against the rules",
            "close 1002",
        ),
        (
            "7.5.1 a reason that is no text",
            vec![close(1000, b"\xce\xba\xe1\xbd\xed\xa0\x80")],
            "against the rules",
            "close 1007",
        ),
        (
            "7.1.2 two closes",
            vec![bye(), bye()],
            r#"close 1000 """#,
            "close 1000",
        ),
        (
            "7.1.4 text behind a close",
            vec![bye(), frame(TEXT, "no")],
            r#"close 1000 """#,
            "close 1000",
        ),
        (
            "7.1.3 a ping behind a close",
            vec![bye(), frame(PING, "no")],
            r#"close 1000 """#,
            "close 1000",
        ),
        ("an end without a close", vec![], "truncated", ""),
        (
            "an end in a frame",
            vec![frame(TEXT, "abc")[..3].to_vec()],
            "truncated",
            "",
        ),
        (
            "an end between fragments",
            vec![frame(TEXT & MORE, "abc")],
            "truncated",
            "",
        ),
    ];
    // 7.7: codes that may be sent.
    for (code, received, answer) in [
        (1000, r#"close 1000 """#, "close 1000"),
        (1001, r#"close 1001 """#, "close 1001"),
        (1002, r#"close 1002 """#, "close 1002"),
        (1003, r#"close 1003 """#, "close 1003"),
        (1007, r#"close 1007 """#, "close 1007"),
        (1008, r#"close 1008 """#, "close 1008"),
        (1009, r#"close 1009 """#, "close 1009"),
        (1010, r#"close 1010 """#, "close 1010"),
        (1011, r#"close 1011 """#, "close 1011"),
        (3000, r#"close 3000 """#, "close 3000"),
        (3999, r#"close 3999 """#, "close 3999"),
        (4000, r#"close 4000 """#, "close 4000"),
        (4999, r#"close 4999 """#, "close 4999"),
    ] {
        cases.push(("7.7", vec![close(code, "")], received, answer));
    }
    // A peer may say so of us, in the same words as tungstenite.
    cases.push((
        "1002 from the peer",
        vec![close(1002, "Protocol violation")],
        r#"close 1002 "Protocol violation""#,
        "close 1002Protocol violation",
    ));
    // 7.9: codes that may not.
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        cases.push((
            "7.9",
            vec![close(code, "")],
            "against the rules",
            "close 1002Protocol violation",
        ));
    }
    check(cases);
}

#[test]
fn sizes_are_limited_before_they_are_believed() {
    let config = Config::default().with_max_message_size(1000);
    let length = |bytes: [u8; 8]| [&[BINARY, 127][..], &bytes].concat();
    check_with(
        config,
        vec![
            (
                "9 as large as may be",
                vec![frame(BINARY, [0; 1000]), bye()],
                r#"binary of 1000, close 1000 """#,
                "close 1000",
            ),
            (
                "9 one more",
                vec![frame(BINARY, [0; 1001])],
                "too large",
                "close 1009",
            ),
            (
                "9 one more, in fragments",
                vec![frame(BINARY & MORE, [0; 600]), frame(CONTINUED, [0; 401])],
                "too large",
                "close 1009",
            ),
            (
                "a promise of 2^63 - 1",
                vec![length([0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])],
                "too large",
                "close 1009",
            ),
            (
                "a promise of 2^64 - 1, which is none",
                vec![length([0xff; 8])],
                "too large",
                "close 1009",
            ),
        ],
    );
}

#[test]
fn what_the_peer_did_wrong_is_said_once() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        let masked = frame(TEXT | CONTINUED, "")
            .into_iter()
            .map(|byte| if byte == 0 { 0x80 } else { byte });
        let said = [ACCEPTED.as_bytes(), &masked.collect::<Vec<_>>(), &[0; 4]].concat();
        stream.write_all(said).await.unwrap();
        stream.stall().await;
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let error = net.run(async {
        let opened = pool.websocket(handshake()).await.unwrap();
        let mut socket = WebSocket::new(opened.stream, Config::default());
        socket.message().await.unwrap().unwrap_err()
    });
    let mut said = Vec::new();
    let mut next = Some(&error as &dyn std::error::Error);
    while let Some(error) = next {
        assert!(
            !said
                .iter()
                .any(|text: &String| text.contains(&error.to_string())),
            "{error} is said already: {said:?}"
        );
        said.push(error.to_string());
        next = error.source();
    }
    assert_eq!(said.len(), 2, "{said:?}");
}
