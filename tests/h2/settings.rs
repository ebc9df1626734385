//! The preface and SETTINGS.

use std::time::Duration;

use httpcore_tests::h2_peer::{
    frames::{self, Frame, code, data, flag, headers, kind, ok, setting, settings, window_update},
    script::{Next, Step, answering, case, play, say},
};

use crate::told::{BROKEN_HEAD, NO_ANSWER, SENT_ELSEWHERE};

const SOON: Duration = Duration::from_millis(100);

#[test]
fn what_begins_a_connection() {
    play(&[
        case(
            "RFC 9113 §3.4: a server that answers before its SETTINGS",
            answering([ok(1).end()]),
        )
        .without_settings()
        .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD),
        case(
            "RFC 9113 §3.4: a server that speaks HTTP/1.1",
            [Step::Bytes(
                "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".into(),
            )],
        )
        .without_settings()
        .once()
        .connection_error(code::FRAME_SIZE_ERROR, SENT_ELSEWHERE),
        case("RFC 9113 §3.4: a server that closes at once", [Step::Close])
            .without_settings()
            .outcome(SENT_ELSEWHERE, "", Next::Elsewhere),
        case("RFC 9113 §3.4: SETTINGS may come long after the request", {
            let mut steps = vec![Step::Request, Step::Wait(SOON), say([settings(&[])])];
            steps.push(say([ok(1).end()]));
            steps
        })
        .without_settings()
        .fine("200 \"\""),
        case(
            "RFC 9113 §3.4: an acknowledgement instead of SETTINGS",
            [say([frames::settings_ack()])],
        )
        .without_settings()
        .once()
        .connection_error(code::PROTOCOL_ERROR, SENT_ELSEWHERE),
        case(
            "RFC 9113 §3.4: a server that never says anything",
            [Step::Stall],
        )
        .without_settings()
        // The connection is suspect from then on.
        .outcome(NO_ANSWER, "", Next::Elsewhere),
    ]);
}

#[test]
fn values_and_forms_of_settings() {
    let wrong = |name, frame: Frame, error| // It comes before the request is sent, which is then sent over another connection.
        case(name, [say([frame])])
            .once()
            .connection_error(error, SENT_ELSEWHERE);
    let right = |name, values: &[(u16, u32)]| {
        case(name, answering([ok(1), data(1, "hello").end()]))
            .settings(values)
            .fine("200 \"hello\"")
    };
    let one = |id, value| settings(&[(id, value)]);
    play(&[
        wrong(
            "RFC 9113 §6.5: SETTINGS of a stream",
            Frame::new(kind::SETTINGS, 0, 1, ""),
            code::PROTOCOL_ERROR,
        ),
        wrong(
            "RFC 9113 §6.5: SETTINGS with a piece of a value",
            Frame::new(kind::SETTINGS, 0, 0, &b"\0\x04\0\0\0"[..]),
            code::PROTOCOL_ERROR,
        )
        .deviates(),
        wrong(
            "RFC 9113 §6.5: an acknowledgement with values",
            one(setting::MAX_FRAME_SIZE, 16_384).with(flag::ACK),
            code::PROTOCOL_ERROR,
        )
        .deviates(),
        case(
            "RFC 9113 §6.5.3: an acknowledgement too many",
            [say([frames::settings_ack()])],
        )
        .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD),
        case("RFC 9113 §6.5.2: a server that enables push", [])
            .settings(&[(setting::MAX_FRAME_SIZE, 20_000), (setting::ENABLE_PUSH, 1)])
            .once()
            .connection_error(code::PROTOCOL_ERROR, SENT_ELSEWHERE),
        case(
            "RFC 9113 §6.5.2: a server that enables push later",
            answering([one(setting::ENABLE_PUSH, 1), ok(1), data(1, "ok").end()]),
        )
        .connection_error(code::PROTOCOL_ERROR, BROKEN_HEAD),
        wrong(
            "RFC 9113 §6.5.2: ENABLE_PUSH of 2",
            one(setting::ENABLE_PUSH, 2),
            code::PROTOCOL_ERROR,
        ),
        wrong(
            "RFC 9113 §6.5.2: an initial window of 2^31",
            one(setting::INITIAL_WINDOW_SIZE, 1 << 31),
            code::PROTOCOL_ERROR,
        )
        .deviates(),
        wrong(
            "RFC 9113 §6.5.2: frames of 16383",
            one(setting::MAX_FRAME_SIZE, 16_383),
            code::PROTOCOL_ERROR,
        ),
        wrong(
            "RFC 9113 §6.5.2: frames of 2^24",
            one(setting::MAX_FRAME_SIZE, 1 << 24),
            code::PROTOCOL_ERROR,
        ),
        wrong(
            "RFC 8441 §3: ENABLE_CONNECT_PROTOCOL of 2",
            one(setting::ENABLE_CONNECT_PROTOCOL, 2),
            code::PROTOCOL_ERROR,
        ),
        right(
            "RFC 9113 §6.5.2: ENABLE_PUSH of 0",
            &[(setting::ENABLE_PUSH, 0)],
        ),
        right(
            "RFC 9113 §6.5.2: frames of 2^24-1",
            &[(setting::MAX_FRAME_SIZE, (1 << 24) - 1)],
        ),
        right(
            "RFC 9113 §6.5.2: a window of 2^31-1",
            &[(setting::INITIAL_WINDOW_SIZE, (1 << 31) - 1)],
        ),
        right(
            "RFC 9113 §6.5.2: settings nobody knows",
            &[(0x9, 7), (0xf0f0, u32::MAX)],
        ),
        right(
            "RFC 9113 §6.5.2: a table for fields of nothing",
            &[(setting::HEADER_TABLE_SIZE, 0)],
        ),
        right(
            "RFC 9113 §6.5.2: a table for fields of 4 GiB",
            &[(setting::HEADER_TABLE_SIZE, u32::MAX)],
        ),
        right(
            "RFC 9113 §6.5.2: a limit on lists of fields, which is advice",
            &[(setting::MAX_HEADER_LIST_SIZE, 1)],
        ),
        right(
            "RFC 9113 §6.5.3: values are taken in order",
            &[
                (setting::MAX_FRAME_SIZE, 20_000),
                (setting::MAX_FRAME_SIZE, 16_384),
            ],
        ),
        case(
            "RFC 9113 §6.5.3: each SETTINGS is acknowledged, idle or not",
            {
                let mut steps = vec![say([
                    settings(&[]),
                    settings(&[(setting::MAX_FRAME_SIZE, 20_000)]),
                ])];
                steps.extend(answering([ok(1).end(), settings(&[])]));
                steps
            },
        )
        .fine("200 \"\"")
        .check(|record| assert_eq!(record.acks(kind::SETTINGS), 4)),
        case(
            "RFC 9113 §4.1: the reserved bit means nothing",
            [
                say([Frame::new(kind::SETTINGS, 0, 1 << 31, "")]),
                Step::Request,
                say([
                    headers(1 | 1 << 31, &[(":status", "200")]),
                    data(1 | 1 << 31, "ok").end(),
                ]),
            ],
        )
        .fine("200 \"ok\""),
    ]);
}

