//! What a table expects of the bytes it is sent, and how a mismatch reads.

use bytes::Bytes;

use crate::text;

/// A pattern of bytes.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// These bytes.
    Exactly(Bytes),
    /// Whatever there is up to the end of the line, which is not part of it.
    RestOfLine,
    /// This number of arbitrary bytes.
    Any(usize),
}

/// How far the bytes seen so far go with a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The pattern is complete, after this number of bytes.
    Complete(usize),
    /// Nothing is wrong yet.
    More,
    /// The byte at this position is not the expected one; the expected bytes, as far as a pattern
    /// can be shown, differ at the other position.
    Differs { got: usize, expected: usize },
}

pub(crate) fn compare(pattern: &[Piece], got: &[u8]) -> Progress {
    let (mut at, mut shown) = (0, 0);
    for piece in pattern {
        match piece {
            Piece::Exactly(bytes) => {
                let rest = &got[at..];
                let common = rest.iter().zip(bytes).take_while(|(a, b)| a == b).count();
                if common < bytes.len() {
                    if common == rest.len() {
                        return Progress::More;
                    }
                    return Progress::Differs {
                        got: at + common,
                        expected: shown + common,
                    };
                }
                at += common;
                shown += common;
            }
            Piece::Any(count) => {
                if got.len() - at < *count {
                    return Progress::More;
                }
                at += count;
                shown += REDACTED.len();
            }
            Piece::RestOfLine => {
                let rest = &got[at..];
                let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
                    return Progress::More;
                };
                at += end;
                shown += REDACTED.len();
            }
        }
    }
    Progress::Complete(at)
}

/// How the rest of a line is written that is not known, or not to be known.
pub(crate) const REDACTED: &[u8] = b"***";

/// The pattern as bytes that can be shown.
pub(crate) fn shown(pattern: &[Piece]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pattern {
        match piece {
            Piece::Exactly(exactly) => bytes.extend_from_slice(exactly),
            Piece::RestOfLine | Piece::Any(_) => bytes.extend_from_slice(REDACTED),
        }
    }
    bytes
}

/// Both sides, with a caret below the first byte that differs.
pub(crate) fn difference(pattern: &[Piece], got: &[u8], at: usize, expected_at: usize) -> String {
    text::mark("  expected: ", &shown(pattern), expected_at) + &text::mark("  got:      ", got, at)
}

/// What is wrong with the head of a request, if anything: its first line, which must begin with
/// `start` (method and target), and its fields, which must contain `fields`.
pub(crate) fn head_faults(head: &[u8], start: &str, fields: &[(String, String)]) -> Vec<String> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let mut faults = Vec::new();
    let first = lines.next().unwrap_or_default();
    let matches = match first.rsplit_once(' ') {
        Some((rest, version)) => rest == start && version.starts_with("HTTP/1."),
        None => false,
    };
    if !matches {
        faults.push(format!("expected {start:?} and a version, got {first:?}"));
    }
    let present: Vec<(&str, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim_matches([' ', '\t'])))
        .collect();
    for (name, value) in fields {
        let values: Vec<&str> = present
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
            .collect();
        if values.is_empty() {
            faults.push(format!("expected the field {name:?}, and there is none"));
        } else if !values.contains(&value.as_str()) {
            faults.push(format!(
                "expected {name:?} to be {value:?}, and it is {values:?}"
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(pieces: &[&str]) -> Vec<Piece> {
        pieces
            .iter()
            .map(|piece| match *piece {
                "***" => Piece::RestOfLine,
                piece => Piece::Exactly(Bytes::copy_from_slice(piece.as_bytes())),
            })
            .collect()
    }

    #[test]
    fn comparing_stops_at_the_first_byte_that_differs() {
        let plain = pattern(&["GET /"]);
        assert_eq!(compare(&plain, b"GE"), Progress::More);
        assert_eq!(compare(&plain, b"GET / HTTP"), Progress::Complete(5));
        let differs = Progress::Differs {
            got: 2,
            expected: 2,
        };
        assert_eq!(compare(&plain, b"GEX"), differs);
    }

    #[test]
    fn what_was_redacted_matches_anything_on_its_line() {
        let secret = pattern(&["cookie: ", "***", "\r\nend"]);
        assert_eq!(compare(&secret, b"cookie: a=b"), Progress::More);
        assert_eq!(
            compare(&secret, b"cookie: a=b\r\nend"),
            Progress::Complete(16)
        );
        let differs = Progress::Differs {
            got: 14,
            expected: 14,
        };
        assert_eq!(
            compare(&secret, b"cookie: a=b\r\nxnd"),
            Progress::Differs {
                got: 13,
                expected: 13
            }
        );
        assert_eq!(compare(&secret, b"cookie: a=b\r\nexd"), differs);
    }

    #[test]
    fn a_head_is_judged_by_its_first_line_and_the_fields_that_matter() {
        let head = b"GET /x HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n";
        let field = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert!(head_faults(head, "GET /x", &field("host", "a.test")).is_empty());
        assert_eq!(
            head_faults(head, "PUT /x", &field("host", "b.test")).len(),
            2
        );
        assert_eq!(
            head_faults(head, "GET /x", &field("cookie", "c")),
            ["expected the field \"cookie\", and there is none"]
        );
    }
}
