//! The permitted dependencies of each crate.
//!
//! A new edge needs a line here and, between our own crates, a page in `docs/decisions/`.

use super::metadata::{Dependency, Package};

/// The permitted normal dependencies of one crate.
struct Rule {
    package: &'static str,
    /// Our crates, without the prefix `httpcore-`.
    ours: &'static [&'static str],
    /// Third-party crates, in addition to [`COMMON`].
    others: &'static [&'static str],
}

/// Third-party crates that every crate may use.
const COMMON: [&str; 6] = [
    "bytes",
    "futures-core",
    "http",
    "http-body",
    "pin-project-lite",
    "thiserror",
];

/// core-primitives has none besides [`COMMON`]: it knows no protocol and no socket.
const RULES: &[Rule] = &[
    rule("httpcore-core-primitives", &[], &[]),
    rule(
        "httpcore-adapters",
        &["core-primitives"],
        &["futures-io", "hyper", "tokio"],
    ),
    // For backends; it knows none of them.
    rule("httpcore-resolver", &["core-primitives"], &[]),
    rule("httpcore-executor", &["core-primitives"], &[]),
    rule("httpcore-net-common", &["core-primitives"], &["socket2"]),
    rule(
        "httpcore-net-epoll",
        &["core-primitives", "executor", "net-common", "resolver"],
        &["mio", "slab", "socket2"],
    ),
    rule(
        "httpcore-net-tokio",
        &["core-primitives", "executor", "net-common", "resolver"],
        &["socket2", "tokio"],
    ),
    rule(
        "httpcore-net-smol",
        &["core-primitives", "executor", "net-common", "resolver"],
        &["async-io", "socket2"],
    ),
    rule(
        "httpcore-net-mock",
        &["core-primitives", "executor"],
        &["slab"],
    ),
    rule(
        "httpcore-net-tls",
        &["core-primitives", "proto-common"],
        &[
            "rustls",
            "rustls-pki-types",
            "rustls-platform-verifier",
            "webpki-roots",
        ],
    ),
    // What the protocols share; TLS takes its buffers from the same pool.
    rule("httpcore-proto-common", &["core-primitives"], &[]),
    rule(
        "httpcore-proto-h1",
        &["core-primitives", "proto-common"],
        &["httparse"],
    ),
    rule(
        "httpcore-proto-h2",
        &["core-primitives", "proto-common"],
        &["h2", "slab", "tokio"],
    ),
    // Only the codec, which has no I/O.
    rule("httpcore-proxy", &["core-primitives", "proto-h1"], &[]),
    rule(
        "httpcore-ws-upgrade",
        &["adapters", "core-primitives"],
        &["futures-sink", "getrandom", "sha1_smol", "tungstenite"],
    ),
    rule("httpcore-sse", &["core-primitives"], &[]),
    rule("httpcore-pool", &["core-primitives"], &["slab"]),
    rule(
        "httpcore",
        &[
            "adapters",
            "core-primitives",
            "net-epoll",
            "net-mock",
            "net-tls",
            "net-tokio",
            "pool",
            "proto-h1",
            "proto-h2",
            "proxy",
            "resolver",
            "sse",
            "ws-upgrade",
        ],
        &["socket2", "tower-service", "tracing"],
    ),
];

/// Crates that every crate may use in tests and examples: the mock network and the test server.
const IN_TESTS: [&str; 2] = ["httpcore-net-mock", "httpcore-origin"];

/// The program: it may depend on any of our crates and on what programs need.
const PROGRAM: &str = "httpcore-cli";

const fn rule(
    package: &'static str,
    ours: &'static [&'static str],
    others: &'static [&'static str],
) -> Rule {
    Rule {
        package,
        ours,
        others,
    }
}

