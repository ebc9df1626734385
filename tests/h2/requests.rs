//! What a request is on the wire.

use std::time::Duration;

use httpcore::{Body, Request};
use httpcore_tests::{
    h2_peer::{
        frames::{code, data, flag, headers, kind, ok},
        record::Record,
        script::{Case, Next, Step, case, play, say},
    },
    suite::{Client, Story},
};

/// The fields of the first request, one in a line.
fn head(record: &Record) -> String {
    let head = record.head(1).unwrap();
    let fields = head.fields.unwrap();
    let lines = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"));
    lines.collect()
}

fn send(client: Client, change: impl FnOnce(Request) -> Request + Send + 'static) -> Story {
    let request = change(client.request("GET", "/case", Body::empty()));
    Box::pin(async move { client.send(request).await })
}

/// A request with these fields besides.
fn with(client: Client, fields: &'static [(&'static str, &'static str)]) -> Story {
    send(client, move |mut request| {
        for (name, value) in fields {
            request
                .headers_mut()
                .append(*name, http::HeaderValue::from_static(value));
        }
        request
    })
}

/// Answered well, after all of it has come.
fn answered(name: &'static str, client: fn(Client) -> Story) -> Case {
    case(
        name,
        [
            Step::Request,
            Step::End(1),
            say([ok(1), data(1, "ok").end()]),
        ],
    )
    .client(client)
    .fine("200 \"ok\"")
}

/// Nothing of it is sent; the polite server behind the script sees the next one only.
fn refused(name: &'static str, client: fn(Client) -> Story) -> Case {
    case(name, []).client(client).fine(
        "InvalidRequest in Request, sent None, response not begun, connection new, attempts 1",
    )
}

const SOON: Duration = Duration::from_millis(100);

const PLAIN: &str = ":method: GET\n:scheme: http\n:authority: server.test\n:path: /case\n";

fn post(client: Client, body: Body) -> Story {
    let request = client.request("POST", "/case", body);
    Box::pin(async move { client.send(request).await })
}

/// A body whose length nobody knows, in pieces.
fn pieces(count: usize) -> Body {
    let mut left = count;
    Body::poll_fn(move |_| {
        left = left.wrapping_sub(1);
        let piece = (left != usize::MAX).then(|| Ok::<_, std::convert::Infallible>("piece".into()));
        std::task::Poll::Ready(piece)
    })
}

#[test]
fn heads() {
    play(&[
        answered("RFC 9113 §8.3.1: a GET", |client| with(client, &[])).check(|record| {
            assert_eq!(head(record), PLAIN);
            assert!(record.head(1).unwrap().frame.has(flag::END_STREAM));
            assert_eq!(record.of(kind::DATA).len(), 0);
        }),
        answered("RFC 9113 §8.3.1: a HEAD", |client| {
            send(client, |mut request| {
                *request.method_mut() = http::Method::HEAD;
                request
            })
        })
        .check(|record| assert_eq!(head(record), PLAIN.replace("GET", "HEAD")))
        .outcome(
            "200 then Protocol in Body, sent Full, response begun, connection new, attempts 1",
            "RST_STREAM 1 PROTOCOL_ERROR",
            Next::Here,
        ),
        answered(
            "RFC 9113 §8.3.1: a target of nothing is a slash",
            |client| {
                send(client, |mut request| {
                    *request.uri_mut() = "http://server.test".parse().unwrap();
                    request
                })
            },
        )
        .check(|record| assert_eq!(head(record), PLAIN.replace("/case", "/"))),
        answered("RFC 9113 §8.3.1: a query stays as it is", |client| {
            send(client, |mut request| {
                *request.uri_mut() = "http://server.test/a%2Fb?c=%20d&e".parse().unwrap();
                request
            })
        })
        .check(|record| assert_eq!(head(record), PLAIN.replace("/case", "/a%2Fb?c=%20d&e"))),
        answered(
            "RFC 9113 §8.3.1: a port in the authority, and no user",
            |client| {
                send(client, |mut request| {
                    *request.uri_mut() = "http://me:secret@server.test:80/case".parse().unwrap();
                    request
                })
            },
        )
        .check(|record| assert!(!head(record).contains("secret"))),
        answered(
            "RFC 9113 §8.3.1: Host takes the place of the authority",
            |client| with(client, &[("host", "other.test")]),
        )
        .check(|record| assert_eq!(head(record), PLAIN.replace("server.test", "other.test"))),
        answered("RFC 9110 §5.3: fields keep their order", |client| {
            with(client, &[("b", "1"), ("a", "2"), ("b", "3")])
        })
        .check(|record| assert_eq!(head(record), format!("{PLAIN}b: 1\nb: 3\na: 2\n"))),
        answered("RFC 9113 §8.2.3: a cookie", |client| {
            with(client, &[("cookie", "a=b; c=d")])
        })
        .check(|record| assert!(head(record).ends_with("cookie: a=b; c=d\n"))),
        answered("RFC 9113 §6.10: fields larger than a frame", |client| {
            send(client, |mut request| {
                let value = http::HeaderValue::from_str(&"v".repeat(40_000)).unwrap();
                request.headers_mut().insert("x-large", value);
                request
            })
        })
        .check(|record| {
            assert_eq!(
                record.head(1).unwrap().field("x-large").map(str::len),
                Some(40_000)
            )
        }),
    ]);
}

