//! Connecting to several addresses of a host: RFC 8305, "Happy Eyeballs", for addresses that are all
//! known.
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

/// Decides when each address is tried.
#[derive(Debug)]
struct Race {
    waiting: VecDeque<SocketAddr>,
    running: usize,
    /// Instant at which the next attempt starts, although others are still running.
    due: Option<Instant>,
    delay: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Start an attempt to connect to this address.
    Start(SocketAddr),
    /// Wait until an attempt ends, or until this instant.
    Wait(Option<Instant>),
    /// Every address has failed.
    Lost,
}

impl Race {
    fn new(addresses: Vec<SocketAddr>, delay: Duration) -> Self {
        Race {
            waiting: interleaved(addresses),
            running: 0,
            due: None,
            delay,
        }
    }

    fn step(&mut self, now: Instant) -> Step {
        let is_due = self.running == 0 || self.due.is_some_and(|due| due <= now);
        if is_due && let Some(address) = self.waiting.pop_front() {
            self.running += 1;
            // RFC 8305 §5: one attempt after the other, a delay between their starts.
            self.due = now.checked_add(self.delay);
            return Step::Start(address);
        }
        if self.running == 0 {
            return Step::Lost;
        }
        Step::Wait(self.due.filter(|_| !self.waiting.is_empty()))
    }

    /// Records a failed attempt, after which the next is due at once.
    fn failed(&mut self, now: Instant) {
        self.running -= 1;
        self.due = Some(now);
    }
}

/// Orders addresses so that families alternate, beginning with that of the first address (RFC 8305
/// §4).
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
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

/// The means of connecting, and the trace that receives the attempts.
#[derive(Clone, Copy)]
pub(crate) struct Connecting<'a> {
    pub(crate) backend: &'a Arc<dyn NetworkBackend>,
    pub(crate) options: &'a TcpOptions,
    pub(crate) trace: &'a Trace,
}

impl Connecting<'_> {
    /// Connects to a single address.
    pub(crate) async fn attempt(self, peer: SocketAddr) -> Result<(SocketAddr, BoxStream), Error> {
        let connected = self.start(peer).await;
        connected.map(|stream| (peer, stream)).map_err(|error| {
            self.tell_failed(peer, &error);
            lost(vec![(peer, error)])
        })
    }

    /// Connects to the one of `addresses` that answers first, and returns which that was. Dropping the
    /// future drops all attempts.
    pub(crate) async fn run(
        self,
        addresses: Vec<SocketAddr>,
        delay: Duration,
    ) -> Result<(SocketAddr, BoxStream), Error> {
        if let [only] = addresses[..] {
            return self.attempt(only).await;
        }
        let runtime: Arc<dyn Runtime> = self.backend.clone();
        let mut alarm = LazyTimer::new(runtime, "next address");
        let mut race = Race::new(addresses, delay);
        let mut attempts: Vec<(SocketAddr, BoxFuture<'static, io::Result<BoxStream>>)> = Vec::new();
        let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
        poll_fn(|cx| {
            loop {
                let mut index = 0;
                while let Some((peer, attempt)) = attempts.get_mut(index) {
                    let peer = *peer;
                    match attempt.as_mut().poll(cx) {
                        Poll::Pending => index += 1,
                        Poll::Ready(Ok(stream)) => return Poll::Ready(Ok((peer, stream))),
                        Poll::Ready(Err(error)) => {
                            drop(attempts.remove(index));
                            self.tell_failed(peer, &error);
                            failures.push((peer, error));
                            race.failed(self.backend.now());
                        }
                    }
                }
                match race.step(self.backend.now()) {
                    Step::Start(peer) => attempts.push((peer, self.start(peer))),
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

    fn start(self, peer: SocketAddr) -> BoxFuture<'static, io::Result<BoxStream>> {
        let started = || (self.backend.now(), TraceEvent::TcpConnectStarted { peer });
        self.trace.emit(started);
        self.backend.connect_tcp(peer, self.options)
    }

    fn tell_failed(self, peer: SocketAddr, error: &io::Error) {
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
        let order = interleaved(addresses(&[
            "[::1]:1",
            "[::2]:1",
            "[::3]:1",
            "1.0.0.1:1",
            "1.0.0.2:1",
        ]));
        let expected = addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(order, expected);
    }

    #[test]
    fn the_next_address_is_due_after_the_delay_or_at_once_after_a_failure() {
        let [a, b, c] = addresses(&["1.0.0.1:1", "1.0.0.2:1", "1.0.0.3:1"])[..] else {
            unreachable!()
        };
        let t = start();
        let mut race = Race::new(vec![a, b, c], DELAY);
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
        assert_eq!(Race::new(Vec::new(), DELAY).step(start()), Step::Lost);
    }
}
