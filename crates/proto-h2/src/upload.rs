//! The request's body, on its way to h2 as far as windows let it.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use httpcore_core_primitives::Body;

use crate::{
    exchange::Failure,
    head::{self, RequestError},
    payload::Payload,
};

/// How many pieces go out in one poll before it is looked whether the server has answered, and
/// before others have their turn.
const PIECES_AT_ONCE: usize = 32;

/// What goes to h2 at once with its head, whatever the windows are: h2 keeps no copy, and so small
/// bodies need no more than one poll.
const SMALL: usize = 16 * 1024;

/// How far the request's body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits for `100 (Continue)`.
    Continue,
    /// It is asked for pieces.
    Body,
    /// h2 has all of it.
    Sent,
    /// The server does not want the rest.
    Abandoned,
}

/// Who has something to wait for after a poll of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    Over,
    /// The server's windows, or our own buffer, are full.
    Blocked,
    /// The body has nothing now, or waits for 100.
    BodyPending,
}

#[derive(Debug)]
pub(crate) struct Upload {
    stage: Stage,
    stream: SendStream<Payload>,
    body: Body,
    begun: bool,
    /// What the body has yielded, and h2 not yet taken.
    piece: Bytes,
    /// Nothing follows `piece`.
    is_last: bool,
    /// What was promised, and is still to come.
    left: Option<u64>,
    /// How many bytes h2 has taken.
    pub(crate) taken: u64,
}

impl Upload {
    /// `body`, of so many bytes if that was promised, over `stream`. A body of nothing has been sent
    /// with its head.
    pub(crate) fn new(
        stream: SendStream<Payload>,
        body: Body,
        length: Option<u64>,
        expects_continue: bool,
        is_sent: bool,
    ) -> Self {
        Upload {
            stage: match (is_sent, expects_continue) {
                (true, _) => Stage::Sent,
                (false, true) => Stage::Continue,
                (false, false) => Stage::Body,
            },
            stream,
            body,
            begun: false,
            piece: Bytes::new(),
            is_last: false,
            left: length,
            taken: 0,
        }
    }

    /// Gives h2 what it takes now; whether it took something, and what there is to wait for.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Result<(Sending, bool), Failure> {
        let mut progress = false;
        for _ in 0..PIECES_AT_ONCE {
            match self.stage {
                Stage::Sent | Stage::Abandoned => return Ok((Sending::Over, progress)),
                Stage::Continue => return Ok((Sending::BodyPending, progress)),
                Stage::Body => {}
            }
            if self.piece.is_empty() && !self.is_last && self.poll_piece(cx)?.is_pending() {
                return Ok((Sending::BodyPending, progress));
            }
            if self.stage != Stage::Body {
                continue;
            }
            match self.poll_give(cx) {
                Poll::Ready(()) => progress = true,
                Poll::Pending => return Ok((Sending::Blocked, progress)),
            }
        }
        // More could be sent. The others first.
        cx.waker().wake_by_ref();
        Ok((Sending::BodyPending, progress))
    }

    /// Asks the body for its next piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        if let Some(all) = self.body.as_bytes() {
            // It stays whole, in case of another attempt.
            let all = all.clone();
            self.count(all.len())?;
            self.ended()?;
            if all.len() <= SMALL {
                self.give(all, true);
            } else {
                self.piece = all;
                self.is_last = true;
            }
            return Ok(Poll::Ready(()));
        }
        self.begun = true;
        let frame = match self.body.poll_next(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(None) => {
                self.ended()?;
                self.is_last = true;
                return Ok(Poll::Ready(()));
            }
            Poll::Ready(Some(frame)) => frame.map_err(Failure::Body)?,
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
                head::check_trailers(&trailers).map_err(Failure::Misuse)?;
                // If the stream is closed meanwhile, the response says why.
                let _ = self.stream.send_trailers(trailers);
                self.stage = Stage::Sent;
            }
        }
        Ok(Poll::Ready(()))
    }

    /// RFC 9113 §8.1.1: a body is as long as was said.
    fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(bytes as u64)
                .ok_or(Failure::Misuse(RequestError::BodyTooLong))?;
        }
        Ok(())
    }

    fn ended(&self) -> Result<(), Failure> {
        match self.left {
            Some(left) if left > 0 => Err(Failure::Misuse(RequestError::BodyTooShort)),
            _ => Ok(()),
        }
    }

    /// Gives h2 as much of the piece as there is room for.
    fn poll_give(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.piece.is_empty() {
            if self.is_last {
                self.give(Bytes::new(), true);
            }
            return Poll::Ready(());
        }
        // No more is reserved than there is: what one stream reserves, others lack.
        self.stream.reserve_capacity(self.piece.len());
        let mut room = self.stream.capacity();
        while room == 0 {
            match std::task::ready!(self.stream.poll_capacity(cx)) {
                // It may have gone again meanwhile.
                Some(Ok(_)) => room = self.stream.capacity(),
                // Nothing can be sent any more. Whether that is an error, the response says.
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

    /// No `100 (Continue)` is waited for any more.
    pub(crate) fn go_on(&mut self) {
        if self.stage == Stage::Continue {
            self.stage = Stage::Body;
        }
    }

    pub(crate) fn waits_for_continue(&self) -> bool {
        self.stage == Stage::Continue
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.stage == Stage::Sent
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.stage == Stage::Abandoned
    }

    /// The rest is not sent.
    pub(crate) fn abandon(&mut self) {
        if self.stage != Stage::Sent {
            self.stage = Stage::Abandoned;
        }
        self.piece = Bytes::new();
        self.stream.reserve_capacity(0);
    }

    pub(crate) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// The stream itself, once nothing more of the body is to be sent.
    pub(crate) fn into_stream(self) -> SendStream<Payload> {
        self.stream
    }

    /// The same, while it may still be sent.
    pub(crate) fn clone_body(&self) -> Option<Body> {
        self.body.try_clone()
    }

    /// The body from its beginning, if there is a way to that.
    pub(crate) fn body_again(&mut self) -> Option<Body> {
        if self.begun {
            self.body.try_clone()
        } else {
            Some(std::mem::take(&mut self.body))
        }
    }
}
