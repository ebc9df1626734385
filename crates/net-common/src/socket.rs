//! Sockets: opening them with their options, sending, and probing idle ones.

use std::{
    fmt,
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr},
    os::{
        fd::{AsFd, AsRawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use httpcore_core_primitives::{ConnectionInfo, IdleEvent, Runtime, TcpOptions, sleep_until};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive};

use crate::os;

/// The flag of send(2) and recv(2) for a call that does not block.
pub const MSG_DONTWAIT: i32 = os::MSG_DONTWAIT;

/// The first delay before connecting again to a Unix listener whose backlog is full; it doubles each time.
const MIN_BACKLOG_DELAY: Duration = Duration::from_millis(1);
/// Maximum delay before connecting again to such a listener.
const MAX_BACKLOG_DELAY: Duration = Duration::from_millis(32);

/// Maximum number of slices in one call (`IOV_MAX`); the kernel refuses a call with more.
const MAX_SLICES: usize = 1024;

/// Maximum number of bytes that one call moves (`MAX_RW_COUNT`), whatever the socket has room for.
const MAX_WRITE_BYTES: usize = 0x7fff_f000;

/// Opens a non-blocking TCP socket for connecting to `peer`, with `options`, bound to their local address if
/// they have one. `TCP_NODELAY` is not set: the backend's stream does that.
///
/// # Errors
///
/// Those of socket(2), setsockopt(2) and bind(2), and those of the hook;
/// [`io::ErrorKind::Unsupported`] for an option that the system does not have.
pub fn open_tcp(peer: SocketAddr, options: &TcpOptions) -> io::Result<Socket> {
    let socket = os::open(Domain::for_address(peer), Some(Protocol::TCP))?;
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    // Before connecting: the window announced in the handshake depends on it.
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(keepalive) = keepalive(options) {
        socket.set_tcp_keepalive(&keepalive)?;
    }
    if let Some(limit) = options.user_timeout {
        os::set_user_timeout(&socket, limit)?;
    }
    if let Some(interface) = &options.interface {
        os::set_interface(&socket, interface)?;
    }
    if let Some(mark) = options.mark {
        socket.set_mark(mark)?;
    }
    if let Some(class) = options.traffic_class {
        match peer {
            SocketAddr::V4(_) => socket.set_tos_v4(class.into())?,
            SocketAddr::V6(_) => socket.set_tclass_v6(class.into())?,
        }
    }
    if let Some(algorithm) = &options.congestion {
        socket.set_tcp_congestion(algorithm.as_bytes())?;
    }
    if let Some(local) = options.local_for(peer) {
        socket.bind(&local.into())?;
    }
    if let Some(hook) = &options.hook {
        hook.prepare(socket.as_fd(), peer)?;
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

/// Opens a non-blocking Unix socket.
///
/// # Errors
///
/// Those of socket(2).
pub fn open_unix() -> io::Result<Socket> {
    os::open(Domain::UNIX, None)
}

/// Returns the address of a Unix socket: a path, or an abstract name if it begins with a zero byte
/// (on Linux).
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] if `path` is empty, too long, or has a zero byte elsewhere.
pub fn unix_address(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes == [0] {
        // The kernel would choose a name itself.
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "empty Unix socket path",
        ));
    }
    if bytes[0] != 0 && bytes.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "Unix socket path contains a zero byte",
        ));
    }
    if bytes[0] == 0 {
        return os::abstract_name(path);
    }
    SockAddr::unix(path)
}

/// Opens a socket and connects it to the Unix socket at `path`. Yields the socket, and whether it is
/// connected already; otherwise it is once it is writable.
///
/// Dropping the future closes the socket.
///
/// # Errors
///
/// Those of socket(2) and connect(2); [`io::ErrorKind::InvalidInput`] if `path` is not valid.
pub async fn connect_unix(runtime: &Arc<dyn Runtime>, path: &Path) -> io::Result<(Socket, bool)> {
    let address = unix_address(path)?;
    let socket = open_unix()?;
    let mut delay = MIN_BACKLOG_DELAY;
    loop {
        match connect(&socket, &address) {
            // The listener's backlog is full. TCP retries by itself; a non-blocking Unix socket fails, and
            // there is no event when the backlog has room.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep_until(runtime, runtime.now() + delay).await;
                delay = (delay * 2).min(MAX_BACKLOG_DELAY);
            }
            outcome => return Ok((socket, outcome?)),
        }
    }
}

/// Starts to connect. Returns whether the socket is connected already.
///
/// # Errors
///
/// Those of connect(2), except those that mean that connecting continues.
pub fn connect(socket: &Socket, address: &SockAddr) -> io::Result<bool> {
    match socket.connect(address) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(os::EINPROGRESS) => Ok(false),
        // An interrupted attempt continues in the background.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets `socket` to blocking mode; calls with [`MSG_DONTWAIT`] still do not block.
///
/// It uses std, which makes one system call (`FIONBIO`) where `Socket` would make two.
///
/// # Errors
///
/// Those of ioctl(2).
pub fn set_blocking(socket: Socket) -> io::Result<Socket> {
    let socket = std::net::TcpStream::from(socket);
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

/// The slices that one call can send.
pub struct SendBatch<'a, 'b> {
    bufs: &'a [IoSlice<'b>],
    len: usize,
}

impl<'a, 'b> SendBatch<'a, 'b> {
    /// Returns the first of `bufs`, at most as many as one call accepts.
    pub fn of(bufs: &'a [IoSlice<'b>]) -> Self {
        let mut bufs = &bufs[..bufs.len().min(MAX_SLICES)];
        // A head without a body becomes a single slice, which is cheaper than a vectored call.
        while let [rest @ .., last] = bufs
            && last.is_empty()
        {
            bufs = rest;
        }
        SendBatch {
            bufs,
            len: bufs
                .iter()
                .fold(0, |len: usize, buf| len.saturating_add(buf.len())),
        }
    }

    /// Returns the number of bytes that one call sends if the socket has room.
    pub fn bytes(&self) -> usize {
        self.len.min(MAX_WRITE_BYTES)
    }

    /// Sends with one call, without SIGPIPE. `flags` are those of send(2).
    ///
    /// # Errors
    ///
    /// Those of send(2).
    pub fn send(&self, socket: &Socket, flags: i32) -> io::Result<usize> {
        let flags = flags | os::MSG_NOSIGNAL;
        match self.bufs {
            [only] => socket.send_with_flags(only, flags),
            several => socket.send_vectored_with_flags(several, flags),
        }
    }
}

