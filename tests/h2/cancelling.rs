//! A request dropped at any point harms neither its neighbours on the connection nor the windows.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use httpcore::{Body, ConnectionPool, Timeouts, config::Http2Config};
use httpcore_net_mock::{Link, MockNet, Scenario, Sweep, SweepReport};
use httpcore_tests::{
    h2_peer::script::{Records, answer, serve},
    suite::Client,
};

/// More than a window, and not a multiple of one.
const SIZE: usize = 150_000;
const WINDOW: u32 = 65_535;

fn client(net: &MockNet) -> Client {
    let hour = Duration::from_secs(3600);
    let mut config = Http2Config::default();
    config.stream_window = WINDOW;
    config.max_buffered_per_connection = 3 * WINDOW;
    let pool = ConnectionPool::builder()
        .http1(false)
        .http2(true)
        .configure_http2(|http2| *http2 = config)
        .timeouts(
            Timeouts::none()
                .with_acquire(hour)
                .with_read(hour)
                .with_write(hour)
                .with_response_head(hour),
        )
        .build(Arc::new(net.clone()));
    Client::new(pool, Arc::new(net.clone()), "http://server.test")
}

/// A download, or an upload that is answered at its end.
async fn exchange(client: &Client, upload: bool) -> String {
    let request = if upload {
        client.request("POST", "/upload", vec![b'x'; SIZE])
    } else {
        client.request("GET", &format!("/bytes/{SIZE}"), Body::empty())
    };
    client.send(request).await
}

fn expected(upload: bool) -> String {
    if upload {
        "200 x-seen=1 \"/upload\"".to_owned()
    } else {
        format!("200 x-seen=1 {SIZE} bytes")
    }
}

/// The client has given back all it was sent but for less than half of its window, and nobody
/// waits for the rest.
fn windows_are_whole(records: &Records) {
    for record in records.lock().unwrap().iter() {
        let (sent, credit) = (record.data_sent(), record.credit(0));
        assert!(
            sent - credit.min(sent) <= u64::from(WINDOW) / 2 + 1,
            "{sent} bytes of DATA, and credit for {credit}"
        );
    }
}

/// Three exchanges in flight on one connection, of which the first is dropped.
fn three(net: &MockNet, first: bool, others: [bool; 2]) -> Scenario {
    three_after(net, first, others, Duration::ZERO)
}

/// The same, with the others coming so much later.
fn three_after(net: &MockNet, first: bool, others: [bool; 2], later: Duration) -> Scenario {
    let (served, records) = serve(net, &[], async |mut peer, number| {
        peer.serve(|request| answer(request, number)).await
    });
    served.link(
        Link::new()
            .latency(Duration::from_millis(10))
            .buffer(20_000),
    );
    let client = client(net);
    let left = Arc::new(AtomicUsize::new(others.len()));
    let told = Arc::new(Mutex::new(Vec::new()));
    for upload in others {
        let (client, left, told) = (client.clone(), left.clone(), told.clone());
        let sleep = net.sleep(later);
        net.spawn("a neighbour", async move {
            sleep.await;
            let line = exchange(&client, upload).await;
            told.lock().unwrap().push((line, expected(upload)));
            left.fetch_sub(1, Ordering::Relaxed);
        });
    }
    let (asked, again, counted) = (client.clone(), client.clone(), client);
    let neighbours = left.clone();
    let runtime = again.runtime();
    Scenario::new(async move {
        assert_eq!(exchange(&asked, first).await, expected(first));
    })
    .counting(move || {
        let status = counted.pool.status();
        let requests = status.active_requests + status.queued_requests;
        let others = neighbours.load(Ordering::Relaxed);
        vec![(
            "requests beside the neighbours",
            requests.saturating_sub(others),
        )]
    })
    // The neighbours; the connection's driver, the pool's watcher and what times them.
    .allow_tasks(4)
    .allow_streams(1)
    .allow_timers(8)
    .allow_attempts(1)
    .then(async move {
        while left.load(Ordering::Relaxed) > 0 {
            let soon = runtime.now() + Duration::from_millis(100);
            httpcore::backend::sleep_until(&runtime, soon).await;
        }
        for (line, expected) in told.lock().unwrap().iter() {
            assert_eq!(line, expected, "of a neighbour");
        }
        // Larger than what is left of a window of which a part is lost.
        assert_eq!(exchange(&again, false).await, expected(false));
        assert_eq!(exchange(&again, true).await, expected(true));
        windows_are_whole(&records);
        assert_eq!(records.lock().unwrap().len(), 1, "connections");
    })
}

fn enough(swept: SweepReport) {
    assert!(swept.points > 15, "{swept:?}");
}

#[test]
fn a_download_dropped_anywhere_leaves_its_neighbours_and_the_windows_whole() {
    enough(Sweep::polls().run(|net| three(net, false, [false, true])));
}

#[test]
fn an_upload_dropped_anywhere_leaves_its_neighbours_and_the_windows_whole() {
    enough(Sweep::polls().run(|net| three(net, true, [true, false])));
}

#[test]
fn a_request_dropped_at_any_instant_leaves_its_neighbours_and_the_windows_whole() {
    for upload in [false, true] {
        let swept = Sweep::instants().run(|net| three(net, upload, [false, true]));
        assert!(swept.points > 5, "{swept:?}");
    }
}

#[test]
fn a_request_dropped_between_any_two_steps_leaves_its_neighbours_and_the_windows_whole() {
    enough(Sweep::steps().run(|net| three(net, false, [false, true])));
}

#[test]
fn the_request_that_made_the_connection_can_be_dropped_under_those_who_wait_for_it() {
    let later = Duration::from_millis(1);
    for upload in [false, true] {
        enough(Sweep::polls().run(|net| three_after(net, upload, [false, true], later)));
    }
    let swept = Sweep::instants().run(|net| three_after(net, false, [false, true], later));
    assert!(swept.points > 5, "{swept:?}");
}

#[test]
fn a_request_dropped_in_a_shuffled_world_leaves_its_neighbours_and_the_windows_whole() {
    for seed in 1..4 {
        enough(
            Sweep::polls()
                .seed(seed)
                .run(|net| three(net, false, [true, false])),
        );
    }
}
