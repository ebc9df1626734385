//! What came of a task: counts, time, and how long each request took.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// A stretch of work, timed: by the wall, and by what the whole process took of the processors.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    wall: Instant,
    cpu: Duration,
}

impl Meter {
    /// Begins now.
    pub fn start() -> Self {
        Meter {
            wall: now(),
            cpu: cpu(),
        }
    }

    /// What has been done since the start.
    pub fn stop(self, requests: u64, bytes: u64, latencies: &mut Latencies) -> Outcome {
        let cpu = cpu() - self.cpu;
        Outcome {
            requests,
            bytes,
            cpu,
            wall: self.wall.elapsed(),
            quantiles: latencies.quantiles(),
        }
    }
}

/// The only look at a clock: what is measured here is no part of what is under measurement.
#[expect(
    clippy::disallowed_methods,
    reason = "no runtime is asked for the time here"
)]
fn now() -> Instant {
    Instant::now()
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How long each request took, if that is wanted at all: two looks at the clock are not free.
#[derive(Debug, Default)]
pub struct Latencies {
    are_wanted: bool,
    times: Vec<Duration>,
}

impl Latencies {
    /// For `task`.
    pub fn of(task: &crate::Task) -> Self {
        Latencies {
            are_wanted: task.latencies,
            times: Vec::new(),
        }
    }

    /// A request begins.
    pub fn begin(&self) -> Option<Instant> {
        self.are_wanted.then(now)
    }

    /// The request that began then has ended.
    pub fn end(&mut self, begun: Option<Instant>) {
        self.times.extend(begun.map(|begun| begun.elapsed()));
    }

    /// Those of another, too.
    pub fn add(&mut self, other: Latencies) {
        self.times.extend(other.times);
    }

    /// At `QUANTILES`.
    fn quantiles(&mut self) -> Vec<Duration> {
        self.times.sort_unstable();
        let at = |q: f64| {
            let last = self.times.len().checked_sub(1)?;
            Some(self.times[(q * last as f64).round() as usize])
        };
        QUANTILES.iter().filter_map(|q| at(*q)).collect()
    }
}

/// Where a distribution is looked at.
const QUANTILES: [f64; 12] = [
    0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0,
];

/// What came of a task. Printed, it is one line of JSON.
#[derive(Clone, Debug)]
pub struct Outcome {
    requests: u64,
    bytes: u64,
    cpu: Duration,
    wall: Duration,
    quantiles: Vec<Duration>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"{{"requests":{},"bytes":{},"cpu_ns":{},"wall_ns":{},"latency_ns":["#,
            self.requests,
            self.bytes,
            self.cpu.as_nanos(),
            self.wall.as_nanos()
        )?;
        for (n, (q, time)) in QUANTILES.iter().zip(&self.quantiles).enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}[{q},{}]", time.as_nanos())?;
        }
        f.write_str("]}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_taken() {
        let mut latencies = Latencies::default();
        assert!(latencies.quantiles().is_empty());
        latencies.times = (0..=100).rev().map(Duration::from_nanos).collect();
        let quantiles = latencies.quantiles();
        assert_eq!(quantiles[0], Duration::ZERO);
        assert_eq!(quantiles[4], Duration::from_nanos(50));
        assert_eq!(quantiles[11], Duration::from_nanos(100));
    }

    #[test]
    fn an_outcome_is_a_line_of_json() {
        let outcome = Outcome {
            requests: 2,
            bytes: 28,
            cpu: Duration::from_nanos(5),
            wall: Duration::from_nanos(7),
            quantiles: vec![Duration::from_nanos(1), Duration::from_nanos(3)],
        };
        assert_eq!(
            outcome.to_string(),
            r#"{"requests":2,"bytes":28,"cpu_ns":5,"wall_ns":7,"latency_ns":[[0,1],[0.01,3]]}"#
        );
    }
}
