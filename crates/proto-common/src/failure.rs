//! Why an exchange fails, and the error that its caller receives.
//!
//! Each protocol turns what it meets into a [`Failure`]; [`Failure::into_error`] is the only place that
//! turns one into an [`Error`]. The same event is therefore the same error over both protocols.

use std::{io, sync::Arc};

use httpcore_core_primitives::{
    BoxError, CloseReason, ConnectionRevoked, Error, ErrorKind, ErrorPhase, Http2ErrorCode,
    RequestSent, SharedIoError, TimeoutKind,
};

use crate::progress::{Progress, ResponseProgress};

/// Why an exchange fails.
#[derive(Debug)]
pub enum Failure {
    /// The head of the request cannot be expressed in the protocol.
    InvalidRequest(BoxError),
    /// The request's body is not what its head declares, or its trailers cannot be sent.
    InvalidBody(BoxError),
    /// The caller's body yielded an error.
    RequestBody(Error),
    /// Reading or writing the stream failed.
    Io(io::Error),
    /// The peer, or what lies between, failed in another way.
    Peer(Box<PeerFailure>),
    /// A time limit ran out.
    Timeout(TimeoutKind),
    /// The pool revoked the lease.
    Revoked,
}

/// A failure of the peer, or of the connection to it.
#[derive(Debug)]
pub struct PeerFailure {
    kind: ErrorKind,
    message: Option<&'static str>,
    source: Option<BoxError>,
    code: Option<Http2ErrorCode>,
    unprocessed: bool,
}

impl PeerFailure {
    /// Creates a failure of `kind`.
    pub fn new(kind: ErrorKind) -> Self {
        PeerFailure {
            kind,
            message: None,
            source: None,
            code: None,
            unprocessed: false,
        }
    }

    /// The stream below failed with `error`, which several exchanges report.
    pub fn shared_io(error: Arc<io::Error>) -> Self {
        let kind = ErrorKind::of_stream_error(&error);
        PeerFailure::new(kind).with_source(SharedIoError::new(error))
    }

    /// Sets the sentence that stands in place of the one for the kind.
    #[must_use]
    pub fn with_message(self, message: &'static str) -> Self {
        PeerFailure {
            message: Some(message),
            ..self
        }
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        PeerFailure {
            source: Some(source.into()),
            ..self
        }
    }

    /// Sets the error code that the peer sent (RFC 9113 §7), if it sent one.
    #[must_use]
    pub fn with_code(self, code: Option<Http2ErrorCode>) -> Self {
        PeerFailure { code, ..self }
    }

    /// Sets whether the peer has said, or it is certain otherwise, that it did not process the request.
    /// Once a response has started, this has no effect.
    #[must_use]
    pub fn with_unprocessed(self, unprocessed: bool) -> Self {
        PeerFailure {
            unprocessed,
            ..self
        }
    }

    /// Returns the error of a step before there was an exchange.
    pub fn into_error(self, phase: ErrorPhase, sent: RequestSent) -> Error {
        let mut error = Error::new(self.kind, phase, sent);
        if let Some(message) = self.message {
            error = error.with_message(message);
        }
        if let Some(source) = self.source {
            error = error.with_source(source);
        }
        match self.code {
            Some(code) => error.with_http2_error_code(code),
            None => error,
        }
    }
}

impl From<PeerFailure> for Failure {
    fn from(failure: PeerFailure) -> Self {
        Failure::Peer(Box::new(failure))
    }
}

impl Failure {
    /// Returns whether the request or its body is at fault: the peer may have seen nothing wrong.
    pub fn is_callers(&self) -> bool {
        matches!(
            self,
            Failure::InvalidRequest(_) | Failure::InvalidBody(_) | Failure::RequestBody(_)
        )
    }

    /// Returns the reason for which a connection is not used again after this failure of an exchange.
    pub fn close_reason(&self) -> CloseReason {
        match self {
            Failure::Revoked => CloseReason::Revoked,
            _ => CloseReason::Failed,
        }
    }

