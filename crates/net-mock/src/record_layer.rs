//! The record layer of TLS without cryptography: real headers (RFC 8446 §5.1), readable contents.
//!
//! ```text
//!   client ─ 22 "hello sni=a.test alpn=h2,http/1.1" ─►
//!          ◄─ 22 "hello alpn=h2 certificate=*" ─────── server
//!          ◄─ 22 "ticket" ──────────────────────────── (any number, at any time)
//!          ◄─ 23 application data, both ways ─────────►
//!          ◄─ 21 "close_notify", or another alert ────►
//! ```

use bytes::{Buf, Bytes, BytesMut};
use httpcore_core_primitives::Alpn;

/// Maximum length of the content of a record (RFC 8446 §5.1).
pub(crate) const MAX_RECORD_BYTES: usize = 16 * 1024;
const HEADER: usize = 5;

pub(crate) const CLOSE_NOTIFY: &str = "close_notify";
pub(crate) const TICKET: &str = "ticket";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Alert,
    Handshake,
    Data,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Alert => 21,
            Kind::Handshake => 22,
            Kind::Data => 23,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        match byte {
            21 => Some(Kind::Alert),
            22 => Some(Kind::Handshake),
            23 => Some(Kind::Data),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) content: Bytes,
}

/// Why bytes are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotTls;

/// Appends one record. `content` is at most [`MAX_RECORD_BYTES`] bytes long.
pub(crate) fn encode(kind: Kind, content: &[u8], out: &mut BytesMut) {
    let length = content.len() as u16;
    out.extend_from_slice(&[kind.byte(), 3, 3]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(content);
}

/// Takes one record out of `input`, if all of it is there.
pub(crate) fn decode(input: &mut BytesMut) -> Result<Option<Record>, NotTls> {
    let (Some(&kind), version) = (input.first(), input.get(1..3)) else {
        return Ok(None);
    };
    let kind = Kind::of(kind).ok_or(NotTls)?;
    if version.is_some_and(|version| version != [3, 3]) {
        return Err(NotTls);
    }
    let Some(length) = input.get(3..HEADER) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length > MAX_RECORD_BYTES {
        return Err(NotTls);
    }
    if input.len() < HEADER + length {
        return Ok(None);
    }
    input.advance(HEADER);
    let content = input.split_to(length).freeze();
    Ok(Some(Record { kind, content }))
}

/// Returns whether bytes begin as a client's first record does.
pub(crate) fn begins_handshake(bytes: &[u8]) -> bool {
    bytes.starts_with(&[22, 3, 3])
}

/// A hello of either side: a word, and settings after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) server_name: Option<String>,
    pub(crate) alpn: Vec<Alpn>,
    /// The server's: what its certificate is for (`*` for anything), or what is wrong with it.
    pub(crate) certificate: Option<Certificate>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    For(Vec<String>),
    Faulty(String),
}

impl Hello {
    pub(crate) fn text(&self) -> String {
        let mut text = "hello".to_owned();
        if let Some(name) = &self.server_name {
            text += &format!("\nsni={name}");
        }
        if !self.alpn.is_empty() {
            let names = self.alpn.iter().map(|alpn| alpn_name(*alpn));
            text += &format!("\nalpn={}", names.collect::<Vec<_>>().join(","));
        }
        match &self.certificate {
            Some(Certificate::For(names)) => text += &format!("\ncertificate={}", names.join(",")),
            Some(Certificate::Faulty(fault)) => text += &format!("\nfault={fault}"),
            None => {}
        }
        text
    }

    pub(crate) fn parse(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?;
        let mut lines = text.split('\n');
        if lines.next() != Some("hello") {
            return None;
        }
        let mut hello = Hello::default();
        for line in lines {
            let (key, value) = line.split_once('=')?;
            match key {
                "sni" => hello.server_name = Some(value.to_owned()),
                "alpn" => hello.alpn = value.split(',').filter_map(alpn_called).collect(),
                "certificate" => {
                    let names = value.split(',').map(str::to_owned).collect();
                    hello.certificate = Some(Certificate::For(names));
                }
                "fault" => hello.certificate = Some(Certificate::Faulty(value.to_owned())),
                _ => return None,
            }
        }
        Some(hello)
    }
}

pub(crate) fn alpn_name(alpn: Alpn) -> &'static str {
    str::from_utf8(alpn.wire_name()).unwrap_or("")
}

pub(crate) fn alpn_called(name: &str) -> Option<Alpn> {
    Alpn::from_wire_name(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_out_as_it_went_in_wherever_it_is_cut() {
        let mut wire = BytesMut::new();
        encode(Kind::Data, b"hello", &mut wire);
        for cut in 0..wire.len() {
            let mut part = BytesMut::from(&wire[..cut]);
            assert_eq!(decode(&mut part), Ok(None), "cut at {cut}");
        }
        let record = decode(&mut wire).unwrap().unwrap();
        assert_eq!(
            (record.kind, &record.content[..]),
            (Kind::Data, &b"hello"[..])
        );
        assert!(wire.is_empty());
    }

    #[test]
    fn what_is_no_record_is_refused_at_its_first_byte() {
        assert_eq!(decode(&mut BytesMut::from(&b"H"[..])), Err(NotTls));
        assert_eq!(decode(&mut BytesMut::from(&[22, 3, 1][..])), Err(NotTls));
        assert_eq!(
            decode(&mut BytesMut::from(&[23, 3, 3, 255, 255][..])),
            Err(NotTls)
        );
    }

    #[test]
    fn a_hello_survives_being_text() {
        let hello = Hello {
            server_name: Some("a.test".to_owned()),
            alpn: vec![Alpn::Http2, Alpn::Http1],
            certificate: Some(Certificate::Faulty("it has expired".to_owned())),
        };
        assert_eq!(Hello::parse(hello.text().as_bytes()), Some(hello));
        assert_eq!(Hello::parse(b"farewell"), None);
    }
}
