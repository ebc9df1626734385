//! Messages over a stream: the state machine of tungstenite, polled.
//!
//! ```text
//!   send, start_send ─► outgoing ─ frame by frame ─► tungstenite ─► stream
//!                                                    pong, close ┘     │
//!   message, Stream ◄────────────────────────────── tungstenite ◄──────┘
//! ```
//!
//! An accepted message is written by the next future of the WebSocket that is polled, frame by frame
//! as the stream accepts them: that bounds memory, and lets a pong go between two frames.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use httpcore_core_primitives::{NetworkStream, Upgraded};
pub use tungstenite::{
    Message,
    protocol::{CloseFrame, Role},
};
use tungstenite::{
    Utf8Bytes,
    error::{Error, ProtocolError},
    protocol::{
        WebSocketConfig, WebSocketContext,
        frame::coding::{CloseCode, Data},
    },
};

mod bridge;
mod error;
mod send;
mod sink;
mod watch;

pub use error::MessageError;
pub use send::Fragment;

use bridge::{bridge, is_blocked, is_blocking};
use send::Outgoing;
use watch::Watch;

/// Maximum number of messages discarded in one poll while closing, so that other tasks run.
const MAX_DISCARDED_PER_POLL: usize = 32;
/// RFC 6455 §5.5: maximum payload of a control frame, in bytes.
const MAX_CONTROL_BYTES: usize = 125;
/// Maximum number of bytes of pongs kept for a peer that does not read.
const MAX_PONG_BYTES: usize = 4 * 1024;

/// Limits of a [`WebSocket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Maximum size of a received message, in bytes; 16 MiB by default. A message is collected in
    /// memory. A larger one fails with [`MessageError::TooLarge`].
    pub max_message_size: usize,
    /// Maximum size of a received frame, in bytes; 16 MiB by default, since many servers send each
    /// message in one frame. Memory for a frame is allocated when it begins. A larger one fails with
    /// [`MessageError::TooLarge`].
    pub max_frame_size: usize,
    /// Maximum size of a sent frame, in bytes; 64 KiB by default. Longer messages are fragmented.
    pub frame_size: usize,
    /// Size of the read buffer, in bytes; 4 KiB by default. An idle WebSocket holds it.
    pub read_buffer: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_message_size: 16 << 20,
            max_frame_size: 16 << 20,
            frame_size: 64 << 10,
            read_buffer: 4 << 10,
        }
    }
}

impl Config {
    /// Returns these limits with [`max_message_size`](Self::max_message_size) set, and
    /// [`max_frame_size`](Self::max_frame_size) to the same.
    #[must_use]
    pub const fn with_max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self.max_frame_size = bytes;
        self
    }

    /// Returns these limits with [`max_frame_size`](Self::max_frame_size) set.
    #[must_use]
    pub const fn with_max_frame_size(mut self, bytes: usize) -> Self {
        self.max_frame_size = bytes;
        self
    }

    /// Returns these limits with [`frame_size`](Self::frame_size) set.
    #[must_use]
    pub const fn with_frame_size(mut self, bytes: usize) -> Self {
        self.frame_size = bytes;
        self
    }

    /// Returns these limits with [`read_buffer`](Self::read_buffer) set.
    #[must_use]
    pub const fn with_read_buffer(mut self, bytes: usize) -> Self {
        self.read_buffer = bytes;
        self
    }

    fn for_tungstenite(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(self.read_buffer)
            .write_buffer_size(0)
            .max_write_buffer_size(
                self.frame_size
                    .max(MAX_CONTROL_BYTES)
                    .saturating_add(MAX_PONG_BYTES),
            )
            .max_message_size(Some(self.max_message_size))
            .max_frame_size(Some(self.max_frame_size))
    }
}

