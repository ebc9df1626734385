//! The response of an exchange, as h2 yields it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http::{StatusCode, request};
use httpcore_core_primitives::{Body, StreamId};

use crate::{error::StreamFailure, head, tunnel, validate::FrameViolation};

use super::{Content, Exchange, ResponseStart, upload::Upload};

/// RFC 9113 §8.3.2
const REQUEST_PSEUDO: &str = "the response has a pseudo-header field of requests";
/// RFC 9113 §8.1
const LATE_PSEUDO: &str = "the trailers have a pseudo-header field";

impl Exchange {
    /// Ready with the head of the final response.
    pub(super) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        request: &request::Parts,
    ) -> Poll<Result<http::Response<RecvStream>, StreamFailure>> {
        loop {
            let Some(response) = &mut self.response else {
                return Poll::Pending;
            };
            match ready!(response.poll_informational(cx)) {
                Some(Ok(mut informational)) => {
                    head::trim(informational.headers_mut());
                    self.take_informational(&informational, request)?;
                    continue;
                }
                Some(Err(failure)) => return Poll::Ready(Err(failure.into())),
                None => {}
            }
            let mut head = ready!(Pin::new(response).poll(cx))?;
            self.control.read_some();
            head::trim(head.headers_mut());
            if head::has_empty_length(head.headers()) {
                let rule = "the Content-Length of the response is malformed";
                return Poll::Ready(Err(StreamFailure::Protocol(rule)));
            }
            let stream = head.body().stream_id().as_u32();
            let link = &self.shared.link;
            if link.has_found(FrameViolation::RequestPseudo(stream)) {
                return Poll::Ready(Err(StreamFailure::Protocol(REQUEST_PSEUDO)));
            }
            return Poll::Ready(Ok(head));
        }
    }

    fn take_informational(
        &mut self,
        response: &http::Response<()>,
        request: &request::Parts,
    ) -> Result<(), StreamFailure> {
        self.control.read_some();
        let status = response.status();
        // RFC 9113 §8.6: HTTP/2 has no 101.
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let rule = "the server sent 101 (Switching Protocols) over HTTP/2";
            return Err(StreamFailure::Protocol(rule));
        }
        self.informational += 1;
        self.informational_size += head::list_size(response.headers());
        let config = &self.shared.config;
        if self.informational > config.max_informational {
            return Err(StreamFailure::TooLarge(
                "more than Http2Config::max_informational interim (1xx) responses",
            ));
        }
        if self.informational_size > u64::from(config.max_header_list_size) {
            return Err(StreamFailure::TooLarge(
                "the fields of the informational (1xx) responses are larger than \
                 Http2Config::max_header_list_size",
            ));
        }
        let extensions = Some(&request.extensions);
        self.control
            .informational(&self.timer, response, extensions);
        if status == StatusCode::CONTINUE && self.content != Content::Tunnel {
            self.stop_awaiting_continue();
        }
        Ok(())
    }

    pub(super) fn begin_response(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut http::response::Parts,
        mut received: RecvStream,
    ) -> Result<ResponseStart, StreamFailure> {
        // What is left of it has no use any more, and holds a reference to the stream.
        self.response = None;
        let status = head.status;
        self.control
            .head_received(&self.timer, status.as_u16(), || {
                head::response_size(&head.headers)
            });
        head.extensions
            .insert(StreamId(received.stream_id().as_u32()));
        if self.content == Content::Tunnel {
            // RFC 9113 §8.5, RFC 8441 §5: the stream carries another protocol from here on.
            if status.is_success() {
                self.switch(head, received);
                return Ok(ResponseStart::Over(Body::empty()));
            }
            self.content = Content::Body;
        }
        if let Some(upload) = &mut self.upload {
            // RFC 9110 §10.1.1: a final response in place of 100. The server does not want the body.
            if upload.awaits_continue() {
                upload.abandon();
            }
            if !upload.is_sent() {
                self.control.response_is_early(&mut head.extensions);
            }
            if upload.is_abandoned() {
                self.control.upload_cut_short();
            }
        }
        if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            self.content = Content::None;
        }
        if received.is_end_stream() {
            self.received = Some(received);
            self.finish();
            return Ok(ResponseStart::Over(Body::empty()));
        }
        if self.content == Content::Body {
            self.remaining = head
                .headers
                .get(http::header::CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok()?.parse().ok());
        }
        let first = match received.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => Some(data),
            // An error is reported again when the body is polled: whether it arrived together with the
            // head makes no difference to the caller.
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => None,
        };
        let is_over = first.is_some() && received.is_end_stream();
        self.received = Some(received);
        match first {
            Some(data) if is_over && (self.content == Content::Body || data.is_empty()) => {
                self.take_data(&data)?;
                self.finish();
                Ok(ResponseStart::Over(Body::from(data)))
            }
            first => Ok(ResponseStart::More(first)),
        }
    }

    fn switch(&mut self, head: &mut http::response::Parts, received: RecvStream) {
        let (Some(upload), Some(lease)) = (self.upload.take(), self.control.take_lease()) else {
            return;
        };
        // The tunnel gives the room back.
        self.has_room = false;
        let stream = Upload::into_stream(upload);
        tunnel::upgraded(stream, received, self.shared.clone(), lease)
            .insert_into(&mut head.extensions);
    }

    /// Counts data that goes to the caller: the server may send as much again.
    pub(super) fn take_data(&mut self, data: &Bytes) -> Result<(), StreamFailure> {
        let length = data.len();
        self.control.read_some();
        self.control.received(length);
        self.read_before = self.shared.link.bytes_read();
        // h2 compares the lengths itself.
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(length as u64);
        }
        if let Some(received) = &mut self.received {
            let _ = received.flow_control().release_capacity(length);
        }
        if self.content == Content::None && length > 0 {
            // RFC 9110 §6.4.1
            let rule = "a response that has no content has a body";
            return Err(StreamFailure::Protocol(rule));
        }
        Ok(())
    }

    /// Ready with the next data of the response's body.
    pub(super) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamFailure>> {
        let Some(received) = &mut self.received else {
            return Poll::Ready(Ok(None));
        };
        let Some(data) = ready!(received.poll_data(cx)).transpose()? else {
            return Poll::Ready(Ok(None));
        };
        self.take_data(&data)?;
        Poll::Ready(Ok(Some(data)))
    }

    /// Ready with the trailers, if there are any, once there is no more data.
    pub(super) fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<http::HeaderMap>, StreamFailure>> {
        let Some(received) = &mut self.received else {
            return Poll::Ready(Ok(None));
        };
        let mut trailers = ready!(received.poll_trailers(cx))?;
        self.control.read_some();
        if let Some(trailers) = &mut trailers {
            head::trim(trailers);
            let (link, stream) = (&self.shared.link, received.stream_id().as_u32());
            // Those of requests are recorded as such wherever they are.
            if link.has_found(FrameViolation::LatePseudo(stream))
                || link.has_found(FrameViolation::RequestPseudo(stream))
            {
                return Poll::Ready(Err(StreamFailure::Protocol(LATE_PSEUDO)));
            }
        }
        Poll::Ready(Ok(trailers))
    }

    /// Returns whether the response has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.received
            .as_ref()
            .is_some_and(RecvStream::is_end_stream)
    }
}
