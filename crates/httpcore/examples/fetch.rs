//! Fetches the URLs on the command line concurrently, over one pool, on one thread.

use httpcore::{ConnectionPool, EventLoop};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let event_loop = EventLoop::new()?;
    let pool = ConnectionPool::new(event_loop.backend());
    let tasks: Vec<_> = std::env::args()
        .skip(1)
        .map(|url| {
            let pool = pool.clone();
            let shown = url.clone();
            let task = event_loop.spawn(async move {
                let response = pool.get(url).await?;
                let status = response.status();
                let body = response.into_body().bytes(16 << 20).await?;
                Ok::<_, httpcore::Error>((status, body.len()))
            });
            (shown, task)
        })
        .collect();
    if tasks.is_empty() {
        eprintln!("usage: fetch URL...");
    }
    event_loop.block_on(async {
        for (url, task) in tasks {
            match task.await {
                Ok((status, size)) => println!("{url}: {status}, {size} bytes"),
                Err(error) => println!("{url}: {error}"),
            }
        }
        println!("{}", pool.status());
    });
    Ok(())
}
