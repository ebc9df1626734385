//! Field blocks: what cannot be decoded ends the connection, since both sides' tables differ then.

use httpcore_tests::{
    h2_peer::{
        frames::{block, code, data, headers, ok},
        hpack::{encode, encode_to_remember, integer, literal},
        script::{Case, Next, Step, answering, case, play, say},
    },
    suite::{Client, Story},
};

use crate::told::BROKEN_HEAD;

/// `:status: 200`, by its place in the static table.
const STATUS: u8 = 0x88;

/// A block that begins well. h2 gives another code than the RFC.
fn broken(name: &'static str, rest: &[u8]) -> Case {
    let whole = [&[STATUS], rest].concat();
    case(name, answering([block(1, whole).end()]))
        .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD)
        .deviates()
}

fn with_value(value: &[u8]) -> Vec<u8> {
    let mut block = vec![0x00, 6];
    block.extend_from_slice(b"x-seen");
    block.extend_from_slice(value);
    block
}

fn size_update(size: usize) -> Vec<u8> {
    let mut update = Vec::new();
    integer(&mut update, 0x20, 5, size);
    update
}

fn twice(client: Client) -> Story {
    Box::pin(async move {
        let (one, two) = (client.get("/one").await, client.get("/two").await);
        format!("{one}, {two}")
    })
}

#[test]
fn blocks_that_cannot_be_decoded() {
    play(&[
        broken("RFC 7541 §6.1: index 0", &[0x80]),
        broken("RFC 7541 §2.3.3: an index beyond both tables", &[0xbe]),
        broken(
            "RFC 7541 §2.3.3: a name by an index beyond both tables",
            &[0x7f, 0x00, 0x01, b'x'],
        ),
        broken(
            "RFC 7541 §5.1: an index of 2^70",
            &[
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
            ],
        ),
        broken(
            "RFC 7541 §5.1: an index of many zeros",
            &[
                0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01,
            ],
        ),
        broken("RFC 7541 §5.1: an index cut off", &[0xff]),
        broken("RFC 7541 §5.2: a name cut off", &[0x00, 0x05, b'n']),
        broken("RFC 7541 §5.2: a value cut off", &with_value(&[0x05, b'v'])),
        broken(
            "RFC 7541 §5.2: a value of 4 GiB",
            &with_value(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f, b'v']),
        ),
        broken("RFC 7541 §5.2: a name without a value", &with_value(&[])),
        broken(
            "RFC 7541 §5.2: the end of the string in a string",
            &with_value(&[0x84, 0xff, 0xff, 0xff, 0xff]),
        ),
        broken(
            "RFC 7541 §5.2: padding of more than 7 bits",
            &with_value(&[0x82, 0x07, 0xff]),
        ),
        broken(
            "RFC 7541 §5.2: padding of zeros",
            &with_value(&[0x81, 0x00]),
        ),
        broken("RFC 7541 §4.2: a new size behind a field", &size_update(0)),
        case(
            "RFC 7541 §6.3: a table larger than allowed",
            answering([block(1, [size_update(4097), vec![STATUS]].concat()).end()]),
        )
        .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD)
        .deviates(),
        case(
            "RFC 7541 §6.3: a block that ends with a new size",
            answering([block(1, [vec![STATUS], size_update(100)].concat()).end()]),
        )
        .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD)
        .deviates(),
        case(
            "RFC 9113 §4.3: broken trailers",
            answering([ok(1), data(1, "ok"), block(1, vec![0x80]).end()]),
        )
        .connection_error(
            code::PROTOCOL_ERROR,
            "200 then Protocol in Body, sent Full, response begun, connection new, attempts 1",
        )
        .deviates(),
        case(
            "RFC 9113 §4.3: a broken block on a stream which was given up",
            [
                Step::Request,
                Step::Frame(httpcore_tests::h2_peer::frames::kind::RST_STREAM),
                say([block(1, vec![0x80]).end()]),
            ],
        )
        .client(give_up)
        .outcome(
            "given up",
            "RST_STREAM 1 CANCEL; GOAWAY PROTOCOL_ERROR",
            Next::Elsewhere,
        )
        .deviates(),
    ]);
}

/// Drops a request for which the server has not answered anything.
fn give_up(client: Client) -> Story {
    Box::pin(async move {
        let request = client.get("/case");
        let soon = std::time::Duration::from_millis(10);
        let runtime = client.runtime();
        let deadline = runtime.now() + soon;
        let ended =
            httpcore::backend::with_deadline(&runtime, "patience", Some(deadline), request).await;
        ended.unwrap_or_else(|| "given up".to_owned())
    })
}

