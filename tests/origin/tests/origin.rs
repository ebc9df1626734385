//! The origin, asked over plain sockets.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use httpcore_origin::{
    Origin, Stats,
    pattern::{self, Checksum},
};

/// How long a test waits for what must come: a bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends `request` and returns all that comes back until the end.
fn ask(origin: &Origin, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(origin.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn get(origin: &Origin, path: &str) -> (String, Vec<u8>) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    split(&ask(origin, request.as_bytes()))
}

fn split(answer: &[u8]) -> (String, Vec<u8>) {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head, answer[end + 4..].to_vec())
}

/// Takes chunked framing off; the trailers come second.
fn unchunk(mut body: &[u8]) -> (Vec<u8>, String) {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        body = &body[end + 2..];
        if size == 0 {
            let trailers = body.strip_suffix(b"\r\n").expect("an end of the trailers");
            return (whole, String::from_utf8(trailers.to_vec()).unwrap());
        }
        whole.extend_from_slice(&body[..size]);
        assert_eq!(&body[size..size + 2], b"\r\n");
        body = &body[size + 2..];
    }
}

fn chunk(data: &[u8]) -> Vec<u8> {
    let mut whole = format!("{:X};name=value\r\n", data.len()).into_bytes();
    whole.extend_from_slice(data);
    whole.extend_from_slice(b"\r\n");
    whole
}

#[test]
fn a_connection_serves_many_requests_and_is_counted_once() {
    let origin = Origin::start().unwrap();
    let mut stream = TcpStream::connect(origin.addr()).unwrap();
    let expected =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n";
    let mut answer = vec![0; expected.len()];
    for _ in 0..100 {
        stream
            .write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
    let seen = Stats {
        accepted: 1,
        open: 1,
        most_open: 1,
        requests: 100,
    };
    assert_eq!(origin.stats(), seen);
    drop(stream);
    assert!(origin.wait_for_open(0, PATIENCE));
}

#[test]
fn a_body_announced_as_empty_is_not_waited_for() {
    let origin = Origin::start().unwrap();
    let mut stream = TcpStream::connect(origin.addr()).unwrap();
    for path in ["/echo", "/sink", "/hello"] {
        let method = if path == "/hello" { "GET" } else { "POST" };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        )
        .unwrap();
        let mut status = [0; 15];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200 OK", "{path}");
        // The rest of the answer; the next request goes out on the same connection.
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            rest.extend_from_slice(&byte);
        }
        let rest = String::from_utf8(rest).unwrap();
        let length = rest
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start().unwrap();
    let answer = ask(
        &origin,
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
          POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo\
          GET /close HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let answer = String::from_utf8(answer).unwrap();
    let statuses: Vec<_> = answer
        .lines()
        .filter_map(|line| line.split("HTTP/1.1 ").nth(1))
        .collect();
    assert_eq!(statuses, ["200 OK", "405 Method Not Allowed", "200 OK"]);
    assert!(answer.ends_with("closing\n"));
}

#[test]
fn bulk_data_is_the_pattern_in_every_framing() {
    let origin = Origin::start().unwrap();
    for size in [0, 1, 65_535, 65_536, 200_003] {
        let (head, body) = get(&origin, &format!("/bytes/{size}"));
        assert!(head.contains(&format!("Content-Length: {size}")), "{head}");
        assert!(body.len() == size && pattern::matches(0, &body));

        let (head, body) = get(&origin, &format!("/chunked/{size}"));
        assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
        let (body, _) = unchunk(&body);
        assert!(body.len() == size && pattern::matches(0, &body));

        let (head, body) = get(&origin, &format!("/until-close/{size}"));
        assert!(!head.contains("Content-Length"), "{head}");
        assert!(body.len() == size && pattern::matches(0, &body));

        let (_, body) = get(&origin, &format!("/drip/{}", size.min(100)));
        assert!(body.len() == size.min(100) && pattern::matches(0, &body));
    }
}

#[test]
fn a_stream_ends_with_trailers_when_asked() {
    let origin = Origin::start().unwrap();
    let (head, body) = get(&origin, "/stream/3?trailers");
    let (body, trailers) = unchunk(&body);
    assert!(head.contains("Trailer: X-Count"), "{head}");
    assert_eq!(body, b"line 0\nline 1\nline 2\n");
    let mut checksum = Checksum::default();
    checksum.update(&body);
    let checksum = checksum.value();
    assert_eq!(
        trailers,
        format!("X-Count: 3\r\nX-Checksum: {checksum:016x}\r\n")
    );
    let (_, body) = get(&origin, "/stream/3");
    assert_eq!(unchunk(&body).1, "");
}

#[test]
fn a_large_echo_goes_out_while_it_comes_in() {
    let origin = Origin::start().unwrap();
    let size = 8 << 20; // more than the sockets' buffers hold
    let mut sent = vec![0; size];
    pattern::fill(0, &mut sent);
    for is_chunked in [false, true] {
        let mut stream = TcpStream::connect(origin.addr()).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let answer = thread::scope(|scope| {
            scope.spawn(|| {
                let framing = if is_chunked {
                    "Transfer-Encoding: chunked".into()
                } else {
                    format!("Content-Length: {size}")
                };
                write!(
                    writer,
                    "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                     Content-Type: x/y\r\n{framing}\r\n\r\n"
                )?;
                for piece in sent.chunks(99_991) {
                    if is_chunked {
                        writer.write_all(&chunk(piece))?;
                    } else {
                        writer.write_all(piece)?;
                    }
                }
                if is_chunked {
                    writer.write_all(b"0\r\nX-Trailer: 1\r\n\r\n")?;
                }
                io::Result::Ok(())
            });
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).map(|_| answer)
        });
        let (head, body) = split(&answer.unwrap());
        assert!(head.contains("Content-Type: x/y"), "{head}");
        let body = if is_chunked { unchunk(&body).0 } else { body };
        assert!(body == sent, "the echo differs");
    }
}

