//! From what h2 says to what a caller can decide by.

use h2::Reason;
use httpcore_core_primitives::{
    Error, ErrorKind, ErrorPhase, Http2ErrorCode, RequestSent, SharedIoError,
};

use crate::link::{ConnShared, End};

/// How much of a request had been handed over, and whether an answer had begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) phase: ErrorPhase,
    pub(crate) sent: RequestSent,
    pub(crate) started: bool,
}

/// Why a stream failed.
pub(crate) fn of_stream(failure: &h2::Error, link: &ConnShared, progress: Progress) -> Error {
    let phase = progress.phase;
    let code = match failure.reason() {
        Some(reason) if failure.is_remote() => Some(u32::from(reason)),
        // It ended with its connection, perhaps after a GOAWAY that let it go on.
        _ if failure.is_io() => link.goaway(),
        _ => None,
    };
    let code = code.map(Http2ErrorCode::new);
    // RFC 9113 §8.7: neither what lies above the last stream of a GOAWAY nor a refused stream has
    // been processed. h2 ends a stream with the server's GOAWAY in the first case only.
    // RFC 9113 §7: what must be asked for over HTTP/1.1 has not been processed over HTTP/2.
    let unprocessed = !progress.started
        && (failure.is_remote()
            && (failure.is_go_away() || failure.reason() == Some(Reason::REFUSED_STREAM))
            || code == Some(Http2ErrorCode::HTTP_1_1_REQUIRED));
    let sent = if unprocessed {
        RequestSent::None
    } else {
        progress.sent
    };
    let error = if failure.is_go_away() && failure.is_remote() {
        Error::new(ErrorKind::ConnectionClosed, phase, sent)
            .with_message("the server is going away, and has not processed the request")
            .with_source(Told::by(failure))
    } else if failure.is_reset() {
        of_reset(failure, phase, sent)
    } else {
        of_connection(failure, link, phase, sent)
    };
    let error = match code {
        Some(code) => error.with_http2_error_code(code),
        None => error,
    };
    error.with_response_started(progress.started)
}

fn of_reset(failure: &h2::Error, phase: ErrorPhase, sent: RequestSent) -> Error {
    let message = match (failure.is_remote(), failure.reason()) {
        (true, Some(Reason::REFUSED_STREAM)) => "the server refused the stream",
        // RFC 9113 §8.1: the end of a message is END_STREAM, and nothing else.
        (true, Some(Reason::NO_ERROR)) => "the server ended the stream before the response's end",
        (true, Some(Reason::HTTP_1_1_REQUIRED)) => "the server demands HTTP/1.1 for this request",
        (true, _) => "the server reset the stream",
        (false, _) => "the response breaks the rules of HTTP/2",
    };
    Error::new(ErrorKind::Protocol, phase, sent)
        .with_message(message)
        .with_source(Told::by(failure))
}

/// Why a connection failed.
pub(crate) fn of_connection(
    failure: &h2::Error,
    link: &ConnShared,
    phase: ErrorPhase,
    sent: RequestSent,
) -> Error {
    // A stream that cannot be begun, though everything is in order: the ids are used up.
    if !failure.is_io() && failure.reason().is_none() {
        return Error::new(ErrorKind::ConnectionClosed, phase, sent)
            .with_message("the connection takes no more requests")
            .with_source(Told::by(failure));
    }
    // What h2 found wrong itself it says best; of what happened below, it keeps only a text.
    if !failure.is_io() {
        return Error::new(ErrorKind::Protocol, phase, sent)
            .with_message("the connection broke the rules of HTTP/2")
            .with_source(Told::by(failure));
    }
    match link.end() {
        Some(end) => of_end(end, phase, sent),
        None => Error::new(ErrorKind::ConnectionClosed, phase, sent).with_source(Told::by(failure)),
    }
}

pub(crate) fn of_end(end: End, phase: ErrorPhase, sent: RequestSent) -> Error {
    match end {
        End::Closed => Error::new(ErrorKind::ConnectionClosed, phase, sent),
        End::ClosedAfter(error) => Error::new(ErrorKind::ConnectionClosed, phase, sent)
            .with_source(SharedIoError::new(error)),
        End::Failed(error) => Error::new(ErrorKind::of_stream_error(&error), phase, sent)
            .with_source(SharedIoError::new(error)),
        End::Silent => Error::new(ErrorKind::Network, phase, sent)
            .with_message("the server gave no sign of life within the keep-alive deadline"),
        End::Unanswered => Error::new(ErrorKind::Network, phase, sent).with_message(
            "the server gave no sign of life after a request had ended without an answer",
        ),
        End::Abused(how) => Error::new(ErrorKind::Protocol, phase, sent).with_message(how),
        End::Dropped => Error::new(ErrorKind::RuntimeShutdown, phase, sent)
            .with_message("the runtime dropped the connection"),
    }
}

/// How many characters of what h2, or the server, said are told.
const LONGEST: usize = 200;

/// What h2 said, without its types.
#[derive(Debug)]
pub(crate) struct Told(String);

impl Told {
    pub(crate) fn by(failure: &h2::Error) -> Self {
        let mut text = failure.to_string();
        // A GOAWAY may bring a text of its own, of any length; h2 escapes it.
        if let Some((end, _)) = text.char_indices().nth(LONGEST) {
            text.truncate(end);
        }
        Told(text)
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Told {}
