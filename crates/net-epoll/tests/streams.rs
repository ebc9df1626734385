//! Streams over real sockets on loopback.

mod common;

use std::{
    future::poll_fn,
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    sync::mpsc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use common::{accepted, read_some, read_to_end, serve, turn, write_all};
use httpcore_core_primitives::RuntimeShutdown;
use httpcore_core_primitives::{
    BoxFuture, BoxStream, IdleEvent, NetworkBackend, Runtime, TcpOptions, noop_waker,
};
use httpcore_net_epoll::EventLoop;
use socket2::{Domain, SockRef, Socket, Type};

#[test]
fn tcp_stream_reads_what_the_echo_server_returns() {
    let epoll = EventLoop::new().unwrap();
    let (address, server) = serve(|mut socket| {
        let mut said = [0; 5];
        socket.read_exact(&mut said).unwrap();
        socket.write_all(&said).unwrap();
    });
    let received = epoll.block_on(async {
        let mut stream = epoll
            .handle()
            .connect_tcp(address, &TcpOptions::default())
            .await?;
        let info = stream.info();
        assert_eq!(info.peer, Some(address));
        assert!(info.local.is_some_and(|local| local.ip().is_loopback()));
        write_all(&mut stream, b"hello").await?;
        read_to_end(&mut stream).await
    });
    assert_eq!(received.unwrap(), "hello");
    server.join().unwrap();
}

#[test]
fn unix_stream_reads_what_the_echo_server_returns() {
    let epoll = EventLoop::new().unwrap();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut said = Vec::new();
        socket.read_to_end(&mut said).unwrap();
        socket.write_all(&said).unwrap();
    });
    let received = epoll.block_on(async {
        let mut stream = epoll.handle().connect_unix(&path).await?;
        assert_eq!(stream.info().peer, None);
        write_all(&mut stream, b"hello").await?;
        poll_fn(|cx| stream.poll_shutdown(cx)).await?;
        read_to_end(&mut stream).await
    });
    assert_eq!(received.unwrap(), "hello");
    server.join().unwrap();
}

#[test]
fn abstract_unix_names_begin_with_a_zero_byte() {
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
    let epoll = EventLoop::new().unwrap();
    let name = format!("httpcore-{}-abstract", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let path = format!("\0{name}");
    let stream = epoll.block_on(epoll.handle().connect_unix(path.as_ref()));
    stream.unwrap();
    drop(listener);
}

#[test]
fn invalid_unix_paths_are_refused() {
    let epoll = EventLoop::new().unwrap();
    for (path, kind) in [
        ("", io::ErrorKind::InvalidInput),
        ("\0", io::ErrorKind::InvalidInput),
        ("a\0b", io::ErrorKind::InvalidInput),
        ("/nonexistent/socket", io::ErrorKind::NotFound),
    ] {
        let error = epoll
            .block_on(epoll.handle().connect_unix(path.as_ref()))
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{path:?}");
    }
}

#[test]
fn data_and_end_in_one_event_are_both_read() {
    let epoll = EventLoop::new().unwrap();
    // The server writes and closes before the loop polls again, so that both are one event;
    // and the read that follows is shorter than its buffer.
    let (mut stream, mut server) = accepted(&epoll);
    server.write_all(b"last words").unwrap();
    drop(server);
    let received = epoll.block_on(read_to_end(&mut stream)).unwrap();
    assert_eq!(received, "last words");
}

#[test]
fn large_bodies_cross_in_both_directions_at_once() {
    const LEN: usize = 3 * 1024 * 1024 + 17;
    let epoll = EventLoop::new().unwrap();
    let (address, server) = serve(|mut socket| {
        let mut other = socket.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            let body: Vec<u8> = (0..LEN).map(|n| n as u8).collect();
            other.write_all(&body).unwrap();
            other.shutdown(Shutdown::Write).unwrap();
        });
        let mut body = Vec::new();
        socket.read_to_end(&mut body).unwrap();
        assert!(body.iter().enumerate().all(|(n, byte)| *byte == n as u8));
        writer.join().unwrap();
        body.len()
    });
    let received = epoll.block_on(async {
        let mut stream = epoll
            .handle()
            .connect_tcp(address, &TcpOptions::default())
            .await
            .unwrap();
        let body: Vec<u8> = (0..LEN).map(|n| n as u8).collect();
        let (mut sent, mut received) = (0, BytesMut::new());
        let mut ended = false;
        // Both directions in one future, each with its own readiness and the same waker.
        poll_fn(|cx| {
            loop {
                let mut moved = false;
                if sent < LEN {
                    let (head, tail) = body[sent..].split_at((LEN - sent) / 2);
                    let bufs = [IoSlice::new(head), IoSlice::new(tail)];
                    if let Poll::Ready(written) = stream.poll_write(cx, &bufs) {
                        sent += written.unwrap();
                        moved = true;
                    }
                    if sent == LEN {
                        assert!(stream.poll_shutdown(cx).is_ready());
                    }
                }
                if !ended {
                    received.reserve(64 * 1024);
                    if let Poll::Ready(read) = stream.poll_read(cx, &mut received) {
                        ended = read.unwrap() == 0;
                        moved = true;
                    }
                }
                if ended && sent == LEN {
                    return Poll::Ready(());
                }
                if !moved {
                    return Poll::Pending;
                }
            }
        })
        .await;
        received
    });
    assert_eq!(received.len(), LEN);
    assert!(
        received
            .iter()
            .enumerate()
            .all(|(n, byte)| *byte == n as u8)
    );
    assert_eq!(server.join().unwrap(), LEN);
}

