//! Buffers, which belong to the thread and not to a connection: an idle connection has none.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;

/// What a head is read into and written from: nearly all of them fit, and with them responses of some
/// kilobytes, which take one more system call if half as much is read at once.
pub(crate) const SMALL_BUFFER: usize = 16 * 1024;
/// What a large body is read into: with 8 KiB at a time, a download costs half as much again.
pub(crate) const LARGE_BUFFER: usize = 64 * 1024;

/// How much of a buffer's front may be missing before it is put in order.
const SLACK: usize = 1024;

/// How many small ones a thread keeps: an exchange has two at most, and gives them back before the
/// next poll of another, unless something is in them.
const MAX_CACHED_BUFFERS: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    /// A single large one: it is given back each time a body waits for more, which is after each
    /// read where the server is the slower side.
    static LARGE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// An empty buffer with room for [`SMALL_BUFFER`] bytes, or [`SLACK`] less.
pub(crate) fn take() -> BytesMut {
    SPARE
        .try_with(|spare| spare.borrow_mut().pop())
        .ok()
        .flatten()
        .unwrap_or_else(|| BytesMut::with_capacity(SMALL_BUFFER))
}

/// An empty buffer with room for so many bytes, more than [`SMALL_BUFFER`].
pub(crate) fn take_large(wanted: usize) -> BytesMut {
    let kept = if wanted == LARGE_BUFFER {
        LARGE.try_with(Cell::take).ok().flatten()
    } else {
        None // The body is shorter than that: whoever keeps it should keep no more.
    };
    kept.unwrap_or_else(|| BytesMut::with_capacity(wanted))
}

/// Whether `room` is as good as what is `wanted`, as far as [`take`] is concerned.
pub(crate) fn is_enough(room: usize, wanted: usize) -> bool {
    room >= wanted - SLACK
}

/// Keeps what is in `buffer` for the next, if it is worth keeping: not too large, and nobody's any
/// more.
#[inline]
pub(crate) fn give(buffer: &mut BytesMut) {
    if buffer.capacity() > 0 {
        keep(std::mem::take(buffer));
    }
}

fn keep(mut buffer: BytesMut) {
    buffer.clear();
    let capacity = buffer.capacity();
    if capacity == LARGE_BUFFER {
        let _ = LARGE.try_with(|large| large.set(Some(buffer)));
        return;
    }
    // What has been taken from its front is got back when it has become much, and not each time.
    let is_whole = is_enough(capacity, SMALL_BUFFER) || buffer.try_reclaim(SMALL_BUFFER);
    if !is_whole || buffer.capacity() > 2 * SMALL_BUFFER {
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
    fn a_large_buffer_that_was_given_back_serves_the_next_large_body_and_no_smaller_one() {
        let mut buffer = take_large(LARGE_BUFFER);
        let place = buffer.as_ptr();
        buffer.extend_from_slice(b"left over");
        give(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        let smaller = take_large(SMALL_BUFFER + 1);
        assert_ne!(smaller.as_ptr(), place);
        let again = take_large(LARGE_BUFFER);
        assert_eq!(again.as_ptr(), place);
        assert!(again.is_empty());
    }
}
