//! macOS and the BSDs.

use std::{io, path::Path, time::Duration};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

pub(crate) const MSG_DONTWAIT: i32 = 0x80;
/// macOS has an option of the socket instead, which `Socket::new` sets.
pub(crate) const MSG_NOSIGNAL: i32 = if cfg!(any(target_os = "freebsd", target_os = "dragonfly")) {
    0x2_0000
} else if cfg!(any(target_os = "netbsd", target_os = "openbsd")) {
    0x400
} else {
    0
};

/// The error of connect(2) on a non-blocking socket that is still connecting.
pub(crate) const EINPROGRESS: i32 = 36;

/// Opens a non-blocking socket.
pub(crate) fn open(domain: Domain, protocol: Option<Protocol>) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, protocol)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub(crate) fn set_user_timeout(_: &Socket, _: Duration) -> io::Result<()> {
    Err(unsupported("TCP_USER_TIMEOUT exists on Linux only"))
}

pub(crate) fn set_interface(_: &Socket, _: &str) -> io::Result<()> {
    Err(unsupported("SO_BINDTODEVICE exists on Linux only"))
}

/// Returns the error of a path that begins with a zero byte.
pub(crate) fn abstract_name(_: &Path) -> io::Result<SockAddr> {
    Err(unsupported(
        "abstract Unix socket names exist on Linux only",
    ))
}

fn unsupported(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}
