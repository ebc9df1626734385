//! Opens a TCP socket with options and prints the resulting values.

use std::{net::SocketAddr, time::Duration};

use httpcore_core_primitives::TcpOptions;
use httpcore_net_common::socket::open_tcp;

fn main() -> std::io::Result<()> {
    let mut options = TcpOptions::default();
    options.keepalive = Some(Duration::from_secs(30));
    options.receive_buffer = Some(128 * 1024);
    let socket = open_tcp(SocketAddr::from(([127, 0, 0, 1], 80)), &options)?;
    println!("keepalive after {:?}", socket.tcp_keepalive_time()?);
    println!("receive buffer {} bytes", socket.recv_buffer_size()?);
    Ok(())
}
