//! The connector and its configuration.

use std::{fmt, io, path::Path, sync::Arc};

use httpcore_core_primitives::{Alpn, BoxFuture, BoxStream, TlsConnector};
use rustls::{
    ClientConfig, KeyLog, KeyLogFile, RootCertStore, SupportedProtocolVersion,
    client::{Resumption, VerifierBuilderError, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName},
};

use crate::{
    error::{ConfigError, TlsError, TlsErrorKind},
    name, pem, provider,
    session::Session,
    stream::TlsStream,
    unchecked::AcceptsAnyCertificate,
};

/// Performs TLS handshakes over any stream.
///
/// A clone shares the configuration and the session cache.
#[derive(Clone)]
pub struct RustlsConnector {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl RustlsConnector {
    /// Returns a builder with default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns a connector with a complete rustls configuration. Each handshake replaces its ALPN
    /// protocols; everything else is used as it is.
    pub fn with_config(config: Arc<ClientConfig>) -> Self {
        RustlsConnector {
            config,
            server_name: None,
        }
    }

    /// Returns a connector with the same configuration and session cache that uses `server_name` in
    /// every handshake, in place of the host.
    ///
    /// # Errors
    ///
    /// If it is neither a name nor an address.
    pub fn with_server_name(&self, server_name: &str) -> Result<Self, ConfigError> {
        let Some(server_name) = name::parse(server_name) else {
            return Err(ConfigError::new(
                "invalid server name: neither a DNS name nor an address",
            ));
        };
        Ok(RustlsConnector {
            config: self.config.clone(),
            server_name: Some(server_name),
        })
    }

    /// Performs a handshake over `stream`. As [`TlsConnector::handshake`], with the concrete type.
    ///
    /// `server_name` is a name or an address; an address is checked against the addresses of the
    /// certificate, and not sent (RFC 6066 §3). `offer` lists the ALPN protocols. Dropping the future
    /// closes `stream`.
    ///
    /// # Errors
    ///
    /// Errors of the stream, and errors with a [`TlsError`] inside.
    pub fn connect(
        &self,
        stream: BoxStream,
        server_name: &str,
        offer: &[Alpn],
    ) -> impl Future<Output = io::Result<TlsStream>> + Send + 'static + use<> {
        let config = self.config.clone();
        let name = match &self.server_name {
            Some(name) => Some(name.clone()),
            None => name::parse(server_name),
        };
        let name = name.ok_or_else(|| TlsError::new(TlsErrorKind::BadName(server_name.to_owned())));
        let offer = offer.to_vec();
        async move {
            let session = match name {
                Ok(name) => Session::new(config, name, &offer),
                Err(error) => Err(error),
            };
            TlsStream::connect(stream, session.map_err(TlsError::into_io)?).await
        }
    }
}

impl TlsConnector for RustlsConnector {
    fn handshake(
        &self,
        stream: BoxStream,
        server_name: &str,
        offer: &[Alpn],
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        let connecting = self.connect(stream, server_name, offer);
        Box::pin(async move { Ok(Box::new(connecting.await?) as BoxStream) })
    }
}

impl fmt::Debug for RustlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RustlsConnector")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// A version of TLS. Older ones are deprecated (RFC 8996) and not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// RFC 5246
    Tls12,
    /// RFC 8446
    Tls13,
}

/// Configuration of a [`RustlsConnector`]. Every setting has a default.
///
/// Files are read and roots are parsed in these methods and in [`build`](Self::build), not during
/// handshakes: build one connector, before the event loop runs.
#[must_use]
pub struct Builder {
    provider: Option<Arc<CryptoProvider>>,
    trust: Trust,
    own_roots: Vec<CertificateDer<'static>>,
    revocation_lists: Vec<CertificateRevocationListDer<'static>>,
    allows_unknown_revocation: bool,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    min_version: TlsVersion,
    max_version: TlsVersion,
    key_log: Option<Arc<dyn KeyLog>>,
    sends_sni: bool,
    session_cache_size: usize,
}

/// The trusted roots.
#[derive(Clone)]
enum Trust {
    /// The added roots, or the compiled-in ones if none were added.
    Default,
    /// The compiled-in roots and the added ones.
    #[cfg(feature = "webpki-roots")]
    Webpki,
    /// The roots of the operating system and the added ones.
    #[cfg(feature = "platform-verifier")]
    Platform,
    Verifier(Arc<dyn ServerCertVerifier>),
    AnyCertificate,
}

impl Trust {
    /// Returns whether this crate builds the verifier, so that revocation lists can be used.
    fn takes_revocation_lists(&self) -> bool {
        match self {
            Trust::Default => true,
            #[cfg(feature = "webpki-roots")]
            Trust::Webpki => true,
            #[cfg(feature = "platform-verifier")]
            Trust::Platform => false,
            Trust::Verifier(_) | Trust::AnyCertificate => false,
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            provider: None,
            trust: Trust::Default,
            own_roots: Vec::new(),
            revocation_lists: Vec::new(),
            allows_unknown_revocation: false,
            identity: None,
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            key_log: None,
            sends_sni: true,
            // Number of servers of a busy client; a session takes a few kilobytes.
            session_cache_size: 256,
        }
    }
}

