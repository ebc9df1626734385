//! What reaches an idle HTTP/1.1 connection while its thread computes is never taken for the answer to the
//! next request, and never costs that request: on both event loops, on tokio and smol, in the clear and under TLS.
//!
//! `HTTPCORE_STALE` says how often each input is tried, instead of the numbers below.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../crates/net-tls/tests/zoo/mod.rs"]
mod zoo;

use std::{
    fs,
    future::Future,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use httpcore::{Body, ConnectionPool, EventLoop, Request, Timeouts, backend::NetworkBackend};
use httpcore_net_epoll::Blocking;
use httpcore_net_tls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use httpcore_net_tokio::TokioBackend;
use httpcore_tests::smol::Smol;
use zoo::Authority;

/// How often each is done. To ask the kernel's table whether something has arrived takes milliseconds, and so
/// only one input is done so often; under TLS, each round is a handshake.
const MANY_ROUNDS: usize = 1000;
const ROUNDS: usize = 200;
const TLS_ROUNDS: usize = 50;

/// Longer than what is known of a socket may be relied upon.
const COMPUTING: Duration = Duration::from_micros(200);

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
const STRAY_408: &str =
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 4\r\n\r\nEVIL";
const HINTED: &str = "HTTP/1.1 103 Early Hints\r\nLink: </evil>\r\n\r\n\
                      HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
/// An end, and under TLS one without `close_notify`.
const END: &str = "";

/// One of the backends.
enum Loop {
    EventLoop(EventLoop),
    Blocking(Blocking),
    Tokio(tokio::runtime::Runtime),
    Smol(Smol),
}

impl Loop {
    fn backend(&self) -> Arc<dyn NetworkBackend> {
        match self {
            Loop::EventLoop(epoll) => epoll.backend(),
            Loop::Blocking(blocking) => blocking.backend(),
            Loop::Tokio(runtime) => Arc::new(TokioBackend::on(runtime.handle())),
            Loop::Smol(smol) => Arc::new(smol.backend()),
        }
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self {
            Loop::EventLoop(epoll) => epoll.block_on(future),
            Loop::Blocking(blocking) => blocking.block_on(future),
            Loop::Tokio(runtime) => runtime.block_on(future),
            Loop::Smol(smol) => smol.block_on(future),
        }
    }
}

trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

/// Reads a request with a body of one byte or none, and answers with `number`.
fn answer(stream: &mut dyn Duplex, number: usize) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if head.starts_with(b"POST") {
        stream.read_exact(&mut byte)?;
    }
    let body = number.to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all((head + &body).as_bytes())?;
    stream.flush()
}

/// Answers two requests on each connection with its number and, on a signal, sends `said`, unasked;
/// or ends the connection. Tells which port of the client that was said to.
fn serve(
    listener: &TcpListener,
    tls: Option<&Arc<ServerConfig>>,
    said: &str,
    go: &mpsc::Receiver<()>,
    spoken: &mpsc::Sender<u16>,
) -> io::Result<()> {
    let mut kept = None;
    for number in 0.. {
        let (socket, client) = listener.accept()?;
        socket.set_nodelay(true)?;
        let mut stream: Box<dyn Duplex> = match tls {
            Some(config) => {
                let session = ServerConnection::new(config.clone()).unwrap();
                Box::new(StreamOwned::new(session, socket.try_clone()?))
            }
            None => Box::new(socket.try_clone()?),
        };
        answer(&mut *stream, number)?;
        if answer(&mut *stream, number).is_err() || go.recv().is_err() {
            return Ok(()); // the client is done
        }
        if said == END {
            socket.shutdown(std::net::Shutdown::Both)?;
        } else {
            stream.write_all(said.as_bytes())?;
            stream.flush()?;
        }
        let _ = spoken.send(client.port());
        kept = Some(stream); // open until the next connection has come this far
    }
    drop(kept);
    Ok(())
}

/// Whether bytes, or an end, wait in the kernel at the client's `port`; or the client has closed the connection on
/// another thread, which has seen them.
fn has_arrived(port: u16) -> bool {
    let local = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        (fields.next() == Some(&local[..])).then_some(fields)
    });
    line.is_none_or(|mut fields| {
        let (state, queues) = (fields.nth(1).unwrap(), fields.next().unwrap());
        state != "01" || !queues.ends_with(":00000000") // not established, or something to read
    })
}

