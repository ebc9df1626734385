//! What is left of a connection after `101` and `CONNECT`, through the facade: in virtual time, over
//! the event loop, and on a thread that waits.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use bytes::BytesMut;
use httpcore::{
    Body, ConnectionPool, ErrorKind, Request, Response, Timeouts, Upgraded, blocking,
    error::ConnectionRevoked, extensions::RequestTarget,
};
use httpcore_net_mock::{Link, LiveCounts, MockNet, Scenario as Swept, ServerStream, Sweep};
use httpcore_tests::suite::{
    Client, Scenario,
    Step::{Close, Drain, HalfClose, Head, Read as Take, Send, Until},
    tell_error,
};

/// An upgrade to an invented protocol.
fn upgrade(client: &Client, path: &str) -> Request {
    let mut request = client.request("GET", path, Body::empty());
    let fields = request.headers_mut();
    fields.insert("connection", "Upgrade".parse().unwrap());
    fields.insert("upgrade", "shout/2".parse().unwrap());
    request
}

/// The URL says which proxy; this, where the tunnel leads.
fn far() -> RequestTarget {
    RequestTarget::Exact("far.test:22".into())
}

/// Reads until `length` bytes have come, or the end.
async fn take(stream: &mut Upgraded, length: usize) -> String {
    let mut heard = BytesMut::new();
    while heard.len() < length {
        match stream.read(&mut heard).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return format!("{heard:?} then {error}"),
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

async fn open(client: &Client, request: Request) -> Result<Upgraded, String> {
    let mut response: Response = client
        .pool
        .request(request)
        .await
        .map_err(|error| tell_error(&error))?;
    Upgraded::take_from(&mut response).ok_or_else(|| response.status().to_string())
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "bytes that come with the 101 come first, and the connection is not pooled",
        connections: &[
            &[
                Head,
                Send(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: shout/2\r\nconnection: upgrade\r\n\r\nHELLO ",
                ),
                Take(5),
                Send("WORLD"),
                Drain,
            ],
            &[
                Head,
                Send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
                Drain,
            ],
        ],
        pool: |builder| builder,
        client: |client| {
            Box::pin(async move {
                let mut stream = open(&client, upgrade(&client, "/")).await.unwrap();
                stream.write_all(b"world").await.unwrap();
                let heard = take(&mut stream, 11).await;
                let active = client.pool.status().active_requests;
                // Another request needs another connection meanwhile.
                let other = client.get("/").await;
                drop(stream);
                let left = client.pool.status();
                format!(
                    "{heard}; {active} active; {other}; {} active",
                    left.active_requests
                )
            })
        },
        outcome: r#"HELLO WORLD; 1 active; 200 "ok"; 0 active"#,
    },
    Scenario {
        name: "a refused upgrade is an ordinary response, and its connection is used again",
        connections: &[&[
            Head,
            Send(
                "HTTP/1.1 426 Upgrade Required\r\nupgrade: other\r\nconnection: upgrade\r\ncontent-length: 4\r\n\r\nnope",
            ),
            Head,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
            Drain,
        ]],
        pool: |builder| builder.max_connections(1),
        client: |client| {
            Box::pin(async move {
                let refused = client.send(upgrade(&client, "/")).await;
                format!("{refused}; {}", client.get("/").await)
            })
        },
        outcome: r#"426 "nope"; 200 "ok""#,
    },
    Scenario {
        name: "CONNECT leaves a tunnel",
        connections: &[&[
            Until("CONNECT far.test:22 HTTP/1.1\r\nhost: far.test:22\r\n\r\n"),
            Send("HTTP/1.1 200 Connection established\r\ncontent-length: 7\r\n\r\nbanner\n"),
            Take(4),
            Send("pong"),
            Close,
        ]],
        pool: |builder| builder,
        client: |client| {
            Box::pin(async move {
                let mut request = client.request("CONNECT", "/", Body::empty());
                request.extensions_mut().insert(far());
                let mut stream = open(&client, request).await.unwrap();
                stream.write_all(b"ping").await.unwrap();
                let heard = take(&mut stream, usize::MAX).await;
                format!("{heard:?}")
            })
        },
        outcome: r#""banner\npong""#,
    },
    Scenario {
        name: "a refused CONNECT gives its answer back, and its connection is used again",
        connections: &[&[
            Head,
            Send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"),
            Head,
            Send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
            Drain,
        ]],
        pool: |builder| builder.max_connections(1),
        client: |client| {
            Box::pin(async move {
                let mut request = client.request("CONNECT", "/", Body::empty());
                request.extensions_mut().insert(far());
                let refused = client.send(request).await;
                format!("{refused}; {}", client.get("/").await)
            })
        },
        outcome: r#"403 "no"; 200 "ok""#,
    },
    Scenario {
        name: "each direction has its own end",
        connections: &[&[
            Head,
            Send(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: shout/2\r\nconnection: upgrade\r\n\r\n",
            ),
            Send("bye"),
            HalfClose,
            Take(8),
            Drain,
        ]],
        pool: |builder| builder,
        client: |client| {
            Box::pin(async move {
                let mut stream = open(&client, upgrade(&client, "/")).await.unwrap();
                let heard = take(&mut stream, usize::MAX).await;
                let (reader, mut writer) = stream.split();
                writer.write_all(b"and more").await.unwrap();
                writer.close_write().await.unwrap();
                let whole = reader.reunite(writer).is_some();
                format!(
                    "{heard}; whole {whole}; {} active",
                    client.pool.status().active_requests
                )
            })
        },
        outcome: "bye; whole true; 0 active",
    },
    Scenario {
        name: "no limit of the request concerns the stream",
        connections: &[&[
            Head,
            Send(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: shout/2\r\nconnection: upgrade\r\n\r\n",
            ),
            Take(2),
            Send("ok"),
            Drain,
        ]],
        pool: |builder| {
            // Long enough for a loopback, and too short for what follows.
            let limit = Duration::from_millis(400);
            builder.timeouts(Timeouts::default().with_read(limit).with_write(limit))
        },
        client: |client| {
            Box::pin(async move {
                let mut stream = open(&client, upgrade(&client, "/")).await.unwrap();
                // Nothing is said for longer than the limits.
                client.waits(Duration::from_millis(600)).await;
                stream.write_all(b"hm").await.unwrap();
                take(&mut stream, 2).await
            })
        },
        outcome: "ok",
    },
];

fn run_all(on: fn(&Scenario) -> String) {
    let mut wrong = Vec::new();
    for scenario in SCENARIOS {
        let outcome = on(scenario);
        if outcome != scenario.outcome {
            let (name, expected) = (scenario.name, scenario.outcome);
            wrong.push(format!(
                "{name}:\n  expected {expected}\n  found    {outcome}"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn upgrades_in_virtual_time() {
    run_all(Scenario::on_mock);
}

#[test]
fn upgrades_over_the_event_loop() {
    run_all(Scenario::on_epoll);
}

#[test]
fn upgrades_on_a_thread_that_waits() {
    run_all(Scenario::on_blocking);
}

#[test]
fn a_thread_that_waits_reads_and_writes_like_any_other_stream() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: shout/2\r\nconnection: upgrade\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        stream.write_all(said.to_uppercase().as_bytes()).unwrap();
    });
    let pool = blocking::ConnectionPool::new().unwrap();
    let request = http::Request::get(url)
        .header("connection", "Upgrade")
        .header("upgrade", "shout/2")
        .body(Body::empty())
        .unwrap();
    let mut response = pool.request(request).unwrap();
    let mut stream = pool.stream(Upgraded::take_from(&mut response).unwrap());
    stream.write_all(b"hear, hear").unwrap();
    stream.flush().unwrap();
    stream.close_write().unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "HEAR, HEAR");
    assert_eq!(pool.status().active_requests, 1);
    drop(stream);
    assert_eq!(pool.status().active_requests, 0);
    server.join().unwrap();
}

/// Says back whatever it hears after the switch.
async fn shout(mut stream: ServerStream) {
    let Ok(_) = stream.read_head().await else {
        return;
    };
    let answer =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: shout/2\r\nconnection: upgrade\r\n\r\nHI ";
    if stream.write_all(answer).await.is_err() {
        return;
    }
    while let Ok(some) = stream.read_some().await
        && !some.is_empty()
    {
        if stream.write_all(some.to_ascii_uppercase()).await.is_err() {
            return;
        }
    }
}

fn shouting(net: &MockNet) -> ConnectionPool {
    net.serve("server.test", 80, shout)
        .link(Link::new().latency(Duration::from_millis(5)).buffer(64));
    ConnectionPool::builder()
        .max_connections(1)
        .build(Arc::new(net.clone()))
}

async fn upgraded(pool: &ConnectionPool) -> Upgraded {
    let request = http::Request::get("http://server.test/")
        .header("connection", "Upgrade")
        .header("upgrade", "shout/2")
        .body(Body::empty())
        .unwrap();
    let mut response = pool.request(request).await.unwrap();
    Upgraded::take_from(&mut response).unwrap()
}

#[test]
fn what_came_with_the_answer_can_be_read_in_small_pieces() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: shout/2\r\nconnection: upgrade\r\n\r\n\
             all of it";
        stream.write_all(answer).await.unwrap();
        stream.stall().await;
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    net.run(async {
        let mut stream = upgraded(&pool).await;
        let mut heard = Vec::new();
        while heard.len() < 9 {
            let mut small = BytesMut::with_capacity(2);
            assert!(stream.read(&mut small).await.unwrap() <= 2);
            heard.extend_from_slice(&small);
        }
        assert_eq!(heard, b"all of it");
    });
}

#[test]
fn a_drain_at_any_instant_ends_an_upgrade_and_says_so() {
    let mut ends = [0; 2];
    for instant in 0..40 {
        let net = MockNet::new();
        let pool = shouting(&net);
        let user = pool.clone();
        let end = Arc::<Mutex<Option<bool>>>::default();
        let told = end.clone();
        net.run(async {
            net.spawn("user", async move {
                let request = http::Request::get("http://server.test/")
                    .header("connection", "Upgrade")
                    .header("upgrade", "shout/2")
                    .body(Body::empty())
                    .unwrap();
                let mut response = match user.request(request).await {
                    Ok(response) => response,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::PoolClosed, "{error}");
                        *told.lock().unwrap() = Some(false);
                        return;
                    }
                };
                let mut stream = Upgraded::take_from(&mut response).unwrap();
                let mut heard = BytesMut::new();
                let error = loop {
                    match stream.read(&mut heard).await {
                        Ok(count) => assert_ne!(count, 0),
                        Err(error) => break error,
                    }
                };
                assert!(ConnectionRevoked::is_source_of(&error), "{error}");
                *told.lock().unwrap() = Some(true);
            });
            net.sleep(Duration::from_millis(instant)).await;
            pool.drain(Duration::ZERO).await;
        });
        drop(pool);
        net.run_until_idle();
        let switched = end.lock().unwrap().expect("it has ended");
        ends[usize::from(switched)] += 1;
        assert_eq!(net.live_counts(), LiveCounts::default(), "{}", net.report());
    }
    assert!(ends.iter().all(|count| *count > 3), "{ends:?}");
}

