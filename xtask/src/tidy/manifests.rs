//! What each published package must have: metadata, a README, an example, the licence texts, and the
//! lints of the workspace.

use super::{Sources, metadata::Package};

/// The texts of the licences. A crate's folder has a symbolic link to each, which `cargo package`
/// replaces by the text.
const LICENCES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];

pub(crate) fn check(packages: &[Package], sources: &Sources) -> Vec<String> {
    let mut problems = Vec::new();
    for file in [
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ] {
        if !sources.contains_key(file) {
            problems.push(format!("{file} is missing"));
        }
    }
    for package in packages.iter().filter(|package| package.is_published()) {
        problems.extend(unpublishable(package, packages));
    }
    for package in packages {
        let mut miss = |what: &str| problems.push(format!("{}: no {what}", package.name));
        let has_lints = sources.get(&package.manifest_path).is_some_and(|text| {
            let mut lines = text.lines().skip_while(|line| line.trim() != "[lints]");
            lines
                .nth(1)
                .is_some_and(|line| line.trim() == "workspace = true")
        });
        if !has_lints {
            miss("lints inherited from the workspace");
        }
        if package.description.is_none() {
            miss("description");
        }
        if package.license.is_none() {
            miss("license");
        }
        if package.rust_version.is_none() {
            miss("rust-version");
        }
        if !package.is_published() {
            continue;
        }
        if package.repository.is_none() {
            miss("repository");
        }
        if package.keywords.is_empty() {
            miss("keywords");
        }
        if package.categories.is_empty() {
            miss("categories");
        }
        // Both licences require that their text accompanies every copy, so that each `.crate` has it.
        for licence in LICENCES {
            let own = sources.get(&format!("{}{licence}", package.folder()));
            if own.is_none() || own != sources.get(licence) {
                miss(licence);
            }
        }
        let readme = sources.get(&format!("{}README.md", package.folder()));
        let is_said = readme.is_some_and(|text| !text.trim().is_empty());
        if package.readme.is_none() || !is_said {
            miss("README.md");
        }
        let is_library = package.targets_of(&["lib"]).next().is_some();
        if is_library && package.targets_of(&["example"]).next().is_none() {
            miss("example");
        }
    }
    problems
}

/// Reports dependencies of `package` on packages that are never published. A dev-dependency without a
/// version is allowed: cargo removes it from the published manifest.
fn unpublishable(package: &Package, packages: &[Package]) -> Vec<String> {
    let is_private = |name: &str| {
        let mut others = packages.iter();
        others.any(|other| other.name == name && !other.is_published())
    };
    let asks = package.dependencies.iter().filter(|dependency| {
        let is_removed = dependency.kind.as_deref() == Some("dev") && dependency.req == "*";
        is_private(&dependency.name) && !is_removed
    });
    asks.map(|dependency| {
        let (name, private) = (&package.name, &dependency.name);
        format!("{name} cannot be published: {private} is not")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::metadata::Target;

    fn complete() -> (Package, Sources) {
        let target = |kind: &str| Target {
            kind: vec![kind.into()],
            src_path: String::new(),
        };
        let package = Package {
            name: "httpcore-new".into(),
            manifest_path: "crates/new/Cargo.toml".into(),
            targets: vec![target("lib"), target("example")],
            description: Some("New.".into()),
            license: Some("MIT".into()),
            readme: Some("README.md".into()),
            repository: Some("there".into()),
            rust_version: Some("1.88".into()),
            keywords: vec!["http".into()],
            categories: vec!["network-programming".into()],
            ..Package::default()
        };
        let files = [
            ("CHANGELOG.md", ""),
            ("CONTRIBUTING.md", ""),
            ("README.md", ""),
            ("LICENSE-MIT", ""),
            ("LICENSE-APACHE", ""),
            ("crates/new/LICENSE-MIT", ""),
            ("crates/new/LICENSE-APACHE", ""),
            ("crates/new/README.md", "# New\n"),
            ("crates/new/Cargo.toml", "[lints]\nworkspace = true\n"),
        ];
        let own = |(path, text): (&str, &str)| (path.to_owned(), text.to_owned());
        (package, files.map(own).into())
    }

    #[test]
    fn complete_package_passes() {
        let (package, sources) = complete();
        assert_eq!(check(&[package], &sources), Vec::<String>::new());
    }

    #[test]
    fn each_missing_part_is_reported() {
        let (_, sources) = complete();
        let faults: [fn(&mut Package); 8] = [
            |package| package.description = None,
            |package| package.license = None,
            |package| package.readme = None,
            |package| package.repository = None,
            |package| package.rust_version = None,
            |package| package.keywords.clear(),
            |package| package.categories.clear(),
            |package| package.targets.truncate(1),
        ];
        for fault in faults {
            let (mut package, _) = complete();
            fault(&mut package);
            assert_eq!(check(&[package], &sources).len(), 1);
        }
        for missing in sources.keys() {
            let (package, mut sources) = complete();
            sources.remove(missing);
            assert!(!check(&[package], &sources).is_empty(), "{missing}");
        }
    }

    #[test]
    fn dependency_that_is_never_published_is_reported() {
        let (package, sources) = complete();
        let private = Package {
            name: "private".into(),
            publish: Some(Vec::new()),
            ..package.clone()
        };
        for (kind, req, problems) in [
            (None, "^1", 1),
            (Some("dev"), "^1", 1),
            (Some("dev"), "*", 0),
        ] {
            let mut package = package.clone();
            package
                .dependencies
                .push(crate::tidy::metadata::Dependency {
                    name: "private".into(),
                    kind: kind.map(String::from),
                    req: req.into(),
                    ..Default::default()
                });
            let found = check(&[package, private.clone()], &sources);
            assert_eq!(found.len(), problems, "{kind:?} {req}");
        }
    }

    #[test]
    fn licence_text_that_differs_from_the_root_is_reported() {
        let (package, mut sources) = complete();
        sources.insert("crates/new/LICENSE-MIT".into(), "another".into());
        assert_eq!(
            check(&[package], &sources),
            ["httpcore-new: no LICENSE-MIT"]
        );
    }

    #[test]
    fn empty_readme_is_reported() {
        let (package, mut sources) = complete();
        sources.insert("crates/new/README.md".into(), "\n".into());
        assert_eq!(check(&[package], &sources).len(), 1);
    }

    #[test]
    fn private_package_needs_no_publication_metadata() {
        let (mut package, sources) = complete();
        package.publish = Some(Vec::new());
        package.keywords.clear();
        package.targets.clear();
        assert_eq!(check(&[package], &sources), Vec::<String>::new());
    }
}