#[test]
fn more_slices_than_one_call_accepts_are_written_in_order() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, mut server) = accepted(&epoll);
    let bytes: Vec<[u8; 1]> = (0..3000u32).map(|n| [n as u8]).collect();
    epoll
        .block_on(async {
            let mut sent = 0;
            while sent < bytes.len() {
                let bufs: Vec<_> = bytes[sent..]
                    .iter()
                    .map(|byte| IoSlice::new(byte))
                    .collect();
                sent += poll_fn(|cx| stream.poll_write(cx, &bufs)).await?;
            }
            io::Result::Ok(())
        })
        .unwrap();
    let mut received = vec![0; 3000];
    server.read_exact(&mut received).unwrap();
    assert!(
        received
            .iter()
            .enumerate()
            .all(|(n, byte)| *byte == n as u8)
    );
}

#[test]
fn connect_to_a_port_without_listener_is_refused() {
    let epoll = EventLoop::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = epoll
        .block_on(epoll.handle().connect_tcp(address, &TcpOptions::default()))
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(epoll.handle().streams(), 0);
}

/// A started connection attempt whose result the loop has not polled yet.
fn begun(epoll: &EventLoop, address: SocketAddr, options: &TcpOptions) -> Connecting {
    let mut connecting = epoll.handle().connect_tcp(address, options);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(connecting.as_mut().poll(&mut cx).is_pending());
    connecting
}

type Connecting = BoxFuture<'static, io::Result<BoxStream>>;

#[test]
fn connection_reset_before_the_next_poll_is_a_connect_error() {
    let epoll = EventLoop::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connecting = begun(&epoll, address, &TcpOptions::default());
    let (server, _) = listener.accept().unwrap();
    SockRef::from(&server)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(server);
    let error = epoll.block_on(connecting).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(epoll.handle().streams(), 0);
}

#[test]
fn connection_closed_before_the_next_poll_reads_its_end() {
    let epoll = EventLoop::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connecting = begun(&epoll, address, &TcpOptions::default());
    listener.accept().unwrap().0.write_all(b"bye").unwrap();
    let received = epoll.block_on(async { read_to_end(&mut connecting.await?).await });
    assert_eq!(received.unwrap(), "bye");
}

