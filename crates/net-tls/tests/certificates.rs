//! No certificate passes that should not, and every refusal says why.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod zoo;

use std::io;

use httpcore_core_primitives::BoxStream;
use httpcore_net_mock::{LiveCounts, MockNet};
use httpcore_net_tls::{
    RustlsConnector, TlsErrorKind, TlsVersion,
    rustls::{
        ServerConfig,
        version::{TLS12, TLS13},
    },
};
use rcgen::{
    CertificateRevocationList, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    GeneralSubtree, KeyIdMethod, NameConstraints, RevocationReason, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use zoo::{Authority, Identity, connect, read, serve, stay, tls_error, write_all};

/// How a handshake ends with a server which shows `identity`, for a client which wants `name`.
/// Either way nothing is left behind.
fn meet(connector: &RustlsConnector, server: ServerConfig, name: &str) -> io::Result<()> {
    let net = MockNet::new();
    serve(&net, server, stay);
    let outcome = net.run(async {
        let stream = connect(&net).await?;
        let stream = connector.connect(stream, name, &[]).await;
        stream.map(drop)
    });
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default());
    outcome
}

fn refusal(
    connector: &RustlsConnector,
    server: ServerConfig,
    name: &str,
) -> (TlsErrorKind, String) {
    let error = tls_error(&meet(connector, server, name).unwrap_err());
    (error.kind().clone(), error.to_string())
}

#[test]
fn valid_certificate_is_accepted_in_both_versions() {
    let root = Authority::new("root");
    let good = root.issue(&["tls.test"]);
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let connector = root
            .builder()
            .min_version(version)
            .max_version(version)
            .build()
            .unwrap();
        meet(&connector, good.server(), "tls.test").unwrap();
    }
}

#[test]
fn expired_certificate_is_rejected_with_its_date() {
    let root = Authority::new("root");
    let expired = root.issue_with(&["tls.test"], |params| {
        params.not_after = date_time_ymd(2001, 2, 3);
    });
    let (refusal, text) = refusal(&root.connector(), expired.server(), "tls.test");
    assert!(matches!(
        refusal,
        TlsErrorKind::Expired { not_after: Some(_) }
    ));
    assert_eq!(text, "server certificate expired on 2001-02-03 00:00 UTC");
}

#[test]
fn certificate_not_yet_valid_is_rejected_with_its_date() {
    let root = Authority::new("root");
    let early = root.issue_with(&["tls.test"], |params| {
        params.not_before = date_time_ymd(3000, 1, 1);
    });
    let (_, text) = refusal(&root.connector(), early.server(), "tls.test");
    assert_eq!(
        text,
        "server certificate not valid before 3000-01-01 00:00 UTC"
    );
}

#[test]
fn certificate_for_other_names_is_rejected_with_them() {
    let root = Authority::new("root");
    let other = root.issue(&["other.test", "*.another.test", "10.1.2.3"]);
    let (_, text) = refusal(&root.connector(), other.server(), "tls.test");
    assert_eq!(
        text,
        "server certificate is not valid for tls.test, but for \
         other.test, *.another.test, 10.1.2.3"
    );
}

#[test]
fn name_in_the_subject_only_is_ignored() {
    // RFC 9525 §2: names stand among the alternative ones.
    let root = Authority::new("root");
    let old = root.issue_with(&[], |params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "tls.test");
    });
    let (refusal, _) = refusal(&root.connector(), old.server(), "tls.test");
    assert!(
        matches!(refusal, TlsErrorKind::WrongName { .. }),
        "{refusal:?}"
    );
}

#[test]
fn wildcard_matches_exactly_one_label() {
    let root = Authority::new("root");
    let wild = root.issue(&["*.wild.test"]);
    for (name, passes) in [
        ("a.wild.test", true),
        ("A.WILD.test", true),
        ("wild.test", false),
        ("a.b.wild.test", false),
        ("a.tame.test", false),
    ] {
        let outcome = meet(&root.connector(), wild.server(), name);
        assert_eq!(outcome.is_ok(), passes, "{name}: {outcome:?}");
    }
}

#[test]
fn address_must_be_in_the_certificate_as_an_address() {
    let root = Authority::new("root");
    let addresses = root.issue(&["10.0.0.1", "::1"]);
    let names = root.issue(&["tls.test"]);
    for (identity, asked, passes) in [
        (&addresses, "10.0.0.1", true),
        (&addresses, "[::1]", true),
        (&addresses, "10.0.0.2", false),
        (&names, "10.0.0.1", false),
    ] {
        let outcome = meet(&root.connector(), identity.server(), asked);
        assert_eq!(outcome.is_ok(), passes, "{asked}: {outcome:?}");
    }
}

