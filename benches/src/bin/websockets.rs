//! Holds many WebSockets on one thread after an exchange on each: `websockets COUNT`, or
//! `websockets COUNT stream` for the streams without messages.
//!
//! The heap of an idle one is the difference of two runs:
//!
//! ```sh
//! for n in 100 1000; do
//!     valgrind --tool=dhat --dhat-out-file=/dev/null target/release/websockets $n
//! done
//! ```
//!
//! The server (`websockets serve`) is another process, so that its memory and files are not counted.

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

/// Number of messages that each of them echoes.
const MESSAGES: usize = 10;

type Failure = Box<dyn Error + Send + Sync>;

/// A held connection: a stream, or messages over one.
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
        Some(count) => hold(
            count.parse()?,
            arguments.next().as_deref() == Some("stream"),
        ),
        None => Err("usage: websockets COUNT [stream]".into()),
    }
}

/// Serves until the standard input ends.
fn serve() -> Result<(), Failure> {
    let origin = Origin::start()?;
    println!("{}", origin.url("/echo"));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn hold(count: usize, is_stream: bool) -> Result<(), Failure> {
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
        // One after the other, so that the peak is the final state.
        let mut opened = Vec::with_capacity(count);
        for _ in 0..count {
            let handshake = Handshake::new(&*url);
            opened.push(pool.websocket(handshake).await?.stream);
        }
        let tasks: Vec<_> = opened
            .into_iter()
            .enumerate()
            .map(|(n, stream)| epoll.spawn(echo(stream, n, is_stream)))
            .collect();
        let mut held = Vec::with_capacity(count);
        for task in tasks {
            held.push(task.await?);
        }
        Ok::<_, Failure>(held)
    })?;
    assert_eq!(pool.status().active_requests, count);
    let what = if is_stream { "streams" } else { "WebSockets" };
    println!("{} {what} are idle", held.len());
    drop(held);
    drop(server.stdin.take());
    server.wait()?;
    Ok(())
}

async fn echo(stream: Upgraded, n: usize, is_stream: bool) -> Result<Held, Failure> {
    if is_stream {
        return Ok(Box::new(stream));
    }
    let mut socket = WebSocket::new(stream, Config::default());
    for message in 0..MESSAGES {
        let message = Message::text(format!("socket {n}, message {message}"));
        socket.send(message.clone()).await?;
        let answer = socket
            .message()
            .await
            .ok_or("the WebSocket closed early")??;
        if answer != message {
            return Err("the echo differs from the message".into());
        }
    }
    Ok(Box::new(socket))
}
