//! Where a request is sent, if not to the host of its URL.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use httpcore_pool::Endpoint;

/// What a request's connection leads to, in place of the host and port of its URL. In the request's
/// [`http::Extensions`].
///
/// The request stays one for its URL: the `Host` field, the TLS server name and the certificate that is
/// expected are those of the URL. Behind a proxy, this is what the proxy is asked to connect to. Connections
/// are shared only among requests with equal values.
///
/// ```
/// use httpcore::{RequestExt, extensions::ConnectTo, http};
///
/// // One server of several behind a name.
/// let request = http::Request::get("https://www.example.com/health")
///     .connect_to(ConnectTo::host("server-7.example.com", 8443))
///     .body(())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectTo(Endpoint);

impl ConnectTo {
    /// A host, by name or address (IPv6 with or without brackets), and a port.
    pub fn host(host: impl AsRef<str>, port: u16) -> Self {
        let host = host.as_ref();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        ConnectTo(Endpoint::Tcp {
            host: bare.unwrap_or(host).to_ascii_lowercase(),
            port,
        })
    }

    /// An address.
    pub fn address(address: SocketAddr) -> Self {
        Self::host(address.ip().to_string(), address.port())
    }

    /// A Unix domain socket, which is connected to without a proxy.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        ConnectTo(Endpoint::Unix(path.into()))
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.0
    }
}

/// Addresses of hosts, in place of those that a resolver finds, for one request. In the request's
/// [`http::Extensions`]; [`RequestExt::resolve`](crate::RequestExt::resolve) adds to it.
///
/// It applies to the host of the URL, to [`ConnectTo`], and to proxies. Case and a final dot are ignored.
/// Connections are shared only among requests with equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HostOverrides(Arc<Vec<(String, Vec<IpAddr>)>>);

impl HostOverrides {
    /// Sets the addresses of `host`, in the order in which they should be tried. Without any, the name
    /// has no addresses.
    #[must_use]
    pub fn with_host(
        mut self,
        host: impl AsRef<str>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        let host = host.as_ref().to_ascii_lowercase();
        let hosts = Arc::make_mut(&mut self.0);
        hosts.retain(|(known, _)| *known != host);
        hosts.push((host, addresses.into_iter().collect()));
        self
    }

    pub(crate) fn hosts(&self) -> &[(String, Vec<IpAddr>)] {
        &self.0
    }
}
