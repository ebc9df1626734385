//! What the end of a stream, or of the connection, does to the other streams.

use httpcore::Body;
use httpcore_tests::{
    h2_peer::{
        both,
        frames::{code, data, goaway, headers, ok, reset},
        script::{Next, Step, case, play, say},
    },
    suite::{Client, Story},
};

/// A GET that is answered, and then a GET and another request at the same time.
fn two(client: Client, method: &'static str) -> Story {
    Box::pin(async move {
        // The peer has said by then how many it admits.
        client.get("/first").await;
        let other = client.request(method, "/two", Body::empty());
        let (one, two) = both(client.get("/one"), client.send(other)).await;
        format!("{one}; {two}")
    })
}

fn gets(client: Client) -> Story {
    two(client, "GET")
}

fn get_and_post(client: Client) -> Story {
    two(client, "POST")
}

fn with(frames: impl IntoIterator<Item = httpcore_tests::h2_peer::frames::Frame>) -> Vec<Step> {
    let frames: Vec<_> = frames.into_iter().collect();
    vec![
        Step::Request,
        say([ok(1).end()]),
        Step::Request,
        Step::Request,
        say(frames),
    ]
}

#[test]
fn what_ends_one_stream_is_nothing_to_another() {
    let fine = || [ok(5), data(5, "fine").end()];
    play(&[
        case(
            "RFC 9113 §5.4.2: one response is malformed, another is not",
            with(
                [headers(3, &[("x-no", "status")])]
                    .into_iter()
                    .chain(fine()),
            ),
        )
        .client(gets)
        .outcome(
            "Protocol in Head, sent Full, response not begun, connection reused, attempts 1; \
             200 \"fine\"",
            "RST_STREAM 3 PROTOCOL_ERROR",
            Next::Here,
        ),
        case(
            "RFC 9113 §6.4: one stream is reset, another is not",
            with(
                [ok(3), data(3, "so"), reset(3, code::INTERNAL_ERROR)]
                    .into_iter()
                    .chain(fine()),
            ),
        )
        .client(gets)
        .fine(
            "200 then Protocol in Body, sent Full, response begun, connection reused, attempts 1; \
             200 \"fine\"",
        ),
        case(
            "RFC 9113 §5: two bodies, piece by piece in turn",
            with([
                ok(5),
                ok(3),
                data(3, "o"),
                data(5, "t"),
                data(3, "n"),
                data(5, "wo").end(),
                data(3, "e").end(),
            ]),
        )
        .client(gets)
        .fine("200 \"one\"; 200 \"two\""),
    ]);
}

#[test]
fn what_ends_the_connection_ends_all_streams() {
    let broken = "Protocol in Head, sent Full, response not begun, connection reused, attempts 1";
    play(&[
        case(
            "RFC 9113 §5.4.1: the connection is broken",
            with([data(0, "x")]),
        )
        .client(gets)
        .connection_error(code::PROTOCOL_ERROR, &format!("{broken}; {broken}")),
        case(
            "RFC 9113 §5.4.1: a POST is not sent again when the connection is broken",
            with([data(0, "x")]),
        )
        .client(get_and_post)
        .connection_error(code::PROTOCOL_ERROR, &format!("{broken}; {broken}")),
        case(
            "RFC 9110 §9.2.2: of those whose connection was closed, a GET is sent again",
            {
                let mut steps = with([]);
                steps.push(Step::Close);
                steps
            },
        )
        .client(get_and_post)
        .outcome(
            "200 x-seen=2 \"/one\"; \
             ConnectionClosed in Head, sent Full, response not begun, connection reused, attempts 1",
            "",
            Next::Elsewhere,
        ),
        case("RFC 9110 §9.2.2: nor is one whose response has begun", {
            let mut steps = with([ok(3), data(3, "so")]);
            steps.push(Step::Close);
            steps
        })
        .client(gets)
        .outcome(
            "200 then ConnectionClosed in Body, sent Full, response begun, connection reused, attempts 1; \
             200 x-seen=2 \"/two\"",
            "",
            Next::Elsewhere,
        ),
        case(
            "RFC 9113 §6.8: one is below the last stream and one is above",
            with([goaway(3, 0), ok(3), data(3, "fine").end()]),
        )
        .client(get_and_post)
        .outcome("200 \"fine\"; 200 x-seen=2 \"/two\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: an error, and one is above the last stream",
            {
                let mut steps = with([goaway(3, code::INTERNAL_ERROR)]);
                steps.push(Step::Close);
                steps
            },
        )
        .client(get_and_post)
        .outcome(
            "200 x-seen=2 \"/one\"; 200 x-seen=2 \"/two\"",
            "",
            Next::Elsewhere,
        ),
    ]);
}
