//! Which hosts are reached without a proxy: the list of `NO_PROXY`.

use std::net::IpAddr;

/// The list of `NO_PROXY`. Clients differ about it; this is the whole of our rule:
///
/// - Entries are separated by commas or white space. Upper and lower case are the same, and a trailing
///   dot of a name does not matter.
/// - `*`, anywhere in the list, matches every host.
/// - `host`, `.host` and `*.host` match the host and all of its subdomains.
/// - An address, IPv6 with or without brackets, matches that address, however it is written.
///   IPv4-mapped IPv6 addresses are the IPv4 address.
/// - `address/bits` matches the network, of the same family (CIDR).
/// - `:port` after a name, an IPv4 address or a bracketed IPv6 address restricts the entry to that port.
/// - Entries which are none of these are ignored; a lone `.` matches nothing. No name is resolved.
///
/// ```
/// use httpcore_proxy::NoProxy;
///
/// let list = NoProxy::new("localhost, .internal.test 10.0.0.0/8, [::1]:8080");
/// assert!(list.matches("api.internal.test", 443));
/// assert!(list.matches("10.1.2.3", 80));
/// assert!(!list.matches("::1", 80));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy {
    matches_all: bool,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    /// A name in lower case without a trailing dot, and its subdomains.
    Domain(String),
    /// A network, as the bits of its address and how many of them count.
    Network { address: IpAddr, bits: u32 },
}

impl NoProxy {
    /// Reads a list. Nothing in it is an error.
    pub fn new(list: &str) -> Self {
        let mut no_proxy = NoProxy::default();
        let words = list.split(|c: char| c == ',' || c.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            if word == "*" {
                no_proxy.matches_all = true;
            } else if let Some(entry) = Entry::read(word) {
                no_proxy.entries.push(entry);
            }
        }
        no_proxy
    }

    /// Returns whether `host` (a name, or an address with or without brackets) at `port` is reached
    /// without a proxy.
    pub fn matches(&self, host: &str, port: u16) -> bool {
        if self.matches_all {
            return true;
        }
        let host = without_brackets(host);
        let address = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        let name = host.strip_suffix('.').unwrap_or(host);
        self.entries.iter().any(|entry| {
            entry.port.is_none_or(|only| only == port)
                && match (&entry.hosts, address) {
                    (Hosts::Network { address, bits }, Some(host)) => {
                        is_within(host, *address, *bits)
                    }
                    (Hosts::Domain(domain), None) => is_domain_of(name, domain),
                    _ => false,
                }
        })
    }
}

impl Entry {
    fn read(word: &str) -> Option<Self> {
        if let Some(hosts) = Hosts::network(word) {
            return Some(Entry { hosts, port: None });
        }
        let (host, port) = match word.rsplit_once(':') {
            Some((host, port)) => (host, Some(read_number::<u16>(port)?)),
            None => (word, None),
        };
        let hosts = Hosts::network(host).or_else(|| Hosts::domain(host))?;
        Some(Entry { hosts, port })
    }
}

impl Hosts {
    fn network(word: &str) -> Option<Self> {
        let (address, bits) = match word.split_once('/') {
            Some((address, bits)) => (address, Some(read_number::<u32>(bits)?)),
            None => (word, None),
        };
        let address: IpAddr = without_brackets(address).parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        if bits > all {
            return None;
        }
        Some(match address.to_canonical() {
            // A network of mapped addresses: the first 96 bits are the mapping's.
            canonical if canonical != address => Hosts::Network {
                address: canonical,
                bits: bits.checked_sub(96)?,
            },
            address => Hosts::Network { address, bits },
        })
    }

    fn domain(word: &str) -> Option<Self> {
        let name = word.strip_prefix('*').map_or(Some(word), |rest| {
            // `*.host`, and not `*host`.
            rest.starts_with('.').then_some(rest)
        })?;
        let name = name.strip_prefix('.').unwrap_or(name);
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_name = !name.is_empty()
            && !name.starts_with('.')
            && name.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) || !byte.is_ascii()
            });
        is_name.then(|| Hosts::Domain(name.to_ascii_lowercase()))
    }
}

fn read_number<N: std::str::FromStr>(digits: &str) -> Option<N> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

fn is_domain_of(name: &str, domain: &str) -> bool {
    let Some(start) = name.len().checked_sub(domain.len()) else {
        return false;
    };
    name.is_char_boundary(start)
        && name[start..].eq_ignore_ascii_case(domain)
        && (start == 0 || name[..start].ends_with('.'))
}

