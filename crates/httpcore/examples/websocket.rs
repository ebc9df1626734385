//! A WebSocket in a few lines: says something, prints what comes, and closes.

use httpcore::{
    ConnectionPool, EventLoop,
    ws::{Config, Handshake, Message, WebSocket},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A server to talk to, unless there is one on the command line.
    let origin = httpcore_origin::Origin::start()?;
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| origin.url("/echo").replacen("http", "ws", 1));

    let epoll = EventLoop::new()?;
    let pool = ConnectionPool::new(epoll.backend());
    epoll.block_on(async {
        let opened = pool.websocket(Handshake::new(url)).await?;
        let mut socket = WebSocket::new(opened.stream, Config::default());
        socket.send("hello").await?;
        if let Some(message) = socket.message().await {
            match message? {
                Message::Text(text) => println!("it says: {text}"),
                other => println!("it says something else: {other:?}"),
            }
        }
        socket.close(None).await?;
        Ok(())
    })
}
