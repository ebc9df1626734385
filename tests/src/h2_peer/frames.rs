//! Frames: right ones by default, and wrong ones by wish.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::hpack;

/// What a client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 §6).
#[allow(missing_docs, reason = "the names are the RFC's")]
pub mod kind {
    pub const DATA: u8 = 0x0;
    pub const HEADERS: u8 = 0x1;
    pub const PRIORITY: u8 = 0x2;
    pub const RST_STREAM: u8 = 0x3;
    pub const SETTINGS: u8 = 0x4;
    pub const PUSH_PROMISE: u8 = 0x5;
    pub const PING: u8 = 0x6;
    pub const GOAWAY: u8 = 0x7;
    pub const WINDOW_UPDATE: u8 = 0x8;
    pub const CONTINUATION: u8 = 0x9;
}

/// Flags of frames; what each means depends on the type.
#[allow(missing_docs, reason = "the names are the RFC's")]
pub mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// Identifiers of settings (RFC 9113 §6.5.2, RFC 8441 §3).
#[allow(missing_docs, reason = "the names are the RFC's")]
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 0x1;
    pub const ENABLE_PUSH: u16 = 0x2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub const MAX_FRAME_SIZE: u16 = 0x5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 0x6;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
}

/// Error codes (RFC 9113 §7).
#[allow(missing_docs, reason = "the names are the RFC's")]
pub mod code {
    pub const NO_ERROR: u32 = 0x0;
    pub const PROTOCOL_ERROR: u32 = 0x1;
    pub const INTERNAL_ERROR: u32 = 0x2;
    pub const FLOW_CONTROL_ERROR: u32 = 0x3;
    pub const SETTINGS_TIMEOUT: u32 = 0x4;
    pub const STREAM_CLOSED: u32 = 0x5;
    pub const FRAME_SIZE_ERROR: u32 = 0x6;
    pub const REFUSED_STREAM: u32 = 0x7;
    pub const CANCEL: u32 = 0x8;
    pub const COMPRESSION_ERROR: u32 = 0x9;
    pub const CONNECT_ERROR: u32 = 0xa;
    pub const ENHANCE_YOUR_CALM: u32 = 0xb;
    pub const INADEQUATE_SECURITY: u32 = 0xc;
    pub const HTTP_1_1_REQUIRED: u32 = 0xd;

    /// The name of a code.
    pub fn name(code: u32) -> String {
        let names = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        let name = names.get(code as usize).copied();
        name.map_or_else(|| format!("{code:#x}"), str::to_owned)
    }
}

/// How long the head of a frame is, in bytes.
pub(crate) const HEAD: usize = 9;

/// One frame, right or wrong.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// See [`flag`].
    pub flags: u8,
    /// All 32 bits, the reserved one included.
    pub stream: u32,
    /// Padding and priority included.
    pub payload: Bytes,
    /// What its length field says, if not the truth.
    claimed: Option<usize>,
}

impl Frame {
    /// Any frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Bytes>) -> Self {
        Frame {
            kind,
            flags,
            stream,
            payload: payload.into(),
            claimed: None,
        }
    }

    /// With these flags besides.
    #[must_use]
    pub fn with(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    /// Without these flags.
    #[must_use]
    pub fn without(mut self, flags: u8) -> Self {
        self.flags &= !flags;
        self
    }

    /// As the last of its stream.
    #[must_use]
    pub fn end(self) -> Self {
        self.with(flag::END_STREAM)
    }

    /// With this number of bytes of padding, for DATA, HEADERS and PUSH_PROMISE. Its length field counts
    /// one byte more.
    #[must_use]
    pub fn padded(self, padding: u8) -> Self {
        let actual = usize::from(padding);
        self.padded_with(padding, &vec![0; actual])
    }

    /// With `claim` in the length field of the padding, and `padding` for it.
    #[must_use]
    pub fn padded_with(mut self, claim: u8, padding: &[u8]) -> Self {
        self.payload = [&[claim], &self.payload[..], padding].concat().into();
        self.with(flag::PADDED)
    }

    /// With a priority (RFC 7540 §6.2) in front of its fields, for HEADERS.
    #[must_use]
    pub fn with_priority(mut self, depends_on: u32, weight: u8) -> Self {
        let depends_on = depends_on.to_be_bytes();
        self.payload = [&depends_on[..], &[weight], &self.payload].concat().into();
        self.with(flag::PRIORITY)
    }

    /// With a length field that says this.
    #[must_use]
    pub fn claiming(mut self, length: usize) -> Self {
        self.claimed = Some(length);
        self
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// As it is on the wire.
    pub fn encode(&self, out: &mut BytesMut) {
        let length = self.claimed.unwrap_or(self.payload.len());
        out.put_uint(length as u64, 3);
        out.put_u8(self.kind);
        out.put_u8(self.flags);
        out.put_u32(self.stream);
        out.put_slice(&self.payload);
    }

    /// The frame which `bytes` begin with, if it is there as a whole; it is taken off.
    pub fn take(bytes: &mut BytesMut) -> Option<Self> {
        let length = u32::from_be_bytes([0, *bytes.first()?, *bytes.get(1)?, *bytes.get(2)?]);
        let whole = HEAD + length as usize;
        if bytes.len() < whole {
            return None;
        }
        let frame = bytes.split_to(whole).freeze();
        let stream = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]);
        Some(Frame::new(frame[3], frame[4], stream, frame.slice(HEAD..)))
    }

    /// The four bytes at `at`, without the reserved bit.
    pub(crate) fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?) & 0x7fff_ffff)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            "DATA",
            "HEADERS",
            "PRIORITY",
            "RST_STREAM",
            "SETTINGS",
            "PUSH_PROMISE",
            "PING",
            "GOAWAY",
            "WINDOW_UPDATE",
            "CONTINUATION",
        ];
        match names.get(usize::from(self.kind)) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "frame of type {:#x}", self.kind)?,
        }
        write!(f, " on {}", self.stream)?;
        if self.flags != 0 {
            write!(f, ", flags {:#x}", self.flags)?;
        }
        match self.kind {
            kind::RST_STREAM => write!(f, ", {}", code::name(self.number(0).unwrap_or(u32::MAX))),
            kind::GOAWAY => write!(f, ", {}", code::name(self.number(4).unwrap_or(u32::MAX))),
            kind::WINDOW_UPDATE => write!(f, ", {}", self.number(0).unwrap_or(u32::MAX)),
            _ => write!(f, ", {} bytes", self.payload.len()),
        }
    }
}

