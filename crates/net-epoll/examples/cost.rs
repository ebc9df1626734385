//! Repeats one operation, to be counted from outside: instructions with `valgrind --tool=callgrind`, system
//! calls with `strace -c`, each as the difference between two numbers of repetitions.
//!
//! ```sh
//! cargo build --release -p httpcore-net-epoll --example cost
//! strace -c target/release/examples/cost round 1000
//! ```
//!
//! Servers run in another process, so that they are not counted.

use std::{
    future::poll_fn,
    io::{self, BufRead, BufReader, IoSlice, Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::Arc,
    task::Poll,
    thread,
    time::Duration,
};

use bytes::BytesMut;
use httpcore_core_primitives::{
    BoxStream, LazyTimer, NetworkBackend, Runtime, TcpOptions, with_deadline,
};
use httpcore_net_epoll::{Blocking, EventLoop, Handle};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (what, times) = match &arguments[..] {
        [what] if what == "serve" => return serve(),
        [what, times] => (what.as_str(), times.parse().map_err(io::Error::other)?),
        _ => {
            eprintln!("usage: cost OPERATION TIMES");
            eprintln!("OPERATION: spawn wake timer round round-64 round-deadline connect");
            eprintln!("           blocking blocking-deadline blocking-connect");
            std::process::exit(2);
        }
    };
    match what {
        "spawn" => spawn(times),
        "wake" => wake(times),
        "timer" => timer(times),
        "round" => {
            let epoll = EventLoop::new()?;
            with_server(|address| {
                epoll.block_on(async {
                    let mut stream = connect(&epoll.handle(), address).await?;
                    for _ in 0..times {
                        round(&mut stream).await?;
                    }
                    Ok(())
                })
            })
        }
        "round-64" => {
            let epoll = EventLoop::new()?;
            with_server(|address| epoll.block_on(rounds_by_64(&epoll, address, times)))
        }
        "round-deadline" => {
            let epoll = EventLoop::new()?;
            with_server(|address| rounds(&epoll.handle(), address, times, true))
        }
        "connect" => {
            let epoll = EventLoop::new()?;
            with_server(|address| {
                for _ in 0..times {
                    epoll.block_on(connect(&epoll.handle(), address))?;
                }
                Ok(())
            })
        }
        "blocking" => {
            let blocking = Blocking::new()?;
            with_server(|address| rounds(&blocking.handle(), address, times, false))
        }
        "blocking-deadline" => {
            let blocking = Blocking::new()?;
            with_server(|address| rounds(&blocking.handle(), address, times, true))
        }
        "blocking-connect" => {
            let blocking = Blocking::new()?;
            with_server(|address| {
                for _ in 0..times {
                    blocking.block_on(connect(&blocking.handle(), address))?;
                }
                Ok(())
            })
        }
        _ => Err(io::Error::other("unknown operation")),
    }
}

fn spawn(times: usize) -> io::Result<()> {
    let epoll = EventLoop::new()?;
    epoll.block_on(async {
        for _ in 0..times {
            epoll.spawn(async {}).await;
        }
    });
    Ok(())
}

fn wake(times: usize) -> io::Result<()> {
    let epoll = EventLoop::new()?;
    let mut left = times;
    let task = epoll.spawn(poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
    epoll.block_on(task);
    Ok(())
}

fn timer(times: usize) -> io::Result<()> {
    let epoll = EventLoop::new()?;
    let runtime: Arc<dyn Runtime> = Arc::new(epoll.handle());
    let hour = runtime.now() + Duration::from_secs(3600);
    epoll.block_on(poll_fn(|cx| {
        for _ in 0..times {
            let mut timer = LazyTimer::new(runtime.clone(), "counted");
            assert!(timer.poll_until(cx, Some(hour)).is_pending());
        }
        Poll::Ready(())
    }));
    Ok(())
}

/// One `block_on` for each round, as in a blocking program.
fn rounds(handle: &Handle, address: SocketAddr, times: usize, deadline: bool) -> io::Result<()> {
    let runtime: Arc<dyn Runtime> = Arc::new(handle.clone());
    let mut stream = handle.block_on(connect(handle, address))?;
    for _ in 0..times {
        let limit = deadline.then(|| runtime.now() + Duration::from_secs(30));
        handle
            .block_on(with_deadline(&runtime, "round", limit, round(&mut stream)))
            .ok_or(io::ErrorKind::TimedOut)??;
    }
    Ok(())
}

async fn rounds_by_64(epoll: &EventLoop, address: SocketAddr, times: usize) -> io::Result<()> {
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let handle = epoll.handle();
            epoll.spawn(async move {
                let mut stream = connect(&handle, address).await?;
                for _ in 0..times / 64 {
                    round(&mut stream).await?;
                }
                io::Result::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    Ok(())
}

async fn connect(handle: &Handle, address: SocketAddr) -> io::Result<BoxStream> {
    handle.connect_tcp(address, &TcpOptions::default()).await
}

/// Writes a request and reads the response, which is as long.
async fn round(stream: &mut BoxStream) -> io::Result<()> {
    let written = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(REQUEST)])).await?;
    assert_eq!(written, REQUEST.len());
    let mut response = BytesMut::with_capacity(1024);
    while response.len() < REQUEST.len() {
        if poll_fn(|cx| stream.poll_read(cx, &mut response)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Runs `client` with the address of a server process.
fn with_server(client: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    let mut server = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let outcome = address_of(&mut server).and_then(client);
    // The server ends when its standard input does.
    drop(server.stdin.take());
    server.wait()?;
    outcome
}

fn address_of(server: &mut Child) -> io::Result<SocketAddr> {
    let stdout = server.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    line.trim().parse().map_err(io::Error::other)
}

/// An echo server, a thread for each connection, until standard input ends.
fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || echo(socket));
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn echo(mut socket: std::net::TcpStream) -> io::Result<()> {
    let mut request = [0; REQUEST.len()];
    loop {
        socket.read_exact(&mut request)?;
        socket.write_all(&request)?;
    }
}
