//! The part of HTTP/2 (RFC 9113) that a fixed response needs. Header fields are not decoded: nothing
//! depends on them.

use std::collections::VecDeque;

use crate::connection::Turn;

/// Length of the small response, in bytes.
pub(crate) const SMALL: u64 = 14;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD: usize = 9;

// RFC 9113 §6: the types of frames that matter here.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const INITIAL_WINDOW_SIZE: u16 = 4;
/// RFC 9113 §6.9.2: the initial window.
const DEFAULT_WINDOW: i64 = 65_535;
/// RFC 9113 §6.9.1: the largest window, which clients get here.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// RFC 9113 §4.2: the frame size that every client accepts.
const FRAME: i64 = 16_384;

pub(crate) struct Http2 {
    length: u64,
    /// An incomplete frame or preface.
    partial: Vec<u8>,
    is_open: bool,
    /// Send windows: of the connection, and initially of each stream.
    window: i64,
    initial: i64,
    /// Received bytes that were not yet returned to the client's window.
    received: u32,
    streams: VecDeque<Stream>,
}

/// A response that is not complete.
struct Stream {
    id: u32,
    left: u64,
    window: i64,
    is_asked: bool,
}

impl Http2 {
    pub(crate) fn new(length: u64) -> Self {
        Http2 {
            length,
            partial: Vec::new(),
            is_open: false,
            window: DEFAULT_WINDOW,
            initial: DEFAULT_WINDOW,
            received: 0,
            streams: VecDeque::new(),
        }
    }

    pub(crate) fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Turn {
        let mut all = std::mem::take(&mut self.partial);
        let mut rest = if all.is_empty() {
            bytes
        } else {
            all.extend_from_slice(bytes);
            &all[..]
        };
        if !self.is_open {
            if rest.len() < PREFACE.len() && PREFACE.starts_with(rest) {
                self.partial = rest.to_vec();
                return Turn::On;
            }
            let Some(after) = rest.strip_prefix(PREFACE) else {
                return Turn::Malformed;
            };
            rest = after;
            self.is_open = true;
            let mut settings = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
            settings.extend(LARGEST_WINDOW.to_be_bytes());
            frame(out, SETTINGS, 0, 0, &settings);
            grant(out, LARGEST_WINDOW - DEFAULT_WINDOW as u32);
        }
        while let Some((head, _)) = rest.split_first_chunk::<HEAD>() {
            let [a, b, c, kind, flags, w, x, y, z] = *head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let Some(payload) = rest.get(HEAD..HEAD + length) else {
                break;
            };
            let id = u32::from_be_bytes([w, x, y, z]);
            if self.frame(kind, flags, id, payload, out).is_none() {
                return Turn::Malformed;
            }
            rest = &rest[HEAD + length..];
        }
        self.partial = rest.to_vec();
        Turn::On
    }

