//! Starts the origin, asks it for its greeting, and stops it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

fn main() -> io::Result<()> {
    let origin = httpcore_origin::Origin::start()?;
    println!("serving {}", origin.url("/hello"));
    let mut stream = TcpStream::connect(origin.addr())?;
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    println!("{:?}", origin.stats());
    Ok(())
}
