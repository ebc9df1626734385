//! Descriptors of any kind, a listener and datagrams in the loop.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{
    fs,
    future::{Future, poll_fn},
    io::{self, PipeReader, Read, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    pin::pin,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use common::{read_to_end, write_all, yield_now};
use httpcore_core_primitives::RuntimeShutdown;
use httpcore_net_epoll::{AsyncFd, Direction, EventLoop, Handle, TcpListener, UdpSocket};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{EventfdFlags, eventfd},
    fs::{OFlags, fcntl_getfl, fcntl_setfl, inotify},
    process::{Pid, PidfdFlags, pidfd_open},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

fn nonblocking(fd: impl AsFd) {
    let flags = fcntl_getfl(&fd).unwrap();
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK).unwrap();
}

fn pipe() -> (PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    nonblocking(&reader);
    nonblocking(&writer);
    (reader, writer)
}

/// How many descriptors of this process are ends of the pipe that `fd` is an end of.
fn descriptors_of(fd: &PipeReader) -> usize {
    let of = |fd: i32| fs::read_link(format!("/proc/self/fd/{fd}"));
    let pipe = of(fd.as_raw_fd()).unwrap();
    let all = fs::read_dir("/proc/self/fd").unwrap().flatten();
    all.filter(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == pipe))
        .count()
}

/// What one system call of rustix returns, as an error of the standard library.
fn read_into(fd: &OwnedFd, buf: &mut [u8]) -> io::Result<usize> {
    rustix::io::read(fd, buf).map_err(io::Error::from)
}

