//! Certificates and keys from PEM.

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem, pem::PemObject,
};

use crate::error::ConfigError;

/// Returns every certificate in `text`, in order; other sections are ignored.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    all(text, "no valid certificate (PEM)")
}

/// Returns every revocation list in `text`, likewise.
pub(crate) fn revocation_lists(
    text: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, ConfigError> {
    all(text, "no valid revocation list (PEM)")
}

fn all<T: PemObject>(text: &[u8], otherwise: &'static str) -> Result<Vec<T>, ConfigError> {
    let found = T::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ConfigError::because(otherwise, error))?;
    if found.is_empty() {
        return Err(ConfigError::because(otherwise, pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// Returns the first private key in `text`: PKCS #8, PKCS #1 or SEC 1.
pub(crate) fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, ConfigError> {
    PrivateKeyDer::from_pem_slice(text)
        .map_err(|error| ConfigError::because("no valid private key (PEM)", error))
}
