//! The end of an exchange: the stream is closed, and then the lease.

use httpcore_core_primitives::{CloseReason, Error, RequestSent};
use httpcore_proto_common::{failure::Failure, progress::Progress};

use crate::{error::StreamFailure, link::Unanswered};

use super::{Exchange, upload::Upload};

impl Exchange {
    /// The response has ended, and the stream's room is free for another. A request that is not sent to
    /// its end by then is not wanted (RFC 9113 §8.1), and its stream is reset.
    pub(super) fn finish(&mut self) {
        self.control.response_ended(&self.timer);
        self.close(CloseReason::Finished);
    }

    /// The exchange has failed; the other streams go on.
    pub(super) fn fail(&mut self, failure: StreamFailure) -> Error {
        let (reset, reason) = (failure.reset_code(), failure.close_reason());
        if matches!(failure, StreamFailure::Exchange(Failure::Timeout(_))) && self.is_begun() {
            let link = &self.shared.link;
            link.suspect(self.read_before, Unanswered::TooLate);
        }
        let failure = failure.into_failure(&self.shared.link);
        let error = self.control.error(failure, self.progress());
        if let (Some(code), Some(upload)) = (reset, &mut self.upload) {
            upload.reset(code);
        }
        self.control.emit_failed(&self.timer, &error);
        self.close_but_keep_body(reason);
        error
    }

    fn progress(&self) -> Progress {
        let link = &self.shared.link;
        let is_sent = self.upload.as_ref().is_some_and(Upload::is_sent);
        Progress {
            sent: match &self.upload {
                None if !self.control.has_head() => RequestSent::None,
                // h2 had it, nothing has left since, and nothing will. (While there is a connection, it
                // may still write what it has, even for a stream that has failed.)
                Some(_) if link.is_gone() && link.written() == self.written_before => {
                    RequestSent::None
                }
                Some(_) if !is_sent => RequestSent::Partial,
                _ => RequestSent::Full,
            },
            upload_over: is_sent,
            response: self.control.response(),
        }
    }

    fn is_begun(&self) -> bool {
        self.control.has_head() || self.upload.is_some()
    }

    /// Ends the stream, which resets it if it has not ended, and then the lease.
    fn close(&mut self, reason: CloseReason) {
        self.upload = None;
        self.close_but_keep_body(reason);
    }

    /// Like [`close`](Self::close), while the request's body may still be taken back.
    fn close_but_keep_body(&mut self, reason: CloseReason) {
        self.control.upload_cut_short();
        self.response = None;
        self.received = None;
        self.timer.disarm();
        let link = &self.shared.link;
        if self.settings_waiter > 0 {
            link.leave(self.settings_waiter);
        }
        // After unread data has been given back.
        if std::mem::take(&mut self.has_room) {
            link.give_room();
        }
        if self.room_waiter > 0 {
            link.needs_no_room(self.room_waiter);
        }
        // Once the stream has been opened, the driver drops the waker.
        if self.unopened > link.opened() && self.opening_waiter > 0 {
            link.is_not_opened(self.opening_waiter);
        }
        self.control.close(reason);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // It has not ended otherwise. A caller that drops a body may have read enough of it.
        if self.control.is_live() && self.is_begun() && !self.control.has_head() {
            let link = &self.shared.link;
            link.suspect(self.read_before, Unanswered::Dropped);
        }
        self.close(CloseReason::Abandoned);
    }
}