#[test]
fn settings_that_change_under_a_request() {
    let post = |client: httpcore_tests::suite::Client| -> httpcore_tests::suite::Story {
        Box::pin(async move {
            let request = client.request("POST", "/case", vec![b'x'; 100_000]);
            client.send(request).await
        })
    };
    fn is_whole(record: &httpcore_tests::h2_peer::record::Record) {
        assert_eq!(record.body(1), vec![b'x'; 100_000]);
    }
    let window = |size| say([settings(&[(setting::INITIAL_WINDOW_SIZE, size)])]);
    play(&[
        case(
            "RFC 9113 §6.9.2: a window that becomes negative is waited for",
            [
                Step::Request,
                Step::Frame(kind::DATA),
                // What has been sent by then is more than the new window.
                window(10),
                Step::Frame(kind::SETTINGS),
                say([window_update(0, 1 << 20), window_update(1, 60_000)]),
                Step::Wait(SOON),
                say([window_update(1, 100_000)]),
                Step::End(1),
                say([ok(1).end()]),
            ],
        )
        .client(post)
        .fine("200 \"\"")
        .check(is_whole),
        case(
            "RFC 9113 §6.9.2: a window that is opened by SETTINGS alone",
            [
                Step::Request,
                say([window_update(0, 1 << 20)]),
                Step::Wait(SOON),
                window(200_000),
                Step::End(1),
                say([ok(1).end()]),
            ],
        )
        .settings(&[(setting::INITIAL_WINDOW_SIZE, 0)])
        .client(post)
        .fine("200 \"\"")
        .check(is_whole),
        case(
            "RFC 9113 §6.9.2: SETTINGS which make a window larger than 2^31-1",
            [
                Step::Request,
                say([window_update(1, (1 << 31) - 1 - 65_535)]),
                window(300_000),
            ],
        )
        .client(post)
        .connection_error(
            code::FLOW_CONTROL_ERROR,
            "Protocol in Send, sent Partial, response not begun, connection new, attempts 1",
        ),
        case(
            "RFC 9113 §6.5.2: longer frames are allowed, and not longer than that",
            [
                say([window_update(0, 1 << 20)]),
                Step::Request,
                Step::End(1),
                say([ok(1).end()]),
            ],
        )
        .settings(&[
            (setting::INITIAL_WINDOW_SIZE, 1 << 20),
            (setting::MAX_FRAME_SIZE, 50_000),
        ])
        .client(post)
        .fine("200 \"\"")
        .check(is_whole),
        case(
            "RFC 9113 §4.3.1: fields after the table was made smaller",
            [
                Step::Request,
                say([ok(1).end()]),
                Step::Request,
                say([settings(&[(setting::HEADER_TABLE_SIZE, 0)]), ok(3).end()]),
            ],
        )
        .client(|client| {
            Box::pin(async move {
                let (one, two) = (client.get("/one").await, client.get("/two").await);
                format!("{one}, {two}")
            })
        })
        .fine("200 \"\", 200 \"\""),
    ]);
}
