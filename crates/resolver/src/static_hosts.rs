//! A table of hosts in front of another resolver.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use httpcore_core_primitives::BoxFuture;

use crate::{Answer, Lookup, Resolve, host::key};

/// A resolver that resolves some hosts from a table, and passes all others to another resolver.
///
/// A host must match an entry completely: an entry for `example.com` does not match
/// `www.example.com`. Case is ignored, and so is a single final dot on either side: `example.com.` is the
/// absolute form of `example.com`. Hosts of URLs are ASCII: an internationalized name is entered in its
/// `xn--` form.
///
/// An entry replaces every look-up of that host: if none of its addresses can be connected to, the inner
/// resolver is not called. For an entry without addresses, the name does not exist
/// ([`io::ErrorKind::NotFound`]).
///
/// ```
/// use httpcore_resolver::{SystemResolver, StaticHosts};
/// use std::{net::IpAddr, sync::Arc};
///
/// let staging: IpAddr = "192.0.2.7".parse()?;
/// let resolver = StaticHosts::new(Arc::new(SystemResolver::default()))
///     .host("www.example.com", [staging])
///     .host("ads.example.com", []);
/// # let _ = resolver;
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub struct StaticHosts {
    inner: Arc<dyn Resolve>,
    hosts: HashMap<Arc<str>, Vec<IpAddr>>,
}

impl StaticHosts {
    /// Creates an empty table in front of `inner`.
    pub fn new(inner: Arc<dyn Resolve>) -> Self {
        StaticHosts {
            inner,
            hosts: HashMap::new(),
        }
    }

    /// Sets the addresses of `host`, in the order in which they should be tried. A second call for
    /// the same host replaces the first.
    #[must_use = "the table is returned"]
    pub fn host(mut self, host: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let addresses = addresses.into_iter().collect();
        self.hosts.insert(key(relative(host)), addresses);
        self
    }
}

impl StaticHosts {
    /// What the table says of `host`, if it has an entry.
    fn known(&self, host: &str, port: u16) -> Option<io::Result<Vec<SocketAddr>>> {
        let addresses = self.hosts.get(&*key(relative(host)))?;
        let found: Vec<_> = addresses
            .iter()
            .map(|address| SocketAddr::new(*address, port))
            .collect();
        Some(if found.is_empty() {
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no addresses for this name in the table of static hosts",
            ))
        } else {
            Ok(found)
        })
    }
}

/// Returns `host` without the final dot.
fn relative(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

impl Resolve for StaticHosts {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        match self.known(host, port) {
            Some(known) => Box::pin(std::future::ready(known)),
            None => self.inner.resolve(host, port),
        }
    }

    fn lookup(&self, host: &str, port: u16) -> Lookup {
        match self.known(host, port) {
            Some(known) => Lookup::ready(known.map(Answer::new)),
            None => self.inner.lookup(host, port),
        }
    }
}

impl fmt::Debug for StaticHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticHosts")
            .field("hosts", &self.hosts.len())
            .field("inner", &self.inner)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    /// Fails for every name, with a text that contains it.
    #[derive(Debug)]
    struct Inner;

    impl Resolve for Inner {
        fn resolve(&self, host: &str, _: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            let error = io::Error::other(format!("asked for {host}"));
            Box::pin(std::future::ready(Err(error)))
        }
    }

    #[test]
    fn hosts_match_completely_without_case_and_final_dot() {
        let table = StaticHosts::new(Arc::new(Inner))
            .host("a.Test", [[192, 0, 2, 1].into()])
            .host(
                "b.test.",
                ["2001:db8::1".parse().unwrap(), [192, 0, 2, 2].into()],
            )
            .host("none.test", []);
        for (host, expected) in [
            ("a.test", Ok(vec!["192.0.2.1:80"])),
            ("A.TEST", Ok(vec!["192.0.2.1:80"])),
            ("a.test.", Ok(vec!["192.0.2.1:80"])),
            ("b.test", Ok(vec!["[2001:db8::1]:80", "192.0.2.2:80"])),
            ("B.test.", Ok(vec!["[2001:db8::1]:80", "192.0.2.2:80"])),
            ("a.test..", Err("asked for a.test..")),
            ("www.a.test", Err("asked for www.a.test")),
            ("test", Err("asked for test")),
            ("a.test.example", Err("asked for a.test.example")),
            ("", Err("asked for ")),
            (".", Err("asked for .")),
            ("Other.test.", Err("asked for Other.test.")),
        ] {
            let found = block_on(table.resolve(host, 80));
            match expected {
                Ok(addresses) => {
                    let found = found.unwrap();
                    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                    assert_eq!(found, addresses, "{host}");
                }
                Err(text) => assert_eq!(found.unwrap_err().to_string(), text),
            }
        }
        let none = block_on(table.resolve("none.test", 80)).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn second_entry_for_a_host_replaces_the_first() {
        let table = StaticHosts::new(Arc::new(Inner))
            .host("a.test", [[192, 0, 2, 1].into()])
            .host("A.test.", [[192, 0, 2, 2].into()]);
        let found = block_on(table.resolve("a.test", 1)).unwrap();
        assert_eq!(found, ["192.0.2.2:1".parse().unwrap()]);
    }
}
