//! The first frame a server sends.
//!
//! RFC 9113 §3.4: it is SETTINGS. h2 lets anything pass. What is not is changed here into something
//! that h2 refuses, so that refusing has one place, and the server hears why (GOAWAY,
//! PROTOCOL_ERROR).

/// How long the head of a frame is.
const HEAD: usize = 9;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// Looks at bytes as they come, up to the end of the first frame's head.
#[derive(Debug, Default)]
pub(crate) struct PrefaceCheck {
    /// How many bytes have come.
    at: usize,
    is_wrong: bool,
}

impl PrefaceCheck {
    /// Looks at what has come; whether there will be nothing more to look at.
    pub(crate) fn look(&mut self, bytes: &mut [u8]) -> bool {
        for byte in bytes.iter_mut().take(HEAD - self.at) {
            match self.at {
                3 => {
                    self.is_wrong |= *byte != SETTINGS;
                    *byte = SETTINGS;
                }
                4 => self.is_wrong |= *byte & ACK != 0,
                // RFC 9113 §6.5: SETTINGS of a stream are an error.
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

    /// What becomes of `bytes`, however they are cut.
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
