//! Setters of the configuration, whose types other crates cannot build as literals.

use std::time::Duration;

use crate::{Http1Config, Limits, ParserOptions};

impl Http1Config {
    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`leniency`](Self::leniency).
    #[must_use]
    pub fn with_leniency(mut self, leniency: ParserOptions) -> Self {
        self.leniency = leniency;
        self
    }

    /// Sets [`expect_continue_timeout`](Self::expect_continue_timeout).
    #[must_use]
    pub fn with_expect_continue_timeout(mut self, expect_continue_timeout: Duration) -> Self {
        self.expect_continue_timeout = expect_continue_timeout;
        self
    }

    /// Sets [`max_drain_on_drop`](Self::max_drain_on_drop).
    #[must_use]
    pub fn with_max_drain_on_drop(mut self, max_drain_on_drop: usize) -> Self {
        self.max_drain_on_drop = max_drain_on_drop;
        self
    }
}

impl Limits {
    /// Sets [`max_head_size`](Self::max_head_size).
    #[must_use]
    pub fn with_max_head_size(mut self, max_head_size: usize) -> Self {
        self.max_head_size = max_head_size;
        self
    }

    /// Sets [`max_headers`](Self::max_headers).
    #[must_use]
    pub fn with_max_headers(mut self, max_headers: usize) -> Self {
        self.max_headers = max_headers;
        self
    }

    /// Sets [`max_informational`](Self::max_informational).
    #[must_use]
    pub fn with_max_informational(mut self, max_informational: usize) -> Self {
        self.max_informational = max_informational;
        self
    }

    /// Sets [`max_informational_size`](Self::max_informational_size).
    #[must_use]
    pub fn with_max_informational_size(mut self, max_informational_size: usize) -> Self {
        self.max_informational_size = max_informational_size;
        self
    }

    /// Sets [`max_chunk_extension_size`](Self::max_chunk_extension_size).
    #[must_use]
    pub fn with_max_chunk_extension_size(mut self, max_chunk_extension_size: usize) -> Self {
        self.max_chunk_extension_size = max_chunk_extension_size;
        self
    }

    /// Sets [`max_trailer_size`](Self::max_trailer_size).
    #[must_use]
    pub fn with_max_trailer_size(mut self, max_trailer_size: usize) -> Self {
        self.max_trailer_size = max_trailer_size;
        self
    }

    /// Sets [`max_trailers`](Self::max_trailers).
    #[must_use]
    pub fn with_max_trailers(mut self, max_trailers: usize) -> Self {
        self.max_trailers = max_trailers;
        self
    }
}

impl ParserOptions {
    /// Sets [`bare_lf`](Self::bare_lf).
    #[must_use]
    pub fn with_bare_lf(mut self, bare_lf: bool) -> Self {
        self.bare_lf = bare_lf;
        self
    }

    /// Sets [`obs_fold`](Self::obs_fold).
    #[must_use]
    pub fn with_obs_fold(mut self, obs_fold: bool) -> Self {
        self.obs_fold = obs_fold;
        self
    }

    /// Sets [`space_before_colon`](Self::space_before_colon).
    #[must_use]
    pub fn with_space_before_colon(mut self, space_before_colon: bool) -> Self {
        self.space_before_colon = space_before_colon;
        self
    }

    /// Sets [`http09`](Self::http09).
    #[must_use]
    pub fn with_http09(mut self, http09: bool) -> Self {
        self.http09 = http09;
        self
    }

    /// Sets [`length_beside_coding`](Self::length_beside_coding).
    #[must_use]
    pub fn with_length_beside_coding(mut self, length_beside_coding: bool) -> Self {
        self.length_beside_coding = length_beside_coding;
        self
    }

    /// Sets [`codings_before_chunked`](Self::codings_before_chunked).
    #[must_use]
    pub fn with_codings_before_chunked(mut self, codings_before_chunked: bool) -> Self {
        self.codings_before_chunked = codings_before_chunked;
        self
    }

    /// Sets [`malformed_fields`](Self::malformed_fields).
    #[must_use]
    pub fn with_malformed_fields(mut self, malformed_fields: bool) -> Self {
        self.malformed_fields = malformed_fields;
        self
    }
}