/// A WebSocket over a stream. It owns the stream, and with it the connection's slot in a pool.
/// Dropping it closes the connection without a Close frame; [`close`](Self::close) sends one.
///
/// Pings are answered while messages are received. Pings and pongs are returned like other messages;
/// the last message is [`Message::Close`], returned once it has been answered.
///
/// A peer that writes while it reads stops reading when its output is not read. To send much to such a
/// peer, poll both directions in one task, with [`poll_ready`](Self::poll_ready),
/// [`start_send`](Self::start_send) and [`poll_message`](Self::poll_message).
///
/// # Cancellation
///
/// All futures may be dropped at any point. A message that [`send`](Self::send) has accepted is sent
/// completely, by the next future that is polled; one that it has not accepted is not sent.
pub struct WebSocket<S = Upgraded> {
    stream: S,
    context: WebSocketContext,
    frame_size: usize,
    /// Accepted, and not yet completely in frames.
    outgoing: Option<Outgoing>,
    /// Type of the fragmented message that is being sent.
    fragmented: Option<Data>,
    watch: Watch,
    stage: Stage,
}

enum Stage {
    Open,
    /// A Close frame was received; the answer is being written.
    Closing(Option<CloseFrame>),
    Closed,
    /// It has ended with this error, which receiving returns again each time.
    Failed(MessageError),
}

impl<S: NetworkStream> WebSocket<S> {
    /// Returns the client's end of a WebSocket, over the stream of a [handshake](crate::WebSocketStream).
    pub fn new(stream: S, config: Config) -> Self {
        Self::with_role(stream, Role::Client, config)
    }

