//! What nobody should believe any more, made and served by OpenSSL: rustls makes none of it.

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

/// How long a test waits for what must come: a bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether OpenSSL may be asked for; says so aloud if somebody has said that it is not here.
fn has_openssl() -> bool {
    let left_out = env::var("HTTPCORE_LEFT_OUT").unwrap_or_default();
    let is_left_out = left_out.split(',').any(|name| name == "openssl");
    if is_left_out {
        let _ = writeln!(io::stdout(), "LEFT OUT: openssl is not here");
    }
    !is_left_out
}

/// Runs `openssl` in `folder`.
///
/// # Panics
///
/// If it is missing, or fails.
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| {
            panic!("openssl is needed ({error}); HTTPCORE_LEFT_OUT=openssl leaves it out")
        });
    assert!(output.status.success(), "openssl {arguments}: {output:?}");
}

/// A folder with a root, and a certificate for 127.0.0.1 with this key, signed with this hash.
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

/// `openssl s_server`, until it is dropped.
struct Server {
    process: Child,
    addr: String,
    /// Kept open: it goes on talking.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// One which shows what is in `folder`, and is not ashamed of anything.
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
    // The same server with nothing wrong: it is not for anything else that the others fail.
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
