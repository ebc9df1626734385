//! Server names.

use std::net::IpAddr;

use rustls::pki_types::{DnsName, ServerName};

/// Parses a host as it is written in a URL or a route: a name, or an address with or without brackets.
pub(crate) fn parse(host: &str) -> Option<ServerName<'static>> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    // RFC 6874 §1: a zone names a local interface, and means nothing to the peer.
    let address = bare.split_once('%').map_or(bare, |(address, _)| address);
    if let Ok(address) = address.parse::<IpAddr>() {
        return Some(ServerName::IpAddress(address.into()));
    }
    // RFC 6066 §3: the name is sent without the dot at its end.
    let name = bare.strip_suffix('.').unwrap_or(bare);
    let name = DnsName::try_from(name.to_owned()).ok()?;
    Some(ServerName::DnsName(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        for (host, read) in [
            ("example.com", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("under_score.example", Some("under_score.example")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("[::1]", Some("::1")),
            ("fe80::1%eth0", Some("fe80::1")),
            ("", None),
            (".", None),
            ("two words", None),
            ("a..b", None),
            ("[example.com", None),
        ] {
            let name = parse(host).map(|name| name.to_str().into_owned());
            assert_eq!(name.as_deref(), read, "{host:?}");
        }
    }

    #[test]
    fn an_address_is_never_a_name() {
        for host in ["127.0.0.1", "[::1]", "::ffff:1.2.3.4"] {
            assert!(
                matches!(parse(host), Some(ServerName::IpAddress(_))),
                "{host}"
            );
        }
    }
}
