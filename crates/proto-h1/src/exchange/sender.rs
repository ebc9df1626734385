//! The request on its way out.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use http::request;
use http_body::Frame;
use httpcore_core_primitives::{BodyLength, RequestSent, TraceEvent};
use httpcore_proto_common::{
    buffers::{self, SMALL_BYTES},
    control::ExchangeControl,
    failure::Failure,
    progress::SendStatus,
    request_body::RequestBody,
    write_buf::WriteBuf,
};

use crate::codec::{Codec, RequestError};

use super::Shared;

/// Maximum number of writes in one poll, before the task yields and reads what the server has sent.
const MAX_WRITES: usize = 8;

/// Number of bytes waiting to be written from which on the body is not polled for more: an upload
/// holds at most this and one piece. With one system call for each 64 KiB, 256 MiB took five times as
/// many; larger writes are no longer taken as a whole.
const MAX_HELD_BYTES: usize = 512 * 1024;

/// Maximum number of pieces taken from a body before they are written.
const MAX_PIECES: usize = 32;

/// How far the request has been sent.
#[derive(Debug)]
enum Upload {
    /// The head has been encoded; the body waits for `100 (Continue)`.
    AwaitingContinue,
    /// The body is polled for pieces.
    Body,
    /// All of it is encoded, and some of that not written or flushed.
    Rest,
    Sent,
    /// Writing failed.
    Failed(io::Error),
    /// The server does not take the rest.
    Abandoned,
}

/// What has been written to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Nothing,
    Unflushed,
    Flushed,
}

/// Sends a request: encodes its head and body, and writes both.
pub(super) struct RequestSender {
    upload: Upload,
    out: WriteBuf,
    pub(super) body: RequestBody,
    /// Number of bytes of the request's head not yet written.
    head_left: usize,
    head_length: usize,
    written: Written,
    body_sent: u64,
}

impl RequestSender {
    /// Creates the sender of a request with `body`; `out` is empty.
    #[inline]
    pub(super) fn new(body: RequestBody, out: WriteBuf) -> Self {
        RequestSender {
            upload: Upload::Body,
            out,
            body,
            head_left: 0,
            head_length: 0,
            written: Written::Nothing,
            body_sent: 0,
        }
    }

    /// Encodes the head of `request`.
    pub(super) fn start(
        &mut self,
        codec: &mut Codec,
        request: &request::Parts,
    ) -> Result<(), RequestError> {
        let head = self.out.buf_mut();
        let length = if self.body.is_empty() {
            BodyLength::Known(0)
        } else {
            self.body.length()
        };
        codec.encode_head(request, length, head)?;
        self.head_length = head.len();
        self.head_left = head.len();
        // A body that declares no data is polled all the same: it may yield some.
        if codec.is_sent() && self.body.is_empty() {
            self.upload = Upload::Rest;
        } else if codec.expects_continue() {
            self.upload = Upload::AwaitingContinue;
        }
        Ok(())
    }

