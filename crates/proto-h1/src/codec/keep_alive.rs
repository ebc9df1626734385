//! Whether a connection is kept after an exchange, and why not.

use std::time::Duration;

use http::{Version, request};
use httpcore_core_primitives::{CloseReason, KeepAliveHints};

use super::{framing::decimal, request_head};

/// Why a connection must be closed after this exchange. `Display` names the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.text())]
#[non_exhaustive]
pub enum MustClose {
    /// The response has `Connection: close`.
    PeerSaidClose,
    /// The request has `Connection: close`.
    CallerSaidClose,
    /// The response is HTTP/1.0 without `Connection: keep-alive`.
    Http10,
    /// The request was HTTP/1.0.
    AskedInHttp10,
    /// The end of the connection delimited the response's body.
    DelimitedByClose,
    /// The response has no body, and its fields declare one that might still arrive.
    SuspiciousBody,
    /// The response had `Content-Length` beside `Transfer-Encoding`, which
    /// [`ParserOptions`](super::ParserOptions) accepted.
    LengthAndCoding,
    /// The response ended before the request did.
    UnfinishedRequest,
    /// The response has not ended.
    UnfinishedResponse,
    /// Bytes follow the response.
    LeftOver,
    /// The response broke a rule.
    Broken,
    /// The connection carries another protocol now.
    Switched,
}

impl MustClose {
    /// Returns the reason in the terms of a pool.
    pub fn reason(self) -> CloseReason {
        match self {
            MustClose::PeerSaidClose => CloseReason::PeerSaidClose,
            MustClose::CallerSaidClose => CloseReason::CallerSaidClose,
            MustClose::Http10 | MustClose::AskedInHttp10 => CloseReason::NotPersistent,
            MustClose::DelimitedByClose => CloseReason::EndedByClose,
            MustClose::UnfinishedRequest => CloseReason::UnfinishedRequest,
            MustClose::UnfinishedResponse => CloseReason::Abandoned,
            MustClose::LeftOver | MustClose::SuspiciousBody | MustClose::LengthAndCoding => {
                CloseReason::UnsolicitedData
            }
            MustClose::Broken => CloseReason::Failed,
            MustClose::Switched => CloseReason::Upgraded,
        }
    }

    /// Returns the rule, with its section.
    pub fn text(self) -> &'static str {
        match self {
            MustClose::PeerSaidClose => "the response has Connection: close (RFC 9112 §9.6)",
            MustClose::CallerSaidClose => "the request has Connection: close (RFC 9112 §9.6)",
            MustClose::Http10 => {
                "the response is HTTP/1.0, which does not keep connections (RFC 9112 §9.3)"
            }
            MustClose::AskedInHttp10 => "the request was HTTP/1.0 (RFC 9112 §9.3)",
            MustClose::DelimitedByClose => {
                "the end of the connection delimits the body (RFC 9112 §6.3)"
            }
            MustClose::SuspiciousBody => {
                "a response without a body declares one, which might still arrive (RFC 9112 §6.3)"
            }
            MustClose::LengthAndCoding => {
                "the response had Content-Length and Transfer-Encoding (RFC 9112 §6.3)"
            }
            MustClose::UnfinishedRequest => {
                "the response ended before the whole request was sent (RFC 9112 §9.3)"
            }
            MustClose::UnfinishedResponse => "the response has not ended (RFC 9112 §9.3)",
            MustClose::LeftOver => "bytes follow the response (RFC 9112 §9.2)",
            MustClose::Broken => "the response broke a rule of HTTP/1.1",
            MustClose::Switched => "the connection carries another protocol (RFC 9110 §7.8)",
        }
    }
}

/// Whether another exchange may follow, as far as the heads of request and response tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeepAlive {
    /// The first reason found to close the connection after this exchange.
    closing: Option<MustClose>,
    hints: KeepAliveField,
}

impl KeepAlive {
    /// Starts with what `request` tells, which has these options in its `Connection` field.
    #[inline]
    pub(super) fn of_request(request: &request::Parts, options: ConnectionOptions) -> Self {
        let closing = if options.close || request_head::closes_after(request) {
            Some(MustClose::CallerSaidClose)
        } else if request.version == Version::HTTP_10 {
            Some(MustClose::AskedInHttp10)
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
            self.close_for(MustClose::PeerSaidClose);
        } else if version == Version::HTTP_10 && !options.keep_alive {
            self.close_for(MustClose::Http10);
        }
        self.hints = hints;
    }

    /// Closes the connection for `reason`, unless there is one already.
    #[inline]
    pub(super) fn close_for(&mut self, reason: MustClose) {
        self.closing.get_or_insert(reason);
    }

    #[inline]
    pub(super) fn closing(&self) -> Option<MustClose> {
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
