//! Floods over sockets: what they make of this process's memory.
//!
//! In a process of its own, since the kernel counts the memory of processes, and only ever upwards.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use bytes::Bytes;
use httpcore::{ConnectionPool, EventLoop, Timeouts};
use httpcore_tests::h2_peer::{
    frames::{
        self, Frame, continuation, data, flag, headers, kind, ok, ping, push_promise, reset,
        settings, window_update,
    },
    hpack,
};

/// How much is sent, unless the client ends it. Four times what may be kept.
const TOTAL: usize = 16 << 20;
/// Maximum growth of the process: the window of the unread response, and as much again.
const GROWTH: u64 = 4 << 10; // KiB
/// By how much it may grow for frames of one byte that wait to be read: 65,536 of them, at less than
/// 256 bytes each, in a table which doubles when it is full.
const SMALL_FRAMES: u64 = 32 << 10; // KiB
/// How long either side waits for the other; a bound on hanging, and not a measurement.
const PATIENCE: Duration = Duration::from_millis(300);

/// A server which greets, answers with `first`, and then says `again` without end.
struct Flood {
    name: &'static str,
    first: Vec<Frame>,
    again: Frame,
    reads: bool,
}

fn flood(name: &'static str, first: impl Into<Vec<Frame>>, again: Frame) -> Flood {
    Flood {
        name,
        first: first.into(),
        again,
        reads: true,
    }
}

impl Flood {
    /// It reads nothing after the request.
    fn deaf(mut self) -> Self {
        self.reads = false;
        self
    }

    fn serve(&self, listener: TcpListener) -> thread::JoinHandle<usize> {
        let first = frames::encode(&[&[settings(&[])], &self.first[..]].concat());
        let one = frames::encode(std::slice::from_ref(&self.again));
        let many = Bytes::from(one.repeat(64 * 1024 / one.len() + 1));
        let reads = self.reads;
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            drop(listener);
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            // The preface, and as a rule the request behind it.
            let mut heard = [0; 4096];
            let _ = stream.read(&mut heard);
            if reads {
                let mut ears = stream.try_clone().unwrap();
                thread::spawn(move || while matches!(ears.read(&mut heard), Ok(1..)) {});
            }
            let mut sent = 0;
            let mut next = first;
            while sent < TOTAL && stream.write_all(&next).is_ok() {
                sent += next.len();
                next = many.clone();
            }
            let _ = stream.shutdown(std::net::Shutdown::Both);
            sent
        })
    }

    /// How much the server could send.
    fn play(&self) -> usize {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = self.serve(listener);
        ask(address);
        // On a busy machine the client may not have connected: the server still waits.
        let _ = TcpStream::connect(address);
        server.join().unwrap()
    }
}

/// Asks, reads nothing of what is answered, and waits for a second answer, which never comes.
fn ask(address: SocketAddr) {
    let limits = Timeouts::none()
        .with_response_head(PATIENCE)
        .with_acquire(PATIENCE);
    let epoll = EventLoop::new().unwrap();
    let pool = ConnectionPool::builder()
        .http1(false)
        .http2(true)
        .timeouts(limits)
        .build(epoll.backend());
    epoll.block_on(async {
        let unread = pool.get(format!("http://{address}/one")).await;
        let second = pool.get(format!("http://{address}/two")).await;
        assert!(second.is_err(), "the server does not answer this");
        drop(unread);
    });
}

/// The most memory this process ever had at once, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn floods_fill_no_memory() {
    let head = || vec![ok(1)];
    let large = hpack::encode(&[("x-large", &"x".repeat(1000)[..])]);
    let begun = || vec![headers(1, &[(":status", "200")]).without(flag::END_HEADERS)];
    let floods = [
        flood("PING", [], ping([0; 8])),
        flood("PING, unheard", [], ping([0; 8])).deaf(),
        flood("SETTINGS", [], settings(&[(4, 65_535)])),
        flood("SETTINGS, unheard", [], settings(&[(4, 65_535)])).deaf(),
        flood("WINDOW_UPDATE", [], window_update(0, 1)),
        flood("PRIORITY", [], Frame::new(kind::PRIORITY, 0, 3, vec![0; 5])),
        flood("no known type", [], Frame::new(0xbe, 0, 0, vec![0; 100])),
        flood("empty DATA", head(), data(1, "")),
        flood("DATA beyond the window", head(), data(1, vec![0; 16_384])),
        flood("padding", head(), data(1, "").padded(255)),
        flood("DATA behind the end", [ok(1).end()], data(1, vec![0; 1000])),
        flood(
            "interim responses",
            [],
            headers(1, &[(":status", "103"), ("link", "</a>")]),
        ),
        flood("malformed responses", [], headers(1, &[("x", "y")])),
        flood(
            "malformed responses, unheard",
            [],
            headers(1, &[("x", "y")]),
        )
        .deaf(),
        flood("resets", [], reset(1, 8)),
        flood("pushes", head(), push_promise(1, 2, &[(":path", "/")])),
        flood(
            "fields without an end",
            begun(),
            continuation(1, large).without(flag::END_HEADERS),
        ),
        flood(
            "CONTINUATION of nothing",
            begun(),
            continuation(1, "").without(flag::END_HEADERS),
        ),
        flood(
            "fields of a table",
            [],
            frames::block(1, [&[0x88][..], &[0xbe; 2000]].concat()),
        ),
    ];
    // Whatever is made once has been made then.
    flood("warming up", head(), ping([0; 8])).play();
    let before = peak();
    for flood in &floods {
        let (so_far, sent) = (peak(), flood.play());
        // The kernel counts by the page and now and then.
        let grown = peak().saturating_sub(so_far);
        println!("{}: {sent} bytes sent, {grown} KiB grown", flood.name);
    }
    let grown = peak().saturating_sub(before);
    assert!(grown < GROWTH, "grown by {grown} KiB");
    // The last, since a peak hides what comes behind it.
    let before = peak();
    let sent = flood("DATA of one byte", head(), data(1, "x")).play();
    let grown = peak().saturating_sub(before);
    println!("DATA of one byte: {sent} bytes sent, {grown} KiB grown");
    assert!(grown < SMALL_FRAMES, "grown by {grown} KiB");
}
