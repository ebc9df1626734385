//! What a server may send: limits, and deviations from RFC 9112 that are accepted.

use super::{error::ProtocolError, scan::Bounds};

/// Limits on each part of what a server sends. The size of the body is not limited here.
///
/// What exceeds one of them is an error, for which [`ProtocolError::is_limit`] is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum size of a head, in bytes. 64 KiB by default: several times what the usual servers can
    /// send, and small even for many connections. A head is held until it is complete.
    pub max_head_size: usize,
    /// Maximum number of fields in a head. 128 by default: real responses have 10 to 40.
    pub max_headers: usize,
    /// Maximum number of informational responses before the final one. 32 by default: one or two are
    /// usual, and a server that sends 102 for a minute needs a few more.
    pub max_informational: usize,
    /// Maximum size of all informational responses together, in bytes. 64 KiB by default, like one head.
    pub max_informational_size: usize,
    /// Maximum size of all chunk extensions of a body together, in bytes. 16 KiB by default: hardly any
    /// server sends them, and they carry no data.
    pub max_chunk_extension_size: usize,
    /// Maximum size of the trailers, in bytes. 16 KiB by default: checksums and timings are small.
    pub max_trailer_size: usize,
    /// Maximum number of trailers. 64 by default.
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

/// Deviations from RFC 9112 that the parser accepts, each for servers that exist. None by default: what
/// two recipients read differently can be used to set them apart, and a caller that accepts one vouches
/// for every intermediary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParserOptions {
    /// Accepts LF without CR at the end of a line of a head or of trailers (RFC 9112 §2.2). Not in chunk
    /// framing, on which the length of the body depends.
    pub bare_lf: bool,
    /// Accepts a line that begins with white space as a continuation of the value before it, after one
    /// space (RFC 9112 §5.2). White space before the first field stays an error.
    pub obs_fold: bool,
    /// Drops white space between a field's name and its colon (RFC 9112 §5.1).
    pub space_before_colon: bool,
    /// Accepts a response that does not begin with a status line as the body of an HTTP/0.9 response, to
    /// the end of the connection (RFC 1945 §6); its status is 200, and its version tells. Only for `GET`,
    /// and only for the first request on a connection: anything later might be the rest of another
    /// response.
    pub http09: bool,
    /// Ignores `Content-Length` beside `Transfer-Encoding`, whatever its value, and removes it from the
    /// response's fields; the connection is closed after the response (RFC 9112 §6.3 rule 3). Not in
    /// HTTP/1.0.
    pub length_beside_coding: bool,
    /// Accepts `identity` and other transfer codings before a final `chunked` (RFC 9112 §6.1, §7). They
    /// are not decoded: the body is delivered as they encoded it, and `Transfer-Encoding` stays among the
    /// response's fields.
    pub codings_before_chunked: bool,
    /// Skips a field line of a head that has no colon, no name, a byte in its name that no name may
    /// contain, or a control character in its value; [`SkippedFields`](super::SkippedFields) counts them
    /// (RFC 9112 §5, RFC 9110 §5.5). `Content-Length` and `Transfer-Encoding` are never skipped for their
    /// value. What has an option of its own, folding and space before a colon, stays an error without it,
    /// and so do CR without LF, and malformed lines of trailers. Skipped lines count for
    /// [`Limits::max_headers`].
    pub malformed_fields: bool,
}

impl ParserOptions {
    /// Returns whether heads are to be parsed leniently.
    pub(super) fn is_for_heads(self) -> bool {
        self.bare_lf || self.obs_fold || self.space_before_colon || self.malformed_fields
    }

    /// Returns the options for trailers, which have no place for a number of skipped fields.
    pub(super) fn for_trailers(self) -> Self {
        ParserOptions {
            malformed_fields: false,
            ..self
        }
    }
}

impl Limits {
    /// Maximum number of fields that `HeaderMap` holds.
    const MAX_FIELDS: usize = 24_000;

    pub(super) fn head(&self) -> Bounds {
        Bounds {
            bytes: self.max_head_size,
            fields: self.max_headers.min(Self::MAX_FIELDS),
            too_long: ProtocolError::HeadTooLong,
            too_many: ProtocolError::TooManyFields,
        }
    }

    pub(super) fn trailers(&self) -> Bounds {
        Bounds {
            bytes: self.max_trailer_size,
            fields: self.max_trailers.min(Self::MAX_FIELDS),
            too_long: ProtocolError::TrailersTooLong,
            too_many: ProtocolError::TooManyTrailers,
        }
    }
}
