//! The loop whose threads block in their sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod common;

use std::{
    future::{pending, poll_fn},
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use bytes::BytesMut;
use common::{read_some, read_to_end, serve, write_all, yield_now};
use httpcore_core_primitives::RuntimeShutdown;
use httpcore_core_primitives::{
    BoxStream, IdleEvent, LazyTimer, NetworkBackend, Runtime, TcpOptions, sleep_until,
    with_deadline,
};
use httpcore_net_epoll::Blocking;

fn accepted(blocking: &Blocking) -> (BoxStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = blocking
        .block_on(blocking.connect_tcp(address, &TcpOptions::default()))
        .unwrap();
    (stream, listener.accept().unwrap().0)
}

/// Echoes every eight bytes.
fn echo(mut server: TcpStream) {
    let mut received = [0; 8];
    while server.read_exact(&mut received).is_ok() {
        server.write_all(&received).unwrap();
    }
}

#[test]
fn a_thousand_requests_are_answered_on_one_connection() {
    let blocking = Blocking::new().unwrap();
    let (address, server) = serve(echo);
    let mut stream = blocking
        .block_on(blocking.connect_tcp(address, &TcpOptions::default()))
        .unwrap();
    for round in 0..1000u64 {
        let said = round.to_be_bytes();
        let received = blocking.block_on(async {
            write_all(&mut stream, &said).await?;
            read_some(&mut stream).await
        });
        assert_eq!(received.unwrap(), said[..]);
    }
    drop(stream);
    server.join().unwrap();
}

#[test]
fn data_and_end_are_both_read() {
    let blocking = Blocking::new().unwrap();
    let (mut stream, mut server) = accepted(&blocking);
    server.write_all(b"last words").unwrap();
    drop(server);
    let received = blocking.block_on(read_to_end(&mut stream)).unwrap();
    assert_eq!(received, "last words");
}

#[test]
fn read_from_a_silent_server_ends_at_the_deadline() {
    let blocking = Blocking::new().unwrap();
    let (mut stream, mut server) = accepted(&blocking);
    let runtime: Arc<dyn Runtime> = Arc::new(blocking.handle());
    let (received, deadline) = blocking.block_on(async {
        let deadline = runtime.now() + Duration::from_millis(60);
        let read = read_some(&mut stream);
        let received = with_deadline(&runtime, "read", Some(deadline), read).await;
        (received.is_some(), deadline)
    });
    assert!(!received && runtime.now() >= deadline);
    // The stream still works, and the socket's receive timeout does not outlast the deadline.
    server.write_all(b"at last").unwrap();
    let received = blocking.block_on(read_some(&mut stream)).unwrap();
    assert_eq!(received, "at last");
}

#[test]
fn moved_deadline_is_met_at_its_last_value() {
    let blocking = Blocking::new().unwrap();
    let (mut stream, _server) = accepted(&blocking);
    let runtime: Arc<dyn Runtime> = Arc::new(blocking.handle());
    let mut timer = LazyTimer::new(runtime.clone(), "moves");
    let early = runtime.now() + Duration::from_millis(10);
    let late = early + Duration::from_millis(40);
    blocking.block_on(async {
        let mut buf = BytesMut::with_capacity(8);
        poll_fn(|cx| {
            assert!(stream.poll_read(cx, &mut buf).is_pending());
            let deadline = if runtime.now() < early { early } else { late };
            let _ = timer.poll_until(cx, Some(deadline));
            if runtime.now() >= late {
                return Poll::Ready(());
            }
            timer.poll_until(cx, Some(late))
        })
        .await;
    });
    assert!(runtime.now() >= late);
}

#[test]
fn full_duplex_does_not_deadlock() {
    const LEN: usize = 3 * 1024 * 1024;
    let blocking = Blocking::new().unwrap();
    // The server sends nothing before it has received everything, and receives nothing while its data is
    // not read: blocking in one direction alone would last for ever.
    let (address, server) = serve(|mut socket| {
        let mut other = socket.try_clone().unwrap();
        let writer = thread::spawn(move || {
            other.write_all(&vec![1; LEN]).unwrap();
            other.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = vec![0; LEN];
        socket.read_exact(&mut received).unwrap();
        writer.join().unwrap();
    });
    let read = blocking.block_on(async {
        let mut stream = blocking
            .connect_tcp(address, &TcpOptions::default())
            .await
            .unwrap();
        let body = vec![2; LEN];
        let (mut sent, mut read) = (0, 0);
        let mut buf = BytesMut::new();
        poll_fn(|cx| {
            while sent < LEN {
                match stream.poll_write(cx, &[IoSlice::new(&body[sent..])]) {
                    Poll::Ready(written) => sent += written.unwrap(),
                    Poll::Pending => break,
                }
            }
            loop {
                buf.clear();
                buf.reserve(64 * 1024);
                match stream.poll_read(cx, &mut buf) {
                    Poll::Ready(Ok(0)) if sent == LEN => return Poll::Ready(()),
                    Poll::Ready(more) => read += more.unwrap(),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        read
    });
    assert_eq!(read, LEN);
    server.join().unwrap();
}

#[test]
fn pending_read_does_not_delay_another_wake() {
    let blocking = Blocking::new().unwrap();
    let (mut stream, server) = accepted(&blocking);
    // A wake by another thread, while a read that will never complete is pending as well.
    let (ask, asked) = mpsc::channel::<Waker>();
    let answered = Arc::new(AtomicUsize::new(0));
    let answer = answered.clone();
    let other = thread::spawn(move || {
        let waker = asked.recv().unwrap();
        answer.store(1, Ordering::SeqCst);
        waker.wake();
    });
    let mut ask = Some(ask);
    let mut buf = BytesMut::with_capacity(8);
    blocking.block_on(poll_fn(|cx| {
        assert!(stream.poll_read(cx, &mut buf).is_pending());
        if let Some(ask) = ask.take() {
            ask.send(cx.waker().clone()).unwrap();
        }
        match answered.load(Ordering::SeqCst) {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }));
    other.join().unwrap();
    drop(server);
}

#[test]
fn wait_that_begins_in_the_permitted_poll_prevents_blocking() {
    let blocking = Blocking::new().unwrap();
    let (mut stream, server) = accepted(&blocking);
    // The first poll has a pending read and nothing else. The second one, with the permission to block,
    // also registers its waker with another thread before it reads.
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let answered = Arc::new(AtomicUsize::new(0));
    let mut polls = 0;
    let mut other = None;
    let mut buf = BytesMut::with_capacity(8);
    blocking.block_on(poll_fn(|cx| {
        polls += 1;
        if answered.load(Ordering::SeqCst) > 0 {
            return Poll::Ready(());
        }
        if polls > 1 {
            *slot.lock().unwrap() = Some(cx.waker().clone());
            let (slot, answered) = (slot.clone(), answered.clone());
            other.get_or_insert_with(|| {
                thread::spawn(move || {
                    answered.store(1, Ordering::SeqCst);
                    let waker = slot.lock().unwrap().take().unwrap();
                    waker.wake();
                })
            });
        }
        stream.poll_read(cx, &mut buf).map(drop)
    }));
    other.unwrap().join().unwrap();
    drop(server);
}

#[test]
fn unused_permission_leaves_the_read_pending() {
    let blocking = Blocking::new().unwrap();
    let (mut stream, mut server) = accepted(&blocking);
    // Every second poll does not read, although a read was the only pending operation.
    let mut polls = 0;
    let mut buf = BytesMut::with_capacity(8);
    let mut late = Some(());
    let read = blocking.block_on(poll_fn(|cx| {
        polls += 1;
        if polls % 2 == 0 {
            if late.take().is_some() {
                server.write_all(b"x").unwrap();
            }
            return Poll::Pending;
        }
        stream.poll_read(cx, &mut buf)
    }));
    assert_eq!(read.unwrap(), 1);
}

#[test]
fn two_streams_read_at_once_are_both_served() {
    let blocking = Blocking::new().unwrap();
    let (mut silent, _silent_server) = accepted(&blocking);
    let (mut stream, mut server) = accepted(&blocking);
    let (ready, wait) = mpsc::channel();
    let writer = thread::spawn(move || {
        wait.recv().unwrap();
        server.write_all(b"second").unwrap();
    });
    let mut bufs = [BytesMut::with_capacity(8), BytesMut::with_capacity(8)];
    let read = blocking.block_on(poll_fn(|cx| {
        assert!(silent.poll_read(cx, &mut bufs[0]).is_pending());
        let read = stream.poll_read(cx, &mut bufs[1]);
        ready.send(()).ok();
        read
    }));
    assert_eq!(read.unwrap(), 6);
    writer.join().unwrap();
}

#[test]
fn part_of_the_future_with_its_own_waker_is_woken() {
    /// As a set of futures, which polls only those of its futures that were woken.
    struct Flag(AtomicUsize, Waker);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(1, Ordering::SeqCst);
            self.1.wake_by_ref();
        }
    }
    let blocking = Blocking::new().unwrap();
    let (mut stream, mut server) = accepted(&blocking);
    let (ready, wait) = mpsc::channel();
    let writer = thread::spawn(move || {
        wait.recv().unwrap();
        server.write_all(b"received").unwrap();
    });
    let mut part = pin!(read_some(&mut stream));
    let mut flag: Option<Arc<Flag>> = None;
    let received = blocking.block_on(poll_fn(|cx| {
        let flag = flag
            .get_or_insert_with(|| Arc::new(Flag(AtomicUsize::new(1), cx.waker().clone())))
            .clone();
        if flag.0.swap(0, Ordering::SeqCst) == 0 {
            return Poll::Pending;
        }
        let waker = Waker::from(flag);
        let received = part.as_mut().poll(&mut Context::from_waker(&waker));
        ready.send(()).ok();
        received
    }));
    assert_eq!(received.unwrap(), "received");
    writer.join().unwrap();
}

#[test]
fn tasks_run_while_a_thread_waits_for_one_of_them() {
    let blocking = Blocking::new().unwrap();
    let (mut stream, mut server) = accepted(&blocking);
    server.write_all(b"task").unwrap();
    let task = blocking.spawn(async move {
        yield_now().await;
        read_some(&mut stream).await
    });
    assert_eq!(blocking.block_on(task).unwrap(), "task");
    assert_eq!(blocking.handle().tasks(), 0);
}

#[test]
fn background_timer_is_not_delayed_by_a_silent_server() {
    let blocking = Blocking::new().unwrap();
    let (mut stream, server) = accepted(&blocking);
    let runtime: Arc<dyn Runtime> = Arc::new(blocking.handle());
    let soon = runtime.now() + Duration::from_millis(20);
    // The task makes the server close, after a timer.
    blocking
        .spawn(async move {
            sleep_until(&runtime, soon).await;
            drop(server);
        })
        .detach();
    let received = blocking.block_on(read_to_end(&mut stream)).unwrap();
    assert!(received.is_empty());
}

#[test]
fn threads_do_not_wait_for_each_other() {
    const THREADS: usize = 8;
    let blocking = Blocking::new().unwrap();
    let blocking = &blocking;
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (mut stream, server) = accepted(blocking);
            scope.spawn(move || echo(server));
            scope.spawn(move || {
                for round in 0..200 {
                    let said = ((n * 1000 + round) as u64).to_be_bytes();
                    if round % 2 == 0 {
                        blocking.block_on(async {
                            write_all(&mut stream, &said).await.unwrap();
                            assert_eq!(read_some(&mut stream).await.unwrap(), said[..]);
                        });
                    } else {
                        let mut own = stream;
                        stream = blocking.block_on(blocking.spawn(async move {
                            write_all(&mut own, &said).await.unwrap();
                            assert_eq!(read_some(&mut own).await.unwrap(), said[..]);
                            own
                        }));
                    }
                }
            });
        }
    });
    assert_eq!(blocking.handle().streams(), 0);
}

#[test]
fn driver_in_a_nested_block_on_keeps_running_the_loop() {
    let blocking = Blocking::new().unwrap();
    let blocking = &blocking;
    let (mut stream, mut server) = accepted(blocking);
    let (mut signal, mut signals) = accepted(blocking);
    thread::scope(|scope| {
        blocking.block_on(async {
            // Makes this thread the driver until the outer `block_on` returns.
            yield_now().await;
            // The other thread is parked, and its task is run by the driver, this thread, which must not
            // block in its socket for the response that depends on the task.
            scope.spawn(move || {
                let task = blocking.spawn(async move { read_some(&mut signal).await.unwrap() });
                assert_eq!(blocking.block_on(task), "go");
                server.write_all(b"answer").unwrap();
            });
            signals.write_all(b"go").unwrap();
            let received = blocking.block_on(read_some(&mut stream));
            assert_eq!(received.unwrap(), "answer");
        });
    });
}

#[test]
fn idle_stream_is_probed_while_no_thread_runs_the_loop() {
    let blocking = Blocking::new().unwrap();
    let (mut stream, server) = accepted(&blocking);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(stream.poll_idle(&mut cx).is_pending());
    drop(server);
    assert_eq!(common::idle_event_soon(&mut stream), IdleEvent::Closed);
}

#[test]
fn stream_dropped_with_a_pending_read_is_closed_at_once() {
    let blocking = Blocking::new().unwrap();
    let (stream, mut server) = accepted(&blocking);
    let mut stream = Some(stream);
    blocking.block_on(poll_fn(|cx| {
        let mut buf = BytesMut::with_capacity(8);
        let mut wanted = stream.take().unwrap();
        assert!(wanted.poll_read(cx, &mut buf).is_pending());
        drop(wanted);
        // Still within the poll of the read.
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
        Poll::Ready(())
    }));
}

#[test]
fn shutdown_reaches_a_thread_that_blocks_in_its_socket() {
    let blocking = Blocking::new().unwrap();
    let (mut stream, server) = accepted(&blocking);
    let handle = blocking.handle();
    let (waits, waiting) = mpsc::channel();
    let reader = thread::spawn(move || {
        handle.block_on(async {
            let mut buf = BytesMut::with_capacity(8);
            poll_fn(|cx| {
                let read = stream.poll_read(cx, &mut buf);
                waits.send(()).ok();
                read
            })
            .await
        })
    });
    waiting.recv().unwrap();
    drop(blocking);
    let error = reader.join().unwrap().unwrap_err();
    assert!(RuntimeShutdown::is_source_of(&error), "{error:?}");
    drop(server);
}

#[test]
fn connect_ends_at_its_deadline() {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let blocking = Blocking::new().unwrap();
    let runtime: Arc<dyn Runtime> = Arc::new(blocking.handle());
    let mut kept = Vec::new();
    let ran_out = blocking.block_on(async {
        for _ in 0..16 {
            let deadline = runtime.now() + Duration::from_millis(50);
            let connect = blocking.connect_tcp(address, &TcpOptions::default());
            match with_deadline(&runtime, "connect", Some(deadline), connect).await {
                Some(stream) => kept.push(stream.unwrap()),
                None => return true,
            }
        }
        false
    });
    assert!(ran_out, "the backlog accepted {} connections", kept.len());
}

#[test]
fn pending_tasks_are_dropped_with_the_loop() {
    let blocking = Blocking::new().unwrap();
    let alive = Arc::new(());
    let held = alive.clone();
    let backend = blocking.backend();
    backend.spawn(
        "left over",
        Box::pin(async move {
            let _hold = held;
            pending::<()>().await;
        }),
    );
    drop(blocking);
    assert_eq!(Arc::strong_count(&alive), 1);
    drop(backend);
}

#[test]
fn unix_socket_is_read_and_written() -> io::Result<()> {
    let place = tempfile::tempdir()?;
    let path = place.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut received = [0; 5];
        socket.read_exact(&mut received).unwrap();
        socket.write_all(&received).unwrap();
    });
    let blocking = Blocking::new()?;
    let received = blocking.block_on(async {
        let mut stream = blocking.connect_unix(&path).await?;
        write_all(&mut stream, b"hello").await?;
        read_to_end(&mut stream).await
    })?;
    assert_eq!(received, "hello");
    server.join().unwrap();
    Ok(())
}
