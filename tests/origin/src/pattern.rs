//! Bytes that can be checked wherever they come from.
//!
//! The byte at each offset of a body is known, and so lost, doubled and swapped pieces show,
//! unless they are a multiple of [`PERIOD`] long.

use std::sync::LazyLock;

/// After how many bytes the pattern begins again: the largest prime below 64 KiB, so that no
/// buffer's size divides it.
pub const PERIOD: usize = 65_521;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 1_u32;
    (0..PERIOD)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
});

/// The longest piece of the pattern at `offset` that lies in memory in one: at most `limit` bytes.
pub fn at(offset: u64, limit: usize) -> &'static [u8] {
    let start = (offset % PERIOD as u64) as usize;
    let end = PERIOD.min(start.saturating_add(limit));
    &BYTES[start..end]
}

/// Writes the pattern from `offset` over all of `bytes`.
pub fn fill(mut offset: u64, mut bytes: &mut [u8]) {
    while !bytes.is_empty() {
        let piece = at(offset, bytes.len());
        let (now, later) = bytes.split_at_mut(piece.len());
        now.copy_from_slice(piece);
        offset += piece.len() as u64;
        bytes = later;
    }
}

/// Whether `bytes` are the pattern's at `offset`.
pub fn matches(mut offset: u64, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let piece = at(offset, bytes.len());
        let (now, later) = bytes.split_at(piece.len());
        if now != piece {
            return false;
        }
        offset += piece.len() as u64;
        bytes = later;
    }
    true
}

/// The 64-bit FNV-1a hash of what has been fed to it, in any pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Checksum(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    /// Takes in `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The hash so far.
    pub fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_buffer_matches_at_its_offset_and_at_no_other() {
        let offset = 3 * PERIOD as u64 - 100;
        let mut bytes = vec![0; 200_000];
        fill(offset, &mut bytes);
        assert!(matches(offset, &bytes));
        assert!(!matches(offset + 1, &bytes));
        bytes[150_000] ^= 1;
        assert!(!matches(offset, &bytes));
    }

    #[test]
    fn the_checksum_is_fnv_1a() {
        let mut checksum = Checksum::default();
        checksum.update(b"foo");
        checksum.update(b"bar");
        assert_eq!(checksum.value(), 0x8594_4171_f739_67e8);
    }
}
