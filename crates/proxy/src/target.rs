//! What a proxy is asked to connect to.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::error::ProxyError;

/// Maximum length of a host name in bytes, without a trailing dot (RFC 1035 §2.3.4). SOCKS5 has
/// room for 255.
const MAX_NAME: usize = 253;

/// The host and port that a proxy is asked to connect to.
///
/// `Display` writes it as an authority: IPv6 addresses in brackets (RFC 3986 §3.2.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    host: TargetHost,
    port: u16,
}

/// A host, as an address or as a name which the proxy resolves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetHost {
    /// An address.
    Ip(IpAddr),
    /// A name.
    Name(String),
}

impl Target {
    /// Creates a target from a host (a name, or an address; IPv6 with or without brackets) and a
    /// port.
    ///
    /// # Errors
    ///
    /// [`ProxyError::InvalidTarget`] if the name is empty, longer than 253 bytes, or has bytes that no
    /// host name has (only ASCII letters, digits, `-`, `_` and `.` are accepted).
    pub fn new(host: &str, port: u16) -> Result<Self, ProxyError> {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Target {
                host: TargetHost::Ip(ip),
                port,
            });
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let length = host.strip_suffix('.').unwrap_or(host).len();
        if length == 0 || length > MAX_NAME || !host.bytes().all(is_name) {
            return Err(ProxyError::InvalidTarget);
        }
        Ok(Target {
            host: TargetHost::Name(host.to_owned()),
            port,
        })
    }

    /// Returns the host.
    pub fn host(&self) -> &TargetHost {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Target {
            host: TargetHost::Ip(address.ip()),
            port: address.port(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            TargetHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            TargetHost::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            TargetHost::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_names_and_nothing_else() {
        for (host, shown) in [
            ("example.com", "example.com:80"),
            ("example.com.", "example.com.:80"),
            ("a_b", "a_b:80"),
            ("127.0.0.1", "127.0.0.1:80"),
            ("::1", "[::1]:80"),
            ("[::1]", "[::1]:80"),
        ] {
            assert_eq!(Target::new(host, 80).unwrap().to_string(), shown);
        }
        let long = "a".repeat(MAX_NAME);
        assert!(Target::new(&long, 80).is_ok());
        assert!(Target::new(&format!("{long}."), 80).is_ok());
        let too_long = format!("{long}a");
        for host in [
            "",
            ".",
            "a b",
            "a\r\nb",
            "a\0",
            "ü",
            "[a]",
            "fe80::1%eth0",
            &too_long,
        ] {
            assert!(
                matches!(Target::new(host, 80), Err(ProxyError::InvalidTarget)),
                "{host:?}"
            );
        }
    }
}
