//! The client in virtual time: no sockets, no sleeping.

use std::time::Duration;

use httpcore::{
    ConnectionPool, ErrorKind, Timeouts,
    mock::{Link, MockNet, Scenario, Script, seeds, sweep_polls},
};
use sdk::{Item, Items, ItemsError};

const SEVEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 23\r\n\r\n{\"id\":7,\"name\":\"seven\"}";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\ncontent-length: 0\r\n\r\n";

fn items(net: &MockNet) -> Items {
    let pool = ConnectionPool::builder()
        .timeouts(Timeouts::default().with_read(Duration::from_secs(5)))
        .build(net.clone());
    Items::new(pool, "http://items.test/v1/", "s3cr3t").unwrap()
}

fn seven() -> Item {
    Item {
        id: 7,
        name: "seven".into(),
    }
}

#[test]
fn an_item_is_read_with_the_token() {
    let net = MockNet::new();
    let script = net.serve_script(
        "items.test",
        80,
        Script::new()
            .expect_request("GET /v1/items/7", &[("authorization", "Bearer s3cr3t")])
            .send(SEVEN)
            .expect_request("GET /v1/items/8", &[])
            .send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
    );
    let items = items(&net);
    net.run(async {
        assert_eq!(items.get(7).await.unwrap(), Some(seven()));
        assert_eq!(items.get(8).await.unwrap(), None);
    });
    script.assert_finished();
    assert!(!format!("{items:?}").contains("s3cr3t"));
}

#[test]
fn a_busy_service_is_asked_again_when_it_said() {
    let net = MockNet::new();
    // The pause is longer than an idle connection is kept, so that each answer has its own.
    let scripts = [BUSY, BUSY, SEVEN].map(|answer| {
        Script::new()
            .expect_request("POST /v1/items", &[])
            .expect("{\"name\":\"seven\"}")
            .send(answer)
    });
    net.serve_scripts("items.test", 80, scripts);
    let created = net.run(async { items(&net).create("seven").await });
    assert_eq!(created.unwrap(), seven());
    assert_eq!(net.elapsed(), Duration::from_secs(10 + 20));
}

#[test]
fn a_put_is_repeated_after_a_reset_and_a_post_is_not() {
    let reset = || Link::new().to_client(|path| path.reset_at(10));
    let serve = |net: &MockNet| {
        let server = net.serve("items.test", 80, async |mut stream| {
            while stream.read_head().await.is_ok() {
                let _ = stream.read_until("}").await;
                if stream.write_all(SEVEN).await.is_err() {
                    return;
                }
            }
        });
        server.links([reset(), Link::new()]);
        server
    };
    let net = MockNet::new();
    let server = serve(&net);
    assert_eq!(
        net.run(async { items(&net).replace(&seven()).await })
            .unwrap(),
        seven()
    );
    assert_eq!(server.attempts(), 2);

    let net = MockNet::new();
    let server = serve(&net);
    let failed = net.run(async { items(&net).create("seven").await });
    assert!(matches!(failed, Err(ItemsError::Http(error)) if error.kind() == ErrorKind::Network));
    assert_eq!(server.attempts(), 1);
}

#[test]
fn a_silent_service_is_given_up_after_four_attempts() {
    let net = MockNet::new();
    let server = net.serve("items.test", 80, async |stream| stream.stall().await);
    let failed = net.run(async { items(&net).get(7).await });
    assert!(matches!(failed, Err(ItemsError::Http(error)) if error.is_timeout()));
    assert_eq!(server.attempts(), 4);
    assert_eq!(
        net.elapsed(),
        Duration::from_millis(4 * 5_000 + 250 + 500 + 1_000)
    );
}

#[test]
fn a_call_can_be_dropped_at_every_poll() {
    let swept = sweep_polls(|net| {
        net.serve("items.test", 80, async |mut stream| {
            while stream.read_head().await.is_ok() {
                if stream.write_all(SEVEN).await.is_err() {
                    return;
                }
            }
        })
        .link(Link::new().latency(Duration::from_millis(10)));
        let items = items(net);
        let again = items.clone();
        Scenario::new(async move { drop(items.get(7).await.unwrap()) })
            .allow_idle_connections(1)
            .then(async move { drop(again.get(7).await.unwrap()) })
    });
    assert!(swept.points > 3, "{swept:?}");
}

#[test]
fn the_answer_does_not_depend_on_how_its_bytes_arrive() {
    seeds(0..50, |net| {
        net.serve("items.test", 80, async |mut stream| {
            stream.read_head().await.unwrap();
            stream.write_all(SEVEN).await.unwrap();
        });
        let items = items(&net);
        assert_eq!(net.run(items.get(7)).unwrap(), Some(seven()));
    });
}
