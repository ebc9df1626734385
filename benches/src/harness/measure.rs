//! Measures every client at each workload: first counts, one after the other, then times, alternately.

use std::{collections::BTreeMap, path::Path, thread, time::Duration};

use super::{
    Plan,
    clients::{COUNTING_LOCKS, Client, like_ours},
    counters::{self, Heap, NoNumber, Number},
    profile::{self, PROFILED},
    results::{Cell, Curve, Row, Spread, show},
    servers::{self, Server},
    workloads::{How, Site, WORKLOADS, Workload},
};
use xtask::steps::{Report, cargo, now, output, target};

/// Numbers of requests in flight along the curve of costs.
const CURVE: [u64; 6] = [1, 4, 16, 64, 256, 1_000];

pub(super) fn row(
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
        println!("  the server has no such port");
        return row;
    };
    let site = Site { addr, ca: &ca };
    let begun = now();
    let mut able: Vec<&Client> = Vec::new();
    for client in clients.iter().filter(|client| !client.skips(workload)) {
        let (mut cell, begun) = (Cell::default(), now());
        match count(client, workload, &site, plan, &mut cell) {
            Ok(()) => able.push(client),
            Err(NoNumber::Cannot) => continue,
            Err(why) => cell.failures.extend(why.failure()),
        }
        counted(client, &cell, begun.elapsed());
        row.cells.insert(client.name, cell);
    }
    let (counting, begun) = (begun.elapsed(), now());
    time(workload, &able, &site, plan, &mut row);
    for client in &able {
        if let Some(spread) = row.ratio(client.name, "baseline") {
            println!("  {:<20} {:>10.2} × baseline", client.name, spread.median);
        }
        if let Some(spread) = row.wait(client.name) {
            println!("  {:<20} {:>10.1} ms", client.name, spread.median / 1e6);
        }
    }
    let timing = begun.elapsed();
    println!(
        "  counted in {:.1} s, timed in {:.1} s",
        counting.as_secs_f64(),
        timing.as_secs_f64()
    );
    row
}

