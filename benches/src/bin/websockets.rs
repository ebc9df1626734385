//! Holds many WebSockets on one thread, each of which has been spoken over: `websockets COUNT`, or
//! `websockets COUNT raw` for the streams without messages.
//!
//! What an idle one takes of the heap is the difference of two runs under a counter:
//!
//! ```sh
//! for n in 100 1000; do
//!     valgrind --tool=dhat --dhat-out-file=/dev/null target/release/websockets $n
//! done
//! ```
//!
//! The server (`websockets serve`) is a process of its own, so that neither its memory nor its files
//! are counted here.

#![forbid(unsafe_code)]

use std::{
    env,
    error::Error,
    fmt::Debug,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use httpcore::{
    ConnectionPool, EventLoop, Upgraded,
    config::PoolConfig,
    ws::{Config, Handshake, Message, WebSocket},
};
use httpcore_origin::Origin;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many messages each of them echoes.
const MESSAGES: usize = 10;

type Failure = Box<dyn Error + Send + Sync>;

/// What is held: a stream, or messages over one.
type Held = Box<dyn Debug + Send>;

fn main() -> Result<(), Failure> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit)?;
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some("serve") => serve(),
        Some(count) => hold(count.parse()?, arguments.next().as_deref() == Some("raw")),
        None => Err("usage: websockets COUNT [raw]".into()),
    }
}

/// Serves until there is no more input.
fn serve() -> Result<(), Failure> {
    let origin = Origin::start()?;
    println!("{}", origin.url("/echo"));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn hold(count: usize, raw: bool) -> Result<(), Failure> {
    let mut server = Command::new(env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(server.stdout.take().ok_or("no output")?).lines();
    let url = lines.next().ok_or("no address")??;
    let epoll = EventLoop::new()?;
    let mut config = PoolConfig::default();
    config.max_connections = None;
    let pool = ConnectionPool::builder()
        .configure_pool(|pool| *pool = config)
        .build(epoll.backend());
    let held = epoll.block_on(async {
        // One after the other, so that the most there ever is is what is there in the end.
        let mut opened = Vec::with_capacity(count);
        for _ in 0..count {
            let handshake = Handshake::new(&*url);
            opened.push(pool.websocket(handshake).await?.stream);
        }
        let tasks: Vec<_> = opened
            .into_iter()
            .enumerate()
            .map(|(n, stream)| epoll.spawn(echo(stream, n, raw)))
            .collect();
        let mut held = Vec::with_capacity(count);
        for task in tasks {
            held.push(task.await?);
        }
        Ok::<_, Failure>(held)
    })?;
    assert_eq!(pool.status().active_requests, count);
    let what = if raw { "streams" } else { "WebSockets" };
    println!("{} {what} are idle", held.len());
    drop(held);
    drop(server.stdin.take());
    server.wait()?;
    Ok(())
}

async fn echo(stream: Upgraded, n: usize, raw: bool) -> Result<Held, Failure> {
    if raw {
        return Ok(Box::new(stream));
    }
    let mut socket = WebSocket::new(stream, Config::default());
    for message in 0..MESSAGES {
        let message = Message::text(format!("socket {n}, message {message}"));
        socket.send(message.clone()).await?;
        let answer = socket.message().await.ok_or("an early end")??;
        if answer != message {
            return Err("not what was said".into());
        }
    }
    Ok(Box::new(socket))
}
