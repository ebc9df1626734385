//! `httpcore get`, run as a process: what it prints, and how it ends.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output, Stdio},
    thread,
};

use httpcore_origin::Origin;

fn get(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpcore"));
    command.env("no_proxy", "*");
    command.arg("get").args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    get(args).output().unwrap()
}

#[test]
fn only_a_complete_response_is_a_success() {
    let origin = Origin::start().unwrap();
    for (path, code) in [
        ("/hello", 0),
        ("/status/500", 0),
        ("/truncated", 1),
        ("/truncated?chunked", 1),
        ("/truncated?head", 1),
        ("/garbage", 1),
    ] {
        let output = run(&[&origin.url(path)]);
        assert_eq!(output.status.code(), Some(code), "{path}: {output:?}");
        assert_eq!(output.stderr.is_empty(), code == 0, "{path}: {output:?}");
        let lines = output.stderr.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines, usize::from(code != 0), "{path}: {output:?}");
    }
    assert_eq!(run(&[]).status.code(), Some(2));
}

#[test]
fn closed_standard_error_does_not_stop_a_traced_request() {
    let origin = Origin::start().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = get(&["--trace", &origin.url("/hello")])
        .stderr(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"Hello, world!\n");
}

#[test]
fn a_file_that_says_it_is_empty_is_read_all_the_same() {
    let mut file = String::new();
    let path = "/proc/sys/kernel/ostype";
    File::open(path).unwrap().read_to_string(&mut file).unwrap();
    let origin = Origin::start().unwrap();
    let output = run(&["-d", &format!("@{path}"), &origin.url("/echo")]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), file);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn several_pieces_of_data_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    std::fs::write(&path, "c=3").unwrap();
    let file = format!("@{}", path.display());
    let origin = Origin::start().unwrap();
    let url = origin.url("/echo");
    for (data, sent) in [
        (&["a=1"][..], "a=1"),
        (&["a=1", "", "b=2"], "a=1&&b=2"),
        (&["a=1", &file, "b=2"], "a=1&c=3&b=2"),
        (&["a=1", "@-", &file], "a=1&&c=3"),
    ] {
        let mut args = vec![&*url];
        data.iter().for_each(|data| args.extend(["-d", data]));
        let output = run(&args);
        assert_eq!(text(&output.stdout), sent, "{output:?}");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn a_url_without_a_scheme_is_one_of_http() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/hello");
    let output = run(&[url.strip_prefix("http://").unwrap()]);
    assert_eq!(text(&output.stdout), "Hello, world!\n", "{output:?}");
}

#[test]
fn trailers_are_printed_with_the_head() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/stream/2?trailers");
    let body = text(&run(&[&url]).stdout);
    assert!(!body.contains("x-count"), "{body}");
    let all = text(&run(&[&url, "-i"]).stdout);
    let (head, rest) = all.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{all}");
    let trailers = rest.strip_prefix(&*body).unwrap();
    assert!(trailers.starts_with("x-count: 2\r\nx-checksum: "), "{all}");
    // A file gets the body alone.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    let output = run(&[&url, "-i", "-o", file.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), body);
    assert!(text(&output.stdout).ends_with(trailers), "{output:?}");
}

#[test]
fn http2_has_no_minor_version() {
    let origin = Origin::start().unwrap();
    let output = run(&[&origin.url("/hello"), "-i", "--http2-prior-knowledge"]);
    let said = text(&output.stdout);
    assert!(said.starts_with("HTTP/2 200 OK\r\n"), "{output:?}");
}

#[test]
fn what_cannot_be_written_is_named_and_is_no_success() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/hello");
    let output = run(&[&url, "-o", "/dev/full"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(
        said.contains("cannot write /dev/full: No space left"),
        "{said}"
    );
    for args in [&[&*url][..], &[&url, "-i"], &[&url, "-o", "-"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = get(args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stderr);
        assert!(
            said.contains("cannot write stdout: No space left"),
            "{said}"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn closed_stdout_is_no_success_for_any_command_that_prints() {
    let origin = Origin::start().unwrap();
    let (url, events) = (origin.url("/hello"), origin.url("/events/1"));
    let socket = origin.url("/echo").replace("http:", "ws:");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("body");
    let file = file.to_str().unwrap();
    let shell = |redirect: &str, args: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$0\" \"$@\" {redirect}")]);
        command.arg(env!("CARGO_BIN_EXE_httpcore")).args(args);
        command.stdin(Stdio::null()).output().unwrap()
    };
    for args in [
        &["get", &url][..],
        &["get", &url, "-o", "-"],
        &["get", &url, "-i", "-o", file],
        &["ws", &socket],
        &["sse", &events, "--once"],
        &["demo"],
        &["--help"],
        &["--version"],
    ] {
        let output = shell(">&-", args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        let said = text(&output.stderr);
        assert!(
            said.starts_with("httpcore: cannot write stdout: stdout is closed"),
            "{args:?}: {said}"
        );
    }
    assert!(
        !std::path::Path::new(file).exists(),
        "nothing was requested"
    );
    for (redirect, args) in [
        (">/dev/null", &["get", &url][..]),
        (">>/dev/null", &["get", &url]),
        (">&-", &["get", &url, "-o", file]),
        ("2>&-", &["get", &url]),
        ("<&-", &["get", &url]),
    ] {
        let output = shell(redirect, args);
        assert_eq!(output.status.code(), Some(0), "{redirect}: {output:?}");
    }
    assert_eq!(shell(">&-", &["get"]).status.code(), Some(2));
}

/// The writing end of a pipe whose reading end is closed.
fn unread() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

#[test]
fn a_reader_that_wants_no_more_ends_the_program_quietly() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/stream/100000");
    let output = get(&[&url]).stdout(unread()).output().unwrap();
    assert_eq!(
        (text(&output.stderr), output.status.code()),
        (String::new(), Some(1))
    );
    let program = || Command::new(env!("CARGO_BIN_EXE_httpcore"));
    for arg in ["--help", "--version"] {
        let output = program().arg(arg).stdout(unread()).output().unwrap();
        assert_eq!(
            (text(&output.stderr), output.status.code()),
            (String::new(), Some(0))
        );
    }
    let events = origin.url("/events/1000");
    let output = program()
        .args(["sse", &events])
        .stdout(unread())
        .output()
        .unwrap();
    assert_eq!(
        (text(&output.stderr), output.status.code()),
        (String::new(), Some(1))
    );
    // Nor does an error that is not read change how the program ends.
    for (args, code) in [
        (&["get"][..], 2),
        (&["get", "-k", "http://127.0.0.1:1/"], 1),
    ] {
        let status = program().args(args).stderr(unread()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_user_in_the_url_is_sent_and_never_printed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let host = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .unwrap();
        String::from_utf8(head).unwrap()
    });
    let url = format!("user:s3cr3t@{host}/x");
    let output = run(&[&url, "--trace", "-i"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let head = server.join().unwrap();
    assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\nauthorization: Basic dXNlcjpzM2NyM3Q=\r\n"),
        "{head}"
    );
    assert!(head.contains(&format!("\r\nhost: {host}\r\n")), "{head}");
    // Nothing listens there any more.
    let failed = run(&[&url]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    for output in [output, failed] {
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!said.contains("s3cr3t") && !said.contains("dXNl"), "{said}");
    }
}
