//! Large buffers to read into, or to gather in what is to be written, which belong to the thread and
//! not to a connection: an idle one has none.
//!
//! They are for layers whose library reads and writes little at a time (rustls 4 KiB, h2 a frame): read
//! much into one of these, and hand it on from there. That costs a copy, and saves most of the system
//! calls.
//!
//! ```
//! use httpcore_core_primitives::scratch;
//!
//! let mut buffer = scratch::take();
//! assert!(buffer.is_empty() && buffer.capacity() >= scratch::SIZE);
//! buffer.extend_from_slice(b"what a socket had to say");
//! scratch::give(buffer);
//! ```

use std::cell::RefCell;

use bytes::BytesMut;

/// How much room there is in a buffer, in bytes. Four records of TLS and a bit: with a frame of
/// HTTP/2 at a time, small answers cost five times as many reads, and a large one eight times.
pub const SIZE: usize = 64 * 1024;

/// How many a thread keeps. One is in use; others belong to layers which had to leave something
/// lying, since their reader had no more room or others had their turn.
const MAX_CACHED_BUFFERS: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for [`SIZE`] bytes.
pub fn take() -> BytesMut {
    SPARE
        .try_with(|spare| spare.borrow_mut().pop())
        .ok()
        .flatten()
        .unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

/// Keeps `buffer` for the next, if it is as large as those, and has not grown to more than twice that.
/// What is in it is forgotten.
pub fn give(mut buffer: BytesMut) {
    buffer.clear();
    let capacity = buffer.capacity();
    // Bytes taken from its front are capacity again, unless another handle keeps them.
    let is_whole = capacity >= SIZE || (capacity > 0 && buffer.try_reclaim(SIZE));
    if !is_whole || buffer.capacity() > 2 * SIZE {
        return;
    }
    // While its thread ends, a buffer is just dropped.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MAX_CACHED_BUFFERS {
            spare.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_grown_is_not_kept() {
        let mut grown = take();
        grown.extend_from_slice(&[0; 3 * SIZE]);
        give(grown);
        assert!(take().capacity() <= 2 * SIZE);
    }

    #[test]
    fn what_is_given_is_taken_again_though_some_was_taken_from_its_front() {
        let mut buffer = take();
        buffer.extend_from_slice(b"frame");
        let place = buffer.as_ptr();
        let _ = buffer.split_to(3);
        give(buffer);
        assert_eq!(take().as_ptr(), place);
    }
}
