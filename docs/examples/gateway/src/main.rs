//! Listens on an address and passes requests to an upstream server, until Ctrl-C.
//!
//! ```sh
//! cargo run -p gateway -- 127.0.0.1:8080 http://example.com
//! ```

use std::time::Duration;

use httpcore::{ConnectionPool, Timeouts};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(upstream)) = (arguments.next(), arguments.next()) else {
        return Err("usage: gateway ADDRESS UPSTREAM".into());
    };
    let pool = ConnectionPool::builder()
        .max_connections(200)
        .max_pending_requests(500)
        .timeouts(
            Timeouts::default()
                .with_acquire(Duration::from_secs(2))
                .with_connect(Duration::from_secs(5))
                .with_read(Duration::from_secs(30)),
        )
        .build_tokio()?;
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://{}", listener.local_addr()?);
    let stop = tokio::signal::ctrl_c();
    let aborted = gateway::serve(listener, pool, &upstream, stop, Duration::from_secs(10)).await?;
    println!("{aborted} requests were aborted");
    Ok(())
}
