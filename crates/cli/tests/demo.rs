//! `httpcore demo`, run as a process.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::process::Command;

#[test]
fn every_way_answers_by_its_version_with_all_its_bytes() {
    let output = Command::new(env!("CARGO_BIN_EXE_httpcore"))
        .arg("demo")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let table = shown.split("\n\n").nth(1).unwrap();
    let ways = [
        ("HTTP/1.1", "HTTP/1.1", "101"),
        ("HTTP/1.1 over TLS", "HTTP/1.1", "101"),
        ("HTTP/2", "HTTP/2", "200"),
        ("HTTP/2 over TLS", "HTTP/2", "200"),
    ];
    for (way, version, accepted) in ways {
        let mut lines = table.lines().skip_while(|line| *line != way);
        assert!(lines.next().is_some(), "{way} is missing:\n{shown}");
        let rows: Vec<_> = lines.take_while(|line| line.starts_with("  ")).collect();
        for (what, answer, bytes) in [
            ("GET, a small answer", format!("{version} 200"), "14"),
            ("a WebSocket", format!("{version} {accepted}"), "10890"),
            ("1000 events", format!("{version} 200"), "2890"),
        ] {
            let row = rows.iter().find(|row| row.trim_start().starts_with(what));
            let row = row.unwrap_or_else(|| panic!("{way}: no {what}:\n{shown}"));
            let is_said = row.contains(&format!(" {answer} "));
            assert!(
                is_said && row.contains(&format!(" {bytes} ")),
                "{way}: {row}"
            );
        }
    }
}
