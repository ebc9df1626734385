//! TLS over blocking sockets, with a certificate made for this process.

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
    pub(crate) fn send_close_notify(&self) -> io::Result<()> {
        let mut tls = self.tls();
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(&mut &self.tcp)?;
        }
        Ok(())
    }

    /// Held while the thread waits: no other thread takes it.
    fn tls(&self) -> MutexGuard<'_, ServerConnection> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, StreamOwned,
        pki_types::{CertificateDer, pem::PemObject},
    };

    use super::*;
    use crate::Origin;

    type Client = StreamOwned<ClientConnection, TcpStream>;

    fn tcp(door: &TlsDoor) -> TcpStream {
        let stream = TcpStream::connect(door.addr()).unwrap();
        // A bound on hanging, not a measurement.
        let patience = Duration::from_secs(30);
        stream.set_read_timeout(Some(patience)).unwrap();
        stream
    }

    fn connect(door: &TlsDoor, root: &str, protocols: &[&[u8]]) -> Client {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let name = "localhost".try_into().unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(client, tcp(door))
    }

    const GET: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    #[test]
    fn server_answers_over_tls_and_sends_close_notify() {
        let mut origin = Origin::start().unwrap();
        let door = origin.listen_tls().unwrap();
        let mut client = connect(&door, door.certificate(), &[b"http/1.1"]);
        client.write_all(GET).unwrap();
        let mut answer = String::new();
        // rustls fails here if the end is not announced.
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nHello, world!\n"), "{answer}");
        assert_eq!(client.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(origin.listen_tls().is_err(), "one is enough");
    }

    #[test]
    fn what_it_likes_best_is_chosen_of_what_the_client_speaks() {
        let mut origin = Origin::start().unwrap();
        let door = origin.listen_tls().unwrap();
        let mut client = connect(&door, door.certificate(), &[b"http/1.1", b"h2"]);
        client.conn.complete_io(&mut client.sock).unwrap();
        assert_eq!(client.conn.alpn_protocol(), Some(PROTOCOLS[0]));
    }

    #[test]
    fn who_trusts_another_refuses_it() {
        let (mut origin, mut other) = (Origin::start().unwrap(), Origin::start().unwrap());
        let (door, another) = (origin.listen_tls().unwrap(), other.listen_tls().unwrap());
        let mut client = connect(&door, another.certificate(), &[]);
        assert!(client.write_all(GET).is_err());
    }

    #[test]
    fn stopping_ends_handshakes_that_have_not_begun() {
        let mut origin = Origin::start().unwrap();
        let door = origin.listen_tls().unwrap();
        let mut silent = tcp(&door);
        drop(origin);
        match silent.read(&mut [0; 1]) {
            Ok(size) => assert_eq!(size, 0),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
}
