//! TLS over any stream: rustls, without a runtime of its own.
//!
//! A [`RustlsConnector`] performs a TLS handshake over a [`NetworkStream`] (a socket, a tunnel, another
//! TLS stream) and returns a `NetworkStream`.
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
//!  stream below ───────► scratch ─► Session::read_ciphertext ───────────► caller's buffer
//!  (poll_read)           (of the    (rustls; no I/O)
//!               ◄─────── thread)                   ◄───────── caller's slices
//!               poll_write          Session::write_plaintext
//! ```
//!
//! - [`RustlsConnector`] and its [`Builder`]: roots, client certificate, versions, key log, the
//!   cryptography. Files are read when the connector is built, and not again.
//! - [`TlsStream`]: the stream. It distinguishes an end with `close_notify` from a truncation, and
//!   processes session tickets while it is idle.
//! - [`TlsError`]: the reason of a failure. [`TlsError::find_in`] finds it inside other errors.
//! - The state machine, `session.rs`, converts between ciphertext and plaintext without I/O. No other
//!   module calls a connection of rustls.
//!
//! # Cryptography
//!
//! The feature `ring` (default) or `aws-lc-rs` adds a provider; `ring` is used if both are enabled.
//! [`Builder::provider`] accepts any other. No process-wide default provider is installed or used.
//!
//! # Resumption
//!
//! Each connector caches sessions by server name; a resumed handshake costs a fraction of a full one.
//! Connectors share no sessions: a session that was accepted under one set of roots is not resumed
//! under another. Early data is not sent.

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

/// Re-export of rustls, for verifiers, providers and complete configurations.
pub use rustls;

#[cfg(doc)]
use httpcore_core_primitives::NetworkStream;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
