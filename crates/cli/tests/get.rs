//! `httpcore get`, run as a process: what it prints, and how it ends.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io::Read,
    process::{Command, Output, Stdio},
};

use httpcore_origin::Origin;

fn get(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httpcore"));
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
fn a_trace_that_nobody_reads_does_not_stop_the_request() {
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
    std::fs::File::open(path)
        .unwrap()
        .read_to_string(&mut file)
        .unwrap();
    let origin = Origin::start().unwrap();
    let output = run(&["-d", &format!("@{path}"), &origin.url("/echo")]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), file);
}
