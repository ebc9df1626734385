//! Licences, sources and bans of dependencies, and security advisories.
//!
//! With cargo-deny installed, this step is `cargo deny check` with `deny.toml`. That tool takes minutes
//! to build, so where it is missing, the checks below replace it as far as `cargo metadata` suffices,
//! and the rest is reported as left out. A test keeps both lists equal.

use xtask::steps::{Outcome, Report, cargo, execute};

use crate::{
    cargo::has,
    tidy::metadata::{Package, with_dependencies},
};

/// Licences that impose no more than this project's own.
const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not be in the tree, not even as dependencies of dependencies.
const BANNED: [(&str, &str); 4] = [
    ("async-std", "discontinued"),
    ("native-tls", "TLS is rustls"),
    ("openssl", "TLS is rustls"),
    ("openssl-sys", "TLS is rustls"),
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn run() -> Outcome {
    if has("deny") {
        with_cargo_deny()
    } else {
        built_in()
    }
}

/// Runs `cargo deny check` with `deny.toml`.
fn with_cargo_deny() -> Outcome {
    let mut report = Report::default();
    let mut what = vec!["licenses", "bans", "sources"];
    match execute(cargo().args(["deny", "--locked", "fetch", "db"])) {
        Ok(()) => what.push("advisories"),
        Err(error) => report.leave_out(format!(
            "security advisories, whose database cannot be fetched: {error}"
        )),
    }
    let mut command = cargo();
    command.args(["deny", "--offline", "--locked", "check"]);
    execute(command.args(what))?;
    Ok(report)
}

/// Checks what needs no tool: licences, sources and bans.
fn built_in() -> Outcome {
    let packages = with_dependencies()?;
    let problems = check(&packages);
    for problem in &problems {
        eprintln!("      {problem}");
    }
    if !problems.is_empty() {
        return Err(format!("{} problems", problems.len()));
    }
    let mut report = Report::note(format!("{} packages", packages.len()));
    report.leave_out(
        "security advisories, and cargo-deny's own checks of licences, sources and bans: cargo-deny is \
         not installed (`cargo install --locked cargo-deny`)",
    );
    Ok(report)
}

fn check(packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    for package in packages {
        let Package { name, version, .. } = package;
        match &package.license {
            Some(licence) if is_allowed(licence) => {}
            Some(licence) => problems.push(format!("{name} {version}: licence {licence}")),
            None => problems.push(format!("{name} {version}: no licence")),
        }
        if package
            .source
            .as_ref()
            .is_some_and(|source| source != CRATES_IO)
        {
            problems.push(format!("{name} {version}: not from crates.io"));
        }
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| banned == name) {
            problems.push(format!("{name} {version}: banned: {why}"));
        }
    }
    problems
}

/// Whether an SPDX expression can be satisfied with [`LICENCES`].
///
/// `AND` binds more tightly than `OR`. A slash is an old spelling of `OR`.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let words = expression.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) == Some(true) && rest.is_empty()
}

fn any(rest: &mut &[&str]) -> Option<bool> {
    let mut allowed = all(rest)?;
    while let Some(after) = rest.strip_prefix(&["OR"]) {
        *rest = after;
        allowed |= all(rest)?;
    }
    Some(allowed)
}

fn all(rest: &mut &[&str]) -> Option<bool> {
    let mut allowed = one(rest)?;
    while let Some(after) = rest.strip_prefix(&["AND"]) {
        *rest = after;
        allowed &= one(rest)?;
    }
    Some(allowed)
}

fn one(rest: &mut &[&str]) -> Option<bool> {
    let (first, mut after) = rest.split_first()?;
    let allowed = if *first == "(" {
        let allowed = any(&mut after)?;
        after = after.strip_prefix(&[")"])?;
        allowed
    } else if let [with @ "WITH", exception, others @ ..] = after {
        after = others;
        LICENCES.contains(&format!("{first} {with} {exception}").as_str())
    } else {
        LICENCES.contains(first)
    };
    *rest = after;
    Some(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_evaluated_as_spdx() {
        for fine in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            "GPL-3.0 AND GPL-2.0 OR MIT",
        ] {
            assert!(is_allowed(fine), "{fine}");
        }
        for wrong in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MIT AND (GPL-3.0 OR AGPL-3.0)",
            "MIT WITH something-odd",
            "MIT OR",
            "(MIT",
            "MIT)",
        ] {
            assert!(!is_allowed(wrong), "{wrong}");
        }
    }

    #[test]
    fn lists_are_those_of_deny_toml() {
        let text = std::fs::read_to_string(xtask::steps::root().join("deny.toml")).unwrap();
        let (_, licences) = text.split_once("allow = [").unwrap();
        let (licences, _) = licences.split_once(']').unwrap();
        let licences: Vec<&str> = licences.split('"').skip(1).step_by(2).collect();
        assert_eq!(licences, LICENCES);
        let banned: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("{ crate = \""))
            .filter_map(|line| line.trim_end_matches("\" },").split_once("\", reason = \""))
            .collect();
        assert_eq!(banned, BANNED);
    }

    #[test]
    fn unwanted_dependency_is_reported() {
        let fine = Package {
            name: "fine".into(),
            license: Some("MIT".into()),
            source: Some(CRATES_IO.into()),
            ..Package::default()
        };
        assert_eq!(check(std::slice::from_ref(&fine)), Vec::<String>::new());
        let faults: [fn(&mut Package); 4] = [
            |package| package.license = None,
            |package| package.license = Some("SSPL-1.0".into()),
            |package| package.source = Some("git+https://example.org/fine".into()),
            |package| package.name = "openssl-sys".into(),
        ];
        for fault in faults {
            let mut package = fine.clone();
            fault(&mut package);
            assert_eq!(check(&[package]).len(), 1);
        }
    }
}
