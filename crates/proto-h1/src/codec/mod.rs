//! One client's side of HTTP/1.1, without a connection: bytes in, events out, and the reverse.
//!
//! Nothing here waits, reads a clock or knows a socket, and so everything can be tested with
//! tables. [`Codec`] is three small machines: what is being sent, what is being received, and
//! whether another exchange may follow. The first two run independently, since a response may
//! come before its request has been sent.
//!
//! ```text
//!   start ──► frame* ──► finish              (request)
//!     │
//!     └─────► receive ──► Informational* ──► Head ──► Data* ──► Trailers? ──► End   (response)
//!                                                                              │
//!                         reuse ◄──────────────────────────────────────────────┘
//! ```
//!
//! A response, by hand:
//!
//! ```
//! use bytes::BytesMut;
//! use httpcore_core_primitives::BodyLength;
//! use httpcore_proto_h1::codec::{Codec, Event};
//!
//! let (request, ()) = http::Request::get("http://localhost/").body(())?.into_parts();
//! let mut codec = Codec::default();
//! let mut out = BytesMut::new();
//! codec.encode_head(&request, BodyLength::Known(0), &mut out)?;
//! assert_eq!(out, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
//!
//! let mut input = BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
//! let Some(Event::Head(head)) = codec.decode(&mut input, false)? else { panic!() };
//! assert_eq!(head.headers()["content-length"], "5");
//! let Some(Event::Data(data)) = codec.decode(&mut input, false)? else { panic!() };
//! assert_eq!(data, "hello");
//! let Some(Event::End) = codec.decode(&mut input, false)? else { panic!() };
//! codec.can_reuse(&input)?; // another request may follow
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chunked;
mod error;
mod framing;
mod head;
mod header_case;
mod request_head;
mod reuse;
mod scan;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Response, Version, request};
use httpcore_core_primitives::{BodyLength, KeepAliveHints};

pub use error::{ProtocolError, RequestError};
pub use framing::Framing;
pub use head::{ReasonPhrase, SkippedFields};
pub use header_case::{CaptureRawHead, HeaderOrder, RawHead};
pub use httpcore_core_primitives::RequestTarget;
pub use reuse::MustClose;

use chunked::{Chunks, Next};
use framing::{FramingHeaders, RequestFraming, RequestInfo, request_framing, response_framing};
use head::Head;
use reuse::KeepAlive;
use scan::{Bounds, Scan};

/// What is copied out of an input up to this size, if it is all of that input.
const ALL_COPIED: usize = 4 * 1024;

/// How much of each thing a server may send. The body's own size is its reader's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a head, which is kept until it is complete. 64 KiB by default: several times what
    /// the usual servers are able to send, and no burden even on many connections.
    pub max_head_size: usize,
    /// Fields of a head. 128 by default: real responses have 10 to 40.
    pub max_headers: usize,
    /// Interim responses before the final one. 32 by default: one or two are usual, and a server
    /// that sends 102 for a minute needs a few more.
    pub max_informational: usize,
    /// Bytes of all of them together. 64 KiB by default, like one head.
    pub max_informational_size: usize,
    /// Bytes of all chunk extensions of a body together. 16 KiB by default: next to nobody sends
    /// any, and they are read without progress.
    pub max_chunk_extension_size: usize,
    /// Bytes of the trailers. 16 KiB by default: checksums and timings are small.
    pub max_trailer_size: usize,
    /// Fields of the trailers. 64 by default, likewise.
    pub max_trailers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_head_size: 64 * 1024,
            max_headers: 128,
            max_informational: 32,
            max_informational_size: 64 * 1024,
            max_chunk_extension_size: 16 * 1024,
            max_trailer_size: 16 * 1024,
            max_trailers: 64,
        }
    }
}

