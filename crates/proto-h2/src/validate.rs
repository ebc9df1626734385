//! Checks of incoming frames for what RFC 9113 forbids and h2 accepts.
//!
//! A state machine without I/O: it inspects every byte before h2 does, however the bytes were cut,
//! and keeps a few words. It parses frame headers, the entries of SETTINGS, and the beginning of a
//! field block as far as HPACK's static table goes; names from the dynamic table are unknown to it,
//! and so not checked.

/// Maximum number of field blocks on one stream that do not end it: the head of a response, and
/// informational ones. An exchange that is polled refuses them much earlier; this is for one that
/// is not, since h2 keeps them all.
const MOST_BLOCKS: u16 = 100;

/// Number of streams that are watched at once for that. Of streams with the same slot it is the
/// latest, and blocks on an earlier one count as its own: two that alternate are found, and a
/// response that was slower than others is one block more.
const WATCHED: usize = 64;

/// Maximum number of DATA frames without payload, padding or END_STREAM on a connection, beyond
/// [`EARNED`], before the following ones are hidden from h2. It allows 100 in the life of a
/// connection, and then ends it with ENHANCE_YOUR_CALM.
const MOST_EMPTY: u32 = 10_000;

/// Number of further such frames that each frame with a response or content allows.
const EARNED: u32 = 100;

/// A type of frame without meaning (RFC 9113 §5.5): h2 ignores it.
const IGNORED: u8 = 0xff;

/// A violation by one stream, or by the whole connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameViolation {
    /// RFC 9113 §8.3.2: a response has a pseudo-header of requests.
    RequestPseudo(u32),
    /// The block that ends this stream, and is not its first, begins with a pseudo-header: an error
    /// in trailers (RFC 9113 §8.1), and correct in a head after an informational one.
    LatePseudo(u32),
    /// Too many informational responses, on a stream whose exchange is not polled.
    TooManyBlocks,
    /// The server ends the connection, with this code (RFC 9113 §6.8).
    GoAway(u32),
}

/// Follows the outgoing frames, to know which streams have been opened.
#[derive(Debug)]
pub(crate) struct Headers {
    header: [u8; 9],
    have: usize,
    /// Number of bytes of the frame's payload, or at first of the preface, that are still to come.
    left: usize,
    /// The highest stream whose HEADERS have begun.
    pub(crate) newest: u32,
}

impl Headers {
    pub(crate) fn new() -> Self {
        Headers {
            header: [0; 9],
            have: 0,
            // RFC 9113 §3.4: the length of the preface.
            left: 24,
            newest: 0,
        }
    }

