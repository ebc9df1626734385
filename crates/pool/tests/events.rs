//! Trace events. With fake connections in virtual time.

// clippy.toml lets tests unwrap, but not what they are made of.
#![allow(clippy::unwrap_used)]

mod fake;

use std::sync::{Arc, Mutex, atomic::Ordering::SeqCst};

use fake::{fetch, get, pool, route};
use httpcore_core_primitives::{Trace, TraceEvent};
use httpcore_net_mock::MockNet;

#[test]
fn trace_events_come_in_order() {
    let net = MockNet::new();
    let (pool, peer) = pool(&net, |_| {});
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = heard.clone();
    let trace = Trace::to(move |_: std::time::Instant, event: &TraceEvent<'_>| {
        let detail = match event {
            TraceEvent::ConnectionAcquired { reused: true } => " again",
            _ => "",
        };
        listener
            .lock()
            .unwrap()
            .push(format!("{}{detail}", event.name()));
    });
    net.run(async {
        let mut request = get("/");
        request.extensions_mut().insert(trace.clone());
        fetch(&pool, &route(0), request).await.unwrap();
        peer.close_quietly(0);
        peer.dials_fail.store(true, SeqCst);
        let mut request = get("/");
        request.extensions_mut().insert(trace.clone());
        fetch(&pool, &route(0), request).await.unwrap_err();
    });
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "pool.waiting",
            "connection.connect.started",
            "pool.acquired",
            "pool.acquired again",
            "request.retried",
            "pool.waiting",
            "connection.connect.started",
            "connection.connect.failed",
            "request.failed",
        ]
    );
}
