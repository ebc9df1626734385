//! Questions about an [`Error`].

use http::Method;

use crate::error::{Error, ErrorKind, ErrorPhase, RequestSent, TimeoutKind};

/// Classification.
impl Error {
    /// Returns whether the caller may send the same request again: it cannot have been processed,
    /// or it has an idempotent `method` (RFC 9110 §9.2.2), and another attempt may succeed.
    ///
    /// The body must be sent anew as well ([`Body::try_clone`](crate::Body::try_clone)). Attempts
    /// should be limited and separated by a pause.
    ///
    /// | kind | nothing was sent | part or all was sent |
    /// |---|---|---|
    /// | [`Resolve`](ErrorKind::Resolve), [`Connect`](ErrorKind::Connect), [`QueueFull`](ErrorKind::QueueFull) | yes | – |
    /// | [`Network`](ErrorKind::Network), [`ConnectionClosed`](ErrorKind::ConnectionClosed) | yes | if idempotent |
    /// | [`Timeout`](ErrorKind::Timeout) but [`Total`](TimeoutKind::Total) | yes | if idempotent |
    /// | `Timeout(Total)`: the time for all attempts has passed | no | no |
    /// | [`Protocol`](ErrorKind::Protocol): refused unprocessed (RFC 9113 §8.7), or a violation | if refused | no |
    /// | [`Tls`](ErrorKind::Tls): the handshake, or a later failure of an established connection | no | if idempotent |
    /// | [`AddressRefused`](ErrorKind::AddressRefused), [`Proxy`](ErrorKind::Proxy), [`TooLarge`](ErrorKind::TooLarge), [`PoolClosed`](ErrorKind::PoolClosed), [`RuntimeShutdown`](ErrorKind::RuntimeShutdown) | no | no |
    /// | [`InvalidUrl`](ErrorKind::InvalidUrl), [`UnsupportedScheme`](ErrorKind::UnsupportedScheme), [`InvalidRequest`](ErrorKind::InvalidRequest), [`RequestBody`](ErrorKind::RequestBody) | no | no |
    ///
    /// ```
    /// use http::Method;
    /// use httpcore_core_primitives::{Error, ErrorKind, ErrorPhase, RequestSent};
    ///
    /// let error = Error::new(ErrorKind::ConnectionClosed, ErrorPhase::Head, RequestSent::Full);
    /// assert!(error.may_repeat(&Method::PUT));
    /// assert!(!error.may_repeat(&Method::POST));
    /// ```
    pub fn may_repeat(&self, method: &Method) -> bool {
        if self.sent() == RequestSent::None {
            return self.is_retryable();
        }
        let may_pass = match self.kind() {
            ErrorKind::Network | ErrorKind::ConnectionClosed | ErrorKind::Tls => true,
            ErrorKind::Timeout(limit) => limit != TimeoutKind::Total,
            _ => false,
        };
        may_pass && method.is_idempotent()
    }

    /// Returns the time limit that has passed, if that is what this error is.
    pub fn timeout_kind(&self) -> Option<TimeoutKind> {
        match self.kind() {
            ErrorKind::Timeout(limit) => Some(limit),
            _ => None,
        }
    }

    /// Returns whether TLS failed: the handshake, or the TLS layer of an established connection.
    /// False for a connection that broke during the handshake and for [`TimeoutKind::Tls`].
    pub fn is_tls(&self) -> bool {
        self.kind() == ErrorKind::Tls
    }

    /// Returns whether a body is the reason: the request's failed or had a wrong length, or the
    /// response's could not be received in full.
    pub fn is_body(&self) -> bool {
        self.kind() == ErrorKind::RequestBody || self.phase() == ErrorPhase::Body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_repeated_depends_on_kind_on_what_was_sent_and_on_the_method() {
        use RequestSent::{Full, None as Unsent, Partial};
        let (never, idempotent, always) = ((false, false), (true, false), (true, true));
        for (kind, phase, sent, may) in [
            (ErrorKind::Resolve, ErrorPhase::Resolve, Unsent, always),
            (ErrorKind::Connect, ErrorPhase::Connect, Unsent, always),
            (ErrorKind::QueueFull, ErrorPhase::Acquire, Unsent, always),
            (ErrorKind::Network, ErrorPhase::Send, Unsent, always),
            (ErrorKind::Network, ErrorPhase::Send, Partial, idempotent),
            (ErrorKind::Network, ErrorPhase::Body, Full, idempotent),
            (
                ErrorKind::ConnectionClosed,
                ErrorPhase::Head,
                Full,
                idempotent,
            ),
            (
                ErrorKind::Timeout(TimeoutKind::Acquire),
                ErrorPhase::Acquire,
                Unsent,
                always,
            ),
            (
                ErrorKind::Timeout(TimeoutKind::Read),
                ErrorPhase::Head,
                Full,
                idempotent,
            ),
            (
                ErrorKind::Timeout(TimeoutKind::Total),
                ErrorPhase::Acquire,
                Unsent,
                never,
            ),
            (
                ErrorKind::Timeout(TimeoutKind::Total),
                ErrorPhase::Body,
                Full,
                never,
            ),
            (ErrorKind::Protocol, ErrorPhase::Head, Unsent, always),
            (ErrorKind::Protocol, ErrorPhase::Head, Full, never),
            (ErrorKind::Tls, ErrorPhase::Tls, Unsent, never),
            (ErrorKind::Tls, ErrorPhase::Body, Full, idempotent),
            (
                ErrorKind::AddressRefused,
                ErrorPhase::Connect,
                Unsent,
                never,
            ),
            (ErrorKind::Proxy, ErrorPhase::Proxy, Unsent, never),
            (ErrorKind::TooLarge, ErrorPhase::Body, Full, never),
            (ErrorKind::PoolClosed, ErrorPhase::Acquire, Unsent, never),
            (
                ErrorKind::RuntimeShutdown,
                ErrorPhase::Connect,
                Unsent,
                never,
            ),
            (ErrorKind::InvalidUrl, ErrorPhase::Request, Unsent, never),
            (
                ErrorKind::UnsupportedScheme,
                ErrorPhase::Request,
                Unsent,
                never,
            ),
            (
                ErrorKind::InvalidRequest,
                ErrorPhase::Request,
                Unsent,
                never,
            ),
            (ErrorKind::RequestBody, ErrorPhase::Send, Partial, never),
        ] {
            let error = Error::new(kind, phase, sent);
            let found = (
                error.may_repeat(&Method::DELETE),
                error.may_repeat(&Method::POST),
            );
            assert_eq!(found, may, "{kind:?} {phase:?} {sent:?}");
        }
    }

    #[test]
    fn predicates_name_the_limit_tls_and_bodies() {
        let late = Error::new(
            ErrorKind::Timeout(TimeoutKind::Tls),
            ErrorPhase::Tls,
            RequestSent::None,
        );
        assert_eq!(late.timeout_kind(), Some(TimeoutKind::Tls));
        assert!(late.is_timeout() && !late.is_tls() && !late.is_body());
        let refused = Error::new(ErrorKind::Tls, ErrorPhase::Tls, RequestSent::None);
        assert!(refused.is_tls() && refused.timeout_kind().is_none());
        let own = Error::new(
            ErrorKind::RequestBody,
            ErrorPhase::Send,
            RequestSent::Partial,
        );
        let cut = Error::new(
            ErrorKind::ConnectionClosed,
            ErrorPhase::Body,
            RequestSent::Full,
        );
        assert!(own.is_body() && cut.is_body());
    }
}