    /// Inspects the next outgoing bytes.
    pub(crate) fn look(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let there = self.left.min(bytes.len());
                self.left -= there;
                bytes = &bytes[there..];
                continue;
            }
            let there = (9 - self.have).min(bytes.len());
            self.header[self.have..self.have + there].copy_from_slice(&bytes[..there]);
            self.have += there;
            bytes = &bytes[there..];
            if self.have == 9 {
                self.have = 0;
                let [l0, l1, l2, kind, _, stream @ ..] = self.header;
                self.left = u32::from_be_bytes([0, l0, l1, l2]) as usize;
                if kind == HEADERS {
                    self.newest = self.newest.max(u32::from_be_bytes(stream));
                }
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct FrameValidator {
    /// The frame header that is being read, and how many bytes of it there are.
    header: [u8; 9],
    have: usize,
    /// Number of bytes of the frame's payload that are still to come.
    left: usize,
    /// Number of bytes of padding at the end of that.
    padding: usize,
    looking: Looking,
    /// h2 is to open no streams, whatever SETTINGS declare from now on.
    pub(crate) admits_none: bool,
    /// Number of empty DATA frames, less those that other frames allow.
    empty: u32,
    /// Field blocks by stream.
    blocks: [(u32, u16); WATCHED],
    /// Unsolicited frames without content, weighed by their cost.
    pub(crate) control: usize,
}

/// The part of a payload that is inspected.
#[derive(Debug)]
enum Looking {
    /// None of it.
    Past,
    /// The entries of SETTINGS, of which this many bytes have been read.
    Settings {
        entry: [u8; 6],
        have: usize,
    },
    /// The last stream and the code of GOAWAY, of which this many bytes have been read.
    GoAway {
        code: u32,
        have: usize,
    },
    /// The length of the padding, then a prefix of this many bytes, and then the block.
    Padding(usize, Block),
    /// This many bytes of priority, and then the block.
    Prefix(usize, Block),
    Block(Block),
}

/// A field block, as far as its pseudo-headers go.
#[derive(Clone, Copy, Debug)]
struct Block {
    stream: u32,
    /// It ends its stream, and is not the first one there.
    is_late: bool,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// At the beginning of a representation (RFC 7541 §6).
    Field,
    /// At the length of a literal name, and at its first byte.
    NameLength,
    Name {
        /// `:status` in the encoding of this name.
        status: &'static [u8],
        left: usize,
    },
    /// So far it is `:status`; this is the rest of that.
    Status(&'static [u8]),
    /// At the length of a value.
    ValueLength,
    SkipValue(usize),
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// `:status` in the code of RFC 7541 §B.
const CODED: &[u8] = b"\xb8\x84\x8d\x36\xa3";

/// Weight of a frame that must be answered or has no use; and of one that may be of use.
const HEAVY: usize = 16;
const LIGHT: usize = 1;

impl FrameValidator {
    pub(crate) fn new() -> Self {
        FrameValidator {
            header: [0; 9],
            have: 0,
            left: 0,
            padding: 0,
            looking: Looking::Past,
            admits_none: false,
            empty: 0,
            blocks: [(0, 0); WATCHED],
            control: 0,
        }
    }

    /// Inspects the next bytes. What h2 is to refuse for the whole connection is rewritten so that
    /// it does, and what it is to ignore, so that it ignores it.
    ///
    /// Returns the number of bytes at the end that h2 must not see yet, since the following bytes
    /// decide what they become. They are to be passed again, before those.
    #[must_use]
    pub(crate) fn look(
        &mut self,
        bytes: &mut [u8],
        mut found: impl FnMut(FrameViolation),
    ) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.left == 0 {
                let wanted = 9 - self.have;
                let there = wanted.min(bytes.len() - at);
                self.header[self.have..self.have + there].copy_from_slice(&bytes[at..at + there]);
                self.have += there;
                at += there;
                if self.have == 9 {
                    self.have = 0;
                    if self.is_dropped() {
                        // At least the type of this header is among these bytes: see below.
                        bytes[at - 6] = IGNORED;
                        continue;
                    }
                    if self.header[3] == PUSH_PROMISE {
                        // RFC 9113 §8.4: push is disabled, and so this is an error of the connection. On
                        // a stream that was reset here, h2 0.4 would panic in debug builds; on stream 0,
                        // it refuses the frame (RFC 9113 §6.6). The whole stream id is among these bytes.
                        bytes[at - 4..at].fill(0);
                    }
                    self.begin(&mut found);
                }
                continue;
            }
            let there = self.left.min(bytes.len() - at);
            if let Looking::Padding(prefix, block) = self.looking {
                self.padding = usize::from(bytes[at]);
                self.looking = Looking::block(prefix, block);
                self.left -= 1;
                at += 1;
                continue;
            }
            let seen = there.min(self.left.saturating_sub(self.padding));
            match &mut self.looking {
                Looking::Past => {}
                looking => {
                    looking.at(&mut bytes[at..at + seen], self.admits_none, &mut found);
                }
            }
            self.left -= there;
            at += there;
        }
        // The beginning of what may be an empty DATA frame, or of a PUSH_PROMISE, from its type on.
        let is_undecided = self.header[..4] == [0, 0, 0, DATA] || self.header[3] == PUSH_PROMISE;
        if self.have > 3 && is_undecided {
            let held = self.have - 3;
            self.have = 3;
            return held;
        }
        0
    }

    /// Returns whether the frame with this header has no effect, and is hidden from h2, which
    /// counts such frames over the whole life of a connection. Stream 0 has no DATA: h2 refuses
    /// that.
    fn is_dropped(&mut self) -> bool {
        let [0, 0, 0, DATA, flags, stream @ ..] = self.header else {
            return false;
        };
        if flags & (END_STREAM | PADDED) != 0 || stream == [0; 4] {
            return false;
        }
        // RFC 9113 §10.5: empty frames cost work.
        self.empty = self.empty.saturating_add(1);
        self.empty <= MOST_EMPTY
    }

    /// A frame begins.
    fn begin(&mut self, found: &mut impl FnMut(FrameViolation)) {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = self.header;
        self.left = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & (u32::MAX >> 1);
        self.padding = 0;
        // h2 refuses other frames between the parts of a block.
        if kind == CONTINUATION && matches!(self.looking, Looking::Block(_)) {
            return;
        }
        self.looking = Looking::Past;
        match kind {
            DATA if self.left > 0 => self.empty = self.empty.saturating_sub(EARNED),
            // h2 counts the empty ones itself, as far as it sees them.
            DATA | CONTINUATION => {}
            HEADERS => {
                self.empty = self.empty.saturating_sub(EARNED);
                let block = Block {
                    stream,
                    is_late: self.count_block(stream, flags & END_STREAM != 0, found),
                    at: At::Field,
                };
                let priority = if flags & PRIORITY != 0 { 5 } else { 0 };
                self.looking = if flags & PADDED != 0 {
                    Looking::Padding(priority, block)
                } else {
                    Looking::block(priority, block)
                };
            }
            SETTINGS if flags & ACK == 0 => {
                self.control += HEAVY;
                self.looking = Looking::Settings {
                    entry: [0; 6],
                    have: 0,
                };
            }
            PING if flags & ACK == 0 => self.control += HEAVY,
            WINDOW_UPDATE => self.control += LIGHT,
            GOAWAY => {
                self.control += HEAVY;
                self.looking = Looking::GoAway { code: 0, have: 0 };
            }
            _ => self.control += HEAVY,
        }
    }

    /// Counts a field block; returns whether it ends a stream on which there was one before.
    fn count_block(
        &mut self,
        stream: u32,
        ends: bool,
        found: &mut impl FnMut(FrameViolation),
    ) -> bool {
        let (watched, count) = &mut self.blocks[(stream as usize / 2) % WATCHED];
        let is_known = *watched == stream;
        if ends {
            return is_known;
        }
        if stream > *watched {
            (*watched, *count) = (stream, 0);
        }
        *count = count.saturating_add(1);
        if *count > MOST_BLOCKS {
            found(FrameViolation::TooManyBlocks);
        }
        false
    }
}

impl Looking {
    fn block(prefix: usize, block: Block) -> Self {
        match prefix {
            0 => Looking::Block(block),
            prefix => Looking::Prefix(prefix, block),
        }
    }

    /// Inspects the next bytes of the payload.
    fn at(&mut self, bytes: &mut [u8], admits_none: bool, found: &mut impl FnMut(FrameViolation)) {
        for byte in bytes {
            match self {
                Looking::Past | Looking::Padding(..) => return,
                Looking::Settings { entry, have } => {
                    entry[*have] = *byte;
                    *have += 1;
                    // RFC 9113 §6.5.2: MAX_CONCURRENT_STREAMS.
                    if admits_none && *have > 2 && entry[..2] == [0, 3] {
                        *byte = 0;
                    }
                    if *have == 6 {
                        *have = 0;
                        // RFC 9113 §6.5.2: a server must not send ENABLE_PUSH = 1. h2 refuses 2.
                        if *entry == [0, 2, 0, 0, 0, 1] {
                            *byte = 2;
                        }
                    }
                }
                Looking::GoAway { code, have } => {
                    // The last stream is shifted out by the code, which follows it.
                    *code = *code << 8 | u32::from(*byte);
                    *have += 1;
                    if *have == 8 {
                        found(FrameViolation::GoAway(*code));
                        *self = Looking::Past;
                    }
                }
                Looking::Prefix(left, block) => {
                    *left -= 1;
                    if *left == 0 {
                        *self = Looking::Block(*block);
                    }
                }
                Looking::Block(block) => {
                    if !block.at(*byte, found) {
                        *self = Looking::Past;
                    }
                }
            }
        }
    }
}

impl Block {
    /// Inspects one byte; returns whether the next one matters too. RFC 9113 §8.3: pseudo-headers
    /// come first, which h2 checks; the first other field therefore ends the search.
    fn at(&mut self, byte: u8, found: &mut impl FnMut(FrameViolation)) -> bool {
        self.at = match self.at {
            At::Field => {
                // RFC 7541 §6.1, §6.2: an index of 7, 6 or 4 bits.
                let (index, is_indexed) = match byte {
                    0x80.. => (byte & 0x7f, true),
                    0x40..=0x7f => (byte & 0x3f, false),
                    // RFC 7541 §6.3: the dynamic table changes its size.
                    0x20..=0x3f => return byte & 0x1f != 0x1f,
                    _ => (byte & 0x0f, false),
                };
                match index {
                    // RFC 7541 §A: the pseudo-headers of requests, and then :status.
                    1..=7 => {
                        found(FrameViolation::RequestPseudo(self.stream));
                        return false;
                    }
                    8..=14 => {
                        if self.is_late {
                            found(FrameViolation::LatePseudo(self.stream));
                            return false;
                        }
                        if is_indexed {
                            At::Field
                        } else {
                            At::ValueLength
                        }
                    }
                    0 if !is_indexed => At::NameLength,
                    _ => return false,
                }
            }
            At::NameLength => match byte & 0x7f {
                0 | 0x7f => return false,
                left => At::Name {
                    status: if byte & 0x80 != 0 { CODED } else { b":status" },
                    left: usize::from(left),
                },
            },
            At::Name { status, left } => {
                // RFC 7541 §B: a colon is 1011100.
                let is_pseudo = match status {
                    CODED => byte >> 1 == 0b101_1100,
                    _ => byte == b':',
                };
                if !is_pseudo {
                    return false;
                }
                if self.is_late {
                    found(FrameViolation::LatePseudo(self.stream));
                    return false;
                }
                if byte != status[0] || left != status.len() {
                    found(FrameViolation::RequestPseudo(self.stream));
                    return false;
                }
                At::Status(&status[1..])
            }
            At::Status(rest) => {
                if byte != rest[0] {
                    found(FrameViolation::RequestPseudo(self.stream));
                    return false;
                }
                match rest.len() {
                    1 => At::ValueLength,
                    _ => At::Status(&rest[1..]),
                }
            }
            At::ValueLength => match byte & 0x7f {
                0 => At::Field,
                // Longer than any value of a pseudo-header of a response.
                0x7f => return false,
                left => At::SkipValue(usize::from(left)),
            },
            At::SkipValue(1) => At::Field,
            At::SkipValue(left) => At::SkipValue(left - 1),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// Returns the violations, and what becomes of the bytes, wherever they are cut.
    fn looked_at(frames: &[Vec<u8>]) -> (Vec<FrameViolation>, Vec<u8>) {
        let bytes = frames.concat();
        let mut outcomes = (0..=bytes.len()).map(|cut| {
            let (mut inspector, mut findings) = (FrameValidator::new(), Vec::new());
            let mut bytes = bytes.clone();
            let (before, after) = bytes.split_at_mut(cut);
            let held = inspector.look(before, |finding| findings.push(finding));
            let mut rest = before[before.len() - held..].to_vec();
            rest.extend_from_slice(after);
            let seen = &before[..before.len() - held];
            let still = inspector.look(&mut rest, |finding| findings.push(finding));
            assert_eq!(still, 0, "these are whole frames");
            (findings, [seen, &rest[..]].concat())
        });
        let first = outcomes.next().unwrap();
        for (cut, outcome) in outcomes.enumerate() {
            assert_eq!(outcome, first, "cut at {cut}");
        }
        first
    }

    fn findings(frames: &[Vec<u8>]) -> Vec<FrameViolation> {
        looked_at(frames).0
    }

    const END_HEADERS: u8 = 4;

    #[test]
    fn a_usual_response_is_passed_over() {
        let head = frame(HEADERS, END_HEADERS, 1, b"\x88\x5c\x015\x40\x01x\x01y");
        let data = frame(DATA, 0, 1, b"\x81\x82\x83hello");
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40\x01x\x01y");
        assert_eq!(findings(&[head, data, trailers]), []);
    }

    #[test]
    fn a_servers_push_is_made_an_error() {
        let push = [0, 3, 0, 0, 0, 9, 0, 2, 0, 0, 0, 1, 0, 4, 0, 0, 1, 1];
        let (found, bytes) = looked_at(&[frame(SETTINGS, 0, 0, &push)]);
        assert_eq!(found, []);
        assert_eq!(bytes[9 + 6..9 + 12], [0, 2, 0, 0, 0, 2]);
        let none = frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 0]);
        assert_eq!(looked_at(std::slice::from_ref(&none)).1, none);
    }

    #[test]
    fn empty_data_is_made_a_frame_that_means_nothing_wherever_it_is_cut() {
        let some = frame(DATA, 0, 1, b"x");
        let empty = frame(DATA, 0, 1, b"");
        let (_, bytes) = looked_at(&[some.clone(), empty, some.clone()]);
        let ignored = frame(IGNORED, 0, 1, b"");
        assert_eq!(bytes, [some.clone(), ignored, some.clone()].concat());
        for other in [
            frame(DATA, END_STREAM, 1, b""),
            frame(DATA, PADDED, 1, b"\0"),
            frame(DATA, 0, 0, b""),
            frame(SETTINGS, 0, 0, b""),
        ] {
            let frames = [some.clone(), other, some.clone()];
            assert_eq!(looked_at(&frames).1, frames.concat());
        }
    }

    #[test]
    fn a_flood_of_empty_data_is_shown_to_h2() {
        let mut inspector = FrameValidator::new();
        let mut shown = |flags, payload: &[u8]| {
            let mut frame = frame(DATA, flags, 1, payload);
            let _ = inspector.look(&mut frame, |_| {});
            frame[3] == DATA
        };
        for _ in 0..MOST_EMPTY {
            assert!(!shown(0, b""));
        }
        assert!(shown(0, b""));
        assert!(shown(0, b"x"), "content");
        for _ in 1..EARNED {
            assert!(!shown(0, b""), "the content has earned these");
        }
        assert!(shown(0, b""));
    }

    #[test]
    fn a_limit_of_streams_is_taken_for_none_once_no_more_are_to_be_opened() {
        let mut inspector = FrameValidator::new();
        inspector.admits_none = true;
        let said = [0, 3, 1, 2, 3, 4, 0, 4, 0, 0, 255, 255];
        let mut whole = frame(SETTINGS, 0, 0, &said);
        for byte in whole.chunks_mut(1) {
            assert_eq!(inspector.look(byte, |_| {}), 0);
        }
        assert_eq!(whole[9..], [0, 3, 0, 0, 0, 0, 0, 4, 0, 0, 255, 255]);
    }

    #[test]
    fn streams_that_are_opened_are_seen_in_what_goes_out() {
        let bytes = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &[0; 6]),
            frame(HEADERS, END_HEADERS, 3, b"\x82"),
            frame(DATA, END_STREAM, 3, &frame(HEADERS, 0, 9, b"")),
            frame(HEADERS, END_HEADERS, 5, b"\x82"),
            frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x82"),
        ]
        .concat();
        for cut in 0..=bytes.len() {
            let mut headers = Headers::new();
            headers.look(&bytes[..cut]);
            headers.look(&bytes[cut..]);
            assert_eq!(headers.newest, 5, "cut at {cut}");
        }
    }

