//! Flow control: windows that overflow, that are exceeded, that never open, and that are whole again.

use std::time::Duration;

use httpcore_tests::{
    h2_peer::{
        frames::{Frame, code, data, headers, kind, ok, reset, setting, window_update},
        record::Record,
        script::{Case, Next, Step, answering, case, play, say},
    },
    suite::{Client, Story, tell},
};

use crate::told::{BROKEN_BODY, BROKEN_HEAD};

const MOST: u32 = (1 << 31) - 1;
const SOON: Duration = Duration::from_millis(100);

fn post(client: Client) -> Story {
    Box::pin(async move {
        let request = client.request("POST", "/case", vec![b'x'; 100_000]);
        client.send(request).await
    })
}

/// So many bytes of DATA, in frames of 16 KiB, the last of which ends the stream.
fn body(stream: u32, size: usize) -> Vec<Frame> {
    let mut left = size;
    let mut frames = Vec::new();
    while left > 0 {
        let now = left.min(16_384);
        left -= now;
        frames.push(data(stream, vec![b'x'; now]));
    }
    let last = frames.pop().map(Frame::end);
    frames.extend(last);
    frames
}

#[test]
fn windows_of_the_server() {
    play(&[
        case(
            "RFC 9113 §6.9: a window of the connection opened by nothing",
            answering([window_update(0, 0)]),
        )
        .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD),
        case(
            "RFC 9113 §6.9: a window of a stream opened by nothing",
            answering([window_update(1, 0)]),
        )
        .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD)
        .deviates(),
        case(
            "RFC 9113 §6.9.1: the connection's window opened too far",
            answering([window_update(0, MOST)]),
        )
        .connection_error(code::FLOW_CONTROL_ERROR, BROKEN_HEAD),
        case(
            "RFC 9113 §6.9.1: the connection's window opened too far in two steps",
            answering([window_update(0, MOST - 65_535), window_update(0, 1)]),
        )
        .connection_error(code::FLOW_CONTROL_ERROR, BROKEN_HEAD),
        case(
            "RFC 9113 §6.9.1: a stream's window opened too far",
            [
                Step::Request,
                say([window_update(1, MOST), window_update(1, MOST)]),
            ],
        )
        .client(post)
        .stream_error(
            code::FLOW_CONTROL_ERROR,
            "Protocol in Send, sent Partial, response not begun, connection new, attempts 1",
        ),
        case(
            "RFC 9113 §6.9: the reserved bit of WINDOW_UPDATE",
            answering([window_update(0, 1 | 1 << 31), ok(1).end()]),
        )
        .fine("200 \"\""),
        case(
            "RFC 9113 §6.9.1: a window of 2^31-1",
            answering([
                window_update(0, MOST - 65_535),
                window_update(1, MOST - 65_535),
                ok(1).end(),
            ]),
        )
        .fine("200 \"\""),
    ]);
}

