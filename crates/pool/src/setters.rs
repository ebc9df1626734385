//! Setters of [`PoolConfig`], which other crates cannot build as a literal.

use std::time::Duration;

use httpcore_core_primitives::Timeouts;

use crate::config::{PoolConfig, Retry, RetryBudget, StreamPlacement};

impl PoolConfig {
    /// Sets [`max_connections`](Self::max_connections).
    #[must_use]
    pub fn with_max_connections(mut self, max_connections: impl Into<Option<usize>>) -> Self {
        self.max_connections = max_connections.into();
        self
    }

    /// Sets [`max_connections_per_origin`](Self::max_connections_per_origin).
    #[must_use]
    pub fn with_max_connections_per_origin(
        mut self,
        max_connections_per_origin: impl Into<Option<usize>>,
    ) -> Self {
        self.max_connections_per_origin = max_connections_per_origin.into();
        self
    }

    /// Sets [`max_requests_per_origin`](Self::max_requests_per_origin).
    #[must_use]
    pub fn with_max_requests_per_origin(
        mut self,
        max_requests_per_origin: impl Into<Option<usize>>,
    ) -> Self {
        self.max_requests_per_origin = max_requests_per_origin.into();
        self
    }

    /// Sets [`max_http2_connections_per_origin`](Self::max_http2_connections_per_origin).
    #[must_use]
    pub fn with_max_http2_connections_per_origin(
        mut self,
        max_http2_connections_per_origin: impl Into<Option<usize>>,
    ) -> Self {
        self.max_http2_connections_per_origin = max_http2_connections_per_origin.into();
        self
    }

    /// Sets [`max_idle`](Self::max_idle).
    #[must_use]
    pub fn with_max_idle(mut self, max_idle: impl Into<Option<usize>>) -> Self {
        self.max_idle = max_idle.into();
        self
    }

    /// Sets [`max_idle_per_origin`](Self::max_idle_per_origin).
    #[must_use]
    pub fn with_max_idle_per_origin(
        mut self,
        max_idle_per_origin: impl Into<Option<usize>>,
    ) -> Self {
        self.max_idle_per_origin = max_idle_per_origin.into();
        self
    }

