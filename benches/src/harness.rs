//! The harness of `cargo xtask bench`: our client, other clients and the baseline client in one run.
//!
//! Counts are differences: a client makes N requests, and then twice as many; the difference, divided by N,
//! is the cost of one request without start and end. Counts repeat, and decide. Times do not repeat: they
//! are measured alternately, shown as ratios with their spread, and never asserted.
//!
//! The report is `target/bench/index.html`, with the tables as Markdown and all results as JSON beside it.
//! Tools that are not installed are reported as left out.

mod clients;
mod counters;
mod goals;
pub mod guard;
mod measure;
mod page;
mod plots;
mod profile;
mod results;
mod servers;
mod tables;
mod workloads;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use measure::{checkout, curves, row, with_nginx};
use results::Results;
use workloads::{WORKLOADS, Workload};

use xtask::steps::{Outcome, Report, find, now, output, root, target};

/// Number of timed runs of each client, and with `--quick`. `--rounds N` overrides both.
const ROUNDS: (usize, usize) = (5, 3);
/// The marks around the tables in `docs/performance.md`.
const TABLES: (&str, &str) = ("<!-- tables -->\n", "<!-- end of tables -->");

/// Names of the measurements that are no workloads.
const EXTRAS: [&str; 3] = ["nginx", "curve", "pool"];

/// The selection of measurements.
struct Plan {
    is_quick: bool,
    /// Number of timed runs of each client.
    rounds: usize,
    /// Names of workloads; all if empty.
    only: Vec<String>,
    has_valgrind: bool,
    has_strace: bool,
    /// Whether instructions can be attributed to functions.
    has_profiles: bool,
    /// The folder of the programs that count acquisitions of the pool's lock, if these are counted.
    counting_locks: Option<PathBuf>,
}

/// Measures what `words` select, and writes the report.
///
/// # Errors
///
/// If an argument is unknown, a build fails, or the report cannot be written.
pub fn run(words: &[String]) -> Outcome {
    let has = |flag: &str| words.iter().any(|word| word == flag);
    if has("--accept") {
        return guard::accept();
    }
    let command = format!("cargo xtask bench {}", words.join(" "));
    let (words, rounds) = rounds(words)?;
    let only: Vec<String> = words
        .iter()
        .filter(|word| !word.starts_with("--"))
        .cloned()
        .collect();
    let is_known = |name: &&String| {
        !WORKLOADS.iter().any(|known| known.name == name.as_str())
            && !EXTRAS.contains(&name.as_str())
    };
    if let Some(unknown) = only.iter().find(is_known) {
        let known: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
        return Err(format!(
            "unknown workload: {unknown}; known are {}",
            known.join(", ")
        ));
    }
    if has("--write") && (has("--quick") || !only.is_empty()) {
        return Err(
            "--write requires a complete run: its tables are compared with one another".into(),
        );
    }
    let mut report = Report::default();
    let plan = Plan {
        is_quick: has("--quick"),
        rounds: rounds.unwrap_or(if has("--quick") { ROUNDS.1 } else { ROUNDS.0 }),
        only,
        has_valgrind: find("valgrind").is_some(),
        has_strace: find("strace").is_some(),
        has_profiles: find("callgrind_annotate").is_some(),
        counting_locks: Some(clients::build_counting_locks()?),
    };
    if !plan.has_valgrind {
        report.leave_out("instructions, allocations and heap: valgrind is not installed");
    }
    if !plan.has_profiles {
        report.leave_out("our instructions by crate: callgrind_annotate is not installed");
    }
    if !plan.has_strace {
        report.leave_out("system calls: strace is not installed");
    }
    let folder = target().join("bench");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let clients = clients::gather(plan.is_quick, &mut report)?;
    let begun = now();
    let responder = servers::responder(&target().join("release"), &folder)?;
    let mut results = Results {
        date: printed_by("date", &["-u", "+%F"]),
        machine: machine(),
        command: command.trim_end().to_owned(),
        took: "an aborted run".to_owned(),
        versions: clients::versions(),
        clients: clients
            .iter()
            .map(|client| (client.name, client.title))
            .collect(),
        ..Results::default()
    };
    for workload in WORKLOADS.iter().filter(|workload| plan.has(workload)) {
        let row = row(workload, &clients, &responder, &folder, &plan);
        results.rows.push(row);
        write(&results, &folder)?; // so that an aborted run leaves its results
    }
    if plan.has_extra("nginx") {
        results.nginx = with_nginx(&clients, &folder, &plan, &mut report);
    }
    if plan.has_extra("curve") {
        results.curves = curves(&clients, &responder, &folder);
    }
    if plan.has_extra("pool") {
        match checkout(&plan) {
            Ok(counts) => results.checkout = counts,
            Err(why) => report.leave_out(format!("the pool alone: {why}")),
        }
    }
    drop(responder);
    let seconds = begun.elapsed().as_secs();
    results.took = format!("{} min {} s", seconds / 60, seconds % 60);
    failures(&results, &mut report);
    results.left_out = report.left_out.clone();
    write(&results, &folder)?;
    if has("--write") {
        renew_page(&results)?;
    }
    println!("\n    {}", folder.join("index.html").display());
    report.note = format!(
        "{} workloads, {} clients",
        results.rows.len(),
        results.clients.len()
    );
    Ok(report)
}

