//! What dependencies bring with them: licences, and where they come from.
//!
//! These checks need nothing but `cargo metadata`. Advisories need a database which is fetched,
//! and the tool that reads it takes as long to build as everything else here together; so it is
//! used where somebody has installed it.

use xtask::steps::{Outcome, Report, cargo, execute};

use crate::{
    cargo::has,
    tidy::metadata::{Package, with_dependencies},
};

/// Licences under which the whole may be used by anybody who may use this project.
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

/// Crates which must not come in, not even by a detour.
const BANNED: [(&str, &str); 4] = [
    ("async-std", "it is discontinued"),
    ("native-tls", "TLS here is rustls"),
    ("openssl", "TLS here is rustls"),
    ("openssl-sys", "TLS here is rustls"),
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn run() -> Outcome {
    let packages = with_dependencies()?;
    let problems = check(&packages);
    for problem in &problems {
        eprintln!("      {problem}");
    }
    if !problems.is_empty() {
        return Err(format!("{} problems", problems.len()));
    }
    let mut report = Report::note(format!("{} packages", packages.len()));
    if !has("deny") {
        report.leave_out("security advisories: cargo-deny is not installed");
    } else if let Err(error) = execute(cargo().args(["deny", "fetch", "db"])) {
        report.leave_out(format!(
            "security advisories, whose database cannot be fetched: {error}"
        ));
    } else {
        execute(cargo().args(["deny", "--offline", "check", "advisories"]))?;
    }
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
            problems.push(format!("{name} {version}: banned, for {why}"));
        }
    }
    problems
}

/// Whether an SPDX expression can be satisfied with [`LICENCES`].
///
/// `OR` binds less than `AND`; an old spelling of `OR` is a slash.
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
    fn expressions_are_read_as_spdx_says() {
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
    fn what_must_not_come_in_is_noticed() {
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
