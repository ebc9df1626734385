//! `httpcore get` of `https` URLs, run as a process against a server on loopback.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    thread,
};

use httpcore::tls::{
    ring,
    rustls::{
        RootCertStore, ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer,
        server::WebPkiClientVerifier,
    },
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Names and files: an authority, a certificate of its own for a server and one for a client.
struct World {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    root: rcgen::Certificate,
}

impl World {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let world = World {
            folder: tempfile::tempdir().unwrap(),
            issuer: Issuer::new(params, key),
            root,
        };
        world.write("root.pem", world.root.pem());
        let (certificate, key) = world.issue("client.test");
        world.write("client.pem", certificate.pem());
        world.write("client.key", key.serialize_pem());
        world.write("both.pem", certificate.pem() + &key.serialize_pem());
        world
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: String) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Serves for as long as the test runs, with a certificate for `name`. A response has the
    /// name in SNI, the `Host` field, and whether there was a client's certificate.
    fn serve(&self, name: &str, wants_client: bool) -> SocketAddr {
        let (certificate, key) = self.issue(name);
        let builder = ServerConfig::builder_with_provider(ring())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if wants_client {
            let mut roots = RootCertStore::empty();
            roots.add(self.root.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), ring());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tls = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(tls, stream);
                // Clients that refuse leave in the middle of a handshake; one which is refused must
                // be heard out, or what it has sent would break the connection before it has heard
                // why.
                if answer(&mut stream).is_err() {
                    let _ = stream.sock.shutdown(Shutdown::Write);
                    let _ = stream.sock.read_to_end(&mut Vec::new());
                }
            }
        });
        addr
    }
}

/// Answers one request, and closes.
fn answer(stream: &mut StreamOwned<ServerConnection, TcpStream>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let host = head.lines().find_map(|line| line.strip_prefix("host: "));
    let told = format!(
        "{} {} {}",
        stream.conn.server_name().unwrap_or("none"),
        host.unwrap(),
        stream.conn.peer_certificates().is_some()
    );
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{told}",
        told.len()
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn get(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_httpcore"))
        .args(["get", "--timeout", "60"])
        .args(args)
        .env_remove("SSLKEYLOGFILE")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What a run which must succeed says on stdout and on stderr.
fn success(output: Output) -> (String, String) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

/// What a run which must fail says of it.
fn failure(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn only_the_named_root_is_trusted() {
    let world = World::new();
    let server = world.serve("127.0.0.1", false);
    let url = format!("https://{server}/");
    let said = failure(get(&[&url]));
    assert!(said.contains("unknown issuer"), "{said}");
    let root = world.path("root.pem");
    let (body, said) = success(get(&[&url, "--cacert", text(&root)]));
    // RFC 6066 §3: an address is not told.
    assert_eq!(body, format!("none {server} false"));
    assert_eq!(said, "");
    let said = failure(get(&[&url, "--cacert", text(&world.path("client.key"))]));
    assert!(said.contains("PEM"), "{said}");
}

#[test]
fn insecure_accepts_any_certificate_and_prints_a_warning() {
    let world = World::new();
    let server = world.serve("other.test", false);
    let (body, said) = success(get(&[&format!("https://{server}/"), "--insecure"]));
    assert_eq!(body, format!("none {server} false"));
    assert!(said.contains("WARNING"), "{said}");
    assert!(said.contains("can read and change everything"), "{said}");
}

#[test]
fn a_host_that_is_said_to_be_elsewhere_is_still_the_one_that_is_asked_for() {
    let world = World::new();
    let server = world.serve("named.test", false);
    let root = world.path("root.pem");
    let at = |name: &str| {
        let resolve = format!("{name}:{}:127.0.0.1", server.port());
        let url = format!("https://{name}:{}/", server.port());
        get(&[&url, "--cacert", text(&root), "--resolve", &resolve])
    };
    let (body, _) = success(at("named.test"));
    let host = format!("named.test:{}", server.port());
    assert_eq!(body, format!("named.test {host} false"));
    let said = failure(at("unnamed.test"));
    assert!(
        said.contains("not for unnamed.test, but for named.test"),
        "{said}"
    );
}

#[test]
fn a_client_certificate_is_shown_to_who_wants_one() {
    let world = World::new();
    let server = world.serve("127.0.0.1", true);
    let url = format!("https://{server}/");
    let files = ["root.pem", "client.pem", "client.key", "both.pem"].map(|name| world.path(name));
    let [root, certificate, key, both] = files.each_ref().map(|path| text(path));
    let said = failure(get(&[&url, "--cacert", root]));
    assert!(said.contains("it wants a client certificate"), "{said}");
    for given in [
        &["--cert", certificate, "--key", key][..],
        &["--cert", both],
    ] {
        let (body, _) = success(get(&[&[&url, "--cacert", root], given].concat()));
        assert_eq!(body, format!("none {server} true"), "{given:?}");
    }
    let said = failure(get(&[&url, "--cacert", root, "--cert", root, "--key", key]));
    assert!(said.contains("client certificate cannot be used"), "{said}");
}

#[test]
fn the_facts_of_a_handshake_are_told_to_who_wants_to_know() {
    let world = World::new();
    let server = world.serve("127.0.0.1", false);
    let root = world.path("root.pem");
    let (_, said) = success(get(&[
        &format!("https://{server}/"),
        "--cacert",
        text(&root),
        "-v",
    ]));
    let mut lines = said.lines();
    let first = lines.next().unwrap();
    assert!(
        first.starts_with(&format!("* connected to {server} from 127.0.0.1:")),
        "{said}"
    );
    let second = lines.next().unwrap();
    for fact in [
        "TLS 1.3",
        "TLS13_AES_",
        "X25519",
        "http/1.1",
        "new session",
        "certificates of ",
    ] {
        assert!(second.contains(fact), "{fact}: {said}");
    }
}

#[test]
fn plain_http_where_tls_was_asked_for_is_called_that() {
    let origin = httpcore_origin::Origin::start().unwrap();
    let url = origin.url("/hello").replace("http://", "https://");
    let said = failure(get(&[&url]));
    assert!(said.contains("plain HTTP"), "{said}");
}
