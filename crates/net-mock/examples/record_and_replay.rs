//! Recording a conversation, and serving it again. The "real" network is another world here; a
//! backend over sockets is recorded in the same way.

mod client;

use std::{sync::Arc, time::Duration};

use client::Client;
use httpcore_net_mock::{MockNet, Recorder, Script};

fn main() {
    let real = MockNet::new();
    let table = Script::new()
        .expect_request("GET /account", &[("host", "bank.test")])
        .wait(Duration::from_millis(120))
        .send("HTTP/1.1 200 OK\r\nset-cookie: session=1234\r\ncontent-length: 4\r\n\r\n3.50");
    real.serve_script("bank.test", 80, table);

    let recorder = Recorder::new(Arc::new(real.clone()));
    let client = Client::new(Arc::new(recorder.clone()));
    let body = real.run(client.get("bank.test", "/account"));
    assert_eq!(body.expect("the real network works"), "3.50");
    drop(client);
    let recording = recorder.text(); // or `recorder.save(path)`, to keep it beside the test
    println!("{recording}");
    assert!(!recording.contains("1234"), "cookies are not written down");

    let net = MockNet::new();
    let replay = net.replay(&recording).expect("a recording");
    let client = Client::new(Arc::new(net.clone()));
    let body = net.run(client.get("bank.test", "/account"));
    assert_eq!(body.expect("the recording says so"), "3.50");
    assert_eq!(net.elapsed(), Duration::from_millis(120));
    replay.assert_finished();
}

#[test]
fn the_example_runs() {
    main();
}
