//! `cargo xtask`: the tooling of this project as one program.
//!
//! CI runs `cargo xtask ci`; each of its steps can also be run alone. A step that cannot be carried
//! out on this machine is listed at the end, under LEFT OUT. Nothing is skipped silently.

#![forbid(unsafe_code)]

mod api;
mod bench;
mod book;
mod cargo;
mod deny;
mod differential;
mod fuzz;
mod integrations;
mod interop;
mod picture;
mod release;
mod test;
mod tidy;

use std::process::ExitCode;

use xtask::steps::{self, Outcome, Step};

const HELP: &str = "\
cargo xtask COMMAND

  ci        every step below except fuzz, differential, bench and release, as CI runs it
            (--quick: format, lints of the workspace, tidy, and the tests in virtual time)
  fmt       format the sources (--check: only report)
  lint      clippy on all targets with all features, and on fuzz/, differential/ and docs/examples/;
            warnings are errors
  doc       rustdoc, the public view and the private one; warnings are errors
  tidy      checks that compilers do not make: dependencies between crates, the place of unsafe code,
            citations, manifests, words (--rfcs: list every citation of an RFC)
  deny      licences, sources and duplicates of dependencies, and security advisories, by cargo-deny
            where it is installed
  api       write the public surface of each published library to docs/api (--check: only compare)
  picture   draw the output of the demo for the README (FILE: output that was kept)
  package   make the .crate of each published package and check its contents
  release   --dry-run: the same, compiled as well, and the order in which they are published
  book      the guides as a book in target/book, and its links; mdBook is installed if it is missing
  test      all tests, or those of one backend (--backend mock|epoll|all); --seeds N: the number of
            seeds for worlds in virtual time; arguments after -- go to `cargo test`
  examples  the programs in docs/examples, which are a workspace of their own, and their tests
  matrix    every combination of features, up to two at a time, and the oldest supported compiler
            where it is installed
  portable  check what systems without epoll build, on this one
  interop   tests against real servers; missing servers are installed where that is possible
  integrations
            other projects' clients on our pool (tonic, kube, object_store and others), against their
            servers; CI tests those that take little time to build
  fuzz      fuzz one target (TARGET --for 60s); without arguments, list the targets
  differential
            read the responses of our tests with other clients; known differences are in docs/
  counts    compare the counts of our own client with benches/baseline.json
  bench     measure our client, other clients and the baseline client: a report in target/bench
            (--quick: a small selection; --rounds N: number of timed runs; --write: into
            docs/performance.md; --accept: renew the accepted counts; names of workloads)
  help      this text
";

/// The tests of `ci --quick`: those without sockets, with fewer seeds than `ci` has.
const QUICK: [&str; 4] = ["--backend", "mock", "--seeds", "200"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    match command {
        "ci" if rest.iter().any(|word| word == "--quick") => steps::run(&[
            Step::new("fmt", || cargo::fmt(true)),
            Step::new("tidy", || tidy::run(&[])),
            Step::new("lint", cargo::lint_workspace),
            Step::new("test", || test::run(&QUICK.map(str::to_owned))),
        ]),
        "ci" => steps::run(&[
            Step::new("fmt", || cargo::fmt(true)),
            Step::new("lint", cargo::lint),
            Step::new("doc", cargo::doc),
            Step::new("tidy", || tidy::run(&[])),
            Step::new("deny", deny::run),
            Step::new("api", || api::run(true)),
            Step::new("package", || release::package(false)),
            Step::new("book", book::run),
            Step::new("test", || test::run(&[])),
            Step::new("examples", cargo::examples),
            Step::new("matrix", cargo::matrix),
            Step::new("portable", cargo::portable),
            Step::new("counts", || bench::run("counts", &[])),
            Step::new("interop", interop::run),
            Step::new("integrations", integrations::run),
        ]),
        "fmt" => single("fmt", || {
            cargo::fmt(rest.iter().any(|word| word == "--check"))
        }),
        "lint" => single("lint", cargo::lint),
        "doc" => single("doc", cargo::doc),
        "tidy" => single("tidy", || tidy::run(rest)),
        "deny" => single("deny", deny::run),
        "api" => single("api", || {
            api::run(rest.iter().any(|word| word == "--check"))
        }),
        "picture" => single("picture", || picture::run(rest)),
        "package" => single("package", || release::package(false)),
        "release" => single("release", || release::run(rest)),
        "book" => single("book", book::run),
        "test" => single("test", || test::run(rest)),
        "examples" => single("examples", cargo::examples),
        "matrix" => single("matrix", cargo::matrix),
        "portable" => single("portable", cargo::portable),
        "interop" => single("interop", interop::run),
        "integrations" => single("integrations", integrations::run_all),
        "fuzz" => single("fuzz", || fuzz::run(rest)),
        "differential" => single("differential", differential::run),
        "counts" => single("counts", || bench::run("counts", rest)),
        "bench" => single("bench", || bench::run("bench", rest)),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        unknown => {
            eprint!("unknown command: {unknown}\n\n{HELP}");
            ExitCode::FAILURE
        }
    }
}

fn single(name: &'static str, run: impl Fn() -> Outcome) -> ExitCode {
    steps::run(&[Step::new(name, run)])
}
