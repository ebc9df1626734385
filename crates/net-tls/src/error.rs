//! What was wrong, in a sentence a person understands.

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

/// Why TLS failed, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The certificate's time is over.
    Expired {
        /// When it ended, in seconds since the beginning of 1970, if that is known.
        not_after: Option<u64>,
    },
    /// The certificate's time has not come.
    NotValidYet {
        /// When it begins, in seconds since the beginning of 1970, if that is known.
        not_before: Option<u64>,
    },
    /// The certificate is for others.
    WrongName {
        /// Who was to be there.
        expected: String,
        /// For whom the certificate is.
        presented: Vec<String>,
    },
    /// No root which is trusted here leads to the certificate: it may be self-signed, of a private
    /// authority, or sent without its intermediates.
    UnknownIssuer,
    /// The certificate was revoked.
    Revoked,
    /// Whether the certificate was revoked cannot be told: there is no list of its issuer's, or its
    /// time is over.
    RevocationUnknown,
    /// The certificate, or one above it, is signed in a way that is not believed (any more): by
    /// SHA-1, say.
    WeakSignature,
    /// The certificate is not for servers.
    WrongPurpose,
    /// There is something else wrong with the certificate.
    BadCertificate,
    /// The peer refused, and this is how it said so: the alert's name (RFC 8446 §6.2).
    Alert(String),
    /// Both sides speak TLS, but nothing in common.
    Incompatible,
    /// The peer does not speak TLS.
    NotTls {
        /// Whether it spoke HTTP instead.
        http: bool,
    },
    /// Bytes had arrived before TLS began. Whoever sent them cannot be known, and so they must not
    /// be taken for the peer's.
    EarlyBytes,
    /// The connection ended in the middle of the handshake.
    Unfinished,
    /// The connection ended without a `close_notify` (RFC 8446 §6.1): by whom cannot be known.
    Truncated,
    /// The name cannot be asked for.
    BadName(String),
    /// The peer broke the rules of TLS.
    Protocol,
}

impl TlsError {
    /// The error of TLS which `error` came of, if there is one: in the [`io::Error`] of a stream, in
    /// the error of a request, and in whatever else has one of these among its sources.
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
            // Both may print the sentence of the error inside, which is then not their source.
            if let Some(error) = error.downcast_ref::<httpcore_core_primitives::Error>() {
                next = error.cause();
                continue;
            }
            // An `io::Error` speaks for the error inside of it, and does not count it as a source.
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

    /// Why, for programs.
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

    /// The same, as streams say it.
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

/// Whether the certificate has `CA:TRUE`, as `openssl req -x509` makes it by default: the commonest
/// of the faults for which rustls has no variant.
fn is_of_an_authority(error: Option<&rustls::Error>) -> bool {
    let Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) = error else {
        return false;
    };
    // Pinned by a test with such a certificate. With another text of the dependency, the sentence
    // is the general one, and the kind is the same.
    other.to_string().contains("CaUsedAsEndEntity")
}

/// Whether a signature is invalid; ring reports that also of RSA keys shorter than 2048 bits.
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

/// The name itself, of `DnsName("example.com")`, which is how rustls lists them; pinned by a test
/// with a certificate for other names. Another form would be listed as it is.
fn bare(presented: &str) -> String {
    let inner = presented
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or(presented);
    inner.trim_matches('"').to_owned()
}

/// The name in the registry of alerts: `handshake_failure`.
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

