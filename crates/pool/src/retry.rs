//! What may be sent again.

use httpcore_core_primitives::{ErrorKind, RequestSent, SendError};

use crate::config::Retry;

/// Returns whether a request that failed on a connection which was not new may be sent once more.
///
/// `shared` connections give a request back unsent also when they are new (RFC 9113 §8.7); an
/// exclusive one that fails on its first exchange did not fail because it was idle.
pub(crate) fn may_be_sent_again(
    policy: Retry,
    failure: &SendError,
    reused: bool,
    shared: bool,
) -> bool {
    let SendError {
        error,
        request: Some(request),
        ..
    } = failure
    else {
        return false;
    };
    let died = match error.kind() {
        ErrorKind::ConnectionClosed | ErrorKind::Network | ErrorKind::Tls => true,
        // RFC 9113 §8.7: a refused stream is an error of the protocol, and says that nothing of
        // the request was processed.
        ErrorKind::Protocol => error.sent() == RequestSent::None,
        _ => false,
    };
    let unsent = error.sent() == RequestSent::None;
    if !died || error.response_started() || !(reused || shared && unsent) {
        return false;
    }
    match policy {
        Retry::Never => false,
        Retry::Unsent => unsent,
        // RFC 9110 §9.2.2: a request with an idempotent method may be repeated automatically when
        // the connection fails before the response is read.
        Retry::Idempotent => unsent || request.method().is_idempotent(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;
    use httpcore_core_primitives::{Body, Error, ErrorPhase, Request};

    fn failure(method: Method, kind: ErrorKind, sent: RequestSent) -> SendError {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        let error = Error::new(kind, ErrorPhase::Send, sent);
        SendError::new(error, Some(Box::new(request)))
    }

    #[test]
    fn only_what_may_be_sent_twice_is_sent_twice() {
        use Retry::{Idempotent, Never, Unsent};
        let (reused, new) = (true, false);
        for (policy, method, kind, sent, reused, again) in [
            (
                Idempotent,
                Method::GET,
                ErrorKind::ConnectionClosed,
                RequestSent::Full,
                reused,
                true,
            ),
            (
                Idempotent,
                Method::PUT,
                ErrorKind::Network,
                RequestSent::Partial,
                reused,
                true,
            ),
            (
                Idempotent,
                Method::POST,
                ErrorKind::ConnectionClosed,
                RequestSent::None,
                reused,
                true,
            ),
            (
                Idempotent,
                Method::POST,
                ErrorKind::ConnectionClosed,
                RequestSent::Partial,
                reused,
                false,
            ),
            (
                Idempotent,
                Method::POST,
                ErrorKind::ConnectionClosed,
                RequestSent::Full,
                reused,
                false,
            ),
            (
                Idempotent,
                Method::PATCH,
                ErrorKind::ConnectionClosed,
                RequestSent::Full,
                reused,
                false,
            ),
            (
                Idempotent,
                Method::GET,
                ErrorKind::ConnectionClosed,
                RequestSent::Full,
                new,
                false,
            ),
            (
                Idempotent,
                Method::GET,
                ErrorKind::Protocol,
                RequestSent::Full,
                reused,
                false,
            ),
            (
                Idempotent,
                Method::GET,
                ErrorKind::RequestBody,
                RequestSent::Full,
                reused,
                false,
            ),
            (
                Unsent,
                Method::GET,
                ErrorKind::ConnectionClosed,
                RequestSent::Full,
                reused,
                false,
            ),
            (
                Unsent,
                Method::POST,
                ErrorKind::ConnectionClosed,
                RequestSent::None,
                reused,
                true,
            ),
            (
                Never,
                Method::GET,
                ErrorKind::ConnectionClosed,
                RequestSent::None,
                reused,
                false,
            ),
        ] {
            let failure = failure(method.clone(), kind, sent);
            assert_eq!(
                may_be_sent_again(policy, &failure, reused, false),
                again,
                "{policy:?} {method} {kind:?} {sent:?} {reused}"
            );
        }
    }

    #[test]
    fn nothing_is_sent_again_once_a_response_has_begun_or_the_body_is_gone() {
        let mut begun = failure(Method::GET, ErrorKind::ConnectionClosed, RequestSent::Full);
        begun.error = begun.error.with_response_started(true);
        assert!(!may_be_sent_again(Retry::Idempotent, &begun, true, false));
        let mut gone = failure(Method::GET, ErrorKind::ConnectionClosed, RequestSent::None);
        gone.request = None;
        assert!(!may_be_sent_again(Retry::Idempotent, &gone, true, false));
    }

    #[test]
    fn a_shared_connection_may_refuse_its_first_request_unsent() {
        let refused = failure(Method::POST, ErrorKind::Protocol, RequestSent::None);
        assert!(may_be_sent_again(Retry::Idempotent, &refused, false, true));
        let sent = failure(Method::GET, ErrorKind::ConnectionClosed, RequestSent::Full);
        assert!(!may_be_sent_again(Retry::Idempotent, &sent, false, true));
    }
}
