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

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix(listener, _) => Ok(Stream::Unix(listener.accept()?.0)),
        }
    }

    /// Makes the thread that waits in [`accept`](Self::accept) return, by shutting the socket
    /// down; where that is not a thing (it is on Linux), by connecting to it.
    pub(crate) fn stop(&self) {
        let stopped = match self {
            Listener::Tcp(listener) => listener
                .try_clone()
                .and_then(|twin| TcpStream::from(OwnedFd::from(twin)).shutdown(Shutdown::Both)),
            Listener::Unix(listener, _) => listener
                .try_clone()
                .and_then(|twin| UnixStream::from(OwnedFd::from(twin)).shutdown(Shutdown::Both)),
        };
        if stopped.is_err() {
            match self {
                Listener::Tcp(listener) => {
                    drop(listener.local_addr().and_then(TcpStream::connect));
                }
                Listener::Unix(_, path) => drop(UnixStream::connect(path)),
            }
        }
    }

    /// `id` made unique among the listeners of one server, of which there is one of each kind.
    pub(crate) fn key(&self, id: u64) -> u64 {
        match self {
            Listener::Tcp(_) => id << 1,
            Listener::Unix(..) => id << 1 | 1,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Stream {
    /// Ends both directions; whoever reads sees the end.
    pub(crate) fn shutdown(&self) {
        let _ = self.shutdown_how(Shutdown::Both);
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.shutdown_how(Shutdown::Write)
    }

    fn shutdown_how(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buf),
            Stream::Unix(stream) => (&*stream).read(buf),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(buf),
            Stream::Unix(stream) => (&*stream).write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
