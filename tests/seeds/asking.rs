//! The requests: what each of them is, how it went, and whether that fits.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use httpcore::{
    Body, ConnectionPool, Error, ErrorKind, Request, Response, Timeouts,
    error::{ErrorPhase, RequestSent, TimeoutKind},
};
use httpcore_net_mock::{MockNet, Sleep};

use crate::{
    FaultProfile, milliseconds,
    origin::{self, Book},
};

/// The limits of every request, or nearly: some are less patient.
pub(crate) const TIMEOUTS: Timeouts = Timeouts::none()
    .with_acquire(Duration::from_millis(650))
    .with_resolve(Duration::from_millis(400))
    .with_connect(Duration::from_millis(500))
    .with_write(Duration::from_millis(200))
    .with_response_head(Duration::from_millis(280))
    .with_read(Duration::from_millis(300));

/// What is to be seen when enough seeds are run.
pub(crate) const OUTCOMES: &[&str] = &[
    "answered",
    "answered by a second attempt",
    "dropped",
    "ConnectionClosed in Head",
    "ConnectionClosed in Body",
    "Connect in Connect",
    "Network in Send",
    "Network in Head",
    "Network in Body",
    "Protocol in Head",
    "RequestBody in Send",
    "Resolve in Resolve",
    "Timeout(Connect) in Connect",
    "Timeout(ResponseHead) in Head",
    "Timeout(Acquire) in Acquire",
    "Timeout(Read) in Head",
    "Timeout(Read) in Body",
    "Timeout(Resolve) in Resolve",
    "Timeout(Total) in",
    "Timeout(Write) in Send",
];

/// One request, before it begins.
pub(crate) struct Plan {
    number: usize,
    request: Request,
    starts: Sleep,
    leaves: Leaves,
    timeouts: Timeouts,
    /// Whether its own body fails.
    fails: bool,
    /// The response is dropped after this number of chunks of its body.
    pieces: usize,
}

/// When it is dropped.
enum Leaves {
    Never,
    /// Before its poll of this number.
    BeforePoll(usize),
    At(Pin<Box<Sleep>>),
}

/// One request, afterwards.
pub(crate) struct Entry {
    number: usize,
    fails: bool,
    timeouts: Timeouts,
    took: Duration,
    pub(crate) outcome: Outcome,
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answered,
    Dropped,
    Failed(Error),
}

/// Where they are entered.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<(Vec<Entry>, Option<Waker>)>);

