//! Why there is no WebSocket.

use std::{error::Error as StdError, fmt};

use httpcore_core_primitives::{Error, RejectedResponse, Response};

/// Why a WebSocket could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// What was asked for cannot be asked for, or the exchange failed: see the error.
    Request(Error),
    /// The server gave an ordinary answer instead: `401` and `426`, a redirect, a plain `200`. Here
    /// it is, with its body; read to its end, it leaves the connection to others.
    Refused(RejectedResponse),
    /// The server accepted, and did it wrongly. The connection is closed.
    Violation(Violation),
}

/// What is wrong with an acceptance (RFC 6455 §4.1, where a client has to fail the connection).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// `Upgrade` is missing, or says something else than `websocket`.
    Upgrade,
    /// `Connection` lacks `Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, wrong, or there more than once.
    Accept,
    /// A subprotocol that was not asked for, or several.
    Subprotocol,
    /// An extension that was not offered, or a list of them which cannot be read.
    Extension,
    /// The response has no stream: something between here and the connection took it.
    NoStream,
}

impl Violation {
    /// What is wrong, in a sentence.
    pub fn text(self) -> &'static str {
        match self {
            Violation::Upgrade => "the server switched without saying to websocket (RFC 6455 §4.1)",
            Violation::Connection => {
                "the server switched without Connection: Upgrade (RFC 6455 §4.1)"
            }
            Violation::Accept => "the server's Sec-WebSocket-Accept is wrong (RFC 6455 §4.1)",
            Violation::Subprotocol => {
                "the server chose a subprotocol that was not asked for (RFC 6455 §4.1)"
            }
            Violation::Extension => {
                "the server uses an extension that was not offered (RFC 6455 §4.1)"
            }
            Violation::NoStream => "the response that accepts comes without its stream",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl StdError for Violation {}

impl OpenError {
    /// The answer of a server that refused.
    pub fn into_response(self) -> Option<Response> {
        match self {
            OpenError::Refused(response) => Some(response.into_response()),
            OpenError::Request(_) | OpenError::Violation(_) => None,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Request(_) => f.write_str("the handshake could not be made"),
            OpenError::Refused(response) => {
                write!(f, "the server answered with {} instead", response.status())
            }
            OpenError::Violation(_) => f.write_str("the handshake was answered wrongly"),
        }
    }
}

impl StdError for OpenError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            OpenError::Request(error) => Some(error),
            OpenError::Refused(_) => None,
            OpenError::Violation(violation) => Some(violation),
        }
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        OpenError::Request(error)
    }
}
