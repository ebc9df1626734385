//! Server-Sent Events through the facade, in virtual time.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use httpcore::{
    ConnectionPool, ErrorKind, Response, Timeouts,
    sse::{EventSource, Events, Limits, SourceEvent, Subscription},
};
use httpcore_net_mock::{Link, MockNet, MockTls, Scenario, ServerStream, Sweep, TlsServer, seeds};

const SECOND: Duration = Duration::from_secs(1);
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n\
     transfer-encoding: chunked\r\n\r\n";

fn subscription() -> Subscription {
    Subscription::new("http://server.test/events")
}

async fn chunk(stream: &mut ServerStream, text: impl AsRef<str>) -> bool {
    let text = text.as_ref();
    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
    stream.write_all(chunk).await.is_ok()
}

/// Serves `answers` to one request after the other, each on a connection of its own, and notes when
/// which id was asked for. What an answer lacks of its end is missing: the connection is closed.
fn serve(net: &MockNet, answers: &'static [&'static str]) -> Arc<Mutex<Vec<String>>> {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let noted = asked.clone();
    net.serve("server.test", 80, move |mut stream| {
        let asked = noted.clone();
        async move {
            let Ok(head) = stream.read_head().await else {
                return;
            };
            let id = head
                .lines()
                .find_map(|line| line.strip_prefix("last-event-id: "));
            let answer = {
                let mut asked = asked.lock().unwrap();
                asked.push(id.unwrap_or("-").to_owned());
                answers.get(asked.len() - 1).copied()
            };
            match answer {
                Some(answer) => drop(stream.write_all(answer).await),
                None => stream.stall().await,
            }
        }
    });
    asked
}

/// Everything that happens, in a word each, up to `most` of them.
async fn told(source: &mut EventSource, most: usize) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    while told.len() < most {
        let step = source.step().await;
        let is_error = matches!(step, Some(Err(_)));
        let line = match step {
            Some(Ok(SourceEvent::Opened)) => "opened".to_owned(),
            Some(Ok(SourceEvent::Event(event))) => format!("{}={}", event.id, event.data),
            Some(Ok(SourceEvent::Waiting {
                reconnect_delay,
                error,
            })) => match error {
                Some(error) => format!("{reconnect_delay:?} after {:?}", error.kind()),
                None => format!("{reconnect_delay:?}"),
            },
            Some(Ok(other)) => format!("{other:?}"),
            Some(Err(error)) => format!("{:?}: {error}", error.kind()),
            None => break,
        };
        if is_error && told.last() == Some(&line) {
            // It is returned again, and never the end.
            break;
        }
        told.push(line);
    }
    told
}

#[test]
fn an_event_is_there_when_its_last_byte_is() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        for n in 0..5 {
            chunk(&mut stream, format!("data: {n}\n")).await;
            stream.sleep(SECOND).await;
            chunk(&mut stream, "\n").await;
            stream.sleep(SECOND).await;
        }
        stream.write_all("0\r\n\r\n").await.unwrap();
        stream.stall().await;
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    net.run(async {
        let response = pool.get("http://server.test/").await.unwrap();
        let mut events = Events::new(response, Limits::default()).unwrap();
        for n in 0..5 {
            assert_eq!(events.event().await.unwrap().unwrap().data, n.to_string());
            assert_eq!(net.elapsed(), SECOND * (2 * n + 1));
        }
        assert!(events.event().await.is_none());
    });
    // The response ended well, and its connection serves others.
    assert_eq!(pool.status().idle_connections, 1);
}

#[test]
fn error_that_ends_the_events_of_a_response_is_returned_again() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        chunk(&mut stream, "data: one\n\ndata: tw").await;
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    net.run(async {
        let response = pool.get("http://server.test/").await.unwrap();
        let mut events = Events::new(response, Limits::default()).unwrap();
        assert_eq!(events.event().await.unwrap().unwrap().data, "one");
        for _ in 0..3 {
            let error = events.event().await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionClosed);
        }
    });
}

