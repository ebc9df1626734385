//! Prints what is reachable from a page.
//!
//! ```sh
//! cargo run -p crawler -- https://example.com/
//! ```

use crawler::{Limits, Page, crawl, pool};
use httpcore::EventLoop;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: crawler URL")?;
    let limits = Limits::default();
    let event_loop = EventLoop::new()?;
    let pool = pool(limits).build(event_loop.backend());
    let found = event_loop.block_on(crawl(&pool, &url.parse()?, limits));
    for (url, page) in &found {
        match page {
            Page::Fetched(size) => println!("{size:>8}  {url}"),
            Page::Refused(status) => println!("{status:>8}  {url}"),
            Page::Failed(error) => println!("  failed  {url}: {error:#}"),
        }
    }
    eprintln!("{} pages; {}", found.len(), pool.status());
    Ok(())
}
