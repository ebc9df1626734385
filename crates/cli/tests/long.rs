//! `httpcore ws` and `httpcore sse`, run as processes.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output, Stdio},
};

use httpcore_origin::Origin;

fn run(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_httpcore"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // Beside reading what it says: neither pipe holds everything.
        scope.spawn(move || {
            // The client may have exited without reading it.
            let _ = stdin.write_all(input.as_bytes());
        });
        child.wait_with_output().unwrap()
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn lines_go_out_as_messages_and_come_back_before_the_end() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/echo").replace("http:", "ws:");
    // More than is on the way at once, in each direction.
    let lines: String = (0..5000)
        .map(|n| format!("line {n} {}\n", "x".repeat(n % 200)))
        .collect();
    let output = run(&["ws", &url], &lines);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), lines);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_server_without_websockets_is_quoted() {
    let origin = Origin::start().unwrap();
    let output = run(&["ws", &origin.url("/status/403")], "");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("status 403\n") && said.contains("403 Forbidden"),
        "{said}"
    );
    assert_eq!(run(&["ws"], "").status.code(), Some(2));
}

#[test]
fn events_go_on_where_a_broken_stream_ended() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/events/10?break=3");
    let numbers: String = (0..10).map(|n| format!("{n}\n")).collect();
    let output = run(&["sse", &url, "-v"], "");
    assert_eq!(text(&output.stdout), numbers, "{output:?}");
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output.stderr).contains("again in 500ms"),
        "{output:?}"
    );

    let output = run(&["sse", &url, "--last-event-id", "7"], "");
    assert_eq!(text(&output.stdout), "8\n9\n");

    // A pause without events is explained without `-v`.
    let output = run(&["sse", &url], "");
    assert!(
        text(&output.stderr).contains("again in 500ms"),
        "{output:?}"
    );

    // The first response alone is a broken one.
    let output = run(&["sse", &url, "--once", "-i"], "");
    let expected: String = (0..3)
        .map(|n| format!("event: tick\nid: {n}\ndata: {n}\n\n"))
        .collect();
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(1));

    let output = run(&["sse", &origin.url("/hello")], "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_event_source_says_why_it_asks_again() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let host = listener.local_addr().unwrap();
    drop(listener);
    let mut child = Command::new(env!("CARGO_BIN_EXE_httpcore"))
        .args(["sse", &format!("http://{host}/")])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.starts_with("* again in 3s: "), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
}

#[test]
fn an_id_with_a_line_feed_is_refused_by_name() {
    let output = run(
        &["sse", "http://127.0.0.1:1/", "--last-event-id", "7\n8"],
        "",
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("--last-event-id"),
        "{output:?}"
    );
}

#[test]
fn a_page_instead_of_a_websocket_or_of_events_is_quoted_in_part() {
    let origin = Origin::start().unwrap();
    for (url, said) in [
        (origin.url("/stream/100000"), "200 OK"),
        // One that comes slowly, and one that never ends.
        (origin.url("/drip/100000?ms=50"), "200 OK"),
    ] {
        for command in [&["ws"][..], &["sse", "--once"]] {
            let output = run(&[command, &[&url]].concat(), "");
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let shown = text(&output.stderr);
            assert!(shown.contains(said) && shown.len() < 1000, "{shown}");
            assert!(shown.lines().count() > 1, "nothing of the page: {shown}");
        }
    }
}