    /// Returns `None` for a malformed frame.
    fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        id: u32,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        match kind {
            HEADERS => {
                self.streams.push_back(Stream {
                    id,
                    left: self.length,
                    window: self.initial,
                    is_asked: flags & END_STREAM != 0,
                });
                if flags & END_STREAM != 0 {
                    respond(id, out);
                }
            }
            DATA => {
                self.received += u32::try_from(payload.len()).ok()?;
                if self.received > LARGEST_WINDOW / 4 {
                    grant(out, std::mem::take(&mut self.received));
                }
                if flags & END_STREAM != 0 {
                    let stream = self.streams.iter_mut().find(|stream| stream.id == id)?;
                    stream.is_asked = true;
                    respond(id, out);
                }
            }
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6) {
                    let (name, value) = setting.split_first_chunk()?;
                    if u16::from_be_bytes(*name) == INITIAL_WINDOW_SIZE {
                        let initial = i64::from(u32::from_be_bytes(value.try_into().ok()?));
                        for stream in &mut self.streams {
                            stream.window += initial - self.initial;
                        }
                        self.initial = initial;
                    }
                }
                frame(out, SETTINGS, ACK, 0, &[]);
            }
            PING if flags & ACK == 0 => frame(out, PING, ACK, 0, payload),
            WINDOW_UPDATE => {
                let credit = i64::from(u32::from_be_bytes(payload.try_into().ok()?));
                if id == 0 {
                    self.window += credit;
                } else if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id)
                {
                    stream.window += credit;
                }
            }
            RST_STREAM => self.streams.retain(|stream| stream.id != id),
            // PRIORITY, GOAWAY, CONTINUATION: nothing depends on them.
            _ => {}
        }
        Some(())
    }

    /// Sends bodies, one frame of each in turn, as far as windows allow.
    pub(crate) fn say(&mut self, out: &mut Vec<u8>, most: usize) {
        let mut refused = 0;
        while out.len() < most && refused < self.streams.len() && self.window > 0 {
            let Some(mut stream) = self.streams.pop_front() else {
                return;
            };
            let size = FRAME.min(stream.window).min(self.window);
            let size = size.min(i64::try_from(stream.left).unwrap_or(FRAME));
            if !stream.is_asked || size <= 0 {
                refused += 1;
                self.streams.push_back(stream);
                continue;
            }
            refused = 0;
            stream.left -= size as u64;
            stream.window -= size;
            self.window -= size;
            let is_end = stream.left == 0;
            head(out, size as u32, DATA, u8::from(is_end), stream.id);
            out.resize(out.len() + size as usize, b'z');
            if !is_end {
                self.streams.push_back(stream);
            }
        }
    }
}

/// RFC 7541 Appendix A: entry 8 of the static table is `:status: 200`.
fn respond(id: u32, out: &mut Vec<u8>) {
    frame(out, HEADERS, END_HEADERS, id, &[0x88]);
}

fn grant(out: &mut Vec<u8>, credit: u32) {
    frame(out, WINDOW_UPDATE, 0, 0, &credit.to_be_bytes());
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    head(out, payload.len() as u32, kind, flags, id);
    out.extend_from_slice(payload);
}

fn head(out: &mut Vec<u8>, length: u32, kind: u8, flags: u8, id: u32) {
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(frames: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
        let mut input = PREFACE.to_vec();
        for (kind, flags, id, payload) in frames {
            frame(&mut input, *kind, *flags, *id, payload);
        }
        input
    }

    fn said(length: u64, input: &[u8], cut: usize) -> Vec<u8> {
        let (mut speaker, mut out) = (Http2::new(length), Vec::new());
        for part in [&input[..cut], &input[cut..]] {
            assert_eq!(speaker.hear(part, &mut out), Turn::On);
        }
        speaker.say(&mut out, 1 << 20);
        out
    }

    #[test]
    fn a_request_is_answered_however_it_is_cut() {
        let input = input(&[
            (SETTINGS, 0, 0, &[]),
            (HEADERS, END_STREAM | END_HEADERS, 1, &[0x82]),
        ]);
        let mut expected = Vec::new();
        respond(1, &mut expected);
        head(&mut expected, 14, DATA, END_STREAM, 1);
        expected.extend([b'z'; 14]);
        let whole = said(SMALL, &input, 0);
        assert!(whole.ends_with(&expected));
        for cut in 0..input.len() {
            assert_eq!(said(SMALL, &input, cut), whole, "{cut}");
        }
    }

    #[test]
    fn no_more_is_sent_than_windows_allow() {
        let ask = (HEADERS, END_STREAM | END_HEADERS, 1, &[0x82][..]);
        let narrow = said(1 << 20, &input(&[ask]), 0);
        let wide = (WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0][..]);
        let on_stream = (WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1][..]);
        assert_eq!(said(1 << 20, &input(&[ask, wide]), 0).len(), narrow.len());
        let more = said(1 << 20, &input(&[ask, wide, on_stream]), 0);
        assert_eq!(more.len(), narrow.len() + 1);
    }

    #[test]
    fn another_protocol_is_nonsense() {
        let mut speaker = Http2::new(SMALL);
        assert_eq!(speaker.hear(b"GET / ", &mut Vec::new()), Turn::Malformed);
    }
}
