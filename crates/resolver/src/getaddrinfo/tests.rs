//! No DNS: the look-up function is a fake that blocks for names that begin with `dead`.

use std::{
    collections::HashSet,
    net::Ipv4Addr,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::Wake,
    thread::JoinHandle,
};

use httpcore_core_primitives::{Runtime, with_deadline};
use httpcore_net_mock::MockNet;

use super::*;
use crate::testing::{TOO_LONG, block_on, poll_with};

/// The calls of the fake look-up, and the blocked names that have been released.
#[derive(Default)]
struct Fake {
    state: Mutex<FakeState>,
    changed: Condvar,
}

#[derive(Default)]
struct FakeState {
    begun: Vec<String>,
    running: usize,
    most_running: usize,
    released: HashSet<String>,
    all_released: bool,
}

impl Fake {
    fn look_up(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let mut state = self.state.lock().unwrap();
        state.begun.push(host.to_owned());
        state.running += 1;
        state.most_running = state.most_running.max(state.running);
        self.changed.notify_all();
        if host.starts_with("dead") {
            let blocked =
                |state: &mut FakeState| !state.all_released && !state.released.contains(host);
            let (woken, waited) = self
                .changed
                .wait_timeout_while(state, TOO_LONG, blocked)
                .unwrap();
            assert!(!waited.timed_out(), "{host} was never released");
            state = woken;
        }
        state.running -= 1;
        drop(state);
        match host {
            "panics" => panic!("expected panic of the look-up"),
            "unknown" => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            "empty" => Ok(Vec::new()),
            "starving" => Err(io::Error::from_raw_os_error(24)),
            "unprintable" => Err(io::Error::other(Unprintable)),
            "verbose" => Err(io::Error::other("x".repeat(1 << 20))),
            _ => Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1))]),
        }
    }

    fn wait(&self, what: impl Fn(&FakeState) -> bool) {
        let state = self.state.lock().unwrap();
        let (_state, waited) = self
            .changed
            .wait_timeout_while(state, TOO_LONG, |state| !what(state))
            .unwrap();
        assert!(!waited.timed_out());
    }

    fn wait_begun(&self, host: &str) {
        self.wait(|state| state.begun.iter().any(|begun| begun == host));
    }

    fn release(&self, host: &str) {
        self.state.lock().unwrap().released.insert(host.to_owned());
        self.changed.notify_all();
    }

    fn begun(&self, host: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.begun.iter().filter(|begun| *begun == host).count()
    }
}

/// An error whose text panics.
#[derive(Debug)]
struct Unprintable;

impl fmt::Display for Unprintable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("expected panic of the text")
    }
}

impl std::error::Error for Unprintable {}

/// The fake, and the threads that its resolver has started.
struct Setup {
    fake: Arc<Fake>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Setup {
    fn new() -> Self {
        Setup {
            fake: Arc::default(),
            threads: Arc::default(),
        }
    }

    fn builder(&self) -> Builder {
        let (fake, threads) = (self.fake.clone(), self.threads.clone());
        SystemResolver::builder()
            .lookup(move |host| fake.look_up(host))
            .spawn(move |work| {
                threads.lock().unwrap().push(thread::spawn(work));
                Ok(())
            })
    }

    fn started(&self) -> usize {
        self.threads.lock().unwrap().len()
    }

    /// Waits until all threads have ended.
    fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap());
        let (sender, joined) = mpsc::channel();
        thread::spawn(move || {
            let outcomes = threads.into_iter().map(JoinHandle::join);
            let _ = sender.send(outcomes.filter(Result::is_err).count());
        });
        let panicked = joined
            .recv_timeout(TOO_LONG)
            .expect("a worker has not ended");
        assert_eq!(panicked, 0, "workers that panicked");
    }
}

/// Releases the blocked look-ups, also after a failed test.
impl Drop for Setup {
    fn drop(&mut self) {
        if let Ok(mut state) = self.fake.state.lock() {
            state.all_released = true;
        }
        self.fake.changed.notify_all();
    }
}

fn local(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]
}

fn is_pending<T>(future: &mut BoxFuture<'static, T>) -> bool {
    poll_with(future, Waker::noop()).is_pending()
}

