//! The table of public addresses.
//!
//! The ranges are those of IANA's registries of special-purpose addresses for IPv4 and IPv6
//! (RFC 6890), with the multicast and reserved ranges that the registries leave out. Of the IPv6
//! space, only what IANA gives out for global unicast is public at all.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use httpcore_core_primitives::{AddressFilter, ConnectTarget};

/// Returns whether `address` belongs to the public Internet: whether a program may connect to it on
/// behalf of others without reaching the machine itself, its own network, or an address that is not
/// a host's.
///
/// Not public are, for IPv4, everything that the registry of special-purpose addresses does not call
/// globally reachable, multicast, and the reserved and broadcast addresses. For IPv6, everything
/// outside of `2000::/3`, and inside of it what the registry does not call globally reachable.
///
/// Addresses that carry an IPv4 address:
///
/// | form | public |
/// |---|---|
/// | IPv4-mapped, `::ffff:0:0/96` | as the IPv4 address is: systems connect to that one |
/// | NAT64, `64:ff9b::/96` | as the IPv4 address is: the translator connects to that one |
/// | NAT64 for local use, `64:ff9b:1::/48` | never |
/// | IPv4-compatible, `::/96` (deprecated) | never |
/// | IPv4-translated, `::ffff:0:0:0/96` | never |
/// | 6to4, `2002::/16` (relays deprecated) | never |
/// | Teredo, `2001::/32` | never |
///
/// Stricter than the registry, because no HTTP server is there: the anycast addresses of PCP, TURN
/// and DNS-SD (`192.0.0.9`, `192.0.0.10`, `2001:1::1` to `2001:1::3`), and identifiers that look like
/// addresses (ORCHIDv2, drone identifiers).
///
/// It cannot be known here whether a public address is routed to a private host: by a NAT64 prefix
/// of the network's own, by ISATAP, or by a firewall's rules.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The ranges that are not public: the first address, the length of the prefix.
#[rustfmt::skip]
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // RFC 791 §3.2: this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // RFC 1918 §3: private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // RFC 6598: shared by customers of a provider
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // RFC 1122 §3.2.1.3: loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // RFC 3927: link-local; clouds' metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // RFC 1918 §3: private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // RFC 6890 §2.1: protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // RFC 5737: documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // RFC 7526: relays of 6to4, deprecated
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // RFC 1918 §3: private
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // RFC 2544: benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // RFC 5737: documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // RFC 5737: documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // RFC 5771: multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // RFC 1112 §4: reserved
    (Ipv4Addr::BROADCAST, 32),            // RFC 919 §7: limited broadcast
];

/// The range that is allocated for global unicast.
const UNICAST_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3); // RFC 4291 §2.4

/// Ranges inside of [`UNICAST_V6`] that are not public.
#[rustfmt::skip]
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),     // RFC 2928: protocol assignments
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // RFC 3849: documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),     // RFC 3056 §2: 6to4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),     // RFC 9637: documentation
];

/// Ranges inside of the protocol assignments that are public all the same.
#[rustfmt::skip]
const PUBLIC_ASSIGNMENTS_V6: [(Ipv6Addr, u32); 2] = [
    (Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 0), 32),     // RFC 7450: AMT
    (Ipv6Addr::new(0x2001, 4, 0x112, 0, 0, 0, 0, 0), 48), // RFC 7535: AS112
];

/// Prefixes of 96 bits that are followed by an IPv4 address which decides.
#[rustfmt::skip]
const EMBEDDING: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0),      // RFC 4291 §2.5.5.2: IPv4-mapped
    Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0),   // RFC 6052 §2.1: NAT64's well-known prefix
];

/// The filter that allows public addresses only, as [`is_public`] defines them: for programs that send
/// requests to URLs from untrusted input (SSRF).
///
/// Names that a proxy resolves are refused, since their addresses are not known here, and so are proxies
/// whose addresses are not public. [`trust_proxies`](Self::trust_proxies) allows both.
///
/// ```
/// use httpcore_core_primitives::{AddressFilter, ConnectTarget};
/// use httpcore_resolver::PublicAddresses;
///
/// let filter = AddressFilter::from(PublicAddresses::only());
/// let metadata = ConnectTarget::new("a.test", 80, Some(([169, 254, 169, 254], 80).into()));
/// assert_eq!(
///     filter.check(&metadata).unwrap_err().to_string(),
///     "connecting to 169.254.169.254:80 (a.test) was refused: not a public address"
/// );
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a description of a filter does nothing; convert it into an AddressFilter"]
pub struct PublicAddresses {
    trusts_proxies: bool,
}

