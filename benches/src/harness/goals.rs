//! The most that a request should cost us, by what it costs.

use super::{
    results::{Results, Row, Spread},
    workloads::WORKLOADS,
};

/// What a goal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Instructions,
    Allocations,
    Calls,
    /// Reads from the socket for a large body.
    Reads,
    /// Bytes of the heap for each idle connection.
    Heap,
    /// The processor's time as a ratio to raw's: the median.
    Processor,
    /// The processor's time as a ratio to hyper's with its pool.
    ProcessorToHyper,
}

/// How much it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    /// No more than raw, in the same run.
    Raw,
}

/// A promise of one of our clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) client: &'static str,
    pub(crate) work: &'static str,
    pub(crate) metric: Metric,
    pub(crate) bound: Bound,
}

const fn goal(work: &'static str, metric: Metric, most: f64) -> Goal {
    Goal {
        client: "ours",
        work,
        metric,
        bound: Bound::AtMost(most),
    }
}

const fn blocking(work: &'static str, metric: Metric, most: f64) -> Goal {
    Goal {
        client: "ours-blocking",
        ..goal(work, metric, most)
    }
}

const fn as_raw(work: &'static str, metric: Metric) -> Goal {
    Goal {
        client: "ours",
        work,
        metric,
        bound: Bound::Raw,
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
    goal("h1-64", Metric::Calls, 2.06), // one wait for all that have become ready
    goal("h2c-100", Metric::Calls, 0.08),
    goal("connect", Metric::Calls, 8.0),
    blocking("h1", Metric::Calls, 3.0),
    as_raw("h1-download", Metric::Reads),
    as_raw("https-download", Metric::Reads),
    // There is no raw HTTP/2: what a trial took.
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
            Metric::Heap => "bytes of each",
            Metric::Processor => "processor, to raw",
            Metric::ProcessorToHyper => "processor, to hyper + hyper-util",
        }
    }

    /// What `client` came to.
    pub(crate) fn of(self, row: &Row, client: &str) -> Option<f64> {
        let cell = row.cells.get(client)?;
        let median = |spread: Spread| spread.median;
        match self {
            Metric::Instructions => cell.instructions,
            Metric::Allocations => cell.allocations,
            Metric::Calls => row.all_calls(client),
            Metric::Reads => row.receives(client),
            Metric::Heap => cell.heap,
            Metric::Processor => row.ratio(client, "raw").map(median),
            Metric::ProcessorToHyper => row.ratio(client, "hyper-util").map(median),
        }
    }
}

impl Goal {
    /// The most it may be, if that is known after this run.
    pub(crate) fn most(&self, row: &Row) -> Option<f64> {
        match self.bound {
            Bound::AtMost(most) => Some(most),
            Bound::Raw => self.metric.of(row, "raw"),
        }
    }

    /// The row of its work, if that was done.
    pub(crate) fn row<'a>(&self, results: &'a Results) -> Option<&'a Row> {
        results
            .rows
            .iter()
            .find(|row| row.workload.name == self.work)
    }

    pub(crate) fn title(&self) -> String {
        let work = WORKLOADS.iter().find(|known| known.name == self.work);
        let title = work.map_or(self.work, |work| work.title);
        let blocking = if self.client == "ours" {
            ""
        } else {
            ", blocking"
        };
        format!("{title}{blocking}")
    }
}

/// What our client should take of `metric` at the work of `row`.
pub(crate) fn of_ours(row: &Row, metric: Metric) -> Option<f64> {
    let goal = GOALS.iter().find(|goal| {
        goal.client == "ours" && goal.metric == metric && goal.work == row.workload.name
    });
    goal?.most(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_about_works_that_there_are_and_each_once() {
        for (n, goal) in GOALS.iter().enumerate() {
            assert!(WORKLOADS.iter().any(|known| known.name == goal.work));
            let is_same = |other: &Goal| {
                (other.client, other.work, other.metric) == (goal.client, goal.work, goal.metric)
            };
            assert!(!GOALS[n + 1..].iter().any(is_same), "{goal:?}");
        }
    }
}
