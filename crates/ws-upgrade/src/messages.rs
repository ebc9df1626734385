//! Messages over a stream: tungstenite's machine, polled.
//!
//! ```text
//!   send, start_send ─► outgoing ─ frame by frame ─► tungstenite ─► stream
//!                                                    pong, close ┘     │
//!   message, Stream ◄────────────────────────────── tungstenite ◄──────┘
//! ```
//!
//! What has been accepted for sending goes out in whichever future of this socket is polled next.
//! A message goes out in frames, one after the other as the stream takes them: that bounds the
//! memory, and lets the answer to a ping go between two of them.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use httpcore_core_primitives::{NetworkStream, Upgraded, noop_waker};
pub use tungstenite::{
    Message,
    protocol::{CloseFrame, Role},
};
use tungstenite::{
    Utf8Bytes,
    error::{Error, ProtocolError},
    protocol::{
        WebSocketConfig, WebSocketContext,
        frame::{
            Frame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

mod error;
mod watch;

pub use error::MessageError;

use watch::Watch;

/// How much is read at once at most, in bytes.
const READ: usize = 16 * 1024;
/// How many frames are written in one poll before others get their turn.
const FRAMES_AT_ONCE: usize = 32;
/// How often the stream is read in one poll before others get their turn: a message may have any
/// number of empty frames.
const READS_AT_ONCE: usize = 32;
/// How many messages are thrown away in one poll, while closing, before others get their turn.
const MESSAGES_AT_ONCE: usize = 32;
/// RFC 6455 §5.5: the most a control frame may hold.
const CONTROL: usize = 125;
/// How many bytes of answers to pings are kept for a peer which does not read.
const ANSWERS: usize = 4 * 1024;

/// Limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The largest message that is accepted, in bytes. 16 MiB by default: it is collected in memory.
    pub max_message_size: usize,
    /// The largest frame that is accepted, in bytes. 16 MiB by default: many servers send a
    /// message in one frame, whatever its size. Memory for a frame is reserved when it begins.
    pub max_frame_size: usize,
    /// Messages are sent in frames of so many bytes at most; 64 KiB by default.
    pub frame_size: usize,
    /// How large the buffer for reading is, in bytes: what an idle socket costs. 4 KiB by default.
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
    /// These, with [`max_message_size`](Self::max_message_size) set, and
    /// [`max_frame_size`](Self::max_frame_size) to the same.
    pub const fn with_max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self.max_frame_size = bytes;
        self
    }

    /// These, with [`max_frame_size`](Self::max_frame_size) set.
    pub const fn with_max_frame_size(mut self, bytes: usize) -> Self {
        self.max_frame_size = bytes;
        self
    }

    /// These, with [`frame_size`](Self::frame_size) set.
    pub const fn with_frame_size(mut self, bytes: usize) -> Self {
        self.frame_size = bytes;
        self
    }

    /// These, with [`read_buffer`](Self::read_buffer) set.
    pub const fn with_read_buffer(mut self, bytes: usize) -> Self {
        self.read_buffer = bytes;
        self
    }

    fn for_tungstenite(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(self.read_buffer)
            .write_buffer_size(0)
            .max_write_buffer_size(self.frame_size.max(CONTROL).saturating_add(ANSWERS))
            .max_message_size(Some(self.max_message_size))
            .max_frame_size(Some(self.max_frame_size))
    }
}

/// A part of a message that is sent as it comes into being.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// Of a text.
    Text(Utf8Bytes),
    /// Of something else.
    Binary(Bytes),
}

