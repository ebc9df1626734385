//! Why a connection serves no other exchange.

use std::{fmt, time::Duration};

use http::Version;
use httpcore_core_primitives::{CloseReason, KeepAliveHints};

use super::framing::decimal;

/// Why a connection must be closed after this exchange. `Display` names the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MustClose {
    /// The server said `Connection: close`.
    PeerSaidClose,
    /// The request said `Connection: close`.
    CallerSaidClose,
    /// The response is of HTTP/1.0, and does not say that the connection is kept.
    Http10,
    /// The request was of HTTP/1.0.
    AskedInHttp10,
    /// The response's body ended with the connection.
    DelimitedByClose,
    /// The response has no body, and its fields announce one that might still come.
    SuspiciousBody,
    /// The response had `Content-Length` beside `Transfer-Encoding`, which a
    /// [`ParserOptions`](super::ParserOptions) let through.
    LengthAndCoding,
    /// The response ended before the request did.
    UnfinishedRequest,
    /// The response has not ended.
    UnfinishedResponse,
    /// Bytes follow the response.
    LeftOver,
    /// The server broke a rule.
    Broken,
    /// The connection carries another protocol now.
    Switched,
}

impl MustClose {
    /// The word which pools know for it.
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

    /// The rule, with its section.
    pub fn text(self) -> &'static str {
        match self {
            MustClose::PeerSaidClose => "the server said Connection: close (RFC 9112 §9.6)",
            MustClose::CallerSaidClose => "the request said Connection: close (RFC 9112 §9.6)",
            MustClose::Http10 => "HTTP/1.0 does not keep connections (RFC 9112 §9.3)",
            MustClose::AskedInHttp10 => "the request was of HTTP/1.0 (RFC 9112 §9.3)",
            MustClose::DelimitedByClose => "the body ended with the connection (RFC 9112 §6.3)",
            MustClose::SuspiciousBody => {
                "a response without a body announces one, which might still come (RFC 9112 §6.3)"
            }
            MustClose::LengthAndCoding => {
                "the response had Content-Length and Transfer-Encoding (RFC 9112 §6.3)"
            }
            MustClose::UnfinishedRequest => {
                "the response ended before the whole request was sent (RFC 9112 §9.3)"
            }
            MustClose::UnfinishedResponse => "the response has not ended (RFC 9112 §9.3)",
            MustClose::LeftOver => "bytes follow the response (RFC 9112 §9.2)",
            MustClose::Broken => "the server broke a rule",
            MustClose::Switched => "another protocol took over (RFC 9110 §7.8)",
        }
    }
}

impl fmt::Display for MustClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for MustClose {}

/// Whether a response of `version` with these `options` lets the connection live.
pub(super) fn kept_by_response(
    version: Version,
    options: ConnectionOptions,
) -> Result<(), MustClose> {
    // RFC 9112 §9.3: `close` outweighs everything; 1.1 stays unless told otherwise; 1.0 stays
    // only if told so.
    if options.close {
        Err(MustClose::PeerSaidClose)
    } else if version == Version::HTTP_10 && !options.keep_alive {
        Err(MustClose::Http10)
    } else {
        Ok(())
    }
}

/// The options of `Connection` that mean something here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConnectionOptions {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

impl ConnectionOptions {
    /// RFC 9110 §7.6.1: a list of tokens, in any case, over any number of field lines.
    pub(super) fn note(&mut self, value: &[u8]) {
        // What nearly all servers say that say anything is no list, and needs no taking apart.
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

/// What the `Keep-Alive` field of a response says: `timeout=5, max=100`.
///
/// RFC 9112 appendix C.2.2 knows the field; its parameters are older, and of no standard now. They
/// are a hint and nothing else, and so whatever is not exactly such a parameter is passed over; of
/// several, the most pessimistic counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeepAlive {
    /// In seconds.
    timeout: Option<u32>,
    max: Option<u32>,
}

impl KeepAlive {
    pub(super) fn note(&mut self, value: &[u8]) {
        for parameter in value.split(|&byte| byte == b',') {
            let mut halves = parameter.splitn(2, |&byte| byte == b'=');
            let (Some(name), Some(number)) = (halves.next(), halves.next()) else {
                continue;
            };
            let Some(number) = decimal(number.trim_ascii()) else {
                continue;
            };
            // Longer than a century is as good as for ever, and a hint of that is none.
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
