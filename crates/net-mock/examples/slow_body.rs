//! A slow body: one that drips, and one that a narrow link holds up.

mod client;

use std::{io::ErrorKind, sync::Arc, time::Duration};

use client::Client;
use httpcore_net_mock::{Chunks, Link, MockNet};

fn main() {
    let net = MockNet::new();
    net.serve("drip.test", 80, async |mut stream| {
        if stream.read_head().await.is_err() {
            return;
        }
        let _ = stream
            .write_all("HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n")
            .await;
        for _ in 0..30 {
            stream.sleep(Duration::from_secs(1)).await;
            if stream.write_all("x").await.is_err() {
                return; // the client has had enough
            }
        }
    });
    net.serve("narrow.test", 80, async |mut stream| {
        if stream.read_head().await.is_ok() {
            let body = "x".repeat(14_600);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head + &body).await;
        }
    })
    .link(Link::new().to_client(|path| path.bandwidth(2_000).chunks(Chunks::Each(100))));

    let mut client = Client::new(Arc::new(net.clone()));
    let error = net
        .run(client.get("drip.test", "/"))
        .expect_err("it drips for 30 s");
    assert_eq!(
        (error.kind(), net.elapsed()),
        (ErrorKind::TimedOut, client.timeout)
    );
    println!("drip.test: {error}, although something came every second");

    client.timeout = Duration::from_secs(60);
    let begun = net.elapsed();
    let body = net
        .run(client.get("narrow.test", "/"))
        .expect("slow, and complete");
    println!(
        "narrow.test: {} bytes in {:?}",
        body.len(),
        net.elapsed() - begun
    );
}

#[test]
fn the_example_runs() {
    main();
}
