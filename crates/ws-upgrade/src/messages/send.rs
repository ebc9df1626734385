//! Sending: messages, fragments, and their frames.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;
use httpcore_core_primitives::{NetworkStream, noop_waker};
use tungstenite::{
    Message, Utf8Bytes,
    error::Error,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::{
    MAX_CONTROL_BYTES, MessageError, Stage, WebSocket,
    bridge::{bridge, is_blocked, is_blocking},
};

/// Maximum number of frames written in one poll, so that other tasks run.
const MAX_FRAMES_PER_POLL: usize = 32;

/// A fragment of a message (RFC 6455 §5.4), for messages that are sent while they are produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// Part of a text message.
    Text(Utf8Bytes),
    /// Part of a binary message.
    Binary(Bytes),
}

/// A message that has been accepted, and is not completely in frames yet.
pub(super) struct Outgoing {
    /// Opcode of the next frame.
    opcode: Data,
    rest: Bytes,
    /// Whether the last frame of `rest` is the last of its message.
    last: bool,
}

impl<S: NetworkStream> WebSocket<S> {
    /// Sends a message, and waits until the stream has accepted all of it.
    ///
    /// # Errors
    ///
    /// See [`MessageError`]; [`MessageError::Closing`] once a Close frame has been sent or received.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped while an earlier message is being written, nothing of this one is sent;
    /// if later, all of it is sent, by the next future of this WebSocket that is polled.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), MessageError> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        self.start_send(message.into())?;
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends the next fragment of a message (RFC 6455 §5.4), up to the `last`. Between the fragments of
    /// a message, only pings and pongs can be sent.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send); [`MessageError::Misuse`] for a fragment of the other type.
    ///
    /// # Cancellation
    ///
    /// As for [`send`](Self::send), for this fragment.
    pub async fn send_fragment(
        &mut self,
        fragment: Fragment,
        last: bool,
    ) -> Result<(), MessageError> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        self.start_fragment(fragment, last)?;
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Polls until another message can be [accepted](Self::start_send).
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MessageError>> {
        self.poll_flush(cx)
    }

    /// Accepts a message. It is written when the WebSocket is next polled. To be called after
    /// [`poll_ready`](Self::poll_ready) was ready.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send); [`MessageError::Misuse`] if an earlier message is still being
    /// written, or this one cannot be sent: a raw frame, a ping of more than 125 bytes.
    pub fn start_send(&mut self, message: Message) -> Result<(), MessageError> {
        match message {
            Message::Text(text) => self.accept_whole(Data::Text, text.into()),
            Message::Binary(data) => self.accept_whole(Data::Binary, data),
            Message::Ping(data) | Message::Pong(data) if data.len() > MAX_CONTROL_BYTES => Err(
                MessageError::Misuse("ping or pong longer than 125 bytes (RFC 6455 §5.5)"),
            ),
            Message::Ping(_) | Message::Pong(_) => {
                self.may_send()?;
                let cx = &mut Context::from_waker(noop_waker());
                match self
                    .context
                    .write(&mut bridge(&mut self.stream, &mut self.watch, cx), message)
                {
                    Ok(()) => Ok(()),
                    // Buffered.
                    Err(error) if is_blocking(&error) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            Message::Close(_) => Err(MessageError::Misuse("Close frames are sent with `close`")),
            Message::Frame(_) => Err(MessageError::Misuse("raw frames cannot be sent")),
        }
    }

    /// Accepts the next fragment of a message; see [`send_fragment`](Self::send_fragment) and
    /// [`start_send`](Self::start_send).
    ///
    /// # Errors
    ///
    /// As for those.
    pub fn start_fragment(&mut self, fragment: Fragment, last: bool) -> Result<(), MessageError> {
        let (kind, data) = match fragment {
            Fragment::Text(text) => (Data::Text, text.into()),
            Fragment::Binary(data) => (Data::Binary, data),
        };
        let opcode = match self.fragmented {
            None => kind,
            Some(begun) if begun == kind => Data::Continue,
            Some(_) => {
                let why = "fragments of one message must have one type";
                return Err(MessageError::Misuse(why));
            }
        };
        self.accept(opcode, data, last)?;
        self.fragmented = (!last).then_some(kind);
        Ok(())
    }

    /// Polls until the stream has accepted everything.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MessageError>> {
        self.may_send()?;
        self.poll_outgoing(cx).map_err(MessageError::from)
    }

    pub(super) fn may_send(&self) -> Result<(), MessageError> {
        match self.stage {
            Stage::Open if self.context.can_write() => Ok(()),
            Stage::Open | Stage::Closing(_) | Stage::Closed | Stage::Failed(_) => {
                Err(MessageError::Closing)
            }
        }
    }

    fn accept_whole(&mut self, kind: Data, data: Bytes) -> Result<(), MessageError> {
        if self.fragmented.is_some() {
            return Err(MessageError::Misuse(
                "the last fragment of a message has not been sent",
            ));
        }
        self.accept(kind, data, true)
    }

    fn accept(&mut self, opcode: Data, rest: Bytes, last: bool) -> Result<(), MessageError> {
        self.may_send()?;
        if self.outgoing.is_some() {
            return Err(MessageError::Misuse(
                "an earlier message is still being written",
            ));
        }
        self.outgoing = Some(Outgoing { opcode, rest, last });
        Ok(())
    }

    /// Polls until nothing is left to be sent.
    pub(super) fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for _ in 0..MAX_FRAMES_PER_POLL {
            let flushed = self
                .context
                .flush(&mut bridge(&mut self.stream, &mut self.watch, cx));
            if is_blocked(&flushed) {
                return Poll::Pending;
            }
            flushed?;
            let Some(outgoing) = &mut self.outgoing else {
                return Poll::Ready(Ok(()));
            };
            let frame = Message::Frame(outgoing.next_frame(self.frame_size));
            if outgoing.rest.is_empty() {
                self.outgoing = None;
            }
            let written = self
                .context
                .write(&mut bridge(&mut self.stream, &mut self.watch, cx), frame);
            if !is_blocked(&written) {
                written?;
            }
        }
        // More could be written: yield to other tasks.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Outgoing {
    fn next_frame(&mut self, size: usize) -> Frame {
        let data = self.rest.split_to(self.rest.len().min(size));
        let last = self.last && self.rest.is_empty();
        let opcode = std::mem::replace(&mut self.opcode, Data::Continue);
        Frame::message(data, OpCode::Data(opcode), last)
    }
}
