//! What the peers share: a harness for those whose futures tokio runs, bodies to upload, and the
//! trust in the responder's certificate.

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

/// What is uploaded, piece by piece.
pub static ZEROS: [u8; httpcore_benches::PIECE] = [0; httpcore_benches::PIECE];
