//! What can go wrong with a proxy.

use std::{fmt, io};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use httpcore_proto_h1::codec::ProtocolError;
use thiserror::Error;

/// A failure of a proxy, of its configuration, or of the negotiation with it.
///
/// No message holds credentials.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The URL of a proxy is malformed.
    #[error("invalid proxy URL: {0}")]
    InvalidUrl(&'static str),
    /// The host cannot be a target: empty, too long, or with bytes that no host name has.
    #[error("invalid host name for a proxy to connect to")]
    InvalidTarget,
    /// The target is a name and the protocol takes addresses only (SOCKS4), or an IPv6 address and the
    /// protocol takes IPv4 only (SOCKS4 and 4a).
    #[error("{0}")]
    UnsupportedTarget(&'static str),
    /// The user or the password cannot be sent with this protocol.
    #[error("invalid proxy credentials: {0}")]
    InvalidCredentials(&'static str),
    /// A field for the proxy cannot be sent.
    #[error("invalid header field for the proxy")]
    InvalidHeader,
    /// The proxy answered `CONNECT` with something other than a 2xx.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The SOCKS proxy refused the request.
    #[error("the SOCKS proxy refused to connect: {0}")]
    SocksRefused(SocksReply),
    /// The SOCKS5 proxy accepts none of the authentication methods offered (RFC 1928 §3).
    #[error("the SOCKS5 proxy accepts none of the authentication methods offered")]
    NoAcceptableMethod,
    /// The SOCKS5 proxy rejected the user and password (RFC 1929 §2).
    #[error("the SOCKS5 proxy rejected the user name and password")]
    AuthenticationFailed,
    /// What the proxy sent is not what its protocol says.
    #[error("malformed answer from the proxy: {0}")]
    Malformed(&'static str),
    /// The response to `CONNECT` breaks the rules of HTTP/1.1.
    #[error("malformed response to CONNECT from the proxy")]
    Http(#[source] ProtocolError),
    /// The proxy closed the connection before the tunnel was open.
    #[error("the proxy closed the connection before the tunnel was open")]
    Closed,
    /// Reading or writing failed.
    #[error("the connection to the proxy failed")]
    Io(#[source] io::Error),
}

impl ProxyError {
    /// Returns the error of the proxy behind `error`: of the library's [`Error`](httpcore_core_primitives::Error),
    /// or of any other that has one among its sources.
    pub fn source_of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a ProxyError> {
        let mut level = Some(error);
        while let Some(error) = level {
            if let Some(error) = error.downcast_ref() {
                return Some(error);
            }
            // The cause itself, which `source` may leave out.
            level = match error.downcast_ref::<httpcore_core_primitives::Error>() {
                Some(error) => error.cause(),
                None => error.source(),
            };
        }
        None
    }

    /// Returns the response with which the proxy refused `CONNECT`, if that is what happened.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            ProxyError::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// A response to `CONNECT` other than 2xx. It is the proxy's, and never the origin's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The first 64 KiB of the body.
    pub body: Bytes,
    /// Whether `body` is all of it.
    pub is_complete: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                write!(f, "the proxy requires authentication ({})", self.status)
            }
            status => write!(f, "the proxy refused to connect ({status})"),
        }
    }
}

/// The reason a SOCKS proxy gives for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocksReply {
    /// SOCKS4: request rejected or failed (91), or SOCKS5: general failure (1).
    GeneralFailure,
    /// SOCKS5: connection not allowed by ruleset (2).
    NotAllowed,
    /// SOCKS5: network unreachable (3).
    NetworkUnreachable,
    /// SOCKS5: host unreachable (4).
    HostUnreachable,
    /// SOCKS5: connection refused (5).
    ConnectionRefused,
    /// SOCKS5: TTL expired (6).
    TtlExpired,
    /// SOCKS5: command not supported (7).
    CommandNotSupported,
    /// SOCKS5: address type not supported (8).
    AddressTypeNotSupported,
    /// SOCKS4: no identd reachable at the client (92).
    IdentUnreachable,
    /// SOCKS4: the client's identd reports another user (93).
    IdentMismatch,
    /// Another code.
    Other(u8),
}

impl SocksReply {
    pub(crate) fn of_socks4(code: u8) -> Self {
        match code {
            91 => SocksReply::GeneralFailure,
            92 => SocksReply::IdentUnreachable,
            93 => SocksReply::IdentMismatch,
            code => SocksReply::Other(code),
        }
    }

    pub(crate) fn of_socks5(code: u8) -> Self {
        match code {
            1 => SocksReply::GeneralFailure,
            2 => SocksReply::NotAllowed,
            3 => SocksReply::NetworkUnreachable,
            4 => SocksReply::HostUnreachable,
            5 => SocksReply::ConnectionRefused,
            6 => SocksReply::TtlExpired,
            7 => SocksReply::CommandNotSupported,
            8 => SocksReply::AddressTypeNotSupported,
            code => SocksReply::Other(code),
        }
    }
}

impl fmt::Display for SocksReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SocksReply::GeneralFailure => "general failure",
            SocksReply::NotAllowed => "connection not allowed by ruleset",
            SocksReply::NetworkUnreachable => "network unreachable",
            SocksReply::HostUnreachable => "host unreachable",
            SocksReply::ConnectionRefused => "connection refused",
            SocksReply::TtlExpired => "TTL expired",
            SocksReply::CommandNotSupported => "command not supported",
            SocksReply::AddressTypeNotSupported => "address type not supported",
            SocksReply::IdentUnreachable => "no identd reachable at the client",
            SocksReply::IdentMismatch => "the identd reports another user",
            SocksReply::Other(code) => return write!(f, "code {code}"),
        })
    }
}
