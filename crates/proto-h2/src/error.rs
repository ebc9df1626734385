//! Failures of HTTP/2 in the terms of both protocols.

use h2::Reason;
use httpcore_core_primitives::{
    CloseReason, ErrorKind, Http2ErrorCode, SharedIoError, upgrade::ExtendedConnectUnsupported,
};
use httpcore_proto_common::failure::{Failure, PeerFailure};

use crate::{
    head::RequestError,
    link::{ConnShared, End},
};

/// Why an exchange fails over HTTP/2.
#[derive(Debug)]
pub(crate) enum StreamFailure {
    /// A failure that other protocols have as well.
    Exchange(Failure),
    /// The response breaks a rule that h2 does not check.
    Protocol(&'static str),
    /// The response exceeds a limit.
    TooLarge(&'static str),
    /// The stream or the connection failed.
    Stream(h2::Error),
    /// The server admits no streams, and this one was never opened.
    NotAdmitted,
}

impl From<Failure> for StreamFailure {
    fn from(failure: Failure) -> Self {
        StreamFailure::Exchange(failure)
    }
}

impl From<h2::Error> for StreamFailure {
    fn from(failure: h2::Error) -> Self {
        StreamFailure::Stream(failure)
    }
}

impl From<RequestError> for StreamFailure {
    fn from(error: RequestError) -> Self {
        StreamFailure::Exchange(match error {
            RequestError::ExtendedConnectUnsupported => {
                Failure::InvalidRequest(ExtendedConnectUnsupported.into())
            }
            error if error.is_body() => Failure::InvalidBody(error.into()),
            error => Failure::InvalidRequest(error.into()),
        })
    }
}

impl StreamFailure {
    /// Returns the code with which to reset the stream, unless the failure has ended it.
    pub(crate) fn reset_code(&self) -> Option<Reason> {
        match self {
            StreamFailure::Exchange(_) | StreamFailure::NotAdmitted => Some(Reason::CANCEL),
            StreamFailure::Protocol(_) => Some(Reason::PROTOCOL_ERROR),
            StreamFailure::TooLarge(_) => Some(Reason::ENHANCE_YOUR_CALM),
            StreamFailure::Stream(_) => None,
        }
    }

    /// Returns the reason for which the lease ends.
    pub(crate) fn close_reason(&self) -> CloseReason {
        match self {
            StreamFailure::Exchange(failure) => failure.close_reason(),
            // The connection has ended too: the pool learns of it before the request needs another.
            StreamFailure::Stream(failure) if !failure.is_reset() => CloseReason::PeerSaidClose,
            StreamFailure::NotAdmitted => CloseReason::StreamsClosed,
            StreamFailure::Protocol(_) | StreamFailure::TooLarge(_) | StreamFailure::Stream(_) => {
                CloseReason::Failed
            }
        }
    }

    /// Returns the failure in the terms of both protocols. `link` knows how the connection ended.
    pub(crate) fn into_failure(self, link: &ConnShared) -> Failure {
        match self {
            StreamFailure::Exchange(failure) => failure,
            StreamFailure::Protocol(rule) => PeerFailure::new(ErrorKind::Protocol)
                .with_message(rule)
                .into(),
            StreamFailure::TooLarge(limit) => PeerFailure::new(ErrorKind::TooLarge)
                .with_message(limit)
                .into(),
            StreamFailure::NotAdmitted => PeerFailure::new(ErrorKind::ConnectionClosed)
                .with_message("the server admits no more requests on this connection")
                .with_unprocessed(true)
                .into(),
            StreamFailure::Stream(failure) => of_stream(&failure, link).into(),
        }
    }
}

/// Returns why a stream failed.
fn of_stream(failure: &h2::Error, link: &ConnShared) -> PeerFailure {
    let code = match failure.reason() {
        Some(reason) if failure.is_remote() => Some(u32::from(reason)),
        // It ended with its connection, perhaps after a GOAWAY that let it go on.
        _ if failure.is_io() => link.goaway(),
        _ => None,
    };
    let code = code.map(Http2ErrorCode::new);
    // RFC 9113 §8.7: neither a stream above the last one of a GOAWAY nor a refused stream has been
    // processed. h2 ends a stream with the server's GOAWAY in the first case only.
    // RFC 9113 §7: a request that requires HTTP/1.1 has not been processed over HTTP/2.
    let unprocessed = failure.is_remote()
        && (failure.is_go_away() || failure.reason() == Some(Reason::REFUSED_STREAM))
        || code == Some(Http2ErrorCode::HTTP_1_1_REQUIRED);
    let peer = if failure.is_go_away() && failure.is_remote() {
        PeerFailure::new(ErrorKind::ConnectionClosed)
            .with_message("the server is going away (GOAWAY), and has not processed the request")
            .with_source(Detail::of(failure))
    } else if failure.is_reset() {
        of_reset(failure)
    } else {
        of_connection(failure, link)
    };
    peer.with_code(code).with_unprocessed(unprocessed)
}

fn of_reset(failure: &h2::Error) -> PeerFailure {
    let message = match (failure.is_remote(), failure.reason()) {
        (true, Some(Reason::REFUSED_STREAM)) => "the server refused the stream",
        // RFC 9113 §8.1: only END_STREAM ends a message.
        (true, Some(Reason::NO_ERROR)) => "the server ended the stream before the response's end",
        (true, Some(Reason::HTTP_1_1_REQUIRED)) => "the server requires HTTP/1.1 for this request",
        (true, _) => "stream reset by the server",
        (false, _) => "the response breaks the rules of HTTP/2",
    };
    PeerFailure::new(ErrorKind::Protocol)
        .with_message(message)
        .with_source(Detail::of(failure))
}

/// Returns why a connection failed.
pub(crate) fn of_connection(failure: &h2::Error, link: &ConnShared) -> PeerFailure {
    // The stream cannot be opened, though everything is in order: the stream ids are used up.
    if !failure.is_io() && failure.reason().is_none() {
        return PeerFailure::new(ErrorKind::ConnectionClosed)
            .with_message("the connection takes no more requests")
            .with_source(Detail::of(failure));
    }
    // What h2 found wrong itself it says best; of a failure of the stream below, it keeps only a text.
    if !failure.is_io() {
        return PeerFailure::new(ErrorKind::Protocol)
            .with_message("the connection broke the rules of HTTP/2")
            .with_source(Detail::of(failure));
    }
    match link.end() {
        Some(end) => of_end(end),
        None => PeerFailure::new(ErrorKind::ConnectionClosed).with_source(Detail::of(failure)),
    }
}

fn of_end(end: End) -> PeerFailure {
    let network = PeerFailure::new(ErrorKind::Network);
    match end {
        End::Closed => PeerFailure::new(ErrorKind::ConnectionClosed),
        End::ClosedAfter(error) => {
            PeerFailure::new(ErrorKind::ConnectionClosed).with_source(SharedIoError::new(error))
        }
        End::Failed(error) => PeerFailure::shared_io(error),
        End::Silent => network.with_message("keep-alive ping timed out"),
        End::Unanswered => {
            network.with_message("ping timed out after a request had ended without a response")
        }
        End::Abused(how) => PeerFailure::new(ErrorKind::Protocol).with_message(how),
        End::Dropped => PeerFailure::new(ErrorKind::RuntimeShutdown)
            .with_message("the runtime dropped the connection"),
    }
}

/// Maximum number of characters of h2's or the server's text in an error.
const MAX_DETAIL_CHARS: usize = 200;

/// What h2 reported, without its types.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Detail(String);

impl Detail {
    pub(crate) fn of(failure: &h2::Error) -> Self {
        let mut text = failure.to_string();
        // A GOAWAY may carry a text of its own, of any length; h2 escapes it.
        if let Some((end, _)) = text.char_indices().nth(MAX_DETAIL_CHARS) {
            text.truncate(end);
        }
        Detail(text)
    }
}
