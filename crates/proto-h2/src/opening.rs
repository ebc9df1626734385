//! The first frame a server sends, which h2 does not look at closely enough.
//!
//! RFC 9113 §3.4: it is SETTINGS. §6.5.2: a server never sets ENABLE_PUSH to anything but 0. h2 lets
//! both pass. What breaks these rules is changed here into something that h2 refuses, so that
//! refusing has one place, and the server hears why (GOAWAY, PROTOCOL_ERROR).

/// How long the head of a frame is.
const HEAD: usize = 9;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
const ENABLE_PUSH: [u8; 2] = [0, 2];

/// Looks at bytes as they come, up to the end of the first frame.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    /// How many bytes have come.
    at: usize,
    head: [u8; HEAD],
    /// The setting that is being read.
    entry: [u8; 6],
}

impl Opening {
    /// Looks at what has come; whether there will be nothing more to look at.
    pub(crate) fn look(&mut self, bytes: &mut [u8]) -> bool {
        for byte in bytes {
            if self.at < HEAD {
                self.head[self.at] = *byte;
                self.check_head(byte);
            } else if self.at < self.end() {
                let place = (self.at - HEAD) % self.entry.len();
                self.entry[place] = *byte;
                if place == 5 && self.entry[..2] == ENABLE_PUSH && self.entry[2..] == [0, 0, 0, 1] {
                    // RFC 9113 §6.5.2: anything but 0 and 1 is an error.
                    *byte = 2;
                }
            }
            self.at += 1;
            if self.is_over() {
                return true;
            }
        }
        false
    }

    fn check_head(&self, byte: &mut u8) {
        let is_wrong = self.head[3] != SETTINGS || self.head[4] & ACK != 0;
        match self.at {
            3 => *byte = SETTINGS,
            // RFC 9113 §6.5: SETTINGS of a stream are an error.
            8 if is_wrong => *byte |= 1,
            _ => {}
        }
    }

    fn end(&self) -> usize {
        let [a, b, c, ..] = self.head;
        HEAD + usize::from(a) * 0x1_0000 + usize::from(b) * 0x100 + usize::from(c)
    }

    fn is_over(&self) -> bool {
        self.at >= HEAD && (self.at >= self.end() || self.head[3] != SETTINGS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of `bytes`, however they are cut.
    fn seen(bytes: &[u8]) -> Vec<u8> {
        let mut whole = bytes.to_vec();
        Opening::default().look(&mut whole);
        for cut in 0..bytes.len() {
            let mut parts = bytes.to_vec();
            let (one, two) = parts.split_at_mut(cut);
            let mut opening = Opening::default();
            if !opening.look(one) {
                opening.look(two);
            }
            assert_eq!(parts, whole, "cut at {cut}");
        }
        whole
    }

    #[test]
    fn settings_stay_as_they_are() {
        let settings = [
            &[0, 0, 12, 4, 0, 0, 0, 0, 0][..],
            &[0, 3, 0, 0, 0, 100],
            &[0, 2, 0, 0, 0, 0],
            // Behind the first frame nobody looks.
            &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1],
        ]
        .concat();
        assert_eq!(seen(&settings), settings);
        let empty = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1];
        assert_eq!(seen(&empty), empty);
    }

    #[test]
    fn a_push_that_is_enabled_becomes_one_that_h2_refuses() {
        let settings = [
            0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 0, 2, 0, 0, 0, 1,
        ];
        let mut refused = settings;
        refused[20] = 2;
        assert_eq!(seen(&settings), refused);
    }

    #[test]
    fn anything_but_settings_becomes_settings_of_a_stream() {
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let mut refused = ping;
        (refused[3], refused[8]) = (4, 1);
        assert_eq!(seen(&ping), refused);
        let acknowledgement = [0, 0, 0, 4, 1, 0, 0, 0, 0];
        assert_eq!(seen(&acknowledgement), [0, 0, 0, 4, 1, 0, 0, 0, 1]);
    }
}
