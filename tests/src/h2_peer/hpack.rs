//! Field blocks (RFC 7541): an encoder which knows literals only, and a whole decoder.

use std::collections::VecDeque;

use super::huffman;

/// A name and a value.
pub type Field = (String, String);

/// The table that both sides know from the beginning (RFC 7541 §A).
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
];

/// Each field as a literal with a new name, not indexed (RFC 7541 §6.2.2). Names and
/// values are taken as they are, however wrong.
pub fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        literal(&mut block, 0x00, name.as_bytes(), value.as_bytes());
    }
    block
}

/// Each field as a literal with a new name, to be put into the dynamic table (RFC 7541 §6.2.1).
pub fn encode_to_remember(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        literal(&mut block, 0x40, name.as_bytes(), value.as_bytes());
    }
    block
}

/// A literal whose representation begins with `first`, with a name and a value of any bytes.
pub fn literal(block: &mut Vec<u8>, first: u8, name: &[u8], value: &[u8]) {
    block.push(first);
    for text in [name, value] {
        integer(block, 0, 7, text.len());
        block.extend_from_slice(text);
    }
}

/// A number (RFC 7541 §5.1) with a prefix of `bits` bits; `first` has the bits above it.
pub fn integer(block: &mut Vec<u8>, first: u8, prefix: u8, number: usize) {
    let most = (1 << prefix) - 1;
    if number < most {
        block.push(first | number as u8);
        return;
    }
    block.push(first | most as u8);
    let mut left = number - most;
    while left >= 128 {
        block.push(left as u8 | 0x80);
        left >>= 7;
    }
    block.push(left as u8);
}

/// What a receiver of field blocks remembers from one to the next.
#[derive(Debug)]
pub struct Decoder {
    /// The newest first.
    table: VecDeque<Field>,
    /// What the table may weigh.
    size: usize,
    /// What the sender may raise that to: our SETTINGS_HEADER_TABLE_SIZE.
    most: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder {
            table: VecDeque::new(),
            size: 4096,
            most: 4096,
        }
    }
}

impl Decoder {
    /// Allows the sender a table of this size from now on.
    pub fn allow(&mut self, most: usize) {
        self.most = most;
    }

    /// What the table may weigh now.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The fields of `block`; what is wrong with it, if it cannot be decoded.
    pub fn decode(&mut self, block: &[u8]) -> Result<Vec<Field>, String> {
        let (mut rest, mut fields) = (block, Vec::new());
        // RFC 7541 §4.2: what was made smaller is said to be, before anything else.
        let is_told = rest.first().is_some_and(|first| first & 0xe0 == 0x20);
        if self.size > self.most && !is_told {
            return Err(format!(
                "a table of {}, and {} is allowed",
                self.size, self.most
            ));
        }
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index = take_integer(&mut rest, 7)?;
                fields.push(self.entry(index)?);
            } else if first & 0xe0 == 0x20 {
                let size = take_integer(&mut rest, 5)?;
                if size > self.most {
                    return Err(format!("a table of {size}, and {} is allowed", self.most));
                }
                if !fields.is_empty() {
                    return Err("a new size behind a field".to_owned());
                }
                self.size = size;
                self.evict();
            } else {
                let is_remembered = first & 0xc0 == 0x40;
                let index = take_integer(&mut rest, if is_remembered { 6 } else { 4 })?;
                let name = match index {
                    0 => take_text(&mut rest)?,
                    index => self.entry(index)?.0,
                };
                let field = (name, take_text(&mut rest)?);
                if is_remembered {
                    self.table.push_front(field.clone());
                    self.evict();
                }
                fields.push(field);
            }
        }
        Ok(fields)
    }

    fn entry(&self, index: usize) -> Result<Field, String> {
        let place = index.checked_sub(1).ok_or("index 0")?;
        if let Some((name, value)) = STATIC.get(place) {
            return Ok(((*name).to_owned(), (*value).to_owned()));
        }
        let remembered = self.table.get(place - STATIC.len());
        remembered.cloned().ok_or_else(|| format!("index {index}"))
    }

    fn evict(&mut self) {
        // RFC 7541 §4.1: an entry weighs 32 bytes more than its letters.
        let weight = |(name, value): &Field| name.len() + value.len() + 32;
        while self.table.iter().map(weight).sum::<usize>() > self.size {
            self.table.pop_back();
        }
    }
}

