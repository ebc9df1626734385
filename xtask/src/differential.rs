//! The same responses read by other clients. `differential/` is a workspace of its own, so that these
//! clients stay out of the main workspace.

use std::process::Command;

use xtask::steps::{Outcome, Report, cargo, execute, find, output, root, target};

/// The package that Python needs.
const H11: &str = "h11==0.16.0";

pub(crate) fn run() -> Outcome {
    let mut report = Report::default();
    let mut command = cargo();
    command
        .args(["run", "--quiet", "--locked"])
        .current_dir(root().join("differential"));
    match h11() {
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

/// Returns a Python with h11, in a virtual environment under `target/`.
fn h11() -> Result<std::path::PathBuf, String> {
    let venv = target().join("differential/venv");
    let python = venv.join("bin/python");
    let has = || {
        let version = "import h11; print('h11==' + h11.__version__)";
        output(Command::new(&python).args(["-c", version]))
            .is_ok_and(|version| version.trim() == H11)
    };
    if python.is_file() && has() {
        return Ok(python);
    }
    let system = find("python3").ok_or("python3 is not installed")?;
    execute(
        Command::new(system)
            .args(["-m", "venv", "--clear"])
            .arg(&venv),
    )?;
    execute(Command::new(venv.join("bin/pip")).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        H11,
    ]))?;
    Ok(python)
}
