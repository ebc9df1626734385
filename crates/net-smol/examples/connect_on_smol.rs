//! Connects to a listener on loopback over smol's reactor, and prints both addresses.

use std::{net::TcpListener, sync::Arc};

use async_executor::Executor;
use httpcore_core_primitives::{NetworkBackend, TcpOptions};
use httpcore_net_smol::SmolBackend;

fn main() -> std::io::Result<()> {
    let executor = Arc::new(Executor::new());
    let tasks = Arc::downgrade(&executor);
    let backend: Arc<dyn NetworkBackend> = Arc::new(SmolBackend::new(move |task| {
        if let Some(executor) = tasks.upgrade() {
            executor.spawn(task).detach();
        }
    }));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    async_io::block_on(executor.run(async {
        let stream = backend
            .connect_tcp(listener.local_addr()?, &TcpOptions::default())
            .await?;
        let info = stream.info();
        println!("from {:?} to {:?}", info.local, info.peer);
        Ok(())
    }))
}
