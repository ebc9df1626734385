//! One connection: heads in, bodies in, responses out.

use std::io::{self, BufRead, BufReader, Read, Write};

#[cfg(feature = "http2")]
use crate::http2;
use crate::{Shared, routes, stream::Stream};

/// The longest request head taken, in bytes.
const HEAD_LIMIT: usize = 64 << 10;
/// How much of a body moves at once, in bytes.
pub(crate) const PIECE: usize = 64 << 10;

pub(crate) struct Connection<'a> {
    input: BufReader<&'a Stream>,
    stream: &'a Stream,
    line: Vec<u8>,
    out: Vec<u8>,
}

/// A request's head, as far as the routes ask.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) content_type: Option<String>,
    pub(crate) last_event_id: Option<String>,
    /// It asks to go on as a WebSocket.
    pub(crate) wants_websocket: bool,
    pub(crate) websocket_key: Option<String>,
    pub(crate) is_http10: bool,
    pub(crate) expects_continue: bool,
    pub(crate) keeps_alive: bool,
    pub(crate) framing: Framing,
}

/// What is left of a request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Nothing is left.
    #[default]
    Ended,
    /// Number of bytes left.
    Length(u64),
    /// Number of bytes left of the current chunk; more chunks follow.
    Chunked(u64),
}

/// What becomes of a connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It serves another request.
    Keep,
    /// It ends, after the client has had the time to read.
    Close,
}

/// Serves one request after another until either side closes.
pub(crate) fn serve(shared: &Shared, stream: &Stream) -> io::Result<()> {
    let mut connection = Connection {
        input: BufReader::with_capacity(16 << 10, stream),
        stream,
        line: Vec::new(),
        out: Vec::new(),
    };
    loop {
        let mut request = match connection.head() {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            #[cfg(feature = "http2")]
            Err(_) if connection.line == http2::FIRST_LINE => {
                http2::serve(shared, &mut connection.input, &mut &*stream)?;
                return connection.linger();
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let text = format!("{error}\n");
                connection.respond(&Request::default(), 400, "", text.as_bytes())?;
                return connection.linger();
            }
            Err(error) => return Err(error),
        };
        shared.count_request();
        let next = routes::answer(shared, &mut connection, &mut request)?;
        if next == Next::Close || !request.keeps_alive {
            return connection.linger();
        }
        // A body the route did not care for must not be taken for the next head.
        connection.drain(&mut request)?;
    }
}