/// What is read although RFC 9112 has it refused, or lets a recipient choose; each for servers that
/// one has to live with. Nothing by default: what two recipients read differently can be used to
/// set them apart, and whoever turns one of these on vouches for what lies between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParserOptions {
    /// LF alone ends a line of a head or of trailers (RFC 9112 §2.2). Not in chunk framing: the
    /// length of a body is no matter of taste.
    pub bare_lf: bool,
    /// A line that begins with white space continues the value before it, after one space
    /// (RFC 9112 §5.2). White space before the first field stays an error.
    pub obs_fold: bool,
    /// White space between a field's name and its colon is dropped (RFC 9112 §5.1).
    pub space_before_colon: bool,
    /// What does not begin like a status line is the body of an answer of HTTP/0.9, to the end of
    /// the connection (RFC 1945 §6); its status is 200, and its version tells. Only for `GET`, and
    /// only for the first request on a connection: anything later might be the rest of something.
    pub http09: bool,
    /// `Content-Length` beside `Transfer-Encoding` is ignored, whatever it says, and is taken out of
    /// the response's fields; the connection is closed after the response
    /// (RFC 9112 §6.3 rule 3). Not in HTTP/1.0.
    pub length_beside_coding: bool,
    /// `identity` and other transfer codings may precede a final `chunked` (RFC 9112 §6.1, §7). They
    /// are not undone: the body is delivered as they made it, and `Transfer-Encoding` stays among the
    /// response's fields and says what that is.
    pub codings_before_chunked: bool,
    /// A field line of a head that has no colon, no name, a byte in its name that no name may hold, or
    /// a control character in its value, is skipped; [`SkippedFields`] says how many were
    /// (RFC 9112 §5, RFC 9110 §5.5). `Content-Length` and `Transfer-Encoding` are never skipped for
    /// their value. What has a switch of its own, folding and space before a colon, stays refused
    /// without it, and so do CR without LF, and malformed lines of trailers. Skipped lines count for
    /// [`Limits::fields`].
    pub malformed_fields: bool,
}

impl ParserOptions {
    /// Whether heads are to be read leniently.
    fn is_for_heads(self) -> bool {
        self.bare_lf || self.obs_fold || self.space_before_colon || self.malformed_fields
    }

    /// The same for trailers, which have no place for a number of skipped fields.
    fn for_trailers(self) -> Self {
        ParserOptions {
            malformed_fields: false,
            ..self
        }
    }
}

impl Limits {
    /// `HeaderMap` holds no more fields than this.
    const MAX_FIELDS: usize = 24_000;

    fn head(&self) -> Bounds {
        Bounds {
            bytes: self.max_head_size,
            fields: self.max_headers.min(Self::MAX_FIELDS),
            too_long: ProtocolError::HeadTooLong,
            too_many: ProtocolError::TooManyFields,
        }
    }

    fn trailers(&self) -> Bounds {
        Bounds {
            bytes: self.max_trailer_size,
            fields: self.max_trailers.min(Self::MAX_FIELDS),
            too_long: ProtocolError::TrailersTooLong,
            too_many: ProtocolError::TooManyTrailers,
        }
    }
}

/// What came.
#[derive(Debug)]
pub enum Event {
    /// An interim response, 100 to 199 without 101. The final one is still to come.
    Informational(Response<()>),
    /// The head of the final response.
    Head(Response<()>),
    /// Some of its body; never empty.
    Data(Bytes),
    /// What follows a chunked body (RFC 9112 §7.1.2). Kept apart from the fields of the head,
    /// since it may not have their meaning (RFC 9110 §6.5.1).
    Trailers(HeaderMap),
    /// The response is complete.
    End,
}

/// One client's side of one HTTP/1.1 connection. See the [module](self).
#[derive(Debug, Default)]
pub struct Codec {
    limits: Limits,
    leniency: ParserOptions,
    asked: RequestInfo,
    sending: Sending,
    receiving: Receiving,
    /// The first reason found to close the connection after this exchange.
    closing: Option<MustClose>,
    expects_continue: bool,
    keep_alive: KeepAlive,
    framing: Option<Framing>,
    interim: usize,
    interim_bytes: usize,
    head_bytes: usize,
    /// A shared copy of what stands at the beginning of the input, if it was copied together with
    /// the head.
    copied_prefix: Bytes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sending {
    /// No request, or all of it.
    #[default]
    Over,
    /// A body, of which so much is left.
    Length(u64),
    Chunked,
    /// The rest of the body will not be sent.
    Abandoned,
}

#[derive(Clone, Copy, Debug, Default)]
enum Receiving {
    /// Nothing: no request was started.
    #[default]
    Nothing,
    Head(Scan),
    Length(u64),
    Chunks(Chunks),
    Trailers(Scan),
    UntilClose,
    /// The end of the response is the next event.
    Ended,
    /// It has been told.
    Over,
    Switched,
    Failed(ProtocolError),
}

impl Codec {
    /// A codec which allows the server so much.
    #[inline]
    pub fn new(limits: Limits) -> Self {
        Codec {
            limits,
            ..Codec::default()
        }
    }

