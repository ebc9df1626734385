//! The end of heads and trailers, and malformed ones.
//!
//! When the input is not a complete and valid head, each byte of it is inspected once more, however
//! the input is cut: the search for the empty line at the end continues where it stopped, and a
//! strict state machine ([`Grammar`]) refuses a malformed head at the byte that makes it malformed,
//! and names the rule. What [`head`](super::head) refuses of a complete head goes through the same
//! machine. The verdict is therefore always the machine's, and never depends on how the bytes
//! arrived.
//!
//! The rules are RFC 9112's for a recipient, without its leniencies: lines end with CR LF; no line
//! is folded; nothing precedes the status line; a reason may be missing, with its space or without.
//! With [`ParserOptions`], the machine alone searches for the end.

use super::{ParserOptions, error::ProtocolError};

/// Maximum size of a head or of trailers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) fields: usize,
    pub(super) too_long: ProtocolError,
    pub(super) too_many: ProtocolError,
}

/// State of the search for the end of a head or of trailers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    /// Before this offset there is no LF that has not been seen.
    searched: usize,
    /// Offset at which the unfinished line begins.
    line: usize,
    /// Number of complete lines, the status line included.
    lines: usize,
    /// Nothing before this offset breaks `grammar`.
    checked: usize,
    grammar: Grammar,
    has_status_line: bool,
}

enum Found {
    /// The head ends before this offset.
    End(usize),
    /// There is no end yet.
    More,
    /// A line ends with LF alone.
    BareLf,
}

impl Scan {
    /// Creates the search for the end of a head: a status line and fields.
    pub(super) fn head() -> Self {
        Scan::from(Grammar::head(), true)
    }

    /// Creates the search for the end of trailers: fields alone.
    pub(super) fn trailers() -> Self {
        Scan::from(Grammar::fields(), false)
    }

    fn from(grammar: Grammar, has_status_line: bool) -> Self {
        Scan {
            searched: 0,
            line: 0,
            lines: 0,
            checked: 0,
            grammar,
            has_status_line,
        }
    }

    /// Returns whether nothing has been inspected yet.
    pub(super) fn has_not_begun(&self) -> bool {
        self.searched == 0 && self.checked == 0
    }

    /// Returns the length of the head at the beginning of `input`, once it is complete. `input` is
    /// the same as in the last call, with more at its end.
    pub(super) fn end(
        &mut self,
        input: &[u8],
        bounds: &Bounds,
        options: ParserOptions,
    ) -> Result<Option<usize>, ProtocolError> {
        if options.is_for_heads() {
            return self.lenient_end(input, bounds, options);
        }
        let end = match self.find_end(input) {
            Found::End(end) if end <= bounds.bytes && self.fields() <= bounds.fields => {
                return Ok(Some(end));
            }
            Found::End(end) => end,
            Found::More | Found::BareLf => input.len(),
        };
        self.check(&input[..end.min(bounds.bytes)], bounds)?;
        if end >= bounds.bytes {
            return Err(bounds.too_long);
        }
        Ok(None)
    }

    /// Returns the end that the machine finds.
    fn lenient_end(
        &mut self,
        input: &[u8],
        bounds: &Bounds,
        options: ParserOptions,
    ) -> Result<Option<usize>, ProtocolError> {
        let within = &input[..input.len().min(bounds.bytes)];
        while let Some(&byte) = within.get(self.checked) {
            if let At::LineStart = self.grammar.at {
                self.line = self.checked;
            }
            let line = &within[self.line..self.checked];
            self.checked += 1;
            match self.grammar.lenient_step(byte, bounds, options) {
                Err(violation) if options.malformed_fields => {
                    self.grammar
                        .skip_line(line, byte, violation, bounds, options)?;
                }
                stepped => stepped?,
            }
            if let At::End = self.grammar.at {
                return Ok(Some(self.checked));
            }
        }
        if input.len() >= bounds.bytes {
            return Err(bounds.too_long);
        }
        Ok(None)
    }

    /// Returns the number of fields of a complete head.
    pub(super) fn fields(&self) -> usize {
        let lines = self.lines.saturating_sub(usize::from(self.has_status_line));
        lines.max(self.grammar.fields)
    }

    fn find_end(&mut self, input: &[u8]) -> Found {
        while let Some(distance) = find_lf(&input[self.searched..]) {
            let lf = self.searched + distance;
            self.searched = lf + 1;
            // RFC 9112 §2.2: a recipient may accept LF alone as the end of a line. Two recipients
            // that differ in that can be set apart, and so this one does not.
            if lf == 0 || input[lf - 1] != b'\r' {
                return Found::BareLf;
            }
            if lf == self.line + 1 {
                return Found::End(lf + 1);
            }
            self.lines += 1;
            self.line = lf + 1;
        }
        self.searched = input.len();
        Found::More
    }

