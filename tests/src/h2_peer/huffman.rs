//! The Huffman code of HPACK (RFC 7541 §5.2).

/// How long the code of each byte is, in bits, and last that of the end of the string.
///
/// RFC 7541 §B lists the codes as well. They follow from the lengths: shorter codes come first,
/// and among equally long ones that of the lower byte.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const END: usize = 256;
const LONGEST: u8 = 30;

/// The bytes that `code` stands for; what is wrong with it, if it stands for none.
pub(crate) fn decode(code: &[u8]) -> Result<Vec<u8>, String> {
    let mut decoded = Vec::new();
    let (mut bits, mut length) = (0_u32, 0_u8);
    for byte in code {
        for shift in (0..8).rev() {
            bits = bits << 1 | u32::from(byte >> shift & 1);
            length += 1;
            match symbol(bits, length) {
                Some(END) => return Err("the end of the string is in it".to_owned()),
                Some(symbol) => {
                    decoded.push(symbol as u8);
                    (bits, length) = (0, 0);
                }
                None if length == LONGEST => return Err("no such code".to_owned()),
                None => {}
            }
        }
    }
    // RFC 7541 §5.2: fewer than 8 bits may be left, all of them set.
    if length > 7 || bits != (1 << length) - 1 {
        return Err("the padding is wrong".to_owned());
    }
    Ok(decoded)
}

/// The symbol with this code of `bits` bits.
fn symbol(bits: u32, length: u8) -> Option<usize> {
    let mut first = 0;
    for shorter in 1..length {
        first = (first + count(shorter)) << 1;
    }
    let place = bits.checked_sub(first)?;
    let mut of_this_length = (0..LENGTHS.len()).filter(|symbol| LENGTHS[*symbol] == length);
    of_this_length.nth(place as usize)
}

fn count(length: u8) -> u32 {
    LENGTHS.iter().filter(|other| **other == length).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_decoded() {
        // RFC 7541 §C.4
        let code = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(decode(&code).unwrap(), b"www.example.com");
        assert_eq!(
            decode(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(),
            b"no-cache"
        );
    }

    #[test]
    fn what_ends_wrongly_is_refused() {
        for wrong in [&[0xff; 4][..], &[0x07, 0xff], &[0x00]] {
            assert!(decode(wrong).is_err(), "{wrong:?}");
        }
    }
}
