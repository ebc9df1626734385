//! The traits of backends and TLS layers for an [`Arc`] of them, so that a function can take
//! `impl NetworkBackend` from callers that share one.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Instant};

use crate::{
    net::{Alpn, BoxFuture, BoxStream, NetworkBackend, TcpOptions, TlsConnector},
    runtime::{Runtime, Timer},
};

impl<R: Runtime + ?Sized> Runtime for Arc<R> {
    #[inline]
    fn now(&self) -> Instant {
        (**self).now()
    }

    #[inline]
    fn timer(&self, purpose: &'static str) -> Box<dyn Timer> {
        (**self).timer(purpose)
    }

    #[inline]
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        (**self).spawn(name, task);
    }
}

impl<B: NetworkBackend + ?Sized> NetworkBackend for Arc<B> {
    #[inline]
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        (**self).resolve(host, port)
    }

    #[inline]
    fn connect_tcp(
        &self,
        peer: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        (**self).connect_tcp(peer, options)
    }

    #[inline]
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxStream>> {
        (**self).connect_unix(path)
    }
}

impl<T: TlsConnector + ?Sized> TlsConnector for Arc<T> {
    #[inline]
    fn handshake(
        &self,
        stream: BoxStream,
        server_name: &str,
        offer: &[Alpn],
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        (**self).handshake(stream, server_name, offer)
    }
}
