//! Steps: run in order, timed, and summarised at the end.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{ChildStdout, Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The result of a step: a report, or a sentence that describes the failure.
pub type Outcome = Result<Report, String>;

/// A step that has passed.
#[derive(Debug, Default)]
pub struct Report {
    /// A note for the summary, such as counts.
    pub note: String,
    /// What was skipped, and why.
    pub left_out: Vec<String>,
}

impl Report {
    /// Creates a report with a note.
    pub fn note(note: impl Into<String>) -> Self {
        Report {
            note: note.into(),
            left_out: Vec::new(),
        }
    }

    /// Records a skipped item. It is printed at once and again in the summary.
    pub fn leave_out(&mut self, what: impl Into<String>) {
        let what = what.into();
        eprintln!("\n    LEFT OUT: {what}\n");
        self.left_out.push(what);
    }
}

/// A named step.
pub struct Step<'a> {
    name: &'static str,
    run: Box<dyn Fn() -> Outcome + 'a>,
}

impl<'a> Step<'a> {
    /// Creates a step that calls `run`.
    pub fn new(name: &'static str, run: impl Fn() -> Outcome + 'a) -> Self {
        Step {
            name,
            run: Box::new(run),
        }
    }
}

/// Runs every step, also after a failure, and prints a summary.
pub fn run(steps: &[Step<'_>]) -> ExitCode {
    let results: Vec<_> = steps
        .iter()
        .map(|step| {
            println!("\n==> {}", step.name);
            let start = now();
            let outcome = (step.run)();
            if let Err(error) = &outcome {
                eprintln!("\nerror: {}: {error}", step.name);
            }
            (step.name, start.elapsed(), outcome)
        })
        .collect();
    let _ = std::io::stderr().flush();
    print!("\n{}", summary(&results));
    if results.iter().all(|(_, _, outcome)| outcome.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn summary(results: &[(&str, Duration, Outcome)]) -> String {
    let mut text = String::new();
    for (name, time, outcome) in results {
        let (verdict, note) = match outcome {
            Ok(report) => ("passed", report.note.as_str()),
            Err(error) => ("FAILED", error.lines().next().unwrap_or("")),
        };
        let seconds = time.as_secs_f64();
        let line = format!("{name:<8} {verdict} {seconds:>7.1} s  {note}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for (name, _, outcome) in results {
        for what in outcome.iter().flat_map(|report| &report.left_out) {
            text.push_str(&format!("LEFT OUT in {name}: {what}\n"));
        }
    }
    text
}

/// The current time, for durations shown to the user. The only use of the system's clock in this crate.
#[expect(clippy::disallowed_methods, reason = "no runtime is under test here")]
pub fn now() -> Instant {
    Instant::now()
}

/// Returns the folder of the workspace.
pub fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map_or(manifest.clone(), Path::to_owned)
}

/// Returns the target folder, which `CARGO_TARGET_DIR` may have moved.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Returns a command for `cargo` that runs in the folder of the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root());
    // Cargo's variables about this package are removed. Build scripts read them (ring's does), and
    // crates that depend on such a script would be rebuilt whenever the values differ.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Returns the full path of `program`, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Servers are installed in folders that are not in an ordinary user's PATH.
    env::split_paths(&path)
        .chain(["/usr/local/sbin".into(), "/usr/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Returns a Python that has `requirement` (`package==version`), in the virtual environment `venv`, which
/// is made if it is missing or has another.
///
/// # Errors
///
/// If Python is missing, or the package cannot be installed.
pub fn python_with(requirement: &str, venv: &Path) -> Result<PathBuf, String> {
    let (python, stamp) = (venv.join("bin/python"), venv.join("installed"));
    if python.is_file() && fs::read_to_string(&stamp).is_ok_and(|has| has == requirement) {
        return Ok(python);
    }
    let system = find("python3").ok_or("python3 is not installed")?;
    execute(
        Command::new(system)
            .args(["-m", "venv", "--clear"])
            .arg(venv),
    )?;
    execute(Command::new(venv.join("bin/pip")).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        requirement,
    ]))?;
    fs::write(&stamp, requirement).map_err(|error| error.to_string())?;
    Ok(python)
}

/// Runs `command` to its end. Its output goes where ours goes.
///
/// # Errors
///
/// If it does not start, or exits with a failure.
pub fn execute(command: &mut Command) -> Result<(), String> {
    println!("    {}", show(command));
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("{} does not start: {error}", show(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}`: {status}", show(command)))
    }
}

/// Runs `command` and returns its standard output. Its standard error goes where ours goes.
///
/// # Errors
///
/// If it does not start, exits with a failure, or prints what is not UTF-8.
pub fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{} does not start: {error}", show(command)))?;
    if !output.status.success() {
        return Err(format!("`{}`: {}", show(command), output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{}`: not text", show(command)))
}

/// Runs `command`, prints each line of its standard output and passes it to `see`. If it prints nothing
/// for `max_silence`, it is killed together with the processes it has started, so that a test that
/// hangs is a failure and does not stop the run.
///
/// # Errors
///
/// If it does not start, exits with a failure, or is killed.
pub fn watch(
    command: &mut Command,
    max_silence: Duration,
    mut see: impl FnMut(&str),
) -> Result<(), String> {
    let shown = show(command);
    println!("    {shown}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("`{shown}` does not start: {error}"))?;
    let lines = lines(child.stdout.take());
    let is_silent = loop {
        match lines.recv_timeout(max_silence) {
            Ok(line) => {
                println!("{line}");
                see(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    if is_silent {
        kill(child.id());
    }
    let status = child
        .wait()
        .map_err(|error| format!("`{shown}`: {error}"))?;
    if is_silent {
        let seconds = max_silence.as_secs_f64();
        Err(format!(
            "`{shown}` hung: it printed nothing for {seconds} s"
        ))
    } else if status.success() {
        Ok(())
    } else {
        Err(format!("`{shown}`: {status}"))
    }
}

fn lines(stdout: Option<ChildStdout>) -> Receiver<String> {
    let (sender, lines) = channel();
    // Not joined: a process that survived could hold the pipe open, and the join would wait for it.
    thread::spawn(move || {
        for line in stdout
            .into_iter()
            .flat_map(|stdout| BufReader::new(stdout).lines())
        {
            let line = line.unwrap_or_else(|error| format!("(unreadable: {error})"));
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Kills the process `id` and, recursively, the processes it has started.
fn kill(id: u32) {
    for child in children(id) {
        kill(child);
    }
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(id, Signal::KILL);
    }
}

fn children(id: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let with_parent = processes.filter_map(|process| {
        let child: u32 = process.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        // The name, in brackets, may contain any character: the fields follow the last bracket.
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?;
        Some((child, parent.parse::<u32>().ok()?))
    });
    with_parent
        .filter(|(_, parent)| *parent == id)
        .map(|(child, _)| child)
        .collect()
}

fn show(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name();
    let mut words = vec![name.unwrap_or(command.get_program()).to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Read};

    #[test]
    fn summary_names_failures_and_skipped_items() {
        let second = Duration::from_secs(1);
        let partly = Report {
            note: "3 passed".into(),
            left_out: vec!["nginx: not root".into()],
        };
        let results = [
            ("test", second, Ok(partly)),
            ("lint", second, Err("two\nlines".into())),
        ];
        assert_eq!(
            summary(&results),
            "test     passed     1.0 s  3 passed\n\
             lint     FAILED     1.0 s  two\n\
             LEFT OUT in test: nginx: not root\n"
        );
    }

    #[test]
    fn hanging_process_is_killed_with_its_children() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 3600 & wait"]).stderr(writer);
        let result = watch(&mut command, Duration::from_secs(1), |_| ());
        assert!(result.unwrap_err().contains("hung"));
        drop(command); // with its end of the pipe
        // The pipe ends when its last holder has ended: in an hour, if a child survived.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn failing_process_is_reported_and_not_as_hung() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; exit 3"]);
        let mut lines = Vec::new();
        let result = watch(&mut command, Duration::from_secs(60), |line| {
            lines.push(line.to_owned());
        });
        assert_eq!(lines, ["one"]);
        assert!(result.unwrap_err().ends_with("exit status: 3"));
    }
}