    /// Sends what can be sent now.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared<'_>,
    ) -> Result<SendStatus, Failure> {
        for _ in 0..MAX_WRITES {
            let waits_for = match self.upload {
                Upload::Sent | Upload::Failed(_) | Upload::Abandoned => {
                    return Ok(SendStatus::Over);
                }
                Upload::AwaitingContinue => Some(SendStatus::AwaitingContinue),
                Upload::Rest => None,
                Upload::Body => self
                    .fill_write_buf(cx, shared.codec)?
                    .is_pending()
                    .then_some(SendStatus::BodyPending),
            };
            let progress = if self.out.is_empty() {
                self.poll_flush(cx, shared)
            } else {
                self.poll_write(cx, shared)
            };
            match progress {
                Poll::Pending => return Ok(SendStatus::Blocked),
                Poll::Ready(Err(error)) => {
                    buffers::recycle(&mut self.out.into_buf());
                    shared.codec.abort_request();
                    self.upload = Upload::Failed(error);
                    return Ok(SendStatus::Over);
                }
                Poll::Ready(Ok(())) => {}
            }
            if self.out.is_empty() && self.written != Written::Unflushed {
                match (&self.upload, waits_for) {
                    (Upload::Rest, _) => {
                        self.upload = Upload::Sent;
                        let timer = &shared.connection.timer;
                        shared.control.upload_complete(timer, self.body_sent);
                        return Ok(SendStatus::Over);
                    }
                    (_, Some(waits_for)) => return Ok(waits_for),
                    (_, None) => {}
                }
            }
        }
        // More could be sent. Other tasks run first.
        cx.waker().wake_by_ref();
        Ok(SendStatus::BodyPending)
    }

    /// Takes the pieces that the request's body has, until there is enough to write. Pending when the
    /// body has nothing now: what has been taken is written all the same.
    fn fill_write_buf(
        &mut self,
        cx: &mut Context<'_>,
        codec: &mut Codec,
    ) -> Result<Poll<()>, Failure> {
        self.out.make_room(SMALL_BYTES);
        for _ in 0..MAX_PIECES {
            if !matches!(self.upload, Upload::Body) || self.out.is_full(MAX_HELD_BYTES) {
                break;
            }
            if self.poll_piece(cx, codec)?.is_pending() {
                return Ok(Poll::Pending);
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Polls the request's body for its next piece, and frames it.
    fn poll_piece(&mut self, cx: &mut Context<'_>, codec: &mut Codec) -> Result<Poll<()>, Failure> {
        let before = self.out.buf_mut();
        if let Some(all) = self.body.as_bytes() {
            // It is sent together with the head, and stays whole in case of another attempt.
            let after = codec.encode_last_data(all.len(), before)?;
            if !self.out.copy(all, after) {
                self.out.push(all.clone(), after);
            }
            self.body_sent = all.len() as u64;
            self.upload = Upload::Rest;
            return Ok(Poll::Ready(()));
        }
        let frame = match self.body.poll_frame(cx) {
            // A body whose declared bytes are all encoded has ended, even if it does not say so.
            Poll::Pending if codec.is_framed() => None,
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(frame) => frame.transpose().map_err(Failure::RequestBody)?,
        };
        match frame.map(Frame::into_data) {
            Some(Ok(data)) => {
                let last = self.body.is_end_stream();
                let after = if last {
                    codec.encode_last_data(data.len(), before)?
                } else {
                    codec.encode_data(data.len(), before)?
                };
                self.body_sent += data.len() as u64;
                self.out.push(data, after);
                if last {
                    self.upload = Upload::Rest;
                }
            }
            Some(Err(frame)) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                codec.encode_end(Some(&trailers), before)?;
                self.upload = Upload::Rest;
            }
            None => {
                codec.encode_end(None, before)?;
                self.upload = Upload::Rest;
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &mut *shared.connection.stream;
        let written = ready!(self.out.poll_write(cx, stream))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written = Written::Unflushed;
        shared.control.wrote();
        if self.head_left > 0 {
            self.head_left = self.head_left.saturating_sub(written);
            if self.head_left == 0 {
                let bytes = self.head_length as u64;
                shared
                    .control
                    .emit(&shared.connection.timer, || TraceEvent::RequestHeadSent {
                        bytes,
                    });
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Shared<'_>,
    ) -> Poll<io::Result<()>> {
        if self.written == Written::Unflushed {
            ready!(shared.connection.stream.poll_flush(cx))?;
            self.written = Written::Flushed;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the buffer of a request that has been sent, for reading. None if it has grown for a large
    /// head: a caller that keeps a piece of a body would keep all of that.
    #[inline]
    pub(super) fn take_buffer(&mut self) -> BytesMut {
        debug_assert!(self.out.is_empty());
        let mut buffer = self.out.into_buf();
        if self.head_length > SMALL_BYTES {
            buffers::recycle(&mut buffer);
        }
        buffer
    }

    /// Gives the buffer of an exchange that ends back to the thread.
    #[inline]
    pub(super) fn recycle(&mut self) {
        buffers::recycle(&mut self.out.into_buf());
    }

    /// The head of the final response has arrived; `refused` says that it refuses the request and that
    /// the server closes the connection.
    pub(super) fn response_began(
        &mut self,
        codec: &mut Codec,
        control: &ExchangeControl,
        refused: bool,
    ) {
        match self.upload {
            // RFC 9110 §10.1.1: a final response in place of 100. The server does not want the body.
            Upload::AwaitingContinue => {}
            // RFC 9112 §9.5: a server that refuses a request and closes does not want the rest of it.
            Upload::Body | Upload::Rest if refused => {}
            Upload::Failed(_) => return control.upload_cut_short(),
            _ => return,
        }
        self.recycle();
        codec.abort_request();
        self.upload = Upload::Abandoned;
        control.upload_cut_short();
    }

    /// Sends the body without waiting any longer for `100 (Continue)`.
    #[inline]
    pub(super) fn stop_awaiting_continue(&mut self) {
        if let Upload::AwaitingContinue = self.upload {
            self.upload = Upload::Body;
        }
    }

    /// Returns whether nothing more will be sent.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        matches!(
            self.upload,
            Upload::Sent | Upload::Failed(_) | Upload::Abandoned
        )
    }

    /// Returns whether all of the request has been written and flushed.
    #[inline]
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.upload, Upload::Sent)
    }

    /// Returns how much of the request the stream has taken.
    #[inline]
    pub(super) fn sent(&self) -> RequestSent {
        match self.upload {
            Upload::Sent => RequestSent::Full,
            Upload::Rest if self.out.is_empty() => RequestSent::Full,
            _ if self.written == Written::Nothing => RequestSent::None,
            _ => RequestSent::Partial,
        }
    }

    /// Takes the error with which writing failed.
    pub(super) fn take_write_error(&mut self) -> Option<io::Error> {
        match std::mem::replace(&mut self.upload, Upload::Abandoned) {
            Upload::Failed(error) => Some(error),
            other => {
                self.upload = other;
                None
            }
        }
    }
}
