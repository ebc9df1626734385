//! Errors that several callers are given.

use std::{error::Error as StdError, fmt, io, sync::Arc};

/// Maximum length of a text, in bytes.
const MAX_TEXT: usize = 256;

/// What is kept of an [`io::Error`], which cannot be cloned.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// A number of the system's.
    System(i32),
    /// A kind, and the beginning of the text.
    Other(io::ErrorKind, Arc<str>),
}

impl Failure {
    pub(crate) fn new(kind: io::ErrorKind, text: &str) -> Self {
        Failure::Other(kind, beginning(&text))
    }

    /// The verdict that a name does not exist, in the words of `error`.
    pub(crate) fn not_found(error: &io::Error) -> Self {
        Failure::Other(io::ErrorKind::NotFound, beginning(error))
    }

    /// An error that says the same.
    pub(crate) fn error(&self) -> io::Error {
        match self {
            Failure::System(number) => io::Error::from_raw_os_error(*number),
            Failure::Other(kind, text) => io::Error::new(*kind, Text(text.clone())),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Failure::System(number),
            None => Failure::Other(error.kind(), beginning(&error)),
        }
    }
}

/// The text of a failure, which callers share.
#[derive(Debug)]
struct Text(Arc<str>);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Text {}

/// The text of `what`, cut to [`MAX_TEXT`].
fn beginning(what: &dyn fmt::Display) -> Arc<str> {
    let mut bounded = Bounded(String::new());
    // An error is either the bound, or one of `what`; what has been written before it counts.
    let _ = fmt::write(&mut bounded, format_args!("{what}"));
    bounded.0.into()
}

/// Keeps at most [`MAX_TEXT`] bytes and an ellipsis, and refuses more.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let left = MAX_TEXT.saturating_sub(self.0.len());
        if text.len() <= left {
            self.0.push_str(text);
            return Ok(());
        }
        let end = (0..=left).rfind(|&end| text.is_char_boundary(end));
        self.0.push_str(&text[..end.unwrap_or(0)]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let long = "é".repeat(100_000);
        let error = Failure::from(io::Error::other(format!("x{long}"))).error();
        let text = error.to_string();
        assert_eq!(text, format!("x{}…", "é".repeat(127)));
        let exact = "y".repeat(MAX_TEXT);
        let error = Failure::new(io::ErrorKind::NotFound, &exact).error();
        assert_eq!(error.to_string(), exact);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_number_of_the_system_is_kept() {
        let error = Failure::from(io::Error::from_raw_os_error(24)).error();
        assert_eq!(error.raw_os_error(), Some(24));
    }
}
