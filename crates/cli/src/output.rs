//! Output to stdout and stderr, and its failures.

use std::{
    io::{self, ErrorKind, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use http::Version;
use httpcore::{
    Body, EventLoop,
    backend::{Runtime, with_deadline},
};

use crate::Exit;

/// Maximum size of an unexpected response body that is shown, in bytes and in lines.
const EXCERPT: usize = 500;
const EXCERPT_LINES: usize = 10;
/// Maximum time to wait for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes a line to stderr, and ignores failures: the exit status reports the result, and `eprintln!`
/// would panic.
macro_rules! say {
    ($($word:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($word)*);
    }};
}
pub(crate) use say;

/// Converts a failure to write to stdout: silent, if the reader has closed it (`| head`).
#[expect(clippy::needless_pass_by_value, reason = "what `map_err` takes")]
pub(crate) fn stdout_failed(error: io::Error) -> Exit {
    match error.kind() {
        ErrorKind::BrokenPipe => Exit::Unread,
        _ => named("stdout", &error),
    }
}

/// Fails if the program was started with stdout closed (`>&-`).
///
/// Before `main`, std opens `/dev/null` for reading and writing in place of a standard descriptor that is
/// closed, and every write then succeeds. A `/dev/null` that the caller has opened so itself cannot be told
/// from it, and the message says what to do instead.
///
/// # Errors
///
/// If stdout is `/dev/null`, open for reading and writing.
pub(crate) fn check_stdout() -> Result<(), Exit> {
    if !is_stdout_closed() {
        return Ok(());
    }
    Err(Exit::Failed(
        "cannot write stdout: stdout is closed, or is /dev/null opened for reading and writing (to \
         discard the output, open it for writing only, as `>/dev/null` does)"
            .into(),
    ))
}

#[cfg(target_os = "linux")]
fn is_stdout_closed() -> bool {
    use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, makedev};
    let out = io::stdout();
    let (Ok(stat), Ok(flags)) = (fstat(&out), fcntl_getfl(&out)) else {
        return false;
    };
    // null(4): the character device 1:3.
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == makedev(1, 3)
        && flags & OFlags::ACCMODE == OFlags::RDWR
}

#[cfg(not(target_os = "linux"))]
fn is_stdout_closed() -> bool {
    false
}

/// Converts a failure to write to `path`.
pub(crate) fn file_failed(path: &Path, error: &io::Error) -> Exit {
    named(&path.display().to_string(), error)
}

fn named(what: &str, error: &io::Error) -> Exit {
    io::Error::new(error.kind(), format!("cannot write {what}: {error}")).into()
}

/// Writes bytes from a server to `out`.
///
/// # Errors
///
/// If they are binary and `out` is a terminal, which would interpret them as control sequences.
pub(crate) fn write_piece(
    out: &mut impl Write,
    piece: &[u8],
    is_terminal: bool,
) -> Result<(), Exit> {
    if is_terminal && piece.contains(&0) {
        return Err(Exit::Failed(
            "the response is binary, and stdout is a terminal: write it to a file with -o FILE, or \
             to the terminal all the same with -o -"
                .into(),
        ));
    }
    out.write_all(piece)
        .and_then(|()| out.flush())
        .map_err(stdout_failed)
}

/// `HTTP/1.1`, or `HTTP/2`, which has no minor version (RFC 9113 §4).
pub(crate) fn version(version: Version) -> String {
    match version {
        Version::HTTP_2 => "HTTP/2".to_owned(),
        Version::HTTP_3 => "HTTP/3".to_owned(),
        version => format!("{version:?}"),
    }
}

/// Writes the beginning of an unexpected response body to stderr.
pub(crate) async fn say_excerpt(body: Body, epoll: &EventLoop) {
    let runtime: Arc<dyn Runtime> = epoll.backend();
    let deadline = runtime.now().checked_add(PATIENCE);
    let mut page = Vec::new();
    let reading = beginning(body, &mut page);
    // What has arrived by then is shown.
    let _ = with_deadline(&runtime, "excerpt of a page", deadline, reading).await;
    let shown = excerpt(&page);
    if !shown.is_empty() {
        say!("{shown}");
    }
}

async fn beginning(mut body: Body, page: &mut Vec<u8>) {
    while page.len() <= EXCERPT
        && let Some(Ok(piece)) = body.chunk().await
    {
        page.extend_from_slice(&piece);
    }
}

/// Returns the beginning of `page`, without control characters.
fn excerpt(page: &[u8]) -> String {
    let text = String::from_utf8_lossy(&page[..page.len().min(EXCERPT)]);
    let mut lines: Vec<String> = text
        .lines()
        .take(EXCERPT_LINES)
        .map(|line| line.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}"))
        .collect();
    if page.len() > EXCERPT || text.lines().count() > EXCERPT_LINES {
        lines.push("[…]".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_harmless() {
        assert_eq!(excerpt(b""), "");
        assert_eq!(excerpt(b"one\r\ntwo\n"), "one\ntwo");
        assert_eq!(excerpt(b"\x1b[2Jred\0"), "\u{fffd}[2Jred\u{fffd}");
        let long = excerpt(&[b'x'; 10_000]);
        assert_eq!(long, format!("{}\n[…]", "x".repeat(EXCERPT)));
        let many = excerpt("y\n".repeat(100).as_bytes());
        assert_eq!(many.lines().count(), EXCERPT_LINES + 1);
    }

    #[test]
    fn what_is_binary_goes_to_no_terminal() {
        for (piece, is_terminal, is_written) in [
            (&b"text\x1b"[..], true, true),
            (b"\x7fELF\0", true, false),
            (b"\x7fELF\0", false, true),
        ] {
            let mut out = Vec::new();
            let written = write_piece(&mut out, piece, is_terminal);
            assert_eq!(written.is_ok(), is_written, "{piece:?}");
            assert_eq!(!out.is_empty(), is_written, "{piece:?}");
        }
    }
}
