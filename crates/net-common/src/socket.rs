//! What both backends do with a socket: open it with its options, send, look whether it has ended.

use std::{
    fmt,
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use httpcore_core_primitives::{ConnectionInfo, IdleEvent, Runtime, TcpOptions, sleep_until};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

/// Flags of send(2) and recv(2), the same on every Linux there is.
pub const MSG_DONTWAIT: i32 = 0x40;
const MSG_PEEK: i32 = 0x2;
/// A library cannot rely on the program around it to ignore SIGPIPE.
const MSG_NOSIGNAL: i32 = 0x4000;

/// What connect(2) says when it has only begun; std has no stable name for it.
const EINPROGRESS: i32 = if cfg!(any(
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

/// How long to wait before trying again a listener whose backlog is full, at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LAST_WAIT: Duration = Duration::from_millis(32);

/// How many slices one call takes (`IOV_MAX`); more are refused by the kernel as a whole.
const MAX_SLICES: usize = 1024;

/// How many bytes one call moves (`MAX_RW_COUNT`); less than that was asked for is no news then.
const MAX_WRITE_BYTES: usize = 0x7fff_f000;

/// An unconnected, non-blocking TCP socket with `options`, bound if they say so. `TCP_NODELAY` is
/// left to its stream (see the streams of each backend).
pub fn open_tcp(peer: SocketAddr, options: &TcpOptions) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new_raw(Domain::for_address(peer), kind, Some(Protocol::TCP))?;
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    // Before connecting: the window offered in the handshake depends on it.
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(keepalive) = keepalive(options) {
        socket.set_tcp_keepalive(&keepalive)?;
    }
    if let Some(limit) = options.user_timeout {
        socket.set_tcp_user_timeout(Some(limit))?;
    }
    if let Some(interface) = &options.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(local) = options.local_for(peer) {
        socket.bind(&local.into())?;
    }
    Ok(socket)
}

fn keepalive(options: &TcpOptions) -> Option<TcpKeepalive> {
    let TcpOptions {
        keepalive,
        keepalive_interval,
        keepalive_retries,
        ..
    } = options;
    if keepalive.is_none() && keepalive_interval.is_none() && keepalive_retries.is_none() {
        return None;
    }
    let mut params = TcpKeepalive::new();
    if let Some(idle) = keepalive {
        params = params.with_time(*idle);
    }
    if let Some(interval) = keepalive_interval {
        params = params.with_interval(*interval);
    }
    if let Some(retries) = keepalive_retries {
        params = params.with_retries(*retries);
    }
    Some(params)
}

/// An unconnected, non-blocking Unix socket.
pub fn open_unix() -> io::Result<Socket> {
    Socket::new_raw(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
}

/// The address of a Unix socket: a path, or an abstract name if it begins with a zero byte.
pub fn unix_address(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes == [0] {
        // The kernel would take it for a request to choose a name.
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a Unix socket needs a name",
        ));
    }
    if bytes[0] != 0 && bytes.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path of a Unix socket holds a zero byte",
        ));
    }
    SockAddr::unix(path)
}

/// Opens a socket and connects it to the Unix socket at `path`: yields it, and whether it is connected
/// already, or will be once it can be written to.
///
/// Dropping the future closes the socket.
///
/// # Errors
///
/// Those of socket(2) and connect(2); [`io::ErrorKind::InvalidInput`] if `path` names no socket.
pub async fn connect_unix(runtime: &Arc<dyn Runtime>, path: &Path) -> io::Result<(Socket, bool)> {
    let address = unix_address(path)?;
    let socket = open_unix()?;
    let mut wait = FIRST_WAIT;
    loop {
        match connect(&socket, &address) {
            // The listener's backlog is full. TCP goes on trying by itself; a Unix socket that does not
            // block fails, and is not told when there is room.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep_until(runtime, runtime.now() + wait).await;
                wait = (wait * 2).min(LAST_WAIT);
            }
            outcome => return Ok((socket, outcome?)),
        }
    }
}

