//! Receiving into memory not yet written: the one address of `unsafe` in this workspace.
//!
//! Zeroing the room first costs about a tenth of what receiving a large body costs, and a body is
//! received into fresh room all the time.

use std::{io, mem::MaybeUninit};

use bytes::BytesMut;
use socket2::Socket;

use crate::socket::MSG_DONTWAIT;

/// How much one read asks for at most, however much room there is: what follows can wait for the
/// next read, and others may want to run in between.
const MAX_READ_BYTES: usize = 256 * 1024;

/// Returns how much [`recv`] asks for at most, in bytes: 0 if `buf` has no spare capacity.
pub fn room(buf: &BytesMut) -> usize {
    (buf.capacity() - buf.len()).min(MAX_READ_BYTES)
}

/// Receives into the spare capacity of `buf`, and appends what arrived; 0 is the end of the stream.
/// Waits if `socket` is blocking.
///
/// # Errors
///
/// Those of recv(2).
pub fn recv(socket: &Socket, buf: &mut BytesMut) -> io::Result<usize> {
    recv_with(socket, buf, 0)
}

/// As [`recv`], and does not wait, whatever the mode of `socket`.
///
/// # Errors
///
/// Those of recv(2); [`io::ErrorKind::WouldBlock`] if nothing is there.
pub fn recv_without_waiting(socket: &Socket, buf: &mut BytesMut) -> io::Result<usize> {
    recv_with(socket, buf, MSG_DONTWAIT)
}

/// `flags` are those of recv(2), without `MSG_TRUNC`.
fn recv_with(socket: &Socket, buf: &mut BytesMut, flags: i32) -> io::Result<usize> {
    let wanted = room(buf);
    let spare: &mut [MaybeUninit<u8>] = &mut buf.spare_capacity_mut()[..wanted];
    let received = socket.recv_with_flags(spare, flags)?;
    assert!(received <= wanted, "recv(2) wrote past its buffer");
    let filled = buf.len() + received;
    // SAFETY: `set_len` asks that `filled` is within the capacity, and that the bytes below it are
    // initialised. The first holds since `received <= wanted`, which is at most the spare capacity
    // `recv` was given. The second holds since the bytes up to `buf.len()` were there before, and
    // the `received` bytes after them are those which recv(2) says it has written: `Socket`
    // returns the number of bytes at the front of the slice that the kernel filled, and the flags
    // used in this file do not include MSG_TRUNC, which alone makes that number mean more.
    unsafe { buf.set_len(filled) };
    Ok(received)
}
