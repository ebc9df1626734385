//! A proxy: where it is, what it speaks, and as which user.

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
};
use httpcore_core_primitives::{Credentials, ServerName, TlsOverride};

use crate::{
    connect::{Authenticate, Challenge, Challenges, basic},
    error::ProxyError,
    target::Target,
};

/// Which protocol a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// HTTP: forwarding of `http` requests, `CONNECT` for the rest.
    Http,
    /// The same over TLS.
    Https,
    /// SOCKS 4: names are resolved by the client, and only IPv4 addresses can be reached.
    Socks4,
    /// SOCKS 4a: names are resolved by the proxy.
    Socks4a,
    /// SOCKS 5 (RFC 1928): names are resolved by the client.
    Socks5,
    /// SOCKS 5: names are resolved by the proxy.
    Socks5h,
}

impl ProxyProtocol {
    /// Returns the scheme of such a proxy's URL.
    pub fn scheme(self) -> &'static str {
        match self {
            ProxyProtocol::Http => "http",
            ProxyProtocol::Https => "https",
            ProxyProtocol::Socks4 => "socks4",
            ProxyProtocol::Socks4a => "socks4a",
            ProxyProtocol::Socks5 => "socks5",
            ProxyProtocol::Socks5h => "socks5h",
        }
    }

    /// Returns the port that is used if the URL names none: 80, 443, or 1080 (RFC 1928 §3).
    pub fn default_port(self) -> u16 {
        match self {
            ProxyProtocol::Http => 80,
            ProxyProtocol::Https => 443,
            _ => 1080,
        }
    }

    /// Returns whether the proxy resolves the names of targets.
    pub fn resolves_names(self) -> bool {
        !matches!(self, ProxyProtocol::Socks4 | ProxyProtocol::Socks5)
    }

    /// Returns whether it is a SOCKS proxy.
    pub fn is_socks(self) -> bool {
        !matches!(self, ProxyProtocol::Http | ProxyProtocol::Https)
    }

    fn parse(scheme: &str) -> Option<Self> {
        let all = [
            ProxyProtocol::Http,
            ProxyProtocol::Https,
            ProxyProtocol::Socks4,
            ProxyProtocol::Socks4a,
            ProxyProtocol::Socks5,
            ProxyProtocol::Socks5h,
        ];
        // As curl and others have it: `socks` alone is SOCKS 5 with local names.
        if scheme.eq_ignore_ascii_case("socks") {
            return Some(ProxyProtocol::Socks5);
        }
        all.into_iter()
            .find(|protocol| protocol.scheme().eq_ignore_ascii_case(scheme))
    }
}

/// Where a proxy is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyAddress {
    /// A host, as a name or an address without brackets, and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix domain socket.
    Unix(PathBuf),
}

/// A proxy, or a chain of them. Two are equal if connections through them may be shared: they have
/// equal addresses, credentials, fields and chains, and clones of one hook and of one [`TlsOverride`].
///
/// ```
/// use httpcore_proxy::{Proxy, ProxyProtocol};
///
/// let proxy: Proxy = "socks5h://user:p%40ss@proxy.test".parse()?;
/// assert_eq!(proxy.protocol(), ProxyProtocol::Socks5h);
/// assert_eq!(proxy.credentials().unwrap().password(), "p@ss");
/// assert_eq!(proxy.to_string(), "socks5h://proxy.test:1080");
/// # Ok::<(), httpcore_proxy::ProxyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    protocol: ProxyProtocol,
    address: ProxyAddress,
    credentials: Option<Credentials>,
    headers: HeaderMap,
    tunnels_http: bool,
    only_http1: bool,
    authenticate: Option<Hook>,
    tls: Option<TlsOverride>,
    server_name: Option<ServerName>,
    through: Option<Box<Proxy>>,
}

/// Equal to its clones only.
#[derive(Clone)]
struct Hook(Arc<Authenticate>);

