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
fn what_is_written_comes_back_over_tcp() {
    let epoll = EventLoop::new().unwrap();
    let (address, server) = serve(|mut socket| {
        let mut said = [0; 5];
        socket.read_exact(&mut said).unwrap();
        socket.write_all(&said).unwrap();
    });
    let heard = epoll.block_on(async {
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
    assert_eq!(heard.unwrap(), "hello");
    server.join().unwrap();
}

#[test]
fn what_is_written_comes_back_over_a_unix_socket() {
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
    let heard = epoll.block_on(async {
        let mut stream = epoll.handle().connect_unix(&path).await?;
        assert_eq!(stream.info().peer, None);
        write_all(&mut stream, b"hello").await?;
        poll_fn(|cx| stream.poll_shutdown(cx)).await?;
        read_to_end(&mut stream).await
    });
    assert_eq!(heard.unwrap(), "hello");
    server.join().unwrap();
}

#[test]
fn an_abstract_unix_name_begins_with_a_zero_byte() {
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
fn a_unix_path_that_is_none_is_refused() {
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
fn data_and_end_in_one_edge_are_both_seen() {
    let epoll = EventLoop::new().unwrap();
    // The server writes and closes before the loop turns again, so that both come as one edge;
    // and the read that follows is shorter than its buffer.
    let (mut stream, mut server) = accepted(&epoll);
    server.write_all(b"last words").unwrap();
    drop(server);
    let heard = epoll.block_on(read_to_end(&mut stream)).unwrap();
    assert_eq!(heard, "last words");
}

#[test]
fn large_bodies_go_both_ways_at_once() {
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
    let heard = epoll.block_on(async {
        let mut stream = epoll
            .handle()
            .connect_tcp(address, &TcpOptions::default())
            .await
            .unwrap();
        let body: Vec<u8> = (0..LEN).map(|n| n as u8).collect();
        let (mut sent, mut heard) = (0, BytesMut::new());
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
                    heard.reserve(64 * 1024);
                    if let Poll::Ready(read) = stream.poll_read(cx, &mut heard) {
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
        heard
    });
    assert_eq!(heard.len(), LEN);
    assert!(heard.iter().enumerate().all(|(n, byte)| *byte == n as u8));
    assert_eq!(server.join().unwrap(), LEN);
}

#[test]
fn more_slices_than_one_call_takes_are_written_in_order() {
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
    let mut heard = vec![0; 3000];
    server.read_exact(&mut heard).unwrap();
    assert!(heard.iter().enumerate().all(|(n, byte)| *byte == n as u8));
}

#[test]
fn a_port_where_nobody_listens_refuses() {
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

/// A connection that has been begun, and of whose outcome the loop has not heard.
fn begun(epoll: &EventLoop, address: SocketAddr, options: &TcpOptions) -> Connecting {
    let mut connecting = epoll.handle().connect_tcp(address, options);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(connecting.as_mut().poll(&mut cx).is_pending());
    connecting
}

type Connecting = BoxFuture<'static, io::Result<BoxStream>>;

#[test]
fn a_connection_reset_before_the_loop_has_heard_of_it_is_none() {
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
fn a_connection_closed_before_the_loop_has_heard_of_it_ends_at_once() {
    let epoll = EventLoop::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connecting = begun(&epoll, address, &TcpOptions::default());
    listener.accept().unwrap().0.write_all(b"bye").unwrap();
    let heard = epoll.block_on(async { read_to_end(&mut connecting.await?).await });
    assert_eq!(heard.unwrap(), "bye");
}

#[test]
fn a_connection_that_nobody_takes_times_out_as_the_kernel_was_told() {
    let epoll = EventLoop::new().unwrap();
    // One connection fills the queue of this listener, and whoever comes then is not answered.
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
fn an_interface_that_does_not_exist_fails_the_connect() {
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
fn an_idle_stream_tells_close_data_and_reset_apart() {
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
    // It was looked at, not taken.
    let mut heard = BytesMut::with_capacity(8);
    let read = epoll.block_on(poll_fn(|cx| stream.poll_read(cx, &mut heard)));
    assert_eq!((read.unwrap(), &heard[..]), (1, &b"?"[..]));

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

/// Inside one `block_on`, which never awaits: what has reached the kernel is found all the same.
#[test]
fn an_idle_stream_is_asked_although_the_loop_does_not_turn() {
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
        assert_eq!(common::idle_end_soon(&mut data), IdleEvent::UnsolicitedData);
        assert_eq!(common::idle_end_soon(&mut end), IdleEvent::Closed);
        assert_eq!(
            common::idle_end_soon(&mut reset),
            IdleEvent::Failed(io::ErrorKind::ConnectionReset)
        );
        // A layer above can read what was found, without the loop having turned.
        let mut heard = BytesMut::with_capacity(8);
        let read = data.poll_read(&mut Context::from_waker(noop_waker()), &mut heard);
        assert!(matches!(read, Poll::Ready(Ok(1))), "{read:?}");
        assert_eq!(idle(&mut data), None);
    });
}

#[test]
fn who_waits_is_woken_although_a_question_in_between_has_found_the_end() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, server) = accepted(&epoll);
    let mut server = Some(server);
    let end = epoll.block_on(poll_fn(|cx| {
        let end = stream.poll_idle(cx);
        if server.take().is_some() {
            assert!(end.is_pending());
            assert_eq!(common::idle_end_soon(&mut stream), IdleEvent::Closed);
        }
        end
    }));
    assert_eq!(end, IdleEvent::Closed);
}

#[test]
fn who_asks_without_waiting_does_not_take_the_place_of_who_waits() {
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
fn an_answer_read_to_its_end_leaves_the_stream_idle() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, mut server) = accepted(&epoll);
    server.write_all(b"answer").unwrap();
    let heard = epoll.block_on(read_some(&mut stream)).unwrap();
    assert_eq!(heard, "answer");
    turn(&epoll);
    assert_eq!(idle(&mut stream), None);
}

#[test]
fn a_close_is_noticed_by_a_loop_that_has_not_turned_for_a_while() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, server) = accepted(&epoll);
    assert_eq!(idle(&mut stream), None);
    drop(server);
    // Long enough for what is known to count as stale. Nothing but the clock can say so.
    let stale = epoll.handle().now() + Duration::from_millis(2);
    while epoll.handle().now() < stale {
        std::hint::spin_loop();
    }
    // Asked by the very first poll of a `block_on`, before anything has had time to happen in it.
    let end = epoll.block_on(async { idle(&mut stream) });
    assert_eq!(end, Some(IdleEvent::Closed));
}

#[test]
fn a_stream_on_another_thread_is_woken_by_the_loop_that_turns_here() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, mut server) = accepted(&epoll);
    let (waits, waiting) = mpsc::channel();
    let handle = epoll.handle();
    let (done, ended) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let heard = handle.block_on(async {
            waits.send(()).unwrap();
            read_some(&mut stream).await
        });
        done.send(()).unwrap();
        heard.unwrap()
    });
    waiting.recv().unwrap();
    server.write_all(b"over there").unwrap();
    ended.recv().unwrap();
    assert_eq!(reader.join().unwrap(), "over there");
}

