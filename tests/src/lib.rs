//! What the suites in this folder share.
//!
//! [`suite`] runs one scenario (scripts for a server's connections, and what a client does with
//! them) on every backend: in virtual time, over our event loop, on tokio and smol, and on a thread that waits.
//! [`http2`] is a server of HTTP/2 for all of them.

#![forbid(unsafe_code)]

pub mod h2_peer;
pub mod http2;
pub mod smol;
pub mod suite;

/// The examples of the README, tested.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The example of net-mock's README, tested: it needs `httpcore`, which net-mock must not know.
#[cfg(doctest)]
#[doc = include_str!("../../crates/net-mock/README.md")]
struct MockReadme;

/// The examples of the guide to testing, tested.
#[cfg(doctest)]
#[doc = include_str!("../../docs/testing.md")]
struct TestingGuide;
