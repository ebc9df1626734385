//! Linux and Android.

use std::{io, path::Path, time::Duration};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Flags of send(2) and recv(2), the same on every Linux there is.
pub(crate) const MSG_DONTWAIT: i32 = 0x40;
/// A library cannot rely on its program to ignore SIGPIPE.
pub(crate) const MSG_NOSIGNAL: i32 = 0x4000;

/// The error of connect(2) on a non-blocking socket that is still connecting; std has no stable name for it.
pub(crate) const EINPROGRESS: i32 = if cfg!(any(
    target_arch = "mips",
    target_arch = "mips32r6",
    target_arch = "mips64",
    target_arch = "mips64r6"
)) {
    150
} else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
    36
} else {
    115
};

/// Opens a non-blocking socket with one system call.
pub(crate) fn open(domain: Domain, protocol: Option<Protocol>) -> io::Result<Socket> {
    Socket::new_raw(domain, Type::STREAM.nonblocking().cloexec(), protocol)
}

pub(crate) fn set_user_timeout(socket: &Socket, limit: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(limit))
}

pub(crate) fn set_interface(socket: &Socket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

/// Returns the address of a path that begins with a zero byte.
pub(crate) fn abstract_name(path: &Path) -> io::Result<SockAddr> {
    SockAddr::unix(path)
}
