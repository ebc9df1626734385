//! The facade over our own loop: a pool, and requests over connections it keeps.

#![forbid(unsafe_code)]

use std::error::Error;

use httpcore::{ConnectionPool, Epoll};
use httpcore_benches::{Task, task};

const BODY: &[u8] = b"Hello, world!\n";

fn main() -> Result<(), Box<dyn Error>> {
    let Task {
        addr,
        requests,
        in_flight,
    } = task()?;
    let epoll = Epoll::new()?;
    let pool = ConnectionPool::builder()
        .max_connections(usize::try_from(in_flight)?)
        .build(epoll.backend());
    let url: http::Uri = format!("http://{addr}/hello").parse()?;
    let tasks: Vec<_> = (0..in_flight)
        .map(|worker| {
            // Together exactly as many as were asked for.
            let share = requests / in_flight + u64::from(worker < requests % in_flight);
            epoll.spawn(work(pool.clone(), url.clone(), share))
        })
        .collect();
    epoll.block_on(async {
        for task in tasks {
            task.await?;
        }
        Ok(())
    })
}

async fn work(pool: ConnectionPool, url: http::Uri, requests: u64) -> Result<(), httpcore::Error> {
    for _ in 0..requests {
        let response = pool.get(url.clone()).await?;
        let body = response.into_body().bytes(1 << 10).await?;
        assert_eq!(body, BODY);
    }
    Ok(())
}
