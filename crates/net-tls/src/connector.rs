//! What a handshake is made with.

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

/// Puts TLS on top of any stream.
///
/// Cloning it yields another handle to the same configuration and the same remembered sessions.
#[derive(Clone)]
pub struct RustlsConnector {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl RustlsConnector {
    /// What may be set before a connector is made.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A connector with a whole configuration of one's own. Its ALPN protocols are replaced by
    /// what each handshake offers; everything else is taken as it is.
    pub fn with_config(config: Arc<ClientConfig>) -> Self {
        RustlsConnector {
            config,
            server_name: None,
        }
    }

    /// The same, with the same remembered sessions, asking for `server_name` in every handshake
    /// whatever host it is for.
    ///
    /// # Errors
    ///
    /// If it is neither a name nor an address.
    pub fn with_server_name(&self, server_name: &str) -> Result<Self, ConfigError> {
        let Some(server_name) = name::parse(server_name) else {
            return Err(ConfigError::new(
                "the server name is neither a name nor an address",
            ));
        };
        Ok(RustlsConnector {
            config: self.config.clone(),
            server_name: Some(server_name),
        })
    }

    /// Performs a handshake on `stream`; [`TlsConnector::handshake`] with its type kept.
    ///
    /// `server_name` is a name or an address; an address is checked against the addresses of the
    /// certificate, and never sent (RFC 6066 §3). `offer` is what ALPN offers. Dropping the future
    /// closes `stream`.
    ///
    /// # Errors
    ///
    /// The stream's own; or one whose inner error is a [`TlsError`].
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
            let session = name.and_then(|name| Session::new(config, name, &offer));
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

/// A version of TLS. There are no others worth speaking (RFC 8996).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// RFC 5246
    Tls12,
    /// RFC 8446
    Tls13,
}

/// What may be set before a [`RustlsConnector`] is made. Every setting has a default.
///
/// Files are read and roots are parsed when they are named or in [`build`](Self::build), and not
/// by any handshake: make the connector before the loop, and once.
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

/// Whom to believe.
#[derive(Clone)]
enum Trust {
    /// The roots which were added, or the ones compiled in if there are none.
    Default,
    /// Those compiled in, and the ones which were added.
    #[cfg(feature = "webpki-roots")]
    Webpki,
    /// The operating system, and the roots which were added.
    #[cfg(feature = "platform-verifier")]
    Platform,
    Verifier(Arc<dyn ServerCertVerifier>),
    Anybody,
}

impl Trust {
    /// Whether certificates are judged here, with everything that takes.
    fn takes_revocation_lists(&self) -> bool {
        match self {
            Trust::Default => true,
            #[cfg(feature = "webpki-roots")]
            Trust::Webpki => true,
            #[cfg(feature = "platform-verifier")]
            Trust::Platform => false,
            Trust::Verifier(_) | Trust::Anybody => false,
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
            // As many servers as a busy client talks to; a session is a few kilobytes.
            session_cache_size: 256,
        }
    }
}

impl Builder {
    /// Takes the cryptography from here instead of from a feature.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Trusts this root. Where roots are added and nothing else is asked for, they are the only
    /// ones.
    pub fn root_der(mut self, certificate: impl Into<Vec<u8>>) -> Self {
        self.own_roots.push(certificate.into().into());
        self
    }

    /// Trusts every certificate in this text; see [`root_der`](Self::root_der).
    ///
    /// # Errors
    ///
    /// If there is none, or one cannot be read.
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

    /// Trusts Mozilla's list, which is compiled in, besides the roots which were added. The
    /// default, where no roots are added.
    #[cfg(feature = "webpki-roots")]
    pub fn webpki_roots(mut self) -> Self {
        self.trust = Trust::Webpki;
        self
    }

    /// Trusts whatever the operating system trusts, besides the roots which were added.
    #[cfg(feature = "platform-verifier")]
    pub fn platform_roots(mut self) -> Self {
        self.trust = Trust::Platform;
        self
    }

    /// Refuses certificates which are on this revocation list (RFC 5280 §5), signed by whoever
    /// issued them.
    ///
    /// With the first list, every certificate of a chain below its root must be looked up: one whose
    /// issuer has no list here, or one whose time is over, is refused too, unless
    /// [`allow_unknown_revocation`](Self::allow_unknown_revocation) says otherwise. Lists are never
    /// fetched: whoever has new ones builds a new connector. They are for roots from here, and go
    /// neither with [`verifier`](Self::verifier) nor with the operating system's roots.
    pub fn revocation_list_der(mut self, list: impl Into<Vec<u8>>) -> Self {
        self.revocation_lists.push(list.into().into());
        self
    }

    /// As [`revocation_list_der`](Self::revocation_list_der), for every list in this text.
    ///
    /// # Errors
    ///
    /// If there is none, or one cannot be read.
    pub fn revocation_lists_pem(mut self, text: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        self.revocation_lists
            .extend(pem::revocation_lists(text.as_ref())?);
        Ok(self)
    }

