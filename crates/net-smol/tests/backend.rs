//! The backend over real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    future::{Future, pending, poll_fn},
    io::{self, IoSlice, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use async_executor::Executor;
use bytes::BytesMut;
use httpcore_core_primitives::{
    BoxStream, IdleEvent, NetworkBackend, Runtime, RuntimeShutdown, TcpOptions, sleep_until,
    with_deadline,
};
use httpcore_net_smol::SmolBackend;

/// An executor, and a backend on it.
struct World {
    executor: Arc<Executor<'static>>,
    backend: SmolBackend,
}

impl World {
    fn new() -> Self {
        let executor = Arc::new(Executor::new());
        // Weak: a task of the executor must not keep it.
        let tasks = Arc::downgrade(&executor);
        let backend = SmolBackend::new(move |task| {
            if let Some(executor) = tasks.upgrade() {
                executor.spawn(task).detach();
            }
        });
        World { executor, backend }
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        async_io::block_on(self.executor.run(future))
    }
}

/// A connection to a listener on loopback, and the other end.
async fn connect(backend: &SmolBackend) -> (BoxStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = backend.connect_tcp(address, &TcpOptions::default());
    (stream.await.unwrap(), listener.accept().unwrap().0)
}

async fn read(stream: &mut BoxStream) -> io::Result<BytesMut> {
    let mut buf = BytesMut::with_capacity(1024);
    poll_fn(|cx| stream.poll_read(cx, &mut buf)).await?;
    Ok(buf)
}

async fn write(stream: &mut BoxStream, bytes: &[u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(bytes)])).await
}

fn idle(stream: &mut BoxStream) -> Poll<IdleEvent> {
    stream.poll_idle(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn bytes_cross_both_ways_and_the_end_is_read() {
    let world = World::new();
    let backend = world.backend.clone();
    world.block_on(async {
        let (mut stream, mut peer) = connect(&backend).await;
        let info = stream.info();
        assert_eq!(info.peer, Some(peer.local_addr().unwrap()));
        assert_eq!(info.local, Some(peer.peer_addr().unwrap()));
        assert_eq!(write(&mut stream, b"ping").await.unwrap(), 4);
        let mut ping = [0; 4];
        peer.read_exact(&mut ping).unwrap();
        for _ in 0..3 {
            peer.write_all(b"pong").unwrap();
            assert_eq!(read(&mut stream).await.unwrap(), "pong");
        }
        poll_fn(|cx| stream.poll_shutdown(cx)).await.unwrap();
        assert_eq!(peer.read(&mut ping).unwrap(), 0);
        drop(peer);
        assert_eq!(read(&mut stream).await.unwrap(), "");
    });
}

#[test]
fn large_bodies_arrive_whole_in_vectored_writes() {
    const SIZE: usize = 8 << 20;
    let world = World::new();
    let backend = world.backend.clone();
    world.block_on(async {
        let (mut stream, peer) = connect(&backend).await;
        let echo = std::thread::spawn(move || {
            let (mut reader, mut writer) = (peer.try_clone().unwrap(), peer);
            io::copy(&mut reader, &mut writer).unwrap()
        });
        let pattern: Vec<u8> = (0..=250).collect();
        let expected: Vec<u8> = pattern.iter().copied().cycle().take(SIZE).collect();
        let (mut sent, mut received) = (0, BytesMut::new());
        poll_fn(|cx| {
            loop {
                let mut is_pending = true;
                if sent < SIZE {
                    let middle = (sent + 1000).min(SIZE);
                    let pieces = [
                        IoSlice::new(&expected[sent..middle]),
                        IoSlice::new(&expected[middle..]),
                    ];
                    if let Poll::Ready(written) = stream.poll_write(cx, &pieces) {
                        sent += written.unwrap();
                        is_pending = false;
                    }
                }
                received.reserve(64 * 1024);
                if let Poll::Ready(read) = stream.poll_read(cx, &mut received) {
                    assert!(read.unwrap() > 0);
                    is_pending = false;
                }
                if received.len() == SIZE {
                    return Poll::Ready(());
                }
                if is_pending {
                    return Poll::Pending;
                }
            }
        })
        .await;
        assert!(received == expected);
        drop(stream);
        assert_eq!(echo.join().unwrap(), SIZE as u64);
    });
}

#[test]
fn unix_sockets_connect_and_missing_ones_fail() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let world = World::new();
    let backend = world.backend.clone();
    world.block_on(async {
        let error = backend.connect_unix(&path).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        let mut stream = backend.connect_unix(&path).await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"hello").unwrap();
        assert_eq!(read(&mut stream).await.unwrap(), "hello");
    });
}

