//! Entries of a transcript.

use std::time::Duration;

use bytes::Bytes;

use crate::ends::Direction;

/// What one end wrote at one instant.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) direction: Direction,
    pub(crate) kind: EntryKind,
}

#[derive(Clone, Debug)]
pub(crate) enum EntryKind {
    Bytes(Bytes),
    /// Number of bytes beyond the limit, which were not kept.
    More(usize),
    /// A frame or a record, in words.
    Note(String),
    End,
    Reset,
    /// The link itself reset the connection.
    Severed,
}

/// Returns a note on `count` bytes at the end that are no complete record or frame.
pub(crate) fn unfinished(last: &Entry, count: usize) -> Entry {
    Entry {
        kind: EntryKind::Note(format!("{count} bytes of something unfinished")),
        ..last.clone()
    }
}
