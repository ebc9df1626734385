//! Tracks the code of a received Close frame: tungstenite replaces a code that must not be sent by 1002,
//! and does not report the difference.

use tungstenite::protocol::frame::coding::CloseCode;

/// Length of the longest frame header (RFC 6455 §5.2), and of the code behind it.
const LONGEST: usize = 2 + 8 + 4 + 2;
/// RFC 6455 §5.2: the opcode of a close frame.
const CLOSE: u8 = 8;

/// Follows the frames of a stream as they are read, in any fragmentation. It does not report errors:
/// tungstenite, which reads the same bytes, does.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The header of a frame and, of a close frame, the two bytes of its code.
    head: [u8; LONGEST],
    length: usize,
    /// Bytes of payload still to be skipped.
    payload: u64,
    /// Of the first close frame.
    code: Option<u16>,
}

impl Watch {
    /// Processes bytes that have been read.
    pub(super) fn see(&mut self, mut bytes: &[u8]) {
        while self.code.is_none() {
            let skipped = usize::try_from(self.payload).unwrap_or(usize::MAX);
            let skipped = skipped.min(bytes.len());
            self.payload -= skipped as u64;
            let Some((&byte, rest)) = bytes[skipped..].split_first() else {
                return;
            };
            bytes = rest;
            self.head[self.length] = byte;
            self.length += 1;
            self.end_head();
        }
    }

    /// Begins with the payload, if what is there of the head is all of it.
    fn end_head(&mut self) {
        let [first, second, ..] = self.head;
        let (sizes, masks) = match (second & 0x7f, second & 0x80) {
            (126, masks) => (2, masks),
            (127, masks) => (8, masks),
            (_, masks) => (0, masks),
        };
        let masks = if masks == 0 { 0 } else { 4 };
        let header = 2 + sizes + masks;
        if self.length < header {
            return;
        }
        let payload = match sizes {
            0 => u64::from(second & 0x7f),
            _ => self.head[2..2 + sizes]
                .iter()
                .fold(0, |size, &byte| size << 8 | u64::from(byte)),
        };
        let has_code = first & 0x0f == CLOSE && payload >= 2;
        if has_code && self.length < header + 2 {
            return;
        }
        if has_code {
            let mask = |at: usize| {
                if masks == 0 {
                    0
                } else {
                    self.head[2 + sizes + at]
                }
            };
            let byte = |at: usize| self.head[header + at] ^ mask(at);
            self.code = Some(u16::from_be_bytes([byte(0), byte(1)]));
        }
        self.payload = payload - (self.length - header) as u64;
        self.length = 0;
    }

    /// The code of the close frame that was read, if it is one that may not be sent.
    pub(super) fn forbidden(&self) -> Option<u16> {
        // RFC 6455 §7.4.1: 1005, 1006 and 1015 describe ends without a close frame; §7.4.2: what is
        // below 1000, not defined, or above 4999 has no meaning.
        self.code
            .filter(|&code| !CloseCode::from(code).is_allowed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(pieces: &[&[u8]]) -> Option<u16> {
        let mut watch = Watch::default();
        for piece in pieces {
            watch.see(piece);
        }
        watch.code
    }

    #[test]
    fn a_code_is_found_behind_frames_of_every_kind_however_they_are_cut() {
        let frames: &[&[u8]] = &[
            &[0x81, 3, b'a', b'b', b'c'],
            // A message whose bytes look like a close frame.
            &[0x82, 4, 0x88, 2, 3, 232],
            &[0x82, 126, 0, 3, 0x88, 2, 3],
            &[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 2, 0x88, 2],
            // Masked.
            &[0x81, 0x82, 1, 2, 3, 4, 0x88, 2],
            &[0x89, 0],
        ];
        for close in [
            &[0x88, 4, 0x03, 0xed, b'n', b'o'][..],
            &[0x88, 0x84, 1, 2, 3, 4, 0x03 ^ 1, 0xed ^ 2, 0, 0],
        ] {
            let all = [&frames.concat()[..], close].concat();
            for cut in 0..all.len() {
                let (before, after) = all.split_at(cut);
                assert_eq!(code(&[before, after]), Some(1005), "cut at {cut}");
            }
            let bytes: Vec<&[u8]> = all.chunks(1).collect();
            assert_eq!(code(&bytes), Some(1005));
        }
        assert_eq!(code(&[&frames.concat()]), None);
        assert_eq!(code(&[&[0x88, 0]]), None, "a close without a code");
    }

    #[test]
    fn codes_that_describe_ends_without_a_close_may_not_be_sent() {
        for (code, may) in [
            (999, false),
            (1000, true),
            (1004, false),
            (1005, false),
            (1006, false),
            (1011, true),
            (1015, false),
            (1016, false),
            (2999, false),
            (3000, true),
            (4999, true),
            (5000, false),
        ] {
            let mut watch = Watch::default();
            let [high, low] = u16::to_be_bytes(code);
            watch.see(&[0x88, 2, high, low]);
            assert_eq!(watch.forbidden(), (!may).then_some(code), "{code}");
        }
    }
}