#[test]
fn hours_of_silence_end_nothing() {
    let day = SECOND * 86_400;
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        stream.sleep(SECOND * 86_400).await;
        chunk(&mut stream, "data: good morning\n\n").await;
        stream.stall().await;
    });
    // Whatever the pool has as its own limits.
    let pool = ConnectionPool::builder()
        .timeouts(Timeouts::default().with_read(SECOND).with_total(SECOND))
        .build(Arc::new(net.clone()));
    let event = net.run(async { pool.events(subscription()).event().await });
    assert_eq!(event.unwrap().unwrap().data, "good morning");
    assert_eq!(net.elapsed(), day);
}

#[test]
fn a_sign_of_life_may_be_demanded() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        for _ in 0..3 {
            stream.sleep(SECOND * 50).await;
            chunk(&mut stream, ":\n").await;
        }
        stream.stall().await;
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let limits = Timeouts::default().with_read(SECOND * 60);
    let mut source = pool.events(subscription().option(limits));
    let told = net.run(told(&mut source, 2));
    assert_eq!(told, ["opened", "3s after Timeout(Read)"]);
    assert_eq!(net.elapsed(), SECOND * 210);
}

#[test]
fn a_broken_stream_is_taken_up_behind_its_last_event() {
    let net = MockNet::new();
    let asked = serve(
        &net,
        &[
            // An end in good order, with a wish.
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\
             content-length: 26\r\n\r\nretry: 500\nid: 1\ndata: a\n\n",
            // In the middle of the third event.
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100\r\n\r\n\
             id: 2\ndata: b\n\nid: 3\ndata: c\n",
            // No id any more, and no wish: the last ones hold.
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
             id: 3\ndata: c\n\ndata: d\n\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ],
    );
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let mut source = pool.events(subscription());
    let told = net.run(told(&mut source, 100));
    assert_eq!(
        told,
        [
            "opened",
            "1=a",
            "500ms",
            "opened",
            "2=b",
            "500ms after ConnectionClosed",
            "opened",
            "3=c",
            "3=d",
            "500ms",
        ]
    );
    assert_eq!(*asked.lock().unwrap(), ["-", "1", "2", "3"]);
    assert_eq!(net.elapsed(), 3 * SECOND / 2);
    drop((source, pool));
    net.run_until_idle();
    assert_eq!(net.live_counts().streams, 0);
}

#[test]
fn failures_in_a_row_are_waited_for_longer_and_longer_and_an_event_ends_that() {
    let net = MockNet::new();
    let served = net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        chunk(&mut stream, "data: a\n\n").await;
    });
    served.links([
        Link::refused(),
        Link::refused(),
        Link::refused(),
        Link::refused(),
        Link::new(),
        Link::refused(),
    ]);
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let plan = subscription()
        .reconnect_delay(SECOND)
        .max_reconnect_delay(5 * SECOND);
    let mut source = pool.events(plan);
    let told = net.run(told(&mut source, 8));
    assert_eq!(
        told,
        [
            "1s after Connect",
            "2s after Connect",
            "4s after Connect",
            "5s after Connect",
            "opened",
            "=a",
            "1s after ConnectionClosed",
            "2s after Connect",
        ]
    );
    assert_eq!(net.elapsed(), 13 * SECOND);
}

#[test]
fn a_server_that_wished_for_no_pause_is_not_asked_without_end_once_it_is_gone() {
    let net = MockNet::new();
    let served = net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        chunk(&mut stream, "retry: 0\ndata: a\n\n").await;
    });
    served.links(std::iter::once(Link::new()).chain(std::iter::repeat_n(Link::refused(), 100)));
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let mut source = pool.events(subscription().max_reconnect_delay(5 * SECOND));
    let told = net.run(told(&mut source, 7));
    assert_eq!(
        told,
        [
            "opened",
            "=a",
            "500ms after ConnectionClosed",
            "1s after Connect",
            "2s after Connect",
            "4s after Connect",
            "5s after Connect",
        ]
    );
}

/// A source whose every connection brings this and ends, how often it was connected, and when last.
fn ending_at_once(
    net: &MockNet,
    plan: Subscription,
    body: &'static str,
) -> (EventSource, Arc<Mutex<u32>>) {
    let asked = Arc::<Mutex<u32>>::default();
    let counted = asked.clone();
    let source = EventSource::new(plan, Arc::new(net.clone()), move |_| {
        *counted.lock().unwrap() += 1;
        async move {
            Ok(http::Response::builder()
                .header("content-type", "text/event-stream")
                .body(httpcore::Body::from(body))
                .unwrap())
        }
    });
    (source, asked)
}

