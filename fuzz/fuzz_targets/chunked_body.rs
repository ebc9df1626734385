//! A chunked body which is accepted holds what a plain reading of it says, and nothing else is.

#![no_main]

use httpcore_core_primitives::CloseReason;
use httpcore_fuzz::{Told, asked, chunked, grouped, no_limits, read};
use libfuzzer_sys::fuzz_target;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fuzz_target!(|bytes: &[u8]| {
    let told = read(asked("GET", no_limits()), [HEAD, bytes], true);
    let whole = [HEAD, bytes].concat();
    assert_eq!(read(asked("GET", no_limits()), [&whole[..]], true), told);
    assert_eq!(read(asked("GET", no_limits()), whole.chunks(1), true), told);
    let Some((data, trailers, rest)) = chunked(bytes) else {
        assert!(matches!(told.last(), Some(Told::Refused(_))), "{told:?}");
        return;
    };
    let mut expected = vec![told[0].clone()];
    if !data.is_empty() {
        expected.push(Told::Data(data));
    }
    if !trailers.is_empty() {
        expected.push(Told::Trailers(grouped(&trailers)));
    }
    expected.push(Told::End(if rest.is_empty() {
        Ok(())
    } else {
        Err(CloseReason::UnsolicitedData)
    }));
    assert_eq!(told, expected);
});
