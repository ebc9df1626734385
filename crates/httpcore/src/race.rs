//! Connecting to several addresses of a host: RFC 8305, "Happy Eyeballs". Further addresses may be added
//! while it goes on.
//!
//! A state machine without I/O ([`Race`]) decides when the next attempt is due; [`Connecting`] holds
//! the attempts. The first to succeed is used, and the others are dropped.
//!
//! ```text
//!   addresses ─ interleaved by family ─► due ──start──► running ──connected──► won
//!                                         ▲                │
//!                                         └── at once ─ failed; else after the delay
//! ```

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use httpcore_core_primitives::{
    BoxFuture, BoxStream, Error, ErrorKind, ErrorPhase, LazyTimer, NetworkBackend, RequestSent,
    Runtime, RuntimeShutdown, TcpOptions, Trace, TraceEvent,
};

use crate::recent::RecentFailures;

/// Maximum number of attempts of one race that run at the same time.
const MAX_RUNNING: usize = 6;

/// Maximum number of attempts of one race: a name may have 100,000 addresses.
const MAX_ATTEMPTS: usize = 32;

/// Decides when each address is tried.
#[derive(Debug)]
struct Race {
    waiting: VecDeque<SocketAddr>,
    running: usize,
    started: usize,
    /// Instant at which the next attempt starts, although others are still running.
    due: Option<Instant>,
    delay: Duration,
    /// Whether further addresses are being looked up.
    awaits_more: bool,
    /// Whether the address that was tried last is an IPv6 address.
    last_is_v6: Option<bool>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Start an attempt to connect to this address.
    Start(SocketAddr),
    /// Wait until an attempt ends, until further addresses are there, or until this instant.
    Wait(Option<Instant>),
    /// Every address has failed.
    Lost,
}

impl Race {
    fn new(delay: Duration, awaits_more: bool) -> Self {
        Race {
            waiting: VecDeque::new(),
            running: 0,
            started: 0,
            due: None,
            delay,
            awaits_more,
            last_is_v6: None,
        }
    }

    /// Adds addresses to those that wait. Families alternate (RFC 8305 §4), beginning with the one that was
    /// not tried last, or with that of the first address; those that failed lately come last.
    fn add(&mut self, addresses: Vec<SocketAddr>, recent: &RecentFailures, now: Instant) {
        let mut all: Vec<_> = std::mem::take(&mut self.waiting).into();
        all.extend(addresses);
        let first = all.first().is_some_and(SocketAddr::is_ipv6);
        let first_is_v6 = self.last_is_v6.map_or(first, |last| !last);
        let mut ordered = interleaved(all, first_is_v6);
        recent.order(ordered.make_contiguous(), now);
        self.waiting = ordered;
    }

    fn step(&mut self, now: Instant) -> Step {
        let may_start = self.running < MAX_RUNNING && self.started < MAX_ATTEMPTS;
        let is_due = self.running == 0 || self.due.is_some_and(|due| due <= now);
        if may_start
            && is_due
            && let Some(address) = self.waiting.pop_front()
        {
            self.running += 1;
            self.started += 1;
            self.last_is_v6 = Some(address.is_ipv6());
            // RFC 8305 §5: one attempt after the other, a delay between their starts.
            self.due = now.checked_add(self.delay);
            return Step::Start(address);
        }
        if self.running == 0 && !(self.awaits_more && may_start) {
            return Step::Lost;
        }
        Step::Wait(self.due.filter(|_| may_start && !self.waiting.is_empty()))
    }

    /// Records a failed attempt, after which the next is due at once.
    fn failed(&mut self, now: Instant) {
        self.running -= 1;
        self.due = Some(now);
    }
}

/// Orders addresses so that families alternate.
fn interleaved(addresses: Vec<SocketAddr>, first_is_v6: bool) -> VecDeque<SocketAddr> {
    if addresses
        .iter()
        .all(|address| address.is_ipv6() == first_is_v6)
    {
        return addresses.into(); // the usual case, without allocating
    }
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut order = VecDeque::with_capacity(one.len() + other.len());
    while !(one.is_empty() && other.is_empty()) {
        order.extend(one.pop_front());
        order.extend(other.pop_front());
    }
    order
}

/// The addresses that were tried for one connection.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// Those that have not answered.
    pub(crate) running: Vec<SocketAddr>,
    pub(crate) failed: Vec<(SocketAddr, io::ErrorKind)>,
}

impl Tried {
    /// Returns all of them, as they stand when a time limit has passed.
    pub(crate) fn timed_out(mut self) -> Vec<(SocketAddr, io::ErrorKind)> {
        let late = self.running.into_iter();
        self.failed
            .extend(late.map(|peer| (peer, io::ErrorKind::TimedOut)));
        self.failed
    }
}

