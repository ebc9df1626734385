//! Connections that nobody uses, and streams that stall beside others.

use std::{sync::Arc, time::Duration};

use httpcore::{
    Body, ConnectionPool, ConnectionPoolBuilder, Timeouts,
    config::{Http2Config, PoolConfig},
};
use httpcore_net_mock::{LiveCounts, MockNet};
use httpcore_tests::{
    h2_peer::{
        both,
        frames::{code, data, flag, goaway, kind, ok, ping},
        script::{answer, serve},
    },
    suite::{Client, tell_error},
};

fn client_with(
    net: &MockNet,
    change: impl FnOnce(ConnectionPoolBuilder) -> ConnectionPoolBuilder,
) -> Client {
    let builder = ConnectionPool::builder().http1(false).http2(true);
    let pool = change(builder).build(Arc::new(net.clone()));
    Client::new(pool, Arc::new(net.clone()), "http://server.test")
}

fn patient(builder: ConnectionPoolBuilder) -> ConnectionPoolBuilder {
    let mut config = PoolConfig::default();
    config.idle_timeout = Some(Duration::from_secs(3600));
    config.timeouts = Timeouts::none();
    builder.configure_pool(|pool| *pool = config)
}

fn nothing_is_left(net: &MockNet, client: Client) {
    assert_eq!(client.pool.status().active_requests, 0);
    drop(client);
    net.run_until_idle();
    assert_eq!(
        net.live_counts(),
        LiveCounts::default(),
        "{:#?}",
        net.live()
    );
}

#[test]
fn a_minute_of_pings_while_idle_is_answered_ping_by_ping() {
    let net = MockNet::new();
    let (served, records) = serve(&net, &[], async |mut peer, number| {
        let request = peer.request().await?;
        peer.send(&answer(&request, number)).await?;
        for turn in 0..12 {
            peer.wait(Duration::from_secs(5)).await?;
            peer.send(&[ping([turn; 8])]).await?;
            // Nobody moves the clock meanwhile: it is answered at once.
            peer.until(|got| got.frame.payload[..] == [turn; 8]).await?;
        }
        peer.serve(|request| answer(request, number)).await
    });
    let client = client_with(&net, patient);
    assert_eq!(net.run(client.get("/one")), "200 x-seen=1 \"/one\"");
    net.advance(Duration::from_secs(60));
    assert_eq!(net.run(client.get("/two")), "200 x-seen=1 \"/two\"");
    assert_eq!(records.lock().unwrap()[0].acks(kind::PING), 12);
    assert_eq!(served.attempts(), 1);
    nothing_is_left(&net, client);
}

#[test]
fn a_connection_that_says_goaway_while_idle_is_retired_before_the_next_request() {
    let net = MockNet::new();
    let (_, records) = serve(&net, &[], async |mut peer, number| {
        let request = peer.request().await?;
        peer.send(&answer(&request, number)).await?;
        if number == 1 {
            peer.wait(Duration::from_secs(5)).await?;
            peer.send(&[goaway(1, code::NO_ERROR)]).await?;
        }
        peer.serve(|request| answer(request, number)).await
    });
    let client = client_with(&net, patient);
    assert_eq!(net.run(client.get("/one")), "200 x-seen=1 \"/one\"");
    assert_eq!(client.pool.status().connections.len(), 1);
    net.advance(Duration::from_secs(5));
    assert!(
        client.pool.status().connections.is_empty(),
        "{:#}",
        client.pool.status()
    );
    assert!(records.lock().unwrap()[0].is_over());
    assert_eq!(net.run(client.get("/two")), "200 x-seen=2 \"/two\"");
    nothing_is_left(&net, client);
}

#[test]
fn a_connection_that_is_idle_for_too_long_is_closed_with_goaway() {
    let net = MockNet::new();
    let (_, records) = serve(&net, &[], async |mut peer, number| {
        peer.serve(|request| answer(request, number)).await
    });
    let client = client_with(&net, |builder| builder);
    assert_eq!(net.run(client.get("/one")), "200 x-seen=1 \"/one\"");
    net.advance(Duration::from_secs(5));
    assert!(client.pool.status().connections.is_empty());
    let record = records.lock().unwrap()[0].clone();
    assert!(record.is_over());
    assert_eq!(record.complaints(), "");
    assert_eq!(record.of(kind::GOAWAY).len(), 1, "{:?}", record.frames());
    nothing_is_left(&net, client);
}