/// What an alert means to whoever reads it, where its name does not say so.
fn alert_hint(name: &str) -> Option<&'static str> {
    Some(match name {
        "certificate_required" => "it wants a client certificate, and there was none",
        "bad_certificate" | "unsupported_certificate" | "certificate_unknown" | "access_denied" => {
            "it does not accept the client's certificate"
        }
        "certificate_expired" => "the client's certificate has expired",
        "certificate_revoked" => "the client's certificate was revoked",
        "unknown_ca" => "it does not know who issued the client's certificate",
        "handshake_failure" | "insufficient_security" => {
            "nothing that was offered suits it, or it wants a client certificate"
        }
        "protocol_version" => "it speaks none of the versions of TLS which were offered",
        "unrecognised_name" => "it does not serve this name",
        "no_application_protocol" => "it speaks none of the protocols which were offered",
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
                f.write_str("the server's certificate has expired")
            }
            TlsErrorKind::Expired {
                not_after: Some(seconds),
            } => {
                let date = Date { seconds: *seconds };
                write!(f, "the server's certificate expired on {date}")
            }
            TlsErrorKind::NotValidYet { not_before: None } => {
                f.write_str("the server's certificate is not valid yet")
            }
            TlsErrorKind::NotValidYet {
                not_before: Some(seconds),
            } => {
                let date = Date { seconds: *seconds };
                write!(f, "the server's certificate is not valid before {date}")
            }
            TlsErrorKind::WrongName {
                expected,
                presented,
            } => wrong_name(f, expected, presented),
            TlsErrorKind::UnknownIssuer => f.write_str(
                "the server's certificate was issued by nobody who is trusted here, or came \
                 without the certificates in between",
            ),
            TlsErrorKind::Revoked => f.write_str("the server's certificate was revoked"),
            TlsErrorKind::RevocationUnknown => match rustls {
                Some(rustls::Error::InvalidCertificate(
                    CertificateError::ExpiredRevocationListContext { next_update, .. },
                )) => {
                    let date = Date {
                        seconds: next_update.as_secs(),
                    };
                    write!(
                        f,
                        "whether the server's certificate was revoked is not known: the list was \
                         good until {date}"
                    )
                }
                _ => f.write_str(
                    "whether the server's certificate was revoked is not known: there is no list \
                     of its issuer's",
                ),
            },
            TlsErrorKind::WeakSignature => f.write_str(
                "the server's certificate is signed in a way that nobody believes any more",
            ),
            TlsErrorKind::WrongPurpose => wrong_purpose(f, rustls),
            TlsErrorKind::BadCertificate if is_of_an_authority(rustls) => f.write_str(
                "the server shows the certificate of an authority, which is none for servers",
            ),
            TlsErrorKind::BadCertificate if is_badly_signed(rustls) => f.write_str(
                "the signature of the server's certificate does not hold, or its key is too weak",
            ),
            TlsErrorKind::BadCertificate => {
                f.write_str("the server's certificate is not acceptable")
            }
            TlsErrorKind::Alert(name) => {
                write!(f, "the server refused")?;
                if let Some(hint) = alert_hint(name) {
                    write!(f, ": {hint}")?;
                }
                write!(f, " (alert {name})")
            }
            TlsErrorKind::Incompatible => f.write_str(match rustls {
                Some(rustls::Error::PeerIncompatible(
                    PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
                )) => "the server wants a version of TLS which is not allowed here",
                _ => "the server and this side have nothing in common that TLS could use",
            }),
            TlsErrorKind::NotTls { http: true } => {
                f.write_str("the server answered in plain HTTP instead of TLS")
            }
            TlsErrorKind::NotTls { http: false } => f.write_str("the server does not speak TLS"),
            TlsErrorKind::EarlyBytes => f.write_str("bytes had arrived before TLS began"),
            TlsErrorKind::Unfinished => {
                f.write_str("the connection was closed in the middle of the TLS handshake")
            }
            TlsErrorKind::Truncated => {
                f.write_str("the connection was closed without saying so in TLS (close_notify)")
            }
            TlsErrorKind::BadName(name) => {
                write!(
                    f,
                    "{:?} is no name that a certificate could be for",
                    cut(name)
                )
            }
            TlsErrorKind::Protocol => f.write_str("the server broke the rules of TLS"),
        }
    }
}

/// How many names an error lists: some certificates are for hundreds.
const LISTED: usize = 5;

/// A name of at most 255 bytes is printed whole (RFC 1035 §3.1).
fn cut(name: &str) -> &str {
    let end = (0..=name.len().min(255)).rfind(|&end| name.is_char_boundary(end));
    &name[..end.unwrap_or(0)]
}

fn wrong_name(f: &mut fmt::Formatter<'_>, expected: &str, presented: &[String]) -> fmt::Result {
    f.write_str("the server's certificate is not for ")?;
    f.write_str(if expected.is_empty() {
        "this name"
    } else {
        cut(expected)
    })?;
    if presented.is_empty() {
        return f.write_str(", nor for any name at all");
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
    f.write_str("the server's certificate is not meant for servers")?;
    let Some(rustls::Error::InvalidCertificate(CertificateError::InvalidPurposeContext {
        presented,
        ..
    })) = source
    else {
        return Ok(());
    };
    if presented.contains(&ExtendedKeyPurpose::ClientAuth) {
        f.write_str(", but for clients")?;
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

    /// The same, of what this file holds.
    pub(crate) fn in_file(mut self, path: &Path) -> Self {
        self.file = Some(path.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_registry() {
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
    fn a_long_list_of_names_is_cut() {
        let presented = (0..7).map(|n| format!("{n}.test")).collect();
        let error = TlsError::new(TlsErrorKind::WrongName {
            expected: "a.test".to_owned(),
            presented,
        });
        assert_eq!(
            error.to_string(),
            "the server's certificate is not for a.test, but for \
             0.test, 1.test, 2.test, 3.test, 4.test and 2 more"
        );
    }

    #[test]
    fn a_connection_cut_short_is_an_early_end_for_whoever_only_knows_streams() {
        let kind = |kind| TlsError::new(kind).into_io().kind();
        assert_eq!(kind(TlsErrorKind::Truncated), ErrorKind::UnexpectedEof);
        assert_eq!(kind(TlsErrorKind::Revoked), ErrorKind::InvalidData);
    }
}
