//! Why a connection is not used again: one type for protocols, pools and traces.

use std::fmt;

/// Why a connection serves no further exchange.
///
/// [`label`](Self::label) is a stable text for tables and metrics, [`detail`](Self::detail) and
/// `Display` are the rule, with its RFC section where there is one.
///
/// ```
/// use httpcore_core_primitives::CloseReason;
///
/// let reason = CloseReason::PeerSaidClose;
/// assert_eq!(reason.label(), "peer said close");
/// assert_eq!(reason.to_string(), "the server sent Connection: close or GOAWAY (RFC 9112 §9.6, RFC 9113 §6.8)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    // The exchange ended it.
    /// The exchange was dropped before its end.
    Abandoned,
    /// The exchange failed.
    Failed,
    /// The exchange ended well, and the connection is shared: nothing was closed.
    Finished,
    /// The peer announced that it closes the connection (RFC 9112 §9.6), or that it serves no further
    /// exchange on a shared connection (RFC 9113 §6.8).
    PeerSaidClose,
    /// The request asked for it (`Connection: close`, or
    /// [`ConnectionPolicy::close_after`](crate::ConnectionPolicy::close_after)).
    CallerSaidClose,
    /// The response is HTTP/1.0 without `Connection: keep-alive` (RFC 9112 §9.3).
    NotPersistent,
    /// The request was HTTP/1.0 (RFC 9112 §9.3).
    Http10Request,
    /// The response's body ended with the connection (RFC 9112 §6.3).
    EndedByClose,
    /// The response ended before the whole request had been sent.
    UnfinishedRequest,
    /// The response had not ended when the exchange did.
    UnfinishedResponse,
    /// Bytes arrived that belong to no response (RFC 9112 §9.2).
    UnsolicitedData,
    /// The response has no body by its status or method, and fields that announce one, which may
    /// still arrive (RFC 9112 §6.3).
    UnexpectedBodyFraming,
    /// The response had both `Content-Length` and `Transfer-Encoding` (RFC 9112 §6.3).
    AmbiguousLength,
    /// The peer broke a rule of the protocol.
    ProtocolError,
    /// The connection became a stream of another protocol (RFC 9110 §7.8).
    Upgraded,
    /// The pool was drained and its deadline passed before the exchange had ended.
    Revoked,

    // The pool ended it.
    /// It was idle for longer than the pool's limit, or than the peer's `Keep-Alive: timeout`.
    IdleTimeout,
    /// It existed for longer than the pool's limit.
    MaxLifetime,
    /// It served the maximum number of exchanges that the pool's limit allows.
    MaxRequests,
    /// The peer announced that it serves no further exchange (`Keep-Alive: max=0`).
    KeepAliveExhausted,
    /// The pool had more idle connections than its limit.
    IdleLimit,
    /// A request of another route needed its slot.
    SlotNeeded,
    /// It was found closed, failed, or with unsolicited data while it was idle.
    PeerClosed,
    /// A shared connection whose peer admits no further exchange.
    StreamsClosed,
    /// Another shared connection of the same route has room for its requests.
    Redundant,
    /// The caller closed the pool's idle connections.
    IdleClosedByCaller,
    /// The pool was closed.
    PoolClosed,
}

