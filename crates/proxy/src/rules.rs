//! Which proxy an origin is reached through.

use httpcore_core_primitives::Origin;

use crate::{error::ProxyError, no_proxy::NoProxy, proxy::Proxy};

/// A choice of proxies by scheme and host.
///
/// [`from_vars`](Self::from_vars) reads it from the variables of an environment:
///
/// - `http` and `ws` origins use `http_proxy`, `https` and `wss` origins `https_proxy`; where that is not
///   set, `all_proxy`. Lower case comes before upper case, and an empty variable is not set.
/// - `HTTP_PROXY` in upper case is ignored if `REQUEST_METHOD` is set: a CGI program would take it from
///   the client's `Proxy` field.
/// - `no_proxy`, or `NO_PROXY`, lists hosts that are reached directly: see [`NoProxy`].
///
/// ```
/// use httpcore_proxy::ProxyRules;
///
/// let rules = ProxyRules::from_vars([
///     ("https_proxy", "http://proxy.test:3128"),
///     ("no_proxy", "internal.test"),
/// ])?;
/// let origin = |url: &str| httpcore_core_primitives::Origin::of(&url.parse().unwrap()).unwrap();
/// assert!(rules.proxy_for(&origin("https://example.com/")).is_some());
/// assert!(rules.proxy_for(&origin("https://api.internal.test/")).is_none());
/// assert!(rules.proxy_for(&origin("http://example.com/")).is_none());
/// # Ok::<(), httpcore_proxy::ProxyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyRules {
    http: Option<Proxy>,
    https: Option<Proxy>,
    no_proxy: NoProxy,
}

impl ProxyRules {
    /// Creates rules by which every origin is reached through `proxy`.
    pub fn all(proxy: Proxy) -> Self {
        ProxyRules {
            http: Some(proxy.clone()),
            https: Some(proxy),
            no_proxy: NoProxy::default(),
        }
    }

    /// Sets the proxy for `http` and `ws` origins.
    #[must_use]
    pub fn with_http(mut self, proxy: impl Into<Option<Proxy>>) -> Self {
        self.http = proxy.into();
        self
    }

    /// Sets the proxy for `https` and `wss` origins.
    #[must_use]
    pub fn with_https(mut self, proxy: impl Into<Option<Proxy>>) -> Self {
        self.https = proxy.into();
        self
    }

    /// Sets the hosts that are reached without a proxy.
    #[must_use]
    pub fn with_no_proxy(mut self, no_proxy: NoProxy) -> Self {
        self.no_proxy = no_proxy;
        self
    }