#[test]
fn self_signed_certificate_is_rejected() {
    let root = Authority::new("root");
    let alone = Identity::self_signed(&["tls.test"]);
    let (refusal, _) = refusal(&root.connector(), alone.server(), "tls.test");
    assert_eq!(refusal, TlsErrorKind::UnknownIssuer);
}

#[test]
fn untrusted_authority_with_the_name_of_a_trusted_one_is_rejected() {
    let (trusted, impostor) = (Authority::new("root"), Authority::new("root"));
    let server = impostor.issue(&["tls.test"]).server();
    let error = tls_error(&meet(&trusted.connector(), server, "tls.test").unwrap_err());
    assert!(
        matches!(
            error.kind(),
            TlsErrorKind::UnknownIssuer | TlsErrorKind::BadCertificate
        ),
        "{error:?}"
    );
}

#[test]
fn chain_without_its_intermediate_is_rejected() {
    let root = Authority::new("root");
    let middle = root.intermediate("middle");
    let mut leaf = middle.issue(&["tls.test"]);
    let (refusal, _) = refusal(&root.connector(), leaf.server(), "tls.test");
    assert_eq!(refusal, TlsErrorKind::UnknownIssuer);
    leaf.chain.push(middle.certificate);
    meet(&root.connector(), leaf.server(), "tls.test").unwrap();
}

#[test]
fn leaf_certificate_cannot_issue_certificates() {
    let root = Authority::new("root");
    let leaf = root.issue(&["leaf.test"]);
    let issuer = rcgen::Issuer::new(zoo::params(&["leaf.test"]), leaf.key);
    let key = zoo::new_key();
    let forged = zoo::params(&["tls.test"]).signed_by(&key, &issuer).unwrap();
    let forged = Identity {
        chain: vec![forged.der().clone(), leaf.chain[0].clone()],
        key,
        pem: forged.pem(),
    };
    assert!(meet(&root.connector(), forged.server(), "tls.test").is_err());
}

#[test]
fn client_certificate_is_rejected_for_a_server() {
    let root = Authority::new("root");
    let client = root.issue_with(&["tls.test"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let (refusal, text) = refusal(&root.connector(), client.server(), "tls.test");
    assert_eq!(refusal, TlsErrorKind::WrongPurpose);
    assert_eq!(
        text,
        "server certificate is not valid for server authentication, only for client authentication"
    );
}

#[test]
fn name_constraints_of_an_authority_are_enforced() {
    let root = Authority::with("root", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("inside.test".to_owned())],
            excluded_subtrees: vec![GeneralSubtree::DnsName("not.inside.test".to_owned())],
        });
    });
    for (name, passes) in [
        ("a.inside.test", true),
        ("not.inside.test", false),
        ("outside.test", false),
    ] {
        let server = root.issue(&[name]).server();
        let outcome = meet(&root.connector(), server, name);
        assert_eq!(outcome.is_ok(), passes, "{name}: {outcome:?}");
    }
}

#[test]
fn ca_certificate_is_rejected_for_a_server() {
    let root = Authority::with("root", |params| {
        params.subject_alt_names = zoo::params(&["tls.test"]).subject_alt_names;
    });
    let server = root.as_server();
    let (refusal, text) = refusal(&root.connector(), server, "tls.test");
    assert_eq!(refusal, TlsErrorKind::BadCertificate);
    assert!(text.contains("CA certificate"), "{text}");
}

#[test]
fn connector_that_accepts_any_certificate_accepts_every_fault() {
    let connector = RustlsConnector::builder()
        .danger_accept_any_certificate()
        .build()
        .unwrap();
    let alone = Identity::self_signed(&["other.test"]);
    meet(&connector, alone.server(), "tls.test").unwrap();
}

/// Shakes hands, asks, and reads the answer: in TLS 1.3 a client learns only then that it has been
/// refused.
fn ask(connector: &RustlsConnector, server: ServerConfig) -> io::Result<String> {
    let net = MockNet::new();
    serve(&net, server, async |mut stream| {
        if stream.read_until("\n").await.is_ok() {
            let _ = stream.write_all("yes").await;
        }
        stay(stream).await;
    });
    let answer = net.run(async {
        let stream = connect(&net).await?;
        let mut stream: BoxStream = Box::new(connector.connect(stream, "tls.test", &[]).await?);
        // Refused already, perhaps; what the server said is still to be read.
        let _ = write_all(&mut *stream, b"may I?\n").await;
        read(&mut *stream).await
    })?;
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default());
    Ok(String::from_utf8(answer.to_vec()).unwrap())
}

