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

/// A backend, and what tests it.
struct Backend {
    /// Whole packages. Real servers are the business of `interop`.
    packages: &'static [&'static str],
    /// Those of the suites in `tests/` that need it.
    suites: &'static [&'static str],
    /// The tests in those that need another one.
    skipped: &'static [&'static str],
}

/// What opens no socket: it is tested by itself or in the mock's virtual time.
const MOCK: Backend = Backend {
    packages: &[
        "httpcore-core-primitives",
        "httpcore-downstream",
        "httpcore-net-mock",
        "httpcore-pool",
        "httpcore-proto-h1",
    ],
    suites: &["behaviour", "cancel"],
    skipped: &["over_the_event_loop", "on_a_thread_that_waits"],
};

/// What does, with an event loop or without.
const EPOLL: Backend = Backend {
    packages: &[
        "httpcore",
        "httpcore-cli",
        "httpcore-net-epoll",
        "httpcore-origin",
    ],
    suites: &["behaviour", "errors"],
    skipped: &["in_virtual_time"],
};

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut backend = None;
    let mut seeds = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--backend" => {
                backend = match value()?.as_str() {
                    "mock" => Some(&MOCK),
                    "epoll" => Some(&EPOLL),
                    "all" => None,
                    other => return Err(format!("no such backend: {other}")),
                };
            }
            "--seeds" => {
                let number = value()?;
                let number: u64 = number.parse().map_err(|_| format!("no number: {number}"))?;
                seeds = Some(number);
            }
            "--" => break,
            other => return Err(format!("unknown argument: {other}")),
        }
    }
    let cargo_test = || {
        let mut command = cargo();
        command.args(["test", "--locked", "--all-features", "--no-fail-fast"]);
        if let Some(seeds) = seeds {
            command.env("HTTPCORE_SEEDS", seeds.to_string()); // read by net-mock
        }
        command
    };
    let rest: Vec<_> = arguments.collect();
    let Some(backend) = backend else {
        let mut command = cargo_test();
        command.args(["--workspace", "--exclude", "httpcore-servers"]);
        return counted(command.args(rest));
    };
    let mut packages = cargo_test();
    packages.args(backend.packages.iter().flat_map(|package| ["-p", *package]));
    let mut suites = cargo_test();
    suites.args(["-p", "httpcore-tests"]);
    suites.args(backend.suites.iter().flat_map(|suite| ["--test", *suite]));
    suites.arg("--");
    suites.args(backend.skipped.iter().flat_map(|test| ["--skip", *test]));
    let packages = counted(packages.args(&rest))?;
    let suites = counted(suites.args(rest.iter().skip_while(|word| **word != "--").skip(1)))?;
    Ok(Report {
        note: format!("{}; suites: {}", packages.note, suites.note),
        left_out: [packages.left_out, suites.left_out].concat(),
    })
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
