//! Links between two hosts: latency, bandwidth, fragmentation and faults.

use std::time::Duration;

/// Description of a link from a client to a server. By default it has no latency, unlimited bandwidth,
/// 64 KiB of buffer in each direction, and no faults.
///
/// ```
/// use httpcore_net_mock::{Chunks, Link};
/// use std::time::Duration;
///
/// let slow_and_fragmented = Link::new()
///     .latency(Duration::from_millis(20))
///     .to_client(|path| path.bandwidth(10_000).chunks(Chunks::Each(1)).reset_at(300));
/// # let _ = slow_and_fragmented;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Link {
    pub(crate) connecting: Connecting,
    pub(crate) dial: Duration,
    pub(crate) to_server: Path,
    pub(crate) to_client: Path,
}

/// Result of an attempt to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Connecting {
    #[default]
    Succeeds,
    Refused,
    Unreachable,
    Unanswered,
    /// The path of the Unix socket does not exist.
    Absent,
}

impl Link {
    /// Returns a link without latency and faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a link that refuses connections, after a round trip.
    pub fn refused() -> Self {
        Link {
            connecting: Connecting::Refused,
            ..Self::default()
        }
    }

    /// Returns a link on which connecting fails with "host unreachable", after a round trip.
    pub fn unreachable() -> Self {
        Link {
            connecting: Connecting::Unreachable,
            ..Self::default()
        }
    }

    /// Returns a link on which connecting is never answered.
    pub fn blackhole() -> Self {
        Link {
            connecting: Connecting::Unanswered,
            ..Self::default()
        }
    }

    /// Sets the latency of each direction. Connecting takes one round trip: twice the latency.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.to_server.latency = latency;
        self.to_client.latency = latency;
        self
    }

    /// Sets the bandwidth of each direction, in bytes per second.
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.to_server = self.to_server.bandwidth(bytes_per_second);
        self.to_client = self.to_client.bandwidth(bytes_per_second);
        self
    }

    /// Sets the fragmentation of each direction.
    pub fn chunks(mut self, chunks: Chunks) -> Self {
        self.to_server.chunks = chunks.clone();
        self.to_client.chunks = chunks;
        self
    }

    /// Sets the buffer of each direction: the maximum number of bytes written and not yet read.
    pub fn buffer(mut self, bytes: usize) -> Self {
        self.to_server = self.to_server.buffer(bytes);
        self.to_client = self.to_client.buffer(bytes);
        self
    }

    /// Configures the direction from client to server.
    pub fn to_server(mut self, shape: impl FnOnce(Path) -> Path) -> Self {
        self.to_server = shape(self.to_server);
        self
    }

    /// Configures the direction from server to client.
    pub fn to_client(mut self, shape: impl FnOnce(Path) -> Path) -> Self {
        self.to_client = shape(self.to_client);
        self
    }

    pub(crate) fn connects(&self) -> bool {
        self.connecting == Connecting::Succeeds
    }

    /// Sets the time of connecting alone.
    pub(crate) fn connecting_after(mut self, duration: Duration) -> Self {
        self.dial = duration;
        self
    }

    /// The time that connecting takes.
    pub(crate) fn dialling(&self) -> Duration {
        self.round_trip() + self.dial
    }

    /// The round-trip time.
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

/// A fault at a byte position of a path.
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
    /// Returns a path without latency and faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the latency.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Sets the bandwidth in bytes per second, at least 1. Bytes arrive in packets of at most 1,460.
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(bytes_per_second.max(1));
        self
    }

    /// Sets how reads are split.
    pub fn chunks(mut self, chunks: Chunks) -> Self {
        self.chunks = chunks;
        self
    }

    /// Sets the maximum number of bytes written and not yet read, at least 1. Beyond it, writes are
    /// pending. The writer observes room at once, without latency.
    pub fn buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes.max(1);
        self
    }

    /// Resets the connection after `n` bytes of this direction (with 0, at the first write): the reader
    /// gets those bytes, then both sides fail.
    pub fn reset_at(mut self, n: u64) -> Self {
        self.fault = Some((n, Fault::Reset));
        self
    }

    /// Ends the stream for the reader after `n` bytes; the writer does not observe it.
    pub fn end_at(mut self, n: u64) -> Self {
        self.fault = Some((n, Fault::End));
        self
    }

    /// Drops everything after the first `n` bytes, ends and resets included. Writes are pending once the
    /// buffer is full.
    pub fn blackhole_at(mut self, n: u64) -> Self {
        self.fault = Some((n, Fault::Blackhole));
        self
    }
}

/// How reads of a path are split. At each cut, a read is pending once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Chunks {
    /// A read yields everything that has arrived.
    #[default]
    Coalesced,
    /// A read yields at most the bytes of one write.
    AsWritten,
    /// A read yields at most this number of bytes; cuts are at its multiples.
    Each(usize),
    /// Reads do not cross these positions, counted in bytes from the beginning.
    At(Vec<u64>),
}

impl Chunks {
    /// The number of bytes from position `at` to the next cut.
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
