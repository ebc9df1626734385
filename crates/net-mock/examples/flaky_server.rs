//! Retries: a server that refuses, then breaks off, then answers.

mod client;

use std::{sync::Arc, time::Duration};

use client::Client;
use httpcore_net_mock::{Link, MockNet, Script};

fn main() {
    let net = MockNet::new();
    let answer = Script::new()
        .expect_request("GET /", &[])
        .send("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nat last");
    let served = net.serve_script("flaky.test", 80, answer);
    let far = Link::new().latency(Duration::from_millis(15));
    served.links([
        Link::refused(),
        far.clone().to_client(|path| path.reset_at(20)),
        far.clone().to_client(|path| path.end_at(40)),
        far,
    ]);

    let mut client = Client::new(Arc::new(net.clone()));
    client.retries = 2;
    let error = net.run(client.get("flaky.test", "/"));
    println!("with two retries: {}", error.expect_err("two are too few"));

    client.retries = 3;
    let body = net.run(client.get("flaky.test", "/"));
    assert_eq!(body.expect("the last link is a good one"), "at last");
    println!(
        "after {} attempts in all:\n{}",
        served.attempts(),
        net.transcript()
    );
}

#[test]
fn the_example_runs() {
    main();
}
