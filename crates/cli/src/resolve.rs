//! A backend with fixed addresses for some hosts.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Instant};

use httpcore::{
    backend::{BoxFuture, BoxStream, NetworkBackend, Runtime, Timer},
    config::TcpOptions,
};

use crate::args::Override;

/// `backend`, with fixed addresses for some names.
#[derive(Debug)]
pub(crate) struct Overridden {
    backend: Arc<dyn NetworkBackend>,
    overrides: Vec<Override>,
}

impl Overridden {
    pub(crate) fn new(backend: Arc<dyn NetworkBackend>, overrides: Vec<Override>) -> Self {
        Overridden { backend, overrides }
    }
}

impl Runtime for Overridden {
    fn now(&self) -> Instant {
        self.backend.now()
    }

    fn timer(&self, purpose: &'static str) -> Box<dyn Timer> {
        self.backend.timer(purpose)
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.backend.spawn(name, task);
    }
}

impl NetworkBackend for Overridden {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let addresses: Vec<SocketAddr> = self
            .overrides
            .iter()
            .filter(|known| known.host.eq_ignore_ascii_case(host) && known.port == port)
            .map(|known| SocketAddr::new(known.address, port))
            .collect();
        if addresses.is_empty() {
            return self.backend.resolve(host, port);
        }
        Box::pin(std::future::ready(Ok(addresses)))
    }

    fn connect_tcp(
        &self,
        peer: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        self.backend.connect_tcp(peer, options)
    }

    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxStream>> {
        self.backend.connect_unix(path)
    }
}