#[test]
fn uploads_wait_for_both_windows() {
    fn is_whole(record: &Record) {
        assert_eq!(record.body(1), vec![b'x'; 100_000]);
    }
    play(&[
        case(
            "RFC 9113 §6.9: a stream's window, opened byte by byte at first",
            [
                Step::Request,
                say([window_update(0, 1 << 20), window_update(1, 1)]),
                Step::Frame(kind::DATA),
                say([window_update(1, 1)]),
                Step::Frame(kind::DATA),
                say([window_update(1, 99_998)]),
                Step::End(1),
                say([ok(1).end()]),
            ],
        )
        .settings(&[(setting::INITIAL_WINDOW_SIZE, 0)])
        .client(post)
        .fine("200 \"\"")
        .check(is_whole),
        case(
            "RFC 9113 §6.9: the connection's window is exhausted first",
            [
                Step::Request,
                Step::Wait(SOON),
                Step::Wait(SOON),
                Step::End(1),
                say([ok(1).end()]),
            ],
        )
        .settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)])
        .client(post)
        .fine("200 \"\"")
        .check(is_whole),
        case(
            "RFC 9113 §6.9: a window that never opens",
            [Step::Request, Step::Frame(kind::RST_STREAM)],
        )
        .settings(&[(setting::INITIAL_WINDOW_SIZE, 0)])
        .client(post)
        .stream_error(
            code::CANCEL,
            "Timeout(Write) in Send, sent Partial, response not begun, connection new, attempts 1",
        ),
        case(
            "RFC 9113 §6.9.1: an empty body needs no window",
            [Step::Request, Step::End(1), say([ok(1).end()])],
        )
        .settings(&[(setting::INITIAL_WINDOW_SIZE, 0)])
        .client(|client| {
            Box::pin(async move {
                let request = client.request("POST", "/case", httpcore::Body::empty());
                client.send(request).await
            })
        })
        .fine("200 \"\""),
        case(
            "RFC 9113 §5.2: an upload that is given up leaves the connection's window to others",
            [
                Step::Request,
                Step::Frame(kind::RST_STREAM),
                Step::Request,
                // Bytes may come so late that the first has filled the connection's.
                say([window_update(0, 50_000), window_update(3, 50_000)]),
                Step::End(3),
                say([ok(3).end()]),
            ],
        )
        .settings(&[(setting::INITIAL_WINDOW_SIZE, 0)])
        .client(|client| {
            Box::pin(async move {
                let one = post(client.clone()).await;
                let request = client.request("POST", "/case", vec![b'x'; 50_000]);
                format!("{one}; {}", client.send(request).await)
            })
        })
        .stream_error(
            code::CANCEL,
            "Timeout(Write) in Send, sent Partial, response not begun, connection new, attempts 1; \
             200 \"\"",
        ),
    ]);
}

#[test]
fn neither_direction_waits_for_the_other() {
    play(&[
        case(
            "RFC 9113 §8.1: a response that is read while the request goes on",
            [
                Step::Request,
                say([ok(1), data(1, "early ")]),
                Step::Wait(SOON),
                say([data(1, "and ")]),
                Step::Wait(SOON),
                Step::End(1),
                say([data(1, "late").end()]),
            ],
        )
        .settings(&[(setting::INITIAL_WINDOW_SIZE, 1000)])
        .client(post)
        .fine("200 \"early and late\"")
        .check(|record| assert_eq!(record.body(1).len(), 100_000)),
        case(
            "RFC 9113 §5.2: an upload that waits for the connection's window is in nobody's way",
            [
                Step::Request,
                Step::Request,
                say([ok(3), data(3, "passed").end()]),
                Step::Wait(SOON),
                say([window_update(0, 1 << 20)]),
                Step::End(1),
                say([ok(1), data(1, "in the end").end()]),
            ],
        )
        .settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)])
        .client(|client| {
            Box::pin(async move {
                let upload = post(client.clone());
                let later = async {
                    let runtime = client.runtime();
                    let soon = runtime.now() + SOON / 2;
                    httpcore::backend::sleep_until(&runtime, soon).await;
                    client.get("/case").await
                };
                let (one, two) = httpcore_tests::h2_peer::both(upload, later).await;
                format!("{one}; {two}")
            })
        })
        .fine("200 \"in the end\"; 200 \"passed\""),
        case(
            "RFC 9113 §5.4.2: a body that drips ends with the whole time limit",
            {
                let mut steps = answering([ok(1)]);
                for _ in 0..9 {
                    steps.push(say([data(1, "x")]));
                    steps.push(Step::Wait(Duration::from_secs(1)));
                }
                steps
            },
        )
        .client(|client| {
            Box::pin(async move {
                let limits = httpcore::Timeouts::none().with_total(Duration::from_millis(4500));
                client.get_within("/case", limits).await
            })
        })
        .stream_error(
            code::CANCEL,
            "200 then Timeout(Total) in Body, sent Full, response begun, connection new, attempts 1",
        ),
    ]);
}

/// Asks, waits a while without reading, and then reads to the end.
fn read_late(client: Client) -> Story {
    Box::pin(async move {
        let request = client.request("GET", "/case", httpcore::Body::empty());
        match client.pool.request(request).await {
            Ok(response) => {
                let runtime = client.runtime();
                httpcore::backend::sleep_until(&runtime, runtime.now() + SOON).await;
                tell(response).await
            }
            Err(error) => httpcore_tests::suite::tell_error(&error),
        }
    })
}

