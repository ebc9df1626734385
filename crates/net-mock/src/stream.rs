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
    connection::Connection,
    ends::End,
    hosts::Accepted,
    pipe::{Ending, StepContext},
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

    /// The server's end of a connection.
    pub(crate) fn server(world: Arc<World>, accepted: Accepted) -> Self {
        Self::new(world, accepted.id, End::Server, accepted.info)
    }

    /// The connection this is an end of, for those who reset it or ask about it.
    pub(crate) fn handle(&self) -> StreamHandle {
        StreamHandle {
            world: self.world.clone(),
            id: self.id,
            end: self.end,
        }
    }

    fn with<T>(
        &self,
        step: impl FnOnce(&mut Connection, &mut StepContext<'_>) -> T,
    ) -> io::Result<T> {
        self.world.with(|state, wakes| {
            let Some((one, mut context)) = state.connection(self.id, wakes) else {
                return Err(ErrorKind::NotConnected.into());
            };
            if !one.is_held(self.end) {
                return Err(ErrorKind::NotConnected.into());
            }
            Ok(step(one, &mut context))
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
        let read = self.with(|one, context| {
            let read = one.pipe(self.end.incoming()).read(context, waker, buf);
            if is_reset(&read) {
                one.reset_reported(self.end);
            }
            read
        })?;
        if read.is_pending() {
            self.world.watch().waits();
        }
        read
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let waker = cx.waker().clone();
        let direction = self.end.outgoing();
        let (taken, severed) = self.with(|one, context| {
            let taken = one.pipe(direction).write(context, waker, bufs);
            if is_reset(&taken) {
                one.reset_reported(self.end);
            }
            (taken, one.sever_if_failed(context, direction))
        })?;
        let taken = ready!(taken)?;
        self.world.with(|state, _| {
            let now = state.event_queue.now();
            state.transcripts.bytes(self.id, now, direction, &taken);
            if severed {
                state.transcripts.severed(self.id, now, direction);
            }
        });
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let direction = self.end.outgoing();
        let said = self.with(|one, context| one.pipe(direction).close(context, Ending::Fin))?;
        if said {
            self.world.with(|state, _| {
                let now = state.event_queue.now();
                state
                    .transcripts
                    .ending(self.id, now, direction, Ending::Fin);
            });
        }
        Poll::Ready(Ok(()))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        let waker = cx.waker().clone();
        self.with(|one, context| one.pipe(self.end.incoming()).idle(context, waker))
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
        self.handle().close_end(false);
    }
}

impl fmt::Debug for MockStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MockStream(#{} {:?})", self.id, self.end)
    }
}

/// Which end of which connection of which world.
#[derive(Clone)]
pub(crate) struct StreamHandle {
    pub(crate) world: Arc<World>,
    pub(crate) id: u64,
    end: End,
}

impl StreamHandle {
    /// What reports call the connection.
    pub(crate) fn label(&self) -> String {
        let label = self.world.with(|state, _| {
            let one = state.connections.get(&self.id)?;
            Some(one.label.clone())
        });
        label.unwrap_or_else(|| format!("connection #{}", self.id))
    }

    /// Closes this end, with FIN or RST. Doing so again changes nothing.
    pub(crate) fn close_end(&self, reset: bool) {
        self.world.with(|state, wakes| {
            let Some((one, mut context)) = state.connection(self.id, wakes) else {
                return;
            };
            let held = one.is_held(self.end);
            let ending = held.then(|| one.close_end(&mut context, self.end, reset));
            if one.is_over() {
                state.connections.remove(&self.id);
            }
            if let Some(ending) = ending.flatten() {
                let now = state.event_queue.now();
                let direction = self.end.outgoing();
                state.transcripts.ending(self.id, now, direction, ending);
            }
        });
    }
}

/// Makes a connection, both ends of which are held.
pub(crate) fn connect(
    world: &Arc<World>,
    state: &mut State,
    make: impl FnOnce(u64) -> Connection,
) -> (MockStream, Accepted) {
    let id = state.event_queue.number();
    let one = make(id);
    let info = |local, peer| {
        let mut info = ConnectionInfo::default();
        (info.local, info.peer) = (local, peer);
        info
    };
    let client = info(one.client, one.server);
    let server = info(one.server, one.client);
    state
        .transcripts
        .begin(id, &one.label, one.client, one.server);
    state.connections.insert(id, one);
    (
        MockStream::new(world.clone(), id, End::Client, client),
        Accepted { id, info: server },
    )
}