    #[test]
    fn pseudo_headers_of_requests_are_seen_in_responses() {
        for block in [
            &b"\x88\x82"[..],
            b"\x82\x88",
            b"\x48\x03200\x04\x02/x",
            b"\x88\x44\x02/x",
            b"\x88\x00\x05:path\x02/x",
            b"\x00\x07:scheme\x01x\x88",
            b"\x00\x85\xb9\x58\xd3\x3f\x7f\x01x",
        ] {
            let head = frame(HEADERS, END_HEADERS | END_STREAM, 5, block);
            assert_eq!(
                findings(&[head]),
                [FrameViolation::RequestPseudo(5)],
                "{block:x?}"
            );
        }
        let padded = frame(HEADERS, END_HEADERS | PADDED, 5, b"\x02\x82\x88\0\0");
        assert_eq!(findings(&[padded]), [FrameViolation::RequestPseudo(5)]);
        let padding = frame(HEADERS, END_HEADERS | PADDED, 5, b"\x02\x88\x82\x82");
        assert_eq!(findings(&[padding]), [], "padding is not a field");
        for begun in [
            frame(HEADERS, 0, 5, b"\x88\x00\x05:pa"),
            frame(HEADERS, PADDED, 5, b"\x03\x88\x00\x05:pa\0\0\0"),
            frame(
                HEADERS,
                PADDED | PRIORITY,
                5,
                b"\x01\0\0\0\0\x10\x88\x00\x05:pa\0",
            ),
        ] {
            let empty = frame(CONTINUATION, 0, 5, b"");
            let rest = frame(CONTINUATION, END_HEADERS, 5, b"th\x02/x");
            assert_eq!(
                findings(&[begun, empty, rest]),
                [FrameViolation::RequestPseudo(5)],
                "in several frames"
            );
        }
        let prior = frame(HEADERS, END_HEADERS | PRIORITY, 5, b"\0\0\0\0\x10\x82\x88");
        assert_eq!(findings(&[prior]), [FrameViolation::RequestPseudo(5)]);
    }

