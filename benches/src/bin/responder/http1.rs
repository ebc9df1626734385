//! The part of HTTP/1.1 that the responses need.

use crate::connection::Turn;

const HELLO: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n";
const ELEVEN: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.27.0\r\n\
    Date: Fri, 20 Nov 2026 10:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\n\
    Content-Length: 14\r\nConnection: keep-alive\r\nVary: Accept-Encoding\r\n\
    ETag: \"65a1b2c3-264\"\r\nLast-Modified: Thu, 19 Nov 2026 09:00:00 GMT\r\n\
    Cache-Control: max-age=3600\r\nX-Request-Id: 0123456789abcdef\r\n\
    Strict-Transport-Security: max-age=31536000\r\n\r\nHello, world!\n";
const FOUR: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.27.0\r\n\
    Date: Fri, 20 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json\r\n\
    Content-Length: 64\r\n\r\n\
    {\"id\":\"0123456789abcdef\",\"name\":\"an example\",\"items\":[1,2,3,4]}\n";
const TUNNEL: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const UNKNOWN: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

#[derive(Default)]
pub(crate) struct Http1 {
    /// An incomplete head.
    head: Vec<u8>,
    /// Bytes of a request's body that are still to be read.
    body: u64,
    /// Bytes of a response's body that are still to be sent.
    zeros: u64,
}

struct Request<'a> {
    is_connect: bool,
    path: &'a str,
    length: u64,
    is_last: bool,
}

impl Http1 {
    pub(crate) fn hear(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Turn {
        let mut turn = Turn::On;
        while !bytes.is_empty() && turn == Turn::On {
            if self.body > 0 {
                let size = self.body.min(bytes.len() as u64);
                self.body -= size;
                bytes = &bytes[size as usize..];
                if self.body == 0 {
                    out.extend_from_slice(OK);
                }
                continue;
            }
            if self.head.is_empty() {
                // The usual case: a complete head.
                match parse(bytes) {
                    Parsed::Whole(size, request) => {
                        turn = self.answer(&request, out);
                        bytes = &bytes[size..];
                        continue;
                    }
                    Parsed::Partly => {}
                    Parsed::Malformed => return Turn::Malformed,
                }
            }
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let head = std::mem::take(&mut self.head);
            match parse(&head) {
                Parsed::Whole(size, request) => {
                    turn = self.answer(&request, out);
                    bytes = &bytes[size - before..];
                }
                Parsed::Partly => {
                    self.head = head;
                    return turn;
                }
                Parsed::Malformed => return Turn::Malformed,
            }
        }
        turn
    }

    fn answer(&mut self, request: &Request<'_>, out: &mut Vec<u8>) -> Turn {
        let number = |prefix| request.path.strip_prefix(prefix)?.parse::<u64>().ok();
        if request.is_connect {
            // A tunnel to this server itself.
            out.extend_from_slice(TUNNEL);
        } else if request.length > 0 {
            self.body = request.length;
        } else if request.path == "/hello" {
            out.extend_from_slice(HELLO);
        } else if request.path == "/eleven" {
            out.extend_from_slice(ELEVEN);
        } else if request.path == "/four" {
            out.extend_from_slice(FOUR);
        } else if let Some(length) = number("/bytes/") {
            self.zeros = length;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            out.extend_from_slice(head.as_bytes());
            self.say(out, 64 << 10);
        } else if let Some(barrier) = barrier(request.path) {
            return barrier;
        } else {
            out.extend_from_slice(UNKNOWN);
        }
        if request.is_last && request.length == 0 && self.zeros == 0 {
            return Turn::Last;
        }
        Turn::On
    }

    pub(crate) fn release(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(OK);
    }

    pub(crate) fn say(&mut self, out: &mut Vec<u8>, most: usize) {
        let size = self.zeros.min(most as u64);
        out.resize(out.len() + size as usize, 0);
        self.zeros -= size;
    }
}

/// `/barrier/N` and `/barrier/N/NAME`.
fn barrier(path: &str) -> Option<Turn> {
    let rest = path.strip_prefix("/barrier/")?;
    let (count, name) = rest.split_once('/').unwrap_or((rest, "0"));
    Some(Turn::Barrier {
        count: count.parse().ok()?,
        name: name.parse().ok()?,
    })
}

enum Parsed<'a> {
    /// Length of a request's head, in bytes.
    Whole(usize, Request<'a>),
    Partly,
    Malformed,
}

fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    let size = match request.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) => return Parsed::Partly,
        Err(_) => return Parsed::Malformed,
    };
    let (mut length, mut is_last) = (0, false);
    for field in request.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            match std::str::from_utf8(field.value).map(str::parse) {
                Ok(Ok(told)) => length = told,
                _ => return Parsed::Malformed,
            }
        } else if field.name.eq_ignore_ascii_case("connection") {
            is_last = field.value.eq_ignore_ascii_case(b"close");
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return Parsed::Malformed; // uploads need a length here
        }
    }
    let path = request.path.unwrap_or("");
    let request = Request {
        is_connect: request.method == Some("CONNECT"),
        // Some clients use the absolute form when they connect to another address.
        path: path.strip_prefix("http://localhost").unwrap_or(path),
        length,
        is_last,
    };
    Parsed::Whole(size, request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(input: &[u8], cut: usize) -> (Vec<u8>, Turn) {
        let (mut speaker, mut out) = (Http1::default(), Vec::new());
        let mut turn = speaker.hear(&input[..cut], &mut out);
        if turn == Turn::On {
            turn = speaker.hear(&input[cut..], &mut out);
        }
        (out, turn)
    }

    #[test]
    fn answers_do_not_depend_on_how_requests_are_cut() {
        let input = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\n\
            Content-Length: 3\r\n\r\nabcGET /bytes/3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let expected = [
            HELLO,
            OK,
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\0\0\0",
        ]
        .concat();
        for cut in 0..input.len() {
            assert_eq!(heard(input, cut), (expected.clone(), Turn::Last), "{cut}");
        }
    }

    #[test]
    fn content_length_of_each_fixed_answer_is_true() {
        for (path, length) in [("/hello", 14), ("/eleven", 14), ("/four", 64)] {
            let input = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            let (out, _) = heard(input.as_bytes(), 0);
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut head = httparse::Response::new(&mut fields);
            let size = head.parse(&out).unwrap().unwrap();
            let declared = head
                .headers
                .iter()
                .find(|field| field.name == "Content-Length")
                .map(|field| field.value);
            assert_eq!(declared, Some(length.to_string().as_bytes()), "{path}");
            assert_eq!(out.len() - size, length, "{path}");
        }
    }

    #[test]
    fn a_tunnel_leads_back_here() {
        let input =
            b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET /hello HTTP/1.1\r\nHost: a:1\r\n\r\n";
        assert_eq!(heard(input, 0), ([TUNNEL, HELLO].concat(), Turn::On));
    }

    #[test]
    fn a_barrier_is_told_and_nonsense_refused() {
        let barrier = b"GET /barrier/7 HTTP/1.1\r\nHost: a\r\n\r\n";
        let turn = |count, name| Turn::Barrier { count, name };
        assert_eq!(heard(barrier, 0), (Vec::new(), turn(7, 0)));
        let named = b"GET /barrier/7/11 HTTP/1.1\r\n\r\n";
        assert_eq!(heard(named, 0), (Vec::new(), turn(7, 11)));
        assert_eq!(heard(b"\0\0", 0).1, Turn::Malformed);
    }
}
