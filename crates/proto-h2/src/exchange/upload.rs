//! The request's body, which h2 takes as far as the server's windows allow.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use httpcore_proto_common::{failure::Failure, progress::SendStatus, request_body::RequestBody};

use crate::{
    error::StreamFailure,
    head::{self, RequestError},
    payload::Payload,
};

/// Maximum number of pieces passed to h2 in one poll, before the task yields and looks for the response.
const MAX_PIECES: usize = 32;

/// Maximum size of a body that h2 is given with the head, whatever the windows are: h2 keeps no copy,
/// and small bodies need only one poll.
const SMALL_BYTES: usize = 16 * 1024;

/// How far the request's body has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits for `100 (Continue)`.
    AwaitingContinue,
    /// It is polled for data.
    Body,
    /// h2 has all of it, which has not been reported.
    Sent,
    /// h2 has all of it.
    Reported,
    /// The server does not take the rest.
    Abandoned,
}

#[derive(Debug)]
pub(super) struct Upload {
    stage: Stage,
    stream: SendStream<Payload>,
    pub(super) body: RequestBody,
    /// What the body has yielded, and h2 not yet taken.
    piece: Bytes,
    /// Nothing follows `piece`.
    is_last: bool,
    /// Number of bytes that the head declares and the body has not yet yielded.
    left: Option<u64>,
    /// Number of bytes that h2 has taken.
    taken: u64,
}

impl Upload {
    /// Creates the upload of `body` on `stream`. `length` is the length that the head declares, if it
    /// does; `is_sent` says that the head has ended the stream.
    pub(super) fn new(
        stream: SendStream<Payload>,
        body: RequestBody,
        length: Option<u64>,
        expects_continue: bool,
        is_sent: bool,
    ) -> Self {
        Upload {
            stage: match (is_sent, expects_continue) {
                (true, _) => Stage::Sent,
                (false, true) => Stage::AwaitingContinue,
                (false, false) => Stage::Body,
            },
            stream,
            body,
            piece: Bytes::new(),
            is_last: false,
            left: length,
            taken: 0,
        }
    }

    /// Passes to h2 what it takes now; returns what the upload waits for, and whether h2 took something.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Result<(SendStatus, bool), StreamFailure> {
        let mut progress = false;
        for _ in 0..MAX_PIECES {
            match self.stage {
                Stage::Sent | Stage::Reported | Stage::Abandoned => {
                    return Ok((SendStatus::Over, progress));
                }
                Stage::AwaitingContinue => return Ok((SendStatus::AwaitingContinue, progress)),
                Stage::Body => {}
            }
            if self.piece.is_empty() && !self.is_last && self.poll_piece(cx)?.is_pending() {
                return Ok((SendStatus::BodyPending, progress));
            }
            if self.stage != Stage::Body {
                continue;
            }
            match self.poll_give(cx) {
                Poll::Ready(()) => progress = true,
                Poll::Pending => return Ok((SendStatus::Blocked, progress)),
            }
        }
        // More could be sent. Other tasks run first.
        cx.waker().wake_by_ref();
        Ok((SendStatus::BodyPending, progress))
    }

    /// Polls the body for its next piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, StreamFailure> {
        if let Some(all) = self.body.as_bytes() {
            // It stays whole, in case of another attempt.
            let all = all.clone();
            self.count(all.len())?;
            self.ended()?;
            if all.len() <= SMALL_BYTES {
                self.give(all, true);
            } else {
                self.piece = all;
                self.is_last = true;
            }
            return Ok(Poll::Ready(()));
        }
        let frame = match self.body.poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(None) => {
                self.ended()?;
                self.is_last = true;
                return Ok(Poll::Ready(()));
            }
            Poll::Ready(Some(frame)) => frame.map_err(Failure::RequestBody)?,
        };
        match frame.into_data() {
            Ok(data) => {
                self.count(data.len())?;
                self.is_last = self.body.is_end_stream();
                if self.is_last {
                    self.ended()?;
                }
                self.piece = data;
            }
            Err(frame) => {
                self.ended()?;
                let trailers = frame.into_trailers().unwrap_or_default();
                head::check_trailers(&trailers)?;
                // If the stream has been closed meanwhile, the response tells why.
                let _ = self.stream.send_trailers(trailers);
                self.stage = Stage::Sent;
            }
        }
        Ok(Poll::Ready(()))
    }

    /// RFC 9113 §8.1.1: a body is as long as its head declares.
    fn count(&mut self, bytes: usize) -> Result<(), RequestError> {
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(bytes as u64)
                .ok_or(RequestError::BodyTooLong)?;
        }
        Ok(())
    }

    fn ended(&self) -> Result<(), RequestError> {
        match self.left {
            Some(left) if left > 0 => Err(RequestError::BodyTooShort),
            _ => Ok(()),
        }
    }

    /// Passes to h2 as much of the piece as the windows allow.
    fn poll_give(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.piece.is_empty() {
            if self.is_last {
                self.give(Bytes::new(), true);
            }
            return Poll::Ready(());
        }
        // No more is reserved than is there: what one stream reserves, others lack.
        self.stream.reserve_capacity(self.piece.len());
        let mut room = self.stream.capacity();
        while room == 0 {
            match std::task::ready!(self.stream.poll_capacity(cx)) {
                // It may have been taken again meanwhile.
                Some(Ok(_)) => room = self.stream.capacity(),
                // Nothing can be sent any more. The response tells whether that is an error.
                Some(Err(_)) | None => {
                    self.abandon();
                    return Poll::Ready(());
                }
            }
        }
        let data = self.piece.split_to(room.min(self.piece.len()));
        let is_end = self.is_last && self.piece.is_empty();
        self.give(data, is_end);
        Poll::Ready(())
    }

    fn give(&mut self, data: Bytes, is_end: bool) {
        let length = data.len() as u64;
        if self.stream.send_data(Payload(data), is_end).is_err() {
            return self.abandon();
        }
        self.taken += length;
        if is_end {
            self.stage = Stage::Sent;
        }
    }

    /// Sends the body without waiting any longer for `100 (Continue)`.
    pub(super) fn stop_awaiting_continue(&mut self) {
        if self.stage == Stage::AwaitingContinue {
            self.stage = Stage::Body;
        }
    }

    pub(super) fn awaits_continue(&self) -> bool {
        self.stage == Stage::AwaitingContinue
    }

    pub(super) fn is_sent(&self) -> bool {
        matches!(self.stage, Stage::Sent | Stage::Reported)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.stage == Stage::Abandoned
    }

    /// Returns the number of bytes of body, once, after h2 has taken all of it.
    pub(super) fn take_completion(&mut self) -> Option<u64> {
        (self.stage == Stage::Sent).then(|| {
            self.stage = Stage::Reported;
            self.taken
        })
    }

    /// Does not send the rest.
    pub(super) fn abandon(&mut self) {
        if !self.is_sent() {
            self.stage = Stage::Abandoned;
        }
        self.piece = Bytes::new();
        self.stream.reserve_capacity(0);
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Returns the stream, once no more of the body is to be sent.
    pub(super) fn into_stream(self) -> SendStream<Payload> {
        self.stream
    }
}