impl PartialEq for Hook {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Hook {}

/// The fields and the hook count by number only: what is equal has equal hashes.
impl Hash for Proxy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (
            self.protocol,
            &self.address,
            &self.credentials,
            self.headers.len(),
        )
            .hash(state);
        (
            self.tunnels_http,
            self.only_http1,
            self.authenticate.is_some(),
            &self.tls,
            &self.server_name,
            &self.through,
        )
            .hash(state);
    }
}

impl Proxy {
    /// Creates a proxy at a host and port.
    ///
    /// # Errors
    ///
    /// [`ProxyError::InvalidUrl`] if the host is neither a name nor an address.
    pub fn new(protocol: ProxyProtocol, host: &str, port: u16) -> Result<Self, ProxyError> {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        Target::new(host, port).map_err(|_| ProxyError::InvalidUrl("invalid host"))?;
        let address = ProxyAddress::Tcp {
            host: bare.unwrap_or(host).to_ascii_lowercase(),
            port,
        };
        Ok(Proxy::at(protocol, address))
    }

    /// Creates a proxy on a Unix domain socket.
    pub fn unix(protocol: ProxyProtocol, path: impl Into<PathBuf>) -> Self {
        Proxy::at(protocol, ProxyAddress::Unix(path.into()))
    }

    fn at(protocol: ProxyProtocol, address: ProxyAddress) -> Self {
        Proxy {
            protocol,
            address,
            credentials: None,
            headers: HeaderMap::new(),
            tunnels_http: false,
            only_http1: false,
            authenticate: None,
            tls: None,
            server_name: None,
            through: None,
        }
    }

    /// Sets the user and password: Basic for HTTP, RFC 1929 for SOCKS 5, the user alone for SOCKS 4.
    ///
    /// # Errors
    ///
    /// [`ProxyError::InvalidCredentials`] if the protocol cannot carry them.
    pub fn with_credentials(mut self, credentials: Credentials) -> Result<Self, ProxyError> {
        let (user, password) = (credentials.user(), credentials.password());
        match self.protocol {
            ProxyProtocol::Http | ProxyProtocol::Https => {
                basic(&credentials)?;
            }
            ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => {
                // RFC 1929 §2.
                if ![user, password]
                    .iter()
                    .all(|part| (1..=255).contains(&part.len()))
                {
                    return Err(ProxyError::InvalidCredentials(
                        "SOCKS5 takes 1 to 255 bytes for the user and for the password",
                    ));
                }
            }
            ProxyProtocol::Socks4 | ProxyProtocol::Socks4a => {
                if user.contains('\0') || user.len() > 255 {
                    return Err(ProxyError::InvalidCredentials(
                        "SOCKS4 takes at most 255 bytes for the user, none of them zero",
                    ));
                }
                if !password.is_empty() {
                    return Err(ProxyError::InvalidCredentials("SOCKS4 has no password"));
                }
            }
        }
        self.credentials = Some(credentials);
        Ok(self)
    }

