//! Seeds: the same test, with other orders of tasks, short reads and writes, and vain wake-ups.
//!
//! `HTTPCORE_SEED=17` runs one seed alone; `HTTPCORE_SEEDS=10000` runs 10000 seeds.

mod client;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use client::Client;
use httpcore_net_mock::{Link, LiveCounts, MockNet, seeds};

fn main() {
    let worlds = AtomicUsize::new(0);
    seeds(0..200, |net| {
        eight_requests(&net);
        worlds.fetch_add(1, Ordering::Relaxed);
    });
    println!("eight requests at once, in {worlds:?} worlds");
}

fn eight_requests(net: &MockNet) {
    net.serve("origin.test", 80, async |mut stream| {
        let Ok(head) = stream.read_head().await else {
            return;
        };
        let path = head.split(' ').nth(1).unwrap_or_default();
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}",
            path.len()
        );
        let _ = stream.write_all(response).await;
    })
    .link(Link::new().latency(Duration::from_millis(3)).buffer(50));
    let client = Client::new(Arc::new(net.clone()));
    let answered = Arc::new(AtomicUsize::new(0));
    for n in 0..8 {
        let (client, answered) = (client.clone(), answered.clone());
        net.spawn("request", async move {
            let path = format!("/{n}");
            let body = client.get("origin.test", &path).await;
            assert_eq!(body.expect("a good link"), path);
            answered.fetch_add(1, Ordering::Relaxed);
        });
    }
    net.run(net.sleep(Duration::from_secs(1)));
    assert_eq!(answered.load(Ordering::Relaxed), 8);
    assert_eq!(net.live_counts(), LiveCounts::default());
}

#[test]
fn the_example_runs() {
    main();
}
