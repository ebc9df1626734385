//! What a `HeaderMap` does not keep: the order of different fields, and the case of their names.
//! Neither has a meaning (RFC 9110 §5.1, §5.3), and some peers look at both.

use std::{collections::HashMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, header::InvalidHeaderName};

/// The order and spelling in which a request's fields are sent, in the request's extensions.
///
/// It names fields and has no values. The fields of the request that it names come first, in its
/// order and in its letters. A name that stands in it several times takes one value at each place,
/// and all that are left at the last. The fields it does not name follow, as they would without
/// it. `Host` and the framing field may be named too; unless they are, `Host` comes before
/// everything and the framing field after it. Names without a field mean nothing.
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
    /// How often the name has come before.
    pub(super) before: usize,
    /// It does not come again.
    pub(super) is_last: bool,
}

impl HeaderOrder {
    /// These names, as they are to be written.
    ///
    /// # Errors
    ///
    /// If one of them is no field's name (RFC 9110 §5.1).
    pub fn new<N: AsRef<[u8]>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidHeaderName> {
        let mut spelled: Vec<Spelled> = Vec::new();
        // How often a name has come, and where it last did.
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

/// Asks for [`RawHead`]s, in the request's extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureRawHead;

/// The head of a response as it came, in the response's extensions if the request's hold
/// [`CaptureRawHead`]; of interim responses too. It shares the memory of the fields' values.
///
/// Where a [`ParserOptions`](super::ParserOptions) had to put the head in order, this is the one in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawHead(pub(super) Bytes);

impl RawHead {
    /// From the status line to the empty line, these included.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Names as they were spelled, and values without the white space around them, in the order
    /// in which they came.
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
