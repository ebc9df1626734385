//! Timeouts: a server that says nothing, a name that is slow, an address that never answers.

mod client;

use std::{io::ErrorKind, sync::Arc, time::Duration};

use client::Client;
use httpcore_net_mock::{DnsEntry, Link, LiveCounts, MockNet};

fn main() {
    let net = MockNet::new();
    net.serve("silent.test", 80, async |stream| stream.stall().await);
    net.name(
        "slow.test",
        DnsEntry::addresses(["10.1.0.1"]).after(Duration::from_secs(60)),
    );
    net.name("lost.test", DnsEntry::addresses(["10.1.0.2"]));
    net.set_link(
        "10.1.0.2:80".parse().expect("an address"),
        Link::blackhole(),
    );

    let client = Client::new(Arc::new(net.clone()));
    net.run(async {
        for (n, host) in ["silent.test", "slow.test", "lost.test"]
            .into_iter()
            .enumerate()
        {
            let error = client
                .get(host, "/")
                .await
                .expect_err("the server does not answer");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(net.elapsed(), client.timeout * (n as u32 + 1));
            println!("{host}: {error}, {:?} after the beginning", net.elapsed());
        }
    });
    assert_eq!(
        net.live_counts(),
        LiveCounts::default(),
        "a timeout leaves nothing behind"
    );
}

#[test]
fn the_example_runs() {
    main();
}
