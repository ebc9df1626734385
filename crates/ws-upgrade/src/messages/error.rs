//! Why there are no more messages.

use std::{error::Error as StdError, fmt, io};

use httpcore_core_primitives::BoxError;
use tungstenite::error::{Error, ProtocolError};

/// What ended a WebSocket, or kept a message from being sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum MessageError {
    /// Reading or writing the connection failed, or a pool that is being drained did not wait any
    /// longer (`ConnectionRevoked`).
    Io(io::Error),
    /// The connection ended without the peer saying so (RFC 6455 §7.1.5: 1006).
    Truncated,
    /// The peer broke the rules (1002), or what it said is text was none (1007). It has been told,
    /// if it still listens. A close frame with a code that may not be sent, such as 1005, is such an
    /// error too (RFC 6455 §7.4.1).
    Protocol(BoxError),
    /// The peer sent more than is accepted (1009). It has been told.
    TooLarge(BoxError),
    /// Either side has said that it closes: nothing more can be sent.
    Closing,
    /// Something cannot be sent so. Nothing has been, and all else goes on.
    Misuse(&'static str),
}

impl MessageError {
    /// The peer has closed with a code that no close frame may have.
    pub(super) fn forbidden(code: u16) -> Self {
        let why =
            format!("a close frame with the code {code}, which may not be sent (RFC 6455 §7.4)");
        MessageError::Protocol(why.into())
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MessageError::Io(_) => "the WebSocket's connection failed",
            MessageError::Truncated => "the WebSocket ended without being closed",
            MessageError::Protocol(_) => "the peer broke the WebSocket protocol",
            MessageError::TooLarge(_) => "the peer sent more than is accepted",
            MessageError::Closing => "the WebSocket is being closed",
            MessageError::Misuse(why) => why,
        })
    }
}

impl StdError for MessageError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            MessageError::Io(error) => Some(error),
            MessageError::Protocol(error) | MessageError::TooLarge(error) => Some(&**error),
            MessageError::Truncated | MessageError::Closing | MessageError::Misuse(_) => None,
        }
    }
}

impl From<Error> for MessageError {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                MessageError::Truncated
            }
            Error::Io(error) => MessageError::Io(error),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => MessageError::Truncated,
            Error::Protocol(ProtocolError::SendAfterClosing)
            | Error::ConnectionClosed
            | Error::AlreadyClosed => MessageError::Closing,
            Error::Capacity(error) => MessageError::TooLarge(error.into()),
            // Only pings and pongs are given to it before there is room.
            Error::WriteBufferFull(_) => {
                MessageError::Misuse("earlier messages are still on their way")
            }
            // What is around this error says the same again.
            Error::Protocol(error) => MessageError::Protocol(error.into()),
            other => MessageError::Protocol(other.into()),
        }
    }
}
