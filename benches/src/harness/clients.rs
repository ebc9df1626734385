//! The clients: our programs, those of `benches/peers/`, and tools that are installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    counters::{LIMIT, Number, run, timed},
    servers::CLIENTS,
    workloads::{How, Site, Workload},
};
use xtask::steps::{Report, cargo, execute, find, python_with, root, target};

/// The package of the Python client.
const PYTHON: &str = "httpcore[asyncio,http2]==1.0.9";

/// One client, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// For the results and the command line.
    pub(crate) name: &'static str,
    /// For tables and plots.
    pub(crate) title: &'static str,
    program: Program,
}

#[derive(Clone, Debug)]
enum Program {
    /// Takes the command line of `httpcore_benches`.
    Ours(PathBuf),
    /// Takes the same command line. Slow to start, and not counted.
    Python(PathBuf),
    Wrk(PathBuf),
    H2load(PathBuf),
}

/// One timed run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Processor time for each request, in nanoseconds.
    pub(crate) cpu: f64,
    /// Elapsed time of the whole run, in nanoseconds.
    pub(crate) wall: f64,
    /// Quantiles of the latencies: share of the requests, nanoseconds.
    pub(crate) latencies: Vec<(f64, f64)>,
}

/// Builds the programs of this workspace and returns their folder.
pub(crate) fn build_ours() -> Result<PathBuf, String> {
    let programs = ["ours", "ours-blocking", "responder"];
    let mut command = cargo();
    command.args(["build", "--locked", "--release", "-p", "httpcore-benches"]);
    command.args(programs.iter().flat_map(|name| ["--bin", name]));
    execute(like_ours(&mut command))?;
    Ok(target().join("release"))
}

/// The programs whose acquisitions of the pool's lock are counted.
pub(crate) const COUNTING_LOCKS: [&str; 2] = ["ours", "ours-blocking"];

/// Builds [`COUNTING_LOCKS`] with a count of how often the pool's lock is acquired, and returns their
/// folder. The profile is that of development: the count does not depend on it, and the programs
/// whose instructions are counted stay as they are.
pub(crate) fn build_counting_locks() -> Result<PathBuf, String> {
    let mut command = cargo();
    command.args(["build", "--locked", "-p", "httpcore-benches"]);
    command.args(["--features", "lock-count"]);
    command.args(COUNTING_LOCKS.iter().flat_map(|name| ["--bin", name]));
    execute(&mut command)?;
    Ok(target().join("debug"))
}

/// Sets the options that all builds of our programs share, so that nothing is built twice. Line tables
/// attribute instructions to functions, and cost no instruction.
pub(crate) fn like_ours(command: &mut Command) -> &mut Command {
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only")
}

/// Returns all clients that are available. Others are reported as left out.
pub(crate) fn gather(is_quick: bool, report: &mut Report) -> Result<Vec<Client>, String> {
    let release = build_ours()?;
    let mut clients = Vec::new();
    let mut add = |name, title, program| {
        clients.push(Client {
            name,
            title,
            program,
        });
    };
    let peers: &[(&str, &str)] = if is_quick {
        &[
            ("baseline", "baseline"),
            ("ours-tokio", "httpcore on tokio"),
            ("hyper-util", "hyper + hyper-util"),
        ]
    } else {
        &[
            ("baseline", "baseline"),
            ("ours-tokio", "httpcore on tokio"),
            ("hyper", "hyper, no pool"),
            ("hyper-util", "hyper + hyper-util"),
            ("reqwest", "reqwest"),
            ("ureq", "ureq"),
            ("isahc", "isahc (libcurl)"),
        ]
    };
    let built = build_peers(peers, report);
    let peer = |name: &str| built.iter().find(|(built, _)| *built == name);
    if let Some((_, program)) = peer("baseline") {
        add("baseline", "baseline", Program::Ours(program.clone()));
    }
    add("ours", "httpcore", Program::Ours(release.join("ours")));
    let blocking = Program::Ours(release.join("ours-blocking"));
    add("ours-blocking", "httpcore, blocking", blocking);
    for (name, title) in &peers[1..] {
        if let Some((_, program)) = peer(name) {
            add(name, title, Program::Ours(program.clone()));
        }
    }
    if is_quick {
        return Ok(clients);
    }
    match find("wrk") {
        Some(wrk) => add("wrk", "wrk", Program::Wrk(wrk)),
        None => report.leave_out("wrk: not installed"),
    }
    match find("h2load") {
        Some(h2load) => add("h2load", "h2load", Program::H2load(h2load)),
        None => report.leave_out("h2load: not installed (Debian has it in nghttp2-client)"),
    }
    match python_with(PYTHON, &target().join("bench/venv")) {
        Ok(python) => add("python", "Python httpcore", Program::Python(python)),
        Err(why) => report.leave_out(format!("Python httpcore: {why}")),
    }
    Ok(clients)
}