    /// Adds a field to what the proxy is sent: to `CONNECT`, and to requests it forwards. It does not
    /// reach the origin through a tunnel. Of no use for SOCKS.
    ///
    /// # Errors
    ///
    /// [`ProxyError::InvalidHeader`] for `Host` and for fields of framing.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, ProxyError> {
        if [HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
            return Err(ProxyError::InvalidHeader);
        }
        self.headers.append(name, value);
        Ok(self)
    }

    /// Uses `CONNECT` for `http` targets too, which are forwarded otherwise. SOCKS proxies always
    /// tunnel.
    #[must_use]
    pub fn with_tunnel_for_http(mut self, tunnel: bool) -> Self {
        self.tunnels_http = tunnel;
        self
    }

    /// Speaks only HTTP/1.1 to an `https` proxy. Otherwise HTTP/2 is used if the proxy chooses it in the TLS
    /// handshake (ALPN), and one connection then carries many tunnels.
    #[must_use]
    pub fn with_http1_only(mut self, http1_only: bool) -> Self {
        self.only_http1 = http1_only;
        self
    }

    /// Answers a 407, to `CONNECT` or to a request that is forwarded: `authenticate` returns the value of
    /// `Proxy-Authorization`, or `None` to give up. It is called at most three times for one tunnel or
    /// request.
    ///
    /// A 407 to a forwarded request is the response, without a question to the function, if the request's
    /// body cannot be sent again from its beginning.
    #[must_use]
    pub fn with_authentication(
        mut self,
        authenticate: impl Fn(&Challenge<'_>) -> Option<HeaderValue> + Send + Sync + 'static,
    ) -> Self {
        self.authenticate = Some(Hook(Arc::new(authenticate)));
        self
    }

    /// Makes the TLS handshakes with an `https` proxy by `tls`: its roots and client certificate. Without
    /// one, they are made by the connector of the pool. The TLS of origins does not change.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsOverride) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Expects the certificate of an `https` proxy to be for `name`, which is also sent in SNI, instead of
    /// the proxy's host.
    #[must_use]
    pub fn with_server_name(mut self, name: ServerName) -> Self {
        self.server_name = Some(name);
        self
    }

    /// Reaches this proxy through `proxy`, which connects to this one's host and port by `CONNECT` or
    /// SOCKS. `proxy` may itself be reached through another.
    ///
    /// # Errors
    ///
    /// [`ProxyError::InvalidTarget`] if this proxy is on a Unix domain socket, or is reached through
    /// another already.
    pub fn through(mut self, proxy: Proxy) -> Result<Self, ProxyError> {
        if self.through.is_some() || matches!(self.address, ProxyAddress::Unix(_)) {
            return Err(ProxyError::InvalidTarget);
        }
        self.through = Some(Box::new(proxy));
        Ok(self)
    }

    /// Returns the proxies of the chain, from the first that is connected to, to this one.
    pub fn chain(&self) -> Vec<&Proxy> {
        let mut chain = vec![self];
        while let Some(before) = chain.last().and_then(|proxy| proxy.through.as_deref()) {
            chain.push(before);
        }
        chain.reverse();
        chain
    }

    /// Returns the machine that asks this proxy for a tunnel to `target` by `CONNECT`, with its credentials,
    /// fields and hook.
    ///
    /// # Errors
    ///
    /// Those of [`Connect`](crate::Connect).
    pub fn connect(&self, target: &Target) -> Result<crate::Connect, ProxyError> {
        let mut connect = crate::Connect::new(target)?;
        for (name, value) in &self.headers {
            connect = connect.with_header(name.clone(), value.clone())?;
        }
        if let Some(credentials) = &self.credentials {
            connect = connect.with_credentials(credentials)?;
        }
        Ok(connect.answering(self.challenges()))
    }

    /// Returns what answers this proxy's challenges, for one tunnel or one forwarded request.
    pub fn challenges(&self) -> Challenges {
        Challenges::new(self.authenticate.as_ref().map(|hook| hook.0.clone()))
    }

    /// Whether there is a function that answers challenges.
    pub fn answers_challenges(&self) -> bool {
        self.authenticate.is_some()
    }

    /// Returns the value of `Proxy-Authorization` for the credentials, if there are any: Basic, marked as
    /// sensitive.
    pub fn basic_authorization(&self) -> Option<HeaderValue> {
        // Checked when they were set.
        basic(self.credentials.as_ref()?).ok()
    }

    /// Whether HTTP/2 may be spoken to the proxy.
    pub fn may_speak_http2(&self) -> bool {
        self.protocol == ProxyProtocol::Https && !self.only_http1
    }

    /// Returns the TLS of an `https` proxy, if it has one of its own.
    pub fn tls(&self) -> Option<&TlsOverride> {
        self.tls.as_ref()
    }

    /// Returns the name that the certificate of an `https` proxy must be for.
    pub fn server_name(&self) -> &str {
        match (&self.server_name, &self.address) {
            (Some(name), _) => name.name(),
            (None, ProxyAddress::Tcp { host, .. }) => host,
            (None, ProxyAddress::Unix(_)) => "localhost",
        }
    }

    /// Returns whether the proxy, or one that it is reached through, has a hook or a TLS of its
    /// own: parts that are compared by identity.
    pub fn has_own_parts(&self) -> bool {
        self.chain()
            .iter()
            .any(|proxy| proxy.authenticate.is_some() || proxy.tls.is_some())
    }

    /// Returns the protocol.
    pub fn protocol(&self) -> ProxyProtocol {
        self.protocol
    }

    /// Returns where the proxy is.
    pub fn address(&self) -> &ProxyAddress {
        &self.address
    }

    /// Returns the user and password.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Returns the fields for the proxy.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns whether `http` targets are reached through a tunnel, and not forwarded.
    pub fn tunnels_http(&self) -> bool {
        self.tunnels_http || self.protocol.is_socks()
    }
}

