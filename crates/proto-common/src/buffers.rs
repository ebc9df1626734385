//! Buffers that belong to the thread and not to a connection: an idle connection holds none.
//!
//! There are two size classes. Small buffers hold heads and small bodies. Large buffers are for large
//! bodies, and for layers whose library reads and writes little at a time (rustls 4 KiB, h2 one frame):
//! the layer reads into a large buffer and passes the data on from there, which costs a copy and saves
//! most of the system calls.
//!
//! ```
//! use httpcore_proto_common::buffers;
//!
//! let mut buffer = buffers::take_large();
//! assert!(buffer.is_empty() && buffer.capacity() >= buffers::LARGE_BYTES);
//! buffer.extend_from_slice(b"bytes from a socket");
//! buffers::recycle(&mut buffer);
//! assert_eq!(buffer.capacity(), 0);
//! ```

use std::cell::RefCell;

use bytes::BytesMut;

/// Capacity of a small buffer, in bytes. Nearly all heads fit, and responses of some kilobytes with
/// them; with half of it they take one more system call.
pub const SMALL_BYTES: usize = 16 * 1024;

/// Capacity of a large buffer, in bytes: four TLS records. With 8 KiB, a download costs half as much
/// again; with one HTTP/2 frame, small responses cost five times as many reads, and a large response
/// eight times.
pub const LARGE_BYTES: usize = 64 * 1024;

/// Maximum capacity of a large buffer that is kept after it has grown, in bytes.
const MAX_LARGE_BYTES: usize = 2 * LARGE_BYTES;

/// Number of bytes that may be missing at the front of a small buffer before it is reclaimed.
const SLACK_BYTES: usize = 1024;

/// Maximum number of small buffers that a thread keeps. An exchange has at most two, and recycles them
/// before another exchange is polled, unless they hold data.
const MAX_SMALL: usize = 8;

/// Maximum number of large buffers that a thread keeps. One is in use; the others belong to layers
/// which had to keep data, because their reader had no more room or because their task yielded.
const MAX_LARGE: usize = 4;

thread_local! {
    static POOL: RefCell<BufferPool> = const { RefCell::new(BufferPool::new()) };
}

/// The unused buffers of a thread, by size class.
struct BufferPool {
    small: Vec<BytesMut>,
    large: Vec<BytesMut>,
}

impl BufferPool {
    const fn new() -> Self {
        BufferPool {
            small: Vec::new(),
            large: Vec::new(),
        }
    }

    /// Keeps `buffer`, which is empty, or drops it if its capacity fits no class or the class is full.
    ///
    /// Buffers that have grown to more than twice their class are dropped.
    fn put(&mut self, buffer: BytesMut) {
        let (class, most) = match buffer.capacity() {
            capacity if is_small(capacity) => (&mut self.small, MAX_SMALL),
            LARGE_BYTES..=MAX_LARGE_BYTES => (&mut self.large, MAX_LARGE),
            _ => return,
        };
        if class.len() < most {
            class.push(buffer);
        }
    }
}

#[inline]
fn is_small(capacity: usize) -> bool {
    has_room(capacity, SMALL_BYTES) && capacity <= 2 * SMALL_BYTES
}

/// Returns an empty buffer with room for [`SMALL_BYTES`], or up to a kilobyte less.
pub fn take_small() -> BytesMut {
    POOL.try_with(|pool| pool.borrow_mut().small.pop())
        .ok()
        .flatten()
        .unwrap_or_else(|| BytesMut::with_capacity(SMALL_BYTES))
}

/// Returns an empty buffer with room for at least [`LARGE_BYTES`].
pub fn take_large() -> BytesMut {
    POOL.try_with(|pool| pool.borrow_mut().large.pop())
        .ok()
        .flatten()
        .unwrap_or_else(|| BytesMut::with_capacity(LARGE_BYTES))
}

/// Returns an empty buffer with room for `bytes`, of the class of that size if there is one.
///
/// A size between the classes is allocated as it is: a caller that keeps a piece of a body then keeps
/// no more than the body.
pub fn take(bytes: usize) -> BytesMut {
    match bytes {
        SMALL_BYTES => take_small(),
        LARGE_BYTES => take_large(),
        bytes => BytesMut::with_capacity(bytes),
    }
}

