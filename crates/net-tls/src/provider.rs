//! Where the cryptography comes from.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Cryptography by ring.
#[cfg(feature = "ring")]
pub fn ring() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Cryptography by AWS-LC, with post-quantum key exchange.
#[cfg(feature = "aws-lc-rs")]
pub fn aws_lc_rs() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What is used when nobody says otherwise. Turning the other feature on as well changes nothing:
/// some crate elsewhere in the tree may have done it.
#[allow(
    clippy::unnecessary_wraps,
    reason = "without any feature there is none"
)]
pub(crate) fn of_features() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "ring")]
    return Some(ring());
    #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
    return Some(aws_lc_rs());
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    None
}
