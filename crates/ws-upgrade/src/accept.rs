//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept`.

use httpcore_core_primitives::base64;

/// RFC 6455 §1.3: the GUID that is appended to the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Returns a key from the operating system's random numbers.
// RFC 6455 §4.1, §10.3: the key is selected at random for each connection, from a strong source.
pub(crate) fn random_key() -> Result<[u8; 16], getrandom::Error> {
    let mut key = [0; 16];
    getrandom::getrandom(&mut key)?;
    Ok(key)
}

/// RFC 6455 §4.2.2: the value of `Sec-WebSocket-Accept` for `key`, which is in base64.
pub(crate) fn accept_for(key: &str) -> String {
    let mut hash = sha1_smol::Sha1::from(key.as_bytes());
    hash.update(GUID);
    base64::encode(&hash.digest().bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_rfcs_own_example_comes_out() {
        // RFC 6455 §1.3.
        assert_eq!(
            base64::encode(b"the sample nonce"),
            "dGhlIHNhbXBsZSBub25jZQ=="
        );
        assert_eq!(
            accept_for("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn no_two_keys_are_alike_and_every_bit_of_them_varies() {
        let keys: HashSet<_> = (0..1000).map(|_| random_key().unwrap()).collect();
        assert_eq!(keys.len(), 1000);
        // A bit that is the same in a thousand random keys is one chance in 2^999.
        for byte in 0..16 {
            let (ones, zeros) = keys.iter().fold((0, 0), |(ones, zeros), key| {
                (ones | key[byte], zeros | !key[byte])
            });
            assert_eq!((ones, zeros), (0xff, 0xff), "byte {byte}");
        }
    }
}
