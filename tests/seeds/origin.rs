//! The server: answers each request in some way of answering, or in some way of failing.

use std::{
    io::{self, ErrorKind},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use httpcore_net_mock::ServerStream;

use crate::{CONNECTIONS, REQUESTS};

/// What the server has seen of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How often its head arrived whole.
    pub(crate) heads: usize,
    /// Whether it is one that must not be sent twice.
    pub(crate) is_post: bool,
}

/// What the servers of a world share.
#[derive(Debug)]
pub(crate) struct Book {
    seen: Mutex<Vec<Seen>>,
    is_faulty: AtomicBool,
    spoke_nonsense: AtomicBool,
}

/// What becomes of the connection after a request.
enum Then {
    GoOn,
    Close,
    Reset,
    Stall,
}

/// A request's head, as far as it matters here.
struct Head {
    method: String,
    number: usize,
    length: Option<usize>,
    is_chunked: bool,
}

impl Book {
    pub(crate) fn new(is_faulty: bool) -> Self {
        Book {
            seen: Mutex::new(vec![Seen::default(); REQUESTS + CONNECTIONS + 1]),
            is_faulty: AtomicBool::new(is_faulty),
            spoke_nonsense: AtomicBool::new(false),
        }
    }

    /// From now on nothing fails.
    pub(crate) fn stop_faults(&self) {
        self.is_faulty.store(false, Ordering::Relaxed);
    }

    /// Whether a server has sent what is not HTTP.
    pub(crate) fn spoke_nonsense(&self) -> bool {
        self.spoke_nonsense.load(Ordering::Relaxed)
    }

    /// What has been seen of one request.
    pub(crate) fn seen(&self, number: usize) -> Seen {
        self.seen.lock().unwrap()[number].clone()
    }

    /// RFC 9110 §9.2.2: what is not idempotent is not repeated; and nothing is, more than once.
    pub(crate) fn check(&self) {
        for (number, seen) in self.seen.lock().unwrap().iter().enumerate() {
            let most = if seen.is_post { 1 } else { 2 };
            assert!(seen.heads <= most, "request {number}: {seen:?}");
        }
    }

    fn note(&self, head: &Head) {
        let mut seen = self.seen.lock().unwrap();
        seen[head.number].heads += 1;
        seen[head.number].is_post = head.method == "POST";
    }
}

/// A text of `size` bytes in which every number can be told from every other.
pub(crate) fn text(what: &str, number: usize, size: usize) -> String {
    let unit = format!("{what} {number}; ");
    unit.chars().cycle().take(size).collect()
}

/// Serves one connection.
pub(crate) async fn serve(mut stream: ServerStream, book: std::sync::Arc<Book>) {
    loop {
        let Ok(head) = stream.read_head().await else {
            return;
        };
        let head = Head::read(&head);
        book.note(&head);
        match answer(&mut stream, &head, &book).await {
            Ok(Then::GoOn) => {}
            Ok(Then::Close) | Err(_) => return,
            Ok(Then::Reset) => return stream.reset(),
            Ok(Then::Stall) => return stream.stall().await,
        }
    }
}

/// # Errors
///
/// Those of the connection; the client may have gone.
async fn answer(stream: &mut ServerStream, head: &Head, book: &Book) -> io::Result<Then> {
    let fault = match book.is_faulty.load(Ordering::Relaxed) {
        true => stream.random_below(20),
        false => 0,
    };
    let is_early = head.has_body() && stream.random_below(4) == 1;
    if !is_early {
        head.read_body(stream).await?;
    }
    let (answer, manner) = compose(head, stream);
    let is_last = matches!(manner, Manner::UntilClose);
    let then = match fault {
        1 => return Ok(Then::Close),
        2 => return Ok(Then::Reset),
        3 => return Ok(Then::Stall),
        4..=6 => {
            // Some part of it, the head or the body, and then …
            let part = stream.random_below(answer.len());
            stream.write_all(&answer[..part]).await?;
            return Ok([Then::Close, Then::Reset, Then::Stall]
                .into_iter()
                .nth(fault - 4)
                .unwrap());
        }
        7 => {
            book.spoke_nonsense.store(true, Ordering::Relaxed);
            stream.write_all("SSH-2.0-OpenSSH_9.2\r\n").await?;
            return Ok(Then::Stall);
        }
        // Behind an answer that ends with the connection there is nothing: it would be part of it.
        8 if !is_last => {
            book.spoke_nonsense.store(true, Ordering::Relaxed);
            stream.write_all(format!("{answer}\0 and more")).await?;
            return Ok(Then::Stall);
        }
        9 => Then::Close,
        10 => Then::Reset,
        _ => Then::GoOn,
    };
    match stream.random_below(4) {
        // Slowly, in pieces.
        1 => {
            for piece in answer.as_bytes().chunks(answer.len() / 3 + 1) {
                stream
                    .sleep(Duration::from_millis(stream.random_below(30) as u64))
                    .await;
                stream.write_all(piece).await?;
            }
        }
        _ => stream.write_all(&answer).await?,
    }
    if is_last {
        stream.close_write().await?;
    }
    if is_early {
        head.read_body(stream).await?;
    }
    if is_last {
        return Ok(Then::Close);
    }
    if !matches!(then, Then::GoOn) {
        // It goes while it is idle, or in the middle of the next request.
        stream
            .sleep(Duration::from_millis(stream.random_below(40) as u64))
            .await;
    }
    Ok(then)
}