/// Reads `[scheme://][user[:password]@]host[:port][/]`. Without a scheme it is `http`. User and
/// password are percent-decoded (RFC 3986 §2.1) and must then be UTF-8.
impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(url: &str) -> Result<Self, ProxyError> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let protocol =
            ProxyProtocol::parse(scheme).ok_or(ProxyError::InvalidUrl("unknown scheme"))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if !matches!(path, "" | "/") {
            return Err(ProxyError::InvalidUrl("a path, a query or a fragment"));
        }
        // The last `@`: passwords are pasted with an unencoded one now and then.
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let (host, port) = split_port(host)?;
        let mut proxy = Proxy::new(
            protocol,
            host,
            port.unwrap_or_else(|| protocol.default_port()),
        )?;
        if let Some(userinfo) = userinfo.filter(|userinfo| !userinfo.is_empty()) {
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            let credentials = Credentials::new(decode(user)?, decode(password)?);
            proxy = proxy.with_credentials(credentials)?;
        }
        Ok(proxy)
    }
}

fn split_port(host: &str) -> Result<(&str, Option<u16>), ProxyError> {
    let after_bracket = host.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = host[after_bracket..].find(':') else {
        return Ok((host, None));
    };
    let (host, port) = host.split_at(after_bracket + colon);
    match &port[1..] {
        "" => Ok((host, None)),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(port) => Ok((host, Some(port))),
            Err(_) => Err(ProxyError::InvalidUrl("invalid port")),
        },
        _ => Err(ProxyError::InvalidUrl("invalid port")),
    }
}

/// RFC 3986 §2.1. A `%` without two digits after it stays as it is.
fn decode(text: &str) -> Result<String, ProxyError> {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).map_err(|_| ProxyError::InvalidCredentials("not UTF-8"))
}

