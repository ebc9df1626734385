//! A pool on tokio: runtimes that end, are busy or are several, and requests that are dropped at any point.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    env, fs,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
    time::Duration,
};

use httpcore::{Body, ConnectionPool, Error, ErrorKind, Timeouts};
use httpcore_net_tokio::TokioBackend;
use httpcore_origin::Origin;
use tokio::{
    runtime::{Builder, Runtime},
    task::LocalSet,
};

/// Longer than any of this takes: a test that hangs fails instead.
const TOO_LONG: Duration = Duration::from_secs(60);

/// The tests count the descriptors of the process, and so run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap()
}

fn pool_on(runtime: &Runtime) -> ConnectionPool {
    ConnectionPool::builder()
        .max_connections(8)
        .timeouts(Timeouts::default().with_total(TOO_LONG))
        .build(Arc::new(TokioBackend::on(runtime.handle())))
}

/// Sends a request and reads its response to the end.
async fn get(pool: &ConnectionPool, url: &str) -> Result<usize, Error> {
    let response = pool.get(url).await?;
    Ok(response.into_body().bytes(1 << 24).await?.len())
}

fn sockets() -> usize {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}

/// Runs `test` on a thread of its own.
///
/// # Panics
///
/// If it has not ended after a minute, and with its own panic.
fn within_a_minute<T: Send + 'static>(what: &str, test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        let outcome = test();
        let _ = done.send(());
        outcome
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = is_done.recv_timeout(TOO_LONG) {
        panic!("{what} has not ended after {TOO_LONG:?}");
    }
    thread.join().unwrap()
}

/// Asks again and again, until that fails, which must be because the runtime has ended.
async fn until_shutdown(pool: ConnectionPool, url: String, answered: Arc<AtomicUsize>) {
    loop {
        match get(&pool, &url).await {
            Ok(_) => answered.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::RuntimeShutdown, "{error}");
                return;
            }
        };
    }
}

/// One runtime, which is dropped while it serves requests of its own tasks and of other threads.
fn drop_under_load(origin: &Origin, round: usize) {
    let runtime = match round % 2 {
        0 => multi_thread(2),
        _ => current_thread(),
    };
    let pool = pool_on(&runtime);
    let answered = Arc::new(AtomicUsize::new(0));
    let paths = ["/hello", "/bytes/200000", "/stream/20", "/wait/1"];
    for n in 0..12 {
        let url = origin.url(paths[n % paths.len()]);
        drop(runtime.spawn(until_shutdown(pool.clone(), url, answered.clone())));
    }
    let threads: Vec<_> = (0..2)
        .map(|n| {
            let (pool, url) = (pool.clone(), origin.url(paths[n]));
            let answered = answered.clone();
            // A runtime without sockets and timers of its own.
            let other = Builder::new_current_thread().build().unwrap();
            thread::spawn(move || other.block_on(until_shutdown(pool, url, answered)))
        })
        .collect();
    let enough = round % 7;
    runtime.block_on(async {
        while answered.load(Ordering::Relaxed) < enough {
            tokio::task::yield_now().await;
        }
    });
    match round % 3 {
        0 => runtime.shutdown_background(),
        _ => drop(runtime),
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    // The pool is the same one, and says why it does nothing any more, wherever it is asked.
    let error = current_thread()
        .block_on(get(&pool, &origin.url("/hello")))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RuntimeShutdown, "{error}");
    assert_eq!(pool.status().idle_connections, 0);
}

#[test]
fn a_runtime_dropped_under_load_500_times_hangs_nothing_and_its_pool_fails_by_name() {
    let _alone = alone();
    let before = sockets();
    within_a_minute("dropping runtimes", || {
        let origin = Origin::start().unwrap();
        for round in 0..500 {
            drop_under_load(&origin, round);
        }
        assert!(origin.wait_for_open(0, TOO_LONG), "{:?}", origin.stats());
    });
    assert_eq!(sockets(), before);
}

