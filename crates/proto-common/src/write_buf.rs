//! Bytes that a protocol has to write: framing in one buffer, and between its parts the data of
//! bodies, which is not copied.
//!
//! What is ready at the same time is written in one vectored write, in order.
//!
//! ```
//! use httpcore_proto_common::write_buf::WriteBuf;
//!
//! let mut outgoing = WriteBuf::new(bytes::BytesMut::with_capacity(100));
//! outgoing.buf_mut().extend_from_slice(b"POST / HTTP/1.1\r\n\r\n");
//! outgoing.push("a body".into(), b"");
//! assert_eq!(outgoing.len(), 25);
//! ```

use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSlice},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};

use httpcore_core_primitives::NetworkStream;

/// Maximum number of uncopied pieces in one write.
const MAX_PIECES: usize = 16;

/// Maximum size of a piece that is copied after the framing, if there is room, in bytes: to write
/// it from its place would cost more.
const MAX_COPIED_BYTES: usize = 1024;

/// Bytes on their way to a stream, in order.
#[derive(Default)]
pub struct WriteBuf {
    /// Heads, framing of the pieces, and pieces that were copied.
    framing: BytesMut,
    pieces: VecDeque<Piece>,
    /// Number of bytes of `framing` that precede some piece. The rest is written last.
    placed: usize,
    /// Number of bytes of `pieces`.
    held: usize,
}

/// Uncopied data of a body, and the number of bytes of framing that precede it.
struct Piece {
    before: usize,
    data: Bytes,
}

impl WriteBuf {
    /// Creates an empty buffer; `framing` is empty and will hold the framing.
    #[inline]
    pub fn new(framing: BytesMut) -> Self {
        WriteBuf {
            framing,
            ..WriteBuf::default()
        }
    }

    /// Returns whether all has been written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.framing.is_empty() && self.pieces.is_empty()
    }

    /// Returns the number of bytes to be written.
    #[inline]
    pub fn len(&self) -> usize {
        self.held + self.framing.len()
    }

    /// Returns whether there is enough for one write: at least `bytes` bytes, or as many pieces as
    /// one write takes.
    pub fn is_full(&self, bytes: usize) -> bool {
        self.len() >= bytes || self.pieces.len() >= MAX_PIECES
    }

    /// Reclaims the front of the buffer when all of it has been written, if it then has room for
    /// `room` bytes.
    pub fn make_room(&mut self, room: usize) {
        if self.framing.is_empty() {
            let _ = self.framing.try_reclaim(room);
        }
    }

    /// Returns the buffer for a head, or for the framing that precedes the next piece: to be
    /// appended to, and not otherwise changed.
    #[inline]
    pub fn buf_mut(&mut self) -> &mut BytesMut {
        &mut self.framing
    }

    /// Appends `data`, and then `after`, which frames it.
    pub fn push(&mut self, data: Bytes, after: &[u8]) {
        if self.copy(&data, after) {
            return;
        }
        self.held += data.len();
        self.pieces.push_back(Piece {
            before: self.framing.len() - self.placed,
            data,
        });
        self.placed = self.framing.len();
        self.framing.extend_from_slice(after);
    }

    /// Copies `data` and `after`, if they are small enough; returns whether they were.
    pub fn copy(&mut self, data: &[u8], after: &[u8]) -> bool {
        let room = self.framing.capacity() - self.framing.len();
        let fits = data.len() <= MAX_COPIED_BYTES && data.len() + after.len() <= room;
        if fits {
            self.framing.extend_from_slice(data);
            self.framing.extend_from_slice(after);
        }
        fits
    }

    /// Writes some of the data, of which there must be some; returns the number of bytes.
    ///
    /// # Errors
    ///
    /// Those of `stream`.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut dyn NetworkStream,
    ) -> Poll<io::Result<usize>> {
        let written = if self.pieces.is_empty() {
            stream.poll_write(cx, &[IoSlice::new(&self.framing)])
        } else {
            let mut slices = [IoSlice::new(&[]); 2 * MAX_PIECES + 1];
            let count = self.slices(&mut slices);
            stream.poll_write(cx, &slices[..count])
        };
        if let Poll::Ready(Ok(written)) = written {
            self.advance(written);
        }
        written
    }

    /// Fills `slices` with all of the data, or with as many pieces as one write takes, without an
    /// empty slice; returns the number of slices.
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; 2 * MAX_PIECES + 1]) -> usize {
        let mut count = 0;
        let mut add = |bytes: &'a [u8]| {
            if !bytes.is_empty() {
                slices[count] = IoSlice::new(bytes);
                count += 1;
            }
        };
        let mut framing = &self.framing[..];
        for piece in self.pieces.iter().take(MAX_PIECES) {
            let (before, after) = framing.split_at(piece.before);
            add(before);
            add(&piece.data);
            framing = after;
        }
        if self.pieces.len() <= MAX_PIECES {
            add(framing);
        }
        count
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            let before = written.min(piece.before);
            let data = (written - before).min(piece.data.len());
            self.framing.advance(before);
            piece.before -= before;
            self.placed -= before;
            piece.data.advance(data);
            self.held -= data;
            written -= before + data;
            if piece.before > 0 || !piece.data.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.framing.advance(written);
    }

    /// Drops all of the data, and returns the buffer. No other memory is held then.
    pub fn into_buf(&mut self) -> BytesMut {
        if self.pieces.capacity() > 0 {
            self.pieces = VecDeque::new();
            (self.placed, self.held) = (0, 0);
        }
        std::mem::take(&mut self.framing)
    }
}

