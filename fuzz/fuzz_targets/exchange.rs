//! Any response to any request gives the same events however its bytes are cut.
//!
//! The first byte of the input says what was asked, how much is allowed and whether the connection
//! ends; the second, how many cuts there are; then comes a byte for each, which is the length of a
//! piece; what follows is the response.

#![no_main]

use httpcore_fuzz::{Told, asked, lenient, read};
use httpcore_proto_h1::codec::{Limits, ParserOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [choice, count, rest @ ..] = bytes else {
        return;
    };
    let Some((lengths, response)) = rest.split_at_checked(usize::from(count % 32)) else {
        return;
    };
    let method = ["GET", "HEAD", "CONNECT", "POST"][usize::from(choice & 3)];
    let eof = choice & 4 != 0;
    let mut limits = Limits::default();
    if choice & 8 != 0 {
        limits.max_head_size = 48;
        limits.max_headers = 2;
        limits.max_trailer_size = 16;
        limits.max_trailers = 1;
        limits.max_chunk_extension_size = 3;
        limits.max_informational = 1;
        limits.max_informational_size = 40;
    }
    let mut leniency = ParserOptions::default();
    if choice & 16 != 0 {
        leniency = lenient();
    }
    leniency.http09 = choice & 32 != 0;
    leniency.length_beside_coding = choice & 64 != 0;
    leniency.codings_before_chunked = choice & 128 != 0;
    let codec = || asked(method, limits).with_options(leniency);
    let whole = read(codec(), [response], eof);
    assert_eq!(read(codec(), response.chunks(1), eof), whole);
    let mut left = response;
    let mut pieces = Vec::new();
    for &length in lengths {
        let (piece, rest) = left.split_at(usize::from(length).min(left.len()));
        pieces.push(piece);
        left = rest;
    }
    pieces.push(left);
    assert_eq!(read(codec(), pieces, eof), whole);
    // Leniency changes nothing about what is in order.
    let strictly = read(asked(method, limits), [response], eof);
    if !matches!(strictly.last(), Some(Told::Refused(_))) && choice & 16 != 0 {
        let mut leniently = lenient();
        leniently.http09 = false;
        let codec = asked(method, limits).with_options(leniently);
        assert_eq!(read(codec, [response], eof), strictly);
    }
    // At the end of the connection, there is always a verdict.
    if eof {
        assert!(
            matches!(
                whole.last(),
                Some(Told::End(_) | Told::Refused(_) | Told::Switched(_))
            ),
            "{whole:?}"
        );
    }
});
