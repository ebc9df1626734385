//! Inspection of a [`MockNet`]: live objects, waiting tasks, transcripts.

use crate::{net::MockNet, report::LiveCounts};

impl MockNet {
    /// Returns what the code under test holds now; see [`LiveCounts`].
    pub fn live_counts(&self) -> LiveCounts {
        self.world().with(|state, _| state.live_counts())
    }

    /// Lists what [`live_counts`](Self::live_counts) counts, by name.
    pub fn live(&self) -> Vec<String> {
        self.world().with(|state, _| state.live(false))
    }

    /// Like [`live`](Self::live), with timers which are not armed.
    pub(crate) fn live_and_unarmed(&self) -> Vec<String> {
        self.world().with(|state, _| state.live(true))
    }

    /// Returns a report on everything that exists and what it waits for; [`run`](Self::run) panics with
    /// such a report when nothing can run.
    pub fn report(&self) -> String {
        self.world().report("the world as it stands")
    }

    /// Returns what has been written on each connection so far, with times: one text for each
    /// connection, in the order in which they were made. Suitable for snapshots: the text does not
    /// depend on how writes were split.
    ///
    /// HTTP/1 is shown as text, HTTP/2 as frames, and [TLS without cryptography](crate::MockTls) as its
    /// plaintext. Times are those of writing. `>` is the client, `<` the server. A line ends with CRLF
    /// unless shown otherwise: `\n` is a line feed alone, `…` no line end.
    pub fn transcripts(&self) -> Vec<String> {
        self.world().with(|state, _| state.transcripts.texts())
    }

    /// Returns all [`transcripts`](Self::transcripts), joined.
    pub fn transcript(&self) -> String {
        self.transcripts().join("\n")
    }

    /// Sets the maximum number of bytes of each direction of a connection that are kept for
    /// [`transcripts`](Self::transcripts), from now on; 1 MiB by default. Further bytes are counted only.
    pub fn set_transcript_limit(&self, bytes: usize) {
        self.world()
            .with(|state, _| state.transcripts.set_limit(bytes));
    }
}
