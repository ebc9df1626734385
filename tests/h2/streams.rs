//! Frames on streams on which they must not be, and of sizes which they must not have.

use httpcore_tests::h2_peer::{
    frames::{
        self, Frame, code, continuation, data, flag, goaway, headers, kind, ok, ping, priority,
        push_promise, reset, window_update,
    },
    hpack,
    script::{Case, Next, Step, answering, case, play, say},
};

use crate::told::{BROKEN_BODY, BROKEN_HEAD, BROKEN_HEAD_BEGUN};

/// A frame that ends the connection, in place of the response.
fn fatal(name: &'static str, frame: Frame, error: u32) -> Case {
    case(name, answering([frame])).connection_error(error, BROKEN_HEAD)
}

/// A frame of a size that it must not have. h2 gives another code than the RFC.
fn misjudged(name: &'static str, frame: Frame) -> Case {
    fatal(name, frame, code::PROTOCOL_ERROR).deviates()
}

/// A frame that ends the connection, behind the head of the response.
fn fatal_behind_a_head(name: &'static str, frame: Frame, error: u32) -> Case {
    case(name, answering([ok(1), frame])).connection_error(error, BROKEN_BODY)
}

/// Frames before the response that mean nothing.
fn ignored(name: &'static str, frames: impl Into<Vec<Frame>>) -> Case {
    let mut frames = frames.into();
    frames.extend([ok(1), data(1, "ok").end()]);
    case(name, answering(frames)).fine("200 \"ok\"")
}

/// Frames after the response that mean nothing.
fn ignored_after(name: &'static str, frame: Frame) -> Case {
    case(name, answering([ok(1), data(1, "ok").end(), frame])).fine("200 \"ok\"")
}

#[test]
fn frames_on_the_wrong_stream() {
    let short = |kind, stream, length: usize| Frame::new(kind, 0, stream, vec![0; length]);
    play(&[
        fatal(
            "RFC 9113 §6.1: DATA of the connection",
            data(0, "x"),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §5.1: DATA on an idle stream",
            data(5, "x"),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §5.1.1: DATA on a stream of the server's",
            data(2, "x"),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §6.2: HEADERS of the connection",
            ok(0),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §5.1: HEADERS on an idle stream",
            ok(5),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §5.1.1: HEADERS on a stream of the server's",
            ok(2),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §6.4: RST_STREAM of the connection",
            reset(0, 0),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §6.4: RST_STREAM on an idle stream",
            reset(5, 0),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §6.3: PRIORITY of the connection",
            priority(0, 1, 16),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §6.7: PING of a stream",
            Frame::new(kind::PING, 0, 1, vec![0; 8]),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §6.8: GOAWAY of a stream",
            Frame::new(kind::GOAWAY, 0, 1, vec![0; 8]),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §5.1: WINDOW_UPDATE on an idle stream",
            window_update(5, 1),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §8.4: a push while pushes are disabled",
            push_promise(1, 2, &[(":path", "/")]),
            code::PROTOCOL_ERROR,
        ),
        misjudged(
            "RFC 9113 §6.6: a push that promises nothing",
            short(kind::PUSH_PROMISE, 1, 2),
        ),
        misjudged(
            "RFC 9113 §6.4: RST_STREAM of 3 bytes",
            short(kind::RST_STREAM, 1, 3),
        ),
        misjudged(
            "RFC 9113 §6.4: RST_STREAM of 5 bytes",
            short(kind::RST_STREAM, 1, 5),
        ),
        misjudged("RFC 9113 §6.7: PING of 7 bytes", short(kind::PING, 0, 7)),
        misjudged("RFC 9113 §6.7: PING of 9 bytes", short(kind::PING, 0, 9)),
        misjudged(
            "RFC 9113 §6.8: GOAWAY of 7 bytes",
            short(kind::GOAWAY, 0, 7),
        ),
        misjudged(
            "RFC 9113 §6.9: WINDOW_UPDATE of 3 bytes",
            short(kind::WINDOW_UPDATE, 0, 3),
        ),
        misjudged(
            "RFC 9113 §6.9: WINDOW_UPDATE of 5 bytes",
            short(kind::WINDOW_UPDATE, 1, 5),
        ),
        fatal(
            "RFC 9113 §4.2: HEADERS longer than allowed",
            ok(1).claiming((1 << 24) - 1),
            code::FRAME_SIZE_ERROR,
        ),
        fatal_behind_a_head(
            "RFC 9113 §4.2: DATA longer than allowed",
            data(1, "x").claiming((1 << 24) - 1),
            code::FRAME_SIZE_ERROR,
        ),
        fatal(
            "RFC 9113 §4.2: a frame of no known type longer than allowed",
            Frame::new(0xbe, 0, 1, "x").claiming((1 << 24) - 1),
            code::FRAME_SIZE_ERROR,
        ),
        case(
            "RFC 9113 §6.3: PRIORITY of 4 bytes",
            answering([short(kind::PRIORITY, 1, 4)]),
        )
        .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD)
        .deviates(),
        case(
            "RFC 9113 §8.1: DATA before the head",
            answering([data(1, "x").end()]),
        )
        .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD)
        .deviates(),
    ]);
}

