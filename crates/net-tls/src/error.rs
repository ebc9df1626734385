//! Errors of TLS and of its configuration.

use std::{
    error::Error as StdError,
    fmt,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use httpcore_core_primitives::{BoxError, SharedIoError, TlsFailure};
use rustls::{
    AlertDescription, CertificateError, ExtendedKeyPurpose, PeerIncompatible, pki_types::UnixTime,
};

use crate::date::Date;

/// Reason why TLS failed, in the handshake or later. [`find_in`](Self::find_in) finds it inside other
/// errors.
///
/// `Display` is one sentence; [`kind`](Self::kind) is for programs. [`source`](StdError::source) is
/// the error of rustls where that says more than the sentence.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", Sentence(.kind, .source.as_ref().or(.detail.as_ref())))]
pub struct TlsError {
    kind: TlsErrorKind,
    /// The error of rustls, where it adds to the sentence.
    source: Option<rustls::Error>,
    /// The error of rustls, where the sentence has all of it.
    detail: Option<rustls::Error>,
}

/// Reason of a failure, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The certificate has expired.
    Expired {
        /// End of its validity, in seconds since the beginning of 1970, if known.
        not_after: Option<u64>,
    },
    /// The certificate is not valid yet.
    NotValidYet {
        /// Beginning of its validity, in seconds since the beginning of 1970, if known.
        not_before: Option<u64>,
    },
    /// The certificate is not valid for the server name.
    WrongName {
        /// The server name.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// No trusted root leads to the certificate: it may be self-signed, issued by a private
    /// authority, or sent without its intermediates.
    UnknownIssuer,
    /// The certificate was revoked.
    Revoked,
    /// The revocation status is unknown: there is no revocation list of the issuer, or it has
    /// expired.
    RevocationUnknown,
    /// The certificate, or one above it, has a signature of an unsupported algorithm, such as SHA-1.
    WeakSignature,
    /// The certificate is not for servers.
    WrongPurpose,
    /// The certificate is invalid in another way.
    BadCertificate,
    /// The peer sent a fatal alert, with this name (RFC 8446 §6.2).
    Alert(String),
    /// The peers have no version, cipher suite or protocol in common.
    Incompatible,
    /// The peer does not speak TLS.
    NotTls {
        /// Whether it answered in plain HTTP.
        http: bool,
    },
    /// Bytes had arrived before the handshake. Their sender is not authenticated, and so they must not
    /// be read as part of the TLS stream.
    EarlyBytes,
    /// The connection was closed during the handshake.
    Unfinished,
    /// The connection was closed without `close_notify` (RFC 8446 §6.1): by the peer or by an attacker.
    Truncated,
    /// The server name is invalid.
    BadName(String),
    /// The peer violated the protocol.
    Protocol,
}

impl TlsError {
    /// Returns the `TlsError` that caused `error`, if any: in the [`io::Error`] of a stream, in the
    /// error of a request, or in another error with one of these among its sources.
    ///
    /// ```
    /// use httpcore_net_tls::{TlsErrorKind, TlsError};
    ///
    /// fn is_expired(error: &(dyn std::error::Error + 'static)) -> bool {
    ///     let tls = TlsError::find_in(error).map(TlsError::kind);
    ///     matches!(tls, Some(TlsErrorKind::Expired { .. }))
    /// }
    /// # assert!(!is_expired(&std::fmt::Error));
    /// ```
    pub fn find_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a TlsError> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<TlsError>() {
                return Some(found);
            }
            // Either may include the text of the error inside, which is then not its source.
            if let Some(error) = error.downcast_ref::<httpcore_core_primitives::Error>() {
                next = error.cause();
                continue;
            }
            // An `io::Error` prints the error inside of it, which is therefore not its source.
            let shared = error.downcast_ref().map(SharedIoError::get);
            let inner = shared
                .or_else(|| error.downcast_ref::<io::Error>())
                .and_then(io::Error::get_ref);
            next = match inner {
                Some(inner) => match inner.downcast_ref::<TlsFailure>() {
                    Some(failure) => Some(failure.cause()),
                    None => Some(inner),
                },
                None => error.source(),
            };
        }
        None
    }

    /// Returns the reason.
    pub fn kind(&self) -> &TlsErrorKind {
        &self.kind
    }

    pub(crate) fn new(kind: TlsErrorKind) -> Self {
        TlsError {
            kind,
            source: None,
            detail: None,
        }
    }

    /// Converts to the error that streams return.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match self.kind {
            TlsErrorKind::Unfinished | TlsErrorKind::Truncated => ErrorKind::UnexpectedEof,
            TlsErrorKind::BadName(_) => ErrorKind::InvalidInput,
            _ => ErrorKind::InvalidData,
        };
        TlsFailure::error(kind, self)
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        let kind = match &error {
            rustls::Error::InvalidCertificate(fault) => of_certificate(fault),
            rustls::Error::AlertReceived(alert) => TlsErrorKind::Alert(alert_name(*alert)),
            rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => {
                TlsErrorKind::Incompatible
            }
            _ => TlsErrorKind::Protocol,
        };
        let (source, detail) = match kind {
            TlsErrorKind::BadCertificate | TlsErrorKind::Incompatible | TlsErrorKind::Protocol => {
                (Some(error), None)
            }
            _ => (None, Some(error)),
        };
        TlsError {
            kind,
            source,
            detail,
        }
    }
}

