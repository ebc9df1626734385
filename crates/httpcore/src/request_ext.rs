//! Options of a request, set on its builder.

use std::{net::IpAddr, sync::Arc};

use http::request::Builder;
use httpcore_core_primitives::{
    AddressFilter, ConnectionPolicy, IncludeConnectionInfo, OnInformational, Partition, Protocol,
    ServerName, Timeouts, TlsOverride, Trace,
};
use httpcore_proto_h1::{CaptureRawHead, HeaderOrder, RequestTarget};

use crate::{
    connect_to::{ConnectTo, HostOverrides},
    proxy::UseProxy,
};

/// Options of a request, as methods of [`http::request::Builder`].
///
/// Each puts a type into the request's [`http::Extensions`], where the pool looks for it; inserting
/// the type there has the same effect.
///
/// | method | type | effect | default |
/// |---|---|---|---|
/// | [`timeouts`](Self::timeouts) | [`Timeouts`] | time limits of this request | those of the pool |
/// | [`trace`](Self::trace) | [`Trace`] | receives the events of this request | none |
/// | [`new_connection`](Self::new_connection) | [`ConnectionPolicy`] | uses a connection that has served no request | any |
/// | [`close_after`](Self::close_after) | [`ConnectionPolicy`] | closes the connection afterwards | reused |
/// | [`http1_only`](Self::http1_only) | [`ConnectionPolicy`] | uses HTTP/1.1 | the pool's versions |
/// | [`partition`](Self::partition) | [`Partition`] | shares connections within this partition only | no partition |
/// | [`server_name`](Self::server_name) | [`ServerName`] | name in the TLS handshake and certificate | the URL's host |
/// | [`tls`](Self::tls) | [`TlsOverride`] | TLS of this request's connection | the pool's |
/// | [`address_filter`](Self::address_filter) | [`AddressFilter`] | must allow each address that is connected to | none |
/// | [`connect_to`](Self::connect_to) | [`ConnectTo`] | connects to this host, and speaks for the URL's | the URL's host |
/// | [`resolve`](Self::resolve) | [`HostOverrides`] | addresses of hosts | looked up |
/// | [`use_proxy`](Self::use_proxy) | [`UseProxy`] | sends the request through this proxy, or directly | the pool's choice |
/// | [`request_target`](Self::request_target) | [`RequestTarget`] | form of the request target | origin form |
/// | [`header_order`](Self::header_order) | [`HeaderOrder`] | order and case of field names in HTTP/1.1 | as in the `HeaderMap` |
/// | [`protocol`](Self::protocol) | [`Protocol`] | `:protocol` of an extended CONNECT (RFC 8441) | none |
/// | [`on_informational`](Self::on_informational) | [`OnInformational`] | receives responses of status 1xx | dropped |
/// | [`include_connection_info`](Self::include_connection_info) | [`IncludeConnectionInfo`] | addresses and TLS facts in the response | none |
/// | [`capture_raw_head`](Self::capture_raw_head) | [`CaptureRawHead`] | head of an HTTP/1.1 response as received | none |
///
/// ```
/// use httpcore::{RequestExt, Timeouts, http};
/// use std::time::Duration;
///
/// let request = http::Request::get("https://example.com/")
///     .timeouts(Timeouts::default().with_total(Duration::from_secs(5)))
///     .partition("tenant-7")
///     .http1_only()
///     .body(())?;
/// # Ok::<(), http::Error>(())
/// ```
///
/// A builder that has an error already, such as an invalid URI, stays as it is.
///
/// This trait cannot be implemented outside of this crate.
pub trait RequestExt: Sized + sealed::Sealed {
    /// Sets time limits. Those that are left unset are the pool's.
    #[must_use]
    fn timeouts(self, timeouts: Timeouts) -> Self {
        self.with(timeouts)
    }

    /// Sets the proxy of this request, or that it has none.
    #[must_use]
    fn use_proxy(self, choice: UseProxy) -> Self {
        self.with(choice)
    }

    /// Connects to this host and port, and sends what is for the URL's: the `Host` field, the TLS server
    /// name and the certificate are of the URL.
    #[must_use]
    fn connect_to(self, to: ConnectTo) -> Self {
        self.with(to)
    }

    /// Sets the addresses of `host`, which is then not looked up for this request. Can be called for
    /// several hosts. Without addresses, the name has none.
    #[must_use]
    fn resolve(self, host: impl AsRef<str>, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.update(|hosts: HostOverrides| hosts.with_host(host, addresses))
    }

