//! What HTTP/1.1 and HTTP/2 share: an exchange without its bytes.
//!
//! - [`control`]: the lease, the time limits and the trace of an exchange, and its response's progress.
//! - [`deadlines`]: which time limit applies when.
//! - [`progress`]: how far request and response have come.
//! - [`failure`]: why an exchange fails, and the one function that makes an
//!   [`Error`](httpcore_core_primitives::Error) of it.
//! - [`request_body`]: a request's body, and the request for another attempt.
//! - [`response_body`]: the body that owns an exchange until the response has ended.
//! - [`write_buf`]: framing and body data, gathered into one vectored write.
//! - [`buffers`]: read and write buffers, which belong to the thread.
//!
//! The interface follows the needs of the protocol crates in this repository and promises no stability.
//! Users and backends meet the types of `httpcore-core-primitives` instead.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod buffers;
pub mod control;
pub mod deadlines;
pub mod failure;
pub mod progress;
pub mod request_body;
pub mod response_body;
pub mod write_buf;