/// Returns whether a buffer with `room` bytes left is as good as one of `wanted` bytes from [`take`].
#[inline]
pub fn has_room(room: usize, wanted: usize) -> bool {
    room + SLACK_BYTES >= wanted
}

/// Leaves an unallocated buffer in place of `buffer`, whose memory the thread keeps for another if it
/// is of one of the classes and not shared. Its data is dropped.
#[inline]
pub fn recycle(buffer: &mut BytesMut) {
    if buffer.capacity() > 0 {
        keep(std::mem::take(buffer));
    }
}

fn keep(mut buffer: BytesMut) {
    buffer.clear();
    // Nearly all are small ones of which little is missing.
    if !(SMALL_BYTES - SLACK_BYTES..=SMALL_BYTES).contains(&buffer.capacity()) {
        reclaim(&mut buffer);
    }
    // While its thread ends, a buffer is dropped.
    let _ = POOL.try_with(|pool| pool.borrow_mut().put(buffer));
}

/// Reclaims the bytes taken from the front of `buffer`. Fails while another part of the allocation is
/// alive.
fn reclaim(buffer: &mut BytesMut) {
    let wanted = match buffer.capacity() {
        capacity if !has_room(capacity, SMALL_BYTES) => SMALL_BYTES,
        capacity if capacity < LARGE_BYTES => LARGE_BYTES,
        _ => return,
    };
    let _ = buffer.try_reclaim(wanted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recycled_large_buffer_is_taken_again_and_not_for_smaller_bodies() {
        let mut buffer = take_large();
        let address = buffer.as_ptr();
        buffer.extend_from_slice(b"left over");
        recycle(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        let smaller = take(SMALL_BYTES + 1);
        assert_ne!(smaller.as_ptr(), address);
        let again = take(LARGE_BYTES);
        assert_eq!(again.as_ptr(), address);
        assert!(again.is_empty());
    }

    #[test]
    fn grown_buffer_is_not_kept() {
        for (class, mut grown) in [(SMALL_BYTES, take_small()), (LARGE_BYTES, take_large())] {
            grown.extend_from_slice(&vec![0; 3 * class]);
            recycle(&mut grown);
            assert!(take(class).capacity() <= 2 * class);
        }
    }

    #[test]
    fn buffer_with_bytes_taken_from_its_front_is_taken_again_whole() {
        for class in [SMALL_BYTES, LARGE_BYTES] {
            for taken in [3, class / 2, class - 1] {
                let mut buffer = take(class);
                buffer.resize(class, 0);
                let address = buffer.as_ptr();
                drop(buffer.split_to(taken));
                recycle(&mut buffer);
                let again = take(class);
                assert!(has_room(again.capacity(), class), "{class} {taken}");
                assert!(again.as_ptr() >= address, "{class} {taken}");
                assert!(
                    again.as_ptr().addr() < address.addr() + class,
                    "{class} {taken}"
                );
            }
        }
    }

    #[test]
    fn buffer_of_which_most_is_still_shared_is_not_kept() {
        let mut buffer = take_large();
        buffer.resize(LARGE_BYTES, 0);
        let address = buffer.as_ptr().addr();
        let shared = buffer.split_to(LARGE_BYTES - 100);
        recycle(&mut buffer);
        for again in [take_small(), take_large()] {
            let found = again.as_ptr().addr();
            assert!(found < address || found >= address + LARGE_BYTES);
        }
        drop(shared);
    }

    #[test]
    fn thread_keeps_a_bounded_number_of_buffers_of_each_class() {
        for (class, most) in [(SMALL_BYTES, MAX_SMALL), (LARGE_BYTES, MAX_LARGE)] {
            let mut taken: Vec<_> = (0..2 * most).map(|_| take(class)).collect();
            taken.iter_mut().for_each(recycle);
            let kept = POOL.with(|pool| {
                let pool = pool.borrow();
                [pool.small.len(), pool.large.len()][usize::from(class == LARGE_BYTES)]
            });
            assert_eq!(kept, most);
        }
    }
}