pub(crate) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Connection<'_> {
    /// The next head, or `None` if the client has closed in between.
    fn head(&mut self) -> io::Result<Option<Request>> {
        let mut left = HEAD_LIMIT;
        if !self.next_line(&mut left)? {
            return Ok(None);
        }
        let line = text(&self.line)?;
        let mut words = line.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(invalid("malformed request line"));
        };
        let is_http10 = match version {
            "HTTP/1.1" => false,
            "HTTP/1.0" => true,
            _ => return Err(invalid("unsupported version")),
        };
        let (path, query) = path_and_query(target);
        let mut request = Request {
            method: method.into(),
            path: path.into(),
            query: query.into(),
            is_http10,
            keeps_alive: !is_http10,
            ..Request::default()
        };
        let mut has_host = false;
        loop {
            if !self.next_line(&mut left)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.line.is_empty() {
                break;
            }
            let (name, value) = text(&self.line)?
                .split_once(':')
                .ok_or(invalid("malformed field"))?;
            let repeated_host = request.field(name, value.trim())? && has_host;
            if repeated_host {
                return Err(invalid("more than one Host"));
            }
            has_host |= name.eq_ignore_ascii_case("host");
        }
        // RFC 9112 §3.2: a request of HTTP/1.1 names its host exactly once, or is refused.
        if !has_host && !is_http10 {
            return Err(invalid("no Host"));
        }
        Ok(Some(request))
    }

    /// Reads a line into `self.line`, without its end; `false` at the end of the stream.
    fn next_line(&mut self, left: &mut usize) -> io::Result<bool> {
        self.line.clear();
        let read = (&mut self.input)
            .take(*left as u64)
            .read_until(b'\n', &mut self.line)?;
        *left -= read;
        match self.line.as_slice() {
            [] if *left > 0 => Ok(false),
            [.., b'\r', b'\n'] => {
                self.line.truncate(self.line.len() - 2);
                Ok(true)
            }
            _ if *left == 0 => Err(invalid("the head is too long")),
            _ => Err(invalid("a line without an end")),
        }
    }

    /// The next piece of the request's body: 0 at its end.
    pub(crate) fn body(&mut self, request: &mut Request, buf: &mut [u8]) -> io::Result<usize> {
        if request.framing != Framing::Ended && request.expects_continue {
            // RFC 9110 §10.1.1: the client waits for leave to send; asking for the body grants it.
            request.expects_continue = false;
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let left = match request.framing {
            Framing::Ended => return Ok(0),
            // Reading nothing would wait for the next request all the same.
            Framing::Length(0) => {
                request.framing = Framing::Ended;
                return Ok(0);
            }
            Framing::Chunked(0) => match self.chunk_size()? {
                0 => {
                    while self.next_line(&mut HEAD_LIMIT.clone())? && !self.line.is_empty() {}
                    request.framing = Framing::Ended;
                    return Ok(0);
                }
                size => size,
            },
            Framing::Length(left) | Framing::Chunked(left) => left,
        };
        let room = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.input.read(&mut buf[..room])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let left = left - read as u64;
        request.framing = match request.framing {
            Framing::Chunked(_) if left == 0 => {
                if !self.next_line(&mut 2)? || !self.line.is_empty() {
                    return Err(invalid("a chunk is longer than it said"));
                }
                Framing::Chunked(0)
            }
            Framing::Chunked(_) => Framing::Chunked(left),
            Framing::Length(_) if left > 0 => Framing::Length(left),
            Framing::Length(_) | Framing::Ended => Framing::Ended,
        };
        Ok(read)
    }

    fn chunk_size(&mut self) -> io::Result<u64> {
        if !self.next_line(&mut HEAD_LIMIT.clone())? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = text(&self.line)?.split(';').next().unwrap_or("").trim();
        u64::from_str_radix(size, 16).map_err(|_| invalid("malformed chunk size"))
    }

    fn drain(&mut self, request: &mut Request) -> io::Result<()> {
        if request.framing == Framing::Ended {
            return Ok(());
        }
        if request.expects_continue {
            // It was never told to send, and now will not.
            request.framing = Framing::Ended;
            return Ok(());
        }
        let mut scratch = vec![0; PIECE];
        while self.body(request, &mut scratch)? > 0 {}
        Ok(())
    }

    /// Begins a response: status line, `fields` (each with its line end) and the empty line.
    pub(crate) fn start(&mut self, request: &Request, code: u16, fields: &str) {
        let version = if request.is_http10 { "1.0" } else { "1.1" };
        let reason = reason(code);
        let connection = match (request.is_http10, request.keeps_alive) {
            (true, true) => "Connection: keep-alive\r\n",
            (false, false) => "Connection: close\r\n",
            (true, false) | (false, true) => "",
        };
        self.out.clear();
        // Writing to a Vec does not fail.
        let _ = write!(
            self.out,
            "HTTP/{version} {code} {reason}\r\n{connection}{fields}\r\n"
        );
    }

    /// Adds to what is to be sent.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Adds one chunk, with its size and line ends.
    pub(crate) fn push_chunk(&mut self, data: &[u8]) {
        let _ = write!(self.out, "{:x}\r\n", data.len());
        self.push(data);
        self.push(b"\r\n");
    }

    /// Sends what has been pushed, in one write if the socket takes it.
    pub(crate) fn send(&mut self) -> io::Result<()> {
        let mut stream = self.stream;
        stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Sends `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.stream;
        stream.write_all(bytes)
    }

    /// Sends a whole response; to HEAD, and where there can be none, without the body.
    pub(crate) fn respond(
        &mut self,
        request: &Request,
        code: u16,
        fields: &str,
        body: &[u8],
    ) -> io::Result<()> {
        // RFC 9110 §8.6: no Content-Length beside a status that has no content.
        if code < 200 || code == 204 {
            self.start(request, code, fields);
            return self.send();
        }
        let fields = format!("{fields}Content-Length: {}\r\n", body.len());
        self.start(request, code, &fields);
        if request.method != "HEAD" && code != 304 {
            self.push(body);
        }
        self.send()
    }

    /// Closes so that the client gets to read the response.
    pub(crate) fn linger(&mut self) -> io::Result<()> {
        // RFC 9112 §9.6: closing with unread input resets the connection, and the reset may
        // overtake the response; so only the writing side is closed, until the client closes too.
        self.stream.finish()?;
        let mut scratch = vec![0; PIECE];
        while self.input.read(&mut scratch)? > 0 {}
        Ok(())
    }

    /// What the client says when it does not speak HTTP any more.
    pub(crate) fn input(&mut self) -> &mut impl Read {
        &mut self.input
    }

    /// Waits for the client to close, whatever it says.
    pub(crate) fn wait_for_end(&mut self) -> io::Result<()> {
        let mut scratch = vec![0; PIECE];
        while self.input.read(&mut scratch)? > 0 {}
        Ok(())
    }
}

impl Request {
    /// Takes in one field; `true` if it is `Host`.
    fn field(&mut self, name: &str, value: &str) -> io::Result<bool> {
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err(invalid("malformed field name"));
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("content-length") {
            let length = value.parse().map_err(|_| invalid("malformed length"))?;
            if self.framing != Framing::Ended {
                return Err(invalid("two framings"));
            }
            self.framing = Framing::Length(length);
        } else if is("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") || self.framing != Framing::Ended {
                return Err(invalid("unknown framing"));
            }
            self.framing = Framing::Chunked(0);
        } else if is("connection") {
            for option in value.split(',').map(str::trim) {
                if option.eq_ignore_ascii_case("close") {
                    self.keeps_alive = false;
                } else if option.eq_ignore_ascii_case("keep-alive") {
                    self.keeps_alive = true;
                }
            }
        } else if is("expect") {
            self.expects_continue = value.eq_ignore_ascii_case("100-continue");
        } else if is("upgrade") {
            self.wants_websocket = value.eq_ignore_ascii_case("websocket");
        } else if is("sec-websocket-key") {
            self.websocket_key = Some(value.into());
        } else if is("last-event-id") {
            self.last_event_id = Some(value.into());
        } else if is("content-type") {
            self.content_type = Some(value.into());
        }
        Ok(is("host"))
    }
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| invalid("not text"))
}

/// Path and query of a target in origin-form or absolute-form (RFC 9112 §3.2).
fn path_and_query(target: &str) -> (&str, &str) {
    let target = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => target,
    };
    target.split_once('?').unwrap_or((target, ""))
}

fn reason(code: u16) -> &'static str {
    match code {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Some Status",
    }
}
