//! TLS for every peer on rustls.

use std::sync::Arc;

use httpcore_benches::{Failure, Task};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Returns a configuration with ring that trusts only the responder's root. ALPN is not set.
///
/// # Errors
///
/// If the root cannot be read.
pub fn tls(task: &Task) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = &task.ca {
        roots.add(CertificateDer::from_pem_file(ca)?)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if !task.resume {
        config.resumption = Resumption::disabled();
    }
    Ok(config)
}
