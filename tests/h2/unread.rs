//! Responses that are not read, beside those that are; and DATA in many small frames.

use std::{sync::Arc, time::Duration};

use httpcore::{Body, Builder, ConnectionPool, Response, Timeouts};
use httpcore_net_mock::MockNet;
use httpcore_tests::{
    h2_peer::{
        frames::{Frame, code, data, ok},
        script::{answer, serve},
    },
    suite::{Client, tell, tell_error},
};

fn client_with(net: &MockNet, change: impl FnOnce(Builder) -> Builder) -> Client {
    let builder = ConnectionPool::builder().http1(false).http2(true);
    let builder = builder.timeouts(Timeouts::none().with_total(Duration::from_secs(60)));
    let pool = change(builder).build(Arc::new(net.clone()));
    Client::new(pool, Arc::new(net.clone()), "http://server.test")
}

/// The head of a response, whose body is not read.
async fn head(client: &Client, path: &str) -> Response {
    let request = client.request("GET", path, Body::empty());
    match client.pool.request(request).await {
        Ok(response) => response,
        Err(error) => panic!("{path}: {}", tell_error(&error)),
    }
}

#[test]
fn twenty_thousand_small_frames_may_wait_to_be_read() {
    let net = MockNet::new();
    let (served, records) = serve(&net, &[], async |mut peer, number| {
        let stream = peer.request().await?.frame.stream;
        peer.send(&[ok(stream)]).await?;
        for _ in 0..20 {
            peer.send(&vec![data(stream, "x"); 1000]).await?;
        }
        peer.send(&[data(stream, "").end()]).await?;
        peer.serve(|request| answer(request, number)).await
    });
    let client = client_with(&net, |builder| builder);
    let told = net.run(async {
        let late = head(&client, "/tokens").await;
        client.waits(Duration::from_millis(2500)).await;
        tell(late).await
    });
    assert_eq!(told, "200 20000 bytes");
    assert_eq!(net.run(client.get("/next")), "200 x-seen=1 \"/next\"");
    assert_eq!(served.attempts(), 1);
    assert_eq!(records.lock().unwrap()[0].complaints(), "");
}

#[test]
fn empty_data_does_not_wear_a_connection_out() {
    let net = MockNet::new();
    let (served, records) = serve(&net, &[], async |mut peer, _| {
        loop {
            let stream = peer.request().await?.frame.stream;
            let empty = data(stream, "");
            peer.send(&[ok(stream), empty.clone(), data(stream, "x"), empty.end()])
                .await?;
        }
    });
    let client = client_with(&net, |builder| builder);
    net.run(async {
        for _ in 0..300 {
            assert_eq!(client.get("/").await, "200 \"x\"");
        }
    });
    assert_eq!(served.attempts(), 1);
    assert_eq!(records.lock().unwrap()[0].complaints(), "");
}

#[test]
fn a_flood_of_empty_data_ends_the_connection_however_many_responses_came_before() {
    let net = MockNet::new();
    let (_, records) = serve(&net, &[], async |mut peer, number| {
        for _ in 0..200 {
            let stream = peer.request().await?.frame.stream;
            peer.send(&[ok(stream), data(stream, ""), data(stream, "x").end()])
                .await?;
        }
        let stream = peer.request().await?.frame.stream;
        peer.send(&[ok(stream)]).await?;
        let flood: Vec<Frame> = vec![data(stream, ""); 1000];
        while number == 1 && peer.record().bytes_sent() < 1 << 20 {
            peer.send(&flood).await?;
        }
        peer.serve(|request| answer(request, number)).await
    });
    let client = client_with(&net, |builder| builder);
    net.run(async {
        for _ in 0..200 {
            assert_eq!(client.get("/").await, "200 \"x\"");
        }
        let told = client.get("/flood").await;
        assert!(told.starts_with("200 then Protocol"), "{told}");
    });
    let record = records.lock().unwrap()[0].clone();
    assert!(record.bytes_sent() < 1 << 19, "{}", record.bytes_sent());
    let calm = format!("GOAWAY {}", code::name(code::ENHANCE_YOUR_CALM));
    assert!(
        ["", &calm].contains(&&record.complaints()[..]),
        "{}",
        record.complaints()
    );
}