#[test]
fn four_lookups_of_a_dead_name_do_not_block_other_names() {
    let setup = Setup::new();
    // Fewer workers than look-ups: one name holds one of them.
    let resolver = setup.builder().max_workers(2).build();
    let mut dead: Vec<_> = (0..4).map(|n| resolver.resolve("dead", n)).collect();
    setup.fake.wait_begun("dead");
    assert_eq!(block_on(resolver.resolve("good", 80)).unwrap(), local(80));
    assert!(dead.iter_mut().all(is_pending));

    // The same holds after all callers were dropped, and for new callers.
    drop(dead);
    let mut again: Vec<_> = (0..4).map(|n| resolver.resolve("dead", n)).collect();
    assert_eq!(block_on(resolver.resolve("other", 81)).unwrap(), local(81));
    assert!(again.iter_mut().all(is_pending));
    assert_eq!(setup.fake.begun("dead"), 1);

    setup.fake.release("dead");
    for (port, call) in (0..).zip(again) {
        assert_eq!(block_on(call).unwrap(), local(port));
    }
    assert_eq!(setup.fake.begun("dead"), 1);
}

#[test]
fn a_hundred_dead_names_hold_thirty_two_workers_and_others_end_at_their_deadline() {
    let setup = Setup::new();
    let resolver = setup.builder().build();
    let good = resolver.resolve("good", 1);
    assert_eq!(block_on(good).unwrap(), local(1));
    let names: Vec<_> = (0..100).map(|n| format!("dead-{n}")).collect();
    let dead: Vec<_> = names.iter().map(|name| resolver.resolve(name, 1)).collect();
    setup.fake.wait(|state| state.running == 32);

    // A literal needs no worker.
    let mut literal = resolver.resolve("::1", 7);
    let Poll::Ready(Ok(found)) = poll_with(&mut literal, Waker::noop()) else {
        panic!("a literal waited");
    };
    assert_eq!(found, ["[::1]:7".parse().unwrap()]);

    // A look-up ends at the caller's deadline, by the caller's clock, which is virtual here.
    let net = MockNet::new();
    let runtime: Arc<dyn Runtime> = Arc::new(net.clone());
    let limit = Duration::from_secs(5);
    let late = resolver.resolve("late", 1);
    let outcome = net.run(with_deadline(
        &runtime,
        "resolve",
        Some(net.now() + limit),
        late,
    ));
    assert!(outcome.is_none());
    assert_eq!(net.elapsed(), limit);

    // As soon as one worker is free, the oldest in the queue is next.
    let waiting = resolver.resolve("waiting", 2);
    drop(dead);
    setup.fake.release("dead-0");
    assert_eq!(block_on(waiting).unwrap(), local(2));
    assert_eq!(
        setup.fake.begun("late"),
        0,
        "its callers were dropped before it began"
    );
    assert_eq!(
        setup.fake.begun("dead-99"),
        0,
        "its callers were dropped before it began"
    );
    let state = setup.fake.state.lock().unwrap();
    assert_eq!(state.most_running, 32);
    drop(state);
    assert!(setup.started() <= 32, "{} threads", setup.started());
}

#[test]
fn concurrent_lookups_of_one_name_are_one_with_each_callers_port() {
    let setup = Setup::new();
    let resolver = setup.builder().max_workers(1).build();
    let blocking = resolver.resolve("dead", 1);
    setup.fake.wait_begun("dead");
    let calls: Vec<_> = ["name", "NAME", "Name", "name"]
        .iter()
        .zip(1..)
        .map(|(name, port)| resolver.resolve(name, port))
        .collect();
    let absolute = resolver.resolve("name.", 9);
    setup.fake.release("dead");
    block_on(blocking).unwrap();
    for (call, port) in calls.into_iter().zip(1..) {
        assert_eq!(block_on(call).unwrap(), local(port));
    }
    block_on(absolute).unwrap();
    let begun = setup.fake.state.lock().unwrap().begun.clone();
    assert_eq!(begun, ["dead", "name", "name."]);
    // A name whose look-up has ended is looked up again.
    block_on(resolver.resolve("name", 1)).unwrap();
    assert_eq!(setup.fake.begun("name"), 2);
}

#[test]
fn queued_lookup_without_callers_never_begins() {
    let setup = Setup::new();
    let resolver = setup.builder().max_workers(1).build();
    let blocking = resolver.resolve("dead", 1);
    setup.fake.wait_begun("dead");
    let mut given_up: Vec<_> = (0..3).map(|_| resolver.resolve("given up", 1)).collect();
    assert!(given_up.iter_mut().all(is_pending));
    let first = resolver.resolve("kept", 1);
    let second = resolver.resolve("kept", 2);
    drop(first);
    drop(given_up);
    assert_eq!(resolver.shared.state().lookups.len(), 2);
    assert_eq!(resolver.shared.state().queue.len(), 1);
    setup.fake.release("dead");
    assert_eq!(block_on(second).unwrap(), local(2));
    block_on(blocking).unwrap();
    let begun = setup.fake.state.lock().unwrap().begun.clone();
    assert_eq!(begun, ["dead", "kept"]);
    assert!(resolver.shared.state().lookups.is_empty());
}

