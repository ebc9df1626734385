//! Server-Sent Events from real servers.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{sync::Arc, time::Duration};

use httpcore::{
    ConnectionPool, EventLoop,
    backend::with_deadline,
    sse::{EventSource, SourceEvent, Subscription},
    tls::RustlsConnector,
};
use httpcore_servers::{Authority, Door, Talker, require_talker, start_talker_again};

/// A bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(120);
const MANY: usize = 100_000;

fn within_patience(epoll: &EventLoop, test: impl Future<Output = ()>) {
    let runtime: Arc<dyn httpcore::backend::Runtime> = epoll.backend();
    epoll.block_on(async {
        let until = runtime.now() + PATIENCE;
        let done = with_deadline(&runtime, "a test", Some(until), test).await;
        assert!(done.is_some(), "it takes too long");
    });
}

/// Takes events `from..to`, in their order, none missing.
async fn take(source: &mut EventSource, from: usize, to: usize) {
    for number in from..to {
        let event = source.event().await.unwrap().unwrap();
        assert_eq!(event.id, number.to_string());
        assert_eq!(event.data, format!("event {number}"));
    }
}

/// All of many events, from the beginning and from somewhere else, and then no more.
async fn all(pool: ConnectionPool, base: String) {
    let url = format!("{base}/events/{MANY}");
    let soon = Duration::from_millis(10);
    let mut source = pool.events(Subscription::new(&*url).reconnect_delay(soon));
    take(&mut source, 0, MANY).await;
    assert!(source.event().await.is_none(), "204 behind the last");
    let late = Subscription::new(&*url)
        .last_event_id("99000")
        .reconnect_delay(soon);
    let mut source = pool.events(late);
    take(&mut source, 99_001, MANY).await;
    assert!(source.event().await.is_none());
    assert_eq!(pool.status().active_requests, 0);
}

#[test]
fn a_hundred_thousand_events_from_each_server() {
    for talker in [Talker::Hypercorn, Talker::Uvicorn, Talker::Node] {
        let Some(server) = require_talker(talker, Door::Plain) else {
            continue;
        };
        let epoll = EventLoop::new().unwrap();
        let pool = ConnectionPool::new(epoll.backend());
        within_patience(&epoll, all(pool, server.url("")));
    }
}

#[test]
fn a_hundred_thousand_events_over_http2_in_tls() {
    let authority = Authority::new().unwrap();
    let Some(server) = require_talker(Talker::Hypercorn, Door::Tls(&authority)) else {
        return;
    };
    let connector = RustlsConnector::builder()
        .root_pem(authority.root().as_bytes())
        .unwrap()
        .build()
        .unwrap();
    let epoll = EventLoop::new().unwrap();
    let pool = ConnectionPool::builder()
        .tls(Arc::new(connector))
        .build(epoll.backend());
    within_patience(&epoll, all(pool, server.https_url("")));
}

#[test]
fn a_server_that_is_killed_and_comes_back_is_taken_up_where_it_was() {
    let Some(server) = require_talker(Talker::Node, Door::Plain) else {
        return;
    };
    let epoll = EventLoop::new().unwrap();
    let pool = ConnectionPool::new(epoll.backend());
    let port = server.addr().port();
    let url = server.url("/endless");
    within_patience(&epoll, async {
        let reconnect_delay = Duration::from_millis(50);
        let mut source = pool.events(Subscription::new(url).reconnect_delay(reconnect_delay));
        let mut server = Some(server);
        let mut next = 0;
        for _ in 0..3 {
            take(&mut source, next, next + 100).await;
            next += 100;
            drop(server.take());
            // What had come already is told, and then that it has broken.
            let error = loop {
                match source.step().await.unwrap().unwrap() {
                    SourceEvent::Event(event) => {
                        assert_eq!(event.id, next.to_string());
                        next += 1;
                    }
                    SourceEvent::Waiting { error, .. } => break error,
                    other => panic!("{other:?}"),
                }
            };
            assert!(error.is_some(), "an end in the middle is none");
            // No server listens, for a while.
            let step = source.step().await.unwrap().unwrap();
            assert!(
                matches!(step, SourceEvent::Waiting { error: Some(error), .. } if error.is_connect())
            );
            server = Some(start_talker_again(Talker::Node, port).unwrap());
        }
        take(&mut source, next, next + 100).await;
    });
}
