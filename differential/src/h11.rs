//! h11, in a Python of its own.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::{Case, End, Reading, sorted};

const SCRIPT: &str = include_str!("h11_reads.py");

pub(crate) fn read(python: &str, cases: &[Case]) -> Vec<Reading> {
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut lines = String::new();
    for case in cases {
        let eof = u8::from(case.mark.is_some());
        lines += &format!("{} {eof} {}\n", case.request, hex(&case.bytes));
    }
    let mut stdin = child.stdin.take().expect("it is piped");
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("Python ends");
    writer.join().expect("no panic").expect("it reads");
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    let readings: Vec<Reading> = text.lines().map(parse).collect();
    assert_eq!(readings.len(), cases.len());
    readings
}

/// `status|name=value;…|body|name=value;…|end`, values and body in hexadecimal.
fn parse(line: &str) -> Reading {
    let words: Vec<&str> = line.splitn(5, '|').collect();
    let [status, fields, body, trailers, end] = words[..] else {
        panic!("{line}");
    };
    Reading {
        status: status.parse().expect("a number"),
        fields: parse_fields(fields),
        body: unhex(body),
        trailers: Some(parse_fields(trailers)),
        end: match end {
            "complete" => End::Complete,
            "waiting" => End::Waiting,
            "switched" => End::Switched,
            other => End::Refused(other.to_owned()),
        },
    }
}

fn parse_fields(text: &str) -> Vec<(String, Vec<u8>)> {
    let fields = text.split(';').filter(|field| !field.is_empty());
    sorted(fields.map(|field| {
        let (name, value) = field.split_once('=').expect("a field");
        let name = String::from_utf8(unhex(name)).expect("text");
        (name, unhex(value))
    }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("digits");
    (0..text.len()).step_by(2).map(digits).collect()
}
