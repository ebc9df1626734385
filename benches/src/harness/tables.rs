//! The results as tables, for the page and for `docs/performance.md`.

use super::{
    goals::{Bound, GOALS, Goal, Metric, of_ours},
    profile::{GROUPS, Profile},
    results::{Results, Row, Spread, show},
    workloads::How,
};

/// Rows of text under a head.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) note: &'static str,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

const NOTHING: &str = "–";

/// Returns all tables that have at least one row.
pub(crate) fn tables(results: &Results) -> Vec<Table> {
    let mut tables = vec![
        goals(results),
        per_request(
            results,
            "Instructions",
            "In user space, for each request, by callgrind.",
            |row, client| row.cells.get(client)?.instructions.map(show),
            |row| of_ours(row, Metric::Instructions),
        ),
        per_request(
            results,
            "Allocations",
            "For each request, and the bytes they asked for, by memcheck.",
            |row, client| {
                let cell = row.cells.get(client)?;
                Some(format!(
                    "{} ({} B)",
                    show(cell.allocations?),
                    show(cell.bytes?)
                ))
            },
            |row| of_ours(row, Metric::Allocations),
        ),
        per_request(
            results,
            "System calls",
            "For each request, by strace.",
            |row, client| {
                let is_bulk = matches!(row.workload.how, How::Download | How::Upload);
                row.all_calls(client).filter(|_| !is_bulk).map(show)
            },
            |row| of_ours(row, Metric::Calls),
        ),
        per_request(
            results,
            "Acquisitions of the pool's lock",
            "For each request; counted by the pool in a build for that purpose.",
            |row, client| row.cells.get(client)?.locks.map(show),
            |_| None,
        ),
        per_request(
            results,
            "Reads for 256 MiB",
            "System calls that received the body of one response.",
            |row, client| {
                let is_download = row.workload.how == How::Download;
                row.receives(client).filter(|_| is_download).map(show)
            },
            |row| of_ours(row, Metric::Reads),
        ),
        per_request(
            results,
            "Heap of an idle connection",
            "In bytes, by memcheck, after one response on each; with the number of connections where it is smaller.",
            |row, client| {
                let cell = row.cells.get(client)?;
                let heap = show(cell.heap?);
                let fewer = cell.idle.filter(|idle| *idle < row.workload.in_flight);
                Some(fewer.map_or(heap.clone(), |idle| format!("{heap} (of {idle})")))
            },
            |row| of_ours(row, Metric::Heap),
        ),
        per_request(
            results,
            "Processor time against the baseline client",
            "As a ratio, measured alternately: median (minimum–maximum).",
            |row, client| row.ratio(client, "baseline").map(ratio),
            |row| of_ours(row, Metric::Processor),
        ),
        per_request(
            results,
            "Processor time against hyper with its pool",
            "As a ratio, measured alternately.",
            |row, client| row.ratio(client, "hyper-util").map(ratio),
            |_| None,
        ),
        per_request(
            results,
            "Processor time",
            "In microseconds for each request: medians.",
            |row, client| {
                let is_shown = row.has_processor_time();
                let cpu = row.cells.get(client).filter(|_| is_shown)?.cpu.clone();
                Some(show(Spread::of(cpu)?.median / 1e3))
            },
            |_| None,
        ),
        of_rows(
            results,
            &results.nginx,
            "Processor time with nginx",
            "In microseconds for each request: the median of two runs. The server is nginx.",
            &|row, client| {
                let spread = Spread::of(row.cells.get(client)?.cpu.clone())?;
                Some(show(spread.median / 1e3))
            },
            &|_| None,
        ),
        per_request(
            results,
            "A dead first address",
            "Milliseconds from the request to the end of the response, for a name with two addresses: \
             median (minimum–maximum), each run in its own process.",
            |row, client| {
                let endless = row.cells.get(client)?.endless;
                let waited = row.wait(client).map(|spread| {
                    let [median, least, most] =
                        [spread.median, spread.least, spread.most].map(|time| show(time / 1e6));
                    format!("{median} ({least}–{most})")
                });
                waited.or(endless.map(|seconds| format!("more than {seconds} s")))
            },
            |_| None,
        ),
        by_crate(results),
        waits(results),
        checkout(results),
    ];
    tables.retain(|table| !table.rows.is_empty());
    tables
}

