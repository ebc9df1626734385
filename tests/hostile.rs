//! Many requests to a server that closes, resets and stalls as it pleases, while some of them are
//! dropped: afterwards nothing is left, and the next request succeeds.
//!
//! `HTTPCORE_HOSTILE` says how many requests (3,000 unless told otherwise), `HTTPCORE_SEED` how the
//! rng fall. On our event loop, and on tokio with two workers. What is random is who does what; in which order things happen is the system's.

#![allow(clippy::unwrap_used)] // a test may: clippy.toml speaks of test functions only, not of their helpers

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::Poll,
    thread,
    time::Duration,
};

use httpcore::{
    Body, ConnectionPool, Error, ErrorKind, EventLoop, Timeouts,
    backend::NetworkBackend,
    config::PoolConfig,
    error::{ErrorPhase, RequestSent},
    extensions::ConnectionPolicy,
};
use httpcore_net_tokio::TokioBackend;
use socket2::SockRef;

const WORKERS: u64 = 32;
/// Longer than any body of an answer.
const LIMIT: usize = 1 << 20;

/// splitmix64
struct Rng(u64);

impl Rng {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[derive(Default)]
struct Shared {
    /// How often the head of each request has arrived, by its number.
    seen: Mutex<HashMap<u64, u32>>,
    /// From now on every request is answered.
    is_clean: AtomicBool,
    open: Mutex<usize>,
    closed: Condvar,
    accepted: AtomicU64,
    served: AtomicU64,
}

/// A server whose every connection is a thread with rng of its own.
struct Server {
    shared: Arc<Shared>,
    addr: SocketAddr,
    accepting: Option<thread::JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    fn start(seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (shared_, stop_) = (shared.clone(), stop.clone());
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop_.load(SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                let n = shared_.accepted.fetch_add(1, SeqCst);
                *shared_.open.lock().unwrap() += 1;
                let shared = shared_.clone();
                thread::spawn(move || {
                    let mut rng = Rng(seed ^ n.wrapping_mul(0x9e37_79b9));
                    // It ends as it ends.
                    let _ = converse(stream, &shared, &mut rng);
                    *shared.open.lock().unwrap() -= 1;
                    shared.closed.notify_all();
                });
            }
        });
        Server {
            shared,
            addr,
            accepting: Some(accepting),
            stop,
        }
    }

    /// Waits until every connection has been closed.
    fn wait_until_empty(&self) {
        let open = self.shared.open.lock().unwrap();
        let patience = Duration::from_secs(60); // a bound on hanging, not a measurement
        let (open, _) = self
            .shared
            .closed
            .wait_timeout_while(open, patience, |open| *open > 0)
            .unwrap();
        assert_eq!(*open, 0, "connections are left at the server");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = TcpStream::connect(self.addr);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Serves one connection until either side ends it.
fn converse(mut stream: TcpStream, shared: &Shared, rng: &mut Rng) -> io::Result<()> {
    let mut unread = Vec::new();
    loop {
        let Some(head) = read_until(&mut stream, &mut unread, b"\r\n\r\n")? else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(&head).into_owned();
        let id: u64 = text
            .split(' ')
            .nth(1)
            .and_then(|path| path.trim_start_matches('/').parse().ok())
            .expect("a number for a path");
        *shared.seen.lock().unwrap().entry(id).or_default() += 1;
        let is_clean = shared.is_clean.load(SeqCst);
        let roll = if is_clean { 99 } else { rng.roll(100) };
        match roll {
            0..6 => return Ok(()),
            6..10 => return reset(&stream),
            10..14 => return wait_for_the_end(&mut stream),
            _ => {}
        }
        if text.starts_with("POST") {
            read_until(&mut stream, &mut unread, b"0\r\n\r\n")?;
        }
        let body = format!("answer to {id};").repeat(1 + (id % 50) as usize);
        let answer = if id.is_multiple_of(3) {
            let (one, two) = body.split_at(body.len() / 2);
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
                one.len(),
                two.len()
            )
        } else {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let answer = answer.as_bytes();
        let cut = 1 + rng.roll(answer.len() as u64 - 1) as usize;
        match roll {
            // In the middle of the answer, whatever that is.
            14..18 => {
                stream.write_all(&answer[..cut])?;
                return Ok(());
            }
            18..22 => {
                stream.write_all(&answer[..cut])?;
                return reset(&stream);
            }
            22..26 => {
                stream.write_all(&answer[..cut])?;
                return wait_for_the_end(&mut stream);
            }
            _ => {}
        }
        stream.write_all(&answer[..cut])?;
        stream.write_all(&answer[cut..])?;
        shared.served.fetch_add(1, SeqCst);
        match roll {
            // The pool takes it for idle, for a moment.
            26..32 => return Ok(()),
            32..35 => return reset(&stream),
            35..37 => {
                stream.write_all(b"HTTP/1.1 408 Too late\r\n\r\n")?;
                return stream.shutdown(Shutdown::Write);
            }
            _ => {}
        }
    }
}

fn read_until(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
    end: &[u8],
) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(at) = unread.windows(end.len()).position(|window| window == end) {
            return Ok(Some(unread.drain(..at + end.len()).collect()));
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            read => unread.extend_from_slice(&piece[..read]),
        }
    }
}

