//! Servers which speak TLS, and who vouches for them.

use std::{
    env, fs,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::{Server, folder, nginx, process::Process};

/// An authority made for one test, and a certificate of its own for 127.0.0.1 and `localhost`.
#[derive(Debug)]
pub struct Authority {
    root: String,
    certificate: PathBuf,
    key: PathBuf,
    _folder: tempfile::TempDir,
}

impl Authority {
    /// Makes both.
    ///
    /// # Errors
    ///
    /// If the files cannot be written.
    pub fn new() -> io::Result<Self> {
        let (root, certificate, key) = make().map_err(io::Error::other)?;
        let folder = folder()?;
        let (at, key_at) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        fs::write(&at, certificate)?;
        fs::write(&key_at, key)?;
        Ok(Authority {
            root,
            certificate: at,
            key: key_at,
            _folder: folder,
        })
    }

    /// The root, as PEM.
    pub fn root(&self) -> &str {
        &self.root
    }
}

/// A root, and a certificate with its key.
fn make() -> Result<(String, String, String), rcgen::Error> {
    let root_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&root_key)?.pem();
    let issuer = Issuer::new(params, root_key);
    let key = KeyPair::generate()?;
    let names = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    Ok((root, certificate.pem(), key.serialize_pem()))
}

/// Starts nginx, as [`Kind::Nginx`](crate::Kind::Nginx) describes it, over TLS of one version
/// (`"TLSv1.2"` or `"TLSv1.3"`), or says that it is left out and returns `None`.
///
/// # Panics
///
/// If it does not start, and nobody has said in `HTTPCORE_LEFT_OUT` that it would not.
pub fn require_nginx_tls(authority: &Authority, version: &str) -> Option<Server> {
    let lines = format!(
        "        ssl_certificate {};\n        ssl_certificate_key {};\n        \
         ssl_protocols {version};\n        ssl_session_cache shared:tls:1m;\n",
        authority.certificate.display(),
        authority.key.display()
    );
    require("nginx", || nginx::start_with(" ssl", &lines))
}

/// Starts `openssl s_server` with one version (`"-tls1_2"` or `"-tls1_3"`), or says that it is left
/// out and returns `None`. It answers every request with a page about the handshake, in which
/// `New` or `Reused` stands, and closes.
///
/// # Panics
///
/// As for [`require_nginx_tls`].
pub fn require_openssl(authority: &Authority, version: &str) -> Option<Server> {
    require("openssl", || openssl(authority, version))
}

fn openssl(authority: &Authority, version: &str) -> io::Result<Server> {
    let (certificate, key) = (
        authority.certificate.to_string_lossy(),
        authority.key.to_string_lossy(),
    );
    let arguments = [
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-www",
        version,
        "-cert",
        &certificate,
        "-key",
        &key,
    ];
    let process = Process::start("openssl", &arguments)?;
    let addr: SocketAddr =
        process.wait_for(|line| line.trim().strip_prefix("ACCEPT ")?.parse().ok())?;
    Ok(Server {
        process,
        addr,
        unix: None,
        folder: folder()?,
    })
}

fn require(name: &str, start: impl FnOnce() -> io::Result<Server>) -> Option<Server> {
    let left_out = env::var("HTTPCORE_LEFT_OUT").unwrap_or_default();
    if left_out.split(',').any(|left_out| left_out == name) {
        let _ = writeln!(io::stdout(), "LEFT OUT: {name} is not here");
        return None;
    }
    match start() {
        Ok(server) => Some(server),
        Err(error) => {
            panic!("{name} does not start: {error}\n`cargo xtask interop` installs what is missing")
        }
    }
}