fn ratio(spread: Spread) -> String {
    let Spread {
        median,
        least,
        most,
    } = spread;
    format!("{median:.2} ({least:.2}–{most:.2})")
}

fn per_request(
    results: &Results,
    title: &'static str,
    note: &'static str,
    cell: impl Fn(&Row, &str) -> Option<String>,
    goal: impl Fn(&Row) -> Option<f64>,
) -> Table {
    of_rows(results, &results.rows, title, note, &cell, &goal)
}

fn of_rows(
    results: &Results,
    rows: &[Row],
    title: &'static str,
    note: &'static str,
    cell: &dyn Fn(&Row, &str) -> Option<String>,
    goal: &dyn Fn(&Row) -> Option<f64>,
) -> Table {
    let has = |row: &&Row, client| cell(row, client).is_some();
    let clients: Vec<_> = results
        .clients
        .iter()
        .filter(|(client, _)| rows.iter().any(|row| has(&row, client)))
        .collect();
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| clients.iter().any(|(client, _)| has(row, client)))
        .collect();
    let has_goals = rows.iter().any(|row| goal(row).is_some());
    let mut head = vec!["workload".to_owned()];
    head.extend(clients.iter().map(|(_, title)| (*title).to_owned()));
    head.extend(has_goals.then(|| "goal".to_owned()));
    let line = |row: &&Row| {
        let mut line = vec![row.workload.title.to_owned()];
        let cells = clients.iter().map(|(client, _)| cell(row, client));
        line.extend(cells.map(|cell| cell.unwrap_or(NOTHING.into())));
        let goal = goal(row).map_or(NOTHING.into(), |goal| format!("≤ {}", show(goal)));
        line.extend(has_goals.then_some(goal));
        line
    };
    Table {
        title,
        note,
        head,
        rows: rows.iter().map(line).collect(),
    }
}

/// The goals, with the results of our client and of the others.
fn goals(results: &Results) -> Table {
    let peers: Vec<_> = results
        .clients
        .iter()
        .filter(|(client, _)| !client.starts_with("ours"))
        .collect();
    let mut head: Vec<String> = ["workload", "what", "goal", "httpcore", "result"]
        .map(String::from)
        .into();
    head.extend(peers.iter().map(|(_, title)| (*title).to_owned()));
    let line = |goal: &Goal| {
        let row = goal.row(results)?;
        let ours = goal.metric.of(row, goal.client)?;
        let most = goal.most(row)?;
        // Compared as shown: 3.0025 system calls count as three.
        let is_met = ours <= most || show(ours) == show(most);
        let mut line = vec![
            goal.title(),
            goal.metric.title().to_owned(),
            match goal.bound {
                Bound::AtMost(most) => format!("≤ {}", show(most)),
                Bound::Baseline => "≤ baseline".to_owned(),
                Bound::OfHyper(share) => format!("≤ {share} of hyper + hyper-util"),
            },
            show(ours),
            if is_met { "met" } else { "not met" }.to_owned(),
        ];
        line.extend(peers.iter().map(|(client, _)| {
            let theirs = goal.metric.of(row, client);
            theirs.map_or(NOTHING.to_owned(), show)
        }));
        Some(line)
    };
    Table {
        title: "Goals",
        note: "The goals of our client, and the results of all clients; times are medians.",
        head,
        rows: GOALS.iter().filter_map(line).collect(),
    }
}

