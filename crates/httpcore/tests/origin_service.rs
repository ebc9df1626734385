//! The contract of a pool as a `tower_service::Service` for one origin: what `poll_ready` reserves, who
//! has it, and what tower's own middleware makes of it. In virtual time.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use httpcore::{
    Body, ConnectionPool, ConnectionPoolBuilder, ErrorKind, ResponseFuture,
    extensions::ConnectionPolicy,
    http,
    mock::{DnsEntry, LiveCounts, MockNet, ServerStream},
    service::OriginService,
};
use tower::{
    Service, ServiceExt,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::Constant,
    load_shed::{LoadShed, error::Overloaded},
};

const ORIGIN: &str = "http://server.test/";
const SECOND: Duration = Duration::from_secs(1);

/// A network with servers `server.test` and `other.test`, which answer each request with their name
/// and its path, after a second; the body of `/late` comes a second after its head.
fn net() -> MockNet {
    let net = MockNet::new();
    for name in ["server", "other"] {
        let serve = move |stream| answer_all(name, stream);
        net.serve(&format!("{name}.test"), 80, serve);
    }
    net
}

async fn answer_all(name: &'static str, mut stream: ServerStream) {
    while let Ok(head) = stream.read_head().await {
        let head = head.to_string();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let text = format!("{name}{path}");
        stream.sleep(SECOND).await;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
        if path == "/late" {
            let _ = stream.write_all(head).await;
            stream.sleep(SECOND).await;
            let _ = stream.write_all(text).await;
        } else if stream.write_all(head + &text).await.is_err() {
            return;
        }
    }
}

fn one_connection() -> ConnectionPoolBuilder {
    ConnectionPool::builder().max_connections(1)
}

fn get(path: &str) -> http::Request<Body> {
    http::Request::get(path).body(Body::empty()).unwrap()
}

/// Waits until `service` is ready.
async fn ready<S>(service: &mut S) -> &mut S
where
    S: Service<http::Request<Body>>,
    S::Error: std::fmt::Debug,
{
    ServiceExt::ready(service).await.unwrap()
}

async fn text(response: ResponseFuture) -> String {
    response.await.unwrap().into_body().text(100).await.unwrap()
}

/// A task that counts how often it is woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Task {
    fn poll(self: &Arc<Self>, service: &mut OriginService) -> Poll<()> {
        let waker = Waker::from(self.clone());
        let cx = &mut Context::from_waker(&waker);
        Service::<http::Request<Body>>::poll_ready(service, cx).map(Result::unwrap)
    }

    fn wakes(&self) -> usize {
        self.0.load(SeqCst)
    }
}

fn is_ready(service: &mut OriginService) -> bool {
    Arc::new(Task::default()).poll(service).is_ready()
}

#[test]
fn the_service_and_its_futures_move_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<OriginService>();
    sent::<<OriginService as Service<http::Request<Body>>>::Future>();
}

#[test]
fn a_service_that_is_ready_has_the_only_place() {
    let net = net();
    let pool = one_connection().build(net.clone());
    let mut first = pool.service_for(ORIGIN).unwrap();
    let mut second = pool.service_for(ORIGIN).unwrap();
    assert!(is_ready(&mut first));
    assert!(is_ready(&mut first), "until it is used");
    let task = Arc::new(Task::default());
    assert!(task.poll(&mut second).is_pending());
    net.run(async {
        let response = first.call(get("/late")).await.unwrap();
        assert_eq!(
            task.wakes(),
            0,
            "the place is in use until the body has ended"
        );
        assert_eq!(response.into_body().text(100).await.unwrap(), "server/late");
    });
    assert_eq!(task.wakes(), 1);
    assert!(task.poll(&mut second).is_ready());
    assert_eq!(net.run(text(second.call(get("/two")))), "server/two");
    assert_eq!(pool.stats().opened, 1);
}

#[test]
fn a_call_uses_up_exactly_one_place() {
    let net = net();
    let pool = ConnectionPool::builder().max_connections(2).build(net);
    let mut service = pool.service_for(ORIGIN).unwrap();
    assert!(is_ready(&mut service));
    let one = service.call(get("/one"));
    assert!(is_ready(&mut service));
    let two = service.call(get("/two"));
    assert!(!is_ready(&mut service), "both places are in use");
    drop(one);
    assert!(
        is_ready(&mut service),
        "that of a call that was not polled is free"
    );
    drop(two);
}

