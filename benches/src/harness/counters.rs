//! Counts and processor time of a process, measured from outside.
//!
//! Instructions come from callgrind, allocations and live memory from memcheck's summary (which
//! includes C libraries), system calls from strace. All of these repeat; times do not.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use xtask::steps::{find, now, target};

/// Maximum duration of a run, in seconds. A program that takes longer is killed and reported.
pub(crate) const LIMIT: u32 = 120;
/// The exit code of a client that does not support a workload.
const CANNOT: i32 = 3;

/// Why there is no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoNumber {
    /// The client does not support this.
    Cannot,
    /// It did not end within this number of seconds.
    Endless(u32),
    /// It failed, described in a sentence.
    Failed(String),
}

impl NoNumber {
    /// Returns a description, if it is a failure.
    pub(crate) fn failure(self) -> Option<String> {
        match self {
            NoNumber::Cannot => None,
            NoNumber::Endless(seconds) => Some(format!("did not end within {seconds} s")),
            NoNumber::Failed(why) => Some(why),
        }
    }
}

impl From<String> for NoNumber {
    fn from(why: String) -> Self {
        NoNumber::Failed(why)
    }
}

pub(crate) type Number<T> = Result<T, NoNumber>;

/// The heap's totals of a run under memcheck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heap {
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
    /// Bytes that are allocated at the end.
    pub(crate) live: u64,
}

