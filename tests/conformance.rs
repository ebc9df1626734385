//! The same behaviour in virtual time, over our event loop, and on a thread that waits.

use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use httpcore::{
    Body, ConnectionPool, ConnectionPoolBuilder, EventLoop, Timeouts, backend::NetworkBackend,
    config::PoolConfig,
};
use httpcore_net_mock::{DnsEntry, Link, MockNet, ServerStream};
use httpcore_tests::suite::{Client, Scenario, Step, Step::*, Story, tell, tell_error};

/// The pool's defaults.
fn defaults(builder: ConnectionPoolBuilder) -> ConnectionPoolBuilder {
    builder
}

fn one_place(builder: ConnectionPoolBuilder) -> ConnectionPoolBuilder {
    builder.max_connections(1)
}

/// One GET.
fn get(client: Client) -> Story {
    Box::pin(async move { client.get("/").await })
}

/// Two GETs, one after the other.
fn two_gets(client: Client) -> Story {
    Box::pin(async move {
        let first = client.get("/one").await;
        let second = client.get("/two").await;
        format!("{first}, {second}")
    })
}

fn pieces(texts: &'static [&'static str]) -> Body {
    let mut texts = texts.iter();
    Body::poll_fn(move |_| {
        Poll::Ready(
            texts
                .next()
                .map(|text| Ok::<_, Infallible>(Bytes::from_static(text.as_bytes()))),
        )
    })
}

