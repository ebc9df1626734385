//! One client's side of HTTP/1.1, without a connection: requests to bytes, bytes to events.
//!
//! Nothing here waits, reads a clock or knows a socket, and so everything can be tested with tables.
//! [`Codec`] is three small machines:
//!
//! | machine | is advanced by | answers |
//! |---|---|---|
//! | `Encoder`: the request's body | `encode_head`, `encode_*data`, `encode_end`, `abort_request` | `is_sent`, `is_framed` |
//! | `Decoder`: the response | `encode_head`, `decode`, `try_*` | `framing`, `remaining`, `head_bytes` |
//! | `KeepAlive`: whether another exchange may follow | both heads | `closing`, `hints` |
//!
//! Encoder and decoder run independently, since a response may arrive before its request has been sent.
//! `encode_head` starts all three; `can_reuse` needs all three: the response has ended, no head forbids
//! another exchange, and the whole request has been framed.
//!
//! ```text
//!   encode_head ──► encode_data* ──► encode_end                                    (request)
//!     │
//!     └─────► decode ──► Informational* ──► Head ──► Data* ──► Trailers? ──► End   (response)
//!                                                                             │
//!             can_reuse ◄─────────────────────────────────────────────────────┘
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
//! assert_eq!(codec.can_reuse(&input), Ok(())); // another request may follow
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chunked;
mod decoder;
mod encoder;
mod error;
mod framing;
mod head;
mod header_case;
mod keep_alive;
mod limits;
mod request_head;
mod scan;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, Version, request};
use httpcore_core_primitives::{BodyLength, CloseReason, KeepAliveHints};

pub use error::{ProtocolError, RequestError};
pub use framing::Framing;
pub use head::{ReasonPhrase, SkippedFields};
pub use header_case::{CaptureRawHead, HeaderOrder, RawHead};
pub use httpcore_core_primitives::RequestTarget;
pub use limits::{Limits, ParserOptions};

use decoder::Decoder;
use encoder::Encoder;
use framing::{FramingHeaders, RequestInfo, request_framing};
use keep_alive::KeepAlive;

/// What a decoded response consists of.
#[derive(Debug)]
pub enum Event {
    /// An informational response, 100 to 199 without 101. The final one is still to come.
    Informational(Response<()>),
    /// The head of the final response.
    Head(Response<()>),
    /// Some of its body; never empty.
    Data(Bytes),
    /// The fields after a chunked body (RFC 9112 §7.1.2). Kept apart from the fields of the head, since
    /// they may not have their meaning (RFC 9110 §6.5.1).
    Trailers(HeaderMap),
    /// The response is complete.
    End,
}

/// One client's side of one HTTP/1.1 connection. See the [module](self).
#[derive(Debug, Default)]
pub struct Codec {
    encoder: Encoder,
    decoder: Decoder,
    keep_alive: KeepAlive,
    expects_continue: bool,
}

impl Codec {
    /// Creates a codec for a new connection, with `limits` on what the server may send.
    #[inline]
    pub fn new(limits: Limits) -> Self {
        Codec {
            decoder: Decoder::new(limits),
            ..Codec::default()
        }
    }

    /// Sets the deviations from RFC 9112 that the codec accepts.
    #[inline]
    #[must_use]
    pub fn with_options(self, options: ParserOptions) -> Self {
        Codec {
            decoder: self.decoder.with_options(options),
            ..self
        }
    }

    /// Writes the head of `request` to `out`, and decides how a body of `length` is framed.
    ///
    /// The target comes from the URL in origin form, or as the extension [`RequestTarget`] says. The head
    /// has exactly one `Host` and at most one framing field, whatever the caller's fields are.
    ///
    /// # Errors
    ///
    /// If the request cannot be expressed in HTTP/1.1. Nothing is written then, and another request may
    /// be started.
    pub fn encode_head(
        &mut self,
        request: &request::Parts,
        length: BodyLength,
        out: &mut BytesMut,
    ) -> Result<(), RequestError> {
        if !self.decoder.is_idle() && self.can_reuse(&[]).is_err() {
            return Err(RequestError::NotReady);
        }
        let fields = FramingHeaders::of_request(&request.headers);
        let framing = request_framing(request, &fields, length)?;
        request_head::write(request, &fields, framing, out)?;
        self.encoder = Encoder::new(framing, length == BodyLength::Known(0));
        self.decoder.start(RequestInfo::of(request, &fields));
        self.keep_alive = KeepAlive::of_request(request, fields.connection);
        // RFC 9110 §10.1.1: not without content, and not in HTTP/1.0.
        self.expects_continue = !self.encoder.is_sent()
            && request.version != Version::HTTP_10
            && fields.expects_continue;
        Ok(())
    }

