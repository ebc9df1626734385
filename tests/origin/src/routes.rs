//! What the origin answers.
//!
//! | request | response |
//! |---|---|
//! | `GET /hello` | `Hello, world!`, in one write |
//! | `GET /bytes/N` | `N` bytes of the [`pattern`], with `Content-Length` |
//! | `GET /chunked/N` | the same, chunked |
//! | `GET /until-close/N` | the same, until the connection closes |
//! | `GET /stream/N` | `N` chunks, each a line and a write of its own; `?trailers` adds trailers |
//! | `GET /drip/N` | `N` bytes in as many writes; `?ms=T` with `T` milliseconds before each |
//! | `GET /wait/T` | an answer after `T` milliseconds |
//! | `GET /headers/N` | `N` fields `X-Field-…` |
//! | `GET /status/CODE` | that status |
//! | `GET /interim/CODE` | an interim response, then 200 |
//! | `POST /echo` | the body again, of the same type; above 64 KiB, or chunked, while it arrives |
//! | `GET /echo` | with `Upgrade: websocket`, a WebSocket which says everything back |
//! | `GET /events/N` | `N` events, numbered from 0, or from behind `Last-Event-ID`; `?break=K` breaks off after every `K`; 204 after the last |
//! | `POST /sink` | how many bytes came, their checksum, and whether they were the pattern |
//! | `ANY /early/CODE` | that status before the body is read; `?keep` then reads it and goes on |
//! | `GET /close` | an answer with `Connection: close` |
//! | `GET /hangup` | an answer which announces nothing, and then a close |
//! | `GET /silent` | nothing at all, until one side closes |
//! | `GET /garbage` | something that is not HTTP |
//! | `GET /truncated` | half a body; `?chunked` half a chunk, `?head` half a head |
//!
//! `HEAD` is answered like `GET`, without the body.
//!
//! Over HTTP/2 (feature `http2`) there are `GET /hello`, `GET /events/N`, and `/echo` as a WebSocket,
//! by extended `CONNECT` (RFC 8441); where events are broken off, their stream is reset.

use std::{io, ops::Range, time::Duration};

use crate::{
    Shared,
    connection::{Connection, Framing, Next, PIECE, Request},
    pattern::{self, Checksum},
    websocket,
};

const TEXT: &str = "Content-Type: text/plain\r\n";
/// First lines of an event stream: a client reconnects soon after an aborted stream.
pub(crate) const RETRY: &str = "retry: 10\n\n";
const BINARY: &str = "Content-Type: application/octet-stream\r\n";

/// Answers one request.
pub(crate) fn answer(
    shared: &Shared,
    connection: &mut Connection<'_>,
    request: &mut Request,
) -> io::Result<Next> {
    let path = std::mem::take(&mut request.path);
    let (route, argument) = match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some((route, argument)) => (route, argument.parse().ok()),
        None => (path.trim_start_matches('/'), None),
    };
    let is_get = matches!(request.method.as_str(), "GET" | "HEAD");
    let code = argument.and_then(|code| u16::try_from(code).ok());
    match (route, argument, code) {
        ("echo", None, _) if request.wants_websocket => {
            return websocket::echo(connection, request);
        }
        ("echo", None, _) => echo(connection, request)?,
        ("sink", None, _) => sink(connection, request)?,
        ("early", _, Some(code)) => return early(connection, request, code),
        _ if !is_get => connection.respond(request, 405, TEXT, b"not with this method\n")?,
        ("hello", None, _) => connection.respond(request, 200, TEXT, b"Hello, world!\n")?,
        ("bytes", Some(size), _) => bytes(connection, request, size)?,
        ("chunked", Some(size), _) if !request.is_http10 => chunked(connection, request, size)?,
        ("until-close" | "chunked", Some(size), _) => {
            return until_close(connection, request, size);
        }
        ("events", Some(count), _) => return events(connection, request, count),
        ("stream", Some(count), _) => stream(connection, request, count)?,
        ("drip", Some(size), _) => drip(shared, connection, request, size)?,
        ("wait", Some(time), _) => {
            if !shared.pause(Duration::from_millis(time)) {
                return Ok(Next::Close);
            }
            connection.respond(request, 200, TEXT, b"at last\n")?;
        }
        ("headers", Some(count), _) => headers(connection, request, count)?,
        ("status", _, Some(204)) => connection.respond(request, 204, "", b"")?,
        ("status", _, Some(code @ 200..=999)) => {
            connection.respond(request, code, TEXT, format!("status {code}\n").as_bytes())?;
        }
        ("interim", _, Some(code @ 100..=199)) => {
            let interim = format!("HTTP/1.1 {code} Interim\r\nLink: </style.css>\r\n\r\n");
            connection.write(interim.as_bytes())?;
            connection.respond(request, 200, TEXT, b"final\n")?;
        }
        ("close", None, _) => {
            request.keeps_alive = false;
            connection.respond(request, 200, TEXT, b"closing\n")?;
        }
        ("hangup", None, _) => {
            connection.respond(request, 200, TEXT, b"see you\n")?;
            return Ok(Next::Close);
        }
        ("silent", None, _) => {
            connection.wait_for_end()?;
            return Ok(Next::Close);
        }
        ("garbage", None, _) => {
            connection.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")?;
            return Ok(Next::Close);
        }
        ("truncated", None, _) => return truncated(connection, request),
        _ => connection.respond(request, 404, TEXT, b"no such route\n")?,
    }
    Ok(Next::Keep)
}