#[test]
fn dropping_callers_of_an_ended_lookup_does_not_affect_a_later_one() {
    let setup = Setup::new();
    let resolver = setup.builder().max_workers(1).build();
    let ended = resolver.resolve("name", 1);
    block_on(resolver.resolve("name", 2)).unwrap();
    let blocking = resolver.resolve("dead", 1);
    setup.fake.wait_begun("dead");
    let later = resolver.resolve("name", 3);
    drop(ended);
    assert_eq!(resolver.shared.state().queue.len(), 1);
    setup.fake.release("dead");
    assert_eq!(block_on(later).unwrap(), local(3));
    block_on(blocking).unwrap();
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("expected panic of the waker");
    }
}

#[test]
fn a_worker_survives_a_waker_that_panics_and_wakes_the_others() {
    let setup = Setup::new();
    let resolver = setup.builder().max_workers(1).build();
    let mut first = resolver.resolve("dead", 1);
    let second = resolver.resolve("dead", 2);
    let mut third = resolver.resolve("dead", 3);
    let panics = Waker::from(Arc::new(Panics));
    assert!(poll_with(&mut first, &panics).is_pending());
    assert!(poll_with(&mut third, &panics).is_pending());
    setup.fake.wait_begun("dead");
    let fake = setup.fake.clone();
    // The second waker is registered between two that panic, before the look-up ends.
    let mut second = second;
    let mut released = false;
    let found = block_on(std::future::poll_fn(|cx| {
        let polled = second.as_mut().poll(cx);
        if !std::mem::replace(&mut released, true) {
            assert!(polled.is_pending());
            fake.release("dead");
        }
        polled
    }));
    assert_eq!(found.unwrap(), local(2));
    assert_eq!(block_on(resolver.resolve("good", 4)).unwrap(), local(4));
    assert_eq!(setup.started(), 1);
    drop(resolver);
    setup.join();
}

#[test]
fn a_worker_survives_a_lookup_that_panics() {
    let setup = Setup::new();
    let resolver = setup.builder().max_workers(1).build();
    let error = block_on(resolver.resolve("panics", 1)).unwrap_err();
    assert_eq!(error.to_string(), "look-up function panicked");
    let error = block_on(resolver.resolve("unprintable", 1)).unwrap_err();
    assert_eq!(error.to_string(), "error of the look-up function panicked");
    assert_eq!(block_on(resolver.resolve("good", 4)).unwrap(), local(4));
    assert_eq!(setup.started(), 1);
    drop(resolver);
    setup.join();
}

