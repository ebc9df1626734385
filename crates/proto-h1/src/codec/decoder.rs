//! A response, from bytes to events.

use bytes::{Buf, Bytes, BytesMut};
use http::{Response, Version};
use httpcore_core_primitives::CloseReason;

use super::{
    Event, Limits, ParserOptions,
    chunked::{Chunks, Next},
    error::ProtocolError,
    framing::{Framing, RequestInfo, response_framing},
    head::{self, Head},
    keep_alive::KeepAlive,
    scan::Scan,
};

/// Maximum size of an input that is copied out as a whole, in bytes.
const MAX_COPIED_BYTES: usize = 4 * 1024;

/// Decodes the response to one request, after any number of informational ones.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    limits: Limits,
    options: ParserOptions,
    request: RequestInfo,
    state: State,
    framing: Option<Framing>,
    informational: usize,
    informational_bytes: usize,
    head_bytes: usize,
    /// A shared copy of the beginning of the input, if that was copied together with the head.
    copied_prefix: Bytes,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// No request was started.
    #[default]
    Idle,
    Head(Scan),
    Length(u64),
    Chunks(Chunks),
    Trailers(Scan),
    UntilClose,
    /// The end of the response is the next event.
    Ended,
    /// The end has been reported.
    Over,
    Switched,
    Failed(ProtocolError),
}

impl Decoder {
    #[inline]
    pub(super) fn new(limits: Limits) -> Self {
        Decoder {
            limits,
            ..Decoder::default()
        }
    }

    #[inline]
    pub(super) fn with_options(self, options: ParserOptions) -> Self {
        Decoder { options, ..self }
    }

    /// Returns whether no request was started.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Expects the response to `request`. After the first response, HTTP/0.9 is not accepted.
    #[inline]
    pub(super) fn start(&mut self, request: RequestInfo) {
        if !self.is_idle() {
            let mut options = self.options;
            options.http09 = false;
            *self = Decoder::new(self.limits).with_options(options);
        }
        self.request = request;
        self.state = State::Head(Scan::head());
    }

    /// Returns whether the response has ended.
    ///
    /// # Errors
    ///
    /// The reason for which no other exchange may follow.
    #[inline]
    pub(super) fn check_ended(&self) -> Result<(), CloseReason> {
        match self.state {
            State::Over | State::Idle => Ok(()),
            State::Switched => Err(CloseReason::Upgraded),
            State::Failed(_) => Err(CloseReason::ProtocolError),
            _ => Err(CloseReason::UnfinishedResponse),
        }
    }

    /// See [`Codec::framing`](super::Codec::framing).
    #[inline]
    pub(super) fn framing(&self) -> Option<Framing> {
        self.framing
    }

