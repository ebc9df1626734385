//! A WebSocket dropped at any moment, or a future of it, leaves nothing behind.

use std::{sync::Arc, time::Duration};

use httpcore::{
    ConnectionPool,
    ws::{
        CloseFrame, Config, Message, Role, WebSocket,
        tungstenite::protocol::frame::coding::CloseCode,
    },
};
use httpcore_net_mock::{Chunks, Link, MockNet, Scenario, ServerStream, Sweep, seeds};

use crate::peer::{ACCEPTED, handshake};

/// Says back what it hears, and how it is closed.
async fn echo(mut stream: ServerStream) {
    if stream.read_head().await.is_err() || stream.write_all(ACCEPTED).await.is_err() {
        return;
    }
    let mut socket = WebSocket::with_role(stream, Role::Server, Config::default());
    while let Some(Ok(message)) = socket.message().await {
        if let Message::Text(_) | Message::Binary(_) = message
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

fn world(net: &MockNet) -> ConnectionPool {
    net.serve("server.test", 80, echo).link(
        Link::new()
            .latency(Duration::from_millis(5))
            .chunks(Chunks::Each(16))
            .buffer(64),
    );
    ConnectionPool::builder()
        .max_connections(1)
        .build(Arc::new(net.clone()))
}

async fn converse(pool: &ConnectionPool) {
    let opened = pool.websocket(handshake()).await.unwrap();
    let mut socket = WebSocket::new(opened.stream, Config::default().with_frame_size(30));
    socket.send("hello").await.unwrap();
    let answer = socket.message().await.unwrap().unwrap();
    assert_eq!(answer, Message::text("hello"));
    let long = "x".repeat(100);
    socket.send(Message::text(&long)).await.unwrap();
    assert_eq!(
        socket.message().await.unwrap().unwrap(),
        Message::text(&long)
    );
    let why = CloseFrame {
        code: CloseCode::Normal,
        reason: "enough".into(),
    };
    socket.close(Some(why)).await.unwrap();
    assert!(socket.message().await.is_none());
}

fn scenario(net: &MockNet) -> Scenario {
    let pool = world(net);
    let (asking, again) = (pool.clone(), pool.clone());
    Scenario::new(async move { converse(&asking).await })
        .counting(move || vec![("requests", pool.status().active_requests)])
        // A connection that is being made goes on being made, and is then idle.
        .allow_tasks(2)
        .allow_streams(1)
        .allow_timers(2)
        .allow_attempts(1)
        .then(async move { converse(&again).await })
}

#[test]
fn a_websocket_dropped_at_any_poll_leaves_nothing_behind() {
    let swept = Sweep::polls().run(scenario);
    assert!(swept.points > 40, "{swept:?}");
}

#[test]
fn a_websocket_dropped_at_any_step_of_the_world_leaves_nothing_behind() {
    let swept = Sweep::steps().run(scenario);
    assert!(swept.points > 40, "{swept:?}");
}

#[test]
fn a_websocket_comes_to_its_end_in_any_order_of_things() {
    // Short reads and writes, wake-ups for nothing, tasks in any order.
    seeds(0..200, |net| {
        let pool = world(&net);
        net.run(async {
            converse(&pool).await;
            converse(&pool).await;
        });
        assert_eq!(pool.status().active_requests, 0);
        drop(pool);
        net.run_until_idle();
        assert_eq!(net.live_counts().streams, 0);
    });
}
