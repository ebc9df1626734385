//! Authorities, certificates and servers for tests: all of them made on the spot.

#![allow(dead_code, reason = "each test uses what it needs")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    future::poll_fn,
    io::{self, BufRead, ErrorKind, IoSlice, Write},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use httpcore_core_primitives::{
    BoxStream, ConnectionInfo, IdleEvent, NetworkBackend, NetworkStream, TcpOptions,
};
use httpcore_net_mock::{MockNet, ServerHandle, ServerStream};
use httpcore_net_tls::{
    RustlsConnector, TlsError,
    rustls::{
        RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::WebPkiClientVerifier,
    },
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519,
};

/// Signatures of this kind are all of one length, and so handshakes are too.
pub(crate) fn new_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) issuer: Issuer<'static, KeyPair>,
    /// The certificate.
    pub(crate) pem: String,
}

/// A certificate with its key, and what is to be sent along.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
    /// The certificate alone.
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// A root, changed by `change`.
    pub(crate) fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority_params(name);
        change(&mut params);
        let key = new_key();
        let certificate = params.self_signed(&key).unwrap();
        Authority::of(&certificate, params, key)
    }

    /// An authority below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let params = authority_params(name);
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Authority::of(&certificate, params, key)
    }

    fn of(certificate: &Certificate, params: CertificateParams, key: KeyPair) -> Self {
        Authority {
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            pem: certificate.pem(),
        }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    /// A certificate for `names`, changed by `change`.
    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = params(names);
        change(&mut params);
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key,
            pem: certificate.pem(),
        }
    }

    /// A server which shows the authority's own certificate.
    pub(crate) fn as_server(&self) -> ServerConfig {
        let key = self.issuer.key().serialize_der();
        ServerConfig::builder_with_provider(httpcore_net_tls::ring())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![self.certificate.clone()],
                PrivateKeyDer::try_from(key).unwrap(),
            )
            .unwrap()
    }

    /// A connector that trusts this authority only.
    pub(crate) fn connector(&self) -> RustlsConnector {
        self.builder().build().unwrap()
    }

    pub(crate) fn builder(&self) -> httpcore_net_tls::Builder {
        RustlsConnector::builder().root_der(self.certificate.to_vec())
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "a server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

impl Identity {
    /// A self-signed one.
    pub(crate) fn self_signed(names: &[&str]) -> Self {
        let key = new_key();
        let certificate = params(names).self_signed(&key).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key,
            pem: certificate.pem(),
        }
    }

    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    /// A server which shows this.
    pub(crate) fn server(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(httpcore_net_tls::ring())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key_der())
            .unwrap()
    }

    /// A server which shows this, and wants a certificate issued by `authority`.
    pub(crate) fn server_for_clients_of(
        &self,
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), httpcore_net_tls::ring())
                .build()
                .unwrap();
        ServerConfig::builder_with_provider(httpcore_net_tls::ring())
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key_der())
            .unwrap()
    }
}

/// The server's side of TLS over any stream. It is for tests: it looks after neither memory nor
/// wakers of two tasks.
pub(crate) struct ServerTls {
    below: BoxStream,
    pub(crate) tls: ServerConnection,
}

impl ServerTls {
    pub(crate) async fn accept(below: BoxStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let tls = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = ServerTls { below, tls };
        poll_fn(|cx| {
            loop {
                ready!(stream.poll_send(cx))?;
                if !stream.tls.is_handshaking() {
                    return Poll::Ready(Ok::<_, io::Error>(()));
                }
                ready!(stream.poll_feed(cx))?;
            }
        })
        .await?;
        Ok(stream)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut pending = false;
            let mut below = Below(&mut *self.below, cx, &mut pending);
            let sent = self.tls.write_tls(&mut below);
            if pending {
                return Poll::Pending;
            }
            sent?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buf = BytesMut::with_capacity(2048);
        ready!(self.below.poll_read(cx, &mut buf))?;
        let mut rest = &buf[..];
        loop {
            let read = self.tls.read_tls(&mut rest)?;
            if let Err(error) = self.tls.process_new_packets() {
                // The alert.
                let _ = self.poll_send(cx);
                return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, error)));
            }
            if rest.is_empty() || read == 0 {
                break;
            }
        }
        if buf.is_empty() && self.tls.is_handshaking() {
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) async fn read_some(&mut self) -> io::Result<BytesMut> {
        read(self).await
    }

    pub(crate) async fn read_until(&mut self, end: &str) -> io::Result<String> {
        let mut heard = String::new();
        while !heard.ends_with(end) {
            let part = self.read_some().await?;
            if part.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            heard += std::str::from_utf8(&part).unwrap();
        }
        Ok(heard)
    }

    pub(crate) async fn write_all(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        write_all(self, bytes.as_ref()).await
    }

    /// The stream below, for what TLS would never say.
    pub(crate) fn into_below(self) -> BoxStream {
        self.below
    }

    /// Sends a `close_notify`, and closes.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_shutdown(cx)).await
    }
}

