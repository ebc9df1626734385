//! Which addresses may be connected to.

use std::{
    borrow::Cow,
    error::Error as StdError,
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
};

use crate::error::{Error, ErrorKind, ErrorPhase, RequestSent};

/// What is about to be connected to: an address, with the host and port it was found for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectTarget<'a> {
    /// The address. `None` if a proxy is asked to connect to a name, which it resolves itself.
    pub address: Option<SocketAddr>,
    /// The host whose address this is: a name, or an address as it was written, without brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The position on the way to the origin. 0 is what this side connects to itself; `n` is what
    /// the `n`th proxy is asked to connect to.
    pub hop: usize,
    /// Whether the host is a proxy, and not the origin.
    pub is_proxy: bool,
}

impl<'a> ConnectTarget<'a> {
    /// Creates the target of a first hop to an origin.
    pub fn new(host: &'a str, port: u16, address: Option<SocketAddr>) -> Self {
        ConnectTarget {
            address,
            host,
            port,
            hop: 0,
            is_proxy: false,
        }
    }

    /// Sets the address.
    #[must_use]
    pub fn with_address(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets the position, and whether the host is a proxy.
    #[must_use]
    pub fn at_hop(mut self, hop: usize, is_proxy: bool) -> Self {
        self.hop = hop;
        self.is_proxy = is_proxy;
        self
    }
}

/// A function that allows or refuses addresses. In a request's [`http::Extensions`], or set for a pool.
///
/// It is called with every address immediately before that is connected to: each of those that a name
/// has, whichever resolver, cache or table they are from; an address in a URL; those of proxies; and those
/// that a proxy is asked to connect to. It is called without a lock of this library, must not block, and
/// should not panic.
///
/// Two filters are equal if one is a clone of the other. Connections are shared only among requests with
/// equal filters, so a connection that was made without a filter is never used by a request with one.
/// Before a connection is used again, its filters are called once more with the addresses it was made to,
/// so that a filter may change its mind; a connection that is refused then is closed. Create a filter
/// once and clone it.
///
/// ```
/// use httpcore_core_primitives::{AddressFilter, ConnectTarget};
///
/// let filter = AddressFilter::new(|target: &ConnectTarget<'_>| match target.port {
///     80 | 443 => Ok(()),
///     _ => Err("only the ports 80 and 443 are allowed".into()),
/// });
/// let target = ConnectTarget::new("a.test", 22, Some(([192, 0, 2, 1], 22).into()));
/// let refused = filter.check(&target).unwrap_err();
/// assert_eq!(refused.reason(), "only the ports 80 and 443 are allowed");
/// ```
#[derive(Clone)]
pub struct AddressFilter(Arc<Check>);

type Check = dyn Fn(&ConnectTarget<'_>) -> Result<(), Cow<'static, str>> + Send + Sync;

impl AddressFilter {
    /// Creates a filter. `check` returns the reason for which an address is refused, without a full stop.
    pub fn new(
        check: impl Fn(&ConnectTarget<'_>) -> Result<(), Cow<'static, str>> + Send + Sync + 'static,
    ) -> Self {
        AddressFilter(Arc::new(check))
    }

    /// Calls the filter with `target`.
    ///
    /// # Errors
    ///
    /// The refusal, with the filter's reason.
    pub fn check(&self, target: &ConnectTarget<'_>) -> Result<(), AddressRefused> {
        (self.0)(target).map_err(|reason| AddressRefused {
            address: target.address,
            host: target.host.into(),
            port: target.port,
            hop: target.hop,
            reason,
        })
    }

    fn identity(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }
}

impl PartialEq for AddressFilter {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for AddressFilter {}

impl Hash for AddressFilter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Debug for AddressFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressFilter").finish_non_exhaustive()
    }
}

/// An address, or a name that a proxy resolves, which an [`AddressFilter`] has refused: the
/// [cause](Error::cause) of an error of [`ErrorKind::AddressRefused`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connecting to {} was refused: {}", self.place(), self.reason)]
pub struct AddressRefused {
    address: Option<SocketAddr>,
    host: Box<str>,
    port: u16,
    hop: usize,
    reason: Cow<'static, str>,
}

impl AddressRefused {
    /// Returns the address; `None` if a name was refused which a proxy would have resolved.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns the host whose address it is.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the position on the way to the origin, as [`ConnectTarget::hop`].
    pub fn hop(&self) -> usize {
        self.hop
    }

    /// Returns the filter's reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the refusal that `error` is about, if it is about one.
    pub fn source_of(error: &Error) -> Option<&AddressRefused> {
        let cause: &(dyn StdError + 'static) = error.cause()?;
        cause.downcast_ref()
    }

    fn place(&self) -> String {
        match self.address {
            Some(address) if address.ip().to_string() == *self.host => address.to_string(),
            Some(address) => format!("{address} ({})", self.host),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

impl From<AddressRefused> for Error {
    fn from(refused: AddressRefused) -> Self {
        Error::new(
            ErrorKind::AddressRefused,
            ErrorPhase::Connect,
            RequestSent::None,
        )
        .with_source(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    #[test]
    fn refusals_name_the_address_its_host_and_the_reason() {
        let filter = AddressFilter::new(|_| Err("closed today".into()));
        let v4 = Some(([192, 0, 2, 1], 80).into());
        let v6 = Some("[2001:db8::1]:80".parse().unwrap());
        for (host, address, place) in [
            ("a.test", v4, "192.0.2.1:80 (a.test)"),
            ("192.0.2.1", v4, "192.0.2.1:80"),
            ("2001:db8::1", v6, "[2001:db8::1]:80"),
            ("a.test", None, "a.test:80"),
        ] {
            let target = ConnectTarget::new(host, 80, address).at_hop(1, false);
            let error = Error::from(filter.check(&target).unwrap_err());
            let text = format!("connecting to {place} was refused: closed today");
            assert_eq!(error.to_string(), text);
            assert_eq!(format!("{error:#}"), text);
            let refused = AddressRefused::source_of(&error).unwrap();
            assert_eq!((refused.address(), refused.host()), (address, host));
            assert_eq!((refused.port(), refused.hop()), (80, 1));
            assert_eq!((error.fault(), error.is_retryable()), (Fault::Local, false));
        }
    }

    #[test]
    fn filters_are_equal_if_they_are_clones() {
        let one = AddressFilter::new(|_| Ok(()));
        let other = AddressFilter::new(|_| Ok(()));
        assert_eq!(one, one.clone());
        assert_ne!(one, other);
    }
}
