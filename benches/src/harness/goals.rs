//! The goals: the maximum that a request of our client should cost.

use super::{
    results::{Results, Row, Spread},
    workloads::WORKLOADS,
};

/// The quantity that a goal limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Instructions,
    Allocations,
    Calls,
    /// Reads from the socket for a large body.
    Reads,
    /// Bytes of heap for each idle connection.
    Heap,
    /// Processor time as a ratio to the baseline client's: the median.
    Processor,
    /// Processor time as a ratio to hyper's with its pool.
    ProcessorToHyper,
}

/// The limit of a goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    /// At most what the baseline client takes in the same run.
    Baseline,
    /// At most this share of what hyper with its pool takes in the same run.
    OfHyper(f64),
}

/// A goal of one of our clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) client: &'static str,
    /// The name of the workload.
    pub(crate) workload: &'static str,
    pub(crate) metric: Metric,
    pub(crate) bound: Bound,
}

const fn goal(workload: &'static str, metric: Metric, most: f64) -> Goal {
    Goal {
        client: "ours",
        workload,
        metric,
        bound: Bound::AtMost(most),
    }
}

const fn blocking(workload: &'static str, metric: Metric, most: f64) -> Goal {
    Goal {
        client: "ours-blocking",
        ..goal(workload, metric, most)
    }
}

/// A goal of our client on tokio, beside hyper with its pool on the same runtime.
const fn on_tokio(workload: &'static str, metric: Metric, share: f64) -> Goal {
    Goal {
        client: "ours-tokio",
        workload,
        metric,
        bound: Bound::OfHyper(share),
    }
}

const fn as_baseline(workload: &'static str, metric: Metric) -> Goal {
    Goal {
        client: "ours",
        workload,
        metric,
        bound: Bound::Baseline,
    }
}

pub(crate) const GOALS: &[Goal] = &[
    goal("h1", Metric::Instructions, 6_000.0),
    goal("h1-64", Metric::Instructions, 6_000.0),
    goal("h1-fields", Metric::Instructions, 13_000.0),
    goal("https-64", Metric::Instructions, 12_000.0),
    goal("h2c-100", Metric::Instructions, 24_000.0),
    goal("connect", Metric::Instructions, 15_000.0),
    blocking("h1", Metric::Instructions, 8_000.0),
    goal("h1", Metric::Allocations, 4.0),
    goal("h1-64", Metric::Allocations, 4.0),
    goal("h1", Metric::Calls, 3.0),     // a write, a wait, a read
    goal("h1-64", Metric::Calls, 2.06), // one wait for all that are ready
    goal("h2c-100", Metric::Calls, 0.08),
    goal("connect", Metric::Calls, 8.0),
    blocking("h1", Metric::Calls, 3.0),
    as_baseline("h1-download", Metric::Reads),
    as_baseline("https-download", Metric::Reads),
    // The baseline client has no HTTP/2: the result of a trial.
    goal("h2c-download", Metric::Reads, 5_700.0),
    goal("h2-download", Metric::Reads, 7_100.0),
    goal("idle", Metric::Heap, 1024.0),
    goal("idle-10000", Metric::Heap, 1024.0),
    goal("idle-tls", Metric::Heap, 8.0 * 1024.0),
    goal("idle-h2c", Metric::Heap, 40.0 * 1024.0),
    goal("idle-h2", Metric::Heap, 40.0 * 1024.0),
    goal("h1", Metric::Processor, 1.10),
    goal("h1-64", Metric::Processor, 1.15),
    goal("h1-1000", Metric::Processor, 1.25),
    goal("h1-10k", Metric::Processor, 1.15),
    goal("https-64", Metric::Processor, 1.15),
    goal("connect", Metric::Processor, 1.05),
    goal("tls-full", Metric::Processor, 1.05),
    goal("tls-resumed", Metric::Processor, 1.10),
    goal("h1-download", Metric::Processor, 1.05),
    goal("https-download", Metric::Processor, 1.05),
    on_tokio("h1-64", Metric::Instructions, 0.6),
    on_tokio("h1-64", Metric::Calls, 1.0),
    goal("h2c-100", Metric::ProcessorToHyper, 1.0),
    goal("h2-100", Metric::ProcessorToHyper, 1.0),
];

impl Metric {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Metric::Instructions => "instructions",
            Metric::Allocations => "allocations",
            Metric::Calls => "system calls",
            Metric::Reads => "reads for 256 MiB",
            Metric::Heap => "bytes for each",
            Metric::Processor => "processor, to baseline",
            Metric::ProcessorToHyper => "processor, to hyper + hyper-util",
        }
    }

    /// Returns the result of `client`.
    pub(crate) fn of(self, row: &Row, client: &str) -> Option<f64> {
        let cell = row.cells.get(client)?;
        let median = |spread: Spread| spread.median;
        match self {
            Metric::Instructions => cell.instructions,
            Metric::Allocations => cell.allocations,
            Metric::Calls => row.all_calls(client),
            Metric::Reads => row.receives(client),
            Metric::Heap => cell.heap,
            Metric::Processor => row.ratio(client, "baseline").map(median),
            Metric::ProcessorToHyper => row.ratio(client, "hyper-util").map(median),
        }
    }
}

impl Goal {
    /// Returns the limit, if it is known in this run.
    pub(crate) fn most(&self, row: &Row) -> Option<f64> {
        match self.bound {
            Bound::AtMost(most) => Some(most),
            Bound::Baseline => self.metric.of(row, "baseline"),
            Bound::OfHyper(share) => Some(self.metric.of(row, "hyper-util")? * share),
        }
    }

    /// Returns the row of its workload, if that was measured.
    pub(crate) fn row<'a>(&self, results: &'a Results) -> Option<&'a Row> {
        results
            .rows
            .iter()
            .find(|row| row.workload.name == self.workload)
    }

    pub(crate) fn title(&self) -> String {
        let workload = WORKLOADS.iter().find(|known| known.name == self.workload);
        let title = workload.map_or(self.workload, |workload| workload.title);
        let client = match self.client {
            "ours" => "",
            "ours-tokio" => ", on tokio",
            _ => ", blocking",
        };
        format!("{title}{client}")
    }
}

/// Returns the goal of our client for `metric` at the workload of `row`.
pub(crate) fn of_ours(row: &Row, metric: Metric) -> Option<f64> {
    let goal = GOALS.iter().find(|goal| {
        goal.client == "ours" && goal.metric == metric && goal.workload == row.workload.name
    });
    goal?.most(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_unique_and_name_workloads_that_exist() {
        for (n, goal) in GOALS.iter().enumerate() {
            assert!(WORKLOADS.iter().any(|known| known.name == goal.workload));
            let is_same = |other: &Goal| {
                (other.client, other.workload, other.metric)
                    == (goal.client, goal.workload, goal.metric)
            };
            assert!(!GOALS[n + 1..].iter().any(is_same), "{goal:?}");
        }
    }
}