/// These, one after the other, as they are on the wire.
pub fn encode(frames: &[Frame]) -> Bytes {
    let mut out = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut out));
    out.freeze()
}

/// DATA.
pub fn data(stream: u32, payload: impl Into<Bytes>) -> Frame {
    Frame::new(kind::DATA, 0, stream, payload)
}

/// HEADERS which need no CONTINUATION.
pub fn headers(stream: u32, fields: &[(&str, &str)]) -> Frame {
    block(stream, hpack::encode(fields))
}

/// HEADERS which need no CONTINUATION, with a field block that is encoded already.
pub fn block(stream: u32, block: impl Into<Bytes>) -> Frame {
    Frame::new(kind::HEADERS, flag::END_HEADERS, stream, block)
}

/// The head of a plain answer.
pub fn ok(stream: u32) -> Frame {
    headers(stream, &[(":status", "200")])
}

/// CONTINUATION which is the last.
pub fn continuation(stream: u32, block: impl Into<Bytes>) -> Frame {
    Frame::new(kind::CONTINUATION, flag::END_HEADERS, stream, block)
}

/// PRIORITY.
pub fn priority(stream: u32, depends_on: u32, weight: u8) -> Frame {
    let payload = [&depends_on.to_be_bytes()[..], &[weight]].concat();
    Frame::new(kind::PRIORITY, 0, stream, payload)
}

/// RST_STREAM.
pub fn reset(stream: u32, code: u32) -> Frame {
    Frame::new(kind::RST_STREAM, 0, stream, code.to_be_bytes().to_vec())
}

/// SETTINGS.
pub fn settings(values: &[(u16, u32)]) -> Frame {
    let pair = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let payload: Vec<u8> = values.iter().flat_map(pair).collect();
    Frame::new(kind::SETTINGS, 0, 0, payload)
}

/// The acknowledgement of SETTINGS.
pub fn settings_ack() -> Frame {
    settings(&[]).with(flag::ACK)
}

/// PUSH_PROMISE which needs no CONTINUATION.
pub fn push_promise(stream: u32, promised: u32, fields: &[(&str, &str)]) -> Frame {
    let payload = [&promised.to_be_bytes()[..], &hpack::encode(fields)].concat();
    Frame::new(kind::PUSH_PROMISE, flag::END_HEADERS, stream, payload)
}

/// PING.
pub fn ping(payload: [u8; 8]) -> Frame {
    Frame::new(kind::PING, 0, 0, payload.to_vec())
}

/// GOAWAY without a word of explanation.
pub fn goaway(last: u32, code: u32) -> Frame {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    Frame::new(kind::GOAWAY, 0, 0, payload)
}

/// WINDOW_UPDATE; on stream 0, for the connection.
pub fn window_update(stream: u32, increment: u32) -> Frame {
    let payload = increment.to_be_bytes().to_vec();
    Frame::new(kind::WINDOW_UPDATE, 0, stream, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_what_it_was_and_is_not_taken_before_its_last_byte() {
        let frames = [
            data(1, "hello").padded(3).end(),
            headers(3, &[(":status", "204")]).with_priority(0, 16),
            settings(&[(setting::MAX_FRAME_SIZE, 1 << 14)]),
            goaway(u32::MAX, code::CANCEL),
        ];
        let all = encode(&frames);
        for cut in 0..=all.len() {
            let mut bytes = BytesMut::from(&all[..cut]);
            let mut got = Vec::new();
            while let Some(frame) = Frame::take(&mut bytes) {
                got.push(frame);
            }
            bytes.extend_from_slice(&all[cut..]);
            while let Some(frame) = Frame::take(&mut bytes) {
                got.push(frame);
            }
            assert_eq!(got, frames, "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_can_lie_about_its_length() {
        let bytes = encode(&[data(1, "hello").claiming(7)]);
        assert_eq!(&bytes[..3], [0, 0, 7]);
        assert_eq!(bytes.len(), HEAD + 5);
    }
}
