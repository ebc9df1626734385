//! A socket of tokio's, and what tokio knows of its readiness.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
    time::Instant,
};

use httpcore_core_primitives::{BoxStream, RuntimeShutdown};
use httpcore_executor::SharedTimers;
use httpcore_net_common::ready_stream::{Direction, Readiness, ReadyStream};
use socket2::{SockRef, Socket};
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
};

use crate::Shared;

/// A registered socket.
struct TokioSocket<S> {
    io: S,
    timers: SharedTimers,
}

/// Registers a TCP socket which is connected or connecting, and waits until it is connected.
pub(crate) async fn tcp(
    shared: &Shared,
    socket: Socket,
    peer: SocketAddr,
    is_connected: bool,
) -> io::Result<BoxStream> {
    let io = {
        let _runtime = shared.handle.enter();
        TcpStream::from_std(socket.into())
    };
    let source = registered(shared, io)?;
    ReadyStream::connect(source, Some(peer), is_connected).await
}

/// The same for a Unix socket.
pub(crate) async fn unix(
    shared: &Shared,
    socket: Socket,
    is_connected: bool,
) -> io::Result<BoxStream> {
    let io = {
        let _runtime = shared.handle.enter();
        UnixStream::from_std(socket.into())
    };
    let source = registered(shared, io)?;
    ReadyStream::connect(source, None, is_connected).await
}

fn registered<S>(shared: &Shared, io: io::Result<S>) -> io::Result<TokioSocket<S>> {
    match io {
        Ok(io) => Ok(TokioSocket {
            io,
            timers: shared.timers.clone(),
        }),
        Err(_) if shared.timers.has_ended() => Err(RuntimeShutdown::error()),
        Err(error) => Err(error),
    }
}

macro_rules! readiness {
    ($stream:ty) => {
        impl Readiness for TokioSocket<$stream> {
            const NAME: &'static str = "tokio::Stream";

            fn poll_ready(
                &self,
                direction: Direction,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                // tokio's I/O driver outlives the tasks of its runtime for a while.
                if self.has_ended() {
                    return Poll::Ready(Err(RuntimeShutdown::error()));
                }
                match direction {
                    Direction::Read => self.io.poll_read_ready(cx),
                    Direction::Write => self.io.poll_write_ready(cx),
                }
            }

            fn try_io<R>(
                &self,
                direction: Direction,
                call: impl FnOnce() -> io::Result<R>,
            ) -> io::Result<R> {
                let interest = match direction {
                    Direction::Read => Interest::READABLE,
                    Direction::Write => Interest::WRITABLE,
                };
                self.io.try_io(interest, call)
            }

            fn socket(&self) -> SockRef<'_> {
                SockRef::from(&self.io)
            }

            fn now(&self) -> Instant {
                self.timers.now()
            }

            fn has_ended(&self) -> bool {
                self.timers.has_ended()
            }
        }
    };
}

readiness!(TcpStream);
readiness!(UnixStream);
