//! Connections whose server does not say anything any more, and what is still sent over them.

use std::{sync::Arc, time::Duration};

use httpcore::{
    ConnectionPool, ConnectionPoolBuilder, Timeouts,
    config::{Http2Config, PoolConfig},
};
use httpcore_net_mock::MockNet;
use httpcore_tests::{
    h2_peer::{
        frames::{flag, kind},
        record::Record,
        script::{answer, serve},
    },
    suite::Client,
};

const SECOND: Duration = Duration::from_secs(1);

fn client_with(
    net: &MockNet,
    change: impl FnOnce(ConnectionPoolBuilder) -> ConnectionPoolBuilder,
) -> Client {
    let mut config = PoolConfig::default();
    config.idle_timeout = Some(Duration::from_secs(3600));
    config.timeouts = Timeouts::none();
    let builder = ConnectionPool::builder().http1(false).http2(true);
    let pool = change(builder.configure_pool(|pool| *pool = config)).build(Arc::new(net.clone()));
    Client::new(pool, Arc::new(net.clone()), "http://server.test")
}

/// How many PINGs of its own the client sent.
fn pings(record: &Record) -> usize {
    let pings = record.of(kind::PING);
    pings.iter().filter(|got| !got.frame.has(flag::ACK)).count()
}

/// A GET which ends after a second, by its limit or by being dropped; whether it was answered.
async fn get(client: &Client, dropped: bool) -> bool {
    if !dropped {
        let limits = Timeouts::none()
            .with_response_head(SECOND)
            .with_read(SECOND);
        return client.get_within("/", limits).await.starts_with("200");
    }
    let runtime = client.runtime();
    let late = httpcore::backend::sleep_until(&runtime, runtime.now() + SECOND);
    let mut late = std::pin::pin!(late);
    let mut told = std::pin::pin!(client.get("/"));
    std::future::poll_fn(|cx| {
        use std::{future::Future, task::Poll};
        if let Poll::Ready(told) = told.as_mut().poll(cx) {
            return Poll::Ready(told.starts_with("200"));
        }
        late.as_mut().poll(cx).map(|()| false)
    })
    .await
}

#[test]
fn a_dead_connection_costs_at_most_two_requests() {
    // Whether the server goes on reading, and whether requests end by being dropped.
    for (reads, dropped) in [(true, false), (true, true), (false, false), (false, true)] {
        let net = MockNet::new();
        let (served, records) = serve(&net, &[], move |mut peer, number| async move {
            if number > 1 {
                return peer.serve(|request| answer(request, number)).await;
            }
            let request = peer.request().await?;
            peer.send(&answer(&request, number)).await?;
            if !reads {
                peer.into_stream().stall().await;
                return Ok(());
            }
            while peer.next().await?.is_some() {}
            Ok(())
        });
        let client = client_with(&net, |builder| builder);
        let failed = net.run(async {
            let mut failed = Vec::new();
            for turn in 0..300 {
                if !get(&client, dropped).await {
                    failed.push(turn);
                }
                client.waits(2 * SECOND).await;
            }
            failed
        });
        assert_eq!(failed, [1], "reads: {reads}, dropped: {dropped}");
        assert_eq!(served.attempts(), 2);
        let record = records.lock().unwrap()[0].clone();
        assert_eq!(pings(&record), usize::from(reads));
        drop(client);
        net.run_until_idle();
    }
}

#[test]
fn what_waits_on_a_dead_connection_is_told_so_in_time() {
    let net = MockNet::new();
    serve(&net, &[], async |mut peer, number| {
        if number == 1 {
            while peer.next().await?.is_some() {}
            return Ok(());
        }
        peer.serve(|request| answer(request, number)).await
    });
    let client = client_with(&net, |builder| {
        builder.configure_http2(|http2| http2.suspect_timeout = Some(Duration::from_secs(2)))
    });
    let (told, _) = net.run(httpcore_tests::h2_peer::both(
        async {
            let request = client.request("POST", "/waits", "body");
            client.send(request).await
        },
        async {
            client.waits(SECOND).await;
            get(&client, false).await
        },
    ));
    assert_eq!(
        told,
        "Network in Head, sent Full, response not begun, connection new, attempts 1"
    );
    assert_eq!(net.elapsed(), 4 * SECOND, "one, one more, and two");
}

#[test]
fn a_slow_server_that_answers_pings_keeps_its_connection() {
    let net = MockNet::new();
    let (served, records) = serve(&net, &[], async |mut peer, _| {
        // It never answers a request, but is there.
        while peer.next_politely().await?.is_some() {}
        Ok(())
    });
    let client = client_with(&net, |builder| builder);
    net.run(async {
        for turn in 0..60 {
            assert!(!get(&client, turn % 2 == 0).await);
            client.waits(6 * SECOND).await;
        }
    });
    assert_eq!(served.attempts(), 1);
    let record = records.lock().unwrap()[0].clone();
    assert!(pings(&record) <= 60, "{}", pings(&record));
    assert!(!record.is_over());
}

#[test]
fn a_slow_server_is_asked_for_a_sign_of_life_now_and_then_only() {
    let net = MockNet::new();
    let (served, records) = serve(&net, &[], async |mut peer, _| {
        while peer.next_politely().await?.is_some() {}
        Ok(())
    });
    let client = client_with(&net, |builder| builder);
    net.run(async {
        for _ in 0..100 {
            assert!(!get(&client, false).await);
        }
    });
    let asked: usize = records.lock().unwrap().iter().map(pings).sum();
    // 100 seconds, and each connection is asked once in five.
    assert!(asked <= 20 * served.attempts() + 1, "{asked}");
    assert!(records.lock().unwrap().iter().all(|one| !one.is_over()));
}

#[test]
fn no_connection_is_suspect_if_so_configured() {
    let net = MockNet::new();
    let (served, _) = serve(&net, &[], async |mut peer, _| {
        while peer.next().await?.is_some() {}
        Ok(())
    });
    let client = client_with(&net, |builder| {
        let mut config = Http2Config::default();
        config.suspect_timeout = None;
        builder.configure_http2(|http2| *http2 = config)
    });
    net.run(async {
        for _ in 0..10 {
            assert!(!get(&client, false).await);
        }
    });
    assert_eq!(served.attempts(), 1);
}
