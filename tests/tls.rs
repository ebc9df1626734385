//! `https` in virtual time: what a layer between HTTP and the network may do, without cryptography.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{sync::Arc, time::Duration};

use httpcore::{
    Bytes, ConnectionPool, Error, ErrorKind,
    error::{ErrorPhase, Fault, RequestSent},
};
use httpcore_core_primitives::Alpn;
use httpcore_net_mock::{Link, MockNet, MockTls, ServerStream, TlsServer};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
/// A body which ends with the connection.
const ENDLESS: &str = "HTTP/1.1 200 OK\r\n\r\nhello";

fn pool(net: &MockNet) -> ConnectionPool {
    ConnectionPool::builder()
        .tls(Arc::new(MockTls::new()))
        .build(Arc::new(net.clone()))
}

async fn get(pool: &ConnectionPool) -> Result<Bytes, Error> {
    let response = pool.get("https://bank.test/").await?;
    response.into_body().bytes(100).await
}

fn http1() -> TlsServer {
    TlsServer::new().alpn(&[Alpn::Http1])
}

async fn answer(mut stream: ServerStream) {
    while stream.read_head().await.is_ok() {
        stream.write_all(ANSWER).await.unwrap();
    }
}

#[test]
fn a_request_over_tls_takes_a_round_trip_more_and_the_next_one_does_not() {
    let net = MockNet::new();
    let (served, way) = (net.serve_tls("bank.test", 443, http1(), answer), 10);
    served.link(Link::new().latency(Duration::from_millis(way)));
    let pool = pool(&net);
    assert_eq!(net.run(get(&pool)).unwrap(), "hello");
    // Connecting, the handshake, asking: there and back each.
    assert_eq!(net.elapsed(), Duration::from_millis(6 * way));
    assert_eq!(net.run(get(&pool)).unwrap(), "hello");
    assert_eq!(net.elapsed(), Duration::from_millis(8 * way));
    assert_eq!(served.attempts(), 1);
}

#[test]
fn tickets_that_come_while_a_connection_is_idle_do_not_end_it() {
    let net = MockNet::new();
    let served = net.serve_tls("bank.test", 443, http1(), async |mut stream| {
        while stream.read_head().await.is_ok() {
            stream.write_all(ANSWER).await.unwrap();
            stream.sleep(Duration::from_secs(1)).await;
            stream.send_ticket().await.unwrap();
        }
    });
    let pool = pool(&net);
    assert_eq!(net.run(get(&pool)).unwrap(), "hello");
    net.advance(Duration::from_secs(2));
    assert_eq!(pool.status().idle_connections, 1);
    assert_eq!(net.run(get(&pool)).unwrap(), "hello");
    assert_eq!(served.attempts(), 1);
}

#[test]
fn a_certificate_that_is_refused_is_an_error_of_the_handshake() {
    for tls in [
        http1().bad_certificate("expired"),
        http1().certificate_for(&["other.test"]),
    ] {
        let net = MockNet::new();
        net.serve_tls("bank.test", 443, tls, answer);
        let pool = pool(&net);
        let error = net.run(get(&pool)).unwrap_err();
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Tls, ErrorPhase::Tls)
        );
        assert_eq!(error.sent(), RequestSent::None);
        assert!(pool.status().connections.is_empty());
    }
}

#[test]
fn an_alert_after_the_handshake_is_an_error_of_tls_where_it_came() {
    for (said, phase) in [("", ErrorPhase::Head), (ENDLESS, ErrorPhase::Body)] {
        let net = MockNet::new();
        net.serve_tls("bank.test", 443, http1(), move |mut stream| async move {
            stream.read_head().await.unwrap();
            stream.write_all(said).await.unwrap();
            stream.send_alert("certificate_required").await.unwrap();
        });
        let error = net.run(get(&pool(&net))).unwrap_err();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Tls, phase));
        assert_eq!(
            (error.fault(), error.sent()),
            (Fault::Peer, RequestSent::Full)
        );
    }
}

#[test]
fn only_a_close_notify_ends_a_body_that_lasts_until_the_end() {
    for (is_polite, outcome) in [
        (true, Ok("hello")),
        (false, Err((ErrorKind::ConnectionClosed, ErrorPhase::Body))),
    ] {
        let net = MockNet::new();
        net.serve_tls("bank.test", 443, http1(), move |mut stream| async move {
            stream.read_head().await.unwrap();
            stream.write_all(ENDLESS).await.unwrap();
            if is_polite {
                stream.close_write().await.unwrap();
            }
        });
        let told = net.run(get(&pool(&net)));
        let told = told.as_ref().map_err(|error| (error.kind(), error.phase()));
        // RFC 9112 §9.8: without one, an attacker may have truncated it.
        assert_eq!(told.map(|body| &body[..]), outcome.map(str::as_bytes));
    }
}