impl Ledger {
    fn enter(&self, entry: Entry) {
        let waker = {
            let mut ledger = self.0.lock().unwrap();
            ledger.0.push(entry);
            ledger.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Waits until `count` requests have been entered.
    pub(crate) fn filled(&self, count: usize) -> impl Future<Output = ()> + '_ {
        poll_fn(move |cx| {
            let mut ledger = self.0.lock().unwrap();
            if ledger.0.len() >= count {
                return Poll::Ready(());
            }
            ledger.1 = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    pub(crate) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut self.0.lock().unwrap().0)
    }
}

impl Plan {
    /// A request of some kind.
    pub(crate) fn new(net: &MockNet, number: usize, is_dropped: bool) -> Self {
        let method =
            ["GET", "GET", "GET", "POST", "POST", "POST", "HEAD", "PUT"][net.random_below(8)];
        let fails = method == "POST" && net.random_below(16) == 1;
        let body = match method {
            "POST" | "PUT" => body(net, number, fails),
            _ => Body::empty(),
        };
        let timeouts = match net.random_below(2) {
            1 => TIMEOUTS
                .with_read(milliseconds(200))
                .with_total(milliseconds(700)),
            _ => TIMEOUTS,
        };
        let leaves = match is_dropped.then(|| net.random_below(4)) {
            Some(1) => Leaves::BeforePoll(1 + net.random_below(12)),
            Some(2) => Leaves::At(Box::pin(net.sleep(milliseconds(net.random_below(300))))),
            _ => Leaves::Never,
        };
        let pieces = match is_dropped.then(|| net.random_below(4)) {
            Some(1) => net.random_below(3),
            _ => usize::MAX,
        };
        Plan {
            number,
            request: request(net, method, number, timeouts, body),
            starts: net.sleep(milliseconds(
                [0, 0, net.random_below(60)][net.random_below(3)],
            )),
            leaves,
            timeouts,
            fails,
            pieces,
        }
    }

    /// A GET without ado.
    pub(crate) fn plain(net: &MockNet, number: usize) -> Self {
        Plan {
            number,
            request: request(net, "GET", number, TIMEOUTS, Body::empty()),
            starts: net.sleep(Duration::ZERO),
            leaves: Leaves::Never,
            timeouts: TIMEOUTS,
            fails: false,
            pieces: usize::MAX,
        }
    }
}

fn request(net: &MockNet, method: &str, number: usize, timeouts: Timeouts, body: Body) -> Request {
    let host = ["one.test", "two.test"][net.random_below(2)];
    http::Request::builder()
        .method(method)
        .uri(format!("http://{host}/{number}"))
        .extension(timeouts)
        .body(body)
        .unwrap()
}

/// The request's own text: at once, in pieces of a known length, or in chunks.
fn body(net: &MockNet, number: usize, fails: bool) -> Body {
    let size = [10, 200, 3000][net.random_below(3)];
    let text = Bytes::from(origin::text("question", number, size));
    if !fails && net.random_below(2) == 0 {
        return text.into();
    }
    let pause = milliseconds([0, 10][net.random_below(2)]);
    let (net_of_body, mut rest, mut sleep) = (net.clone(), text, None);
    let streamed = Body::poll_fn(move |cx| {
        if !pause.is_zero() {
            let waiting = sleep.get_or_insert_with(|| Box::pin(net_of_body.sleep(pause)));
            ready!(waiting.as_mut().poll(cx));
            sleep = None;
        }
        if rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = rest.split_to(rest.len().min(600));
        if fails && rest.is_empty() {
            return Poll::Ready(Some(Err("the caller's body fails")));
        }
        Poll::Ready(Some(Ok(piece)))
    });
    match net.random_below(3) {
        1 => streamed.with_length(size as u64),
        2 => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "9".parse().unwrap());
            streamed.with_trailers(trailers)
        }
        _ => streamed,
    }
}

/// Begins a request, which will be entered in the ledger when it is over.
pub(crate) fn spawn(net: &MockNet, pool: &ConnectionPool, plan: Plan, ledger: &Arc<Ledger>) {
    let Plan {
        number,
        request,
        starts,
        leaves,
        timeouts,
        fails,
        pieces,
    } = plan;
    let (clock, pool, ledger) = (net.clone(), pool.clone(), ledger.clone());
    let is_head = request.method() == http::Method::HEAD;
    net.spawn("request", async move {
        starts.await;
        let began = clock.elapsed();
        let asking = async {
            let response = pool.request(request).await?;
            read(number, is_head, response, pieces).await
        };
        let outcome = leave(asking, leaves)
            .await
            .map_or(Outcome::Dropped, |ended| {
                ended.unwrap_or_else(Outcome::Failed)
            });
        ledger.enter(Entry {
            number,
            fails,
            timeouts,
            took: clock.elapsed() - began,
            outcome,
        });
    });
}

