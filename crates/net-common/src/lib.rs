//! Code that several network backends of httpcore share.
//!
//! - [`ready_stream`]: a stream over a socket whose readiness the event loop of another runtime reports.
//! - [`socket`]: opening a TCP or Unix socket with its options, sending, and probing whether an idle
//!   connection has ended. Based on `socket2`.
//! - [`spare`]: receiving into uninitialised memory: the only file of the workspace with `unsafe` code.
//!
//! It is for authors of backends and follows their needs: its version is that of the crates that use it,
//! and it promises no stability of its own.

#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod os;
pub mod ready_stream;
pub mod socket;
#[allow(
    unsafe_code,
    reason = "the only file with unsafe code: reads into uninitialised memory"
)]
pub mod spare;