/// Begins to connect; whether it is done already.
pub fn connect(socket: &Socket, address: &SockAddr) -> io::Result<bool> {
    match socket.connect(address) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(EINPROGRESS) => Ok(false),
        // Interrupted, the attempt goes on as if it had been asked not to wait.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets calls on `socket` wait unless they say otherwise (`MSG_DONTWAIT`).
///
/// By way of std, whose one call for this (`FIONBIO`) saves the other one that `Socket` would make.
pub fn let_wait(socket: Socket) -> io::Result<Socket> {
    let socket = std::net::TcpStream::from(socket);
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

/// As much of some slices as one call can send.
pub struct Piece<'a, 'b> {
    bufs: &'a [IoSlice<'b>],
    len: usize,
}

impl<'a, 'b> Piece<'a, 'b> {
    /// Returns as many of `bufs` as one call takes.
    pub fn of(bufs: &'a [IoSlice<'b>]) -> Self {
        let mut bufs = &bufs[..bufs.len().min(MAX_SLICES)];
        // A head without a body is one slice to the kernel, which likes that better.
        while let [rest @ .., last] = bufs
            && last.is_empty()
        {
            bufs = rest;
        }
        Piece {
            bufs,
            len: bufs
                .iter()
                .fold(0, |len: usize, buf| len.saturating_add(buf.len())),
        }
    }

    /// Returns how many bytes one call sends if the socket has room.
    pub fn bytes(&self) -> usize {
        self.len.min(MAX_WRITE_BYTES)
    }

    /// Sends them with one call, without SIGPIPE; `flags` are those of send(2).
    ///
    /// # Errors
    ///
    /// Those of send(2).
    pub fn send(&self, socket: &Socket, flags: i32) -> io::Result<usize> {
        let flags = flags | MSG_NOSIGNAL;
        match self.bufs {
            [only] => socket.send_with_flags(only, flags),
            several => socket.send_vectored_with_flags(several, flags),
        }
    }
}

/// Why an idle socket is not fit for use; `None` if it is.
pub fn idle_end(socket: &Socket) -> Option<IdleEvent> {
    let mut byte = [MaybeUninit::uninit()];
    loop {
        return match socket.recv_with_flags(&mut byte, MSG_PEEK | MSG_DONTWAIT) {
            Ok(0) => Some(IdleEvent::Closed),
            Ok(_) => Some(IdleEvent::UnsolicitedData),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => continue,
                io::ErrorKind::WouldBlock => None,
                kind => Some(IdleEvent::Failed(kind)),
            },
        };
    }
}

/// Closes the write side. A peer who has gone already has nothing against it.
pub fn shut_down_writing(socket: &Socket) -> io::Result<()> {
    match socket.shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        outcome => outcome,
    }
}

/// Facts about a socket. The local address is asked of the kernel each time: few want to know.
pub fn info(socket: &Socket, peer: Option<SocketAddr>) -> ConnectionInfo {
    let mut info = ConnectionInfo::default();
    info.peer = peer;
    info.local = peer
        .and_then(|_| socket.local_addr().ok())
        .and_then(|address| address.as_socket());
    info
}

/// Writes the `Debug` form of a stream called `name`: its descriptor and its peer.
pub fn describe(
    name: &str,
    socket: &Socket,
    peer: Option<SocketAddr>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut out = f.debug_struct(name);
    out.field("fd", &socket.as_raw_fd());
    match peer {
        Some(peer) => out.field("peer", &peer),
        None => out.field("peer", &"unix"),
    };
    out.finish_non_exhaustive()
}

/// Returns the error of a read without spare capacity.
pub fn no_room() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "a read needs room: reserve some before",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn options_reach_the_socket() {
        let mut options = TcpOptions::default();
        options.local_v4 = Some(Ipv4Addr::new(127, 0, 0, 9));
        options.keepalive = Some(Duration::from_secs(41));
        options.keepalive_interval = Some(Duration::from_secs(7));
        options.keepalive_retries = Some(3);
        options.user_timeout = Some(Duration::from_secs(23));
        options.send_buffer = Some(128 * 1024);
        options.receive_buffer = Some(96 * 1024);
        let socket = open_tcp(SocketAddr::from(([127, 0, 0, 1], 80)), &options).unwrap();
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(local.ip(), Ipv4Addr::new(127, 0, 0, 9));
        assert!(socket.nonblocking().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(
            socket.tcp_keepalive_time().unwrap(),
            Duration::from_secs(41)
        );
        assert_eq!(
            socket.tcp_keepalive_interval().unwrap(),
            Duration::from_secs(7)
        );
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(
            socket.tcp_user_timeout().unwrap(),
            Some(Duration::from_secs(23))
        );
        // The kernel doubles what it is asked for, to have room for its own bookkeeping.
        assert!(socket.send_buffer_size().unwrap() >= 128 * 1024);
        assert!(socket.recv_buffer_size().unwrap() >= 96 * 1024);
    }

    #[test]
    fn options_that_are_off_leave_the_socket_alone() {
        let options = TcpOptions::default();
        let socket = open_tcp(SocketAddr::from(([127, 0, 0, 1], 80)), &options).unwrap();
        assert!(!socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }

    #[test]
    fn one_piece_is_what_one_call_can_send() {
        let bytes = [0; 3];
        let bufs: Vec<_> = (0..2000).map(|_| IoSlice::new(&bytes)).collect();
        let piece = Piece::of(&bufs);
        assert_eq!((piece.bufs.len(), piece.bytes()), (1024, 3072));
        assert_eq!(Piece::of(&[]).bytes(), 0);
        let head_and_nothing = [IoSlice::new(&bytes), IoSlice::new(&[])];
        let piece = Piece::of(&head_and_nothing);
        assert_eq!((piece.bufs.len(), piece.bytes()), (1, 3));
    }
}
