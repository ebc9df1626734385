//! A server of many moods, in many worlds: whatever it does, each request gets its own answer or a
//! fitting error, nothing is processed twice that must not be, and nothing is left behind.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use httpcore::{Body, ConnectionPool, Timeouts, config::Http2Config};
use httpcore_net_mock::{Chunks, Link, LiveCounts, MockNet, seeds};
use httpcore_tests::{
    h2_peer::{
        frames::{Frame, code, data, goaway, headers, kind, ok, ping, reset, setting, settings},
        peer::Peer,
        record::Received,
        script::serve,
    },
    suite::Client,
};

const REQUESTS: usize = 8;
const SEEDS: u64 = 200;
/// More than a window.
const LARGE: usize = 40_000;
const WINDOW: u32 = 30_000;

/// What all connections of a world share.
#[derive(Clone, Default)]
struct Book {
    /// How often each target was processed, as far as the server would say.
    processed: Arc<Mutex<BTreeMap<String, usize>>>,
    is_kind: Arc<AtomicBool>,
}

impl Book {
    fn note(&self, request: &Received) {
        let target = request.field(":path").unwrap().to_owned();
        *self.processed.lock().unwrap().entry(target).or_default() += 1;
    }
}

/// What is done about a request.
enum Deed {
    Say(Vec<Frame>),
    /// And then nothing more.
    SayAndClose(Vec<Frame>),
}

async fn be_moody(mut peer: Peer, book: Book) -> io::Result<()> {
    let mut asked = BTreeMap::new();
    let mut last = u32::MAX;
    while let Some(received) = peer.next_politely().await? {
        let stream = received.frame.stream;
        let is_end = received.is_end();
        if received.frame.kind == kind::HEADERS && received.field(":method").is_some() {
            asked.insert(stream, received);
        }
        if received_reset(&mut asked, &peer, stream) || !is_end || stream > last {
            continue;
        }
        let Some(request) = asked.remove(&stream) else {
            continue;
        };
        let mood = match book.is_kind.load(Ordering::Relaxed) {
            true => 0,
            false => peer.stream().random_below(16),
        };
        if mood == 8 {
            last = stream.saturating_sub(2);
        }
        if !matches!(mood, 6 | 8) {
            book.note(&request);
        }
        if mood == 5 {
            peer.stream().sleep(Duration::from_millis(30)).await;
        }
        match deed(mood, &request) {
            Deed::Say(frames) => peer.send(&frames).await?,
            Deed::SayAndClose(frames) => return peer.send(&frames).await,
        }
    }
    Ok(())
}

/// Whether the client has given up this stream.
fn received_reset(asked: &mut BTreeMap<u32, Received>, peer: &Peer, stream: u32) -> bool {
    let frames = peer.record().of(kind::RST_STREAM);
    let is_reset = frames.iter().any(|reset| reset.frame.stream == stream);
    if is_reset {
        asked.remove(&stream);
    }
    is_reset
}

fn deed(mood: usize, request: &Received) -> Deed {
    let stream = request.frame.stream;
    let target = request.field(":path").unwrap().to_owned();
    let length = target.len().to_string();
    let whole = || vec![ok(stream), data(stream, target.clone()).end()];
    match mood {
        1 => Deed::Say(vec![
            headers(stream, &[(":status", "103"), ("link", "</a>")]),
            headers(stream, &[(":status", "200"), ("content-length", &length)]),
            data(stream, target.clone()).padded(9),
            headers(stream, &[("x-sum", "7")]).end(),
        ]),
        2 => Deed::Say(vec![
            settings(&[(setting::INITIAL_WINDOW_SIZE, 10_000)]),
            ping([2; 8]),
            ok(stream),
            data(stream, target[..1].to_owned()),
            data(stream, target[1..].to_owned()),
            data(stream, "").end(),
        ]),
        6 => Deed::Say(vec![reset(stream, code::REFUSED_STREAM)]),
        7 => Deed::Say(vec![ok(stream), reset(stream, code::INTERNAL_ERROR)]),
        // What comes later is not processed, and this neither.
        8 => Deed::Say(vec![goaway(stream.saturating_sub(2), code::NO_ERROR)]),
        9 => {
            let mut frames = whole();
            frames.push(goaway(stream, code::NO_ERROR));
            Deed::SayAndClose(frames)
        }
        10 => Deed::SayAndClose(vec![ok(stream), data(stream, target[..1].to_owned())]),
        11 => Deed::Say(vec![headers(stream, &[("x-no", "status")]).end()]),
        12 => Deed::Say(vec![ok(stream)]),
        13 => Deed::Say(vec![data(0, "")]),
        14 => Deed::SayAndClose(vec![]),
        _ => Deed::Say(whole()),
    }
}

