//! The guard: compares counts of our own client with those accepted last, in `benches/baseline.json`. No
//! times are compared.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use super::{
    clients::{build_counting_locks, build_ours},
    counters::{self, NoNumber, Number},
    servers::{self, Server},
    workloads::{How, Site, WORKLOADS, Workload},
};
use xtask::{
    debian::{Debian, Missing},
    steps::{Outcome, Report, root, target},
};

/// Program and workload; `program/workload` in the file.
const WATCHED: [(&str, &str); 11] = [
    ("ours", "h1"),
    ("ours", "h1-tunnel"),
    ("ours", "h1-64"),
    ("ours", "h1-64-four-fields"),
    ("ours", "h1-fields"),
    ("ours", "h1-10k"),
    ("ours", "h1-upload"),
    ("ours", "https-64"),
    ("ours", "h2c-100"),
    ("ours", "connect"),
    ("ours-blocking", "h1"),
];

/// The cost of one request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Counts {
    instructions: f64,
    allocations: f64,
    system_calls: f64,
    lock_acquisitions: f64,
}

/// Accepted growth. Compilers and C libraries of other machines differ slightly; with many in flight, so
/// does the number of requests that are ready at once.
const TOLERANCE: Counts = Counts {
    instructions: 0.04, // a share
    allocations: 0.1,
    system_calls: 0.1,
    lock_acquisitions: 0.1,
};
/// Accepted difference between a request through a tunnel and one without, in instructions: a share.
const TUNNEL_TOLERANCE: f64 = 0.01;
/// Accepted growth of system calls with many in flight, and where a large body waits for room repeatedly:
/// a share, and an absolute minimum. An HTTP/2 connection is asked whether it is open once for each half millisecond, and
/// so the number depends on how long an iteration of the loop takes.
const CALLS_BY_CHANCE: (f64, f64) = (0.12, 0.05);
/// Accepted growth of allocations of an upload: its queue of frames grows depending on when there is room.
const ALLOCATIONS_BY_CHANCE: f64 = 4.0;

/// The accepted counts and their conditions.
#[derive(Debug, Serialize, Deserialize)]
struct Baseline {
    /// What instructions depend on besides the code. Under other conditions they are not compared.
    conditions: BTreeMap<String, String>,
    workloads: Workloads,
}

type Workloads = BTreeMap<String, Counts>;

fn file() -> PathBuf {
    root().join("benches/baseline.json")
}

/// Returns what a request costs more through a tunnel than without, if that is too much. The two are counted in
/// one run, and so are comparable anywhere.
fn tunnel_excess(counted: &Workloads) -> Option<String> {
    let (direct, tunnel) = (counted.get("ours/h1")?, counted.get("ours/h1-tunnel")?);
    let share = tunnel.instructions / direct.instructions - 1.0;
    (share > TUNNEL_TOLERANCE).then(|| {
        format!(
            "ours/h1-tunnel: {:.1} % more instructions than ours/h1, and not at most {:.0} %",
            share * 100.0,
            TUNNEL_TOLERANCE * 100.0
        )
    })
}

/// Counts, and compares with the accepted counts. The step `counts` of `ci`.
///
/// # Errors
///
/// If a count has grown beyond its tolerance, or cannot be taken.
pub fn check() -> Outcome {
    let mut report = Report::default();
    let debian = Debian::default();
    for tool in ["valgrind", "strace"] {
        match debian.has(tool, &[tool]) {
            Ok(()) if runs(tool) => {}
            Ok(()) => {
                report.leave_out(format!(
                    "the guard of our counts: {tool} is installed but cannot trace programs here"
                ));
                return Ok(report);
            }
            Err(Missing::LeftOut(why)) => {
                report.leave_out(format!(
                    "the guard of our counts, which needs {tool}: {why}"
                ));
                return Ok(report);
            }
            Err(Missing::Failed(why)) => return Err(format!("{tool}: {why}")),
        }
    }
    let text = fs::read_to_string(file()).map_err(|error| format!("the baseline: {error}"))?;
    let accepted: Baseline =
        serde_json::from_str(&text).map_err(|error| format!("the baseline: {error}"))?;
    let conditions = conditions();
    let is_comparable = conditions == accepted.conditions;
    if !is_comparable {
        report.leave_out(format!(
            "instructions against the baseline, which was counted with {:?}, and not with {conditions:?}",
            accepted.conditions
        ));
    }
    let accepted = accepted.workloads;
    let counted = count()?;
    let mut worse = Vec::new();
    for (name, counts) in &counted {
        let Some(before) = accepted.get(name) else {
            worse.push(format!("{name} is not in the baseline"));
            continue;
        };
        println!("    {name}: {}", compared(counts, before));
        let mut counts = *counts;
        if !is_comparable {
            counts.instructions = before.instructions;
        }
        worse.extend(excess(name, &counts, before));
    }
    worse.extend(tunnel_excess(&counted));
    let gone = accepted.keys().filter(|name| !counted.contains_key(*name));
    worse.extend(gone.map(|name| format!("{name} is in the baseline and was not counted")));
    if worse.is_empty() {
        report.note = format!("{} workloads within their counts", counted.len());
        return Ok(report);
    }
    for line in &worse {
        eprintln!("    {line}");
    }
    Err(format!(
        "{}; if the growth is justified, run `cargo xtask bench --accept` and give the reason in the commit",
        worse.join("; ")
    ))
}

