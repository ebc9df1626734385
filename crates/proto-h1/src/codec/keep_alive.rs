//! Whether a connection is kept after an exchange, and why not.

use std::time::Duration;

use http::{Version, request};
use httpcore_core_primitives::{CloseReason, KeepAliveHints};

use super::{framing::decimal, request_head};

/// Whether another exchange may follow, as far as the heads of request and response tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeepAlive {
    /// The first reason found to close the connection after this exchange.
    closing: Option<CloseReason>,
    hints: KeepAliveField,
}

impl KeepAlive {
    /// Starts with what `request` tells, which has these options in its `Connection` field.
    #[inline]
    pub(super) fn of_request(request: &request::Parts, options: ConnectionOptions) -> Self {
        let closing = if options.close || request_head::closes_after(request) {
            Some(CloseReason::CallerSaidClose)
        } else if request.version == Version::HTTP_10 {
            Some(CloseReason::Http10Request)
        } else {
            None
        };
        KeepAlive {
            closing,
            hints: KeepAliveField::default(),
        }
    }

    /// Adds what a response of `version` tells.
    #[inline]
    pub(super) fn note_response(
        &mut self,
        version: Version,
        options: ConnectionOptions,
        hints: KeepAliveField,
    ) {
        // RFC 9112 §9.3: `close` takes precedence; HTTP/1.1 persists unless it is closed; HTTP/1.0
        // persists only with `keep-alive`.
        if options.close {
            self.close_for(CloseReason::PeerSaidClose);
        } else if version == Version::HTTP_10 && !options.keep_alive {
            self.close_for(CloseReason::NotPersistent);
        }
        self.hints = hints;
    }

    /// Closes the connection for `reason`, unless there is one already.
    #[inline]
    pub(super) fn close_for(&mut self, reason: CloseReason) {
        self.closing.get_or_insert(reason);
    }

    #[inline]
    pub(super) fn closing(&self) -> Option<CloseReason> {
        self.closing
    }

    pub(super) fn hints(&self) -> KeepAliveHints {
        self.hints.hints()
    }
}

/// The options of a `Connection` field that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConnectionOptions {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

impl ConnectionOptions {
    /// RFC 9110 §7.6.1: a list of tokens, in any case, over any number of field lines.
    pub(super) fn note(&mut self, value: &[u8]) {
        // Nearly all servers that send the field send this, which is no list.
        if let b"keep-alive" | b"Keep-Alive" = value {
            self.keep_alive = true;
            return;
        }
        for option in value.split(|&byte| byte == b',') {
            let option = option.trim_ascii();
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
}

/// The parameters of a response's `Keep-Alive` field: `timeout=5, max=100`.
///
/// RFC 9112 appendix C.2.2 mentions the field; its parameters are older, and not standardised. They are
/// hints, and so what is not exactly such a parameter is ignored; of several, the smallest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeepAliveField {
    /// In seconds.
    timeout: Option<u32>,
    max: Option<u32>,
}

impl KeepAliveField {
    pub(super) fn note(&mut self, value: &[u8]) {
        for parameter in value.split(|&byte| byte == b',') {
            let mut halves = parameter.splitn(2, |&byte| byte == b'=');
            let (Some(name), Some(number)) = (halves.next(), halves.next()) else {
                continue;
            };
            let Some(number) = decimal(number.trim_ascii()) else {
                continue;
            };
            // More than a century is no limit.
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let name = name.trim_ascii();
            let known = if name.eq_ignore_ascii_case(b"timeout") {
                &mut self.timeout
            } else if name.eq_ignore_ascii_case(b"max") {
                &mut self.max
            } else {
                continue;
            };
            *known = Some(known.map_or(number, |before| before.min(number)));
        }
    }

    pub(super) fn hints(self) -> KeepAliveHints {
        let mut hints = KeepAliveHints::default();
        if let Some(seconds) = self.timeout {
            hints = hints.with_timeout(Duration::from_secs(seconds.into()));
        }
        if let Some(more) = self.max {
            hints = hints.with_max_requests(more.into());
        }
        hints
    }
}
