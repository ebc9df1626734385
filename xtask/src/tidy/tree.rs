//! The dependency tree of a user's build.

use std::collections::{BTreeMap, BTreeSet};

use super::metadata::Package;
use xtask::steps::{cargo, output};

/// The facade.
const FACADE: &str = "httpcore";
/// Maximum number of third-party crates in its default tree. rustls with ring and its roots, for `https`
/// by default, is 14 of them.
const LIMIT: usize = 40;
/// The features of tokio that add a second event loop.
const LOOPS: [&str; 6] = ["full", "net", "process", "rt", "rt-multi-thread", "time"];
/// The backend on tokio, which needs tokio's event loop.
const GUEST: &str = "httpcore-net-tokio";

pub(crate) fn check(packages: &[Package]) -> Result<Vec<String>, String> {
    let mut problems = Vec::new();
    for package in packages.iter().filter(|package| package.is_crate()) {
        let tree = tree(&package.name, true)?;
        if package.name != GUEST && !depends_on(packages, &package.name, GUEST) {
            problems.extend(loops(&package.name, &tree));
        }
    }
    if has_facade(packages) {
        let tree = tree(FACADE, false)?;
        problems.extend(too_large(&tree));
        problems.extend(duplicates(&tree));
    }
    Ok(problems)
}

/// Returns a note for the summary.
pub(crate) fn note(packages: &[Package]) -> Result<String, String> {
    if has_facade(packages) {
        let count = third_party(&tree(FACADE, false)?);
        Ok(format!(
            "{count} third-party crates of at most {LIMIT} in the facade's tree"
        ))
    } else {
        Ok("there is no facade".into())
    }
}

fn has_facade(packages: &[Package]) -> bool {
    packages.iter().any(|package| package.name == FACADE)
}

fn depends_on(packages: &[Package], name: &str, other: &str) -> bool {
    packages.iter().any(|package| {
        package.name == name
            && package
                .dependencies
                .iter()
                .any(|dependency| dependency.name == other && dependency.kind.is_none())
    })
}

/// Returns lines of the form `name vVERSION …|feature,feature`.
fn tree(package: &str, all_features: bool) -> Result<String, String> {
    let mut command = cargo();
    command.args(["tree", "--locked", "-e", "normal", "--prefix", "none"]);
    command.args(["--format", "{p}|{f}", "-p", package]);
    if all_features {
        command.arg("--all-features");
    }
    output(&mut command)
}

fn names(tree: &str) -> BTreeSet<(&str, &str)> {
    tree.lines()
        .filter_map(|line| {
            let mut words = line.split(['|', ' ']);
            Some((words.next()?, words.next()?))
        })
        .collect()
}

fn loops(package: &str, tree: &str) -> Vec<String> {
    let mut problems = BTreeSet::new();
    for line in tree.lines().filter(|line| line.starts_with("tokio v")) {
        let features = line.split_once('|').map_or("", |(_, features)| features);
        let features = features.trim_end_matches(" (*)");
        for feature in features
            .split(',')
            .filter(|feature| LOOPS.contains(feature))
        {
            problems.insert(format!("{package} turns on tokio's feature {feature}"));
        }
    }
    problems.into_iter().collect()
}

fn third_party(tree: &str) -> usize {
    let names = names(tree);
    names
        .iter()
        .filter(|(name, _)| !name.starts_with(FACADE))
        .count()
}

fn too_large(tree: &str) -> Option<String> {
    let count = third_party(tree);
    (count > LIMIT).then(|| {
        format!("{FACADE} pulls in {count} third-party crates; at most {LIMIT} are allowed")
    })
}

fn duplicates(tree: &str) -> Vec<String> {
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for (name, version) in names(tree) {
        versions.entry(name).or_default().push(version);
    }
    let twice = versions.iter().filter(|(_, versions)| versions.len() > 1);
    twice
        .map(|(name, versions)| format!("{FACADE} pulls in {name} as {}", versions.join(" and ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_event_loop_is_reported() {
        let fine = "a v1.0.0 (somewhere)|\ntokio v1.47.0|bytes,default,io-util,sync\n";
        assert_eq!(loops("a", fine), Vec::<String>::new());
        let loopy = "tokio v1.47.0|bytes,rt,time\ntokio v1.47.0|bytes,rt,time (*)\n";
        assert_eq!(loops("a", loopy).len(), 2);
    }

    #[test]
    fn repeated_crates_are_counted_once() {
        let line = |number: usize| format!("c{number} v1.0.0|\nc{number} v1.0.0| (*)\n");
        let fits: String = (0..LIMIT).map(line).collect();
        assert_eq!(too_large(&fits), None);
        let over: String = (0..=LIMIT).map(line).collect();
        assert!(too_large(&over).is_some());
    }

    #[test]
    fn two_versions_of_one_crate_are_reported() {
        assert_eq!(duplicates("a v1.0.0|\nb v1.0.0|x\n"), Vec::<String>::new());
        assert_eq!(
            duplicates("a v1.0.0|\na v2.0.0|\n"),
            ["httpcore pulls in a as v1.0.0 and v2.0.0"]
        );
    }
}