/// The same, but nothing is there when it is asked for.
fn pausing(texts: &'static [&'static str]) -> Body {
    let (mut texts, mut pauses) = (texts.iter(), false);
    Body::poll_fn(move |cx| {
        pauses = !pauses;
        if pauses {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = texts.next().map(|text| text.as_bytes());
        Poll::Ready(next.map(|text| Ok::<_, Infallible>(Bytes::from_static(text))))
    })
}

/// HTTP/2, without asking.
fn h2c(builder: ConnectionPoolBuilder) -> ConnectionPoolBuilder {
    builder.http1(false).http2(true)
}

/// The end of the preface, and the answer to it: SETTINGS without a word.
const PREFACE: Step = Until("SM\r\n\r\n");
const SETTINGS: Step = Send("\0\0\0\x04\0\0\0\0\0");

/// A GET on stream 1, 3: what stands behind the length of its HEADERS.
const ASKED_1: Step = Until("\x01\x05\0\0\0\x01");
const ASKED_3: Step = Until("\x01\x05\0\0\0\x03");

/// HEADERS with a status of 200, and DATA that ends the stream.
const HELLO_1: Step = Send("\0\0\x05\x01\x04\0\0\0\x01\x08\x03200\0\0\x05\0\x01\0\0\0\x01hello");
const HELLO_3: Step = Send("\0\0\x05\x01\x04\0\0\0\x03\x08\x03200\0\0\x05\0\x01\0\0\0\x03hello");
/// The same, but for the end.
const BEGUN_1: Step = Send("\0\0\x05\x01\x04\0\0\0\x01\x08\x03200\0\0\x05\0\0\0\0\0\x01hello");

const HELLO: Step = Send(ANSWER);

const SERVE: Step = Serve(ANSWER);

/// A limit that is meant to be reached, and by what is meant to reach it: on a busy machine what
/// comes before it on a real network takes its time.
const LIMIT: Duration = Duration::from_millis(400);

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "two requests share a connection of HTTP/2",
        connections: &[&[PREFACE, SETTINGS, ASKED_1, HELLO_1, ASKED_3, HELLO_3, Drain]],
        pool: h2c,
        client: two_gets,
        outcome: r#"200 "hello", 200 "hello""#,
    },
    Scenario {
        name: "a response over HTTP/2 has trailers",
        connections: &[&[
            PREFACE,
            SETTINGS,
            ASKED_1,
            BEGUN_1,
            Send("\0\0\x09\x01\x05\0\0\0\x01\0\x05x-sum\x019"),
            Drain,
        ]],
        pool: h2c,
        client: get,
        outcome: r#"200 trailer x-sum=9 "hello""#,
    },
    Scenario {
        name: "a refused stream is asked for again",
        connections: &[&[
            PREFACE,
            SETTINGS,
            ASKED_1,
            Send("\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07"),
            ASKED_3,
            HELLO_3,
            Drain,
        ]],
        pool: h2c,
        client: get,
        outcome: r#"200 "hello""#,
    },
    Scenario {
        name: "what a GOAWAY leaves out is asked for elsewhere",
        connections: &[
            &[
                PREFACE,
                SETTINGS,
                ASKED_1,
                Send("\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0"),
                Drain,
            ],
            &[PREFACE, SETTINGS, ASKED_1, HELLO_1, Drain],
        ],
        pool: h2c,
        client: get,
        outcome: r#"200 "hello""#,
    },
    Scenario {
        name: "a connection of HTTP/2 that ends cuts its bodies short",
        connections: &[&[PREFACE, SETTINGS, ASKED_1, BEGUN_1, HalfClose, Drain]],
        pool: h2c,
        client: get,
        outcome: "200 then ConnectionClosed in Body, sent Full, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "a stream that is reset without an error has not ended",
        connections: &[&[
            PREFACE,
            SETTINGS,
            ASKED_1,
            BEGUN_1,
            Send("\0\0\x04\x03\0\0\0\0\x01\0\0\0\0"),
            Drain,
        ]],
        pool: h2c,
        client: get,
        outcome: "200 then Protocol in Body, sent Full, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "a server of HTTP/2 that stalls fails one stream",
        connections: &[&[PREFACE, SETTINGS, ASKED_1, ASKED_3, HELLO_3, Drain]],
        pool: h2c,
        client: |client| {
            Box::pin(async move {
                let hurried = Timeouts::default().with_response_head(LIMIT);
                let first = client.get_within("/", hurried).await;
                format!("{first}; {}", client.get("/").await)
            })
        },
        outcome: r#"Timeout(ResponseHead) in Head, sent Full, response not begun, connection new, attempts 1; 200 "hello""#,
    },
    Scenario {
        name: "two requests share a connection",
        connections: &[&[Head, HELLO, Head, HELLO, Drain]],
        pool: defaults,
        client: two_gets,
        outcome: r#"200 "hello", 200 "hello""#,
    },
    Scenario {
        name: "a chunked body has trailers",
        connections: &[&[
            Head,
            Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
            Send("4\r\nwiki\r\n"),
            Send("5;ext=1\r\npedia\r\n0\r\nx-sum: 9\r\n\r\n"),
            Drain,
        ]],
        pool: defaults,
        client: get,
        outcome: r#"200 trailer x-sum=9 "wikipedia""#,
    },
    Scenario {
        name: "a body may end with the connection",
        connections: &[&[Head, Send("HTTP/1.1 200 OK\r\n\r\nall there is"), Close]],
        pool: defaults,
        client: get,
        outcome: r#"200 "all there is""#,
    },
    Scenario {
        name: "a response to HEAD has no body whatever its length says",
        connections: &[&[
            Head,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"),
            Head,
            HELLO,
            Drain,
        ]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let head = client.send(client.request("HEAD", "/", ())).await;
                format!("{head}, {}", client.get("/").await)
            })
        },
        outcome: r#"200 "", 200 "hello""#,
    },
    Scenario {
        name: "204 and 304 have no body, and the connection serves on",
        connections: &[&[
            Head,
            Send("HTTP/1.1 204 No Content\r\n\r\n"),
            Head,
            Send("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"),
            Drain,
        ]],
        pool: defaults,
        client: two_gets,
        outcome: r#"204 "", 304 """#,
    },
    Scenario {
        name: "interim responses are passed over",
        connections: &[&[
            Head,
            Send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"),
            HELLO,
            Drain,
        ]],
        pool: defaults,
        client: get,
        outcome: r#"200 "hello""#,
    },
    Scenario {
        name: "a body cut short is not a body",
        connections: &[&[
            Head,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello"),
            Close,
        ]],
        pool: defaults,
        client: get,
        outcome: "200 then ConnectionClosed in Body, sent Full, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "a chunked body without its last chunk is not a body",
        connections: &[&[
            Head,
            Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            Close,
        ]],
        pool: defaults,
        client: get,
        outcome: "200 then ConnectionClosed in Body, sent Full, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "a new connection closed without an answer is an error and no retry",
        connections: &[&[Head, Close]],
        pool: defaults,
        client: get,
        outcome: "ConnectionClosed in Head, sent Full, response not begun, connection new, attempts 1",
    },
    Scenario {
        name: "half a head is no head",
        connections: &[&[Head, Send("HTTP/1.1 200 OK\r\ncontent-le"), Close]],
        pool: defaults,
        client: get,
        outcome: "ConnectionClosed in Head, sent Full, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "what is not HTTP is refused at once",
        connections: &[&[Head, Send("SSH-2.0-OpenSSH_9.2\r\n"), Drain]],
        pool: defaults,
        client: get,
        outcome: "Protocol in Head, sent Full, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "two framings at once are refused",
        connections: &[&[
            Head,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"),
            Drain,
        ]],
        pool: defaults,
        client: get,
        outcome: "Protocol in Head, sent Full, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "a server that says close is taken at its word",
        connections: &[
            &[
                Head,
                Send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"),
                Drain,
            ],
            &[Head, HELLO, Drain],
        ],
        pool: defaults,
        client: two_gets,
        outcome: r#"200 "ok", 200 "hello""#,
    },
    Scenario {
        name: "HTTP/1.0 closes unless it says otherwise",
        connections: &[
            &[
                Head,
                Send("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"),
                Drain,
            ],
            &[
                Head,
                Send("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"),
                Head,
                HELLO,
                Drain,
            ],
        ],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let (one, two) = (client.get("/").await, client.get("/").await);
                format!("{one}, {two}, {}", client.get("/").await)
            })
        },
        outcome: r#"200 "ok", 200 "ok", 200 "hello""#,
    },
    Scenario {
        name: "bytes behind a response are never taken for the next one",
        connections: &[
            &[
                Head,
                Send(
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nx-seen: smuggled\r\n\r\n",
                ),
                Drain,
            ],
            &[Head, HELLO, Drain],
        ],
        pool: defaults,
        client: two_gets,
        outcome: r#"200 "ok", 200 "hello""#,
    },
    Scenario {
        name: "a body is echoed in one length",
        connections: &[&[Head, Read(5), HELLO, Drain]],
        pool: defaults,
        client: |client| {
            Box::pin(async move { client.send(client.request("POST", "/", "12345")).await })
        },
        outcome: r#"200 "hello""#,
    },
    Scenario {
        name: "a body of unknown length goes out in chunks",
        connections: &[&[Head, Chunks, HELLO, Drain]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let body = pieces(&["one", "two", "three"]);
                client.send(client.request("POST", "/", body)).await
            })
        },
        outcome: r#"200 "hello""#,
    },
    Scenario {
        name: "an answer comes before the upload has ended, from a server that stops reading",
        connections: &[
            &[
                Head,
                Read(10),
                Send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig"),
                Stall,
            ],
            &[Head, HELLO, Drain],
        ],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let body = Body::from(vec![b'u'; 32 << 20]);
                let refused = client.send(client.request("PUT", "/", body)).await;
                format!("{refused}, {}", client.get("/").await)
            })
        },
        outcome: r#"413 "big", 200 "hello""#,
    },
    Scenario {
        name: "a body that is shorter than it was said to be is the caller's error",
        connections: &[&[Head, Until("abc"), Drain]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let body = pausing(&["abc", ""]).with_length(10);
                client.send(client.request("PUT", "/", body)).await
            })
        },
        outcome: "RequestBody in Send, sent Partial, response not begun, connection new, attempts 1",
    },
    Scenario {
        name: "a body that is known to be too short before anything is written costs no connection",
        connections: &[&[Head, HELLO, Drain]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let body = pieces(&["abc"]).with_length(10);
                let refused = client.send(client.request("PUT", "/", body)).await;
                format!("{refused}; {}", client.get("/").await)
            })
        },
        outcome: "RequestBody in Send, sent None, response not begun, connection new, \
                  attempts 1; 200 \"hello\"",
    },
    Scenario {
        name: "a large body comes whole",
        connections: &[&[
            Head,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n"),
            SendMany(3_000_000),
            Drain,
        ]],
        pool: defaults,
        client: get,
        outcome: "200 3000000 bytes",
    },
    Scenario {
        name: "a response dropped half-way takes its connection with it",
        connections: &[
            &[
                Head,
                Send("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello"),
                Drain,
            ],
            &[Head, HELLO, Drain],
        ],
        pool: one_place,
        client: |client| {
            Box::pin(async move {
                let request = client.request("GET", "/", ());
                let mut response = match client.pool.request(request).await {
                    Ok(response) => response,
                    Err(error) => return tell_error(&error),
                };
                let first = response.body_mut().chunk().await;
                drop(response);
                let first = first.and_then(Result::ok).unwrap_or_default();
                format!("{first:?}, {}", client.get("/").await)
            })
        },
        outcome: r#"b"hello", 200 "hello""#,
    },
    Scenario {
        name: "a request waits for the only place, and gets it when the other body has ended",
        connections: &[&[Head, HELLO, Head, HELLO, Drain]],
        pool: one_place,
        client: |client| {
            Box::pin(async move {
                let held = match client.pool.request(client.request("GET", "/", ())).await {
                    Ok(response) => response,
                    Err(error) => return tell_error(&error),
                };
                // Polled once, so that it is in the queue. A quick server may answer within that poll.
                let mut waiting = Box::pin(async { client.get("/").await });
                let early = std::future::poll_fn(|cx| match waiting.as_mut().poll(cx) {
                    Poll::Ready(second) => Poll::Ready(Some(second)),
                    Poll::Pending => Poll::Ready(None),
                })
                .await;
                let first = tell(held).await;
                let second = match early {
                    Some(second) => second,
                    None => waiting.await,
                };
                format!("{first}, {second}")
            })
        },
        // All of a small response arrives with its head, and its slot is free by then.
        outcome: r#"200 "hello", 200 "hello""#,
    },
    Scenario {
        name: "a request in the queue has its own time limit",
        connections: &[&[
            Head,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
            Stall,
        ]],
        pool: one_place,
        client: |client| {
            Box::pin(async move {
                let held = client.pool.request(client.request("GET", "/", ())).await;
                let timeouts = Timeouts::default().with_acquire(LIMIT);
                let waited = client.get_within("/", timeouts).await;
                format!("{}, {waited}", held.is_ok())
            })
        },
        outcome: "true, Timeout(Acquire) in Acquire, sent None, response not begun, connection new, attempts 1",
    },
    Scenario {
        name: "a server that says nothing meets the first-byte timeout",
        connections: &[&[Head, Drain]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let timeouts = Timeouts::default().with_response_head(LIMIT);
                client.get_within("/", timeouts).await
            })
        },
        outcome: "Timeout(ResponseHead) in Head, sent Full, response not begun, connection new, attempts 1",
    },
    Scenario {
        name: "a server that falls silent meets the read timeout",
        connections: &[&[
            Head,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello"),
            Drain,
        ]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let timeouts = Timeouts::default().with_read(LIMIT);
                client.get_within("/", timeouts).await
            })
        },
        outcome: "200 then Timeout(Read) in Body, sent Full, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "the total timeout covers the body",
        connections: &[&[
            Head,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello"),
            Drain,
        ]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let timeouts = Timeouts::default().with_total(LIMIT);
                client.get_within("/", timeouts).await
            })
        },
        outcome: "200 then Timeout(Total) in Body, sent Full, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "a server that does not read meets the write timeout",
        connections: &[&[Head, Stall]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let body = Body::from(vec![b'u'; 32 << 20]);
                let mut request = client.request("PUT", "/", body);
                let timeouts = Timeouts::default().with_write(LIMIT);
                request.extensions_mut().insert(timeouts);
                client.send(request).await
            })
        },
        outcome: "Timeout(Write) in Send, sent Partial, response not begun, connection new, attempts 1",
    },
    Scenario {
        name: "an idle connection expires",
        connections: &[&[Head, HELLO, Drain]],
        pool: |builder| builder.idle_timeout(Some(LIMIT)),
        client: get_and_wait,
        outcome: r#"200 "hello", 1 idle, gone true"#,
    },
    Scenario {
        name: "the server's close of an idle connection is noticed without a request",
        connections: &[&[Head, HELLO, Close]],
        pool: |builder| builder.idle_timeout(None),
        client: |client| {
            Box::pin(async move {
                // Whether it is still seen idle is a matter of chance.
                let told = client.get("/").await;
                format!("{told}, gone {}", client.outlives_connections().await)
            })
        },
        outcome: r#"200 "hello", gone true"#,
    },
    Scenario {
        name: "a GET that meets a dying connection is sent once more",
        connections: &[&[Head, HELLO, Head, Close], &[Head, HELLO, Drain]],
        pool: defaults,
        client: two_gets,
        outcome: r#"200 "hello", 200 "hello""#,
    },
    Scenario {
        name: "and not a third time",
        connections: &[&[Head, HELLO, Head, Close], &[Head, Close]],
        pool: defaults,
        client: two_gets,
        outcome: r#"200 "hello", ConnectionClosed in Head, sent Full, response not begun, connection new, attempts 2"#,
    },
    Scenario {
        name: "a POST that was written to a dying connection is not sent again",
        connections: &[&[Head, HELLO, Head, Read(5), Close]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let first = client.get("/").await;
                let second = client.send(client.request("POST", "/", "12345")).await;
                format!("{first}, {second}")
            })
        },
        outcome: r#"200 "hello", ConnectionClosed in Head, sent Full, response not begun, connection reused, attempts 1"#,
    },
    Scenario {
        name: "sixty-four requests share four places",
        connections: &[&[SERVE], &[SERVE], &[SERVE], &[SERVE]],
        pool: |builder| builder.max_connections(4),
        client: |client| {
            Box::pin(async move {
                let mut asking: Vec<_> = (0..64)
                    .map(|_| {
                        let client = client.clone();
                        Box::pin(async move { client.get("/").await })
                    })
                    .collect();
                let (mut answered, mut most) = (0, 0);
                std::future::poll_fn(|cx| {
                    asking.retain_mut(|one| match one.as_mut().poll(cx) {
                        Poll::Ready(told) => {
                            answered += usize::from(told == r#"200 "hello""#);
                            false
                        }
                        Poll::Pending => true,
                    });
                    most = most.max(client.pool.status().connections.len());
                    if asking.is_empty() {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
                // One of them may be made only after the others have done all the work.
                let all_idle = client.sees(|status| status.idle_connections == 4).await;
                format!("{answered} answered, {most} connections at most, idle {all_idle}")
            })
        },
        outcome: "64 answered, 4 connections at most, idle true",
    },
    Scenario {
        name: "trailers go out behind a chunked body",
        connections: &[&[
            Head,
            Until("3\r\nabc\r\n0\r\nx-sum: 9\r\n\r\n"),
            HELLO,
            Drain,
        ]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let mut trailers = http::HeaderMap::new();
                trailers.insert("x-sum", http::HeaderValue::from_static("9"));
                let body = Body::from("abc").with_trailers(trailers);
                client.send(client.request("POST", "/", body)).await
            })
        },
        outcome: r#"200 "hello""#,
    },
    Scenario {
        name: "an error in the body of a second attempt tells of both",
        connections: &[
            &[Head, HELLO, Head, Close],
            &[
                Head,
                Send("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello"),
                Close,
            ],
        ],
        pool: defaults,
        client: two_gets,
        outcome: r#"200 "hello", 200 then ConnectionClosed in Body, sent Full, response begun, connection new, attempts 2"#,
    },
    Scenario {
        name: "a response that is reset is an error of the network",
        connections: &[&[
            Head,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n"),
            Reset,
        ]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                // A reset may overtake what was sent before it, and so the head may be lost.
                let told = client.get("/").await;
                let is_reset = told.contains("Network in Body") || told.contains("Network in Head");
                if is_reset { "reset".to_owned() } else { told }
            })
        },
        outcome: "reset",
    },
];

