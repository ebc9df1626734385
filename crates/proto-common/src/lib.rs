//! What HTTP/1.1 and HTTP/2 share.
//!
//! - [`deadlines`]: the time limits of an exchange.
//! - [`write_buf`]: framing and body data, gathered into one vectored write.
//! - [`buffers`]: read and write buffers, which belong to the thread.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod buffers;
pub mod deadlines;
pub mod write_buf;
