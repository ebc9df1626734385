//! What the features which are off by default bring: seen to work.

#![cfg(any(feature = "aws-lc-rs", feature = "platform-verifier"))]
#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

mod zoo;

use std::io;

use httpcore_core_primitives::TlsInfo;
use httpcore_net_mock::{LiveCounts, MockNet};
use httpcore_net_tls::{RustlsConnector, rustls::ServerConfig};
use zoo::{connect, serve, stay};

/// What a handshake settles.
fn meet(connector: &RustlsConnector, server: ServerConfig) -> io::Result<TlsInfo> {
    let net = MockNet::new();
    serve(&net, server, stay);
    let outcome = net.run(async {
        let stream = connect(&net).await?;
        let stream = connector.connect(stream, "tls.test", &[]).await?;
        Ok(stream.tls_info())
    });
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default());
    outcome
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn aws_lc_negotiates_post_quantum_key_exchange() {
    use httpcore_net_tls::aws_lc_rs;

    let root = zoo::Authority::new("root");
    let identity = root.issue(&["tls.test"]);
    let modern = || {
        ServerConfig::builder_with_provider(aws_lc_rs())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain.clone(), identity.key_der())
            .unwrap()
    };
    let connector = root.builder().provider(aws_lc_rs()).build().unwrap();
    for (server, group) in [
        (modern(), "X25519MLKEM768"),
        (identity.server(), "X25519"), // ring has nothing of the kind
    ] {
        let info = meet(&connector, server).unwrap();
        assert_eq!(info.version, Some("TLS 1.3"));
        assert_eq!(info.key_exchange, Some(group));
    }
}

/// ring is on by default; that another crate turns this feature on changes nothing.
#[cfg(all(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn default_provider_is_not_aws_lc() {
    let root = zoo::Authority::new("root");
    let identity = root.issue(&["tls.test"]);
    let modern = ServerConfig::builder_with_provider(httpcore_net_tls::aws_lc_rs())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key_der())
        .unwrap();
    let info = meet(&root.connector(), modern).unwrap();
    assert_eq!(info.key_exchange, Some("X25519"));
}

#[cfg(feature = "platform-verifier")]
mod platform {
    use std::{env, fs, path::Path, process::Command};

    use httpcore_net_tls::{RustlsConnector, TlsError, TlsErrorKind};
    use rcgen::KeyPair;

    use super::{meet, zoo};

    /// Where the second process finds the server's certificate and key, and what it must come to.
    const FOLDER: &str = "HTTPCORE_TEST_FOLDER";
    const EXPECTED: &str = "HTTPCORE_TEST_EXPECTED";

    #[test]
    fn platform_verifier_uses_the_system_roots() {
        if let Some(folder) = env::var_os(FOLDER) {
            return judge(folder.as_ref());
        }
        let (root, other) = (zoo::Authority::new("root"), zoo::Authority::new("other"));
        let identity = root.issue(&["tls.test"]);
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("certificate"), &identity.chain[0]).unwrap();
        fs::write(at("key"), identity.key.serialize_der()).unwrap();
        fs::write(at("extra"), &root.certificate).unwrap();
        for (authority, expected) in [
            (&root, "trusted"),
            (&other, "unknown"),
            (&other, "trusted besides"),
        ] {
            fs::write(at("roots.pem"), &authority.pem).unwrap();
            // The environment belongs to the process, and so this takes another one.
            let output = Command::new(env::current_exe().unwrap())
                .args([
                    "--exact",
                    "platform::platform_verifier_uses_the_system_roots",
                ])
                .env("SSL_CERT_FILE", at("roots.pem"))
                .env_remove("SSL_CERT_DIR")
                .env(FOLDER, folder.path())
                .env(EXPECTED, expected)
                .output()
                .unwrap();
            assert!(output.status.success(), "{expected}: {output:?}");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("1 passed"), "{expected}: {said}");
        }
    }

    fn judge(folder: &Path) {
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        let identity = zoo::Identity {
            chain: vec![read("certificate").into()],
            key: KeyPair::try_from(read("key")).unwrap(),
            pem: String::new(),
        };
        let expected = env::var(EXPECTED).unwrap();
        let mut builder = RustlsConnector::builder().platform_roots();
        if expected == "trusted besides" {
            builder = builder.root_der(read("extra"));
        }
        let outcome = meet(&builder.build().unwrap(), identity.server());
        let refusal = outcome
            .err()
            .map(|error| TlsError::find_in(&error).unwrap().kind().clone());
        let unknown = (expected == "unknown").then_some(TlsErrorKind::UnknownIssuer);
        assert_eq!(refusal, unknown);
    }

    #[test]
    fn revocation_lists_conflict_with_the_system_roots() {
        let builder = RustlsConnector::builder()
            .platform_roots()
            .revocation_list_der("any");
        assert!(builder.build().is_err());
    }
}