/// Messages over a stream. The stream belongs to it, and with it its place in a pool, until it is
/// dropped; dropping it closes the connection without a word, and [`close`](Self::close) with one.
///
/// Pings are answered while messages are asked for. They and pongs are told like any message; the
/// last one told is [`Message::Close`], once it has been answered.
///
/// A peer that answers while it listens stops listening when nobody hears its answers: whoever sends
/// much to such a peer polls both directions in one task, by [`poll_ready`](Self::poll_ready),
/// [`start_send`](Self::start_send) and [`poll_message`](Self::poll_message).
///
/// All of its futures may be dropped at any point. A message that [`send`](Self::send) has accepted
/// will be sent as a whole, by whatever is polled next; one that it has not accepted, not at all.
pub struct WebSocket<S = Upgraded> {
    stream: S,
    context: WebSocketContext,
    frame_size: usize,
    /// Accepted, and not yet all in frames.
    outgoing: Option<Outgoing>,
    /// A message that is sent piece by piece has begun.
    in_pieces: Option<Data>,
    watch: Watch,
    stage: Stage,
}

struct Outgoing {
    /// Of the next frame.
    opcode: Data,
    rest: Bytes,
    /// Whether the last frame of `rest` is the last of its message.
    last: bool,
}

enum Stage {
    Open,
    /// The peer has said that it closes; the answer is on its way.
    Answering(Option<CloseFrame>),
    Over,
}

/// The stream as something that reads and writes, and would rather block than wait.
struct Bridge<'a, 'b, S> {
    stream: &'a mut S,
    cx: &'a mut Context<'b>,
    watch: &'a mut Watch,
    reads: usize,
    /// Reading blocks because it is the turn of others, and will be woken.
    gives_way: bool,
}

impl<S: NetworkStream> WebSocket<S> {
    /// The client's end of a WebSocket, over what a handshake has [opened](crate::WebSocketStream).
    pub fn new(stream: S, config: Config) -> Self {
        Self::with_role(stream, Role::Client, config)
    }