#[test]
fn a_peer_that_answers_no_ping_is_given_up_with_what_waits_for_it() {
    for is_stuck in [false, true] {
        let net = MockNet::new();
        serve(&net, &[], move |mut peer, number| async move {
            let request = peer.request().await?;
            if number == 1 {
                // One reads and says nothing; the other does not even read, and so the client
                // cannot write.
                if is_stuck {
                    peer.into_stream().stall().await;
                    return Ok(());
                }
                while peer.next().await?.is_some() {}
                return Ok(());
            }
            peer.send(&answer(&request, number)).await?;
            peer.serve(|request| answer(request, number)).await
        });
        let client = client_with(&net, |builder| {
            let mut config = Http2Config::default();
            config.keep_alive_interval = Some(Duration::from_secs(30));
            config.keep_alive_timeout = Duration::from_secs(10);
            patient(builder).configure_http2(|http2| *http2 = config)
        });
        let body = if is_stuck {
            vec![b'x'; 1 << 20]
        } else {
            vec![]
        };
        let request = client.request("POST", "/one", Body::from(body));
        let told = net.run(client.send(request));
        let sent = if is_stuck {
            "Send, sent Partial"
        } else {
            "Head, sent Full"
        };
        assert_eq!(
            told,
            format!("Network in {sent}, response not begun, connection new, attempts 1")
        );
        assert_eq!(net.elapsed(), Duration::from_secs(40), "stuck: {is_stuck}");
        assert_eq!(net.run(client.get("/two")), "200 x-seen=2 \"/two\"");
        nothing_is_left(&net, client);
    }
}

#[test]
fn the_read_timeout_of_one_stream_is_nothing_to_another() {
    let net = MockNet::new();
    let (served, records) = serve(&net, &[], async |mut peer, number| {
        let (one, two) = (peer.request().await?, peer.request().await?);
        let (stalls, goes_on) = match one.field(":path") {
            Some("/stalls") => (one.frame.stream, two.frame.stream),
            _ => (two.frame.stream, one.frame.stream),
        };
        peer.send(&[ok(stalls), data(stalls, "x"), ok(goes_on)])
            .await?;
        for _ in 0..20 {
            peer.send(&[data(goes_on, "x")]).await?;
            peer.wait(Duration::from_secs(1)).await?;
        }
        peer.send(&[data(goes_on, "").end()]).await?;
        peer.serve(|request| answer(request, number)).await
    });
    let client = client_with(&net, |builder| {
        builder.timeouts(Timeouts::none().with_read(Duration::from_secs(5)))
    });
    let (stalls, goes_on) = net.run(both(client.get("/stalls"), client.get("/goes-on")));
    assert_eq!(
        stalls,
        "200 then Timeout(Read) in Body, sent Full, response begun, connection new, attempts 1"
    );
    assert_eq!(goes_on, format!("200 {:?}", "x".repeat(20)));
    let record = records.lock().unwrap()[0].clone();
    assert!(
        record.complaints().ends_with(" CANCEL"),
        "{}",
        record.complaints()
    );
    assert_eq!(net.run(client.get("/next")), "200 x-seen=1 \"/next\"");
    assert_eq!(served.attempts(), 1);
    nothing_is_left(&net, client);
}

#[test]
fn four_abandoned_bodies_of_8_mib_leave_the_window_to_the_fifth_request() {
    let net = MockNet::new();
    let (served, records) = serve(&net, &[], async |mut peer, number| {
        peer.serve(|request| answer(request, number)).await
    });
    let client = client_with(&net, |builder| builder);
    let fifth = net.run(async {
        for turn in 0..4 {
            let request = client.request("GET", "/bytes/8388608", Body::empty());
            let response = match client.pool.request(request).await {
                Ok(response) => response,
                Err(error) => panic!("{turn}: {}", tell_error(&error)),
            };
            // Once the window is full of it.
            net.run_until_idle();
            drop(response);
        }
        client.get("/bytes/8388608").await
    });
    assert_eq!(fifth, "200 x-seen=1 8388608 bytes");
    assert_eq!(served.attempts(), 1);
    let complaints = records.lock().unwrap()[0].complaints();
    assert_eq!(
        complaints,
        "RST_STREAM 1 CANCEL; RST_STREAM 3 CANCEL; RST_STREAM 5 CANCEL; RST_STREAM 7 CANCEL"
    );
    nothing_is_left(&net, client);
}

#[test]
fn the_answer_to_a_question_for_a_sign_of_life_does_not_widen_windows() {
    let net = MockNet::new();
    let (_, records) = serve(&net, &[], async |mut peer, number| {
        peer.serve(|request| answer(request, number)).await
    });
    let client = client_with(&net, |builder| {
        let mut config = Http2Config::default();
        config.stream_window = 64 << 10;
        config.adaptive_window = true;
        config.keep_alive_interval = Some(Duration::from_secs(30));
        patient(builder).configure_http2(|http2| *http2 = config)
    });
    // The first is measured, and too small; the second comes before the next measurement.
    assert_eq!(net.run(client.get("/one")), "200 x-seen=1 \"/one\"");
    let second = net.run(client.get("/bytes/60000"));
    assert_eq!(second, "200 x-seen=1 60000 bytes");
    let settings = |when: &str| {
        let record = records.lock().unwrap()[0].clone();
        let settings = record.of(kind::SETTINGS);
        let own = settings.iter().filter(|got| !got.frame.has(flag::ACK));
        assert_eq!(own.count(), 1, "{when}: {:?}", record.frames());
        record
            .of(kind::PING)
            .iter()
            .filter(|got| !got.frame.has(flag::ACK))
            .count()
    };
    let measured = settings("while it was used");
    net.advance(Duration::from_secs(65));
    // Some asked whether it was alive.
    assert!(settings("when it had been idle") > measured);
    nothing_is_left(&net, client);
}