impl CloseReason {
    /// Returns one to three words for tables and metrics, in lower case.
    pub fn label(self) -> &'static str {
        match self {
            CloseReason::Abandoned => "abandoned",
            CloseReason::Failed => "failed",
            CloseReason::Finished => "finished",
            CloseReason::PeerSaidClose => "peer said close",
            CloseReason::CallerSaidClose => "caller said close",
            CloseReason::NotPersistent => "not persistent",
            CloseReason::Http10Request => "http/1.0 request",
            CloseReason::EndedByClose => "ended by close",
            CloseReason::UnfinishedRequest => "unfinished request",
            CloseReason::UnfinishedResponse => "unfinished response",
            CloseReason::UnsolicitedData => "unsolicited data",
            CloseReason::UnexpectedBodyFraming => "unexpected body framing",
            CloseReason::AmbiguousLength => "ambiguous length",
            CloseReason::ProtocolError => "protocol error",
            CloseReason::Upgraded => "upgraded",
            CloseReason::Revoked => "revoked",
            CloseReason::IdleTimeout => "idle timeout",
            CloseReason::MaxLifetime => "max lifetime",
            CloseReason::MaxRequests => "max requests",
            CloseReason::KeepAliveExhausted => "keep-alive exhausted",
            CloseReason::IdleLimit => "idle limit",
            CloseReason::SlotNeeded => "slot needed",
            CloseReason::PeerClosed => "peer closed",
            CloseReason::StreamsClosed => "streams closed",
            CloseReason::Redundant => "redundant",
            CloseReason::IdleClosedByCaller => "idle closed",
            CloseReason::PoolClosed => "pool closed",
        }
    }

    /// Returns the rule behind the reason in one sentence, with its RFC section if there is one: for
    /// traces and logs.
    pub fn detail(self) -> &'static str {
        match self {
            CloseReason::Abandoned => "the response was dropped before its end",
            CloseReason::Failed => "the exchange failed",
            CloseReason::Finished => "the exchange ended; the shared connection stays open",
            CloseReason::PeerSaidClose => {
                "the server sent Connection: close or GOAWAY (RFC 9112 §9.6, RFC 9113 §6.8)"
            }
            CloseReason::CallerSaidClose => {
                "the request asked to close the connection (RFC 9112 §9.6)"
            }
            CloseReason::NotPersistent => "HTTP/1.0 does not keep connections (RFC 9112 §9.3)",
            CloseReason::Http10Request => "the request was HTTP/1.0 (RFC 9112 §9.3)",
            CloseReason::EndedByClose => "the body ended with the connection (RFC 9112 §6.3)",
            CloseReason::UnfinishedRequest => {
                "the response ended before the whole request was sent (RFC 9112 §9.3)"
            }
            CloseReason::UnfinishedResponse => "the response has not ended (RFC 9112 §9.3)",
            CloseReason::UnsolicitedData => "bytes follow the response (RFC 9112 §9.2)",
            CloseReason::UnexpectedBodyFraming => {
                "a response without a body announces one, which may still arrive (RFC 9112 §6.3)"
            }
            CloseReason::AmbiguousLength => {
                "the response had Content-Length and Transfer-Encoding (RFC 9112 §6.3)"
            }
            CloseReason::ProtocolError => "the server broke a rule of the protocol",
            CloseReason::Upgraded => "another protocol took over (RFC 9110 §7.8)",
            CloseReason::Revoked => "the pool was drained",
            CloseReason::IdleTimeout => "idle for longer than the limit",
            CloseReason::MaxLifetime => "open for longer than the limit",
            CloseReason::MaxRequests => "served the maximum number of requests",
            CloseReason::KeepAliveExhausted => "the server serves no further request on it",
            CloseReason::IdleLimit => "more idle connections than the limit",
            CloseReason::SlotNeeded => "another route needed the slot",
            CloseReason::PeerClosed => "closed, failed or sent data while idle",
            CloseReason::StreamsClosed => {
                "the server admits no further stream on it (RFC 9113 §6.8)"
            }
            CloseReason::Redundant => "another connection of the route has room",
            CloseReason::IdleClosedByCaller => "the caller closed idle connections",
            CloseReason::PoolClosed => "the pool was closed",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_and_details_are_distinct() {
        use CloseReason::*;
        let all = [
            Abandoned,
            Failed,
            Finished,
            PeerSaidClose,
            CallerSaidClose,
            NotPersistent,
            Http10Request,
            EndedByClose,
            UnfinishedRequest,
            UnfinishedResponse,
            UnsolicitedData,
            UnexpectedBodyFraming,
            AmbiguousLength,
            ProtocolError,
            Upgraded,
            Revoked,
            IdleTimeout,
            MaxLifetime,
            MaxRequests,
            KeepAliveExhausted,
            IdleLimit,
            SlotNeeded,
            PeerClosed,
            StreamsClosed,
            Redundant,
            IdleClosedByCaller,
            PoolClosed,
        ];
        let labels: HashSet<_> = all.iter().map(|reason| reason.label()).collect();
        let details: HashSet<_> = all.iter().map(|reason| reason.detail()).collect();
        assert_eq!((labels.len(), details.len()), (all.len(), all.len()));
    }
}
