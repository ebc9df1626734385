//! The end of an exchange: the connection is given back, or closed.

use httpcore_core_primitives::{CloseReason, Error, RequestSent, TraceEvent};
use httpcore_proto_common::{
    buffers,
    failure::Failure,
    progress::{Progress, ResponseProgress},
};

use crate::codec::Framing;

use super::{Exchange, Shared};

impl Exchange {
    /// Drops what is left of a response that the caller does not read to its end, if that could save
    /// the connection; returns whether that was all of it.
    pub(super) fn drain(&mut self) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let limit = connection.config.max_drain_on_drop;
        let could_be_kept = self.sender.is_sent()
            && self.codec.closing().is_none()
            && matches!(
                self.codec.framing(),
                Some(Framing::Length(_) | Framing::Chunked)
            );
        let is_little = self
            .codec
            .remaining()
            .is_none_or(|left| left <= limit as u64);
        if limit == 0 || !could_be_kept || !is_little {
            return false;
        }
        let mut shared = Shared {
            connection,
            codec: &mut self.codec,
            control: &mut self.control,
        };
        self.reader.drain(&mut shared, limit)
    }

    /// The response has ended: gives the connection back, or closes it and reports why.
    pub(super) fn finish(&mut self) {
        if let Some(connection) = &self.connection {
            self.control.response_ended(&connection.timer);
        }
        let mut verdict = self.codec.can_reuse(&self.reader.input);
        if !self.sender.is_sent() {
            // What has been encoded has not all been written.
            verdict = verdict.and(Err(CloseReason::UnfinishedRequest));
        }
        match verdict {
            Ok(()) => self.keep(),
            Err(reason) => self.close(reason),
        }
    }

    /// The exchange has failed: closes the connection, unless the server has not seen the request.
    pub(super) fn fail(&mut self, failure: Failure) -> Error {
        let progress = self.progress();
        let failure = match self.sender.take_write_error() {
            Some(error) => failure.after_write_error(error),
            None => failure,
        };
        let unseen = failure.is_callers() && self.is_unseen();
        let reason = failure.close_reason();
        let error = self.control.error(failure, progress);
        if let Some(connection) = &self.connection {
            self.control.emit_failed(&connection.timer, &error);
        }
        if unseen {
            self.keep();
        } else {
            self.close(reason);
        }
        error
    }

    fn progress(&self) -> Progress {
        Progress {
            sent: self.sender.sent(),
            upload_over: self.sender.is_over(),
            response: self.control.response(),
        }
    }

    /// Returns whether nothing has been written or read in this exchange.
    fn is_unseen(&self) -> bool {
        self.sender.sent() == RequestSent::None && self.control.response() == ResponseProgress::None
    }

    /// Gives the connection back.
    fn keep(&mut self) {
        let (Some(mut connection), Some(lease)) =
            (self.connection.take(), self.control.take_lease())
        else {
            return;
        };
        self.control
            .emit(&connection.timer, || TraceEvent::ConnectionReleased);
        connection.timer.disarm();
        connection.served += 1;
        lease.give_back_with(connection, self.codec.hints());
    }

    /// Drops the connection, and then the lease.
    fn close(&mut self, reason: CloseReason) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        self.control.upload_cut_short();
        let runtime = self
            .control
            .is_traced()
            .then(|| connection.timer.runtime().clone());
        drop(connection);
        self.control.close(reason);
        if let Some(runtime) = runtime {
            let event = || TraceEvent::ConnectionClosed { reason };
            self.control.emit_at_end(&*runtime, event);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        buffers::recycle(&mut self.reader.input);
        self.sender.recycle();
        if self.connection.is_some() {
            self.close(CloseReason::Abandoned);
        }
    }
}
