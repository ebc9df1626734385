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
    event_queue::Direction,
    frames::Frames,
    net::MockNet,
    pipe::Ending,
    record_layer::{Kind, begins_handshake, decode},
    report::At,
    text,
};

/// How many bytes of each direction of a connection are kept, unless told otherwise.
const MAX_TRANSCRIPT_BYTES: usize = 1024 * 1024;

/// What all connections have carried.
#[derive(Debug)]
pub(crate) struct Log {
    kept: usize,
    lines: BTreeMap<u64, Line>,
}

/// What one connection has carried.
#[derive(Debug)]
struct Line {
    label: String,
    client: Option<SocketAddr>,
    server: Option<SocketAddr>,
    entries: Vec<Entry>,
    kept: [usize; 2],
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) direction: Direction,
    pub(crate) said: Said,
}

#[derive(Clone, Debug)]
pub(crate) enum Said {
    Bytes(Bytes),
    /// So many bytes which were not kept.
    More(usize),
    /// A frame or a record, in words.
    Note(String),
    End,
    Reset,
    /// The link itself reset the connection.
    Severed,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            kept: MAX_TRANSCRIPT_BYTES,
            lines: BTreeMap::new(),
        }
    }
}

impl Log {
    pub(crate) fn begin(
        &mut self,
        id: u64,
        label: &str,
        client: Option<SocketAddr>,
        server: Option<SocketAddr>,
    ) {
        let line = Line {
            label: label.to_owned(),
            client,
            server,
            entries: Vec::new(),
            kept: [0; 2],
        };
        self.lines.insert(id, line);
    }

    pub(crate) fn bytes(&mut self, id: u64, at: Duration, direction: Direction, bytes: &Bytes) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        let kept = &mut line.kept[direction.index()];
        let part = bytes.len().min(self.kept.saturating_sub(*kept));
        *kept += part;
        let mut say = |said| {
            line.entries.push(Entry {
                at,
                direction,
                said,
            });
        };
        if part > 0 {
            say(Said::Bytes(bytes.slice(..part)));
        }
        if part < bytes.len() {
            say(Said::More(bytes.len() - part));
        }
    }

    pub(crate) fn ending(&mut self, id: u64, at: Duration, direction: Direction, ending: Ending) {
        self.note(
            id,
            at,
            direction,
            match ending {
                Ending::Fin => Said::End,
                Ending::Reset => Said::Reset,
            },
        );
    }

    pub(crate) fn severed(&mut self, id: u64, at: Duration, direction: Direction) {
        self.note(id, at, direction, Said::Severed);
    }

    fn note(&mut self, id: u64, at: Duration, direction: Direction, said: Said) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.entries.push(Entry {
                at,
                direction,
                said,
            });
        }
    }
}

impl MockNet {
    /// What has been written on each connection so far, with times: one text for each connection,
    /// in the order in which they were made. Good for snapshots: the same conversation reads the
    /// same, however its writes were cut.
    ///
    /// HTTP/1 reads as text, HTTP/2 as frames, and [TLS without cryptography](crate::MockTls) as
    /// what is inside. Times are those of writing. `>` is the client, `<` the server. A line ends
    /// with CRLF where nothing else is shown; `\n` is a line feed alone, and `…` no line end at
    /// all.
    pub fn transcripts(&self) -> Vec<String> {
        self.world().with(|state, _| {
            let lines = state.log.lines.values().enumerate();
            lines.map(|(n, line)| line.text(n + 1)).collect()
        })
    }

    /// All of [`transcripts`](Self::transcripts), one after the other.
    pub fn transcript(&self) -> String {
        self.transcripts().join("\n")
    }

    /// How many bytes of each direction of each connection are kept for
    /// [`transcripts`](Self::transcripts), from now on; 1 MiB unless this is called.
    pub fn set_transcript_limit(&self, bytes: usize) {
        self.world().with(|state, _| state.log.kept = bytes);
    }
}

impl Line {
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
        let rows = match &self.said {
            Said::Bytes(bytes) => text::lines(bytes),
            Said::More(count) => vec![format!("({count} more bytes)")],
            Said::Note(note) => vec![format!("[{note}]")],
            Said::End => vec!["(end)".to_owned()],
            Said::Reset => vec!["(reset)".to_owned()],
            Said::Severed => vec!["(reset by the link)".to_owned()],
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
            match (&mut last.said, &entry.said) {
                (Said::Bytes(bytes), Said::Bytes(more)) => {
                    *bytes = Bytes::from([&bytes[..], &more[..]].concat());
                    continue;
                }
                (Said::More(count), Said::More(more)) => {
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
        let Said::Bytes(bytes) = &entry.said else {
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
        let mut say = |said| {
            inside.push(Entry {
                said,
                ..entry.clone()
            });
        };
        loop {
            match decode(buffer) {
                Ok(Some(record)) => say(match record.kind {
                    Kind::Data => Said::Bytes(record.content),
                    Kind::Handshake => Said::Note(format!("TLS {}", words(&record.content))),
                    Kind::Alert => Said::Note(format!("TLS alert {}", words(&record.content))),
                }),
                Ok(None) => break,
                Err(_) => {
                    say(Said::Bytes(buffer.split().freeze()));
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

/// Says that bytes are left which are no whole record or frame.
pub(crate) fn unfinished(last: &Entry, count: usize) -> Entry {
    Entry {
        said: Said::Note(format!("{count} bytes of something unfinished")),
        ..last.clone()
    }
}

fn notes(entries: &[Entry]) -> usize {
    let is_note = |entry: &&Entry| matches!(entry.said, Said::Note(_));
    entries.iter().filter(is_note).count()
}

fn words(content: &[u8]) -> String {
    String::from_utf8_lossy(content).replace('\n', " ")
}
