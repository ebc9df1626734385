//! Fuzzing. `fuzz/` is a workspace of its own, since it needs a nightly compiler and cargo-fuzz.

use std::{fs, path::PathBuf, process::Command};

use xtask::steps::{Outcome, Report, cargo, execute, find, root, target};

/// Duration of a run without `--for`.
const DEFAULT_TIME: &str = "60s";

/// Lists the targets without arguments; with `TARGET [--for 60s]`, runs one.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let targets = targets()?;
    let Some((name, rest)) = arguments.split_first() else {
        for name in &targets {
            println!("    {name}");
        }
        return Ok(Report::note(format!("{} targets", targets.len())));
    };
    if !targets.contains(name) {
        let known = targets.join(", ");
        return Err(format!("unknown target: {name} (known are {known})"));
    }
    let time = match rest {
        [] => DEFAULT_TIME,
        [word, time] if word == "--for" => time,
        _ => return Err(format!("unknown arguments: {}", rest.join(" "))),
    };
    let seconds = seconds(time).ok_or(format!("invalid time: {time} (valid are 60s, 10m, 1h)"))?;
    needs_nightly()?;
    let tool = cargo_fuzz()?;
    // New inputs go beside the corpus, not into it: the corpus has reviewed seeds only.
    let found = root().join("fuzz/target/found").join(name);
    fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    execute(
        Command::new(tool)
            .args(["run", name])
            .arg(&found)
            .arg(root().join("fuzz/corpus").join(name))
            .args(["--", "-timeout=10", "-rss_limit_mb=2048"])
            .arg(format!("-max_total_time={seconds}"))
            .current_dir(root().join("fuzz"))
            .env("RUSTUP_TOOLCHAIN", "nightly")
            .env_remove("CARGO"),
    )?;
    Ok(Report::note(format!("{name} for {time} without a finding")))
}

fn targets() -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/fuzz_targets");
    let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if let Some(name) = path.file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Returns `90`, `60s`, `10m` or `1h` in seconds.
fn seconds(time: &str) -> Option<u64> {
    let digits = time.trim_end_matches(['s', 'm', 'h']);
    let unit = match &time[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Fails without a nightly compiler: fuzzing was requested explicitly, so it is not skipped.
fn needs_nightly() -> Result<(), String> {
    let has = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--version"])
        .env("RUSTUP_AUTO_INSTALL", "0")
        .output()
        .is_ok_and(|output| output.status.success());
    if has {
        Ok(())
    } else {
        Err("fuzzing needs a nightly compiler: rustup toolchain install nightly".into())
    }
}

/// Returns cargo-fuzz. It is installed under `target/` if it is not in the path.
fn cargo_fuzz() -> Result<PathBuf, String> {
    let tools = target().join("tools");
    let installed = tools.join("bin/cargo-fuzz");
    if let Some(found) = find("cargo-fuzz") {
        return Ok(found);
    }
    if !installed.is_file() {
        execute(
            cargo()
                .args(["install", "--locked", "cargo-fuzz", "--root"])
                .arg(&tools),
        )?;
    }
    Ok(installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_a_unit_is_in_seconds() {
        for (time, expected) in [
            ("90", Some(90)),
            ("60s", Some(60)),
            ("10m", Some(600)),
            ("1h", Some(3600)),
            ("s", None),
            ("5sm", None),
            ("-5s", None),
            ("", None),
        ] {
            assert_eq!(seconds(time), expected, "{time}");
        }
    }

    #[test]
    fn each_target_has_seeds_and_a_manifest_entry() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        for name in targets().unwrap() {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let seeds = fs::read_dir(root().join("fuzz/corpus").join(&name)).unwrap();
            assert!(seeds.count() > 0, "{name}");
        }
    }
}