/// The means of connecting, and the trace that receives the attempts.
#[derive(Clone, Copy)]
pub(crate) struct Connecting<'a> {
    pub(crate) backend: &'a Arc<dyn NetworkBackend>,
    pub(crate) options: &'a TcpOptions,
    pub(crate) trace: &'a Trace,
    pub(crate) recent: &'a RecentFailures,
}

impl Connecting<'_> {
    /// Connects to a single address.
    pub(crate) async fn attempt(self, peer: SocketAddr) -> Result<(SocketAddr, BoxStream), Error> {
        let connected = self.start(peer).await;
        match connected {
            Ok(stream) => {
                self.recent.succeeded(peer);
                Ok((peer, stream))
            }
            Err(error) => {
                self.note_failed(peer, &error);
                Err(lost(vec![(peer, error)]))
            }
        }
    }

    /// Connects to the one of `addresses`, and of those that `rest` adds to them, that answers first, and
    /// returns which that was. Dropping the future drops all attempts; their addresses are in `tried`.
    pub(crate) async fn run(
        self,
        addresses: Vec<SocketAddr>,
        mut rest: Option<BoxFuture<'_, Vec<SocketAddr>>>,
        delay: Duration,
        tried: &mut Tried,
    ) -> Result<(SocketAddr, BoxStream), Error> {
        if let [only] = addresses[..]
            && rest.is_none()
        {
            tried.running.push(only);
            return self.attempt(only).await;
        }
        let runtime: Arc<dyn Runtime> = self.backend.clone();
        let mut alarm = LazyTimer::new(runtime, "next address");
        let mut race = Race::new(delay, rest.is_some());
        race.add(addresses, self.recent, self.backend.now());
        let mut attempts: Vec<BoxFuture<'static, io::Result<BoxStream>>> = Vec::new();
        let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
        poll_fn(|cx| {
            loop {
                if let Some(lookup) = &mut rest
                    && let Poll::Ready(found) = lookup.as_mut().poll(cx)
                {
                    rest = None;
                    race.awaits_more = false;
                    race.add(found, self.recent, self.backend.now());
                }
                let mut index = 0;
                while let Some(attempt) = attempts.get_mut(index) {
                    let peer = tried.running[index];
                    match attempt.as_mut().poll(cx) {
                        Poll::Pending => index += 1,
                        Poll::Ready(Ok(stream)) => {
                            self.won(&tried.running[..index], peer);
                            return Poll::Ready(Ok((peer, stream)));
                        }
                        Poll::Ready(Err(error)) => {
                            drop(attempts.remove(index));
                            tried.running.remove(index);
                            tried.failed.push((peer, error.kind()));
                            self.note_failed(peer, &error);
                            failures.push((peer, error));
                            race.failed(self.backend.now());
                        }
                    }
                }
                match race.step(self.backend.now()) {
                    Step::Start(peer) => {
                        tried.running.push(peer);
                        attempts.push(self.start(peer));
                    }
                    Step::Lost => return Poll::Ready(Err(lost(std::mem::take(&mut failures)))),
                    Step::Wait(due) => {
                        if alarm.poll_until(cx, due).is_pending() {
                            return Poll::Pending;
                        }
                    }
                }
            }
        })
        .await
    }

    /// `winner` has answered. Those that were tried before it and have not answered yet are slow, if they
    /// answer at all: they are tried last the next time.
    fn won(self, earlier: &[SocketAddr], winner: SocketAddr) {
        self.recent.succeeded(winner);
        let now = self.backend.now();
        for peer in earlier {
            self.recent.failed(*peer, now);
        }
    }

    fn start(self, peer: SocketAddr) -> BoxFuture<'static, io::Result<BoxStream>> {
        let started = || (self.backend.now(), TraceEvent::TcpConnectStarted { peer });
        self.trace.emit(started);
        self.backend.connect_tcp(peer, self.options)
    }

    fn note_failed(self, peer: SocketAddr, error: &io::Error) {
        if !RuntimeShutdown::is_source_of(error) {
            self.recent.failed(peer, self.backend.now());
        }
        let failed = || {
            (
                self.backend.now(),
                TraceEvent::TcpConnectFailed { peer, error },
            )
        };
        self.trace.emit(failed);
    }
}

/// Maximum number of addresses that an error names: a name may have 100,000.
const MAX_NAMED: usize = 4;