    /// See [`Codec::head_bytes`](super::Codec::head_bytes).
    #[inline]
    pub(super) fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// See [`Codec::remaining`](super::Codec::remaining).
    #[inline]
    pub(super) fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Ended | State::Over => Some(0),
            _ => None,
        }
    }

    /// See [`Codec::decode`](super::Codec::decode).
    #[inline]
    pub(super) fn decode(
        &mut self,
        keep_alive: &mut KeepAlive,
        input: &mut BytesMut,
        eof: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        // Tried before each head, mostly without input: not worth a call.
        if let State::Head(_) = self.state
            && input.is_empty()
            && !eof
        {
            return Ok(None);
        }
        self.decode_some(keep_alive, input, eof)
    }

    fn decode_some(
        &mut self,
        keep_alive: &mut KeepAlive,
        input: &mut BytesMut,
        eof: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        // Inspected in place: an event is large, and `inspect_err` moves it once more.
        let event = self.next_event(keep_alive, input, eof);
        if let Err(error) = event {
            self.state = State::Failed(error);
        }
        event
    }

    /// See [`Codec::try_take_full_body`](super::Codec::try_take_full_body).
    pub(super) fn try_take_full_body(&mut self, input: &mut BytesMut) -> Option<Bytes> {
        let State::Length(left) = self.state else {
            return None;
        };
        let length = usize::try_from(left).ok()?;
        if length > input.len() {
            return None;
        }
        self.state = State::Over;
        Some(self.take(input, length))
    }

    /// See [`Codec::try_read_end`](super::Codec::try_read_end).
    pub(super) fn try_read_end(&mut self, input: &mut BytesMut) -> bool {
        if let State::Chunks(_) = self.state
            && let Err(error) = self.read_chunk_framing(input)
        {
            // The next call of `decode` returns it.
            self.state = State::Failed(error);
            return false;
        }
        let ended = match self.state {
            State::Ended | State::Length(0) => true,
            State::Trailers(_) if input.starts_with(b"\r\n") => {
                self.consume(input, 2);
                true
            }
            _ => false,
        };
        if ended {
            self.state = State::Over;
        }
        ended
    }

    fn next_event(
        &mut self,
        keep_alive: &mut KeepAlive,
        input: &mut BytesMut,
        eof: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        match &mut self.state {
            State::Idle | State::Over | State::Switched => Ok(None),
            State::Failed(error) => Err(*error),
            State::Head(_) => self.decode_head(keep_alive, input, eof),
            State::Ended | State::Length(0) => Ok(Some(self.end())),
            State::Length(left) => {
                let taken = (*left).min(input.len() as u64);
                *left -= taken;
                self.data_or(input, taken as usize, eof, ProtocolError::ClosedInBody)
            }
            State::Chunks(_) => match self.read_chunk_framing(input)? {
                Next::Data(left) => {
                    let taken = left.min(input.len() as u64);
                    if let State::Chunks(chunks) = &mut self.state {
                        chunks.took(taken);
                    }
                    self.data_or(input, taken as usize, eof, ProtocolError::ClosedInChunks)
                }
                Next::Trailers => self.decode_trailers(input, eof),
                Next::More if eof => Err(ProtocolError::ClosedInChunks),
                Next::More => Ok(None),
            },
            State::Trailers(_) => self.decode_trailers(input, eof),
            // RFC 9112 §6.3 rule 8: the intended length is unknown, and any end is the end. A stream
            // that can tell an early one, as TLS can, reports an error instead.
            State::UntilClose if input.is_empty() && eof => Ok(Some(self.end())),
            State::UntilClose => {
                let all = input.len();
                Ok((all > 0).then(|| Event::Data(self.take(input, all))))
            }
        }
    }

    #[inline]
    fn end(&mut self) -> Event {
        self.state = State::Over;
        Event::End
    }

    /// Returns the next `length` bytes. If that is 0, more must arrive, unless the input is at its end.
    fn data_or(
        &mut self,
        input: &mut BytesMut,
        length: usize,
        eof: bool,
        truncated: ProtocolError,
    ) -> Result<Option<Event>, ProtocolError> {
        match length {
            0 if eof => Err(truncated),
            0 => Ok(None),
            _ => Ok(Some(Event::Data(self.take(input, length)))),
        }
    }

    fn decode_head(
        &mut self,
        keep_alive: &mut KeepAlive,
        input: &mut BytesMut,
        eof: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        let State::Head(scan) = &mut self.state else {
            return Ok(None);
        };
        let bounds = self.limits.head();
        let mut head = Head::default();
        let is_whole = match head::read(scan, input, &bounds, self.options, &mut head) {
            Err(ProtocolError::NotHttp) if self.may_be_http09() => {
                return Ok(Some(self.http09(keep_alive)));
            }
            // Too short to tell, and it will not become longer.
            Ok(false) if eof && input.len() < b"HTTP/".len() && self.may_be_http09() => {
                if input.is_empty() {
                    return Err(ProtocolError::ClosedBeforeHead);
                }
                return Ok(Some(self.http09(keep_alive)));
            }
            read => read?,
        };
        if !is_whole {
            return match (eof, input.is_empty()) {
                (false, _) => Ok(None),
                (true, true) if self.informational == 0 => Err(ProtocolError::ClosedBeforeHead),
                (true, _) => Err(ProtocolError::ClosedInHead),
            };
        }
        let Head {
            response,
            length,
            framing: fields,
            store,
            stored,
        } = &mut head;
        let (version, status) = (response.version(), response.status());
        let (framing, suspicious) =
            response_framing(self.request, version, status, fields, self.options)?;
        if suspicious == Some(CloseReason::AmbiguousLength) {
            // RFC 9112 §6.3 rule 3: it is removed before the message is passed on.
            response.headers_mut().remove(http::header::CONTENT_LENGTH);
        }
        input.advance(*length);
        self.head_bytes = *length;
        if self.request.raw_head {
            let raw = super::RawHead(store.slice(..*stored));
            response.extensions_mut().insert(raw);
        }
        if framing == Framing::Interim {
            self.count_informational(*length)?;
            self.state = State::Head(Scan::head());
            return Ok(Some(Event::Informational(head.response)));
        }
        keep_alive.note_response(version, fields.connection, fields.keep_alive);
        if let Some(reason) = suspicious {
            keep_alive.close_for(reason);
        }
        self.framing = Some(framing);
        self.state = match framing {
            Framing::None => State::Ended,
            Framing::Interim | Framing::Switch => State::Switched,
            Framing::Length(body) => {
                store.advance(*stored);
                self.copied_prefix = std::mem::take(store);
                State::Length(body)
            }
            Framing::Chunked => State::Chunks(Chunks::new()),
            Framing::Close => {
                keep_alive.close_for(CloseReason::EndedByClose);
                State::UntilClose
            }
        };
        Ok(Some(Event::Head(head.response)))
    }

    fn may_be_http09(&self) -> bool {
        self.options.http09 && self.request.get && self.informational == 0
    }

    /// RFC 1945 §6: a simple response has no head.
    fn http09(&mut self, keep_alive: &mut KeepAlive) -> Event {
        let mut response = Response::new(());
        *response.version_mut() = Version::HTTP_09;
        self.framing = Some(Framing::Close);
        keep_alive.close_for(CloseReason::EndedByClose);
        self.state = State::UntilClose;
        Event::Head(response)
    }

    /// RFC 9110 §15.2: a server may send any number of them; here their number and size are limited.
    fn count_informational(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.informational += 1;
        self.informational_bytes += bytes;
        if self.informational > self.limits.max_informational {
            return Err(ProtocolError::TooManyInterim);
        }
        if self.informational_bytes > self.limits.max_informational_size {
            return Err(ProtocolError::InterimTooLong);
        }
        Ok(())
    }

    /// Reads the framing between chunks, and returns what follows it.
    fn read_chunk_framing(&mut self, input: &mut BytesMut) -> Result<Next, ProtocolError> {
        let State::Chunks(chunks) = &mut self.state else {
            return Ok(Next::More);
        };
        let (read, next) = chunks.read(input, &self.limits)?;
        if next == Next::Trailers {
            self.state = State::Trailers(Scan::trailers());
        }
        self.consume(input, read);
        Ok(next)
    }

    fn decode_trailers(
        &mut self,
        input: &mut BytesMut,
        eof: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        let State::Trailers(scan) = &mut self.state else {
            return Ok(None);
        };
        let bounds = self.limits.trailers();
        let options = self.options.for_trailers();
        let Some(end) = scan.end(input, &bounds, options)? else {
            return if eof {
                Err(ProtocolError::ClosedInChunks)
            } else {
                Ok(None)
            };
        };
        let scan = *scan;
        if scan.fields() == 0 {
            self.consume(input, end);
            return Ok(Some(self.end()));
        }
        let store = self.take(input, end);
        let trailers = head::read_trailers(&scan, store, &bounds, options)?;
        self.state = State::Ended;
        Ok(Some(Event::Trailers(trailers)))
    }

    /// Drops `length` bytes of `input`.
    fn consume(&mut self, input: &mut BytesMut, length: usize) {
        input.advance(length);
        self.copied_prefix
            .advance(length.min(self.copied_prefix.len()));
    }

    /// Takes `length` bytes out of `input`: out of the copy, if there is one; as a copy, if they are few,
    /// so that they do not keep a large buffer alive; otherwise without a copy. All of the input is copied
    /// up to a larger size: its buffer is then free for the next response.
    fn take(&mut self, input: &mut BytesMut, length: usize) -> Bytes {
        if length <= self.copied_prefix.len() {
            input.advance(length);
            return self.copied_prefix.split_to(length);
        }
        if length <= head::SMALL_BYTES || (length == input.len() && length <= MAX_COPIED_BYTES) {
            let taken = Bytes::copy_from_slice(&input[..length]);
            self.consume(input, length);
            return taken;
        }
        self.copied_prefix.clear();
        input.split_to(length).freeze()
    }
}
