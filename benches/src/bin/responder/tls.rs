//! The server's side of TLS.

use std::{error::Error, fs, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Accepts TLS with a certificate made for one run.
pub(crate) struct Acceptor {
    configs: Vec<Arc<ServerConfig>>,
}

impl Acceptor {
    /// Writes the root certificate, and for other servers the certificate and its key, into `folder`.
    pub(crate) fn new(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let root_key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate whose subject equals its issuer as self-signed.
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "root of the benchmarks");
        fs::write(folder.join("ca.pem"), params.self_signed(&root_key)?.pem())?;
        let issuer = Issuer::new(params, root_key);
        let key = KeyPair::generate()?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        fs::write(folder.join("cert.pem"), certificate.pem())?;
        fs::write(folder.join("key.pem"), key.serialize_pem())?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut configs = Vec::new();
        for alpn in [b"http/1.1".as_slice(), b"h2"] {
            let provider = Arc::new(ring::default_provider());
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(chain.clone(), PrivateKeyDer::Pkcs8(key.clone_key()))?;
            config.alpn_protocols = vec![alpn.to_vec()];
            config.ticketer = ring::Ticketer::new()?;
            configs.push(Arc::new(config));
        }
        Ok(Acceptor { configs })
    }

    pub(crate) fn accept(&self, alpn: &[u8]) -> Result<ServerConnection, Box<dyn Error>> {
        let config = self
            .configs
            .iter()
            .find(|config| config.alpn_protocols[0] == alpn)
            .ok_or("no such protocol")?;
        Ok(ServerConnection::new(config.clone())?)
    }
}