/// How an answer says where it ends.
enum Manner {
    Length,
    Chunks,
    UntilClose,
}

/// Whatever was asked, answered with its number.
fn compose(head: &Head, stream: &ServerStream) -> (String, Manner) {
    let (number, size) = (head.number, [5, 0, 100, 3000][stream.random_below(4)]);
    let body = text("answer", number, size);
    let manner = match stream.random_below(6) {
        1 | 2 => Manner::Chunks,
        3 => Manner::UntilClose,
        _ => Manner::Length,
    };
    let mut answer = match stream.random_below(6) {
        1 => "HTTP/1.1 103 Early Hints\r\nx-number: 99\r\n\r\n".to_owned(),
        _ => String::new(),
    };
    answer += &format!("HTTP/1.1 200 OK\r\nx-number: {number}\r\nx-size: {size}\r\n");
    answer += &match manner {
        Manner::Length => format!("content-length: {size}\r\n\r\n"),
        Manner::Chunks => "transfer-encoding: chunked\r\n\r\n".to_owned(),
        Manner::UntilClose => "connection: close\r\n\r\n".to_owned(),
    };
    if head.method != "HEAD" {
        answer += &match manner {
            Manner::Length | Manner::UntilClose => body,
            Manner::Chunks => chunked(&body),
        };
    }
    (answer, manner)
}

fn chunked(body: &str) -> String {
    let (mut text, mut rest) = (String::new(), body);
    while !rest.is_empty() {
        let (chunk, others) = rest.split_at(rest.len().min(700));
        text += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
        rest = others;
    }
    text + "0\r\n\r\n"
}

impl Head {
    /// The client's heads are well-formed, whatever fails.
    fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let mut words = lines.next().unwrap().split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let mut head = Head {
            method: method.to_owned(),
            number: target.trim_start_matches('/').parse().unwrap(),
            length: None,
            is_chunked: false,
        };
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            match name {
                "content-length" => head.length = Some(value.parse().unwrap()),
                "transfer-encoding" => head.is_chunked = value == "chunked",
                _ => {}
            }
        }
        head
    }

    fn has_body(&self) -> bool {
        self.is_chunked || self.length.is_some_and(|length| length > 0)
    }

    /// Reads the body, which is the request's own and whole.
    async fn read_body(&self, stream: &mut ServerStream) -> io::Result<()> {
        let body = match self.length {
            Some(length) => stream.read_exact(length).await?.to_vec(),
            None if self.is_chunked => read_chunks(stream).await?,
            None => return Ok(()),
        };
        let expected = text("question", self.number, body.len());
        assert_eq!(String::from_utf8_lossy(&body), expected);
        Ok(())
    }
}

async fn read_chunks(stream: &mut ServerStream) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = stream.read_until("\r\n").await?;
        let size = std::str::from_utf8(&line).ok().map(str::trim);
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or(ErrorKind::InvalidData)?;
        if size == 0 {
            while stream.read_until("\r\n").await?.len() > 2 {}
            return Ok(body);
        }
        let chunk = stream.read_exact(size + 2).await?;
        assert!(chunk.ends_with(b"\r\n"), "a chunk has an end");
        body.extend_from_slice(&chunk[..size]);
    }
}