fn bytes(connection: &mut Connection<'_>, request: &Request, size: u64) -> io::Result<()> {
    connection.start(request, 200, &format!("{BINARY}Content-Length: {size}\r\n"));
    if request.method == "HEAD" {
        return connection.send();
    }
    send_pattern(connection, size)
}

fn until_close(
    connection: &mut Connection<'_>,
    request: &mut Request,
    size: u64,
) -> io::Result<Next> {
    request.keeps_alive = false;
    connection.start(request, 200, BINARY);
    if request.method == "HEAD" {
        connection.send()?;
    } else {
        send_pattern(connection, size)?;
    }
    Ok(Next::Close)
}

/// Sends what has been pushed, and `size` bytes of the pattern.
fn send_pattern(connection: &mut Connection<'_>, size: u64) -> io::Result<()> {
    let mut offset = 0;
    while offset < size {
        let limit = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        let piece = pattern::at(offset, limit);
        offset += piece.len() as u64;
        if limit < PIECE {
            connection.push(piece); // small, or the last: joins the head in one write
        } else {
            connection.send()?;
            connection.write(piece)?;
        }
    }
    connection.send()
}

fn chunked(connection: &mut Connection<'_>, request: &Request, size: u64) -> io::Result<()> {
    let fields = format!("{BINARY}Transfer-Encoding: chunked\r\n");
    connection.start(request, 200, &fields);
    if request.method == "HEAD" {
        return connection.send();
    }
    let mut offset = 0;
    while offset < size {
        let limit = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        let piece = pattern::at(offset, limit);
        offset += piece.len() as u64;
        connection.push_chunk(piece);
        if limit == PIECE {
            connection.send()?;
        }
    }
    connection.push(b"0\r\n\r\n");
    connection.send()
}

fn stream(connection: &mut Connection<'_>, request: &mut Request, count: u64) -> io::Result<()> {
    let is_chunked = !request.is_http10;
    let has_trailers = is_chunked && request.query.contains("trailers");
    let mut fields = TEXT.to_owned();
    if is_chunked {
        fields += "Transfer-Encoding: chunked\r\n";
    } else {
        request.keeps_alive = false;
    }
    if has_trailers {
        fields += "Trailer: X-Count, X-Checksum\r\n";
    }
    connection.start(request, 200, &fields);
    connection.send()?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let mut checksum = Checksum::default();
    for number in 0..count {
        let line = format!("line {number}\n");
        checksum.update(line.as_bytes());
        if is_chunked {
            connection.push_chunk(line.as_bytes());
        } else {
            connection.push(line.as_bytes());
        }
        connection.send()?;
    }
    if is_chunked {
        connection.push(b"0\r\n");
        if has_trailers {
            let checksum = checksum.value();
            let trailers = format!("X-Count: {count}\r\nX-Checksum: {checksum:016x}\r\n");
            connection.push(trailers.as_bytes());
        }
        connection.push(b"\r\n");
    }
    connection.send()
}

fn events(connection: &mut Connection<'_>, request: &mut Request, count: u64) -> io::Result<Next> {
    let Some((due, is_whole)) = due(request.last_event_id.as_deref(), &request.query, count) else {
        connection.respond(request, 204, "", b"")?;
        return Ok(Next::Keep);
    };
    request.keeps_alive = false;
    let fields = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n";
    connection.start(request, 200, fields);
    connection.push_chunk(RETRY.as_bytes());
    connection.send()?;
    let until = due.end;
    for id in due {
        connection.push_chunk(event(id).as_bytes());
        connection.send()?;
    }
    if is_whole {
        connection.push(b"0\r\n\r\n");
        connection.send()?;
    } else {
        // In the middle of the next one.
        connection.push_chunk(format!("id: {until}\nda").as_bytes());
        connection.send()?;
    }
    Ok(Next::Close)
}