async fn read_all(fd: &AsyncFd<PipeReader>) -> io::Result<Vec<u8>> {
    let (mut all, mut buf) = (Vec::new(), [0; 4096]);
    loop {
        let read = fd.async_io(Direction::Read, |mut pipe| pipe.read(&mut buf));
        match read.await? {
            0 => return Ok(all),
            read => all.extend_from_slice(&buf[..read]),
        }
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
fn pipes_move_more_than_they_hold_and_report_the_end() {
    let epoll = EventLoop::new().unwrap();
    let (reader, writer) = pipe();
    let handle = epoll.handle();
    let (reader, writer) = (
        AsyncFd::new(&handle, reader).unwrap(),
        AsyncFd::new(&handle, writer).unwrap(),
    );
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let received = epoll.block_on(async {
        let writing = epoll.spawn(async move {
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let write = writer.async_io(Direction::Write, |mut pipe| pipe.write(rest));
                rest = &rest[write.await.unwrap()..];
            }
        });
        let received = read_all(&reader).await.unwrap();
        writing.await;
        received
    });
    assert!(received == expected);
    assert_eq!(handle.streams(), 1);
}

#[test]
fn writing_to_a_pipe_without_a_reader_is_an_error_and_not_a_hang() {
    let epoll = EventLoop::new().unwrap();
    let (reader, writer) = pipe();
    let writer = AsyncFd::new(&epoll.handle(), writer).unwrap();
    let write = || writer.async_io(Direction::Write, |mut pipe| pipe.write(&[0; 4096]));
    epoll.block_on(async {
        while writer
            .try_io(Direction::Write, |mut pipe| pipe.write(&[0; 4096]))
            .is_ok()
        {}
        let mut blocked = pin!(write());
        poll_fn(|cx| {
            assert!(blocked.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(reader);
        let error = blocked.await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn both_directions_of_a_socket_wait_at_the_same_time() {
    let epoll = EventLoop::new().unwrap();
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let ours = Arc::new(AsyncFd::new(&epoll.handle(), ours).unwrap());
    let fill = |fd: &AsyncFd<std::os::unix::net::UnixStream>| {
        while fd
            .try_io(Direction::Write, |mut socket| socket.write(&[0; 4096]))
            .is_ok()
        {}
    };
    epoll.block_on(async {
        fill(&ours);
        let (reading, writing) = (ours.clone(), ours.clone());
        let reader = epoll.spawn(async move { reading.readable().await });
        let writer = epoll.spawn(async move { writing.writable().await });
        for _ in 0..3 {
            yield_now().await;
        }
        assert!(!reader.is_finished() && !writer.is_finished());
        theirs.write_all(b"x").unwrap();
        reader.await.unwrap();
        assert!(!writer.is_finished());
        theirs.set_nonblocking(true).unwrap();
        while theirs.read(&mut [0; 65536]).is_ok() {}
        writer.await.unwrap();
    });
}

#[test]
fn every_task_that_waits_for_one_direction_is_woken() {
    let epoll = EventLoop::new().unwrap();
    let (reader, mut writer) = pipe();
    let reader = Arc::new(AsyncFd::new(&epoll.handle(), reader).unwrap());
    epoll.block_on(async {
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let reader = reader.clone();
                epoll.spawn(async move {
                    let mut byte = [0];
                    let read = reader.async_io(Direction::Read, |mut pipe| pipe.read(&mut byte));
                    read.await.unwrap()
                })
            })
            .collect();
        for _ in 0..3 {
            yield_now().await;
        }
        for task in tasks {
            writer.write_all(b"x").unwrap();
            assert_eq!(task.await, 1);
        }
    });
}

#[test]
fn a_dropped_wait_leaves_no_waker() {
    let epoll = EventLoop::new().unwrap();
    let (reader, mut writer) = pipe();
    let reader = AsyncFd::new(&epoll.handle(), reader).unwrap();
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    for _ in 0..100 {
        let mut readable = pin!(reader.readable());
        let polled = readable.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 1);
    writer.write_all(b"x").unwrap();
    epoll.block_on(reader.readable()).unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
}

#[test]
fn timers_events_and_changes_of_files_are_descriptors_like_any_other() {
    let epoll = EventLoop::new().unwrap();
    let handle = epoll.handle();
    let folder = tempfile::tempdir().unwrap();

    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).unwrap();
    let once = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: Timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        },
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once).unwrap();
    let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let notify = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&notify, folder.path(), inotify::WatchFlags::CREATE).unwrap();

    let timer = AsyncFd::new(&handle, timer).unwrap();
    let event = AsyncFd::new(&handle, event).unwrap();
    let notify = AsyncFd::new(&handle, notify).unwrap();
    epoll.block_on(async {
        let mut buf = [0; 8];
        let read = timer.async_io(Direction::Read, |fd| read_into(fd, &mut buf));
        assert_eq!(read.await.unwrap(), 8);
        assert_eq!(u64::from_ne_bytes(buf), 1);

        let other = event.get_ref().try_clone().unwrap();
        let writing = thread::spawn(move || rustix::io::write(&other, &7_u64.to_ne_bytes()));
        let read = event.async_io(Direction::Read, |fd| read_into(fd, &mut buf));
        assert_eq!(read.await.unwrap(), 8);
        assert_eq!(u64::from_ne_bytes(buf), 7);
        writing.join().unwrap().unwrap();

        fs::write(folder.path().join("new"), "x").unwrap();
        let mut buf = [0; 1024];
        let read = notify.async_io(Direction::Read, |fd| read_into(fd, &mut buf));
        let read = read.await.unwrap();
        assert!(buf[..read].windows(3).any(|name| name == b"new"));
    });
}

#[test]
fn a_signal_arrives_by_a_descriptor() {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGUSR1);
    // Of this thread only, which also raises the signal and reads it.
    mask.thread_block().unwrap();
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let signals = SignalFd::with_flags(&mask, flags).unwrap();
    let epoll = EventLoop::new().unwrap();
    let signals = AsyncFd::new(&epoll.handle(), signals).unwrap();
    epoll.block_on(async {
        for _ in 0..2 {
            let read = signals.async_io(Direction::Read, |fd| {
                fd.read_signal()?
                    .ok_or_else(|| io::ErrorKind::WouldBlock.into())
            });
            let mut read = pin!(read);
            poll_fn(|cx| {
                assert!(read.as_mut().poll(cx).is_pending(), "none has come");
                Poll::Ready(())
            })
            .await;
            nix::sys::signal::raise(Signal::SIGUSR1).unwrap();
            let signal = read.await.unwrap();
            assert_eq!(signal.ssi_signo, Signal::SIGUSR1 as u32);
        }
    });
}

