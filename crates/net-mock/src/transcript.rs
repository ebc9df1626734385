//! The wire as text: what was written on each connection, and when.
//!
//! ```text
//! #1 10.255.0.1:49152 -> 10.0.0.1:80 (a.test:80)
//! +0.020000s > GET / HTTP/1.1
//!            > host: a.test
//!            >
//! +0.045000s < HTTP/1.1 204 No Content
//!            <
//! +0.045000s > end
//! ```

use std::{collections::BTreeMap, fmt::Write, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};

use crate::{
    ends::Direction,
    entry::{Entry, EntryKind, unfinished},
    event_queue::At,
    frames::Frames,
    pipe::Ending,
    record_layer::{Kind, begins_handshake, decode},
    text,
};

/// How many bytes of each direction of a connection are kept, unless told otherwise.
const MAX_TRANSCRIPT_BYTES: usize = 1024 * 1024;

/// What all connections have carried.
#[derive(Debug)]
pub(crate) struct Transcripts {
    kept: usize,
    connections: BTreeMap<u64, ConnectionTranscript>,
}

/// What one connection has carried.
#[derive(Debug)]
struct ConnectionTranscript {
    label: String,
    client: Option<SocketAddr>,
    server: Option<SocketAddr>,
    entries: Vec<Entry>,
    kept: [usize; 2],
}

impl Default for Transcripts {
    fn default() -> Self {
        Transcripts {
            kept: MAX_TRANSCRIPT_BYTES,
            connections: BTreeMap::new(),
        }
    }
}

impl Transcripts {
    /// One text for each connection, in the order in which they were made.
    pub(crate) fn texts(&self) -> Vec<String> {
        let connections = self.connections.values().enumerate();
        connections.map(|(n, one)| one.text(n + 1)).collect()
    }

    /// Maximum number of bytes to keep of each direction of a connection, from now on.
    pub(crate) fn set_limit(&mut self, bytes: usize) {
        self.kept = bytes;
    }

    pub(crate) fn begin(
        &mut self,
        id: u64,
        label: &str,
        client: Option<SocketAddr>,
        server: Option<SocketAddr>,
    ) {
        let line = ConnectionTranscript {
            label: label.to_owned(),
            client,
            server,
            entries: Vec::new(),
            kept: [0; 2],
        };
        self.connections.insert(id, line);
    }

    pub(crate) fn bytes(&mut self, id: u64, at: Duration, direction: Direction, bytes: &Bytes) {
        let Some(line) = self.connections.get_mut(&id) else {
            return;
        };
        let kept = &mut line.kept[direction.index()];
        let part = bytes.len().min(self.kept.saturating_sub(*kept));
        *kept += part;
        let mut say = |kind| {
            line.entries.push(Entry {
                at,
                direction,
                kind,
            });
        };
        if part > 0 {
            say(EntryKind::Bytes(bytes.slice(..part)));
        }
        if part < bytes.len() {
            say(EntryKind::More(bytes.len() - part));
        }
    }

    pub(crate) fn ending(&mut self, id: u64, at: Duration, direction: Direction, ending: Ending) {
        self.note(
            id,
            at,
            direction,
            match ending {
                Ending::Fin => EntryKind::End,
                Ending::Reset => EntryKind::Reset,
            },
        );
    }

    pub(crate) fn severed(&mut self, id: u64, at: Duration, direction: Direction) {
        self.note(id, at, direction, EntryKind::Severed);
    }

    fn note(&mut self, id: u64, at: Duration, direction: Direction, kind: EntryKind) {
        if let Some(line) = self.connections.get_mut(&id) {
            line.entries.push(Entry {
                at,
                direction,
                kind,
            });
        }
    }
}

impl ConnectionTranscript {
    fn text(&self, number: usize) -> String {
        let mut text = format!("#{number} ");
        if let (Some(client), Some(server)) = (self.client, self.server) {
            let _ = write!(text, "{client} -> {server} (");
            text += &self.label;
            text += ")";
        } else {
            text += &self.label;
        }
        text.push('\n');
        let mut entries = coalesce(&self.entries);
        while let Some(inside) = unwrap_tls(&entries) {
            entries = coalesce(&inside);
        }
        for entry in Frames::of(entries) {
            entry.write(&mut text);
        }
        text
    }
}

