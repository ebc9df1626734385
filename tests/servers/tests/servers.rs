//! The servers themselves, asked over plain sockets: what the other tests rest on.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
};

use httpcore_servers::{Authority, Door, Front, Kind, Server, require};

fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(server: &Server, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    ask(TcpStream::connect(server.addr()).unwrap(), &request)
}

fn get_over_unix(server: &Server, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let socket = server.unix_socket().unwrap();
    ask(UnixStream::connect(socket).unwrap(), &request)
}

/// Drops the server, and looks whether anything is left of it.
fn end(server: Server) {
    let (addr, group) = (server.addr(), server.id());
    let members = || {
        let of_group = |stat: &str| {
            // The name, in brackets, may contain anything: what is wanted comes behind it.
            let fields = stat.rsplit(')').next().unwrap_or_default();
            fields.split_whitespace().nth(2) == Some(group.to_string().as_str())
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let stats =
            processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
        stats.filter(|stat| of_group(stat)).collect::<Vec<_>>()
    };
    assert!(!members().is_empty());
    drop(server);
    assert!(TcpStream::connect(addr).is_err());
    let alive: Vec<_> = members()
        .into_iter()
        .filter(|stat| !stat.contains(") Z") && !stat.contains(") X"))
        .collect();
    assert!(alive.is_empty(), "{alive:?}");
}

#[test]
fn nginx_serves_files_takes_uploads_and_ends() {
    let Some(nginx) = require(Kind::Nginx) else {
        return;
    };
    assert!(get(&nginx, "/hello.txt").ends_with("\r\n\r\nHello from nginx!\n"));
    assert!(get_over_unix(&nginx, "/hello.txt").ends_with("\r\n\r\nHello from nginx!\n"));
    assert!(get(&nginx, "/mib").contains("Content-Length: 1048576\r\n"));
    let chunked = get(&nginx, "/chunked/hello.txt");
    assert!(
        chunked.contains("chunked") && chunked.contains("tail\n"),
        "{chunked}"
    );
    assert!(get(&nginx, "/no-content").starts_with("HTTP/1.1 204"));
    assert!(get(&nginx, "/brief").ends_with("brief\n"));
    let last = "GET /last HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = ask(TcpStream::connect(nginx.addr()).unwrap(), last);
    assert!(
        last.contains("Connection: close") && last.ends_with("last\n"),
        "{last}"
    );
    let upload = "PUT /upload/new HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                  Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let created = ask(TcpStream::connect(nginx.addr()).unwrap(), upload);
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    assert_eq!(
        fs::read_to_string(nginx.uploads().join("new")).unwrap(),
        "hello"
    );
    let what = "POST /what HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let what = ask(TcpStream::connect(nginx.addr()).unwrap(), what);
    assert!(what.ends_with("POST 2\n"), "{what}");
    end(nginx);
}

#[test]
fn http_server_serves_files_and_ends() {
    let Some(server) = require(Kind::HttpServer) else {
        return;
    };
    let hello = get(&server, "/hello.txt");
    assert!(hello.starts_with("HTTP/1.0 200") && hello.ends_with("Hello from Python!\n"));
    end(server);
}

#[test]
fn httpbin_answers_and_ends_with_its_workers() {
    let Some(httpbin) = require(Kind::Httpbin) else {
        return;
    };
    let teapot = get(&httpbin, "/status/418");
    assert!(teapot.starts_with("HTTP/1.1 418"), "{teapot}");
    assert!(get_over_unix(&httpbin, "/get?a=b").contains("\"a\": \"b\""));
    end(httpbin);
}

#[test]
fn node_echoes_hints_and_ends() {
    let Some(node) = require(Kind::Node) else {
        return;
    };
    assert!(get(&node, "/hello").ends_with("Hello from Node!\n"));
    assert!(get_over_unix(&node, "/hello").ends_with("Hello from Node!\n"));
    assert!(get(&node, "/early-hints").starts_with("HTTP/1.1 103 Early Hints\r\n"));
    assert!(get(&node, "/trailers").ends_with("0\r\nX-Checksum: 1234\r\n\r\n"));
    assert!(get(&node, "/chunked/3").contains("7\r\nline 2\n\r\n0\r\n"));
    let echo =
        "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nping";
    let echo = ask(TcpStream::connect(node.addr()).unwrap(), echo);
    assert!(echo.contains("\r\nping\r\n"), "{echo}");
    end(node);
}

#[test]
fn servers_of_http2_end_with_all_their_processes() {
    let authority = Authority::new().unwrap();
    for front in Front::ALL {
        for door in [Door::Plain, Door::Tls(&authority)] {
            let Some(server) = front.require(door) else {
                continue;
            };
            TcpStream::connect(server.addr()).unwrap();
            end(server);
        }
    }
}
