//! Cancellation: a request is dropped at every point, and must leave nothing behind.

mod client;

use std::{sync::Arc, time::Duration};

use client::Client;
use httpcore_net_mock::{Link, MockNet, Scenario, sweep_instants, sweep_polls, sweep_steps};

/// One request, to be dropped, and one that must still succeed afterwards.
fn request(net: &MockNet) -> Scenario {
    net.serve("origin.test", 80, async |mut stream| {
        while stream.read_head().await.is_ok() {
            stream.sleep(Duration::from_millis(5)).await;
            let response = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if stream.write_all(response).await.is_err() {
                return;
            }
        }
    })
    .link(Link::new().latency(Duration::from_millis(10)));
    let client = Client::new(Arc::new(net.clone()));
    let following = client.clone();
    Scenario::new(async move {
        assert_eq!(
            client.get("origin.test", "/").await.expect("a good link"),
            "ok"
        );
    })
    .then(async move {
        assert_eq!(
            following
                .get("origin.test", "/")
                .await
                .expect("a good link"),
            "ok"
        );
    })
    // A client with a pool would say here how many leases and waiters it counts, with `counting`,
    // and what may stay behind for a while, such as an idle connection, with `allow_tasks` and the like.
}

fn main() {
    println!("around its polls: {} points", sweep_polls(request).points);
    println!(
        "after each poll of anything: {} points",
        sweep_steps(request).points
    );
    println!("at each instant: {} points", sweep_instants(request).points);
}

#[test]
fn the_example_runs() {
    main();
}