fn request(url: &str, method: &str) -> Request {
    let body = match method {
        "POST" => Body::from("x"),
        _ => Body::empty(),
    };
    http::Request::builder()
        .method(method)
        .uri(url)
        .body(body)
        .unwrap()
}

async fn number(pool: &ConnectionPool, request: Request) -> String {
    let response = pool.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().bytes(100).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn run(lp: &Loop, has_tls: bool, said: &'static str, method: &str) {
    let root = Authority::new("root");
    let config = Arc::new(root.issue(&["127.0.0.1"]).server());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let scheme = if has_tls { "https" } else { "http" };
    let url = format!("{scheme}://{address}/");
    let is_ours = matches!(lp, Loop::EventLoop(_) | Loop::Blocking(_));
    let rounds = match (has_tls, said, method) {
        (true, ..) => TLS_ROUNDS,
        (_, EVIL, "GET") if is_ours => MANY_ROUNDS,
        _ => ROUNDS,
    };
    let rounds = std::env::var("HTTPCORE_STALE").map_or(rounds, |text| text.parse().unwrap());
    let (go, gone) = mpsc::channel();
    let (spoken, heard) = mpsc::channel();
    let server = thread::spawn(move || {
        let tls = has_tls.then_some(&config);
        serve(&listener, tls, said, &gone, &spoken)
    });
    let backend = lp.backend();
    let pool = ConnectionPool::builder()
        .tls(Arc::new(root.connector()))
        .timeouts(Timeouts::default().with_total(Duration::from_secs(60)))
        .build(backend.clone());
    lp.block_on(async {
        assert_eq!(number(&pool, request(&url, "GET")).await, "0");
        for round in 0..rounds {
            // On the connection of the round before, which is idle.
            let first = number(&pool, request(&url, "GET")).await;
            assert_eq!(first, round.to_string());
            // From here on the task computes, and nothing of the loop moves.
            let start = backend.now();
            go.send(()).unwrap();
            let port = heard.recv().unwrap();
            while backend.now() < start + COMPUTING || !has_arrived(port) {
                thread::yield_now();
            }
            let second = number(&pool, request(&url, method)).await;
            assert_eq!(second, (round + 1).to_string());
        }
    });
    drop((pool, go));
    let _ = TcpStream::connect(address); // in case the server waits for another connection
    server.join().unwrap().unwrap();
}

fn on_every_loop(said: &'static str, method: &str) {
    for has_tls in [false, true] {
        run(
            &Loop::EventLoop(EventLoop::new().unwrap()),
            has_tls,
            said,
            method,
        );
        let blocking = Blocking::new().unwrap();
        run(&Loop::Blocking(blocking), has_tls, said, method);
    }
}

fn on_guests(said: &'static str, method: &str) {
    use tokio::runtime::Builder;

    for has_tls in [false, true] {
        let mut current = Builder::new_current_thread();
        let mut multi = Builder::new_multi_thread();
        for builder in [&mut current, multi.worker_threads(2)] {
            let runtime = builder.enable_all().build().unwrap();
            run(&Loop::Tokio(runtime), has_tls, said, method);
        }
        run(&Loop::Smol(Smol::new()), has_tls, said, method);
    }
}

#[test]
fn an_unasked_response_never_answers_the_next_request() {
    on_every_loop(EVIL, "GET");
}

#[test]
fn a_stray_408_never_answers_the_next_request() {
    on_every_loop(STRAY_408, "GET");
}

#[test]
fn an_unasked_response_behind_an_interim_one_never_answers_the_next_request() {
    on_every_loop(HINTED, "GET");
}

#[test]
fn an_end_before_a_post_costs_a_connection_and_not_the_post() {
    on_every_loop(END, "POST");
}

#[test]
fn an_unasked_response_before_a_post_costs_a_connection_and_not_the_post() {
    on_every_loop(EVIL, "POST");
}

#[test]
fn an_unasked_response_never_answers_the_next_request_on_tokio_and_smol() {
    on_guests(EVIL, "GET");
}

#[test]
fn a_stray_408_never_answers_the_next_request_on_tokio_and_smol() {
    on_guests(STRAY_408, "GET");
}

#[test]
fn an_end_before_a_post_costs_a_connection_and_not_the_post_on_tokio_and_smol() {
    on_guests(END, "POST");
}

#[test]
fn an_unasked_response_before_a_post_costs_a_connection_and_not_the_post_on_tokio_and_smol() {
    on_guests(EVIL, "POST");
}
