//! Host names: validation, comparison, and IP literals.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Maximum length of a domain name as text, with the final dot, in bytes.
// RFC 1035 §2.3.4: 255 octets with the lengths of the labels and of the root.
const MAX_HOST_BYTES: usize = 254;

/// Parses `host` as an IP literal (without brackets), and returns its address with `port`; `None` if it is a
/// name. Backends do not pass literals to a [`Resolve`](crate::Resolve).
pub fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let address: IpAddr = host.parse().ok()?;
    Some(SocketAddr::new(address, port))
}

/// Returns `host` in the form in which names are compared.
// RFC 1035 §2.3.3: names are compared without regard to the case of letters.
pub(crate) fn key(host: &str) -> Arc<str> {
    host.to_ascii_lowercase().into()
}

/// Returns an error if `host` cannot be a host name.
pub(crate) fn check(host: &str) -> io::Result<()> {
    let fault = if host.is_empty() {
        "empty host name"
    } else if host.len() > MAX_HOST_BYTES {
        "host name too long"
    } else if host.contains('\0') {
        "host name contains a zero byte"
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_ip_addresses_are_literals() {
        assert_eq!(literal("::1", 80), Some("[::1]:80".parse().unwrap()));
        let v4 = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(literal("127.0.0.1", 1), Some(v4));
        for name in ["localhost", "127.1", "0x7f.0.0.1", "[::1]", "::1%eth0", ""] {
            assert_eq!(literal(name, 80), None, "{name}");
        }
    }

    #[test]
    fn invalid_hosts_are_refused() {
        for (host, is_fine) in [
            ("a.test".to_owned(), true),
            ("a".repeat(254), true),
            ("a".repeat(255), false),
            (String::new(), false),
            ("a\0b".to_owned(), false),
        ] {
            assert_eq!(check(&host).is_ok(), is_fine, "{host:?}");
        }
    }
}
