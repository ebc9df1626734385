//! Redaction of secrets in recordings.

use std::ops::Range;

use crate::frames::{PREFACE, header_blocks};

/// The fields whose values are secrets: RFC 9110 §11.6.2 and §11.7.2, RFC 6265 §4.
pub(crate) const SECRETS: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
];

/// A redacted range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The rest of a line.
    Line(Range<usize>),
    /// Bytes of a protocol without lines.
    Block(Range<usize>),
}

impl Secret {
    pub(crate) fn range(&self) -> Range<usize> {
        match self {
            Secret::Line(range) | Secret::Block(range) => range.clone(),
        }
    }
}

/// The secrets among the bytes of one direction, in order. `names` are names of fields in lower
/// case; `client` is what the client said in the same conversation.
pub(crate) fn secrets(bytes: &[u8], client: &[u8], names: &[String]) -> Vec<Secret> {
    if client.starts_with(PREFACE) {
        return header_blocks(bytes)
            .into_iter()
            .map(Secret::Block)
            .collect();
    }
    if client
        .windows(PREFACE.len())
        .any(|window| window == PREFACE)
    {
        // HTTP/2 from some point on, and where that is in the other direction is not known.
        return vec![Secret::Block(0..bytes.len())];
    }
    lines(bytes, names)
}

/// The values of secret fields, wherever a line looks like one: in heads, in trailers, and in
/// bodies too, where it does no harm.
fn lines(bytes: &[u8], names: &[String]) -> Vec<Secret> {
    let mut secrets = Vec::new();
    let (mut at, mut in_secret) = (0, false);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        // RFC 9112 §5.2: a line that begins with white space continues the one before.
        let continues = in_secret && matches!(text.first(), Some(b' ' | b'\t'));
        let value = if continues {
            Some(0)
        } else {
            secret_value(text, names)
        };
        if let Some(value) = value {
            secrets.push(Secret::Line(at + value..at + text.len()));
        }
        in_secret = value.is_some();
        at += line.len();
    }
    secrets
}

/// Where the value of a secret field begins in this line, if it is one.
fn secret_value(line: &[u8], names: &[String]) -> Option<usize> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii();
    let is_it = |secret: &String| name.eq_ignore_ascii_case(secret.as_bytes());
    if !names.iter().any(is_it) {
        return None;
    }
    let space = usize::from(line.get(colon + 1) == Some(&b' '));
    Some(colon + 1 + space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(bytes: &str) -> Vec<&str> {
        let names = SECRETS.map(str::to_owned);
        secrets(bytes.as_bytes(), bytes.as_bytes(), &names)
            .into_iter()
            .map(|secret| &bytes[secret.range()])
            .collect()
    }

    #[test]
    fn values_of_secret_fields_are_found_however_they_are_written() {
        assert_eq!(
            hidden("GET / HTTP/1.1\r\nCookie: a=b\r\nx: y\r\n\r\n"),
            ["a=b"]
        );
        assert_eq!(hidden("h\r\nAUTHORIZATION:Basic x\r\n"), ["Basic x"]);
        assert_eq!(hidden("h\r\ncookie : a\n"), ["a"]);
        assert_eq!(
            hidden("h\r\ncookie: a\r\n b\r\n\tc\r\nd: e\r\n"),
            ["a", " b", "\tc"]
        );
        assert_eq!(
            hidden("h\r\nset-cookie: cut off in the mid"),
            ["cut off in the mid"]
        );
        assert_eq!(hidden("h\r\nx-cookie: a\r\ncookies: b\r\n"), [""; 0]);
    }

    #[test]
    fn header_blocks_of_http2_are_secret_whole() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&[0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x87]);
        let start = bytes.len() - 3;
        assert_eq!(
            secrets(&bytes, &bytes, &[]),
            [Secret::Block(start..start + 3)]
        );
        // An unfinished block is a block.
        bytes.pop();
        assert_eq!(
            secrets(&bytes, &bytes, &[]),
            [Secret::Block(start..start + 2)]
        );
        let upgraded = [b"GET / HTTP/1.1\r\n\r\n", &bytes[..]].concat();
        assert_eq!(secrets(b"whatever", &upgraded, &[]), [Secret::Block(0..8)]);
    }
}