#[test]
fn a_stream_that_reads_much_stands_back_for_others() {
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
fn a_read_without_room_is_an_error_and_not_the_end() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, _server) = accepted(&epoll);
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Err(error)) = stream.poll_read(&mut cx, &mut BytesMut::new()) else {
        panic!("a read without room was accepted");
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn writing_to_a_peer_who_is_gone_fails_without_a_signal() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, server) = accepted(&epoll);
    SockRef::from(&server)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(server);
    let error = epoll
        .block_on(async {
            poll_fn(|cx| stream.poll_idle(cx)).await;
            // The reset is reported once, and after that the pipe is broken.
            let first = write_all(&mut stream, b"anybody there?").await;
            first.and(write_all(&mut stream, b"anybody at all?").await)
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
fn a_stream_outlives_its_loop_and_says_so() {
    let epoll = EventLoop::new().unwrap();
    let (mut stream, mut server) = accepted(&epoll);
    let handle = epoll.handle();
    server.write_all(b"unheard").unwrap();
    drop(epoll);
    let mut cx = Context::from_waker(Waker::noop());
    let mut buf = BytesMut::with_capacity(16);
    let Poll::Ready(Err(error)) = stream.poll_read(&mut cx, &mut buf) else {
        panic!("a stream without a loop was read");
    };
    assert!(RuntimeShutdown::is_source_of(&error));
    let Poll::Ready(Err(error)) = stream.poll_write(&mut cx, &[IoSlice::new(b"x")]) else {
        panic!("a stream without a loop was written");
    };
    assert!(RuntimeShutdown::is_source_of(&error));
    assert!(matches!(idle(&mut stream), Some(IdleEvent::Failed(_))));
    let address = server.local_addr().unwrap();
    let error = handle
        .block_on(handle.connect_tcp(address, &TcpOptions::default()))
        .unwrap_err();
    assert!(RuntimeShutdown::is_source_of(&error), "{error:?}");
}
