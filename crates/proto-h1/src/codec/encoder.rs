//! The body of a request, framed.

use bytes::BytesMut;
use http::HeaderMap;

use super::{chunked, error::RequestError, framing::RequestFraming, request_head};

/// Frames the body of one request. It knows what the head has declared and what is left of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoder {
    /// No request, or all of it.
    #[default]
    Over,
    /// A body of which this many bytes are left.
    Length(u64),
    Chunked,
    /// The rest of the body will not be sent.
    Aborted,
}

impl Encoder {
    /// Creates the encoder of a body framed by `framing`; `is_empty` says that the body has no data.
    #[inline]
    pub(super) fn new(framing: RequestFraming, is_empty: bool) -> Self {
        match framing {
            RequestFraming::None => Encoder::Over,
            RequestFraming::Length(0) if is_empty => Encoder::Over,
            RequestFraming::Length(length) => Encoder::Length(length),
            RequestFraming::Chunked => Encoder::Chunked,
        }
    }

    /// See [`Codec::encode_data`](super::Codec::encode_data).
    #[inline]
    pub(super) fn data(
        &mut self,
        length: usize,
        before: &mut BytesMut,
    ) -> Result<&'static [u8], RequestError> {
        let length = length as u64;
        match self {
            _ if length == 0 => Ok(b""),
            Encoder::Length(left) => {
                *left = left.checked_sub(length).ok_or(RequestError::BodyTooLong)?;
                Ok(b"")
            }
            Encoder::Chunked => {
                chunked::write_size(length, before);
                Ok(chunked::END_OF_CHUNK)
            }
            Encoder::Over | Encoder::Aborted => Err(RequestError::BodyOver),
        }
    }

    /// See [`Codec::encode_last_data`](super::Codec::encode_last_data).
    #[inline]
    pub(super) fn last_data(
        &mut self,
        length: usize,
        before: &mut BytesMut,
    ) -> Result<&'static [u8], RequestError> {
        if let Encoder::Length(left) = *self
            && left > length as u64
        {
            return Err(RequestError::BodyTooShort);
        }
        let mut after = self.data(length, before)?;
        if *self == Encoder::Chunked {
            after = if after.is_empty() {
                &chunked::END_OF_LAST_CHUNK[chunked::END_OF_CHUNK.len()..]
            } else {
                chunked::END_OF_LAST_CHUNK
            };
        }
        *self = Encoder::Over;
        Ok(after)
    }

    /// See [`Codec::encode_end`](super::Codec::encode_end).
    pub(super) fn end(
        &mut self,
        trailers: Option<&HeaderMap>,
        out: &mut BytesMut,
    ) -> Result<(), RequestError> {
        match (*self, trailers) {
            (Encoder::Length(0) | Encoder::Over, None) => {}
            (Encoder::Length(0) | Encoder::Over, Some(_)) => {
                return Err(RequestError::TrailersUnframed);
            }
            (Encoder::Length(_), _) => return Err(RequestError::BodyTooShort),
            (Encoder::Aborted, _) => return Err(RequestError::BodyOver),
            (Encoder::Chunked, _) => {
                let start = out.len();
                out.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers
                    && let Err(error) = request_head::write_trailers(trailers, out)
                {
                    out.truncate(start);
                    return Err(error);
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        *self = Encoder::Over;
        Ok(())
    }

    /// Gives up the rest of the body.
    #[inline]
    pub(super) fn abort(&mut self) {
        if *self != Encoder::Over {
            *self = Encoder::Aborted;
        }
    }

    /// Returns whether the whole request has been framed.
    #[inline]
    pub(super) fn is_sent(self) -> bool {
        self == Encoder::Over
    }

    /// Returns whether all declared bytes are framed; the end of the body need not be.
    #[inline]
    pub(super) fn is_framed(self) -> bool {
        matches!(self, Encoder::Over | Encoder::Length(0))
    }
}
