//! The floor: prepared bytes over a blocking socket, a read, a comparison.

#![forbid(unsafe_code)]

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use httpcore_benches::task;

const REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nHost: origin\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let task = task()?;
    if task.in_flight != 1 {
        return Err("a blocking socket has one request in flight".into());
    }
    let mut stream = TcpStream::connect(task.addr)?;
    stream.set_nodelay(true)?;
    let mut answer = [0; RESPONSE.len()];
    for _ in 0..task.requests {
        stream.write_all(REQUEST)?;
        stream.read_exact(&mut answer)?;
        if answer != RESPONSE {
            return Err("an unexpected answer".into());
        }
    }
    Ok(())
}
