//! What is written to stdout and stderr, and what becomes of the program where that fails.

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

/// How much of a page that was not asked for is shown, in bytes and in lines.
const EXCERPT: usize = 500;
const EXCERPT_LINES: usize = 10;
/// How long its server may take to send that.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes a line to stderr. Where nothing reads it any more, nothing is lost: the exit status says
/// how it went, and `eprintln!` would end the program by a panic.
macro_rules! say {
    ($($word:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($word)*);
    }};
}
pub(crate) use say;

/// What ends the program after writing to stdout has failed: quietly, where its reader wants no more
/// (`| head`), as other programs do.
#[expect(clippy::needless_pass_by_value, reason = "what `map_err` takes")]
pub(crate) fn stdout_failed(error: io::Error) -> Exit {
    match error.kind() {
        ErrorKind::BrokenPipe => Exit::Unread,
        _ => named("stdout", &error),
    }
}

/// What ends the program after writing to `path` has failed.
pub(crate) fn file_failed(path: &Path, error: &io::Error) -> Exit {
    named(&path.display().to_string(), error)
}

fn named(what: &str, error: &io::Error) -> Exit {
    io::Error::new(error.kind(), format!("{what} cannot be written: {error}")).into()
}

/// Writes to `out` what was read from a server, which may be anything.
///
/// # Errors
///
/// If it is binary, and `out` is a terminal, which would take some of it for commands.
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

/// Writes the beginning of a page that was not asked for to stderr.
pub(crate) async fn say_excerpt(body: Body, epoll: &EventLoop) {
    let runtime: Arc<dyn Runtime> = epoll.backend();
    let deadline = runtime.now().checked_add(PATIENCE);
    let mut page = Vec::new();
    let reading = beginning(body, &mut page);
    // What has come by then is shown.
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

/// The beginning of `page`, without what a terminal takes for commands.
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
