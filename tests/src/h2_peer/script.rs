//! Cases: what a server says, what a client makes of it, and what follows.

use std::{
    fmt,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use httpcore::{ConnectionPool, ConnectionPoolBuilder, Timeouts};
use httpcore_net_mock::{Chunks, Link, LiveCounts, MockNet, ServerHandle, ServerStream};

use super::{
    frames::{self, Frame, code, flag},
    peer::Peer,
    record::{Received, Record},
};
use crate::suite::{Client, Story};

/// Where the outcome is not what the RFC demands, by the names of the cases.
const DIFFERENCES: &str = include_str!("../../../docs/http2-differences.md");

/// One step of a server's.
#[derive(Clone, Debug)]
pub enum Step {
    /// Says these frames.
    Say(Vec<Frame>),
    /// Says these bytes.
    Bytes(Bytes),
    /// Reads until the fields of a new request are there.
    Request,
    /// Reads until this stream has been ended by the client.
    End(u32),
    /// Reads until a frame of this type comes, acknowledgements included.
    Frame(u8),
    /// Reads until a PING has been answered.
    Pong,
    /// Reads, and gives back credit for DATA, for so long.
    Wait(Duration),
    /// Repeats this step that number of times.
    Repeat(usize, Vec<Step>),
    /// Closes.
    Close,
    /// Closes without manners.
    Reset,
    /// Closes the writing side, and goes on reading.
    HalfClose,
    /// Neither reads nor writes, for ever.
    Stall,
}

/// Where the request goes that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Over the same connection.
    Here,
    /// Over a new one.
    Elsewhere,
    /// It fails, or gets another answer than a polite server's.
    Says(&'static str),
}

/// A server's script for the client's first connection, what the client does, and what is to come
/// of it. Further connections have a polite server, and so has the first one after the script.
pub struct Case {
    name: &'static str,
    settings: Option<Vec<(u16, u32)>>,
    steps: Vec<Step>,
    pool: fn(ConnectionPoolBuilder) -> ConnectionPoolBuilder,
    client: fn(Client) -> Story,
    told: String,
    complaints: String,
    next: Next,
    is_cut: bool,
    is_deviation: bool,
    is_once: bool,
    check: fn(&Record),
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A case; its name begins with the section whose rule it is about. The server has sent empty
/// SETTINGS when `steps` begin, and the client sends one GET.
pub fn case(name: &'static str, steps: impl Into<Vec<Step>>) -> Case {
    Case {
        name,
        settings: Some(Vec::new()),
        steps: steps.into(),
        pool: |builder| builder,
        client: |client| Box::pin(async move { client.get("/case").await }),
        told: String::new(),
        complaints: String::new(),
        next: Next::Here,
        is_cut: false,
        is_deviation: false,
        is_once: false,
        check: |_| {},
    }
}

impl Case {
    /// With these values in the server's first SETTINGS.
    #[must_use]
    pub fn settings(mut self, values: &[(u16, u32)]) -> Self {
        self.settings = Some(values.to_vec());
        self
    }

    /// Without SETTINGS, unless the steps send them.
    #[must_use]
    pub fn without_settings(mut self) -> Self {
        self.settings = None;
        self
    }

    /// With a client that does this instead.
    #[must_use]
    pub fn client(mut self, client: fn(Client) -> Story) -> Self {
        self.client = client;
        self
    }

    /// With a pool that has other settings.
    #[must_use]
    pub fn pool(mut self, pool: fn(ConnectionPoolBuilder) -> ConnectionPoolBuilder) -> Self {
        self.pool = pool;
        self
    }

    /// The script need not be played to its end: the client closes before.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.is_cut = true;
        self
    }

    /// The outcome is not quite what the RFC demands: `docs/http2-differences.md` says why.
    #[must_use]
    pub fn deviates(mut self) -> Self {
        self.is_deviation = true;
        self
    }

    /// Played once only, with its bytes whole: because the client says very much, or because it
    /// matters whether all of them come before the client goes on.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.is_once = true;
        self
    }

    /// And this holds for what the client has said on its first connection.
    #[must_use]
    pub fn check(mut self, check: fn(&Record)) -> Self {
        self.check = check;
        self
    }

    /// The client complains of nothing, and the connection goes on.
    #[must_use]
    pub fn fine(self, told: &str) -> Self {
        self.outcome(told, "", Next::Here)
    }

    /// The client resets stream 1 with this code, and the connection goes on.
    #[must_use]
    pub fn stream_error(self, error: u32, told: &str) -> Self {
        let complaints = format!("RST_STREAM 1 {}", code::name(error));
        self.outcome(told, &complaints, Next::Here)
    }

    /// The client ends the connection with this code.
    #[must_use]
    pub fn connection_error(self, error: u32, told: &str) -> Self {
        let complaints = format!("GOAWAY {}", code::name(error));
        self.outcome(told, &complaints, Next::Elsewhere)
    }

    /// What the client says, what it complains of on the wire, and where its next request goes.
    #[must_use]
    pub fn outcome(mut self, told: &str, complaints: &str, next: Next) -> Self {
        self.told = told.to_owned();
        self.complaints = complaints.to_owned();
        self.next = next;
        self
    }

    /// Plays the case. What went otherwise than it should have, in lines.
    fn play(&self) -> Vec<String> {
        let mut problems = self.play_over(&Link::new());
        // What comes of it must not depend on how the bytes are cut. Long ones take too long for that.
        if !self.is_once && self.steps.iter().map(size).sum::<usize>() < SHORT {
            for bytes in [1, 9, 10] {
                let cut = Link::new().to_client(|path| path.chunks(Chunks::Each(bytes)));
                let again = self.play_over(&cut);
                problems.extend(again.iter().map(|line| format!("cut by {bytes}: {line}")));
            }
        }
        problems
    }

    fn play_over(&self, link: &Link) -> Vec<String> {
        let net = MockNet::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.play_in(&net, link)));
        net.clear();
        outcome.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            vec![format!("panicked: {}", text.unwrap_or("?"))]
        })
    }

    fn play_in(&self, net: &MockNet, link: &Link) -> Vec<String> {
        let record = Record::default();
        let served = {
            let script = (self.settings.clone(), self.steps.clone(), record.clone());
            let count = AtomicUsize::new(0);
            net.serve("server.test", 80, move |stream| {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                let (settings, steps, record) = script.clone();
                async move {
                    if number == 1 {
                        follow(stream, settings, steps, record).await;
                    } else {
                        be_polite(stream, number).await;
                    }
                }
            })
        };
        served.link(link.clone());
        let builder = ConnectionPool::builder()
            .http1(false)
            .http2(true)
            .timeouts(limits());
        let pool = (self.pool)(builder).build(Arc::new(net.clone()));
        let client = Client::new(pool.clone(), Arc::new(net.clone()), "http://server.test");
        let (told, next) = net.run(async {
            let told = (self.client)(client.clone()).await;
            net.run_until_idle();
            (told, client.get("/next").await)
        });
        net.run_until_idle();
        let mut problems = Vec::new();
        if DIFFERENCES.contains(&format!("`{}`", self.name)) != self.is_deviation {
            problems.push("docs/http2-differences.md knows otherwise".to_owned());
        }
        let mut compare = |what: &str, expected: &str, got: &str| {
            if expected != got {
                problems.push(format!(
                    "{what}\n      expected: {expected}\n      got:      {got}"
                ));
            }
        };
        compare("the client says", &self.told, &told);
        compare(
            "the client's complaints",
            &self.complaints,
            &record.complaints(),
        );
        let place = match self.next {
            Next::Here => "200 x-seen=1 \"/next\"",
            Next::Elsewhere => "200 x-seen=2 \"/next\"",
            Next::Says(told) => told,
        };
        compare("the next request", place, &next);
        let remaining = record.remaining().unwrap_or_default();
        if !self.is_cut {
            compare("not played", "", &remaining);
        }
        let status = pool.status();
        let requests = (status.active_requests, status.queued_requests);
        compare(
            "requests left in the pool",
            "(0, 0)",
            &format!("{requests:?}"),
        );
        drop((client, pool));
        net.run_until_idle();
        let (left, none) = (net.live_counts(), LiveCounts::default());
        compare("left behind", &format!("{none:?}"), &format!("{left:?}"));
        if left != none {
            problems.extend(net.live());
        }
        (self.check)(&record);
        problems
    }
}

