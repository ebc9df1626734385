//! TLS over any stream: rustls, driven without a runtime.
//!
//! A [`RustlsConnector`] puts TLS on top of a [`NetworkStream`], and what comes out is a
//! `NetworkStream` again: over a socket, over a tunnel, over another TLS.
//!
//! ```
//! use httpcore_net_tls::{RustlsConnector, TlsVersion};
//!
//! // Everything has a default; one connector serves a whole program.
//! let usual = RustlsConnector::builder().build()?;
//! let strict = RustlsConnector::builder()
//!     .min_version(TlsVersion::Tls13)
//!     .key_log_from_environment()
//!     .build()?;
//! # let _ = (usual, strict);
//! # Ok::<(), httpcore_net_tls::ConfigError>(())
//! ```
//!
//! ```text
//!              ciphertext                          plaintext
//!  stream below ───────► scratch ─► Session::feed ───────────► caller's buffer
//!  (poll_read)           (of the    (rustls; no I/O)
//!               ◄─────── thread)                   ◄───────── caller's slices
//!               poll_write          Session::push
//! ```
//!
//! - [`RustlsConnector`] and its [`Builder`]: roots, client certificate, versions, key log, the
//!   cryptography. All of it is read when the connector is built, and never again.
//! - [`TlsStream`]: the stream. It tells an end that the peer announced (`close_notify`) from one
//!   that somebody else may have made, and digests session tickets while it is idle.
//! - [`TlsError`]: what was wrong, in a sentence. [`TlsError::find_in`] finds it in the errors that
//!   come of it.
//! - The machine between the two directions, `session.rs`, takes ciphertext and gives plaintext,
//!   takes plaintext and gives ciphertext, and does no I/O. It is the one place which knows how
//!   rustls wants to be called.
//!
//! # Cryptography
//!
//! The feature `ring` (default) or `aws-lc-rs` brings a provider; `ring` is used where both are
//! on. [`Builder::provider`] takes any other. Nothing is ever installed for the whole process.
//!
//! # Resumption
//!
//! Sessions are remembered by the connector and by server name, so that the next handshake with
//! the same server costs a fraction of the first. Two connectors share nothing: what one set of
//! roots has accepted is not taken up under another. Early data is never sent.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connector;
mod date;
mod error;
mod name;
mod pem;
mod provider;
mod session;
mod stream;
mod unchecked;

pub use connector::{Builder, RustlsConnector, TlsVersion};
pub use error::{ConfigError, TlsError, TlsErrorKind};
#[cfg(feature = "aws-lc-rs")]
pub use provider::aws_lc_rs;
#[cfg(feature = "ring")]
pub use provider::ring;
pub use stream::TlsStream;

/// The rustls this crate is built on, for verifiers, providers and whole configurations.
pub use rustls;

#[cfg(doc)]
use httpcore_core_primitives::NetworkStream;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
