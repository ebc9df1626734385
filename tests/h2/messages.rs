//! Messages: what a response must and must not have.

use httpcore::Body;
use httpcore_tests::{
    h2_peer::{
        frames::{Frame, block, code, data, headers, ok},
        hpack::{encode, literal},
        script::{Case, answering, case, play},
    },
    suite::{Client, Story},
};

use crate::told::{BROKEN_BODY, BROKEN_HEAD, BROKEN_HEAD_BEGUN};

type Fields<'a> = &'a [(&'a str, &'a str)];

/// A response head that is malformed.
fn malformed(name: &'static str, fields: Fields<'_>) -> Case {
    case(name, answering([headers(1, fields), data(1, "body").end()]))
        .stream_error(code::PROTOCOL_ERROR, BROKEN_HEAD)
}

/// A `200` with a field that is malformed.
fn malformed_field(name: &'static str, field: &[u8], value: &[u8]) -> Case {
    let mut fields = encode(&[(":status", "200")]);
    literal(&mut fields, 0x00, field, value);
    case(name, answering([block(1, fields), data(1, "body").end()]))
        .stream_error(code::PROTOCOL_ERROR, BROKEN_HEAD)
}

/// A value with white space around it, which is delivered without.
fn trimmed(name: &'static str, value: &[u8]) -> Case {
    let mut fields = encode(&[(":status", "200")]);
    literal(&mut fields, 0x00, b"x-seen", value);
    case(name, answering([block(1, fields), data(1, "body").end()]))
        .fine("200 x-seen=1 \"body\"")
        .deviates()
}

/// Pseudo-fields which h2 drops without a word, and which are seen in front of it.
fn dropped(name: &'static str, fields: Fields<'_>) -> Case {
    case(name, answering([headers(1, fields)]))
        .stream_error(code::PROTOCOL_ERROR, BROKEN_HEAD_BEGUN)
}

/// The same in trailers. The stream has ended by then, and so there is nothing to reset.
fn dropped_trailers(name: &'static str, fields: Fields<'_>) -> Case {
    malformed_trailers(name, fields).fine(BROKEN_BODY)
}

/// What h2 takes for a block that cannot be decoded. RFC 9113 §5.4.1 allows an error of the
/// connection instead of one of the stream; the other streams would have preferred it otherwise.
fn harsh(case: Case, told: &str) -> Case {
    case.connection_error(code::PROTOCOL_ERROR, told).deviates()
}

fn malformed_trailers(name: &'static str, fields: Fields<'_>) -> Case {
    case(
        name,
        answering([ok(1), data(1, "body"), headers(1, fields).end()]),
    )
    .stream_error(code::PROTOCOL_ERROR, BROKEN_BODY)
}

fn head(client: Client) -> Story {
    Box::pin(async move {
        let request = client.request("HEAD", "/case", Body::empty());
        client.send(request).await
    })
}

#[test]
fn pseudo_fields() {
    play(&[
        malformed("RFC 9113 §8.3.2: no status", &[("x-seen", "1")]),
        malformed("RFC 9113 §8.3.2: no fields at all", &[]),
        malformed(
            "RFC 9113 §8.3: a status twice",
            &[(":status", "200"), (":status", "200")],
        ),
        harsh(
            malformed(
                "RFC 9113 §8.3: a pseudo-field that nobody knows",
                &[(":status", "200"), (":foo", "bar")],
            ),
            BROKEN_HEAD,
        ),
        dropped(
            "RFC 9113 §8.3: a path in a response",
            &[(":status", "200"), (":path", "/")],
        ),
        dropped(
            "RFC 9113 §8.3: a method in a response",
            &[(":method", "GET"), (":status", "200")],
        ),
        dropped(
            "RFC 9113 §8.3: a scheme in a response",
            &[(":status", "200"), (":scheme", "http")],
        ),
        dropped(
            "RFC 9113 §8.3: an authority in a response",
            &[(":status", "200"), (":authority", "a")],
        ),
        dropped(
            "RFC 8441 §4: a protocol in a response",
            &[(":status", "200"), (":protocol", "a")],
        ),
        malformed(
            "RFC 9113 §8.3: a status behind a field",
            &[("x-seen", "1"), (":status", "200")],
        ),
        harsh(
            malformed("RFC 9110 §15: a status of words", &[(":status", "fine")]),
            BROKEN_HEAD,
        ),
        harsh(
            malformed("RFC 9110 §15: a status of two digits", &[(":status", "99")]),
            BROKEN_HEAD,
        ),
        harsh(
            malformed(
                "RFC 9110 §15: a status of four digits",
                &[(":status", "2000")],
            ),
            BROKEN_HEAD,
        ),
        harsh(
            malformed(
                "RFC 9110 §15: a status with a reason",
                &[(":status", "200 OK")],
            ),
            BROKEN_HEAD,
        ),
        harsh(
            malformed("RFC 9110 §15: an empty status", &[(":status", "")]),
            BROKEN_HEAD,
        ),
        harsh(
            malformed("RFC 9110 §15: a status below 100", &[(":status", "099")]),
            BROKEN_HEAD,
        ),
        case(
            "RFC 9113 §8.6: a switch of protocols",
            answering([headers(1, &[(":status", "101")])]),
        )
        .stream_error(code::PROTOCOL_ERROR, BROKEN_HEAD_BEGUN),
        case(
            "RFC 9110 §15: a status that nobody knows",
            answering([headers(1, &[(":status", "599")]).end()]),
        )
        .fine("599 \"\""),
    ]);
}

