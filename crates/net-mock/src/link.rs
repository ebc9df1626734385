//! What a link between two hosts is like: its speed, its manners, and how it fails.

use std::time::Duration;

/// A link from a client to a server, described. Without further words it is perfect: no latency,
/// unlimited bandwidth, 64 KiB of buffer in each direction.
///
/// ```
/// use httpcore_net_mock::{Chunks, Link};
/// use std::time::Duration;
///
/// let slow_and_torn = Link::new()
///     .latency(Duration::from_millis(20))
///     .to_client(|path| path.bandwidth(10_000).chunks(Chunks::Each(1)).reset_at(300));
/// # let _ = slow_and_torn;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Link {
    pub(crate) connecting: Connecting,
    pub(crate) dial: Duration,
    pub(crate) to_server: Path,
    pub(crate) to_client: Path,
}

/// What becomes of an attempt to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Connecting {
    #[default]
    Succeeds,
    Refused,
    Unreachable,
    Unanswered,
    /// There is no such path.
    Absent,
}

impl Link {
    /// A perfect link.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connecting is refused, after a round trip.
    pub fn refused() -> Self {
        Link {
            connecting: Connecting::Refused,
            ..Self::default()
        }
    }

    /// Connecting fails with "host unreachable", after a round trip.
    pub fn unreachable() -> Self {
        Link {
            connecting: Connecting::Unreachable,
            ..Self::default()
        }
    }

    /// Connecting is never answered.
    pub fn blackhole() -> Self {
        Link {
            connecting: Connecting::Unanswered,
            ..Self::default()
        }
    }

    /// How long a byte travels, in either direction; a round trip, and so connecting, takes twice
    /// as long.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.to_server.latency = latency;
        self.to_client.latency = latency;
        self
    }

    /// Bytes per second, in each direction.
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.to_server = self.to_server.bandwidth(bytes_per_second);
        self.to_client = self.to_client.bandwidth(bytes_per_second);
        self
    }

    /// How bytes are cut up, in each direction.
    pub fn chunks(mut self, chunks: Chunks) -> Self {
        self.to_server.chunks = chunks.clone();
        self.to_client.chunks = chunks;
        self
    }

    /// How many bytes, in each direction, may be written before some have been read.
    pub fn buffer(mut self, bytes: usize) -> Self {
        self.to_server = self.to_server.buffer(bytes);
        self.to_client = self.to_client.buffer(bytes);
        self
    }

    /// Shapes the direction in which requests go.
    pub fn to_server(mut self, shape: impl FnOnce(Path) -> Path) -> Self {
        self.to_server = shape(self.to_server);
        self
    }

    /// Shapes the direction in which responses go.
    pub fn to_client(mut self, shape: impl FnOnce(Path) -> Path) -> Self {
        self.to_client = shape(self.to_client);
        self
    }

    pub(crate) fn connects(&self) -> bool {
        self.connecting == Connecting::Succeeds
    }

    /// Takes so long to connect, and not a moment for anything else.
    pub(crate) fn connecting_after(mut self, duration: Duration) -> Self {
        self.dial = duration;
        self
    }

    /// How long connecting takes.
    pub(crate) fn dialling(&self) -> Duration {
        self.round_trip() + self.dial
    }

    /// How long a byte takes there and back.
    fn round_trip(&self) -> Duration {
        self.to_server.latency + self.to_client.latency
    }
}

/// One direction of a [`Link`].
#[derive(Clone, Debug)]
pub struct Path {
    pub(crate) latency: Duration,
    pub(crate) bandwidth: Option<u64>,
    pub(crate) chunks: Chunks,
    pub(crate) buffer: usize,
    pub(crate) fault: Option<(u64, Fault)>,
}

/// What happens to a path at a certain byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Reset,
    End,
    Blackhole,
}

impl Default for Path {
    fn default() -> Self {
        Path {
            latency: Duration::ZERO,
            bandwidth: None,
            chunks: Chunks::Coalesced,
            buffer: 64 * 1024,
            fault: None,
        }
    }
}

impl Path {
    /// A perfect path.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a byte travels.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Bytes per second; at least 1. They arrive in packets of 1,460 bytes or less.
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(bytes_per_second.max(1));
        self
    }

    /// How bytes are cut up for the reader.
    pub fn chunks(mut self, chunks: Chunks) -> Self {
        self.chunks = chunks;
        self
    }

    /// How many bytes may be written before some have been read; at least 1. Room is known to the
    /// writer as soon as there is some, whatever the latency.
    pub fn buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes.max(1);
        self
    }

    /// The connection is reset once `n` bytes have gone this way (with 0, once anything is
    /// written): the reader gets those, and then both sides get errors.
    pub fn reset_at(mut self, n: u64) -> Self {
        self.fault = Some((n, Fault::Reset));
        self
    }

    /// The reader sees the end of the stream after `n` bytes, and the writer notices nothing.
    pub fn end_at(mut self, n: u64) -> Self {
        self.fault = Some((n, Fault::End));
        self
    }

    /// Whatever follows the first `n` bytes never arrives, ends and resets included. The writer
    /// notices when the buffer is full.
    pub fn blackhole_at(mut self, n: u64) -> Self {
        self.fault = Some((n, Fault::Blackhole));
        self
    }
}

/// How the bytes of a path are cut up for the reader, who is told "not yet" once at each cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Chunks {
    /// A read yields whatever has arrived.
    #[default]
    Coalesced,
    /// A read yields what was given in one write, and no more.
    AsWritten,
    /// A read yields at most this number of bytes; cuts are at its multiples.
    Each(usize),
    /// Reads do not cross these positions, counted in bytes from the beginning.
    At(Vec<u64>),
}

impl Chunks {
    /// How many bytes may be read at position `at` before the next cut.
    pub(crate) fn until_cut(&self, at: u64) -> usize {
        let distance = match self {
            Chunks::Coalesced | Chunks::AsWritten => return usize::MAX,
            Chunks::Each(size) => {
                let size = (*size).max(1) as u64;
                size - at % size
            }
            Chunks::At(cuts) => match cuts.iter().copied().filter(|cut| *cut > at).min() {
                Some(cut) => cut - at,
                None => return usize::MAX,
            },
        };
        usize::try_from(distance).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_counted_from_the_beginning() {
        assert_eq!(Chunks::Each(4).until_cut(0), 4);
        assert_eq!(Chunks::Each(4).until_cut(6), 2);
        assert_eq!(Chunks::At(vec![9, 3]).until_cut(0), 3);
        assert_eq!(Chunks::At(vec![9, 3]).until_cut(3), 6);
        assert_eq!(Chunks::At(vec![9, 3]).until_cut(9), usize::MAX);
    }
}