#[test]
fn user_timeout_ends_an_unanswered_connect() {
    let epoll = EventLoop::new().unwrap();
    // One connection fills the backlog of this listener, and later ones are not answered.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any_port.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(address).unwrap();
    let mut options = TcpOptions::default();
    options.user_timeout = Some(Duration::from_millis(1));
    let error = epoll
        .block_on(begun(&epoll, address, &options))
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn connect_with_an_unknown_interface_fails() {
    let epoll = EventLoop::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = TcpOptions::default();
    options.interface = Some("no-such-if0".into());
    let address = listener.local_addr().unwrap();
    let outcome = epoll.block_on(epoll.handle().connect_tcp(address, &options));
    assert!(outcome.is_err());
    assert_eq!(epoll.handle().streams(), 0);
}

#[test]
fn idle_stream_reports_close_data_and_reset() {
    let epoll = EventLoop::new().unwrap();

    let (mut stream, server) = accepted(&epoll);
    assert_eq!(idle(&mut stream), None);
    drop(server);
    let end = epoll.block_on(poll_fn(|cx| stream.poll_idle(cx)));
    assert_eq!(end, IdleEvent::Closed);

    let (mut stream, mut server) = accepted(&epoll);
    server.write_all(b"?").unwrap();
    let end = epoll.block_on(poll_fn(|cx| stream.poll_idle(cx)));
    assert_eq!(end, IdleEvent::UnsolicitedData);
    // The data was peeked at, not read.
    let mut received = BytesMut::with_capacity(8);
    let read = epoll.block_on(poll_fn(|cx| stream.poll_read(cx, &mut received)));
    assert_eq!((read.unwrap(), &received[..]), (1, &b"?"[..]));

    let (mut stream, server) = accepted(&epoll);
    SockRef::from(&server)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(server);
    let end = epoll.block_on(poll_fn(|cx| stream.poll_idle(cx)));
    assert_eq!(end, IdleEvent::Failed(io::ErrorKind::ConnectionReset));
}

fn idle(stream: &mut BoxStream) -> Option<IdleEvent> {
    match stream.poll_idle(&mut Context::from_waker(noop_waker())) {
        Poll::Ready(end) => Some(end),
        Poll::Pending => None,
    }
}

/// Inside one `block_on` that never awaits, so that no event is polled.
#[test]
fn idle_stream_is_probed_while_the_loop_does_not_run() {
    let epoll = EventLoop::new().unwrap();
    let (mut data, mut data_server) = accepted(&epoll);
    let (mut end, end_server) = accepted(&epoll);
    let (mut reset, reset_server) = accepted(&epoll);
    turn(&epoll);
    epoll.block_on(async {
        for stream in [&mut data, &mut end, &mut reset] {
            assert_eq!(idle(stream), None);
        }
        data_server.write_all(b"?").unwrap();
        drop(end_server);
        SockRef::from(&reset_server)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(reset_server);
        assert_eq!(
            common::idle_event_soon(&mut data),
            IdleEvent::UnsolicitedData
        );
        assert_eq!(common::idle_event_soon(&mut end), IdleEvent::Closed);
        assert_eq!(
            common::idle_event_soon(&mut reset),
            IdleEvent::Failed(io::ErrorKind::ConnectionReset)
        );
        // A layer above can read what was found before an event was polled.
        let mut received = BytesMut::with_capacity(8);
        let read = data.poll_read(&mut Context::from_waker(noop_waker()), &mut received);
        assert!(matches!(read, Poll::Ready(Ok(1))), "{read:?}");
        assert_eq!(idle(&mut data), None);
    });
}

#[test]
fn registered_waker_is_called_although_a_probe_has_found_the_end() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, server) = accepted(&epoll);
    let mut server = Some(server);
    let end = epoll.block_on(poll_fn(|cx| {
        let end = stream.poll_idle(cx);
        if server.take().is_some() {
            assert!(end.is_pending());
            assert_eq!(common::idle_event_soon(&mut stream), IdleEvent::Closed);
        }
        end
    }));
    assert_eq!(end, IdleEvent::Closed);
}

#[test]
fn noop_waker_does_not_replace_a_registered_waker() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, mut server) = accepted(&epoll);
    let end = epoll.block_on(async {
        let mut asked = false;
        poll_fn(|cx| {
            let end = stream.poll_idle(cx);
            if !asked {
                asked = true;
                assert_eq!(idle(&mut stream), None);
                server.write_all(b"?").unwrap();
            }
            end
        })
        .await
    });
    assert_eq!(end, IdleEvent::UnsolicitedData);
}

#[test]
fn stream_is_idle_after_a_response_was_read() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, mut server) = accepted(&epoll);
    server.write_all(b"answer").unwrap();
    let received = epoll.block_on(read_some(&mut stream)).unwrap();
    assert_eq!(received, "answer");
    turn(&epoll);
    assert_eq!(idle(&mut stream), None);
}