/// Accepts the current counts.
pub(crate) fn accept() -> Outcome {
    let baseline = Baseline {
        conditions: conditions(),
        workloads: count()?,
    };
    let text = serde_json::to_string_pretty(&baseline).map_err(|error| error.to_string())?;
    fs::write(file(), text + "\n").map_err(|error| format!("the baseline: {error}"))?;
    let counted = baseline.workloads;
    for (name, counts) in &counted {
        println!("    {name}: {counts:?}");
    }
    Ok(Report::note(format!(
        "{} workloads accepted",
        counted.len()
    )))
}

/// Whether `tool` works here: some containers forbid tracing.
fn runs(tool: &str) -> bool {
    let arguments: &[&str] = match tool {
        "strace" => &["-o", "/dev/null", "true"],
        _ => &["--tool=none", "true"],
    };
    let run = Command::new(tool)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

/// Returns the versions of compiler, C library and valgrind, and the processor features that code selects
/// by.
fn conditions() -> BTreeMap<String, String> {
    let said = |program: &str, arguments: &[&str]| {
        let run = Command::new(program).args(arguments).output();
        let text = run.map_or(String::new(), |run| {
            String::from_utf8_lossy(&run.stdout).into_owned()
        });
        text.lines().next().unwrap_or_default().to_owned()
    };
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = flags.lines().find(|line| line.starts_with("flags"));
    let flags: Vec<&str> = flags.unwrap_or_default().split_whitespace().collect();
    let features = ["sse4_2", "avx", "avx2", "bmi2", "erms", "aes", "pclmulqdq"];
    let has: Vec<&str> = features
        .into_iter()
        .filter(|flag| flags.contains(flag))
        .collect();
    BTreeMap::from([
        ("rustc".to_owned(), said("rustc", &["--version"])),
        ("libc".to_owned(), said("ldd", &["--version"])),
        ("valgrind".to_owned(), said("valgrind", &["--version"])),
        ("processor".to_owned(), has.join(" ")),
    ])
}

fn count() -> Result<Workloads, String> {
    let release = build_ours()?;
    let counting_locks = build_counting_locks()?;
    let folder = target().join("counts");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let server = servers::responder(&release, &folder)?;
    let ca = folder.join("ca.pem").to_string_lossy().into_owned();
    let mut counted = Workloads::new();
    for (program, work) in WATCHED {
        let known = WORKLOADS.iter().find(|workload| workload.name == work);
        let workload = known.ok_or(format!("unknown workload: {work}"))?;
        let name = format!("{program}/{work}");
        match one(&release, &counting_locks, program, workload, &server, &ca) {
            Ok(counts) => {
                counted.insert(name, counts);
            }
            Err(why) => {
                let why = why
                    .failure()
                    .unwrap_or("it does not support the workload".to_owned());
                return Err(format!("{name}: {why}"));
            }
        }
    }
    Ok(counted)
}

fn one(
    release: &Path,
    counting_locks: &Path,
    program: &str,
    workload: &Workload,
    server: &Server,
    ca: &str,
) -> Number<Counts> {
    let counting_locks = counting_locks.join(program);
    let program = &release.join(program);
    let addr = server.ports.get(workload.port);
    let addr = addr.ok_or("the responder has no such port".to_owned())?;
    let site = Site { addr, ca };
    let n = workload.counted;
    let (once, twice) = (workload.words(&site, n), workload.words(&site, 2 * n));
    let each = |twice: u64, once: u64| {
        let more = (twice as f64 - once as f64) / n as f64;
        (more * 100.0).round() / 100.0
    };
    let calls = |words: &[String]| {
        let calls = counters::system_calls(program, words)?;
        Ok::<u64, NoNumber>(calls.values().sum())
    };
    Ok(Counts {
        instructions: each(
            counters::instructions(program, &twice)?,
            counters::instructions(program, &once)?,
        )
        .round(),
        allocations: each(
            counters::heap(program, &twice)?.allocations,
            counters::heap(program, &once)?.allocations,
        ),
        system_calls: each(calls(&twice)?, calls(&once)?),
        lock_acquisitions: each(
            counters::lock_acquisitions(&counting_locks, &twice)?,
            counters::lock_acquisitions(&counting_locks, &once)?,
        ),
    })
}

fn compared(now: &Counts, before: &Counts) -> String {
    format!(
        "{:.0} instructions ({:+.1} %), {:.2} allocations ({:+.2}), {:.2} system calls ({:+.2}), \
         {:.2} acquisitions of the pool's lock ({:+.2})",
        now.instructions,
        (now.instructions / before.instructions.max(1.0) - 1.0) * 100.0,
        now.allocations,
        now.allocations - before.allocations,
        now.system_calls,
        now.system_calls - before.system_calls,
        now.lock_acquisitions,
        now.lock_acquisitions - before.lock_acquisitions,
    )
}

/// Describes each count that has grown beyond its tolerance.
fn excess(name: &str, now: &Counts, before: &Counts) -> Vec<String> {
    let (_, work) = name.split_once('/').unwrap_or(("", name));
    let work = WORKLOADS.iter().find(|known| known.name == work);
    let is_upload = work.is_some_and(|work| work.how == How::Upload);
    let is_steady = work.is_some_and(|work| work.in_flight == 1) && !is_upload;
    let (share, least) = CALLS_BY_CHANCE;
    let calls = if is_steady {
        TOLERANCE.system_calls
    } else {
        (before.system_calls * share).max(least)
    };
    let instructions = if is_upload {
        share // each wait for room costs some
    } else {
        TOLERANCE.instructions
    };
    let limits = [
        (
            "instructions",
            now.instructions,
            before.instructions,
            before.instructions * instructions,
        ),
        (
            "allocations",
            now.allocations,
            before.allocations,
            if is_upload {
                ALLOCATIONS_BY_CHANCE
            } else {
                TOLERANCE.allocations
            },
        ),
        ("system calls", now.system_calls, before.system_calls, calls),
        (
            "acquisitions of the pool's lock",
            now.lock_acquisitions,
            before.lock_acquisitions,
            if is_upload {
                before.lock_acquisitions * share // each poll that waits for room acquires it
            } else {
                TOLERANCE.lock_acquisitions
            },
        ),
    ];
    limits
        .iter()
        .filter(|(_, now, before, more)| now - before > *more)
        .map(|(what, now, before, _)| format!("{name}: {what} grew from {before} to {now}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Counts = Counts {
        instructions: 10_000.0,
        allocations: 4.0,
        system_calls: 3.0,
        lock_acquisitions: 2.0,
    };

    #[test]
    fn growth_beyond_the_tolerance_is_reported() {
        assert_eq!(excess("ours/h1", &BEFORE, &BEFORE), Vec::<String>::new());
        let grown: [fn(&mut Counts); 4] = [
            |counts| counts.instructions = 10_401.0,
            |counts| counts.allocations = 5.0,
            |counts| counts.system_calls = 3.2,
            |counts| counts.lock_acquisitions = 3.0,
        ];
        for grow in grown {
            let mut now = BEFORE;
            grow(&mut now);
            assert_eq!(excess("ours/h1", &now, &BEFORE).len(), 1, "{now:?}");
        }
    }

    #[test]
    fn a_tunnel_that_costs_more_than_one_percent_is_reported() {
        for (tunnel, is_reported) in [(9_000.0, false), (10_099.0, false), (10_101.0, true)] {
            let mut counted = Workloads::from([("ours/h1".to_owned(), BEFORE)]);
            assert_eq!(tunnel_excess(&counted), None);
            let counts = Counts {
                instructions: tunnel,
                ..BEFORE
            };
            counted.insert("ours/h1-tunnel".to_owned(), counts);
            assert_eq!(tunnel_excess(&counted).is_some(), is_reported, "{tunnel}");
        }
    }

    #[test]
    fn growth_within_the_tolerance_passes() {
        let less = Counts {
            instructions: 1.0,
            allocations: 0.0,
            system_calls: 0.0,
            lock_acquisitions: 0.0,
        };
        let more = Counts {
            instructions: 10_399.0,
            allocations: 4.05,
            system_calls: 3.05,
            lock_acquisitions: 2.05,
        };
        for now in [less, more] {
            assert_eq!(excess("ours/h1", &now, &BEFORE), Vec::<String>::new());
        }
        // The number that are ready at once varies.
        let together = Counts {
            system_calls: 3.3,
            ..BEFORE
        };
        for name in ["ours/h1-64", "ours/h1-upload"] {
            assert_eq!(excess(name, &together, &BEFORE), Vec::<String>::new());
        }
        assert_eq!(excess("ours/h1", &together, &BEFORE).len(), 1);
    }
}
