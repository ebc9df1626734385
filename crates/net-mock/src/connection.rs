//! A connection: both ends, both directions.

use std::{io::ErrorKind, net::SocketAddr, task::Waker};

use crate::{
    ends::{Direction, End, Side},
    link::Link,
    pipe::{Ending, Pipe, StepContext},
};

/// A connection of the world; it exists while one of its ends is held.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) label: String,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) server: Option<SocketAddr>,
    /// The side that made it: the code under test, or a server that is a client of another.
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

    /// Ends both directions if the path has failed at its byte; returns whether it has.
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

    /// A reset has been reported to `end` in one direction; it is not reported in the other.
    ///
    /// As on Linux: after a write has failed with a reset, reading yields
    /// what had arrived before it, and then an end that looks like any other.
    pub(crate) fn reset_reported(&mut self, end: End) {
        self.pipe(end.incoming()).ending_reported();
        self.pipe(end.outgoing()).broken_reported();
    }

    /// Closes one end, with FIN or RST. Returns which of them was sent, for the transcript.
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

    /// The registered wakers, for spurious wake-ups.
    pub(crate) fn wakers(&self) -> impl Iterator<Item = &Waker> {
        self.pipes.iter().flat_map(Pipe::wakers)
    }
}