/// Says these.
pub fn say(frames: impl Into<Vec<Frame>>) -> Step {
    Step::Say(frames.into())
}

/// Waits for a request, and says these.
pub fn answering(frames: impl Into<Vec<Frame>>) -> Vec<Step> {
    vec![Step::Request, Step::Say(frames.into())]
}

/// How much a server may say in a case which is played byte by byte as well.
const SHORT: usize = 4_000;

/// How much is said in a step.
fn size(step: &Step) -> usize {
    match step {
        Step::Say(frames) => frames::encode(frames).len(),
        Step::Bytes(bytes) => bytes.len(),
        Step::Repeat(times, steps) => times * steps.iter().map(size).sum::<usize>(),
        _ => 0,
    }
}

/// Plays all of `cases`, and fails with everything that went otherwise than it should have.
///
/// # Panics
///
/// If anything did.
pub fn play(cases: &[Case]) {
    let mut failed = 0;
    for case in cases {
        let problems = case.play();
        if !problems.is_empty() {
            failed += 1;
            eprintln!("\n{}:\n    {}", case.name, problems.join("\n    "));
        }
    }
    assert_eq!(failed, 0, "of {} cases", cases.len());
}

/// Time limits which are met only by what would never end.
fn limits() -> Timeouts {
    let long = Duration::from_secs(10);
    Timeouts::none()
        .with_acquire(long)
        .with_connect(long)
        .with_write(long)
        .with_response_head(long)
        .with_read(long)
}