    /// Runs the grammar over the part of `input` that it has not seen.
    fn check(&mut self, input: &[u8], bounds: &Bounds) -> Result<(), ProtocolError> {
        while let Some(&byte) = input.get(self.checked) {
            self.checked += 1;
            self.grammar.step(byte, bounds)?;
        }
        Ok(())
    }

    /// Returns the rule that `head`, which could not be parsed, breaks.
    pub(super) fn verdict(&self, head: &[u8], bounds: &Bounds) -> ProtocolError {
        let mut anew = if self.has_status_line {
            Scan::head()
        } else {
            Scan::trailers()
        };
        match anew.check(head, bounds) {
            Err(violation) => violation,
            // Only a name longer than `http` can hold gets here.
            Ok(()) => ProtocolError::FieldName,
        }
    }
}

/// Returns the offset of the first LF. `skip_until` is the standard library's `memchr`.
fn find_lf(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let through = std::io::BufRead::skip_until(&mut rest, b'\n').ok()?;
    (through > 0 && bytes[through - 1] == b'\n').then(|| through - 1)
}

/// The grammar of a head, byte by byte.
#[derive(Clone, Copy, Debug)]
struct Grammar {
    at: At,
    /// Number of lines of fields that have begun, skipped ones included.
    fields: usize,
    /// The line is a folded one.
    is_fold: bool,
    /// The field that the line belongs to is skipped.
    is_skipped: bool,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// Within `HTTP/1.x `, after this many bytes of it.
    Version(u8),
    /// Within the status code, after this many digits.
    Code(u8),
    AfterCode,
    Reason,
    LineStart,
    Name,
    /// Between a name and its colon, if the options accept white space there.
    AfterName,
    Value,
    /// Within a line that is skipped, if the options allow that.
    Skipped,
    /// After the CR that ends a line that is not empty.
    Cr,
    /// After the CR of the empty line.
    LastCr,
    End,
}

impl Grammar {
    fn head() -> Self {
        Grammar {
            at: At::Version(0),
            fields: 0,
            is_fold: false,
            is_skipped: false,
        }
    }

    fn fields() -> Self {
        Grammar {
            at: At::LineStart,
            fields: 0,
            is_fold: false,
            is_skipped: false,
        }
    }

    /// Like [`step`](Self::step), with what `options` accept.
    fn lenient_step(
        &mut self,
        byte: u8,
        bounds: &Bounds,
        options: ParserOptions,
    ) -> Result<(), ProtocolError> {
        if let At::LineStart = self.at {
            self.is_fold = matches!(byte, b' ' | b'\t');
            self.is_skipped &= self.is_fold;
        }
        let space_before_colon = options.space_before_colon || options.malformed_fields;
        self.at = match (self.at, byte) {
            (At::AfterCode | At::Reason | At::Value | At::Skipped, b'\n') if options.bare_lf => {
                At::LineStart
            }
            (At::LineStart, b'\n') if options.bare_lf => At::End,
            (At::LineStart, b' ' | b'\t') if options.obs_fold && self.is_skipped => At::Skipped,
            (At::LineStart, b' ' | b'\t') if options.obs_fold && self.fields > 0 => At::Value,
            // Where malformed lines are skipped, the next byte tells whether this is one.
            (At::Name | At::AfterName, b' ' | b'\t') if space_before_colon => At::AfterName,
            (At::AfterName, b':') if options.space_before_colon => At::Value,
            _ => return self.step(byte, bounds),
        };
        Ok(())
    }

    /// Continues after `violation`, which `byte` after `line` caused: within a line that is
    /// skipped, if the violation makes this line malformed and nothing else.
    ///
    /// # Errors
    ///
    /// `violation`, or another one, if the line is not to be skipped.
    fn skip_line(
        &mut self,
        line: &[u8],
        byte: u8,
        violation: ProtocolError,
        bounds: &Bounds,
        options: ParserOptions,
    ) -> Result<(), ProtocolError> {
        let is_malformed = match violation {
            ProtocolError::EmptyFieldName | ProtocolError::FieldName => true,
            // A name followed by white space and a colon has an option of its own.
            ProtocolError::SpaceBeforeColon => byte != b':',
            // The rest of a folded value cannot be skipped without its beginning; and a body whose
            // length was not understood must not be read as one without a length.
            ProtocolError::FieldValue => !self.is_fold && !frames_body(line),
            _ => false,
        };
        if !is_malformed {
            return Err(violation);
        }
        if let At::LineStart = self.at {
            self.fields += 1;
            if self.fields > bounds.fields {
                return Err(bounds.too_many);
            }
        }
        self.is_skipped = true;
        self.at = match byte {
            b'\r' => At::Cr,
            b'\n' if options.bare_lf => At::LineStart,
            b'\n' => return Err(ProtocolError::BareLf),
            _ => At::Skipped,
        };
        Ok(())
    }

