//! TLS over blocking sockets, with a certificate that nobody else has.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// What the server speaks inside, as ALPN names it, what it likes best first.
const PROTOCOLS: &[&[u8]] = if cfg!(feature = "http2") {
    &[b"h2", b"http/1.1"]
} else {
    &[b"http/1.1"]
};

/// Where a server speaks TLS, and whom to trust there.
#[derive(Clone, Debug)]
pub struct TlsDoor {
    pub(crate) addr: SocketAddr,
    pub(crate) certificate: String,
}

impl TlsDoor {
    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// The certificate, as PEM. It has signed itself, and so is its own root; it is for `localhost`
    /// and 127.0.0.1.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }
}

#[derive(Debug)]
pub(crate) struct Acceptor(Arc<ServerConfig>);

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    // Apart from the rest: another thread shuts it down while this one waits in a read.
    tcp: TcpStream,
    tls: Mutex<ServerConnection>,
}

impl Acceptor {
    /// With a new certificate, which is given as PEM.
    pub(crate) fn new() -> io::Result<(Self, String)> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)
            .and_then(|params| params.self_signed(&key))
            .map_err(io::Error::other)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        Ok((Acceptor(Arc::new(config)), certificate.pem()))
    }

    /// The handshake takes place in the first read.
    pub(crate) fn session(&self, tcp: TcpStream) -> io::Result<Session> {
        let tls = ServerConnection::new(self.0.clone()).map_err(io::Error::other)?;
        Ok(Session {
            tcp,
            tls: Mutex::new(tls),
        })
    }
}

impl Session {
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut *self.tls(), &mut &self.tcp).read(buf)
    }

    pub(crate) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut *self.tls(), &mut &self.tcp).write(buf)
    }

    /// RFC 8446 §6.1: who has said everything says so.
    pub(crate) fn say_goodbye(&self) -> io::Result<()> {
        let mut tls = self.tls();
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(&mut &self.tcp)?;
        }
        Ok(())
    }

    /// Held while the thread waits, which nobody minds: it is the only one that asks.
    fn tls(&self) -> MutexGuard<'_, ServerConnection> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