/// Prints lengths only: a head may contain passwords.
impl fmt::Debug for WriteBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBuf")
            .field("bytes", &self.len())
            .field("pieces", &self.pieces.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 8 * 1024;
    const MOST: usize = 100_000;

    fn whole(outgoing: &WriteBuf) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 2 * MAX_PIECES + 1];
        let count = outgoing.slices(&mut slices);
        assert!(slices[..count].iter().all(|slice| !slice.is_empty()));
        slices[..count]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    fn large(byte: u8) -> Bytes {
        vec![byte; MAX_COPIED_BYTES + 1].into()
    }

    /// A head, and pieces large and small.
    fn some() -> (WriteBuf, Vec<u8>) {
        let mut outgoing = WriteBuf::new(BytesMut::with_capacity(ROOM));
        outgoing.buf_mut().extend_from_slice(b"head1;");
        outgoing.push(large(b'x'), b"|");
        outgoing.buf_mut().extend_from_slice(b"2;");
        outgoing.push("small".into(), b"|");
        outgoing.push(large(b'y'), b"");
        outgoing.push(large(b'z'), b"|end");
        let [x, y, z] = [large(b'x'), large(b'y'), large(b'z')];
        let expected = [b"head1;", &x[..], b"|2;small|", &y, &z, b"|end"].concat();
        (outgoing, expected)
    }

    #[test]
    fn everything_goes_out_in_order_however_it_is_cut() {
        let (outgoing, expected) = some();
        assert_eq!(whole(&outgoing), expected);
        for step in [
            1,
            2,
            3,
            7,
            MAX_COPIED_BYTES,
            2 * MAX_COPIED_BYTES,
            expected.len(),
        ] {
            let (mut outgoing, _) = some();
            let mut left = &expected[..];
            while !left.is_empty() {
                assert!(!outgoing.is_empty(), "{step}");
                let written = step.min(left.len());
                outgoing.advance(written);
                left = &left[written..];
                assert_eq!(whole(&outgoing), left, "{step}");
            }
            assert!(outgoing.is_empty() && outgoing.held == 0 && outgoing.placed == 0);
        }
    }

    #[test]
    fn more_pieces_than_one_write_takes_go_out_in_several() {
        let mut outgoing = WriteBuf::new(BytesMut::with_capacity(ROOM));
        let mut expected = Vec::new();
        for n in 0..=2 * MAX_PIECES {
            outgoing.push(large(n as u8), b"|");
            expected.extend_from_slice(&large(n as u8));
            expected.push(b'|');
        }
        let mut written = Vec::new();
        while !outgoing.is_empty() {
            let some = whole(&outgoing);
            outgoing.advance(some.len());
            written.extend_from_slice(&some);
        }
        assert_eq!(written, expected);
    }

    #[test]
    fn small_pieces_are_copied_only_within_the_capacity_of_the_buffer() {
        let mut outgoing = WriteBuf::new(BytesMut::with_capacity(ROOM));
        let capacity = outgoing.framing.capacity();
        let mut expected = Vec::new();
        while outgoing.pieces.is_empty() {
            outgoing.push(Bytes::from_static(&[b's'; 1000]), b"\r\n");
            expected.extend_from_slice(&[b's'; 1000]);
            expected.extend_from_slice(b"\r\n");
        }
        assert_eq!(expected.len() / 1002, capacity / 1002 + 1);
        assert_eq!(whole(&outgoing), expected);
    }

    #[test]
    fn it_is_full_with_many_bytes_or_many_pieces() {
        let mut outgoing = WriteBuf::new(BytesMut::with_capacity(ROOM));
        outgoing.push(vec![0; MOST - 1].into(), b"");
        assert!(!outgoing.is_full(MOST));
        outgoing.push("x".into(), b"");
        assert!(outgoing.is_full(MOST));
        let mut outgoing = WriteBuf::new(BytesMut::with_capacity(ROOM));
        for _ in 0..MAX_PIECES {
            assert!(!outgoing.is_full(MOST));
            outgoing.push(large(b'x'), b"");
        }
        assert!(outgoing.is_full(MOST));
    }

    #[test]
    fn nothing_is_held_after_the_end_whether_it_was_written_or_not() {
        for is_written in [true, false] {
            let (mut outgoing, expected) = some();
            if is_written {
                outgoing.advance(expected.len());
            }
            drop(outgoing.into_buf());
            assert!(outgoing.is_empty());
            assert_eq!(outgoing.len(), 0);
            let held = (outgoing.framing.capacity(), outgoing.pieces.capacity());
            assert_eq!(held, (0, 0), "{is_written}");
        }
    }

    #[test]
    fn its_room_comes_back_when_all_of_it_has_been_written() {
        let mut outgoing = WriteBuf::new(BytesMut::with_capacity(ROOM));
        let capacity = outgoing.framing.capacity();
        for _ in 0..1000 {
            outgoing.push(Bytes::from_static(&[b's'; 1000]), b"");
            assert!(outgoing.pieces.is_empty());
            outgoing.advance(1000);
            outgoing.make_room(ROOM);
        }
        assert_eq!(outgoing.framing.capacity(), capacity);
    }
}
