//! `cargo xtask bench`: us, the others and the floor, in one run.
//!
//! Counts are differences: a client makes N requests, and then twice as many; what differs, divided
//! by N, is what one request costs, without the start and the end. They repeat, and decide. Times
//! do not: they are taken in alternation, shown as ratios with their spread, and asserted nowhere.
//!
//! The report is `target/bench/index.html`, and beside it the tables as Markdown and everything as
//! JSON. What is not installed is left out, by name.

mod clients;
mod counters;
pub(crate) mod guard;
mod page;
mod plots;
mod results;
mod servers;
mod tables;
mod workloads;

use std::{collections::BTreeMap, fs, path::Path, process::Command, thread};

use clients::Client;
use counters::{NoNumber, Number};
use results::{Cell, Curve, Results, Row, Spread, show};
use servers::Server;
use workloads::{How, Site, WORKLOADS, Workload};

use crate::steps::{Outcome, Report, cargo, find, output, target};

/// How often each client is timed, and in a short run. `--rounds N` says otherwise.
const ROUNDS: (usize, usize) = (5, 3);
/// How many are in flight, along the curve of costs.
const CURVE: [u64; 6] = [1, 4, 16, 64, 256, 1_000];

/// What is measured besides works, by the names that ask for it.
const BESIDES: [&str; 3] = ["nginx", "curve", "pool"];

/// What is to be measured.
struct Plan {
    is_quick: bool,
    /// How often each client is timed.
    rounds: usize,
    /// Names of works; all if there are none.
    only: Vec<String>,
    has_valgrind: bool,
    has_strace: bool,
}

pub(crate) fn run(words: &[String]) -> Outcome {
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
            && !BESIDES.contains(&name.as_str())
    };
    if let Some(unknown) = only.iter().find(is_known) {
        let known: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
        return Err(format!(
            "no such work: {unknown}; there are {}",
            known.join(", ")
        ));
    }
    let mut report = Report::default();
    let plan = Plan {
        is_quick: has("--quick"),
        rounds: rounds.unwrap_or(if has("--quick") { ROUNDS.1 } else { ROUNDS.0 }),
        only,
        has_valgrind: find("valgrind").is_some(),
        has_strace: find("strace").is_some(),
    };
    if !plan.has_valgrind {
        report.leave_out("instructions, allocations and heap: valgrind is not installed");
    }
    if !plan.has_strace {
        report.leave_out("system calls: strace is not installed");
    }
    let folder = target().join("bench");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let clients = clients::gather(plan.is_quick, &mut report)?;
    let responder = servers::responder(&target().join("release"), &folder)?;
    let mut results = Results {
        date: said("date", &["-u", "+%F"]),
        machine: machine(),
        command: command.trim_end().to_owned(),
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
        write(&results, &folder)?; // so that a run which is broken off leaves something behind
    }
    if plan.has_besides("nginx") {
        results.nginx = with_nginx(&clients, &folder, &plan, &mut report);
    }
    if plan.has_besides("curve") {
        results.curves = curves(&clients, &responder, &folder);
    }
    if plan.has_besides("pool") {
        match checkout(&plan) {
            Ok(counts) => results.checkout = counts,
            Err(why) => report.leave_out(format!("the pool alone: {why}")),
        }
    }
    drop(responder);
    failures(&results, &mut report);
    results.left_out = report.left_out.clone();
    write(&results, &folder)?;
    println!("\n    {}", folder.join("index.html").display());
    report.note = format!(
        "{} works, {} clients",
        results.rows.len(),
        results.clients.len()
    );
    Ok(report)
}