    fn step(&mut self, byte: u8, bounds: &Bounds) -> Result<(), ProtocolError> {
        self.at = match (self.at, byte) {
            // RFC 9112 §4: HTTP-version SP status-code, and the version is of major 1.
            (At::Version(seen), _) => version_step(seen, byte)?,
            // RFC 9110 §15: the first digit is the class. Classes from 6 on are not defined and are
            // used nevertheless; the caller may treat them as 5xx.
            (At::Code(0), b'1'..=b'9') => At::Code(1),
            (At::Code(1), b'0'..=b'9') => At::Code(2),
            (At::Code(2), b'0'..=b'9') => At::AfterCode,
            (At::Code(_), _) => return Err(ProtocolError::StatusCode),
            // RFC 9112 §4: a space precedes even an empty reason. Some servers omit it, and the
            // line has no other reading.
            (At::AfterCode, b' ') => At::Reason,
            (At::AfterCode | At::Reason | At::Value | At::Skipped, b'\r') => At::Cr,
            (At::AfterCode | At::Reason | At::Value | At::Skipped | At::LineStart, b'\n') => {
                return Err(ProtocolError::BareLf);
            }
            (At::Skipped, _) => At::Skipped,
            (At::AfterCode, b'0'..=b'9') => return Err(ProtocolError::StatusCode),
            (At::AfterCode, _) => return Err(ProtocolError::StatusLine),
            (At::Reason, _) if is_text(byte) => At::Reason,
            (At::Reason, _) => return Err(ProtocolError::StatusLine),
            (At::LineStart, b'\r') => At::LastCr,
            // RFC 9112 §5.2, §2.2: neither folded lines nor white space before the first field.
            (At::LineStart, b' ' | b'\t') => return Err(ProtocolError::LeadingWhitespace),
            (At::LineStart, b':') => return Err(ProtocolError::EmptyFieldName),
            (At::LineStart, _) if is_token(byte) => {
                self.fields += 1;
                if self.fields > bounds.fields {
                    return Err(bounds.too_many);
                }
                At::Name
            }
            (At::Name, b':') => At::Value,
            (At::Name, _) if is_token(byte) => At::Name,
            // RFC 9112 §5.1: some recipients accept `Content-Length : 5`, and others ignore it.
            (At::Name, b' ' | b'\t') | (At::AfterName, _) => {
                return Err(ProtocolError::SpaceBeforeColon);
            }
            (At::LineStart | At::Name, _) => return Err(ProtocolError::FieldName),
            (At::Value, _) if is_text(byte) => At::Value,
            (At::Value, _) => return Err(ProtocolError::FieldValue),
            (At::Cr, b'\n') => At::LineStart,
            (At::LastCr, b'\n') => At::End,
            (At::Cr | At::LastCr, _) => return Err(ProtocolError::BareCr),
            (At::End, _) => At::End,
        };
        Ok(())
    }
}

/// Returns whether `line`, as far as it has arrived, is a field that declares the length of the
/// body.
fn frames_body(line: &[u8]) -> bool {
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    let name = name.trim_ascii_end();
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

fn version_step(seen: u8, byte: u8) -> Result<At, ProtocolError> {
    const EXPECTED: &[u8; 9] = b"HTTP/1.x ";
    let fits = match seen {
        7 => matches!(byte, b'0' | b'1'),
        _ => byte == EXPECTED[usize::from(seen)],
    };
    match (fits, seen) {
        (true, 8) => Ok(At::Code(0)),
        (true, _) => Ok(At::Version(seen + 1)),
        // Nothing may precede the status line, an empty line included: it would be the rest of
        // another message.
        (false, ..=4) => Err(ProtocolError::NotHttp),
        // RFC 9110 §2.5: a higher minor version could be read as 1.1. None exists, and a server
        // that claims one is not trusted with the rest.
        (false, 5..=7) => Err(ProtocolError::Version),
        (false, _) => Err(ProtocolError::StatusLine),
    }
}

/// RFC 9110 §5.6.2: tchar.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §5.5, RFC 9112 §4: HTAB, SP, VCHAR and obs-text.
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
