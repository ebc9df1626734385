//! The same behaviour in virtual time, over our event loop, and on a thread that waits.

use std::{convert::Infallible, task::Poll, time::Duration};

use bytes::Bytes;
use httpcore::{Body, Builder, Timeouts};
use httpcore_tests::suite::{Client, Scenario, Step, Step::*, Story, tell, tell_error};

/// The pool's defaults.
fn defaults(builder: Builder) -> Builder {
    builder
}

fn one_place(builder: Builder) -> Builder {
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

const HELLO: Step = Send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");

const SCENARIOS: &[Scenario] = &[
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
        outcome: "200 then Closed in Body, sent All, response begun, connection new, attempts 1",
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
        outcome: "200 then Closed in Body, sent All, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "a new connection closed without an answer is an error and no retry",
        connections: &[&[Head, Close]],
        pool: defaults,
        client: get,
        outcome: "Closed in Head, sent All, response not begun, connection new, attempts 1",
    },
    Scenario {
        name: "half a head is no head",
        connections: &[&[Head, Send("HTTP/1.1 200 OK\r\ncontent-le"), Close]],
        pool: defaults,
        client: get,
        outcome: "Closed in Head, sent All, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "what is not HTTP is refused at once",
        connections: &[&[Head, Send("SSH-2.0-OpenSSH_9.2\r\n"), Drain]],
        pool: defaults,
        client: get,
        outcome: "Protocol in Head, sent All, response begun, connection new, attempts 1",
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
        outcome: "Protocol in Head, sent All, response begun, connection new, attempts 1",
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
        connections: &[&[Head, Drain]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let body = pieces(&["abc"]).with_length(10);
                client.send(client.request("PUT", "/", body)).await
            })
        },
        outcome: "RequestBody in Send, sent Part, response not begun, connection new, attempts 1",
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
                let mut waiting = Box::pin(async { client.get("/").await });
                let early =
                    std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_ready()))
                        .await;
                let first = tell(held).await;
                format!("early {early}, {first}, {}", waiting.await)
            })
        },
        // The whole of a small response comes with its head, and then its place is free already.
        outcome: r#"early false, 200 "hello", 200 "hello""#,
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
                let timeouts = Timeouts::default().with_pool(Duration::from_millis(30));
                let waited = client.get_within("/", timeouts).await;
                format!("{}, {waited}", held.is_ok())
            })
        },
        outcome: "true, Timeout(Pool) in Pool, sent Nothing, response not begun, connection new, attempts 1",
    },
    Scenario {
        name: "a server that says nothing meets the first-byte timeout",
        connections: &[&[Head, Drain]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let timeouts = Timeouts::default().with_first_byte(Duration::from_millis(30));
                client.get_within("/", timeouts).await
            })
        },
        outcome: "Timeout(FirstByte) in Head, sent All, response not begun, connection new, attempts 1",
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
                let timeouts = Timeouts::default().with_read(Duration::from_millis(30));
                client.get_within("/", timeouts).await
            })
        },
        outcome: "200 then Timeout(Read) in Body, sent All, response begun, connection new, attempts 1",
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
                let timeouts = Timeouts::default().with_total(Duration::from_millis(30));
                client.get_within("/", timeouts).await
            })
        },
        outcome: "200 then Timeout(Total) in Body, sent All, response begun, connection new, attempts 1",
    },
    Scenario {
        name: "a server that does not read meets the write timeout",
        connections: &[&[Head, Stall]],
        pool: defaults,
        client: |client| {
            Box::pin(async move {
                let body = Body::from(vec![b'u'; 32 << 20]);
                let mut request = client.request("PUT", "/", body);
                let timeouts = Timeouts::default().with_write(Duration::from_millis(50));
                request.extensions_mut().insert(timeouts);
                client.send(request).await
            })
        },
        outcome: "Timeout(Write) in Send, sent Part, response not begun, connection new, attempts 1",
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
        outcome: r#"200 "hello", 200 then Closed in Body, sent All, response begun, connection new, attempts 2"#,
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
fn every_scenario_on_a_thread_that_waits() {
    run_all(Scenario::on_blocking);
}
