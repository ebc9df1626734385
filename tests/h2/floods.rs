//! Floods: what costs the sender little and the receiver much. Bounded in memory, whether the peer
//! reads our answers or not, and ended by a clear error.

use httpcore_tests::{
    h2_peer::{
        frames::{
            Frame, code, continuation, data, flag, headers, kind, ok, ping, reset, settings,
            window_update,
        },
        script::{Case, Next, Step, answering, case, play, say},
    },
    suite::{Client, Story, tell_error},
};

use crate::told::{BROKEN_BODY, BROKEN_HEAD, NO_ANSWER};

/// How many bytes the client may take in from one who does not read: what fills the buffers of both
/// directions, and a little more.
const TAKEN: u64 = 1 << 20;

/// The stream was reset before its response.
const RESET: &str = BROKEN_HEAD;

/// Frames without an end, from a peer that never reads again.
fn deaf(name: &'static str, frames: &[Frame]) -> Case {
    let mut steps = vec![Step::Request];
    // Far more than buffers hold, in pieces.
    steps.extend((0..500).map(|_| say(frames)));
    steps.push(Step::Stall);
    case(name, steps).cut()
}

#[test]
fn a_peer_that_floods_and_does_not_read() {
    let stuck = "Timeout(ResponseHead) in Head, sent Full, response not begun, connection reused, attempts 1";
    let many = |frame: Frame| vec![frame; 1000];
    fn is_bounded(record: &httpcore_tests::h2_peer::record::Record) {
        let taken = record.bytes_sent();
        assert!(taken < TAKEN, "{taken} bytes were taken in");
    }
    play(&[
        deaf(
            "RFC 9113 §10.5: PINGs, and nobody reads the answers",
            &many(ping([0; 8])),
        )
        .outcome(NO_ANSWER, "", Next::Says(stuck))
        .check(is_bounded),
        deaf(
            "RFC 9113 §10.5: SETTINGS, and nobody reads the acknowledgements",
            &many(settings(&[])),
        )
        .outcome(NO_ANSWER, "", Next::Says(stuck))
        .check(is_bounded),
        deaf(
            "RFC 9113 §10.5: frames on a stream that is over, and nobody reads what they are told",
            &{
                let mut frames = vec![ok(1).end()];
                frames.extend(vec![data(1, ""); 1000]);
                frames
            },
        )
        .outcome(
            "200 \"\"",
            "RST_STREAM 1 STREAM_CLOSED; GOAWAY ENHANCE_YOUR_CALM",
            Next::Elsewhere,
        )
        .check(is_bounded),
    ]);
}

#[test]
fn a_peer_that_floods_and_reads() {
    let thousand = |frame: Frame| say(vec![frame; 1000]);
    let with = |name, step: Step| {
        case(
            name,
            [
                Step::Request,
                Step::Repeat(100, vec![step]),
                say([ok(1), data(1, "ok").end()]),
            ],
        )
    };
    play(&[
        with(
            "RFC 9113 §10.5: 100,000 WINDOW_UPDATEs",
            thousand(window_update(0, 1)),
        )
        .fine("200 \"ok\""),
        with(
            "RFC 9113 §10.5: 100,000 PRIORITYs",
            thousand(Frame::new(kind::PRIORITY, 0, 7, vec![0; 5])),
        )
        .cut()
        .outcome(BROKEN_HEAD, "", Next::Elsewhere),
        with(
            "RFC 9113 §10.5: 100,000 frames that nobody knows",
            thousand(Frame::new(0xbe, 0, 0, "x")),
        )
        .cut()
        .outcome(BROKEN_HEAD, "", Next::Elsewhere),
        case(
            "RFC 9113 §10.5: 20,000 PINGs, answered each",
            [
                Step::Request,
                Step::Repeat(
                    20,
                    vec![thousand(ping([0; 8])), Step::Repeat(1000, vec![Step::Pong])],
                ),
                say([ok(1), data(1, "ok").end()]),
            ],
        )
        .fine("200 \"ok\"")
        .check(|record| assert_eq!(record.acks(kind::PING), 20_000)),
        case(
            "RFC 9113 §10.5: 2,000 SETTINGS, acknowledged each",
            [
                Step::Request,
                Step::Repeat(
                    2000,
                    vec![say([settings(&[])]), Step::Frame(kind::SETTINGS)],
                ),
                say([ok(1), data(1, "ok").end()]),
            ],
        )
        .fine("200 \"ok\""),
        with(
            "RFC 9113 §10.5: 100,000 resets of a stream that is closed",
            thousand(reset(1, code::CANCEL)),
        )
        .cut()
        .outcome(RESET, "", Next::Elsewhere),
    ]);
}

/// Asks, and reads nothing for ten minutes.
fn never_read(client: Client) -> Story {
    Box::pin(async move {
        let request = client.request("GET", "/case", httpcore::Body::empty());
        match client.pool.request(request).await {
            Ok(response) => {
                let runtime = client.runtime();
                let later = runtime.now() + std::time::Duration::from_secs(600);
                httpcore::backend::sleep_until(&runtime, later).await;
                httpcore_tests::suite::tell(response).await
            }
            Err(error) => tell_error(&error),
        }
    })
}

#[test]
fn a_peer_that_sends_without_end_to_one_stream() {
    let endless_block = |size: usize, count: usize| {
        let mut frames = vec![headers(1, &[(":status", "200")]).without(flag::END_HEADERS)];
        frames.extend(vec![
            continuation(1, vec![0x00; size])
                .without(flag::END_HEADERS);
            count
        ]);
        frames
    };
    play(&[
        case(
            "RFC 9113 §10.5: CONTINUATIONs of nothing",
            answering(endless_block(0, 10_000)),
        )
        .cut()
        .connection_error(code::ENHANCE_YOUR_CALM, BROKEN_HEAD),
        case(
            "RFC 9113 §10.5.1: CONTINUATIONs without an end",
            answering({
                let piece = httpcore_tests::h2_peer::hpack::encode(&[("x", &"y".repeat(1000)[..])]);
                let mut frames = vec![headers(1, &[(":status", "200")]).without(flag::END_HEADERS)];
                frames.extend(vec![
                    continuation(1, piece).without(flag::END_HEADERS);
                    10_000
                ]);
                frames
            }),
        )
        .cut()
        .connection_error(code::ENHANCE_YOUR_CALM, BROKEN_HEAD)
        .check(|record| assert!(record.bytes_sent() < 1 << 20, "{}", record.bytes_sent())),
        case("RFC 9113 §10.5: empty DATA that nobody reads", {
            let mut steps = answering([ok(1)]);
            steps.push(Step::Repeat(1000, vec![say(vec![data(1, ""); 1000])]));
            steps.push(say([data(1, "").end()]));
            steps
        })
        .client(never_read)
        .cut()
        .connection_error(code::ENHANCE_YOUR_CALM, BROKEN_BODY)
        .check(|record| assert!(record.bytes_sent() < 1 << 20, "{}", record.bytes_sent())),
        case("RFC 9113 §10.5: DATA of one byte that nobody reads", {
            let mut steps = answering([ok(1)]);
            steps.push(Step::Repeat(1000, vec![say(vec![data(1, "x"); 1000])]));
            steps.push(say([data(1, "").end()]));
            steps
        })
        .client(never_read)
        .cut()
        .connection_error(code::ENHANCE_YOUR_CALM, BROKEN_BODY)
        .check(|record| assert!(record.bytes_sent() < 1 << 20, "{}", record.bytes_sent())),
    ]);
}
