//! HTTP/2 as words: one line for each frame (RFC 9113 §4.1, §6).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::{
    ends::Direction,
    entry::{Entry, EntryKind, unfinished},
};

/// What a client says first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER: usize = 9;

/// Turns the bytes of a conversation into frames, from the client's preface on.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    entries: VecDeque<Entry>,
    buffers: [BytesMut; 2],
}

impl Frames {
    /// The conversation with frames in words, if it comes to HTTP/2, and unchanged otherwise.
    pub(crate) fn of(entries: Vec<Entry>) -> Vec<Entry> {
        let Some(begin) = entries.iter().position(begins) else {
            return entries;
        };
        // A server may have spoken first: its frames need not wait for the preface.
        let first_of_client = entries
            .iter()
            .position(|entry| entry.direction == Direction::ToServer && is_bytes(entry));
        let begin = if first_of_client == Some(begin) {
            let is_server =
                |entry: &Entry| entry.direction == Direction::ToClient && is_bytes(entry);
            entries
                .iter()
                .position(is_server)
                .unwrap_or(begin)
                .min(begin)
        } else {
            begin
        };
        let mut frames = Frames::default();
        for (n, entry) in entries.into_iter().enumerate() {
            match &entry.kind {
                EntryKind::Bytes(bytes) if n >= begin => frames.take(&entry, bytes),
                _ => frames.entries.push_back(entry),
            }
        }
        for direction in [Direction::ToServer, Direction::ToClient] {
            let rest = frames.buffers[direction.index()].len();
            let of_this = |entry: &&Entry| entry.direction == direction;
            if rest > 0
                && let Some(last) = frames.entries.iter().rev().find(of_this)
            {
                let note = unfinished(last, rest);
                frames.entries.push_back(note);
            }
        }
        frames.entries.into()
    }

    fn take(&mut self, entry: &Entry, bytes: &Bytes) {
        let buffer = &mut self.buffers[entry.direction.index()];
        buffer.extend_from_slice(bytes);
        let mut say = |note: String| {
            self.entries.push_back(Entry {
                kind: EntryKind::Note(note),
                ..entry.clone()
            });
        };
        if buffer.starts_with(PREFACE) {
            drop(buffer.split_to(PREFACE.len()));
            say("HTTP/2 preface".to_owned());
        }
        while let Some(frame) = next_frame(buffer) {
            say(frame.describe());
        }
    }
}

fn is_bytes(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::Bytes(_))
}

fn begins(entry: &Entry) -> bool {
    let EntryKind::Bytes(bytes) = &entry.kind else {
        return false;
    };
    entry.direction == Direction::ToServer && bytes.starts_with(PREFACE)
}

/// Which bytes of one direction of a conversation are header blocks, which only who has decoded all
/// of them can read in part.
pub(crate) fn header_blocks(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut at = if bytes.starts_with(PREFACE) {
        PREFACE.len()
    } else {
        0
    };
    let mut blocks = Vec::new();
    while let Some(header) = bytes.get(at..at + HEADER) {
        let end = (at + HEADER + length_of(header)).min(bytes.len());
        if matches!(header[3], 1 | 5 | 9) {
            blocks.push(at + HEADER..end);
        }
        at = end;
    }
    blocks
}

fn length_of(header: &[u8]) -> usize {
    usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2])
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Bytes,
}

fn next_frame(buffer: &mut BytesMut) -> Option<Frame> {
    let header = buffer.get(..HEADER)?;
    let length = length_of(header);
    let (kind, flags) = (header[3], header[4]);
    let stream = number(&header[5..9]) & 0x7fff_ffff;
    if buffer.len() < HEADER + length {
        return None;
    }
    let payload = buffer.split_to(HEADER + length).freeze().slice(HEADER..);
    Some(Frame {
        kind,
        flags,
        stream,
        payload,
    })
}

/// Up to four bytes as a number; what is missing counts as zero.
fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

impl Frame {
    fn describe(&self) -> String {
        let mut words = vec![self.name()];
        if self.stream != 0 {
            words.push(format!("stream={}", self.stream));
        }
        words.extend(self.flag_names().into_iter().map(str::to_owned));
        words.push(format!("length={}", self.payload.len()));
        words.extend(self.details());
        words.join(" ")
    }

    fn name(&self) -> String {
        let name = match self.kind {
            0 => "DATA",
            1 => "HEADERS",
            2 => "PRIORITY",
            3 => "RST_STREAM",
            4 => "SETTINGS",
            5 => "PUSH_PROMISE",
            6 => "PING",
            7 => "GOAWAY",
            8 => "WINDOW_UPDATE",
            9 => "CONTINUATION",
            other => return format!("frame-type-{other}"),
        };
        name.to_owned()
    }

    fn flag_names(&self) -> Vec<&'static str> {
        let known: &[(u8, &str)] = match self.kind {
            0 => &[(0x1, "END_STREAM"), (0x8, "PADDED")],
            1 => &[
                (0x1, "END_STREAM"),
                (0x4, "END_HEADERS"),
                (0x8, "PADDED"),
                (0x20, "PRIORITY"),
            ],
            4 | 6 => &[(0x1, "ACK")],
            5 => &[(0x4, "END_HEADERS"), (0x8, "PADDED")],
            9 => &[(0x4, "END_HEADERS")],
            _ => &[],
        };
        let set = |(bit, _): &&(u8, &str)| self.flags & bit != 0;
        known.iter().filter(set).map(|(_, name)| *name).collect()
    }

    /// What small frames say. Header blocks are not shown, since reading them takes a history.
    fn details(&self) -> Vec<String> {
        let payload = &self.payload;
        match self.kind {
            3 => vec![format!("error={}", number(payload))],
            4 => payload
                .chunks_exact(6)
                .map(|one| format!("{}={}", number(&one[..2]), number(&one[2..])))
                .collect(),
            7 => {
                let last = number(payload) & 0x7fff_ffff;
                let error = number(payload.get(4..).unwrap_or_default());
                vec![format!("last={last}"), format!("error={error}")]
            }
            8 => vec![format!("increment={}", number(payload) & 0x7fff_ffff)],
            _ => Vec::new(),
        }
    }
}