pub(crate) fn check(packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    for package in packages.iter().filter(|package| package.is_crate()) {
        let Some(rule) = RULES.iter().find(|rule| rule.package == package.name) else {
            if package.name != PROGRAM {
                problems.push(format!(
                    "{}: no rule in xtask/src/tidy/edges.rs says what it may depend on",
                    package.name
                ));
            }
            continue;
        };
        for dependency in &package.dependencies {
            if !rule.allows(dependency) {
                let kind = dependency.kind.as_deref().unwrap_or("normal");
                problems.push(format!(
                    "{} must not have {} as a {kind} dependency",
                    package.name, dependency.name
                ));
            }
        }
    }
    for package in packages {
        for dependency in &package.dependencies {
            if is_tooling_of_a_crate(package, dependency, packages) {
                problems.push(format!(
                    "{} must not depend on {}: no crate depends on tooling",
                    package.name, dependency.name
                ));
            }
        }
    }
    problems
}

/// Whether a crate depends on tooling other than the test server.
fn is_tooling_of_a_crate(package: &Package, dependency: &Dependency, packages: &[Package]) -> bool {
    let is_tooling = packages
        .iter()
        .any(|other| other.name == dependency.name && !other.is_crate());
    package.is_crate() && is_tooling && dependency.name != "httpcore-origin"
}

impl Rule {
    fn allows(&self, dependency: &Dependency) -> bool {
        let name = dependency.name.as_str();
        let is_ours = dependency.path.is_some() || name.starts_with("httpcore");
        let may_normally = if is_ours {
            name.strip_prefix("httpcore-")
                .is_some_and(|name| self.ours.contains(&name))
        } else if self.package == "httpcore-core-primitives" && name == "futures-core" {
            dependency.optional
        } else {
            COMMON.contains(&name) || self.others.contains(&name)
        };
        match dependency.kind.as_deref() {
            None => may_normally,
            // A third-party crate in a test does not reach users.
            Some("dev") => !is_ours || may_normally || IN_TESTS.contains(&name),
            // No build dependencies: code at build time would run on users' machines.
            Some(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        Package {
            name: name.into(),
            manifest_path: format!("crates/{name}/Cargo.toml"),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).into(),
                    kind: kind.map(Into::into),
                    path: name.starts_with("httpcore").then(String::new),
                    ..Dependency::default()
                })
                .collect(),
            ..Package::default()
        }
    }

    #[test]
    fn permitted_dependencies_pass() {
        let packages = [
            package(
                "httpcore-net-epoll",
                &[("httpcore-core-primitives", None), ("mio", None)],
            ),
            package(
                "httpcore-pool",
                &[
                    ("httpcore-net-mock", Some("dev")),
                    ("proptest", Some("dev")),
                ],
            ),
            package("httpcore-cli", &[("httpcore", None), ("anything", None)]),
        ];
        assert_eq!(check(&packages), Vec::<String>::new());
    }

    #[test]
    fn edge_that_is_not_in_the_table_is_reported() {
        for (name, edge) in [
            ("httpcore-pool", ("httpcore-proto-h1", None)),
            ("httpcore-pool", ("httpcore-proto-h1", Some("dev"))),
            ("httpcore-proto-h1", ("httpcore-net-epoll", None)),
            ("httpcore-proto-h1", ("mio", None)),
            ("httpcore-core-primitives", ("socket2", None)),
            ("httpcore-core-primitives", ("futures-core", None)),
            ("httpcore-net-epoll", ("http", Some("build"))),
            ("httpcore", ("rustls", None)),
            ("httpcore-resolver", ("httpcore-net-epoll", None)),
            ("httpcore-resolver", ("mio", None)),
            ("httpcore-proto-h1", ("h2", None)),
            ("httpcore-net-epoll", ("httpcore-origin", None)),
        ] {
            assert_eq!(check(&[package(name, &[edge])]).len(), 1, "{name} {edge:?}");
        }
    }

    #[test]
    fn crate_without_a_rule_is_reported() {
        assert_eq!(check(&[package("httpcore-new", &[])]).len(), 1);
    }

    #[test]
    fn program_that_depends_on_tooling_is_reported() {
        let mut tooling = package("xtask", &[]);
        tooling.manifest_path = "xtask/Cargo.toml".into();
        let program = package("httpcore-cli", &[("xtask", None)]);
        assert_eq!(check(&[tooling, program]).len(), 1);
    }
}