/// Our instructions by crate.
fn by_crate(results: &Results) -> Table {
    let of = |row: &Row| Some((row.workload.title, row.cells.get("ours")?.profile.clone()?));
    let profiles: Vec<_> = results.rows.iter().filter_map(of).collect();
    let mut head = vec!["crate".to_owned()];
    head.extend(profiles.iter().map(|(title, _)| (*title).to_owned()));
    let shown = |count: f64| {
        if count < 0.5 {
            NOTHING.to_owned()
        } else {
            show(count.round())
        }
    };
    let line = |group: &&str| {
        let of = |(_, profile): &(_, Profile)| profile.get(*group).copied().unwrap_or(0.0);
        let counts: Vec<f64> = profiles.iter().map(of).collect();
        let is_there = counts.iter().any(|count| *count >= 0.5);
        is_there.then(|| {
            let mut line = vec![(*group).to_owned()];
            line.extend(counts.into_iter().map(shown));
            line
        })
    };
    let mut rows: Vec<_> = GROUPS.iter().filter_map(line).collect();
    if !rows.is_empty() {
        let mut sum = vec!["total".to_owned()];
        let sums = profiles.iter().map(|(_, profile)| profile.values().sum());
        sum.extend(sums.map(shown));
        rows.push(sum);
    }
    Table {
        title: "Our instructions by crate",
        note: "For each request, by the crate of the function; inlined code counts for the function that \
               contains it. By callgrind.",
        head,
        rows,
    }
}

/// All tables as Markdown, after the description of the run.
pub(crate) fn page(results: &Results) -> String {
    let versions: Vec<_> = results
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let mut text = format!(
        "{}, {}; `{}`, in {}.\n\n{}.\n\n",
        results.date,
        results.machine,
        results.command,
        results.took,
        versions.join(", ")
    );
    if !results.left_out.is_empty() {
        text.push_str("Left out:\n\n");
        text.extend(results.left_out.iter().map(|what| format!("- {what}\n")));
        text.push('\n');
    }
    text.extend(tables(results).iter().map(Table::markdown));
    text
}

/// The latency of small requests during a large download.
fn waits(results: &Results) -> Table {
    let download = results
        .rows
        .iter()
        .find(|row| row.workload.how == How::ConcurrentDownload);
    let line = |(client, title): &(&'static str, &'static str)| {
        let latencies = &download?.cells.get(client)?.latencies;
        let at = |q: f64| latencies.iter().find(|(at, _)| *at == q);
        let shown = |q| at(q).map(|(_, time)| show(time / 1e3));
        Some(vec![
            (*title).to_owned(),
            shown(0.5)?,
            shown(0.99)?,
            shown(1.0)?,
        ])
    };
    Table {
        title: "Small requests during a large download",
        note: "Microseconds until the response, on one thread.",
        head: ["client", "median", "99 %", "maximum"]
            .map(String::from)
            .into(),
        rows: results.clients.iter().filter_map(line).collect(),
    }
}

fn checkout(results: &Results) -> Table {
    let line = |(idle, count): &(u64, f64)| vec![idle.to_string(), show(*count)];
    Table {
        title: "The pool alone",
        note: "Instructions for acquiring and releasing a connection, by the number of idle connections.",
        head: ["idle connections", "instructions"]
            .map(String::from)
            .into(),
        rows: results.checkout.iter().map(line).collect(),
    }
}

impl Table {
    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!(
            "### {}\n\n{}\n\n{}",
            self.title,
            self.note,
            line(&self.head)
        );
        text.push_str("|---|");
        text.push_str(&"--:|".repeat(self.head.len() - 1));
        text.push('\n');
        text.extend(self.rows.iter().map(|row| line(row)));
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{results::Cell, workloads::WORKLOADS};

    #[test]
    fn table_has_only_measured_rows_and_clients() {
        let cell = Cell {
            instructions: Some(6001.0),
            ..Cell::default()
        };
        let results = Results {
            clients: vec![("ours", "httpcore"), ("wrk", "wrk")],
            rows: vec![Row {
                workload: WORKLOADS[0],
                cells: [("ours", cell)].into(),
            }],
            ..Results::default()
        };
        let tables = tables(&results);
        assert_eq!(tables.len(), 2);
        assert!(tables[0].markdown().ends_with(
            "| workload | what | goal | httpcore | result | wrk |\n|---|--:|--:|--:|--:|--:|\n\
             | HTTP/1.1, sequential | instructions | ≤ 6,000 | 6,001 | not met | – |\n\n"
        ));
        assert!(tables[1].markdown().ends_with(
            "| workload | httpcore | goal |\n|---|--:|--:|\n\
             | HTTP/1.1, sequential | 6,001 | ≤ 6,000 |\n\n"
        ));
    }
}