fn is_within(host: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (host, network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => {
            let differing = u32::from(host) ^ u32::from(network);
            bits == 0 || differing >> (32 - bits) == 0
        }
        (IpAddr::V6(host), IpAddr::V6(network)) => {
            let differing = u128::from(host) ^ u128::from(network);
            bits == 0 || differing >> (128 - bits) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// List, host, port, whether it is matched.
    const TABLE: &[(&str, &str, u16, bool)] = &[
        // Nothing.
        ("", "a.test", 80, false),
        (" , ,, ", "a.test", 80, false),
        // Everything.
        ("*", "a.test", 80, true),
        ("*", "127.0.0.1", 80, true),
        ("*", "::1", 80, true),
        ("x.test,*", "a.test", 80, true),
        ("* x.test", "a.test", 80, true),
        // Names and subdomains.
        ("a.test", "a.test", 80, true),
        ("a.test", "b.a.test", 80, true),
        ("a.test", "c.b.a.test", 80, true),
        ("a.test", "ba.test", 80, false),
        ("a.test", "test", 80, false),
        ("a.test", "a.test.b", 80, false),
        (".a.test", "a.test", 80, true),
        (".a.test", "b.a.test", 80, true),
        (".a.test", "ba.test", 80, false),
        ("*.a.test", "a.test", 80, true),
        ("*.a.test", "b.a.test", 80, true),
        ("*.a.test", "ba.test", 80, false),
        ("*a.test", "ba.test", 80, false),
        ("*a.test", "a.test", 80, false),
        ("test", "a.test", 80, true),
        ("localhost", "localhost", 80, true),
        ("localhost", "localhost.test", 80, false),
        // Case and trailing dots.
        ("A.Test", "a.tEST", 80, true),
        ("a.test.", "a.test", 80, true),
        ("a.test", "a.test.", 80, true),
        ("a.test.", "b.a.test.", 80, true),
        // Separators.
        ("x.test,a.test", "a.test", 80, true),
        ("x.test a.test", "a.test", 80, true),
        ("x.test\ta.test\ny.test", "a.test", 80, true),
        (" x.test , a.test ", "a.test", 80, true),
        // Ports.
        ("a.test:8080", "a.test", 8080, true),
        ("a.test:8080", "a.test", 80, false),
        (".a.test:8080", "b.a.test", 8080, true),
        ("127.0.0.1:8080", "127.0.0.1", 8080, true),
        ("127.0.0.1:8080", "127.0.0.1", 80, false),
        ("[::1]:8080", "::1", 8080, true),
        ("[::1]:8080", "::1", 80, false),
        ("10.0.0.0/8:80", "10.1.1.1", 80, true),
        ("10.0.0.0/8:80", "10.1.1.1", 81, false),
        // Addresses.
        ("127.0.0.1", "127.0.0.1", 80, true),
        ("127.0.0.1", "127.0.0.2", 80, false),
        ("127.0.0.1", "1.127.0.0.1", 80, false),
        ("::1", "::1", 80, true),
        ("::1", "[::1]", 80, true),
        ("[::1]", "::1", 80, true),
        ("[::1]", "[::1]", 80, true),
        ("0:0:0:0:0:0:0:1", "::1", 80, true),
        ("2001:DB8::1", "2001:db8:0::1", 80, true),
        ("::ffff:127.0.0.1", "127.0.0.1", 80, true),
        ("127.0.0.1", "::ffff:127.0.0.1", 80, true),
        ("127.0.0.1", "localhost", 80, false),
        ("localhost", "127.0.0.1", 80, false),
        // Networks.
        ("10.0.0.0/8", "10.255.0.1", 80, true),
        ("10.0.0.0/8", "11.0.0.1", 80, false),
        ("10.9.9.9/8", "10.1.1.1", 80, true),
        ("192.168.1.0/24", "192.168.1.255", 80, true),
        ("192.168.1.0/24", "192.168.2.0", 80, false),
        ("192.168.1.7/32", "192.168.1.7", 80, true),
        ("192.168.1.7/32", "192.168.1.6", 80, false),
        ("0.0.0.0/0", "203.0.113.9", 80, true),
        ("0.0.0.0/0", "::1", 80, false),
        ("0.0.0.0/0", "a.test", 80, false),
        ("::/0", "2001:db8::1", 80, true),
        ("::/0", "127.0.0.1", 80, false),
        ("fd00::/8", "fdff::1", 80, true),
        ("fd00::/8", "fe00::1", 80, false),
        ("[2001:db8::]/32", "2001:db8:1::1", 80, true),
        ("::ffff:10.0.0.0/104", "10.1.1.1", 80, true),
        ("::ffff:10.0.0.0/104", "11.1.1.1", 80, false),
        // Malformed entries are ignored, and the others hold.
        (".", "a.test", 80, false),
        (".", "", 80, false),
        ("..", "a.test", 80, false),
        ("*.", "a.test", 80, false),
        ("10.0.0.0/33", "10.0.0.0", 80, false),
        ("10.0.0.0/", "10.0.0.0", 80, false),
        ("10.0.0.0/x", "10.0.0.0", 80, false),
        ("10.0.0.0/+8", "10.0.0.0", 80, false),
        ("::/129", "::", 80, false),
        ("a.test:", "a.test", 80, false),
        ("a.test:x", "a.test", 80, false),
        ("a.test:99999", "a.test", 80, false),
        ("http://a.test", "a.test", 80, false),
        ("/,a.test", "a.test", 80, true),
        ("[,a.test", "a.test", 80, true),
    ];

    #[test]
    fn the_table_of_rules_holds() {
        for &(list, host, port, expected) in TABLE {
            let found = NoProxy::new(list).matches(host, port);
            assert_eq!(found, expected, "{list:?} {host:?} {port}");
        }
        assert!(TABLE.len() >= 60, "{}", TABLE.len());
    }
}
