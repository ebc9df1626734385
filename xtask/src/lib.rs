//! The part of the tooling that other programs of this workspace use: steps with their report, and
//! the installation of Debian packages. `cargo xtask` itself is `main.rs`.

#![forbid(unsafe_code)]

pub mod debian;
pub mod steps;