#[test]
fn a_refused_connection_is_reported_as_such() {
    let world = World::new();
    let backend = world.backend.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let connecting = backend.connect_tcp(address, &TcpOptions::default());
    let error = world.block_on(connecting).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

/// What had reached the kernel is known although the reactor has not run since.
#[test]
fn an_idle_connection_that_has_ended_is_noticed_without_a_turn_of_the_reactor() {
    let world = World::new();
    let backend = world.backend.clone();
    world.block_on(async {
        for (says, end) in [
            ("", IdleEvent::Closed),
            ("early", IdleEvent::UnsolicitedData),
        ] {
            let (mut stream, mut peer) = connect(&backend).await;
            assert!(idle(&mut stream).is_pending());
            peer.write_all(says.as_bytes()).unwrap();
            drop(peer);
            // Loopback: what was written has arrived. There has been no await in between.
            // An answer of just now is relied on for half a millisecond.
            let since = backend.now();
            while backend.now() - since < Duration::from_micros(600) {}
            assert_eq!(idle(&mut stream), Poll::Ready(end));
            assert_eq!(read(&mut stream).await.unwrap(), says);
        }
    });
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_waker_left_with_an_idle_connection_is_called_when_it_ends() {
    let world = World::new();
    let backend = world.backend.clone();
    world.block_on(async {
        let (mut stream, peer) = connect(&backend).await;
        let mut peer = Some(peer);
        let ended = poll_fn(|cx| {
            let poll = stream.poll_idle(cx);
            if poll.is_pending() {
                drop(peer.take());
            }
            poll
        });
        assert_eq!(ended.await, IdleEvent::Closed);
    });
}

#[test]
fn timers_go_off_in_order_and_move() {
    let world = World::new();
    let backend = world.backend.clone();
    let runtime_of: Arc<dyn Runtime> = Arc::new(backend);
    world.block_on(async {
        let start = runtime_of.now();
        sleep_until(&runtime_of, start + Duration::from_millis(5)).await;
        assert!(runtime_of.now() >= start + Duration::from_millis(5));
        let late = with_deadline(
            &runtime_of,
            "test",
            Some(runtime_of.now() + Duration::from_millis(1)),
            pending::<()>(),
        );
        assert!(late.await.is_none());
    });
}

/// An hour of tokio's paused clock: the time limits of the engine follow it.

#[test]
fn everything_of_an_executor_that_has_ended_fails_by_name_and_at_once() {
    let world = World::new();
    let backend = world.backend.clone();
    let (mut stream, peer) = world.block_on(connect(&backend));
    let timers: Arc<dyn Runtime> = Arc::new(backend.clone());
    let mut timer = timers.timer("test");
    let hour = timers.now() + Duration::from_secs(3600);
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(timer.poll_until(&mut cx, hour).is_pending());
    let mut buf = BytesMut::with_capacity(10);
    assert!(stream.poll_read(&mut cx, &mut buf).is_pending());
    drop(world);
    assert!(count.0.load(Ordering::SeqCst) >= 1);
    assert!(backend.has_ended());
    assert!(timer.poll_until(&mut cx, hour).is_ready());
    assert!(matches!(
        idle(&mut stream),
        Poll::Ready(IdleEvent::Failed(_))
    ));
    let Poll::Ready(Err(error)) = stream.poll_read(&mut cx, &mut buf) else {
        panic!("the read goes on");
    };
    assert!(RuntimeShutdown::is_source_of(&error), "{error}");
    let mut connecting = backend.connect_tcp(peer.local_addr().unwrap(), &TcpOptions::default());
    let Poll::Ready(Err(error)) = connecting.as_mut().poll(&mut cx) else {
        panic!("the attempt goes on");
    };
    assert!(RuntimeShutdown::is_source_of(&error), "{error}");
}

#[test]
fn the_driver_of_the_timers_ends_with_the_last_handle() {
    let World { executor, backend } = World::new();
    let timer = (&backend as &dyn Runtime).timer("test");
    drop(backend);
    while executor.try_tick() {}
    assert!(!executor.is_empty());
    drop(timer);
    while executor.try_tick() {}
    assert!(executor.is_empty());
}

/// An executor of the simplest kind: a thread for each task.
#[test]
fn any_executor_will_do() {
    let backend = SmolBackend::new(|task| {
        std::thread::spawn(|| async_io::block_on(task));
    });
    async_io::block_on(async {
        let (mut stream, mut peer) = connect(&backend).await;
        peer.write_all(b"hello").unwrap();
        assert_eq!(read(&mut stream).await.unwrap(), "hello");
        let timers: Arc<dyn Runtime> = Arc::new(backend.clone());
        sleep_until(&timers, timers.now() + Duration::from_millis(2)).await;
    });
}
