//! The program behind `cargo xtask bench` and `cargo xtask counts`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use httpcore_benches::harness;
use xtask::steps::{self, Step};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((step, rest)) if step == "bench" => {
            steps::run(&[Step::new("bench", || harness::run(rest))])
        }
        Some((step, [])) if step == "counts" => {
            steps::run(&[Step::new("counts", harness::guard::check)])
        }
        _ => {
            eprintln!("usage: harness bench [ARGUMENTS] | harness counts");
            ExitCode::FAILURE
        }
    }
}