    /// Frames `length` bytes of the request's body: writes to `before` what precedes them, and returns
    /// what follows them. No bytes need no frame, and get none.
    ///
    /// # Errors
    ///
    /// If the body becomes longer than declared, or the request has none. Nothing is written then.
    #[inline]
    pub fn encode_data(
        &mut self,
        length: usize,
        before: &mut BytesMut,
    ) -> Result<&'static [u8], RequestError> {
        self.encoder.data(length, before)
    }

    /// Frames the last `length` bytes of the body, and ends it: [`encode_data`](Self::encode_data) and
    /// [`encode_end`](Self::encode_end) without trailers, in one.
    ///
    /// # Errors
    ///
    /// As for these two; nothing is written then.
    #[inline]
    pub fn encode_last_data(
        &mut self,
        length: usize,
        before: &mut BytesMut,
    ) -> Result<&'static [u8], RequestError> {
        self.encoder.last_data(length, before)
    }

    /// Ends the request's body, and writes to `out` the rest of its framing.
    ///
    /// # Errors
    ///
    /// If the body is shorter than declared, or if there are trailers that have no place or must not be
    /// trailers. Nothing is written then.
    pub fn encode_end(
        &mut self,
        trailers: Option<&HeaderMap>,
        out: &mut BytesMut,
    ) -> Result<(), RequestError> {
        self.encoder.end(trailers, out)
    }

    /// Gives up the rest of the request's body; the connection can only be closed afterwards.
    pub fn abort_request(&mut self) {
        self.encoder.abort();
    }

    /// Returns whether the whole request has been framed.
    #[inline]
    pub fn is_sent(&self) -> bool {
        self.encoder.is_sent()
    }

    /// Returns whether all declared bytes of the body are framed; the end of the body need not be.
    #[inline]
    pub fn is_framed(&self) -> bool {
        self.encoder.is_framed()
    }

    /// Returns whether the request asks for `100 (Continue)` before its body (RFC 9110 §10.1.1).
    #[inline]
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// Takes the next event out of `input`, which is not changed if there is none: then more must be
    /// appended to it. `eof` says that no more will be.
    ///
    /// The events are the same however the input is cut, except for where `Data` is divided.
    ///
    /// # Errors
    ///
    /// As soon as the input cannot become a response any more, and from then on.
    #[inline]
    pub fn decode(
        &mut self,
        input: &mut BytesMut,
        eof: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        self.decoder.decode(&mut self.keep_alive, input, eof)
    }

    /// Takes the whole body of the response, if its length is known, all of it is in `input` and none of
    /// it has been taken: the response has then ended, without an [`Event::End`].
    #[inline]
    pub fn try_take_full_body(&mut self, input: &mut BytesMut) -> Option<Bytes> {
        self.decoder.try_take_full_body(input)
    }

    /// Reads framing, and nothing else; returns whether that was the end of the response, which then has
    /// no [`Event::End`].
    ///
    /// With it, a connection can be given back together with the last data, and not only when the caller
    /// polls for more.
    #[inline]
    pub fn try_read_end(&mut self, input: &mut BytesMut) -> bool {
        self.decoder.try_read_end(input)
    }

    /// Returns how the body of the response is delimited, once its head has been decoded.
    #[inline]
    pub fn framing(&self) -> Option<Framing> {
        self.decoder.framing()
    }

    /// Returns the number of bytes of the body that must still arrive, if the response declares it.
    #[inline]
    pub fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    /// Returns the size of the latest head on the wire, in bytes.
    #[inline]
    pub fn head_bytes(&self) -> usize {
        self.decoder.head_bytes()
    }

    /// Returns the first reason found in the two heads to close the connection after this exchange.
    #[inline]
    pub fn closing(&self) -> Option<CloseReason> {
        self.keep_alive.closing()
    }

    /// Returns for how long, or for how many requests, the server keeps the connection, as far as the
    /// response tells.
    pub fn hints(&self) -> KeepAliveHints {
        self.keep_alive.hints()
    }

    /// Returns whether another request may follow on this connection; `rest` is what remains of the input.
    ///
    /// # Errors
    ///
    /// The reason for which none may.
    pub fn can_reuse(&self, rest: &[u8]) -> Result<(), CloseReason> {
        self.decoder.check_ended()?;
        if let Some(reason) = self.keep_alive.closing() {
            return Err(reason);
        }
        // RFC 9112 §9.3: the rest of the request would be taken for the next one.
        if !self.encoder.is_sent() {
            return Err(CloseReason::UnfinishedRequest);
        }
        // RFC 9112 §9.2: data after the response belongs to no request.
        if !rest.is_empty() {
            return Err(CloseReason::UnsolicitedData);
        }
        Ok(())
    }
}
