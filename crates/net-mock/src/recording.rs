//! Recordings as text: what they hold, how they are written, how they are read.
//!
//! ```text
//! httpcore recording 1
//! name example.test 93.184.216.34
//!
//! connection 93.184.216.34:443
//! @0.020000 open
//! @0.045000 tls alpn=http/1.1
//! @0.045200 > "GET / HTTP/1.1\r\n"
//! @0.045200 > "cookie: " *** "\r\n"
//! @0.045200 > "\r\n"
//! @0.070000 < "HTTP/1.1 204 No Content\r\n"
//! @0.070000 < "\r\n"
//! @5.070000 < end
//! @5.071000 > end
//! ```
//!
//! Times are seconds since the attempt to connect. `***` is the rest of a line that was redacted,
//! `*12*` are twelve bytes that were.

use std::{
    fmt::Write,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use httpcore_core_primitives::Alpn;

use crate::{
    expect::Piece,
    hosts::ListenAddr,
    record_layer::{alpn_called, alpn_name},
};

const FIRST_LINE: &str = "httpcore recording 1";
/// The most bytes in one line of a recording.
const WIDTH: usize = 100;

#[derive(Clone, Debug, Default)]
pub(crate) struct Recording {
    pub(crate) names: Vec<(String, Result<Vec<IpAddr>, ErrorKind>)>,
    pub(crate) connections: Vec<Recorded>,
    /// What could not be recorded, in words.
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) place: ListenAddr,
    pub(crate) events: Vec<(Duration, Event)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Open,
    Failed(ErrorKind),
    Tls(Option<Alpn>),
    TlsFailed(ErrorKind),
    Client(Vec<Piece>),
    Server(Vec<Piece>),
    ClientEnd,
    ServerEnd,
    ServerFailed(ErrorKind),
}

/// The reason why a text is not a recording, and the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", line_prefix(*.line))]
pub struct BadRecording {
    line: usize,
    what: String,
}

fn line_prefix(line: usize) -> String {
    match line {
        0 => String::new(),
        line => format!("line {line} of the recording: "),
    }
}

impl BadRecording {
    pub(crate) fn new(line: usize, what: impl Into<String>) -> Self {
        BadRecording {
            line,
            what: what.into(),
        }
    }

    /// The number of the line, counted from 1; 0 when it is about the recording as a whole.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl Recording {
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        for note in &self.notes {
            let _ = writeln!(text, "# {note}");
        }
        for (name, answer) in &self.names {
            let _ = write!(text, "name {name}");
            match answer {
                Ok(addresses) => {
                    for address in addresses {
                        let _ = write!(text, " {address}");
                    }
                }
                Err(kind) => {
                    let _ = write!(text, " fails {kind:?}");
                }
            }
            text.push('\n');
        }
        for one in &self.connections {
            let _ = match &one.place {
                ListenAddr::Tcp(address) => writeln!(text, "\nconnection {address}"),
                ListenAddr::Unix(path) => writeln!(text, "\nconnection unix {}", path.display()),
            };
            for (at, event) in &one.events {
                write_event(&mut text, *at, event);
            }
        }
        text
    }

    pub(crate) fn parse(text: &str) -> Result<Self, BadRecording> {
        let mut recording = Recording::default();
        let mut lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
        if lines.next().map(|(_, line)| line.trim_end()) != Some(FIRST_LINE) {
            return Err(BadRecording::new(
                1,
                format!("it does not begin with {FIRST_LINE:?}"),
            ));
        }
        for (number, line) in lines {
            let bad = |what: &str| BadRecording::new(number, what);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "name" => {
                    let name = parse_name(rest).ok_or_else(|| bad("not a name and its answer"))?;
                    recording.names.push(name);
                }
                "connection" => {
                    let place = parse_place(rest).ok_or_else(|| bad("not an address or path"))?;
                    recording.connections.push(Recorded {
                        place,
                        events: Vec::new(),
                    });
                }
                _ => {
                    let one = recording.connections.last_mut();
                    let one = one.ok_or_else(|| bad("an event before any connection"))?;
                    let event = parse_event(word, rest).ok_or_else(|| bad("not an event"))?;
                    one.events.push(event);
                }
            }
        }
        Ok(recording)
    }
}

fn write_event(text: &mut String, at: Duration, event: &Event) {
    let time = format!("@{}.{:06}", at.as_secs(), at.subsec_micros());
    let _ = match event {
        Event::Open => writeln!(text, "{time} open"),
        Event::Failed(kind) => writeln!(text, "{time} failed {kind:?}"),
        Event::Tls(Some(alpn)) => writeln!(text, "{time} tls alpn={}", alpn_name(*alpn)),
        Event::Tls(None) => writeln!(text, "{time} tls"),
        Event::TlsFailed(kind) => writeln!(text, "{time} tls failed {kind:?}"),
        Event::ClientEnd => writeln!(text, "{time} > end"),
        Event::ServerEnd => writeln!(text, "{time} < end"),
        Event::ServerFailed(kind) => writeln!(text, "{time} < failed {kind:?}"),
        Event::Client(pieces) => {
            write_pieces(text, &format!("{time} >"), pieces);
            Ok(())
        }
        Event::Server(pieces) => {
            write_pieces(text, &format!("{time} <"), pieces);
            Ok(())
        }
    };
}