/// Drops `asking` when it is time to, and then yields nothing.
async fn leave<T>(asking: impl Future<Output = T>, mut leaves: Leaves) -> Option<T> {
    let (mut asking, mut polls) = (Box::pin(asking), 0);
    poll_fn(|cx| {
        polls += 1;
        let is_time = match &mut leaves {
            Leaves::Never => false,
            Leaves::BeforePoll(number) => polls >= *number,
            Leaves::At(instant) => instant.as_mut().poll(cx).is_ready(),
        };
        if is_time {
            return Poll::Ready(None);
        }
        asking.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Reads a response, which must be the right one as far as it is read.
async fn read(
    number: usize,
    is_head: bool,
    response: Response,
    pieces: usize,
) -> Result<Outcome, Error> {
    assert_eq!(response.status(), 200);
    let (head, mut body) = response.into_parts();
    let field = |name| head.headers[name].to_str().unwrap().parse::<usize>();
    assert_eq!(
        field("x-number"),
        Ok(number),
        "the response to another request"
    );
    let size = if is_head { 0 } else { field("x-size").unwrap() };
    // RFC 9112 §8: where a body ends with the connection, one cut short passes for a whole one.
    let may_be_short = head.headers.contains_key("connection");
    let expected = origin::text("answer", number, size);
    let (mut data, mut count) = (Vec::new(), 0);
    while count < pieces {
        let Some(piece) = body.chunk().await else {
            let is_whole = data.len() == size || may_be_short;
            assert!(is_whole, "{} bytes of {size} pass for all", data.len());
            return Ok(Outcome::Answered);
        };
        data.extend_from_slice(&piece?);
        assert!(
            expected.as_bytes().starts_with(&data),
            "request {number} reads {:?} of {size}",
            String::from_utf8_lossy(&data)
        );
        count += 1;
    }
    Ok(Outcome::Dropped)
}

/// Checks that it went in a way that this world accounts for, and says in a word how it went.
pub(crate) fn check(entry: &Entry, faults: FaultProfile, book: &Book) -> String {
    let seen = book.seen(entry.number).heads;
    match &entry.outcome {
        Outcome::Answered => {
            assert!(seen > 0, "answered without having been asked");
            let again = ["", " by a second attempt"][usize::from(seen > 1)];
            format!("answered{again}")
        }
        Outcome::Dropped => {
            assert!(faults.drops, "request {} was dropped", entry.number);
            "dropped".to_owned()
        }
        Outcome::Failed(error) => {
            let told = format!("{:?} in {:?}", error.kind(), error.phase());
            let of = format!(
                "request {} after {:?}, seen {seen} times: {told}, {error:?}",
                entry.number, entry.took
            );
            assert!(fits(entry, error, faults, book), "{of}\n{faults:?}");
            assert!(!faults.is_clean() || entry.fails, "{of}, in a clean world");
            assert!(error.attempts() <= 2, "{of}");
            assert!(seen <= error.attempts() as usize, "{of}");
            if error.sent() == RequestSent::None && error.attempts() == 1 {
                assert_eq!(seen, 0, "{of}");
            }
            told
        }
    }
}

/// Whether something in this world accounts for an error, and it says so in the right phase.
fn fits(entry: &Entry, error: &Error, faults: FaultProfile, book: &Book) -> bool {
    let at_least = |limit: Option<Duration>| limit.is_some_and(|limit| entry.took >= limit);
    let (phase, sent) = (error.phase(), error.sent());
    let on_the_wire = matches!(
        phase,
        ErrorPhase::Send | ErrorPhase::Head | ErrorPhase::Body
    );
    match error.kind() {
        ErrorKind::Resolve => {
            faults.names && phase == ErrorPhase::Resolve && sent == RequestSent::None
        }
        ErrorKind::Connect => {
            (faults.links || faults.names)
                && phase == ErrorPhase::Connect
                && sent == RequestSent::None
        }
        ErrorKind::ConnectionClosed | ErrorKind::Network => {
            (faults.links || faults.servers) && on_the_wire
        }
        ErrorKind::Protocol => {
            book.spoke_nonsense() && matches!(phase, ErrorPhase::Head | ErrorPhase::Send)
        }
        ErrorKind::RequestBody => entry.fails && phase == ErrorPhase::Send,
        ErrorKind::Timeout(limit) => match limit {
            TimeoutKind::Acquire => {
                at_least(entry.timeouts.acquire()) && phase == ErrorPhase::Acquire
            }
            TimeoutKind::Resolve => {
                faults.names && at_least(entry.timeouts.resolve()) && phase == ErrorPhase::Resolve
            }
            TimeoutKind::Connect => {
                (faults.names || faults.links)
                    && at_least(entry.timeouts.connect())
                    && phase == ErrorPhase::Connect
            }
            // Not only of the sending phase: an answer may have begun to come.
            TimeoutKind::Write => at_least(entry.timeouts.write()) && on_the_wire,
            TimeoutKind::ResponseHead => {
                at_least(entry.timeouts.response_head()) && phase == ErrorPhase::Head
            }
            TimeoutKind::Read => at_least(entry.timeouts.read()) && on_the_wire,
            // It fires at its instant: no task here delays it.
            TimeoutKind::Total => Some(entry.took) == entry.timeouts.total(),
            _ => false,
        },
        _ => false,
    }
}
