//! A client on the loop and an echo server in a thread, on loopback: sixteen connections at once.

use std::{
    future::poll_fn,
    io::{self, IoSlice, Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use bytes::BytesMut;
use httpcore_core_primitives::{NetworkBackend, Runtime, TcpOptions, with_deadline};
use httpcore_net_epoll::{EventLoop, Handle};

const CLIENTS: usize = 16;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || echo(&listener));

    let epoll = EventLoop::new()?;
    epoll.block_on(async {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| epoll.spawn(exchange(epoll.handle(), address, n)))
            .collect();
        for client in clients {
            println!("{}", client.await?);
        }
        io::Result::Ok(())
    })?;
    server.join().expect("the server does not panic")
}

async fn exchange(handle: Handle, address: SocketAddr, n: usize) -> io::Result<String> {
    let backend: std::sync::Arc<dyn Runtime> = std::sync::Arc::new(handle.clone());
    let deadline = Some(handle.now() + Duration::from_secs(5));
    let connect = handle.connect_tcp(address, &TcpOptions::default());
    let mut stream = with_deadline(&backend, "connect", deadline, connect)
        .await
        .ok_or(io::ErrorKind::TimedOut)??;

    let text = format!("hello from client {n}");
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(rest)])).await?;
        rest = &rest[written..];
    }
    poll_fn(|cx| stream.poll_shutdown(cx)).await?;

    let mut received = BytesMut::new();
    loop {
        received.reserve(1024);
        if poll_fn(|cx| stream.poll_read(cx, &mut received)).await? == 0 {
            return Ok(String::from_utf8_lossy(&received).into_owned());
        }
    }
}

/// Serves one connection after the other, each until its client has shut its write side down.
fn echo(listener: &TcpListener) -> io::Result<()> {
    for _ in 0..CLIENTS {
        let (mut socket, _) = listener.accept()?;
        let mut received = Vec::new();
        socket.read_to_end(&mut received)?;
        socket.write_all(&received)?;
    }
    Ok(())
}
