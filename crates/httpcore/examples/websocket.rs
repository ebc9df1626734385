//! A WebSocket: sends a message, prints the answer, and closes.

use httpcore::{
    ConnectionPool, EventLoop,
    ws::{Handshake, Message},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A server of its own, unless there is a URL on the command line.
    let origin = httpcore_origin::Origin::start()?;
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| origin.url("/echo").replacen("http", "ws", 1));

    let event_loop = EventLoop::new()?;
    let pool = ConnectionPool::new(event_loop.backend());
    event_loop.block_on(async {
        let opened = pool.websocket(Handshake::new(url)).await?;
        let mut socket = opened.into_messages();
        socket.send("hello").await?;
        if let Some(message) = socket.message().await {
            match message? {
                Message::Text(text) => println!("received: {text}"),
                other => println!("received something else: {other:?}"),
            }
        }
        socket.close(None).await?;
        Ok(())
    })
}
