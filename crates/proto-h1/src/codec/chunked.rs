//! The chunked transfer coding (RFC 9112 §7.1), inwards and outwards.
//!
//! What is accepted of a chunk's first line: 1 to 16 hexadecimal digits, white space, and
//! extensions of any visible bytes from a `;` on. White space without an extension behind it is
//! not in the grammar; servers pad with it, and there is only one way to read it. Sixteen digits
//! cannot overflow 64 bits, and leave no room for a flood of leading zeros.

use bytes::BytesMut;

use super::{Limits, error::ProtocolError, request_head};

/// Reads what stands between the data of chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks {
    at: At,
    /// Of this chunk: while the size is read, what is read of it; then what is left of the data.
    size: u64,
    digits: u8,
    /// How many bytes the extensions of all chunks have taken.
    extensions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    /// Behind the size, in white space.
    Padding,
    Extension,
    /// Behind the CR of the size's line.
    SizeCr,
    Data,
    /// Behind the data.
    DataCr,
    DataLf,
    /// Behind the line of the last chunk.
    Trailers,
}

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// To the data of a chunk, of which this much is left.
    Data(u64),
    /// To the trailers, or to the empty line in their place.
    Trailers,
    /// To the framing, of which more must come.
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

    /// Reads framing from the beginning of `input`; yields how much of it that took, and what
    /// comes then.
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

    /// So much of the chunk's data has been taken.
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
            // RFC 9112 §7.1.1: extensions mean nothing to whoever does not know them.
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

/// What ends a chunk's data.
pub(super) const END_OF_CHUNK: &[u8] = b"\r\n";
/// What ends the data of a chunk which is followed by nothing but the end.
pub(super) const END_OF_LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Writes what goes before a chunk of `length` bytes, which must not be 0: that is the end.
pub(super) fn write_size(length: u64, out: &mut BytesMut) {
    request_head::write_hex(length, out);
    out.extend_from_slice(b"\r\n");
}
