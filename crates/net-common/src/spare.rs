//! Receiving into uninitialised memory: the only `unsafe` code of this workspace.
//!
//! Zeroing the memory first costs about a tenth of receiving a large body, and every body is received into
//! new memory.

use std::{io, mem::MaybeUninit};

use bytes::BytesMut;
use socket2::Socket;

use crate::socket::MSG_DONTWAIT;

/// Maximum number of bytes of one read, whatever the capacity: other tasks run between two reads.
const MAX_READ_BYTES: usize = 256 * 1024;

/// Returns the maximum number of bytes that [`recv`] reads into `buf`; 0 if `buf` has no spare capacity.
pub fn read_size(buf: &BytesMut) -> usize {
    (buf.capacity() - buf.len()).min(MAX_READ_BYTES)
}

/// Receives into the spare capacity of `buf` and appends the bytes. Returns their number; 0 is the end of
/// the stream. Blocks if `socket` is in blocking mode.
///
/// # Errors
///
/// Those of recv(2).
pub fn recv(socket: &Socket, buf: &mut BytesMut) -> io::Result<usize> {
    recv_with(socket, buf, 0)
}

/// Like [`recv`], but never blocks, whatever the mode of `socket`.
///
/// # Errors
///
/// Those of recv(2); [`io::ErrorKind::WouldBlock`] if nothing has arrived.
pub fn recv_without_waiting(socket: &Socket, buf: &mut BytesMut) -> io::Result<usize> {
    recv_with(socket, buf, MSG_DONTWAIT)
}

/// `flags` are those of recv(2), without `MSG_TRUNC`.
fn recv_with(socket: &Socket, buf: &mut BytesMut, flags: i32) -> io::Result<usize> {
    let wanted = read_size(buf);
    let spare: &mut [MaybeUninit<u8>] = &mut buf.spare_capacity_mut()[..wanted];
    let received = socket.recv_with_flags(spare, flags)?;
    assert!(received <= wanted, "recv(2) wrote past its buffer");
    let filled = buf.len() + received;
    // SAFETY: `set_len` requires that `filled` is within the capacity, and that the bytes below it are
    // initialised. The first holds since `received <= wanted`, which is at most the spare capacity
    // passed to recv(2). The second holds since the bytes up to `buf.len()` were initialised before,
    // and the `received` bytes after them were written by recv(2): `Socket` returns the number of
    // bytes at the front of the slice that the kernel filled, and the flags used in this file do not
    // include MSG_TRUNC, with which alone that number can be larger.
    unsafe { buf.set_len(filled) };
    Ok(received)
}
