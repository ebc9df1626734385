//! Buffers for what has been read, which belong to the thread and not to a connection: an idle one
//! has none.

use std::cell::RefCell;

use bytes::BytesMut;

/// How much is read at once: h2 alone asks for a frame at a time, which costs five times as many
/// system calls on small answers, and eight times as many on a large one.
pub(crate) const SIZE: usize = 64 * 1024;

/// How many a thread keeps: one is in use, and others belong to connections which had to leave
/// something lying while others had their turn.
const KEPT: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for [`SIZE`] bytes.
pub(crate) fn take() -> BytesMut {
    SPARE
        .try_with(|spare| spare.borrow_mut().pop())
        .ok()
        .flatten()
        .unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

/// Keeps `buffer` for the next.
pub(crate) fn give(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.capacity() < SIZE {
        return;
    }
    // While its thread ends, a buffer is just dropped.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < KEPT {
            spare.push(buffer);
        }
    });
}
