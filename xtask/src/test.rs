//! All tests but those against real servers, and how many there were.

use std::{process::Command, time::Duration};

use crate::steps::{Outcome, Report, cargo, watch};

/// How long nothing may be heard, builds included, before the tests count as hanging.
const SILENCE: Duration = Duration::from_secs(600);

/// What the lines `test result: …` add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    /// Without their server: they say so and return, and the harness counts them as passed.
    pub(crate) left_out: u64,
}

/// What opens no socket: it is tested by itself or in the mock's virtual time.
const ON_MOCK: [&str; 4] = [
    "httpcore-core-primitives",
    "httpcore-net-mock",
    "httpcore-pool",
    "httpcore-proto-h1",
];
/// What does. Real servers are the business of `interop`.
const ON_EPOLL: [&str; 4] = [
    "httpcore",
    "httpcore-cli",
    "httpcore-net-epoll",
    "httpcore-origin",
];

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut command = cargo();
    command.args(["test", "--locked", "--all-features", "--no-fail-fast"]);
    let mut packages: &[&str] = &[];
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--backend" => {
                packages = match value()?.as_str() {
                    "mock" => &ON_MOCK,
                    "epoll" => &ON_EPOLL,
                    "all" => &[],
                    other => return Err(format!("no such backend: {other}")),
                };
            }
            "--seeds" => {
                let seeds = value()?;
                let seeds: u64 = seeds.parse().map_err(|_| format!("no number: {seeds}"))?;
                command.env("HTTPCORE_SEEDS", seeds.to_string()); // read by net-mock
            }
            "--" => break,
            other => return Err(format!("unknown argument: {other}")),
        }
    }
    if packages.is_empty() {
        command.args(["--workspace", "--exclude", "httpcore-servers"]);
    }
    command.args(packages.iter().flat_map(|package| ["-p", *package]));
    command.args(arguments);
    counted(&mut command)
}

/// Runs a `cargo test`, and fails if it fails or if it ran nothing.
pub(crate) fn counted(command: &mut Command) -> Outcome {
    let mut counts = Counts::default();
    let result = watch(command, SILENCE, |line| counts.add(line));
    let (passed, skipped) = (counts.really_passed(), counts.ignored + counts.left_out);
    let note = format!(
        "{passed} passed, {} failed, {skipped} skipped",
        counts.failed
    );
    println!("tests: {note}");
    result?;
    if passed == 0 {
        return Err("no test was run".into());
    }
    let mut report = Report::note(note);
    if skipped > 0 {
        report.leave_out(format!("{skipped} tests: ignored, or without their server"));
    }
    Ok(report)
}

impl Counts {
    /// Takes in one line of `cargo test`; most mean nothing here.
    pub(crate) fn add(&mut self, line: &str) {
        if line.contains("LEFT OUT: ") {
            self.left_out += 1;
        }
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let of = |what: &str| {
            let number = result
                .split(['.', ';'])
                .find_map(|part| part.trim().strip_suffix(what));
            number
                .and_then(|number| number.trim().parse().ok())
                .unwrap_or(0_u64)
        };
        self.passed += of("passed");
        self.failed += of("failed");
        self.ignored += of("ignored");
    }

    fn really_passed(&self) -> u64 {
        self.passed.saturating_sub(self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_add_up_and_other_lines_do_not_count() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s");
        counts.add("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        counts.add("test that_100_passed ... ok");
        counts.add("LEFT OUT: nginx is not here");
        assert_eq!(
            counts,
            Counts {
                passed: 14,
                failed: 3,
                ignored: 1,
                left_out: 1
            }
        );
        assert_eq!(counts.really_passed(), 13);
    }
}
