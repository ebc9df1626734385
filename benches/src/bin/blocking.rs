//! The blocking facade: the calling thread sends and waits in its socket.

#![forbid(unsafe_code)]

use std::error::Error;

use httpcore::{ConnectionPool, blocking};
use httpcore_benches::{Task, task};

const BODY: &[u8] = b"Hello, world!\n";

fn main() -> Result<(), Box<dyn Error>> {
    let Task {
        addr,
        requests,
        in_flight,
    } = task()?;
    if in_flight != 1 {
        return Err("one thread has one request in flight".into());
    }
    let pool =
        blocking::ConnectionPool::from_builder(ConnectionPool::builder().max_connections(1))?;
    let url: http::Uri = format!("http://{addr}/hello").parse()?;
    for _ in 0..requests {
        let body = pool.get(url.clone())?.into_body().bytes(1 << 10)?;
        assert_eq!(body, BODY);
    }
    Ok(())
}
