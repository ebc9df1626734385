//! Trailers which are accepted are the fields that a plain reading finds; within small limits too.

#![no_main]

use httpcore_fuzz::{Told, asked, field_lines, grouped, no_limits, read};
use httpcore_proto_h1::codec::Limits;
use libfuzzer_sys::fuzz_target;

const BEFORE: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";

fuzz_target!(|bytes: &[u8]| {
    let mut small = Limits::default();
    small.max_trailer_size = 64;
    small.max_trailers = 4;
    for limits in [no_limits(), small] {
        let told = read(asked("GET", limits), [BEFORE, bytes], true);
        let whole = [BEFORE, bytes].concat();
        assert_eq!(read(asked("GET", limits), [&whole[..]], true), told);
        assert_eq!(read(asked("GET", limits), whole.chunks(1), true), told);
        let plain = field_lines(bytes).filter(|(fields, rest)| {
            fields.len() <= limits.max_trailers
                && bytes.len() - rest.len() <= limits.max_trailer_size
                && fields.iter().all(|(name, _)| name.len() <= 65_535)
        });
        match (plain, &told[1..]) {
            (Some((fields, _)), [Told::Trailers(told), Told::End(_)]) => {
                assert_eq!(*told, grouped(&fields));
            }
            (Some((fields, _)), [Told::End(_)]) => assert!(fields.is_empty()),
            (None, [Told::Refused(_)]) => {}
            (plain, told) => panic!("{told:?}, and not {plain:?}"),
        }
    }
});