impl Builder {
    /// Uses this provider of cryptography instead of that of a feature.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Trusts this root. Added roots replace the default ones, unless those are enabled explicitly.
    pub fn root_der(mut self, certificate: impl Into<Vec<u8>>) -> Self {
        self.own_roots.push(certificate.into().into());
        self
    }

    /// Trusts every certificate in this text; see [`root_der`](Self::root_der).
    ///
    /// # Errors
    ///
    /// If there is none, or one cannot be parsed.
    pub fn root_pem(mut self, text: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        self.own_roots.extend(pem::certificates(text.as_ref())?);
        Ok(self)
    }

    /// Trusts every certificate in this file; see [`root_der`](Self::root_der).
    ///
    /// # Errors
    ///
    /// If it cannot be read, or holds none.
    pub fn root_pem_file(self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        self.root_pem(read(path)?)
            .map_err(|error| error.in_file(path))
    }

    /// Trusts Mozilla's list, which is compiled in, and the added roots. The default if no roots are
    /// added.
    #[cfg(feature = "webpki-roots")]
    pub fn webpki_roots(mut self) -> Self {
        self.trust = Trust::Webpki;
        self
    }

    /// Trusts the roots of the operating system and the added roots.
    #[cfg(feature = "platform-verifier")]
    pub fn platform_roots(mut self) -> Self {
        self.trust = Trust::Platform;
        self
    }

    /// Rejects certificates that are on this revocation list (RFC 5280 §5), signed by their issuer.
    ///
    /// Once there is a list, every certificate of a chain below its root must be covered: one whose
    /// issuer has no list, or an expired one, is rejected too, unless
    /// [`allow_unknown_revocation`](Self::allow_unknown_revocation) is set. Lists are not fetched: to
    /// use new ones, build a new connector. They cannot be combined with
    /// [`verifier`](Self::verifier) or with the roots of the operating system.
    pub fn revocation_list_der(mut self, list: impl Into<Vec<u8>>) -> Self {
        self.revocation_lists.push(list.into().into());
        self
    }

    /// Like [`revocation_list_der`](Self::revocation_list_der), for every list in this text.
    ///
    /// # Errors
    ///
    /// If there is none, or one cannot be parsed.
    pub fn revocation_lists_pem(mut self, text: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        self.revocation_lists
            .extend(pem::revocation_lists(text.as_ref())?);
        Ok(self)
    }

    /// Like [`revocation_list_der`](Self::revocation_list_der), for every list in this file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or holds none.
    pub fn revocation_lists_pem_file(self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        self.revocation_lists_pem(read(path)?)
            .map_err(|error| error.in_file(path))
    }

    /// Accepts certificates whose issuer has no revocation list, and uses expired lists.
    pub fn allow_unknown_revocation(mut self) -> Self {
        self.allows_unknown_revocation = true;
        self
    }

    /// Verifies certificates with `verifier`; added roots are ignored.
    pub fn verifier(mut self, verifier: Arc<dyn ServerCertVerifier>) -> Self {
        self.trust = Trust::Verifier(verifier);
        self
    }