/// Returns whether the certificate has `CA:TRUE`, as `openssl req -x509` makes it by default: the
/// commonest of the faults for which rustls has no variant.
fn is_of_an_authority(error: Option<&rustls::Error>) -> bool {
    let Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) = error else {
        return false;
    };
    // Pinned by a test with such a certificate. With another text of the dependency, the sentence
    // is the general one, and the kind is the same.
    other.to_string().contains("CaUsedAsEndEntity")
}

/// Returns whether a signature is invalid; ring reports that also of RSA keys shorter than 2048
/// bits.
fn is_badly_signed(error: Option<&rustls::Error>) -> bool {
    matches!(
        error,
        Some(rustls::Error::InvalidCertificate(
            CertificateError::BadSignature
        ))
    )
}

fn of_certificate(fault: &CertificateError) -> TlsErrorKind {
    let seconds = |time: &UnixTime| Some(time.as_secs());
    match fault {
        CertificateError::Expired => TlsErrorKind::Expired { not_after: None },
        CertificateError::ExpiredContext { not_after, .. } => TlsErrorKind::Expired {
            not_after: seconds(not_after),
        },
        CertificateError::NotValidYet => TlsErrorKind::NotValidYet { not_before: None },
        CertificateError::NotValidYetContext { not_before, .. } => TlsErrorKind::NotValidYet {
            not_before: seconds(not_before),
        },
        CertificateError::NotValidForName => TlsErrorKind::WrongName {
            expected: String::new(),
            presented: Vec::new(),
        },
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => TlsErrorKind::WrongName {
            expected: expected.to_str().into_owned(),
            presented: presented.iter().map(|name| bare(name)).collect(),
        },
        CertificateError::UnknownIssuer => TlsErrorKind::UnknownIssuer,
        CertificateError::Revoked => TlsErrorKind::Revoked,
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => TlsErrorKind::RevocationUnknown,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            TlsErrorKind::WeakSignature
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            TlsErrorKind::WrongPurpose
        }
        _ => TlsErrorKind::BadCertificate,
    }
}

/// Returns the name inside `DnsName("example.com")`, the form in which rustls lists names; pinned by a
/// test with a certificate for other names. Another form is returned unchanged.
fn bare(presented: &str) -> String {
    let inner = presented
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or(presented);
    inner.trim_matches('"').to_owned()
}

