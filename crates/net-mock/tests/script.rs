//! Tables: what they let through, and how they say what was wrong.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;

use client::{MS, connect, panic_of, read, read_all, read_exactly, shutdown, write_all};
use httpcore_net_mock::{Link, MockNet, Script, ServerHandle};

const REQUEST: &str = "GET /price HTTP/1.1\r\nhost: shop.test\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n42";

fn shop() -> Script {
    Script::new()
        .expect_request("GET /price", &[("Host", "shop.test")])
        .wait(50 * MS)
        .send(RESPONSE)
}

async fn ask(net: &MockNet, request: &str) -> String {
    let mut stream = connect(net, "shop.test", 80).await.unwrap();
    write_all(&mut stream, request).await.unwrap();
    read_exactly(&mut stream, RESPONSE.len()).await.unwrap()
}

#[test]
fn a_table_plays_its_part_on_every_connection() {
    let net = MockNet::new();
    let served = net.serve_script("shop.test", 80, shop());
    net.run(async {
        for turn in 1..=3 {
            assert_eq!(ask(&net, REQUEST).await, RESPONSE);
            assert_eq!(net.elapsed(), turn * 50 * MS);
        }
    });
    served.assert_finished();
}

#[test]
fn tables_are_played_one_for_each_connection() {
    let net = MockNet::new();
    let late = Script::new()
        .expect(REQUEST)
        .send(RESPONSE.replace("42", "43"));
    let served = net.serve_scripts("shop.test", 80, [shop(), late]);
    net.run(async {
        assert!(ask(&net, REQUEST).await.ends_with("42"));
        assert_eq!(
            served.remaining(),
            ["script 2: not started, since no connection was made"]
        );
        assert!(ask(&net, REQUEST).await.ends_with("43"));
        served.assert_finished();
    });
    let message = panic_of(|| net.run(ask(&net, REQUEST)));
    assert!(
        message.contains("connection 3: no script is left for it"),
        "{message}"
    );
}

#[test]
fn a_table_is_indifferent_to_how_bytes_are_cut() {
    for seed in 0..50 {
        let net = MockNet::seeded(seed);
        let table = Script::new()
            .expect(REQUEST)
            .send(RESPONSE)
            .expect(REQUEST)
            .send("x");
        let served = net.serve_script("shop.test", 80, table);
        served.link(Link::new().buffer(7));
        net.run(async {
            let mut stream = connect(&net, "shop.test", 80).await.unwrap();
            write_all(&mut stream, REQUEST).await.unwrap();
            read_exactly(&mut stream, RESPONSE.len()).await.unwrap();
            write_all(&mut stream, REQUEST).await.unwrap();
            assert_eq!(read(&mut stream).await.unwrap(), "x");
        });
        served.assert_finished();
    }
}

#[test]
fn a_mismatch_shows_both_sides_the_byte_and_what_was_said_before() {
    let net = MockNet::new();
    let table = Script::new()
        .expect("hello\r\n")
        .send("welcome\r\n")
        .expect("GET /a HTTP/1.1\r\nhost: shop.test\r\n\r\n");
    net.serve_script("shop.test", 80, table);
    let message = panic_of(|| {
        net.run(async {
            let mut stream = connect(&net, "shop.test", 80).await.unwrap();
            write_all(&mut stream, "hello\r\n").await.unwrap();
            read(&mut stream).await.unwrap();
            let wrong = "GET /a HTTP/1.1\r\nhost: ship.test\r\n\r\n";
            write_all(&mut stream, wrong).await.unwrap();
            read(&mut stream).await
        })
    });
    assert_eq!(
        message,
        r"shop.test:80, connection 1, step 3 of 3: expect 36 bytes
not as expected at byte 25 of the step, byte 32 of the connection
  expected: GET /a HTTP/1.1\r\n
            host: shop.test\r\n
                    ^
            \r\n
  got:      GET /a HTTP/1.1\r\n
            host: ship.test\r\n
                    ^
            \r\n
what had been sent before (> by the client, < by the server):
  > hello
  < welcome
"
    );
}

#[test]
fn a_wrong_beginning_fails_at_once_and_not_when_the_rest_has_come() {
    for table in [Script::new().expect("GET / HTTP/1.1\r\n\r\n"), shop()] {
        let net = MockNet::new();
        net.serve_script("shop.test", 80, table);
        let message = panic_of(|| {
            net.run(async {
                let mut stream = connect(&net, "shop.test", 80).await.unwrap();
                write_all(&mut stream, "P").await.unwrap();
                read(&mut stream).await
            })
        });
        assert!(message.contains("at byte 0 of the step"), "{message}");
        assert!(
            message.contains("nothing had been sent before"),
            "{message}"
        );
    }
}

