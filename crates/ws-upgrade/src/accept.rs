//! The key of a handshake, and the answer it must be given.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

/// RFC 6455 §1.3: what only a server which knows this protocol appends to the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A key nobody can foretell. It proves that the server has read this very request, and keeps no
/// secret; the numbers which the standard library seeds its maps with are good enough for that.
pub(crate) fn random_key() -> [u8; 16] {
    let mut key = [0; 16];
    for half in key.chunks_mut(8) {
        let number = RandomState::new().build_hasher().finish();
        half.copy_from_slice(&number.to_ne_bytes());
    }
    key
}

/// RFC 6455 §4.2.2: what `Sec-WebSocket-Accept` must say to `key`, which is in base64 already.
pub(crate) fn accept_for(key: &str) -> String {
    let mut hash = sha1_smol::Sha1::from(key.as_bytes());
    hash.update(GUID);
    base64(&hash.digest().bytes())
}

/// RFC 4648 §4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            if at <= group.len() {
                let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
                text.push(char::from(letter));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_own_example_comes_out() {
        // RFC 6455 §1.3.
        assert_eq!(base64(b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(
            accept_for("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn base64_of_every_remainder() {
        // RFC 4648 §10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn no_two_keys_are_alike() {
        let keys: std::collections::HashSet<_> = (0..1000).map(|_| random_key()).collect();
        assert_eq!(keys.len(), 1000);
    }
}