    /// Accepts any certificate. An attacker on the path can read and change everything: only for tests
    /// on the local machine.
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.trust = Trust::AnyCertificate;
        self
    }

    /// Sends this certificate to servers that request one. The chain begins with the client's own
    /// certificate; the key is PKCS #8, PKCS #1 or SEC 1.
    ///
    /// # Errors
    ///
    /// If the key is none of these.
    pub fn client_certificate_der(
        mut self,
        chain: impl IntoIterator<Item = Vec<u8>>,
        key: Vec<u8>,
    ) -> Result<Self, ConfigError> {
        let key = PrivateKeyDer::try_from(key).map_err(ConfigError::new)?;
        self.identity = Some((chain.into_iter().map(Into::into).collect(), key));
        Ok(self)
    }

    /// Like [`client_certificate_der`](Self::client_certificate_der), from PEM. Both may be in the
    /// same text.
    ///
    /// # Errors
    ///
    /// If the chain or the key cannot be read.
    pub fn client_certificate_pem(
        mut self,
        chain: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, ConfigError> {
        self.identity = Some((pem::certificates(chain.as_ref())?, pem::key(key.as_ref())?));
        Ok(self)
    }

    /// Like [`client_certificate_pem`](Self::client_certificate_pem), from files. Both may be the
    /// same file.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read.
    pub fn client_certificate_pem_files(
        mut self,
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, ConfigError> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        self.identity = Some((
            pem::certificates(&read(chain)?).map_err(|error| error.in_file(chain))?,
            pem::key(&read(key)?).map_err(|error| error.in_file(key))?,
        ));
        Ok(self)
    }

    /// Minimum version; TLS 1.2 by default.
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.min_version = version;
        self
    }

    /// Maximum version; TLS 1.3 by default.
    pub fn max_version(mut self, version: TlsVersion) -> Self {
        self.max_version = version;
        self
    }

    /// Passes the secrets of every connection to `log`.
    pub fn key_log(mut self, log: Arc<dyn KeyLog>) -> Self {
        self.key_log = Some(log);
        self
    }

    /// Appends the secrets of every connection to the file named by the environment variable
    /// `SSLKEYLOGFILE`, if it is set, in the form that packet analysers read.
    pub fn key_log_from_environment(self) -> Self {
        self.key_log(Arc::new(KeyLogFile::new()))
    }

    /// Does not send the server name (SNI, RFC 6066 §3). The certificate is verified against it all the
    /// same.
    pub fn without_sni(mut self) -> Self {
        self.sends_sni = false;
        self
    }

    /// Maximum number of servers whose sessions are cached for resumption; 256 by default, 0 disables
    /// resumption. Beyond it, the least recently used are dropped.
    pub fn session_cache_size(mut self, servers: usize) -> Self {
        self.session_cache_size = servers;
        self
    }

    /// Builds the connector.
    ///
    /// # Errors
    ///
    /// If there is no provider of cryptography, no root, no version left, or a client certificate that
    /// does not match its key.
    pub fn build(self) -> Result<RustlsConnector, ConfigError> {
        let provider = self
            .provider
            .clone()
            .or_else(provider::of_features)
            .ok_or_else(|| {
                ConfigError::new("no provider of cryptography: enable a feature, or set a provider")
            })?;
        let versions = self.versions();
        let verifier = self.build_verifier(&provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| {
                ConfigError::because(
                    "the provider of cryptography does not support the TLS versions",
                    error,
                )
            })?
            // As safe as the verifier; the default one is that of rustls.
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match self.identity {
            None => config.with_no_client_auth(),
            Some((chain, key)) => config
                .with_client_auth_cert(chain, key)
                .map_err(|error| ConfigError::because("invalid client certificate", error))?,
        };
        if let Some(log) = self.key_log {
            config.key_log = log;
        }
        config.enable_sni = self.sends_sni;
        config.resumption = match self.session_cache_size {
            0 => Resumption::disabled(),
            servers => Resumption::in_memory_sessions(servers),
        };
        // RFC 8446 §8: early data can be replayed by an attacker.
        config.enable_early_data = false;
        Ok(RustlsConnector::with_config(Arc::new(config)))
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        [
            (TlsVersion::Tls13, &rustls::version::TLS13),
            (TlsVersion::Tls12, &rustls::version::TLS12),
        ]
        .into_iter()
        .filter(|(version, _)| (self.min_version..=self.max_version).contains(version))
        .map(|(_, version)| version)
        .collect()
    }

    fn build_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
        let has_lists = !self.revocation_lists.is_empty();
        if has_lists && !self.trust.takes_revocation_lists() {
            return Err(ConfigError::new(
                "revocation lists cannot be combined with a verifier or with the system's roots",
            ));
        }
        let with_compiled_in = match &self.trust {
            Trust::Default => self.own_roots.is_empty(),
            #[cfg(feature = "webpki-roots")]
            Trust::Webpki => true,
            #[cfg(feature = "platform-verifier")]
            Trust::Platform => {
                let roots = self.own_roots.iter().cloned();
                let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(
                    roots,
                    provider.clone(),
                )
                .map_err(|error| ConfigError::because("cannot use the system's roots", error))?;
                return Ok(Arc::new(verifier));
            }
            Trust::Verifier(verifier) => return Ok(verifier.clone()),
            Trust::AnyCertificate => return Ok(Arc::new(AcceptsAnyCertificate(provider.clone()))),
        };
        let roots = self.roots(with_compiled_in)?;
        let mut verifier_builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .with_crls(self.revocation_lists.iter().cloned());
        if self.allows_unknown_revocation {
            verifier_builder = verifier_builder.allow_unknown_revocation_status();
        } else {
            // Otherwise an attacker with an old list can hide later revocations.
            verifier_builder = verifier_builder.enforce_revocation_expiration();
        }
        let verifier = verifier_builder.build().map_err(|error| {
            ConfigError::because(
                match error {
                    VerifierBuilderError::InvalidCrl(_) => "invalid revocation list",
                    _ => "no trusted roots",
                },
                error,
            )
        })?;
        Ok(verifier)
    }

    fn roots(&self, with_compiled_in: bool) -> Result<RootCertStore, ConfigError> {
        let mut roots = RootCertStore::empty();
        #[cfg(feature = "webpki-roots")]
        if with_compiled_in {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        #[cfg(not(feature = "webpki-roots"))]
        let _ = with_compiled_in;
        for root in &self.own_roots {
            roots
                .add(root.clone())
                .map_err(|error| ConfigError::because("invalid root certificate", error))?;
        }
        Ok(roots)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path)
        .map_err(|error| ConfigError::because("cannot read file", error).in_file(path))
}

/// Prints no keys.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("own_roots", &self.own_roots.len())
            .field("revocation_lists", &self.revocation_lists.len())
            .field("has_client_certificate", &self.identity.is_some())
            .field("min_version", &self.min_version)
            .field("max_version", &self.max_version)
            .finish_non_exhaustive()
    }
}