/// Returns the words without `--rounds N`, and N.
fn rounds(words: &[String]) -> Result<(Vec<String>, Option<usize>), String> {
    let mut words = words.to_vec();
    let Some(at) = words.iter().position(|word| word == "--rounds") else {
        return Ok((words, None));
    };
    let count = words.get(at + 1).and_then(|count| count.parse().ok());
    let count = count.filter(|count| *count > 0);
    words.drain(at..words.len().min(at + 2));
    Ok((words, Some(count.ok_or("--rounds needs a number")?)))
}

impl Plan {
    fn has_extra(&self, name: &str) -> bool {
        if self.only.is_empty() {
            !self.is_quick
        } else {
            self.only.iter().any(|wanted| wanted == name)
        }
    }

    /// The plan of secondary measurements: no counts, and at most two rounds.
    fn times_only(&self) -> Self {
        Plan {
            rounds: self.rounds.min(2),
            has_valgrind: false,
            has_strace: false,
            counting_locks: None,
            only: self.only.clone(),
            ..*self
        }
    }

    fn has(&self, workload: &Workload) -> bool {
        if self.only.is_empty() {
            !self.is_quick || workload.is_quick
        } else {
            self.only.iter().any(|name| name == workload.name)
        }
    }
}

fn write(results: &Results, folder: &Path) -> Result<(), String> {
    for (name, text) in [
        ("index.html", page::page(results)),
        ("tables.md", tables::page(results)),
        ("results.json", results.json()),
    ] {
        let file = folder.join(name);
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

/// Writes the tables of this run into `docs/performance.md`.
fn renew_page(results: &Results) -> Result<(), String> {
    let file = root().join("docs/performance.md");
    let failed = |error| format!("{}: {error}", file.display());
    let text = fs::read_to_string(&file).map_err(failed)?;
    let page = with_tables(&text, &tables::page(results)).ok_or(format!(
        "{}: the marks of the tables are missing",
        file.display()
    ))?;
    fs::write(&file, page).map_err(failed)
}

/// Returns `text` with other tables between the marks.
fn with_tables(text: &str, tables: &str) -> Option<String> {
    let (before, rest) = text.split_once(TABLES.0)?;
    let (_, after) = rest.split_once(TABLES.1)?;
    let (open, close) = TABLES;
    Some(format!("{before}{open}\n{tables}{close}{after}"))
}

/// Adds failures to the report, by name.
fn failures(results: &Results, report: &mut Report) {
    for row in results.rows.iter().chain(&results.nginx) {
        for (client, cell) in &row.cells {
            for failure in &cell.failures {
                report.leave_out(format!("{client} at {}: {failure}", row.workload.name));
            }
        }
    }
}

fn printed_by(program: &str, words: &[&str]) -> String {
    let text = output(Command::new(program).args(words)).unwrap_or_default();
    text.trim().to_owned()
}

/// Describes processors and kernel, on which times depend most.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("processor unknown", |model| {
        model.trim_start_matches([':', '\t', ' '])
    });
    let kernel = printed_by("uname", &["-r"]);
    let mut numbers = kernel.splitn(3, '.');
    let (major, minor) = (numbers.next(), numbers.next());
    format!(
        "{cores} × {model}, Linux {}.{}",
        major.unwrap_or_default(),
        minor.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_marks_is_replaced() {
        let page = |tables| format!("a\n{}\n{tables}{}\nb\n", TABLES.0, TABLES.1);
        assert_eq!(with_tables(&page("old\n"), "new\n"), Some(page("new\n")));
        assert_eq!(with_tables("a\nb\n", "new\n"), None);
    }

    #[test]
    fn page_has_the_marks_of_the_tables() {
        let page = fs::read_to_string(root().join("docs/performance.md")).unwrap();
        assert!(with_tables(&page, "").is_some());
    }
}
