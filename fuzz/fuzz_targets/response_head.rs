//! A head which is accepted means what a plain reading of it says; one which is not has a fault.

#![no_main]

use httpcore_fuzz::{Told, asked, field_lines, grouped, line, no_limits, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let told = read(asked("HEAD", no_limits()), [bytes], false);
    let expected = head(bytes);
    match (told.first(), expected) {
        (Some(Told::Head(version, status, fields)), Some(head)) => {
            assert_eq!(
                (format!("{version:?}").into_bytes(), *status, fields),
                (head.0, head.1, &grouped(&head.2))
            );
        }
        // It may be in order, and announce what it must not.
        (Some(Told::Refused(_)), Some((_, 100..=199, _))) => {}
        (Some(Told::Refused(_)) | None, None) => {}
        (told, expected) => panic!("{told:?}, and not {expected:?}"),
    }
    let bytewise = read(asked("HEAD", no_limits()), bytes.chunks(1), false);
    assert_eq!(told, bytewise);
});

/// Version, status and fields of the head which `bytes` begin with.
fn head(bytes: &[u8]) -> Option<(Vec<u8>, u16, httpcore_fuzz::Fields)> {
    let (status_line, rest) = line(bytes)?;
    let (version, after) = status_line.split_at_checked(9)?;
    let (code, reason) = after.split_at_checked(3)?;
    let version = version.strip_suffix(b" ")?;
    if !(version == b"HTTP/1.1" || version == b"HTTP/1.0") {
        return None;
    }
    if !code.iter().all(u8::is_ascii_digit) || code[0] == b'0' {
        return None;
    }
    let text = |&byte: &u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    if !(reason.is_empty() || (reason[0] == b' ' && reason.iter().all(text))) {
        return None;
    }
    let code = std::str::from_utf8(code).ok()?.parse().ok()?;
    let (fields, _) = field_lines(rest)?;
    // `http` holds no longer names.
    if fields.iter().any(|(name, _)| name.len() > 65_535) {
        return None;
    }
    Some((version.to_vec(), code, fields))
}