    /// Sets a filter that must allow each address before it is connected to, besides the filter of the
    /// pool. Only requests with clones of the same [`AddressFilter`] share a connection.
    #[must_use]
    fn address_filter(self, filter: AddressFilter) -> Self {
        self.with(filter)
    }

    /// Sets the listener of this request's events.
    #[must_use]
    fn trace(self, trace: Trace) -> Self {
        self.with(trace)
    }

    /// Uses a connection that has served no other request. An idle one is closed for it if the
    /// pool's limits leave no other slot.
    #[must_use]
    fn new_connection(self) -> Self {
        self.update(ConnectionPolicy::with_new_connection)
    }

    /// Closes the connection after this request. An HTTP/1.1 server receives `Connection: close` (RFC
    /// 9112 §9.6); a shared HTTP/2 connection first finishes its other requests.
    #[must_use]
    fn close_after(self) -> Self {
        self.update(ConnectionPolicy::with_close_after)
    }

    /// Uses HTTP/1.1, whichever other versions the pool has enabled.
    #[must_use]
    fn http1_only(self) -> Self {
        self.update(ConnectionPolicy::with_http1_only)
    }

    /// Shares connections only with requests of the same partition.
    #[must_use]
    fn partition(self, name: impl Into<Arc<str>>) -> Self {
        self.with(Partition::new(name))
    }

    /// Sets the name that the TLS handshake sends (SNI, RFC 6066 §3) and that the server's
    /// certificate is checked against. The connection still goes to the URL's host.
    #[must_use]
    fn server_name(self, name: impl AsRef<str>) -> Self {
        self.with(ServerName::new(name))
    }

    /// Sets the TLS of this request's connection. Only requests with clones of the same
    /// [`TlsOverride`] share it.
    #[must_use]
    fn tls(self, tls: TlsOverride) -> Self {
        self.with(tls)
    }

    /// Sets the form of the request target (RFC 9112 §3.2).
    #[must_use]
    fn request_target(self, target: RequestTarget) -> Self {
        self.with(target)
    }

    /// Sets the order and the case of field names in HTTP/1.1.
    #[must_use]
    fn header_order(self, order: HeaderOrder) -> Self {
        self.with(order)
    }

    /// Sets the protocol that an extended CONNECT asks for (RFC 8441 §4).
    #[must_use]
    fn protocol(self, name: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        self.with(Protocol::new(name))
    }

    /// Sets the listener of informational responses (1xx, RFC 9110 §15.2).
    #[must_use]
    fn on_informational(
        self,
        listener: impl Fn(&http::Response<()>) + Send + Sync + 'static,
    ) -> Self {
        self.with(OnInformational::new(listener))
    }

    /// Puts a [`ConnectionInfo`](crate::net::ConnectionInfo) into the response's extensions.
    #[must_use]
    fn include_connection_info(self) -> Self {
        self.with(IncludeConnectionInfo)
    }

    /// Puts a [`RawHead`](crate::extensions::RawHead) into the extensions of an HTTP/1.1 response.
    #[must_use]
    fn capture_raw_head(self) -> Self {
        self.with(CaptureRawHead)
    }
}

impl RequestExt for Builder {}

mod sealed {
    use super::Builder;

    pub trait Sealed {
        /// Inserts an extension.
        #[must_use]
        fn with<T: Clone + Send + Sync + 'static>(self, extension: T) -> Self;

        /// Changes an extension, and keeps what was set before.
        #[must_use]
        fn update<T: Clone + Default + Send + Sync + 'static>(
            self,
            change: impl FnOnce(T) -> T,
        ) -> Self;
    }

    impl Sealed for Builder {
        fn with<T: Clone + Send + Sync + 'static>(self, extension: T) -> Self {
            self.extension(extension)
        }

        fn update<T: Clone + Default + Send + Sync + 'static>(
            self,
            change: impl FnOnce(T) -> T,
        ) -> Self {
            let known = self
                .extensions_ref()
                .and_then(|extensions| extensions.get::<T>());
            let changed = change(known.cloned().unwrap_or_default());
            self.extension(changed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_share_a_type_add_up() {
        let request = http::Request::get("http://a.test/")
            .new_connection()
            .http1_only()
            .close_after()
            .body(())
            .unwrap();
        let policy = request.extensions().get::<ConnectionPolicy>().unwrap();
        assert!(policy.new_connection && policy.http1_only && policy.close_after);
    }

    #[test]
    fn a_builder_with_an_error_keeps_the_error() {
        let built = http::Request::get("http://a test/")
            .http1_only()
            .partition("one")
            .body(());
        assert!(built.is_err());
    }
}