    /// As [`revocation_list_der`](Self::revocation_list_der), for every list in this file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or holds none.
    pub fn revocation_lists_pem_file(self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        self.revocation_lists_pem(read(path)?)
            .map_err(|error| error.in_file(path))
    }

    /// Lets certificates pass for whose issuer there is no revocation list, and takes lists whose
    /// time is over for what they are.
    pub fn allow_unknown_revocation(mut self) -> Self {
        self.allows_unknown_revocation = true;
        self
    }

    /// Leaves it to `verifier` whom to trust; roots which were added are not looked at.
    pub fn verifier(mut self, verifier: Arc<dyn ServerCertVerifier>) -> Self {
        self.trust = Trust::Verifier(verifier);
        self
    }

    /// Trusts anybody. Whoever is in between can read and change everything; for tests against
    /// one's own machine at best.
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.trust = Trust::Anybody;
        self
    }

    /// Shows this certificate to servers which ask for one. The chain begins with the client's own
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

    /// As [`client_certificate_der`](Self::client_certificate_der), from text. Both may stand in
    /// the same text.
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

    /// As [`client_certificate_pem`](Self::client_certificate_pem), from files. Both may be the
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

    /// Speaks nothing older than this; TLS 1.2 by default.
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.min_version = version;
        self
    }

    /// Speaks nothing newer than this; TLS 1.3 by default.
    pub fn max_version(mut self, version: TlsVersion) -> Self {
        self.max_version = version;
        self
    }

    /// Tells `log` the secrets of every connection.
    pub fn key_log(mut self, log: Arc<dyn KeyLog>) -> Self {
        self.key_log = Some(log);
        self
    }

    /// Appends the secrets of every connection to the file named by the environment variable
    /// `SSLKEYLOGFILE`, if it is set, in the form that packet analysers read.
    pub fn key_log_from_environment(self) -> Self {
        self.key_log(Arc::new(KeyLogFile::new()))
    }

    /// Does not tell servers the name they are asked for (SNI, RFC 6066 §3). What their
    /// certificate must be for is another matter, and stays.
    pub fn without_sni(mut self) -> Self {
        self.sends_sni = false;
        self
    }

    /// How many servers' sessions are remembered for resumption; 256 by default, 0 turns it off.
    pub fn session_cache_size(mut self, servers: usize) -> Self {
        self.session_cache_size = servers;
        self
    }

    /// The connector.
    ///
    /// # Errors
    ///
    /// If there is no cryptography, no root, no version left, or a certificate that does not fit
    /// its key.
    pub fn build(self) -> Result<RustlsConnector, ConfigError> {
        let provider = self
            .provider
            .clone()
            .or_else(provider::of_features)
            .ok_or_else(|| {
                ConfigError::new("no cryptography: turn on a feature, or bring a provider")
            })?;
        let versions = self.versions();
        let verifier = self.judge(&provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| {
                ConfigError::because("the versions and the cryptography do not fit", error)
            })?
            // Safe as long as the verifier is; the default one is rustls' own.
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match self.identity {
            None => config.with_no_client_auth(),
            Some((chain, key)) => config.with_client_auth_cert(chain, key).map_err(|error| {
                ConfigError::because("the client certificate cannot be used", error)
            })?,
        };
        if let Some(log) = self.key_log {
            config.key_log = log;
        }
        config.enable_sni = self.sends_sni;
        config.resumption = match self.session_cache_size {
            0 => Resumption::disabled(),
            servers => Resumption::in_memory_sessions(servers),
        };
        // RFC 8446 §8: early data can be replayed by whoever sees it.
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

    fn judge(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
        let has_lists = !self.revocation_lists.is_empty();
        if has_lists && !self.trust.takes_revocation_lists() {
            return Err(ConfigError::new(
                "revocation lists are for roots which are named here, and for no other judge",
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
                .map_err(|error| {
                    ConfigError::because("the system's roots cannot be used", error)
                })?;
                return Ok(Arc::new(verifier));
            }
            Trust::Verifier(verifier) => return Ok(verifier.clone()),
            Trust::Anybody => return Ok(Arc::new(AcceptsAnyCertificate(provider.clone()))),
        };
        let roots = self.roots(with_compiled_in)?;
        let mut judge =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .with_crls(self.revocation_lists.iter().cloned());
        if self.allows_unknown_revocation {
            judge = judge.allow_unknown_revocation_status();
        } else {
            // Otherwise whoever can hand out an old list can hide what was revoked since.
            judge = judge.enforce_revocation_expiration();
        }
        let verifier = judge.build().map_err(|error| {
            ConfigError::because(
                match error {
                    VerifierBuilderError::InvalidCrl(_) => "a revocation list cannot be read",
                    _ => "there are no roots to trust",
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
                .map_err(|error| ConfigError::because("a root is not a certificate", error))?;
        }
        Ok(roots)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path)
        .map_err(|error| ConfigError::because("the file cannot be read", error).in_file(path))
}

/// Keys do not print.
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
