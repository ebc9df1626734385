//! A loop on a thread of its own, used from elsewhere.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    future::{Future, pending, poll_fn},
    io::{IoSlice, Read, Write},
    net::TcpListener,
    pin::pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use bytes::BytesMut;
use httpcore_core_primitives::{
    BoxStream, NetworkBackend, Runtime, RuntimeShutdown, TcpOptions, sleep_until,
};
use httpcore_net_epoll::{EventLoop, LoopThread};

/// A connection of the loop to a listener, and the other end.
async fn connect(backend: &Arc<dyn NetworkBackend>) -> (BoxStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = backend.connect_tcp(address, &TcpOptions::default());
    (stream.await.unwrap(), listener.accept().unwrap().0)
}

async fn converse(backend: Arc<dyn NetworkBackend>) {
    let (mut stream, mut peer) = connect(&backend).await;
    for _ in 0..10 {
        poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(b"ping")]))
            .await
            .unwrap();
        let mut ping = [0; 4];
        peer.read_exact(&mut ping).unwrap();
        peer.write_all(b"pong").unwrap();
        let mut buf = BytesMut::with_capacity(16);
        poll_fn(|cx| stream.poll_read(cx, &mut buf)).await.unwrap();
        assert_eq!(buf, "pong");
    }
    let runtime: Arc<dyn Runtime> = backend;
    sleep_until(&runtime, runtime.now() + Duration::from_millis(2)).await;
}

#[test]
fn tokio_awaits_streams_and_timers_of_the_loop() {
    let thread = EventLoop::spawn_thread("loop").unwrap();
    let multi = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    multi.block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|_| tokio::spawn(converse(thread.backend())))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let current = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    current.block_on(converse(thread.backend()));
}

#[test]
fn threads_and_other_loops_await_it_too() {
    let running = EventLoop::spawn_thread("loop").unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let handle = running.handle();
            thread::spawn(move || handle.block_on(converse(Arc::new(handle.clone()))))
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    EventLoop::new()
        .unwrap()
        .block_on(converse(running.backend()));
}

#[test]
fn the_thread_has_its_name_and_runs_the_tasks() {
    let running = EventLoop::spawn_thread("the loop").unwrap();
    let task = running
        .handle()
        .spawn(async { thread::current().name().map(String::from) });
    let name = EventLoop::new().unwrap().block_on(task);
    assert_eq!(name.as_deref(), Some("the loop"));
}

/// Tells when it is dropped, and on which thread.
struct OnDrop(mpsc::Sender<Option<String>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().name().map(String::from));
    }
}

#[test]
fn drop_ends_the_loop_and_has_dropped_its_tasks_when_it_returns() {
    let running = EventLoop::spawn_thread("loop").unwrap();
    let (told, dropped) = mpsc::channel();
    let guard = OnDrop(told);
    running
        .handle()
        .spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        })
        .detach();
    let backend = running.backend();
    let handle = running.handle();
    let (mut stream, _peer) = handle.block_on(connect(&backend));
    let mut cx = Context::from_waker(Waker::noop());
    let mut buf = BytesMut::with_capacity(16);
    assert!(stream.poll_read(&mut cx, &mut buf).is_pending());
    drop(running);
    assert_eq!(dropped.try_recv().unwrap().as_deref(), Some("loop"));
    assert!(handle.is_shut_down());
    let Poll::Ready(Err(error)) = stream.poll_read(&mut cx, &mut buf) else {
        panic!("the read goes on");
    };
    assert!(RuntimeShutdown::is_source_of(&error), "{error}");
    let connecting = backend.connect_tcp("127.0.0.1:1".parse().unwrap(), &TcpOptions::default());
    let Poll::Ready(Err(error)) = pin!(connecting).poll(&mut cx) else {
        panic!("the attempt goes on");
    };
    assert!(RuntimeShutdown::is_source_of(&error), "{error}");
    let hour = handle.now() + Duration::from_secs(3600);
    assert!(handle.timer("test").poll_until(&mut cx, hour).is_ready());
}

#[test]
fn dropped_by_a_task_of_its_own_it_ends_after_the_poll() {
    let running = EventLoop::spawn_thread("loop").unwrap();
    let handle = running.handle();
    let (told, dropped) = mpsc::channel();
    let (returned, has_returned) = mpsc::channel();
    let guard = OnDrop(told);
    handle
        .spawn(async move {
            let _guard = guard;
            drop(running);
            returned.send(()).unwrap();
            pending::<()>().await;
        })
        .detach();
    has_returned.recv().unwrap();
    assert_eq!(dropped.recv().unwrap().as_deref(), Some("loop"));
    assert!(handle.is_shut_down());
}

#[test]
fn five_hundred_loops_begin_and_end() {
    for n in 0..500 {
        let running: LoopThread = EventLoop::builder().spawn_thread("loop").unwrap();
        let handle = running.handle();
        let task = handle.spawn(async { 1 });
        if n % 2 == 0 {
            assert_eq!(handle.block_on(task), 1);
        }
        drop(running);
        assert_eq!(handle.tasks(), 0);
    }
}

#[test]
fn a_waiting_thread_is_woken_by_the_end_of_the_loop() {
    let running = EventLoop::spawn_thread("loop").unwrap();
    let handle = running.handle();
    let (begun, has_begun) = mpsc::channel();
    let waiting = thread::spawn(move || {
        let hour = handle.now() + Duration::from_secs(3600);
        let mut timer = handle.timer("test");
        handle.block_on(poll_fn(|cx| {
            let polled = timer.poll_until(cx, hour);
            let _ = begun.send(());
            polled
        }));
    });
    has_begun.recv().unwrap();
    drop(running);
    waiting.join().unwrap();
}
