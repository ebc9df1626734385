//! Errors that several callers receive.

use std::{fmt, io, sync::Arc};

/// Maximum length of a text, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// The parts of an [`io::Error`], which cannot be cloned, that are kept.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// An error number of the system.
    System(i32),
    /// A kind and the beginning of the text.
    Other(io::ErrorKind, Arc<str>),
}

impl Failure {
    pub(crate) fn new(kind: io::ErrorKind, text: &str) -> Self {
        Failure::Other(kind, beginning(&text))
    }

    /// Creates a failure of kind `NotFound` with the text of `error`.
    pub(crate) fn not_found(error: &io::Error) -> Self {
        Failure::Other(io::ErrorKind::NotFound, beginning(error))
    }

    /// Returns an error with the same number, or the same kind and text.
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
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Text(Arc<str>);

/// Returns the text of `what`, truncated to [`MAX_TEXT_BYTES`].
fn beginning(what: &dyn fmt::Display) -> Arc<str> {
    let mut bounded = Bounded(String::new());
    // An error means that the bound was reached, or that `what` failed; the text until then is used.
    let _ = fmt::write(&mut bounded, format_args!("{what}"));
    bounded.0.into()
}

/// A text of at most [`MAX_TEXT_BYTES`] and an ellipsis. Writing more fails.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let left = MAX_TEXT_BYTES.saturating_sub(self.0.len());
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
    fn long_text_is_truncated_at_a_character_boundary() {
        let long = "é".repeat(100_000);
        let error = Failure::from(io::Error::other(format!("x{long}"))).error();
        let text = error.to_string();
        assert_eq!(text, format!("x{}…", "é".repeat(127)));
        let exact = "y".repeat(MAX_TEXT_BYTES);
        let error = Failure::new(io::ErrorKind::NotFound, &exact).error();
        assert_eq!(error.to_string(), exact);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn error_number_of_the_system_is_kept() {
        let error = Failure::from(io::Error::from_raw_os_error(24)).error();
        assert_eq!(error.raw_os_error(), Some(24));
    }
}
