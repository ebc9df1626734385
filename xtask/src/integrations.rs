//! Other projects' clients on our pool. `tests/integrations/` is a workspace of its own, so that these
//! clients stay out of the main workspace's lock file and of its builds.

use xtask::steps::{Outcome, Report, cargo, execute, python_with, root, target};

/// The server of the AWS APIs.
const MOTO: &str = "moto[s3,server]==5.2.5";

/// The features of `tests/integrations` that every change is tested with: the clients that take little
/// time to build, and all adapters.
const ALWAYS: &str = "object-store,opentelemetry,tonic,tower-http";

/// As CI runs it.
pub(crate) fn run() -> Outcome {
    let mut report = test(&["--features", ALWAYS])?;
    report.leave_out(
        "kube, aws-sdk-s3 and opendal, which take minutes to build: `cargo xtask integrations` tests them",
    );
    Ok(report)
}

/// With all clients.
pub(crate) fn run_all() -> Outcome {
    test(&["--workspace", "--all-features"])
}

fn test(features: &[&str]) -> Result<Report, String> {
    let mut report = Report::default();
    let mut command = cargo();
    command
        .args(["test", "--locked"])
        .args(features)
        .current_dir(root().join("tests/integrations"))
        .env("CARGO_TARGET_DIR", target().join("integrations"));
    match python_with(MOTO, &target().join("integrations/venv")) {
        Ok(python) => {
            command.env("HTTPCORE_MOTO", python);
        }
        Err(why) => report.leave_out(format!("the tests against {MOTO}: {why}")),
    }
    execute(&mut command)?;
    Ok(report)
}
