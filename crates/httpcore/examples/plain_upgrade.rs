//! A plain upgrade: after `101 Switching Protocols` (RFC 9110 §7.8) the connection is a stream of bytes
//! in both directions, for a protocol of the program's own.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpListener,
    thread,
};

use httpcore::{
    ConnectionPool, EventLoop, Upgraded,
    backend::BytesMut,
    http::{Request, StatusCode, header},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let server = thread::spawn(move || serve_echo(&listener));

    let event_loop = EventLoop::new()?;
    let pool = ConnectionPool::new(event_loop.backend());
    event_loop.block_on(async {
        let request = Request::get(url)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "echo")
            .body(())?;
        let mut response = pool.request(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(format!("the server answered {}", response.status()).into());
        }
        let mut stream = Upgraded::take_from(&mut response).ok_or("no stream after 101")?;
        stream.write_all(b"hello").await?;
        stream.close_write().await?;
        let mut received = BytesMut::new();
        while stream.read(&mut received).await? > 0 {}
        assert_eq!(received, "hello");
        println!("received: {}", String::from_utf8_lossy(&received));
        Ok::<(), Box<dyn std::error::Error>>(())
    })?;
    server.join().map_err(|_| "the server panicked")??;
    Ok(())
}

/// Accepts one connection, switches protocols, and returns what it receives.
fn serve_echo(listener: &TcpListener) -> io::Result<u64> {
    let (mut socket, _) = listener.accept()?;
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    socket.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
    )?;
    io::copy(&mut reader, &mut socket)
}
