//! Addresses without an answer, together with one at the same port where this server listens: the
//! addresses of one name.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use mio::net::TcpListener;
use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SocketType, bind, getsockname, listen, socket},
};

/// How a dead address behaves.
#[derive(Clone, Copy)]
pub(crate) enum Death {
    /// Connection attempts are dropped.
    Silent,
    Refusing,
}

/// The sockets that keep an address dead.
pub(crate) struct Dead {
    /// The dead and the live address in the order of attempts, separated by a comma.
    pub(crate) addresses: String,
    _socket: OwnedFd,
    _waiting: Vec<TcpStream>,
}

/// Returns two addresses with one port, and the listener at the second: `::1` is dead before `127.0.0.1`,
/// or `127.0.0.1` before `127.0.0.2`.
pub(crate) fn open(death: Death, is_ipv6: bool) -> io::Result<(TcpListener, Dead)> {
    let (family, first, second) = if is_ipv6 {
        (
            AddressFamily::INET6,
            Ipv6Addr::LOCALHOST.into(),
            Ipv4Addr::LOCALHOST,
        )
    } else {
        (
            AddressFamily::INET,
            Ipv4Addr::LOCALHOST.into(),
            Ipv4Addr::new(127, 0, 0, 2),
        )
    };
    let dead = socket(family, SocketType::STREAM, None)?;
    bind(&dead, &SocketAddr::new(first, 0))?;
    let addr: SocketAddr = getsockname(&dead)?.try_into()?;
    let live = TcpListener::bind(SocketAddr::new(second.into(), addr.port()))?;
    let mut waiting = Vec::new();
    if let Death::Silent = death {
        // Nothing accepts: when the queue is full, further attempts are dropped.
        listen(&dead, 0)?;
        let patience = Duration::from_millis(100);
        while let Ok(one_more) = TcpStream::connect_timeout(&addr, patience) {
            waiting.push(one_more);
            if waiting.len() > 64 {
                return Err(io::Error::other("this kernel's queues cannot be filled"));
            }
        }
    }
    let dead = Dead {
        addresses: format!("{addr},{}", live.local_addr()?),
        _socket: dead,
        _waiting: waiting,
    };
    Ok((live, dead))
}
