//! What is counted from outside of a process, and the processor's time it takes.
//!
//! Instructions come from callgrind, allocations and live memory from memcheck's summary (which
//! sees those of C libraries too), system calls from strace. All of these repeat; times do not.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::steps::{find, now, target};

/// How long one run may take, in seconds: whoever hangs is ended, and named.
pub(crate) const LIMIT: u32 = 120;
/// How a client says that it has no way of doing what it was asked for.
const CANNOT: i32 = 3;

/// Why there is no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoNumber {
    /// The client has no way of doing this.
    Cannot,
    /// It did not end within so many seconds.
    Endless(u32),
    /// Something went wrong, in a sentence.
    Failed(String),
}

impl NoNumber {
    /// What is to be said of it, if anything went wrong.
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

/// What a run under valgrind's memcheck says of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heap {
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
    /// What lives at the end.
    pub(crate) live: u64,
}

/// `program` with `arguments`, to be run for at most `limit` seconds and under whatever stands in
/// `before`. It ends with us, too, however we end.
pub(crate) fn command<S: AsRef<OsStr>>(
    limit: u32,
    before: &[&str],
    program: &Path,
    arguments: &[S],
) -> Command {
    let mut command = mortal(Path::new("timeout"));
    // A thread that runs under valgrind does not always hear the first signal.
    command.arg("--kill-after=5").arg(limit.to_string());
    command.args(before).arg(program).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// `program`, which is asked to end when this process has ended, if there is a way to have that.
pub(crate) fn mortal(program: &Path) -> Command {
    match find("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Runs what [`command`] makes of all this to its end; yields what it printed on both ways.
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
        // `timeout` says so by its code, but that is also what it says of who was killed by others.
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

/// Likewise; whose they are is told by `file`.
pub(crate) fn instructions_into<S: AsRef<OsStr>>(
    file: &Path,
    program: &Path,
    arguments: &[S],
) -> Number<u64> {
    let file = format!("--callgrind-out-file={}", file.display());
    let before = ["valgrind", "--tool=callgrind", &file, "--max-threads=12000"];
    let (_, said) = run(LIMIT, &before, program, arguments)?;
    let total = after(&said, "Collected :").ok_or("callgrind printed no total".to_owned());
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
    let (_, said) = run(LIMIT, &before, program, arguments)?;
    let heap = read_heap(&said).ok_or("memcheck printed no total".to_owned());
    Ok(heap?)
}

fn read_heap(said: &str) -> Option<Heap> {
    Some(Heap {
        allocations: after(said, "total heap usage:")?,
        bytes: after(said, "frees,")?,
        live: after(said, "in use at exit:")?,
    })
}

/// Acquisitions of the pool's lock, by a program of `build_counting_locks`.
pub(crate) fn lock_acquisitions<S: AsRef<OsStr>>(program: &Path, arguments: &[S]) -> Number<u64> {
    let (_, printed) = run(LIMIT, &[], program, arguments)?;
    let count = after(&printed, "pool lock acquisitions:")
        .ok_or("the program printed no count of lock acquisitions".to_owned());
    Ok(count?)
}

/// Calls by name.
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

/// The processor's time of a whole run of somebody else's program, in nanoseconds, and what it
/// printed. To the millisecond, for that is what the shell tells.
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
    let time = processor_time(&err).ok_or("the shell told no time".to_owned())?;
    Ok((time, out))
}

fn processor_time(said: &str) -> Option<u64> {
    let (_, times) = said.rsplit_once("processor ")?;
    let mut times = times.split_whitespace();
    let (user, system): (f64, f64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(((user + system) * 1e9) as u64)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_from_what_valgrind_says() {
        let said = "==7== Collected : 4711\n==8==     in use at exit: 9,104 bytes in 6 blocks\n\
            ==8==   total heap usage: 1,234 allocs, 9 frees, 56,789 bytes allocated\n";
        assert_eq!(after(said, "Collected :"), Some(4711));
        assert_eq!(after(said, "something else:"), None);
        let heap = Heap {
            allocations: 1234,
            bytes: 56_789,
            live: 9104,
        };
        assert_eq!(read_heap(said), Some(heap));
    }

    #[test]
    fn who_is_killed_has_not_lasted_too_long() {
        let killed = run(LIMIT, &[], Path::new("sh"), &["-c", "kill -9 $$"]);
        assert!(matches!(killed, Err(NoNumber::Failed(_))), "{killed:?}");
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

    #[test]
    fn time_is_read_from_what_the_shell_says() {
        let said = "something else\nprocessor 0.123 0.002\n";
        assert_eq!(processor_time(said), Some(125_000_000));
        assert_eq!(processor_time("nothing"), None);
    }
}
