//! The results.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    profile::Profile,
    workloads::{How, Workload},
};

/// The results of one client at one workload.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Cell {
    /// For each request.
    pub(crate) instructions: Option<f64>,
    /// The instructions by crate.
    pub(crate) profile: Option<Profile>,
    pub(crate) allocations: Option<f64>,
    pub(crate) bytes: Option<f64>,
    /// By name, for each request.
    pub(crate) calls: Option<BTreeMap<String, f64>>,
    /// Acquisitions of the pool's lock, for each request.
    pub(crate) locks: Option<f64>,
    /// For each idle connection, in bytes.
    pub(crate) heap: Option<f64>,
    /// Number of idle connections in that measurement.
    pub(crate) idle: Option<u64>,
    /// Processor time for each request, in nanoseconds, of each run.
    pub(crate) cpu: Vec<f64>,
    /// Elapsed time of each run, in nanoseconds.
    pub(crate) walls: Vec<f64>,
    /// It had not ended after this number of seconds.
    pub(crate) endless: Option<u32>,
    /// Of the last run.
    pub(crate) latencies: Vec<(f64, f64)>,
    /// Failures, each in a sentence.
    pub(crate) failures: Vec<String>,
}

/// One workload with the results of all clients.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) workload: Workload,
    /// By the client's name.
    pub(crate) cells: BTreeMap<&'static str, Cell>,
}

/// Points of a curve: requests in flight, and nanoseconds of processor time for each request.
pub(crate) type Curve = Vec<(u64, f64)>;

/// All results.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) command: String,
    /// The duration of the run, without builds.
    pub(crate) took: String,
    pub(crate) versions: Vec<(String, String)>,
    /// Names and titles, in their order.
    pub(crate) clients: Vec<(&'static str, &'static str)>,
    pub(crate) rows: Vec<Row>,
    /// With nginx instead of the responder.
    pub(crate) nginx: Vec<Row>,
    /// By the client's name.
    pub(crate) curves: BTreeMap<&'static str, Curve>,
    /// The pool alone: number of idle connections, instructions of a checkout.
    pub(crate) checkout: Vec<(u64, f64)>,
    pub(crate) left_out: Vec<String>,
}

/// Median, minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        let middle = numbers.len() / 2;
        let below = numbers.get(middle.checked_sub(1 - numbers.len() % 2)?)?;
        Some(Spread {
            median: (below + numbers.get(middle)?) / 2.0,
            least: *numbers.first()?,
            most: *numbers.last()?,
        })
    }
}

impl Row {
    /// Returns the processor time of `client` as a ratio to that of `base`, by rounds: in a round both run
    /// one after the other, so that a disturbance is likely to affect both.
    pub(crate) fn ratio(&self, client: &str, base: &str) -> Option<Spread> {
        if !self.has_processor_time() {
            return None;
        }
        let (ours, theirs) = (self.cells.get(client)?, self.cells.get(base)?);
        let pairs = ours.cpu.iter().zip(&theirs.cpu);
        Spread::of(pairs.map(|(a, b)| a / b.max(1.0)).collect())
    }

    /// Whether the processor time belongs to the requests. During a download it includes the download's,
    /// which differs between clients.
    pub(crate) fn has_processor_time(&self) -> bool {
        !matches!(
            self.workload.how,
            How::HappyEyeballs | How::ConcurrentDownload
        )
    }

    /// Returns the elapsed time of `client`, if the workload measures that.
    pub(crate) fn wait(&self, client: &str) -> Option<Spread> {
        let cell = self.cells.get(client)?;
        let is_asked = self.workload.how == How::HappyEyeballs;
        Spread::of(cell.walls.clone()).filter(|_| is_asked)
    }

    pub(crate) fn all_calls(&self, client: &str) -> Option<f64> {
        let calls = self.cells.get(client)?.calls.as_ref()?;
        Some(calls.values().sum())
    }

    /// Returns the number of system calls that read from sockets.
    pub(crate) fn receives(&self, client: &str) -> Option<f64> {
        let calls = self.cells.get(client)?.calls.as_ref()?;
        let names = ["read", "readv", "recvfrom", "recvmsg"];
        Some(names.iter().filter_map(|name| calls.get(*name)).sum())
    }
}

impl Results {
    /// Returns the results as JSON, for comparisons of runs.
    pub(crate) fn json(&self) -> String {
        let rows: BTreeMap<_, _> = self
            .rows
            .iter()
            .map(|row| (row.workload.name, &row.cells))
            .collect();
        let nginx: BTreeMap<_, _> = self
            .nginx
            .iter()
            .map(|row| (row.workload.name, &row.cells))
            .collect();
        let all = serde_json::json!({
            "date": self.date,
            "machine": self.machine,
            "command": self.command,
            "versions": self.versions,
            "rows": rows,
            "nginx": nginx,
            "curves": self.curves,
            "checkout": self.checkout,
            "left_out": self.left_out,
        });
        format!("{all:#}\n")
    }
}

/// Formats a number with its significant digits, thousands separated.
pub(crate) fn show(number: f64) -> String {
    if number < 9.995 {
        return format!("{number:.2}");
    }
    if number < 99.95 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::workloads::WORKLOADS;

    #[test]
    fn numbers_are_shown_with_their_significant_digits() {
        let shown = [2.0, 12.34, 99.96, 999.5, 1234.0, 1_234_567.0].map(show);
        assert_eq!(
            shown,
            ["2.00", "12.3", "100", "1,000", "1,234", "1,234,567"]
        );
    }

    #[test]
    fn processor_time_during_a_download_is_not_compared() {
        let cell = Cell {
            cpu: vec![1.0],
            ..Cell::default()
        };
        for (name, is_compared) in [
            ("h1", true),
            ("concurrent-download", false),
            ("dead-silent", false),
        ] {
            let row = Row {
                workload: *WORKLOADS.iter().find(|known| known.name == name).unwrap(),
                cells: [("ours", cell.clone()), ("baseline", cell.clone())].into(),
            };
            assert_eq!(
                row.ratio("ours", "baseline").is_some(),
                is_compared,
                "{name}"
            );
        }
    }

    #[test]
    fn median_is_not_the_mean() {
        let spread = Spread::of(vec![1.0, 100.0, 2.0]).unwrap();
        assert_eq!(
            (spread.median, spread.least, spread.most),
            (2.0, 1.0, 100.0)
        );
        assert_eq!(
            Spread::of(vec![1.0, 3.0]).map(|spread| spread.median),
            Some(2.0)
        );
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