impl PublicAddresses {
    /// The filter without exceptions.
    pub fn only() -> Self {
        PublicAddresses {
            trusts_proxies: false,
        }
    }

    /// Allows proxies at any address, and names that a proxy resolves: the proxy then decides which
    /// origins may be reached by name. Origins that are written as addresses must still be public.
    pub fn trust_proxies(mut self) -> Self {
        self.trusts_proxies = true;
        self
    }

    fn check(self, target: &ConnectTarget<'_>) -> Result<(), Cow<'static, str>> {
        match target.address {
            Some(address) if is_public(address.ip()) => Ok(()),
            Some(_) if target.is_proxy && self.trusts_proxies => Ok(()),
            Some(_) => Err("not a public address".into()),
            None if self.trusts_proxies => Ok(()),
            None => Err("a proxy would resolve this name".into()),
        }
    }
}

impl From<PublicAddresses> for AddressFilter {
    fn from(public: PublicAddresses) -> Self {
        AddressFilter::new(move |target| public.check(target))
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4
        .iter()
        .any(|(first, length)| (address.to_bits() ^ first.to_bits()) >> (32 - length) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let is_in = |(first, length): &(Ipv6Addr, u32)| {
        (address.to_bits() ^ first.to_bits()) >> (128 - length) == 0
    };
    if EMBEDDING.iter().any(|prefix| is_in(&(*prefix, 96))) {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    is_in(&UNICAST_V6)
        && (!NOT_PUBLIC_V6.iter().any(is_in) || PUBLIC_ASSIGNMENTS_V6.iter().any(is_in))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last of each range, and the neighbours outside of it.
    #[rustfmt::skip]
    const ROWS: &[(&str, bool)] = &[
        ("0.0.0.0", false), ("0.255.255.255", false), ("1.0.0.0", true), ("1.1.1.1", true),
        ("8.8.8.8", true),
        ("9.255.255.255", true), ("10.0.0.0", false), ("10.255.255.255", false), ("11.0.0.0", true),
        ("100.63.255.255", true), ("100.64.0.0", false), ("100.127.255.255", false),
        ("100.128.0.0", true),
        ("126.255.255.255", true), ("127.0.0.0", false), ("127.0.0.1", false),
        ("127.255.255.255", false), ("128.0.0.0", true),
        ("169.253.255.255", true), ("169.254.0.0", false), ("169.254.169.254", false),
        ("169.254.255.255", false), ("169.255.0.0", true),
        ("172.15.255.255", true), ("172.16.0.0", false), ("172.31.255.255", false),
        ("172.32.0.0", true),
        ("191.255.255.255", true), ("192.0.0.0", false), ("192.0.0.8", false),
        ("192.0.0.9", false), ("192.0.0.10", false), ("192.0.0.170", false),
        ("192.0.0.255", false), ("192.0.1.0", true),
        ("192.0.1.255", true), ("192.0.2.0", false), ("192.0.2.255", false), ("192.0.3.0", true),
        ("192.31.196.1", true), ("192.52.193.1", true), ("192.175.48.1", true),
        ("192.88.98.255", true), ("192.88.99.0", false), ("192.88.99.2", false),
        ("192.88.99.255", false), ("192.88.100.0", true),
        ("192.167.255.255", true), ("192.168.0.0", false), ("192.168.255.255", false),
        ("192.169.0.0", true),
        ("198.17.255.255", true), ("198.18.0.0", false), ("198.19.255.255", false),
        ("198.20.0.0", true),
        ("198.51.99.255", true), ("198.51.100.0", false), ("198.51.100.255", false),
        ("198.51.101.0", true),
        ("203.0.112.255", true), ("203.0.113.0", false), ("203.0.113.255", false),
        ("203.0.114.0", true),
        ("223.255.255.255", true), ("224.0.0.0", false), ("224.0.0.1", false),
        ("239.255.255.255", false), ("240.0.0.0", false), ("255.255.255.254", false),
        ("255.255.255.255", false),

        // Outside of global unicast.
        ("::", false), ("::1", false), ("::2", false),
        ("::127.0.0.1", false), ("::8.8.8.8", false), ("::ffff:0:8.8.8.8", false),
        ("100::", false), ("100::ffff", false), ("100:0:0:1::", false),
        ("200::", false), ("400::1", false), ("1fff:ffff::", false),
        ("4000::", false), ("5f00::1", false), ("8000::1", false),
        ("fbff::", false), ("fc00::", false), ("fd00:ec2::254", false), ("fdff:ffff::1", false),
        ("fe00::1", false), ("fe80::1", false), ("febf::1", false),
        ("fec0::1", false), ("feff::1", false), ("ff00::", false), ("ff02::1", false),
        ("ff0e::1", false),

        // Inside of it.
        ("2000::", true), ("2000:ffff::1", true),
        ("2001::", false), ("2001:0:4136:e378:8000:63bf:3fff:fdd2", false),
        ("2001:0:ffff:ffff:ffff:ffff:ffff:ffff", false),
        ("2001:1::", false), ("2001:1::1", false), ("2001:1::2", false), ("2001:1::3", false),
        ("2001:2::1", false), ("2001:2:0:ffff::1", false),
        ("2001:3::1", true), ("2001:3:ffff::1", true),
        ("2001:4:111::1", false), ("2001:4:112::1", true), ("2001:4:112:ffff::1", true),
        ("2001:4:113::1", false),
        ("2001:5::1", false), ("2001:10::1", false), ("2001:1f:ffff::1", false),
        ("2001:20::1", false), ("2001:2f:ffff::1", false), ("2001:30::1", false),
        ("2001:3f::1", false), ("2001:1ff:ffff::1", false), ("2001:200::1", true),
        ("2001:4860:4860::8888", true),
        ("2001:db7:ffff::1", true), ("2001:db8::", false), ("2001:db8:ffff::1", false),
        ("2001:db9::", true),
        ("2001:ffff::1", true), ("2002::", false), ("2002:7f00:1::", false),
        ("2002:808:808::1", false), ("2002:ffff:ffff::1", false), ("2003::1", true),
        ("2606:4700:4700::1111", true), ("2620:4f:8000::1", true), ("2a00:1450::1", true),
        ("3ffe:ffff::1", true), ("3fff::", false), ("3fff:fff:ffff::1", false),
        ("3fff:1000::", true), ("3fff:ffff::1", true),

        // With an IPv4 address that counts.
        ("::fffe:8.8.8.8", false), ("::ffff:8.8.8.8", true), ("::ffff:127.0.0.1", false),
        ("::ffff:10.0.0.1", false), ("::ffff:169.254.169.254", false), ("::ffff:0.0.0.0", false),
        ("::ffff:192.168.1.1", false), ("::ffff:255.255.255.255", false),
        ("::1:ffff:8.8.8.8", false),
        ("64:ff9a::8.8.8.8", false), ("64:ff9b::8.8.8.8", true), ("64:ff9b::127.0.0.1", false),
        ("64:ff9b::10.1.2.3", false), ("64:ff9b::169.254.169.254", false),
        ("64:ff9b::100.64.0.1", false), ("64:ff9b::1:8.8.8.8", false),
        ("64:ff9b:1::8.8.8.8", false), ("64:ff9b:1:ffff::1", false), ("64:ff9b:2::8.8.8.8", false),
    ];

    #[test]
    fn special_ranges_have_the_bounds_of_the_registries() {
        assert!(ROWS.len() >= 80, "{} rows", ROWS.len());
        for (address, expected) in ROWS {
            assert_eq!(is_public(address.parse().unwrap()), *expected, "{address}");
        }
    }

    #[test]
    fn special_addresses_of_std_are_not_public() {
        // A step which has no factor in common with the ranges' lengths.
        for bits in (0..=u32::MAX).step_by(65_521) {
            let address = Ipv4Addr::from_bits(bits);
            let is_special = address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_broadcast()
                || address.is_documentation()
                || address.is_multicast()
                || address.is_unspecified();
            assert!(!(is_special && is_public(address.into())), "{address}");
            let mapped = address.to_ipv6_mapped();
            assert_eq!(
                is_public(mapped.into()),
                is_public(address.into()),
                "{mapped}"
            );
        }
    }

    #[test]
    fn ranges_begin_at_their_prefix() {
        for (first, length) in NOT_PUBLIC_V4 {
            let host_bits = u32::MAX.checked_shr(length).unwrap_or(0);
            assert_eq!(first.to_bits() & host_bits, 0, "{first}/{length}");
        }
        for (first, length) in NOT_PUBLIC_V6.iter().chain(&PUBLIC_ASSIGNMENTS_V6) {
            assert_eq!(
                first.to_bits() & (u128::MAX >> length),
                0,
                "{first}/{length}"
            );
        }
    }
}
