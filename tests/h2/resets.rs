//! RST_STREAM, and connections that end.

use httpcore::Body;
use httpcore_tests::{
    h2_peer::{
        frames::{code, data, headers, kind, ok, reset},
        script::{Case, Next, Step, answering, case, play, say},
    },
    suite::{Client, Story},
};

fn post(client: Client) -> Story {
    Box::pin(async move {
        let request = client.request("POST", "/case", vec![b'x'; 200_000]);
        client.send(request).await
    })
}

#[test]
fn a_stream_reset_with_any_code_fails_alone() {
    let before_head =
        |name, error| case(name, answering([reset(1, error)])).fine(RESET_BEFORE_HEAD);
    let all: [(&'static str, u32); 13] = [
        ("RFC 9113 §7: NO_ERROR before the response", code::NO_ERROR),
        ("RFC 9113 §7: PROTOCOL_ERROR", code::PROTOCOL_ERROR),
        ("RFC 9113 §7: INTERNAL_ERROR", code::INTERNAL_ERROR),
        ("RFC 9113 §7: FLOW_CONTROL_ERROR", code::FLOW_CONTROL_ERROR),
        ("RFC 9113 §7: SETTINGS_TIMEOUT", code::SETTINGS_TIMEOUT),
        ("RFC 9113 §7: STREAM_CLOSED", code::STREAM_CLOSED),
        ("RFC 9113 §7: FRAME_SIZE_ERROR", code::FRAME_SIZE_ERROR),
        ("RFC 9113 §7: CANCEL", code::CANCEL),
        ("RFC 9113 §7: COMPRESSION_ERROR", code::COMPRESSION_ERROR),
        ("RFC 9113 §7: CONNECT_ERROR", code::CONNECT_ERROR),
        ("RFC 9113 §7: ENHANCE_YOUR_CALM", code::ENHANCE_YOUR_CALM),
        (
            "RFC 9113 §7: INADEQUATE_SECURITY",
            code::INADEQUATE_SECURITY,
        ),
        ("RFC 9113 §7: a code that nobody knows", 0xbad),
    ];
    let cases: Vec<Case> = all
        .into_iter()
        .map(|(name, error)| before_head(name, error))
        .collect();
    play(&cases);
}

const RESET_BEFORE_HEAD: &str =
    "Protocol in Head, sent Full, response not begun, connection new, attempts 1";
const UNPROCESSED: &str =
    "Protocol in Head, sent None, response not begun, connection new, attempts 1";
const CLOSED_BEFORE_HEAD: &str =
    "ConnectionClosed in Head, sent Full, response not begun, connection new, attempts 1";
const CLOSED_IN_BODY: &str =
    "200 then ConnectionClosed in Body, sent Full, response begun, connection new, attempts 1";
const RESET_IN_BODY: &str =
    "200 then Protocol in Body, sent Full, response begun, connection new, attempts 1";

#[test]
fn a_stream_that_was_refused_is_asked_for_again() {
    play(&[
        case(
            "RFC 9113 §8.7: a refused GET is sent again",
            [Step::Request, say([reset(1, code::REFUSED_STREAM)])],
        )
        .fine("200 x-seen=1 \"/case\""),
        case(
            "RFC 9113 §8.7: a refused POST is sent again",
            [Step::Request, say([reset(1, code::REFUSED_STREAM)])],
        )
        .client(post)
        .fine("200 x-seen=1 \"/case\""),
        case(
            "RFC 9113 §8.7: who is refused twice is answered the third time",
            [
                Step::Request,
                say([reset(1, code::REFUSED_STREAM)]),
                Step::Request,
                say([reset(3, code::REFUSED_STREAM)]),
            ],
        )
        .fine("200 x-seen=1 \"/case\""),
        case(
            "RFC 9113 §7: what needs HTTP/1.1 is not sent again where HTTP/2 is all there is",
            answering([reset(1, code::HTTP_1_1_REQUIRED)]),
        )
        .fine(UNPROCESSED),
    ]);
}

#[test]
fn a_body_cut_off_is_no_body() {
    let after_head = |name, error| {
        case(name, answering([ok(1), data(1, "some"), reset(1, error)])).fine(RESET_IN_BODY)
    };
    play(&[
        after_head(
            "RFC 9113 §8.1: NO_ERROR in the middle of the body",
            code::NO_ERROR,
        ),
        after_head(
            "RFC 9113 §8.1: CANCEL in the middle of the body",
            code::CANCEL,
        ),
        after_head(
            "RFC 9113 §8.1: REFUSED_STREAM in the middle of the body",
            code::REFUSED_STREAM,
        ),
        case(
            "RFC 9113 §8.1.1: all of the length that was said, and then RST_STREAM",
            answering([
                headers(1, &[(":status", "200"), ("content-length", "4")]),
                data(1, "some"),
                reset(1, code::INTERNAL_ERROR),
            ]),
        )
        .fine(RESET_IN_BODY),
        case(
            "RFC 9113 §5.1: the connection closed in the middle of the body",
            [Step::Request, say([ok(1), data(1, "some")]), Step::Close],
        )
        .outcome(CLOSED_IN_BODY, "", Next::Elsewhere),
        case(
            "RFC 9113 §5.1: the connection reset in the middle of the body",
            [Step::Request, say([ok(1), data(1, "some")]), Step::Reset],
        )
        .once()
        .outcome(
            "200 then Network in Body, sent Full, response begun, connection new, attempts 1",
            "",
            Next::Elsewhere,
        ),
        case(
            "RFC 9113 §4.1: the connection closed in the middle of a frame",
            [
                Step::Request,
                say([ok(1), data(1, "some").claiming(100)]),
                Step::Close,
            ],
        )
        .outcome(CLOSED_IN_BODY, "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: the connection closed after GOAWAY, in the middle of the body",
            [
                Step::Request,
                say([
                    ok(1),
                    data(1, "some"),
                    httpcore_tests::h2_peer::frames::goaway(1, 0),
                ]),
                Step::Close,
            ],
        )
        .outcome(CLOSED_IN_BODY, "", Next::Elsewhere),
    ]);
}

#[test]
fn an_early_response_stops_the_upload() {
    let early = [headers(1, &[(":status", "413"), ("content-length", "0")]).end()];
    play(&[
        case(
            "RFC 9113 §8.1: an early response and NO_ERROR",
            [
                Step::Request,
                say(early.clone()),
                say([reset(1, code::NO_ERROR)]),
            ],
        )
        .client(post)
        .once()
        .fine("413 \"\""),
        case(
            "RFC 9113 §8.1: an early response with a body and NO_ERROR",
            [
                Step::Request,
                say([
                    headers(1, &[(":status", "413")]),
                    data(1, "too much").end(),
                    reset(1, code::NO_ERROR),
                ]),
            ],
        )
        .client(post)
        .once()
        .fine("413 \"too much\""),
        case(
            "RFC 9113 §8.1: an early response alone",
            [Step::Request, say(early), Step::Frame(kind::RST_STREAM)],
        )
        .client(post)
        .outcome("413 \"\"", "RST_STREAM 1 CANCEL", Next::Here),
    ]);
}

#[test]
fn a_posted_request_that_is_reset_is_not_sent_again() {
    let small = |client: Client| -> Story {
        Box::pin(async move {
            let request = client.request("POST", "/case", Body::from("once"));
            client.send(request).await
        })
    };
    play(&[
        case(
            "RFC 9110 §9.2.2: a POST that was reset",
            [Step::Request, Step::End(1), say([reset(1, code::CANCEL)])],
        )
        .client(small)
        .fine(RESET_BEFORE_HEAD),
        case(
            "RFC 9110 §9.2.2: a POST whose connection was closed",
            [Step::Request, Step::End(1), Step::Close],
        )
        .client(small)
        .outcome(CLOSED_BEFORE_HEAD, "", Next::Elsewhere),
    ]);
}