    /// Sets [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub fn with_idle_timeout(mut self, idle_timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = idle_timeout.into();
        self
    }

    /// Sets [`max_lifetime`](Self::max_lifetime).
    #[must_use]
    pub fn with_max_lifetime(mut self, max_lifetime: impl Into<Option<Duration>>) -> Self {
        self.max_lifetime = max_lifetime.into();
        self
    }

    /// Sets [`max_requests_per_connection`](Self::max_requests_per_connection).
    #[must_use]
    pub fn with_max_requests_per_connection(
        mut self,
        max_requests_per_connection: impl Into<Option<u64>>,
    ) -> Self {
        self.max_requests_per_connection = max_requests_per_connection.into();
        self
    }

    /// Sets [`max_pending_requests`](Self::max_pending_requests).
    #[must_use]
    pub fn with_max_pending_requests(
        mut self,
        max_pending_requests: impl Into<Option<usize>>,
    ) -> Self {
        self.max_pending_requests = max_pending_requests.into();
        self
    }

    /// Sets [`connect_preempt_after`](Self::connect_preempt_after).
    #[must_use]
    pub fn with_connect_preempt_after(
        mut self,
        connect_preempt_after: impl Into<Option<Duration>>,
    ) -> Self {
        self.connect_preempt_after = connect_preempt_after.into();
        self
    }

    /// Sets [`connect_patience`](Self::connect_patience).
    #[must_use]
    pub fn with_connect_patience(mut self, connect_patience: impl Into<Option<Duration>>) -> Self {
        self.connect_patience = connect_patience.into();
        self
    }

    /// Sets [`connect_retries`](Self::connect_retries).
    #[must_use]
    pub fn with_connect_retries(mut self, connect_retries: u32) -> Self {
        self.connect_retries = connect_retries;
        self
    }

    /// Sets [`timeouts`](Self::timeouts).
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets [`retry`](Self::retry).
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets [`max_connecting`](Self::max_connecting).
    #[must_use]
    pub fn with_max_connecting(mut self, max_connecting: impl Into<Option<usize>>) -> Self {
        self.max_connecting = max_connecting.into();
        self
    }

    /// Sets [`max_connecting_per_origin`](Self::max_connecting_per_origin).
    #[must_use]
    pub fn with_max_connecting_per_origin(
        mut self,
        max_connecting_per_origin: impl Into<Option<usize>>,
    ) -> Self {
        self.max_connecting_per_origin = max_connecting_per_origin.into();
        self
    }

    /// Sets [`connect_delay`](Self::connect_delay).
    #[must_use]
    pub fn with_connect_delay(mut self, connect_delay: Duration) -> Self {
        self.connect_delay = connect_delay;
        self
    }

    /// Sets [`connect_backoff`](Self::connect_backoff).
    #[must_use]
    pub fn with_connect_backoff(mut self, connect_backoff: impl Into<Option<Duration>>) -> Self {
        self.connect_backoff = connect_backoff.into();
        self
    }

    /// Sets [`http2_placement`](Self::http2_placement).
    #[must_use]
    pub fn with_http2_placement(mut self, http2_placement: StreamPlacement) -> Self {
        self.http2_placement = http2_placement;
        self
    }

    /// Sets [`retry_budget`](Self::retry_budget).
    #[must_use]
    pub fn with_retry_budget(mut self, retry_budget: impl Into<Option<RetryBudget>>) -> Self {
        self.retry_budget = retry_budget.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setter_changes_its_field_only() {
        let second = Duration::from_secs(1);
        let timeouts = Timeouts::default().with_total(second);
        let config = PoolConfig::default()
            .with_max_connections(1)
            .with_max_connections_per_origin(2)
            .with_max_requests_per_origin(3)
            .with_max_http2_connections_per_origin(None)
            .with_max_idle(5)
            .with_max_idle_per_origin(6)
            .with_idle_timeout(None)
            .with_max_lifetime(second)
            .with_max_requests_per_connection(9)
            .with_max_pending_requests(10)
            .with_connect_preempt_after(None)
            .with_connect_patience(second)
            .with_connect_retries(13)
            .with_timeouts(timeouts)
            .with_retry(Retry::Never)
            .with_max_connecting(16)
            .with_max_connecting_per_origin(17)
            .with_connect_delay(second)
            .with_connect_backoff(second)
            .with_http2_placement(StreamPlacement::Spread)
            .with_retry_budget(RetryBudget::new(21, 22));
        // A new field fails to compile here until it has a setter.
        let PoolConfig {
            max_connections,
            max_connections_per_origin,
            max_requests_per_origin,
            max_http2_connections_per_origin,
            max_idle,
            max_idle_per_origin,
            idle_timeout,
            max_lifetime,
            max_requests_per_connection,
            max_pending_requests,
            connect_preempt_after,
            connect_patience,
            connect_retries,
            timeouts: limits,
            retry,
            max_connecting,
            max_connecting_per_origin,
            connect_delay,
            connect_backoff,
            http2_placement,
            retry_budget,
        } = config;
        assert_eq!(
            (max_connecting, max_connecting_per_origin),
            (Some(16), Some(17))
        );
        assert_eq!((connect_delay, connect_backoff), (second, Some(second)));
        assert_eq!(http2_placement, StreamPlacement::Spread);
        assert_eq!(retry_budget, Some(RetryBudget::new(21, 22)));
        assert_eq!(
            [
                max_connections,
                max_connections_per_origin,
                max_requests_per_origin,
                max_http2_connections_per_origin,
                max_idle,
                max_idle_per_origin,
                max_pending_requests,
            ],
            [Some(1), Some(2), Some(3), None, Some(5), Some(6), Some(10)]
        );
        assert_eq!(
            [
                idle_timeout,
                max_lifetime,
                connect_preempt_after,
                connect_patience
            ],
            [None, Some(second), None, Some(second)]
        );
        assert_eq!(max_requests_per_connection, Some(9));
        assert_eq!((connect_retries, retry), (13, Retry::Never));
        assert_eq!(limits.total(), Some(second));
    }
}