#[test]
fn fields() {
    play(&[
        harsh(
            malformed_field("RFC 9113 §8.2.1: a name in capitals", b"X-Seen", b"1"),
            BROKEN_HEAD,
        ),
        harsh(
            malformed_field("RFC 9113 §8.2.1: a name with a space", b"x seen", b"1"),
            BROKEN_HEAD,
        ),
        harsh(
            malformed_field("RFC 9113 §8.2.1: a name with a colon", b"x:seen", b"1"),
            BROKEN_HEAD,
        ),
        harsh(
            malformed_field(
                "RFC 9113 §8.2.1: a name that is not ASCII",
                b"x-\xc3\xbc",
                b"1",
            ),
            BROKEN_HEAD,
        ),
        harsh(
            malformed_field("RFC 9113 §8.2.1: a name with NUL", b"x\0", b"1"),
            BROKEN_HEAD,
        ),
        harsh(
            malformed_field("RFC 9113 §8.2.1: an empty name", b"", b"1"),
            BROKEN_HEAD,
        ),
        harsh(
            malformed_field("RFC 9113 §8.2.1: a value with CR", b"x-seen", b"1\r2"),
            BROKEN_HEAD,
        ),
        harsh(
            malformed_field("RFC 9113 §8.2.1: a value with LF", b"x-seen", b"1\n2"),
            BROKEN_HEAD,
        ),
        harsh(
            malformed_field("RFC 9113 §8.2.1: a value with NUL", b"x-seen", b"1\x002"),
            BROKEN_HEAD,
        ),
        trimmed("RFC 9113 §8.2.1: a value that begins with a space", b" 1"),
        trimmed("RFC 9113 §8.2.1: a value that ends with a tab", b"1\t"),
        malformed_field("RFC 9113 §8.2.2: connection", b"connection", b"close"),
        malformed_field("RFC 9113 §8.2.2: keep-alive", b"keep-alive", b"timeout=5"),
        malformed_field(
            "RFC 9113 §8.2.2: proxy-connection",
            b"proxy-connection",
            b"keep-alive",
        ),
        malformed_field(
            "RFC 9113 §8.2.2: transfer-encoding",
            b"transfer-encoding",
            b"chunked",
        ),
        malformed_field("RFC 9113 §8.2.2: upgrade", b"upgrade", b"h2c"),
        malformed_field("RFC 9113 §8.2.2: te of gzip", b"te", b"gzip"),
    ]);
}