#[test]
fn blocks_that_are_unusual() {
    let remembered = || encode_to_remember(&[("x-seen", "before")]);
    let by_index = || vec![STATUS, 0xbe];
    let mut never = vec![STATUS];
    literal(&mut never, 0x10, b"x-seen", b"secret");
    let huffman = [
        &[STATUS][..],
        &with_value(b"\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
    ]
    .concat();
    play(&[
        case(
            "RFC 7541 §6.2.3: a field to be indexed by nobody",
            answering([block(1, never).end()]),
        )
        .fine("200 x-seen=secret \"\""),
        case(
            "RFC 7541 §5.2: a value in Huffman's code",
            answering([block(1, huffman).end()]),
        )
        .fine("200 x-seen=www.example.com \"\""),
        case(
            "RFC 7541 §6.3: a table made smaller and larger",
            answering([block(
                1,
                [size_update(0), size_update(4096), vec![STATUS]].concat(),
            )
            .end()]),
        )
        .fine("200 \"\""),
        case(
            "RFC 7541 §2.3.2: a field that an earlier response brought",
            [
                Step::Request,
                say([block(1, [vec![STATUS], remembered()].concat()).end()]),
                Step::Request,
                say([block(3, by_index()).end()]),
            ],
        )
        .client(twice)
        .fine("200 x-seen=before \"\", 200 x-seen=before \"\""),
        case(
            "RFC 9113 §4.3: a field that a refused response brought",
            [
                Step::Request,
                // Without a status: the stream is refused, and the table goes on.
                say([block(1, remembered()).end()]),
                Step::Request,
                say([block(3, by_index()).end()]),
            ],
        )
        .client(twice)
        // Both sides had ended the stream, and so there was nothing to reset.
        .fine(
            "Protocol in Head, sent Full, response not begun, connection new, attempts 1, \
             200 x-seen=before \"\"",
        ),
        case(
            "RFC 9113 §4.3: a field that came on a stream which was given up",
            [
                Step::Request,
                Step::Frame(httpcore_tests::h2_peer::frames::kind::RST_STREAM),
                say([block(1, [vec![STATUS], remembered()].concat()).end()]),
                Step::Request,
                say([block(3, by_index()).end()]),
            ],
        )
        .client(|client| {
            Box::pin(async move {
                let one = give_up(client.clone()).await;
                format!("{one}, {}", client.get("/two").await)
            })
        })
        .outcome(
            "given up, 200 x-seen=before \"\"",
            "RST_STREAM 1 CANCEL",
            Next::Here,
        ),
        case(
            "RFC 9113 §8.3: a path in a response, from the dynamic table",
            [
                Step::Request,
                say([block(
                    1,
                    [vec![STATUS], encode_to_remember(&[(":path", "/")])].concat(),
                )
                .end()]),
                Step::Request,
                say([block(3, by_index()).end()]),
            ],
        )
        .client(twice)
        .fine("Protocol in Head, sent Full, response begun, connection new, attempts 1, 200 \"\"")
        .deviates(),
        case(
            "RFC 7541 §4.4: a field larger than the table empties it",
            [
                Step::Request,
                say([block(
                    1,
                    [
                        vec![STATUS],
                        remembered(),
                        encode_to_remember(&[("x-large", &"x".repeat(5000)[..])]),
                    ]
                    .concat(),
                )
                .end()]),
                Step::Request,
                say([block(3, by_index()).end()]),
            ],
        )
        .client(twice)
        .outcome(
            // The first request is retried by nobody: it has its answer.
            "200 x-seen=before \"\", \
             Protocol in Head, sent Full, response not begun, connection reused, attempts 1",
            "GOAWAY PROTOCOL_ERROR",
            Next::Elsewhere,
        )
        .deviates(),
        case(
            "RFC 9113 §8.2.1: a field without a value",
            answering([headers(1, &[(":status", "200"), ("x-seen", "")]).end()]),
        )
        .fine("200 x-seen= \"\""),
        case(
            "RFC 9113 §8.2: a field twice",
            answering([block(
                1,
                encode(&[(":status", "200"), ("x-seen", "a"), ("x-seen", "b")]),
            )
            .end()]),
        )
        .fine("200 x-seen=a \"\""),
    ]);
}