/// Returns the name in the registry of alerts: `handshake_failure`.
fn alert_name(alert: AlertDescription) -> String {
    let Some(name) = alert.as_str() else {
        return format!("number {}", u8::from(alert));
    };
    if alert == AlertDescription::UnknownCA {
        return "unknown_ca".to_owned();
    }
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Returns an explanation of an alert, where its name is not enough.
fn alert_hint(name: &str) -> Option<&'static str> {
    Some(match name {
        "certificate_required" => "client certificate required",
        "bad_certificate" | "unsupported_certificate" | "certificate_unknown" | "access_denied" => {
            "client certificate rejected"
        }
        "certificate_expired" => "client certificate expired",
        "certificate_revoked" => "client certificate revoked",
        "unknown_ca" => "unknown issuer of the client certificate",
        "handshake_failure" | "insufficient_security" => {
            "no cipher suite in common, or client certificate required"
        }
        "protocol_version" => "no TLS version in common",
        "unrecognised_name" => "unknown server name",
        "no_application_protocol" => "no ALPN protocol in common",
        _ => return None,
    })
}

/// Formats a kind and the error of rustls behind it.
struct Sentence<'a>(&'a TlsErrorKind, Option<&'a rustls::Error>);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sentence(kind, rustls) = *self;
        match kind {
            TlsErrorKind::Expired { not_after: None } => {
                f.write_str("server certificate expired")
            }
            TlsErrorKind::Expired {
                not_after: Some(seconds),
            } => {
                let date = Date { seconds: *seconds };
                write!(f, "server certificate expired on {date}")
            }
            TlsErrorKind::NotValidYet { not_before: None } => {
                f.write_str("server certificate not valid yet")
            }
            TlsErrorKind::NotValidYet {
                not_before: Some(seconds),
            } => {
                let date = Date { seconds: *seconds };
                write!(f, "server certificate not valid before {date}")
            }
            TlsErrorKind::WrongName {
                expected,
                presented,
            } => wrong_name(f, expected, presented),
            TlsErrorKind::UnknownIssuer => f.write_str(
                "unknown issuer: no trusted root leads to the server certificate, or intermediate \
 certificates are missing",
            ),
            TlsErrorKind::Revoked => f.write_str("server certificate revoked"),
            TlsErrorKind::RevocationUnknown => match rustls {
                Some(rustls::Error::InvalidCertificate(
                    CertificateError::ExpiredRevocationListContext { next_update, .. },
                )) => {
                    let date = Date {
                        seconds: next_update.as_secs(),
                    };
                    write!(
                        f,
                        "revocation status of the server certificate unknown: the revocation list \
 expired on {date}"
                    )
                }
                _ => f.write_str(
                    "revocation status of the server certificate unknown: no revocation list of its \
 issuer",
                ),
            },
            TlsErrorKind::WeakSignature => f.write_str(
                "server certificate has a signature of an unsupported algorithm",
            ),
            TlsErrorKind::WrongPurpose => wrong_purpose(f, rustls),
            TlsErrorKind::BadCertificate if is_of_an_authority(rustls) => f.write_str(
                "server certificate is a CA certificate, which is not valid for a server",
            ),
            TlsErrorKind::BadCertificate if is_badly_signed(rustls) => f.write_str(
                "server certificate has an invalid signature, or its key is too short",
            ),
            TlsErrorKind::BadCertificate => {
                f.write_str("invalid server certificate")
            }
            TlsErrorKind::Alert(name) => {
                write!(f, "handshake rejected by the server")?;
                if let Some(hint) = alert_hint(name) {
                    write!(f, ": {hint}")?;
                }
                write!(f, " (alert {name})")
            }
            TlsErrorKind::Incompatible => f.write_str(match rustls {
                Some(rustls::Error::PeerIncompatible(
                    PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
                )) => "server requires a TLS version that is disabled",
                _ => "no TLS parameters in common with the server",
            }),
            TlsErrorKind::NotTls { http: true } => {
                f.write_str("server answered in plain HTTP instead of TLS")
            }
            TlsErrorKind::NotTls { http: false } => f.write_str("server does not speak TLS"),
            TlsErrorKind::EarlyBytes => f.write_str("received bytes before the TLS handshake"),
            TlsErrorKind::Unfinished => {
                f.write_str("connection closed during the TLS handshake")
            }
            TlsErrorKind::Truncated => {
                f.write_str("connection closed without TLS close_notify")
            }
            TlsErrorKind::BadName(name) => {
                write!(
                    f,
                    "invalid server name {:?}",
                    cut(name)
                )
            }
            TlsErrorKind::Protocol => f.write_str("server violated the TLS protocol"),
        }
    }
}

