//! Adapters between [httpcore](https://docs.rs/httpcore) and the traits of other libraries, in both directions.
//!
//! | | `tokio::io` (`tokio-io`) | `futures-io` (`futures-io`) | `hyper::rt` (`hyper`) |
//! |---|---|---|---|
//! | a stream of httpcore as theirs | `Io` | `Io` | `Io` |
//! | a stream of theirs as [`NetworkStream`] | `TokioStream` | `FuturesStream` | `HyperStream` |
//! | a [`Runtime`] of httpcore as theirs | | | `HyperRuntime` (`Timer`, `Executor`) |
//!
//! Each column is behind the feature of its name, and none brings a runtime. With `Io` and
//! `HyperRuntime`, hyper's own `client::conn` runs on any backend of httpcore.
//!
//! [`NetworkStream`]: httpcore_core_primitives::NetworkStream
//! [`Runtime`]: httpcore_core_primitives::Runtime

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
mod foreign;
#[cfg(feature = "hyper")]
mod hyper_runtime;
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
mod io;

#[cfg(feature = "futures-io")]
pub use foreign::FuturesStream;
#[cfg(feature = "hyper")]
pub use foreign::HyperStream;
#[cfg(feature = "tokio-io")]
pub use foreign::TokioStream;
#[cfg(feature = "hyper")]
pub use hyper_runtime::HyperRuntime;
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
pub use io::Io;

/// The examples of the README, tested.
#[cfg(all(doctest, feature = "tokio-io"))]
#[doc = include_str!("../README.md")]
struct Readme;
