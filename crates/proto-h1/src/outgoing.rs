//! What is to be written: framing in one buffer, and between its parts the pieces of a body.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use httpcore_core_primitives::NetworkStream;

use crate::buffers::{self, SMALL_BUFFER};

/// How many bytes may wait to be written before a body is asked for no more of them: an upload holds
/// so much, and one piece. With one system call for each 64 KiB, 256 MiB took five times as many;
/// from here on, larger writes are no longer taken as a whole.
pub(crate) const MOST_BYTES: usize = 512 * 1024;

/// How many pieces may wait that were not copied.
const MOST_PIECES: usize = 16;

/// A piece up to this size is copied behind the framing, if there is room: to write it from where
/// it is would cost more.
const COPIED: usize = 1024;

/// Bytes on their way to the stream, in order. A body at hand, and pieces which are there at the
/// same time, go out with the head and their framing in one write.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// The head, what frames the pieces, and pieces that were copied.
    framing: BytesMut,
    pieces: VecDeque<Piece>,
    /// How much of `framing` goes before some piece. The rest goes out last.
    placed: usize,
    /// The bytes of `pieces`.
    held: usize,
}

/// A piece of a body where it was, and how much of the framing goes before it.
#[derive(Debug)]
struct Piece {
    before: usize,
    data: Bytes,
}

impl Outgoing {
    /// Nothing so far, with a buffer of this thread's.
    pub(crate) fn new() -> Self {
        Outgoing {
            framing: buffers::take(),
            ..Outgoing::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.framing.is_empty() && self.pieces.is_empty()
    }

    /// Whether there is enough for now.
    pub(crate) fn is_full(&self) -> bool {
        self.held + self.framing.len() >= MOST_BYTES || self.pieces.len() >= MOST_PIECES
    }

    /// Makes room for what frames pieces, and for small ones.
    pub(crate) fn make_room(&mut self) {
        if self.framing.is_empty() {
            // What has gone from its front is room again, in the same memory.
            let _ = self.framing.try_reclaim(SMALL_BUFFER);
        }
    }

    /// Where the head goes, and what frames the next piece.
    pub(crate) fn framing(&mut self) -> &mut BytesMut {
        &mut self.framing
    }

    /// `data` is next, and then `after`, which frames it.
    pub(crate) fn push(&mut self, data: Bytes, after: &[u8]) {
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

    /// Copies `data` and `after`, if they are small enough; whether they were.
    pub(crate) fn copy(&mut self, data: &[u8], after: &[u8]) -> bool {
        let room = self.framing.capacity() - self.framing.len();
        let fits = data.len() <= COPIED && data.len() + after.len() <= room;
        if fits {
            self.framing.extend_from_slice(data);
            self.framing.extend_from_slice(after);
        }
        fits
    }

    /// Writes some of it, which is not empty; how much.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut dyn NetworkStream,
    ) -> Poll<io::Result<usize>> {
        let written = if self.pieces.is_empty() {
            stream.poll_write(cx, &[IoSlice::new(&self.framing)])
        } else {
            let mut slices = [IoSlice::new(&[]); 2 * MOST_PIECES + 1];
            let count = self.slices(&mut slices);
            stream.poll_write(cx, &slices[..count])
        };
        if let Poll::Ready(Ok(written)) = written {
            self.advance(written);
        }
        written
    }

    /// All of it, with no slice empty; how many slices there are.
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; 2 * MOST_PIECES + 1]) -> usize {
        let mut count = 0;
        let mut add = |bytes: &'a [u8]| {
            if !bytes.is_empty() {
                slices[count] = IoSlice::new(bytes);
                count += 1;
            }
        };
        let mut framing = &self.framing[..];
        for piece in &self.pieces {
            let (before, after) = framing.split_at(piece.before);
            add(before);
            add(&piece.data);
            framing = after;
        }
        add(framing);
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

    /// Forgets all of it, and gives its buffers back.
    pub(crate) fn end(&mut self) {
        if !self.pieces.is_empty() {
            self.pieces = VecDeque::new();
            (self.placed, self.held) = (0, 0);
        }
        buffers::give(&mut self.framing);
    }

    /// The buffer, for somebody who reads; all of it has been written.
    pub(crate) fn leave_buffer(&mut self) -> BytesMut {
        debug_assert!(self.is_empty());
        std::mem::take(&mut self.framing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(outgoing: &Outgoing) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 2 * MOST_PIECES + 1];
        let count = outgoing.slices(&mut slices);
        assert!(slices[..count].iter().all(|slice| !slice.is_empty()));
        slices[..count]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    fn large(byte: u8) -> Bytes {
        vec![byte; COPIED + 1].into()
    }

    /// A head, and pieces large and small.
    fn some() -> (Outgoing, Vec<u8>) {
        let mut outgoing = Outgoing::new();
        outgoing.framing().extend_from_slice(b"head1;");
        outgoing.push(large(b'x'), b"|");
        outgoing.framing().extend_from_slice(b"2;");
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
        for step in [1, 2, 3, 7, COPIED, 2 * COPIED, expected.len()] {
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
    fn what_is_small_is_copied_while_there_is_room_and_never_makes_the_buffer_grow() {
        let mut outgoing = Outgoing::new();
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
        let mut outgoing = Outgoing::new();
        outgoing.push(vec![0; MOST_BYTES - 1].into(), b"");
        assert!(!outgoing.is_full());
        outgoing.push("x".into(), b"");
        assert!(outgoing.is_full());
        let mut outgoing = Outgoing::new();
        for _ in 0..MOST_PIECES {
            assert!(!outgoing.is_full());
            outgoing.push(large(b'x'), b"");
        }
        assert!(outgoing.is_full());
    }

    #[test]
    fn its_room_comes_back_when_all_of_it_has_been_written() {
        let mut outgoing = Outgoing::new();
        let capacity = outgoing.framing.capacity();
        for _ in 0..1000 {
            outgoing.push(Bytes::from_static(&[b's'; 1000]), b"");
            assert!(outgoing.pieces.is_empty());
            outgoing.advance(1000);
            outgoing.make_room();
        }
        assert_eq!(outgoing.framing.capacity(), capacity);
    }
}