/// What a polite server answers: its number in a field, and the target for a body.
pub fn answer(request: &Received, number: usize) -> Vec<Frame> {
    let (stream, number) = (request.frame.stream, number.to_string());
    let target = request.field(":path").unwrap_or_default().to_owned();
    let fields = [(":status", "200"), ("x-seen", &number[..])];
    match request.field(":method") {
        _ if target.starts_with("/bytes/") => vec![frames::headers(stream, &fields)],
        Some("HEAD") => vec![frames::headers(stream, &fields).end()],
        _ => vec![
            frames::headers(stream, &fields),
            frames::data(stream, target).end(),
        ],
    }
}

/// Serves a whole connection politely.
pub async fn be_polite(stream: ServerStream, number: usize) {
    let Ok(mut peer) = Peer::accept(stream, Record::default()).await else {
        return;
    };
    if peer.send(&[frames::settings(&[])]).await.is_ok() {
        // It ends when the client says so, in one way or another.
        let _ = peer.serve(|request| answer(request, number)).await;
    }
}

/// What has been said on each connection that was made, in their order.
pub type Records = Arc<std::sync::Mutex<Vec<Record>>>;

/// Serves `server.test` by `server`, which is given the peer and the number of the connection,
/// counted from 1. These values have been sent by then.
pub fn serve<F>(
    net: &MockNet,
    settings: &[(u16, u32)],
    server: impl Fn(Peer, usize) -> F + Clone + Send + Sync + 'static,
) -> (ServerHandle, Records)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let settings = frames::settings(settings);
    let records = Records::default();
    let kept = records.clone();
    let served = net.serve("server.test", 80, move |stream| {
        let record = Record::default();
        let number = {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(record.clone());
            kept.len()
        };
        let (server, settings) = (server.clone(), settings.clone());
        async move {
            let Ok(mut peer) = Peer::accept(stream, record.clone()).await else {
                return;
            };
            if peer.send(&[settings]).await.is_ok() {
                // The client ends it, sooner or later.
                let _ = server(peer, number).await;
            }
            record.set_over();
        }
    });
    (served, records)
}

async fn follow(
    stream: ServerStream,
    settings: Option<Vec<(u16, u32)>>,
    steps: Vec<Step>,
    record: Record,
) {
    let Ok(mut peer) = Peer::accept(stream, record.clone()).await else {
        record.set_unplayed("the preface did not come".to_owned());
        return;
    };
    let mut all = Vec::new();
    all.extend(settings.map(|values| Step::Say(vec![frames::settings(&values)])));
    all.extend(steps);
    for step in flat(all) {
        match step {
            Step::Close => return record.set_over(),
            Step::Reset => return peer.into_stream().reset(),
            Step::Stall => return peer.into_stream().stall().await,
            step => {
                let name = name_of(&step);
                if let Err(error) = take(&mut peer, step).await {
                    // The client has closed, and may have said why.
                    while let Ok(Some(_)) = peer.next().await {}
                    return record.set_unplayed(format!("{name}: {error}"));
                }
            }
        }
    }
    if peer.serve(|request| answer(request, 1)).await.is_err() {
        // What the client said before it closed is there still.
        while let Ok(Some(_)) = peer.next().await {}
    }
    record.set_over();
}

/// Steps without repetitions.
fn flat(steps: Vec<Step>) -> Box<dyn Iterator<Item = Step> + Send> {
    Box::new(steps.into_iter().flat_map(|step| match step {
        Step::Repeat(times, steps) => Box::new((0..times).flat_map(move |_| flat(steps.clone()))),
        step => Box::new(std::iter::once(step)) as Box<dyn Iterator<Item = Step> + Send>,
    }))
}

async fn take(peer: &mut Peer, step: Step) -> io::Result<()> {
    match step {
        Step::Say(frames) => peer.send(&frames).await,
        Step::Bytes(bytes) => peer.send_bytes(&bytes).await,
        Step::Request => peer.request().await.map(drop),
        Step::End(stream) => peer.end_of(stream).await,
        Step::Frame(kind) => {
            let found = peer.until(|received| received.frame.kind == kind).await;
            found.map(drop)
        }
        Step::Pong => {
            let is_pong = |received: &Received| {
                received.frame.kind == frames::kind::PING && received.frame.has(flag::ACK)
            };
            peer.until(is_pong).await.map(drop)
        }
        Step::Wait(time) => peer.wait(time).await,
        Step::HalfClose => peer.stream_mut().close_write().await,
        Step::Repeat(..) | Step::Close | Step::Reset | Step::Stall => {
            unreachable!("handled by the caller")
        }
    }
}

fn name_of(step: &Step) -> String {
    match step {
        Step::Bytes(bytes) => format!("{} bytes", bytes.len()),
        step => {
            let mut name = format!("{step:?}");
            name.truncate(200);
            name
        }
    }
}
