//! The parser of the event stream format (HTML standard, 9.2.5 and 9.2.6).
//!
//! ```text
//!   start ─ a BOM, or none ─► line ─ CR, LF, CR LF ─► field into the event, or dispatch
//! ```

use std::{borrow::Cow, time::Duration};

use bytes::{Buf, Bytes};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A dispatched event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Type of the event; `message` by default.
    pub name: Cow<'static, str>,
    /// Data: lines joined with line feeds.
    pub data: String,
    /// Last event id: its own, or that of an earlier event; empty if there is none.
    pub id: String,
}

/// Limits of a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum size of an event, in bytes: its data, type and id, and the line being read; 1 MiB by
    /// default. Comments do not count, since they are not kept. A larger event fails with
    /// [`TooLarge`].
    pub max_event_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_event_size: 1 << 20,
        }
    }
}

impl Limits {
    /// Returns these limits with [`max_event_size`](Self::max_event_size) set.
    pub const fn with_max_event_size(mut self, bytes: usize) -> Self {
        self.max_event_size = bytes;
        self
    }
}

/// An event exceeds the size limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event exceeds the limit of {limit} bytes")]
pub struct TooLarge {
    /// Maximum size of an event, in bytes.
    pub limit: usize,
}

/// An incremental parser, one for each response. An incomplete event at the end of a response is
/// discarded.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    /// Number of bytes of a byte order mark that have been read; all of it once decided.
    bom: usize,
    /// The previous line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Whether the line being read is a comment.
    in_comment: bool,
    /// The line being read, so far.
    line: Vec<u8>,
    name: String,
    data: String,
    /// The last id received, of an event that has not been dispatched yet.
    id: String,
    /// The id of the last dispatched event.
    last_id: String,
    retry: Option<Duration>,
}

impl Parser {
    /// Returns a parser at the beginning of a stream.
    pub fn new(limits: Limits) -> Self {
        Parser {
            limits,
            bom: 0,
            after_cr: false,
            in_comment: false,
            line: Vec::new(),
            name: String::new(),
            data: String::new(),
            id: String::new(),
            last_id: String::new(),
            retry: None,
        }
    }

    /// Sets the last event id of the previous response, which events without an id have.
    #[must_use]
    pub fn with_last_event_id(mut self, id: impl Into<String>) -> Self {
        self.last_id = id.into();
        self.id.clone_from(&self.last_id);
        self
    }

    /// Returns the id for `Last-Event-ID` of the next request; empty if there is none.
    pub fn last_event_id(&self) -> &str {
        &self.last_id
    }

    /// Returns the reconnection time that the server has set, if any.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Returns the next event in `input`, which is consumed up to the end of the event, or completely if
    /// it has no complete event.
    ///
    /// # Errors
    ///
    /// [`TooLarge`]. The parser must not be used after it.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Event>, TooLarge> {
        while !input.is_empty() {
            if self.after_cr {
                self.after_cr = false;
                if input[0] == b'\n' {
                    input.advance(1);
                    continue;
                }
            }
            if self.bom < BOM.len() {
                self.skip_bom(input);
                continue;
            }
            if self.line.is_empty() && input[0] == b':' {
                self.in_comment = true;
            }
            let end = input
                .iter()
                .position(|&byte| byte == b'\n' || byte == b'\r');
            let part = &input[..end.unwrap_or(input.len())];
            if !self.in_comment {
                let kept = self.name.len() + self.data.len() + self.id.len() + self.line.len();
                if part.len() > self.limits.max_event_size.saturating_sub(kept) {
                    let limit = self.limits.max_event_size;
                    return Err(TooLarge { limit });
                }
                self.line.extend_from_slice(part);
            }
            let Some(end) = end else {
                input.clear();
                break;
            };
            self.after_cr = input[end] == b'\r';
            input.advance(end + 1);
            if let Some(event) = self.end_line() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Consumes one byte of a byte order mark; if it is none, its bytes begin a line.
    fn skip_bom(&mut self, input: &mut Bytes) {
        if input[0] == BOM[self.bom] {
            self.bom += 1;
            input.advance(1);
        } else {
            self.line.extend_from_slice(&BOM[..self.bom]);
            self.bom = BOM.len();
        }
    }

    fn end_line(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.in_comment) {
            return None;
        }
        if self.line.is_empty() {
            return self.dispatch();
        }
        let line = std::mem::take(&mut self.line);
        // What is no UTF-8 is replaced, as the standard decodes it. No character holds a line end,
        // and so lines are decoded one by one.
        let text = String::from_utf8_lossy(&line);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                // A number of milliseconds that overflows is ignored.
                let time = value.parse().map(Duration::from_millis);
                self.retry = time.ok().or(self.retry);
            }
            _ => {}
        }
        // Its room serves the next line.
        self.line = line;
        self.line.clear();
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        self.last_id.clone_from(&self.id);
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        // An event without data is none, and leaves its id behind.
        data.pop()?;
        let name = match name.is_empty() {
            true => Cow::Borrowed("message"),
            false => Cow::Owned(name),
        };
        let id = self.last_id.clone();
        Some(Event { name, data, id })
    }
}
