//! TCP and Unix sockets behind one face.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
};

#[cfg(feature = "tls")]
use crate::tls;

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<tls::Session>),
}

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
    #[cfg(feature = "tls")]
    Tls(TcpListener, tls::Acceptor),
}

impl Listener {
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => Ok(Stream::Tcp(accept(listener)?)),
            Listener::Unix(listener, _) => Ok(Stream::Unix(listener.accept()?.0)),
            #[cfg(feature = "tls")]
            Listener::Tls(listener, acceptor) => {
                let session = acceptor.session(accept(listener)?)?;
                Ok(Stream::Tls(Box::new(session)))
            }
        }
    }

    /// Makes the thread that waits in [`accept`](Self::accept) return, by shutting the socket
    /// down; where that is not a thing (it is on Linux), by connecting to it.
    pub(crate) fn stop(&self) {
        let stopped = match self {
            Listener::Tcp(listener) => stop(listener),
            #[cfg(feature = "tls")]
            Listener::Tls(listener, _) => stop(listener),
            Listener::Unix(listener, _) => listener
                .try_clone()
                .and_then(|twin| UnixStream::from(OwnedFd::from(twin)).shutdown(Shutdown::Both)),
        };
        if stopped.is_err() {
            match self {
                Listener::Tcp(listener) => knock(listener),
                #[cfg(feature = "tls")]
                Listener::Tls(listener, _) => knock(listener),
                Listener::Unix(_, path) => drop(UnixStream::connect(path)),
            }
        }
    }

    /// `id` made unique among the listeners of one server, of which there is one of each kind.
    pub(crate) fn key(&self, id: u64) -> u64 {
        match self {
            Listener::Tcp(_) => id << 2,
            Listener::Unix(..) => id << 2 | 1,
            #[cfg(feature = "tls")]
            Listener::Tls(..) => id << 2 | 2,
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn stop(listener: &TcpListener) -> io::Result<()> {
    let twin = listener.try_clone()?;
    TcpStream::from(OwnedFd::from(twin)).shutdown(Shutdown::Both)
}

fn knock(listener: &TcpListener) {
    drop(listener.local_addr().and_then(TcpStream::connect));
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Stream {
    /// Ends both directions; a reader gets the end.
    pub(crate) fn shutdown(&self) {
        let _ = self.shutdown_how(Shutdown::Both);
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Stream::Tls(session) = self {
            session.send_close_notify()?;
        }
        self.shutdown_how(Shutdown::Write)
    }

    fn shutdown_how(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
            #[cfg(feature = "tls")]
            Stream::Tls(session) => session.tcp().shutdown(how),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buf),
            Stream::Unix(stream) => (&*stream).read(buf),
            #[cfg(feature = "tls")]
            Stream::Tls(session) => session.read(buf),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(buf),
            Stream::Unix(stream) => (&*stream).write(buf),
            #[cfg(feature = "tls")]
            Stream::Tls(session) => session.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