/// Returns the error of a host to which no attempt succeeded, with the last failure as source.
fn lost(failures: Vec<(SocketAddr, io::Error)>) -> Error {
    if let Some((_, error)) = failures
        .iter()
        .find(|(_, error)| RuntimeShutdown::is_source_of(error))
    {
        return Error::new(
            ErrorKind::RuntimeShutdown,
            ErrorPhase::Connect,
            RequestSent::None,
        )
        .with_message(error.to_string());
    }
    let all = failures.iter().map(|(peer, error)| (*peer, error.kind()));
    let all = all.collect();
    let named = failures.iter().take(MAX_NAMED);
    let tried: Vec<String> = named.map(|(peer, _)| peer.to_string()).collect();
    let unnamed = failures.len() - tried.len();
    let error = Error::new(ErrorKind::Connect, ErrorPhase::Connect, RequestSent::None)
        .with_message(match &tried[..] {
            [] => "the host has no addresses to connect to".to_owned(),
            [one] => format!("connecting to {one} failed"),
            several if unnamed == 0 => {
                format!("connecting failed for each of {}", several.join(", "))
            }
            several => format!(
                "connecting failed for each of {} and {unnamed} more",
                several.join(", ")
            ),
        });
    let error = error.with_addresses_tried(all);
    match failures.into_iter().next_back() {
        Some((_, last)) => error.with_source(last),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(250);

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods)] // the only way to create an `Instant`
        Instant::now()
    }

    #[test]
    fn families_alternate_beginning_with_that_of_the_first_address() {
        let mut race = Race::new(DELAY, false);
        let recent = RecentFailures::default();
        let all = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        race.add(all, &recent, start());
        let order = race.waiting;
        let expected = addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(order, expected);
    }

    #[test]
    fn the_next_address_is_due_after_the_delay_or_at_once_after_a_failure() {
        let [a, b, c] = addresses(&["1.0.0.1:1", "1.0.0.2:1", "1.0.0.3:1"])[..] else {
            unreachable!()
        };
        let t = start();
        let mut race = racing(vec![a, b, c]);
        assert_eq!(race.step(t), Step::Start(a));
        assert_eq!(race.step(t), Step::Wait(Some(t + DELAY)));
        assert_eq!(race.step(t + DELAY), Step::Start(b));
        race.failed(t + DELAY);
        assert_eq!(race.step(t + DELAY), Step::Start(c));
        assert_eq!(race.step(t + DELAY * 9), Step::Wait(None));
        race.failed(t + DELAY * 9);
        race.failed(t + DELAY * 9);
        assert_eq!(race.step(t + DELAY * 9), Step::Lost);
    }

    #[test]
    fn an_error_names_few_addresses_and_counts_the_others() {
        let failures = |count: u16| {
            let peer = |port| SocketAddr::from(([127, 0, 0, 1], port));
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            (1..=count).map(|port| (peer(port), refused())).collect()
        };
        assert_eq!(
            lost(failures(2)).to_string(),
            "connecting failed for each of 127.0.0.1:1, 127.0.0.1:2"
        );
        assert_eq!(
            lost(failures(u16::MAX)).to_string(),
            "connecting failed for each of 127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3, 127.0.0.1:4 \
             and 65531 more"
        );
    }

    #[test]
    fn a_race_without_addresses_fails_at_once() {
        assert_eq!(racing(Vec::new()).step(start()), Step::Lost);
    }

    fn racing(addresses: Vec<SocketAddr>) -> Race {
        let mut race = Race::new(DELAY, false);
        race.add(addresses, &RecentFailures::default(), start());
        race
    }

    #[test]
    fn addresses_that_come_later_alternate_with_the_family_that_was_tried() {
        let [four, five, six, seven] =
            addresses(&["1.0.0.4:1", "1.0.0.5:1", "[::6]:1", "[::7]:1"])[..]
        else {
            unreachable!()
        };
        let t = start();
        let recent = RecentFailures::default();
        let mut race = Race::new(DELAY, true);
        race.add(vec![four, five], &recent, t);
        assert_eq!(race.step(t), Step::Start(four));
        race.add(vec![six, seven], &recent, t);
        race.awaits_more = false;
        assert_eq!(race.waiting, [six, five, seven]);
    }

    #[test]
    fn a_race_without_addresses_waits_for_those_that_are_looked_up() {
        let t = start();
        let recent = RecentFailures::default();
        let mut race = Race::new(DELAY, true);
        assert_eq!(race.step(t), Step::Wait(None));
        race.add(addresses(&["1.0.0.1:1"]), &recent, t);
        race.awaits_more = false;
        assert_eq!(race.step(t), Step::Start("1.0.0.1:1".parse().unwrap()));
        race.failed(t);
        assert_eq!(race.step(t), Step::Lost);
    }

    #[test]
    fn a_race_has_few_attempts_at_once_and_a_bounded_number_in_all() {
        let many = (1..=100).map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        let mut race = racing(many.collect());
        let t = start();
        for n in 0..MAX_RUNNING {
            let step = race.step(t + DELAY * n as u32);
            assert!(matches!(step, Step::Start(_)), "{n}: {step:?}");
        }
        let late = t + DELAY * 100;
        assert_eq!(race.step(late), Step::Wait(None));
        for n in MAX_RUNNING..MAX_ATTEMPTS {
            race.failed(late);
            let step = race.step(late);
            assert!(matches!(step, Step::Start(_)), "{n}: {step:?}");
        }
        for _ in 0..MAX_RUNNING {
            assert_eq!(race.step(late), Step::Wait(None));
            race.failed(late);
        }
        assert_eq!(race.step(late), Step::Lost);
    }
}
