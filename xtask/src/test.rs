//! All tests except those against real servers, with their number.

use std::{process::Command, time::Duration};

use xtask::steps::{Outcome, Report, cargo, watch};

/// Maximum time without output, builds included, before the tests count as hanging.
const MAX_SILENCE: Duration = Duration::from_secs(600);

/// The sums of the lines `test result: …`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    /// Without their server or program: they print so and return, and the harness counts them as
    /// passed.
    pub(crate) left_out: u64,
}

/// Arguments of `cargo test`, one invocation for each.
type Selection = &'static [&'static [&'static str]];

const EVERYTHING: Selection = &[&["--workspace", "--exclude", "httpcore-servers"]];
/// Tests that open no socket: without I/O, or in the mock's virtual time.
const ON_MOCK: Selection = &[
    &[
        "-phttpcore-core-primitives",
        "-phttpcore-downstream",
        "-phttpcore-net-mock",
        "-phttpcore-pool",
        "-phttpcore-proto-h1",
    ],
    &[
        "-phttpcore-tests",
        "--test=cancel",
        "--test=seeds",
        "--test=tls",
    ],
];
/// Tests that open sockets. Those with real servers belong to `interop`.
const ON_EPOLL: Selection = &[
    &[
        "-phttpcore",
        "-phttpcore-cli",
        "-phttpcore-net-epoll",
        "-phttpcore-origin",
    ],
    // The former runs on every backend, to compare them.
    &["-phttpcore-tests", "--test=behaviour", "--test=errors"],
];

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let (mut selection, mut many) = (EVERYTHING, None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--backend" => {
                selection = match value()?.as_str() {
                    "mock" => ON_MOCK,
                    "epoll" => ON_EPOLL,
                    "all" => EVERYTHING,
                    other => return Err(format!("unknown backend: {other}")),
                };
            }
            "--seeds" => {
                let seeds = value()?;
                let seeds: u64 = seeds
                    .parse()
                    .map_err(|_| format!("not a number: {seeds}"))?;
                many = Some(seeds.to_string());
            }
            "--" => break,
            other => return Err(format!("unknown argument: {other}")),
        }
    }
    let mut commands: Vec<Command> = selection
        .iter()
        .map(|selected| {
            let mut command = cargo();
            command.args(["test", "--locked", "--all-features", "--no-fail-fast"]);
            // Plain `cargo test` skips what needs this program, where it is missing.
            command.env("HTTPCORE_REQUIRE", "openssl");
            if let Some(many) = &many {
                command.env("HTTPCORE_SEEDS", many); // read by net-mock
            }
            command.args(*selected).args(arguments.clone());
            command
        })
        .collect();
    counted(&mut commands)
}

/// Runs one `cargo test` after the other. Fails if one fails, or if no test was run at all.
pub(crate) fn counted(commands: &mut [Command]) -> Outcome {
    let mut counts = Counts::default();
    let results: Vec<_> = commands
        .iter_mut()
        .map(|command| watch(command, MAX_SILENCE, |line| counts.add(line)))
        .collect();
    let (passed, skipped) = (counts.really_passed(), counts.ignored + counts.left_out);
    let note = format!(
        "{passed} passed, {} failed, {skipped} skipped",
        counts.failed
    );
    println!("tests: {note}");
    results.into_iter().collect::<Result<Vec<_>, _>>()?;
    if passed == 0 {
        return Err("no test was run".into());
    }
    let mut report = Report::note(note);
    if skipped > 0 {
        report.leave_out(format!(
            "{skipped} tests: ignored, or without their server or program"
        ));
    }
    Ok(report)
}

impl Counts {
    /// Adds one line of the output of `cargo test`. Other lines are ignored.
    pub(crate) fn add(&mut self, line: &str) {
        if line.contains("LEFT OUT: ") || line.contains("SKIPPED: ") {
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
    fn result_lines_are_summed_and_others_ignored() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s");
        counts.add("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        counts.add("test that_100_passed ... ok");
        counts.add("LEFT OUT: nginx is not here");
        counts.add("SKIPPED: 1 test needs the openssl program: No such file or directory");
        assert_eq!(
            counts,
            Counts {
                passed: 14,
                failed: 3,
                ignored: 1,
                left_out: 2
            }
        );
        assert_eq!(counts.really_passed(), 12);
    }
}
