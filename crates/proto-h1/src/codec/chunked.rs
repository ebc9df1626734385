//! The chunked transfer coding (RFC 9112 §7.1): decoding and encoding.
//!
//! The parser accepts in the first line of a chunk: 1 to 16 hexadecimal digits, white space, and
//! extensions of any visible bytes after a `;`. White space without an extension after it is not in
//! the grammar; some servers pad with it, and it has only one reading. Sixteen digits cannot
//! overflow 64 bits, and exclude long runs of leading zeros.

use bytes::BytesMut;

use super::{Limits, error::ProtocolError, request_head};

/// Parses the framing between the data of chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks {
    at: At,
    /// Size of this chunk: while it is parsed, the digits so far; then the number of bytes left.
    size: u64,
    digits: u8,
    /// Number of bytes of extensions in all chunks.
    extensions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    /// After the size, in white space.
    Padding,
    Extension,
    /// After the CR of the size's line.
    SizeCr,
    Data,
    /// After the data.
    DataCr,
    DataLf,
    /// After the line of the last chunk.
    Trailers,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The data of a chunk, of which this many bytes are left.
    Data(u64),
    /// The trailers, or the empty line in their place.
    Trailers,
    /// The framing, of which more must arrive.
    More,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Chunks {
            at: At::Size,
            size: 0,
            digits: 0,
            extensions: 0,
        }
    }

    /// Parses framing at the beginning of `input`; returns its length in bytes, and what follows
    /// it.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<(usize, Next), ProtocolError> {
        let mut read = 0;
        loop {
            match self.at {
                At::Data => return Ok((read, Next::Data(self.size))),
                At::Trailers => return Ok((read, Next::Trailers)),
                _ => {}
            }
            let Some(&byte) = input.get(read) else {
                return Ok((read, Next::More));
            };
            self.step(byte, limits)?;
            read += 1;
        }
    }

    /// Records that `bytes` of the chunk's data have been taken.
    pub(super) fn took(&mut self, bytes: u64) {
        self.size -= bytes;
        if self.size == 0 {
            self.at = At::DataCr;
        }
    }

    fn step(&mut self, byte: u8, limits: &Limits) -> Result<(), ProtocolError> {
        self.at = match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.digits == 16 {
                    return Err(ProtocolError::ChunkSizeTooLong);
                }
                self.digits += 1;
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    _ => (byte | 0x20) - b'a' + 10,
                };
                self.size = self.size << 4 | u64::from(digit);
                At::Size
            }
            // RFC 9112 §7.1: at least one digit.
            (At::Size, _) if self.digits == 0 => return Err(ProtocolError::ChunkSize),
            (At::Size | At::Padding, b' ' | b'\t') => self.extend(At::Padding, limits)?,
            // RFC 9112 §7.1.1: a recipient ignores extensions that it does not recognise.
            (At::Size | At::Padding, b';') => self.extend(At::Extension, limits)?,
            (At::Size | At::Padding | At::Extension, b'\r') => At::SizeCr,
            (At::Size | At::Padding | At::Extension, b'\n') => return Err(ProtocolError::BareLf),
            (At::Size | At::Padding, _) => return Err(ProtocolError::ChunkSize),
            (At::Extension, b'\t' | b' '..=0x7e | 0x80..) => self.extend(At::Extension, limits)?,
            (At::Extension, _) => return Err(ProtocolError::ChunkExtension),
            (At::SizeCr, b'\n') => {
                self.digits = 0;
                if self.size == 0 {
                    At::Trailers
                } else {
                    At::Data
                }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::SizeCr, _) => return Err(ProtocolError::BareCr),
            (At::DataCr | At::DataLf, _) => return Err(ProtocolError::ChunkEnd),
            (At::Data | At::Trailers, _) => self.at,
        };
        Ok(())
    }

    fn extend(&mut self, to: At, limits: &Limits) -> Result<At, ProtocolError> {
        self.extensions += 1;
        if self.extensions > limits.max_chunk_extension_size {
            return Err(ProtocolError::ChunkExtensionsTooLong);
        }
        Ok(to)
    }
}

/// End of a chunk's data.
pub(super) const END_OF_CHUNK: &[u8] = b"\r\n";
/// End of the last chunk's data, of the chunks and of the empty trailers.
pub(super) const END_OF_LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Writes what precedes a chunk of `length` bytes, which must not be 0: that would be the end.
pub(super) fn write_size(length: u64, out: &mut BytesMut) {
    request_head::write_hex(length, out);
    out.extend_from_slice(b"\r\n");
}