#[test]
fn a_request_is_judged_by_the_fields_that_matter() {
    let net = MockNet::new();
    net.serve_script("shop.test", 80, shop());
    let message = panic_of(|| {
        net.run(ask(
            &net,
            "GET /price HTTP/1.1\r\nhost: ship.test\r\nx: y\r\n\r\n",
        ))
    });
    assert!(
        message.contains("expected \"Host\" to be \"shop.test\""),
        "{message}"
    );
    assert!(
        message.contains("    host: ship.test\n    x: y\n"),
        "{message}"
    );
}

#[test]
fn what_follows_the_last_step_fails_unless_it_is_the_end() {
    let net = MockNet::new();
    net.serve_script("shop.test", 80, shop());
    let message = panic_of(|| {
        net.run(async {
            let mut stream = connect(&net, "shop.test", 80).await.unwrap();
            write_all(&mut stream, REQUEST).await.unwrap();
            read_exactly(&mut stream, RESPONSE.len()).await.unwrap();
            write_all(&mut stream, "and another thing").await.unwrap();
            net.sleep(MS).await;
        })
    });
    assert!(
        message.contains("after the last step: expect the end"),
        "{message}"
    );
    assert!(message.contains("got:      and another thing"), "{message}");
}

fn played(table: Script) -> (ServerHandle, String) {
    let net = MockNet::new();
    let served = net.serve_script("shop.test", 80, table);
    let heard = net.run(async {
        let mut stream = connect(&net, "shop.test", 80).await.unwrap();
        write_all(&mut stream, "?").await.unwrap();
        match read_all(&mut stream).await {
            Ok(heard) => heard,
            Err(error) => format!("{:?}", error.kind()),
        }
    });
    (served, heard)
}

#[test]
fn a_table_closes_resets_and_half_closes() {
    let ask = || Script::new().expect("?");
    for (table, expected) in [
        (ask().send("bye").close(), "bye"),
        (ask().reset(), "ConnectionReset"),
        (ask().send("bye").half_close().expect_end(), "bye"),
    ] {
        let (served, heard) = played(table.clone());
        assert_eq!(heard, expected, "{table:?}");
        drop(served);
    }
}

#[test]
fn a_table_that_stalls_is_waited_for_in_vain() {
    let message = panic_of(|| played(Script::new().expect("?").stall()));
    assert!(message.contains("the world is stuck"), "{message}");
}

#[test]
fn a_client_that_leaves_early_leaves_the_table_unplayed() {
    let net = MockNet::new();
    let served = net.serve_script("shop.test", 80, shop());
    net.run(async {
        let mut stream = connect(&net, "shop.test", 80).await.unwrap();
        write_all(&mut stream, "GET /pri").await.unwrap();
        shutdown(&mut stream).await.unwrap();
        assert_eq!(read(&mut stream).await.unwrap(), "");
    });
    assert_eq!(
        served.remaining(),
        ["script 1: stopped at step 1 of 3: expect the request \"GET /price\""]
    );
    let message = panic_of(|| served.assert_finished());
    assert!(message.contains("stopped at"), "{message}");
}

#[test]
fn an_upgrade_goes_on_in_another_protocol() {
    let net = MockNet::new();
    let table = Script::new()
        .expect_request("GET /chat", &[("upgrade", "chat")])
        .upgrade("chat")
        .expect("PING")
        .send("PONG")
        .close();
    let served = net.serve_script("chat.test", 80, table);
    net.run(async {
        let mut stream = connect(&net, "chat.test", 80).await.unwrap();
        let request = "GET /chat HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nPING";
        write_all(&mut stream, request).await.unwrap();
        let heard = read_all(&mut stream).await.unwrap();
        assert!(
            heard.starts_with("HTTP/1.1 101 ") && heard.ends_with("\r\n\r\nPONG"),
            "{heard}"
        );
    });
    served.assert_finished();
}

#[test]
fn a_function_may_play_a_table_on_some_connections() {
    let net = MockNet::new();
    net.serve("mixed.test", 80, async |mut stream| {
        let kind = stream.read_exact(1).await.unwrap();
        match &kind[..] {
            b"t" => {
                Script::new()
                    .expect("able")
                    .send("played")
                    .play("mixed", stream)
                    .await
            }
            _ => stream.reset(),
        }
    });
    net.run(async {
        let mut stream = connect(&net, "mixed.test", 80).await.unwrap();
        write_all(&mut stream, "table").await.unwrap();
        assert_eq!(read(&mut stream).await.unwrap(), "played");
    });
}
