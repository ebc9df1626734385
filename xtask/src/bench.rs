//! What one request costs, in things that can be counted.
//!
//! A program of the package httpcore-benches makes N requests over one connection, and then twice
//! as many; what differs, divided by N, is what one request costs, without the start and the end.
//! Instructions come from callgrind, allocations from memcheck's summary, system calls from
//! strace. All three repeat; times do not, and are not taken.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::steps::{Outcome, Report, cargo, execute, find, target};

/// A program, called with the origin's address, the number of requests, and how many of them are
/// in flight at once.
struct Program {
    name: &'static str,
    /// What it shows.
    what: &'static str,
    in_flight: u64,
    /// The most that one request should cost.
    goals: Option<Goals>,
}

struct Goals {
    instructions: f64,
    allocations: f64,
    system_calls: f64,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "raw",
        what: "blocking sockets and prepared bytes: the floor",
        in_flight: 1,
        goals: None,
    },
    Program {
        name: "keepalive",
        what: "the facade, one request after the other",
        in_flight: 1,
        goals: Some(Goals {
            instructions: 6_000.0,
            allocations: 4.0,
            system_calls: 3.0, // a write, a wait, a read
        }),
    },
    Program {
        name: "keepalive",
        what: "the facade, many requests at once",
        in_flight: 64,
        goals: Some(Goals {
            instructions: 6_000.0,
            allocations: 4.0,
            system_calls: 2.06, // one wait for all that have become ready
        }),
    },
    Program {
        name: "blocking",
        what: "the blocking facade, one request after the other",
        in_flight: 1,
        goals: Some(Goals {
            instructions: 8_000.0,
            allocations: 4.0,
            system_calls: 3.0, // a look at the idle connection, a write, a read
        }),
    },
];
/// Enough for what is rare (a buffer that grows) to vanish.
const REQUESTS: u64 = 2_000;

pub(crate) fn run(only: &[String]) -> Outcome {
    if let Some(unknown) = only
        .iter()
        .find(|name| !PROGRAMS.iter().any(|known| known.name == name.as_str()))
    {
        return Err(format!("no such program: {unknown}"));
    }
    execute(
        cargo()
            .args([
                "build",
                "--locked",
                "--release",
                "-p",
                "httpcore-origin",
                "-p",
                "httpcore-benches",
            ])
            // Where an instruction belongs can then be told; it costs none.
            .env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only"),
    )?;
    let release = target().join("release");
    let origin = Origin::start(&release.join("httpcore-origin"))?;
    let mut report = Report::default();
    let has_valgrind = find("valgrind").is_some();
    let has_strace = find("strace").is_some();
    if !has_valgrind {
        report.leave_out("instructions and allocations: valgrind is not installed");
    }
    if !has_strace {
        report.leave_out("system calls: strace is not installed");
    }
    for program in PROGRAMS {
        let Program {
            name,
            what,
            in_flight,
            goals,
        } = program;
        if !only.is_empty() && !only.iter().any(|wanted| wanted == name) {
            continue;
        }
        let bench = Bench {
            program: release.join(name),
            addr: &origin.addr,
            in_flight: *in_flight,
        };
        println!("\n{name}, {in_flight} in flight: {what}");
        let goal = |of: fn(&Goals) -> f64| goals.as_ref().map(of);
        if has_valgrind {
            let instructions = bench.difference(|requests| bench.instructions(requests))?;
            row(
                "instructions",
                instructions,
                goal(|goals| goals.instructions),
            );
            let allocations = bench.difference(|requests| bench.allocations(requests))?;
            row("allocations", allocations, goal(|goals| goals.allocations));
        }
        if has_strace {
            let calls = bench.system_calls()?;
            let all = calls.values().sum();
            row("system calls", all, goal(|goals| goals.system_calls));
            for (call, count) in calls.iter().filter(|(_, count)| **count >= 0.005) {
                println!("  {count:>10.2}    {call}");
            }
        }
    }
    Ok(report)
}

/// One line of the table.
fn row(what: &str, count: f64, goal: Option<f64>) {
    let beside = match goal {
        None => String::new(),
        // What happens once in a hundred requests (a timer that moves) is not what a request costs.
        Some(goal) if count <= goal * 1.01 => format!("  within {goal}"),
        Some(goal) => format!("  OVER {goal}"),
    };
    let line = format!("  {count:>10.2}  {what:<12}{beside}");
    println!("{}", line.trim_end());
}