    /// Returns this failure, explained by the error of an earlier write.
    ///
    /// What broke first is the better explanation, unless reading says more: a peer that refuses in TLS
    /// may close at once, so that writing fails before the alert is read.
    #[must_use]
    pub fn after_write_error(self, earlier: io::Error) -> Self {
        match self {
            Failure::Io(error) if ErrorKind::of_stream_error(&error) == ErrorKind::Network => {
                Failure::Io(earlier)
            }
            Failure::Peer(failure)
                if failure.kind == ErrorKind::ConnectionClosed && failure.source.is_none() =>
            {
                failure.with_source(earlier).into()
            }
            failure => failure,
        }
    }

    /// Returns the error for the caller. `reused` and `attempt` say which connection and which attempt
    /// it was.
    pub fn into_error(self, progress: Progress, reused: bool, attempt: u32) -> Error {
        let (phase, mut sent) = (progress.phase(), progress.sent);
        let started = progress.response != ResponseProgress::None;
        let error = match self {
            Failure::InvalidRequest(source) => {
                Error::new(ErrorKind::InvalidRequest, ErrorPhase::Request, sent).with_source(source)
            }
            Failure::InvalidBody(source) => {
                Error::new(ErrorKind::RequestBody, ErrorPhase::Send, sent).with_source(source)
            }
            Failure::RequestBody(error) => error,
            Failure::Io(error) => {
                Error::new(ErrorKind::of_stream_error(&error), phase, sent).with_source(error)
            }
            Failure::Peer(failure) => {
                if failure.unprocessed && !started {
                    sent = RequestSent::None;
                }
                failure.into_error(phase, sent)
            }
            Failure::Timeout(limit) => Error::new(ErrorKind::Timeout(limit), phase, sent),
            Failure::Revoked => Error::new(ErrorKind::PoolClosed, phase, sent)
                .with_message("the pool was drained before the exchange ended")
                .with_source(ConnectionRevoked),
        };
        error
            .with_sent(sent)
            .with_response_started(started)
            .with_reused(reused)
            .with_attempts(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use httpcore_core_primitives::TlsFailure;
    use std::error::Error as _;

    const SENDING: Progress = Progress {
        sent: RequestSent::Partial,
        upload_over: false,
        response: ResponseProgress::None,
    };
    const SENT: Progress = Progress {
        sent: RequestSent::Full,
        upload_over: true,
        response: ResponseProgress::None,
    };
    const STARTED: Progress = Progress {
        response: ResponseProgress::Started,
        ..SENT
    };
    const HEAD: Progress = Progress {
        response: ResponseProgress::Head,
        ..SENT
    };
    const UNWRITTEN: Progress = Progress {
        sent: RequestSent::None,
        ..SENDING
    };

    fn reset() -> io::Error {
        io::ErrorKind::ConnectionReset.into()
    }

    fn own() -> Error {
        Error::new(ErrorKind::RequestBody, ErrorPhase::Send, RequestSent::None)
    }

    fn peer(kind: ErrorKind) -> PeerFailure {
        PeerFailure::new(kind)
    }

    #[test]
    fn each_failure_is_one_error_by_its_kind_phase_and_what_was_sent() {
        use ErrorKind::*;
        use ErrorPhase as Phase;
        use RequestSent as Sent;
        let tls = || TlsFailure::error(io::ErrorKind::InvalidData, "bad certificate");
        let early_end = || TlsFailure::error(io::ErrorKind::UnexpectedEof, "no close_notify");
        #[rustfmt::skip]
        let rows: Vec<(Failure, Progress, ErrorKind, Phase, Sent)> = vec![
            (Failure::InvalidRequest("x".into()), UNWRITTEN, InvalidRequest, Phase::Request, Sent::None),
            (Failure::InvalidBody("x".into()), SENDING, RequestBody, Phase::Send, Sent::Partial),
            (Failure::InvalidBody("x".into()), HEAD, RequestBody, Phase::Send, Sent::Full),
            (Failure::RequestBody(own()), SENDING, RequestBody, Phase::Send, Sent::Partial),
            (Failure::RequestBody(own()), UNWRITTEN, RequestBody, Phase::Send, Sent::None),
            (Failure::Io(reset()), SENDING, Network, Phase::Send, Sent::Partial),
            (Failure::Io(reset()), SENT, Network, Phase::Head, Sent::Full),
            (Failure::Io(reset()), STARTED, Network, Phase::Head, Sent::Full),
            (Failure::Io(reset()), HEAD, Network, Phase::Body, Sent::Full),
            (Failure::Io(tls()), SENT, Tls, Phase::Head, Sent::Full),
            (Failure::Io(early_end()), HEAD, ConnectionClosed, Phase::Body, Sent::Full),
            (PeerFailure::shared_io(Arc::new(reset())).into(), SENT, Network, Phase::Head, Sent::Full),
            (PeerFailure::shared_io(Arc::new(tls())).into(), SENT, Tls, Phase::Head, Sent::Full),
            (PeerFailure::shared_io(Arc::new(early_end())).into(), HEAD, ConnectionClosed, Phase::Body, Sent::Full),
            (peer(Protocol).into(), SENT, Protocol, Phase::Head, Sent::Full),
            (peer(TooLarge).into(), STARTED, TooLarge, Phase::Head, Sent::Full),
            (peer(ConnectionClosed).into(), SENDING, ConnectionClosed, Phase::Send, Sent::Partial),
            (peer(Protocol).with_unprocessed(true).into(), SENT, Protocol, Phase::Head, Sent::None),
            (peer(Protocol).with_unprocessed(true).into(), STARTED, Protocol, Phase::Head, Sent::Full),
            (peer(Protocol).with_unprocessed(true).into(), HEAD, Protocol, Phase::Body, Sent::Full),
            (Failure::Timeout(TimeoutKind::Write), SENDING, Timeout(TimeoutKind::Write), Phase::Send, Sent::Partial),
            (Failure::Timeout(TimeoutKind::Total), HEAD, Timeout(TimeoutKind::Total), Phase::Body, Sent::Full),
            (Failure::Revoked, SENT, PoolClosed, Phase::Head, Sent::Full),
        ];
        for (failure, progress, kind, phase, sent) in rows {
            let name = format!("{failure:?} {progress:?}");
            let error = failure.into_error(progress, true, 3);
            assert_eq!(
                (error.kind(), error.phase(), error.sent()),
                (kind, phase, sent),
                "{name}"
            );
            let started = progress.response != ResponseProgress::None;
            assert_eq!(error.response_started(), started, "{name}");
            assert!(error.connection_reused(), "{name}");
            assert_eq!(error.attempts(), 3, "{name}");
        }
    }

    #[test]
    fn error_has_the_message_the_source_and_the_code_of_the_peers_failure() {
        let failure = peer(ErrorKind::Protocol)
            .with_message("stream reset by the server")
            .with_source("details")
            .with_code(Some(Http2ErrorCode::new(8)));
        let error = Failure::from(failure).into_error(SENT, false, 1);
        assert_eq!(error.http2_error_code(), Some(Http2ErrorCode::new(8)));
        assert!(error.to_string().starts_with("stream reset by the server"));
        assert_eq!(
            error.source().map(|source| source.to_string()).as_deref(),
            Some("details")
        );
    }

    #[test]
    fn earlier_write_error_explains_what_reading_only_found_broken() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let kind_of = |failure: Failure| match failure {
            Failure::Io(error) => Some(error.kind()),
            Failure::Peer(failure) => failure.source?.downcast_ref().map(io::Error::kind),
            _ => None,
        };
        let broken = Some(io::ErrorKind::BrokenPipe);
        assert_eq!(
            kind_of(Failure::Io(reset()).after_write_error(pipe())),
            broken
        );
        let closed = Failure::from(peer(ErrorKind::ConnectionClosed));
        assert_eq!(kind_of(closed.after_write_error(pipe())), broken);
        // The alert says more.
        let tls = TlsFailure::error(io::ErrorKind::InvalidData, "unknown authority");
        let failure = Failure::Io(tls).after_write_error(pipe());
        assert_eq!(kind_of(failure), Some(io::ErrorKind::InvalidData));
        assert_eq!(kind_of(Failure::Revoked.after_write_error(pipe())), None);
    }
}
