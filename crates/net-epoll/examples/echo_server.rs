//! A TCP echo server on the loop: one task for each connection, and a line on each that ends.
//!
//! ```sh
//! cargo run -p httpcore-net-epoll --example echo_server -- 127.0.0.1:7000
//! ```
//!
//! Without an address it serves one connection of its own on an ephemeral port, and ends.

use std::{
    env,
    future::poll_fn,
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
};

use bytes::BytesMut;
use httpcore_core_primitives::BoxStream;
use httpcore_net_epoll::{EventLoop, TcpListener};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let epoll = EventLoop::new()?;
    let handle = epoll.handle();
    if let Some(address) = env::args().nth(1) {
        let listener = TcpListener::bind(&handle, address.parse()?)?;
        println!("listening at {}", listener.local_addr()?);
        return epoll.block_on(async {
            loop {
                let (stream, peer) = listener.accept().await?;
                handle.spawn(serve(stream, peer)).detach();
            }
        });
    }
    let listener = TcpListener::bind(&handle, SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    let client = thread::spawn(move || {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(b"hello")?;
        socket.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok::<_, io::Error>(answer)
    });
    epoll.block_on(async {
        let (stream, peer) = listener.accept().await?;
        serve(stream, peer).await;
        Ok::<_, io::Error>(())
    })?;
    let answer = client.join().map_err(|_| "the client panicked")??;
    println!("the client received {answer:?}");
    Ok(())
}

async fn serve(mut stream: BoxStream, peer: SocketAddr) {
    match echo(&mut stream).await {
        Ok(bytes) => println!("{peer}: {bytes} bytes"),
        Err(error) => println!("{peer}: {error}"),
    }
}

/// Sends back what it receives, until the end. Returns the number of bytes.
async fn echo(stream: &mut BoxStream) -> io::Result<usize> {
    let mut total = 0;
    let mut buf = BytesMut::new();
    loop {
        buf.clear();
        buf.reserve(16 * 1024);
        if poll_fn(|cx| stream.poll_read(cx, &mut buf)).await? == 0 {
            return Ok(total);
        }
        let mut rest = &buf[..];
        while !rest.is_empty() {
            let written = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(rest)])).await?;
            rest = &rest[written..];
        }
        total += buf.len();
    }
}
