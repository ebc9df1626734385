//! Server-Sent Events: prints ten of them, and reconnects when the stream ends.

use httpcore::{ConnectionPool, EventLoop, sse::Subscription};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A server that closes the stream after every third event, unless there is a URL on the command line.
    let origin = httpcore_origin::Origin::start()?;
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| origin.url("/events/10?break=3"));

    let event_loop = EventLoop::new()?;
    let pool = ConnectionPool::new(event_loop.backend());
    event_loop.block_on(async {
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