#[test]
fn windows_of_the_client() {
    let too_much = |name, client: fn(Client) -> Story| {
        let mut frames = vec![ok(1)];
        frames.extend(body(1, 70_000));
        case(name, answering(frames))
            .client(client)
            .pool(|builder| {
                let mut config = httpcore::config::Http2Config::default();
                config.stream_window = 65_535;
                config.max_buffered_per_connection = 3 * 65_535;
                builder.configure_http2(|http2| *http2 = config)
            })
    };
    let after_cancel: Case = case(
        "RFC 9113 §6.9: DATA for a stream that was given up counts, and is given back",
        {
            let mut steps = answering([ok(1), data(1, vec![0; 10_000])]);
            steps.push(Step::Frame(kind::RST_STREAM));
            steps.extend((0..200).map(|_| say([data(1, vec![0; 16_000])])));
            steps
        },
    )
    .client(|client| {
        Box::pin(async move {
            let request = client.request("GET", "/case", httpcore::Body::empty());
            match client.pool.request(request).await {
                Ok(response) => {
                    drop(response);
                    "given up".to_owned()
                }
                Err(error) => httpcore_tests::suite::tell_error(&error),
            }
        })
    })
    .pool(five_mebibytes)
    .outcome("given up", "RST_STREAM 1 CANCEL", Next::Here)
    .check(|record| {
        let (received, credit) = (3_210_000, record.credit(0) - RAISED);
        // What has not been given back is less than half of the window.
        assert!(received - credit < 5 << 19, "{credit}");
    });
    play(&[
        too_much(
            "RFC 9113 §6.9.1: more DATA than the window of one who does not read",
            read_late,
        )
        .stream_error(
            code::FLOW_CONTROL_ERROR,
            "200 then Protocol in Body, sent Full, response begun, connection new, attempts 1",
        ),
        after_cancel,
        case("RFC 9113 §6.9.1: padding is given back", {
            let mut frames = vec![ok(1)];
            // 3 MiB of it, with a stream's window of 2.
            frames.extend(vec![data(1, "x").padded(255); 12_000]);
            frames.push(data(1, "").end());
            answering(frames)
        })
        .fine("200 12000 bytes"),
        case(
            "RFC 9113 §6.9: DATA behind the end of a response that was reset is given back",
            {
                let mut steps = answering([headers(1, &[("x-no", "status")])]);
                steps.push(Step::Frame(kind::RST_STREAM));
                steps.extend((0..400).map(|_| say([data(1, vec![0; 16_000])])));
                steps.push(say([reset(1, code::NO_ERROR)]));
                steps
            },
        )
        .pool(five_mebibytes)
        .stream_error(code::PROTOCOL_ERROR, BROKEN_HEAD)
        .check(|record| {
            let (received, credit) = (6_400_000, record.credit(0) - RAISED);
            assert!(received - credit < 5 << 19, "{credit}");
        }),
        case("RFC 9113 §6.9: an answer of 6 MiB, read as it comes", {
            let mut steps = answering([ok(1)]);
            for frame in body(1, 6 << 20) {
                steps.push(say([frame]));
            }
            steps
        })
        .fine(&format!("200 {} bytes", 6 << 20)),
        case(
            "RFC 9113 §6.1: DATA behind the end",
            answering([ok(1), data(1, "ok").padded_with(9, b"")]),
        )
        .connection_error(code::PROTOCOL_ERROR, BROKEN_BODY),
    ]);
}

fn five_mebibytes(builder: httpcore::ConnectionPoolBuilder) -> httpcore::ConnectionPoolBuilder {
    let mut config = httpcore::config::Http2Config::default();
    config.max_buffered_per_connection = 5 << 20;
    builder.configure_http2(|http2| *http2 = config)
}

/// By how much the client opens the connection's window at the beginning: to 5 MiB.
const RAISED: u64 = (5 << 20) - 65_535;
