//! Weak keys, weak signatures and old versions of TLS, made and served by the `openssl` program:
//! rustls makes none of them.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use httpcore::{
    ConnectionPool, Error, ErrorKind, EventLoop, Timeouts,
    error::{ErrorPhase, Fault},
    tls::RustlsConnector,
};
use httpcore_net_tls::{TlsError, TlsErrorKind};

/// Time limit of a request: a bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the `openssl` program can be run. If not, says so on standard output itself, which the
/// test harness does not capture, so that the skipped test is seen and `cargo xtask test` counts it.
///
/// # Panics
///
/// If it cannot be run although `HTTPCORE_REQUIRE` names it, as `cargo xtask test` sets it.
fn has_openssl() -> bool {
    let names = |variable| {
        let value = env::var(variable).unwrap_or_default();
        value.split(',').any(|name| name == "openssl")
    };
    let why = if names("HTTPCORE_LEFT_OUT") {
        "left out by HTTPCORE_LEFT_OUT".to_owned()
    } else {
        match Command::new("openssl").arg("version").output() {
            Ok(_) => return true,
            Err(error) => error.to_string(),
        }
    };
    let is_required = names("HTTPCORE_REQUIRE") && !names("HTTPCORE_LEFT_OUT");
    assert!(
        !is_required,
        "the openssl program is required here and cannot be run: {why}"
    );
    let _ = writeln!(
        io::stdout(),
        "SKIPPED: 1 test needs the openssl program: {why}"
    );
    false
}

/// Runs `openssl` in `folder`.
///
/// # Panics
///
/// If it fails.
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "openssl {arguments}: {output:?}");
}

/// Makes a folder with a root and a certificate for 127.0.0.1 with this key, signed with this hash.
fn certificates(key: &str, hash: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(
        at.join("names"),
        "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    openssl(
        at,
        "req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -subj /CN=root -days 2",
    );
    openssl(
        at,
        &format!("req -new -newkey {key} -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf"),
    );
    openssl(
        at,
        &format!(
            "x509 -req -in leaf.csr -CA root.pem -CAkey root.key -CAcreateserial -{hash} \
             -extfile names -days 2 -out leaf.pem"
        ),
    );
    folder
}

/// `openssl s_server`, killed on drop.
struct Server {
    process: Child,
    addr: String,
    /// Kept open, since the server goes on writing.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts a server with the certificate in `folder` that accepts weak cryptography.
    fn start(folder: &Path, options: &str) -> Self {
        let mut process = Command::new("openssl")
            .args("s_server -accept 127.0.0.1:0 -www -cert leaf.pem -key leaf.key".split(' '))
            .args(["-cipher", "ALL:@SECLEVEL=0"])
            .args(options.split(' '))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let addr =
            lines.find_map(|line| Some(line.ok()?.trim().strip_prefix("ACCEPT ")?.to_owned()));
        let server = Server {
            process,
            addr: addr.unwrap_or_default(),
            _output: lines,
        };
        assert!(
            !server.addr.is_empty(),
            "openssl s_server {options} does not start"
        );
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(folder: &Path, options: &str) -> Result<http::StatusCode, Error> {
    let server = Server::start(folder, options);
    let connector = RustlsConnector::builder()
        .root_pem_file(folder.join("root.pem"))
        .unwrap();
    let epoll = EventLoop::new().unwrap();
    let pool = ConnectionPool::builder()
        .timeouts(Timeouts::default().with_total(PATIENCE))
        .tls(Arc::new(connector.build().unwrap()))
        .build(epoll.backend());
    epoll.block_on(async {
        let response = pool.get(format!("https://{}/", server.addr)).await?;
        let status = response.status();
        response.into_body().bytes(1 << 20).await?;
        Ok(status)
    })
}

#[test]
fn weak_keys_weak_signatures_and_old_versions_are_refused() {
    if !has_openssl() {
        return;
    }
    let good = certificates("rsa:2048", "sha256");
    let weak_key = certificates("rsa:1024", "sha256");
    let weak_signature = certificates("rsa:2048", "sha1");
    // The same server with a good certificate, so that the others fail for no other reason.
    for version in ["-tls1_2", "-tls1_3"] {
        assert_eq!(get(good.path(), version).unwrap(), 200, "{version}");
    }
    let too_old = TlsErrorKind::Alert("protocol_version".to_owned());
    for (what, folder, version, refusal) in [
        (
            "RSA of 1024 bits",
            &weak_key,
            "-tls1_2",
            TlsErrorKind::BadCertificate,
        ),
        (
            "RSA of 1024 bits",
            &weak_key,
            "-tls1_3",
            TlsErrorKind::BadCertificate,
        ),
        (
            "SHA-1",
            &weak_signature,
            "-tls1_2",
            TlsErrorKind::WeakSignature,
        ),
        (
            "SHA-1",
            &weak_signature,
            "-tls1_3",
            TlsErrorKind::WeakSignature,
        ),
        ("TLS 1.0", &good, "-tls1", too_old.clone()),
        ("TLS 1.1", &good, "-tls1_1", too_old),
    ] {
        let error = get(folder.path(), version).unwrap_err();
        let facts = (error.kind(), error.phase(), error.fault());
        assert_eq!(
            facts,
            (ErrorKind::Tls, ErrorPhase::Tls, Fault::Peer),
            "{what}: {error:?}"
        );
        let tls = TlsError::find_in(&error).unwrap();
        assert_eq!(tls.kind(), &refusal, "{what}, {version}: {error:?}");
    }
}
