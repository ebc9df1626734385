//! Bytes into events (HTML standard, 9.2.5 and 9.2.6).
//!
//! ```text
//!   start ─ a BOM, or none ─► line ─ CR, LF, CR LF ─► field into the event, or dispatch
//! ```

use std::{borrow::Cow, time::Duration};

use bytes::{Buf, Bytes};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// An event, as it was dispatched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What the server calls it; `message` if it did not say.
    pub name: Cow<'static, str>,
    /// Its data: lines with line feeds between them.
    pub data: String,
    /// The id it has, or the latest that one before had; empty if there never was one.
    pub id: String,
}

/// What is kept of a stream at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest event, in bytes: its data, its name and id, and the line that is being read.
    /// 1 MiB by default. Comments do not count, for they are not kept.
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
    /// These, with [`max_event_size`](Self::max_event_size) set.
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

/// Makes events of bytes. One for each response: what is unfinished at its end is no event.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    /// How much of a byte order mark has been seen; all of it once that is decided.
    bom: usize,
    /// A CR has ended the line before: an LF right behind it belongs to it.
    after_cr: bool,
    /// The line being read is a comment.
    in_comment: bool,
    /// The line being read, as far as it has come.
    line: Vec<u8>,
    name: String,
    data: String,
    /// The latest id, of an event that has not been dispatched yet.
    id: String,
    /// The id of what was dispatched last.
    last_id: String,
    retry: Option<Duration>,
}

impl Parser {
    /// A parser at the beginning of a stream.
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

    /// This, for a stream that goes on where another ended: `id` is what an event has that says
    /// none.
    #[must_use]
    pub fn with_last_event_id(mut self, id: impl Into<String>) -> Self {
        self.last_id = id.into();
        self.id.clone_from(&self.last_id);
        self
    }

    /// The id with which a broken stream is to be taken up again; empty if there is none.
    pub fn last_event_id(&self) -> &str {
        &self.last_id
    }

    /// How long to wait before that, if the server has said so.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The next event in `input`, which is consumed up to its end; all of it, if there is none.
    ///
    /// # Errors
    ///
    /// [`TooLarge`]; the parser is good for nothing more.
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

    /// Takes one byte if it goes on with a byte order mark; otherwise what looked like one was the
    /// beginning of a line.
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
                // More milliseconds than there are numbers for is as good as never said.
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
