//! The backend over real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    future::{pending, poll_fn},
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

use bytes::BytesMut;
use httpcore_core_primitives::{
    BoxStream, IdleEvent, NetworkBackend, Runtime, RuntimeShutdown, TcpOptions, sleep_until,
    with_deadline,
};
use httpcore_net_tokio::TokioBackend;
use tokio::runtime;

fn runtimes() -> Vec<runtime::Runtime> {
    vec![
        runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap(),
        runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap(),
    ]
}

/// A connection to a listener on loopback, and its other end.
async fn connect(backend: &TokioBackend) -> (BoxStream, TcpStream) {
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
fn bytes_and_the_end_cross_in_both_directions() {
    for runtime in runtimes() {
        let backend = TokioBackend::on(runtime.handle());
        runtime.block_on(async {
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
}

#[test]
fn large_bodies_arrive_complete_in_vectored_writes() {
    const SIZE: usize = 8 << 20;
    for runtime in runtimes() {
        let backend = TokioBackend::on(runtime.handle());
        runtime.block_on(async {
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
}

#[test]
fn unix_sockets_connect_and_missing_ones_fail() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    for runtime in runtimes() {
        let _ = std::fs::remove_file(&path);
        let backend = TokioBackend::on(runtime.handle());
        runtime.block_on(async {
            let error = backend.connect_unix(&path).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            let listener = UnixListener::bind(&path).unwrap();
            let mut stream = backend.connect_unix(&path).await.unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(b"hello").unwrap();
            assert_eq!(read(&mut stream).await.unwrap(), "hello");
        });
    }
}

#[test]
fn refused_connection_has_its_error_kind() {
    for runtime in runtimes() {
        let backend = TokioBackend::on(runtime.handle());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let connecting = backend.connect_tcp(address, &TcpOptions::default());
        let error = runtime.block_on(connecting).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

/// An end that has reached the kernel is found although the runtime's I/O driver has not run since.
#[test]
fn ended_idle_connection_is_noticed_without_the_io_driver() {
    for runtime in runtimes() {
        let backend = TokioBackend::on(runtime.handle());
        runtime.block_on(async {
            for (says, end) in [
                ("", IdleEvent::Closed),
                ("early", IdleEvent::UnsolicitedData),
            ] {
                let (mut stream, mut peer) = connect(&backend).await;
                assert!(idle(&mut stream).is_pending());
                peer.write_all(says.as_bytes()).unwrap();
                drop(peer);
                // On loopback, written bytes have arrived. There was no await in between.
                // An observation is relied on for half a millisecond.
                let since = backend.now();
                while backend.now() - since < Duration::from_micros(600) {}
                assert_eq!(idle(&mut stream), Poll::Ready(end));
                assert_eq!(read(&mut stream).await.unwrap(), says);
            }
        });
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn waker_of_an_idle_connection_is_called_when_it_ends() {
    for runtime in runtimes() {
        let backend = TokioBackend::on(runtime.handle());
        runtime.block_on(async {
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
}

#[test]
fn timers_are_ready_in_order_and_can_be_moved() {
    for runtime in runtimes() {
        let backend = TokioBackend::on(runtime.handle());
        let runtime_of: Arc<dyn Runtime> = Arc::new(backend.clone());
        runtime.block_on(async {
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
}

/// An hour of tokio's paused clock, which time limits follow.
#[tokio::test(start_paused = true)]
async fn time_is_virtual_if_tokios_clock_is_paused() {
    let backend: Arc<dyn Runtime> = Arc::new(TokioBackend::current().unwrap());
    let start = backend.now();
    sleep_until(&backend, start + Duration::from_secs(3600)).await;
    assert!(backend.now() - start >= Duration::from_secs(3600));
    let other = tokio::time::timeout(Duration::from_secs(10), pending::<()>());
    assert!(other.await.is_err());
}

#[test]
fn operations_of_a_shut_down_runtime_fail_at_once_with_runtime_shutdown() {
    for runtime in runtimes() {
        let backend = TokioBackend::on(runtime.handle());
        let (mut stream, peer) = runtime.block_on(connect(&backend));
        let timers: Arc<dyn Runtime> = Arc::new(backend.clone());
        let mut timer = timers.timer("test");
        let hour = timers.now() + Duration::from_secs(3600);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(timer.poll_until(&mut cx, hour).is_pending());
        let mut buf = BytesMut::with_capacity(10);
        assert!(stream.poll_read(&mut cx, &mut buf).is_pending());
        drop(runtime);
        assert!(count.0.load(Ordering::SeqCst) >= 1);
        assert!(backend.has_ended());
        assert!(timer.poll_until(&mut cx, hour).is_ready());
        assert!(matches!(
            idle(&mut stream),
            Poll::Ready(IdleEvent::Failed(_))
        ));
        let Poll::Ready(Err(error)) = stream.poll_read(&mut cx, &mut buf) else {
            panic!("the read is still pending");
        };
        assert!(RuntimeShutdown::is_source_of(&error), "{error}");
        let mut connecting =
            backend.connect_tcp(peer.local_addr().unwrap(), &TcpOptions::default());
        let Poll::Ready(Err(error)) = connecting.as_mut().poll(&mut cx) else {
            panic!("the attempt is still pending");
        };
        assert!(RuntimeShutdown::is_source_of(&error), "{error}");
    }
}

#[test]
fn timer_task_ends_with_the_last_handle() {
    for runtime in runtimes() {
        let backend = TokioBackend::on(runtime.handle());
        let alive = || runtime.metrics().num_alive_tasks();
        let timer = (&backend as &dyn Runtime).timer("test");
        assert_eq!(alive(), 1);
        drop(backend);
        assert_eq!(alive(), 1);
        drop(timer);
        runtime.block_on(async {
            while alive() > 0 {
                tokio::task::yield_now().await;
            }
        });
    }
}

#[test]
fn backend_works_outside_of_its_runtime() {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let backend = TokioBackend::on(runtime.handle());
    let elsewhere = runtime::Builder::new_current_thread().build().unwrap();
    elsewhere.block_on(async {
        let (mut stream, mut peer) = connect(&backend).await;
        peer.write_all(b"hello").unwrap();
        assert_eq!(read(&mut stream).await.unwrap(), "hello");
        let timers: Arc<dyn Runtime> = Arc::new(backend.clone());
        sleep_until(&timers, timers.now() + Duration::from_millis(2)).await;
    });
}