#[test]
fn client_certificate_is_sent_on_request_and_its_rejection_is_reported() {
    let (root, clients) = (Authority::new("root"), Authority::new("clients"));
    let server = root.issue(&["tls.test"]);
    let for_clients = |params: &mut rcgen::CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let right = clients.issue_with(&["client.test"], for_clients);
    let wrong = Authority::new("others").issue_with(&["client.test"], for_clients);
    let connector = |identity: Option<&Identity>| {
        let builder = root.builder();
        let builder = match identity {
            None => builder,
            Some(identity) => builder
                .client_certificate_der(
                    identity.chain.iter().map(|der| der.to_vec()),
                    identity.key.serialize_der(),
                )
                .unwrap(),
        };
        builder.build().unwrap()
    };
    for version in [&TLS12, &TLS13] {
        let server = || server.server_for_clients_of(&clients, &[version]);
        assert_eq!(ask(&connector(Some(&right)), server()).unwrap(), "yes");
        let none = tls_error(&ask(&connector(None), server()).unwrap_err());
        assert!(
            none.to_string().contains("client certificate"),
            "{version:?}: {none}"
        );
        let other = tls_error(&ask(&connector(Some(&wrong)), server()).unwrap_err());
        assert!(
            matches!(other.kind(), TlsErrorKind::Alert(_)),
            "{version:?}: {other}"
        );
    }
}

#[test]
fn client_certificate_from_pem_must_match_its_key() {
    let (root, clients) = (Authority::new("root"), Authority::new("clients"));
    let client = clients.issue(&["client.test"]);
    let pem = &client.pem;
    let fits = root
        .builder()
        .client_certificate_pem(pem, client.key.serialize_pem());
    fits.unwrap().build().unwrap();
    let other = zoo::new_key().serialize_pem();
    let misfits = root.builder().client_certificate_pem(pem, other).unwrap();
    misfits.build().unwrap_err();
    assert!(
        root.builder()
            .client_certificate_pem(pem, "no key")
            .is_err()
    );
    assert!(root.builder().root_pem("nothing here").is_err());
    assert!(root.builder().root_pem(pem).is_ok());
}

#[test]
fn versions_outside_the_limits_are_not_negotiated() {
    let root = Authority::new("root");
    let identity = root.issue(&["tls.test"]);
    let old = || {
        ServerConfig::builder_with_provider(httpcore_net_tls::ring())
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain.clone(), identity.key_der())
            .unwrap()
    };
    meet(&root.connector(), old(), "tls.test").unwrap();
    let modern = root
        .builder()
        .min_version(TlsVersion::Tls13)
        .build()
        .unwrap();
    let (refusal, text) = refusal(&modern, old(), "tls.test");
    assert_eq!(refusal, TlsErrorKind::Alert("protocol_version".to_owned()));
    assert!(text.contains("TLS version"), "{text}");
    let none = root
        .builder()
        .min_version(TlsVersion::Tls13)
        .max_version(TlsVersion::Tls12);
    assert!(none.build().is_err(), "no version is left");
}

#[test]
fn server_name_can_differ_from_the_host() {
    let root = Authority::new("root");
    let server = root.issue(&["hidden.test"]);
    let connector = root.connector().with_server_name("hidden.test").unwrap();
    meet(&connector, server.server(), "tls.test").unwrap();
    assert!(root.connector().with_server_name("two words").is_err());
}

#[test]
fn invalid_server_name_fails_before_anything_is_sent() {
    let root = Authority::new("root");
    let server = root.issue(&["tls.test"]).server();
    let (refusal, _) = refusal(&root.connector(), server, "two words");
    assert_eq!(refusal, TlsErrorKind::BadName("two words".to_owned()));
}