/// Prints the counts, with the time that counting took.
fn counted(client: &Client, cell: &Cell, time: Duration) {
    let calls = cell.calls.as_ref().map(|calls| calls.values().sum());
    let numbers = [
        (cell.instructions, "instructions"),
        (cell.allocations, "allocations"),
        (cell.heap, "bytes"),
        (calls, "system calls"),
        (cell.locks, "acquisitions of the pool's lock"),
    ];
    let said: Vec<_> = numbers
        .iter()
        .filter_map(|(number, what)| Some(format!("{:>10} {what}", show((*number)?))))
        .chain(cell.failures.iter().map(|why| format!("FAILED: {why}")))
        .collect();
    if !said.is_empty() {
        let seconds = time.as_secs_f64();
        println!("  {:<20} {} ({seconds:.1} s)", client.name, said.join(", "));
    }
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
    let n = client.counted(workload);
    let words = |requests| workload.words(site, requests);
    let each = |twice: u64, once: u64| (twice as f64 - once as f64) / n as f64;
    match workload.how {
        How::Get | How::Tunnel | How::Connect | How::Resume => {
            if plan.has_valgrind {
                // Callgrind writes a file only where a profile is needed.
                let is_profiled =
                    plan.has_profiles && client.name == "ours" && PROFILED.contains(&workload.name);
                let file = |name: &str| {
                    if is_profiled {
                        target().join("bench").join(name)
                    } else {
                        "/dev/null".into()
                    }
                };
                let files = (file("callgrind-once.out"), file("callgrind-twice.out"));
                // In parallel: there are two processors, and no time is measured here.
                let (instructions, heap) = thread::scope(|scope| {
                    let heap = scope.spawn(|| {
                        let once = counters::heap(program, &words(n))?;
                        let twice = counters::heap(program, &words(2 * n))?;
                        Ok::<(Heap, Heap), NoNumber>((once, twice))
                    });
                    let count = |file, requests| {
                        counters::instructions_into(file, program, &words(requests))
                    };
                    let once = count(&files.0, n);
                    let both = once.and_then(|once| Ok((once, count(&files.1, 2 * n)?)));
                    (both, heap.join())
                });
                let (once, twice) = instructions?;
                cell.instructions = Some(each(twice, once));
                if is_profiled {
                    match profile::difference(&files.0, &files.1, n) {
                        Ok(profile) => cell.profile = Some(profile),
                        Err(why) => println!("  {:<20} {why}", client.name),
                    }
                }
                let (once, twice) = heap.map_err(|_| "a thread panicked".to_owned())??;
                cell.allocations = Some(each(twice.allocations, once.allocations));
                cell.bytes = Some(each(twice.bytes, once.bytes));
            }
            let counting_locks = plan.counting_locks.as_ref();
            if let Some(folder) = counting_locks.filter(|_| COUNTING_LOCKS.contains(&client.name)) {
                let program = folder.join(client.name);
                let locks = |requests| counters::lock_acquisitions(&program, &words(requests));
                cell.locks = Some(each(locks(2 * n)?, locks(n)?));
            }
        }
        How::Idle => {
            if plan.has_valgrind {
                let more = client.idle(workload);
                let few = more / 10;
                let (few_live, many_live) = (
                    counters::heap(program, &words(few))?.live,
                    counters::heap(program, &words(few + more))?.live,
                );
                cell.heap = Some((many_live as f64 - few_live as f64) / more as f64);
                cell.idle = Some(more);
            }
            return Ok(());
        }
        How::Download | How::Upload => {}
        How::ConcurrentDownload | How::HappyEyeballs => return Ok(()),
    }
    if plan.has_strace {
        let count = |requests| counters::system_calls(program, &words(requests));
        // With reads of varying size, two bodies may take fewer reads than one.
        let mut tries = 3;
        let (once, twice) = loop {
            let (once, twice) = (count(n)?, count(2 * n)?);
            if twice.values().sum::<u64>() > once.values().sum() {
                break (once, twice);
            }
            tries -= 1;
            if tries == 0 {
                let why = "no more system calls for twice the requests: they do not repeat";
                return Err(why.to_owned().into());
            }
        };
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
    for round in 0..plan.rounds {
        for client in clients {
            let cell = row.cells.entry(client.name).or_default();
            let is_done = !cell.failures.is_empty() || cell.endless.is_some();
            if is_done || round >= client.max_rounds(workload) {
                continue;
            }
            match client.time(workload, site) {
                Ok(run) => {
                    cell.cpu.push(run.cpu);
                    cell.walls.push(run.wall);
                    cell.latencies = run.latencies;
                }
                Err(NoNumber::Endless(seconds)) if workload.how == How::HappyEyeballs => {
                    cell.endless = Some(seconds);
                }
                Err(why) => cell.failures.extend(why.failure()),
            }
        }
    }
}

/// Times some workloads with nginx. Counts are left out: they depend on the client only.
pub(super) fn with_nginx(
    clients: &[Client],
    folder: &Path,
    plan: &Plan,
    report: &mut Report,
) -> Vec<Row> {
    let server = match servers::nginx(folder) {
        Ok(server) => server,
        Err(why) => {
            report.leave_out(format!("nginx: {why}"));
            return Vec::new();
        }
    };
    let times_only = plan.times_only();
    let names = ["h1", "h1-64", "https-64", "h1-download", "https-download"];
    let wanted = WORKLOADS
        .iter()
        .filter(|workload| names.contains(&workload.name));
    wanted
        .map(|workload| row(workload, clients, &server, folder, &times_only))
        .collect()
}

/// Processor time of a small request by the number in flight.
pub(super) fn curves(
    clients: &[Client],
    server: &Server,
    folder: &Path,
) -> BTreeMap<&'static str, Curve> {
    println!("\ncost against concurrency");
    let ca = folder.join("ca.pem").to_string_lossy().into_owned();
    let mut curves = BTreeMap::<_, Curve>::new();
    let Some(addr) = server.ports.get("h1") else {
        return curves;
    };
    let site = Site { addr, ca: &ca };
    for in_flight in CURVE {
        let (begun, workload) = (
            now(),
            Workload {
                in_flight,
                ..WORKLOADS[0]
            },
        );
        for client in clients.iter().filter(|client| !client.skips(&workload)) {
            let runs = (0..3.min(client.max_rounds(&workload)))
                .filter_map(|_| client.time(&workload, &site).ok());
            if let Some(spread) = Spread::of(runs.map(|run| run.cpu).collect()) {
                curves
                    .entry(client.name)
                    .or_default()
                    .push((in_flight, spread.median));
            }
        }
        println!("  {in_flight} in {:.1} s", begun.elapsed().as_secs_f64());
    }
    curves
}

/// Instructions of the pool alone, with few and with many idle connections: the number must not matter.
pub(super) fn checkout(plan: &Plan) -> Result<Vec<(u64, f64)>, String> {
    if !plan.has_valgrind {
        return Err("valgrind is not installed".into());
    }
    println!("\nthe pool alone");
    let said = output(like_ours(cargo().args([
        "bench",
        "--locked",
        "-p",
        "httpcore-pool",
        "--bench",
        "checkout",
        "--no-run",
        "--message-format",
        "json",
    ])))?;
    let program = said.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(message["executable"].as_str()?.to_owned())
    });
    let program = program.ok_or("cargo names no program")?;
    let count = |what: &str, idle: u64, requests: u64| {
        let words = [what, &idle.to_string(), "0", &requests.to_string()].map(String::from);
        counters::instructions(Path::new(&program), &words)
            .map_err(|why| why.failure().unwrap_or_default())
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
