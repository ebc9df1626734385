//! The key of a handshake, and the answer it must be given.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

use httpcore_core_primitives::base64;

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
    base64::encode(&hash.digest().bytes())
}

#[cfg(test)]
mod tests {
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
    fn no_two_keys_are_alike() {
        let keys: std::collections::HashSet<_> = (0..1000).map(|_| random_key()).collect();
        assert_eq!(keys.len(), 1000);
    }
}
