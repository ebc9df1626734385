//! What several network backends of httpcore share.
//!
//! - [`socket`]: opening a TCP or Unix socket with its options, sending, and asking the kernel
//!   whether an idle connection has ended. By way of `socket2`.
//! - [`spare`]: receiving into memory that has not been written: the one file with `unsafe` code of the
//!   workspace.
//! - [`ready_stream`]: a stream over a socket whose readiness another runtime reports.
//!
//! It is for authors of backends, and follows their needs: its version is that of the crates which
//! use it, and it promises no stability of its own.

#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod ready_stream;
pub mod socket;
#[allow(
    unsafe_code,
    reason = "the one file with unsafe code: reads into memory that has not been written"
)]
pub mod spare;
