//! Errors of WebSocket messages.

use std::io;

use httpcore_core_primitives::BoxError;
use tungstenite::error::{Error, ProtocolError};

/// Reason why a WebSocket ended abnormally, or why a message was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Reading or writing the connection failed, or a draining pool aborted it at its deadline
    /// (`ConnectionRevoked`).
    #[error("WebSocket connection failed")]
    Io(#[source] io::Error),
    /// The connection ended without a Close frame (RFC 6455 §7.1.5: 1006).
    #[error("WebSocket closed without a Close frame")]
    Truncated,
    /// The peer violated the protocol (1002), or sent a text message that is not UTF-8 (1007). A
    /// Close frame with that code has been sent, if the connection still takes it. A Close frame
    /// with a code that must not be sent, such as 1005, is such an error too (RFC 6455 §7.4.1).
    #[error("WebSocket protocol error")]
    Protocol(#[source] BoxError),
    /// The peer sent a frame or message larger than the limit. A Close frame with code 1009 has been
    /// sent.
    #[error("WebSocket message too large")]
    TooLarge(#[source] BoxError),
    /// A Close frame has been sent or received: nothing more can be sent.
    #[error("WebSocket is closing")]
    Closing,
    /// The call is not valid now, or its message cannot be sent. Nothing has been sent, and the
    /// WebSocket remains usable.
    #[error("{0}")]
    Misuse(&'static str),
}

impl MessageError {
    /// Returns an error of the same variant and text, with the causes as text only.
    pub(super) fn repeated(&self) -> Self {
        match self {
            MessageError::Io(error) => {
                MessageError::Io(io::Error::new(error.kind(), error.to_string()))
            }
            MessageError::Truncated => MessageError::Truncated,
            MessageError::Protocol(error) => MessageError::Protocol(error.to_string().into()),
            MessageError::TooLarge(error) => MessageError::TooLarge(error.to_string().into()),
            MessageError::Closing => MessageError::Closing,
            MessageError::Misuse(why) => MessageError::Misuse(why),
        }
    }

    /// The error for a Close frame of the peer with a code that must not be sent.
    pub(super) fn forbidden(code: u16) -> Self {
        let why = format!("Close frame with code {code}, which must not be sent (RFC 6455 §7.4)");
        MessageError::Protocol(why.into())
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
            // Only pings and pongs are queued before there is room.
            Error::WriteBufferFull(_) => {
                MessageError::Misuse("earlier messages are still being written")
            }
            // The enclosing variant has the same text.
            Error::Protocol(error) => MessageError::Protocol(error.into()),
            other => MessageError::Protocol(other.into()),
        }
    }
}