#[test]
fn lengths() {
    let with_length = |name, length: &str, frames: Vec<Frame>| {
        let mut all = vec![headers(
            1,
            &[(":status", "200"), ("content-length", length)],
        )];
        all.extend(frames);
        case(name, answering(all))
    };
    let whole = || vec![data(1, "body").end()];
    let broken = |name, length: &str| {
        with_length(name, length, whole()).stream_error(code::PROTOCOL_ERROR, BROKEN_HEAD)
    };
    let status = |name, status: &str, frames: Vec<Frame>| {
        let mut all = vec![headers(1, &[(":status", status)])];
        all.extend(frames);
        case(name, answering(all))
    };
    play(&[
        with_length("RFC 9113 §8.1.1: as long as was said", "4", whole()).fine("200 \"body\""),
        with_length("RFC 9113 §8.1.1: shorter than was said", "5", whole())
            .stream_error(code::PROTOCOL_ERROR, BROKEN_BODY),
        with_length("RFC 9113 §8.1.1: longer than was said", "3", whole())
            .stream_error(code::PROTOCOL_ERROR, BROKEN_BODY),
        with_length(
            "RFC 9113 §8.1.1: longer than was said, in a second frame",
            "4",
            vec![data(1, "body"), data(1, "x").end()],
        )
        .stream_error(code::PROTOCOL_ERROR, BROKEN_BODY),
        with_length(
            "RFC 9113 §8.1.1: trailers instead of the rest",
            "9",
            vec![data(1, "body"), headers(1, &[("x", "1")]).end()],
        )
        .fine(BROKEN_BODY),
        case(
            "RFC 9113 §8.1.1: a length, and the end in the head",
            answering([headers(1, &[(":status", "200"), ("content-length", "4")]).end()]),
        )
        .fine(BROKEN_HEAD),
        broken("RFC 9110 §8.6: a length of words", "four"),
        broken("RFC 9110 §8.6: a negative length", "-4"),
        broken("RFC 9110 §8.6: a length with a sign", "+4"),
        broken("RFC 9110 §8.6: a length of 2^64", "18446744073709551616"),
        with_length("RFC 9110 §8.6: an empty length", "", whole())
            .stream_error(code::PROTOCOL_ERROR, BROKEN_HEAD_BEGUN),
        case(
            "RFC 9110 §8.6: two different lengths",
            answering([
                headers(
                    1,
                    &[
                        (":status", "200"),
                        ("content-length", "4"),
                        ("content-length", "5"),
                    ],
                ),
                data(1, "body").end(),
            ]),
        )
        .stream_error(code::PROTOCOL_ERROR, BROKEN_HEAD),
        case(
            "RFC 9110 §8.6: the same length twice",
            answering([
                headers(
                    1,
                    &[
                        (":status", "200"),
                        ("content-length", "4"),
                        ("content-length", "4"),
                    ],
                ),
                data(1, "body").end(),
            ]),
        )
        .fine("200 \"body\""),
        case(
            "RFC 9110 §9.3.2: a response to HEAD says what a GET would bring",
            answering([headers(1, &[(":status", "200"), ("content-length", "4000")]).end()]),
        )
        .client(head)
        .fine("200 \"\""),
        case(
            "RFC 9113 §8.1: a response to HEAD which ends in empty DATA",
            answering([
                headers(1, &[(":status", "200"), ("content-length", "4000")]),
                data(1, "").end(),
            ]),
        )
        .client(head)
        .fine("200 \"\""),
        case(
            "RFC 9110 §9.3.2: a response to HEAD with a body",
            answering([ok(1), data(1, "body").end()]),
        )
        .client(head)
        .stream_error(code::PROTOCOL_ERROR, BROKEN_BODY),
        case(
            "RFC 9113 §8.1.1: a 304 says what a 200 would bring",
            answering([headers(1, &[(":status", "304"), ("content-length", "4000")]).end()]),
        )
        .fine("304 \"\""),
        case(
            "RFC 9113 §8.1.1: a 304 says what a 200 would bring, and ends in empty DATA",
            answering([
                headers(1, &[(":status", "304"), ("content-length", "4000")]),
                data(1, "").end(),
            ]),
        )
        .stream_error(code::PROTOCOL_ERROR, &BROKEN_BODY.replacen("200", "304", 1))
        .deviates(),
        status("RFC 9110 §15.4.5: a 304 with a body", "304", whole())
            .fine(&BROKEN_BODY.replacen("200", "304", 1)),
        status("RFC 9110 §15.3.5: a 204", "204", vec![data(1, "").end()]).fine("204 \"\""),
        status("RFC 9110 §15.3.5: a 204 with a body", "204", whole())
            .fine(&BROKEN_BODY.replacen("200", "204", 1)),
    ]);
}

const TOO_MANY_HINTS: &str =
    "TooLarge in Head, sent Full, response begun, connection new, attempts 1";