    /// Either end.
    pub fn with_role(stream: S, role: Role, config: Config) -> Self {
        WebSocket {
            stream,
            context: WebSocketContext::new(role, Some(config.for_tungstenite())),
            frame_size: config.frame_size.max(1),
            outgoing: None,
            in_pieces: None,
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
    /// See [`MessageError`]. Any of them is the end; if it was the peer's fault, it has been told.
    pub async fn message(&mut self) -> Option<Result<Message, MessageError>> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// As [`message`](Self::message).
    pub fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, MessageError>>> {
        loop {
            match &mut self.stage {
                Stage::Over => return Poll::Ready(None),
                Stage::Answering(frame) => {
                    // A peer that is gone already has no use for the answer.
                    let mut bridge = bridge(&mut self.stream, &mut self.watch, cx);
                    if is_blocked(&self.context.flush(&mut bridge)) {
                        return Poll::Pending;
                    }
                    let frame = frame.take();
                    self.end(cx);
                    return Poll::Ready(Some(match self.watch.forbidden() {
                        None => Ok(Message::Close(frame)),
                        Some(code) => Err(MessageError::forbidden(code)),
                    }));
                }
                Stage::Open => {}
            }
            // If that has to wait, it will wake; if it failed, reading may tell why.
            let sending = self.poll_outgoing(cx);
            let mut reading = bridge(&mut self.stream, &mut self.watch, cx);
            let read = self.context.read(&mut reading);
            let gives_way = reading.gives_way;
            match (read, sending) {
                (Ok(Message::Close(frame)), _) => {
                    self.outgoing = None;
                    self.stage = Stage::Answering(frame);
                }
                (Ok(message), _) => {
                    if let Message::Ping(_) = message {
                        // The answer goes out at once if it can, and with the next poll if not.
                        let _ =
                            self.context
                                .flush(&mut bridge(&mut self.stream, &mut self.watch, cx));
                    }
                    return Poll::Ready(Some(Ok(message)));
                }
                (Err(error), sending) if is_blocking(&error) => {
                    return match sending {
                        Poll::Ready(Err(error)) if !gives_way => {
                            Poll::Ready(Some(Err(self.fail(cx, error))))
                        }
                        Poll::Ready(_) | Poll::Pending => Poll::Pending,
                    };
                }
                (Err(Error::ConnectionClosed | Error::AlreadyClosed), _) => {
                    self.end(cx);
                }
                (Err(error), _) => return Poll::Ready(Some(Err(self.fail(cx, error)))),
            }
        }
    }

    /// Sends a message, and waits until the stream has taken all of it.
    ///
    /// # Errors
    ///
    /// See [`MessageError`]; [`MessageError::Closing`] once either side has said that it closes.
    ///
    /// # Cancellation
    ///
    /// While an earlier message is still on its way, dropping the future means that nothing of this
    /// one is sent; afterwards, that all of it will be, with whatever is polled next.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), MessageError> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        self.start_send(message.into())?;
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends the next piece of a message, which has any number of them up to the `last`. Meanwhile
    /// no other message can be sent, but pings and pongs.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send); [`MessageError::Misuse`] for a piece of another kind.
    ///
    /// # Cancellation
    ///
    /// As for [`send`](Self::send), for this piece.
    pub async fn send_fragment(&mut self, piece: Fragment, last: bool) -> Result<(), MessageError> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        self.start_fragment(piece, last)?;
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Ready when another message can be [accepted](Self::start_send).
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MessageError>> {
        self.poll_flush(cx)
    }

    /// Accepts a message, of which nothing may be sent before something is polled. To be called
    /// once [`poll_ready`](Self::poll_ready) is ready.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send); [`MessageError::Misuse`] if a message is still on its way, or
    /// this is none that can be sent: a raw frame, a ping of more than 125 bytes.
    pub fn start_send(&mut self, message: Message) -> Result<(), MessageError> {
        match message {
            Message::Text(text) => self.accept_whole(Data::Text, text.into()),
            Message::Binary(data) => self.accept_whole(Data::Binary, data),
            Message::Ping(data) | Message::Pong(data) if data.len() > CONTROL => Err(
                MessageError::Misuse("a ping or pong holds at most 125 bytes (RFC 6455 §5.5)"),
            ),
            Message::Ping(_) | Message::Pong(_) => {
                self.may_send()?;
                let cx = &mut Context::from_waker(noop_waker());
                match self
                    .context
                    .write(&mut bridge(&mut self.stream, &mut self.watch, cx), message)
                {
                    Ok(()) => Ok(()),
                    // It is in the buffer.
                    Err(error) if is_blocking(&error) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            Message::Close(_) => Err(MessageError::Misuse("closing is said by `close`")),
            Message::Frame(_) => Err(MessageError::Misuse("frames are made of messages here")),
        }
    }

    /// Accepts the next piece of a message, as [`send_fragment`](Self::send_fragment) has it; as
    /// [`start_send`](Self::start_send) otherwise.
    ///
    /// # Errors
    ///
    /// As for both.
    pub fn start_fragment(&mut self, piece: Fragment, last: bool) -> Result<(), MessageError> {
        let (kind, data) = match piece {
            Fragment::Text(text) => (Data::Text, text.into()),
            Fragment::Binary(data) => (Data::Binary, data),
        };
        let opcode = match self.in_pieces {
            None => kind,
            Some(begun) if begun == kind => Data::Continue,
            Some(_) => {
                let why = "a message is text or binary, and no mixture";
                return Err(MessageError::Misuse(why));
            }
        };
        self.accept(opcode, data, last)?;
        self.in_pieces = (!last).then_some(kind);
        Ok(())
    }

    /// Ready when the stream has taken all that was accepted.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MessageError>> {
        self.may_send()?;
        self.poll_outgoing(cx).map_err(MessageError::from)
    }

    /// Says that this side closes, and why, and waits until the other side has said so too; messages
    /// which it sent before that are thrown away. Then the socket is at its end.
    ///
    /// There is no time limit: a peer that never answers is left by dropping the future.
    ///
    /// # Errors
    ///
    /// See [`MessageError`]. That the peer has closed first is none.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped, and another one goes on where it was.
    pub async fn close(&mut self, frame: Option<CloseFrame>) -> Result<(), MessageError> {
        poll_fn(|cx| self.poll_close(cx, frame.clone())).await
    }

    /// As [`close`](Self::close).
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
        for _ in 0..MESSAGES_AT_ONCE {
            match ready!(self.poll_message(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        // The peer goes on talking. The others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when this side has said that it closes, and why. Messages can go on being received,
    /// until the other side has said so too. The frame of the first call that finds everything else
    /// sent is the one that counts.
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
            .is_some_and(|frame| frame.reason.len() > CONTROL - 2)
        {
            let why = "the reason of a close holds at most 123 bytes (RFC 6455 §5.5.1)";
            return Poll::Ready(Err(MessageError::Misuse(why)));
        }
        if frame.as_ref().is_some_and(|frame| !frame.code.is_allowed()) {
            let why = "a close frame does not have this code (RFC 6455 §7.4)";
            return Poll::Ready(Err(MessageError::Misuse(why)));
        }
        ready!(self.poll_outgoing(cx))?;
        let closed = self
            .context
            .close(&mut bridge(&mut self.stream, &mut self.watch, cx), frame);
        match closed {
            Ok(()) => Poll::Ready(Ok(())),
            // It is in the buffer, and reading sends it.
            Err(error) if is_blocking(&error) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(self.fail(cx, error))),
        }
    }

    fn may_send(&self) -> Result<(), MessageError> {
        match self.stage {
            Stage::Open if self.context.can_write() => Ok(()),
            Stage::Open | Stage::Answering(_) | Stage::Over => Err(MessageError::Closing),
        }
    }

    fn accept_whole(&mut self, kind: Data, data: Bytes) -> Result<(), MessageError> {
        if self.in_pieces.is_some() {
            return Err(MessageError::Misuse(
                "the last piece of a message has not been sent",
            ));
        }
        self.accept(kind, data, true)
    }

    fn accept(&mut self, opcode: Data, rest: Bytes, last: bool) -> Result<(), MessageError> {
        self.may_send()?;
        if self.outgoing.is_some() {
            return Err(MessageError::Misuse("a message is still on its way"));
        }
        self.outgoing = Some(Outgoing { opcode, rest, last });
        Ok(())
    }

    /// Ready when nothing is left to be sent.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for _ in 0..FRAMES_AT_ONCE {
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
        // More could be sent. The others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// RFC 6455 §7.1.7: whoever fails the connection says why, as well as it can.
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
        self.end(cx);
        error.into()
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Over;
        self.outgoing = None;
        // A courtesy: whoever drops this next closes it all.
        let _ = self.stream.poll_shutdown(cx);
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
            Stage::Answering(_) => "answering",
            Stage::Over => "over",
        };
        f.debug_struct("WebSocket")
            .field("stage", &stage)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

fn bridge<'a, 'b, S>(
    stream: &'a mut S,
    watch: &'a mut Watch,
    cx: &'a mut Context<'b>,
) -> Bridge<'a, 'b, S> {
    Bridge {
        stream,
        cx,
        watch,
        reads: 0,
        gives_way: false,
    }
}

fn is_blocked<T>(result: &Result<T, Error>) -> bool {
    result.as_ref().is_err_and(is_blocking)
}

fn is_blocking(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Whether it is ready, in the words of what blocks.
fn now<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<S: NetworkStream> Read for Bridge<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.reads == READS_AT_ONCE {
            self.gives_way = true;
            self.cx.waker().wake_by_ref();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.reads += 1;
        let mut read = BytesMut::with_capacity(buf.len().min(READ));
        let count = now(self.stream.poll_read(self.cx, &mut read))?;
        buf[..count].copy_from_slice(&read);
        self.watch.see(&read);
        Ok(count)
    }
}

impl<S: NetworkStream> Write for Bridge<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        now(self.stream.poll_write(self.cx, &[IoSlice::new(buf)]))
    }

    fn flush(&mut self) -> io::Result<()> {
        now(self.stream.poll_flush(self.cx))
    }
}
