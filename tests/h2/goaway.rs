//! GOAWAY and PING.

use std::time::Duration;

use httpcore::Body;
use httpcore_tests::{
    h2_peer::{
        frames::{Frame, code, data, flag, goaway, kind, ok, ping, reset, window_update},
        script::{Next, Step, answering, case, play, say},
    },
    suite::{Client, Story},
};

use crate::told::BROKEN_HEAD;

const SOON: Duration = Duration::from_millis(100);
const ALL: u32 = (1 << 31) - 1;

/// A GET and another, at the same time.
fn two(client: Client) -> Story {
    Box::pin(async move {
        let (one, two) =
            httpcore_tests::h2_peer::both(client.get("/one"), client.get("/two")).await;
        format!("{one}; {two}")
    })
}

fn post(client: Client) -> Story {
    Box::pin(async move {
        let request = client.request("POST", "/case", Body::from("once"));
        client.send(request).await
    })
}

#[test]
fn streams_below_the_last_end_and_streams_above_go_elsewhere() {
    play(&[
        case(
            "RFC 9113 §6.8: a stream below the last one ends well",
            answering([goaway(1, 0), ok(1), data(1, "ok").end()]),
        )
        .outcome("200 \"ok\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: a GET above the last one is sent elsewhere",
            answering([goaway(0, 0)]),
        )
        .outcome("200 x-seen=2 \"/case\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: a POST above the last one is sent elsewhere",
            answering([goaway(0, 0)]),
        )
        .client(post)
        .outcome("200 x-seen=2 \"/case\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: one below and one above",
            [
                Step::Request,
                Step::Request,
                say([goaway(1, 0), ok(1), data(1, "first").end()]),
            ],
        )
        .client(two)
        .outcome("200 \"first\"; 200 x-seen=2 \"/two\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: first a warning, then the last stream",
            [
                Step::Request,
                say([goaway(ALL, 0)]),
                Step::Wait(SOON),
                say([goaway(1, 0), ok(1), data(1, "ok").end()]),
            ],
        )
        .outcome("200 \"ok\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: a warning, and then nothing is above",
            [
                Step::Request,
                say([goaway(ALL, 0)]),
                Step::Wait(SOON),
                say([goaway(0, 0)]),
            ],
        )
        .outcome("200 x-seen=2 \"/case\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: a second GOAWAY whose last stream is higher",
            answering([goaway(1, 0), goaway(3, 0), ok(1), data(1, "ok").end()]),
        )
        .outcome(BROKEN_HEAD, "GOAWAY PROTOCOL_ERROR", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: a last stream of the server's",
            answering([goaway(2, 0), ok(1), data(1, "ok").end()]),
        )
        .outcome("200 \"ok\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: closed after GOAWAY",
            [Step::Request, say([goaway(0, 0)]), Step::Close],
        )
        .outcome("200 x-seen=2 \"/case\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: GOAWAY instead of an answer to SETTINGS",
            [say([goaway(0, 0)]), Step::Close],
        )
        .once()
        .outcome("200 x-seen=2 \"/case\"", "", Next::Elsewhere),
    ]);
}

#[test]
fn goaway_with_an_error() {
    play(&[
        case(
            "RFC 9113 §6.8: an error, and the stream was not looked at",
            [
                Step::Request,
                say([goaway(0, code::ENHANCE_YOUR_CALM)]),
                Step::Close,
            ],
        )
        .outcome("200 x-seen=2 \"/case\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: an error, and the stream may have been looked at",
            [
                Step::Request,
                say([goaway(1, code::INTERNAL_ERROR)]),
                Step::Close,
            ],
        )
        .outcome(
            "ConnectionClosed in Head, sent Full, response not begun, connection new, attempts 1",
            "",
            Next::Elsewhere,
        ),
        case(
            "RFC 9113 §6.8: an error in the middle of the body",
            [
                Step::Request,
                say([ok(1), data(1, "some"), goaway(1, code::PROTOCOL_ERROR)]),
                Step::Close,
            ],
        )
        .outcome(
            "200 then ConnectionClosed in Body, sent Full, response begun, connection new, attempts 1",
            "",
            Next::Elsewhere,
        ),
        case(
            "RFC 9113 §6.8: an error for a POST that may have been looked at",
            [
                Step::Request,
                Step::End(1),
                say([goaway(1, code::INTERNAL_ERROR)]),
                Step::Close,
            ],
        )
        .client(post)
        .outcome(
            "ConnectionClosed in Head, sent Full, response not begun, connection new, attempts 1",
            "",
            Next::Elsewhere,
        ),
    ]);
}

#[test]
fn goaway_between_requests() {
    play(&[
        case(
            "RFC 9113 §6.8: GOAWAY while idle",
            answering([ok(1).end(), goaway(1, 0)]),
        )
        .outcome("200 \"\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: GOAWAY with an error while idle",
            answering([ok(1).end(), goaway(1, code::ENHANCE_YOUR_CALM)]),
        )
        .outcome("200 \"\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §5.4.1: closed while idle, without GOAWAY",
            [Step::Request, say([ok(1).end()]), Step::Close],
        )
        .outcome("200 \"\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §5.4.1: reset while idle",
            [Step::Request, say([ok(1).end()]), Step::Reset],
        )
        .once()
        .outcome("200 \"\"", "", Next::Elsewhere),
        case(
            "RFC 9113 §6.8: GOAWAY crosses the second request",
            [
                Step::Request,
                say([ok(1).end()]),
                Step::Request,
                say([goaway(1, 0)]),
            ],
        )
        .client(|client| {
            Box::pin(async move { format!("{}; {}", client.get("/one").await, post(client).await) })
        })
        .outcome("200 \"\"; 200 x-seen=2 \"/case\"", "", Next::Elsewhere),
    ]);
}

#[test]
fn pings() {
    let pong = |payload: &'static [u8; 8]| Frame::new(kind::PING, flag::ACK, 0, &payload[..]);
    play(&[
        case(
            "RFC 9113 §6.7: a PING is answered with its payload",
            [
                say([ping(*b"whatever")]),
                Step::Pong,
                Step::Request,
                say([ok(1).end()]),
            ],
        )
        .fine("200 \"\"")
        .check(|record| {
            let pings = record.of(kind::PING);
            let pong = pings.iter().find(|ping| ping.frame.has(flag::ACK)).unwrap();
            assert_eq!(pong.frame.payload, &b"whatever"[..]);
        }),
        case(
            "RFC 9113 §6.7: PINGs between requests are answered",
            [
                Step::Request,
                say([ok(1).end()]),
                Step::Repeat(20, vec![say([ping([7; 8])]), Step::Pong]),
            ],
        )
        .fine("200 \"\"")
        .check(|record| assert_eq!(record.acks(kind::PING), 20)),
        case(
            "RFC 9113 §6.7: an answer to no PING",
            answering([pong(b"whatever"), ok(1).end()]),
        )
        .fine("200 \"\""),
        case(
            "RFC 9113 §6.7: many answers to no PING",
            answering({
                let mut frames = vec![pong(b"whatever"); 5000];
                frames.push(ok(1).end());
                frames
            }),
        )
        .fine("200 \"\""),
        case(
            "RFC 9113 §6.9: what is said between requests changes nothing",
            [
                Step::Request,
                say([ok(1).end(), window_update(0, 5), reset(1, 0), ping([1; 8])]),
                Step::Pong,
            ],
        )
        .fine("200 \"\""),
    ]);
}