struct Bench<'a> {
    program: PathBuf,
    addr: &'a str,
    in_flight: u64,
}

impl Bench<'_> {
    fn arguments(&self, requests: u64) -> [String; 3] {
        [
            self.addr.to_owned(),
            requests.to_string(),
            self.in_flight.to_string(),
        ]
    }

    /// What one request adds to `count`.
    fn difference(&self, count: impl Fn(u64) -> Result<u64, String>) -> Result<f64, String> {
        let (once, twice) = (count(REQUESTS)?, count(2 * REQUESTS)?);
        Ok((twice as f64 - once as f64) / REQUESTS as f64)
    }

    fn instructions(&self, requests: u64) -> Result<u64, String> {
        let said = self.under_valgrind(
            requests,
            &["--tool=callgrind", "--callgrind-out-file=/dev/null"],
        )?;
        after(&said, "Collected :").ok_or("callgrind printed no total".into())
    }

    fn allocations(&self, requests: u64) -> Result<u64, String> {
        let said = self.under_valgrind(requests, &["--tool=memcheck", "--leak-check=no"])?;
        after(&said, "total heap usage:").ok_or("memcheck printed no total".into())
    }

    fn under_valgrind(&self, requests: u64, tool: &[&str]) -> Result<String, String> {
        let mut command = Command::new("valgrind");
        command
            .args(tool)
            .arg(&self.program)
            .args(self.arguments(requests));
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(said)
        } else {
            Err(format!(
                "{} under valgrind: {}\n{said}",
                self.program.display(),
                output.status
            ))
        }
    }

    /// Calls per request, by name.
    fn system_calls(&self) -> Result<BTreeMap<String, f64>, String> {
        let (once, twice) = (self.count_calls(REQUESTS)?, self.count_calls(2 * REQUESTS)?);
        let per_request = |(call, count): (&String, &u64)| {
            let before = once.get(call).copied().unwrap_or(0);
            (
                call.clone(),
                (*count as f64 - before as f64) / REQUESTS as f64,
            )
        };
        Ok(twice.iter().map(per_request).collect())
    }

    fn count_calls(&self, requests: u64) -> Result<BTreeMap<String, u64>, String> {
        let table = target().join(format!("strace-{}.txt", std::process::id()));
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(&table);
        execute_quietly(command.arg(&self.program).args(self.arguments(requests)))?;
        let text = fs::read_to_string(&table).map_err(|error| error.to_string())?;
        let _ = fs::remove_file(&table);
        Ok(calls(&text))
    }
}

fn execute_quietly(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{}: {}\n{said}",
        command.get_program().display(),
        output.status
    ))
}

/// The number behind `label`, whose thousands may be separated.
fn after(text: &str, label: &str) -> Option<u64> {
    let (_, rest) = text.split_once(label)?;
    rest.split_whitespace()
        .next()?
        .replace(',', "")
        .parse()
        .ok()
}

/// The table of `strace -c`: `% time, seconds, usecs/call, calls, errors (or nothing), syscall`.
fn calls(table: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first()?.parse::<f64>().ok()?;
        let name = words.last().filter(|name| **name != "total")?;
        Some(((*name).to_owned(), words.get(3)?.parse().ok()?))
    };
    table.lines().filter_map(row).collect()
}

/// The origin as a process of its own, which ends with the pipe that this holds.
struct Origin {
    child: Child,
    addr: String,
}

impl Origin {
    fn start(program: &Path) -> Result<Self, String> {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        let addr = line.trim().strip_prefix("http://").unwrap_or("").to_owned();
        let origin = Origin { child, addr };
        if origin.addr.is_empty() {
            return Err("the origin did not say its address".into());
        }
        Ok(origin)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_from_what_valgrind_says() {
        let said = "==7== Collected : 4711\n==8==   total heap usage: 1,234 allocs, 9 frees\n";
        assert_eq!(after(said, "Collected :"), Some(4711));
        assert_eq!(after(said, "total heap usage:"), Some(1234));
        assert_eq!(after(said, "something else:"), None);
    }

    #[test]
    fn calls_are_read_from_the_table_of_strace() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 63.55    0.012345           6      2001           sendto
 36.45    0.007082           3      2000        12 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.019427           4      4001        12 total
";
        let expected = [("recvfrom".to_owned(), 2000), ("sendto".to_owned(), 2001)];
        assert_eq!(calls(table), expected.into());
    }
}
