//! Scheme, host and port of a URL (RFC 9110 §4.3.1).

use std::{fmt, net::Ipv6Addr, str::FromStr};

use http::Uri;

use crate::error::{Error, ErrorKind, ErrorPhase, RequestSent};

/// A supported URL scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scheme {
    /// `http`, port 80.
    Http,
    /// `https`, port 443.
    Https,
    /// `ws`, port 80: WebSocket without TLS (RFC 6455 §3).
    Ws,
    /// `wss`, port 443: WebSocket over TLS.
    Wss,
}

impl Scheme {
    /// Returns the scheme in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
        }
    }

    /// Returns the port of a URL without one.
    pub fn default_port(self) -> u16 {
        if self.is_secure() { 443 } else { 80 }
    }

    /// Returns whether the scheme uses TLS.
    pub fn is_secure(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Wss)
    }

    fn parse(text: &str) -> Option<Self> {
        [Scheme::Http, Scheme::Https, Scheme::Ws, Scheme::Wss]
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An origin: scheme, host and port.
///
/// The host is in lower case (RFC 9110 §4.2.3), and an IPv6 address has no brackets, as resolvers
/// expect it. [`Display`](fmt::Display) adds the brackets.
///
/// ```
/// use httpcore_core_primitives::Origin;
///
/// let origin = Origin::of(&"http://[::1]:8080/path".parse()?)?;
/// assert_eq!((origin.host(), origin.port()), ("::1", 8080));
/// assert_eq!(origin.to_string(), "http://[::1]:8080");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// Creates an origin from its parts. An IPv6 address may have brackets.
    pub fn new(scheme: Scheme, host: &str, port: u16) -> Self {
        Origin {
            scheme,
            host: bare(host).to_ascii_lowercase(),
            port,
        }
    }

    /// Returns the origin of `url`.
    ///
    /// Of hosts in brackets (RFC 3986 §3.2.2), only IPv6 addresses are accepted: no name, no IPv4
    /// address, no address of a future version (`[v1.x]`), and no zone (`[fe80::1%25eth0]`,
    /// RFC 6874), for which there is `TcpOptions::interface`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`] if it has no scheme, no host, or an invalid port;
    /// [`ErrorKind::UnsupportedScheme`] for schemes other than `http`, `https`, `ws` and `wss`.
    pub fn of(url: &Uri) -> Result<Self, Error> {
        let invalid = |message| {
            Error::new(
                ErrorKind::InvalidUrl,
                ErrorPhase::Request,
                RequestSent::None,
            )
            .with_message(message)
        };
        let Some(scheme) = url.scheme_str() else {
            return Err(invalid(
                "the URL lacks a scheme such as http:// or https://",
            ));
        };
        let Some(scheme) = Scheme::parse(scheme) else {
            return Err(Error::new(
                ErrorKind::UnsupportedScheme,
                ErrorPhase::Request,
                RequestSent::None,
            )
            .with_message(format!("the URL's scheme {scheme}:// is not supported")));
        };
        let Some(authority) = url.authority() else {
            return Err(invalid("the URL lacks a host"));
        };
        let host = authority.host();
        if bare(host).is_empty() {
            return Err(invalid("the URL lacks a host"));
        }
        // RFC 6874: a zone names an interface of this machine, which `TcpOptions::interface` does.
        if bare(host).contains('%') {
            return Err(invalid(if host.starts_with('[') {
                "the URL's address has a zone: remove it, and set TcpOptions::interface"
            } else {
                "the URL's host is percent-encoded: use the ASCII form (xn--…) of an internationalized \
                 name"
            }));
        }
        // RFC 3986 §3.2.2 has names in ASCII; `http` lets other bytes through.
        if !host.is_ascii() {
            return Err(invalid(
                "the URL's host is not ASCII: use the ASCII form (xn--…) of an internationalized name",
            ));
        }
        if let Some(literal) = host.strip_prefix('[') {
            check_ip_literal(literal.strip_suffix(']').unwrap_or(literal)).map_err(invalid)?;
        }
        // `Authority::port_u16` returns `None` for an absent port and for one that is too large, and
        // RFC 3986 §3.2.3 allows an empty one.
        let port = match authority.port() {
            Some(port) => Some(port.as_u16()),
            None => match after_host(authority.as_str(), host) {
                "" | ":" => None,
                _ => return Err(invalid("the URL's port is not a number from 1 to 65535")),
            },
        };
        if port == Some(0) {
            return Err(invalid("the URL's port is 0"));
        }
        Ok(Origin::new(
            scheme,
            host,
            port.unwrap_or(scheme.default_port()),
        ))
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host in lower case, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port: the URL's, or the scheme's default.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of the `Host` field (RFC 9110 §7.2): the host, in brackets if it is an IPv6
    /// address, and the port unless it is the scheme's default.
    pub fn host_field(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.bracketed().to_string()
        } else {
            format!("{}:{}", self.bracketed(), self.port)
        }
    }

    fn bracketed(&self) -> Bracketed<'_> {
        Bracketed(&self.host)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.bracketed(), self.port)
    }
}

/// As [`Origin::of`].
impl TryFrom<&Uri> for Origin {
    type Error = Error;

    fn try_from(url: &Uri) -> Result<Self, Error> {
        Origin::of(url)
    }
}