/// One GET, and then nothing until its connection has gone.
fn get_and_wait(client: Client) -> Story {
    Box::pin(async move {
        let told = client.get("/").await;
        let idle = client.pool.status().idle_connections;
        let gone = client.outlives_connections().await;
        format!("{told}, {idle} idle, gone {gone}")
    })
}

/// Runs every scenario on one backend, and reports all that differ at once.
fn run_all(on: fn(&Scenario) -> String) {
    let mut wrong = Vec::new();
    for scenario in SCENARIOS {
        let outcome = on(scenario);
        if outcome != scenario.outcome {
            wrong.push(format!(
                "{}:\n  expected {}\n  found    {outcome}",
                scenario.name, scenario.outcome
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_scenario_in_virtual_time() {
    run_all(Scenario::on_mock);
}

#[test]
fn every_scenario_over_the_event_loop() {
    run_all(Scenario::on_epoll);
}

#[test]
fn every_scenario_on_tokio_current_thread() {
    run_all(Scenario::on_tokio_current_thread);
}

#[test]
fn every_scenario_on_tokio_multi_thread() {
    run_all(Scenario::on_tokio_multi_thread);
}

#[test]
fn every_scenario_on_smol() {
    run_all(Scenario::on_smol);
}

#[test]
fn every_scenario_on_a_thread_that_waits() {
    run_all(Scenario::on_blocking);
}

#[test]
fn an_hour_of_idleness_passes_in_virtual_time() {
    let hour = Duration::from_secs(3600);
    let net = MockNet::new();
    net.serve("server.test", 80, answer);
    let mut config = PoolConfig::default();
    (config.idle_timeout, config.max_lifetime) = (Some(hour), None);
    let pool = ConnectionPool::builder()
        .configure_pool(|pool| *pool = config)
        .build(Arc::new(net.clone()));
    net.run(async {
        let response = pool.get("http://server.test/").await.unwrap();
        assert_eq!(response.into_body().bytes(100).await.unwrap(), "hello");
    });
    net.advance(hour - Duration::from_nanos(1));
    assert_eq!(pool.status().idle_connections, 1);
    net.advance(Duration::from_nanos(1));
    assert_eq!(pool.status().idle_connections, 0);
    assert_eq!(net.live_counts().streams, 0);
}

#[test]
fn an_address_that_refuses_or_never_answers_does_not_keep_the_next_one_waiting() {
    let (dead, stagger) = ("192.0.2.1:80".parse().unwrap(), Duration::from_millis(250));
    for (fate, took) in [
        (Link::refused(), Duration::ZERO),
        (Link::unreachable(), Duration::ZERO),
        // RFC 8305 §5: the next is tried beside one which is silent for so long.
        (Link::blackhole(), stagger),
    ] {
        let net = MockNet::new();
        let good = net.serve("server.test", 80, answer).address().unwrap();
        let addresses = [dead, good].map(|address: SocketAddr| address.ip().to_string());
        net.name("server.test", DnsEntry::addresses(addresses));
        net.set_link(dead, fate.clone());
        let pool = ConnectionPool::new(Arc::new(net.clone()));
        net.run(async {
            let response = pool.get("http://server.test/").await.unwrap();
            assert_eq!(response.into_body().bytes(100).await.unwrap(), "hello");
        });
        assert_eq!(net.elapsed(), took, "{fate:?}");
    }
}

/// What is asked over a Unix socket at `path`, and what comes of it.
async fn ask_through(path: PathBuf, backend: Arc<dyn NetworkBackend>) -> String {
    let pool = ConnectionPool::builder().unix_socket(path).build(backend);
    let response = match pool.get("http://no.such.host.invalid/").await {
        Ok(response) => response,
        Err(error) => return tell_error(&error),
    };
    tell(response).await
}

#[test]
fn a_unix_socket_is_asked_in_virtual_time_and_over_the_event_loop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");

    let net = MockNet::new();
    net.serve_unix(&path, answer);
    let told = net.run(ask_through(path.clone(), Arc::new(net.clone())));
    assert_eq!(told, r#"200 "hello""#);

    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let size = stream.read(&mut head).unwrap();
        stream.write_all(ANSWER.as_bytes()).unwrap();
        String::from_utf8_lossy(&head[..size]).into_owned()
    });
    let epoll = EventLoop::new().unwrap();
    let told = epoll.block_on(ask_through(path, epoll.backend()));
    assert_eq!(told, r#"200 "hello""#);
    let head = server.join().unwrap();
    assert!(head.contains("host: no.such.host.invalid\r\n"), "{head}");
}

#[test]
fn a_unix_socket_that_is_not_there_fails_alike_in_virtual_time_and_over_the_event_loop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let net = MockNet::new();
    let in_mock = net.run(ask_through(path.clone(), Arc::new(net.clone())));
    let epoll = EventLoop::new().unwrap();
    let over_epoll = epoll.block_on(ask_through(path, epoll.backend()));
    assert_eq!(in_mock, over_epoll);
    assert!(in_mock.starts_with("Connect in Connect"), "{in_mock}");
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Answers whatever comes.
async fn answer(mut stream: ServerStream) {
    while stream.read_head().await.is_ok() {
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}