    /// The same codec, which reads more than it should.
    #[inline]
    #[must_use]
    pub fn with_options(self, leniency: ParserOptions) -> Self {
        Codec { leniency, ..self }
    }

    /// Writes the head of `request` to `out`, and decides how a body of `length` is framed.
    ///
    /// The target comes from the URL in origin form, or as the extension [`RequestTarget`] says. There
    /// will be exactly one `Host` and at most one framing field, whatever the caller gave.
    ///
    /// # Errors
    ///
    /// If the request cannot be sent as it is. Nothing is written then, and another one may be
    /// started.
    pub fn encode_head(
        &mut self,
        request: &request::Parts,
        length: BodyLength,
        out: &mut BytesMut,
    ) -> Result<(), RequestError> {
        match self.receiving {
            Receiving::Nothing => {}
            _ if self.can_reuse(&[]).is_ok() => {}
            _ => return Err(RequestError::NotReady),
        }
        let said = FramingHeaders::by_request(&request.headers);
        let framing = request_framing(request, &said, length)?;
        request_head::write(request, &said, framing, out)?;
        let closing = if said.connection.close || request_head::closes_after(request) {
            Some(MustClose::CallerSaidClose)
        } else if request.version == Version::HTTP_10 {
            Some(MustClose::AskedInHttp10)
        } else {
            None
        };
        let sending = match framing {
            RequestFraming::None => Sending::Over,
            RequestFraming::Length(0) if length == BodyLength::Known(0) => Sending::Over,
            RequestFraming::Length(length) => Sending::Length(length),
            RequestFraming::Chunked => Sending::Chunked,
        };
        if !matches!(self.receiving, Receiving::Nothing) {
            let mut leniency = self.leniency;
            leniency.http09 = false;
            *self = Codec::new(self.limits).with_options(leniency);
        }
        self.asked = RequestInfo::by(request, &said);
        self.sending = sending;
        self.receiving = Receiving::Head(Scan::head());
        self.closing = closing;
        // RFC 9110 §10.1.1: not without content, and not in HTTP/1.0.
        self.expects_continue = sending != Sending::Over
            && request.version != Version::HTTP_10
            && said.expects_continue;
        Ok(())
    }

    /// Frames a piece of `length` bytes of the request's body: writes to `before` what goes
    /// before it, and yields what goes after it. Pieces of no bytes need no frame, and get none.
    ///
    /// # Errors
    ///
    /// If the body becomes longer than announced, or has none. Nothing is written then.
    pub fn encode_data(
        &mut self,
        length: usize,
        before: &mut BytesMut,
    ) -> Result<&'static [u8], RequestError> {
        let length = length as u64;
        match self.sending {
            _ if length == 0 => Ok(b""),
            Sending::Length(left) => {
                let left = left.checked_sub(length).ok_or(RequestError::BodyTooLong)?;
                self.sending = Sending::Length(left);
                Ok(b"")
            }
            Sending::Chunked => {
                chunked::write_size(length, before);
                Ok(chunked::END_OF_CHUNK)
            }
            Sending::Over | Sending::Abandoned => Err(RequestError::BodyOver),
        }
    }