fn reset(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

fn wait_for_the_end(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(|_| ())
}

/// Polls `future` so often at most, and then drops it where it stands.
async fn at_most<F: Future>(polls: u64, future: F) -> Option<F::Output> {
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

/// How the requests ended.
#[derive(Default)]
struct Ends {
    answered: AtomicUsize,
    failed: AtomicUsize,
    dropped: AtomicUsize,
}

fn request(addr: SocketAddr, id: u64, rng: &mut Rng) -> httpcore::Request {
    let builder = http::Request::builder().uri(format!("http://{addr}/{id}"));
    let builder = match rng.roll(10) {
        0 => builder.extension(ConnectionPolicy::default().with_new_connection()),
        1 => builder.extension(ConnectionPolicy::default().with_close_after()),
        _ => builder,
    };
    if id % 2 == 1 {
        let mut pieces = 0;
        let body = Body::poll_fn(move |_| {
            pieces += 1;
            let piece =
                (pieces <= 3).then(|| Ok::<_, std::convert::Infallible>("x".repeat(40).into()));
            Poll::Ready(piece)
        });
        builder.method("POST").body(body).unwrap()
    } else {
        builder.body(Body::empty()).unwrap()
    }
}

async fn work(
    pool: ConnectionPool,
    addr: SocketAddr,
    ids: impl Iterator<Item = u64>,
    seed: u64,
    ends: Arc<Ends>,
) {
    let mut rng = Rng(seed);
    for id in ids {
        let polls = match rng.roll(4) {
            0 => 1 + rng.roll(6),
            _ => u64::MAX,
        };
        let sending = pool.request(request(addr, id, &mut rng));
        let reads_half = rng.roll(10) == 0;
        let exchange = async {
            let mut response = sending.await?;
            if response.status() == 408 {
                // Both crossed: the client cannot tell that this is no response to its request.
                return Err(Error::new(
                    ErrorKind::ConnectionClosed,
                    ErrorPhase::Head,
                    RequestSent::Full,
                ));
            }
            if reads_half {
                let _piece = response.body_mut().chunk().await;
                return Ok(None);
            }
            Ok::<_, Error>(Some(response.into_body().bytes(LIMIT).await?))
        };
        match at_most(polls, exchange).await {
            None | Some(Ok(None)) => ends.dropped.fetch_add(1, SeqCst),
            Some(Ok(Some(body))) => {
                let expected = format!("answer to {id};").repeat(1 + (id % 50) as usize);
                assert_eq!(body, expected, "the response to another request");
                ends.answered.fetch_add(1, SeqCst)
            }
            Some(Err(error)) => {
                let expected = matches!(
                    error.kind(),
                    ErrorKind::ConnectionClosed
                        | ErrorKind::Network
                        | ErrorKind::Timeout(_)
                        | ErrorKind::Protocol
                );
                assert!(expected, "{error:?}");
                ends.failed.fetch_add(1, SeqCst)
            }
        };
    }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Held by each test: they count the files of the process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool(backend: impl NetworkBackend) -> ConnectionPool {
    let mut config = PoolConfig::default();
    config.max_connections = Some(WORKERS as usize / 2);
    // Only what stalls runs into the limit, unless the machine does.
    config.timeouts = Timeouts::default().with_read(Duration::from_millis(100));
    ConnectionPool::builder()
        .configure_pool(|pool| *pool = config)
        .build(backend)
}

/// One future for each worker.
fn workers<'a>(
    pool: &'a ConnectionPool,
    server: &'a Server,
    (requests, seed): (u64, u64),
    ends: &'a Arc<Ends>,
) -> impl Iterator<Item = impl Future<Output = ()> + Send + use<>> + 'a {
    (0..WORKERS).map(move |worker| {
        let ids = (worker..requests).step_by(WORKERS as usize);
        let seed = seed.wrapping_add(worker << 32);
        work(pool.clone(), server.addr, ids, seed, ends.clone())
    })
}

/// What holds once all requests have ended.
fn check(pool: &ConnectionPool, server: &Server, requests: u64, ends: &Ends) {
    let count = |of: &AtomicUsize| of.load(SeqCst);
    let (answered, failed) = (count(&ends.answered), count(&ends.failed));
    let dropped = count(&ends.dropped);
    println!(
        "{answered} answered, {failed} failed, {dropped} dropped\n{:?}",
        pool.stats()
    );
    assert_eq!((answered + failed + dropped) as u64, requests);
    assert!(answered > 0 && failed > 0 && dropped > 0);

    let status = pool.status();
    assert_eq!(
        (status.active_requests, status.queued_requests),
        (0, 0),
        "{status:#}"
    );
    let twice: Vec<_> = server
        .shared
        .seen
        .lock()
        .unwrap()
        .iter()
        .filter(|&(&id, &times)| times > if id % 2 == 1 { 1 } else { 2 })
        .map(|(&id, &times)| (id, times))
        .collect();
    assert_eq!(
        twice,
        [],
        "a POST is never sent twice, and nothing three times"
    );
}

/// The next request succeeds, and then the pool is emptied.
async fn finish(pool: &ConnectionPool, server: &Server, requests: u64) {
    server.shared.is_clean.store(true, SeqCst);
    let url = format!("http://{}/{}", server.addr, 2 * requests);
    let response = pool.get(url).await.expect("the next request succeeds");
    response.into_body().bytes(LIMIT).await.expect("to its end");
    let drained = pool.drain(Duration::from_secs(60)).await;
    assert_eq!(drained.aborted, 0);
    assert!(pool.status().connections.is_empty(), "{:#}", pool.status());
}

#[test]
fn nothing_is_left_after_many_requests_to_a_server_without_manners() {
    let _alone = alone();
    let (requests, seed) = (
        number("HTTPCORE_HOSTILE", 3_000),
        number("HTTPCORE_SEED", 1),
    );
    let files_before = open_files();
    let server = Server::start(seed);
    let epoll = EventLoop::new().unwrap();
    let files_of_the_loop = open_files();
    let pool = pool(epoll.backend());
    let ends = Arc::<Ends>::default();
    epoll.block_on(async {
        let workers = workers(&pool, &server, (requests, seed), &ends);
        let workers: Vec<_> = workers.map(|worker| epoll.spawn(worker)).collect();
        for worker in workers {
            worker.await;
        }
    });
    check(&pool, &server, requests, &ends);
    epoll.block_on(finish(&pool, &server, requests));
    let handle = epoll.handle();
    epoll.block_on(async {
        // The tasks that watched the pool have been woken, and end.
        let mut turns = 0;
        poll_fn(|cx| {
            turns += 1;
            if handle.tasks() == 0 || turns > 100 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    });
    assert_eq!(
        (handle.tasks(), handle.streams()),
        (0, 0),
        "tasks or sockets are left"
    );
    server.wait_until_empty();
    assert_eq!(open_files(), files_of_the_loop, "files are left");
    drop((epoll, pool, handle, server));
    assert_eq!(open_files(), files_before, "files are left");
}

fn two_workers() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn nothing_is_left_after_many_requests_on_tokio_with_two_workers() {
    let _alone = alone();
    let (requests, seed) = (
        number("HTTPCORE_HOSTILE", 3_000),
        number("HTTPCORE_SEED", 1),
    );
    let files_before = open_files();
    let server = Server::start(seed);
    let runtime = two_workers();
    let files_of_the_runtime = open_files();
    let pool = pool(TokioBackend::on(runtime.handle()));
    let ends = Arc::<Ends>::default();
    runtime.block_on(async {
        let workers = workers(&pool, &server, (requests, seed), &ends);
        let workers: Vec<_> = workers.map(tokio::spawn).collect();
        for worker in workers {
            worker.await.unwrap();
        }
    });
    check(&pool, &server, requests, &ends);
    runtime.block_on(finish(&pool, &server, requests));
    drop(pool);
    server.wait_until_empty();
    // Tasks that watched the pool have been woken, and end on the workers.
    let metrics = runtime.metrics();
    let mut turns = 0;
    while metrics.num_alive_tasks() > 0 {
        turns += 1;
        assert!(
            turns < 1_000_000,
            "{} tasks are left",
            metrics.num_alive_tasks()
        );
        thread::yield_now();
    }
    assert_eq!(open_files(), files_of_the_runtime, "files are left");
    // The metrics are a handle to the runtime.
    drop((runtime, metrics, server));
    assert_eq!(open_files(), files_before, "files are left");
}

/// `HTTPCORE_SHUTDOWNS` says how often (50 times unless told otherwise).
#[test]
fn a_runtime_that_is_dropped_under_load_ends_every_request_by_name() {
    let _alone = alone();
    let files_before = open_files();
    let server = Server::start(1);
    server.shared.is_clean.store(true, SeqCst);
    let mut rng = Rng(number("HTTPCORE_SEED", 1));
    let rounds = number("HTTPCORE_SHUTDOWNS", 50);
    let (mut served, mut failed) = (0, 0);
    for _ in 0..rounds {
        let runtime = two_workers();
        // Without a time limit: a busy machine may reach any.
        let pool = ConnectionPool::builder()
            .max_connections(WORKERS as usize / 2)
            .build(TokioBackend::on(runtime.handle()));
        let done = Arc::new(AtomicUsize::new(0));
        let url = format!("http://{}/2", server.addr);
        let load = {
            let (pool, done, url) = (pool.clone(), done.clone(), url.clone());
            move || {
                let (pool, done, url) = (pool.clone(), done.clone(), url.clone());
                async move {
                    loop {
                        let response = pool.get(&url).await?;
                        response.into_body().bytes(LIMIT).await?;
                        done.fetch_add(1, SeqCst);
                    }
                }
            }
        };
        // On the runtime, which drops them, and on threads of their own, which poll on.
        let (told, tells) = mpsc::channel();
        for _ in 0..8 {
            let (on_runtime, told) = (load(), told.clone());
            runtime.spawn(async move {
                let ended: Result<std::convert::Infallible, Error> = on_runtime.await;
                let Err(error) = ended;
                told.send(error).unwrap();
            });
        }
        let (ended, ends) = mpsc::channel();
        let outside: Vec<_> = (0..4)
            .map(|_| {
                let (load, ended) = (load(), ended.clone());
                thread::spawn(move || {
                    let result: Result<std::convert::Infallible, Error> = async_io::block_on(load);
                    ended.send(result).unwrap();
                })
            })
            .collect();
        let enough = rng.roll(200) as usize;
        while done.load(SeqCst) < enough {
            thread::yield_now();
        }
        drop(runtime);
        for _ in &outside {
            let patience = Duration::from_secs(60); // a bound on hanging, not a measurement
            let Err(error) = ends.recv_timeout(patience).expect("no request hangs");
            assert_eq!(error.kind(), ErrorKind::RuntimeShutdown, "{error:?}");
            failed += 1;
        }
        for thread in outside {
            thread.join().unwrap();
        }
        for error in tells.try_iter() {
            assert_eq!(error.kind(), ErrorKind::RuntimeShutdown, "{error:?}");
        }
        // The pool is still there, and says why it cannot serve.
        let error = async_io::block_on(pool.get(&url)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RuntimeShutdown, "{error:?}");
        let status = pool.status();
        assert_eq!((status.active_requests, status.queued_requests), (0, 0));
        served += done.load(SeqCst);
    }
    println!("{rounds} runtimes, {served} requests served, {failed} ended by name");
    server.wait_until_empty();
    drop(server);
    let files = open_files();
    // Those of the reactor of `async_io::block_on` remain.
    assert!(
        files <= files_before + 8,
        "{files} files, {files_before} before"
    );
}
