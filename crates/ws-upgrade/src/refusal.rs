//! Errors of the handshake.

use httpcore_core_primitives::{Error, RejectedResponse, Response};

/// Reason why a WebSocket could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The handshake is invalid and cannot be sent, or the exchange failed.
    #[error("WebSocket handshake failed")]
    Request(#[source] Error),
    /// The server answered without switching protocols: with `401`, `426`, a redirect or `200`, for
    /// example. The response is inside, with its body unread; reading the body to its end makes the
    /// connection reusable.
    #[error("WebSocket handshake rejected with status {}", .0.status())]
    Refused(RejectedResponse),
    /// The server accepted in a way that RFC 6455 forbids. The connection is closed.
    #[error("invalid WebSocket handshake response")]
    Violation(#[source] Violation),
}

/// Rule that an accepting response violates (RFC 6455 §4.1, where a client has to fail the
/// connection).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
#[non_exhaustive]
pub enum Violation {
    /// `Upgrade` is missing, or is not `websocket`.
    Upgrade,
    /// `Connection` lacks `Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, wrong, or present more than once.
    Accept,
    /// A subprotocol that was not offered, or several subprotocols.
    Subprotocol,
    /// An extension that was not offered, or an invalid list of extensions.
    Extension,
    /// The response has no upgraded stream: a layer between here and the connection took it.
    NoStream,
}

impl Violation {
    /// Returns a description of the violation.
    pub fn text(self) -> &'static str {
        match self {
            Violation::Upgrade => "response lacks Upgrade: websocket (RFC 6455 §4.1)",
            Violation::Connection => "response lacks Connection: Upgrade (RFC 6455 §4.1)",
            Violation::Accept => "invalid Sec-WebSocket-Accept (RFC 6455 §4.1)",
            Violation::Subprotocol => {
                "server selected a subprotocol that was not offered (RFC 6455 §4.1)"
            }
            Violation::Extension => {
                "server selected an extension that was not offered (RFC 6455 §4.1)"
            }
            Violation::NoStream => "accepting response has no upgraded stream",
        }
    }
}

impl OpenError {
    /// Returns the response of a server that did not switch protocols.
    pub fn into_response(self) -> Option<Response> {
        match self {
            OpenError::Refused(response) => Some(response.into_response()),
            OpenError::Request(_) | OpenError::Violation(_) => None,
        }
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        OpenError::Request(error)
    }
}