/// Maximum number of names that an error lists: some certificates have hundreds.
const LISTED: usize = 5;

/// Truncates a name to 255 bytes (RFC 1035 §3.1).
fn cut(name: &str) -> &str {
    let end = (0..=name.len().min(255)).rfind(|&end| name.is_char_boundary(end));
    &name[..end.unwrap_or(0)]
}

fn wrong_name(f: &mut fmt::Formatter<'_>, expected: &str, presented: &[String]) -> fmt::Result {
    f.write_str("server certificate is not valid for ")?;
    f.write_str(if expected.is_empty() {
        "this name"
    } else {
        cut(expected)
    })?;
    if presented.is_empty() {
        return f.write_str(", and for no name at all");
    }
    let listed: Vec<&str> = presented
        .iter()
        .map(|name| cut(name))
        .take(LISTED)
        .collect();
    write!(f, ", but for {}", listed.join(", "))?;
    match presented.len().checked_sub(LISTED) {
        None | Some(0) => Ok(()),
        Some(more) => write!(f, " and {more} more"),
    }
}

fn wrong_purpose(f: &mut fmt::Formatter<'_>, source: Option<&rustls::Error>) -> fmt::Result {
    f.write_str("server certificate is not valid for server authentication")?;
    let Some(rustls::Error::InvalidCertificate(CertificateError::InvalidPurposeContext {
        presented,
        ..
    })) = source
    else {
        return Ok(());
    };
    if presented.contains(&ExtendedKeyPurpose::ClientAuth) {
        f.write_str(", only for client authentication")?;
    }
    Ok(())
}

/// Reason why a connector could not be built. Nothing has been sent.
#[derive(Debug, thiserror::Error)]
#[error("{}{text}", file_prefix(.file))]
pub struct ConfigError {
    text: &'static str,
    /// The file with the unusable value.
    file: Option<PathBuf>,
    source: Option<BoxError>,
}

fn file_prefix(file: &Option<PathBuf>) -> String {
    match file {
        Some(file) => format!("{}: ", file.display()),
        None => String::new(),
    }
}

impl ConfigError {
    pub(crate) fn new(text: &'static str) -> Self {
        ConfigError {
            text,
            file: None,
            source: None,
        }
    }

    pub(crate) fn because(text: &'static str, source: impl Into<BoxError>) -> Self {
        ConfigError {
            text,
            file: None,
            source: Some(source.into()),
        }
    }

    /// Adds the name of the file.
    pub(crate) fn in_file(mut self, path: &Path) -> Self {
        self.file = Some(path.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_named_as_in_the_registry() {
        for (alert, name) in [
            (AlertDescription::HandshakeFailure, "handshake_failure"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::BadRecordMac, "bad_record_mac"),
            (AlertDescription::Unknown(200), "number 200"),
        ] {
            assert_eq!(alert_name(alert), name);
        }
    }

    #[test]
    fn long_list_of_names_is_truncated() {
        let presented = (0..7).map(|n| format!("{n}.test")).collect();
        let error = TlsError::new(TlsErrorKind::WrongName {
            expected: "a.test".to_owned(),
            presented,
        });
        assert_eq!(
            error.to_string(),
            "server certificate is not valid for a.test, but for \
             0.test, 1.test, 2.test, 3.test, 4.test and 2 more"
        );
    }

    #[test]
    fn truncated_connection_is_unexpected_eof_as_an_io_error() {
        let kind = |kind| TlsError::new(kind).into_io().kind();
        assert_eq!(kind(TlsErrorKind::Truncated), ErrorKind::UnexpectedEof);
        assert_eq!(kind(TlsErrorKind::Revoked), ErrorKind::InvalidData);
    }
}
