//! The public surface of each published library, as text in `docs/api/`, so that a change of it is seen
//! in review.
//!
//! rustdoc writes JSON, which only the compiler of `rust-toolchain.toml` is known to write in the form
//! that `public-api` reads: both are renewed together.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use public_api::{Builder, PublicApi};
use xtask::steps::{Outcome, Report, cargo, execute, root, target};

use crate::tidy::metadata::{Package, packages};

/// Traits whose implementations follow from fields and matter to few. `Send` and `Sync` are listed
/// where they depend on a parameter or are missing.
const SILENT: [&str; 5] = [
    "Freeze",
    "RefUnwindSafe",
    "UnsafeUnpin",
    "UnwindSafe",
    "Unpin",
];

/// Writes the files, or with `only_report` compares them.
pub(crate) fn run(only_report: bool) -> Outcome {
    let packages: Vec<Package> = packages()?.into_iter().filter(is_library).collect();
    let json = json(&packages)?;
    let folder = root().join("docs/api");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut changed = Vec::new();
    let mut lines = 0;
    for package in &packages {
        let json = json.join(format!("{}.json", package.name.replace('-', "_")));
        let text = surface(&json)?;
        lines += text.lines().count();
        let path = folder.join(format!("{}.txt", package.name));
        let known = fs::read_to_string(&path).unwrap_or_default();
        if text == known {
            continue;
        }
        changed.push(package.name.as_str());
        if only_report {
            for line in difference(&known, &text) {
                eprintln!("      {}: {line}", package.name);
            }
        } else {
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_known = |package: &Package| name == format!("{}.txt", package.name);
        if name.ends_with(".txt") && !packages.iter().any(is_known) {
            return Err(format!("docs/api/{name} belongs to no published library"));
        }
    }
    if only_report && !changed.is_empty() {
        return Err(format!(
            "the public surface differs from docs/api: {}; `cargo xtask api` renews it",
            changed.join(", ")
        ));
    }
    Ok(Report::note(format!(
        "{} libraries, {lines} lines, {} changed",
        packages.len(),
        changed.len()
    )))
}

fn is_library(package: &Package) -> bool {
    package.publish.as_ref().is_none_or(|to| !to.is_empty())
        && package
            .targets
            .iter()
            .any(|target| target.kind.iter().any(|kind| kind == "lib"))
}

/// Has rustdoc write the JSON of `packages`, and returns its folder.
fn json(packages: &[Package]) -> Result<PathBuf, String> {
    // Only rustdoc accepts unstable options: with RUSTC_BOOTSTRAP in the environment, cargo
    // would run build scripts again, and compile what depends on them.
    let rustdoc = target().join("tools/rustdoc-unstable");
    let script = "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n";
    fs::create_dir_all(target().join("tools"))
        .and_then(|()| fs::write(&rustdoc, script))
        .and_then(|()| fs::set_permissions(&rustdoc, Permissions::from_mode(0o755)))
        .map_err(|error| format!("{}: {error}", rustdoc.display()))?;
    let mut command = cargo();
    command.args(["doc", "--locked", "--lib", "--no-deps", "--all-features"]);
    for package in packages {
        command.args(["-p", &package.name]);
    }
    execute(command.env("RUSTDOC", rustdoc).env(
        "RUSTDOCFLAGS",
        "-Z unstable-options --output-format json --cap-lints allow",
    ))?;
    Ok(target().join("doc"))
}

/// Returns the public items of one library, one on each line.
fn surface(json: &Path) -> Result<String, String> {
    let api: PublicApi = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .build()
        .map_err(|error| format!("{}: {error}", json.display()))?;
    let mut text = String::new();
    for item in api.items() {
        let line = item.to_string();
        if !is_silent(&line) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    Ok(text)
}

/// Whether `line` is an implementation of a marker trait that need not be listed.
fn is_silent(line: &str) -> bool {
    if !line.starts_with("impl") {
        return false;
    }
    let of = |name: &str| line.contains(&format!("::{name} for "));
    SILENT.iter().any(|name| of(name))
        || ["Send", "Sync"]
            .iter()
            .any(|name| of(name) && line.starts_with("impl core::") && !line.contains(" where "))
}

/// The lines that are only in one of two texts.
fn difference(known: &str, found: &str) -> Vec<String> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (known, found) = (lines(known), lines(found));
    let gone = known.iter().filter(|line| !found.contains(line));
    let new = found.iter().filter(|line| !known.contains(line));
    gone.map(|line| format!("- {line}"))
        .chain(new.map(|line| format!("+ {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_signature_is_one_line_less_and_one_more() {
        let known = "pub fn a()\npub fn b()\n";
        let found = "pub fn a()\npub fn b(u8)\n";
        assert_eq!(difference(known, found), ["- pub fn b()", "+ pub fn b(u8)"]);
        assert_eq!(difference(known, known), Vec::<String>::new());
    }

    #[test]
    fn markers_are_listed_where_they_are_missing_or_depend_on_a_parameter() {
        for silent in [
            "impl core::marker::Send for a::B",
            "impl core::marker::Unpin for a::B",
            "impl<S> core::panic::unwind_safe::UnwindSafe for a::B<S> where S: X",
        ] {
            assert!(is_silent(silent), "{silent}");
        }
        for listed in [
            "impl !core::marker::Sync for a::B",
            "impl<S> core::marker::Send for a::B<S> where S: core::marker::Send",
            "impl core::clone::Clone for a::B",
            "pub fn a::Send(&self)",
        ] {
            assert!(!is_silent(listed), "{listed}");
        }
    }
}
