//! From a URL to a route, once per origin.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use http::Uri;
use httpcore_core_primitives::{Alpn, Error, Kind, Origin, Partition, Phase, TcpOptions};
use httpcore_pool::{Endpoint, Hop, Route, RouteParts};

/// How many origins are remembered before the memory starts over: a crawler meets millions.
const REMEMBERED: usize = 1024;

/// Which versions of HTTP are spoken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versions {
    pub(crate) http1: bool,
    pub(crate) http2: bool,
}

impl Default for Versions {
    fn default() -> Self {
        Versions {
            http1: true,
            http2: cfg!(feature = "http2"),
        }
    }
}

impl Versions {
    /// What is offered in ALPN, in order of preference.
    fn offer(self) -> Vec<Alpn> {
        match (self.http1, self.http2) {
            (true, true) => vec![Alpn::Http2, Alpn::Http1],
            (false, true) => vec![Alpn::Http2],
            (_, false) => vec![Alpn::Http1],
        }
    }

    /// Whether HTTP/2 is spoken without asking (RFC 9113 §3.3).
    fn knows_http2(self) -> bool {
        self.http2 && !self.http1
    }
}

/// Makes routes, and remembers them by what their URLs look like, so that a request along a known
/// route costs one look-up of a string and no parsing.
#[derive(Debug)]
pub(crate) struct Routes {
    tcp: TcpOptions,
    unix_socket: Option<PathBuf>,
    has_tls: bool,
    versions: Versions,
    remembered: Mutex<Memory>,
}

/// By whether the scheme is secure; authorities as they were written.
#[derive(Debug, Default)]
struct Memory {
    plain: HashMap<Arc<str>, Route>,
    secure: HashMap<Arc<str>, Route>,
    /// The one that was asked for last: to compare it costs less than to hash.
    last: Option<Last>,
    /// The same, within partitions.
    partitions: HashMap<Partition, Memory>,
    /// How many routes there are in all partitions.
    partitioned: usize,
}

#[derive(Debug)]
struct Last {
    is_secure: bool,
    authority: Arc<str>,
    route: Route,
}

impl Routes {
    pub(crate) fn new(
        tcp: TcpOptions,
        unix_socket: Option<PathBuf>,
        has_tls: bool,
        versions: Versions,
    ) -> Self {
        Routes {
            tcp,
            unix_socket,
            has_tls,
            versions,
            remembered: Mutex::default(),
        }
    }

    /// The way to the origin of `url`, shared within `partition` only.
    pub(crate) fn of(&self, url: &Uri, partition: Option<&Partition>) -> Result<Route, Error> {
        // What has a password in it is not kept.
        let known = known_scheme(url)
            .zip(url.authority())
            .filter(|(_, authority)| !authority.as_str().contains('@'));
        if let Some((is_secure, authority)) = known {
            let mut memory = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let known = match partition {
                None => memory.recall(is_secure, authority.as_str()),
                Some(partition) => memory
                    .partitions
                    .get_mut(partition)
                    .and_then(|memory| memory.recall(is_secure, authority.as_str())),
            };
            if let Some(route) = known {
                return Ok(route);
            }
        }
        let route = self.make(&Origin::of(url)?, partition)?;
        if let Some((is_secure, authority)) = known {
            let mut memory = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match partition {
                None => memory.remember(is_secure, authority.as_str(), route.clone()),
                Some(partition) => {
                    if memory.partitioned >= REMEMBERED {
                        memory.partitioned = 0;
                        memory.partitions.clear();
                    }
                    memory.partitioned += 1;
                    let memory = memory.partitions.entry(partition.clone()).or_default();
                    memory.remember(is_secure, authority.as_str(), route.clone());
                }
            }
        }
        Ok(route)
    }

    fn make(&self, origin: &Origin, partition: Option<&Partition>) -> Result<Route, Error> {
        let mut parts = RouteParts::to(origin.clone());
        parts.partition = partition.map(|partition| partition.name().to_owned());
        parts.tcp = self.tcp.clone();
        if let Some(path) = &self.unix_socket {
            parts.dial = Endpoint::Unix(path.clone());
        }
        if origin.scheme().is_secure() {
            if !self.has_tls {
                return Err(
                    Error::new(Kind::UnsupportedScheme, Phase::Request).with_message(format!(
                        "{}:// needs TLS, which this pool was built without",
                        origin.scheme()
                    )),
                );
            }
            parts.hops.push(Hop::Tls {
                server_name: origin.host().to_owned(),
                offer: self.versions.offer(),
            });
        } else {
            parts.http2_prior_knowledge = self.versions.knows_http2();
        }
        Ok(parts.into())
    }
}

impl Memory {
    fn recall(&mut self, is_secure: bool, authority: &str) -> Option<Route> {
        if let Some(last) = &self.last
            && last.is_secure == is_secure
            && *last.authority == *authority
        {
            return Some(last.route.clone());
        }
        let routes = if is_secure { &self.secure } else { &self.plain };
        let (authority, route) = routes.get_key_value(authority)?;
        self.last = Some(Last {
            is_secure,
            authority: authority.clone(),
            route: route.clone(),
        });
        Some(route.clone())
    }

    fn remember(&mut self, is_secure: bool, authority: &str, route: Route) {
        let routes = if is_secure {
            &mut self.secure
        } else {
            &mut self.plain
        };
        if routes.len() >= REMEMBERED {
            routes.clear();
        }
        routes.insert(authority.into(), route);
    }
}

/// Whether the scheme means TLS, for the two schemes that requests have; the others are rare, and
/// are not remembered.
fn known_scheme(url: &Uri) -> Option<bool> {
    let scheme = url.scheme()?;
    if *scheme == http::uri::Scheme::HTTP {
        Some(false)
    } else if *scheme == http::uri::Scheme::HTTPS {
        Some(true)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_route_however_its_url_is_written() {
        let routes = Routes::new(TcpOptions::default(), None, false, Versions::default());
        let of = |url: &str| routes.of(&url.parse().unwrap(), None).unwrap();
        assert_eq!(of("http://a.test/x"), of("http://A.TEST:80/y"));
        assert_ne!(of("http://a.test/"), of("http://a.test:81/"));
        assert_eq!(of("http://user:pw@a.test/"), of("http://a.test/"));
    }

    #[test]
    fn partitions_share_no_routes_and_are_forgotten_in_time() {
        let routes = Routes::new(TcpOptions::default(), None, false, Versions::default());
        let url = "http://a.test/".parse().unwrap();
        let of = |name: &str| routes.of(&url, Some(&Partition::new(name))).unwrap();
        assert_eq!(of("one"), of("one"));
        assert_ne!(of("one"), of("two"));
        assert_ne!(of("one"), routes.of(&url, None).unwrap());
        for n in 0..3 * REMEMBERED {
            of(&n.to_string());
        }
        assert!(routes.remembered.lock().unwrap().partitions.len() <= REMEMBERED);
    }

    #[test]
    fn memory_of_routes_is_bounded() {
        let routes = Routes::new(TcpOptions::default(), None, false, Versions::default());
        for n in 0..3 * REMEMBERED {
            let url = format!("http://{n}.test/").parse().unwrap();
            routes.of(&url, None).unwrap();
        }
        assert!(routes.remembered.lock().unwrap().plain.len() <= REMEMBERED);
    }

    #[test]
    fn https_without_tls_is_refused_by_name() {
        let routes = Routes::new(TcpOptions::default(), None, false, Versions::default());
        let error = routes
            .of(&"https://a.test/".parse().unwrap(), None)
            .unwrap_err();
        assert_eq!(error.kind(), Kind::UnsupportedScheme);
    }
}
