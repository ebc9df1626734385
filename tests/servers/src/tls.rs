//! Servers which speak TLS, and who vouches for them.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::{Server, folder, left_out, nginx, process::Process};

/// An authority made for one test, and a certificate of its own for 127.0.0.1 and `localhost`.
#[derive(Debug)]
pub struct Authority {
    root: String,
    certificate: PathBuf,
    key: PathBuf,
    both: PathBuf,
    root_file: PathBuf,
    _folder: TempDir,
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
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).map(|()| path)
        };
        Ok(Authority {
            certificate: write("cert.pem", &certificate)?,
            key: write("key.pem", &key)?,
            both: write("both.pem", &format!("{certificate}{key}"))?,
            root_file: write("root.pem", &root)?,
            root,
            _folder: folder,
        })
    }

    /// The root, as PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The same in a file, for other programs.
    pub fn root_file(&self) -> &Path {
        &self.root_file
    }

    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }

    pub(crate) fn key(&self) -> &Path {
        &self.key
    }

    /// Certificate and key in one file.
    pub(crate) fn both(&self) -> &Path {
        &self.both
    }
}

/// A root, and a certificate with its key.
fn make() -> Result<(String, String, String), rcgen::Error> {
    let root_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Other programs take a certificate for self-signed if its issuer has its own name, and rcgen
    // has one name for all who are given none.
    params
        .distinguished_name
        .push(DnType::CommonName, "An authority for one test");
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
/// If it does not start, and `HTTPCORE_LEFT_OUT` does not name it.
pub fn require_nginx_tls(authority: &Authority, version: &str) -> Option<Server> {
    let lines = nginx::tls(authority, version);
    left_out::or_start("nginx", || nginx::start_with(" ssl", &lines))
}

/// Starts `openssl s_server` with one version (`"-tls1_2"` or `"-tls1_3"`), or says that it is left
/// out and returns `None`. It answers every request with a page about the handshake, in which
/// `New` or `Reused` stands, and closes.
///
/// # Panics
///
/// As for [`require_nginx_tls`].
pub fn require_openssl(authority: &Authority, version: &str) -> Option<Server> {
    left_out::or_start("openssl", || openssl(authority, version, "-www", folder()?))
}

/// The same, serving files and nothing else: `/256mib` has that many zero bytes, and ends with the
/// connection.
///
/// # Panics
///
/// As for [`require_nginx_tls`].
pub fn require_openssl_files(authority: &Authority, version: &str) -> Option<Server> {
    left_out::or_start("openssl", || {
        let folder = folder()?;
        File::create(folder.path().join("256mib"))?.set_len(256 << 20)?;
        openssl(authority, version, "-WWW", folder)
    })
}

fn openssl(
    authority: &Authority,
    version: &str,
    serves: &str,
    folder: TempDir,
) -> io::Result<Server> {
    let arguments = [
        // It serves the folder it is in.
        "-C",
        &folder.path().to_string_lossy(),
        "openssl",
        "s_server",
        "-accept",
        "127.0.0.1:0",
        serves,
        version,
        "-cert",
        &authority.certificate.to_string_lossy(),
        "-key",
        &authority.key.to_string_lossy(),
    ];
    let process = Process::start("env", &arguments)?;
    let addr: SocketAddr =
        process.wait_for(|line| line.trim().strip_prefix("ACCEPT ")?.parse().ok())?;
    Ok(Server::new(process, addr, folder))
}