#[test]
fn fields_of_the_connection() {
    play(&[
        answered(
            "RFC 9113 §8.2.2: fields of the connection are left out",
            |client| {
                with(
                    client,
                    &[
                        ("connection", "keep-alive"),
                        ("keep-alive", "5"),
                        ("proxy-connection", "close"),
                        ("x-a", "1"),
                    ],
                )
            },
        )
        .check(|record| assert_eq!(head(record), format!("{PLAIN}x-a: 1\n"))),
        answered("RFC 9110 §7.6.1: and those which it names", |client| {
            with(
                client,
                &[("connection", "x-hop, close"), ("x-hop", "1"), ("x-a", "1")],
            )
        })
        .check(|record| assert_eq!(head(record), format!("{PLAIN}x-a: 1\n"))),
        answered("RFC 9113 §8.2.2: te of trailers stays", |client| {
            with(client, &[("te", "trailers")])
        })
        .check(|record| assert_eq!(head(record), format!("{PLAIN}te: trailers\n"))),
        answered("RFC 9113 §8.2.2: te of anything else does not", |client| {
            with(client, &[("te", "gzip, trailers")])
        })
        .check(|record| assert!(!head(record).contains("gzip"))),
        answered("RFC 9113 §8.6: an upgrade is not asked for", |client| {
            with(
                client,
                &[("connection", "upgrade"), ("upgrade", "websocket")],
            )
        })
        .check(|record| assert_eq!(head(record), PLAIN)),
        refused(
            "RFC 9113 §8.2.2: a coding of the connection's cannot be sent",
            |client| with(client, &[("transfer-encoding", "gzip, chunked")]),
        ),
        refused("RFC 9110 §7.2: two hosts", |client| {
            with(client, &[("host", "a"), ("host", "b")])
        }),
        refused("RFC 9110 §8.6: a length that is not the body's", |client| {
            with(client, &[("content-length", "5")])
        }),
        answered("RFC 9113 §8.2.2: transfer-encoding is left out", |client| {
            with(client, &[("transfer-encoding", "chunked")])
        })
        .check(|record| assert!(!head(record).contains("chunked"))),
    ]);
}

