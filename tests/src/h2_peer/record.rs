//! What a client has said on a connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{
    frames::{Frame, code, flag, kind},
    hpack::Field,
};

/// A frame that has come.
#[derive(Clone, Debug)]
pub struct Received {
    /// The frame. For fields that were continued, the first of them.
    pub frame: Frame,
    /// For HEADERS, when the last of them is there: the fields.
    pub fields: Option<Vec<Field>>,
    /// For DATA: without padding.
    pub data: Bytes,
}

impl Received {
    pub(crate) fn is_ack(&self) -> bool {
        matches!(self.frame.kind, kind::SETTINGS | kind::PING) && self.frame.has(flag::ACK)
    }

    /// Whether it is the last of its stream.
    pub fn is_end(&self) -> bool {
        matches!(self.frame.kind, kind::DATA | kind::HEADERS) && self.frame.has(flag::END_STREAM)
    }

    /// The value of a field; of a pseudo-header too.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter().flatten();
        let found = fields.find(|(other, _)| other == name);
        found.map(|(_, value)| &value[..])
    }
}

/// What the client has said on one connection. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Record(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    frames: Vec<Received>,
    bytes_sent: u64,
    data_sent: u64,
    remaining: Option<String>,
    is_over: bool,
}

impl Record {
    /// Every frame, in the order in which they came.
    pub fn frames(&self) -> Vec<Received> {
        self.lock().frames.clone()
    }

    /// Of this kind.
    pub fn of(&self, kind: u8) -> Vec<Received> {
        let mut frames = self.frames();
        frames.retain(|received| received.frame.kind == kind);
        frames
    }

    /// The first frame with these fields: what was asked on `stream`.
    pub fn head(&self, stream: u32) -> Option<Received> {
        let mut heads = self.of(kind::HEADERS).into_iter();
        heads.find(|head| head.frame.stream == stream)
    }

    /// All that came on a stream in DATA.
    pub fn body(&self, stream: u32) -> Vec<u8> {
        let mut frames = self.of(kind::DATA);
        frames.retain(|received| received.frame.stream == stream);
        frames
            .iter()
            .flat_map(|received| &received.data[..])
            .copied()
            .collect()
    }

    /// By how much the client has opened a window; the connection's is that of stream 0.
    pub fn credit(&self, stream: u32) -> u64 {
        let mut updates = self.of(kind::WINDOW_UPDATE);
        updates.retain(|received| received.frame.stream == stream);
        let sizes = updates.iter().filter_map(|update| update.frame.number(0));
        sizes.map(u64::from).sum()
    }

    /// How many acknowledgements have come, of SETTINGS or PING.
    pub fn acks(&self, kind: u8) -> usize {
        let acks = self.of(kind);
        acks.iter().filter(|received| received.is_ack()).count()
    }

    /// What the client has complained of: `RST_STREAM 1 CANCEL; GOAWAY PROTOCOL_ERROR`. A GOAWAY
    /// without an error is no complaint.
    pub fn complaints(&self) -> String {
        let complaint = |received: &Received| {
            let frame = &received.frame;
            match frame.kind {
                kind::RST_STREAM => {
                    let code = code::name(frame.number(0)?);
                    Some(format!("RST_STREAM {} {code}", frame.stream))
                }
                kind::GOAWAY if frame.number(4)? != code::NO_ERROR => {
                    Some(format!("GOAWAY {}", code::name(frame.number(4)?)))
                }
                _ => None,
            }
        };
        let complaints: Vec<_> = self.frames().iter().filter_map(complaint).collect();
        complaints.join("; ")
    }

    /// How many bytes could be written to the client.
    pub fn bytes_sent(&self) -> u64 {
        self.lock().bytes_sent
    }

    /// How much DATA was written to the client, padding included.
    pub fn data_sent(&self) -> u64 {
        self.lock().data_sent
    }

    /// At which step a script was broken off, and why.
    pub fn remaining(&self) -> Option<String> {
        self.lock().remaining.clone()
    }

    /// Whether the connection has ended at this end.
    pub fn is_over(&self) -> bool {
        self.lock().is_over
    }

    pub(crate) fn set_unplayed(&self, step: String) {
        self.lock().remaining = Some(step);
    }

    pub(crate) fn set_over(&self) {
        self.lock().is_over = true;
    }

    pub(crate) fn note(&self, received: Received) {
        self.lock().frames.push(received);
    }

    pub(crate) fn note_bytes(&self, count: usize) {
        self.lock().bytes_sent += count as u64;
    }

    pub(crate) fn note_data(&self, count: u64) {
        self.lock().data_sent += count;
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
