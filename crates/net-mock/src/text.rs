//! Readable text for bytes, suitable for snapshots.

use std::fmt::Write;

/// The lines of `bytes`, escaped. A line ended by CRLF is just the line; one ended by LF alone
/// shows its `\n`; the last, if nothing ends it, is followed by `…`.
pub(crate) fn lines(bytes: &[u8]) -> Vec<String> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| match line.strip_suffix(b"\r\n") {
            Some(line) => escape(line),
            None if line.ends_with(b"\n") => escape(line),
            None => escape(line) + "…",
        })
        .collect()
}

/// Printable ASCII as it is, and everything else escaped, UTF-8 apart.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                char if char.is_control() => {
                    let _ = write!(text, "{}", char.escape_default());
                }
                char => text.push(char),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Maximum number of lines shown before and after a difference.
const AROUND: usize = 6;

/// `bytes` with a caret below byte `at`, each line (with its line end shown) after `label` or as
/// much space.
pub(crate) fn mark(label: &str, bytes: &[u8], at: usize) -> String {
    let blank = " ".repeat(label.chars().count());
    let mut rows = Vec::new();
    let (mut start, mut marked) = (0, 0);
    let mut ends: Vec<usize> = bytes
        .iter()
        .enumerate()
        .filter_map(|(i, byte)| (*byte == b'\n').then_some(i + 1))
        .collect();
    if ends.last() != Some(&bytes.len()) || at >= bytes.len() {
        ends.push(bytes.len());
    }
    for (number, end) in ends.iter().copied().enumerate() {
        let last = number + 1 == ends.len();
        rows.push(shown(&bytes[start..end]));
        if (start..end).contains(&at) || (last && at >= end) {
            let before = shown(&bytes[start..at.min(end)]).chars().count();
            marked = rows.len();
            rows.push(format!("{}^", " ".repeat(before)));
        }
        start = end;
    }
    let first = marked.saturating_sub(AROUND);
    let until = rows.len().min(marked + AROUND);
    let mut text = String::new();
    if first > 0 {
        let _ = writeln!(text, "{label}({first} lines before)");
    }
    for (n, row) in rows[first..until].iter().enumerate() {
        let label = if first + n == 0 { label } else { &blank };
        let _ = writeln!(text, "{}", format!("{label}{row}").trim_end());
    }
    if until < rows.len() {
        let _ = writeln!(text, "{blank}({} lines after)", rows.len() - until);
    }
    text
}

/// A line with its line end to be seen.
fn shown(line: &[u8]) -> String {
    escape(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_show_how_they_end_unless_it_is_the_usual_way() {
        assert_eq!(lines(b"a\r\n\r\nb\nc\td"), ["a", "", "b\\n", "c\\td…"]);
        assert_eq!(lines(b"caf\xc3\xa9 \xff"), ["café \\xff…"]);
    }

    #[test]
    fn the_caret_stands_below_the_byte_even_behind_escapes() {
        assert_eq!(
            mark("got: ", b"a\r\nb\x01c\r\n", 5),
            "got: a\\r\\n\n     b\\u{1}c\\r\\n\n           ^\n"
        );
        assert_eq!(mark("got: ", b"ab", 2), "got: ab\n       ^\n");
        assert_eq!(mark("got: ", b"", 0), "got:\n     ^\n");
    }
}