    /// Frames the last piece of the body, and ends it: [`frame`](Self::frame) and
    /// [`finish`](Self::finish) without trailers, in one.
    ///
    /// # Errors
    ///
    /// As for these two; nothing is written then.
    pub fn encode_last_data(
        &mut self,
        length: usize,
        before: &mut BytesMut,
    ) -> Result<&'static [u8], RequestError> {
        if let Sending::Length(left) = self.sending
            && left > length as u64
        {
            return Err(RequestError::BodyTooShort);
        }
        let mut after = self.encode_data(length, before)?;
        if self.sending == Sending::Chunked {
            after = if after.is_empty() {
                &chunked::END_OF_LAST_CHUNK[chunked::END_OF_CHUNK.len()..]
            } else {
                chunked::END_OF_LAST_CHUNK
            };
        }
        self.sending = Sending::Over;
        Ok(after)
    }

    /// Ends the request's body, and writes to `out` what remains of its framing.
    ///
    /// # Errors
    ///
    /// If the body is shorter than announced, or if there are trailers without a place or without
    /// a right to be there. Nothing is written then.
    pub fn encode_end(
        &mut self,
        trailers: Option<&HeaderMap>,
        out: &mut BytesMut,
    ) -> Result<(), RequestError> {
        match (self.sending, trailers) {
            (Sending::Length(0), None) | (Sending::Over, None) => {}
            (Sending::Length(0) | Sending::Over, Some(_)) => {
                return Err(RequestError::TrailersUnframed);
            }
            (Sending::Length(_), _) => return Err(RequestError::BodyTooShort),
            (Sending::Abandoned, _) => return Err(RequestError::BodyOver),
            (Sending::Chunked, _) => {
                let start = out.len();
                out.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers
                    && let Err(misuse) = request_head::write_trailers(trailers, out)
                {
                    out.truncate(start);
                    return Err(misuse);
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        self.sending = Sending::Over;
        Ok(())
    }

    /// Gives up the rest of the request's body; the connection can only be closed afterwards.
    pub fn abort_request(&mut self) {
        if self.sending != Sending::Over {
            self.sending = Sending::Abandoned;
        }
    }

    /// Whether the whole request has been framed.
    pub fn is_sent(&self) -> bool {
        self.sending == Sending::Over
    }

    /// Whether all the bytes are framed that were announced; the body's end need not be.
    pub fn is_framed(&self) -> bool {
        matches!(self.sending, Sending::Over | Sending::Length(0))
    }

    /// Whether the request asked for `100 (Continue)` before its body (RFC 9110 §10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// Takes the next event out of `input`, which is left alone if there is none: then more must
    /// be appended to it. `eof` says that there will be no more.
    ///
    /// The events are the same however the input is cut, but for where `Data` is divided.
    ///
    /// # Errors
    ///
    /// As soon as what came cannot become a response any more; and from then on.
    #[inline]
    pub fn decode(
        &mut self,
        input: &mut BytesMut,
        eof: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        // Before each head it is looked whether there is one: not worth a call.
        if let Receiving::Head(_) = self.receiving
            && input.is_empty()
            && !eof
        {
            return Ok(None);
        }
        self.receive_something(input, eof)
    }

    fn receive_something(
        &mut self,
        input: &mut BytesMut,
        eof: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        // Looked at where it lies: an event is large, and `inspect_err` moves it once more.
        let event = self.next_event(input, eof);
        if let Err(violation) = event {
            self.receiving = Receiving::Failed(violation);
        }
        event
    }

    /// The body of the response, if its length is known, and all of it stands in `input` and is still
    /// to be told: that is the end of the response, for which there will be no [`Event::End`] then.
    pub fn try_take_full_body(&mut self, input: &mut BytesMut) -> Option<Bytes> {
        let Receiving::Length(left) = self.receiving else {
            return None;
        };
        let length = usize::try_from(left).ok()?;
        if length > input.len() {
            return None;
        }
        self.receiving = Receiving::Over;
        Some(self.take(input, length))
    }

    /// Reads framing, and nothing else; yields whether that was the end of the response, for which
    /// there will be no [`Event::End`] then.
    ///
    /// With it, a connection can be given back together with the last data, and not only when
    /// somebody asks for what follows them.
    pub fn try_read_end(&mut self, input: &mut BytesMut) -> bool {
        if let Receiving::Chunks(_) = self.receiving
            && let Err(violation) = self.read_chunk_framing(input)
        {
            // For the next `receive` to tell.
            self.receiving = Receiving::Failed(violation);
            return false;
        }
        let ended = match self.receiving {
            Receiving::Ended | Receiving::Length(0) => true,
            Receiving::Trailers(_) if input.starts_with(b"\r\n") => {
                self.consume(input, 2);
                true
            }
            _ => false,
        };
        if ended {
            self.receiving = Receiving::Over;
        }
        ended
    }

    /// How the body of the response is delimited, once its head is there.
    pub fn framing(&self) -> Option<Framing> {
        self.framing
    }

    /// How many bytes of the body are certain to come, if the response says.
    pub fn remaining(&self) -> Option<u64> {
        match self.receiving {
            Receiving::Length(left) => Some(left),
            Receiving::Ended | Receiving::Over => Some(0),
            _ => None,
        }
    }

    /// The size of the latest head on the wire, in bytes.
    pub fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// Whether the server has said that it will close the connection, or must.
    pub fn closing(&self) -> Option<MustClose> {
        self.closing
    }

    /// How long the server means to keep the connection, as far as it has said.
    pub fn hints(&self) -> KeepAliveHints {
        self.keep_alive.hints()
    }

    /// Whether another request may follow on this connection; `rest` is what remains of the input.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn can_reuse(&self, rest: &[u8]) -> Result<(), MustClose> {
        match self.receiving {
            Receiving::Over => {}
            Receiving::Nothing if self.is_sent() => {}
            Receiving::Switched => return Err(MustClose::Switched),
            Receiving::Failed(_) => return Err(MustClose::Broken),
            _ => return Err(MustClose::UnfinishedResponse),
        }
        if let Some(reason) = self.closing {
            return Err(reason);
        }
        // RFC 9112 §9.3: the rest of the request would be taken for the next one.
        if !self.is_sent() {
            return Err(MustClose::UnfinishedRequest);
        }
        // RFC 9112 §9.2: whatever follows answers nothing that was asked.
        if !rest.is_empty() {
            return Err(MustClose::LeftOver);
        }
        Ok(())
    }

    fn next_event(
        &mut self,
        input: &mut BytesMut,
        eof: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        match &mut self.receiving {
            Receiving::Nothing | Receiving::Over | Receiving::Switched => Ok(None),
            Receiving::Failed(violation) => Err(*violation),
            Receiving::Head(_) => self.receive_head(input, eof),
            Receiving::Ended | Receiving::Length(0) => Ok(Some(self.end())),
            Receiving::Length(left) => {
                let taken = (*left).min(input.len() as u64);
                *left -= taken;
                self.data_or(input, taken as usize, eof, ProtocolError::ClosedInBody)
            }
            Receiving::Chunks(_) => match self.read_chunk_framing(input)? {
                Next::Data(left) => {
                    let taken = left.min(input.len() as u64);
                    if let Receiving::Chunks(chunks) = &mut self.receiving {
                        chunks.took(taken);
                    }
                    self.data_or(input, taken as usize, eof, ProtocolError::ClosedInChunks)
                }
                Next::Trailers => self.receive_trailers(input, eof),
                Next::More if eof => Err(ProtocolError::ClosedInChunks),
                Next::More => Ok(None),
            },
            Receiving::Trailers(_) => self.receive_trailers(input, eof),
            // RFC 9112 §6.3 rule 8: what the body was meant to be cannot be known, and so any end
            // is its end. A stream that can tell an early one (TLS does) reports an error instead.
            Receiving::UntilClose if input.is_empty() && eof => Ok(Some(self.end())),
            Receiving::UntilClose => {
                let all = input.len();
                Ok((all > 0).then(|| Event::Data(self.take(input, all))))
            }
        }
    }

    fn end(&mut self) -> Event {
        self.receiving = Receiving::Over;
        Event::End
    }

    /// The next `length` bytes; if there are none, more must come, unless the input is at its end.
    fn data_or(
        &mut self,
        input: &mut BytesMut,
        length: usize,
        eof: bool,
        cut_short: ProtocolError,
    ) -> Result<Option<Event>, ProtocolError> {
        match length {
            0 if eof => Err(cut_short),
            0 => Ok(None),
            _ => Ok(Some(Event::Data(self.take(input, length)))),
        }
    }

    fn receive_head(
        &mut self,
        input: &mut BytesMut,
        eof: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        let Receiving::Head(scan) = &mut self.receiving else {
            return Ok(None);
        };
        let bounds = self.limits.head();
        let mut head = Head::default();
        let is_whole = match head::read(scan, input, &bounds, self.leniency, &mut head) {
            Err(ProtocolError::NotHttp) if self.may_be_http09() => return Ok(Some(self.http09())),
            // Too short to tell, and it will not become longer.
            Ok(false) if eof && input.len() < b"HTTP/".len() && self.may_be_http09() => {
                if input.is_empty() {
                    return Err(ProtocolError::ClosedBeforeHead);
                }
                return Ok(Some(self.http09()));
            }
            read => read?,
        };
        if !is_whole {
            return match (eof, input.is_empty()) {
                (false, _) => Ok(None),
                (true, true) if self.interim == 0 => Err(ProtocolError::ClosedBeforeHead),
                (true, _) => Err(ProtocolError::ClosedInHead),
            };
        }
        let Head {
            response,
            length,
            said,
            store,
            stored,
        } = &mut head;
        let (version, status) = (response.version(), response.status());
        let (framing, suspicious) =
            response_framing(self.asked, version, status, said, self.leniency)?;
        if suspicious == Some(MustClose::LengthAndCoding) {
            // RFC 9112 §6.3 rule 3: it is removed before the message goes on to anybody else.
            response.headers_mut().remove(http::header::CONTENT_LENGTH);
        }
        input.advance(*length);
        self.head_bytes = *length;
        if self.asked.raw_head {
            let raw = RawHead(store.slice(..*stored));
            response.extensions_mut().insert(raw);
        }
        if framing == Framing::Interim {
            self.count_interim(*length)?;
            self.receiving = Receiving::Head(Scan::head());
            return Ok(Some(Event::Informational(head.response)));
        }
        if let Err(reason) = reuse::kept_by_response(version, said.connection) {
            self.close_for(reason);
        }
        if let Some(reason) = suspicious {
            self.close_for(reason);
        }
        self.keep_alive = said.keep_alive;
        self.framing = Some(framing);
        self.receiving = match framing {
            Framing::None => Receiving::Ended,
            Framing::Interim | Framing::Switch => Receiving::Switched,
            Framing::Length(body) => {
                store.advance(*stored);
                self.copied_prefix = std::mem::take(store);
                Receiving::Length(body)
            }
            Framing::Chunked => Receiving::Chunks(Chunks::new()),
            Framing::Close => {
                self.close_for(MustClose::DelimitedByClose);
                Receiving::UntilClose
            }
        };
        Ok(Some(Event::Head(head.response)))
    }

    fn may_be_http09(&self) -> bool {
        self.leniency.http09 && self.asked.get && self.interim == 0
    }

    /// RFC 1945 §6: a simple response has no head.
    fn http09(&mut self) -> Event {
        let mut response = Response::new(());
        *response.version_mut() = Version::HTTP_09;
        self.framing = Some(Framing::Close);
        self.close_for(MustClose::DelimitedByClose);
        self.receiving = Receiving::UntilClose;
        Event::Head(response)
    }

    /// RFC 9110 §15.2: any number of them may come; nobody has to wait for ever.
    fn count_interim(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.interim += 1;
        self.interim_bytes += bytes;
        if self.interim > self.limits.max_informational {
            return Err(ProtocolError::TooManyInterim);
        }
        if self.interim_bytes > self.limits.max_informational_size {
            return Err(ProtocolError::InterimTooLong);
        }
        Ok(())
    }

    fn close_for(&mut self, reason: MustClose) {
        self.closing.get_or_insert(reason);
    }

    /// Reads what stands between chunks, and says what comes then.
    fn read_chunk_framing(&mut self, input: &mut BytesMut) -> Result<Next, ProtocolError> {
        let Receiving::Chunks(chunks) = &mut self.receiving else {
            return Ok(Next::More);
        };
        let (read, next) = chunks.read(input, &self.limits)?;
        if next == Next::Trailers {
            self.receiving = Receiving::Trailers(Scan::trailers());
        }
        self.consume(input, read);
        Ok(next)
    }

    fn receive_trailers(
        &mut self,
        input: &mut BytesMut,
        eof: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        let Receiving::Trailers(scan) = &mut self.receiving else {
            return Ok(None);
        };
        let bounds = self.limits.trailers();
        let leniency = self.leniency.for_trailers();
        let Some(end) = scan.end(input, &bounds, leniency)? else {
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
        let trailers = head::read_trailers(&scan, store, &bounds, leniency)?;
        self.receiving = Receiving::Ended;
        Ok(Some(Event::Trailers(trailers)))
    }

    /// Drops `length` bytes of `input`.
    fn consume(&mut self, input: &mut BytesMut, length: usize) {
        input.advance(length);
        self.copied_prefix
            .advance(length.min(self.copied_prefix.len()));
    }

    /// Takes `length` bytes out of `input`: out of the copy, if there is one; as a copy, if they
    /// are few, so that they do not pin a large buffer; else as they are. All there is may be more
    /// than a few: the buffer is then free for the next response.
    fn take(&mut self, input: &mut BytesMut, length: usize) -> Bytes {
        if length <= self.copied_prefix.len() {
            input.advance(length);
            return self.copied_prefix.split_to(length);
        }
        if length <= head::SMALL || (length == input.len() && length <= ALL_COPIED) {
            let taken = Bytes::copy_from_slice(&input[..length]);
            self.consume(input, length);
            return taken;
        }
        self.copied_prefix.clear();
        input.split_to(length).freeze()
    }
}
