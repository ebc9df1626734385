//! What a [`MockNet`] tells about itself: what is alive, what waits, and what has been written.

use crate::{net::MockNet, report::LiveCounts};

impl MockNet {
    /// What the code under test holds now. See [`LiveCounts`] for what is counted.
    pub fn live_counts(&self) -> LiveCounts {
        self.world().with(|state, _| state.live_counts())
    }

    /// What [`live_counts`](Self::live_counts) counts, one by one and by name.
    pub fn live(&self) -> Vec<String> {
        self.world().with(|state, _| state.live(false))
    }

    /// As [`live`](Self::live), with timers which are not armed.
    pub(crate) fn live_and_unarmed(&self) -> Vec<String> {
        self.world().with(|state, _| state.live(true))
    }

    /// Everything there is and what it waits for, in words; what [`run`](Self::run) says when
    /// nothing can go on.
    pub fn report(&self) -> String {
        self.world().report("the world as it stands")
    }

    /// What has been written on each connection so far, with times: one text for each connection,
    /// in the order in which they were made. Good for snapshots: the same conversation reads the
    /// same, however its writes were cut.
    ///
    /// HTTP/1 reads as text, HTTP/2 as frames, and [TLS without cryptography](crate::MockTls) as
    /// what is inside. Times are those of writing. `>` is the client, `<` the server. A line ends
    /// with CRLF where nothing else is shown; `\n` is a line feed alone, and `…` no line end at
    /// all.
    pub fn transcripts(&self) -> Vec<String> {
        self.world().with(|state, _| state.transcripts.texts())
    }

    /// All of [`transcripts`](Self::transcripts), one after the other.
    pub fn transcript(&self) -> String {
        self.transcripts().join("\n")
    }

    /// How many bytes of each direction of each connection are kept for
    /// [`transcripts`](Self::transcripts), from now on; 1 MiB unless this is called.
    pub fn set_transcript_limit(&self, bytes: usize) {
        self.world()
            .with(|state, _| state.transcripts.set_limit(bytes));
    }
}
