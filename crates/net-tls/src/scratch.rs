//! Buffers for ciphertext, which belong to the thread and not to a stream: an idle one has none.

use std::cell::RefCell;

use bytes::BytesMut;

/// How much ciphertext is read at once. Four records and a bit: with less, a large download costs
/// several times as many reads, since rustls itself takes 4 KiB at a time.
pub(crate) const SIZE: usize = 64 * 1024;

/// How many a thread keeps. One is enough, but for TLS inside TLS and for a stream which had to
/// leave ciphertext lying because its reader had no more room.
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