/// The words without `--rounds N`, and N.
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
    fn has_besides(&self, name: &str) -> bool {
        if self.only.is_empty() {
            !self.is_quick
        } else {
            self.only.iter().any(|wanted| wanted == name)
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
    let tables = tables::tables(results);
    let tables: String = tables.iter().map(|table| table.markdown()).collect();
    for (name, text) in [
        ("index.html", page::page(results)),
        ("tables.md", tables),
        ("results.json", results.json()),
    ] {
        let file = folder.join(name);
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

/// What went wrong stands in the report, by name.
fn failures(results: &Results, report: &mut Report) {
    for row in results.rows.iter().chain(&results.nginx) {
        for (client, cell) in &row.cells {
            for failure in &cell.failures {
                report.leave_out(format!("{client} at {}: {failure}", row.workload.name));
            }
        }
    }
}

fn said(program: &str, words: &[&str]) -> String {
    let said = output(Command::new(program).args(words)).unwrap_or_default();
    said.trim().to_owned()
}

/// Processors, their kind, and the kernel: what times depend on most.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("processor unknown", |model| {
        model.trim_start_matches([':', '\t', ' '])
    });
    format!("{cores} × {model}, {}", said("uname", &["-sr"]))
}

/// Everybody at one work: first counted, one after the other, then timed, in turns.
fn row(
    workload: &Workload,
    clients: &[Client],
    server: &Server,
    folder: &Path,
    plan: &Plan,
) -> Row {
    println!("\n{}: {}", workload.name, workload.title);
    let mut row = Row {
        workload: *workload,
        cells: BTreeMap::new(),
    };
    let ca = folder.join("ca.pem").to_string_lossy().into_owned();
    let Some(addr) = server.ports.get(workload.port) else {
        return row;
    };
    let site = Site { addr, ca: &ca };
    let mut able: Vec<&Client> = Vec::new();
    for client in clients.iter().filter(|client| !client.passes(workload)) {
        let mut cell = Cell::default();
        match count(client, workload, &site, plan, &mut cell) {
            Ok(()) => able.push(client),
            Err(NoNumber::Cannot) => continue,
            Err(NoNumber::Failed(why)) => cell.failures.push(why),
        }
        if let (Some(count), Some(allocations)) = (cell.instructions, cell.allocations) {
            println!(
                "  {:<20} {:>10} instructions {:>8} allocations",
                client.name,
                show(count),
                show(allocations)
            );
        }
        if let Some(heap) = cell.heap {
            println!("  {:<20} {:>10} bytes", client.name, show(heap));
        }
        row.cells.insert(client.name, cell);
    }
    time(workload, &able, &site, plan, &mut row);
    for client in &able {
        if let Some(calls) = row.all_calls(client.name) {
            println!("  {:<20} {:>10} system calls", client.name, show(calls));
        }
        if let Some(spread) = row.ratio(client.name, "raw") {
            println!("  {:<20} {:>10.2} × raw", client.name, spread.median);
        }
    }
    row
}

fn count(
    client: &Client,
    workload: &Workload,
    site: &Site<'_>,
    plan: &Plan,
    cell: &mut Cell,
) -> Number<()> {
    let Some(program) = client.countable() else {
        return Ok(());
    };
    let n = workload.counted;
    let words = |requests| client.words(workload, site, requests);
    let each = |twice: u64, once: u64| (twice as f64 - once as f64) / n as f64;
    match workload.how {
        How::Get | How::Connect | How::Resume => {
            if plan.has_valgrind {
                let (once, twice) = (
                    counters::instructions(program, &words(n))?,
                    counters::instructions(program, &words(2 * n))?,
                );
                cell.instructions = Some(each(twice, once));
                let (once, twice) = (
                    counters::heap(program, &words(n))?,
                    counters::heap(program, &words(2 * n))?,
                );
                cell.allocations = Some(each(twice.allocations, once.allocations));
                cell.bytes = Some(each(twice.bytes, once.bytes));
            }
        }
        How::Idle => {
            if plan.has_valgrind {
                let few = workload.in_flight / 10;
                let (few_live, many_live) = (
                    counters::heap(program, &words(few))?.live,
                    counters::heap(program, &words(few + workload.in_flight))?.live,
                );
                let more = many_live as f64 - few_live as f64;
                cell.heap = Some(more / workload.in_flight as f64);
            }
            return Ok(());
        }
        How::Download | How::Upload => {}
        How::Beside => return Ok(()),
    }
    if plan.has_strace {
        let (once, twice) = (
            counters::system_calls(program, &words(n))?,
            counters::system_calls(program, &words(2 * n))?,
        );
        let per_request = |(call, count): (&String, &u64)| {
            let before = once.get(call).copied().unwrap_or(0);
            (call.clone(), each(*count, before))
        };
        cell.calls = Some(twice.iter().map(per_request).collect());
    }
    Ok(())
}

