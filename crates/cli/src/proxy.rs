//! The proxies of a request, from options and from the environment.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};
use httpcore::extensions::TlsOverride;
use httpcore::proxy::{Credentials, NoProxy, Proxy, ProxyRules};

use crate::{
    Exit,
    args::{self, Tls},
    get,
};

/// What the options say of proxies.
#[derive(Debug, Default)]
pub(crate) struct ProxyOptions {
    /// Empty for no proxy at all.
    proxy: Option<String>,
    before: Option<String>,
    user: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    roots: Option<PathBuf>,
    no_proxy: Option<String>,
}

impl ProxyOptions {
    /// Takes an option, if it is one of these.
    pub(crate) fn take(
        &mut self,
        name: &str,
        parser: &mut lexopt::Parser,
    ) -> Result<bool, lexopt::Error> {
        use lexopt::ValueExt;

        match name {
            "proxy" => self.proxy = Some(parser.value()?.string()?),
            "preproxy" => self.before = Some(parser.value()?.string()?),
            "proxy-user" => self.user = Some(parser.value()?.string()?),
            "proxy-header" => self.headers.push(args::header(&parser.value()?.string()?)?),
            "proxy-cacert" => self.roots = Some(parser.value()?.into()),
            "noproxy" => self.no_proxy = Some(parser.value()?.string()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Refuses options that need `--proxy`.
    pub(crate) fn check(&self) -> Result<(), lexopt::Error> {
        let needing = [
            ("--preproxy", self.before.is_some()),
            ("--proxy-user", self.user.is_some()),
            ("--proxy-header", !self.headers.is_empty()),
            ("--proxy-cacert", self.roots.is_some()),
        ];
        let has_proxy = self.proxy.as_ref().is_some_and(|url| !url.is_empty());
        match needing.iter().find(|(_, given)| *given && !has_proxy) {
            Some((option, _)) => Err(format!("{option} needs --proxy").into()),
            None => Ok(()),
        }
    }

    /// The rules by these options and by the variables of the environment. With a Unix socket, those
    /// count only if there is a proxy among the options.
    pub(crate) fn rules(&self, has_unix_socket: bool) -> Result<ProxyRules, Exit> {
        self.rules_in(has_unix_socket, || {
            std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            })
        })
    }

    fn rules_in<V: Iterator<Item = (String, String)>>(
        &self,
        has_unix_socket: bool,
        vars: impl FnOnce() -> V,
    ) -> Result<ProxyRules, Exit> {
        let names_proxy = |name: &str| !name.eq_ignore_ascii_case("no_proxy");
        let mut rules = match &self.proxy {
            Some(_) => {
                let others = vars().filter(|(name, _)| !names_proxy(name));
                let proxy = self.proxy()?;
                ProxyRules::from_vars(others)?
                    .with_http(proxy.clone())
                    .with_https(proxy)
            }
            None if has_unix_socket => ProxyRules::default(),
            None => ProxyRules::from_vars(vars()).map_err(|error| {
                Exit::Usage(format!("a proxy variable of the environment: {error}"))
            })?,
        };
        if let Some(list) = &self.no_proxy {
            rules = rules.with_no_proxy(NoProxy::new(list));
        }
        Ok(rules)
    }

    /// The proxy of `--proxy`, unless that is empty.
    fn proxy(&self) -> Result<Option<Proxy>, Exit> {
        // The URL may hold a password, and so it is not repeated.
        let usage = |option: &'static str| {
            move |error: httpcore::proxy::ProxyError| Exit::Usage(format!("{option}: {error}"))
        };
        let Some(url) = self.proxy.as_ref().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        let mut proxy: Proxy = url.parse().map_err(usage("--proxy"))?;
        if let Some(user) = &self.user {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            proxy = proxy
                .with_credentials(Credentials::new(user, password))
                .map_err(usage("--proxy-user"))?;
        }
        for (name, value) in &self.headers {
            proxy = proxy
                .with_header(name.clone(), value.clone())
                .map_err(usage("--proxy-header"))?;
        }
        if self.roots.is_some() {
            let tls = Tls {
                roots: self.roots.clone(),
                ..Tls::default()
            };
            if let Some(connector) = get::tls(&tls)? {
                proxy = proxy.with_tls(TlsOverride::new(connector));
            }
        }
        if let Some(url) = &self.before {
            let before = url.parse().map_err(usage("--preproxy"))?;
            proxy = proxy.through(before).map_err(usage("--preproxy"))?;
        }
        Ok(Some(proxy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<ProxyOptions, String> {
        let mut options = ProxyOptions::default();
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
            let lexopt::Arg::Long(name) = arg else {
                panic!("{arg:?}")
            };
            let name = name.to_owned();
            let taken = options.take(&name, &mut parser);
            assert!(taken.map_err(|error| error.to_string())?, "{name}");
        }
        options.check().map_err(|error| error.to_string())?;
        Ok(options)
    }

    /// The proxy for a URL, with these arguments and variables.
    fn chosen(args: &[&str], vars: &[(&str, &str)], url: &str) -> Option<String> {
        let vars = || {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            vars.iter().map(own).collect::<Vec<_>>().into_iter()
        };
        let Ok(rules) = options(args).unwrap().rules_in(false, vars) else {
            panic!("{args:?}");
        };
        let origin = httpcore::net::Origin::of(&url.parse().unwrap()).unwrap();
        rules.proxy_for(&origin).map(ToString::to_string)
    }

    #[test]
    fn options_go_before_the_environment() {
        let vars = [("http_proxy", "http://env.test"), ("NO_PROXY", "b.test")];
        let broken = [("http_proxy", "ftp://nonsense"), ("NO_PROXY", "b.test")];
        let (env, own) = ("http://env.test:80", "socks5h://own.test:1080");
        let (a, b) = ("http://a.test/", "http://b.test/");
        let proxy: &[&str] = &["--proxy", "socks5h://own.test"];
        assert_eq!(chosen(&[], &vars, a).as_deref(), Some(env));
        assert_eq!(chosen(&[], &vars, b), None);
        assert_eq!(chosen(&["--noproxy", ""], &vars, b).as_deref(), Some(env));
        assert_eq!(chosen(&["--noproxy", "*"], &vars, a), None);
        for vars in [vars, broken] {
            assert_eq!(chosen(proxy, &vars, a).as_deref(), Some(own));
            assert_eq!(chosen(proxy, &vars, b), None);
            assert_eq!(chosen(&["--proxy", ""], &vars, a), None);
        }
    }

    #[test]
    fn options_without_their_proxy_are_refused_and_secrets_are_not_repeated() {
        for option in ["--preproxy", "--proxy-user", "--proxy-cacert"] {
            let error = options(&[option, "x"]).unwrap_err();
            assert!(
                error.contains(option) && error.contains("--proxy"),
                "{error}"
            );
        }
        for args in [
            &["--proxy", "ftp://u:s3cret@h"][..],
            &["--proxy", "socks5://h", "--proxy-user", "s3cret"],
            &[
                "--proxy",
                "http://h",
                "--preproxy",
                "http://u:s3cret@h/path",
            ],
        ] {
            let Err(Exit::Usage(error)) = options(args).unwrap().proxy() else {
                panic!("{args:?}");
            };
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
