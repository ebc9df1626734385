//! Responses that are not read, beside those that are; and DATA in many small frames.

use std::{future::Future, sync::Arc, task::Poll, time::Duration};

use httpcore::{Body, ConnectionPool, ConnectionPoolBuilder, Response, Timeouts};
use httpcore_net_mock::{Link, MockNet};
use httpcore_tests::{
    h2_peer::{
        frames::{Frame, code, data, ok},
        script::{Records, answer, serve},
    },
    suite::{Client, tell, tell_error},
};

fn client_with(
    net: &MockNet,
    change: impl FnOnce(ConnectionPoolBuilder) -> ConnectionPoolBuilder,
) -> Client {
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

/// A server which sends bodies as windows allow, and its client.
fn polite(
    net: &MockNet,
    change: impl FnOnce(ConnectionPoolBuilder) -> ConnectionPoolBuilder,
) -> (Client, Records) {
    let (_, records) = serve(net, &[], async |mut peer, number| {
        peer.serve(|request| match request.field(":path") {
            Some(path) if path.starts_with("/bytes") => vec![ok(request.frame.stream)],
            _ => answer(request, number),
        })
        .await
    });
    (client_with(net, change), records)
}

#[test]
fn responses_that_are_read_one_after_the_other_do_not_hold_each_other_back() {
    let net = MockNet::new();
    let (client, records) = polite(&net, |builder| builder);
    net.run(async {
        let mut unread = Vec::new();
        for _ in 0..4 {
            unread.push(head(&client, "/bytes/3000000").await);
        }
        net.run_until_idle();
        let told = client.get("/bytes/3").await;
        assert_eq!(told, "200 \"xxx\"", "beside four that are not read");
        for response in unread {
            assert_eq!(tell(response).await, "200 3000000 bytes");
        }
    });
    assert_eq!(records.lock().unwrap().len(), 1);
}

#[test]
fn a_hundred_unread_responses_may_be_read_in_any_order() {
    for order in 0..3 {
        for at_once in [false, true] {
            let net = MockNet::new();
            let (client, records) = polite(&net, |builder| builder);
            net.run(async {
                let mut unread = Vec::new();
                if at_once {
                    let heads = (0..100).map(|_| head(&client, "/bytes/3000000"));
                    unread = all(heads.collect()).await;
                } else {
                    for _ in 0..100 {
                        unread.push(head(&client, "/bytes/3000000").await);
                        // Until its window is full.
                        net.run_until_idle();
                    }
                }
                net.run_until_idle();
                let mut sent = 0;
                for record in &*records.lock().unwrap() {
                    sent += record.data_sent();
                    assert!(record.data_sent() <= 64 << 20);
                }
                assert!(sent > 10_000_000, "{sent}: they are filled");
                if order == 1 {
                    unread.reverse();
                }
                while let Some(one) = unread.pop() {
                    assert_eq!(tell(one).await, "200 3000000 bytes");
                    if order == 2 && !unread.is_empty() {
                        let middle = unread.len() / 2;
                        let one = unread.swap_remove(middle);
                        assert_eq!(tell(one).await, "200 3000000 bytes");
                    }
                }
            });
            for record in &*records.lock().unwrap() {
                assert_eq!(record.complaints(), "", "order {order}, at once: {at_once}");
            }
        }
    }
}

#[test]
fn many_requests_at_once_wait_for_an_acknowledgement_and_not_longer() {
    let net = MockNet::new();
    let (served, _) = serve(&net, &[], async |mut peer, number| {
        peer.serve(|request| answer(request, number)).await
    });
    let served = served.link(Link::new().latency(Duration::from_millis(50)));
    let client = client_with(&net, |builder| builder);
    let told = net.run(all((0..50).map(|_| client.get("/")).collect()));
    assert!(
        told.iter().all(|line| line == "200 x-seen=1 \"/\""),
        "{told:?}"
    );
    assert_eq!(served.attempts(), 1);
    assert!(
        net.elapsed() < Duration::from_millis(600),
        "{:?}",
        net.elapsed()
    );
}

/// Runs all at the same time.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures
        .into_iter()
        .map(|one| (Box::pin(one), None))
        .collect();
    std::future::poll_fn(|cx| {
        let mut is_over = true;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(ready) => *output = Some(ready),
                    Poll::Pending => is_over = false,
                }
            }
        }
        if is_over {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    futures
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}
