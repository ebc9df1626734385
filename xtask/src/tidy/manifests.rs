//! What each package owes its users: metadata, a README, an example, the lints of the house.

use super::{Sources, metadata::Package};

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

/// What would keep `package` from being published: it asks for something that never is. In tests
/// it may, if it names no version, for then cargo takes that out of what is published.
fn unpublishable(package: &Package, packages: &[Package]) -> Vec<String> {
    let is_private = |name: &str| {
        let mut others = packages.iter();
        others.any(|other| other.name == name && !other.is_published())
    };
    let asks = package.dependencies.iter().filter(|dependency| {
        let is_taken_out = dependency.kind.as_deref() == Some("dev") && dependency.req == "*";
        is_private(&dependency.name) && !is_taken_out
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

    fn whole() -> (Package, Sources) {
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
            ("crates/new/README.md", "# New\n"),
            ("crates/new/Cargo.toml", "[lints]\nworkspace = true\n"),
        ];
        let own = |(path, text): (&str, &str)| (path.to_owned(), text.to_owned());
        (package, files.map(own).into())
    }

    #[test]
    fn a_whole_package_passes() {
        let (package, sources) = whole();
        assert_eq!(check(&[package], &sources), Vec::<String>::new());
    }

    #[test]
    fn each_missing_piece_is_noticed() {
        let (_, sources) = whole();
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
            let (mut package, _) = whole();
            fault(&mut package);
            assert_eq!(check(&[package], &sources).len(), 1);
        }
        for missing in sources.keys() {
            let (package, mut sources) = whole();
            sources.remove(missing);
            assert_eq!(check(&[package], &sources).len(), 1, "{missing}");
        }
    }

    #[test]
    fn a_dependency_that_is_never_published_is_noticed() {
        let (package, sources) = whole();
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
    fn an_empty_readme_is_noticed() {
        let (package, mut sources) = whole();
        sources.insert("crates/new/README.md".into(), "\n".into());
        assert_eq!(check(&[package], &sources).len(), 1);
    }

    #[test]
    fn a_private_package_owes_less() {
        let (mut package, sources) = whole();
        package.publish = Some(Vec::new());
        package.keywords.clear();
        package.targets.clear();
        assert_eq!(check(&[package], &sources), Vec::<String>::new());
    }
}
