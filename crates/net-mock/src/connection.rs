//! Both ends of one connection, and what happens to it as a whole.

use std::{io::ErrorKind, net::SocketAddr, task::Waker};

use crate::{
    ends::{Direction, End, Side},
    link::Link,
    pipe::{Ending, Pipe, StepContext},
};

/// A connection of the world, for as long as one of its ends is held.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) label: String,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) server: Option<SocketAddr>,
    /// Who made it: the code under test, or a server that is a client of another.
    pub(crate) made_by: Side,
    held: [bool; 2],
    pipes: [Pipe; 2],
}

impl Connection {
    pub(crate) fn new(id: u64, label: String, link: Link, made_by: Side) -> Self {
        Connection {
            label,
            client: None,
            server: None,
            made_by,
            held: [true; 2],
            pipes: [
                Pipe::new(link.to_server, id, Direction::ToServer),
                Pipe::new(link.to_client, id, Direction::ToClient),
            ],
        }
    }

    pub(crate) fn pipe(&mut self, direction: Direction) -> &mut Pipe {
        &mut self.pipes[direction.index()]
    }

    pub(crate) fn pipes(&self) -> &[Pipe; 2] {
        &self.pipes
    }

    pub(crate) fn is_held(&self, end: End) -> bool {
        self.held[end.index()]
    }

    pub(crate) fn is_over(&self) -> bool {
        self.held == [false; 2]
    }

    /// A path has failed at its byte: both directions end.
    pub(crate) fn sever_if_failed(
        &mut self,
        context: &mut StepContext<'_>,
        direction: Direction,
    ) -> bool {
        if !self.pipe(direction).take_severed() {
            return false;
        }
        let (there, back) = (
            self.pipe(direction).latency(),
            self.pipe(direction.other()).latency(),
        );
        self.pipe(direction).sever(context, back);
        self.pipe(direction.other()).sever(context, there);
        true
    }

    /// `end` has been told of a reset, in one direction; it is not told again in the other.
    ///
    /// What this means on Linux, and here: after a write has failed with a reset, reading yields
    /// what had arrived before it, and then an end that looks like any other.
    pub(crate) fn reset_reported(&mut self, end: End) {
        self.pipe(end.incoming()).ending_reported();
        self.pipe(end.outgoing()).broken_reported();
    }

    /// One end goes away, with FIN or RST. Yields how it ended, for the log.
    ///
    /// RFC 9293 §3.10.4 and RFC 2525 §2.17: closing with bytes unread resets the connection, so
    /// that the peer learns that they were not read.
    pub(crate) fn close_end(
        &mut self,
        context: &mut StepContext<'_>,
        end: End,
        reset: bool,
    ) -> Option<Ending> {
        self.held[end.index()] = false;
        let incoming = self.pipe(end.incoming());
        let reset = reset || incoming.has_unread();
        incoming.reader_dropped(context);
        let outgoing = self.pipe(end.outgoing());
        outgoing.writer_dropped(context);
        let delay = outgoing.latency();
        let ending = if reset { Ending::Reset } else { Ending::Fin };
        let said = outgoing.close(context, ending);
        if reset {
            // After a FIN, a reset means only that the bytes are not read.
            let kind = match said {
                true => ErrorKind::ConnectionReset,
                false => ErrorKind::BrokenPipe,
            };
            self.pipe(end.incoming()).fail_writes(context, delay, kind);
        }
        said.then_some(ending)
    }

    /// Wakers that could be called without reason.
    pub(crate) fn wakers(&self) -> impl Iterator<Item = &Waker> {
        self.pipes.iter().flat_map(Pipe::wakers)
    }
}
