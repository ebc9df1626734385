//! `cargo xtask`: the workshop as one program.
//!
//! What CI runs is `cargo xtask ci`, and every step of that can be run alone. A step which cannot
//! be carried out here says so at the end, under LEFT OUT; nothing is skipped in silence.

#![forbid(unsafe_code)]

mod bench;
mod cargo;
mod deny;
mod differential;
mod fuzz;
mod interop;
mod steps;
mod test;
mod tidy;

use std::process::ExitCode;

use steps::Step;

const HELP: &str = "\
cargo xtask COMMAND

  ci        everything below but fuzz, differential and bench, as CI runs it
  fmt       format the sources (--check: only look)
  lint      clippy on all targets with all features, and on fuzz/ and differential/; warnings are
            errors
  doc       rustdoc, the public view and the private one; warnings are errors
  tidy      what compilers do not check: who depends on whom, where unsafe is, citations, manifests
              (--rfcs: list every citation of an RFC)
  deny      licences, sources and duplicates of dependencies; advisories if cargo-deny is there
  test      all tests, or those on one backend (--backend mock|epoll|all); --seeds N for worlds in
              virtual time; what follows -- goes to `cargo test`
  matrix    every combination of features, up to two at a time, and the oldest compiler if it is there
  interop   tests against real servers, installing what is missing where that is possible
  fuzz      fuzz one target for a time (TARGET --for 60s); without arguments, lists the targets
  differential
            the responses of our tests read by other clients; differences are in docs/
  counts    what our own client costs, in counts, against benches/baseline.json
  bench     us, other clients and the floor: a report in target/bench (--quick: a small selection;
            --rounds N: how often to time; --write: into docs/performance.md; --accept: renew the
            baseline; names of works)
  help      this
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    match command {
        "ci" => steps::run(&[
            Step::new("fmt", || cargo::fmt(true)),
            Step::new("lint", cargo::lint),
            Step::new("doc", cargo::doc),
            Step::new("tidy", || tidy::run(&[])),
            Step::new("deny", deny::run),
            Step::new("test", || test::run(&[])),
            Step::new("matrix", cargo::matrix),
            Step::new("counts", bench::guard::check),
            Step::new("interop", interop::run),
        ]),
        "fmt" => alone("fmt", || {
            cargo::fmt(rest.iter().any(|word| word == "--check"))
        }),
        "lint" => alone("lint", cargo::lint),
        "doc" => alone("doc", cargo::doc),
        "tidy" => alone("tidy", || tidy::run(rest)),
        "deny" => alone("deny", deny::run),
        "test" => alone("test", || test::run(rest)),
        "matrix" => alone("matrix", cargo::matrix),
        "interop" => alone("interop", interop::run),
        "fuzz" => alone("fuzz", || fuzz::run(rest)),
        "differential" => alone("differential", differential::run),
        "counts" => alone("counts", bench::guard::check),
        "bench" => alone("bench", || bench::run(rest)),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        unknown => {
            eprint!("no such command: {unknown}\n\n{HELP}");
            ExitCode::FAILURE
        }
    }
}

fn alone(name: &'static str, run: impl Fn() -> steps::Outcome) -> ExitCode {
    steps::run(&[Step::new(name, run)])
}
