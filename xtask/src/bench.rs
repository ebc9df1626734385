//! `counts` and `bench`: started here, implemented in the package `httpcore-benches`.

use std::time::Duration;

use xtask::steps::{Outcome, Report, cargo, watch};

/// Maximum time without output before the harness is killed. It covers the build of all clients.
const MAX_SILENCE: Duration = Duration::from_secs(3600);

/// Runs the harness with `arguments` and adopts its summary.
pub(crate) fn run(step: &str, arguments: &[String]) -> Outcome {
    let mut command = cargo();
    command
        .args(["run", "--quiet", "--locked", "-p", "httpcore-benches"])
        .args(["--no-default-features", "--features", "harness"])
        .args(["--bin", "harness", "--", step])
        .args(arguments);
    let mut report = Report::default();
    let result = watch(&mut command, MAX_SILENCE, |line| {
        read_summary(step, line, &mut report);
    });
    result.map(|()| report)
}

/// Takes the note and the skipped items from the summary that `steps::run` prints in the harness.
fn read_summary(step: &str, line: &str, report: &mut Report) {
    if let Some(what) = line.strip_prefix(&format!("LEFT OUT in {step}: ")) {
        report.left_out.push(what.to_owned());
    } else if line.starts_with(step) {
        if let Some((_, note)) = line
            .split_once(" s  ")
            .filter(|(head, _)| head.contains(" passed "))
        {
            report.note = note.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_of_the_harness_becomes_the_report() {
        let mut report = Report::default();
        for line in [
            "==> counts",
            "counts   passed    51.2 s  10 workloads within their counts",
            "LEFT OUT in counts: instructions: another compiler",
            "LEFT OUT in bench: nothing of this step",
        ] {
            read_summary("counts", line, &mut report);
        }
        assert_eq!(report.note, "10 workloads within their counts");
        assert_eq!(report.left_out, ["instructions: another compiler"]);
    }
}