struct Below<'a, 'b>(&'a mut dyn NetworkStream, &'a mut Context<'b>, &'a mut bool);

impl Write for Below<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.0.poll_write(self.1, &[IoSlice::new(buf)]) {
            Poll::Ready(written) => written,
            Poll::Pending => {
                *self.2 = true;
                Err(ErrorKind::WouldBlock.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NetworkStream for ServerTls {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_send(cx))?;
            let room = buf.capacity() - buf.len();
            let mut reader = self.tls.reader();
            match reader.fill_buf() {
                Ok(plain) => {
                    let part = plain.len().min(room);
                    buf.extend_from_slice(&plain[..part]);
                    reader.consume(part);
                    return Poll::Ready(Ok(part));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(self.poll_feed(cx))?;
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        Poll::Ready(self.tls.writer().write_vectored(bufs))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.below.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.send_close_notify();
        ready!(self.poll_send(cx))?;
        self.below.poll_shutdown(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        self.below.poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        self.below.info()
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

/// Serves `tls.test:443` with a handshake, and what follows it.
pub(crate) fn serve<F>(
    net: &MockNet,
    config: ServerConfig,
    server: impl Fn(ServerTls) -> F + Clone + Send + Sync + 'static,
) -> ServerHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    let config = Arc::new(config);
    net.serve("tls.test", 443, move |stream: ServerStream| {
        let (config, server) = (config.clone(), server.clone());
        async move {
            if let Ok(stream) = ServerTls::accept(Box::new(stream), config).await {
                server(stream).await;
            }
        }
    })
}

/// A server which waits for its client to leave.
pub(crate) async fn stay(mut stream: ServerTls) {
    while stream
        .read_some()
        .await
        .is_ok_and(|heard| !heard.is_empty())
    {}
}

pub(crate) async fn connect(net: &MockNet) -> io::Result<BoxStream> {
    let address = net.resolve("tls.test", 443).await?[0];
    net.connect_tcp(address, &TcpOptions::default()).await
}

pub(crate) async fn read(stream: &mut dyn NetworkStream) -> io::Result<BytesMut> {
    let mut buf = BytesMut::with_capacity(4096);
    poll_fn(|cx| stream.poll_read(cx, &mut buf)).await?;
    Ok(buf)
}

/// Reads to the end: what came, and how it ended.
pub(crate) async fn read_to_end(stream: &mut dyn NetworkStream) -> (Vec<u8>, io::Result<()>) {
    let mut heard = Vec::new();
    loop {
        match read(stream).await {
            Ok(part) if part.is_empty() => return (heard, Ok(())),
            Ok(part) => heard.extend_from_slice(&part),
            Err(error) => return (heard, Err(error)),
        }
    }
}

pub(crate) async fn write_all(stream: &mut dyn NetworkStream, bytes: &[u8]) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(left)])).await?;
        left = &left[written..];
    }
    poll_fn(|cx| stream.poll_flush(cx)).await
}

/// The TLS error inside of a stream's.
pub(crate) fn tls_error(error: &io::Error) -> TlsError {
    let inner = TlsError::find_in(error);
    inner
        .unwrap_or_else(|| panic!("{error:?} is not TLS's"))
        .clone()
}
