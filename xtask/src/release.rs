//! A release without its last step: every `.crate` is made, looked into and compiled, and nothing is
//! published.

use std::{fs, path::Path, process::Command};

use xtask::steps::{Outcome, Report, cargo, execute, output, root, target};

use crate::tidy::metadata::{Package, packages};

/// What every `.crate` must contain.
const REQUIRED: [&str; 4] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if arguments != ["--dry-run"] {
        return Err(
            "only `release --dry-run` exists; how to publish is in docs/releasing.md".into(),
        );
    }
    let status = output(
        Command::new("git")
            .args(["status", "--porcelain"])
            .current_dir(root()),
    )?;
    if !status.is_empty() {
        return Err("there are changes that are not committed".into());
    }
    let log = fs::read_to_string(root().join("CHANGELOG.md"))
        .map_err(|error| format!("CHANGELOG.md: {error}"))?;
    let published: Vec<Package> = packages()?
        .into_iter()
        .filter(Package::is_published)
        .collect();
    let version = version(&published)?;
    if !log.contains(&format!("## [{version}]")) && !log.contains("## [Unreleased]") {
        return Err(format!(
            "CHANGELOG.md has neither {version} nor Unreleased as a heading"
        ));
    }
    let report = package(true)?;
    println!("\n    To be published in this order, as version {version}:");
    for name in order(&published)? {
        println!("      cargo publish -p {name}");
    }
    Ok(report)
}

/// Makes the `.crate` of each published package, and checks its contents. With `verify`, each is also
/// compiled from it.
pub(crate) fn package(verify: bool) -> Outcome {
    let packages: Vec<Package> = packages()?
        .into_iter()
        .filter(Package::is_published)
        .collect();
    let mut command = cargo();
    command.args(["package", "--locked"]);
    if !verify {
        // Of a working copy as well: this step is for `ci`, before a commit.
        command.args(["--no-verify", "--allow-dirty"]);
    }
    for name in order(&packages)? {
        command.args(["-p", &name]);
    }
    execute(&mut command)?;
    let mut problems = Vec::new();
    let mut bytes = 0;
    for Package { name, version, .. } in &packages {
        let file = target().join(format!("package/{name}-{version}.crate"));
        bytes += fs::metadata(&file).map_or(0, |data| data.len());
        problems.extend(faults(&file, &format!("{name}-{version}"))?);
    }
    for problem in &problems {
        eprintln!("      {problem}");
    }
    if !problems.is_empty() {
        return Err(format!("{} problems", problems.len()));
    }
    Ok(Report::note(format!(
        "{} packages, {} KiB",
        packages.len(),
        bytes / 1024
    )))
}

/// What is wrong with the contents of a `.crate`.
fn faults(file: &Path, folder: &str) -> Result<Vec<String>, String> {
    let tar = |flags: &str| {
        let mut tar = Command::new("tar");
        tar.arg(flags).arg(file);
        tar
    };
    let list = output(&mut tar("-tzf"))?;
    let mut problems = missing(&list, folder);
    for licence in REQUIRED.iter().filter(|name| name.starts_with("LICENSE")) {
        let packed = output(tar("-xzOf").arg(format!("{folder}/{licence}")))?;
        let text = fs::read_to_string(root().join(licence))
            .map_err(|error| format!("{licence}: {error}"))?;
        // A symbolic link that was packed as one would have no text.
        if packed != text {
            problems.push(format!("{folder}: {licence} is not the licence's text"));
        }
    }
    Ok(problems)
}

/// The required files that a list of a `.crate`'s contents lacks.
fn missing(list: &str, folder: &str) -> Vec<String> {
    let has = |name: &str| list.lines().any(|line| line == format!("{folder}/{name}"));
    let missing = REQUIRED.iter().filter(|name| !has(name));
    missing.map(|name| format!("{folder}: no {name}")).collect()
}

/// The version that all packages share.
fn version(packages: &[Package]) -> Result<&str, String> {
    let mut versions: Vec<&str> = packages.iter().map(|one| one.version.as_str()).collect();
    versions.dedup();
    match versions[..] {
        [version] => Ok(version),
        _ => Err(format!("the packages have several versions: {versions:?}")),
    }
}

/// The names of `packages`, each after those it depends on.
fn order(packages: &[Package]) -> Result<Vec<String>, String> {
    let mut left: Vec<&Package> = packages.iter().collect();
    let mut ordered: Vec<String> = Vec::new();
    while !left.is_empty() {
        let waits = |one: &&Package| {
            let mut needs = one.dependencies.iter().filter(|dependency| {
                // Development dependencies without a version are not in the published manifest.
                dependency.kind.as_deref() != Some("dev") || dependency.req != "*"
            });
            needs.any(|need| {
                packages.iter().any(|one| one.name == need.name) && !ordered.contains(&need.name)
            })
        };
        let (later, mut ready): (Vec<_>, Vec<_>) = left.into_iter().partition(waits);
        if ready.is_empty() {
            let names: Vec<&str> = later.iter().map(|one| one.name.as_str()).collect();
            return Err(format!("these depend on each other: {}", names.join(", ")));
        }
        ready.sort_by(|one, other| one.name.cmp(&other.name));
        ordered.extend(ready.iter().map(|one| one.name.clone()));
        left = later;
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::metadata::Dependency;

    fn package(name: &str, needs: &[&str]) -> Package {
        let dependency = |name: &&str| Dependency {
            name: (*name).into(),
            req: "=0.1.0".into(),
            ..Dependency::default()
        };
        Package {
            name: name.into(),
            version: "0.1.0".into(),
            dependencies: needs.iter().map(dependency).collect(),
            ..Package::default()
        }
    }

    #[test]
    fn a_package_comes_after_those_it_depends_on() {
        let packages = [
            package("facade", &["pool", "core", "bytes"]),
            package("pool", &["core"]),
            package("core", &["bytes"]),
        ];
        assert_eq!(order(&packages).unwrap(), ["core", "pool", "facade"]);
        let round = [package("one", &["two"]), package("two", &["one"])];
        assert!(order(&round).unwrap_err().contains("one, two"));
    }

    #[test]
    fn a_dependency_of_tests_without_a_version_does_not_count() {
        let mut core = package("core", &["mock"]);
        core.dependencies[0].kind = Some("dev".into());
        core.dependencies[0].req = "*".into();
        let packages = [core, package("mock", &["core"])];
        assert_eq!(order(&packages).unwrap(), ["core", "mock"]);
    }

    #[test]
    fn a_crate_without_a_licence_is_reported() {
        let list = "a-0.1.0/Cargo.toml\na-0.1.0/LICENSE-MIT\na-0.1.0/README.md\n";
        assert_eq!(missing(list, "a-0.1.0"), ["a-0.1.0: no LICENSE-APACHE"]);
    }

    #[test]
    fn versions_that_differ_are_reported() {
        let mut packages = [package("a", &[]), package("b", &[])];
        assert_eq!(version(&packages).unwrap(), "0.1.0");
        packages[1].version = "0.2.0".into();
        version(&packages).unwrap_err();
    }
}