#[test]
fn an_upgrade_dropped_anywhere_leaves_nothing_behind() {
    let swept = Sweep::polls().run(|net| {
        let pool = shouting(net);
        let (asking, again) = (pool.clone(), pool.clone());
        Swept::new(async move {
            let mut stream = upgraded(&asking).await;
            stream.write_all(&[b'x'; 40]).await.unwrap();
            assert_eq!(take(&mut stream, 43).await.len(), 43);
            let (mut reader, mut writer) = stream.split();
            writer.close_write().await.unwrap();
            assert_eq!(reader.read(&mut BytesMut::new()).await.unwrap(), 0);
        })
        .counting(move || vec![("requests", pool.status().active_requests)])
        // A connection that is being made goes on being made, and is then idle.
        .allow_tasks(2)
        .allow_streams(1)
        .allow_timers(2)
        .allow_attempts(1)
        .then(async move { drop(upgraded(&again).await) })
    });
    assert!(swept.points > 10, "{swept:?}");
}

#[test]
fn halves_read_and_write_from_two_tasks() {
    let net = MockNet::new();
    let pool = shouting(&net);
    net.run(async {
        let (mut reader, mut writer) = upgraded(&pool).await.split();
        net.spawn("writer", async move {
            // More than fits on the way at once: without the reader it would wait for ever.
            writer.write_all(&[b'y'; 10_000]).await.unwrap();
            writer.close_write().await.unwrap();
        });
        let mut heard = BytesMut::new();
        while reader.read(&mut heard).await.unwrap() > 0 {}
        assert_eq!(heard.len(), 10_003);
        assert!(heard.starts_with(b"HI YYY"));
    });
}