#[test]
fn a_clone_is_not_ready_and_waits_for_its_own_place() {
    let net = net();
    let pool = one_connection().build(net);
    let mut service = pool.service_for(ORIGIN).unwrap();
    assert!(is_ready(&mut service));
    let mut clone = service.clone();
    let task = Arc::new(Task::default());
    assert!(task.poll(&mut clone).is_pending());
    assert!(is_ready(&mut service), "cloning takes nothing away");
    drop(service);
    assert_eq!(task.wakes(), 1, "the place of a dropped service is free");
    assert!(task.poll(&mut clone).is_ready());
}

#[test]
fn a_service_that_is_dropped_while_it_waits_leaves_the_queue() {
    let net = net();
    let pool = one_connection().build(net);
    let mut first = pool.service_for(ORIGIN).unwrap();
    let mut second = first.clone();
    let mut third = first.clone();
    assert!(is_ready(&mut first));
    let task = Arc::new(Task::default());
    assert!(!is_ready(&mut second));
    assert!(task.poll(&mut third).is_pending());
    assert_eq!(pool.status().queued_requests, 3);
    drop(second);
    assert_eq!(pool.status().queued_requests, 2);
    drop(first);
    assert_eq!(task.wakes(), 1, "its place went to the next");
}

#[test]
fn a_task_is_not_woken_while_there_is_no_place() {
    let net = net();
    let pool = one_connection().build(net.clone());
    let mut first = pool.service_for(ORIGIN).unwrap();
    let mut second = first.clone();
    assert!(is_ready(&mut first));
    let call = first.call(get("/slow"));
    let task = Arc::new(Task::default());
    net.run(async {
        let mut call = Box::pin(text(call));
        for _ in 0..9 {
            assert!(task.poll(&mut second).is_pending());
            let sleep = net.sleep(SECOND / 10);
            poll_fn(|cx| {
                assert!(call.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            sleep.await;
        }
        assert_eq!(task.wakes(), 0);
        call.await;
    });
    assert_eq!(task.wakes(), 1);
}

#[test]
fn a_place_that_is_not_used_is_returned_after_its_time() {
    let net = net();
    let pool = one_connection().build(net.clone());
    let service = pool.service_for(ORIGIN).unwrap();
    let mut holder = service.clone().hold_for(5 * SECOND);
    let mut other = service;
    assert!(is_ready(&mut holder));
    let task = Arc::new(Task::default());
    assert!(task.poll(&mut other).is_pending());
    net.advance(4 * SECOND);
    assert_eq!(task.wakes(), 0);
    net.advance(2 * SECOND);
    assert_eq!(
        task.wakes(),
        1,
        "without any call to the service that had it"
    );
    assert!(task.poll(&mut other).is_ready());
    assert!(!is_ready(&mut holder), "it waits for another");
    // A call without a place waits inside, behind what was reserved.
    let late = holder.call(get("/late"));
    let answers = net.run(async {
        let used = text(other.call(get("/used"))).await;
        (used, text(late).await)
    });
    assert_eq!(answers, ("server/used".into(), "server/late".into()));
}

#[test]
fn a_place_may_be_kept_for_ever() {
    let net = net();
    let pool = one_connection().build(net.clone());
    let mut holder = pool.service_for(ORIGIN).unwrap().hold_for(None);
    assert!(is_ready(&mut holder));
    net.advance(3600 * SECOND);
    assert!(!is_ready(&mut holder.clone()));
    assert!(is_ready(&mut holder));
}

#[test]
fn a_call_that_was_never_ready_waits_inside_the_pool() {
    let net = net();
    let pool = one_connection().build(net.clone());
    let mut service = pool.service_for(ORIGIN).unwrap();
    assert_eq!(net.run(text(service.call(get("/one")))), "server/one");
}

#[test]
fn a_request_that_demands_another_connection_gives_the_place_back() {
    let net = net();
    let pool = one_connection().build(net.clone());
    let mut service = pool.service_for(ORIGIN).unwrap();
    assert!(is_ready(&mut service));
    let mut request = get("/fresh");
    let policy = ConnectionPolicy::default().with_new_connection();
    request.extensions_mut().insert(policy);
    assert_eq!(net.run(text(service.call(request))), "server/fresh");
}

#[test]
fn a_connection_that_ends_while_it_is_reserved_costs_no_request() {
    let net = MockNet::new();
    // Answers one request on each connection, and closes it five seconds later.
    net.serve("server.test", 80, async |mut stream: ServerStream| {
        if stream.read_head().await.is_ok() {
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            let _ = stream.write_all(answer).await;
            stream.sleep(5 * SECOND).await;
        }
    });
    let pool = ConnectionPool::builder()
        .max_connections(1)
        .idle_timeout(None)
        .build(net.clone());
    let mut service = pool.service_for(ORIGIN).unwrap().hold_for(None);
    assert_eq!(net.run(text(service.call(get("/")))), "ok");
    assert!(is_ready(&mut service));
    net.advance(10 * SECOND);
    assert_eq!(net.run(text(service.call(get("/")))), "ok");
    assert_eq!(pool.stats().opened, 2);
    assert_eq!(pool.stats().retried, 0);
}

#[test]
fn a_failed_connect_is_the_error_of_a_request_and_not_of_the_service() {
    let net = net();
    net.name(
        "flaky.test",
        DnsEntry::fails(std::io::ErrorKind::NotFound).after(SECOND / 10),
    );
    let pool = one_connection().build(net.clone());
    let mut service = pool.service_for("http://flaky.test").unwrap();
    // Its place is an attempt that fails while it is used.
    assert!(is_ready(&mut service));
    let error = net.run(service.call(get("/"))).unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert_eq!(pool.stats().dials, 1);
    // This one fails before: the service reserves another place, and the request has its own attempt.
    assert!(is_ready(&mut service));
    net.advance(SECOND / 2);
    assert!(is_ready(&mut service));
    assert_eq!(pool.stats().dials, 3);
    net.advance(SECOND / 2);
    let error = net.run(service.call(get("/"))).unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert_eq!(pool.stats().dials, 4);
    net.name("flaky.test", DnsEntry::addresses(["10.9.9.9"]));
    net.serve("10.9.9.9", 80, |stream| answer_all("server", stream));
    assert!(is_ready(&mut service));
    assert_eq!(net.run(text(service.call(get("/up")))), "server/up");
}

#[test]
fn a_closed_pool_ends_what_waits_and_what_is_reserved() {
    let net = net();
    let pool = one_connection().build(net.clone());
    let mut first = pool.service_for(ORIGIN).unwrap();
    let mut second = first.clone();
    assert!(is_ready(&mut first));
    let task = Arc::new(Task::default());
    assert!(task.poll(&mut second).is_pending());
    pool.close();
    assert_eq!(task.wakes(), 1);
    for service in [&mut first, &mut second] {
        let cx = &mut Context::from_waker(Waker::noop());
        match Service::<http::Request<Body>>::poll_ready(service, cx) {
            Poll::Ready(Err(error)) => assert_eq!(error.kind(), ErrorKind::PoolClosed),
            other => panic!("{other:?}"),
        }
    }
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default());
}

#[test]
fn a_drain_does_not_wait_for_places_that_are_not_used() {
    let net = net();
    let pool = one_connection().build(net.clone());
    let mut service = pool.service_for(ORIGIN).unwrap().hold_for(None);
    assert!(is_ready(&mut service));
    net.advance(SECOND);
    let drained = net.run(pool.drain(60 * SECOND));
    assert_eq!(drained.aborted, 0);
    assert_eq!(net.elapsed(), SECOND);
}

#[test]
fn a_request_without_an_authority_is_completed_and_another_origins_is_refused() {
    let net = net();
    let pool = ConnectionPool::new(net.clone());
    let mut service = pool.service_for("http://server.test/ignored").unwrap();
    assert_eq!(net.run(text(service.call(get("/a?b")))), "server/a?b");
    let whole = get("http://SERVER.test:80/whole");
    assert_eq!(net.run(text(service.call(whole))), "server/whole");
    for url in [
        "http://other.test/",
        "https://server.test/",
        "http://server.test:81/",
    ] {
        assert!(is_ready(&mut service));
        let error = net.run(service.call(get(url))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{url}");
    }
    let error = pool.service_for("server.test").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUrl);
    assert_eq!(pool.status().active_requests, 0, "no place is left in use");
}

#[test]
fn load_shed_fails_what_finds_no_place_and_nothing_else() {
    let net = net();
    let pool = one_connection().build(net.clone());
    let service = pool.service_for(ORIGIN).unwrap();
    let (mut first, mut second) = (LoadShed::new(service.clone()), LoadShed::new(service));
    net.run(async {
        // The first request to a server that is not connected to yet is not shed.
        let running = ready(&mut first).await.call(get("/one"));
        let shed = ready(&mut second).await.call(get("/two")).await;
        assert!(shed.unwrap_err().is::<Overloaded>());
        let response = running.await.unwrap();
        assert_eq!(response.into_body().text(100).await.unwrap(), "server/one");
        let response = ready(&mut second).await.call(get("/three")).await;
        assert_eq!(response.unwrap().status(), 200);
    });
}

#[test]
fn balance_sends_requests_where_there_is_a_place() {
    let net = net();
    let pool = ConnectionPool::builder()
        .configure_pool(|config| config.max_connections_per_origin = Some(1))
        .build(net.clone());
    let services = ["http://server.test/", "http://other.test/"]
        .map(|origin| Constant::new(pool.service_for(origin).unwrap(), 1));
    let mut balance = Balance::new(ServiceList::new::<http::Request<Body>>(services));
    let mut answers = net.run(async {
        let mut calls = Vec::new();
        for path in ["/a", "/b"] {
            calls.push(ready(&mut balance).await.call(get(path)));
        }
        // Both servers are busy: it is ready again when the first response has ended.
        poll_fn(|cx| {
            let ready = Service::<http::Request<Body>>::poll_ready(&mut balance, cx);
            assert!(ready.is_pending());
            Poll::Ready(())
        })
        .await;
        let mut answers = Vec::new();
        for call in calls {
            let body = call.await.unwrap().into_body();
            answers.push(body.text(100).await.unwrap());
        }
        let response = ready(&mut balance).await.call(get("/c")).await.unwrap();
        assert_eq!(response.status(), 200);
        answers
    });
    answers.sort();
    let servers: Vec<_> = answers
        .iter()
        .map(|answer| answer.split('/').next())
        .collect();
    assert_eq!(servers, [Some("other"), Some("server")], "one request each");
}

#[test]
fn what_a_balancer_keeps_ready_is_returned_to_others() {
    let net = net();
    let pool = one_connection().build(net.clone());
    let services = [ORIGIN, "http://other.test/"]
        .map(|origin| Constant::new(pool.service_for(origin).unwrap(), 1));
    let mut balance = Balance::new(ServiceList::new::<http::Request<Body>>(services));
    net.run(async {
        // One of the two has the only connection of the pool, and does not use it.
        ready(&mut balance).await;
        let answer = pool.get(ORIGIN).await.unwrap().into_body();
        assert_eq!(answer.text(100).await.unwrap(), "server/");
    });
    assert_eq!(
        net.elapsed(),
        2 * SECOND,
        "a second of holding, and one of the server"
    );
}

#[test]
fn buffer_queues_outside_of_the_pool_and_survives_a_failed_connect() {
    let net = net();
    let pool = one_connection().build(net.clone());
    let service = pool.service_for(ORIGIN).unwrap();
    let (mut buffer, worker) = Buffer::pair(service, 8);
    net.spawn("buffer", worker);
    let answers = net.run(async {
        let mut calls = Vec::new();
        for path in ["/1", "/2", "/3"] {
            calls.push(buffer.ready().await.unwrap().call(get(path)));
        }
        let mut answers = Vec::new();
        for call in calls {
            let body = call.await.unwrap().into_body();
            answers.push(body.text(100).await.unwrap());
        }
        answers
    });
    assert_eq!(answers, ["server/1", "server/2", "server/3"]);

    let refused = pool.service_for("http://nowhere.test/").unwrap();
    let (mut buffer, worker) = Buffer::pair(refused, 8);
    net.spawn("buffer", worker);
    net.run(async {
        for _ in 0..3 {
            let call = buffer.ready().await.unwrap().call(get("/"));
            let error = call.await.unwrap_err();
            let error = error.downcast::<httpcore::Error>().unwrap();
            assert!(error.is_connect(), "{error:?}");
        }
    });
}

#[test]
fn services_that_come_and_go_leave_nothing() {
    let net = net();
    let pool = ConnectionPool::builder()
        .max_connections(2)
        .build(net.clone());
    for n in 0..64 {
        let service = pool.service_for(ORIGIN).unwrap();
        let mut service = service.hold_for(SECOND * (1 + n % 3));
        let (task_net, dice) = (net.clone(), net.random_below(6));
        net.spawn("client", async move {
            task_net.sleep(SECOND / 4 * n).await;
            if dice == 0 {
                is_ready(&mut service);
                return;
            }
            let mut reserved = Box::pin(ServiceExt::<http::Request<Body>>::ready(&mut service));
            if dice == 1 {
                let mut patience = Box::pin(task_net.sleep(SECOND));
                return poll_fn(|cx| {
                    let ready = reserved.as_mut().poll(cx).is_ready();
                    if ready || patience.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(());
                    }
                    Poll::Pending
                })
                .await;
            }
            let ready = reserved.await.unwrap();
            if dice == 2 {
                task_net.sleep(2 * SECOND).await;
            }
            let call = ready.call(get("/"));
            if dice > 3 {
                assert_eq!(text(call).await, "server/");
            }
        });
    }
    net.advance(200 * SECOND);
    let status = pool.status();
    assert_eq!((status.active_requests, status.queued_requests), (0, 0));
    assert!(pool.stats().opened <= 64);
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default());
}