    #[test]
    fn pseudo_headers_are_seen_in_trailers() {
        let head = || frame(HEADERS, END_HEADERS, 1, b"\x88");
        for block in [
            &b"\x88"[..],
            b"\x48\x03200",
            b"\x00\x07:status\x03200",
            b"\x40\x85\xb8\x84\x8d\x36\xa3\x03200",
        ] {
            let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, block);
            let found = findings(&[head(), trailers]);
            assert_eq!(found, [FrameViolation::LatePseudo(1)], "{block:x?}");
        }
        let other = frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x88");
        assert_eq!(findings(&[head(), other]), [], "another stream's");
    }

    #[test]
    fn interim_responses_without_end_are_told_once_they_are_too_many() {
        let mut inspector = FrameValidator::new();
        let mut found = 0;
        let mut told_at = None;
        for n in 0..=MOST_BLOCKS {
            let mut hint = frame(HEADERS, END_HEADERS, 1, b"\x48\x03103");
            let _ = inspector.look(&mut hint, |_| found += 1);
            if found > 0 {
                told_at.get_or_insert(n);
            }
        }
        assert_eq!(told_at, Some(MOST_BLOCKS));
    }

    #[test]
    fn streams_which_take_turns_do_not_hide_behind_each_other() {
        let apart = u32::try_from(2 * WATCHED).unwrap();
        for streams in [[1, 1 + apart], [1 + 3 * apart, 1 + 2 * apart]] {
            let mut inspector = FrameValidator::new();
            let mut found = Vec::new();
            for n in 0..2 * MOST_BLOCKS {
                let stream = streams[usize::from(n % 2)];
                let mut hint = frame(HEADERS, END_HEADERS, stream, b"\x48\x03103");
                let _ = inspector.look(&mut hint, |finding| found.push(finding));
            }
            assert_eq!(
                found.first(),
                Some(&FrameViolation::TooManyBlocks),
                "{streams:?}"
            );
        }
        // One after another, they are independent.
        let mut inspector = FrameValidator::new();
        for stream in (1..100_000).step_by(2) {
            for _ in 0..3 {
                let mut hint = frame(HEADERS, END_HEADERS, stream, b"\x48\x03103");
                let _ = inspector.look(&mut hint, |finding| panic!("{finding:?} on {stream}"));
            }
        }
    }
}