#[test]
fn a_full_queue_refuses_new_names_until_one_leaves() {
    let setup = Setup::new();
    let resolver = setup.builder().max_workers(1).max_queued(2).build();
    let _blocking = resolver.resolve("dead", 1);
    setup.fake.wait_begun("dead");
    let first = resolver.resolve("first", 1);
    let mut second = resolver.resolve("second", 1);
    let error = block_on(resolver.resolve("third", 1)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    let text = "too many pending look-ups: the limit is 2 names";
    assert_eq!(error.to_string(), text);
    // A name that is queued or has begun takes no further place in the queue.
    assert!(is_pending(&mut resolver.resolve("first", 2)));
    assert!(is_pending(&mut resolver.resolve("dead", 2)));
    drop(first);
    let mut third = resolver.resolve("third", 1);
    assert!(is_pending(&mut third));
    assert!(is_pending(&mut second));
    let error = block_on(resolver.resolve("fourth", 1)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
}

#[test]
fn lookup_fails_if_no_thread_can_be_started() {
    let setup = Setup::new();
    let (has_threads, threads) = (Arc::new(AtomicBool::new(false)), setup.threads.clone());
    let may = has_threads.clone();
    let resolver = setup
        .builder()
        .spawn(move |work| {
            if !may.load(Ordering::Relaxed) {
                return Err(io::Error::from_raw_os_error(11));
            }
            threads.lock().unwrap().push(thread::spawn(work));
            Ok(())
        })
        .build();
    let error = block_on(resolver.resolve("good", 1)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let text = error.to_string();
    let expected = "cannot start a thread for name resolution: ";
    assert!(text.starts_with(expected), "{text}");
    assert!(resolver.shared.state().lookups.is_empty());
    assert_eq!(resolver.shared.state().workers, 0);

    // An existing worker takes a look-up for which no other could be started.
    has_threads.store(true, Ordering::Relaxed);
    let dead = resolver.resolve("dead", 1);
    setup.fake.wait_begun("dead");
    has_threads.store(false, Ordering::Relaxed);
    let mut good = resolver.resolve("good", 2);
    assert!(is_pending(&mut good));
    setup.fake.release("dead");
    assert_eq!(block_on(good).unwrap(), local(2));
    block_on(dead).unwrap();
}

#[test]
fn workers_end_when_idle_and_others_are_started_later() {
    let setup = Setup::new();
    let resolver = setup.builder().idle_timeout(Duration::ZERO).build();
    for round in 0..20 {
        let calls: Vec<_> = (0..8)
            .map(|n| resolver.resolve(&format!("name-{n}"), round))
            .collect();
        for call in calls {
            assert_eq!(block_on(call).unwrap(), local(round));
        }
        if round % 4 == 0 {
            setup.join();
            assert_eq!(resolver.shared.state().workers, 0);
        }
    }
}

#[test]
fn errors_of_the_lookup_keep_kind_and_number_and_have_bounded_texts() {
    let setup = Setup::new();
    let resolver = setup.builder().build();
    let error = |host| block_on(resolver.resolve(host, 1)).unwrap_err();
    let unknown = error("unknown");
    assert_eq!(unknown.kind(), io::ErrorKind::NotFound);
    assert_eq!(unknown.to_string(), "no such name");
    assert_eq!(error("empty").kind(), io::ErrorKind::NotFound);
    assert_eq!(error("starving").raw_os_error(), Some(24));
    assert!(error("verbose").to_string().len() < 300);
    for bad in ["", "a\0b", &"a".repeat(300)] {
        assert_eq!(error(bad).kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(setup.fake.begun(""), 0);
}

#[test]
fn dropping_the_resolver_fails_queued_lookups_and_ends_its_workers() {
    let setup = Setup::new();
    let resolver = setup.builder().max_workers(1).build();
    let begun = resolver.resolve("dead", 1);
    setup.fake.wait_begun("dead");
    let queued = resolver.resolve("queued", 1);
    drop(resolver);
    let error = block_on(queued).unwrap_err();
    assert!(error.to_string().contains("dropped"), "{error}");
    setup.fake.release("dead");
    assert_eq!(block_on(begun).unwrap(), local(1));
    setup.join();
}

/// Uses the resolver when it is woken and when it is dropped, which needs its lock.
struct Uses {
    resolver: Arc<SystemResolver>,
    uses: Arc<AtomicUsize>,
}

impl Uses {
    fn waker(resolver: &Arc<SystemResolver>, uses: &Arc<AtomicUsize>) -> Waker {
        Waker::from(Arc::new(Uses {
            resolver: resolver.clone(),
            uses: uses.clone(),
        }))
    }
}

impl Wake for Uses {
    fn wake(self: Arc<Self>) {
        drop(self.resolver.resolve("woken", 1));
    }
}

impl Drop for Uses {
    fn drop(&mut self) {
        drop(self.resolver.resolve("woken", 1));
        self.uses.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn no_waker_is_called_or_dropped_under_the_lock() {
    let setup = Setup::new();
    let resolver = Arc::new(setup.builder().build());
    let uses = Arc::new(AtomicUsize::new(0));
    let (sender, done) = mpsc::channel();
    let (fake, used) = (setup.fake.clone(), uses.clone());
    let test = thread::spawn(move || {
        let waker = || Uses::waker(&resolver, &used);
        let mut replaced = resolver.resolve("dead", 1);
        assert!(poll_with(&mut replaced, &waker()).is_pending());
        assert!(poll_with(&mut replaced, &waker()).is_pending());
        let mut dropped = resolver.resolve("dead", 2);
        assert!(poll_with(&mut dropped, &waker()).is_pending());
        drop(dropped);
        fake.release("dead");
        // The look-up ends with one waker of the kind left, and this one.
        block_on(resolver.resolve("dead", 3)).unwrap();
        drop(replaced);
        sender.send(()).unwrap();
    });
    done.recv_timeout(TOO_LONG)
        .expect("a waker was used under the lock");
    test.join().unwrap();
    drop(setup);
    assert!(uses.load(Ordering::Relaxed) >= 2);
}

#[test]
fn debug_shows_numbers_and_no_names() {
    let setup = Setup::new();
    let resolver = setup.builder().max_workers(1).build();
    let _dead = resolver.resolve("dead", 1);
    setup.fake.wait_begun("dead");
    let _queued = resolver.resolve("secret", 1);
    assert_eq!(
        format!("{resolver:?}"),
        "SystemResolver { max_workers: 1, workers: 1, idle: 0, lookups: 2, queued: 1 }"
    );
}