    /// Returns either end of a WebSocket.
    pub fn with_role(stream: S, role: Role, config: Config) -> Self {
        WebSocket {
            stream,
            context: WebSocketContext::new(role, Some(config.for_tungstenite())),
            frame_size: config.frame_size.max(1),
            outgoing: None,
            fragmented: None,
            watch: Watch::default(),
            stage: Stage::Open,
        }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The next message; `None` after the end. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// See [`MessageError`]. Any of them is the end, and every later call returns an error of the same
    /// variant and text; if it was the peer's fault, it has been told.
    pub async fn message(&mut self) -> Option<Result<Message, MessageError>> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// Like [`message`](Self::message).
    pub fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, MessageError>>> {
        loop {
            match &mut self.stage {
                Stage::Closed => return Poll::Ready(None),
                Stage::Failed(error) => return Poll::Ready(Some(Err(error.repeated()))),
                Stage::Closing(frame) => {
                    // The answer cannot be sent to a peer that has closed the connection.
                    let mut bridge = bridge(&mut self.stream, &mut self.watch, cx);
                    if is_blocked(&self.context.flush(&mut bridge)) {
                        return Poll::Pending;
                    }
                    let frame = frame.take();
                    let end = match self.watch.forbidden() {
                        None => Ok(Message::Close(frame)),
                        Some(code) => Err(MessageError::forbidden(code)),
                    };
                    let error = end.as_ref().err();
                    let stage =
                        error.map_or(Stage::Closed, |error| Stage::Failed(error.repeated()));
                    self.end(cx, stage);
                    return Poll::Ready(Some(end));
                }
                Stage::Open => {}
            }
            // Pending registers the waker; after an error, reading may yield the reason.
            let sending = self.poll_outgoing(cx);
            let mut reading = bridge(&mut self.stream, &mut self.watch, cx);
            let read = self.context.read(&mut reading);
            let yielded = reading.yielded;
            match (read, sending) {
                (Ok(Message::Close(frame)), _) => {
                    self.outgoing = None;
                    self.stage = Stage::Closing(frame);
                }
                (Ok(message), _) => {
                    if let Message::Ping(_) = message {
                        // Writes the pong at once if possible, else with the next poll.
                        let _ =
                            self.context
                                .flush(&mut bridge(&mut self.stream, &mut self.watch, cx));
                    }
                    return Poll::Ready(Some(Ok(message)));
                }
                (Err(error), sending) if is_blocking(&error) => {
                    return match sending {
                        Poll::Ready(Err(error)) if !yielded => {
                            Poll::Ready(Some(Err(self.fail(cx, error))))
                        }
                        Poll::Ready(_) | Poll::Pending => Poll::Pending,
                    };
                }
                (Err(Error::ConnectionClosed | Error::AlreadyClosed), _) => {
                    self.end(cx, Stage::Closed);
                }
                (Err(error), _) => return Poll::Ready(Some(Err(self.fail(cx, error)))),
            }
        }
    }

    /// Sends a Close frame, and waits for that of the peer; messages received before it are discarded.
    /// The WebSocket is then closed.
    ///
    /// There is no time limit: drop the future if the peer does not answer.
    ///
    /// # Errors
    ///
    /// See [`MessageError`]. A Close frame of the peer is not an error.
    ///
    /// # Cancellation
    ///
    /// A second call continues after a dropped one.
    pub async fn close(&mut self, frame: Option<CloseFrame>) -> Result<(), MessageError> {
        poll_fn(|cx| self.poll_close(cx, frame.clone())).await
    }

    /// Like [`close`](Self::close).
    ///
    /// # Errors
    ///
    /// As for [`close`](Self::close).
    pub fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        frame: Option<CloseFrame>,
    ) -> Poll<Result<(), MessageError>> {
        ready!(self.poll_finish(cx, frame))?;
        for _ in 0..MAX_DISCARDED_PER_POLL {
            match ready!(self.poll_message(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        // The peer goes on sending: yield to other tasks.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls until a Close frame has been sent. Messages can still be received, until the Close
    /// frame of the peer. Of several calls, the first that finds everything else sent determines
    /// the frame.
    ///
    /// # Errors
    ///
    /// As for [`close`](Self::close).
    pub fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        frame: Option<CloseFrame>,
    ) -> Poll<Result<(), MessageError>> {
        let Stage::Open = self.stage else {
            return Poll::Ready(Ok(()));
        };
        if !self.context.can_write() {
            return Poll::Ready(Ok(()));
        }
        // RFC 6455 §5.5.1: two bytes of the frame are the code.
        if frame
            .as_ref()
            .is_some_and(|frame| frame.reason.len() > MAX_CONTROL_BYTES - 2)
        {
            let why = "reason of a Close frame longer than 123 bytes (RFC 6455 §5.5.1)";
            return Poll::Ready(Err(MessageError::Misuse(why)));
        }
        if frame.as_ref().is_some_and(|frame| !frame.code.is_allowed()) {
            let why = "invalid code of a Close frame (RFC 6455 §7.4)";
            return Poll::Ready(Err(MessageError::Misuse(why)));
        }
        ready!(self.poll_outgoing(cx))?;
        let closed = self
            .context
            .close(&mut bridge(&mut self.stream, &mut self.watch, cx), frame);
        match closed {
            Ok(()) => Poll::Ready(Ok(())),
            // Buffered; reading sends it.
            Err(error) if is_blocking(&error) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(self.fail(cx, error))),
        }
    }

    // RFC 6455 §7.1.7: an endpoint that fails the connection should send a Close frame.
    fn fail(&mut self, cx: &mut Context<'_>, error: Error) -> MessageError {
        let code = match &error {
            Error::Utf8(_) => Some(CloseCode::Invalid),
            Error::Capacity(_) => Some(CloseCode::Size),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
            Error::Protocol(_) => Some(CloseCode::Protocol),
            _ => None,
        };
        if let Some(code) = code {
            self.outgoing = None;
            let reason = Utf8Bytes::default();
            let frame = Some(CloseFrame { code, reason });
            let _ = self
                .context
                .close(&mut bridge(&mut self.stream, &mut self.watch, cx), frame);
        }
        let error = MessageError::from(error);
        self.end(cx, Stage::Failed(error.repeated()));
        error
    }

    fn end(&mut self, cx: &mut Context<'_>, stage: Stage) {
        self.stage = stage;
        self.outgoing = None;
        // Best effort: dropping the stream closes the connection in any case.
        let _ = self.stream.poll_shutdown(cx);
    }
}

impl<S: NetworkStream + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, MessageError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_message(cx)
    }
}

impl<S: fmt::Debug> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Open => "open",
            Stage::Closing(_) => "closing",
            Stage::Closed => "closed",
            Stage::Failed(_) => "failed",
        };
        f.debug_struct("WebSocket")
            .field("stage", &stage)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