#[test]
fn a_thread_that_waits_speaks_websocket_by_tungstenite_itself() {
    use httpcore::ws::{
        Handshake, Message,
        tungstenite::{WebSocket, protocol::Role},
    };
    let origin = httpcore_origin::Origin::start().unwrap();
    let pool = blocking::ConnectionPool::new().unwrap();
    let opened = pool.websocket(Handshake::new(origin.url("/echo"))).unwrap();
    let stream = pool.stream(opened.stream);
    let mut socket = WebSocket::from_raw_socket(stream, Role::Client, None);
    for size in [0, 5, 100_000] {
        let said = Message::text("x".repeat(size));
        socket.send(said.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), said);
    }
    socket.close(None).unwrap();
    assert!(socket.read().unwrap().is_close());
    drop(socket);
    assert_eq!(pool.status().active_requests, 0);
}

#[test]
fn reading_an_upgraded_stream_that_was_reset_fails_again_and_never_ends() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: shout/2\r\nconnection: upgrade\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream.reset();
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let client = Client::new(pool, Arc::new(net.clone()), "http://server.test");
    net.run(async {
        let mut stream = open(&client, upgrade(&client, "/")).await.unwrap();
        let mut heard = BytesMut::new();
        for _ in 0..3 {
            let error = stream.read(&mut heard).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        let (mut reader, _writer) = stream.split();
        let error = reader.read(&mut heard).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
}

/// A socket reports a reset once, and then an end.
#[test]
fn reading_an_upgraded_socket_that_was_reset_fails_again_and_never_ends() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let answer =
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: shout/2\r\nconnection: upgrade\r\n\r\n";
        stream.write_all(answer).unwrap();
        // The first byte of the client, after which it waits for an answer.
        stream.read_exact(&mut [0]).unwrap();
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    });
    let pool = ConnectionPool::builder().build_blocking().unwrap();
    let request = http::Request::get(&url)
        .header("connection", "Upgrade")
        .header("upgrade", "shout/2")
        .body(Body::empty())
        .unwrap();
    let mut response = pool.request(request).unwrap();
    let upgraded = Upgraded::take_from(&mut response).unwrap();
    let mut stream = pool.stream(upgraded);
    stream.write_all(b"x").unwrap();
    for _ in 0..3 {
        let error = stream.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    server.join().unwrap();
}
