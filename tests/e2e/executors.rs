//! Pools that are awaited under an executor which cannot complete them: an error at once, or a line on
//! stderr in debug builds. Each case runs in a process of its own, since it may wait for ever. (Our own event
//! loop and mocks among themselves are in `mock.rs`.)

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
};

use httpcore::{ConnectionPool, EventLoop};
use httpcore_net_mock::MockNet;

const CASE: &str = "HTTPCORE_TEST_EXECUTOR";

fn mock() -> (MockNet, ConnectionPool) {
    let net = MockNet::new();
    net.serve("server.test", 80, async |mut stream| {
        let _ = stream.read_head().await;
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    (net, pool)
}

/// What the other tests start, with the case in the environment.
#[test]
#[ignore = "started by the other tests, in a process of its own"]
fn case() {
    let url = "http://server.test/";
    let tokio = || {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    match env::var(CASE).unwrap().as_str() {
        "a mock under tokio" => {
            let (_net, pool) = mock();
            let _ = tokio().block_on(pool.get(url));
        }
        "a mock under another executor" => {
            let (_net, pool) = mock();
            let _ = async_io::block_on(pool.get(url));
        }
        "a mock's stream under another executor" => {
            let net = MockNet::new();
            let (mut stream, _server) = net.pair();
            let buf = &mut bytes::BytesMut::with_capacity(1);
            let read = std::future::poll_fn(|cx| stream.poll_read(cx, buf));
            let _ = async_io::block_on(read);
        }
        "an event loop under tokio" => {
            let epoll = EventLoop::new().unwrap();
            let pool = ConnectionPool::new(epoll.backend());
            let _ = tokio().block_on(pool.get("http://127.0.0.1:1/"));
        }
        "tokio in a mock" => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap();
            let backend = httpcore::net::TokioBackend::on(runtime.handle());
            let pool = ConnectionPool::new(Arc::new(backend));
            let _ = MockNet::new().run(pool.get("http://127.0.0.1:1/"));
        }
        other => panic!("no such case: {other}"),
    }
}

/// Starts a case, and waits for a line on stderr that contains `text`.
fn says(case: &str, text: &str) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "case", "--ignored", "--nocapture"])
        .env(CASE, case)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = Vec::new();
    let is_said = stderr.lines().map_while(Result::ok).any(|line| {
        let is_it = line.contains(text);
        said.push(line);
        is_it
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_said, "{case}: {said:#?}");
}

#[test]
#[cfg(debug_assertions)]
fn a_mock_under_a_foreign_executor_says_where_it_is_to_be_awaited() {
    for case in [
        "a mock under tokio",
        "a mock under another executor",
        "a mock's stream under another executor",
    ] {
        says(case, "moves only within `MockNet::run`");
    }
}

#[test]
#[cfg(debug_assertions)]
fn an_event_loop_that_no_thread_runs_says_so_under_tokio() {
    says(
        "an event loop under tokio",
        "an event loop that no thread runs",
    );
}

#[test]
fn a_pool_on_tokio_makes_a_mock_stuck_which_is_reported_at_once() {
    says("tokio in a mock", "the world is stuck");
}