#[test]
fn bodies() {
    play(&[
        answered("RFC 9110 §8.6: a POST says its length", |client| {
            post(client, Body::from("body"))
        })
        .check(|record| {
            assert_eq!(record.head(1).unwrap().field("content-length"), Some("4"));
            assert_eq!(record.body(1), b"body");
        }),
        answered("RFC 9110 §8.6: an empty POST says so", |client| {
            post(client, Body::empty())
        })
        .check(|record| assert_eq!(record.head(1).unwrap().field("content-length"), Some("0"))),
        answered("RFC 9113 §8.1: a body without a length", |client| {
            post(client, pieces(100))
        })
        .check(|record| {
            assert_eq!(record.head(1).unwrap().field("content-length"), None);
            assert_eq!(record.body(1), b"piece".repeat(100));
        }),
        answered("RFC 9113 §8.1: trailers of a request", |client| {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-sum", http::HeaderValue::from_static("7"));
            post(client, pieces(2).with_trailers(trailers))
        })
        .check(|record| {
            assert_eq!(record.body(1), b"piece".repeat(2));
            let heads = record.of(kind::HEADERS);
            assert_eq!(heads[1].field("x-sum"), Some("7"));
            assert!(heads[1].frame.has(flag::END_STREAM));
        }),
        case(
            "RFC 9113 §6.9.1: an upload of 3 MB, as both windows allow",
            [
                Step::Request,
                Step::Wait(SOON),
                Step::End(1),
                say([ok(1), data(1, "ok").end()]),
            ],
        )
        .client(|client| post(client, Body::from(vec![b'x'; 3_000_000])))
        .once()
        .fine("200 \"ok\"")
        .check(|record| assert_eq!(record.body(1).len(), 3_000_000)),
        case(
            "RFC 9113 §8.1.1: a body shorter than was said",
            [Step::Request, Step::Frame(kind::RST_STREAM)],
        )
        .client(|client| {
            send(client, |request| {
                let mut request = request.map(|_| pieces(2));
                *request.method_mut() = http::Method::POST;
                request
                    .headers_mut()
                    .insert("content-length", http::HeaderValue::from_static("11"));
                request
            })
        })
        .outcome(
            "RequestBody in Send, sent Partial, response not begun, connection new, attempts 1",
            "RST_STREAM 1 CANCEL",
            Next::Here,
        ),
        case(
            "RFC 9113 §8.1.1: a body longer than was said",
            [Step::Request, Step::Frame(kind::RST_STREAM)],
        )
        .client(|client| {
            send(client, |request| {
                let mut request = request.map(|_| pieces(2));
                *request.method_mut() = http::Method::POST;
                request
                    .headers_mut()
                    .insert("content-length", http::HeaderValue::from_static("9"));
                request
            })
        })
        .outcome(
            "RequestBody in Send, sent Partial, response not begun, connection new, attempts 1",
            "RST_STREAM 1 CANCEL",
            Next::Here,
        ),
        case(
            "RFC 9113 §5.4.2: a body that fails takes its stream along",
            [Step::Request, Step::Frame(kind::RST_STREAM)],
        )
        .client(|client| {
            post(
                client,
                Body::poll_fn(|_| {
                    std::task::Poll::Ready(Some(Err(std::io::Error::other("no more"))))
                }),
            )
        })
        .outcome(
            "RequestBody in Send, sent Partial, response not begun, connection new, attempts 1",
            "RST_STREAM 1 CANCEL",
            Next::Here,
        ),
    ]);
}

/// A POST whose body is to wait for leave.
fn expecting(client: Client) -> Story {
    let mut request = client.request("POST", "/case", Body::from("body"));
    request
        .headers_mut()
        .insert("expect", http::HeaderValue::from_static("100-continue"));
    Box::pin(async move { client.send(request).await })
}

#[test]
fn leave_to_continue() {
    let leave = headers(1, &[(":status", "100")]);
    play(&[
        case(
            "RFC 9110 §10.1.1: a body that is let in",
            [
                Step::Request,
                say([leave]),
                Step::End(1),
                say([ok(1), data(1, "ok").end()]),
            ],
        )
        .client(expecting)
        .fine("200 \"ok\"")
        .check(|record| assert_eq!(record.body(1), b"body")),
        case(
            "RFC 9110 §10.1.1: a body that is not let in is not sent",
            [
                Step::Request,
                say([headers(1, &[(":status", "417")]).end()]),
                Step::Frame(kind::RST_STREAM),
            ],
        )
        .client(expecting)
        .outcome(
            "417 \"\"",
            &format!("RST_STREAM 1 {}", code::name(code::CANCEL)),
            Next::Here,
        )
        .check(|record| assert_eq!(record.body(1), b"")),
        case(
            "RFC 9110 §10.1.1: nobody waits for leave for ever",
            [
                Step::Request,
                Step::Wait(Duration::from_secs(3)),
                Step::End(1),
                say([ok(1), data(1, "ok").end()]),
            ],
        )
        .client(expecting)
        .fine("200 \"ok\"")
        .check(|record| assert_eq!(record.body(1), b"body")),
    ]);
}