impl Entry {
    fn write(&self, text: &mut String) {
        let rows = match &self.kind {
            EntryKind::Bytes(bytes) => text::lines(bytes),
            EntryKind::More(count) => vec![format!("({count} more bytes)")],
            EntryKind::Note(note) => vec![format!("[{note}]")],
            EntryKind::End => vec!["(end)".to_owned()],
            EntryKind::Reset => vec!["(reset)".to_owned()],
            EntryKind::Severed => vec!["(reset by the link)".to_owned()],
        };
        let sign = match self.direction {
            Direction::ToServer => '>',
            Direction::ToClient => '<',
        };
        let time = At(self.at).to_string();
        for (n, row) in rows.iter().enumerate() {
            let time = if n == 0 {
                time.clone()
            } else {
                " ".repeat(time.len())
            };
            let _ = writeln!(text, "{}", format!("{time} {sign} {row}").trim_end());
        }
    }
}

/// Bytes said at the same instant in the same direction are one piece, however they were cut.
fn coalesce(entries: &[Entry]) -> Vec<Entry> {
    let mut merged: Vec<Entry> = Vec::new();
    for entry in entries {
        if let Some(last) = merged.last_mut()
            && (last.at, last.direction) == (entry.at, entry.direction)
        {
            match (&mut last.kind, &entry.kind) {
                (EntryKind::Bytes(bytes), EntryKind::Bytes(more)) => {
                    *bytes = Bytes::from([&bytes[..], &more[..]].concat());
                    continue;
                }
                (EntryKind::More(count), EntryKind::More(more)) => {
                    *count += more;
                    continue;
                }
                _ => {}
            }
        }
        merged.push(entry.clone());
    }
    merged
}

/// What is inside the outermost TLS, if there is any: records become notes and plain bytes.
fn unwrap_tls(entries: &[Entry]) -> Option<Vec<Entry>> {
    let mut inside = Vec::new();
    let mut records: [Option<BytesMut>; 2] = [None, None];
    for entry in entries {
        let place = entry.direction.index();
        let EntryKind::Bytes(bytes) = &entry.kind else {
            inside.push(entry.clone());
            continue;
        };
        let client_began = records[Direction::ToServer.index()].is_some();
        let begins = match entry.direction {
            Direction::ToServer => begins_handshake(bytes),
            Direction::ToClient => client_began,
        };
        if records[place].is_none() && begins {
            records[place] = Some(BytesMut::new());
        }
        let Some(buffer) = &mut records[place] else {
            inside.push(entry.clone());
            continue;
        };
        buffer.extend_from_slice(bytes);
        let mut say = |kind| {
            inside.push(Entry {
                kind,
                ..entry.clone()
            });
        };
        loop {
            match decode(buffer) {
                Ok(Some(record)) => say(match record.kind {
                    Kind::Data => EntryKind::Bytes(record.content),
                    Kind::Handshake => EntryKind::Note(format!("TLS {}", words(&record.content))),
                    Kind::Alert => EntryKind::Note(format!("TLS alert {}", words(&record.content))),
                }),
                Ok(None) => break,
                Err(_) => {
                    say(EntryKind::Bytes(buffer.split().freeze()));
                    break;
                }
            }
        }
    }
    for entry in entries.iter().rev() {
        if let Some(rest) = records[entry.direction.index()].take()
            && !rest.is_empty()
        {
            inside.push(unfinished(entry, rest.len()));
        }
    }
    // A handshake that never completed stays what it was: bytes.
    (notes(&inside) > notes(entries)).then_some(inside)
}

fn notes(entries: &[Entry]) -> usize {
    let is_note = |entry: &&Entry| matches!(entry.kind, EntryKind::Note(_));
    entries.iter().filter(is_note).count()
}

fn words(content: &[u8]) -> String {
    String::from_utf8_lossy(content).replace('\n', " ")
}