#[test]
fn frames_after_the_end_of_a_stream() {
    // The response is whole by then, and the client may have forgotten the stream.
    play(&[
        case(
            "RFC 9113 §5.1: DATA after the end",
            answering([ok(1), data(1, "ok").end(), data(1, "more")]),
        )
        .outcome("200 \"ok\"", "RST_STREAM 1 STREAM_CLOSED", Next::Here),
        case(
            "RFC 9113 §5.1: HEADERS after the end",
            answering([ok(1), data(1, "ok").end(), ok(1)]),
        )
        .outcome("200 \"ok\"", "RST_STREAM 1 STREAM_CLOSED", Next::Here),
        case(
            "RFC 9113 §5.1: DATA after RST_STREAM",
            answering([ok(1), reset(1, code::CANCEL), data(1, "more")]),
        )
        .outcome(BROKEN_BODY, "RST_STREAM 1 STREAM_CLOSED", Next::Here),
        ignored_after(
            "RFC 9113 §5.1: WINDOW_UPDATE after the end",
            window_update(1, 10),
        ),
        ignored_after(
            "RFC 9113 §5.1: RST_STREAM after the end",
            reset(1, code::NO_ERROR),
        ),
        ignored_after(
            "RFC 9113 §5.1: RST_STREAM with an error after the end",
            reset(1, code::CANCEL),
        ),
        ignored_after("RFC 9113 §5.1: PRIORITY after the end", priority(1, 3, 16)),
    ]);
}

#[test]
fn frames_without_a_meaning() {
    play(&[
        ignored(
            "RFC 9113 §5.5: frames of no known type",
            [
                Frame::new(0xbe, 0xff, 0, "x"),
                Frame::new(0xbe, 0xff, 1, ""),
                Frame::new(0xff, 0, 99, "of an idle stream"),
            ],
        ),
        ignored(
            "RFC 9113 §4.1: flags that mean nothing",
            [
                ping([1; 8]).with(0xf0),
                window_update(0, 1).with(0xff),
                frames::settings(&[]).with(0xfe),
            ],
        ),
        ignored(
            "RFC 9113 §5.3.2: PRIORITY",
            [priority(1, 0, 16), priority(7, 1, 255), priority(4, 0, 0)],
        ),
        case(
            "RFC 9113 §5.3.2: HEADERS with a priority",
            answering([ok(1).with_priority(0, 200), data(1, "ok").end()]),
        )
        .fine("200 \"ok\""),
        case(
            "RFC 7540 §5.3.1: HEADERS that depend on themselves",
            answering([ok(1).with_priority(1, 200), data(1, "ok").end()]),
        )
        .stream_error(code::PROTOCOL_ERROR, BROKEN_HEAD),
        case(
            "RFC 9113 §6.1: empty DATA",
            answering([
                ok(1),
                data(1, ""),
                data(1, "ok"),
                data(1, ""),
                data(1, "").end(),
            ]),
        )
        .fine("200 \"ok\""),
        case(
            "RFC 9113 §6.2: a response that ends with its head",
            answering([ok(1).end()]),
        )
        .fine("200 \"\""),
        case(
            "RFC 9113 §6.8: GOAWAY with an explanation",
            answering([
                ok(1),
                Frame::new(
                    kind::GOAWAY,
                    0,
                    0,
                    [&[0_u8, 0, 0, 1, 0, 0, 0, 0][..], b"for a reason"].concat(),
                ),
                data(1, "ok").end(),
            ]),
        )
        .outcome("200 \"ok\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: the reserved bit of GOAWAY",
            answering([ok(1), goaway(1 | 1 << 31, 0), data(1, "ok").end()]),
        )
        .outcome("200 \"ok\"", "", Next::Elsewhere),
    ]);
}

#[test]
fn padding() {
    play(&[
        case(
            "RFC 9113 §6.1: padding is left out",
            answering([
                ok(1).padded(200),
                data(1, "ok").padded(255),
                data(1, "").padded(0).end(),
            ]),
        )
        .fine("200 \"ok\""),
        case(
            "RFC 9113 §6.1: padding that is not zero may be ignored",
            answering([ok(1), data(1, "ok").padded_with(3, b"abc").end()]),
        )
        .fine("200 \"ok\""),
        fatal_behind_a_head(
            "RFC 9113 §6.1: DATA with more padding than payload",
            data(1, "ok").padded_with(3, b""),
            code::PROTOCOL_ERROR,
        ),
        fatal_behind_a_head(
            "RFC 9113 §6.1: DATA with room for nothing but the padding's length",
            data(1, "").padded_with(1, b""),
            code::PROTOCOL_ERROR,
        ),
        fatal_behind_a_head(
            "RFC 9113 §6.1: padded DATA of no bytes",
            data(1, "").with(flag::PADDED),
            code::PROTOCOL_ERROR,
        )
        .deviates(),
        fatal(
            "RFC 9113 §6.2: HEADERS with more padding than payload",
            headers(1, &[(":status", "200")]).padded_with(99, b""),
            code::PROTOCOL_ERROR,
        ),
        misjudged(
            "RFC 9113 §6.2: padded HEADERS of no bytes",
            Frame::new(kind::HEADERS, flag::PADDED | flag::END_HEADERS, 1, ""),
        ),
        misjudged(
            "RFC 9113 §6.2: HEADERS with less than a priority",
            Frame::new(kind::HEADERS, flag::PRIORITY | flag::END_HEADERS, 1, "1234"),
        ),
    ]);
}

