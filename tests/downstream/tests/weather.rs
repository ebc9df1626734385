//! The weather client's own tests: no sockets, no sleeping, and an hour costs nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use httpcore::ErrorKind;
use httpcore_downstream::{Weather, WeatherError};
use httpcore_net_mock::{Link, MockNet, Scenario, Sweep};

const WARM: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n21.5";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n";

fn client(net: &MockNet) -> Weather {
    Weather::new(Arc::new(net.clone()), "http://weather.test")
}

#[test]
fn a_temperature_is_read() {
    let net = MockNet::new();
    net.serve("weather.test", 80, async |mut stream| {
        let head = stream.read_head().await.unwrap();
        assert!(
            head.starts_with("GET /temperature/Oslo HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains("accept: text/plain\r\n"), "{head}");
        stream.write_all(WARM).await.unwrap();
    });
    let degrees = net.run(async { client(&net).temperature("Oslo").await.unwrap() });
    assert_eq!(degrees, 21.5);
}

#[test]
fn a_busy_service_is_asked_again_when_it_said_so() {
    let net = MockNet::new();
    let turns = AtomicUsize::new(0);
    net.serve("weather.test", 80, move |mut stream| {
        let turn = turns.fetch_add(1, Ordering::Relaxed);
        async move {
            stream.read_head().await.unwrap();
            let answer = if turn == 0 { BUSY } else { WARM };
            stream.write_all(answer).await.unwrap();
        }
    });
    let degrees = net.run(async { client(&net).temperature("Oslo").await.unwrap() });
    assert_eq!(degrees, 21.5);
    assert!(
        net.elapsed() >= Duration::from_secs(3600),
        "{:?}",
        net.elapsed()
    );
}

#[test]
fn a_service_that_never_answers_is_given_up_after_ten_seconds() {
    let net = MockNet::new();
    net.serve("weather.test", 80, async |stream| stream.stall().await);
    let error = net.run(async { client(&net).temperature("Oslo").await.unwrap_err() });
    let WeatherError::Http(error) = error else {
        panic!("{error:?}");
    };
    assert!(matches!(error.kind(), ErrorKind::Timeout(_)), "{error:?}");
    assert_eq!(net.elapsed(), Duration::from_secs(10));
}

#[test]
fn a_dropped_call_leaves_nothing_behind_wherever_it_is_dropped() {
    let swept = Sweep::polls().run(|net| {
        net.serve("weather.test", 80, async |mut stream| {
            while stream.read_head().await.is_ok() {
                if stream.write_all(WARM).await.is_err() {
                    return;
                }
            }
        })
        .link(Link::new().latency(Duration::from_millis(20)));
        let weather = Arc::new(client(net));
        let again = weather.clone();
        Scenario::new(async move {
            weather.temperature("Oslo").await.unwrap();
        })
        // What may be left is what the pool keeps: one connection, idle or being made.
        .allow_idle_connections(1)
        .then(async move {
            assert_eq!(again.temperature("Rome").await.unwrap(), 21.5);
        })
    });
    assert!(swept.points > 3, "{swept:?}");
}
