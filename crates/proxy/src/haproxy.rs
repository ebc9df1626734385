//! The PROXY protocol (HAProxy's `proxy-protocol.txt`, version 1 and 2), as a client sends it.
//!
//! The header is the first thing on a connection, before TLS and before HTTP. It is part of what
//! separates one connection from another: connections with different headers are never shared.
//!
//! ```
//! use httpcore_proxy::haproxy::{Addresses, v1};
//!
//! let addresses = Addresses::new("192.0.2.1:5000".parse()?, "192.0.2.9:80".parse()?);
//! assert_eq!(v1(addresses.as_ref()), &b"PROXY TCP4 192.0.2.1 192.0.2.9 5000 80\r\n"[..]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use bytes::{BufMut, Bytes, BytesMut};

/// The signature of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const PROXY: u8 = 0x21;
/// Version 2, command LOCAL: the connection is the sender's own.
const LOCAL: u8 = 0x20;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;

/// The source and the destination of the connection that is reported, of one address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Addresses {
    source: SocketAddr,
    destination: SocketAddr,
}

impl Addresses {
    /// Returns the pair, or `None` if the addresses are of different families. IPv4-mapped IPv6
    /// addresses count as IPv4.
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Option<Self> {
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (source, destination) = (canonical(source), canonical(destination));
        (source.is_ipv4() == destination.is_ipv4()).then_some(Addresses {
            source,
            destination,
        })
    }
}

/// A header of the PROXY protocol that a connection begins with. By default it reports the addresses of the
/// connection itself.
///
/// ```
/// use httpcore_proxy::haproxy::{Addresses, ProxyHeader};
///
/// let client = Addresses::new("192.0.2.1:5000".parse()?, "192.0.2.9:80".parse()?);
/// let header = ProxyHeader::v2().with_addresses(client);
/// assert_eq!(header.encode(None).len(), 28);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyHeader {
    is_v2: bool,
    reported: Reported,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reported {
    OfConnection,
    Given(Option<Addresses>),
}

impl ProxyHeader {
    /// Returns a header of version 1, a line of text.
    pub fn v1() -> Self {
        ProxyHeader {
            is_v2: false,
            reported: Reported::OfConnection,
        }
    }

    /// Returns a header of version 2, which is binary.
    pub fn v2() -> Self {
        ProxyHeader {
            is_v2: true,
            reported: Reported::OfConnection,
        }
    }

    /// Reports `addresses`, or that they are not known: `PROXY UNKNOWN` in version 1, LOCAL in version 2.
    #[must_use]
    pub fn with_addresses(mut self, addresses: impl Into<Option<Addresses>>) -> Self {
        self.reported = Reported::Given(addresses.into());
        self
    }

    /// Returns the bytes. `own` is the addresses of the connection, `None` for a Unix domain socket.
    pub fn encode(&self, own: Option<&Addresses>) -> Bytes {
        let addresses = match &self.reported {
            Reported::OfConnection => own,
            Reported::Given(addresses) => addresses.as_ref(),
        };
        if self.is_v2 {
            v2(addresses)
        } else {
            v1(addresses)
        }
    }
}

impl fmt::Display for ProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.is_v2 { 2 } else { 1 };
        write!(f, "PROXY header of version {version}")
    }
}

/// Returns the header of version 1, a line of at most 107 bytes. Without addresses it is
/// `PROXY UNKNOWN`.
pub fn v1(addresses: Option<&Addresses>) -> Bytes {
    let Some(Addresses {
        source,
        destination,
    }) = addresses
    else {
        return Bytes::from_static(b"PROXY UNKNOWN\r\n");
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    )
    .into()
}

/// Returns the header of version 2, at most 52 bytes, without TLVs. Without addresses its command is
/// LOCAL.
pub fn v2(addresses: Option<&Addresses>) -> Bytes {
    let mut header = BytesMut::from(&SIGNATURE[..]);
    let Some(Addresses {
        source,
        destination,
    }) = addresses
    else {
        header.put_slice(&[LOCAL, UNSPECIFIED, 0, 0]);
        return header.freeze();
    };
    header.put_u8(PROXY);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.put_slice(&[TCP_OVER_IPV4, 0, 12]);
            header.put_slice(&source.octets());
            header.put_slice(&destination.octets());
        }
        (source, destination) => {
            header.put_slice(&[TCP_OVER_IPV6, 0, 36]);
            for ip in [source, destination] {
                let ip = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                header.put_slice(&ip.octets());
            }
        }
    }
    header.put_u16(source.port());
    header.put_u16(destination.port());
    header.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(source: &str, destination: &str) -> Option<Addresses> {
        Addresses::new(source.parse().unwrap(), destination.parse().unwrap())
    }

    #[test]
    fn version_1_is_a_line_of_text() {
        for (source, destination, line) in [
            (
                "192.0.2.1:65535",
                "192.0.2.2:443",
                "PROXY TCP4 192.0.2.1 192.0.2.2 65535 443\r\n",
            ),
            (
                "[2001:db8::1]:1",
                "[2001:db8::2]:2",
                "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n",
            ),
            (
                "[::ffff:192.0.2.1]:1",
                "192.0.2.2:2",
                "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            ),
        ] {
            let addresses = pair(source, destination);
            assert_eq!(v1(addresses.as_ref()), line.as_bytes());
        }
        assert_eq!(v1(None), &b"PROXY UNKNOWN\r\n"[..]);
        assert_eq!(pair("192.0.2.1:1", "[2001:db8::2]:2"), None);
    }

    #[test]
    fn version_2_is_binary_and_says_its_length() {
        let v4 = pair("192.0.2.1:258", "192.0.2.2:443");
        assert_eq!(
            v2(v4.as_ref()),
            &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x01\x02\x01\xbb"[..]
        );
        let v6 = v2(pair("[2001:db8::1]:1", "[2001:db8::2]:2").as_ref());
        assert_eq!((v6.len(), &v6[12..16]), (52, &[0x21, 0x21, 0, 36][..]));
        assert_eq!(v2(None), &b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..]);
    }
}
