//! Holds many idle connections, and says so: `idle COUNT`.
//!
//! What they take of the heap is the difference of two runs under a counter:
//!
//! ```sh
//! for n in 1000 10000; do
//!     valgrind --tool=dhat --dhat-out-file=/dev/null target/release/idle $n
//! done
//! ```
//!
//! The servers (`idle serve`) are a process of their own, so that neither their memory nor their
//! files are counted here.

#![forbid(unsafe_code)]

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

use httpcore::{Body, ConnectionPool, ConnectionUse, Epoll, PoolConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// On how many loopback addresses there is a server: one alone has too few ports to offer.
const SERVERS: u8 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit)?;
    match env::args().nth(1).as_deref() {
        Some("serve") => serve(),
        Some(count) => hold(count.parse()?),
        None => Err("usage: idle COUNT".into()),
    }
}

/// Serves until there is no more input.
fn serve() -> Result<(), Box<dyn Error>> {
    for n in 1..=SERVERS {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, n), 0))?;
        println!("{}", listener.local_addr()?);
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().flatten() {
                kept.push(answer(stream));
            }
        });
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Answers one request, and keeps the connection.
fn answer(mut stream: TcpStream) -> std::io::Result<TcpStream> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
    Ok(stream)
}

fn hold(count: usize) -> Result<(), Box<dyn Error>> {
    let mut server = Command::new(env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(server.stdout.take().ok_or("no output")?).lines();
    let mut urls = Vec::new();
    for _ in 0..SERVERS {
        urls.push(format!("http://{}/", lines.next().ok_or("no address")??));
    }
    let epoll = Epoll::new()?;
    let mut config = PoolConfig::default();
    config.max_connections = None;
    config.idle_timeout = None;
    let pool = ConnectionPool::builder()
        .pool_config(config)
        .build(epoll.backend());
    epoll.block_on(async {
        for n in 0..count {
            let request = http::Request::get(&urls[n % urls.len()])
                .extension(ConnectionUse::default().with_fresh())
                .body(Body::empty())?;
            let body = pool.request(request).await?.into_body();
            assert_eq!(body.bytes(100).await?, "hello");
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    let idle = pool.status().idle_connections;
    println!("{idle} connections are idle");
    assert_eq!(idle, count);
    drop(server.stdin.take());
    server.wait()?;
    Ok(())
}