fn take_integer(rest: &mut &[u8], prefix: u8) -> Result<usize, String> {
    let most = (1_usize << prefix) - 1;
    let mut number = usize::from(take_byte(rest)?) & most;
    if number < most {
        return Ok(number);
    }
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(take_byte(rest)?);
        number += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number without an end".to_owned())
}

fn take_text(rest: &mut &[u8]) -> Result<String, String> {
    let is_huffman = rest.first().is_some_and(|byte| byte & 0x80 != 0);
    let length = take_integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(length).ok_or("a string cut off")?;
    *rest = after;
    let text = if is_huffman {
        huffman::decode(text)?
    } else {
        text.to_vec()
    };
    String::from_utf8(text).map_err(|_| "not text".to_owned())
}

fn take_byte(rest: &mut &[u8]) -> Result<u8, String> {
    let (first, after) = rest.split_first().ok_or("a block cut off")?;
    *rest = after;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(fields: &[(&str, &str)]) -> Vec<Field> {
        let field = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        fields.iter().map(field).collect()
    }

    #[test]
    fn three_requests_of_the_rfc_are_decoded_with_one_table() {
        // RFC 7541 §C.4
        let blocks: [&[u8]; 3] = [
            b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
            b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
        ];
        let mut decoder = Decoder::default();
        let got = blocks.map(|block| decoder.decode(block).unwrap());
        assert_eq!(
            got[1],
            owned(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "www.example.com"),
                ("cache-control", "no-cache"),
            ])
        );
        assert_eq!(
            got[2],
            owned(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "/index.html"),
                (":authority", "www.example.com"),
                ("custom-key", "custom-value"),
            ])
        );
    }

    #[test]
    fn old_entries_give_way_to_new_ones() {
        // RFC 7541 §C.6: a table of 256 bytes holds two of these, and the third evicts the first.
        let mut decoder = Decoder::default();
        let fields: [&[(&str, &str)]; 3] = [
            &[("a", &"x".repeat(95)[..])],
            &[("b", &"y".repeat(95)[..])],
            &[("c", &"z".repeat(95)[..])],
        ];
        let mut block = vec![];
        integer(&mut block, 0x20, 5, 256);
        for field in fields {
            block.extend(encode_to_remember(field));
        }
        decoder.decode(&block).unwrap();
        assert_eq!(decoder.decode(&[0xbe]).unwrap()[0].0, "c");
        assert_eq!(decoder.decode(&[0xbf]).unwrap()[0].0, "b");
        assert!(decoder.decode(&[0xc0]).is_err());
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let long = "v".repeat(1000);
        let fields = [(":status", "200"), ("x-long", &long[..]), ("empty", "")];
        for block in [encode(&fields), encode_to_remember(&fields)] {
            assert_eq!(Decoder::default().decode(&block).unwrap(), owned(&fields));
        }
    }

    #[test]
    fn broken_blocks_are_refused() {
        let cases: [&[u8]; 6] = [
            b"\x80",                     // index 0
            b"\xc0",                     // beyond the table
            b"\x3f\xff\xff\xff\xff\x0f", // a table of more than was allowed
            b"\x82\x20",                 // a size behind a field
            b"\x00\x05abc",              // a name cut off
            b"\xff\xff\xff\xff\xff\xff", // a number without an end
        ];
        for case in cases {
            assert!(Decoder::default().decode(case).is_err(), "{case:?}");
        }
    }
}
