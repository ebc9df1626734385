//! Times of single steps: of the codec, the pool's state machine, a timer, a wake-up.
//!
//! ```sh
//! cargo bench -p httpcore-benches --bench micro           # all of them
//! cargo bench -p httpcore-benches --bench micro -- codec  # some
//! ```
//!
//! Times are for orientation during a change; they decide nothing.

#![allow(clippy::unwrap_used)] // a benchmark, not a library

use std::{
    future::poll_fn,
    sync::{Arc, mpsc},
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use divan::{Bencher, black_box};
use httpcore_core_primitives::{
    BodyLength, ConnectionPolicy, KeepAliveHints, LazyTimer, Origin, Runtime, Scheme,
};
use httpcore_net_epoll::EventLoop;
use httpcore_pool::{
    PoolConfig, Route,
    state::{Connection, Effect, Effects, Input, State, WaiterId},
};
use httpcore_proto_h1::codec::{Codec, Event};

fn main() {
    divan::main();
}

const TINY: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
const ELEVEN: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.27.0\r\n\
    Date: Fri, 20 Nov 2026 10:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\n\
    Content-Length: 2\r\nConnection: keep-alive\r\nVary: Accept-Encoding\r\n\
    ETag: \"65a1b2c3-264\"\r\nLast-Modified: Thu, 19 Nov 2026 09:00:00 GMT\r\n\
    Cache-Control: max-age=3600\r\nX-Request-Id: 0123456789abcdef\r\n\
    Strict-Transport-Security: max-age=31536000\r\n\r\nok";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";

fn head() -> http::request::Parts {
    let request = http::Request::get("http://localhost:8080/index.html?a=b")
        .header("accept", "*/*")
        .header("user-agent", "micro");
    request.body(()).unwrap().into_parts().0
}

#[divan::bench]
fn codec_encodes(bencher: Bencher<'_, '_>) {
    let (head, mut out) = (head(), BytesMut::with_capacity(1024));
    bencher.bench_local(|| {
        out.clear();
        let mut codec = Codec::default();
        codec
            .encode_head(black_box(&head), BodyLength::Known(0), &mut out)
            .unwrap();
        out.len()
    });
}

/// Includes the encoding of the request, since a response needs one.
#[divan::bench(args = ["tiny", "eleven", "chunked"])]
fn codec_parses(bencher: Bencher<'_, '_>, what: &str) {
    let response = match what {
        "tiny" => TINY,
        "eleven" => ELEVEN,
        _ => CHUNKED,
    };
    let (head, mut out) = (head(), BytesMut::with_capacity(1024));
    bencher.bench_local(|| {
        out.clear();
        let mut codec = Codec::default();
        codec
            .encode_head(&head, BodyLength::Known(0), &mut out)
            .unwrap();
        let mut input = BytesMut::from(black_box(response));
        let mut length = 0;
        while let Some(event) = codec.decode(&mut input, false).unwrap() {
            match event {
                Event::Data(data) => length += data.len(),
                Event::End => break,
                _ => {}
            }
        }
        assert_eq!(length, 2);
    });
}

type Machine = State<u32, ()>;

/// Passes an input to the machine, makes the connections it asks for, and returns the last grant.
fn granted(
    machine: &mut Machine,
    input: Input<'_, u32, ()>,
    now: Instant,
) -> Option<(WaiterId, u32)> {
    let mut grant = None;
    let mut effects = Effects::new();
    machine.handle(input, now, &mut effects);
    while !effects.is_empty() {
        for effect in std::mem::take(&mut effects) {
            match effect {
                Effect::Connect { conn, .. } => {
                    let (result, limit) = (Ok(Connection::Exclusive(1)), None);
                    let connected = Input::Connected {
                        conn,
                        result,
                        limit,
                        copy: None,
                    };
                    machine.handle(connected, now, &mut effects);
                }
                Effect::Grant {
                    waiter,
                    connection: Connection::Exclusive(number),
                    ..
                } => grant = Some((waiter, number)),
                _ => {}
            }
        }
    }
    grant
}

/// Acquires and releases a connection, with `idle` idle ones of other origins.
#[divan::bench(args = [1, 100, 10_000])]
fn pool_lends(bencher: Bencher<'_, '_>, idle: usize) {
    let mut config = PoolConfig::default();
    config.max_connections = None;
    config.idle_timeout = None;
    let mut machine = Machine::new(&config);
    let now = now();
    let routes: Vec<_> = (0..idle)
        .map(|n| Route::to(Origin::new(Scheme::Http, &format!("host{n}.test"), 80)))
        .collect();
    let mut n = 0;
    let mut lend = || {
        n += 7919;
        let request = Input::Request {
            route: &routes[n % idle],
            policy: ConnectionPolicy::default(),
            arrival: None,
        };
        let (waiter, connection) = granted(&mut machine, request, now).unwrap();
        let returned = Input::Returned {
            waiter,
            connection,
            hints: KeepAliveHints::default(),
        };
        granted(&mut machine, returned, now);
    };
    for _ in 0..idle {
        lend();
    }
    bencher.bench_local(lend);
}

#[divan::bench]
fn timer_is_armed_and_cancelled(bencher: Bencher<'_, '_>) {
    let epoll = EventLoop::new().unwrap();
    let runtime: Arc<dyn Runtime> = Arc::new(epoll.handle());
    let hour = runtime.now() + Duration::from_secs(3600);
    let mut bencher = Some(bencher);
    epoll.block_on(poll_fn(|cx| {
        bencher.take().unwrap().bench_local(|| {
            let mut alarm = LazyTimer::new(runtime.clone(), "measured");
            assert!(alarm.poll_until(cx, Some(hour)).is_pending());
        });
        Poll::Ready(())
    }));
}

/// The first poll wakes its own task, the second ends.
#[divan::bench]
fn wake_from_the_same_thread(bencher: Bencher<'_, '_>) {
    let epoll = EventLoop::new().unwrap();
    bencher.bench_local(|| {
        let mut is_woken = false;
        epoll.block_on(poll_fn(|cx| {
            if is_woken {
                return Poll::Ready(());
            }
            is_woken = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
    });
}

/// Both ways: the waker goes to another thread, which wakes this one.
#[divan::bench]
fn wake_from_another_thread(bencher: Bencher<'_, '_>) {
    let epoll = EventLoop::new().unwrap();
    let (wakers, woken) = mpsc::channel::<Waker>();
    let other = thread::spawn(move || woken.iter().for_each(Waker::wake));
    bencher.bench_local(|| {
        let mut is_woken = false;
        epoll.block_on(poll_fn(|cx| {
            if is_woken {
                return Poll::Ready(());
            }
            is_woken = true;
            wakers.send(cx.waker().clone()).unwrap();
            Poll::Pending
        }));
    });
    drop(wakers);
    other.join().unwrap();
}

/// Any time: the machine is given it.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}
