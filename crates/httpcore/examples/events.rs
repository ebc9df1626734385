//! Server-Sent Events in a few lines: prints ten of them, over as many connections as it takes.

use httpcore::{ConnectionPool, EventLoop, sse::Subscription};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A server that breaks off after every third, unless there is one on the command line.
    let origin = httpcore_origin::Origin::start()?;
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| origin.url("/events/10?break=3"));

    let epoll = EventLoop::new()?;
    let pool = ConnectionPool::new(epoll.backend());
    epoll.block_on(async {
        let mut events = pool.events(Subscription::new(url));
        for _ in 0..10 {
            let Some(event) = events.event().await else {
                break;
            };
            let event = event?;
            println!("{} {}: {}", event.name, event.id, event.data);
        }
        Ok(())
    })
}