/// Builds all peers at once; if that fails, each separately, so that one does not prevent the others.
fn build_peers<'a>(peers: &[(&'a str, &'a str)], report: &mut Report) -> Vec<(&'a str, PathBuf)> {
    let folder = target().join("peers");
    let build = |names: &[&str]| {
        let mut command = cargo();
        command
            .current_dir(root().join("benches/peers"))
            .args(["build", "--locked", "--release"])
            .args(["--features", &names.join(",")])
            .env("CARGO_TARGET_DIR", &folder);
        for name in names {
            command.args(["--bin", name]);
        }
        execute(&mut command)
    };
    let names: Vec<&str> = peers.iter().map(|(name, _)| *name).collect();
    let all_are_there = build(&names).is_ok();
    let mut built = Vec::new();
    for name in names {
        match if all_are_there {
            Ok(())
        } else {
            build(&[name])
        } {
            Ok(()) => built.push((name, folder.join("release").join(name))),
            Err(why) => report.leave_out(format!("{name}: the build failed: {why}")),
        }
    }
    built
}

impl Client {
    /// Returns the program, if its instructions and calls can be counted.
    pub(crate) fn countable(&self) -> Option<&Path> {
        match &self.program {
            Program::Ours(program) => Some(program),
            _ => None,
        }
    }

    /// Whether it is known not to support `workload`, or to take too long.
    pub(crate) fn skips(&self, workload: &Workload) -> bool {
        // The others have one thread.
        if workload.workers > 0 && !["ours-tokio", "hyper-util"].contains(&self.name) {
            return true;
        }
        match (&self.program, workload.how) {
            (_, How::Tunnel) => self.name != "ours",
            (Program::Wrk(_), how) => {
                workload.is_http2() || !matches!(how, How::Get | How::Download)
            }
            (Program::H2load(_), how) => {
                !workload.is_http2() || !matches!(how, How::Get | How::Download)
            }
            (Program::Python(_), How::Get) => workload.in_flight > 100,
            // Does not resume sessions.
            (Program::Python(_), How::Resume | How::Idle | How::ConcurrentDownload) => true,
            (Program::Python(_), _) => false,
            // One connection for all streams.
            (Program::Ours(_), How::Idle) if workload.is_http2() => {
                ["hyper-util", "reqwest", "isahc"].contains(&self.name)
            }
            // They use ten times fewer connections, which the workload with 1,000 covers.
            (Program::Ours(_), How::Idle) if workload.in_flight > 1_000 => {
                ["ours-blocking", "ureq", "isahc"].contains(&self.name)
            }
            (Program::Ours(_), How::Idle) => false,
            // One thread for each connection.
            (Program::Ours(_), _) => {
                workload.in_flight >= 1_000 && ["ours-blocking", "ureq"].contains(&self.name)
            }
        }
    }

    /// Number of requests that are counted: fewer for libcurl, which takes four times as long as others.
    pub(crate) fn counted(&self, workload: &Workload) -> u64 {
        match self.name {
            "isahc" => (workload.counted / 4).max(workload.in_flight),
            _ => workload.counted,
        }
    }

    /// Number of idle connections: fewer for clients that need a thread to open each, and for libcurl, which
    /// takes minutes under memcheck.
    pub(crate) fn idle(&self, workload: &Workload) -> u64 {
        match self.name {
            "ours-blocking" | "ureq" | "isahc" => workload.in_flight.min(100),
            _ => workload.in_flight,
        }
    }

    /// Maximum number of timed runs: fewer for Python, which is slow.
    pub(crate) fn max_rounds(&self, workload: &Workload) -> usize {
        match (&self.program, workload.how) {
            (Program::Python(_), How::Download | How::Upload) => 1,
            (Program::Python(_), _) => 2,
            _ => usize::MAX,
        }
    }

    /// Runs `workload` once, on the clients' processor.
    pub(crate) fn time(&self, workload: &Workload, site: &Site<'_>) -> Number<Run> {
        let words = |requests| {
            let mut words = workload.words(site, requests);
            words.extend((workload.how != How::Download).then(|| "--latencies".to_owned()));
            words
        };
        // A client that tries the second address does so within this time, or not for minutes.
        let limit = if workload.how == How::HappyEyeballs {
            5
        } else {
            LIMIT
        };
        match &self.program {
            // Several threads need several processors.
            Program::Ours(program) if workload.workers > 0 => {
                read_run(&run(limit, &[], program, &words(workload.timed))?.0)
            }
            Program::Ours(program) => read_run(&pinned(limit, program, &words(workload.timed))?),
            Program::Python(python) => {
                let script = root().join("benches/peers/client.py");
                let mut all = vec![script.to_string_lossy().into_owned()];
                all.extend(words(workload.timed.div_ceil(20)));
                read_run(&pinned(limit, python, &all)?)
            }
            Program::Wrk(wrk) => {
                let url = &words(0)[2];
                let in_flight = workload.in_flight.to_string();
                let words = ["-t1", "-d1s", "-c", &in_flight, url].map(String::from);
                let (cpu, said) = timed_pinned(wrk, &words)?;
                let done = said
                    .lines()
                    .find_map(|line| line.split_once(" requests in "));
                let done: Option<f64> = done.and_then(|(count, _)| count.trim().parse().ok());
                let done = done.ok_or("wrk printed no number of requests".to_owned())?;
                Ok(Run {
                    cpu: cpu as f64 / done.max(1.0),
                    wall: 0.0,
                    latencies: Vec::new(),
                })
            }
            Program::H2load(h2load) => {
                let (url, requests) = (&words(0)[2], workload.timed.to_string());
                let streams = workload.in_flight.to_string();
                let words = ["-t1", "-c1", "-n", &requests, "-m", &streams, url].map(String::from);
                let (cpu, said) = timed_pinned(h2load, &words)?;
                if !said.contains(" 0 failed") {
                    return Err("requests of h2load failed".to_owned().into());
                }
                Ok(Run {
                    cpu: cpu as f64 / workload.timed as f64,
                    wall: 0.0,
                    latencies: Vec::new(),
                })
            }
        }
    }
}

