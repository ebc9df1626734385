//! Shared by the peers: a harness for clients on tokio, bodies to upload, and the TLS configuration.

#![forbid(unsafe_code)]

#[cfg(feature = "bodies")]
mod bodies;
#[cfg(feature = "tokio")]
mod harness;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "bodies")]
pub use bodies::{Zeros, read};
#[cfg(feature = "tokio")]
pub use harness::{Client, run_on_tokio};
#[cfg(feature = "tls")]
pub use tls::tls;

/// The data of uploads.
pub static ZEROS: [u8; httpcore_benches::CHUNK_BYTES] = [0; httpcore_benches::CHUNK_BYTES];
