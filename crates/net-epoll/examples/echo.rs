//! A client on the loop, and a server in a thread, on loopback: sixteen connections at once, each
//! of which says something and hears it again.

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
            .map(|n| epoll.spawn(converse(epoll.handle(), address, n)))
            .collect();
        for client in clients {
            println!("{}", client.await?);
        }
        io::Result::Ok(())
    })?;
    server.join().expect("the server does not panic")
}

async fn converse(handle: Handle, address: SocketAddr, n: usize) -> io::Result<String> {
    let backend: std::sync::Arc<dyn Runtime> = std::sync::Arc::new(handle.clone());
    let deadline = Some(handle.now() + Duration::from_secs(5));
    let connect = handle.connect_tcp(address, &TcpOptions::default());
    let mut stream = with_deadline(&backend, "connect", deadline, connect)
        .await
        .ok_or(io::ErrorKind::TimedOut)??;

    let said = format!("client {n} says hello");
    let mut rest = said.as_bytes();
    while !rest.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(rest)])).await?;
        rest = &rest[written..];
    }
    poll_fn(|cx| stream.poll_shutdown(cx)).await?;

    let mut heard = BytesMut::new();
    loop {
        heard.reserve(1024);
        if poll_fn(|cx| stream.poll_read(cx, &mut heard)).await? == 0 {
            return Ok(String::from_utf8_lossy(&heard).into_owned());
        }
    }
}

/// One connection after the other, each until its client has said everything.
fn echo(listener: &TcpListener) -> io::Result<()> {
    for _ in 0..CLIENTS {
        let (mut socket, _) = listener.accept()?;
        let mut said = Vec::new();
        socket.read_to_end(&mut said)?;
        socket.write_all(&said)?;
    }
    Ok(())
}
