//! How a server is reached that will be listened to for long.

use std::sync::Arc;

use httpcore::{ConnectionPool, EventLoop, Timeouts, trace::Trace};

use crate::{Exit, args::Reach, get, resolve::Overridden, trace};

impl Reach {
    /// A pool as the options have it, on `epoll`.
    pub(crate) fn pool(&self, epoll: &EventLoop) -> Result<ConnectionPool, Exit> {
        let mut builder = ConnectionPool::builder();
        if let Some(path) = &self.unix_socket {
            builder = builder.unix_socket(path);
        }
        if let Some(connector) = get::tls(&self.tls)? {
            builder = builder.tls(connector);
        }
        if self.http2_only {
            builder = builder.http1(false);
        }
        let mut backend = epoll.backend();
        if !self.resolve.is_empty() {
            backend = Arc::new(Overridden::new(backend, self.resolve.clone()));
        }
        Ok(builder.build(backend))
    }

    /// Limits on making the connection; what comes after that has all the time it wants.
    pub(crate) fn timeouts(&self) -> Timeouts {
        let timeouts = Timeouts::default();
        match self.connect_timeout {
            None => timeouts,
            Some(limit) => timeouts
                .with_resolve(limit)
                .with_connect(limit)
                .with_tls(limit),
        }
    }

    /// Who is told what happens.
    pub(crate) fn listener(&self, epoll: &EventLoop) -> Trace {
        if self.trace {
            trace::to_stderr(epoll.backend().now())
        } else if self.verbose {
            trace::connection_to_stderr()
        } else {
            Trace::none()
        }
    }
}