/// Numbers that look random, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// Polls `future` at most `polls` times, and drops it then. Each poll is a wake-up of the task, and so a point at which
/// a caller may give up.
async fn poll_at_most<F: Future>(polls: u64, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|cx| {
        polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polled >= polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Requests of each kind, each dropped after some polls, before or after its head.
async fn drop_at_random(pool: ConnectionPool, base: String, requests: u64, seed: u64) -> u64 {
    let mut random = Random(seed | 1);
    let mut completed = 0;
    for _ in 0..requests {
        let (path, body): (_, Body) = match random.below(8) {
            0 => ("/bytes/300000", Body::empty()),
            1 => ("/chunked/70000", Body::empty()),
            2 => ("/stream/30", Body::empty()),
            3 => ("/wait/2", Body::empty()),
            4 => ("/echo", Body::from(vec![b'x'; 100_000])),
            5 => ("/close", Body::empty()),
            6 => ("/truncated", Body::empty()),
            _ => ("/hello", Body::empty()),
        };
        let method = if path == "/echo" { "POST" } else { "GET" };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .body(body)
            .unwrap();
        let polls = random.below(6);
        let Some(Ok(response)) = poll_at_most(polls, pool.request(request)).await else {
            continue;
        };
        let polls = random.below(12);
        let body = response.into_body().bytes(1 << 24);
        if let Some(Ok(_)) = poll_at_most(polls, body).await {
            completed += 1;
        }
    }
    completed
}

#[test]
fn requests_dropped_at_random_leave_no_socket_slot_or_task() {
    const TASKS: u64 = 64;
    let _alone = alone();
    let before = sockets();
    // 10,000, or as many as the environment says.
    let requests: u64 = env::var("HTTPCORE_TEST_DROPPED_REQUESTS")
        .map_or(10_000, |count| count.parse().expect("a number"));
    let limit = TOO_LONG * u32::try_from(1 + requests / 10_000).unwrap();
    {
        let origin = Origin::start().unwrap();
        let runtime = multi_thread(2);
        let pool = pool_on(&runtime);
        let (base, tasks) = (origin.url(""), pool.clone());
        let completed = runtime.block_on(async move {
            let tasks: Vec<_> = (0..TASKS)
                .map(|n| {
                    let (pool, base) = (tasks.clone(), base.clone());
                    tokio::spawn(drop_at_random(
                        pool,
                        base,
                        requests / TASKS,
                        77 + n * 1_000_003,
                    ))
                })
                .collect();
            let all = async {
                let mut completed = 0;
                for task in tasks {
                    completed += task.await.unwrap();
                }
                completed
            };
            tokio::time::timeout(limit, all).await.expect("no hang")
        });
        // Neither all of them were dropped nor none.
        assert!(0 < completed && completed < requests, "{completed}");
        let status = pool.status();
        assert_eq!((status.active_requests, status.queued_requests), (0, 0));
        // Every slot is free: as many requests as there are slots run side by side, several times.
        runtime.block_on(async {
            for _ in 0..3 {
                let asking: Vec<_> = (0..8)
                    .map(|_| {
                        let (pool, url) = (pool.clone(), origin.url("/wait/5"));
                        tokio::spawn(async move { get(&pool, &url).await.unwrap() })
                    })
                    .collect();
                for request in asking {
                    request.await.unwrap();
                }
            }
        });
        pool.close_idle();
        assert!(origin.wait_for_open(0, TOO_LONG), "{:?}", origin.stats());
        drop(pool);
        // The pool's own tasks and the driver of the timers end with it.
        let alive = || runtime.metrics().num_alive_tasks();
        runtime.block_on(async {
            let ended = async {
                while alive() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            let ended = tokio::time::timeout(TOO_LONG, ended).await;
            ended.unwrap_or_else(|_| panic!("{} tasks are left", alive()));
        });
    }
    assert_eq!(sockets(), before);
}

/// A pool is made once and used by several runtimes, as programs with tests under `#[tokio::test]` do.
#[test]
fn a_pool_is_used_from_a_second_runtime_for_as_long_as_its_own_lives() {
    let _alone = alone();
    let origin = Origin::start().unwrap();
    let url = origin.url("/hello");
    let first = multi_thread(1);
    let pool = pool_on(&first);
    first.block_on(get(&pool, &url)).unwrap();
    for _ in 0..3 {
        let second = current_thread();
        second.block_on(get(&pool, &url)).unwrap();
        // A connection that the second runtime's request used does not end with that runtime.
        drop(second);
    }
    assert_eq!(origin.stats().accepted, 1);
}

#[test]
fn a_pool_of_a_runtime_that_ended_fails_by_name_on_the_next_and_a_new_pool_works() {
    let _alone = alone();
    let origin = Origin::start().unwrap();
    let url = origin.url("/hello");
    let first = current_thread();
    let pool = pool_on(&first);
    first.block_on(get(&pool, &url)).unwrap();
    assert_eq!(pool.status().idle_connections, 1);
    drop(first);

    let second = current_thread();
    let error = second.block_on(get(&pool, &url)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RuntimeShutdown, "{error}");
    assert!(!error.connection_reused(), "{error}");
    second.block_on(get(&pool_on(&second), &url)).unwrap();
}

#[test]
fn a_request_that_another_runtime_awaits_fails_when_the_pools_own_ends() {
    let _alone = alone();
    let origin = Origin::start().unwrap();
    let url = origin.url("/silent");
    let first = multi_thread(1);
    let pool = pool_on(&first);
    let waiting = thread::spawn(move || current_thread().block_on(pool.get(url)).map(drop));
    // The server has read the head and stays silent; whether the request is polled or waits does not matter.
    let reached = || {
        while origin.stats().requests == 0 {
            thread::yield_now();
        }
        origin
    };
    let _origin = within_a_minute("reaching the server", reached);
    drop(first);
    let error = within_a_minute("the request", || waiting.join().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RuntimeShutdown, "{error}");
}

/// A connection that was opened by a request on a runtime which computes since then serves the others: it belongs to
/// the pool's runtime.
#[test]
fn a_busy_runtime_delays_no_request_of_another() {
    let _alone = alone();
    let origin = Origin::start().unwrap();
    let url = origin.url("/hello");
    let own = multi_thread(1);
    let pool = pool_on(&own);
    let (release, released) = mpsc::channel::<()>();
    let (opened, has_opened) = mpsc::channel();
    let busy = {
        let (pool, url) = (pool.clone(), url.clone());
        thread::spawn(move || {
            current_thread().block_on(async {
                get(&pool, &url).await.unwrap();
                opened.send(()).unwrap();
                // Its thread does nothing else from here on.
                released.recv().unwrap_err();
            });
        })
    };
    has_opened.recv().unwrap();
    let request = { move || current_thread().block_on(get(&pool, &url)) };
    within_a_minute("a request beside a busy runtime", request).unwrap();
    assert_eq!(origin.stats().accepted, 1);
    drop(release);
    busy.join().unwrap();
}

#[test]
fn a_busy_worker_of_the_pools_own_runtime_delays_no_request() {
    let _alone = alone();
    let origin = Origin::start().unwrap();
    let url = origin.url("/hello");
    let own = multi_thread(2);
    let pool = pool_on(&own);
    own.block_on(get(&pool, &url)).unwrap();
    let (release, released) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let busy = own.spawn(async move {
        begun.send(()).unwrap();
        released.recv().unwrap_err();
    });
    has_begun.recv().unwrap();
    let request = { move || current_thread().block_on(get(&pool, &url)) };
    within_a_minute("a request beside a busy worker", request).unwrap();
    drop(release);
    own.block_on(busy).unwrap();
}

#[test]
fn tasks_of_a_local_set_share_a_pool() {
    let _alone = alone();
    let origin = Origin::start().unwrap();
    let url: Rc<str> = origin.url("/hello").into();
    let runtime = current_thread();
    let pool = pool_on(&runtime);
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (pool, url) = (pool.clone(), url.clone());
                tokio::task::spawn_local(async move { get(&pool, &url).await.unwrap() })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 14);
        }
    });
}
