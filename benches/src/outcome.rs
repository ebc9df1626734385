//! The result of a task: counts, time, latencies.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// Measures elapsed time and the processor time of the whole process.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    wall: Instant,
    cpu: Duration,
}

impl Meter {
    /// Starts measuring.
    pub fn start() -> Self {
        Meter {
            wall: now(),
            cpu: cpu(),
        }
    }

    /// Returns the result since the start.
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

/// The current time. The measurement is not part of what is measured.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
fn now() -> Instant {
    Instant::now()
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The latencies of requests, if they are measured: reading the clock twice has a cost.
#[derive(Debug, Default)]
pub struct Latencies {
    is_enabled: bool,
    times: Vec<Duration>,
}

impl Latencies {
    /// Creates a recorder for `task`.
    pub fn of(task: &crate::Task) -> Self {
        Latencies {
            is_enabled: task.latencies,
            times: Vec::new(),
        }
    }

    /// Starts a request.
    pub fn begin(&self) -> Option<Instant> {
        self.is_enabled.then(now)
    }

    /// Ends the request that `begin` started.
    pub fn end(&mut self, begun: Option<Instant>) {
        self.times.extend(begun.map(|begun| begun.elapsed()));
    }

    /// Adds the latencies of another recorder.
    pub fn add(&mut self, other: Latencies) {
        self.times.extend(other.times);
    }

    /// Returns the latencies at `QUANTILES`.
    fn quantiles(&mut self) -> Vec<Duration> {
        self.times.sort_unstable();
        let at = |q: f64| {
            let last = self.times.len().checked_sub(1)?;
            Some(self.times[(q * last as f64).round() as usize])
        };
        QUANTILES.iter().filter_map(|q| at(*q)).collect()
    }
}

/// The quantiles that are reported.
const QUANTILES: [f64; 12] = [
    0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0,
];

/// The result of a task. `Display` prints one line of JSON.
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
    fn quantiles_are_those_of_the_recorded_latencies() {
        let mut latencies = Latencies::default();
        assert!(latencies.quantiles().is_empty());
        latencies.times = (0..=100).rev().map(Duration::from_nanos).collect();
        let quantiles = latencies.quantiles();
        assert_eq!(quantiles[0], Duration::ZERO);
        assert_eq!(quantiles[4], Duration::from_nanos(50));
        assert_eq!(quantiles[11], Duration::from_nanos(100));
    }

    #[test]
    fn outcome_prints_as_one_line_of_json() {
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