#[test]
fn a_server_that_ends_each_response_at_once_is_not_asked_without_a_pause() {
    for (body, plan) in [
        ("retry: 0\n\n", subscription()),
        ("", subscription().reconnect_delay(Duration::ZERO)),
        (
            "retry: 0\n\n",
            subscription()
                .reconnect_delay(Duration::ZERO)
                .max_reconnect_delay(Duration::ZERO),
        ),
    ] {
        let net = MockNet::new();
        let (mut source, asked) = ending_at_once(&net, plan, body);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..1000 {
            assert!(source.poll_event(&mut cx).is_pending());
        }
        assert_eq!(*asked.lock().unwrap(), 1, "requests in no time at all");
    }
}

#[test]
fn connections_without_an_event_are_made_ever_more_rarely_and_are_counted() {
    let net = MockNet::new();
    let plan = subscription().max_reconnects(3);
    let (mut source, asked) = ending_at_once(&net, plan, "retry: 0\n\n: nothing\n\n");
    let said = net.run(told(&mut source, 100));
    assert_eq!(
        said,
        [
            "opened",
            "500ms",
            "opened",
            "1s",
            "opened",
            "2s",
            "opened",
            "ConnectionClosed: every response ended without an event, up to the maximum number of \
             reconnects",
        ]
    );
    assert_eq!(*asked.lock().unwrap(), 4);
}

#[test]
fn connections_with_an_event_are_made_after_half_a_second_and_are_not_counted() {
    let net = MockNet::new();
    let plan = subscription().max_reconnects(1);
    let (mut source, asked) = ending_at_once(&net, plan, "retry: 0\ndata: a\n\n");
    net.run(async {
        for _ in 0..100 {
            source.event().await.unwrap().unwrap();
        }
    });
    assert_eq!(*asked.lock().unwrap(), 100);
    assert_eq!(net.elapsed(), 99 * SECOND / 2);
}

#[test]
fn no_reconnect_is_made_where_none_is_allowed() {
    let net = MockNet::new();
    let plan = subscription().max_reconnects(0);
    let (mut source, asked) = ending_at_once(&net, plan, "data: a\n\n");
    let told = net.run(told(&mut source, 100));
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[test]
fn as_many_reconnects_are_made_as_are_allowed() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |stream| stream.close())
        .link(Link::refused());
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let mut source = pool.events(subscription().reconnect_delay(SECOND).max_reconnects(2));
    let told = net.run(told(&mut source, 100));
    assert_eq!(
        told,
        [
            "1s after Connect",
            "2s after Connect",
            "Connect: connecting to 10.0.0.1:80 failed"
        ]
    );
}

#[test]
fn an_answer_without_events_is_the_end() {
    for (answer, end) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", None),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n",
            Some("200 OK"),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Some("200 OK"),
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
            Some("401 Unauthorized"),
        ),
        (
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n",
            Some("307 Temporary Redirect"),
        ),
    ] {
        let net = MockNet::new();
        serve(&net, Box::leak(Box::new([answer])));
        let pool = ConnectionPool::new(Arc::new(net.clone()));
        let mut source = pool.events(subscription());
        let told = net.run(told(&mut source, 100));
        let expected = end
            .map(|status| format!("Protocol: response is not an event stream (status {status})"));
        let is_end = expected.is_none();
        assert_eq!(told, Vec::from_iter(expected), "{answer}");
        assert_eq!(net.run(source.event()).is_none(), is_end);
    }
}

#[test]
fn what_cannot_be_asked_for_ends_at_once() {
    let net = MockNet::new();
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    for (subscription, kind) in [
        (Subscription::new("not a url"), ErrorKind::InvalidUrl),
        (
            Subscription::new("ftp://server.test/"),
            ErrorKind::UnsupportedScheme,
        ),
        (subscription().header("a b", "c"), ErrorKind::InvalidRequest),
        (
            subscription().last_event_id("7\n8"),
            ErrorKind::InvalidRequest,
        ),
    ] {
        let mut source = pool.events(subscription);
        let error = net.run(source.event()).unwrap().unwrap_err();
        assert_eq!(error.kind(), kind);
        let again = net.run(source.event()).unwrap().unwrap_err();
        assert_eq!(again.kind(), kind);
    }
    let secure = MockNet::new();
    let expired = TlsServer::new().bad_certificate("expired");
    secure.serve_tls("server.test", 443, expired, async |stream| {
        stream.stall().await
    });
    let strict = ConnectionPool::builder()
        .tls(Arc::new(MockTls::new()))
        .build(Arc::new(secure.clone()));
    let mut source = strict.events(Subscription::new("https://server.test/"));
    let error = secure.run(source.event()).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    pool.close();
    let mut source = pool.events(subscription());
    let error = net.run(source.event()).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PoolClosed);
}