#[test]
fn a_childs_output_and_its_end_are_awaited() {
    let epoll = EventLoop::new().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "read line; echo heard $line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = PipeReader::from(OwnedFd::from(child.stdout.take().unwrap()));
    nonblocking(&output);
    let output = AsyncFd::new(&epoll.handle(), output).unwrap();
    let pid = Pid::from_child(&child);
    let end = AsyncFd::new(
        &epoll.handle(),
        pidfd_open(pid, PidfdFlags::NONBLOCK).unwrap(),
    );
    epoll.block_on(async {
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"hello\n").unwrap();
        assert_eq!(read_all(&output).await.unwrap(), b"heard hello\n");
        end.unwrap().readable().await.unwrap();
        assert!(child.try_wait().unwrap().unwrap().success());
    });
}

#[test]
fn a_foreign_descriptor_is_neither_closed_nor_reported_after_the_drop() {
    let epoll = EventLoop::new().unwrap();
    let (reader, mut writer) = pipe();
    for _ in 0..100 {
        let registered = AsyncFd::new(&epoll.handle(), reader.as_fd()).unwrap();
        assert_eq!(epoll.handle().streams(), 1);
        assert_eq!(descriptors_of(&reader), 3);
        drop(registered);
        assert_eq!(epoll.handle().streams(), 0);
        assert_eq!(descriptors_of(&reader), 2);
    }
    // The kernel keeps no entry: registering once more reports what is there, once.
    writer.write_all(b"still open").unwrap();
    let registered = AsyncFd::new(&epoll.handle(), reader).unwrap();
    epoll.block_on(registered.readable()).unwrap();
    let mut buf = [0; 16];
    assert_eq!(registered.into_inner().read(&mut buf).unwrap(), 10);
}

