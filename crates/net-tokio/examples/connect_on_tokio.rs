//! Connects to a listener on loopback over a tokio runtime, and prints both addresses.

use std::{net::TcpListener, sync::Arc};

use httpcore_core_primitives::{NetworkBackend, TcpOptions};
use httpcore_net_tokio::TokioBackend;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let backend: Arc<dyn NetworkBackend> = Arc::new(TokioBackend::current()?);
    let stream = backend
        .connect_tcp(listener.local_addr()?, &TcpOptions::default())
        .await?;
    let info = stream.info();
    println!("from {:?} to {:?}", info.local, info.peer);
    Ok(())
}
