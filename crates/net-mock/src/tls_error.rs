//! Failures of TLS without cryptography.

use std::io::{self, ErrorKind};

use httpcore_core_primitives::TlsFailure;

/// Reason why a handshake of [`MockTls`](crate::MockTls) failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MockTlsError {
    /// The server's certificate is not valid for the requested name, which is inside.
    #[error("certificate is not valid for name {0:?}")]
    WrongName(String),
    /// The server's certificate is invalid, for this reason.
    #[error("invalid certificate: {0}")]
    BadCertificate(String),
    /// The peer sent this alert.
    #[error("received TLS alert {0:?}")]
    Alert(String),
    /// The peer does not speak this kind of TLS.
    #[error("peer does not speak TLS")]
    NotTls,
}

pub(crate) fn failure(error: MockTlsError) -> io::Error {
    TlsFailure::error(ErrorKind::InvalidData, error)
}