/// Writes pieces, in lines where the bytes have lines, and lines that are not too long.
fn write_pieces(text: &mut String, start: &str, pieces: &[Piece]) {
    let mut at_start = true;
    for piece in pieces {
        if at_start {
            text.push_str(start);
            at_start = false;
        }
        match piece {
            Piece::RestOfLine => text.push_str(" ***"),
            Piece::Any(count) => {
                let _ = write!(text, " *{count}*");
            }
            Piece::Exactly(bytes) => {
                let rows = bytes
                    .split_inclusive(|byte| *byte == b'\n')
                    .flat_map(|line| line.chunks(WIDTH));
                for (n, row) in rows.enumerate() {
                    if n > 0 {
                        let _ = write!(text, "\n{start}");
                    }
                    let _ = write!(text, " \"{}\"", row.escape_ascii());
                }
                if bytes.ends_with(b"\n") {
                    text.push('\n');
                    at_start = true;
                }
            }
        }
    }
    if !at_start {
        text.push('\n');
    }
}

fn parse_name(rest: &str) -> Option<(String, Result<Vec<IpAddr>, ErrorKind>)> {
    let mut words = rest.split_whitespace();
    let name = words.next()?.to_owned();
    let rest: Vec<&str> = words.collect();
    if let ["fails", kind] = rest[..] {
        return Some((name, Err(kind_called(kind)?)));
    }
    let addresses: Result<_, _> = rest.iter().map(|word| word.parse()).collect();
    Some((name, Ok(addresses.ok()?)))
}

fn parse_place(rest: &str) -> Option<ListenAddr> {
    match rest.strip_prefix("unix ") {
        Some(path) => Some(ListenAddr::Unix(PathBuf::from(path))),
        None => rest.parse::<SocketAddr>().ok().map(ListenAddr::Tcp),
    }
}

fn parse_event(time: &str, rest: &str) -> Option<(Duration, Event)> {
    let at = parse_time(time)?;
    let event = match rest {
        "open" => Event::Open,
        "tls" => Event::Tls(None),
        "> end" => Event::ClientEnd,
        "< end" => Event::ServerEnd,
        _ => {
            if let Some(kind) = rest.strip_prefix("failed ") {
                Event::Failed(kind_called(kind)?)
            } else if let Some(kind) = rest.strip_prefix("< failed ") {
                Event::ServerFailed(kind_called(kind)?)
            } else if let Some(kind) = rest.strip_prefix("tls failed ") {
                Event::TlsFailed(kind_called(kind)?)
            } else if let Some(alpn) = rest.strip_prefix("tls alpn=") {
                Event::Tls(Some(alpn_called(alpn)?))
            } else if let Some(pieces) = rest.strip_prefix("> ") {
                Event::Client(parse_pieces(pieces)?)
            } else if let Some(pieces) = rest.strip_prefix("< ") {
                Event::Server(parse_pieces(pieces)?)
            } else {
                return None;
            }
        }
    };
    Some((at, event))
}

fn parse_time(word: &str) -> Option<Duration> {
    let (seconds, micros) = word.strip_prefix('@')?.split_once('.')?;
    if micros.len() != 6 {
        return None;
    }
    let micros: u32 = micros.parse().ok()?;
    Some(Duration::new(seconds.parse().ok()?, micros * 1000))
}

fn parse_pieces(mut rest: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(pieces);
        }
        if let Some(after) = rest.strip_prefix("***") {
            pieces.push(Piece::RestOfLine);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('*') {
            let (count, after) = after.split_once('*')?;
            pieces.push(Piece::Any(count.parse().ok()?));
            rest = after;
        } else {
            let (bytes, after) = parse_quoted(rest.strip_prefix('"')?)?;
            pieces.push(Piece::Exactly(bytes));
            rest = after;
        }
    }
}

/// Undoes `escape_ascii`, up to the closing quote.
fn parse_quoted(text: &str) -> Option<(Bytes, &str)> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((bytes.into(), &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'r' => bytes.push(b'\r'),
                'n' => bytes.push(b'\n'),
                't' => bytes.push(b'\t'),
                'x' => {
                    let high = chars.next()?.1.to_digit(16)?;
                    let low = chars.next()?.1.to_digit(16)?;
                    bytes.push((high * 16 + low) as u8);
                }
                char @ ('\\' | '"' | '\'') => bytes.push(char as u8),
                _ => return None,
            },
            char => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    None
}

/// Kinds of errors that networks report; others are recorded as `Other`.
const KINDS: [ErrorKind; 15] = [
    ErrorKind::AddrNotAvailable,
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionAborted,
    ErrorKind::ConnectionRefused,
    ErrorKind::ConnectionReset,
    ErrorKind::HostUnreachable,
    ErrorKind::InvalidData,
    ErrorKind::InvalidInput,
    ErrorKind::NetworkDown,
    ErrorKind::NetworkUnreachable,
    ErrorKind::NotFound,
    ErrorKind::PermissionDenied,
    ErrorKind::TimedOut,
    ErrorKind::UnexpectedEof,
    ErrorKind::Other,
];

/// A kind that a recording can hold.
pub(crate) fn recordable(kind: ErrorKind) -> ErrorKind {
    if KINDS.contains(&kind) {
        kind
    } else {
        ErrorKind::Other
    }
}

fn kind_called(name: &str) -> Option<ErrorKind> {
    KINDS
        .into_iter()
        .find(|kind| format!("{kind:?}") == name.trim())
}
