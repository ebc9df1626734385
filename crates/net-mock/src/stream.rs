//! One end of a connection, as a [`NetworkStream`].

use std::{
    fmt,
    io::{self, ErrorKind, IoSlice},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use httpcore_core_primitives::{ConnectionInfo, IdleEvent, NetworkStream};

use crate::{
    connection::{Connection, End},
    pipe::{Ending, Moment},
    world::{State, World},
};

/// Holds one end of a connection; dropped, it closes it.
pub(crate) struct MockStream {
    world: Arc<World>,
    id: u64,
    end: End,
    info: ConnectionInfo,
}

impl MockStream {
    pub(crate) fn new(world: Arc<World>, id: u64, end: End, info: ConnectionInfo) -> Self {
        MockStream {
            world,
            id,
            end,
            info,
        }
    }

    /// The connection this is an end of, for those who reset it or ask about it.
    pub(crate) fn line(&self) -> Line {
        Line {
            world: self.world.clone(),
            id: self.id,
            end: self.end,
        }
    }

    fn with<T>(&self, step: impl FnOnce(&mut Connection, &mut Moment<'_>) -> T) -> io::Result<T> {
        self.world.with(|state, wakes| {
            let Some((one, mut moment)) = state.connection(self.id, wakes) else {
                return Err(ErrorKind::NotConnected.into());
            };
            if !one.is_held(self.end) {
                return Err(ErrorKind::NotConnected.into());
            }
            Ok(step(one, &mut moment))
        })
    }
}

impl NetworkStream for MockStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        assert!(
            buf.capacity() > buf.len(),
            "poll_read needs room in the buffer: the caller reserves it"
        );
        let waker = cx.waker().clone();
        self.with(|one, moment| {
            let read = one.pipe(self.end.incoming()).read(moment, waker, buf);
            if is_reset(&read) {
                one.told_of_reset(self.end);
            }
            read
        })?
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let waker = cx.waker().clone();
        let direction = self.end.outgoing();
        let (taken, severed) = self.with(|one, moment| {
            let taken = one.pipe(direction).write(moment, waker, bufs);
            if is_reset(&taken) {
                one.told_of_reset(self.end);
            }
            (taken, one.sever_if_failed(moment, direction))
        })?;
        let taken = ready!(taken)?;
        self.world.with(|state, _| {
            let now = state.event_queue.now();
            state.log.bytes(self.id, now, direction, &taken);
            if severed {
                state.log.severed(self.id, now, direction);
            }
        });
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let direction = self.end.outgoing();
        let said = self.with(|one, moment| one.pipe(direction).close(moment, Ending::Fin))?;
        if said {
            self.world.with(|state, _| {
                let now = state.event_queue.now();
                state.log.ending(self.id, now, direction, Ending::Fin);
            });
        }
        Poll::Ready(Ok(()))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        let waker = cx.waker().clone();
        self.with(|one, moment| one.pipe(self.end.incoming()).idle(moment, waker))
            .unwrap_or_else(|error| Poll::Ready(IdleEvent::Failed(error.kind())))
    }

    fn info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

fn is_reset<T>(outcome: &Poll<io::Result<T>>) -> bool {
    matches!(outcome, Poll::Ready(Err(error)) if error.kind() == ErrorKind::ConnectionReset)
}

impl Drop for MockStream {
    fn drop(&mut self) {
        self.line().let_go(false);
    }
}

impl fmt::Debug for MockStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MockStream(#{} {:?})", self.id, self.end)
    }
}

/// Which end of which connection of which world.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) world: Arc<World>,
    pub(crate) id: u64,
    end: End,
}

impl Line {
    /// What reports call the connection.
    pub(crate) fn label(&self) -> String {
        let label = self.world.with(|state, _| {
            let one = state.connections.get(&self.id)?;
            Some(one.label.clone())
        });
        label.unwrap_or_else(|| format!("connection #{}", self.id))
    }

    /// Closes this end, with FIN or RST. Doing so again changes nothing.
    pub(crate) fn let_go(&self, reset: bool) {
        self.world.with(|state, wakes| {
            let Some((one, mut moment)) = state.connection(self.id, wakes) else {
                return;
            };
            let held = one.is_held(self.end);
            let ending = held.then(|| one.let_go(&mut moment, self.end, reset));
            if one.is_over() {
                state.connections.remove(&self.id);
            }
            if let Some(ending) = ending.flatten() {
                let now = state.event_queue.now();
                let direction = self.end.outgoing();
                state.log.ending(self.id, now, direction, ending);
            }
        });
    }
}

/// Makes a connection, both ends of which are held.
pub(crate) fn connect(
    world: &Arc<World>,
    state: &mut State,
    make: impl FnOnce(u64) -> Connection,
) -> (MockStream, MockStream) {
    let id = state.event_queue.number();
    let one = make(id);
    let info = |local, peer| {
        let mut info = ConnectionInfo::default();
        (info.local, info.peer) = (local, peer);
        info
    };
    let client = info(one.client, one.server);
    let server = info(one.server, one.client);
    state.log.begin(id, &one.label, one.client, one.server);
    state.connections.insert(id, one);
    (
        MockStream::new(world.clone(), id, End::Client, client),
        MockStream::new(world.clone(), id, End::Server, server),
    )
}