fn time(workload: &Workload, clients: &[&Client], site: &Site<'_>, plan: &Plan, row: &mut Row) {
    if workload.timed == 0 {
        return;
    }
    for _ in 0..plan.rounds {
        for client in clients {
            let cell = row.cells.entry(client.name).or_default();
            if !cell.failures.is_empty() {
                continue;
            }
            match client.time(workload, site) {
                Ok(run) => {
                    cell.cpu.push(run.cpu);
                    cell.latencies = run.latencies;
                }
                Err(NoNumber::Cannot) => {}
                Err(NoNumber::Failed(why)) => cell.failures.push(why),
            }
        }
    }
}

/// The same with a server as it is in the world: times only, for the counts are those of clients.
fn with_nginx(clients: &[Client], folder: &Path, plan: &Plan, report: &mut Report) -> Vec<Row> {
    let server = match servers::nginx(folder) {
        Ok(server) => server,
        Err(why) => {
            report.leave_out(format!("nginx: {why}"));
            return Vec::new();
        }
    };
    let times_only = Plan {
        is_quick: plan.is_quick,
        rounds: plan.rounds,
        only: Vec::new(),
        has_valgrind: false,
        has_strace: false,
    };
    let names = ["h1", "h1-64", "https-64", "h1-download", "https-download"];
    let wanted = WORKLOADS
        .iter()
        .filter(|workload| names.contains(&workload.name));
    wanted
        .map(|workload| row(workload, clients, &server, folder, &times_only))
        .collect()
}

/// The processor's time of a small request, against how many are in flight.
fn curves(clients: &[Client], server: &Server, folder: &Path) -> BTreeMap<&'static str, Curve> {
    println!("\ncost against concurrency");
    let ca = folder.join("ca.pem").to_string_lossy().into_owned();
    let mut curves = BTreeMap::<_, Curve>::new();
    let Some(addr) = server.ports.get("h1") else {
        return curves;
    };
    let site = Site { addr, ca: &ca };
    for in_flight in CURVE {
        let workload = Workload {
            in_flight,
            ..WORKLOADS[0]
        };
        for client in clients.iter().filter(|client| !client.passes(&workload)) {
            let runs = (0..3).filter_map(|_| client.time(&workload, &site).ok());
            if let Some(spread) = Spread::of(runs.map(|run| run.cpu).collect()) {
                curves
                    .entry(client.name)
                    .or_default()
                    .push((in_flight, spread.median));
            }
        }
    }
    curves
}

/// The pool by itself, with few and with many idle connections: it must not matter.
fn checkout(plan: &Plan) -> Result<Vec<(u64, f64)>, String> {
    if !plan.has_valgrind {
        return Err("valgrind is not installed".into());
    }
    println!("\nthe pool alone");
    let said = output(cargo().args([
        "bench",
        "--locked",
        "-p",
        "httpcore-pool",
        "--bench",
        "checkout",
        "--no-run",
        "--message-format",
        "json",
    ]))?;
    let program = said.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(message["executable"].as_str()?.to_owned())
    });
    let program = program.ok_or("cargo names no program")?;
    let count = |what: &str, idle: u64, requests: u64| {
        let words = [what, &idle.to_string(), "0", &requests.to_string()].map(String::from);
        counters::instructions(Path::new(&program), &words).map_err(|why| format!("{why:?}"))
    };
    let each = |what, idle| {
        let (once, twice) = (count(what, idle, 1_000)?, count(what, idle, 2_000)?);
        Ok::<_, String>((twice as f64 - once as f64) / 1e3)
    };
    let bare = each("bare", 1)?;
    [1, 100, 10_000]
        .into_iter()
        .map(|idle| Ok((idle, each("pool", idle)? - bare)))
        .collect()
}