#[test]
fn close_is_noticed_by_the_first_poll_of_a_later_block_on() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, server) = accepted(&epoll);
    assert_eq!(idle(&mut stream), None);
    drop(server);
    // Until the known readiness is stale, by the clock.
    let stale = epoll.handle().now() + Duration::from_millis(2);
    while epoll.handle().now() < stale {
        std::hint::spin_loop();
    }
    // Checked by the first poll of a `block_on`, before another event is polled.
    let end = epoll.block_on(async { idle(&mut stream) });
    assert_eq!(end, Some(IdleEvent::Closed));
}

#[test]
fn stream_on_another_thread_is_woken_by_the_loop_of_this_thread() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, mut server) = accepted(&epoll);
    let (waits, waiting) = mpsc::channel();
    let handle = epoll.handle();
    let (done, ended) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let received = handle.block_on(async {
            waits.send(()).unwrap();
            read_some(&mut stream).await
        });
        done.send(()).unwrap();
        received.unwrap()
    });
    waiting.recv().unwrap();
    server.write_all(b"over there").unwrap();
    ended.recv().unwrap();
    assert_eq!(reader.join().unwrap(), "over there");
}

#[test]
fn stream_that_reads_much_yields_to_other_tasks() {
    const LEN: usize = 4 * 1024 * 1024;
    let epoll = EventLoop::new().unwrap();
    let (mut greedy, mut server) = accepted(&epoll);
    let writer = std::thread::spawn(move || server.write_all(&vec![7; LEN]).unwrap());
    let most = epoll.block_on(async {
        let (mut total, mut most) = (0, 0);
        let mut buf = BytesMut::new();
        poll_fn(|cx| {
            let mut in_this_poll = 0;
            loop {
                buf.clear();
                buf.reserve(64 * 1024);
                match greedy.poll_read(cx, &mut buf) {
                    Poll::Ready(read) => {
                        in_this_poll += read.unwrap();
                        most = most.max(in_this_poll);
                        if total + in_this_poll == LEN {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Pending => {
                        total += in_this_poll;
                        return Poll::Pending;
                    }
                }
            }
        })
        .await;
        most
    });
    writer.join().unwrap();
    assert!(most <= 256 * 1024 + 64 * 1024, "{most} bytes in one poll");
}

#[test]
fn read_without_capacity_is_an_error_and_not_the_end() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, _server) = accepted(&epoll);
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Err(error)) = stream.poll_read(&mut cx, &mut BytesMut::new()) else {
        panic!("a read without capacity was accepted");
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn write_to_a_closed_peer_fails_without_a_signal() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, server) = accepted(&epoll);
    SockRef::from(&server)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(server);
    let error = epoll
        .block_on(async {
            poll_fn(|cx| stream.poll_idle(cx)).await;
            // The reset is reported once; later writes are EPIPE.
            let first = write_all(&mut stream, b"first write").await;
            first.and(write_all(&mut stream, b"second write").await)
        })
        .unwrap_err();
    assert!(
        matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        ),
        "{error:?}"
    );
}

#[test]
fn stream_of_a_dropped_loop_fails_with_runtime_shutdown() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, mut server) = accepted(&epoll);
    let handle = epoll.handle();
    server.write_all(b"unheard").unwrap();
    drop(epoll);
    let mut cx = Context::from_waker(Waker::noop());
    let mut buf = BytesMut::with_capacity(16);
    let Poll::Ready(Err(error)) = stream.poll_read(&mut cx, &mut buf) else {
        panic!("a stream of a dropped loop was read");
    };
    assert!(RuntimeShutdown::is_source_of(&error));
    let Poll::Ready(Err(error)) = stream.poll_write(&mut cx, &[IoSlice::new(b"x")]) else {
        panic!("a stream of a dropped loop was written");
    };
    assert!(RuntimeShutdown::is_source_of(&error));
    assert!(matches!(idle(&mut stream), Some(IdleEvent::Failed(_))));
    let address = server.local_addr().unwrap();
    let error = handle
        .block_on(handle.connect_tcp(address, &TcpOptions::default()))
        .unwrap_err();
    assert!(RuntimeShutdown::is_source_of(&error), "{error:?}");
}
