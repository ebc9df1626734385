//! Setters of [`TcpOptions`], which other crates cannot build as a literal.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::net::TcpOptions;

impl TcpOptions {
    /// Sets [`nodelay`](Self::nodelay).
    #[must_use]
    pub fn with_nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Sets [`local_v4`](Self::local_v4).
    #[must_use]
    pub fn with_local_v4(mut self, local_v4: impl Into<Option<Ipv4Addr>>) -> Self {
        self.local_v4 = local_v4.into();
        self
    }

    /// Sets [`local_v6`](Self::local_v6).
    #[must_use]
    pub fn with_local_v6(mut self, local_v6: impl Into<Option<Ipv6Addr>>) -> Self {
        self.local_v6 = local_v6.into();
        self
    }

    /// Sets [`keepalive`](Self::keepalive).
    #[must_use]
    pub fn with_keepalive(mut self, keepalive: impl Into<Option<Duration>>) -> Self {
        self.keepalive = keepalive.into();
        self
    }

    /// Sets [`keepalive_interval`](Self::keepalive_interval).
    #[must_use]
    pub fn with_keepalive_interval(
        mut self,
        keepalive_interval: impl Into<Option<Duration>>,
    ) -> Self {
        self.keepalive_interval = keepalive_interval.into();
        self
    }

    /// Sets [`keepalive_retries`](Self::keepalive_retries).
    #[must_use]
    pub fn with_keepalive_retries(mut self, keepalive_retries: impl Into<Option<u32>>) -> Self {
        self.keepalive_retries = keepalive_retries.into();
        self
    }

    /// Sets [`user_timeout`](Self::user_timeout).
    #[must_use]
    pub fn with_user_timeout(mut self, user_timeout: impl Into<Option<Duration>>) -> Self {
        self.user_timeout = user_timeout.into();
        self
    }

    /// Sets [`send_buffer`](Self::send_buffer).
    #[must_use]
    pub fn with_send_buffer(mut self, send_buffer: impl Into<Option<usize>>) -> Self {
        self.send_buffer = send_buffer.into();
        self
    }

    /// Sets [`receive_buffer`](Self::receive_buffer).
    #[must_use]
    pub fn with_receive_buffer(mut self, receive_buffer: impl Into<Option<usize>>) -> Self {
        self.receive_buffer = receive_buffer.into();
        self
    }

    /// Sets [`interface`](Self::interface).
    #[must_use]
    pub fn with_interface(mut self, interface: impl Into<Option<String>>) -> Self {
        self.interface = interface.into();
        self
    }

    /// Sets [`mark`](Self::mark).
    #[must_use]
    pub fn with_mark(mut self, mark: impl Into<Option<u32>>) -> Self {
        self.mark = mark.into();
        self
    }

    /// Sets [`traffic_class`](Self::traffic_class).
    #[must_use]
    pub fn with_traffic_class(mut self, traffic_class: impl Into<Option<u8>>) -> Self {
        self.traffic_class = traffic_class.into();
        self
    }

    /// Sets [`congestion`](Self::congestion).
    #[must_use]
    pub fn with_congestion(mut self, congestion: impl Into<Option<String>>) -> Self {
        self.congestion = congestion.into();
        self
    }

    /// Sets [`hook`](Self::hook).
    #[cfg(unix)]
    #[must_use]
    pub fn with_hook(mut self, hook: impl Into<Option<crate::socket_hook::SocketHook>>) -> Self {
        self.hook = hook.into();
        self
    }
}