#[test]
fn continued_fields() {
    let block = hpack::encode(&[(":status", "200"), ("x-seen", "whole")]);
    let begun = || Frame::new(kind::HEADERS, 0, 1, block[..5].to_vec());
    let rest = || continuation(1, block[5..].to_vec());
    let torn = |name, frame: Frame| {
        case(name, answering([begun(), frame, rest()]))
            .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD)
    };
    let pieces = || {
        let mut frames = vec![Frame::new(kind::HEADERS, flag::END_STREAM, 1, "")];
        let pieces = block.chunks(7);
        frames
            .extend(pieces.map(|piece| continuation(1, piece.to_vec()).without(flag::END_HEADERS)));
        frames.push(continuation(1, ""));
        frames
    };
    play(&[
        case(
            "RFC 9113 §6.10: fields in two frames",
            answering([begun().end(), rest()]),
        )
        .fine("200 x-seen=whole \"\""),
        case(
            "RFC 9113 §6.10: fields in pieces of any length, none included",
            answering(pieces()),
        )
        .fine("200 x-seen=whole \"\""),
        case(
            "RFC 9113 §6.10: trailers in two frames",
            answering([
                ok(1),
                data(1, "ok"),
                headers(1, &[("x-one", "1")])
                    .end()
                    .without(flag::END_HEADERS),
                continuation(1, hpack::encode(&[("x-two", "2")])),
            ]),
        )
        .fine("200 trailer x-one=1 trailer x-two=2 \"ok\""),
        case(
            "RFC 9113 §8.3: a path in a response, in a second frame",
            answering([
                headers(1, &[(":status", "200")])
                    .end()
                    .without(flag::END_HEADERS),
                continuation(1, hpack::encode(&[(":path", "/")])),
            ]),
        )
        .fine(BROKEN_HEAD_BEGUN),
        case(
            "RFC 9113 §8.3: a path in a response, behind padding in a third frame",
            answering([
                headers(1, &[(":status", "200")])
                    .end()
                    .padded(7)
                    .without(flag::END_HEADERS),
                continuation(1, "").without(flag::END_HEADERS),
                continuation(1, hpack::encode(&[(":path", "/")])),
            ]),
        )
        .fine(BROKEN_HEAD_BEGUN),
        case(
            "RFC 9113 §8.1: a status in trailers, in a second frame",
            answering([
                ok(1),
                data(1, "body"),
                headers(1, &[]).end().without(flag::END_HEADERS),
                continuation(1, hpack::encode(&[(":status", "200")])),
            ]),
        )
        .fine(BROKEN_BODY),
        torn("RFC 9113 §6.10: DATA among the fields", data(1, "x")),
        torn(
            "RFC 9113 §6.10: HEADERS of another stream among the fields",
            ok(3),
        ),
        torn("RFC 9113 §6.10: PING among the fields", ping([0; 8])),
        torn(
            "RFC 9113 §6.10: SETTINGS among the fields",
            frames::settings(&[]),
        ),
        torn(
            "RFC 9113 §6.10: WINDOW_UPDATE among the fields",
            window_update(0, 1),
        ),
        torn("RFC 9113 §6.10: RST_STREAM among the fields", reset(1, 0)),
        torn(
            "RFC 9113 §5.5: a frame of no known type among the fields",
            Frame::new(0xbe, 0, 1, ""),
        ),
        torn(
            "RFC 9113 §6.10: the CONTINUATION of another stream",
            continuation(3, ""),
        ),
        fatal(
            "RFC 9113 §6.10: the CONTINUATION of nothing",
            continuation(1, block.clone()),
            code::PROTOCOL_ERROR,
        ),
        fatal(
            "RFC 9113 §6.10: CONTINUATION of the connection",
            continuation(0, ""),
            code::PROTOCOL_ERROR,
        ),
        case(
            "RFC 9113 §6.10: the CONTINUATION of what was whole",
            answering([ok(1), continuation(1, "")]),
        )
        .connection_error(code::PROTOCOL_ERROR, BROKEN_BODY),
        case(
            "RFC 9113 §6.10: the end among the fields",
            [Step::Request, say([begun()]), Step::Close],
        )
        .outcome(
            "ConnectionClosed in Head, sent Full, response not begun, connection new, attempts 1",
            "",
            Next::Elsewhere,
        ),
    ]);
}
