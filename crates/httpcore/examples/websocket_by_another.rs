//! A WebSocket of the crate `fastwebsockets` over a stream of this one, which makes the handshake. `Io`
//! implements tokio's I/O traits, without a tokio runtime.

use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, Role};
use httpcore::{
    ConnectionPool, EventLoop,
    ws::{Handshake, Io},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let origin = httpcore_origin::Origin::start()?;
    let url = origin.url("/echo").replacen("http", "ws", 1);
    let event_loop = EventLoop::new()?;
    let pool = ConnectionPool::new(event_loop.backend());
    event_loop.block_on(async {
        let opened = pool.websocket(Handshake::new(url)).await?;
        let socket =
            fastwebsockets::WebSocket::after_handshake(Io::new(opened.stream), Role::Client);
        let mut socket = FragmentCollector::new(socket);
        let hello = Frame::text(Payload::Borrowed(b"hello"));
        socket.write_frame(hello).await?;
        let frame = socket.read_frame().await?;
        assert_eq!(frame.opcode, OpCode::Text);
        println!("received: {}", String::from_utf8_lossy(&frame.payload));
        socket.write_frame(Frame::close(1000, b"enough")).await?;
        let frame = socket.read_frame().await?;
        assert_eq!(frame.opcode, OpCode::Close);
        Ok(())
    })
}
