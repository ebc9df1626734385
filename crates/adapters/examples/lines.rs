//! Reads lines with tokio's `AsyncBufReadExt` from a stream of httpcore, in virtual time.

use httpcore_adapters::Io;
use httpcore_core_primitives::{NetworkBackend, TcpOptions};
use httpcore_net_mock::MockNet;
use tokio::io::{AsyncBufReadExt, BufReader};

fn main() -> std::io::Result<()> {
    let net = MockNet::new();
    net.serve("server.test", 7, |mut stream| async move {
        let _ = stream.write_all("one\ntwo\n").await;
        stream.close();
    });
    net.run(async {
        let address = net.resolve("server.test", 7).await?[0];
        let stream = net.connect_tcp(address, &TcpOptions::default()).await?;
        let mut lines = BufReader::new(Io::new(stream)).lines();
        while let Some(line) = lines.next_line().await? {
            println!("{line}");
        }
        Ok(())
    })
}
