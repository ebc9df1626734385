//! What a `HeaderMap` does not keep: the order of different fields, and the case of their names.
//! Neither has a meaning (RFC 9110 §5.1, §5.3), and some peers check both.

use std::{collections::HashMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, header::InvalidHeaderName};

/// Order and case of the names of a request's fields on the wire, in the request's extensions.
///
/// It has names and no values. The fields of the request that it names come first, in its order and
/// with its case. A name that occurs several times takes one value at each place, and all that are
/// left at the last. The fields it does not name follow, as they would without it. `Host` and the
/// framing field may be named too; unless they are, `Host` comes before all others and the framing
/// field after them. Names without a field have no effect.
///
/// ```
/// use bytes::BytesMut;
/// use httpcore_core_primitives::BodyLength;
/// use httpcore_proto_h1::{HeaderOrder, codec::Codec};
///
/// let request = http::Request::get("http://localhost/")
///     .header("accept", "*/*")
///     .header("user-agent", "me")
///     .extension(HeaderOrder::new(["User-Agent", "HOST", "Accept"])?)
///     .body(())?;
/// let mut out = BytesMut::new();
/// Codec::default().encode_head(&request.into_parts().0, BodyLength::Known(0), &mut out)?;
/// assert_eq!(
///     out,
///     "GET / HTTP/1.1\r\nUser-Agent: me\r\nHOST: localhost\r\nAccept: */*\r\n\r\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderOrder(Arc<[Spelled]>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spelled {
    pub(super) name: HeaderName,
    pub(super) original_case: Box<[u8]>,
    /// Number of earlier occurrences of the name.
    pub(super) before: usize,
    /// The name does not occur again.
    pub(super) is_last: bool,
}

impl HeaderOrder {
    /// Creates the order of these names, as they are to be written.
    ///
    /// # Errors
    ///
    /// If one of them is not a valid field name (RFC 9110 §5.1).
    pub fn new<N: AsRef<[u8]>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidHeaderName> {
        let mut spelled: Vec<Spelled> = Vec::new();
        // Number of occurrences of each name, and its last place.
        let mut seen: HashMap<HeaderName, (usize, usize)> = HashMap::new();
        for (at, original_case) in names.into_iter().enumerate() {
            let original_case = original_case.as_ref();
            let name = HeaderName::from_bytes(original_case)?;
            let (before, last) = seen.entry(name.clone()).or_insert((0, at));
            spelled.push(Spelled {
                name,
                original_case: original_case.into(),
                before: *before,
                is_last: true,
            });
            if *before > 0 {
                spelled[*last].is_last = false;
            }
            (*before, *last) = (*before + 1, at);
        }
        Ok(HeaderOrder(spelled.into()))
    }

    pub(super) fn names(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|spelled| spelled.name == *name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Spelled> {
        self.0.iter()
    }
}

/// Requests a [`RawHead`], in the request's extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureRawHead;

/// The head of a response as received, in the response's extensions if the request's contain
/// [`CaptureRawHead`]; of informational responses too. It shares the memory of the fields' values.
///
/// Where [`ParserOptions`](super::ParserOptions) had the head rewritten in strict form, this is the
/// rewritten one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawHead(pub(super) Bytes);

impl RawHead {
    /// Returns the bytes from the status line to the empty line, both included.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the names in their original case, and the values without the white space around
    /// them, in the order in which they arrived.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.0.split(|&byte| byte == b'\n').skip(1);
        lines.filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }
}

/// Writes one field line.
pub(super) fn write_field(name: &[u8], value: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