/// Runs `program` on the clients' processor, if it can be pinned at all.
fn pinned(limit: u32, program: &Path, words: &[String]) -> Number<String> {
    let before: &[&str] = if find("taskset").is_some() {
        &["taskset", "-c", CLIENTS]
    } else {
        &[]
    };
    Ok(run(limit, before, program, words)?.0)
}

fn timed_pinned(program: &Path, words: &[String]) -> Number<(u64, String)> {
    let Some(taskset) = find("taskset") else {
        return timed(program, words);
    };
    let mut all = vec!["-c".to_owned(), CLIENTS.to_owned()];
    all.push(program.to_string_lossy().into_owned());
    all.extend_from_slice(words);
    timed(&taskset, &all)
}

/// Parses the line of JSON that a program prints.
fn read_run(line: &str) -> Number<Run> {
    let value: serde_json::Value = serde_json::from_str(line.trim())
        .map_err(|error| format!("invalid line of results: {error}"))?;
    let number = |name: &str| value[name].as_f64();
    let (Some(cpu), Some(requests)) = (number("cpu_ns"), number("requests")) else {
        return Err("a result without processor time".to_owned().into());
    };
    let pairs = value["latency_ns"].as_array().into_iter().flatten();
    Ok(Run {
        cpu: cpu / requests.max(1.0),
        wall: number("wall_ns").unwrap_or_default(),
        latencies: pairs
            .filter_map(|pair| Some((pair[0].as_f64()?, pair[1].as_f64()?)))
            .collect(),
    })
}

/// Returns the versions of the clients and tools, as far as they are known.
pub(crate) fn versions() -> Vec<(String, String)> {
    let mut versions = Vec::new();
    let lock = fs::read_to_string(root().join("benches/peers/Cargo.lock")).unwrap_or_default();
    for name in [
        "hyper",
        "hyper-util",
        "reqwest",
        "ureq",
        "isahc",
        "curl-sys",
        "h2",
        "tokio",
        "rustls",
        "mio",
        "httparse",
    ] {
        let found = locked(&lock, name);
        versions.extend(found.map(|version| (name.to_owned(), version.to_owned())));
    }
    versions.push((
        "Python httpcore".into(),
        PYTHON.rsplit('=').next().unwrap_or("").into(),
    ));
    let tools: [(&str, &str, &[&str]); 6] = [
        ("wrk", "wrk", &["-v"]),
        ("nginx", "nginx", &["-v"]),
        ("rustc", "rustc", &["-V"]),
        ("valgrind", "valgrind", &["--version"]),
        ("h2load", "h2load", &["--version"]),
        ("Python", "python3", &["--version"]),
    ];
    for (name, program, words) in tools {
        versions.extend(version(program, words).map(|version| (name.to_owned(), version)));
    }
    versions
}

/// Returns the first word that looks like a version in the first line that `program` prints, on either
/// stream and whatever its exit code; otherwise that line.
fn version(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(find(program)?).args(words).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().next()?;
    let is_version = |word: &&str| {
        word.contains('.') && word.chars().next_back().is_some_and(|c| c.is_ascii_digit())
    };
    let words = line.split([' ', '/', '-']);
    let number = words.map(|word| word.trim_matches(',')).find(is_version);
    Some(number.unwrap_or(line).to_owned())
}

/// Returns the version of `name` in the text of a lock file.
fn locked<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("\nname = \"{name}\"\nversion = \""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_results_is_parsed() {
        let line = r#"{"requests":4,"cpu_ns":100,"wall_ns":9,"latency_ns":[[0.5,7],[1,9]]}"#;
        let run = read_run(line).unwrap();
        assert_eq!((run.cpu, run.wall), (25.0, 9.0));
        assert_eq!(run.latencies, [(0.5, 7.0), (1.0, 9.0)]);
        assert!(read_run("nonsense").is_err());
    }

    #[test]
    fn version_is_found_in_a_lock_file() {
        let lock = "\n[[package]]\nname = \"h2\"\nversion = \"0.4.20\"\n";
        assert_eq!(locked(lock, "h2"), Some("0.4.20"));
        assert_eq!(locked(lock, "h3"), None);
    }
}
