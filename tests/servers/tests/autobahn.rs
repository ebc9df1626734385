//! The Autobahn test suite: what its fuzzing server says of our messages over our streams.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{fs, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use httpcore::{
    ConnectionPool, EventLoop,
    backend::with_deadline,
    ws::{Config, Handshake, Message, WebSocket},
};
use httpcore_servers::{Door, Talker, require_talker};
use serde_json::Value;

/// A bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(300);

async fn open(pool: &ConnectionPool, url: String) -> WebSocket {
    let opened = pool.websocket(Handshake::new(url)).await.unwrap();
    let config = Config::default().with_max_message_size(32 << 20);
    WebSocket::new(opened.stream, config)
}

/// Says every message back, until the end, whatever it is.
async fn echo(mut socket: WebSocket) {
    let mut said = None;
    poll_fn(|cx| {
        loop {
            // The one before first; messages wait meanwhile.
            if said.is_some() {
                match socket.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        let message: Option<Message> = said.take();
                        let sent = message.map(|message| socket.start_send(message));
                        assert!(!matches!(sent, Some(Err(_))), "{sent:?}");
                    }
                    Poll::Ready(Err(_)) => said = None,
                    Poll::Pending => return Poll::Pending,
                }
            }
            match socket.poll_message(cx) {
                Poll::Ready(Some(Ok(message @ (Message::Text(_) | Message::Binary(_))))) => {
                    said = Some(message);
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

#[test]
fn the_fuzzing_server_finds_nothing_wrong() {
    let Some(server) = require_talker(Talker::Autobahn, Door::Plain) else {
        return;
    };
    let base = format!("ws://{}", server.addr());
    let epoll = EventLoop::new().unwrap();
    let pool = ConnectionPool::new(epoll.backend());
    let runtime: Arc<dyn httpcore::backend::Runtime> = epoll.backend();
    let run = async {
        let mut counting = open(&pool, format!("{base}/getCaseCount")).await;
        let count = counting.message().await.unwrap().unwrap();
        let count: usize = count.to_text().unwrap().parse().unwrap();
        for case in 1..=count {
            let url = format!("{base}/runCase?case={case}&agent=httpcore");
            echo(open(&pool, url).await).await;
        }
        let done = open(&pool, format!("{base}/updateReports?agent=httpcore"));
        echo(done.await).await;
        count
    };
    let count = epoll.block_on(async {
        let until = runtime.now() + PATIENCE;
        with_deadline(&runtime, "the suite", Some(until), run).await
    });
    let count = count.expect("it takes too long");
    assert!(count > 250, "{count} cases");

    let index = fs::read_to_string(server.folder().join("reports/index.json")).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    let cases = index["httpcore"].as_object().unwrap();
    assert_eq!(cases.len(), count);
    let mut wrong = Vec::new();
    let mut told = std::collections::BTreeMap::<_, usize>::new();
    for (name, case) in cases {
        for what in ["behavior", "behaviorClose"] {
            let verdict = case[what].as_str().unwrap();
            *told.entry((what, verdict)).or_default() += 1;
            // NON-STRICT is text which is refused at its end and not at its first wrong byte.
            if !["OK", "NON-STRICT", "INFORMATIONAL"].contains(&verdict) {
                wrong.push(format!("{name}: {what} {verdict}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{told:?}\n{}", wrong.join("\n"));
    println!("{told:?}");
}
