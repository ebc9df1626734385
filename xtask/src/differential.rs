//! The same responses read by other clients. `differential/` is a workspace of its own, so that these
//! clients stay out of the main workspace.

use xtask::steps::{Outcome, Report, cargo, execute, python_with, root, target};

/// The package that Python needs.
const H11: &str = "h11==0.16.0";

pub(crate) fn run() -> Outcome {
    let mut report = Report::default();
    let mut command = cargo();
    command
        .args(["run", "--quiet", "--locked"])
        .current_dir(root().join("differential"));
    match python_with(H11, &target().join("differential/venv")) {
        Ok(python) => {
            command.arg("--").arg(python);
            execute(&mut command)?;
        }
        Err(why) => {
            // The known differences of h11 would not be found, and the check would fail.
            report.leave_out(format!("the comparison, which needs {H11}: {why}"));
        }
    }
    Ok(report)
}
