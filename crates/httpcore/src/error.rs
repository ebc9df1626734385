//! Errors: what failed, in which phase, and how much of the request was sent.
//!
//! [`Error`] is the error of every request. The other types are its parts, and types that may be
//! among its sources ([`std::error::Error::source`]).

pub use httpcore_core_primitives::{
    BoxError, ConnectionRevoked, Error, ErrorKind, ErrorPhase, Fault, Http2ErrorCode,
    MisdirectedRequest, RejectedResponse, RequestSent, RuntimeShutdown, TimeoutKind, TlsFailure,
};