/// Maximum age of an observation of an idle socket: of the read that emptied it, of a probe, or of the last
/// poll for events. After that, a check before use makes a system call. It is more than the time between two
/// exchanges in a busy loop, and of the order of a round trip, during which an end of the peer is on its way
/// in any case.
pub const IDLE_CHECK_MAX_AGE: Duration = Duration::from_micros(500);

/// Probes an idle socket with one system call. Returns why it is not fit for use, or `None` if it is.
pub fn probe_idle(socket: &Socket) -> Option<IdleEvent> {
    let mut byte = [MaybeUninit::uninit()];
    loop {
        return match socket.recv_with_flags(&mut byte, os::MSG_PEEK | MSG_DONTWAIT) {
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

/// Shuts the write side down. It is no error if the peer has closed the connection already.
///
/// # Errors
///
/// Those of shutdown(2).
pub fn shut_down_writing(socket: &Socket) -> io::Result<()> {
    match socket.shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        outcome => outcome,
    }
}

/// Returns the addresses of a socket. The local one is a system call at each call, since it is rarely used.
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

/// Returns the error of a read into a buffer without spare capacity.
pub fn no_capacity() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "read buffer has no spare capacity",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use httpcore_core_primitives::SocketHook;
    use std::net::Ipv4Addr;

    #[test]
    fn options_are_set_on_the_socket() {
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
        // The kernel doubles the size, for its own bookkeeping.
        assert!(socket.send_buffer_size().unwrap() >= 128 * 1024);
        assert!(socket.recv_buffer_size().unwrap() >= 96 * 1024);
    }

    #[test]
    fn traffic_class_and_congestion_control_are_set_in_both_families() {
        let options = TcpOptions::default()
            .with_traffic_class(0b1011_1000)
            .with_congestion("reno".to_owned());
        let v4 = open_tcp(SocketAddr::from(([127, 0, 0, 1], 80)), &options).unwrap();
        assert_eq!(v4.tos_v4().unwrap(), 0b1011_1000);
        let name = v4.tcp_congestion().unwrap();
        assert_eq!(name.strip_suffix(b"\0").unwrap_or(&name)[..4], *b"reno");
        let v6 = open_tcp("[::1]:80".parse().unwrap(), &options);
        // A machine without IPv6 has no such socket.
        if let Ok(v6) = v6 {
            assert_eq!(v6.tclass_v6().unwrap(), 0b1011_1000);
        }
        let unknown = TcpOptions::default().with_congestion("no such thing".to_owned());
        assert!(open_tcp(SocketAddr::from(([127, 0, 0, 1], 80)), &unknown).is_err());
    }

    #[test]
    fn a_mark_is_set_or_the_error_is_that_of_the_kernel() {
        let options = TcpOptions::default().with_mark(7);
        match open_tcp(SocketAddr::from(([127, 0, 0, 1], 80)), &options) {
            Ok(socket) => assert_eq!(socket.mark().unwrap(), 7),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }

    #[test]
    fn the_hook_sees_the_socket_with_its_options_and_its_error_is_returned() {
        let options = TcpOptions::default()
            .with_send_buffer(128 * 1024)
            .with_hook(SocketHook::new(|descriptor, peer| {
                let socket = Socket::from(descriptor.try_clone_to_owned()?);
                assert!(socket.send_buffer_size()? >= 128 * 1024);
                assert_eq!(peer.port(), 80);
                socket.set_linger(Some(Duration::from_secs(9)))
            }));
        let peer = SocketAddr::from(([127, 0, 0, 1], 80));
        let socket = open_tcp(peer, &options).unwrap();
        assert_eq!(socket.linger().unwrap(), Some(Duration::from_secs(9)));
        let refusing = SocketHook::new(|_, _| Err(io::ErrorKind::Unsupported.into()));
        let error = open_tcp(peer, &options.with_hook(refusing)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn unset_options_do_not_change_the_socket() {
        let options = TcpOptions::default();
        let socket = open_tcp(SocketAddr::from(([127, 0, 0, 1], 80)), &options).unwrap();
        assert!(!socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }

    #[test]
    fn send_batch_is_limited_to_one_call() {
        let bytes = [0; 3];
        let bufs: Vec<_> = (0..2000).map(|_| IoSlice::new(&bytes)).collect();
        let batch = SendBatch::of(&bufs);
        assert_eq!((batch.bufs.len(), batch.bytes()), (1024, 3072));
        assert_eq!(SendBatch::of(&[]).bytes(), 0);
        let head_and_empty = [IoSlice::new(&bytes), IoSlice::new(&[])];
        let batch = SendBatch::of(&head_and_empty);
        assert_eq!((batch.bufs.len(), batch.bytes()), (1, 3));
    }
}
