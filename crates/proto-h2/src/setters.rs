//! Setters of [`Http2Config`], which other crates cannot build as a literal.

use std::time::Duration;

use crate::Http2Config;

impl Http2Config {
    /// Sets [`stream_window`](Self::stream_window).
    #[must_use]
    pub fn with_stream_window(mut self, stream_window: u32) -> Self {
        self.stream_window = stream_window;
        self
    }

    /// Sets [`max_buffered_per_connection`](Self::max_buffered_per_connection).
    #[must_use]
    pub fn with_max_buffered_per_connection(mut self, max_buffered_per_connection: u32) -> Self {
        self.max_buffered_per_connection = max_buffered_per_connection;
        self
    }

    /// Sets [`adaptive_window`](Self::adaptive_window).
    #[must_use]
    pub fn with_adaptive_window(mut self, adaptive_window: bool) -> Self {
        self.adaptive_window = adaptive_window;
        self
    }

    /// Sets [`max_frame_size`](Self::max_frame_size).
    #[must_use]
    pub fn with_max_frame_size(mut self, max_frame_size: u32) -> Self {
        self.max_frame_size = max_frame_size;
        self
    }

    /// Sets [`header_table_size`](Self::header_table_size).
    #[must_use]
    pub fn with_header_table_size(mut self, header_table_size: u32) -> Self {
        self.header_table_size = header_table_size;
        self
    }

    /// Sets [`max_header_list_size`](Self::max_header_list_size).
    #[must_use]
    pub fn with_max_header_list_size(mut self, max_header_list_size: u32) -> Self {
        self.max_header_list_size = max_header_list_size;
        self
    }

    /// Sets [`max_informational`](Self::max_informational).
    #[must_use]
    pub fn with_max_informational(mut self, max_informational: usize) -> Self {
        self.max_informational = max_informational;
        self
    }

    /// Sets [`max_streams`](Self::max_streams).
    #[must_use]
    pub fn with_max_streams(mut self, max_streams: usize) -> Self {
        self.max_streams = max_streams;
        self
    }

    /// Sets [`max_send_buffer`](Self::max_send_buffer).
    #[must_use]
    pub fn with_max_send_buffer(mut self, max_send_buffer: usize) -> Self {
        self.max_send_buffer = max_send_buffer;
        self
    }

    /// Sets [`keep_alive_interval`](Self::keep_alive_interval).
    #[must_use]
    pub fn with_keep_alive_interval(
        mut self,
        keep_alive_interval: impl Into<Option<Duration>>,
    ) -> Self {
        self.keep_alive_interval = keep_alive_interval.into();
        self
    }

    /// Sets [`keep_alive_timeout`](Self::keep_alive_timeout).
    #[must_use]
    pub fn with_keep_alive_timeout(mut self, keep_alive_timeout: Duration) -> Self {
        self.keep_alive_timeout = keep_alive_timeout;
        self
    }

    /// Sets [`suspect_timeout`](Self::suspect_timeout).
    #[must_use]
    pub fn with_suspect_timeout(mut self, suspect_timeout: impl Into<Option<Duration>>) -> Self {
        self.suspect_timeout = suspect_timeout.into();
        self
    }

    /// Sets [`expect_continue_timeout`](Self::expect_continue_timeout).
    #[must_use]
    pub fn with_expect_continue_timeout(mut self, expect_continue_timeout: Duration) -> Self {
        self.expect_continue_timeout = expect_continue_timeout;
        self
    }
}
