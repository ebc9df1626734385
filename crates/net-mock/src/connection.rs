//! Both ends of one connection, and what happens to it as a whole.

use std::{io::ErrorKind, net::SocketAddr, task::Waker};

use crate::{
    event_queue::Direction,
    link::Link,
    pipe::{Ending, Moment, Pipe},
    report::Side,
};

/// Which end of a connection somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

impl End {
    /// The direction in which this end writes.
    pub(crate) fn outgoing(self) -> Direction {
        match self {
            End::Client => Direction::ToServer,
            End::Server => Direction::ToClient,
        }
    }

    /// The direction in which this end reads.
    pub(crate) fn incoming(self) -> Direction {
        self.outgoing().other()
    }

    fn index(self) -> usize {
        match self {
            End::Client => 0,
            End::Server => 1,
        }
    }
}

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
        moment: &mut Moment<'_>,
        direction: Direction,
    ) -> bool {
        if !self.pipe(direction).take_severed() {
            return false;
        }
        let (there, back) = (
            self.pipe(direction).latency(),
            self.pipe(direction.other()).latency(),
        );
        self.pipe(direction).sever(moment, back);
        self.pipe(direction.other()).sever(moment, there);
        true
    }

    /// `end` has been told of a reset, in one direction; it is not told again in the other.
    ///
    /// What this means on Linux, and here: after a write has failed with a reset, reading yields
    /// what had arrived before it, and then an end that looks like any other.
    pub(crate) fn told_of_reset(&mut self, end: End) {
        self.pipe(end.incoming()).told_ending();
        self.pipe(end.outgoing()).told_broken();
    }

    /// One end goes away, with FIN or RST. Yields how it ended, for the log.
    ///
    /// RFC 9293 §3.10.4 and RFC 2525 §2.17: closing with bytes unread resets the connection, so
    /// that the peer learns that they were not read.
    pub(crate) fn let_go(
        &mut self,
        moment: &mut Moment<'_>,
        end: End,
        reset: bool,
    ) -> Option<Ending> {
        self.held[end.index()] = false;
        let incoming = self.pipe(end.incoming());
        let reset = reset || incoming.has_unread();
        incoming.abandon(moment);
        let outgoing = self.pipe(end.outgoing());
        outgoing.forget_writer(moment);
        let delay = outgoing.latency();
        let ending = if reset { Ending::Reset } else { Ending::Fin };
        let said = outgoing.close(moment, ending);
        if reset {
            // After a FIN, a reset says no more than that nobody reads.
            let kind = match said {
                true => ErrorKind::ConnectionReset,
                false => ErrorKind::BrokenPipe,
            };
            self.pipe(end.incoming()).break_off(moment, delay, kind);
        }
        said.then_some(ending)
    }

    /// Wakers that could be called without reason.
    pub(crate) fn seats(&self) -> impl Iterator<Item = &Waker> {
        self.pipes.iter().flat_map(Pipe::seats)
    }
}