    /// Reads the rules from the variables of an environment, given as pairs of name and value:
    /// `std::env::vars()`, or a list of the caller's.
    ///
    /// # Errors
    ///
    /// [`ProxyError`] if a variable that is used holds no URL of a proxy. Its message does not repeat
    /// the value, which may hold a password.
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Result<Self, ProxyError>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        const NAMES: [&str; 9] = [
            "http_proxy",
            "HTTP_PROXY",
            "https_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "ALL_PROXY",
            "no_proxy",
            "NO_PROXY",
            "REQUEST_METHOD",
        ];
        let mut found: [Option<String>; NAMES.len()] = Default::default();
        for (name, value) in vars {
            let value = value.as_ref().trim();
            if let Some(at) = NAMES.iter().position(|known| *known == name.as_ref())
                && !value.is_empty()
            {
                found[at] = Some(value.to_owned());
            }
        }
        let [
            http,
            upper_http,
            https,
            upper_https,
            all,
            upper_all,
            no,
            upper_no,
            cgi,
        ] = found;
        let upper_http = upper_http.filter(|_| cgi.is_none());
        let all = all.or(upper_all);
        let read = |url: Option<String>| url.map(|url| url.parse()).transpose();
        Ok(ProxyRules {
            http: read(http.or(upper_http).or_else(|| all.clone()))?,
            https: read(https.or(upper_https).or(all))?,
            no_proxy: no
                .or(upper_no)
                .map_or_else(NoProxy::default, |list| NoProxy::new(&list)),
        })
    }

    /// Returns the proxy for `origin`, or `None` if it is reached directly.
    pub fn proxy_for(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = if origin.scheme().is_secure() {
            self.https.as_ref()
        } else {
            self.http.as_ref()
        };
        proxy.filter(|_| !self.no_proxy.matches(origin.host(), origin.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use httpcore_core_primitives::Scheme;

    /// Variables, and the ports of the proxies for http, https, ws and wss; 0 for none.
    type Row = (&'static [(&'static str, &'static str)], [u16; 4]);

    const TABLE: &[Row] = &[
        (&[], [0, 0, 0, 0]),
        (&[("http_proxy", "h:1")], [1, 0, 1, 0]),
        (&[("HTTP_PROXY", "h:1")], [1, 0, 1, 0]),
        (
            &[("HTTP_PROXY", "h:1"), ("http_proxy", "h:2")],
            [2, 0, 2, 0],
        ),
        (&[("HTTP_PROXY", "h:1"), ("http_proxy", "")], [1, 0, 1, 0]),
        (&[("HTTP_PROXY", "h:1"), ("http_proxy", "  ")], [1, 0, 1, 0]),
        (
            &[("HTTP_PROXY", "h:1"), ("REQUEST_METHOD", "GET")],
            [0, 0, 0, 0],
        ),
        (
            &[("http_proxy", "h:1"), ("REQUEST_METHOD", "GET")],
            [1, 0, 1, 0],
        ),
        (
            &[("HTTP_PROXY", "h:1"), ("REQUEST_METHOD", "")],
            [1, 0, 1, 0],
        ),
        (
            &[
                ("HTTP_PROXY", "h:1"),
                ("ALL_PROXY", "h:2"),
                ("REQUEST_METHOD", "GET"),
            ],
            [2, 2, 2, 2],
        ),
        (&[("https_proxy", "h:1")], [0, 1, 0, 1]),
        (
            &[("HTTPS_PROXY", "h:1"), ("https_proxy", "h:2")],
            [0, 2, 0, 2],
        ),
        (&[("all_proxy", "h:1")], [1, 1, 1, 1]),
        (&[("ALL_PROXY", "h:1"), ("all_proxy", "h:2")], [2, 2, 2, 2]),
        (&[("ALL_PROXY", "h:1"), ("http_proxy", "h:2")], [2, 1, 2, 1]),
        (
            &[("all_proxy", "socks5h://h:1"), ("HTTPS_PROXY", "h:2")],
            [1, 2, 1, 2],
        ),
        (&[("ftp_proxy", "h:1"), ("ws_proxy", "h:2")], [0, 0, 0, 0]),
        (
            &[("all_proxy", "h:1"), ("no_proxy", "a.test")],
            [0, 0, 0, 0],
        ),
        (
            &[("all_proxy", "h:1"), ("NO_PROXY", "a.test:443")],
            [1, 0, 1, 0],
        ),
        (
            &[
                ("all_proxy", "h:1"),
                ("no_proxy", "b.test"),
                ("NO_PROXY", "*"),
            ],
            [1, 1, 1, 1],
        ),
        (
            &[("all_proxy", "h:1"), ("no_proxy", ""), ("NO_PROXY", "*")],
            [0, 0, 0, 0],
        ),
    ];

    #[test]
    fn the_table_of_variables_holds() {
        for (vars, ports) in TABLE {
            let rules = ProxyRules::from_vars(vars.iter().copied()).unwrap();
            for (scheme, expected) in [Scheme::Http, Scheme::Https, Scheme::Ws, Scheme::Wss]
                .into_iter()
                .zip(ports)
            {
                let origin = Origin::new(scheme, "a.test", scheme.default_port());
                let found = rules.proxy_for(&origin).map(|proxy| match proxy.address() {
                    crate::ProxyAddress::Tcp { port, .. } => *port,
                    crate::ProxyAddress::Unix(_) => 0,
                });
                assert_eq!(found.unwrap_or(0), *expected, "{vars:?} {scheme}");
            }
        }
    }

    #[test]
    fn a_malformed_variable_is_an_error_that_does_not_repeat_it() {
        let error = ProxyRules::from_vars([("http_proxy", "ftp://user:secret@h")]).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