/// Scheme, host and port; no credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.protocol.scheme())?;
        match &self.address {
            ProxyAddress::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            ProxyAddress::Tcp { host, port } => write!(f, "{host}:{port}"),
            ProxyAddress::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// As `Display`, and whether there are credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("url", &format_args!("{self}"))
            .field("has_credentials", &self.credentials.is_some())
            .field("through", &self.through)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies_are_read() {
        for (url, shown, credentials) in [
            ("proxy.test", "http://proxy.test:80", None),
            ("PROXY.test:3128", "http://proxy.test:3128", None),
            ("http://proxy.test/", "http://proxy.test:80", None),
            ("HTTPS://proxy.test", "https://proxy.test:443", None),
            ("socks4://proxy.test", "socks4://proxy.test:1080", None),
            (
                "socks4a://me@proxy.test",
                "socks4a://proxy.test:1080",
                Some(("me", "")),
            ),
            ("socks://127.0.0.1:9", "socks5://127.0.0.1:9", None),
            ("socks5h://[::1]:9", "socks5h://[::1]:9", None),
            ("http://[::1]", "http://[::1]:80", None),
            ("http://u:p@[::1]:8", "http://[::1]:8", Some(("u", "p"))),
            ("http://u%3au:p%25%@h", "http://h:80", None),
            ("http://a:b%40c@h", "http://h:80", Some(("a", "b@c"))),
            ("http://a:b@c@h:", "http://h:80", Some(("a", "b@c"))),
            ("http://a@h", "http://h:80", Some(("a", ""))),
            ("http://@h", "http://h:80", None),
            ("http://%c3%bc:%C3%BC@h", "http://h:80", Some(("ü", "ü"))),
        ] {
            let proxy = url.parse::<Proxy>();
            if url.contains("%3a") {
                // RFC 7617 §2: a colon ends the user.
                assert!(
                    matches!(proxy, Err(ProxyError::InvalidCredentials(_))),
                    "{url}"
                );
                continue;
            }
            let proxy = proxy.unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(proxy.to_string(), shown);
            let found = proxy.credentials().map(|c| (c.user(), c.password()));
            assert_eq!(found, credentials, "{url}");
        }
    }

    #[test]
    fn what_is_no_proxy_url_is_refused() {
        for url in [
            "",
            "ftp://h",
            "http://",
            "http://h:99999",
            "http://h:-1",
            "http://h:1x",
            "http://h/path",
            "http://h?q",
            "http://a b",
            "socks5://u@h",
            "socks4://u:p@h",
            "http://u:%ff@h",
            "http://u:%0d%0a@h",
            "http://fe80::1%eth0",
        ] {
            assert!(url.parse::<Proxy>().is_err(), "{url}");
        }
        let long = "x".repeat(256);
        assert!(format!("socks5://{long}:p@h").parse::<Proxy>().is_err());
        assert!(format!("http://{long}:p@h").parse::<Proxy>().is_ok());
    }

    #[test]
    fn equal_proxies_are_those_whose_connections_may_be_shared() {
        let make = || "http://u:p@h:1".parse::<Proxy>().unwrap();
        let field = |value: &'static str| {
            let name = HeaderName::from_static("x-for-proxy");
            make()
                .with_header(name, HeaderValue::from_static(value))
                .unwrap()
        };
        let hooked = make().with_authentication(|_| None);
        let other: Proxy = "http://o:1".parse().unwrap();
        let all = [
            make(),
            "http://u:q@h:1".parse().unwrap(),
            "http://h:1".parse().unwrap(),
            "https://u:p@h:1".parse().unwrap(),
            "http://u:p@h:2".parse().unwrap(),
            make().with_tunnel_for_http(true),
            make().with_http1_only(true),
            field("a"),
            field("b"),
            hooked.clone(),
            make().with_authentication(|_| None),
            make().with_server_name(ServerName::new("n")),
            make().through(other).unwrap(),
        ];
        let keys = std::hash::RandomState::new();
        let hash = |proxy: &Proxy| std::hash::BuildHasher::hash_one(&keys, proxy);
        for (i, one) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate() {
                assert_eq!(one == other, i == j, "{one:?} and {other:?}");
            }
            assert_eq!(hash(one), hash(&one.clone()));
        }
        assert_eq!(hooked, hooked.clone());
        assert_eq!(field("a"), field("a"));
    }

    #[test]
    fn a_chain_begins_with_the_proxy_that_is_connected_to() {
        let proxy = |url: &str| url.parse::<Proxy>().unwrap();
        let first = proxy("socks5://a:1");
        let second = proxy("http://b:2").through(first).unwrap();
        let third = proxy("https://c:3").through(second).unwrap();
        let chain: Vec<String> = third.chain().iter().map(ToString::to_string).collect();
        assert_eq!(chain, ["socks5://a:1", "http://b:2", "https://c:3"]);
        assert!(third.through(proxy("http://d")).is_err());
        let unix = Proxy::unix(ProxyProtocol::Http, "/p");
        assert!(unix.clone().through(proxy("http://d")).is_err());
        assert!(proxy("http://d").through(unix).is_ok());
    }

    #[test]
    fn credentials_are_not_printed() {
        let proxy: Proxy = "http://secret-user:secret-word@h".parse().unwrap();
        let printed = format!("{proxy} {proxy:?} {:?}", proxy.credentials());
        assert!(!printed.contains("secret"), "{printed}");
    }
}
