//! Tasks, timers, and threads that run the loop.

mod common;

use std::{
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use common::{accepted, open_descriptors, read_some, turn, write_all, yield_now};
use httpcore_core_primitives::{LazyTimer, NetworkBackend, Runtime, TcpOptions, with_deadline};
use httpcore_net_epoll::EventLoop;

fn runtime(epoll: &EventLoop) -> Arc<dyn Runtime> {
    Arc::new(epoll.handle())
}

#[test]
fn block_on_accepts_futures_that_are_neither_send_nor_static() {
    let epoll = EventLoop::new().unwrap();
    let words = std::rc::Rc::new(vec!["not", "send"]);
    let borrowed = &words;
    let len = epoll.block_on(async {
        yield_now().await;
        borrowed.len()
    });
    assert_eq!(len, 2);
}

#[test]
fn task_yields_the_output_of_its_future() {
    let epoll = EventLoop::new().unwrap();
    let sum = epoll.block_on(async {
        let tasks: Vec<_> = (0..100)
            .map(|n| {
                epoll.spawn(async move {
                    yield_now().await;
                    n
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await;
        }
        sum
    });
    assert_eq!(sum, 4950);
    assert_eq!(epoll.handle().tasks(), 0);
}

#[test]
fn dropped_task_drops_its_future_at_once() {
    let epoll = EventLoop::new().unwrap();
    let alive = Arc::new(());
    let held = alive.clone();
    let task = epoll.spawn(async move {
        let _hold = held;
        pending::<()>().await;
    });
    turn(&epoll);
    drop(task);
    assert_eq!((Arc::strong_count(&alive), epoll.handle().tasks()), (1, 0));
}

#[test]
fn detached_task_continues() {
    let epoll = EventLoop::new().unwrap();
    let (done, ended) = mpsc::channel();
    epoll
        .spawn(async move {
            yield_now().await;
            done.send(()).unwrap();
        })
        .detach();
    turn(&epoll);
    ended.try_recv().unwrap();
    assert_eq!(epoll.handle().tasks(), 0);
}

#[test]
fn panic_of_a_task_reaches_only_its_awaiter() {
    let epoll = EventLoop::new().unwrap();
    let clumsy = epoll.spawn(async { panic!("on purpose") });
    Runtime::spawn(
        &epoll.handle(),
        "unheard",
        Box::pin(async { panic!("on purpose, too") }),
    );
    turn(&epoll);
    assert_eq!(epoll.handle().tasks(), 0);
    assert!(clumsy.is_finished());
    let awaited = catch_unwind(AssertUnwindSafe(|| epoll.block_on(clumsy)));
    assert!(awaited.is_err());
    assert_eq!(epoll.block_on(async { 1 }), 1);
}

#[test]
fn panic_in_block_on_hands_the_driver_role_over() {
    let epoll = EventLoop::new().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        epoll.block_on(async {
            yield_now().await;
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err());
    assert!(EventLoop::current().is_none());
    assert_eq!(epoll.block_on(epoll.spawn(async { 1 })), 1);
}

#[test]
fn current_loop_is_the_innermost_one() {
    let (outer, inner) = (EventLoop::new().unwrap(), EventLoop::new().unwrap());
    assert!(EventLoop::current().is_none());
    outer.block_on(async {
        let task = outer.spawn(async {});
        assert_eq!(EventLoop::current().unwrap().tasks(), 1);
        inner.block_on(async {
            assert_eq!(EventLoop::current().unwrap().tasks(), 0);
            // In a task, it is the loop that runs the task.
            let seen = inner.spawn(async { EventLoop::current().unwrap().tasks() });
            assert_eq!(seen.await, 1);
        });
        assert_eq!(EventLoop::current().unwrap().tasks(), 1);
        task.await;
    });
    assert!(EventLoop::current().is_none());
}

#[test]
fn nested_block_on_runs_the_same_loop() {
    let epoll = EventLoop::new().unwrap();
    let epoll = &epoll;
    let received = epoll.block_on(async {
        let other = epoll.spawn(async {
            yield_now().await;
            "from a task"
        });
        epoll.block_on(async {
            yield_now().await;
            other.await
        })
    });
    assert_eq!(received, "from a task");
}

#[test]
fn other_tasks_run_while_a_task_blocks_on_its_own_loop() {
    let epoll = EventLoop::new().unwrap();
    let handle = epoll.handle();
    let total = epoll.block_on(async {
        let other = epoll.spawn(async {
            yield_now().await;
            2
        });
        let nesting = epoll.spawn(async move { handle.block_on(other) });
        nesting.await
    });
    assert_eq!(total, 2);
}

#[test]
fn wake_from_another_thread_ends_the_sleep() {
    let epoll = EventLoop::new().unwrap();
    for _ in 0..200 {
        let (ask, asked) = mpsc::channel::<Waker>();
        let answered = Arc::new(AtomicUsize::new(0));
        let answer = answered.clone();
        let other = thread::spawn(move || {
            let waker = asked.recv().unwrap();
            answer.store(1, Ordering::SeqCst);
            waker.wake();
        });
        let mut ask = Some(ask);
        epoll.block_on(poll_fn(|cx| {
            if let Some(ask) = ask.take() {
                ask.send(cx.waker().clone()).unwrap();
            }
            match answered.load(Ordering::SeqCst) {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        }));
        other.join().unwrap();
    }
}

#[test]
fn spawn_from_another_thread_ends_the_sleep() {
    let epoll = EventLoop::new().unwrap();
    for _ in 0..200 {
        let (told, tell) = (
            Arc::new(Mutex::new(None::<Waker>)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (handle, waker, flag) = (epoll.handle(), told.clone(), tell.clone());
        let (ready, wait) = mpsc::channel();
        let other = thread::spawn(move || {
            wait.recv().unwrap();
            handle
                .spawn(async move {
                    flag.store(1, Ordering::SeqCst);
                    let waker = waker.lock().unwrap().take().unwrap();
                    waker.wake();
                })
                .detach();
        });
        epoll.block_on(poll_fn(|cx| {
            *told.lock().unwrap() = Some(cx.waker().clone());
            ready.send(()).ok();
            match tell.load(Ordering::SeqCst) {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        }));
        other.join().unwrap();
    }
}

#[test]
fn timer_is_ready_after_its_deadline_and_not_before() {
    let epoll = EventLoop::new().unwrap();
    let runtime = runtime(&epoll);
    let deadline = runtime.now() + Duration::from_millis(5);
    epoll.block_on(httpcore_core_primitives::sleep_until(&runtime, deadline));
    assert!(runtime.now() >= deadline);
}

#[test]
fn timers_are_ready_in_order_of_deadline() {
    let epoll = EventLoop::new().unwrap();
    let runtime = runtime(&epoll);
    let start = runtime.now();
    let order = Arc::new(Mutex::new(Vec::new()));
    epoll.block_on(async {
        let tasks: Vec<_> = [30, 10, 20]
            .map(|millis| {
                let (runtime, order) = (runtime.clone(), order.clone());
                epoll.spawn(async move {
                    let deadline = start + Duration::from_millis(millis);
                    httpcore_core_primitives::sleep_until(&runtime, deadline).await;
                    order.lock().unwrap().push(millis);
                })
            })
            .into();
        for task in tasks {
            task.await;
        }
    });
    assert_eq!(*order.lock().unwrap(), [10, 20, 30]);
}

#[test]
fn deadline_moved_later_is_not_met_early() {
    let epoll = EventLoop::new().unwrap();
    let runtime = runtime(&epoll);
    let mut alarm = LazyTimer::new(runtime.clone(), "moved");
    let early = runtime.now() + Duration::from_millis(2);
    let late = early + Duration::from_millis(6);
    epoll.block_on(async {
        let mut first = true;
        poll_fn(|cx| {
            if std::mem::take(&mut first) {
                let _ = alarm.poll_until(cx, Some(early));
            }
            alarm.poll_until(cx, Some(late))
        })
        .await;
    });
    assert!(runtime.now() >= late);
}

#[test]
fn timer_armed_on_another_thread_shortens_the_sleep() {
    let epoll = EventLoop::new().unwrap();
    let handle = epoll.handle();
    let (arm, armed) = mpsc::channel();
    let other = thread::spawn(move || {
        armed.recv().unwrap();
        let runtime: Arc<dyn Runtime> = Arc::new(handle.clone());
        let deadline = handle.now() + Duration::from_millis(2);
        // This thread is parked, and the other one is the driver, which sleeps without a timeout.
        handle.block_on(httpcore_core_primitives::sleep_until(&runtime, deadline));
        deadline
    });
    let waker = Arc::new(Mutex::new(None::<Waker>));
    let ended = Arc::new(AtomicUsize::new(0));
    let (own, flag) = (waker.clone(), ended.clone());
    let watcher = thread::spawn(move || {
        other.join().unwrap();
        flag.store(1, Ordering::SeqCst);
        own.lock().unwrap().take().unwrap().wake();
    });
    epoll.block_on(poll_fn(|cx| {
        *waker.lock().unwrap() = Some(cx.waker().clone());
        arm.send(()).ok();
        match ended.load(Ordering::SeqCst) {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }));
    watcher.join().unwrap();
}

#[test]
fn unanswered_connect_ends_at_its_deadline() {
    // A listener whose backlog is full drops the last segment of the handshake, and connects hang.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let epoll = EventLoop::new().unwrap();
    let runtime = runtime(&epoll);
    let mut kept = Vec::new();
    let ran_out = epoll.block_on(async {
        for _ in 0..16 {
            let deadline = runtime.now() + Duration::from_millis(50);
            let connect = epoll.handle().connect_tcp(address, &TcpOptions::default());
            match with_deadline(&runtime, "connect", Some(deadline), connect).await {
                Some(stream) => kept.push(stream.unwrap()),
                None => return true,
            }
        }
        false
    });
    assert!(ran_out, "the backlog took {} connections", kept.len());
    assert_eq!(epoll.handle().streams(), kept.len());
}

#[test]
fn unix_connect_waits_for_room_in_the_backlog() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("socket");
    let listener =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&socket2::SockAddr::unix(&path).unwrap())
        .unwrap();
    listener.listen(0).unwrap();
    let epoll = EventLoop::new().unwrap();
    let runtime = runtime(&epoll);
    let mut kept = Vec::new();
    epoll.block_on(async {
        while kept.len() < 16 {
            let deadline = runtime.now() + Duration::from_millis(20);
            let connect = epoll.handle().connect_unix(&path);
            match with_deadline(&runtime, "connect", Some(deadline), connect).await {
                Some(stream) => kept.push(stream.unwrap()),
                None => return,
            }
        }
        panic!("the backlog accepted all connections");
    });
    // The next one waits until a connection is accepted from the backlog.
    let waiting = epoll.spawn(epoll.handle().connect_unix(&path));
    turn(&epoll);
    assert!(!waiting.is_finished());
    let taken = thread::scope(|scope| {
        let taker = scope.spawn(|| listener.accept().unwrap());
        epoll.block_on(waiting).unwrap();
        taker.join().unwrap()
    });
    drop(taken);
}

#[test]
fn event_loop_is_send_and_sync() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<EventLoop>();
    shared::<httpcore_net_epoll::Handle>();
    shared::<httpcore_net_epoll::Blocking>();
    sent::<httpcore_net_epoll::Task<std::cell::Cell<u8>>>();
}

#[test]
fn custom_resolver_resolves_names_and_not_literals() {
    use httpcore_core_primitives::BoxFuture;
    use httpcore_net_epoll::Resolve;
    use std::{io, net::SocketAddr};
    #[derive(Debug)]
    struct Table;
    impl Resolve for Table {
        fn resolve(
            &self,
            host: &str,
            port: u16,
        ) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            let found = match host {
                "known" => Ok(vec![SocketAddr::from(([192, 0, 2, 1], port))]),
                _ => Err(io::ErrorKind::NotFound.into()),
            };
            Box::pin(std::future::ready(found))
        }
    }
    let epoll = EventLoop::builder()
        .resolver(Arc::new(Table))
        .build()
        .unwrap();
    let ask = |host| epoll.block_on(epoll.handle().resolve(host, 7));
    assert_eq!(ask("known").unwrap(), ["192.0.2.1:7".parse().unwrap()]);
    assert_eq!(ask("::1").unwrap(), ["[::1]:7".parse().unwrap()]);
    assert_eq!(ask("other").unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn names_that_are_not_answered_do_not_block_other_names() {
    use httpcore_core_primitives::with_deadline;
    use httpcore_net_epoll::SystemResolver;
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let resolver = SystemResolver::builder()
        .max_workers(2)
        .lookup(move |host| {
            if host == "dead" {
                // Ends when the sender is dropped.
                let _ = gate.lock().unwrap().recv();
            }
            Ok(vec!["127.0.0.1:0".parse().unwrap()])
        });
    let epoll = EventLoop::builder()
        .resolver(Arc::new(resolver.build()))
        .build()
        .unwrap();
    let handle = epoll.handle();
    let runtime: Arc<dyn Runtime> = Arc::new(handle.clone());
    epoll.block_on(async {
        for port in 1..=4 {
            let limit = Some(runtime.now() + Duration::from_millis(1));
            let dead = with_deadline(&runtime, "resolve", limit, handle.resolve("dead", 80));
            assert!(dead.await.is_none(), "a look-up that is blocked has ended");
            let found = handle.resolve("good", port).await.unwrap();
            assert_eq!(found, [format!("127.0.0.1:{port}").parse().unwrap()]);
        }
    });
    drop(open);
}

#[test]
fn system_resolves_localhost() {
    let epoll = EventLoop::new().unwrap();
    let found = epoll
        .block_on(epoll.handle().resolve("localhost", 80))
        .unwrap();
    assert!(!found.is_empty());
    assert!(found.iter().all(|address| address.ip().is_loopback()));
}

/// A waker that panics when it is called, or counts its calls.
struct Called(Option<Arc<AtomicUsize>>);

impl std::task::Wake for Called {
    fn wake(self: Arc<Self>) {
        match &self.0 {
            Some(count) => count.fetch_add(1, Ordering::SeqCst),
            None => panic!("on purpose"),
        };
    }
}

fn clumsy() -> Waker {
    Waker::from(Arc::new(Called(None)))
}

fn counting() -> (Arc<AtomicUsize>, Waker) {
    let count = Arc::new(AtomicUsize::new(0));
    (count.clone(), Waker::from(Arc::new(Called(Some(count)))))
}

#[test]
fn panicking_waker_does_not_lose_the_wakes_of_other_streams() {
    use std::io::Write;
    let epoll = EventLoop::new().unwrap();
    let (mut streams, mut servers): (Vec<_>, Vec<_>) = (0..4).map(|_| accepted(&epoll)).unzip();
    let mut counts = Vec::new();
    for (n, stream) in streams.iter_mut().enumerate() {
        let waker = if n % 2 == 0 {
            clumsy()
        } else {
            let (count, waker) = counting();
            counts.push(count);
            waker
        };
        let mut buf = bytes::BytesMut::with_capacity(8);
        let mut cx = Context::from_waker(&waker);
        assert!(stream.poll_read(&mut cx, &mut buf).is_pending());
    }
    for server in &mut servers {
        server.write_all(b"?").unwrap();
    }
    turn(&epoll);
    let counts: Vec<_> = counts.iter().map(|n| n.load(Ordering::SeqCst)).collect();
    assert_eq!(counts, [1, 1]);
}

#[test]
fn panicking_waker_does_not_lose_wakes_of_timers_or_at_shutdown() {
    let epoll = EventLoop::new().unwrap();
    let runtime = runtime(&epoll);
    for ends in [false, true] {
        let (count, waker) = counting();
        let wakers = [clumsy(), waker, clumsy()];
        let mut timers: Vec<_> = wakers.iter().map(|_| runtime.timer("test")).collect();
        let soon = runtime.now() + Duration::from_millis(if ends { 3_600_000 } else { 20 });
        for (timer, waker) in timers.iter_mut().zip(&wakers) {
            let mut cx = Context::from_waker(waker);
            assert!(timer.poll_until(&mut cx, soon).is_pending());
        }
        if ends {
            drop(epoll);
            assert_eq!(count.load(Ordering::SeqCst), 1);
            return;
        }
        epoll.block_on(httpcore_core_primitives::sleep_until(&runtime, soon));
        turn(&epoll);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn driver_role_is_handed_over_when_the_driver_leaves() {
    let epoll = EventLoop::new().unwrap();
    let (mut first, mut first_server) = accepted(&epoll);
    let (mut second, mut second_server) = accepted(&epoll);
    let started = Barrier::new(3);
    thread::scope(|scope| {
        let reads_first = scope.spawn(|| {
            started.wait();
            epoll.block_on(read_some(&mut first)).unwrap()
        });
        let reads_second = scope.spawn(|| {
            started.wait();
            epoll.block_on(read_some(&mut second)).unwrap()
        });
        started.wait();
        // Whichever of the two is the driver, the first one with a response leaves, and the other one
        // must still receive its response.
        use std::io::Write;
        first_server.write_all(b"one").unwrap();
        assert_eq!(reads_first.join().unwrap(), "one");
        second_server.write_all(b"two").unwrap();
        assert_eq!(reads_second.join().unwrap(), "two");
    });
}

#[test]
fn many_threads_share_one_loop() {
    use std::io::{Read, Write};
    const THREADS: usize = 8;
    const ROUNDS: usize = 200;
    let epoll = EventLoop::new().unwrap();
    let epoll = &epoll;
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (mut stream, mut server) = accepted(epoll);
            scope.spawn(move || {
                let mut received = [0; 8];
                while server.read_exact(&mut received).is_ok() {
                    server.write_all(&received).unwrap();
                }
            });
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let said = ((n * ROUNDS + round) as u64).to_be_bytes();
                    // Alternately in `block_on` itself and in a task.
                    if round % 2 == 0 {
                        epoll.block_on(async {
                            write_all(&mut stream, &said).await.unwrap();
                            assert_eq!(read_some(&mut stream).await.unwrap(), said[..]);
                        });
                    } else {
                        let mut own = stream;
                        let task = epoll.spawn(async move {
                            write_all(&mut own, &said).await.unwrap();
                            let received = read_some(&mut own).await.unwrap();
                            (own, received)
                        });
                        let (own, received) = epoll.block_on(task);
                        assert_eq!(received, said[..]);
                        stream = own;
                    }
                }
            });
        }
    });
    assert_eq!((epoll.handle().tasks(), epoll.handle().streams()), (0, 0));
}

#[test]
fn dropping_the_loop_wakes_all_that_wait() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, _server) = accepted(&epoll);
    let handle = epoll.handle();
    let runtime = runtime(&epoll);
    let task = epoll.spawn(pending::<()>());
    let (waits, waiting) = mpsc::channel();
    let (sleeps, sleeping) = mpsc::channel();
    let (reading, sleeper) = (handle.clone(), handle.clone());
    let reader = thread::spawn(move || {
        reading.block_on(async {
            waits.send(()).unwrap();
            read_some(&mut stream).await
        })
    });
    let timer = thread::spawn(move || {
        let hour = runtime.now() + Duration::from_secs(3600);
        sleeper.block_on(async {
            sleeps.send(()).unwrap();
            httpcore_core_primitives::sleep_until(&runtime, hour).await;
        });
    });
    waiting.recv().unwrap();
    sleeping.recv().unwrap();
    drop(epoll);
    assert!(reader.join().unwrap().is_err());
    timer.join().unwrap();
    assert!(task.is_finished() && handle.is_shut_down());
    // Later operations fail at once.
    let late = handle.spawn(pending::<()>());
    assert!(late.is_finished());
    assert_eq!(handle.tasks(), 0);
}

#[test]
fn no_descriptor_stays_open() {
    // In a process of its own, since other tests open descriptors meanwhile.
    if std::env::var_os("HTTPCORE_COUNTS_DESCRIPTORS").is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "no_descriptor_stays_open", "--test-threads=1"])
            .env("HTTPCORE_COUNTS_DESCRIPTORS", "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let before = open_descriptors();
    {
        let epoll = EventLoop::new().unwrap();
        let (mut used, server) = accepted(&epoll);
        let (dropped_first, _server) = accepted(&epoll);
        let (kept_by_a_task, other_server) = accepted(&epoll);
        let task = epoll.spawn(async move {
            let _kept = kept_by_a_task;
            pending::<()>().await;
        });
        epoll.block_on(write_all(&mut used, b"x")).unwrap();
        // Cancelled: polled once, and dropped while it connects.
        let address = server.local_addr().unwrap();
        let mut connect = epoll.handle().connect_tcp(address, &TcpOptions::default());
        let _ = connect
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        drop(connect);
        drop(dropped_first);
        assert!(open_descriptors() > before);
        task.detach();
        drop((epoll, other_server, server, used));
    }
    assert_eq!(open_descriptors(), before);
}
