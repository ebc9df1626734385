//! How far an exchange has come.

use httpcore_core_primitives::{ErrorPhase, RequestSent};

/// What sending the request waits for after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// Nothing: all of the request has been sent, or no more of it will be.
    Over,
    /// The stream, or the peer's flow control, takes nothing now.
    Blocked,
    /// The caller's body has no data now.
    BodyPending,
    /// The peer's `100 (Continue)`: all before the body has been sent (RFC 9110 §10.1.1).
    AwaitingContinue,
}

/// How much of the response has arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResponseProgress {
    /// Nothing.
    #[default]
    None,
    /// Some bytes, or an informational response.
    Started,
    /// The head of the final response.
    Head,
}

/// How far an exchange has come, for the error with which it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How much of the request has been written.
    pub sent: RequestSent,
    /// No more of the request will be written, whether or not all of it has been.
    pub upload_over: bool,
    /// How much of the response has arrived.
    pub response: ResponseProgress,
}

impl Progress {
    /// Returns the step that the exchange is in.
    pub fn phase(&self) -> ErrorPhase {
        if self.response == ResponseProgress::Head {
            ErrorPhase::Body
        } else if self.upload_over {
            ErrorPhase::Head
        } else {
            ErrorPhase::Send
        }
    }
}