#[test]
fn a_sink_counts_and_checks_what_it_swallows() {
    let origin = Origin::start().unwrap();
    let mut data = vec![0; 100_000];
    pattern::fill(0, &mut data);
    let mut request =
        b"POST /sink HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n"
            .to_vec();
    request.extend_from_slice(&data);
    let mut checksum = Checksum::default();
    checksum.update(&data);
    let (_, body) = split(&ask(&origin, &request));
    let expected = format!(
        "{{\"bytes\": 100000, \"fnv1a\": \"{:016x}\", \"is_pattern\": true}}\n",
        checksum.value()
    );
    assert_eq!(String::from_utf8(body).unwrap(), expected);

    *request.last_mut().unwrap() ^= 1;
    let (_, body) = split(&ask(&origin, &request));
    assert!(String::from_utf8(body).unwrap().contains("false"));
}

#[test]
fn leave_to_send_a_body_is_given_once_before_the_response() {
    let origin = Origin::start().unwrap();
    let mut stream = TcpStream::connect(origin.addr()).unwrap();
    stream
        .write_all(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\
              Expect: 100-continue\r\n\r\n",
        )
        .unwrap();
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut read = vec![0; interim.len()];
    stream.read_exact(&mut read).unwrap();
    assert_eq!(read, interim);
    stream.write_all(b"body").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("body"));
}

