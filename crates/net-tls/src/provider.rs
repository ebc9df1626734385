//! Providers of cryptography.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Returns the provider of ring.
#[cfg(feature = "ring")]
pub fn ring() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Returns the provider of AWS-LC, with post-quantum key exchange.
#[cfg(feature = "aws-lc-rs")]
pub fn aws_lc_rs() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Returns the default provider. Enabling the second feature too does not change it, since any crate
/// of the tree may do that.
#[allow(
    clippy::unnecessary_wraps,
    reason = "without a feature there is no provider"
)]
pub(crate) fn of_features() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "ring")]
    return Some(ring());
    #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
    return Some(aws_lc_rs());
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    None
}