#[test]
fn interim_responses() {
    let interim = |status: &str| headers(1, &[(":status", status), ("link", "</a>")]);
    let many = |count: usize, size: usize| {
        let value = "x".repeat(size);
        vec![headers(1, &[(":status", "103"), ("link", &value[..])]); count]
    };
    let followed = |mut frames: Vec<Frame>| {
        frames.extend([ok(1), data(1, "ok").end()]);
        answering(frames)
    };
    play(&[
        case(
            "RFC 9110 §15.2: a hint before the response",
            followed(vec![interim("103")]),
        )
        .fine("200 \"ok\""),
        case(
            "RFC 9110 §15.2: several of them",
            followed(vec![
                interim("100"),
                interim("102"),
                interim("103"),
                interim("199"),
            ]),
        )
        .fine("200 \"ok\""),
        case(
            "RFC 9110 §15.2: who wants to hear of hints does",
            followed(vec![interim("103"), interim("100"), interim("103")]),
        )
        .client(|client| {
            Box::pin(async move {
                let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
                let told = heard.clone();
                let listener = httpcore::extensions::OnInformational::new(move |hint| {
                    let link = hint.headers()["link"].to_str().unwrap().to_owned();
                    told.lock().unwrap().push((hint.status().as_u16(), link));
                });
                let mut request = client.request("GET", "/case", Body::empty());
                request.extensions_mut().insert(listener);
                let line = client.send(request).await;
                format!("{:?} {line}", heard.lock().unwrap())
            })
        })
        .fine("[(103, \"</a>\"), (100, \"</a>\"), (103, \"</a>\")] 200 \"ok\""),
        case(
            "RFC 9113 §8.1: a hint that ends the stream",
            answering([interim("103").end()]),
        )
        .fine(BROKEN_HEAD_BEGUN),
        case(
            "RFC 9113 §8.1: DATA behind a hint",
            answering([interim("103"), data(1, "x").end()]),
        )
        .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD_BEGUN)
        .deviates(),
        case(
            "RFC 9113 §8.1: a hint behind the head",
            answering([ok(1), interim("103"), data(1, "x").end()]),
        )
        .stream_error(code::PROTOCOL_ERROR, BROKEN_BODY),
        case(
            "RFC 9110 §15.2: hints without an end are refused",
            answering(many(100, 1)),
        )
        .stream_error(code::ENHANCE_YOUR_CALM, TOO_MANY_HINTS),
        case(
            "RFC 9110 §15.2: hints of many bytes are refused",
            answering(many(20, 8000)),
        )
        .stream_error(code::ENHANCE_YOUR_CALM, TOO_MANY_HINTS),
        case(
            "RFC 9113 §8.2.2: a hint with a field of the connection",
            followed(vec![headers(
                1,
                &[(":status", "103"), ("connection", "close")],
            )]),
        )
        .stream_error(code::PROTOCOL_ERROR, BROKEN_HEAD),
    ]);
}

#[test]
fn trailers() {
    play(&[
        case(
            "RFC 9113 §8.1: trailers",
            answering([ok(1), data(1, "body"), headers(1, &[("x-sum", "7")]).end()]),
        )
        .fine("200 trailer x-sum=7 \"body\""),
        case(
            "RFC 9113 §8.1: trailers without a body",
            answering([ok(1), headers(1, &[("x-sum", "7")]).end()]),
        )
        .fine("200 trailer x-sum=7 \"\""),
        case(
            "RFC 9113 §8.1: trailers of nothing",
            answering([ok(1), data(1, "body"), headers(1, &[]).end()]),
        )
        .fine("200 \"body\""),
        case(
            "RFC 9113 §8.1: trailers which do not end the stream",
            answering([
                ok(1),
                data(1, "body"),
                headers(1, &[("x-sum", "7")]),
                data(1, "").end(),
            ]),
        )
        .stream_error(code::PROTOCOL_ERROR, BROKEN_BODY),
        case(
            "RFC 9113 §8.1: a second head",
            answering([ok(1), ok(1), data(1, "body").end()]),
        )
        .stream_error(code::PROTOCOL_ERROR, BROKEN_BODY),
        dropped_trailers("RFC 9113 §8.1: a status in trailers", &[(":status", "200")]),
        dropped_trailers("RFC 9113 §8.1: a path in trailers", &[(":path", "/")]),
        harsh(
            malformed_trailers("RFC 9113 §8.2.1: trailers in capitals", &[("X-Sum", "7")]),
            BROKEN_BODY,
        ),
        harsh(
            malformed_trailers("RFC 9113 §8.2.1: trailers with LF", &[("x-sum", "7\n8")]),
            BROKEN_BODY,
        ),
        malformed_trailers(
            "RFC 9113 §8.2.2: trailers of the connection",
            &[("connection", "close")],
        ),
    ]);
}

#[test]
fn lists_of_fields_that_are_too_large() {
    let large = "x".repeat(1 << 14);
    let many: Vec<_> = (0..64).map(|_| ("x-large", &large[..])).collect();
    let whole = encode(&[&[(":status", "200")], &many[..]].concat());
    let mut frames: Vec<Frame> = whole
        .chunks(16_000)
        .map(|piece| httpcore_tests::h2_peer::frames::continuation(1, piece.to_vec()).without(4))
        .collect();
    frames[0].kind = 1;
    let last = frames.len() - 1;
    frames[last].flags = 4;
    play(&[
        case("RFC 9113 §10.5.1: a megabyte of fields", answering(frames))
            .cut()
            .connection_error(code::ENHANCE_YOUR_CALM, BROKEN_HEAD),
        case("RFC 7541 §7.3: little on the wire and much in memory", {
            // One large field is remembered, and then named again and again.
            let mut bomb = encode(&[(":status", "200")]);
            bomb.extend(httpcore_tests::h2_peer::hpack::encode_to_remember(&[(
                "x-large",
                &"x".repeat(3500)[..],
            )]));
            bomb.extend(vec![0xbe; 12_000]);
            answering([block(1, bomb).end()])
        })
        .connection_error(code::ENHANCE_YOUR_CALM, BROKEN_HEAD),
    ]);
}
