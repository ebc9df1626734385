//! Proxies on the command line: which one is used, and what is printed of it.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nhello\n";

/// A proxy on loopback that gives each head to the test, and these answers one after the other.
fn proxy(answers: &'static [&'static str]) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let (heads, received) = channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for answer in answers {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            heads.send(head).unwrap();
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    (addr, received)
}

fn get(args: &[&str], vars: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpcore"));
    for name in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "request_method",
    ] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let command = command.arg("get").args(args).stdin(Stdio::null());
    command.envs(vars.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_proxy_of_the_environment_is_used_and_shown_without_its_password() {
    let (addr, heads) = proxy(&[HELLO]);
    let url = format!("http://user:hunter2@{addr}");
    let output = get(&["-v", "http://origin.test/a"], &[("http_proxy", &url)]);
    assert_eq!(text(&output.stdout), "hello\n", "{output:?}");
    let head = heads.recv().unwrap();
    assert!(head.starts_with("GET http://origin.test/a HTTP/1.1\r\nhost: origin.test\r\n"));
    assert!(
        head.contains("proxy-authorization: Basic dXNlcjpodW50ZXIy\r\n"),
        "{head}"
    );
    let shown = text(&output.stderr);
    assert!(
        shown.contains(&format!("* proxy http://{addr} forwards requests\n")),
        "{shown}"
    );
    assert!(!shown.contains("hunter2") && !shown.contains("dXNlcjpodW50ZXIy"));
}

#[test]
fn the_proxy_of_an_option_is_sent_its_fields_and_its_refusal_is_told() {
    let (addr, heads) = proxy(&["HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"]);
    let url = format!("http://{addr}");
    let args = [
        "--proxy",
        &url,
        "--proxy-user",
        "user:hunter2",
        "--proxy-header",
        "X-For: proxy",
        "--trace",
        "https://origin.test/",
    ];
    let output = get(&args, &[("https_proxy", "http://127.0.0.1:1")]);
    assert_eq!(output.status.code(), Some(1));
    let head = heads.recv().unwrap();
    assert!(
        head.starts_with("CONNECT origin.test:443 HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("x-for: proxy\r\n") && head.contains("proxy-authorization: Basic "));
    let shown = text(&output.stderr);
    let refused = format!(
        "httpcore: the proxy {url} opened no tunnel to origin.test:443: \
         the proxy refused to connect (403 Forbidden)\n"
    );
    assert!(shown.ends_with(&refused), "{shown}");
    assert!(shown.contains("connection.proxy.started"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn hosts_without_a_proxy_are_reached_directly() {
    let (addr, heads) = proxy(&[HELLO]);
    let url = format!("http://{addr}/");
    let vars = [
        ("all_proxy", "socks5h://127.0.0.1:1"),
        ("no_proxy", "127.0.0.0/8"),
    ];
    let output = get(&[&url], &vars);
    assert_eq!(text(&output.stdout), "hello\n", "{output:?}");
    assert!(heads.recv().unwrap().starts_with("GET / HTTP/1.1\r\n"));
}

#[test]
fn a_malformed_variable_is_an_error_that_does_not_repeat_it() {
    let output = get(
        &["http://origin.test/"],
        &[("http_proxy", "ftp://u:s3cret@h")],
    );
    assert_eq!(output.status.code(), Some(2));
    let shown = text(&output.stderr);
    assert!(
        shown.contains("environment") && !shown.contains("s3cret"),
        "{shown}"
    );
}
