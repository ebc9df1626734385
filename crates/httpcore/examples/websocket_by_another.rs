//! Another library's WebSocket over a stream of ours: the handshake is made here, and the frames are
//! fastwebsockets'. It wants tokio's traits, which `Io` has, and no runtime of tokio's.

use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, Role};
use httpcore::{
    ConnectionPool, EventLoop,
    ws::{Handshake, Io},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let origin = httpcore_origin::Origin::start()?;
    let url = origin.url("/echo").replacen("http", "ws", 1);
    let epoll = EventLoop::new()?;
    let pool = ConnectionPool::new(epoll.backend());
    epoll.block_on(async {
        let opened = pool.websocket(Handshake::new(url)).await?;
        let socket =
            fastwebsockets::WebSocket::after_handshake(Io::new(opened.stream), Role::Client);
        let mut socket = FragmentCollector::new(socket);
        let hello = Frame::text(Payload::Borrowed(b"hello"));
        socket.write_frame(hello).await?;
        let frame = socket.read_frame().await?;
        assert_eq!(frame.opcode, OpCode::Text);
        println!("it says: {}", String::from_utf8_lossy(&frame.payload));
        socket.write_frame(Frame::close(1000, b"enough")).await?;
        let frame = socket.read_frame().await?;
        assert_eq!(frame.opcode, OpCode::Close);
        Ok(())
    })
}