#[test]
fn a_drained_pool_ends_a_source_that_is_listening() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        stream.stall().await;
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let mut source = pool.events(subscription());
    net.run(async {
        assert!(matches!(source.step().await, Some(Ok(SourceEvent::Opened))));
        let draining = pool.drain(SECOND);
        net.spawn("drain", async move {
            assert_eq!(draining.await.aborted, 1);
        });
        let error = source.event().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PoolClosed);
        let again = source.event().await.unwrap().unwrap_err();
        assert_eq!(again.kind(), ErrorKind::PoolClosed);
    });
    assert_eq!(net.elapsed(), SECOND);
}

#[test]
fn an_event_that_is_too_large_is_the_end() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        while chunk(&mut stream, "data: 0123456789").await {}
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let limits = Limits::default().with_max_event_size(1000);
    let mut source = pool.events(subscription().limits(limits));
    let error = net.run(source.event()).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(pool.status().active_requests, 0);
}

#[test]
fn a_response_that_is_no_stream_of_events_is_given_back() {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        stream.read_head().await.unwrap();
        let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone";
        stream.write_all(answer).await.unwrap();
        stream.stall().await;
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    net.run(async {
        let response: Response = pool.get("http://server.test/").await.unwrap();
        let back = Events::new(response, Limits::default()).unwrap_err();
        assert_eq!(
            back.0.into_response().into_body().bytes(10).await.unwrap(),
            "none"
        );
    });
}

/// Numbered events, from the one behind the id that is asked for, some of them on each connection.
async fn count(mut stream: ServerStream) {
    let Ok(head) = stream.read_head().await else {
        return;
    };
    let id = head
        .lines()
        .find_map(|line| line.strip_prefix("last-event-id: "));
    let from = id.map_or(0, |id| id.parse::<usize>().unwrap() + 1);
    if stream.write_all(HEAD).await.is_err() {
        return;
    }
    let many = 1 + stream.random_below(10);
    for n in from..from + many {
        if !chunk(&mut stream, format!("id: {n}\n")).await
            || !chunk(&mut stream, format!("data: {n}\n\n")).await
        {
            return;
        }
    }
    if stream.random_below(2) == 1 {
        stream.reset();
    }
}

#[test]
fn no_event_is_lost_or_repeated_or_out_of_order_whatever_breaks() {
    seeds(0..100, |net| {
        net.serve("server.test", 80, count);
        let pool = ConnectionPool::new(Arc::new(net.clone()));
        net.run(async {
            let mut source = pool.events(subscription());
            for n in 0..100 {
                let event = source.event().await.unwrap().unwrap();
                assert_eq!((event.id, event.data), (n.to_string(), n.to_string()));
            }
        });
    });
}

#[test]
fn a_source_dropped_anywhere_leaves_nothing_behind() {
    let swept = Sweep::polls().run(|net| {
        net.serve("server.test", 80, count)
            .link(Link::new().latency(Duration::from_millis(5)));
        let pool = ConnectionPool::builder()
            .max_connections(1)
            .build(Arc::new(net.clone()));
        let (asking, again) = (pool.clone(), pool.clone());
        Scenario::new(async move {
            let mut source = asking.events(subscription());
            for _ in 0..4 {
                source.event().await.unwrap().unwrap();
            }
        })
        .counting(move || vec![("requests", pool.status().active_requests)])
        // A connection that is being made goes on being made, and is then idle.
        .allow_tasks(2)
        .allow_streams(1)
        .allow_timers(2)
        .allow_attempts(1)
        .then(async move {
            again.events(subscription()).event().await.unwrap().unwrap();
        })
    });
    assert!(swept.points > 10, "{swept:?}");
}
