//! The two ends of a connection, its two directions, and the two sides of a test.

/// One of the two directions of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

impl Direction {
    pub(crate) fn index(self) -> usize {
        match self {
            Direction::ToServer => 0,
            Direction::ToClient => 1,
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Direction::ToServer => Direction::ToClient,
            Direction::ToClient => Direction::ToServer,
        }
    }
}

/// One of the two ends of a connection.
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

    pub(crate) fn index(self) -> usize {
        match self {
            End::Client => 0,
            End::Server => 1,
        }
    }
}

/// The side that a task, timer or connection belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The code under test.
    Client,
    /// A server of the world, and whatever a server's task makes.
    Server,
}