/// The origin of a URL; its path and query are ignored.
///
/// ```
/// use httpcore_core_primitives::Origin;
///
/// let origin: Origin = "https://example.com".parse()?;
/// assert_eq!((origin.host(), origin.port()), ("example.com", 443));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl FromStr for Origin {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        Origin::of(&url.parse()?)
    }
}

struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') {
            write!(f, "[{}]", self.0)
        } else {
            f.write_str(self.0)
        }
    }
}

/// Checks the text inside the brackets of a host.
fn check_ip_literal(literal: &str) -> Result<(), &'static str> {
    // RFC 6874: a zone names an interface of this machine.
    if literal.contains('%') {
        return Err("the URL's address has a zone: remove it, and set TcpOptions::interface");
    }
    // RFC 3986 §3.2.2: IP-literal = "[" ( IPv6address / IPvFuture ) "]"
    if literal.starts_with(['v', 'V']) {
        return Err("the URL's host is an IP address of a future version, which is not supported");
    }
    match literal.parse::<Ipv6Addr>() {
        Ok(_) => Ok(()),
        Err(_) => Err("the URL's host is in brackets but is not an IPv6 address"),
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Returns the part of an authority after its host: empty, or a colon and possibly a port.
fn after_host<'a>(authority: &'a str, host: &str) -> &'a str {
    let from_host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, rest)| rest);
    from_host.get(host.len()..).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Origin, Error> {
        Origin::of(&url.parse().unwrap())
    }

    #[test]
    fn origin_has_scheme_host_and_port_of_the_url() {
        for (url, origin, host_field) in [
            (
                "http://example.com/x",
                "http://example.com:80",
                "example.com",
            ),
            ("HTTP://EXAMPLE.com", "http://example.com:80", "example.com"),
            ("https://a.b:8443/", "https://a.b:8443", "a.b:8443"),
            ("https://a.b:443/", "https://a.b:443", "a.b"),
            ("http://a.b:443/", "http://a.b:443", "a.b:443"),
            ("ws://a/", "ws://a:80", "a"),
            ("wss://a/", "wss://a:443", "a"),
            ("http://[::1]/", "http://[::1]:80", "[::1]"),
            (
                "http://[2001:DB8::1]:81/",
                "http://[2001:db8::1]:81",
                "[2001:db8::1]:81",
            ),
            ("http://user:secret@a.b:81/", "http://a.b:81", "a.b:81"),
            ("http://a.b:/", "http://a.b:80", "a.b"),
        ] {
            let found = of(url).unwrap();
            assert_eq!(url.parse::<Origin>().unwrap(), found);
            assert_eq!(found.to_string(), origin, "{url}");
            assert_eq!(found.host_field(), host_field, "{url}");
        }
    }

    #[test]
    fn invalid_urls_are_refused() {
        for (url, kind) in [
            ("/path", ErrorKind::InvalidUrl),
            ("ftp://example.com/", ErrorKind::UnsupportedScheme),
            ("http://a:0/", ErrorKind::InvalidUrl),
            ("http://[fe80::1%25lo]/", ErrorKind::InvalidUrl),
            ("http://a%41/", ErrorKind::InvalidUrl),
            ("http://[localhost]/", ErrorKind::InvalidUrl),
            ("http://[127.0.0.1]/", ErrorKind::InvalidUrl),
            ("http://[127.0.0.1]:80/", ErrorKind::InvalidUrl),
            ("http://[]/", ErrorKind::InvalidUrl),
            ("http://[1::2::3]/", ErrorKind::InvalidUrl),
            ("http://user@[localhost]/", ErrorKind::InvalidUrl),
            ("http://a:65536/", ErrorKind::InvalidUrl),
            ("http://a:99999999999/", ErrorKind::InvalidUrl),
            ("example.com", ErrorKind::InvalidUrl),
        ] {
            let Ok(url) = url.parse::<Uri>() else {
                continue; // refused by `http`
            };
            assert_eq!(Origin::of(&url).unwrap_err().kind(), kind, "{url}");
        }
    }

    #[test]
    fn brackets_hold_ipv6_addresses_only() {
        for (host, expected) in [
            ("[localhost]", "not an IPv6 address"),
            ("[127.0.0.1]", "not an IPv6 address"),
            ("[v1.fe80::a]", "future version"),
            ("[fe80::1%25eth0]", "TcpOptions::interface"),
        ] {
            // Some are refused by `http` already; those that it accepts must be refused here.
            if let Ok(url) = format!("http://{host}/").parse::<Uri>() {
                let error = Origin::of(&url).unwrap_err();
                assert!(error.to_string().contains(expected), "{host}: {error}");
            }
            let literal = host.trim_matches(['[', ']']);
            assert!(
                check_ip_literal(literal).unwrap_err().contains(expected),
                "{host}"
            );
        }
        for host in ["[::1]", "[::ffff:127.0.0.1]", "[2001:DB8::1]"] {
            assert!(of(&format!("http://{host}/")).is_ok(), "{host}");
        }
    }

    #[test]
    fn errors_do_not_contain_passwords() {
        let error = of("http://user:secret@a:0/").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[test]
    fn text_that_is_no_url_is_no_origin() {
        for (text, kind) in [
            ("http://a b/", ErrorKind::InvalidUrl),
            ("example.com", ErrorKind::InvalidUrl),
            ("ftp://example.com/", ErrorKind::UnsupportedScheme),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap_err().kind(), kind, "{text}");
        }
    }
}