/// Polls `future` so often at most, and then drops it where it stands.
async fn at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = Some(Box::pin(future));
    let mut left = polls;
    poll_fn(move |cx| {
        let Some(running) = &mut future else {
            return Poll::Ready(None);
        };
        left -= 1;
        match Pin::as_mut(running).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => {
                future = None;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn client(net: &MockNet) -> Client {
    let mut config = Http2Config::default();
    config.stream_window = WINDOW;
    let limit = Duration::from_secs(5);
    let limits = Timeouts::none()
        .with_acquire(4 * limit)
        .with_write(limit)
        .with_response_head(limit)
        .with_read(limit);
    let pool = ConnectionPool::builder()
        .http1(false)
        .http2(true)
        .configure_http2(|http2| *http2 = config)
        .timeouts(limits)
        .build(Arc::new(net.clone()));
    Client::new(pool, Arc::new(net.clone()), "http://server.test")
}

fn one_world(net: &MockNet, tally: &mut BTreeMap<String, usize>) {
    let book = Book::default();
    let limit = [1, 2, 100][net.random_below(3)];
    let (served, _) = {
        let book = book.clone();
        let limits = [(setting::MAX_CONCURRENT_STREAMS, limit)];
        serve(net, &limits, move |peer, _| be_moody(peer, book.clone()))
    };
    let link = Link::new().latency(Duration::from_millis(net.random_below(3) as u64));
    served.link(match net.random_below(3) {
        0 => link,
        1 => link.chunks(Chunks::Each(7)),
        _ => link.buffer(300),
    });
    let client = client(net);
    let told = Arc::new(Mutex::new(Vec::new()));
    for number in 0..REQUESTS {
        let (client, told) = (client.clone(), told.clone());
        let polls = match net.random_below(4) {
            1 => 1 + net.random_below(9),
            _ => usize::MAX,
        };
        let (target, request) = match net.random_below(3) {
            0 => {
                let target = format!("/get/{number}");
                (
                    target.clone(),
                    client.request("GET", &target, Body::empty()),
                )
            }
            large => {
                let target = format!("/post/{number}");
                let size = if large == 1 { LARGE } else { 10 };
                let request = client.request("POST", &target, vec![b'x'; size]);
                (target, request)
            }
        };
        net.spawn("a request", async move {
            let line = at_most(polls, client.send(request)).await;
            told.lock().unwrap().push((target, line));
        });
    }
    net.advance(Duration::from_secs(300));
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(told.len(), REQUESTS, "{}", net.report());
    for (target, line) in told {
        let Some(line) = line else {
            *tally.entry("dropped".to_owned()).or_default() += 1;
            continue;
        };
        let is_answered =
            line == format!("200 {target:?}") || line == format!("200 trailer x-sum=7 {target:?}");
        let failed = line.rsplit("then ").next().unwrap_or_default();
        let kind = failed.split(' ').next().unwrap_or_default().to_owned();
        // Only what begins to answer stalls, and so nobody waits in vain for anything else.
        let fits = ["Protocol", "ConnectionClosed", "Network", "Timeout(Read)"];
        assert!(is_answered || fits.contains(&&kind[..]), "{target}: {line}");
        let what = if is_answered {
            "answered".to_owned()
        } else {
            kind
        };
        *tally.entry(what).or_default() += 1;
    }
    for (target, times) in book.processed.lock().unwrap().iter() {
        let most = if target.starts_with("/post") { 1 } else { 2 };
        assert!(*times <= most, "{target} was processed {times} times");
    }
    book.is_kind.store(true, Ordering::Relaxed);
    assert_eq!(net.run(client.get("/next")), "200 \"/next\"");
    let status = client.pool.status();
    assert_eq!(
        (status.active_requests, status.queued_requests),
        (0, 0),
        "{status:#}"
    );
    drop(client);
    net.run_until_idle();
    assert_eq!(
        net.live_counts(),
        LiveCounts::default(),
        "{:#?}",
        net.live()
    );
}

#[test]
fn whatever_the_server_does_each_request_gets_its_own_answer_or_a_fitting_error() {
    let (tally, worlds) = (RefCell::new(BTreeMap::new()), RefCell::new(0));
    seeds(0..SEEDS, |net| {
        one_world(&net, &mut tally.borrow_mut());
        *worlds.borrow_mut() += 1;
    });
    let (tally, worlds) = (tally.into_inner(), worlds.into_inner());
    println!("{worlds} worlds: {tally:#?}");
    // A scenario in which something never happens proves nothing about it.
    for outcome in [
        "answered",
        "dropped",
        "Protocol",
        "ConnectionClosed",
        "Timeout(Read)",
    ] {
        assert!(
            worlds < 100 || tally.contains_key(outcome),
            "{outcome} never occurred"
        );
    }
}