/// A list of what `issuer` has revoked, good until the given year.
fn revocation_list(issuer: &Authority, serials: &[u64], until: i32) -> CertificateRevocationList {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2001, 1, 1),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    CertificateRevocationListParams {
        this_update: date_time_ymd(2001, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(&issuer.issuer)
    .unwrap()
}

#[test]
fn revoked_certificate_and_unknown_revocation_status_are_rejected() {
    let root = Authority::new("root");
    let middle = root.intermediate("middle");
    let serial = |number: u64| {
        move |params: &mut rcgen::CertificateParams| {
            params.serial_number = Some(SerialNumber::from(number));
        }
    };
    let (seven, eight) = (
        root.issue_with(&["tls.test"], serial(7)),
        root.issue_with(&["tls.test"], serial(8)),
    );
    let mut below = middle.issue_with(&["tls.test"], serial(8));
    below.chain.push(middle.certificate.clone());
    let list = |until| revocation_list(&root, &[7], until);
    let strict = |until| {
        root.builder()
            .revocation_list_der(list(until).der().to_vec())
    };
    let text = root
        .builder()
        .revocation_lists_pem(list(3000).pem().unwrap());
    let unknown = Err(TlsErrorKind::RevocationUnknown);
    for (what, builder, identity, outcome) in [
        ("revoked", strict(3000), &seven, Err(TlsErrorKind::Revoked)),
        ("another one", strict(3000), &eight, Ok(())),
        (
            "from text",
            text.unwrap(),
            &seven,
            Err(TlsErrorKind::Revoked),
        ),
        (
            "of an issuer without a list",
            strict(3000),
            &below,
            unknown.clone(),
        ),
        ("a list of yesterday", strict(2002), &eight, unknown),
        (
            "revoked yesterday",
            strict(2002).allow_unknown_revocation(),
            &seven,
            Err(TlsErrorKind::Revoked),
        ),
        (
            "a list of yesterday",
            strict(2002).allow_unknown_revocation(),
            &eight,
            Ok(()),
        ),
        (
            "of an issuer without a list",
            strict(3000).allow_unknown_revocation(),
            &below,
            Ok(()),
        ),
    ] {
        let met = meet(&builder.build().unwrap(), identity.server(), "tls.test");
        let met = met.map_err(|error| tls_error(&error).kind().clone());
        assert_eq!(met, outcome, "{what}");
    }
    let (_, text) = refusal(&strict(2002).build().unwrap(), eight.server(), "tls.test");
    assert!(text.ends_with("expired on 2002-01-01 00:00 UTC"), "{text}");
}

#[test]
fn revocation_list_is_parsed_at_once_and_conflicts_with_a_verifier() {
    let root = Authority::new("root");
    let list = revocation_list(&root, &[7], 3000);
    let builder = || root.builder().revocation_list_der(list.der().to_vec());
    assert!(builder().build().is_ok());
    assert!(builder().danger_accept_any_certificate().build().is_err());
    assert!(
        root.builder()
            .revocation_list_der("no list")
            .build()
            .is_err()
    );
    assert!(root.builder().revocation_lists_pem("no list").is_err());
}

/// What is made of a server which answers a hello with `bytes`.
fn answered(bytes: &'static [u8]) -> (TlsErrorKind, String) {
    let net = MockNet::new();
    net.serve("tls.test", 443, move |mut stream| async move {
        stream.read_some().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        while stream
            .read_some()
            .await
            .is_ok_and(|heard| !heard.is_empty())
        {}
    });
    let connector = Authority::new("root").connector();
    let error = net.run(async {
        let stream = connect(&net).await?;
        connector.connect(stream, "tls.test", &[]).await.map(drop)
    });
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default());
    let error = tls_error(&error.unwrap_err());
    (error.kind().clone(), error.to_string())
}

#[test]
fn server_with_old_versions_only_is_incompatible() {
    // A hello of TLS 1.1 and one of TLS 1.0, choosing TLS_RSA_WITH_AES_128_CBC_SHA: those servers
    // do not look at the versions in an extension (RFC 8446 §4.1.3), and answer with their own.
    const TLS11: &[u8] = b"\x16\x03\x02\0\x2a\x02\0\0\x26\x03\x02\
        0123456789abcdef0123456789abcdef\0\0\x2f\0";
    const TLS10: &[u8] = b"\x16\x03\x01\0\x2a\x02\0\0\x26\x03\x01\
        0123456789abcdef0123456789abcdef\0\0\x2f\0";
    for hello in [TLS11, TLS10] {
        let (refusal, text) = answered(hello);
        assert_eq!(refusal, TlsErrorKind::Incompatible, "{text}");
        assert!(text.contains("TLS version that is disabled"), "{text}");
    }
    // One which knows that it has nothing to offer (RFC 8446 §6.2: alert 70).
    let (refusal, text) = answered(b"\x15\x03\x01\0\x02\x02\x46");
    assert_eq!(refusal, TlsErrorKind::Alert("protocol_version".to_owned()));
    assert!(text.contains("TLS version"), "{text}");
}

#[test]
fn file_errors_name_the_file() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let nowhere = concat!(env!("CARGO_MANIFEST_DIR"), "/nowhere.pem");
    let builder = RustlsConnector::builder;
    for (error, expected) in [
        (builder().root_pem_file(file).err(), "no valid certificate"),
        (builder().root_pem_file(nowhere).err(), "cannot read file"),
        (
            builder().client_certificate_pem_files(file, nowhere).err(),
            "no valid certificate",
        ),
        (
            builder().revocation_lists_pem_file(file).err(),
            "no valid revocation list",
        ),
    ] {
        let said = error.unwrap().to_string();
        assert!(said.contains(expected), "{said}");
        assert!(said.contains(file) || said.contains(nowhere), "{said}");
    }
}
