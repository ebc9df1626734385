//! The part of `cargo metadata` that the checks use.

use std::path::Path;

use serde::Deserialize;

use xtask::steps::{cargo, output, root};

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
    /// `Some([])` for a package that is never published.
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) description: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) readme: Option<String>,
    pub(crate) repository: Option<String>,
    pub(crate) rust_version: Option<String>,
    pub(crate) keywords: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) source: Option<String>,
    pub(crate) version: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal dependency, `dev` or `build`.
    pub(crate) kind: Option<String>,
    pub(crate) optional: bool,
    /// The required version; `*` if none is named.
    #[serde(default)]
    pub(crate) req: String,
    /// The path, if it is in this workspace.
    pub(crate) path: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Target {
    pub(crate) kind: Vec<String>,
    pub(crate) src_path: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// Returns the workspace's packages, with paths relative to it.
pub(crate) fn packages() -> Result<Vec<Package>, String> {
    read(&["--no-deps"])
}

/// Returns the workspace's packages and all dependencies, with all features.
pub(crate) fn with_dependencies() -> Result<Vec<Package>, String> {
    read(&["--all-features", "--locked"])
}

fn read(arguments: &[&str]) -> Result<Vec<Package>, String> {
    let text = output(
        cargo()
            .args(["metadata", "--format-version", "1"])
            .args(arguments),
    )?;
    let metadata: Metadata =
        serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    let mut packages = metadata.packages;
    let root = root();
    for package in &mut packages {
        package.manifest_path = relative(&package.manifest_path, &root);
        for target in &mut package.targets {
            target.src_path = relative(&target.src_path, &root);
        }
    }
    Ok(packages)
}

fn relative(path: &str, root: &Path) -> String {
    let inside = Path::new(path).strip_prefix(root).ok();
    inside.map_or(path.into(), |path| path.to_string_lossy().into_owned())
}

impl Package {
    pub(crate) fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }

    /// Whether it is one of the crates in `crates/`, not tooling or tests.
    pub(crate) fn is_crate(&self) -> bool {
        self.manifest_path.starts_with("crates/")
    }

    /// Returns the folder, with a slash at its end.
    pub(crate) fn folder(&self) -> &str {
        self.manifest_path
            .strip_suffix("Cargo.toml")
            .unwrap_or(&self.manifest_path)
    }

    pub(crate) fn targets_of<'a>(&'a self, kinds: &'a [&str]) -> impl Iterator<Item = &'a Target> {
        let is = move |target: &&Target| {
            let mut own = target.kind.iter();
            own.any(|kind| kinds.contains(&kind.as_str()))
        };
        self.targets.iter().filter(is)
    }
}
