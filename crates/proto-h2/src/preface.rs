//! The first frame of a server.
//!
//! RFC 9113 §3.4: it is SETTINGS. h2 accepts any frame. Another frame is rewritten here into one
//! that h2 refuses, so that there is one place that refuses, and the server receives the reason
//! (GOAWAY, PROTOCOL_ERROR).

/// Size of a frame header, in bytes.
const HEAD: usize = 9;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// Inspects bytes as they arrive, up to the end of the first frame header.
#[derive(Debug, Default)]
pub(crate) struct PrefaceCheck {
    /// Number of bytes that have arrived.
    at: usize,
    is_wrong: bool,
}

impl PrefaceCheck {
    /// Inspects the next bytes; returns whether the header is complete.
    pub(crate) fn look(&mut self, bytes: &mut [u8]) -> bool {
        for byte in bytes.iter_mut().take(HEAD - self.at) {
            match self.at {
                3 => {
                    self.is_wrong |= *byte != SETTINGS;
                    *byte = SETTINGS;
                }
                4 => self.is_wrong |= *byte & ACK != 0,
                // RFC 9113 §6.5: SETTINGS on a stream are an error.
                8 if self.is_wrong => *byte |= 1,
                _ => {}
            }
            self.at += 1;
        }
        self.at == HEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what becomes of `bytes`, however they are cut.
    fn seen(bytes: &[u8]) -> Vec<u8> {
        let mut whole = bytes.to_vec();
        PrefaceCheck::default().look(&mut whole);
        for cut in 0..bytes.len() {
            let mut parts = bytes.to_vec();
            let (one, two) = parts.split_at_mut(cut);
            let mut opening = PrefaceCheck::default();
            if !opening.look(one) {
                assert!(opening.look(two));
            }
            assert_eq!(parts, whole, "cut at {cut}");
        }
        whole
    }

    #[test]
    fn settings_stay_as_they_are_and_so_does_what_follows() {
        let settings = [
            0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100, 0, 0, 0, 6, 1, 0, 0, 0, 0,
        ];
        assert_eq!(seen(&settings), settings);
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