#[test]
fn an_early_answer_comes_before_the_body() {
    let origin = Origin::start().unwrap();
    let mut stream = TcpStream::connect(origin.addr()).unwrap();
    let head = b"POST /early/413?keep HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    stream.write_all(head).unwrap();
    let expected = "HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\n\
                    Content-Length: 10\r\n\r\nearly 413\n";
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
    // The body, late, and the next request behind it.
    stream
        .write_all(b"12345GET /close HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("closing\n"), "{rest}");
}

#[test]
fn responses_without_content_have_none() {
    let origin = Origin::start().unwrap();
    for path in ["/status/204", "/status/304"] {
        let (head, body) = get(&origin, path);
        assert!(body.is_empty(), "{head}");
    }
    for path in ["/hello", "/bytes/9", "/chunked/9", "/stream/9", "/drip/9"] {
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let (head, body) = split(&ask(&origin, request.as_bytes()));
        assert!(
            head.starts_with("HTTP/1.1 200") && body.is_empty(),
            "{head}"
        );
    }
    let (head, body) = get(&origin, "/status/503");
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable"));
    assert_eq!(body, b"status 503\n");
}

#[test]
fn old_clients_are_closed_upon_unless_they_ask() {
    let origin = Origin::start().unwrap();
    let answer = ask(&origin, b"GET /stream/1 HTTP/1.0\r\n\r\n");
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nline 0\n"));
    let answer = ask(
        &origin,
        b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.0\r\n\r\n",
    );
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(answer.matches("Hello").count(), 2);
    assert_eq!(answer.matches("Connection: keep-alive").count(), 1);
}

#[test]
fn bad_behaviour_is_as_advertised() {
    let origin = Origin::start().unwrap();
    let text = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        String::from_utf8(ask(&origin, request.as_bytes())).unwrap()
    };
    assert!(text("/garbage").contains("not HTTP"));
    assert!(text("/truncated").ends_with("Content-Length: 100\r\n\r\nhalf a body"));
    assert!(text("/truncated?chunked").ends_with("20\r\nhalf a chunk"));
    assert!(text("/truncated?head").ends_with("Content-Len"));
    let hung_up = text("/hangup");
    assert!(hung_up.ends_with("see you\n") && !hung_up.contains("close"));
    let (interim, rest) = get(&origin, "/interim/103");
    assert_eq!(interim, "HTTP/1.1 103 Interim\r\nLink: </style.css>");
    assert!(rest.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let (head, _) = get(&origin, "/headers/50");
    assert_eq!(head.matches("X-Field-").count(), 50);
    assert_eq!(get(&origin, "/drip/2?ms=1").1, pattern::at(0, 2));
    assert_eq!(get(&origin, "/wait/1").1, b"at last\n");
}

#[test]
fn malformed_requests_are_refused() {
    let origin = Origin::start().unwrap();
    for request in [
        "GET /hello\r\n\r\n",
        "GET /hello HTTP/2.0\r\n\r\n",
        "GET /hello HTTP/1.1\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost : a\r\n\r\n",
        "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let (head, _) = split(&ask(&origin, request.as_bytes()));
        assert!(
            head.starts_with("HTTP/1.1 400 Bad Request"),
            "{request:?}: {head}"
        );
    }
    let mut endless = b"GET /".to_vec();
    endless.resize(100_000, b'a');
    assert!(ask(&origin, &endless).starts_with(b"HTTP/1.1 400"));
}

#[test]
fn stopping_ends_silent_connections_and_frees_the_port() {
    let origin = Origin::start().unwrap();
    let addr = origin.addr();
    let mut silent = TcpStream::connect(addr).unwrap();
    silent
        .write_all(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\nGET /hello")
        .unwrap();
    let idle = TcpStream::connect(addr).unwrap();
    let mut pausing = TcpStream::connect(addr).unwrap();
    pausing
        .write_all(b"GET /wait/3600000 HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    drop(origin); // joins every thread, or this test hangs
    for mut stream in [silent, idle, pausing] {
        // Closed, or reset if it was never accepted.
        let mut nothing = Vec::new();
        let _ = stream.read_to_end(&mut nothing);
        assert!(nothing.is_empty());
    }
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn hanging_up_closes_what_is_open_and_accepts_anew() {
    let origin = Origin::start().unwrap();
    let mut stream = TcpStream::connect(origin.addr()).unwrap();
    stream
        .write_all(b"GET /status/204 HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut answer = [0; 27];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 204 No Content\r\n\r\n");
    origin.hang_up();
    assert_eq!(stream.read(&mut answer).unwrap(), 0);
    assert!(origin.wait_for_open(0, PATIENCE));
    assert_eq!(get(&origin, "/hello").1, b"Hello, world!\n");
    assert_eq!(origin.stats().accepted, 2);
}

#[test]
fn a_unix_socket_serves_the_same_and_is_removed() {
    let path = std::env::temp_dir().join(format!("httpcore-origin-{}.sock", std::process::id()));
    let mut origin = Origin::start().unwrap();
    origin.listen_unix(&path).unwrap();
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("Hello, world!\n"));
    assert_eq!(get(&origin, "/hello").1, b"Hello, world!\n");
    assert_eq!(origin.stats().accepted, 2);
    drop(origin);
    assert!(!path.exists());
}