#[test]
fn an_owned_descriptor_is_closed_with_its_registration() {
    let epoll = EventLoop::new().unwrap();
    let (reader, writer) = pipe();
    let writer = AsyncFd::new(&epoll.handle(), writer).unwrap();
    drop(writer);
    let mut reader = reader;
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn one_descriptor_may_be_registered_with_two_loops_and_twice_with_one() {
    let (one, two) = (EventLoop::new().unwrap(), EventLoop::new().unwrap());
    let (reader, mut writer) = pipe();
    let first = AsyncFd::new(&one.handle(), reader.as_fd()).unwrap();
    let second = AsyncFd::new(&one.handle(), reader.as_fd()).unwrap();
    let third = AsyncFd::new(&two.handle(), reader.as_fd()).unwrap();
    drop(first);
    writer.write_all(b"x").unwrap();
    one.block_on(second.readable()).unwrap();
    two.block_on(third.readable()).unwrap();
}

#[test]
fn a_regular_file_is_refused() {
    let epoll = EventLoop::new().unwrap();
    let file = tempfile::tempfile().unwrap();
    let error = AsyncFd::new(&epoll.handle(), file).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(epoll.handle().streams(), 0);
}

#[test]
fn a_loop_that_ended_fails_waits_by_name_and_leaves_foreign_sockets_open() {
    let blocking = httpcore_net_epoll::Blocking::new().unwrap();
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let registered = AsyncFd::new(&blocking.handle(), &ours).unwrap();
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut cx = Context::from_waker(&waker);
    let mut readable = pin!(registered.readable());
    assert!(readable.as_mut().poll(&mut cx).is_pending());
    let handle = blocking.handle();
    drop(blocking);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    let Poll::Ready(Err(error)) = readable.as_mut().poll(&mut cx) else {
        panic!("the wait goes on");
    };
    assert!(RuntimeShutdown::is_source_of(&error), "{error}");
    let error = AsyncFd::new(&handle, &ours).unwrap_err();
    assert!(RuntimeShutdown::is_source_of(&error), "{error}");
    (&ours).write_all(b"open").unwrap();
    let mut buf = [0; 4];
    theirs.read_exact(&mut buf).unwrap();
}

#[test]
fn a_descriptor_that_is_always_ready_lets_timers_and_other_tasks_run() {
    let epoll = EventLoop::new().unwrap();
    let handle = epoll.handle();
    let event = eventfd(1, EventfdFlags::NONBLOCK).unwrap();
    let event = AsyncFd::new(&handle, event).unwrap();
    let ended = epoll.block_on(handle.timeout(Duration::from_millis(5), async {
        loop {
            event.readable().await.unwrap();
        }
    }));
    let ended: Result<(), _> = ended;
    assert!(ended.is_err());
}

#[test]
fn a_waker_that_another_thread_calls_wakes_the_loop() {
    let epoll = EventLoop::new().unwrap();
    let mut waking = None;
    let ready = Arc::new(AtomicUsize::new(0));
    epoll.block_on(poll_fn(|cx| {
        if ready.load(Ordering::SeqCst) == 1 {
            return Poll::Ready(());
        }
        let (waker, ready) = (cx.waker().clone(), ready.clone());
        waking.get_or_insert_with(|| {
            thread::spawn(move || {
                ready.store(1, Ordering::SeqCst);
                waker.wake();
            })
        });
        Poll::Pending
    }));
    waking.unwrap().join().unwrap();
}

async fn echo(listener: TcpListener, handle: Handle) {
    while let Ok((mut stream, _)) = listener.accept().await {
        handle
            .spawn(async move {
                let all = read_to_end(&mut stream).await.unwrap();
                write_all(&mut stream, &all).await.unwrap();
            })
            .detach();
    }
}

#[test]
fn a_listener_accepts_many_connections_at_once() {
    let epoll = EventLoop::new().unwrap();
    let handle = epoll.handle();
    let listener = TcpListener::bind(&handle, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..50_u8)
        .map(|n| {
            thread::spawn(move || {
                let mut socket = std::net::TcpStream::connect(address).unwrap();
                socket.write_all(&[n; 1000]).unwrap();
                socket.shutdown(std::net::Shutdown::Write).unwrap();
                let mut all = Vec::new();
                socket.read_to_end(&mut all).unwrap();
                assert_eq!(all, [n; 1000]);
            })
        })
        .collect();
    epoll.block_on(async {
        let serving = epoll.spawn(echo(listener, handle.clone()));
        for client in clients {
            while !client.is_finished() {
                handle.sleep(Duration::from_millis(1)).await;
            }
            client.join().unwrap();
        }
        drop(serving);
    });
    assert_eq!(handle.streams(), 0);
}

#[test]
fn a_dropped_accept_loses_no_connection() {
    let epoll = EventLoop::new().unwrap();
    let listener = TcpListener::bind(&epoll.handle(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pin!(listener.accept()).poll(&mut cx).is_pending());
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_stream, peer) = epoll.block_on(listener.accept()).unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

#[test]
fn datagrams_keep_their_bounds_and_a_missing_peer_is_an_error() {
    let epoll = EventLoop::new().unwrap();
    let handle = epoll.handle();
    let bind = || UdpSocket::bind(&handle, "127.0.0.1:0".parse().unwrap()).unwrap();
    let (one, two) = (bind(), bind());
    epoll.block_on(async {
        let mut buf = [0; 8];
        one.connect(two.local_addr().unwrap()).unwrap();
        for text in ["a", "bcd", "", "longer than it"] {
            one.send(text.as_bytes()).await.unwrap();
            let (received, from) = two.recv_from(&mut buf).await.unwrap();
            assert_eq!(from, one.local_addr().unwrap());
            assert_eq!(&buf[..received], &text.as_bytes()[..text.len().min(8)]);
        }
        two.send_to(b"back", one.local_addr().unwrap())
            .await
            .unwrap();
        assert_eq!(one.recv(&mut buf).await.unwrap(), 4);
        drop(two);
        // What the kernel learns of the first shows at the next call.
        one.send(b"lost").await.unwrap();
        let error = one.recv(&mut buf).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}
