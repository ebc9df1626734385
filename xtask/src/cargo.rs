//! Steps that are one or two invocations of cargo.

use std::{path::PathBuf, process::Command};

use xtask::steps::{Outcome, Report, cargo, execute, find, output, root, target};

use crate::test::counted;

/// The minimum supported Rust version, as in `rust-version` of the root manifest.
const OLDEST: &str = "1.88";

/// Workspaces of their own, whose dependencies stay out of the main workspace.
const OUTSIDE: [&str; 5] = [
    "fuzz",
    "differential",
    EXAMPLES,
    "benches/peers",
    "tests/integrations",
];

/// Programs as users write them.
const EXAMPLES: &str = "docs/examples";

pub(crate) fn fmt(only_report: bool) -> Outcome {
    for folder in [""].iter().chain(&OUTSIDE) {
        let mut command = cargo();
        command
            .current_dir(root().join(folder))
            .args(["fmt", "--all"]);
        if only_report {
            command.arg("--check");
        }
        execute(&mut command)?;
    }
    Ok(Report::default())
}

pub(crate) fn lint() -> Outcome {
    lint_workspace()?;
    // Without the peers, which build C libraries for minutes, and without other projects' clients.
    for folder in &OUTSIDE[..3] {
        execute(
            cargo()
                .current_dir(root().join(folder))
                .args([
                    "clippy",
                    "--locked",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ])
                .env("CARGO_TARGET_DIR", target().join("outside")),
        )?;
    }
    Ok(Report::default())
}

/// Clippy on the main workspace only.
pub(crate) fn lint_workspace() -> Outcome {
    execute(cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--keep-going",
        "--",
        "-D",
        "warnings",
    ]))?;
    Ok(Report::default())
}

/// Builds and tests the programs in `docs/examples`, with the features that each asks for.
pub(crate) fn examples() -> Outcome {
    let mut command = cargo();
    command
        .current_dir(root().join(EXAMPLES))
        .args(["test", "--locked", "--no-fail-fast"])
        .env("CARGO_TARGET_DIR", target().join("outside"));
    counted(&mut [command])
}

/// Builds the documentation for engineers (private items too) and for users.
pub(crate) fn doc() -> Outcome {
    let view = |more: &[&str]| {
        execute(
            cargo()
                .args([
                    "doc",
                    "--locked",
                    "--workspace",
                    "--all-features",
                    "--no-deps",
                ])
                .args(more)
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    };
    view(&["--document-private-items"])?;
    view(&[])?;
    Ok(Report::default())
}

/// Checks what other systems than Linux build: mio without epoll, and no option that Linux alone has. It
/// is compiled and not run, since the numbers of flags are those of other systems.
pub(crate) fn portable() -> Outcome {
    execute(
        cargo()
            // Without TLS, which has no sockets of its own.
            .args([
                "check",
                "--locked",
                "-p",
                "httpcore",
                "-p",
                "httpcore-net-smol",
            ])
            .args(["--no-default-features", "--features"])
            .arg("httpcore/epoll,httpcore/http2,httpcore/tokio")
            .env(
                "RUSTFLAGS",
                "-D warnings --cfg httpcore_portable --cfg mio_unsupported_force_poll_poll",
            )
            .env("CARGO_TARGET_DIR", target().join("portable")),
    )?;
    Ok(Report::default())
}

/// Checks each published crate with every combination of at most two features.
pub(crate) fn matrix() -> Outcome {
    let hack = cargo_hack()?;
    let mut report = Report::default();
    let combinations = |hack: &mut Command| {
        execute(hack.args([
            "hack",
            "check",
            "--locked",
            "--workspace",
            "--ignore-private",
            "--feature-powerset",
            "--depth",
            "2",
        ]))
    };
    let mut command = Command::new(&hack);
    command.current_dir(root());
    combinations(&mut command)?;
    // rustup must not try to download a missing compiler.
    let has_oldest = Command::new("rustup")
        .args(["run", OLDEST, "rustc", "--version"])
        .env("RUSTUP_AUTO_INSTALL", "0")
        .output()
        .is_ok_and(|output| output.status.success());
    if has_oldest {
        execute(
            Command::new("rustup")
                .args(["run", OLDEST, "cargo", "check", "--locked", "--workspace"])
                .args(["--all-features", "--target-dir"])
                .arg(target().join("oldest"))
                .current_dir(root())
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("CARGO"),
        )?;
    } else {
        report.leave_out(format!(
            "a build with Rust {OLDEST}, the oldest supported: that toolchain is not installed \
             (clippy's incompatible_msrv has checked the use of newer library items)"
        ));
    }
    Ok(report)
}

/// Returns cargo-hack. It is installed under `target/` if it is not in the path.
fn cargo_hack() -> Result<PathBuf, String> {
    let tools = target().join("tools");
    let installed = tools.join("bin/cargo-hack");
    if let Some(found) = find("cargo-hack") {
        return Ok(found);
    }
    if !installed.is_file() {
        execute(
            cargo()
                .args(["install", "--locked", "cargo-hack", "--root"])
                .arg(&tools),
        )?;
    }
    Ok(installed)
}

/// Whether cargo has the subcommand `name`.
pub(crate) fn has(name: &str) -> bool {
    find(&format!("cargo-{name}")).is_some()
        || output(cargo().arg("--list")).is_ok_and(|list| {
            list.lines()
                .any(|line| line.split_whitespace().next() == Some(name))
        })
}