/// Returns a command that runs `program` with `arguments` for at most `limit` seconds, under the wrapper
/// `before`. It ends when this process ends.
pub(crate) fn command<S: AsRef<OsStr>>(
    limit: u32,
    before: &[&str],
    program: &Path,
    arguments: &[S],
) -> Command {
    let mut command = bound_to_parent(Path::new("timeout"));
    // A thread under valgrind does not always react to the first signal.
    command.arg("--kill-after=5").arg(limit.to_string());
    command.args(before).arg(program).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// Returns a command for `program` that receives SIGTERM when this process ends, if `setpriv` is
/// installed.
pub(crate) fn bound_to_parent(program: &Path) -> Command {
    match find("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Runs [`command`] to its end and returns its standard output and standard error.
pub(crate) fn run<S: AsRef<OsStr>>(
    limit: u32,
    before: &[&str],
    program: &Path,
    arguments: &[S],
) -> Number<(String, String)> {
    let begun = now();
    let mut command = command(limit, before, program, arguments);
    let output = command.output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    match output.status.code() {
        Some(0) => Ok((out, err)),
        Some(CANNOT) => Err(NoNumber::Cannot),
        // The exit code of `timeout` is ambiguous: a program that was killed otherwise has it as well.
        _ if begun.elapsed().as_secs() >= limit.into() => Err(NoNumber::Endless(limit)),
        _ => {
            let last = err.lines().rfind(|line| line.contains("error"));
            let why = last.unwrap_or_else(|| err.lines().last().unwrap_or(""));
            Err(NoNumber::Failed(format!("{}: {why}", output.status)))
        }
    }
}

pub(crate) fn instructions<S: AsRef<OsStr>>(program: &Path, arguments: &[S]) -> Number<u64> {
    instructions_into(Path::new("/dev/null"), program, arguments)
}

/// Counts instructions, and writes the profile to `file`.
pub(crate) fn instructions_into<S: AsRef<OsStr>>(
    file: &Path,
    program: &Path,
    arguments: &[S],
) -> Number<u64> {
    let file = format!("--callgrind-out-file={}", file.display());
    let before = ["valgrind", "--tool=callgrind", &file, "--max-threads=12000"];
    let (_, printed) = run(LIMIT, &before, program, arguments)?;
    let total = after(&printed, "Collected :").ok_or("callgrind printed no total".to_owned());
    Ok(total?)
}

pub(crate) fn heap<S: AsRef<OsStr>>(program: &Path, arguments: &[S]) -> Number<Heap> {
    let before = [
        "valgrind",
        "--tool=memcheck",
        "--leak-check=no",
        "--undef-value-errors=no",
        "--max-threads=12000",
    ];
    let (_, printed) = run(LIMIT, &before, program, arguments)?;
    let heap = read_heap(&printed).ok_or("memcheck printed no total".to_owned());
    Ok(heap?)
}

fn read_heap(printed: &str) -> Option<Heap> {
    Some(Heap {
        allocations: after(printed, "total heap usage:")?,
        bytes: after(printed, "frees,")?,
        live: after(printed, "in use at exit:")?,
    })
}

/// Acquisitions of the pool's lock, by a program of `build_counting_locks`.
pub(crate) fn lock_acquisitions<S: AsRef<OsStr>>(program: &Path, arguments: &[S]) -> Number<u64> {
    let (_, printed) = run(LIMIT, &[], program, arguments)?;
    let count = after(&printed, "pool lock acquisitions:")
        .ok_or("the program printed no count of lock acquisitions".to_owned());
    Ok(count?)
}

/// Returns the number of system calls by name.
pub(crate) fn system_calls<S: AsRef<OsStr>>(
    program: &Path,
    arguments: &[S],
) -> Number<BTreeMap<String, u64>> {
    let table = target().join(format!("strace-{}.txt", std::process::id()));
    let place = table.to_string_lossy();
    let before = ["strace", "-f", "-c", "-o", &place];
    run(LIMIT, &before, program, arguments)?;
    let text = fs::read_to_string(&table).map_err(|error| error.to_string())?;
    let _ = fs::remove_file(&table);
    Ok(calls(&text))
}

/// Returns the processor time of a whole run of a foreign program, in nanoseconds with a resolution of a
/// millisecond (the shell's), and its output.
pub(crate) fn timed<S: AsRef<OsStr>>(program: &Path, arguments: &[S]) -> Number<(u64, String)> {
    let bash = find("bash").ok_or("bash is not installed".to_owned())?;
    let mut words = vec![
        "-c".into(),
        "TIMEFORMAT='processor %3U %3S'; time \"$@\"".into(),
        "bash".into(),
        program.as_os_str().to_owned(),
    ];
    words.extend(arguments.iter().map(|word| word.as_ref().to_owned()));
    let (out, err) = run(LIMIT, &[], &bash, &words)?;
    let time = processor_time(&err).ok_or("the shell printed no time".to_owned())?;
    Ok((time, out))
}

fn processor_time(printed: &str) -> Option<u64> {
    let (_, times) = printed.rsplit_once("processor ")?;
    let mut times = times.split_whitespace();
    let (user, system): (f64, f64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(((user + system) * 1e9) as u64)
}

/// Returns the number after `label`. Its thousands may be separated.
fn after(text: &str, label: &str) -> Option<u64> {
    let (_, rest) = text.split_once(label)?;
    rest.split_whitespace()
        .next()?
        .replace(',', "")
        .parse()
        .ok()
}

/// Parses the table of `strace -c`: `% time, seconds, usecs/call, calls, errors (or nothing), syscall`.
fn calls(table: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first()?.parse::<f64>().ok()?;
        let name = words.last().filter(|name| **name != "total")?;
        Some(((*name).to_owned(), words.get(3)?.parse().ok()?))
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_parsed_from_valgrinds_output() {
        let printed = "==7== Collected : 4711\n==8==     in use at exit: 9,104 bytes in 6 blocks\n\
            ==8==   total heap usage: 1,234 allocs, 9 frees, 56,789 bytes allocated\n";
        assert_eq!(after(printed, "Collected :"), Some(4711));
        assert_eq!(after(printed, "something else:"), None);
        let heap = Heap {
            allocations: 1234,
            bytes: 56_789,
            live: 9104,
        };
        assert_eq!(read_heap(printed), Some(heap));
    }

    #[test]
    fn killed_program_is_not_reported_as_too_slow() {
        let killed = run(LIMIT, &[], Path::new("sh"), &["-c", "kill -9 $$"]);
        assert!(matches!(killed, Err(NoNumber::Failed(_))), "{killed:?}");
    }

    #[test]
    fn calls_are_parsed_from_straces_table() {
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

    #[test]
    fn time_is_parsed_from_the_shells_output() {
        let printed = "something else\nprocessor 0.123 0.002\n";
        assert_eq!(processor_time(printed), Some(125_000_000));
        assert_eq!(processor_time("nothing"), None);
    }
}