/// Which events follow `last`, and whether the response then ends as it
/// should; nothing if there are no more.
pub(crate) fn due(last: Option<&str>, query: &str, count: u64) -> Option<(Range<u64>, bool)> {
    let from = match last.map(str::parse::<u64>) {
        Some(Ok(id)) => id.saturating_add(1),
        Some(Err(_)) | None => 0,
    };
    let every = query.strip_prefix("break=");
    let until = match every.and_then(|every| every.parse::<u64>().ok()) {
        Some(every) => from.saturating_add(every).min(count),
        None => count,
    };
    (from < count).then_some((from..until, until == count))
}

pub(crate) fn event(id: u64) -> String {
    format!("event: tick\nid: {id}\ndata: {id}\n\n")
}

fn drip(
    shared: &Shared,
    connection: &mut Connection<'_>,
    request: &mut Request,
    size: u64,
) -> io::Result<()> {
    let pause = request.query.strip_prefix("ms=");
    let pause = Duration::from_millis(pause.and_then(|ms| ms.parse().ok()).unwrap_or(0));
    connection.start(request, 200, &format!("{BINARY}Content-Length: {size}\r\n"));
    connection.send()?;
    if request.method == "HEAD" {
        return Ok(());
    }
    for offset in 0..size {
        if !pause.is_zero() && !shared.pause(pause) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        connection.write(pattern::at(offset, 1))?;
    }
    Ok(())
}

fn headers(connection: &mut Connection<'_>, request: &Request, count: u64) -> io::Result<()> {
    let mut fields = TEXT.to_owned();
    for number in 0..count.min(100_000) {
        fields += &format!("X-Field-{number:05}: value number {number}\r\n");
    }
    connection.respond(request, 200, &fields, b"headers\n")
}

fn echo(connection: &mut Connection<'_>, request: &mut Request) -> io::Result<()> {
    let kind = match &request.content_type {
        Some(kind) => format!("Content-Type: {kind}\r\n"),
        None => BINARY.to_owned(),
    };
    let mut piece = vec![0; PIECE];
    let length = match request.framing {
        Framing::Ended => Some(0),
        Framing::Length(length) => Some(length),
        Framing::Chunked(_) => None,
    };
    if let Some(length) = length.filter(|length| *length <= PIECE as u64) {
        let mut whole = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        while let size @ 1.. = connection.body(request, &mut piece)? {
            whole.extend_from_slice(&piece[..size]);
        }
        return connection.respond(request, 200, &kind, &whole);
    }
    let is_chunked = length.is_none() && !request.is_http10;
    // The body is asked for first: leave to send it comes before the response.
    let mut size = connection.body(request, &mut piece)?;
    let framing = match length {
        Some(length) => format!("Content-Length: {length}\r\n"),
        None if is_chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        None => {
            request.keeps_alive = false;
            String::new()
        }
    };
    connection.start(request, 200, &(kind + &framing));
    while size > 0 {
        if is_chunked {
            connection.push_chunk(&piece[..size]);
        } else {
            connection.push(&piece[..size]);
        }
        connection.send()?;
        size = connection.body(request, &mut piece)?;
    }
    if is_chunked {
        connection.push(b"0\r\n\r\n");
    }
    connection.send()
}

fn sink(connection: &mut Connection<'_>, request: &mut Request) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let (mut count, mut checksum, mut is_pattern) = (0, Checksum::default(), true);
    while let size @ 1.. = connection.body(request, &mut piece)? {
        checksum.update(&piece[..size]);
        is_pattern &= pattern::matches(count, &piece[..size]);
        count += size as u64;
    }
    let checksum = checksum.value();
    let text = format!(
        "{{\"bytes\": {count}, \"fnv1a\": \"{checksum:016x}\", \"is_pattern\": {is_pattern}}}\n"
    );
    connection.respond(
        request,
        200,
        "Content-Type: application/json\r\n",
        text.as_bytes(),
    )
}

fn early(connection: &mut Connection<'_>, request: &mut Request, code: u16) -> io::Result<Next> {
    let keeps = request.query == "keep";
    request.keeps_alive &= keeps;
    let text = format!("early {code}\n");
    connection.respond(request, code, TEXT, text.as_bytes())?;
    Ok(if keeps { Next::Keep } else { Next::Close })
}

fn truncated(connection: &mut Connection<'_>, request: &Request) -> io::Result<Next> {
    connection.write(match request.query.as_str() {
        "head" => b"HTTP/1.1 200 OK\r\nContent-Len",
        "chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nhalf a chunk",
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf a body",
    })?;
    Ok(Next::Close)
}
